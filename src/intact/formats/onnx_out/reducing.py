"""Pools, reductions and resizing."""

from __future__ import annotations

from math import prod
from typing import Final

import numpy as np

from intact.formats.onnx_out.build import FIRST, Value
from intact.formats.onnx_out.call import Call, Row, plain
from intact.formats.onnx_out.weighted import pads_of
from intact.numbers.affine import Affine
from intact.ops.pooling import AveragePool2D, MaxPool2D
from intact.ops.reduction import ArgMax, ArgMin, Cumsum, Mean, ReduceAll, ReduceAny, ReduceMax, ReduceMin, ReduceProd, Sum
from intact.ops.resize import ResizeBilinear, ResizeNearestNeighbor


def _pool(call: Call) -> list[Value]:
    kind = call.op.kind
    assert isinstance(kind, (AveragePool2D, MaxPool2D))
    sizes, average = call.shape(0)[1:3], isinstance(kind, AveragePool2D)
    if average and kind.filter == sizes and kind.padding == "valid":
        made = call.node("GlobalAveragePool", call.first())
    else:
        pads = pads_of(kind.padding, sizes, kind.filter, kind.stride, (1, 1))
        options = {"kernel_shape": kind.filter, "strides": kind.stride, "pads": pads}
        counted = {"count_include_pad": 0} if average else {}
        made = call.node("AveragePool" if average else "MaxPool", call.first(), **options, **counted)
    return [Value(call.activated(made, kind.activation), FIRST)]


def _mean_by_count(call: Call, name: str, axes: list[int], count: int) -> str:
    """A sum of what integers stand for, as OpenVINO computes it rightly: 2026.4 loses zero points of a ReduceSum."""
    return call.node("Mul", call.node("ReduceMean", name, axes=axes, keepdims=1), call.build.real(count))


def _reduction(op: str, *, through: str = "") -> Row:
    """A reduction over constant axes; ``through``: a type that ONNX reduces where it does not reduce the input's."""

    def row(call: Call) -> list[Value]:
        kind = call.op.kind
        assert isinstance(kind, (Mean, Sum, ReduceProd, ReduceMax, ReduceMin, ReduceAny, ReduceAll))
        x, rank = call.value(), len(call.shape(0))
        gone = sorted({axis % rank for axis in call.whole(1, "axes")})
        whole_image = op == "ReduceMean" and rank == 4 and gone == [1, 2]
        x = Value(call.first(), FIRST) if whole_image else x
        name = call.node("Cast", x.name, to=through) if through else x.name
        axes = sorted(x.axis(axis) for axis in gone)
        if whole_image:  # the mean that runtimes have in integers
            name = call.node("GlobalAveragePool", name)
        elif op == "ReduceSum" and isinstance(call.graph[call.id(0)].format, Affine):
            name = _mean_by_count(call, name, axes, prod(call.shape(0)[axis] for axis in gone))
        elif op == "ReduceSum":
            name = call.node(op, name, call.build.numbers(*axes), keepdims=1)
        else:
            name = call.node(op, name, axes=axes, keepdims=1)
        name = call.node("Cast", name, to="bool") if through else name
        if kind.keep_dims:
            return [Value(name, x.order)]
        left = [axis for axis in x.order if axis not in gone]
        name = call.node("Squeeze", call.settled(name), call.build.numbers(*axes))
        kept = sorted(left)
        return [Value(name, tuple(kept.index(axis) for axis in left))]

    return row


def _place(op: str) -> Row:
    """The index of the largest or smallest along one axis."""

    def row(call: Call) -> list[Value]:
        kind = call.op.kind
        assert isinstance(kind, (ArgMax, ArgMin))
        x, (axis,) = call.value(), call.whole(1, "axis")
        axis %= len(call.shape(0))
        name = call.node("Cast", call.node(op, x.name, axis=x.axis(axis), keepdims=0), to=kind.dtype)
        left = [a for a in x.order if a != axis]
        return [Value(name, tuple(sorted(left).index(a) for a in left))]

    return row


def _sums_so_far(call: Call) -> list[Value]:
    kind, x, (axis,) = call.kind(Cumsum), call.value(), call.whole(1, "axis")
    at = call.build.constant(np.array(x.axis(axis), np.int64), "int64", "axis")
    return [Value(call.node("CumSum", x.name, at, exclusive=int(kind.exclusive), reverse=int(kind.reverse)), x.order)]


def _resize(call: Call) -> list[Value]:
    """By factors, as the batch may be open: each a float32 of which the size is the floor of size times factor."""
    kind = call.op.kind
    assert isinstance(kind, (ResizeBilinear, ResizeNearestNeighbor))
    factors = [_factor(was, new) for was, new in zip(call.shape(0)[1:3], call.out_shape[1:3], strict=True)]
    nearest = isinstance(kind, ResizeNearestNeighbor)
    mode = "align_corners" if kind.align_corners else "half_pixel" if kind.half_pixel_centers else "asymmetric"
    # (i + 0.5) s - 0.5 rounded half up is the floor of (i + 0.5) s, which is what the kernels take
    near = {"nearest_mode": "floor" if mode == "asymmetric" else "round_prefer_ceil"} if nearest else {}
    scales = call.build.constant(np.array([1.0, 1.0, *factors], np.float32), "float32", "factors")
    options = {"mode": "nearest" if nearest else "linear", "coordinate_transformation_mode": mode, **near}
    return [Value(call.node("Resize", call.first(), "", scales, **options), FIRST)]


def _factor(was: int, new: int) -> np.float32:
    """The least by which ``was`` becomes ``new`` in float64 as in float32: 12 x 0.58333337 is 7, 12 x 0.5833333 is less."""
    factor = np.float32(new / was)
    while was * float(factor) < new:
        factor = np.nextafter(factor, np.float32(np.inf))
    return factor


def _largest(call: Call) -> list[Value]:
    """TOPK_V2."""
    k = call.build.numbers(*call.whole(1, "k"))
    values, order = call.build.node_of("TopK", (call.plain(), k), 2, axis=-1)
    rank = len(call.shape(0))
    return [Value(values, plain(rank)), Value(call.node("Cast", order, to="int32"), plain(rank))]


ROWS: Final[dict[str, Row]] = {
    "AVERAGE_POOL_2D": _pool,
    "MAX_POOL_2D": _pool,
    "MEAN": _reduction("ReduceMean"),
    "SUM": _reduction("ReduceSum"),
    "REDUCE_PROD": _reduction("ReduceProd"),
    "REDUCE_MAX": _reduction("ReduceMax"),
    "REDUCE_MIN": _reduction("ReduceMin"),
    "REDUCE_ANY": _reduction("ReduceMax", through="int32"),
    "REDUCE_ALL": _reduction("ReduceMin", through="int32"),
    "ARG_MAX": _place("ArgMax"),
    "ARG_MIN": _place("ArgMin"),
    "CUMSUM": _sums_so_far,
    "RESIZE_BILINEAR": _resize,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "TOPK_V2": _largest,
}
