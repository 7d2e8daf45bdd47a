"""What the kernels do with integers, to the last bit: how a sum of products becomes 8 bits again.

:class:`Arithmetic` is one kernel set. Its methods take stored integers or exact int64 sums with the formats they count in,
and give stored integers. A *clamp* is a pair of real numbers: what a fused activation lets through.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final, TypeAlias, final

import numpy as np
import torch
from torch import Tensor

from intact.annotations import Floats, Ints, Numbers
from intact.numbers import fixed_point as fixed
from intact.numbers.affine import Affine, limits, storage

#: Stored integers or their sums, and one number for each new row.
Stored: TypeAlias = Ints[Tensor, "*s"]
Row: TypeAlias = Ints[Tensor, "new"]
Clamp: TypeAlias = tuple[float, float]
#: Real numbers to real numbers, element by element.
Function: TypeAlias = Callable[[Tensor], Tensor]

EVERYTHING: Final[Clamp] = (float("-inf"), float("inf"))


def centered(q: Stored, fmt: Affine) -> Stored:
    """``q - zero_point`` in int64, for a per-tensor format."""
    return q.to(torch.int64) - fmt.zero_point[0]


def every_value(fmt: Affine) -> Ints[Tensor, "256"]:
    """All integers that an 8-bit format stores, lowest first: [256]."""
    low, high = limits(fmt.dtype)
    return torch.arange(low, high + 1)


def look_up(q: Stored, table: Numbers[Tensor, "256"], fmt: Affine) -> Numbers[Tensor, "*s"]:
    """``table[q]`` for a table over :func:`every_value`."""
    return table.to(q.device)[q.to(torch.int64) - limits(fmt.dtype)[0]]


def round_away(x: Floats[Tensor, "*s"]) -> Floats[Tensor, "*s"]:
    """Round to the nearest integer, halves away from zero, as C's ``round`` does: -2.5 -> -3."""
    return torch.copysign(torch.floor(x.abs() + 0.5), x)


def float32(real: float) -> Floats[Tensor, ""]:
    return torch.tensor(real, dtype=torch.float32)


def float_ratio(*factors: float, over: float) -> np.ndarray:
    """``a * b / over`` rounded to float32 after every step, as ``float`` expressions in C are."""
    product = np.float32(1.0)
    for factor in factors:
        product *= np.float32(factor)
    return np.asarray(product / np.float32(over), np.float64)


def below_largest(q: Stored) -> Stored:
    """Differences to the largest number of the last axis, none above 0."""
    q = q.to(torch.int64)
    return q - q.amax(-1, keepdim=True)


def aligned(q: Stored, fmt: Affine, formats: tuple[Affine, Affine], bits: int) -> Stored:
    """One of two addends in a common unit: twice the larger of the two scales, ``bits`` bits below."""
    twice = 2 * max(f.scale[0] for f in formats)
    return fixed.rescale(centered(q, fmt) << bits, fmt.scale[0] / twice)


@final
@dataclass(frozen=True)
class Output:
    """The format to give, and what a fused activation lets through, in real numbers. ``wide``: of sums that have 64 bits."""

    format: Affine
    clamp: Clamp = EVERYTHING
    wide: bool = False

    @property
    def scale(self) -> float:
        return self.format.scale[0]

    @property
    def zero_point(self) -> int:
        return self.format.zero_point[0]


