"""Child process: what TensorFlow Lite Micro makes of a .tflite file. Needs the tflite_micro wheel and numpy only.

``main(request, progress)`` picks the task by ``request["task"]``. A file that it cannot allocate is an answer, not an error; it
may end this process all the same.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

#: Named at run time, since no type checker finds it where the wheel is not installed.
runtime: Any = importlib.import_module("tflite_micro").runtime
#: No microcontroller has more; a file that does not allocate in it does not for another reason.
LARGEST = 1 << 28
#: What arenas are aligned to (micro/arena_allocator: MicroArenaBufferAlignment).
ALIGNMENT = 16
#: Printing what was allocated takes some of the arena too.
_MORE = 1 << 20


def main(request: dict[str, Any], progress: Callable[[int, int], None]) -> dict[str, Any]:
    """Do one task; see the functions of the same names."""
    del progress
    tasks: dict[str, Callable[..., dict[str, Any]]] = {"allocate": allocate, "arena": arena, "compare": compare, "run": run}
    return tasks[request.pop("task")](**request)


def allocate(*, model: str, size: int = LARGEST) -> dict[str, Any]:
    """Whether the file allocates in an arena of ``size`` bytes, and the last things that were printed if it does not."""
    allocates, printed = _attempt(Path(model).read_bytes(), size)
    return {"allocates": allocates, "said": _last(printed)}


def arena(*, model: str, guess: int = 1 << 14) -> dict[str, Any]:
    """The least arena that the file allocates in, by bisection, a multiple of the alignment; with its two parts as printed.

    It was seen to allocate in that, and not to in one step less. The total that is printed is not always enough: what is needed
    for a moment while allocating is not in it.
    """
    data = Path(model).read_bytes()
    low, high = 0, _aligned(min(guess, LARGEST))
    while not _attempt(data, high)[0]:
        if high >= LARGEST:
            return {"allocates": False, "said": _last(_attempt(data, high)[1])}
        low, high = high, min(2 * high, LARGEST)
    parts = dict(re.findall(r"Arena allocation (head|tail) (\d+) bytes", _attempt(data, high + _MORE)[1]))
    size = _least(data, low, high, near=_aligned(sum(map(int, parts.values()))))
    return {
        "allocates": True,
        "bytes": size,
        "activations": int(parts["head"]) if "head" in parts else None,
        "persistent": int(parts["tail"]) if "tail" in parts else None,
        "version": version("tflite-micro"),
    }


def _least(data: bytes, low: int, high: int, near: int) -> int:
    """The least multiple of the alignment in which the file allocates, which it does in ``high`` and not in ``low``: in steps
    that double away from ``near``, and by bisection of the last one."""
    step = ALIGNMENT
    while low < near < high:
        if _attempt(data, near)[0]:
            high, near = near, near - step
        else:
            low, near = near, near + step
        step *= 2
    while high - low > ALIGNMENT:
        middle = low + _aligned((high - low) // 2)
        low, high = (low, middle) if _attempt(data, middle)[0] else (middle, high)
    return high


def _aligned(size: int) -> int:
    return max(-(-size // ALIGNMENT), 1) * ALIGNMENT


def compare(*, models: list[str], inputs: str, outputs: int, size: int) -> dict[str, Any]:
    """How many numbers of all ``outputs`` both files give alike, of how many, call by call from the same beginning.

    ``inputs``: an .npz of ``[n, ...]`` as stored, called 0, 1, … in the order of the inputs. ``refused``: who cannot allocate.
    """
    nets = []
    for model in models:
        try:
            nets.append(runtime.Interpreter.from_file(model, arena_size=size))
        except RuntimeError:
            return {"refused": Path(model).name}
    with np.load(inputs) as fed:
        columns = [fed[str(n)] for n in range(len(fed.files))]
    elements = equal = 0
    for call in zip(*columns, strict=True):
        for one, other in zip(*(_called(net, call, outputs) for net in nets), strict=True):
            elements += one.size
            equal += int((one == other).sum())
    return {"elements": elements, "equal": equal}


def run(*, model: str, inputs: str, outputs: int, size: int, made: str) -> dict[str, Any]:
    """What the file gives in an arena of ``size`` bytes, call by call, into the .npz ``made``: every output ``[n, ...]``.

    ``inputs``: an .npz of ``[n, ...]`` as stored, in the order of the inputs. ``refused`` as in :func:`compare`.
    """
    try:
        net = runtime.Interpreter.from_file(model, arena_size=size)
    except RuntimeError:
        return {"refused": Path(model).name}
    with np.load(inputs) as fed:
        columns = [fed[name] for name in fed.files]
    calls = [_called(net, call, outputs) for call in zip(*columns, strict=True)]
    np.savez(made, *(np.stack(y) for y in zip(*calls, strict=True)))
    return {}


def _called(net: Any, call: tuple[Any, ...], outputs: int) -> list[Any]:
    for n, x in enumerate(call):
        net.set_input(x.reshape(net.get_input_details(n)["shape"]), n)
    net.invoke()
    return [np.array(net.get_output(n)) for n in range(outputs)]


def _attempt(data: bytes, size: int) -> tuple[bool, str]:
    """Whether the file allocates in ``size`` bytes, and what C code printed: in a process of its own, as too small an arena
    ends it (SIGSEGV at 384 bytes, and at 1,536 for a network that takes 4,000)."""
    with tempfile.TemporaryFile() as file:
        process = os.fork()
        if process == 0:
            status = 1
            with contextlib.suppress(RuntimeError):
                os.dup2(file.fileno(), 2)
                runtime.Interpreter.from_bytes(data, arena_size=size).print_allocations()
                status = 0
            os._exit(status)
        _, status = os.waitpid(process, 0)
        file.seek(0)
        printed = file.read().decode(errors="replace")
    if os.WIFSIGNALED(status):
        printed += f"\nit died of signal {os.WTERMSIG(status)}"
    return status == 0, printed


def _last(printed: str) -> str:
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    return lines[-1] if lines else "it gave no reason"
