"""Spatial pooling, NHWC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor
from torch.nn import functional as F

from intact.annotations import Values
from intact.errors import ModelError
from intact.ops.base import Activated, Costless, Padding, RangeRule, SameAsInput, move, same_padding
from intact.ops.call import Activation, Call, activate, bounded_for, present
from intact.ops.convolution import to_nchw, to_nhwc
from intact.ops.scales import Passed, averaged, picked


def _pads(x: Values[Tensor, "n h w c"], filter_size: tuple[int, int], stride: tuple[int, int], padding: Padding) -> list[int]:
    """Left, right, top, bottom."""
    if min(*filter_size, *stride) < 1:
        raise ModelError(f"a pool of size {filter_size} and stride {stride}")
    if padding == "valid":
        return [0, 0, 0, 0]
    (top, bottom), (left, right) = (same_padding(x.shape[1 + i], filter_size[i], stride[i], 1) for i in (0, 1))
    bounded_for(x, (*x.shape[:1], x.shape[1] + top + bottom, x.shape[2] + left + right, *x.shape[3:]))
    return [left, right, top, bottom]


@final
@dataclass(frozen=True)
class AveragePool2D(Activated, Costless):
    """The mean of each window; padding is not counted. One scale for input and output (LiteRT pooling.cc)."""

    name: ClassVar[str] = "AVERAGE_POOL_2D"
    range_rule: ClassVar[RangeRule] = SameAsInput()
    filter: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: Padding = "valid"
    activation: Activation = "none"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        x = present(inputs[0], "x")
        pads = _pads(x, self.filter, self.stride, self.padding)
        y = F.avg_pool2d(F.pad(to_nchw(x), pads), self.filter, self.stride)
        if any(pads):
            ones = F.pad(x.new_ones((1, 1, *x.shape[1:3])), pads)
            y = y / F.avg_pool2d(ones, self.filter, self.stride)
        return activate(to_nhwc(y), self.activation)

    def passes(self, *marks: Tensor | None) -> Passed:
        plain = self.plain
        return averaged(plain.compute, present(marks[0], "x")) if self.is_homogeneous else None

    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        x = call.tensor(0)
        total, count = self._sums(x.to(torch.float32)), self._sums(torch.ones_like(x[:1, ..., :1], dtype=torch.float32))
        return (call.arithmetic.average(total, count, call.format(0), call.output(self.activation)),)

    def _sums(self, x: Tensor) -> Tensor:
        """Sums over windows, exactly: int64."""
        pads = _pads(x, self.filter, self.stride, self.padding)
        y = F.avg_pool2d(F.pad(to_nchw(x.to(torch.float64)), pads), self.filter, self.stride, divisor_override=1)
        return to_nhwc(y).to(torch.int64)


@final
@dataclass(frozen=True)
class MaxPool2D(Activated, Costless):
    """The largest of each window; padding never wins. One scale for input and output (LiteRT pooling.cc)."""

    name: ClassVar[str] = "MAX_POOL_2D"
    range_rule: ClassVar[RangeRule] = SameAsInput()
    filter: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: Padding = "valid"
    activation: Activation = "none"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        x = present(inputs[0], "x")
        pads = _pads(x, self.filter, self.stride, self.padding)
        padded = F.pad(to_nchw(x), pads, value=float("-inf")) if any(pads) else to_nchw(x)
        return activate(to_nhwc(F.max_pool2d(padded, self.filter, self.stride)), self.activation)

    def passes(self, *marks: Tensor | None) -> Passed:
        plain = self.plain
        return picked(plain.compute, present(marks[0], "x")) if self.is_homogeneous else None

    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        (y,) = move(self.plain, call)
        return (y.clamp(*call.arithmetic.limits(call.output(self.activation))),)
