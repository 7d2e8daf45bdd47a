"""Ten words "spoken" by a formant synthesizer, other words and silence, as the 49 x 10 MFCCs of MLPerf Tiny's keyword spotting.

A word is a list of sounds. Its voice is a sum of harmonics of a gliding pitch, as loud as the formants of each moment let them
be; its hiss is noise around the highest resonance that it has. Speakers differ in pitch, vocal tract, speed and vowels.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
import scipy.signal

RATE, WINDOW, HOP, FRAMES, COEFFICIENTS = 16000, 480, 320, 49, 10
STEPS = 100  # of the tracks of pitch, loudness and formants, 10 ms each
NOISE, LEVEL = (-1.5, 0.4), (-2, -1)  # powers of ten: of noise beside a word, both as RMS of a second, and of both together

# three formants in Hz, how loud the voice is, the resonance of the hiss in Hz and how loud it is, and the length in ms
SOUNDS = {
    "i": (270, 2290, 3010, 0.8, 0, 0, 90), "e": (530, 1840, 2480, 1, 0, 0, 130), "a": (730, 1090, 2440, 1, 0, 0, 140),
    "o": (570, 840, 2410, 1, 0, 0, 140), "u": (300, 870, 2240, 0.8, 0, 0, 100), "A": (640, 1190, 2390, 1, 0, 0, 120),
    "n": (280, 1700, 2600, 0.35, 0, 0, 80), "m": (280, 1000, 2200, 0.35, 0, 0, 80), "l": (360, 1300, 2700, 0.5, 0, 0, 70),
    "r": (310, 1060, 1380, 0.5, 0, 0, 80), "s": (400, 1700, 2600, 0, 5500, 0.5, 120), "f": (400, 1100, 2300, 0, 6500, 0.2, 110),
    "t": (400, 1700, 2600, 0, 4000, 0.6, 30), "p": (400, 900, 2300, 0, 900, 0.4, 30), "k": (300, 1900, 2400, 0, 2000, 0.5, 35),
    "d": (300, 1700, 2600, 0.2, 3500, 0.3, 30), "g": (300, 1900, 2400, 0.2, 1900, 0.3, 35),
    "b": (300, 900, 2300, 0.3, 700, 0.2, 30), "_": (400, 1500, 2500, 0, 0, 0, 50),
}  # fmt: skip
WORDS = {"yes": "ies", "no": "nou", "up": "A_p", "down": "daun", "left": "lef_t", "right": "rai_t", "on": "an", "off": "of",
         "stop": "s_tap", "go": "gou"}  # fmt: skip
OTHERS = ("bed", "bi_t", "dog", "hai", "fors", "faiv", "eit", "lAk", "mun", "nain", "siks", "tri", "tu", "uan", "k_at", "noi")
CLASSES = ("silence", "unknown", *WORDS)


def recording(rng: np.random.Generator, label: int) -> np.ndarray:
    """One second at 16 kHz of a class, float32 ``[16000]``, in noise."""
    slope = rng.uniform(0, 0.97)
    noise = scipy.signal.lfilter([np.sqrt(1 - slope**2)], [1, -slope], rng.normal(size=RATE))
    noise *= 10 ** rng.uniform(*NOISE)
    if label == 0:
        return (10 ** rng.uniform(*LEVEL) * noise).astype(np.float32)
    spoken = _spoken(rng, rng.choice(OTHERS) if label == 1 else WORDS[CLASSES[label]])
    spoken /= np.sqrt(np.mean(spoken**2) + 1e-12)
    return (10 ** rng.uniform(*LEVEL) * (spoken + noise)).astype(np.float32)


def _spoken(rng: np.random.Generator, word: str) -> np.ndarray:
    tracks = _tracks(rng, word)
    tract, high = rng.uniform(0.88, 1.18), rng.uniform(85, 240)
    pitch = high * np.linspace(rng.uniform(1, 1.2), rng.uniform(0.75, 1), STEPS)
    at = np.arange(RATE) / RATE * STEPS
    number = np.arange(1, int(4000 / high))
    loud = tracks[:, 3, None] * _response(pitch[:, None] * number, tracks[:, :3] * tract) / number
    turn = np.exp(2j * np.pi * np.cumsum(np.interp(at, np.arange(STEPS), pitch)) / RATE)
    voice = np.zeros(RATE, complex)
    for column in loud.T[::-1]:
        voice = (voice + np.interp(at, np.arange(STEPS), column)) * turn
    return voice.real + np.interp(at, np.arange(STEPS), tracks[:, 5]) * _hiss(rng, tracks[:, 4].max())


def _tracks(rng: np.random.Generator, word: str) -> np.ndarray:
    """What SOUNDS lists, every 10 ms ``[100, 6]``, in one flow from sound to sound and from silence to silence."""
    sounds = np.array([SOUNDS.get(letter, SOUNDS["_"]) for letter in word], float)
    sounds[:, :3] *= rng.normal(1, 0.06, (len(sounds), 3))
    lengths = np.maximum((sounds[:, 6] * rng.uniform(0.8, 1.4) * rng.uniform(0.8, 1.2, len(sounds)) / 10).astype(int), 2)
    said = np.repeat(sounds[:, :6], lengths, axis=0)[:STEPS]
    start = int(np.clip((STEPS - len(said)) / 2 + rng.normal(0, 10), 0, STEPS - len(said)))
    tracks = np.pad(said, ((start, STEPS - len(said) - start), (0, 0)), mode="edge")
    tracks[:start, [3, 5]] = tracks[start + len(said) :, [3, 5]] = 0
    smooth = np.hanning(7) / np.hanning(7).sum()
    return np.stack([np.convolve(np.pad(t, 3, mode="edge"), smooth, "valid") for t in tracks.T], axis=1)


def _response(hertz: np.ndarray, formants: np.ndarray) -> np.ndarray:
    """How loud each harmonic is, ``[steps, harmonics]``: three resonances, 60 to 160 Hz wide (Fant 1960)."""
    found = np.ones_like(hertz)
    for centre, width in zip(formants.T[:, :, None], (60, 90, 160), strict=True):
        found *= centre**2 / np.sqrt((hertz**2 - centre**2) ** 2 + (hertz * width) ** 2)
    return found


def _hiss(rng: np.random.Generator, hertz: float) -> np.ndarray:
    if hertz < 1:
        return np.zeros(RATE)
    radius, angle = 0.85, 2 * np.pi * hertz / RATE
    return scipy.signal.lfilter([0.3], [1, -2 * radius * np.cos(angle), radius**2], rng.normal(size=RATE))


def _mel_filters() -> np.ndarray:
    """40 triangles equally wide in mel (HTK's formula) from 20 to 4,000 Hz, ``[40, bins]``."""
    low, high = (2595 * np.log10(1 + f / 700) for f in (20, 4000))
    edges = 700 * (10 ** (np.linspace(low, high, 42) / 2595) - 1)
    start, peak, stop = (edges[i : i + 40, None] for i in range(3))
    bins = np.fft.rfftfreq(512, 1 / RATE)
    return np.maximum(np.minimum((bins - start) / (peak - start), (stop - bins) / (stop - peak)), 0)


FILTERS = _mel_filters()


def features(sound: np.ndarray) -> np.ndarray:
    """The first 10 MFCCs of windows of 30 ms every 20 ms, float32 ``[49, 10, 1]``."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[::HOP] * scipy.signal.get_window("hann", WINDOW)
    bands = np.log(np.abs(np.fft.rfft(frames, 512)) @ FILTERS.T + 1e-6)
    return scipy.fft.dct(bands, norm="ortho")[:, :COEFFICIENTS, None].astype(np.float32)


def keywords(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """``[count, 49, 10, 1]`` and the class of each ``[count]``, equally many of each."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % len(CLASSES)
    return np.stack([features(recording(rng, label)) for label in labels]), labels
