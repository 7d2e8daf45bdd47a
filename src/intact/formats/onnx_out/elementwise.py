"""Arithmetic and functions of single numbers: most are one node, some are several."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

from intact.formats.onnx_out.build import Value
from intact.formats.onnx_out.call import Call, Row
from intact.ops.activation import Gelu, LeakyRelu, LogSoftmax, Softmax
from intact.ops.elementwise import Add, Div, Mul, Sub
from intact.ops.quantization import Cast


def _same(op: str, opset: int = 0) -> Row:
    """One node of one input."""

    def row(call: Call) -> list[Value]:
        call.build.needs(opset)
        x = call.value()
        return [Value(call.node(op, x.name), x.order)]

    return row


def _broadcast(op: str) -> Row:
    """One node of all inputs."""

    def row(call: Call) -> list[Value]:
        names, order = call.alike()
        return [Value(call.node(op, *names), order)]

    return row


def _fused(op: str) -> Row:
    """One node of two inputs, and an activation."""

    def row(call: Call) -> list[Value]:
        kind = call.op.kind
        assert isinstance(kind, (Add, Sub, Mul, Div))
        names, order = call.alike()
        return [Value(call.activated(call.node(op, *names), kind.activation), order)]

    return row


def _clip(low: float, high: float) -> Row:
    def row(call: Call) -> list[Value]:
        x = call.value()
        return [Value(call.node("Clip", x.name, call.build.real(low), call.build.real(high)), x.order)]

    return row


def _composed(make: Callable[[Call, str], str]) -> Row:
    """Several nodes of one input."""

    def row(call: Call) -> list[Value]:
        x = call.value()
        return [Value(make(call, x.name), x.order)]

    return row


def _twice(op: str, then: str) -> Row:
    return _composed(lambda call, x: call.node(then, call.node(op, x)))


def _not(op: str) -> Row:
    def row(call: Call) -> list[Value]:
        names, order = call.alike()
        return [Value(call.node("Not", call.node(op, *names)), order)]

    return row


def _leaky(call: Call) -> list[Value]:
    x = call.value()
    return [Value(call.node("LeakyRelu", x.name, alpha=call.kind(LeakyRelu).alpha), x.order)]


def _gelu(call: Call, x: str) -> str:
    """0.5 x (1 + erf(x / sqrt(2))), or 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))): Gelu itself came with opset 20."""
    real = call.build.real
    if call.kind(Gelu).approximate:
        cube = call.node("Mul", call.node("Mul", call.node("Mul", x, x), x), real(0.044715))
        gate = call.node("Tanh", call.node("Mul", call.node("Add", x, cube), real(math.sqrt(2 / math.pi))))
    else:
        gate = call.node("Erf", call.node("Mul", x, real(math.sqrt(0.5))))
    return call.node("Mul", call.node("Mul", x, call.node("Add", gate, real(1.0))), real(0.5))


def _softmax(call: Call) -> list[Value]:
    kind, x = call.op.kind, call.value()
    assert isinstance(kind, (Softmax, LogSoftmax))
    beta = kind.softmax_factor()
    name = x.name if beta in (None, 1.0) else call.node("Mul", x.name, call.build.real(beta or 1.0))
    op = "LogSoftmax" if isinstance(kind, LogSoftmax) else "Softmax"
    return [Value(call.node(op, name, axis=x.axis(-1)), x.order)]


def _unit_length(call: Call) -> list[Value]:
    x = call.value()
    length = call.node("ReduceL2", x.name, axes=[x.axis(-1)], keepdims=1)
    return [Value(call.node("Div", x.name, call.node("Max", length, call.build.real(1e-6))), x.order)]


def _squared_difference(call: Call) -> list[Value]:
    names, order = call.alike()
    gap = call.node("Sub", *names)
    return [Value(call.node("Mul", gap, gap), order)]


def _floor_division(call: Call) -> list[Value]:
    names, order = call.alike()
    return [Value(call.node("Floor", call.node("Div", *names)), order)]


def _remainder(call: Call) -> list[Value]:
    names, order = call.alike()
    if call.is_whole():
        return [Value(call.node("Mod", *names), order)]
    whole = call.node("Mul", call.node("Floor", call.node("Div", *names)), names[1])
    return [Value(call.node("Sub", names[0], whole), order)]


def _cast(call: Call) -> list[Value]:
    x = call.value()
    return [Value(call.node("Cast", x.name, to=call.kind(Cast).dtype), x.order)]


def _as_it_is(call: Call) -> list[Value]:
    """QUANTIZE and DEQUANTIZE: what they make is rounded as it is stored."""
    return [call.value()]


_ONE: Final[Mapping[str, str]] = {
    "ABS": "Abs", "CEIL": "Ceil", "COS": "Cos", "ELU": "Elu", "EXP": "Exp", "FLOOR": "Floor", "LOG": "Log",
    "LOGICAL_NOT": "Not", "LOGISTIC": "Sigmoid", "NEG": "Neg", "RELU": "Relu", "ROUND": "Round", "SIGN": "Sign", "SIN": "Sin",
    "SQRT": "Sqrt", "TANH": "Tanh",
}  # fmt: skip
_MANY: Final[Mapping[str, str]] = {
    "ADD_N": "Sum", "EQUAL": "Equal", "GREATER": "Greater", "GREATER_EQUAL": "GreaterOrEqual", "LESS": "Less",
    "LESS_EQUAL": "LessOrEqual", "LOGICAL_AND": "And", "LOGICAL_OR": "Or", "MAXIMUM": "Max", "MINIMUM": "Min", "POW": "Pow",
    "PRELU": "PRelu", "SELECT": "Where", "SELECT_V2": "Where",
}  # fmt: skip

ROWS: Final[dict[str, Row]] = {
    **{kind: _same(op) for kind, op in _ONE.items()},
    **{kind: _broadcast(op) for kind, op in _MANY.items()},
    **{kind: _fused(op) for kind, op in {"ADD": "Add", "SUB": "Sub", "MUL": "Mul", "DIV": "Div"}.items()},
    "RELU6": _clip(0.0, 6.0),
    "RELU_0_TO_1": _clip(0.0, 1.0),
    "RELU_N1_TO_1": _clip(-1.0, 1.0),
    "HARD_SWISH": _same("HardSwish", opset=14),
    "RSQRT": _twice("Sqrt", "Reciprocal"),
    "SQUARE": _composed(lambda call, x: call.node("Mul", x, x)),
    "ZEROS_LIKE": _composed(lambda call, x: call.node("Sub", x, x)),
    "GELU": _composed(_gelu),
    "LEAKY_RELU": _leaky,
    "NOT_EQUAL": _not("Equal"),
    "SOFTMAX": _softmax,
    "LOG_SOFTMAX": _softmax,
    "L2_NORMALIZATION": _unit_length,
    "SQUARED_DIFFERENCE": _squared_difference,
    "FLOOR_DIV": _floor_division,
    "FLOOR_MOD": _remainder,
    "CAST": _cast,
    "QUANTIZE": _as_it_is,
    "DEQUANTIZE": _as_it_is,
}
