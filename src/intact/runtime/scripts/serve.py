"""The child's side of :mod:`intact.runtime.child`; run by file path, standard library only.

``python serve.py SCRIPT RULES`` confines itself to RULES (JSON, see ``confine.py``), reads JSON requests from stdin, a line
each, calls ``main(request, progress)`` of SCRIPT and writes JSON lines to what was stdout: ``{"confined": [...]}`` first, then
for each request ``{"progress": [done, total]}`` any number of times and ``{"result": {...}}``, or, before it ends,
``{"error": "ValueError: ..."}`` or ``{"limit": "memory"}``. Whatever the script or native code prints to stdout or stderr
comes out of stderr, and what reads stdin finds it empty.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.util
import json
import os
import queue
import signal
import sys
import threading
import traceback
from pathlib import Path
from types import ModuleType

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def _die_with_parent(requests: int, following: queue.Queue[bytes]) -> None:
    """End this process when the parent ends, however it ends: its side of ``requests`` closes then, on every system.

    Native code that holds the interpreter lock would keep the watching thread from seeing it, so Linux is asked to kill us too.
    What the thread reads meanwhile are the ``following`` requests.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    def watch() -> None:
        while True:
            following.put(_read_line(requests))

    threading.Thread(target=watch, daemon=True).start()


def _read_line(requests: int) -> bytes:
    """One line without buffering, so that the watching thread owns the rest; the end of the file ends this process."""
    chunks: list[bytes] = []
    while not (chunks and chunks[-1].endswith(b"\n")):
        chunk = os.read(requests, 1 << 16)
        if not chunk:
            os._exit(1)
        chunks.append(chunk)
    return b"".join(chunks)


def _moved(fd: int, instead: int) -> int:
    """Another descriptor for what ``fd`` is, that no grandchild inherits; ``fd`` becomes ``instead``."""
    moved = os.dup(fd)
    os.dup2(instead, fd)
    return moved


def _load(script: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(script.stem, script)
    if spec is None or spec.loader is None:
        raise ImportError(f"{script} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[script.stem] = module  # dataclasses and pickle look themselves up here
    sys.path.append(str(script.parent))  # its neighbours, by plain name; last, so that they hide no package
    spec.loader.exec_module(module)
    return module


def serve(script: Path, rules: dict[str, object]) -> int:
    """Answer one request after the other until one fails; the exit status."""
    with Path(os.devnull).open("rb") as nothing:
        requests = _moved(0, nothing.fileno())
    channel = os.fdopen(_moved(1, 2), "w", encoding="utf-8", newline="\n")
    lock = threading.Lock()

    def send(kind: str, value: object) -> None:
        line = json.dumps({kind: value})
        with lock:
            channel.write(line + "\n")
            channel.flush()

    def progress(done: int, total: int) -> None:
        confine.renew(rules)
        send("progress", [int(done), int(total)])

    sys.path.append(str(Path(__file__).parent))
    confine = importlib.import_module("confine")
    send("confined", confine.confine(rules))
    request = _read_line(requests)
    following: queue.Queue[bytes] = queue.Queue()
    _die_with_parent(requests, following)
    try:
        answer = _load(script).main
        while True:
            send("result", answer(json.loads(request), progress))
            request = following.get()
            confine.renew(rules)
    except MemoryError:
        traceback.print_exc()
        send("limit", "memory")
    except BaseException as error:  # the parent must hear of everything, SystemExit too
        traceback.print_exc()
        send("error", "".join(traceback.format_exception_only(error)).strip())
    return 1


if __name__ == "__main__":
    status = serve(Path(sys.argv[1]), json.loads(sys.argv[2]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # the answer is out: tearing down native libraries can only crash or linger
