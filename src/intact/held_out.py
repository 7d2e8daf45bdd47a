"""What another way to make a network gains at its outputs, on calibration samples that neither way has seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

#: One sample of so many is held out in each turn, and this many turns hold out all.
TURNS: Final = 4
#: dB that another way has to gain.
CLEAR: Final = 0.5
_FLOOR: Final = 0.1


def folds(count: int, turns: int, most: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each of ``turns`` (at most :data:`TURNS`) the indices held out, at most ``most``, and those of the other samples."""
    for turn in range(turns):
        held = np.arange(turn, count, TURNS)
        held = held[np.linspace(0, len(held) - 1, min(most, len(held))).round().astype(np.int64)]
        yield held, np.setdiff1d(np.arange(count), held)


def gain(exact: np.ndarray, before: np.ndarray, after: np.ndarray) -> float:
    """By how many dB the errors of the samples of an output ``[n, ...]`` are smaller ``after`` than ``before``, summed.

    Each sample has one voice, so that not the loudest counts; and none has a loud one by an error of almost nothing, as that of
    a single number can be: below a tenth of the median before, errors are all alike.
    """
    was, now = (np.square(made - exact, dtype=np.float64).reshape(len(exact), -1).sum(1) for made in (before, after))
    floor = _FLOOR * float(np.median(was)) + 1e-30
    return float((10 * np.log10((was + floor) / (now + floor))).sum())


def clear_gain(gains: Mapping[str, float]) -> float | None:
    """The mean of what the outputs gain, in dB, where that is clear and none loses as much; else None."""
    gain = float(np.mean(list(gains.values()))) if gains else 0.0
    return gain if gain > CLEAR and min(gains.values()) > -CLEAR else None
