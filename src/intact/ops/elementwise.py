"""Element-wise arithmetic of two tensors, with broadcasting and a fused activation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from intact.ops.base import Activation, OpKind, RangeRule, SameAsInput, activate, present


@final
@dataclass(frozen=True)
class Add(OpKind):
    """``activation(a + b)``."""

    name: ClassVar[str] = "ADD"
    activation: Activation = "none"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        a, b = inputs
        return activate(present(a, "a") + present(b, "b"), self.activation)


@final
@dataclass(frozen=True)
class Mul(OpKind):
    """``activation(a * b)``."""

    name: ClassVar[str] = "MUL"
    activation: Activation = "none"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        a, b = inputs
        return activate(present(a, "a") * present(b, "b"), self.activation)


@final
@dataclass(frozen=True)
class Maximum(OpKind):
    """``max(a, b)``, element by element; it picks numbers, so all three share one scale."""

    name: ClassVar[str] = "MAXIMUM"
    range_rule: ClassVar[RangeRule] = SameAsInput()

    def compute(self, *inputs: Tensor | None) -> Tensor:
        a, b = inputs
        return torch.maximum(present(a, "a"), present(b, "b"))
