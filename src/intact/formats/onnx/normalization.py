"""ONNX's normalizations: by known statistics a scale and a shift, by an image's own what these are composed of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from intact.errors import ModelError, UnsupportedError
from intact.formats.onnx.arithmetic import combined, scalar
from intact.formats.onnx.build import Stored, Value, size
from intact.formats.onnx.call import Call, Row
from intact.formats.onnx.reduction import over
from intact.formats.onnx.windows import LAST
from intact.ops.activation import Rsqrt, Square
from intact.ops.call import bounded
from intact.ops.convolution import Conv2D
from intact.ops.elementwise import Add, Div, Mul, Pow, SquaredDifference, Sub
from intact.ops.reduction import Mean


def _per_channel(numbers: np.ndarray, rank: int, axis: int = 1) -> Value:
    """One number per channel, as it meets a tensor of ``rank`` axes."""
    return Value.plain(Stored.of(numbers.reshape([-1 if a == axis else 1 for a in range(rank)])))


def _batch(call: Call) -> Value:
    """``scale (x - mean) / sqrt(var + eps) + bias``, computed in float64 and rounded once."""
    if call.integer("training_mode", 0):
        raise UnsupportedError("it is exported for training; call model.eval() and export it again")
    x = call.value(0)
    names = ("scale", "bias", "mean", "variance")
    scale, bias, mean, var = (call.constant(n, name).astype(np.float64) for n, name in enumerate(names, 1))
    factor = scale / np.sqrt(var + call.real("epsilon", 1e-5))
    shift = bias - mean * factor
    y = combined(call.build, Mul(), x, _per_channel(factor.astype(np.float32), x.rank))
    return combined(call.build, Add(), y, _per_channel(shift.astype(np.float32), x.rank))


def _standardized(call: Call, x: Value, axes: tuple[int, ...], epsilon: float) -> Value:
    """``(x - mean) / sqrt(var + eps)`` over ``axes``."""
    mean = over(call, Mean, x, axes)
    var = over(call, Mean, combined(call.build, SquaredDifference(), x, mean), axes)
    inverse = call.same(Rsqrt(), combined(call.build, Add(), var, scalar(epsilon)))
    return combined(call.build, Mul(), combined(call.build, Sub(), x, mean), inverse)


def _layer(call: Call) -> Value:
    if any(call.node.outputs[1:]):
        raise UnsupportedError("it gives the mean and deviation too, which only training needs; export the inference alone")
    x = call.value(0)
    axes = tuple(range(call.counted(call.integer("axis", -1), x.rank), x.rank))
    y = combined(call.build, Mul(), _standardized(call, x, axes, call.real("epsilon", 1e-5)), call.value(1))
    return combined(call.build, Add(), y, call.value(2)) if call.has(2) else y


def _rms(call: Call) -> Value:
    x = call.value(0)
    axes = tuple(range(call.counted(call.integer("axis", -1), x.rank), x.rank))
    total = combined(call.build, Add(), over(call, Mean, call.same(Square(), x), axes), scalar(call.real("epsilon", 1e-5)))
    return combined(call.build, Mul(), combined(call.build, Mul(), x, call.same(Rsqrt(), total)), call.value(1))


def _instance(call: Call) -> Value:
    x = call.value(0)
    y = _standardized(call, x, tuple(range(2, x.rank)), call.real("epsilon", 1e-5))
    y = combined(call.build, Mul(), y, _per_channel(call.constant(1, "scale"), x.rank))
    return combined(call.build, Add(), y, _per_channel(call.constant(2, "bias"), x.rank))


def _group(call: Call) -> Value:
    """Groups of channels standardized together; ONNX's checker refuses the op of before opset 21, which counted otherwise."""
    x, groups = call.build.as_onnx(call.value(0)), call.integer("num_groups", 1)
    if groups < 1 or x.rank < 2 or x.shape[1] % groups:
        raise ModelError(f"{groups} groups of {list(x.shape)}")
    apart = Value.plain(call.build.reshaped(x.stored, (x.shape[0], groups, size(x.stored) // (x.shape[0] * groups))))
    y = _standardized(call, apart, (2,), call.real("epsilon", 1e-5))
    y = Value.plain(call.build.reshaped(call.build.as_onnx(y).stored, x.shape))
    scale, bias = call.constant(1, "scale"), call.constant(2, "bias")
    y = combined(call.build, Mul(), y, _per_channel(scale, x.rank))
    return combined(call.build, Add(), y, _per_channel(bias, x.rank))


def _mean_variance(call: Call) -> Value:
    x = call.value(0)
    axes = tuple(call.counted(a, x.rank) for a in call.integers("axes") or (0, 2, 3))
    return _standardized(call, x, axes, 1e-9)


def _local_response(call: Call) -> Value:
    """``x / (bias + alpha / size * sum of squares of channels around)^beta``; a 1 x 1 convolution with a band of ones sums."""
    x, count = call.value(0), call.integer("size", 1)
    if x.rank != 4 or count < 1:
        raise UnsupportedError(f"it normalizes over {count} channels of {x.rank} axes, and only images can be read")
    x = call.build.arranged(x, LAST[2])
    bounded((x.shape[1], x.shape[1]))
    at = np.arange(x.shape[1])
    far = at[None, :] - at[:, None]
    band = ((far >= -((count - 1) // 2)) & (far <= count // 2)).astype(np.float32) * (call.real("alpha", 1e-4) / count)
    bias = np.full(x.shape[1], call.real("bias", 1.0), np.float32)
    around = call.same(Conv2D(), call.same(Square(), x), band.astype(np.float32)[:, None, None, :], bias)
    return combined(call.build, Div(), x, combined(call.build, Pow(), around, scalar(call.real("beta", 0.75))))


ROWS: Final[Mapping[str, Row]] = {
    "BatchNormalization": _batch,
    "LayerNormalization": _layer,
    "RMSNormalization": _rms,
    "InstanceNormalization": _instance,
    "GroupNormalization": _group,
    "MeanVarianceNormalization": _mean_variance,
    "LRN": _local_response,
}
