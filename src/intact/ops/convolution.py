"""Convolutions, NHWC. torch sees a channels-last view of the same memory, so nothing is copied.

Sources of their integers: LiteRT kernels/internal/reference/integer_ops/conv.h, depthwise_conv.h and transpose_conv.h.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar, final

from torch import Tensor
from torch.nn import functional as F

from intact.annotations import Values
from intact.errors import ModelError
from intact.ops.base import Padding, Weight, WeightedKind, accumulate, same_padding
from intact.ops.call import Activation, Call, Shape, activate, bounded, bounded_for, integers, present


def to_nchw(x: Values[Tensor, "n h w c"]) -> Values[Tensor, "n c h w"]:
    """The NCHW view of an NHWC tensor: channels-last memory, no copy."""
    return x.permute(0, 3, 1, 2)


def to_nhwc(x: Values[Tensor, "n c h w"]) -> Values[Tensor, "n h w c"]:
    return x.permute(0, 2, 3, 1)


class _Sliding(WeightedKind):
    """A convolution whose kernel slides over its input, w [..., kh, kw, ...]."""

    stride: tuple[int, int]
    padding: Padding
    dilation: tuple[int, int]

    def _padded(self, x: Tensor, w: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """The input and the symmetric padding left for torch to do; lopsided padding is applied here."""
        if self.padding == "valid":
            return x, (0, 0)
        ends = [same_padding(x.shape[1 + i], w.shape[1 + i], self.stride[i], self.dilation[i]) for i in (0, 1)]
        (top, bottom), (left, right) = ends
        if top == bottom and left == right:
            return x, (top, left)
        bounded_for(x, (*x.shape[:1], x.shape[1] + top + bottom, x.shape[2] + left + right, *x.shape[3:]))
        return F.pad(x, (0, 0, left, right, top, bottom)), (0, 0)

    def reads(self, x: Shape, weight: Shape) -> int:
        del weight
        return x[-1]

    def is_uniform(self, weight: Shape) -> bool:
        return self.padding == "valid" or weight[1:3] == (1, 1)


@final
@dataclass(frozen=True)
class Conv2D(_Sliding):
    """``activation(conv(x, w) + b)``: x [n, h, w, c_in], w [c_out, kh, kw, c_in / groups], b [c_out]."""

    name: ClassVar[str] = "CONV_2D"
    takes: ClassVar[tuple[int, int]] = (2, 3)
    weight: ClassVar[Weight] = Weight(input=1, axis=0, bias=2)
    stride: tuple[int, int] = (1, 1)
    padding: Padding = "valid"
    dilation: tuple[int, int] = (1, 1)
    activation: Activation = "none"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        x, w, *rest = inputs
        x, w = present(x, "x"), present(w, "weight")
        x, pad = self._padded(x, w)
        groups = self._groups(x, w)
        y = F.conv2d(to_nchw(x), to_nchw(w), rest[0] if rest else None, self.stride, pad, self.dilation, groups)
        return activate(to_nhwc(y), self.activation)

    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        acc, x, w = accumulate(self, call)
        grouped = self._groups(call.tensor(0), call.tensor(1)) > 1
        return (call.arithmetic.product(acc, x, w, call.output(self.activation), grouped=grouped),)

    @staticmethod
    def _groups(x: Tensor, w: Tensor) -> int:
        return max(x.shape[3] // max(w.shape[3], 1), 1)

    def entering(self, channels: Tensor, weight: Shape) -> Tensor:
        groups = max(len(channels) // max(weight[3], 1), 1)
        if groups == 1:
            return channels
        # Output channel o reads the input channels of group o // (c_out / groups).
        return channels.reshape(groups, -1).repeat_interleave(weight[0] // groups, 0).reshape(weight[0], 1, 1, weight[3])

    def macs(self, inputs: Sequence[Shape], output: Shape) -> int:
        return prod(output) * prod(inputs[1][1:])


@final
@dataclass(frozen=True)
class DepthwiseConv2D(_Sliding):
    """``activation(conv(x, w) + b)`` channel by channel: x [n, h, w, c], w [1, kh, kw, c * m], b [c * m], m = multiplier."""

    name: ClassVar[str] = "DEPTHWISE_CONV_2D"
    takes: ClassVar[tuple[int, int]] = (2, 3)
    weight: ClassVar[Weight] = Weight(input=1, axis=3, bias=2)
    stride: tuple[int, int] = (1, 1)
    padding: Padding = "valid"
    dilation: tuple[int, int] = (1, 1)
    depth_multiplier: int = 1
    activation: Activation = "none"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        x, w, *rest = inputs
        x, w = present(x, "x"), present(w, "weight")
        x, pad = self._padded(x, w)
        kernel = w.permute(3, 0, 1, 2)
        y = F.conv2d(to_nchw(x), kernel, rest[0] if rest else None, self.stride, pad, self.dilation, x.shape[3])
        return activate(to_nhwc(y), self.activation)

    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        call.require_wide(self.name)
        acc, x, w = accumulate(self, call)
        return (call.arithmetic.depthwise(acc, x, w, call.output(self.activation)),)

    def entering(self, channels: Tensor, weight: Shape) -> Tensor:
        return channels.repeat_interleave(weight[3] // len(channels))

    def macs(self, inputs: Sequence[Shape], output: Shape) -> int:
        return prod(output) * inputs[1][1] * inputs[1][2]


@final
@dataclass(frozen=True)
class TransposeConv(WeightedKind):
    """``activation(transposed_conv(x, w) + b)``: inputs (shape [4], w [c_out, kh, kw, c_in], x [n, h, w, c_in], b).

    Each input pixel adds its kernel into the output at ``stride`` steps; SAME cuts the margin as a SAME convolution of the
    output would have padded it. The batch is x's, whatever the output shape says, so that batching works.
    """

    name: ClassVar[str] = "TRANSPOSE_CONV"
    takes: ClassVar[tuple[int, int]] = (3, 4)
    weight: ClassVar[Weight] = Weight(input=1, axis=0, bias=3)
    stride: tuple[int, int] = (1, 1)
    padding: Padding = "valid"
    activation: Activation = "none"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        size = bounded(integers(inputs[0], "output shape"))
        if len(size) != 4:
            raise ModelError(f"an output of shape {list(size)}")
        w, x = present(inputs[1], "weight"), present(inputs[2], "x")
        bias = inputs[3] if len(inputs) > 3 else None
        if any((x.shape[1 + i] - 1) * self.stride[i] >= size[1 + i] for i in (0, 1)):
            raise ModelError(f"{list(x.shape)} in steps of {self.stride} reaches beyond an output of {list(size)}")
        reach = (x.shape[1 + i] * self.stride[i] + w.shape[1 + i] for i in (0, 1))
        bounded_for(x, (x.shape[0], *reach, w.shape[0]))
        full = F.conv_transpose2d(to_nchw(x), w.permute(3, 0, 1, 2), None, self.stride)
        pads = [
            same_padding(size[1 + i], w.shape[1 + i], self.stride[i], 1) if self.padding == "same" else (0, 0) for i in (0, 1)
        ]
        # Cut the margin before; cut or fill with zeros after, up to the output's size.
        ends = [size[1 + i] - (full.shape[2 + i] - pads[i][0]) for i in (0, 1)]
        y = F.pad(full, (-pads[1][0], ends[1], -pads[0][0], ends[0]))
        return activate(to_nhwc(y if bias is None else y + bias.reshape(1, -1, 1, 1)), self.activation)

    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        call.require_wide(self.name)
        acc, x, w = accumulate(self, call)
        return (call.arithmetic.product(acc, x, w, call.output(self.activation)),)

    def entering(self, channels: Tensor, weight: Shape) -> Tensor:
        del weight
        return channels

    def reads(self, x: Shape, weight: Shape) -> int:
        del weight
        return x[-1]

    def is_uniform(self, weight: Shape) -> bool:
        del weight
        return False

    def macs(self, inputs: Sequence[Shape], output: Shape) -> int:
        del output
        return prod(inputs[2]) * prod(inputs[1][:3])
