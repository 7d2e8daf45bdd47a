"""The child's side of :mod:`intact.runtime.child`; run by file path, standard library only.

``python serve.py SCRIPT FD`` reads one JSON request from stdin, calls ``main(request, progress)`` of SCRIPT and writes JSON
lines to file descriptor FD: ``{"progress": [done, total]}`` any number of times, then ``{"result": {...}}`` or
``{"error": "ValueError: ..."}``. stdout and stderr stay free for whatever native code prints.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from types import ModuleType

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def _die_with_parent() -> None:
    """End this process when the parent ends, however it ends: its side of our stdin closes then, on every system.

    Native code that holds the interpreter lock would keep the watching thread from seeing it, so Linux is asked to kill us too.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    def watch() -> None:
        while os.read(0, 4096):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _read_line() -> bytes:
    """One line from stdin without buffering, so that the watching thread owns the rest."""
    chunks: list[bytes] = []
    while not (chunks and chunks[-1].endswith(b"\n")):
        chunk = os.read(0, 1 << 16)
        if not chunk:
            os._exit(1)
        chunks.append(chunk)
    return b"".join(chunks)


def _load(script: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(script.stem, script)
    if spec is None or spec.loader is None:
        raise ImportError(f"{script} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[script.stem] = module  # dataclasses and pickle look themselves up here
    sys.path.append(str(script.parent))  # its neighbours, by plain name; last, so that they hide no package
    spec.loader.exec_module(module)
    return module


def serve(script: Path, fd: int) -> int:
    """Answer the one request; the exit status."""
    os.set_inheritable(fd, False)
    request = json.loads(_read_line())
    _die_with_parent()
    channel = os.fdopen(fd, "w", encoding="utf-8")
    lock = threading.Lock()

    def send(kind: str, value: object) -> None:
        line = json.dumps({kind: value})
        with lock:
            channel.write(line + "\n")
            channel.flush()

    try:
        send("result", _load(script).main(request, lambda done, total: send("progress", [int(done), int(total)])))
    except BaseException as error:  # the parent must hear of everything, SystemExit too
        traceback.print_exc()
        send("error", "".join(traceback.format_exception_only(error)).strip())
        return 1
    return 0


if __name__ == "__main__":
    status = serve(Path(sys.argv[1]), int(sys.argv[2]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # the answer is out: tearing down native libraries can only crash or linger
