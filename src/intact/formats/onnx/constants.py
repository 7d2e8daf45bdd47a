"""ONNX's ops that make constants, or hand on what they are given."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Final

import numpy as np

from intact.errors import ModelError, UnsupportedError
from intact.formats.onnx.arithmetic import combined
from intact.formats.onnx.build import Stored, Value
from intact.formats.onnx.call import Call, Row
from intact.ops.call import bounded
from intact.ops.indexing import Fill, OneHot
from intact.ops.logic import SelectV2

#: Numbers of a range.
_LONGEST: Final = 1 << 24


def known(data: np.ndarray) -> Value:
    """A constant as ONNX has it."""
    return Value.plain(Stored.of(data))


def _constant(call: Call) -> Value:
    given = call.node.attributes
    for name, dtype in (
        ("value_float", "float32"),
        ("value_floats", "float32"),
        ("value_int", "int64"),
        ("value_ints", "int64"),
    ):
        if name in given:
            return known(np.asarray(given[name], dtype))
    value = given.get("value")
    if not isinstance(value, np.ndarray):
        raise UnsupportedError("its constant is no tensor of numbers")
    return known(value)


def _filled(call: Call) -> Value:
    """A tensor of a shape that is known, full of one number: 0, unless it says another."""
    value = call.node.attributes.get("value")
    value = np.zeros(1, np.float32) if not isinstance(value, np.ndarray) else value
    shape = call.whole(0, "shape")
    if shape is None or value.size != 1:
        raise ModelError("it says no shape or no number")
    return Value.plain(call.build.one(Fill(), np.asarray(bounded(shape), np.int64), value.reshape(())))


def _range(call: Call) -> Value:
    start, limit, step = (call.constant(n, what).reshape(-1)[0] for n, what in enumerate(("start", "limit", "step")))
    if step == 0 or (limit - start) / step > _LONGEST:
        raise ModelError(f"a range from {start} to {limit} in steps of {step}")
    count = max(int(np.ceil((limit - start) / step)), 0)
    return known((start + np.arange(count) * step).astype(start.dtype))


def _shape(call: Call) -> Value:
    shape = call.value(0).shape
    ends = slice(call.integer("start", 0), call.integer("end", len(shape)))
    return known(np.asarray(shape[ends], np.int64))


def _triangle(call: Call) -> Value:
    """The part of each matrix above (``upper``) or below a diagonal, zeros elsewhere."""
    x = call.value(0)
    k = 0 if not call.has(1) else int(call.constant(1, "diagonal").reshape(-1)[0])
    bounded(x.shape)
    ones = np.ones(x.shape[-2:], bool)
    kept = np.triu(ones, k) if call.integer("upper", 1) else np.tril(ones, k)
    return combined(call.build, SelectV2(), known(kept), x, known(np.zeros((), x.stored.dtype)))


def _eye(call: Call) -> Value:
    rows, columns = bounded(call.value(0).shape)
    if call.integer("dtype", 1) not in (1, 7):
        raise UnsupportedError("it makes numbers of a type that no runtime here has")
    return known(np.eye(rows, columns, call.integer("k", 0), dtype={1: "float32", 7: "int64"}[call.integer("dtype", 1)]))


def _one_hot(call: Call) -> Value:
    index = call.build.as_onnx(call.value(0))
    depth = int(call.constant(1, "depth").reshape(-1)[0])
    off, on = call.constant(2, "values").reshape(-1)
    axis = call.integer("axis", -1)
    axis = axis % (index.rank + 1)
    y = call.build.one(OneHot(axis), index.stored, np.asarray(depth, np.int32), np.asarray(on), np.asarray(off))
    return Value.plain(y)


def _dropout(call: Call) -> list[Value]:
    """What it is given, and that nothing of it is dropped: a random choice is for training."""
    x = call.value(0)
    if call.has(2) and bool(call.constant(2, "training_mode").any()) and (not call.has(1) or call.constant(1, "ratio").any()):
        raise UnsupportedError("it is exported for training; call model.eval() and export it again")
    return [x, known(np.ones(x.shape, bool))]


ROWS: Final[Mapping[str, Row]] = {
    "Constant": _constant,
    "ConstantOfShape": _filled,
    "Range": _range,
    "Shape": _shape,
    "Size": lambda call: known(np.asarray(prod(call.value(0).shape), np.int64)),
    "Trilu": _triangle,
    "EyeLike": _eye,
    "OneHot": _one_hot,
    "Identity": lambda call: call.value(0),
    "Dropout": _dropout,
}
