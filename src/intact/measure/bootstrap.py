"""Intervals by resampling samples, with a fixed seed so that a report can be made again."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from intact.annotations import Ints
from intact.errors import DataError

_RESAMPLES: Final = 1000
#: Fewer leave the ends of a 95 % interval to two or three values.
_ENOUGH: Final = 100
#: Share of resamples on which a statistic may be undefined, as the AUC is when one class is not drawn.
_UNDEFINED: Final = 0.05


@final
@dataclass(frozen=True)
class Interval:
    """A 95 % interval and how it came about; without ends where ``how`` says why there is none."""

    low: float | None
    high: float | None
    how: str


def paired(statistic: Callable[[Ints[np.ndarray, "n"]], float], n: int, *, seconds: float = 60.0, seed: int = 0) -> Interval:
    """The 95 % percentile interval of ``statistic(pick)``, with ``pick`` int64 ``[n]`` drawn with replacement from 0..n-1.

    The statistic looks up all of a sample's figures by ``pick``, so that pairs stay together. 1,000 resamples, or as many as
    fit in ``seconds``; no interval from fewer than 100, nor when the statistic raises DataError or is NaN on over 5 % of them.
    Source: Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.
    """
    rng = np.random.default_rng(seed)
    values: list[float] = []
    started = time.monotonic()
    while len(values) < _RESAMPLES and (not values or time.monotonic() - started < seconds):
        values.append(_value(statistic, rng.integers(0, n, n)))
    if len(values) < _ENOUGH:
        return Interval(None, None, f"no interval: {len(values)} resamples took {seconds:g} seconds")
    defined = sorted(v for v in values if not math.isnan(v))
    if len(defined) < (1 - _UNDEFINED) * len(values):
        return Interval(None, None, f"no interval: undefined on {len(values) - len(defined)} of {len(values)} resamples")
    # order statistics without interpolation, as values may be infinite
    low, high = (defined[round(q * (len(defined) - 1))] for q in (0.025, 0.975))
    return Interval(low, high, f"percentile bootstrap, {len(values)} resamples")


def _value(statistic: Callable[[Ints[np.ndarray, "n"]], float], pick: Ints[np.ndarray, "n"]) -> float:
    try:
        return statistic(pick)
    except DataError:
        return math.nan
