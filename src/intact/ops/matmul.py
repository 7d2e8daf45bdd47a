"""Matrix products.

Sources of their integers: LiteRT kernels/fully_connected.cc and batch_matmul.cc.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar, final

import torch
from torch import Tensor
from torch.nn import functional as F

from intact.numbers.fixed_point import wrap
from intact.ops.base import OpKind, Weight, WeightedKind, accumulate, exact_float
from intact.ops.call import Activation, Call, Shape, activate, present


@final
@dataclass(frozen=True)
class FullyConnected(WeightedKind):
    """``activation(x w^T + b)``: x [..., in], w [out, in], b [out]; x is flattened to [n, in] unless ``keep_dims``."""

    name: ClassVar[str] = "FULLY_CONNECTED"
    takes: ClassVar[tuple[int, int]] = (2, 3)
    weight: ClassVar[Weight] = Weight(input=1, axis=0, bias=2)
    activation: Activation = "none"
    keep_dims: bool = False
    asymmetric_inputs: bool = False

    def compute(self, *inputs: Tensor | None) -> Tensor:
        x, w = present(inputs[0], "x"), present(inputs[1], "weight")
        if not self.keep_dims:
            x = x.reshape(-1, w.shape[1])
        bias = inputs[2].reshape(-1) if len(inputs) > 2 and inputs[2] is not None else None
        y = F.linear(x, w, None if x.is_meta else bias)
        if x.is_meta and bias is not None:
            bias.expand_as(y)  # whether it fits; torch would load its compiler, seconds, to say what shape the sum has
        return activate(y, self.activation)

    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        acc, x, w = accumulate(self, call)
        return (call.arithmetic.dense(acc, x, w, call.output(self.activation), count=call.tensor(1).shape[1]),)

    def entering(self, channels: Tensor, weight: Shape) -> Tensor:
        del weight
        return channels

    def reads(self, x: Shape, weight: Shape) -> int:
        return x[-1] if self.keep_dims else weight[1]

    def is_uniform(self, weight: Shape) -> bool:
        del weight
        return True

    def macs(self, inputs: Sequence[Shape], output: Shape) -> int:
        return prod(output) * inputs[1][1]


@final
@dataclass(frozen=True)
class BatchMatMul(OpKind):
    """``a b`` over the last two axes, either one transposed first."""

    name: ClassVar[str] = "BATCH_MATMUL"
    takes: ClassVar[tuple[int, int]] = (2, 2)
    adj_x: bool = False
    adj_y: bool = False
    asymmetric_inputs: bool = False

    def compute(self, *inputs: Tensor | None) -> Tensor:
        a, b = present(inputs[0], "a"), present(inputs[1], "b")
        return (a.transpose(-1, -2) if self.adj_x else a) @ (b.transpose(-1, -2) if self.adj_y else b)

    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        a, b = call.centered(0), call.centered(1)
        dtype = exact_float(float(a.abs().max()) * float(b.abs().max()) * a.shape[-2 if self.adj_x else -1])
        total = self.compute(a.to(dtype), b.to(dtype)).to(torch.int64)
        acc = total if call.is_wide else wrap(total)
        return (call.arithmetic.matmul(acc, call.format(0), call.format(1), call.output()),)

    def unit(self, scales: Sequence[float]) -> float:
        return prod(scales)

    def macs(self, inputs: Sequence[Shape], output: Shape) -> int:
        return prod(output) * inputs[0][-2 if self.adj_x else -1]
