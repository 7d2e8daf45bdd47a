"""Comparisons and choices. Their results are bools or picked numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from intact.ops.base import Combination, FloatOnly, Moves
from intact.ops.call import present
from intact.ops.scales import Passed, alike


@final
@dataclass(frozen=True)
class Greater(FloatOnly):
    """``a > b`` as bools."""

    name: ClassVar[str] = "GREATER"
    discerns: ClassVar[bool] = True

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return present(inputs[0], "a") > present(inputs[1], "b")


@final
@dataclass(frozen=True)
class GreaterEqual(FloatOnly):
    """``a >= b`` as bools."""

    name: ClassVar[str] = "GREATER_EQUAL"
    discerns: ClassVar[bool] = True

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return present(inputs[0], "a") >= present(inputs[1], "b")


@final
@dataclass(frozen=True)
class Less(FloatOnly):
    """``a < b`` as bools."""

    name: ClassVar[str] = "LESS"
    discerns: ClassVar[bool] = True

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return present(inputs[0], "a") < present(inputs[1], "b")


@final
@dataclass(frozen=True)
class LessEqual(FloatOnly):
    """``a <= b`` as bools."""

    name: ClassVar[str] = "LESS_EQUAL"
    discerns: ClassVar[bool] = True

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return present(inputs[0], "a") <= present(inputs[1], "b")


@final
@dataclass(frozen=True)
class Equal(FloatOnly):
    """``a == b`` as bools."""

    name: ClassVar[str] = "EQUAL"
    discerns: ClassVar[bool] = True

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return present(inputs[0], "a") == present(inputs[1], "b")


@final
@dataclass(frozen=True)
class NotEqual(FloatOnly):
    """``a != b`` as bools."""

    name: ClassVar[str] = "NOT_EQUAL"
    discerns: ClassVar[bool] = True

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return present(inputs[0], "a") != present(inputs[1], "b")


@final
@dataclass(frozen=True)
class LogicalAnd(FloatOnly):
    """``a and b`` of bools."""

    name: ClassVar[str] = "LOGICAL_AND"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return torch.logical_and(present(inputs[0], "a"), present(inputs[1], "b"))


@final
@dataclass(frozen=True)
class LogicalOr(FloatOnly):
    """``a or b`` of bools."""

    name: ClassVar[str] = "LOGICAL_OR"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return torch.logical_or(present(inputs[0], "a"), present(inputs[1], "b"))


@final
@dataclass(frozen=True)
class LogicalNot(FloatOnly):
    """``not x`` of bools."""

    name: ClassVar[str] = "LOGICAL_NOT"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return torch.logical_not(present(inputs[0], "x"))


@final
@dataclass(frozen=True)
class Select(Moves):
    """``a`` where the condition holds, else ``b``: all of one shape, or a condition [n] that picks whole slices."""

    name: ClassVar[str] = "SELECT"
    combines: ClassVar[Combination | None] = "choice"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        chosen, a, b = present(inputs[0], "condition"), present(inputs[1], "a"), present(inputs[2], "b")
        if chosen.dim() == 1 and a.dim() > 1:
            chosen = chosen.reshape(-1, *[1] * (a.dim() - 1))
        return torch.where(chosen, a, b)

    def passes(self, *marks: Tensor | None) -> Passed:
        return alike(present(marks[1], "a"), present(marks[2], "b"))


@final
@dataclass(frozen=True)
class SelectV2(Moves):
    """``a`` where the condition holds, else ``b``, with broadcasting. Kernels copy stored integers: one scale for all."""

    name: ClassVar[str] = "SELECT_V2"
    combines: ClassVar[Combination | None] = "choice"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return torch.where(present(inputs[0], "condition"), present(inputs[1], "a"), present(inputs[2], "b"))

    def passes(self, *marks: Tensor | None) -> Passed:
        return alike(present(marks[1], "a"), present(marks[2], "b"))
