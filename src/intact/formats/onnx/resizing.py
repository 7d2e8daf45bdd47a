"""ONNX's Resize: each output element is a weighted sum of input elements along each axis, by how coordinates are counted.

Where LiteRT's own resizing computes the very same sums that is made; else elements are gathered, or the sums are a product
with a constant matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import torch

from intact.errors import ModelError, UnsupportedError
from intact.formats.onnx.activations import along_last
from intact.formats.onnx.build import Value
from intact.formats.onnx.call import Call, Row
from intact.formats.onnx.shaping import picked
from intact.formats.onnx.windows import LAST
from intact.ops.base import OpKind
from intact.ops.call import bounded
from intact.ops.matmul import FullyConnected
from intact.ops.resize import ResizeBilinear, ResizeNearestNeighbor

#: align_corners and half_pixel_centers, as LiteRT has them.
_WAYS: Final = ((False, False), (False, True), (True, False))
_LARGEST: Final = 1 << 22
_ALIKE: Final = 1e-5


@final
@dataclass(frozen=True)
class _Axis:
    """One axis of ``size`` elements that gets ``new`` ones, ``scale`` times as many."""

    size: int
    new: int
    scale: float


def _positions(axis: _Axis, mode: str) -> np.ndarray:
    """Where each output element falls among the input's, in float32 as runtimes count. Source: ONNX's operator schema."""
    x, scale, half = np.arange(axis.new, dtype=np.float32), np.float32(axis.scale), np.float32(0.5)
    if mode == "asymmetric":
        return x / scale
    if mode == "align_corners":
        return x * np.float32((axis.size - 1) / max(axis.new - 1, 1)) if axis.new > 1 else x * 0
    if mode == "tf_half_pixel_for_nn":
        return (x + half) / scale
    if mode == "pytorch_half_pixel" and axis.new == 1:
        return x * 0
    if mode == "half_pixel_symmetric":
        offset = axis.size / 2 * (1 - axis.new / (axis.scale * axis.size))
        return np.float32(offset) + (x + half) / scale - half
    if mode in ("half_pixel", "pytorch_half_pixel"):
        return (x + half) / scale - half
    raise UnsupportedError(f"it counts coordinates by {mode!r}, which no op here does")


_ROUNDINGS: Final[Mapping[str, Callable[[np.ndarray], np.ndarray]]] = {
    "round_prefer_floor": lambda at: np.ceil(at - np.float32(0.5)),
    "round_prefer_ceil": lambda at: np.floor(at + np.float32(0.5)),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _nearest(axis: _Axis, mode: str, rounding: str) -> np.ndarray:
    """Which input element each output element is."""
    if rounding not in _ROUNDINGS:
        raise UnsupportedError(f"it rounds by {rounding!r}, which no op here does")
    at = _positions(axis, mode)
    return np.asarray(np.clip(_ROUNDINGS[rounding](at), 0, axis.size - 1).astype(np.int32))


def _weights(axis: _Axis, mode: str, cubic: float | None, exclude: bool) -> np.ndarray:
    """The matrix [new, size] of an axis: of two neighbours, or with ``cubic``, its coefficient, of four."""
    if axis.new * axis.size > _LARGEST:
        raise ModelError(f"{axis.size} elements resized to {axis.new}")
    at = _positions(axis, mode).astype(np.float64)
    at = np.clip(at, 0, axis.size - 1) if cubic is None else at
    low = np.floor(at).astype(np.int64)
    part = at - low
    taps = {0: 1 - part, 1: part} if cubic is None else _cubic(part, cubic)
    matrix = np.zeros((axis.new, axis.size))
    for step, weight in taps.items():
        place = low + step
        inside = (place >= 0) & (place < axis.size)
        kept = np.where(inside, weight, 0) if exclude else weight
        np.add.at(matrix, (np.arange(axis.new), np.clip(place, 0, axis.size - 1)), kept)
    return np.asarray((matrix / matrix.sum(1, keepdims=True)).astype(np.float32))


def _cubic(part: np.ndarray, a: float) -> dict[int, np.ndarray]:
    """Keys' weights of the four neighbours."""

    def near(d: np.ndarray) -> np.ndarray:
        return np.asarray(((a + 2) * d - (a + 3)) * d * d + 1)

    def far(d: np.ndarray) -> np.ndarray:
        return np.asarray(((a * d - 5 * a) * d + 8 * a) * d - 4 * a)

    return {-1: far(part + 1), 0: near(part), 1: near(1 - part), 2: far(2 - part)}


