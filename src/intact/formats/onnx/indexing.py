"""ONNX's ops that pick or replace single elements: by places that are known, or, where they only pick, by computed ones."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Final

import numpy as np

from intact.errors import ModelError, UnsupportedError
from intact.formats.onnx.build import Builder, Shape, Value
from intact.formats.onnx.call import Call, Row
from intact.formats.onnx.constants import known
from intact.formats.onnx.shaping import joined, part, picked, reshaped
from intact.ops.call import bounded
from intact.ops.indexing import GatherNd
from intact.ops.rounding import FloorMod
from intact.ops.shaping import Concatenation, Gather, ReverseV2

#: Elements of a tensor of which some are replaced; each has a place in a constant.
_LARGEST: Final = 1 << 23


def _not_negative(index: np.ndarray, sizes: Shape) -> np.ndarray:
    """Places [..., axes] counted from the first. ModelError where one is not there."""
    size = np.asarray(sizes, np.int64)
    made = np.where(index < 0, index + size, index)
    if ((made < 0) | (made >= size)).any():
        raise ModelError(f"an index outside of {list(sizes)}")
    return np.asarray(made)


def _along(shape: Shape, axis: int, index: np.ndarray) -> np.ndarray:
    """Places [..., rank] of which ``index`` says that along ``axis``, and where it stands itself the others."""
    bounded((*shape, len(shape)))
    places = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1).astype(np.int64)
    places[..., axis] = index
    return places


# ---- what is picked -----------------------------------------------------------------------------------------------------


def _gather_elements(call: Call) -> Value:
    """``y[i][j][k] = x[i][index[i][j][k]][k]``, for axis 1."""
    x, index = call.build.as_onnx(call.value(0)), call.build.as_onnx(call.value(1))
    axis = call.counted(call.integer("axis", 0), x.rank)
    if index.rank != x.rank:
        raise ModelError(f"{list(index.shape)} indices into {list(x.shape)}")
    if index.stored.data is not None:
        place = _not_negative(index.stored.data[..., None], (x.shape[axis],))[..., 0]
        return _elements(call.build, x, _along(index.shape, axis, place))
    others = _along(index.shape, axis, np.zeros(index.shape, np.int64)).astype(np.int32)
    wrapped = call.build.one(FloorMod(), index.stored, np.asarray(x.shape[axis], np.int32))
    last = call.build.reshaped(wrapped, (*index.shape, 1))
    parts = [p for p in (others[..., :axis], last, others[..., axis + 1 :]) if p.shape[-1]]
    return Value.plain(call.build.one(GatherNd(), x.stored, call.build.one(Concatenation(index.rank), *parts)))


def _gather_nd(call: Call) -> Value:
    """``y[b..., m...] = x[b..., index[b..., m..., :]]`` with as many first axes in common as ``batch_dims`` says."""
    x, index = (call.build.as_onnx(call.value(n)) for n in (0, 1))
    batch = call.integer("batch_dims", 0)
    if not 0 <= batch < min(x.rank, index.rank) or x.shape[:batch] != index.shape[:batch]:
        raise ModelError(f"{list(index.shape)} indices into {list(x.shape)} within {batch} axes")
    depth = index.shape[-1]
    if index.stored.data is not None:
        places = _not_negative(index.stored.data, x.shape[batch : batch + depth])
        if batch == 0:
            return Value.plain(call.build.one(GatherNd(), x.stored, places.astype(np.int32)))
        own = _along(index.shape[:-1], 0, np.zeros(1, np.int64))
        own[..., 0] = np.arange(index.shape[0]).reshape(-1, *(1,) * (index.rank - 2))
        both = np.concatenate([own[..., :batch], places], -1)
        return Value.plain(call.build.one(GatherNd(), x.stored, both.astype(np.int32)))
    if batch:
        raise UnsupportedError("it gathers within batches at places that are computed; export the model with constant indices")
    return Value.plain(call.build.one(GatherNd(), x.stored, index.stored))


def _elements(build: Builder, x: Value, places: np.ndarray) -> Value:
    """The elements of ``x`` at ``places`` [..., rank]."""
    return Value.plain(build.one(GatherNd(), x.stored, places.astype(np.int32)))


def _compress(call: Call) -> Value:
    """The elements along an axis, or of all in a row, where a condition that is known is true."""
    v, kept = call.value(0), np.flatnonzero(call.constant(1, "condition"))
    if "axis" not in call.node.attributes:
        return picked(call.build, reshaped(call.build, v, (prod(v.shape),)), 0, kept.astype(np.int32))
    return picked(call.build, v, call.counted(call.integer("axis", 0), v.rank), kept.astype(np.int32))


# ---- what is replaced -----------------------------------------------------------------------------------------------------


def _scatter_nd(call: Call) -> Value:
    """``x`` with ``updates`` at places [..., k] that are known: ``x[index[i]] = updates[i]``."""
    x, index = call.value(0), call.constant(1, "index")
    depth = index.shape[-1] if index.ndim else 0
    if not 0 < depth <= x.rank:
        raise ModelError(f"{list(index.shape)} indices into {list(x.shape)}")
    inner = x.shape[depth:]
    bounded((*index.shape[:-1], *inner, x.rank))
    first = _not_negative(index, x.shape[:depth])
    rows = np.ravel_multi_index(tuple(np.moveaxis(first, -1, 0)), x.shape[:depth])
    places = rows[..., None] * prod(inner) + np.arange(prod(inner))
    return _replaced(call, x, places.reshape(-1), call.value(2), (*index.shape[:-1], *inner))


def _scatter_elements(call: Call) -> Value:
    """``x`` with ``updates`` at places that are known: ``x[i][index[i][j][k]][k] = updates[i][j][k]``, for axis 1."""
    x, index = call.value(0), call.constant(1, "index")
    axis = call.counted(call.integer("axis", 0), x.rank)
    if index.ndim != x.rank:
        raise ModelError(f"{list(index.shape)} indices into {list(x.shape)}")
    place = _not_negative(index[..., None], (x.shape[axis],))[..., 0]
    places = _along(index.shape, axis, place)
    flat = np.ravel_multi_index(tuple(np.moveaxis(places, -1, 0)), x.shape)
    return _replaced(call, x, flat.reshape(-1), call.value(2), index.shape)


def _replaced(call: Call, x: Value, places: np.ndarray, updates: Value, shape: Shape) -> Value:
    """``x`` with ``updates``, of ``shape``, at ``places`` of its elements, counted in ONNX's order."""
    if call.text("reduction", "none") != "none":
        raise UnsupportedError("it adds to what is there, which no op here does; export it without a reduction")
    if updates.shape != shape or len(np.unique(places)) != len(places):
        raise ModelError(f"updates of shape {list(updates.shape)} for {len(places)} places")
    if prod(x.shape) > _LARGEST:
        raise UnsupportedError(f"it replaces elements of a tensor of shape {list(x.shape)}, which is too large for that here")
    source = np.full(prod(x.shape), -1, np.int64)
    source[places] = np.arange(len(places))
    source = source.reshape(x.shape)
    box = _box(source >= 0)
    if box is not None and (source[tuple(slice(r.start, r.stop) for r in box)].reshape(-1) == np.arange(len(places))).all():
        inside = tuple(len(r) for r in box)
        return _put(call.build, x, reshaped(call.build, updates, inside), box)
    # one row of all that there is, behind the axis of samples if there is one
    lead = (1,) if x.shape[:1] == (1,) else ()
    count = prod(x.shape)
    both = joined(
        call.build,
        [reshaped(call.build, v, (*lead, prod(v.shape))) for v in (x, updates)],
        len(lead),
    )
    which = np.where(source < 0, np.arange(count).reshape(x.shape), count + source)
    y = call.build.one(Gather(len(lead)), call.build.as_onnx(both).stored, which.reshape(-1).astype(np.int32))
    return reshaped(call.build, Value.plain(y), x.shape)


