"""What the texts of command-line options mean. Each function raises OptionError that says what to type."""

from __future__ import annotations

import math

from intact import data as samples_of
from intact.data import Preprocessing
from intact.errors import OptionError


def preprocessing(pixels: str, mean: str | None, std: str | None, channels: str | None, resize: str) -> Preprocessing:
    """The value of --pixels, --mean, --std, --channels and --resize."""
    if (mean is None) != (std is None):
        raise OptionError("--mean and --std go together; type both, or --pixels instead")
    return Preprocessing(
        pixels=samples_of.parse_pixels(pixels),
        mean=None if mean is None else samples_of.parse_mean(mean),
        std=None if std is None else samples_of.parse_std(std),
        channels=channels,
        resize=resize,
    )


def input_shape(texts: list[str]) -> tuple[int, ...] | dict[str, tuple[int, ...]] | None:
    """``["96,96,3"]`` -> (96, 96, 3); ``["a=8", "b=4,4"]`` -> {"a": (8,), "b": (4, 4)}; nothing -> None."""
    named = {name: _sizes(sizes) for name, equals, sizes in (text.rpartition("=") for text in texts) if equals}
    bare = [_sizes(text) for text in texts if "=" not in text]
    if len(bare) > 1 or (bare and named):
        raise OptionError("type --input-shape once, or once for each input by name: --input-shape image=96,96,3")
    return bare[0] if bare else named or None


def _sizes(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(size) for size in text.split(","))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise OptionError(f"--input-shape {text!r} must be whole numbers without the batch, such as --input-shape 96,96,3")
    return sizes


def seconds(text: str, option: str = "--time-budget") -> float:
    """``"90s"`` -> 90, ``"15m"`` -> 900, ``"1h"`` -> 3600; a bare number is seconds."""
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    number, unit = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 1.0)
    try:
        found = float(number) * unit
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise OptionError(f"{option} {text!r} is no time; type something like 90s, 15m or 1h")
    return found


def remedies(text: str) -> tuple[str, ...] | None:
    """``"equalize, bias"`` -> the two names; ``"none"`` -> none; ``"auto"`` -> None, for those that gain."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    return None if names == ("auto",) else () if names == ("none",) else names
