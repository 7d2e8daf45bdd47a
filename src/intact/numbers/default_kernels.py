"""LiteRT's default kernels on a CPU, to the last bit: XNNPACK where it has the op, else LiteRT's own optimized kernels.

Sources: XNNPACK src/microparams-init.c, src/operators and src/reference; LiteRT kernels/internal/optimized for what XNNPACK
leaves out (softmax and pools) and outside the ratios of scales that it takes. Shown on x86 (bench/exact_integers.py); XNNPACK's
kernels for ARM round some element-wise products otherwise.
"""

from __future__ import annotations

from typing import ClassVar, final

import numpy as np
import torch
from torch import Tensor

from intact.annotations import Floats, Ints, Numbers
from intact.errors import UnsupportedError
from intact.numbers import fixed_point as fixed
from intact.numbers.affine import PACKED, Affine, dequantize, limits
from intact.numbers.arithmetic import (
    Arithmetic,
    Function,
    Output,
    Row,
    Stored,
    below_largest,
    centered,
    every_value,
    float32,
    float_ratio,
    look_up,
    round_away,
)
from intact.numbers.reference_kernels import Reference

#: What LiteRT's own kernels and the reference kernels have in common.
_BUILTIN = Reference()


def _rescale_up(x: Stored, real: float | Floats[np.ndarray, "*#s"]) -> Stored:
    """As the reference kernels rescale, but with halves up in both roundings: LiteRT's vectorized kernels."""
    multiplier, shift = (v.to(x.device) for v in fixed.q31(real))
    high = fixed.high_product(fixed.wrap(x << shift.clamp(min=0)), multiplier)
    down = (-shift).clamp(min=0)
    return (high + ((1 << down) >> 1)) >> down


