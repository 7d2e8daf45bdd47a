"""Comparisons and choices. Their results are bools or picked numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from intact.ops.base import Combination, Function, InPlace, Maps, Moves
from intact.ops.call import present
from intact.ops.scales import Passed, alike


@final
@dataclass(frozen=True)
class Greater(Maps):
    """``a > b`` as bools."""

    name: ClassVar[str] = "GREATER"
    takes: ClassVar[tuple[int, int]] = (2, 2)
    discerns: ClassVar[bool] = True
    function: ClassVar[Function] = staticmethod(torch.gt)


@final
@dataclass(frozen=True)
class GreaterEqual(Maps):
    """``a >= b`` as bools."""

    name: ClassVar[str] = "GREATER_EQUAL"
    takes: ClassVar[tuple[int, int]] = (2, 2)
    discerns: ClassVar[bool] = True
    function: ClassVar[Function] = staticmethod(torch.ge)


@final
@dataclass(frozen=True)
class Less(Maps):
    """``a < b`` as bools."""

    name: ClassVar[str] = "LESS"
    takes: ClassVar[tuple[int, int]] = (2, 2)
    discerns: ClassVar[bool] = True
    function: ClassVar[Function] = staticmethod(torch.lt)


@final
@dataclass(frozen=True)
class LessEqual(Maps):
    """``a <= b`` as bools."""

    name: ClassVar[str] = "LESS_EQUAL"
    takes: ClassVar[tuple[int, int]] = (2, 2)
    discerns: ClassVar[bool] = True
    function: ClassVar[Function] = staticmethod(torch.le)


@final
@dataclass(frozen=True)
class Equal(Maps):
    """``a == b`` as bools."""

    name: ClassVar[str] = "EQUAL"
    takes: ClassVar[tuple[int, int]] = (2, 2)
    discerns: ClassVar[bool] = True
    function: ClassVar[Function] = staticmethod(torch.eq)


@final
@dataclass(frozen=True)
class NotEqual(Maps):
    """``a != b`` as bools."""

    name: ClassVar[str] = "NOT_EQUAL"
    takes: ClassVar[tuple[int, int]] = (2, 2)
    discerns: ClassVar[bool] = True
    function: ClassVar[Function] = staticmethod(torch.ne)


@final
@dataclass(frozen=True)
class LogicalAnd(Maps):
    """``a and b`` of bools."""

    name: ClassVar[str] = "LOGICAL_AND"
    takes: ClassVar[tuple[int, int]] = (2, 2)
    function: ClassVar[Function] = staticmethod(torch.logical_and)


@final
@dataclass(frozen=True)
class LogicalOr(Maps):
    """``a or b`` of bools."""

    name: ClassVar[str] = "LOGICAL_OR"
    takes: ClassVar[tuple[int, int]] = (2, 2)
    function: ClassVar[Function] = staticmethod(torch.logical_or)


@final
@dataclass(frozen=True)
class LogicalNot(Maps):
    """``not x`` of bools."""

    name: ClassVar[str] = "LOGICAL_NOT"
    function: ClassVar[Function] = staticmethod(torch.logical_not)


@final
@dataclass(frozen=True)
class Select(Moves):
    """``a`` where the condition holds, else ``b``: all of one shape, or a condition [n] that picks whole slices."""

    name: ClassVar[str] = "SELECT"
    takes: ClassVar[tuple[int, int]] = (3, 3)
    combines: ClassVar[Combination | None] = "choice"
    in_place: ClassVar[InPlace | None] = "elements"

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
    takes: ClassVar[tuple[int, int]] = (3, 3)
    combines: ClassVar[Combination | None] = "choice"
    in_place: ClassVar[InPlace | None] = "elements"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return torch.where(present(inputs[0], "condition"), present(inputs[1], "a"), present(inputs[2], "b"))

    def passes(self, *marks: Tensor | None) -> Passed:
        return alike(present(marks[1], "a"), present(marks[2], "b"))
