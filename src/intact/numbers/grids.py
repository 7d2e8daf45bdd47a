"""What a group of numbers becomes on a grid of a few levels: the explorer's arithmetic, which its page repeats bit for bit.

Numbers, scales and levels are float32; an integer is ``clamp(round_half_even(x / scale) + zero_point)`` in float32, as
:func:`intact.numbers.affine.quantize` has it. Errors are float64, and sums are taken in order, one number after the other, so
that whoever adds the same numbers in the same order has the same bits. Worked: 0.1, -0.4 and 0.3 on 3 symmetric bits have the
scale 0.4 / 3 = 0.1333 and become 0.1333, -0.4 and 0.2667; the worst error is 0.0333, within scale / 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from intact import choices
from intact.errors import OptionError
from intact.numbers.affine import nudged
from intact.numbers.codebook import settled

FEWEST_BITS: Final = 2
MOST_BITS: Final = 8
RANGES: Final = ("minmax", "percentile", "mse")
LEVELS: Final = ("linear", "kmeans")
#: How much of the range of all numbers is tried for the least squared error, the widest first.
PARTS: Final = tuple(1.0 if i == 39 else 0.3 + i * ((1.0 - 0.3) / 39) for i in range(39, -1, -1))
#: Narrower ranges in a row that are worse than the best so far, after which none is tried any more: a choice.
PATIENCE: Final = 4
#: Numbers of a group that the search for the least squared error looks at, at most, evenly spread.
SEARCHED: Final = 1 << 15
#: Rounds of k-means at most; few groups need as many to come to rest, and none moves far in the last of them.
ROUNDS: Final = 50
BINS: Final = 128
#: Points of the scatter of numbers against what they become.
POINTS: Final = 400
PERCENTILES: Final = (0.1, 1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0, 99.9)
#: A number is near zero when it is at most this part of the group's largest magnitude.
NEAR: Final = 0.01
_TINY: Final = float(np.finfo(np.float32).tiny)


@final
@dataclass(frozen=True)
class Choice:
    """How numbers are stored. OptionError for what there is not.

    ``ranges``: what the levels cover, all numbers (``minmax``), all but ``100 - percent`` per cent of them, half at each end
    (``percentile``), or what has the least squared error (``mse``). ``levels``: equally far apart (``linear``), or moved from
    there to the mean of what each stores until they rest (``kmeans``).
    """

    bits: int = 8
    symmetric: bool = True
    per_channel: bool = True
    ranges: str = "minmax"
    levels: str = "linear"
    percent: float = 99.9

    def __post_init__(self) -> None:
        if choices.whole("bits", self.bits, FEWEST_BITS) > MOST_BITS:
            raise OptionError(f"bits {self.bits} must be {FEWEST_BITS} to {MOST_BITS}")
        for name, value, known in (("ranges", self.ranges, RANGES), ("levels", self.levels, LEVELS)):
            if value not in known:
                raise OptionError(f"no {name} are called {value!r}; give one of: {', '.join(known)}")
        if not 50 < choices.real("percent", self.percent, "99.9") <= 100:
            raise OptionError(f"percent {self.percent} must be above 50 and at most 100, such as 99.9")

    @property
    def limits(self) -> tuple[int, int]:
        """Lowest and highest integer; symmetric ones leave the lowest unused: 4 bits are -7 to 7, or -8 to 7."""
        highest = 2 ** (self.bits - 1) - 1
        return (-highest if self.symmetric else -highest - 1), highest


@final
@dataclass(frozen=True, eq=False)
class Grid:
    """``levels`` [k] float32 in order; ``scale`` and ``zero_point`` where they are equally far apart, else None."""

    levels: np.ndarray
    lowest: int = 0
    scale: float | None = None
    zero_point: int | None = None

    def index(self, x: np.ndarray) -> np.ndarray:
        """Which level each number becomes: by rounding, or the nearest, of two as near the lower."""
        if self.scale is None or self.zero_point is None:
            levels = self.levels.astype(np.float64)
            return np.searchsorted((levels[:-1] + levels[1:]) / 2, x.astype(np.float64), side="left")
        q = np.rint(x / np.float32(self.scale)) + np.float32(self.zero_point)
        return np.clip(q, self.lowest, self.lowest + len(self.levels) - 1).astype(np.int64) - self.lowest

    def rounded(self, x: np.ndarray) -> np.ndarray:
        """What each number becomes, float32."""
        return np.take(self.levels, self.index(x))


@final
@dataclass(frozen=True, eq=False)
class Figures:
    """A group of ``count`` numbers on its grid.

    ``signal`` and ``noise``: sums of squares of the numbers and of the errors. ``clipped``: numbers beyond the outermost levels
    by more than half a step. ``occupancy``: numbers on each level. ``bound``: scale / 2, which no error exceeds but of what is
    clipped. The last three are None or say nothing for k-means, which has no step.
    """

    count: int
    low: float
    high: float
    mean: float
    deviation: float
    near_zero: int
    percentiles: tuple[float, ...]
    signal: float
    noise: float
    worst: float
    mean_error: float
    bytes: int
    histogram: tuple[int, ...]
    errors: tuple[int, ...]
    occupancy: tuple[int, ...]
    scale: float | None
    zero_point: int | None
    bound: float | None
    clipped: int | None

    @property
    def used(self) -> int:
        """Levels that store any number."""
        return sum(count > 0 for count in self.occupancy)

    @property
    def sqnr(self) -> float:
        """Signal over quantization noise in dB; infinite where nothing is lost."""
        return decibels(self.signal, self.noise)


def decibels(signal: float, noise: float) -> float:
    """``10 log10(signal / noise)``; infinite without noise, for zeros too."""
    return float("inf") if noise == 0 else 10 * float(np.log10(signal / noise))


def groups_of(values: np.ndarray, axis: int | None, choice: Choice) -> tuple[np.ndarray, ...]:
    """The numbers that share a grid, float32 [n] each in the tensor's order: all of them, or those of each channel."""
    values = np.asarray(values, np.float32)
    if axis is None or not choice.per_channel:
        return (values.reshape(-1),)
    return tuple(np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1))


