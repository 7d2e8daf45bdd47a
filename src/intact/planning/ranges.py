"""From what calibration saw of a tensor to the range it is stored in: one small class per estimator."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import ClassVar, Final, TypeAlias, final

import numpy as np

from intact import choices
from intact.numbers.affine import limits, weight_limits

#: (low, high) of the real numbers a tensor takes
Range: TypeAlias = tuple[float, float]


def hull(a: Range, b: Range) -> Range:
    """The least range that holds both."""
    return min(a[0], b[0]), max(a[1], b[1])


def width(seen: Range) -> float:
    """How wide the range is once it contains zero, as every stored range must."""
    return max(seen[1], 0.0) - min(seen[0], 0.0)


@final
@dataclass(frozen=True, eq=False)
class Observed:
    """One tensor over n calibration samples: ``lows`` and ``highs`` [n], in sample order, and a histogram if asked for.

    ``counts`` [bins] counts the values in equal bins from min(lows) to max(highs).
    """

    lows: np.ndarray
    highs: np.ndarray
    counts: np.ndarray | None = None

    @property
    def extremes(self) -> Range:
        return float(self.lows.min()), float(self.highs.max())


def foreseen(seen: Observed, estimated: Range) -> Range:
    """``estimated`` and as far beyond as the extremes of the first and second half of the samples lie apart.

    For a few long sequences, whose neighbours are alike: a maximum over n of them is below that of what is to come. Where n
    samples have a tail like an exponential's, the halves' maxima are 2 ln 2 of its scale apart on average, which is what the
    maximum of 4 n samples is above that of n. Nothing is added where both halves reach the same, as a RELU's zero.
    """
    half = (len(seen.lows) + 1) // 2
    if len(seen.lows) < 2:
        return estimated
    low, high = (
        abs(float(fold(ends[:half])) - float(fold(ends[half:]))) for fold, ends in ((np.min, seen.lows), (np.max, seen.highs))
    )
    return estimated[0] - low, estimated[1] + high


@dataclass(frozen=True)
class Estimator(abc.ABC):
    """``estimate`` maps an :class:`Observed` to the (low, high) to store as ``dtype``; the format puts zero inside."""

    name: ClassVar[str]
    needs_histogram: ClassVar[bool] = False
    dtype: str = field(default="int8", kw_only=True)

    @abc.abstractmethod
    def estimate(self, seen: Observed) -> Range: ...


@final
@dataclass(frozen=True)
class MinMax(Estimator):
    """The lowest and the highest value seen. Nothing is clipped."""

    name: ClassVar[str] = "minmax"

    def estimate(self, seen: Observed) -> Range:
        return seen.extremes


@final
@dataclass(frozen=True)
class Auto(Estimator):
    """:class:`MinMax` or :class:`Moving`, whichever is better at the network's output; the former until that is known.

    A run chooses, once it can simulate both: :mod:`intact.run.as_planned`.
    """

    name: ClassVar[str] = "auto"

    def estimate(self, seen: Observed) -> Range:
        return seen.extremes


@final
@dataclass(frozen=True)
class Moving(Estimator):
    """``r <- (1 - step) r + step * extreme`` over the samples in order, from the first one's extremes.

    Clips outliers that are rare among the samples. Source: Krishnamoorthi 2018 (arXiv 1806.08342), section 3.1.
    """

    name: ClassVar[str] = "moving"
    step: float = 0.05

    def estimate(self, seen: Observed) -> Range:
        n = len(seen.lows)
        weights = self.step * (1 - self.step) ** np.arange(n - 1, -1, -1.0)
        weights[0] = (1 - self.step) ** (n - 1)
        return float(weights @ seen.lows), float(weights @ seen.highs)


@final
@dataclass(frozen=True)
class Percentile(Estimator):
    """The values that leave ``(100 - percent) / 2`` per cent out at each end; the extreme itself when an end has no tail."""

    name: ClassVar[str] = "percentile"
    needs_histogram: ClassVar[bool] = True
    percent: float = 99.99

    def estimate(self, seen: Observed) -> Range:
        counts, edges = _histogram(seen)
        cumulative = np.concatenate(([0.0], np.cumsum(counts))) / max(counts.sum(), 1.0)
        tail = (100 - self.percent) / 200
        low, high = np.interp((tail, 1 - tail), cumulative, edges)
        floor, ceiling = seen.extremes
        # A ReLU output piles up at exactly 0: the first bin already holds the tail, so its lower edge is the answer.
        return (floor if counts[0] > tail * counts.sum() else float(low)), (
            ceiling if counts[-1] > tail * counts.sum() else float(high)
        )


@final
@dataclass(frozen=True)
class Mse(Estimator):
    """The range with the least mean squared error of rounding and clipping, searched over both ends.

    ``E = sum_bins p(x) (x - Q(x))^2`` with rounding taken as uniform, ``scale^2 / 12`` inside and ``(x - end)^2`` outside.
    Source: the OMSE of Choukroun et al. 2019 (arXiv 1902.06822), for asymmetric ranges.
    """

    name: ClassVar[str] = "mse"
    needs_histogram: ClassVar[bool] = True
    steps: int = 48

    def estimate(self, seen: Observed) -> Range:
        counts, edges = _histogram(seen)
        low, high = min(edges[0], 0.0), max(edges[-1], 0.0)
        x, p = (edges[:-1] + edges[1:]) / 2, counts / max(counts.sum(), 1.0)
        shrink = np.linspace(1.0, 1.0 / self.steps, self.steps)
        lows, highs = low * shrink, high * shrink
        below = np.array([p @ np.square(np.minimum(x - end, 0.0)) for end in lows])
        above = np.array([p @ np.square(np.maximum(x - end, 0.0)) for end in highs])
        q_low, q_high = limits(self.dtype)
        inside = np.square((highs[None, :] - lows[:, None]) / (q_high - q_low)) / 12
        i, j = np.unravel_index(int(np.argmin(below[:, None] + above[None, :] + inside)), inside.shape)
        return float(lows[i]), float(highs[j])


def least_squared_error(weight: np.ndarray, absmax: np.ndarray, dtype: str, axis: int | None) -> np.ndarray:
    """For each channel (or for all) the clipping magnitude, at most ``absmax``, with the least squared error.

    With few bits, clipping the largest weights costs less than coarser steps for all the others. Searched over 40 steps.
    """
    qmax = weight_limits(dtype)[1]
    others = tuple(a for a in range(weight.ndim) if a != axis) if axis is not None else None
    shape = [-1 if a == axis else 1 for a in range(weight.ndim)] if axis is not None else [1] * weight.ndim
    best, least = absmax.astype(np.float64), np.full(absmax.shape, np.inf)
    for part in np.linspace(0.3, 1.0, 40):
        scale = np.maximum(part * absmax / qmax, np.finfo(np.float32).tiny).reshape(shape)
        error = np.square(weight - np.clip(np.rint(weight / scale), -qmax, qmax) * scale).sum(axis=others)
        better = error < least
        least = np.where(better, error, least).reshape(absmax.shape)
        best = np.where(better, part * absmax, best).reshape(absmax.shape)
    return best


_ALL: Final = (Auto(), MinMax(), Moving(), Percentile(), Mse())
ESTIMATORS: Final[Mapping[str, Estimator]] = MappingProxyType({e.name: e for e in _ALL})


def estimator(name: str, dtype: str = "int8") -> Estimator:
    """The estimator called ``name`` for numbers stored as ``dtype``; OptionError lists the names there are."""
    return replace(ESTIMATORS[choices.estimator(name)], dtype=dtype)


def _histogram(seen: Observed) -> tuple[np.ndarray, np.ndarray]:
    """Counts [bins] and bin edges [bins + 1]."""
    if seen.counts is None:
        raise ValueError("this estimator needs a histogram")
    low, high = seen.extremes
    return seen.counts.astype(np.float64), np.linspace(low, high, len(seen.counts) + 1)