class Arithmetic(abc.ABC):
    """The rounding rules of one kernel set."""

    name: ClassVar[str]
    #: Whether it is known of int16 activations too.
    knows_int16: ClassVar[bool] = False

    @abc.abstractmethod
    def quantize(self, real: Floats[Tensor, "*s"], out: Output) -> Stored:
        """QUANTIZE of real numbers."""

    @abc.abstractmethod
    def convert(self, q: Stored, source: Affine, out: Output) -> Stored:
        """QUANTIZE of integers: the same numbers in another format."""

    @abc.abstractmethod
    def product(self, acc: Stored, x: Affine, weight: Affine, out: Output, *, grouped: bool = False) -> Stored:
        """A convolution's sums, [..., c] in units of ``x.scale * weight.scale[c]``.

        ``grouped``: of a CONV_2D in several groups, for which a kernel set may take another kernel.
        """

    @abc.abstractmethod
    def depthwise(self, acc: Stored, x: Affine, weight: Affine, out: Output) -> Stored:
        """A depthwise convolution's sums, [..., c] in units of ``x.scale * weight.scale[c]``."""

    @abc.abstractmethod
    def dense(self, acc: Stored, x: Affine, weight: Affine, out: Output, *, count: int) -> Stored:
        """FULLY_CONNECTED's sums of ``count`` products, [..., c] in units of ``x.scale * weight.scale[c]``."""

    @abc.abstractmethod
    def multiply(self, acc: Stored, a: Affine, b: Affine, out: Output) -> Stored:
        """Products of two activations, in units of ``a.scale * b.scale``."""

    @abc.abstractmethod
    def matmul(self, acc: Stored, a: Affine, b: Affine, out: Output) -> Stored:
        """BATCH_MATMUL's sums, in units of ``a.scale * b.scale``."""

    @abc.abstractmethod
    def add(
        self, a: Ints[Tensor, "*#s"], b: Ints[Tensor, "*#s"], formats: tuple[Affine, Affine], out: Output, sign: int = 1
    ) -> Ints[Tensor, "..."]:
        """``a + sign * b`` of stored integers."""

    @abc.abstractmethod
    def mean(self, total: Stored, count: int, x: Affine, out: Output) -> Stored:
        """``total / count``, total a sum of ``count`` centered integers."""

    @abc.abstractmethod
    def total(self, total: Stored, count: int, x: Affine, out: Output) -> Stored:
        """``total``, a sum of ``count`` centered integers, in another format."""

    @abc.abstractmethod
    def average(self, total: Stored, count: Numbers[Tensor, "*#s"], x: Affine, out: Output) -> Stored:
        """AVERAGE_POOL_2D: sums of ``count`` stored integers (zero point included), count broadcasting against total."""

    @abc.abstractmethod
    def unary(self, function: Function, q: Stored, x: Affine, out: Output) -> Stored:
        """A function of one number, by a table of all 256."""

    @abc.abstractmethod
    def logistic(self, q: Stored, x: Affine, out: Output) -> Stored:
        """LOGISTIC."""

    @abc.abstractmethod
    def tanh(self, q: Stored, x: Affine, out: Output) -> Stored:
        """TANH."""

    @abc.abstractmethod
    def softmax(self, q: Stored, x: Affine, out: Output, beta: float) -> Stored:
        """SOFTMAX along the last axis."""

    @abc.abstractmethod
    def log_softmax(self, q: Stored, x: Affine, out: Output) -> Stored:
        """LOG_SOFTMAX along the last axis."""

    @abc.abstractmethod
    def leaky_relu(self, q: Stored, x: Affine, out: Output, alpha: float) -> Stored:
        """LEAKY_RELU."""

    @abc.abstractmethod
    def positions(self, size: int, new: int, align_corners: bool, half_pixel: bool) -> tuple[Row, Row, Row, int]:
        """RESIZE_BILINEAR: for each of ``new`` rows, the rows before and after it, and how far it is past the former.

        The last number is what counts as a whole row.
        """

    @abc.abstractmethod
    def interpolated(self, total: Stored, out: Output) -> Stored:
        """RESIZE_BILINEAR's sums, in units of a whole row times a whole column, as integers of ``out``."""

    @abc.abstractmethod
    def steps(self, real: float, out: Output) -> int:
        """``real / out.scale``, rounded as the kernels round the ends of a clamp."""

    @abc.abstractmethod
    def ratio(self, *factors: float, over: float) -> np.ndarray:
        """``a * b / over`` of scales, as element-wise kernels work it out."""

    @abc.abstractmethod
    def relu6(self, q: Stored, x: Affine, out: Output) -> Stored:
        """RELU6 by itself; ``out`` has its clamp."""

    def clamped(self, q: Stored, x: Affine, out: Output) -> Stored:
        """The same numbers in the output's format, clamped: RELU and its kin. Source: LiteRT ReluX in optimized_ops.h."""
        scaled = fixed.rescale(centered(q, x), self.ratio(x.scale[0], over=out.scale))
        return self.finish(scaled + out.zero_point, out)

    def limits(self, out: Output) -> tuple[int, int]:
        """The lowest and the highest integer that may come out."""
        low, high = limits(out.format.dtype)
        ends = tuple(
            end if math.isinf(real) else out.zero_point + self.steps(real, out)
            for end, real in zip((low, high), out.clamp, strict=True)
        )
        return max(low, ends[0]), min(high, ends[1])

    def finish(self, q: Numbers[Tensor, "*s"], out: Output) -> Stored:
        """``q`` (zero point added) clamped, as stored."""
        low, high = self.limits(out)
        return q.clamp(low, high).to(storage(out.format.dtype))
