"""Sounds of a machine, healthy and faulty, as log-mel features: 640 numbers a window, 5 frames of 128 bands (MLPerf Tiny's).

A clip is one second at 16 kHz: a motor whose pitch and loudness follow its load, in coloured noise. When it is faulty,
something is added or changed, at a level that is drawn too, so that some faults are lost in the noise.
"""

from __future__ import annotations

import numpy as np
import scipy.signal

RATE, FRAME, HOP, BANDS, WINDOW = 16000, 2048, 512, 128, 5
FAULTS = ("bearing", "whistle", "imbalance", "slip", "rub")
TIME = np.arange(RATE) / RATE


def clip(rng: np.random.Generator, fault: str | None = None) -> np.ndarray:
    """One second of the machine, float32 ``[16000]``."""
    load, level = rng.uniform(0, 1), rng.uniform(0.1, 1)
    pitch = 118 + 8 * load + rng.normal(0, 0.5) + np.zeros(RATE)
    if fault == "slip":  # the belt lets go for a moment
        pitch *= 1 - 0.2 * level * np.exp(-(((TIME - rng.uniform(0.2, 0.8)) / 0.1) ** 2))
    loud = 1 + (0.05 + 0.9 * level * (fault == "imbalance")) * np.sin(2 * np.pi * (pitch[0] / 8 * TIME + rng.uniform()))
    sound = loud * _harmonics(rng, pitch, load) + _noise(rng, rng.uniform(0.08, 0.2))
    if fault == "bearing":  # a ball passes the damaged spot, and the housing rings
        knocks = np.zeros(RATE)
        knocks[(np.arange(rng.uniform(0, 200), RATE, RATE / rng.uniform(40, 90))).astype(int)] = 1
        ring = np.exp(-np.arange(160) / 25) * np.sin(2 * np.pi * rng.uniform(2000, 5000) / RATE * np.arange(160))
        sound += 0.5 * level * np.convolve(knocks, ring)[:RATE]
    if fault == "whistle":
        sound += 0.1 * level * np.sin(2 * np.pi * (rng.uniform(1500, 6000) * TIME + rng.uniform()))
    if fault == "rub":  # metal on metal, once a turn
        turn = np.maximum(np.sin(2 * np.pi * (rng.uniform(4, 8) * TIME + rng.uniform())), 0) ** 8
        sound += 0.3 * level * turn * scipy.signal.lfilter([1, -1], [1], rng.normal(size=RATE))
    return sound.astype(np.float32)


def _harmonics(rng: np.random.Generator, pitch: np.ndarray, load: float) -> np.ndarray:
    """24 harmonics of ``pitch``, which fall off more slowly under load, with phases by chance."""
    turn = np.exp(2j * np.pi * np.cumsum(pitch) / RATE)
    number = np.arange(1, 25)
    size = number ** -(1.4 - 0.5 * load) * np.exp(rng.normal(0, 0.15, 24))
    return np.polyval([*(size * np.exp(2j * np.pi * rng.uniform(size=24)))[::-1], 0], turn).real * 0.3


def _noise(rng: np.random.Generator, size: float) -> np.ndarray:
    return size * scipy.signal.lfilter([0.3], [1, -0.9], rng.normal(size=RATE))


def _mel_filters() -> np.ndarray:
    """Triangles equally wide in mel (HTK's formula) over the bins of a frame's spectrum, ``[bands, bins]``."""
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, BANDS + 2) / 2595) - 1)
    low, peak, high = (edges[i : i + BANDS, None] for i in range(3))
    bins = np.fft.rfftfreq(FRAME, 1 / RATE)
    return np.maximum(np.minimum((bins - low) / (peak - low), (high - bins) / (high - peak)), 0)


FILTERS = _mel_filters()


def features(sound: np.ndarray) -> np.ndarray:
    """Windows that follow each other, float32 ``[5, 640]``, in units of 20 dB around -10 dB."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, FRAME)[::HOP] * scipy.signal.get_window("hann", FRAME)
    power = np.abs(np.fft.rfft(frames)) ** 2 / FRAME
    decibels = 10 * np.log10(power @ FILTERS.T + 1e-6)
    whole = decibels[: len(decibels) // WINDOW * WINDOW]
    return ((whole.reshape(-1, WINDOW * BANDS) + 10) / 20).astype(np.float32)


def normal(count: int, seed: int) -> np.ndarray:
    """``[count, 5, 640]`` of healthy machines."""
    rng = np.random.default_rng(seed)
    return np.stack([features(clip(rng)) for _ in range(count)])


def mixed(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """``[count, 5, 640]``, and the fault of each ``[count]``: 0 for none, as every other one has, else its number in FAULTS
    from 1.
    """
    rng = np.random.default_rng(seed)
    faults = np.where(np.arange(count) % 2, np.arange(count) // 2 % len(FAULTS) + 1, 0)
    return np.stack([features(clip(rng, FAULTS[f - 1] if f else None)) for f in faults]), faults