def grids_of(groups: Sequence[np.ndarray], choice: Choice) -> tuple[Grid, ...]:
    """The grid of each group. One of nothing but zeros takes the widest scale of its neighbours, or 1, where symmetric."""
    linear = _symmetric if choice.symmetric else _asymmetric
    found = [linear(group, choice) for group in groups]
    widest = max((scale for scale, _ in found), default=0.0) or 1.0
    lowest, highest = choice.limits
    grids = []
    for group, (scale, zero_point) in zip(groups, found, strict=True):
        step = scale or widest
        steps = np.arange(lowest - zero_point, highest - zero_point + 1).astype(np.float32)
        grid = Grid(steps * np.float32(step), lowest, step, zero_point)
        grids.append(_moved(group, grid) if choice.levels == "kmeans" else grid)
    return tuple(grids)


def figures_of(x: np.ndarray, grid: Grid, choice: Choice) -> Figures:
    """What there is to know of one group on its grid."""
    exact, index = x.astype(np.float64), grid.index(x)
    errors = exact - grid.levels[index].astype(np.float64)
    sizes = np.abs(errors)
    low, high, worst = float(exact.min()), float(exact.max()), float(sizes.max())
    mean = total(exact) / len(x)
    bound = None if grid.scale is None else grid.scale / 2
    ends = grid.levels[[0, -1]].astype(np.float64)
    beyond = None if bound is None else int(((exact < ends[0] - bound) | (exact > ends[1] + bound)).sum())
    in_order = np.sort(x).astype(np.float64)
    return Figures(
        count=len(x),
        low=low,
        high=high,
        mean=mean,
        deviation=float(np.sqrt(total(np.square(exact - mean)) / len(x))),
        near_zero=int((np.abs(exact) <= NEAR * max(-low, high)).sum()),
        percentiles=tuple(percentile(in_order, p) for p in PERCENTILES),
        signal=total(np.square(exact)),
        noise=total(np.square(errors)),
        worst=worst,
        mean_error=total(sizes) / len(x),
        bytes=stored_bytes(len(x), grid, choice),
        histogram=_counted(exact, low, high),
        errors=_counted(errors, -worst, worst),
        occupancy=tuple(np.bincount(index, minlength=len(grid.levels)).tolist()),
        scale=grid.scale,
        zero_point=grid.zero_point,
        bound=bound,
        clipped=beyond,
    )


