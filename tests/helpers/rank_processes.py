"""Processes with ranks, started as torchrun starts them but without it: what each printed, and how it ended."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import intact

HERE = Path(__file__).parent


def environment(rank, size, port):
    paths = (Path(intact.__file__).parents[1], HERE, HERE.parent)
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def ended(commands, cwd, timeout=120):
    """Start one Python for each of ``commands``, the rest of its command line; (exit code, output, errors) by rank."""
    port = free_port()
    started = [
        subprocess.Popen(
            [sys.executable, *map(str, command)],
            cwd=cwd,
            env=environment(rank, len(commands), port),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, command in enumerate(commands)
    ]
    try:
        said = [one.communicate(timeout=timeout) for one in started]
    finally:
        for one in started:
            one.kill()
    return [(one.returncode, *texts) for one, texts in zip(started, said, strict=True)]
