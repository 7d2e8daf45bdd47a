"""ONNX's reductions over axes, and searches along one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from intact.errors import UnsupportedError
from intact.formats.onnx.arithmetic import combined
from intact.formats.onnx.build import NONE, Stored, Value
from intact.formats.onnx.call import Call, Row
from intact.formats.onnx.matmul import without
from intact.ops.activation import Abs, Exp, Log, Neg, Sqrt, Square
from intact.ops.base import OpKind
from intact.ops.elementwise import Add, Div, Sub
from intact.ops.indexing import TopK
from intact.ops.reduction import ArgMax, ArgMin, Cumsum, Mean, ReduceMax, ReduceMin, ReduceProd, Sum
from intact.ops.shaping import ReverseV2

Reduce = Callable[..., OpKind]


def over(call: Call, reduce: Reduce, v: Value, axes: tuple[int, ...]) -> Value:
    """``v`` reduced over ``axes``, which stay with a length of 1."""
    v = call.build.having(v, *axes)
    places = np.asarray(sorted(v.axis(a) for a in axes), np.int32)
    shape = tuple(1 if a in axes else n for a, n in enumerate(v.shape))
    return Value(call.build.one(reduce(keep_dims=True), v.stored, places), shape, v.order)


def _reduced(call: Call, reduce: Reduce, before: Callable[[Value], Value] | None = None) -> Value:
    """By the node's axes: none are all, or with ``noop_with_empty_axes`` none."""
    v = call.value(0)
    given = call.axes(1)
    v = v if before is None else before(v)
    if not given and call.integer("noop_with_empty_axes", 0):
        return v
    axes = tuple(range(v.rank)) if not given else tuple(dict.fromkeys(call.counted(a, v.rank) for a in given))
    if not axes:
        return v
    if not v.is_float and reduce is Mean:
        raise UnsupportedError("it takes the mean of whole numbers, which no runtime here does")
    if call.integer("keepdims", 1):
        return over(call, reduce, v, axes)
    v = call.build.having(v, *axes)
    y = call.build.one(reduce(keep_dims=False), v.stored, np.asarray(sorted(v.axis(a) for a in axes), np.int32))
    kept = [a for a in range(v.rank) if a not in axes]
    order = tuple(kept.index(a) if a != NONE else a for a in v.order if a not in axes)
    return Value(y, tuple(v.shape[a] for a in kept), order)


def _row(reduce: Reduce, before: OpKind | None = None, after: OpKind | None = None) -> Row:
    def row(call: Call) -> Value:
        y = _reduced(call, reduce, None if before is None else lambda v: call.same(before, v))
        return y if after is None else call.same(after, y)

    return row


def _log_sum_exp(call: Call) -> Value:
    """``m + log(sum(exp(x - m)))`` with m the largest, which no x makes infinite."""
    v = call.value(0)
    given = call.axes(1)
    if not given and call.integer("noop_with_empty_axes", 0):
        return v
    axes = tuple(call.counted(a, v.rank) for a in given) if given else tuple(range(v.rank))
    largest = over(call, ReduceMax, v, axes)
    small = call.same(Exp(), combined(call.build, Sub(), v, largest))
    kept = combined(call.build, Add(), call.same(Log(), over(call, Sum, small, axes)), largest)
    return kept if call.integer("keepdims", 1) else without(kept, axes)


def _extreme(kind: Callable[..., OpKind]) -> Row:
    """Where along one axis the largest or smallest is, the first of equal ones or the last."""

    def row(call: Call) -> Value:
        axis = call.counted(call.integer("axis", 0), call.value(0).rank)
        v = call.build.having(call.value(0), axis)
        at, last = v.axis(axis), call.integer("select_last_index", 0)
        stored = call.build.one(ReverseV2(), v.stored, np.asarray([at], np.int32)) if last else v.stored
        y = call.build.one(kind(dtype="int32"), stored, np.asarray(at, np.int32))
        order = tuple(a - (a > axis) for a in v.order if a != axis)
        found = Value(y, tuple(n for a, n in enumerate(v.shape) if a != axis), order)
        if last:
            found = combined(call.build, Sub(), Value.plain(Stored.of(np.asarray(v.shape[axis] - 1, np.int32))), found)
        if not call.integer("keepdims", 1):
            return found
        return Value(
            found.stored,
            (*found.shape[:axis], 1, *found.shape[axis:]),
            tuple(a if a == NONE else a + (a >= axis) for a in found.order),
        )

    return row


def _cumsum(call: Call) -> Value:
    axis = call.counted(int(call.constant(1, "axis").reshape(-1)[0]), call.value(0).rank)
    v = call.build.having(call.value(0), axis)
    at = v.axis(axis)
    kind = Cumsum(bool(call.integer("exclusive", 0)), bool(call.integer("reverse", 0)))
    return call.same(kind, v, np.asarray(at, np.int32))


def _top_k(call: Call) -> list[Value]:
    """The largest along the last axis, the smallest as the largest of what is negated; those along another are turned there."""
    v = call.value(0)
    axis = call.counted(call.integer("axis", -1), v.rank)
    k = int(call.constant(1, "k").reshape(-1)[0])
    v = call.build.having(v, axis)
    v = call.build.arranged(v, (*(a for a in v.order if a != axis), axis))
    largest = bool(call.integer("largest", 1))
    values, places = call.build.emit(TopK(), v.stored if largest else _negated(call, v.stored), np.asarray(k, np.int32))
    shape = tuple(k if a == axis else n for a, n in enumerate(v.shape))
    return [Value(values if largest else _negated(call, values), shape, v.order), Value(places, shape, v.order)]


def _negated(call: Call, x: Stored) -> Stored:
    return call.build.one(Neg(), x)


def _lp_norm(call: Call) -> Value:
    """``x / (sum(|x|^p))^(1/p)`` along an axis."""
    v = call.value(0)
    axis, p = call.counted(call.integer("axis", -1), v.rank), call.integer("p", 2)
    if p not in (1, 2):
        raise UnsupportedError(f"it normalizes by the norm {p}, and only 1 and 2 can be read")
    total = over(call, Sum, call.same(Abs() if p == 1 else Square(), v), (axis,))
    return combined(call.build, Div(), v, total if p == 1 else call.same(Sqrt(), total))


ROWS: Final[Mapping[str, Row]] = {
    "ReduceMean": _row(Mean),
    "ReduceSum": _row(Sum),
    "ReduceMax": _row(ReduceMax),
    "ReduceMin": _row(ReduceMin),
    "ReduceProd": _row(ReduceProd),
    "ReduceL1": _row(Sum, Abs()),
    "ReduceL2": _row(Sum, Square(), Sqrt()),
    "ReduceSumSquare": _row(Sum, Square()),
    "ReduceLogSum": _row(Sum, None, Log()),
    "ReduceLogSumExp": _log_sum_exp,
    "ArgMax": _extreme(ArgMax),
    "ArgMin": _extreme(ArgMin),
    "CumSum": _cumsum,
    "TopK": _top_k,
    "LpNormalization": _lp_norm,
}