def stored_bytes(count: int, grid: Grid, choice: Choice) -> int:
    """Bytes of a group: its integers without gaps, 4 for a scale and 1 for a zero point, or 4 for each level of k-means."""
    beside = 4 * len(grid.levels) if grid.scale is None else 4 if choice.symmetric else 5
    return -(-count * choice.bits // 8) + beside


def total(x: np.ndarray) -> float:
    """The sum, added up in order."""
    return float(np.cumsum(x)[-1])


def percentile(in_order: np.ndarray, percent: float) -> float:
    """The number below which ``percent`` of those in order lie, between two of them in proportion."""
    at = percent / 100 * (len(in_order) - 1)
    below = min(int(at), len(in_order) - 1)
    above = min(below + 1, len(in_order) - 1)
    return float(in_order[below] + (in_order[above] - in_order[below]) * (at - below))


def _symmetric(x: np.ndarray, choice: Choice) -> tuple[float, int]:
    """Scale and zero point, 0; scale 0 for a group of zeros."""
    sizes = np.abs(x).astype(np.float64)
    largest, highest = float(sizes.max()), choice.limits[1]
    if choice.ranges == "percentile":
        largest = percentile(np.sort(sizes), choice.percent) or largest

    def scale(part: float) -> float:
        return float(np.float32(max(part * largest / highest, _TINY)))

    if largest == 0:
        return 0.0, 0
    parts = PARTS if choice.ranges == "mse" else (1.0,)
    return _best(x, [(scale(part), 0) for part in parts], choice.limits)


def _asymmetric(x: np.ndarray, choice: Choice) -> tuple[float, int]:
    """Scale and zero point of a range that holds zero; its ends are shrunk together, then the lower, then the upper alone."""
    ends = (float(x.min()), float(x.max()))
    if choice.ranges == "percentile":
        in_order, tail = np.sort(x).astype(np.float64), (100 - choice.percent) / 2
        inner = percentile(in_order, tail), percentile(in_order, 100 - tail)
        ends = inner if any(inner) else ends
    low, high = min(ends[0], 0.0), max(ends[1], 0.0)
    if choice.ranges != "mse":
        return nudged(low, high, *choice.limits)

    def tried(pairs: list[tuple[float, float]]) -> tuple[float, float]:
        formats = [nudged(*pair, *choice.limits) for pair in pairs]
        return pairs[formats.index(_best(x, formats, choice.limits))]

    low, high = tried([(part * low, part * high) for part in PARTS])
    low, high = tried([(part * low, high) for part in PARTS])
    low, high = tried([(low, part * high) for part in PARTS])
    return nudged(low, high, *choice.limits)


def _best(x: np.ndarray, formats: Sequence[tuple[float, int]], limits: tuple[int, int]) -> tuple[float, int]:
    """The first of those with the least squared error, of those tried until :data:`PATIENCE` in a row are worse."""
    few = x[:: -(-len(x) // SEARCHED)]
    best, least, worse = formats[0], np.inf, 0
    for scale, zero_point in formats if len(formats) > 1 else ():
        q = np.clip(np.rint(few / np.float32(scale)) + np.float32(zero_point), *limits) - np.float32(zero_point)
        error = total(np.square(few.astype(np.float64) - (q * np.float32(scale)).astype(np.float64)))
        best, least, worse = ((scale, zero_point), error, 0) if error < least else (best, least, worse + 1)
        if worse == PATIENCE:
            break
    return best


def _moved(x: np.ndarray, grid: Grid) -> Grid:
    """k-means of one dimension from the levels of ``grid``: those that store nothing stay where they are."""
    levels = settled(np.sort(x).astype(np.float64), grid.levels.astype(np.float64), ROUNDS)
    return Grid(levels.astype(np.float32))


def _counted(x: np.ndarray, low: float, high: float) -> tuple[int, ...]:
    """How many lie in each of equal bins from ``low`` to ``high``; all in the first where these are one."""
    if high == low:
        return (len(x), *(0,) * (BINS - 1))
    at = np.minimum((x - low) / (high - low) * BINS, BINS - 1).astype(np.int64)
    return tuple(np.bincount(at, minlength=BINS).tolist())
