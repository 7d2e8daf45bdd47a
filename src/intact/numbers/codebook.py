"""A few numbers that stand for many: the tables that the elements of a weight come from, and the best there are.

Worked: -3, -3, -1, 0, 4 and 5 lose least by two whole numbers as -2 (the mean of four is -1.75) and 4 (the even one of two that
lose as much for 4 and 5): the squared error is 1 + 1 + 1 + 4 + 0 + 1 = 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np

#: Different numbers of a group that the exact optimum is looked for among; of more, as many equally wide bins of them.
MOST_POINTS: Final = 1024
#: Numbers in the matrices of costs that are held at once: what a core's cache holds.
_HELD: Final = 1 << 16


@final
@dataclass(frozen=True)
class Codebook:
    """``stored[..., c, ...] = values[c][index[..., c, ...]]`` with c counted along ``axis``, and an index of ``bits``.

    One table where ``axis`` is None, else one per channel, all equally long, in order; a table of fewer numbers repeats its
    last. Beside an :class:`~intact.numbers.affine.Affine` they are whole numbers in its steps, else real numbers.
    """

    values: tuple[tuple[float, ...], ...]
    bits: int
    axis: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 8:
            raise ValueError(f"{self.bits} bits")
        if not self.values or (self.axis is None and len(self.values) != 1):
            raise ValueError(f"{len(self.values)} tables with axis {self.axis}")
        lengths = {len(table) for table in self.values}
        if len(lengths) != 1 or not 1 <= min(lengths) <= 2**self.bits:
            raise ValueError(f"tables of {sorted(lengths)} numbers for {self.bits} bits")
        table = np.asarray(self.values, np.float64)
        if not np.isfinite(table).all() or (np.diff(table) < 0).any():
            raise ValueError("a table out of order")

    def table(self) -> np.ndarray:
        """The numbers, float64 [tables, k]."""
        return np.asarray(self.values, np.float64)

    def snapped(self, x: np.ndarray) -> np.ndarray:
        """Each number as the nearest of its table, of two as near the lower; float64, same shape."""
        table, along = self.table(), np.moveaxis(np.asarray(x, np.float64), self.axis or 0, 0)
        rows = along.reshape(len(table) if self.axis is not None else 1, -1)
        index = indices(table, rows)
        made = np.take_along_axis(table, index, 1).reshape(along.shape)
        return np.moveaxis(made, 0, self.axis or 0)


def indices(tables: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Which number of its table each of ``rows`` [t, n] is nearest to, of two as near the lower; ``tables`` [t, k]."""
    middles = (tables[:, :-1] + tables[:, 1:]) / 2
    if len(tables) == 1:
        return np.searchsorted(middles[0], rows, side="left")
    found = np.zeros(rows.shape, np.int64)
    for middle in middles.T:
        found += rows > middle[:, None]
    return found


