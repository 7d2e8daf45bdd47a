"""Whether a network fits boards: at once, row by row, or by how many bytes not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, final

from intact.deploy.boards import Board
from intact.deploy.project import STACK

#: How a network fits: all of it in memory at once, chains of its ops row by row, or not; "unknown" where there is no C of it.
How: TypeAlias = Literal["at once", "row by row", "no", "unknown"]

FITTING: Final = frozenset({"at once", "row by row"})


@final
@dataclass(frozen=True)
class Taken:
    """Bytes that a network takes as C: of activations, of constants, and of code; None where it was not compiled.

    ``scratch``: bytes into which packed weights are unpacked. ``chains``: the first and last ops of those that run row by row.
    """

    arena: int
    constants: int
    code: int | None
    chains: tuple[tuple[str, str], ...] = ()
    scratch: int = 0

    @property
    def ram(self) -> int:
        """With the stack that the linker keeps free."""
        return self.arena + self.scratch + STACK

    @property
    def flash(self) -> int:
        """Constants, and code as far as it is known."""
        return self.constants + (self.code or 0)


@final
@dataclass(frozen=True)
class Verdict:
    """How a network fits ``board``; where it does not, the bytes of RAM and of flash that are missing."""

    board: Board
    how: How
    ram: int = 0
    flash: int = 0

    @property
    def said(self) -> str:
        """In words: ``fits row by row``, ``lacks 2,048 bytes of RAM``."""
        if self.how in FITTING:
            return f"fits {self.how}"
        missing = ((self.ram, "RAM"), (self.flash, "flash"))
        lacks = " and ".join(f"{size:,} bytes of {memory}" for size, memory in missing if size)
        return f"lacks {lacks}" if lacks else "unknown: there is no C of it"


def verdict(board: Board, at_once: Taken | None, by_row: Taken | None, others: Sequence[Taken] = ()) -> Verdict:
    """Whether ``board`` holds a network, of which ``by_row`` is the least in RAM where rows save anything; ``others``: with its
    weights packed or not.

    What is missing is counted from the least of each memory, whichever way that is reached.
    """
    if at_once is None:
        return Verdict(board, "unknown")
    ways: list[tuple[How, Taken]] = [("at once", at_once)]
    if by_row is not None:
        ways.append(("row by row", by_row))
    ways += [("row by row" if taken.chains else "at once", taken) for taken in others]
    for how, taken in ways:
        if taken.ram <= board.ram and taken.flash <= board.flash:
            return Verdict(board, how)
    ram = min(taken.ram for _, taken in ways) - board.ram
    flash = min(taken.flash for _, taken in ways) - board.flash
    if max(ram, flash) <= 0:  # each memory holds one way, and none holds both
        flash = min(taken.flash for _, taken in ways if taken.ram <= board.ram) - board.flash
    return Verdict(board, "no", max(ram, 0), max(flash, 0))
