"""Positions in memory as loops: what an op that only moves or pairs numbers does, read off the positions that it touches."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import Final, final

import numpy as np

from intact.annotations import Ints

#: Loops that the C kernels have around a run, and tensors that take part in them.
LOOPS: Final = 4
PARTS: Final = 3


@final
@dataclass(frozen=True)
class Nest:
    """``start[p] + sum_k i_k step_k[p]`` for all ``0 <= i_k < count_k``, the first loop innermost, for every part p."""

    start: tuple[int, ...]
    loops: tuple[tuple[int, tuple[int, ...]], ...]

    @staticmethod
    def of(positions: Ints[np.ndarray, "parts n"]) -> Nest | None:
        """The loops that visit ``positions`` in their order; None where no loops do."""
        at, loops = np.asarray(positions, np.int64), list[tuple[int, tuple[int, ...]]]()
        while at.shape[1] > 1:
            step = at[:, 1] - at[:, 0]
            breaks = np.flatnonzero((np.diff(at, axis=1) != step[:, None]).any(0))
            count = int(breaks[0]) + 1 if len(breaks) else at.shape[1]
            if at.shape[1] % count:
                return None
            rows = at.reshape(len(at), -1, count)
            if (rows - rows[:, :, :1] != rows[:, :1] - rows[:, :1, :1]).any():
                return None
            loops.append((count, tuple(int(s) for s in step)))
            at = rows[:, :, 0]
        return Nest(tuple(int(s) for s in at[:, 0]), tuple(loops))

    @property
    def run(self) -> int:
        """How many of the innermost positions lie side by side in every part."""
        count, step = self.loops[0] if self.loops else (1, ())
        return count if all(s == 1 for s in step) else 1

    def without_run(self) -> tuple[tuple[int, tuple[int, ...]], ...]:
        """The loops around that run."""
        return self.loops[1:] if self.run > 1 else self.loops


def runs(positions: Ints[np.ndarray, "n"]) -> int:
    """The most positions that lie side by side, wherever a run of so many begins: a divisor of n."""
    breaks = np.flatnonzero(np.diff(positions) != 1) + 1
    return gcd(len(positions), *(int(b) for b in breaks))
