"""The least arena of a few buffers, proven: branch and bound over orders of placement.

Why some order gives the optimum. Take an optimal plan and let every buffer sink until it rests on the bottom or on another that
lives with it; no end rises. Now sort by offset: each buffer lies exactly on the highest end of those before it that live with
it, or at 0. So it is enough to put buffers one by one, each on top of what it meets, at offsets that never decrease.
Source: Moffitt (2023), MiniMalloc: A Lightweight Memory Allocator for Hardware-Accelerated Machine Learning, "canonical
solutions"; of rectangles in general, Christofides and Whitlock (1977), An Algorithm for Two-Dimensional Cutting Problems,
"normal patterns".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final


def least_offsets(sizes: Sequence[int], first: Sequence[int], last: Sequence[int], bound: int, limit: int) -> list[int] | None:
    """Offsets whose highest end is the least, and below ``limit``; None where no plan is below ``limit``.

    ``bound``: an end that no plan is below, at which the search ends. The time grows with the factorial of ``len(sizes)``.
    """
    search = _Search(sizes, first, last, bound, limit)
    search.go(frozenset(range(len(sizes))), (0,) * len(sizes), 0, {})
    return search.best


@final
class _Search:
    def __init__(self, sizes: Sequence[int], first: Sequence[int], last: Sequence[int], bound: int, limit: int) -> None:
        self.sizes, self.spans = sizes, list(zip(first, last, strict=True))
        self.bound, self.limit = bound, limit
        self.best: list[int] | None = None
        self.meets = [[a <= d and c <= b for c, d in self.spans] for a, b in self.spans]
        #: Who lives at each op at which something begins to.
        self.together = [[i for i, (a, b) in enumerate(self.spans) if a <= at <= b] for at in sorted(set(first))]

    def go(self, left: frozenset[int], floors: tuple[int, ...], low: int, placed: dict[int, int]) -> None:
        """Place what is ``left``, each on its floor, at ``low`` or above it."""
        if not left:
            self.limit = max(placed[i] + size for i, size in enumerate(self.sizes))
            self.best = [placed[i] for i in range(len(self.sizes))]
            return
        ceiling = min(floors[i] + self.sizes[i] for i in left)
        for i in self._candidates(left, floors, low, ceiling):
            if self.limit <= self.bound or self._hopeless(left, floors, low):
                return
            end = floors[i] + self.sizes[i]
            raised = tuple(max(f, end) if self.meets[i][j] else f for j, f in enumerate(floors))
            self.go(left - {i}, raised, floors[i], {**placed, i: floors[i]})

    def _candidates(self, left: frozenset[int], floors: tuple[int, ...], low: int, ceiling: int) -> list[int]:
        """What can come next, the lowest first, and one of those that are alike.

        Not what leaves room below it for another that is left, which could sink there in any plan that follows.
        """
        seen = set[tuple[int, tuple[int, int]]]()
        found = []
        for i in sorted(left, key=lambda i: (floors[i], -self.sizes[i], i)):
            alike = (self.sizes[i], self.spans[i])
            if low <= floors[i] < ceiling and alike not in seen:
                seen.add(alike)
                found.append(i)
        return found

    def _hopeless(self, left: frozenset[int], floors: tuple[int, ...], low: int) -> bool:
        """Whether what is left at some op cannot end below the limit."""
        for members in self.together:
            waiting = [i for i in members if i in left]
            if waiting:
                base = max(low, min(floors[i] for i in waiting))
                if base + sum(self.sizes[i] for i in waiting) >= self.limit:
                    return True
        return False