def best(points: np.ndarray, counts: np.ndarray, k: int, *, whole: bool = False) -> np.ndarray:
    """The ``k`` numbers with the least squared error for each group, [groups, k] in order; ``whole``: of whole numbers.

    ``points`` [groups, n] are in order and ``counts`` says how often each is there, 0 where it is not. Exact: in one dimension
    the clusters of k-means are stretches, and the best of each number of points follow from those of fewer.
    Source: Wang and Song 2011, Ckmeans.1d.dp (The R Journal 3/2), equation 2.
    """
    groups, n = points.shape
    at_once = max(1, _HELD // n**2)
    parts = [slice(at, at + at_once) for at in range(0, groups, at_once)]
    return np.concatenate([_best(points[part].astype(np.float64), counts[part].astype(np.float64), k, whole) for part in parts])


def _best(points: np.ndarray, counts: np.ndarray, k: int, whole: bool) -> np.ndarray:
    groups, n = points.shape
    none = np.zeros((groups, 1))
    shifted = points - points[:, :1]  # sums of squares cancel less
    sums = [np.concatenate([none, np.cumsum(counts * shifted**power, 1)], 1) for power in (0, 1, 2)]
    count, first, second = (s[:, 1:, None] - s[:, None, :-1] for s in sums)  # [groups, to, from]
    means = first / np.maximum(count, 1)
    if whole:
        means = np.rint(means + points[:, :1, None]) - points[:, :1, None]
    cost = second + means * (means * count - 2 * first)
    cost[:, np.triu(np.ones((n, n), bool), 1)] = np.inf
    least, starts = cost[:, :, 0], [np.zeros((groups, n), np.int64)]
    for _ in range(min(k, n) - 1):
        reached = np.concatenate([none, least[:, :-1]], 1)[:, None] + cost
        starts.append(reached.argmin(2))
        least = np.take_along_axis(reached, starts[-1][:, :, None], 2)[:, :, 0]
    levels = np.empty((groups, min(k, n)))
    rows, end = np.arange(groups), np.full(groups, n - 1)
    for level, start in reversed(list(enumerate(starts))):
        begin = start[rows, end]
        levels[:, level] = means[rows, end, begin] + points[:, 0]
        end = np.maximum(begin - 1, 0)
    levels = np.sort(levels, 1)
    return np.concatenate([levels, np.repeat(levels[:, -1:], k - levels.shape[1], 1)], 1)


def settled(in_order: np.ndarray, levels: np.ndarray, rounds: int) -> np.ndarray:
    """``levels`` [k] moved to the mean of what is nearest to each until they rest; those that nothing is near to stay.

    ``in_order`` float64 [n]. Source: Lloyd 1982, Least squares quantization in PCM (doi 10.1109/TIT.1982.1056489).
    """
    sums = np.concatenate(([0.0], np.cumsum(in_order)))
    for _ in range(rounds):
        ends = np.searchsorted(in_order, (levels[:-1] + levels[1:]) / 2, side="right")
        first, last = np.concatenate(([0], ends)), np.concatenate((ends, [len(in_order)]))
        counts = last - first
        moved = np.where(counts > 0, (sums[last] - sums[first]) / np.maximum(counts, 1), levels)
        if np.array_equal(moved, levels):
            break
        levels = moved
    return levels


def table_of(x: np.ndarray, k: int) -> np.ndarray:
    """The ``k`` real numbers, float64 in order, for the numbers ``x`` [n]: the exact optimum of their bins, then settled."""
    in_order = np.sort(np.asarray(x, np.float64).reshape(-1))
    points, counts = np.unique(in_order, return_counts=True)
    if len(points) <= k:
        return np.concatenate([points, np.repeat(points[-1:], k - len(points))])
    if len(points) > MOST_POINTS:
        counts, edges = np.histogram(in_order, MOST_POINTS)
        sums = np.histogram(in_order, edges, weights=in_order)[0]
        points, counts = sums[counts > 0] / counts[counts > 0], counts[counts > 0]
    return settled(in_order, best(points[None], counts[None], k)[0], _ROUNDS)


def tables_of_integers(q: np.ndarray, k: int) -> np.ndarray:
    """The ``k`` best whole numbers in order for each row of the integers ``q`` [t, n], int64 [t, k]: the exact optimum."""
    low, high = int(q.min()), int(q.max())
    size = high - low + 1
    rows = np.arange(len(q))[:, None]
    counts = np.bincount((rows * size + (q - low)).reshape(-1), minlength=len(q) * size).reshape(len(q), size)
    there = (counts > 0).sum(1)
    tables = np.empty((len(q), k), np.int64)
    for some in np.array_split(np.argsort(there, kind="stable"), max(1, -(-len(q) // _ALIKE))):
        widest = int(there[some].max())
        order = np.argsort(counts[some] == 0, axis=1, kind="stable")[:, :widest]  # those that are there first, in order
        held = np.take_along_axis(counts[some], order, 1)
        points = np.where(held > 0, order + low, np.take_along_axis(order, there[some][:, None] - 1, 1) + low)
        tables[some] = np.rint(best(points, held, k, whole=True))
    return tables


_ROUNDS: Final = 50
#: Groups with about as many different numbers that are worked on together.
_ALIKE: Final = 64
