"""What another way to make a network gains at its outputs, on calibration samples that neither way has seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

#: One sample of so many is held out in each turn, and this many turns hold out all.
TURNS: Final = 4
#: dB that another way has to gain.
CLEAR: Final = 0.5


def folds(count: int, turns: int, most: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each of ``turns`` (at most :data:`TURNS`) the indices held out, at most ``most``, and those of the other samples."""
    for turn in range(turns):
        held = np.arange(turn, count, TURNS)
        held = held[np.linspace(0, len(held) - 1, min(most, len(held))).round().astype(np.int64)]
        yield held, np.setdiff1d(np.arange(count), held)


def decibels(exact: np.ndarray, made: np.ndarray) -> np.ndarray:
    """The error of each sample of an output ``[n, ...]``, in dB, [n]: one voice each, so that not the loudest counts."""
    error = np.square(made - exact, dtype=np.float64).reshape(len(exact), -1).sum(1)
    return np.asarray(10 * np.log10(error + 1e-30))


def clear_gain(gains: Mapping[str, float]) -> float | None:
    """The mean of what the outputs gain, in dB, where that is clear and none loses as much; else None."""
    gain = float(np.mean(list(gains.values()))) if gains else 0.0
    return gain if gain > CLEAR and min(gains.values()) > -CLEAR else None
