"""How true each output of a written file is to the float network's: as a whole, by channel, and in how many levels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias, final

import numpy as np

from intact.annotations import Bools, Floats, Numbers
from intact.measure import accuracy
from intact.measure.accuracy import NamedOutputs
from intact.measure.levels import Levels, levels
from intact.measure.measurement import Measurement
from intact.measure.task import Task

#: Axes longer than this hold positions, not channels.
_CHANNELS: Final = 1024
#: In [n, a, b] the longer axis counts places (8,400 of a detector) where it is so many times the other one.
_PLACES: Final = 16
#: Up to so many channels may each have a unit of its own (columns of a table, four corners and a score), and all of them
#: count. Of more, those that vary less than a hundredth of what the median channel does are taken for dead.
_COLUMNS: Final = 16
_DEAD: Final = 0.01
#: What varies less than this part of its magnitude is float32's own rounding.
_ROUNDING: Final = 1e-6
#: Numbers that are worked on at a time, in float64.
_PIECE: Final = 1 << 22

_ByChannel: TypeAlias = Numbers[np.ndarray, "n places channels"]


@final
@dataclass(frozen=True)
class Channel:
    """The channel ``number`` of ``of``, counted from 0, that is least true: ``decibels`` without the mean, ``constant`` if
    the file gives one number where the float network varies.
    """

    number: int
    of: int
    decibels: Measurement
    constant: bool


@final
@dataclass(frozen=True, eq=False)
class OutputFidelity:
    """One output against the float network's on the same samples; None where the samples cannot tell.

    ``sqnr``: signal to noise in dB. ``varying``: the same with each element's mean over samples taken out of the signal,
    ``10 log10(n / (n - 1) sum (x - mean_n x)^2 / sum (x - y)^2)``: what is left of what the network says of a sample,
    where an output that hardly varies is mostly its mean. ``worst``: the least of that over channels. ``finite``: whether
    the file gives finite numbers wherever the float network does. ``flat``: its own are the same for all samples.
    """

    name: str
    task: Task
    sqnr: Measurement | None
    varying: Measurement | None
    worst: Channel | None
    levels: Levels | None
    finite: bool
    flat: bool = False

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """All figures, named after what they are."""
        worst = None if self.worst is None else self.worst.decibels
        used = None if self.levels is None else self.levels.measurement
        return tuple(m for m in (self.sqnr, self.varying, worst, used) if m is not None)


@final
@dataclass(frozen=True, eq=False)
class Outputs:
    """Both files' outputs ``[n, ...]`` by name on the same samples, what each is taken for and how true it is."""

    exact: NamedOutputs
    made: NamedOutputs
    tasks: Mapping[str, Task]
    fidelities: tuple[OutputFidelity, ...]


def look(exact: NamedOutputs, made: NamedOutputs, tasks: Mapping[str, Task]) -> Outputs:
    """Compare the float network's outputs with what a file made; whole numbers have no noise to speak of."""
    found = tuple(
        _look(name, x, made[name], tasks[name])
        for name, x in exact.items()
        if x.dtype.kind == "f" and x.size and x.shape == made[name].shape
    )
    return Outputs(exact, made, tasks, found)


def _look(name: str, x: Floats[np.ndarray, "n *s"], y: Numbers[np.ndarray, "n *s"], task: Task) -> OutputFidelity:
    finite = bool((np.isfinite(y) | ~np.isfinite(x)).all())
    if not (finite and np.isfinite(x).all()):
        return OutputFidelity(name, task, None, None, None, None, finite)
    x, y = _by_channel(x), _by_channel(y)
    varying, worst = _without_mean(x, y)
    flat = varying is None and len(x) > 1
    return OutputFidelity(name, task, accuracy.sqnr(x, y), varying, worst, levels(x, y), finite, flat)


