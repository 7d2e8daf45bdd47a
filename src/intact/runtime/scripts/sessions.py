"""What runs a file in a child process, whichever runtime that is: inputs and outputs as ports, and which runtime reads what.

A session has ``inputs`` and ``outputs``, is called with stored arrays by name, can be fed, invoked and resized, and says
whether it ``keeps_state`` or ``begins_anew``; beside it, ``check(kernels)`` says what is missing here. Imported by plain name
by its neighbours; imports numpy only.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]
Session: TypeAlias = Any

#: Lowest and highest integer of each type in float32, ready for a loop that runs thousands of times a second.
LIMITS = {np.dtype(t).name: np.array([np.iinfo(t).min, np.iinfo(t).max], np.float32) for t in (np.int8, np.uint8, np.int16)}
#: By the name of the kernels: the neighbour whose Session(model, kernels, threads) has them.
_SESSIONS = {
    "default": "litert_session",
    "reference": "litert_session",
    "tflm": "tflm_session",
    "onnxruntime": "onnxruntime_session",
    "openvino": "openvino_session",
    "pytorch": "pytorch_session",
    "pytorch-eager": "pytorch_session",
    "tensorrt": "onnxruntime_session",
}


class ModelRefusedError(Exception):
    """LiteRT cannot load or prepare the file."""


class DataRefusedError(Exception):
    """The samples do not fit the model's inputs."""


class MissingPackageError(Exception):
    """The runtime is not installed; the text is the package's name."""


def opened(model: str, kernels: str, threads: int = 1) -> Session:
    """A session of the file, not for two threads at once. ModelRefusedError where the runtime cannot load it."""
    return _module(kernels).Session(model, kernels, threads)


def check(kernels: str) -> None:
    """ModelRefusedError that says what this machine lacks for the kernels, besides packages."""
    _module(kernels).check(kernels)


def _module(kernels: str) -> Any:
    try:
        return importlib.import_module(_SESSIONS[kernels])
    except ModuleNotFoundError as error:
        raise MissingPackageError(error.name) from error


def outside(listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of the ops as LiteRT lists them, those of the file that no partition runs."""
    own = [op for op in listed if op["op_name"] != "DELEGATE"]
    inside = set().union(*(_covered(op, own) for op in listed if op["op_name"] == "DELEGATE"))
    return [op for op in own if op["index"] not in inside]


def _covered(partition: Mapping[str, Any], ops: list[dict[str, Any]]) -> set[int]:
    """Indices of the ops that a partition replaces: all that lead to its outputs, back to its inputs."""
    producer = {int(out): op for op in ops for out in op["outputs"]}
    given = {int(i) for i in partition["inputs"]}
    covered: set[int] = set()
    pending = [int(out) for out in partition["outputs"]]
    while pending:
        op = producer.get(pending.pop())
        if op is not None and op["index"] not in covered:
            covered.add(op["index"])
            pending += [int(i) for i in op["inputs"] if int(i) not in given]
    return covered


def one_line(error: Exception) -> str:
    """What a runtime says of a failure, without the places of its own sources."""
    return " ".join(re.sub(r"\S*/(?=[\w.]+:\d+)", "", str(error)).split())[:400]


@final
@dataclass(frozen=True)
class Port:
    """One input or output: its public name, and what LiteRT says of its tensor. ``signature`` has -1 for free dimensions."""

    name: str
    index: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int

    @property
    def is_affine(self) -> bool:
        return bool(self.scale) and self.dtype.kind in "iu"

    def store(self, values: Array) -> Array:
        """Real numbers or stored integers as this tensor stores them: ``clamp(round_half_even(x / scale) + zero_point)``."""
        if values.dtype == self.dtype:
            return values
        if self.dtype.kind == "f":
            return values.astype(self.dtype)
        low, high = LIMITS[self.dtype.name]
        stored: Array = np.divide(values, np.float32(self.scale[0]), dtype=np.float32)
        np.rint(stored, out=stored)  # in place: this is a tenth of the time of a small network
        stored += np.float32(self.zero_point[0])
        np.clip(stored, low, high, out=stored)
        return stored.astype(self.dtype)

    def real(self, stored: Array) -> Array:
        """``scale * (q - zero_point)`` in float32; other numbers as they are."""
        if not self.is_affine:
            return stored.astype(np.float32) if stored.dtype.kind == "f" else stored
        shape = [1] * stored.ndim
        if len(self.scale) > 1:
            shape[self.axis] = -1
        zero_point = np.asarray(self.zero_point, np.float32).reshape(shape)
        return (stored.astype(np.float32) - zero_point) * np.asarray(self.scale, np.float32).reshape(shape)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": self.dtype.name,
            "shape": self.signature or self.shape,
            "scale": self.scale,
            "zero_point": self.zero_point,
        }
