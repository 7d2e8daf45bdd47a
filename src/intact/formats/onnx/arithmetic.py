"""ONNX's ops of several numbers, element by element: arithmetic, comparisons and choices, with broadcasting."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from intact.errors import UnsupportedError
from intact.formats.onnx.build import Builder, Stored, Value, size
from intact.formats.onnx.call import Call, Row
from intact.ops.activation import Relu, Relu6, Sqrt, Square
from intact.ops.base import OpKind
from intact.ops.elementwise import Add, Div, Maximum, Minimum, Mul, Pow, Sub
from intact.ops.logic import (
    Equal,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    LogicalAnd,
    LogicalNot,
    LogicalOr,
    SelectV2,
)
from intact.ops.rounding import FloorMod


def together(build: Builder, values: Sequence[Value]) -> tuple[list[Stored], Value]:
    """Tensors of one order that broadcast as ONNX broadcasts ``values``, and a value of the result's shape and order.

    The order is that of the largest that is computed; constants take any for nothing.
    """
    rank = max(v.rank for v in values)
    seen = [v.seen_as(rank) for v in values]
    shape = np.broadcast_shapes(*(v.shape for v in values))
    leading = max(seen, key=lambda v: (not v.is_constant, size(v.stored), 0 in v.order, v.order != tuple(range(v.rank))))
    if leading.shape != shape:
        leading = build.complete(leading)
    laid = [build.arranged(v, leading.order).stored for v in seen]
    narrow = [
        _without_leading(build, x) if v.is_constant and not leading.is_constant else x for x, v in zip(laid, seen, strict=True)
    ]
    return narrow, Value(laid[0], shape, leading.order)


def _without_leading(build: Builder, x: Stored) -> Stored:
    """A constant without the axes of length 1 that it begins with."""
    first = next((n for n, length in enumerate(x.shape) if length != 1), len(x.shape))
    return build.reshaped(x, x.shape[first:])


def combined(build: Builder, kind: OpKind, *values: Value) -> Value:
    """What ``kind`` makes of ``values``, which broadcast."""
    laid, like = together(build, values)
    return Value(build.one(kind, *laid), like.shape, like.order)


def scalar(number: float) -> Value:
    """A real number as a constant."""
    return Value.plain(Stored.of(np.asarray(number, np.float32)))


def single(v: Value) -> float | None:
    """The only number of a constant; None for anything else."""
    return float(v.stored.data.reshape(-1)[0]) if v.stored.data is not None and v.stored.data.size == 1 else None


def _pairs(kind: OpKind) -> Row:
    return lambda call: combined(call.build, kind, call.value(0), call.value(1))


def _many(kind: OpKind) -> Row:
    """An op of any number of values, two at a time."""
    return lambda call: functools.reduce(lambda a, b: combined(call.build, kind, a, b), call.values)


def _mean(call: Call) -> Value:
    total = functools.reduce(lambda a, b: combined(call.build, Add(), a, b), call.values)
    return combined(call.build, Mul(), total, scalar(1 / len(call.values)))


def _clip_at(call: Call, kind: OpKind, at: Mapping[float, OpKind]) -> Value:
    """The larger or smaller of values: with a constant number, where there is one op for that, by it."""
    if len(call.values) == 2:
        for x, other in (call.values, reversed(call.values)):
            number = single(other)
            if number is not None and number in at and x.is_float and not x.is_constant and x.rank >= other.rank:
                return call.same(at[number], x)
    return functools.reduce(lambda a, b: combined(call.build, kind, a, b), call.values)


def _max(call: Call) -> Value:
    return _clip_at(call, Maximum(), {0.0: Relu()})


def _min(call: Call) -> Value:
    """``min(relu(x), 6)`` is one op, as tf2onnx spells RELU6."""
    return _clip_at(call, Minimum(), {6.0: Relu6()} if _is_rectified(call) else {})


def _is_rectified(call: Call) -> bool:
    return any(call.build.is_made_by(v.stored, Relu()) for v in call.values)


def _power(call: Call) -> Value:
    x, exponent = call.value(0), call.value(1)
    known = {2.0: Square(), 0.5: Sqrt()}.get(number) if (number := single(exponent)) is not None else None
    if known is not None and x.is_float and not x.is_constant and exponent.rank <= x.rank:
        return call.same(known, x)
    if x.is_float and not exponent.is_float and exponent.stored.data is not None:
        exponent = Value(Stored.of(exponent.stored.data.astype(np.float32)), exponent.shape, exponent.order)
    return combined(call.build, Pow(), x, exponent)


def _modulo(call: Call) -> Value:
    """The remainder with the divisor's sign; with ``fmod`` with the dividend's: ``a - b trunc(a / b)``, for whole numbers."""
    a, b = call.value(0), call.value(1)
    if not call.integer("fmod", 0):
        return combined(call.build, FloorMod(), a, b)
    if a.is_float:
        raise UnsupportedError("the remainder of real numbers with the dividend's sign has no counterpart; use fmod=0")
    return combined(call.build, Sub(), a, combined(call.build, Mul(), b, combined(call.build, Div(), a, b)))


def _exclusive(call: Call) -> Value:
    """One of two bools, not both: (a or b) and not (a and b)."""
    a, b = call.value(0), call.value(1)
    both = combined(call.build, LogicalAnd(), a, b)
    return combined(call.build, LogicalAnd(), combined(call.build, LogicalOr(), a, b), combined(call.build, LogicalNot(), both))


ROWS: Final[Mapping[str, Row]] = {
    "Add": _pairs(Add()),
    "Sub": _pairs(Sub()),
    "Mul": _pairs(Mul()),
    "Div": _pairs(Div()),
    "Pow": _power,
    "Mod": _modulo,
    "Max": _max,
    "Min": _min,
    "Sum": _many(Add()),
    "Mean": _mean,
    "Equal": _pairs(Equal()),
    "Greater": _pairs(Greater()),
    "GreaterOrEqual": _pairs(GreaterEqual()),
    "Less": _pairs(Less()),
    "LessOrEqual": _pairs(LessEqual()),
    "And": _pairs(LogicalAnd()),
    "Or": _pairs(LogicalOr()),
    "Xor": _exclusive,
    "Not": lambda call: call.same(LogicalNot(), call.value(0)),
    "Where": lambda call: combined(call.build, SelectV2(), *call.values),
}
