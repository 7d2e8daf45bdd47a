"""LiteRT's reference kernels and TensorFlow Lite Micro's, to the last bit: two roundings by a Q31 multiplier
and a shift; FULLY_CONNECTED of the reference kernels rounds once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Final, final

import numpy as np
import torch
from torch import Tensor

from intact.annotations import Floats, Ints, Numbers
from intact.numbers import fixed_point as fixed
from intact.numbers import interpolated
from intact.numbers.affine import Affine, limits
from intact.numbers.arithmetic import (
    Arithmetic,
    Function,
    Output,
    Row,
    Stored,
    aligned,
    below_largest,
    centered,
    every_value,
    float32,
    float_ratio,
    look_up,
    round_away,
)

#: Bits that addends get below their common unit, by the type that their sum is stored in.
ADDEND_BITS: Final[Mapping[str, int]] = MappingProxyType({"int8": 20, "uint8": 20, "int16": 15})


def _scales(fmt: Affine) -> np.ndarray:
    return np.asarray(fmt.scale, np.float64)


class FixedPoint(Arithmetic):
    """What LiteRT's reference kernels and TensorFlow Lite Micro have in common: all but FULLY_CONNECTED.

    ``rescale``: a Q31 multiplier made from the real one in float64, a doubling high multiplication (halves up), then a right
    shift (halves away from zero): two roundings. Source: LiteRT kernels/internal/common.cc, quantization_util.cc and
    reference/integer_ops; the scale arithmetic is in each kernel's Prepare.
    """

    def quantize(self, real: Floats[Tensor, "*s"], out: Output) -> Stored:
        q = round_away(real.to(torch.float32) / float32(out.scale))
        return self.finish(q.to(torch.float64).clamp(-(2.0**31), 2.0**31) + out.zero_point, out)

    def convert(self, q: Stored, source: Affine, out: Output) -> Stored:
        scaled = fixed.rescale(centered(q, source), _scales(source)[0] / out.scale)
        return self.finish(scaled + out.zero_point, out)

    def of_product(self, x: Affine, weight: Affine, out: Output) -> Floats[np.ndarray, " c"]:
        """What a convolution's sums are multiplied by."""
        return np.asarray(_scales(x)[0] * _scales(weight) / out.scale)

    def product(self, acc: Stored, x: Affine, weight: Affine, out: Output, *, grouped: bool = False) -> Stored:
        del grouped
        return self._summed(acc, self.of_product(x, weight, out), out)

    def depthwise(self, acc: Stored, x: Affine, weight: Affine, out: Output) -> Stored:
        return self.product(acc, x, weight, out)

    def multiply(self, acc: Stored, a: Affine, b: Affine, out: Output) -> Stored:
        scaled = fixed.rescale(acc, self.ratio(a.scale[0], b.scale[0], over=out.scale))
        return self.finish(scaled + out.zero_point, out)

    def of_matmul(self, a: Affine, b: Affine, out: Output) -> Floats[np.ndarray, ""]:
        """What BATCH_MATMUL's sums are multiplied by."""
        return np.asarray(float_ratio(a.scale[0], b.scale[0], over=1.0) / out.scale)

    def matmul(self, acc: Stored, a: Affine, b: Affine, out: Output) -> Stored:
        return self._summed(acc, self.of_matmul(a, b, out), out)

    def _summed(self, acc: Stored, real: Floats[np.ndarray, "*#s"], out: Output) -> Stored:
        scaled = fixed.rescale_wide(acc, real) if out.wide else fixed.rescale(acc, real)
        return self.finish(scaled + out.zero_point, out)

    def of_sum(self, formats: tuple[Affine, Affine], out: Output, bits: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What both addends are multiplied by to have a common unit, ``bits`` bits finer, and what their sum is."""
        twice = 2 * max(fmt.scale[0] for fmt in formats)
        a, b = (np.asarray(fmt.scale[0] / twice) for fmt in formats)
        return a, b, np.asarray(twice / (2.0**bits * out.scale))

    def add(
        self, a: Ints[Tensor, "*#s"], b: Ints[Tensor, "*#s"], formats: tuple[Affine, Affine], out: Output, sign: int = 1
    ) -> Ints[Tensor, "..."]:
        bits = ADDEND_BITS[out.format.dtype]
        x, y = (aligned(q, fmt, formats, bits) for q, fmt in zip((a, b), formats, strict=True))
        scaled = fixed.rescale(x + sign * y, self.of_sum(formats, out, bits)[2])
        return self.finish(scaled + out.zero_point, out)

    def of_mean(self, count: int, x: Affine, out: Output) -> tuple[Ints[Tensor, ""], Ints[Tensor, ""]]:
        """The multiplier and the shift of a sum of ``count`` numbers that makes their mean."""
        multiplier, shift = fixed.q31(self.of_total(x, out))
        bits = min(count.bit_length() - 1, 32, 31 + int(shift))
        return (multiplier << bits) // count, shift - bits

    def mean(self, total: Stored, count: int, x: Affine, out: Output) -> Stored:
        scaled = fixed.multiply(*self.of_mean(count, x, out), total)
        return self.finish(scaled + out.zero_point, out)

    def of_total(self, x: Affine, out: Output) -> Floats[np.ndarray, ""]:
        """What a sum of numbers is multiplied by."""
        return np.asarray(_scales(x)[0] / out.scale)

    def total(self, total: Stored, count: int, x: Affine, out: Output) -> Stored:
        del count
        return self.finish(fixed.rescale(total, self.of_total(x, out)) + out.zero_point, out)

    def average(self, total: Stored, count: Numbers[Tensor, "*#s"], x: Affine, out: Output) -> Stored:
        del x
        half = torch.div(count, 2, rounding_mode="trunc")
        q = torch.div(total + torch.where(total > 0, half, -half), count, rounding_mode="trunc")
        return self.finish(q, out)

    def unary(self, function: Function, q: Stored, x: Affine, out: Output) -> Stored:
        real = float32(x.scale[0]) * (every_value(x) - x.zero_point[0])
        y = function(real.to(torch.float64)).to(torch.float32) * (1 / float32(out.scale))
        return look_up(q, self.finish(round_away(y).to(torch.float64) + out.zero_point, out), x)

    def logistic(self, q: Stored, x: Affine, out: Output) -> Stored:
        if x.dtype == "int16":
            return self.finish(interpolated.logistic(q, x.scale[0]), out)
        return self.unary(torch.sigmoid, q, x, out)

    def tanh(self, q: Stored, x: Affine, out: Output) -> Stored:
        if x.dtype == "int16":
            argument = interpolated.Argument.of(x.scale[0], interpolated.TANH_POWERS)
            return self.finish(interpolated.tanh(q, argument), out)
        return self.unary(torch.tanh, q, x, out)

    def softmax(self, q: Stored, x: Affine, out: Output, beta: float) -> Stored:
        if x.dtype == "int16":
            return self.finish(interpolated.softmax(q, x.scale[0], beta), out)
        scale, below = fixed.Differences.of(beta * x.scale[0]), below_largest(q)
        part = fixed.exp_of_negative(scale.raw(below))
        total = torch.where(scale.counts(below), fixed.shift_right(part, 12), 0).sum(-1, keepdim=True)
        inverse, bits = fixed.reciprocal(fixed.wrap(total), 12)
        y = fixed.shift_right(fixed.high_product(inverse, part), bits + 31 - 8)
        return self.finish(torch.where(scale.counts(below), y, 0) + out.zero_point, out)

    def steps(self, real: float, out: Output) -> int:
        return int(round_away(float32(real) / float32(out.scale)))

    def log_softmax(self, q: Stored, x: Affine, out: Output) -> Stored:
        scale, below = fixed.Differences.of(x.scale[0]), below_largest(q)
        part = fixed.exp_of_negative(scale.raw(below))
        log = fixed.log(torch.where(scale.counts(below), fixed.shift_right(part, 12), 0).sum(-1, keepdim=True))
        lowest = scale.back(log - 2**31).clamp(min=-scale.radius - 1)
        y = fixed.shift_right(scale.raw(below) - log, 22) + out.zero_point
        return self.finish(torch.where(below > lowest, y, limits(out.format.dtype)[0]), out)

    def leaky_relu(self, q: Stored, x: Affine, out: Output, alpha: float) -> Stored:
        c = centered(q, x)
        above = fixed.rescale(c, self.ratio(x.scale[0], over=out.scale))
        below = fixed.rescale(c, self.ratio(x.scale[0], abs(float(np.float32(alpha))), over=out.scale))
        return self.finish(torch.where(c >= 0, above, below if alpha >= 0 else -below) + out.zero_point, out)

    def positions(self, size: int, new: int, align_corners: bool, half_pixel: bool) -> tuple[Row, Row, Row, int]:
        ends = int(align_corners and new > 1)
        step = (1024 * (size - ends) + (new - ends) // 2) // (new - ends)
        at = torch.arange(new) * step + (step // 2 - 512 if half_pixel else 0)
        low = (at >> 10).clamp(min=0)
        high = torch.div(at + 1023, 1024, rounding_mode="trunc").clamp(max=size - 1)
        return low.clamp(max=size - 1), high, at - 1024 * low, 1024

    def interpolated(self, total: Stored, out: Output) -> Stored:
        return self.finish(fixed.shift_right(total, 20), out)


@final
class Reference(FixedPoint):
    """LiteRT's reference kernels: FULLY_CONNECTED rounds once, in float64. Source: LiteRT kernels/fully_connected.cc."""

    name: ClassVar[str] = "reference"

    def ratio(self, *factors: float, over: float) -> np.ndarray:
        return float_ratio(*factors, over=over)

    def dense(self, acc: Stored, x: Affine, weight: Affine, out: Output, *, count: int) -> Stored:
        del count
        real = torch.from_numpy(_scales(x)[0] * _scales(weight) / out.scale).to(acc.device)
        scaled = round_away(acc.to(torch.float64) * real).to(torch.int64)
        return self.finish(scaled + out.zero_point, out)

    def relu6(self, q: Stored, x: Affine, out: Output) -> Stored:
        return self.clamped(q, x, out)


@final
class Micro(FixedPoint):
    """TensorFlow Lite Micro: FULLY_CONNECTED rounds twice, as convolutions do, RELU6 leaves the numbers in their format, and
    ratios of scales are float64.

    Source: its kernels/fully_connected_common.cc and activations.cc.
    """

    name: ClassVar[str] = "tflm"
    knows_int16: ClassVar[bool] = True

    def ratio(self, *factors: float, over: float) -> np.ndarray:
        return np.asarray(math.prod(factors) / over)

    def dense(self, acc: Stored, x: Affine, weight: Affine, out: Output, *, count: int) -> Stored:
        del count
        return self.product(acc, x, weight, out)

    def relu6(self, q: Stored, x: Affine, out: Output) -> Stored:
        return q.clamp(*self.limits(Output(x, out.clamp)))
