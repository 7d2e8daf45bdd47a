"""Convolutions over three dimensions, [n, d, h, w, c]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar, TypeAlias, final

from torch import Tensor
from torch.nn import functional as F

from intact.ops.base import Activated, Padding, no_integers, same_padding
from intact.ops.call import Activation, Call, Shape, activate, bounded_for, present

#: Depth, height, width.
Three: TypeAlias = tuple[int, int, int]


@final
@dataclass(frozen=True)
class Conv3D(Activated):
    """``activation(conv(x, w) + b)``: x [n, d, h, w, c_in], w [kd, kh, kw, c_in / groups, c_out], b [c_out].

    Runtimes have no integer kernel, so its weight is no :class:`~intact.ops.base.Weight`: no remedy touches it.
    """

    name: ClassVar[str] = "CONV_3D"
    takes: ClassVar[tuple[int, int]] = (2, 3)
    stride: Three = (1, 1, 1)
    padding: Padding = "valid"
    dilation: Three = (1, 1, 1)
    activation: Activation = "none"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        x, w = present(inputs[0], "x"), present(inputs[1], "weight")
        bias = inputs[2] if len(inputs) > 2 else None
        if self.padding == "same":
            pads = [same_padding(x.shape[1 + i], w.shape[i], self.stride[i], self.dilation[i]) for i in (0, 1, 2)]
            bounded_for(x, (x.shape[0], *(n + sum(pair) for n, pair in zip(x.shape[1:4], pads, strict=True)), *x.shape[4:]))
            x = F.pad(x, (0, 0, *(p for pair in reversed(pads) for p in pair)))
        groups = max(x.shape[4] // max(w.shape[3], 1), 1)
        y = F.conv3d(x.permute(0, 4, 1, 2, 3), w.permute(4, 3, 0, 1, 2), bias, self.stride, 0, self.dilation, groups)
        return activate(y.permute(0, 2, 3, 4, 1).contiguous(), self.activation)

    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        del call
        raise no_integers(self)

    def unit(self, scales: Sequence[float]) -> float:
        del scales
        return 0.0

    def macs(self, inputs: Sequence[Shape], output: Shape) -> int:
        return prod(output) * prod(inputs[1][:4])
