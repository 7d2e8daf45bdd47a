"""Child process: whether TensorFlow Lite Micro runs a .tflite file. Needs tflite_micro and numpy only.

``main(request, progress)`` takes ``{"model": path, "inputs": count, "arena": bytes, "invoke": bool, "log": path}``.
The interpreter's own words, which it prints to file descriptor 2 and nowhere else, go to the file ``log``, which survives
the process if a kernel aborts. The answer is ``{"stage": "ran" | "allocate" | "invoke" | "arena"}``: ran, refused at either
stage, or the arena was too small; ``{"missing": True}`` where the wheel is not installed.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

Progress: TypeAlias = Callable[[int, int], None]

#: What its arena allocators say when there is no more room (micro/arena_allocator, micro/micro_allocator.cc).
_NO_ROOM = ("Failed to resize buffer", "Failed to allocate", "Arena size is too small", "is too small for all buffers")


def main(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Allocate, and invoke once on zeros if asked to."""
    try:
        runtime = importlib.import_module("tflite_micro").runtime
    except ImportError:
        return {"missing": True}
    log = Path(request["log"])
    progress(0, 2)
    with _words_to(log):
        try:
            net = runtime.Interpreter.from_file(request["model"], arena_size=request["arena"])
        except RuntimeError:
            said = log.read_text(errors="replace")
            return {"stage": "arena" if any(words in said for words in _NO_ROOM) else "allocate"}
        progress(1, 2)
        if request["invoke"]:
            try:
                for number in range(request["inputs"]):
                    details = net.get_input_details(number)
                    net.set_input(np.zeros(details["shape"], details["dtype"]), number)
                net.invoke()
            except RuntimeError:
                return {"stage": "invoke"}
    progress(2, 2)
    return {"stage": "ran"}


@contextmanager
def _words_to(log: Path) -> Iterator[None]:
    """File descriptor 2, to which native code prints, into a file."""
    kept = os.dup(2)
    with log.open("wb") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