def _by_channel(x: Numbers[np.ndarray, "n ..."]) -> _ByChannel:
    """``[n, ...]`` as ``[n, places, channels]``; one channel where no axis counts channels."""
    kept = x.reshape(len(x), *([size for size in x.shape[1:] if size != 1] or [1]))
    axes = range(1, kept.ndim)
    axis = kept.ndim - 1
    shortest = min(axes, key=lambda a: kept.shape[a])
    if kept.shape[axis] > _PLACES * kept.shape[shortest]:
        axis = shortest
    if kept.shape[axis] > _CHANNELS:
        return kept.reshape(len(x), -1, 1)
    return np.moveaxis(kept, axis, -1).reshape(len(x), -1, kept.shape[axis])


def _without_mean(x: _ByChannel, y: _ByChannel) -> tuple[Measurement | None, Channel | None]:
    """dB without the mean of ``[n, places, channels]``, and of the worst channel; None where the float network is constant."""
    powers = _powers(x, y)
    if powers is None:
        return None, None
    signal, noise, counts = powers.signal, powers.noise, powers.counts
    how = "each element's mean over the samples left out of the signal"
    whole = accuracy.decibels("SQNR without the mean", signal.sum(1), noise.sum(1), how)
    if len(counts) < 2:
        return whole, None
    number, channels = powers.worst, len(counts)
    how = f"channel {number} of {channels:,}, counted from 0, the least of {int(counts.sum()):,} that vary; without the mean"
    least = accuracy.decibels("SQNR of the worst channel", signal[:, number], noise[:, number], how)
    return whole, Channel(number, channels, least, bool(np.ptp(y[..., number]) == 0))


def without_mean(x: Numbers[np.ndarray, "n *s"], y: Numbers[np.ndarray, "n *s"]) -> tuple[float, float]:
    """The dB of ``y`` against ``x``, both ``[n, ...]``, without the mean: of the whole, and of the worst channel."""
    powers = _powers(_by_channel(x), _by_channel(y))
    if powers is None:
        return math.inf, math.inf
    by_channel = powers.signal.sum(0), powers.noise.sum(0)
    pairs = ((s.sum(), e.sum()) for s, e in (by_channel, (by_channel[0][powers.worst], by_channel[1][powers.worst])))
    whole, worst = (math.inf if e == 0 else 10 * math.log10(max(float(s / e), 1e-30)) for s, e in pairs)
    return whole, worst


@final
@dataclass(frozen=True, eq=False)
class _Powers:
    """Of samples and channels ``[n, c]``, the mean left out of the signal; ``counts``: which channels vary, bool ``[c]``."""

    signal: Floats[np.ndarray, "n c"]
    noise: Floats[np.ndarray, "n c"]
    counts: Bools[np.ndarray, "c"]

    @property
    def worst(self) -> int:
        """The channel that counts whose noise is largest beside its signal."""
        noise, signal = self.noise.sum(0), self.signal.sum(0)
        return int(np.divide(noise, signal, out=np.full_like(noise, -1.0), where=self.counts).argmax())


def _powers(x: _ByChannel, y: _ByChannel) -> _Powers | None:
    """Those of ``[n, places, channels]``; None for a single sample, or where the float network is constant."""
    n, places, channels = x.shape
    if n < 2:
        return None
    mean = sum(piece.sum(0, dtype=np.float64) for piece, _ in _pieces(x, y)) / n
    signal, noise, at = np.empty((n, channels)), np.empty((n, channels)), 0
    for a, b in _pieces(x, y):
        rows = slice(at, at + len(a))
        signal[rows] = np.square(a - mean).sum(1) * n / (n - 1)
        noise[rows] = np.square(a.astype(np.float64) - b).sum(1)
        at += len(a)
    deviations = np.sqrt(signal.sum(0) / (n * places))
    varies = deviations > _ROUNDING * np.abs(x).max(axis=(0, 1)).astype(np.float64)
    counts = varies & ((deviations >= _DEAD * np.median(deviations)) | (channels <= _COLUMNS))
    return _Powers(signal, noise, counts) if counts.any() else None


def _pieces(
    x: Numbers[np.ndarray, "n *s"], y: Numbers[np.ndarray, "n *s"]
) -> Iterator[tuple[Numbers[np.ndarray, "m *s"], Numbers[np.ndarray, "m *s"]]]:
    step = max(_PIECE // max(x[0].size, 1), 1)
    return ((x[at : at + step], y[at : at + step]) for at in range(0, len(x), step))
