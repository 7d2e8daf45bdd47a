"""ONNX's ops of one number, element by element; softmax; and what they are composed of where ours are fewer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from math import prod
from typing import Final

import numpy as np

from intact.errors import UnsupportedError
from intact.formats.onnx.arithmetic import combined, scalar, single, together
from intact.formats.onnx.build import Builder, Stored, Value
from intact.formats.onnx.call import Call, Row
from intact.ops.activation import (
    Abs,
    Cos,
    Elu,
    Exp,
    Gelu,
    HardSwish,
    LeakyRelu,
    Log,
    Logistic,
    LogSoftmax,
    Neg,
    PRelu,
    Relu,
    Relu0To1,
    Relu6,
    ReluN1To1,
    Sin,
    Softmax,
    Sqrt,
    Tanh,
)
from intact.ops.base import OpKind
from intact.ops.elementwise import Add, Div, Maximum, Minimum, Mul, Sub
from intact.ops.indexing import OneHot
from intact.ops.logic import Greater, NotEqual, SelectV2
from intact.ops.quantization import Cast
from intact.ops.reduction import ArgMax
from intact.ops.rounding import Ceil, Floor, Round, Sign

#: ONNX's numbers for types of elements, by the types that constants of them are read as.
_TYPES: Final[Mapping[int, str]] = {
    1: "float32", 10: "float32", 11: "float32", 16: "float32", 9: "bool", 7: "int64", 6: "int32", 5: "int32", 4: "int32",
    12: "int64", 13: "int64", 3: "int8", 2: "uint8",
}  # fmt: skip
_CLIPS: Final[Mapping[tuple[float, float], OpKind]] = {
    (0.0, math.inf): Relu(),
    (0.0, 6.0): Relu6(),
    (0.0, 1.0): Relu0To1(),
    (-1.0, 1.0): ReluN1To1(),
}
#: More than every number that float32 holds is no limit.
_HIGHEST: Final = float(np.finfo(np.float32).max)
#: 1 - (a1 t + … + a5 t^5) exp(-x^2), t = 1 / (1 + p x), is erf(x) of positive x to 1.5e-7. Source: Abramowitz, Stegun 7.1.26.
_ERF: Final = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
_ERF_P: Final = 0.3275911


def _maps(kind: OpKind) -> Row:
    return lambda call: call.same(kind, call.value(0))


def _by_factor(call: Call, kind: OpKind, v: Value, number: float) -> Value:
    return combined(call.build, kind, v, scalar(number))


def _leaky(call: Call) -> Value:
    return call.same(LeakyRelu(call.real("alpha", 0.01)), call.value(0))


def _prelu(call: Call) -> Value:
    x, slope = call.value(0), call.value(1)
    if (alpha := single(slope)) is not None:
        return call.same(LeakyRelu(alpha), x)
    return combined(call.build, PRelu(), x, slope)


def _elu(call: Call) -> Value:
    alpha, x = call.real("alpha", 1.0), call.value(0)
    return call.same(Elu(), x) if alpha == 1.0 else _exponential(call, x, alpha, alpha, 1.0)


def _exponential(call: Call, x: Value, alpha: float, over: float, gain: float) -> Value:
    """``gain (max(x, 0) + alpha (exp(min(x, 0) alpha / over) - 1))``."""
    below = _by_factor(call, Minimum(), x, 0.0)
    if over != alpha:
        below = _by_factor(call, Mul(), below, alpha / over)
    below = _by_factor(call, Sub(), call.same(Exp(), below), 1.0)
    below = _by_factor(call, Mul(), below, alpha * gain)
    above = call.same(Relu(), x)
    return combined(call.build, Add(), above if gain == 1.0 else _by_factor(call, Mul(), above, gain), below)


def _selu(call: Call) -> Value:
    alpha, gain = call.real("alpha", 1.67326319217681884765625), call.real("gamma", 1.05070102214813232421875)
    return _exponential(call, call.value(0), alpha, alpha, gain)


def _celu(call: Call) -> Value:
    """``max(x, 0) + min(0, a (exp(x / a) - 1))``."""
    alpha = call.real("alpha", 1.0)
    return _exponential(call, call.value(0), alpha, alpha * alpha, 1.0)


def _hard_sigmoid(call: Call) -> Value:
    """``relu6(6 a x + 6 b) / 6``: the ops that other converters spell it by, of which devices have kernels."""
    a, b = 6 * call.real("alpha", 0.2), 6 * call.real("beta", 0.5)
    x = call.value(0)
    x = x if math.isclose(a, 1.0, rel_tol=1e-4) else _by_factor(call, Mul(), x, a)
    return _by_factor(call, Mul(), call.same(Relu6(), _by_factor(call, Add(), x, b)), 1 / 6)


def _softplus_of(call: Call, x: Value) -> Value:
    """``max(x, 0) + log(1 + exp(-|x|))``, which no x makes infinite."""
    small = call.same(Exp(), call.same(Neg(), call.same(Abs(), x)))
    return combined(call.build, Add(), call.same(Relu(), x), call.same(Log(), _by_factor(call, Add(), small, 1.0)))


def _softsign(call: Call) -> Value:
    x = call.value(0)
    return combined(call.build, Div(), x, _by_factor(call, Add(), call.same(Abs(), x), 1.0))


def _mish(call: Call) -> Value:
    x = call.value(0)
    return combined(call.build, Mul(), x, call.same(Tanh(), _softplus_of(call, x)))


def _swish(call: Call) -> Value:
    x, alpha = call.value(0), call.real("alpha", 1.0)
    inner = x if alpha == 1.0 else _by_factor(call, Mul(), x, alpha)
    return combined(call.build, Mul(), x, call.same(Logistic(), inner))


def _thresholded(call: Call) -> Value:
    x = call.value(0)
    above = _by_factor(call, Greater(), x, call.real("alpha", 1.0))
    return combined(call.build, SelectV2(), above, x, scalar(0.0))


def _gelu(call: Call) -> Value:
    return call.same(Gelu(call.text("approximate", "none") == "tanh"), call.value(0))


def _erf(call: Call) -> Value:
    x, build = call.value(0), call.build
    size = call.same(Abs(), x)
    t = combined(build, Div(), scalar(1.0), _by_factor(call, Add(), _by_factor(call, Mul(), size, _ERF_P), 1.0))
    total = _by_factor(call, Mul(), t, _ERF[-1])
    for a in reversed(_ERF[:-1]):
        total = combined(build, Mul(), t, _by_factor(call, Add(), total, a))
    falling = call.same(Exp(), call.same(Neg(), combined(build, Mul(), x, x)))
    rest = combined(build, Sub(), scalar(1.0), combined(build, Mul(), total, falling))
    return combined(build, Mul(), call.same(Sign(), x), rest)


def _reciprocal(call: Call) -> Value:
    return combined(call.build, Div(), scalar(1.0), call.value(0))


def _tan(call: Call) -> Value:
    x = call.value(0)
    return combined(call.build, Div(), call.same(Sin(), x), call.same(Cos(), x))


def _hyperbolic(kind: OpKind) -> Row:
    """``(exp(x) + exp(-x)) / 2``, or the difference."""

    def row(call: Call) -> Value:
        x = call.value(0)
        ends = (call.same(Exp(), v) for v in (x, call.same(Neg(), x)))
        return _by_factor(call, Mul(), combined(call.build, kind, *ends), 0.5)

    return row


def _is_infinite(call: Call) -> Value:
    above, below = (bool(call.integer(f"detect_{side}", 1)) for side in ("positive", "negative"))
    x = call.value(0)
    x = call.same(Abs(), x) if above and below else x if above else call.same(Neg(), x)
    return _by_factor(call, Greater(), x, _HIGHEST if above or below else math.inf)


def _clip(call: Call) -> Value:
    x = call.value(0)
    if "min" in call.node.attributes or "max" in call.node.attributes:
        ends: list[Value | None] = [scalar(call.real("min", -math.inf)), scalar(call.real("max", math.inf))]
    else:
        ends = [call.value(n) if call.has(n) else None for n in (1, 2)]
    numbers = [default if v is None else single(v) for v, default in zip(ends, (-math.inf, math.inf), strict=True)]
    low, high = (n if n is None or abs(n) < _HIGHEST else math.copysign(math.inf, n) for n in numbers)
    if x.is_float and not x.is_constant and low is not None and high is not None:
        if (low, high) in _CLIPS:
            return call.same(_CLIPS[low, high], x)
        ends = [None if math.isinf(n) else scalar(n) for n in (low, high)]
    for kind, end in zip((Maximum(), Minimum()), ends, strict=True):
        x = x if end is None else combined(call.build, kind, x, end)
    return x


# ---- softmax ----------------------------------------------------------------------------------------------------------


def along_last(call: Call, v: Value, axis: int) -> Value:
    """``v`` with ``axis`` as the last, where kernels compute along that alone."""
    v = call.build.having(v, axis)
    return call.build.arranged(v, (*(a for a in v.order if a != axis), axis))


def _softmax(kind: OpKind) -> Row:
    """Before opset 13 along all axes from ``axis`` on as if they were one, since then along it alone."""

    def row(call: Call) -> Value:
        v = call.value(0)
        axis = call.counted(call.integer("axis", 1 if call.opset < 13 else -1), v.rank)
        if call.opset >= 13 or prod(v.shape[axis:]) == v.shape[axis]:
            return call.same(kind, along_last(call, v, axis))
        flat = call.build.as_onnx(v)
        rows = call.build.reshaped(flat.stored, (*v.shape[:axis], prod(v.shape[axis:])))
        return Value.plain(call.build.reshaped(call.build.one(kind, rows), v.shape))

    return row


def _hardmax(call: Call) -> Value:
    """1 at the first of the largest, 0 elsewhere; before opset 13 along all axes from ``axis`` on as if they were one."""
    v = call.value(0)
    axis = call.counted(call.integer("axis", 1 if call.opset < 13 else -1), v.rank)
    if call.opset < 13 and prod(v.shape[axis:]) != v.shape[axis]:
        raise UnsupportedError(f"it looks for the largest over the {v.rank - axis} last axes at once, which no op here does")
    v = along_last(call, v, axis)
    last = np.asarray(len(v.order) - 1, np.int32)
    place = call.build.one(ArgMax(dtype="int32"), v.stored, last)
    one, zero = np.asarray(1, np.float32), np.asarray(0, np.float32)
    return Value(call.build.one(OneHot(), place, np.asarray(v.shape[axis], np.int32), one, zero), v.shape, v.order)


# ---- types ------------------------------------------------------------------------------------------------------------


def cast(build: Builder, v: Value, dtype: str) -> Value:
    """``v`` as numbers of another type; whole numbers of 64 bits are narrower in a network that runs."""
    narrow = "int32" if dtype == "int64" and not v.is_constant else dtype
    if v.stored.dtype == narrow:
        return v
    if v.stored.data is not None:
        return Value(Stored.of(v.stored.data.astype(dtype)), v.shape, v.order)
    if narrow == "bool":
        laid, like = together(build, [v, Value.plain(Stored.of(np.asarray(0, v.stored.dtype)))])
        return Value(build.one(NotEqual(), *laid), like.shape, like.order)
    return Value(build.one(Cast(narrow), v.stored), v.shape, v.order)


def _cast(call: Call) -> Value:
    to = call.integer("to", 1)
    if to not in _TYPES:
        raise UnsupportedError(f"it makes numbers of ONNX's type {to}, which no runtime here has; export it in float32")
    return cast(call.build, call.value(0), _TYPES[to])


ROWS: Final[Mapping[str, Row]] = {
    "Relu": _maps(Relu()),
    "LeakyRelu": _leaky,
    "PRelu": _prelu,
    "Elu": _elu,
    "Selu": _selu,
    "Celu": _celu,
    "Sigmoid": _maps(Logistic()),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _maps(HardSwish()),
    "Swish": _swish,
    "Mish": _mish,
    "Tanh": _maps(Tanh()),
    "Softplus": lambda call: _softplus_of(call, call.value(0)),
    "Softsign": _softsign,
    "ThresholdedRelu": _thresholded,
    "Gelu": _gelu,
    "Erf": _erf,
    "Exp": _maps(Exp()),
    "Log": _maps(Log()),
    "Sqrt": _maps(Sqrt()),
    "Abs": _maps(Abs()),
    "Neg": _maps(Neg()),
    "Sin": _maps(Sin()),
    "Cos": _maps(Cos()),
    "Tan": _tan,
    "Floor": _maps(Floor()),
    "Ceil": _maps(Ceil()),
    "Round": _maps(Round()),
    "Sign": _maps(Sign()),
    "Reciprocal": _reciprocal,
    "Sinh": _hyperbolic(Sub()),
    "Cosh": _hyperbolic(Add()),
    "IsNaN": lambda call: combined(call.build, NotEqual(), call.value(0), call.value(0)),
    "IsInf": _is_infinite,
    "Hardmax": _hardmax,
    "Clip": _clip,
    "Softmax": _softmax(Softmax()),
    "LogSoftmax": _softmax(LogSoftmax()),
    "Cast": _cast,
    "CastLike": lambda call: cast(call.build, call.value(0), call.value(1).stored.dtype),
}