@final
class Default(Arithmetic):
    """Sums times one float32 scale, rounded half to even; a few element-wise ops in short fixed-point numbers."""

    name: ClassVar[str] = "default"

    def quantize(self, real: Floats[Tensor, "*s"], out: Output) -> Stored:
        return self._rounded(real.to(torch.float32) * (1 / float32(out.scale)), out)

    def convert(self, q: Stored, source: Affine, out: Output) -> Stored:
        ratio = float(float_ratio(source.scale[0], over=out.scale))
        if source.dtype != out.format.dtype or not 2.0**-8 <= ratio <= 2.0**7:
            return self._converted_in_blocks(centered(q, source), source.scale[0] / out.scale, out)
        return self.finish(((centered(q, source) * round(256 * ratio) + 128) >> 8) + out.zero_point, out)

    def _converted_in_blocks(self, c: Ints[Tensor, "n *s"], ratio: float, out: Output) -> Ints[Tensor, "n *s"]:
        """LiteRT's own QUANTIZE, one sample per invocation: blocks of 16 round halves up, what is left away from zero."""
        number = torch.arange(c[0].numel(), device=c.device).reshape(c.shape[1:])
        in_block = number < c[0].numel() // 16 * 16
        return self.finish(torch.where(in_block, _rescale_up(c, ratio), fixed.rescale(c, ratio)) + out.zero_point, out)

    def product(self, acc: Stored, x: Affine, weight: Affine, out: Output, *, grouped: bool = False) -> Stored:
        if weight.dtype == "int4":  # XNNPACK has no such convolution, and LiteRT has groups in its reference kernel only
            return _BUILTIN.product(acc, x, weight, out) if grouped else self._vectorized(acc, x, weight, out)
        return self._floating(acc, x, weight, out)

    def depthwise(self, acc: Stored, x: Affine, weight: Affine, out: Output) -> Stored:
        if weight.dtype == "int4":  # LiteRT has several kernels that round differently, by the shape
            raise UnsupportedError("the exact arithmetic of int4 depthwise weights in the default kernels is not known")
        return self._floating(acc, x, weight, out)

    def dense(self, acc: Stored, x: Affine, weight: Affine, out: Output, *, count: int) -> Stored:
        per_byte = 8 // PACKED.get(weight.dtype, 8)
        if count % per_byte or (weight.dtype == "int2" and weight.axis is None):  # XNNPACK takes whole bytes
            return self._vectorized(acc, x, weight, out)
        return self._floating(acc, x, weight, out)

    def _vectorized(self, acc: Stored, x: Affine, weight: Affine, out: Output) -> Stored:
        real = x.scale[0] * np.asarray(weight.scale, np.float64) / out.scale
        return self.finish(_rescale_up(acc, real) + out.zero_point, out)

    def _floating(self, acc: Stored, x: Affine, weight: Affine, out: Output) -> Stored:
        scale = np.float32(x.scale[0]) * np.asarray(weight.scale, np.float32) / np.float32(out.scale)
        return self._scaled(acc, torch.from_numpy(scale), out)

    def multiply(self, acc: Stored, a: Affine, b: Affine, out: Output) -> Stored:
        return self._scaled(acc, float32(float(float_ratio(a.scale[0], b.scale[0], over=out.scale))), out)

    def matmul(self, acc: Stored, a: Affine, b: Affine, out: Output) -> Stored:
        return _BUILTIN.matmul(acc, a, b, out)

    def add(
        self, a: Ints[Tensor, "*#s"], b: Ints[Tensor, "*#s"], formats: tuple[Affine, Affine], out: Output, sign: int = 1
    ) -> Ints[Tensor, "*#s"]:
        ratios = [float(float_ratio(fmt.scale[0], over=out.scale)) for fmt in formats]
        if not all(2.0**-10 <= ratio < 2.0**8 for ratio in ratios):
            return _BUILTIN.add(a, b, formats, out, sign)
        shift = 21 - int(np.frexp(max(ratios))[1])
        x, y = (centered(q, f) * round(r * 2.0**shift) for q, f, r in zip((a, b), formats, ratios, strict=True))
        return self.finish(((x + sign * y + (1 << (shift - 1))) >> shift) + out.zero_point, out)

    def mean(self, total: Stored, count: int, x: Affine, out: Output) -> Stored:
        scale = float32(float(float_ratio(x.scale[0], over=out.scale))) * (1 / float32(float(count)))
        return self._reduced(total, count, x, scale, out)

    def total(self, total: Stored, count: int, x: Affine, out: Output) -> Stored:
        return self._reduced(total, count, x, float32(float(float_ratio(x.scale[0], over=out.scale))), out)

    def _reduced(self, total: Stored, count: int, x: Affine, scale: Floats[Tensor, ""], out: Output) -> Stored:
        """Sums of stored integers; both zero points are one float32 addend. Source: XNNPACK operators/reduce-nd.c."""
        zeros = count * x.zero_point[0]
        addend = out.zero_point - zeros * scale
        y = (total + zeros).to(torch.float32) * scale + addend
        return self.finish(torch.round(y), out)

    def average(self, total: Numbers[Tensor, "*s"], count: Numbers[Tensor, "*#s"], x: Affine, out: Output) -> Stored:
        return _BUILTIN.average(total, count, x, out)

    def unary(self, function: Function, q: Stored, x: Affine, out: Output) -> Stored:
        y = function(dequantize(every_value(x), x).to(torch.float64)).to(torch.float32)
        table = torch.round(y * (1 / float32(out.scale)) + out.zero_point)
        return look_up(q, self.finish(table.clamp(-(2.0**20), 2.0**20), out), x)

    def logistic(self, q: Stored, x: Affine, out: Output) -> Stored:
        return self.unary(torch.sigmoid, q, x, out)

    def tanh(self, q: Stored, x: Affine, out: Output) -> Stored:
        return self.unary(torch.tanh, q, x, out)

    def ratio(self, *factors: float, over: float) -> np.ndarray:
        return float_ratio(*factors, over=over)

    def softmax(self, q: Ints[Tensor, "*s c"], x: Affine, out: Output, beta: float) -> Ints[Tensor, "*s c"]:
        part = self._exp(x.scale[0], beta).to(q.device)[-below_largest(q)]
        y = part * (1 / (self._sum(part) * float32(out.scale)))
        return self.finish(round_away(y).to(torch.float64) + out.zero_point, out)

    def log_softmax(self, q: Ints[Tensor, "*s c"], x: Affine, out: Output) -> Ints[Tensor, "*s c"]:
        total = self._sum(self._exp(x.scale[0], 1.0).to(q.device)[-below_largest(q)])
        log = torch.log(total.to(torch.float64)).to(torch.float32)
        stored = q.to(torch.int64) - limits(x.dtype)[0]  # the kernel counts from 0
        scale, over = float32(x.scale[0]), float32(out.scale)
        # The compiled kernel multiplies and adds in one rounding, as float64 does here; 2 of 528,000 elements still differ by
        # one step (they lie within a float32 rounding of a half), the only ones of any kind that do.
        most = (scale.to(torch.float64) * stored.amax(-1, keepdim=True) + log).to(torch.float32) / over
        y = ((scale / over).to(torch.float64) * stored - most).to(torch.float32)
        return self.finish(torch.round(y).to(torch.float64) + out.zero_point, out)

    @staticmethod
    def _exp(scale: float, beta: float) -> Floats[Tensor, "256"]:
        """``exp(-scale * beta * k)`` for k in 0 ... 255."""
        return torch.exp((-float32(scale) * float32(beta) * torch.arange(256)).to(torch.float64)).to(torch.float32)

    @staticmethod
    def _sum(part: Floats[Tensor, "*s c"]) -> Floats[Tensor, "*s 1"]:
        """Over the last axis, one after the other in float32 as the kernel adds."""
        total = torch.zeros_like(part[..., 0])
        for column in part.unbind(-1):
            total = total + column
        return total.unsqueeze(-1)

    def leaky_relu(self, q: Stored, x: Affine, out: Output, alpha: float) -> Stored:
        above = float_ratio(x.scale[0], over=out.scale)
        below = float(np.float32(above) * np.float32(alpha))
        if not (2.0**-8 <= above <= 2.0**7 and 2.0**-8 <= abs(below) <= 2.0**7):
            return _BUILTIN.leaky_relu(q, x, out, alpha)
        c = centered(q, x)
        y = c * torch.where(c >= 0, round(256 * float(above)), round(256 * below))
        return self.finish(((y + 128) >> 8) + out.zero_point, out)

    def relu6(self, q: Stored, x: Affine, out: Output) -> Stored:
        return self.clamped(q, x, out)

    def positions(self, size: int, new: int, align_corners: bool, half_pixel: bool) -> tuple[Row, Row, Row, int]:
        ends = int(align_corners and new != 1)
        step = float32(size - ends) / float32(new - ends)
        at = torch.arange(new, dtype=torch.float32) * step + (0.5 * step - 0.5 if half_pixel else 0.0)
        at = at.clamp(0.0, size - 1.0)
        low = at.to(torch.int64)
        return low, (low + 1).clamp(max=size - 1), torch.round((at - low) * 2048).to(torch.int64), 2048

    def interpolated(self, total: Stored, out: Output) -> Stored:
        return self.finish((total + (1 << 21)) >> 22, out)

    def steps(self, real: float, out: Output) -> int:
        return int(torch.round(float32(real) / float32(out.scale)))

    def _scaled(self, acc: Stored, scale: Floats[Tensor, "*#s"], out: Output) -> Stored:
        """Sums times a float32 scale: rounded to float32 first, as a conversion of int32 does."""
        return self._rounded(acc.to(torch.float32) * scale.to(acc.device), out)

    def _rounded(self, y: Floats[Tensor, "*s"], out: Output) -> Stored:
        return self.finish(torch.round(y).to(torch.float64) + out.zero_point, out)