def _box(where: np.ndarray) -> list[range] | None:
    """The ranges along each axis of which ``where`` is true; None where it is no such box."""
    found = [np.flatnonzero(where.any(tuple(n for n in range(where.ndim) if n != axis))) for axis in range(where.ndim)]
    if any(not len(places) for places in found):
        return None
    ranges = [range(int(places[0]), int(places[-1]) + 1) for places in found]
    return ranges if where.sum() == prod(len(r) for r in ranges) else None


def _put(build: Builder, x: Value, updates: Value, box: list[range]) -> Value:
    """``x`` with ``updates`` in a box of it: what stands before, itself, and what stands behind, axis by axis."""
    axis = next((a for a, r in enumerate(box) if len(r) != x.shape[a]), None)
    if axis is None:
        return updates
    first, last = box[axis].start, box[axis].stop
    middle = _put(
        build, part(build, x, {axis: range(first, last)}), updates, [*box[:axis], range(last - first), *box[axis + 1 :]]
    )
    before, behind = part(build, x, {axis: range(first)}), part(build, x, {axis: range(last, x.shape[axis])})
    return joined(build, [v for v in (before, middle, behind) if v.shape[axis]], axis)


# ---- what is known --------------------------------------------------------------------------------------------------------


def _non_zero(call: Call) -> Value:
    """The places of a constant's numbers that are not zero, [rank, count]."""
    return known(np.asarray(np.nonzero(call.constant(0, "data")), np.int64))


def _reverse_sequence(call: Call) -> Value:
    """Every sequence backwards, where all are as long as the array that holds them."""
    v, lengths = call.value(0), call.whole(1, "lengths")
    time, batch = (call.counted(call.integer(name, n), v.rank) for name, n in (("time_axis", 0), ("batch_axis", 1)))
    if lengths != (v.shape[time],) * v.shape[batch]:
        raise UnsupportedError(f"its sequences end before the last of {v.shape[time]} steps; export it without their lengths")
    v = call.build.having(v, time)
    return call.same(ReverseV2(), v, np.asarray([v.axis(time)], np.int32))


ROWS: Final[Mapping[str, Row]] = {
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "ScatterND": _scatter_nd,
    "ScatterElements": _scatter_elements,
    "Compress": _compress,
    "NonZero": _non_zero,
    "ReverseSequence": _reverse_sequence,
}