def _resize(call: Call) -> Value:
    v = call.value(0)
    mode = call.text("mode", "nearest")
    older = call.opset < 11 or call.node.op == "Upsample"
    counted = call.text("coordinate_transformation_mode", "asymmetric" if older else "half_pixel")
    rounding = call.text("nearest_mode", "floor" if older else "round_prefer_floor")
    axes = _axes(call, v, older)
    changed = {a: axis for a, axis in axes.items() if axis.new != axis.size or axis.scale != 1.0}
    if call.integer("antialias", 0) and any(axis.scale < 1 for axis in changed.values()) and mode != "nearest":
        raise UnsupportedError("it makes images smaller with antialias, which no op here does; export it with antialias=False")
    bounded(tuple(axes[a].new if a in axes else n for a, n in enumerate(v.shape)))
    if mode == "nearest":
        nearest = {a: _nearest(axis, counted, rounding) for a, axis in changed.items()}
        matrices = {a: np.eye(axes[a].size, dtype=np.float32)[places] for a, places in nearest.items() if _fits(axes[a])}
        whole = _at_once(call, v, matrices, ResizeNearestNeighbor) if len(matrices) == len(nearest) else None
        for a, places in nearest.items() if whole is None else ():
            v = picked(call.build, v, a, places)
        return v if whole is None else whole
    if mode not in ("linear", "cubic"):
        raise UnsupportedError(f"its mode {mode!r} is none that can be read")
    cubic = call.real("cubic_coeff_a", -0.75) if mode == "cubic" else None
    matrices = {a: _weights(axis, counted, cubic, bool(call.integer("exclude_outside", 0))) for a, axis in changed.items()}
    whole = _at_once(call, v, matrices, ResizeBilinear) if cubic is None else None
    for a, matrix in matrices.items() if whole is None else ():
        v = along_last(call, v, a)
        y = call.build.one(FullyConnected(keep_dims=True), v.stored, matrix)
        v = Value(y, tuple(len(matrix) if n == a else size for n, size in enumerate(v.shape)), v.order)
    return v if whole is None else whole


def _fits(axis: _Axis) -> bool:
    return axis.size * axis.new <= _LARGEST


def _at_once(
    call: Call, v: Value, matrices: Mapping[int, np.ndarray], kind: type[ResizeBilinear | ResizeNearestNeighbor]
) -> Value | None:
    """The resizing as LiteRT's op, if one of the ways in which it counts gives the same weights; None where none does."""
    if not matrices:
        return v
    if v.rank not in (3, 4) or min(matrices) < 2:
        return None
    order = LAST[v.rank - 2]
    sizes = [(v.shape[a], len(matrices[a]) if a in matrices else v.shape[a]) for a in range(2, v.rank)]
    new = np.asarray([1] * (4 - v.rank) + [n for _, n in sizes], np.int32)
    for way in _WAYS:
        if all(_same(kind(*way), matrix) for matrix in matrices.values()):
            x = call.build.arranged(v, order)
            return call.resized(call.build.one(kind(*way), x.stored, new), order)
    return None


def _same(kind: OpKind, matrix: np.ndarray) -> bool:
    """Whether LiteRT's op makes of the unit vectors what the matrix has in its columns."""
    new, size = matrix.shape
    unit = torch.eye(size).reshape(1, size, 1, size)
    made = kind.compute(unit, torch.tensor([new, 1], dtype=torch.int32))
    assert isinstance(made, torch.Tensor)
    return bool(np.abs(made.numpy().reshape(new, size) - matrix).max() <= _ALIKE)


def _axes(call: Call, v: Value, older: bool) -> dict[int, _Axis]:
    """The axes that are resized, from the node's scales or sizes."""
    given = call.integers("axes")
    named = tuple(range(v.rank)) if given is None else tuple(call.counted(a, v.rank) for a in given)
    at = 1 if older else 2
    scales = call.constant(at, "scales").reshape(-1) if call.has(at) else np.empty(0)
    attribute = call.node.attributes.get("scales")
    scales = np.asarray(attribute, np.float32) if isinstance(attribute, tuple) else scales
    if scales.size:
        if scales.size != len(named) or not (np.isfinite(scales).all() and (scales > 0).all()):
            raise ModelError(f"scales {scales[:8].tolist()} of {len(named)} axes")
        new = np.floor(np.asarray([v.shape[a] for a in named], np.float32) * scales.astype(np.float32))  # as runtimes round it
        return {a: _Axis(v.shape[a], int(n), float(s)) for a, n, s in zip(named, new, scales, strict=True)}
    sizes = call.whole(3, "sizes")
    if sizes is None or len(sizes) != len(named) or min(sizes, default=1) < 1:
        raise ModelError(f"it says no sizes that fit {len(named)} axes")
    policy = call.text("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        ratios = [n / v.shape[a] for a, n in zip(named, sizes, strict=True)]
        scale = min(ratios) if policy == "not_larger" else max(ratios)
        return {a: _Axis(v.shape[a], int(np.floor(scale * v.shape[a] + 0.5)), scale) for a in named}
    return {a: _Axis(v.shape[a], n, n / v.shape[a]) for a, n in zip(named, sizes, strict=True)}


ROWS: Final[Mapping[str, Row]] = {"Resize": _resize, "Upsample": _resize}
