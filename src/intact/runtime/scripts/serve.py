"""The child's side of :mod:`intact.runtime.child`; run by file path, standard library only.

``python serve.py SCRIPT FD`` reads JSON requests from stdin, a line each, calls ``main(request, progress)`` of SCRIPT and
writes JSON lines to file descriptor FD: ``{"progress": [done, total]}`` any number of times, then ``{"result": {...}}``, after
which the next request may come, or ``{"error": "ValueError: ..."}``, after which it ends. stdout and stderr stay free for
whatever native code prints.
"""

from __future__ import annotations

import contextlib
import ctypes
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


def _die_with_parent(following: queue.Queue[bytes]) -> None:
    """End this process when the parent ends, however it ends: its side of our stdin closes then, on every system.

    Native code that holds the interpreter lock would keep the watching thread from seeing it, so Linux is asked to kill us too.
    What the thread reads meanwhile are the ``following`` requests.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    def watch() -> None:
        while True:
            following.put(_read_line())

    threading.Thread(target=watch, daemon=True).start()


def _read_line() -> bytes:
    """One line from stdin without buffering, so that the watching thread owns the rest; the end of stdin ends this process."""
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
    """Answer one request after the other until one fails; the exit status."""
    os.set_inheritable(fd, False)
    request = _read_line()
    following: queue.Queue[bytes] = queue.Queue()
    _die_with_parent(following)
    channel = os.fdopen(fd, "w", encoding="utf-8")
    lock = threading.Lock()

    def send(kind: str, value: object) -> None:
        line = json.dumps({kind: value})
        with lock:
            channel.write(line + "\n")
            channel.flush()

    try:
        answer = _load(script).main
        while True:
            send("result", answer(json.loads(request), lambda done, total: send("progress", [int(done), int(total)])))
            request = following.get()
    except BaseException as error:  # the parent must hear of everything, SystemExit too
        traceback.print_exc()
        send("error", "".join(traceback.format_exception_only(error)).strip())
        return 1


if __name__ == "__main__":
    status = serve(Path(sys.argv[1]), int(sys.argv[2]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # the answer is out: tearing down native libraries can only crash or linger
