"""What another way to make a network gains at its outputs, on calibration samples that neither way has seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from intact.annotations import Ints, Numbers

#: One sample of so many is held out in each turn, and this many turns hold out all.
TURNS: Final = 4
#: dB that another way has to gain.
CLEAR: Final = 0.5
_FLOOR: Final = 0.1


def folds(count: int, turns: int, most: int) -> Iterator[tuple[Ints[np.ndarray, "held"], Ints[np.ndarray, "others"]]]:
    """For each of ``turns`` (at most :data:`TURNS`) the indices held out, at most ``most``, and those of the other samples."""
    for turn in range(turns):
        held = np.arange(turn, count, TURNS)
        held = held[np.linspace(0, len(held) - 1, min(most, len(held))).round().astype(np.int64)]
        yield held, np.setdiff1d(np.arange(count), held)


def gain(
    exact: Numbers[np.ndarray, "n *s"], before: Numbers[np.ndarray, "n *s"], after: Numbers[np.ndarray, "n *s"]
) -> float | None:
    """By how many dB an output's errors are smaller ``after`` than ``before``, all ``[n, ...]``; None where they are the same.

    The lesser of two figures. Of all samples together, which the loudest decide; and of each sample in the mean, where no one
    has a loud voice by an error of almost nothing, as that of a single number can be: below a tenth of the median before,
    errors are all alike.
    """
    was, now = (np.square(made - exact, dtype=np.float64).reshape(len(exact), -1).sum(1) for made in (before, after))
    if np.array_equal(was, now):
        return None
    floor = _FLOOR * float(np.median(was)) + 1e-30
    together = 10 * np.log10((was.sum() + 1e-30) / (now.sum() + 1e-30))
    return float(min(together, (10 * np.log10((was + floor) / (now + floor))).mean()))


def mean_gains(turns: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    """The mean over the turns of what each output gains; without outputs that are the same in all of them."""
    names = {name: None for turn in turns for name, found in turn.items() if found is not None}
    return {name: float(np.mean([turn.get(name) or 0.0 for turn in turns])) for name in names}


def clear_gain(gains: Mapping[str, float]) -> float | None:
    """The mean of what the outputs gain, in dB, where that is clear and none loses as much; else None."""
    gain = float(np.mean(list(gains.values()))) if gains else 0.0
    return gain if gain > CLEAR and min(gains.values()) > -CLEAR else None
