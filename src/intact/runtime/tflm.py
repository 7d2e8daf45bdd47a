"""TensorFlow Lite Micro in a child process, where its wheel is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import numpy as np

from intact import scratch
from intact.errors import ModelError, located
from intact.runtime import child
from intact.runtime.confinement import Confinement

_WHAT: Final = "TensorFlow Lite Micro"

#: Seconds for one bisection: some thirty attempts of milliseconds.
_SECONDS: Final = 120.0
#: The same for two files on hundreds of samples, in plain kernels.
_LONG: Final = 900.0


@final
@dataclass(frozen=True)
class Arena:
    """The least multiple of 16 bytes that a file allocates in on this machine (64-bit pointers), and its parts as TFLM prints
    them.

    ``activations`` and ``persistent`` need not add up to ``bytes``: allocating takes some for a moment.
    """

    bytes: int
    activations: int | None
    persistent: int | None
    version: str


def available() -> bool:
    """Whether the tflite-micro wheel is installed."""
    return importlib.util.find_spec("tflite_micro") is not None


def compare(model: Path, other: Path, inputs: Path, outputs: int, size: int) -> tuple[int, int]:
    """How many numbers of all ``outputs`` two files give alike, and of how many, for the .npz ``inputs``, [n, ...] as stored.

    In arenas of ``size`` bytes. ModelError if one does not allocate, ChildError if TFLM dies.
    """
    files = [str(path.resolve()) for path in (model, other)]
    request = {"task": "compare", "models": files, "inputs": str(inputs.resolve()), "outputs": outputs, "size": size}
    with located(other.name):
        answer = child.call("tflm_worker.py", request, what=_WHAT, timeout=_LONG)
        if "refused" in answer:
            raise ModelError(f"{_WHAT} cannot allocate {answer['refused']} in {size:,} bytes")
    return int(answer["equal"]), int(answer["elements"])


def run(model: Path, inputs: Sequence[np.ndarray], outputs: int, size: int) -> tuple[np.ndarray, ...]:
    """All ``outputs``, [n, ...] as stored, that a file gives for ``inputs``, [n, ...] in the file's order, call after call.

    In an arena of ``size`` bytes. ModelError if it does not allocate, ChildError if TFLM dies.
    """
    with located(model.name), scratch.folder() as folder:
        given, made = folder / "inputs.npz", folder / "outputs.npz"
        np.savez(given, *inputs)
        made.touch()
        request = {"model": str(model.resolve()), "inputs": str(given), "outputs": outputs, "size": size, "made": str(made)}
        confined = Confinement(writes=(made,))
        answer = child.call("tflm_worker.py", {"task": "run", **request}, what=_WHAT, timeout=_LONG, confinement=confined)
        if "refused" in answer:
            raise ModelError(f"{_WHAT} cannot allocate it in {size:,} bytes")
        with np.load(made) as arrays:
            return tuple(arrays[f"arr_{n}"] for n in range(outputs))


def arena(model: Path, guess: int) -> Arena:
    """The arena of a file. ``guess``: where to begin, in bytes. ModelError if it does not allocate, ChildError if TFLM dies."""
    request = {"task": "arena", "model": str(model.resolve()), "guess": guess}
    with located(model.name):
        answer = child.call("tflm_worker.py", request, what=_WHAT, timeout=_SECONDS)
        if not answer["allocates"]:
            raise ModelError(f"{_WHAT} cannot allocate it: {answer['said']}")
    return Arena(answer["bytes"], answer["activations"], answer["persistent"], answer["version"])
