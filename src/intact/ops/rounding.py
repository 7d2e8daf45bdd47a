"""From real numbers to whole ones, and division without a remainder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch

from intact.ops.base import Function, Maps


@final
@dataclass(frozen=True)
class Floor(Maps):
    """The largest whole number that is not above x."""

    name: ClassVar[str] = "FLOOR"
    function: ClassVar[Function] = staticmethod(torch.floor)


@final
@dataclass(frozen=True)
class Ceil(Maps):
    """The smallest whole number that is not below x."""

    name: ClassVar[str] = "CEIL"
    function: ClassVar[Function] = staticmethod(torch.ceil)


@final
@dataclass(frozen=True)
class Round(Maps):
    """The nearest whole number, of two the even one: 0.5 -> 0, 1.5 -> 2. Source: LiteRT kernels/internal/reference/round.h."""

    name: ClassVar[str] = "ROUND"
    function: ClassVar[Function] = staticmethod(torch.round)


@final
@dataclass(frozen=True)
class Sign(Maps):
    """-1, 0 or 1."""

    name: ClassVar[str] = "SIGN"
    function: ClassVar[Function] = staticmethod(torch.sign)


@final
@dataclass(frozen=True)
class FloorDiv(Maps):
    """``floor(a / b)``."""

    name: ClassVar[str] = "FLOOR_DIV"
    takes: ClassVar[tuple[int, int]] = (2, 2)
    function: ClassVar[Function] = staticmethod(torch.floor_divide)


@final
@dataclass(frozen=True)
class FloorMod(Maps):
    """``a - b floor(a / b)``: it has the sign of b."""

    name: ClassVar[str] = "FLOOR_MOD"
    takes: ClassVar[tuple[int, int]] = (2, 2)
    function: ClassVar[Function] = staticmethod(torch.remainder)
