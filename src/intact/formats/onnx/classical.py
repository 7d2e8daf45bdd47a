"""Ops of ONNX's second domain, in which scikit-learn's exporter says what lies around a network of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from intact.errors import ModelError, UnsupportedError
from intact.formats.onnx.activations import cast
from intact.formats.onnx.arithmetic import combined
from intact.formats.onnx.build import Value
from intact.formats.onnx.call import Call, Row
from intact.formats.onnx.constants import known
from intact.formats.onnx.matmul import by_weights
from intact.formats.onnx.reduction import Reduce, over
from intact.formats.onnx.shaping import part, picked
from intact.ops.activation import Abs, Logistic, Softmax, Sqrt, Square
from intact.ops.base import OpKind
from intact.ops.elementwise import Div, Mul, Sub
from intact.ops.reduction import ArgMax, ReduceMax, Sum
from intact.ops.shaping import Gather


def _reals(call: Call, name: str) -> np.ndarray:
    found = call.node.attributes.get(name, ())
    if not isinstance(found, tuple):
        raise ModelError(f"its attribute {name!r} is no list of numbers")
    return np.asarray(found, np.float32)


def _scaler(call: Call) -> Value:
    """``(x - offset) scale``."""
    x = cast(call.build, call.value(0), "float32")
    offset, scale = _reals(call, "offset"), _reals(call, "scale")
    x = combined(call.build, Sub(), x, known(offset)) if offset.size else x
    return combined(call.build, Mul(), x, known(scale)) if scale.size else x


def _linear(call: Call) -> Value:
    """``x W^T + b`` with as many rows as there are targets."""
    x = cast(call.build, call.value(0), "float32")
    count, weight, bias = call.integer("targets", 1), _reals(call, "coefficients"), _reals(call, "intercepts")
    if count < 1 or weight.size != count * x.shape[-1] or bias.size not in (0, count):
        raise ModelError(f"{weight.size} coefficients of {x.shape[-1]} features and {count} targets")
    return by_weights(call, x, weight.reshape(count, -1), bias if bias.size else None)


def _classifier(call: Call) -> list[Value]:
    """Which class has the largest of ``x W^T + b``, by its number, and those after ``post_transform``."""
    labels, transform = call.integers("classlabels_ints"), call.text("post_transform", "NONE")
    if not labels:
        raise UnsupportedError("its classes are texts, not numbers; number them before training, and export it again")
    if transform not in _TRANSFORMS:
        raise UnsupportedError(f"it transforms scores by {transform!r}, which no op here does")
    x = cast(call.build, call.value(0), "float32")
    weight, bias = _reals(call, "coefficients"), _reals(call, "intercepts")
    if weight.size != len(labels) * x.shape[-1] or bias.size not in (0, len(labels)) or x.rank != 2:
        raise UnsupportedError(f"it has {weight.size} coefficients of {x.shape[-1]} features and {len(labels)} classes")
    scores = by_weights(call, x, weight.reshape(len(labels), -1), bias if bias.size else None)
    best = call.build.one(ArgMax(dtype="int32"), scores.stored, np.asarray(1, np.int32))
    label = call.build.one(Gather(0), np.asarray(labels, np.int32), best)
    kind = _TRANSFORMS[transform]
    return [Value.plain(label), scores if kind is None else call.same(kind, scores)]


def _normalized(call: Call) -> Value:
    """Each row by its largest, or by the sum or length of its elements."""
    x, norm = call.value(0), call.text("norm", "MAX")
    if norm not in _NORMS:
        raise UnsupportedError(f"it normalizes by {norm!r}, which no op here does")
    before, reduce, after = _NORMS[norm]
    total = over(call, reduce, x if before is None else call.same(before, x), (x.rank - 1,))
    return combined(call.build, Div(), x, total if after is None else call.same(after, total))


_TRANSFORMS: Final[Mapping[str, OpKind | None]] = {"NONE": None, "SOFTMAX": Softmax(), "LOGISTIC": Logistic()}
_NORMS: Final[Mapping[str, tuple[OpKind | None, Reduce, OpKind | None]]] = {
    "MAX": (None, ReduceMax, None),
    "L1": (Abs(), Sum, None),
    "L2": (Square(), Sum, Sqrt()),
}


def _picked(call: Call) -> Value:
    """The elements along the last axis at places that are known, or of a table at places that are computed."""
    x = call.value(0)
    if call.value(1).is_constant:
        places = call.whole(1, "indices") or ()
        if len(places) == 1:
            return part(call.build, x, {x.rank - 1: range(places[0], places[0] + 1)})
        return picked(call.build, x, x.rank - 1, np.asarray(places, np.int32))
    x, places_at = call.build.as_onnx(x), call.build.as_onnx(call.value(1))
    flat = call.build.reshaped(places_at.stored, (1, places_at.stored.shape[-1])) if places_at.rank else places_at.stored
    table = call.build.reshaped(x.stored, (x.shape[-1],))
    return Value.plain(call.build.one(Gather(0), table, flat))


ROWS: Final[Mapping[str, Row]] = {
    "ai.onnx.ml.Scaler": _scaler,
    "ai.onnx.ml.LinearRegressor": _linear,
    "ai.onnx.ml.LinearClassifier": _classifier,
    "ai.onnx.ml.Normalizer": _normalized,
    "ai.onnx.ml.ArrayFeatureExtractor": _picked,
}
