"""From real numbers to whole ones, and division without a remainder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from intact.ops.base import FloatOnly
from intact.ops.call import present


@final
@dataclass(frozen=True)
class Floor(FloatOnly):
    """The largest whole number that is not above x."""

    name: ClassVar[str] = "FLOOR"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return torch.floor(present(inputs[0], "x"))


@final
@dataclass(frozen=True)
class Ceil(FloatOnly):
    """The smallest whole number that is not below x."""

    name: ClassVar[str] = "CEIL"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return torch.ceil(present(inputs[0], "x"))


@final
@dataclass(frozen=True)
class Round(FloatOnly):
    """The nearest whole number, of two the even one: 0.5 -> 0, 1.5 -> 2. Source: LiteRT kernels/internal/reference/round.h."""

    name: ClassVar[str] = "ROUND"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return torch.round(present(inputs[0], "x"))


@final
@dataclass(frozen=True)
class Sign(FloatOnly):
    """-1, 0 or 1."""

    name: ClassVar[str] = "SIGN"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return torch.sign(present(inputs[0], "x"))


@final
@dataclass(frozen=True)
class FloorDiv(FloatOnly):
    """``floor(a / b)``."""

    name: ClassVar[str] = "FLOOR_DIV"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return torch.div(present(inputs[0], "a"), present(inputs[1], "b"), rounding_mode="floor")


@final
@dataclass(frozen=True)
class FloorMod(FloatOnly):
    """``a - b floor(a / b)``: it has the sign of b."""

    name: ClassVar[str] = "FLOOR_MOD"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return torch.remainder(present(inputs[0], "a"), present(inputs[1], "b"))
