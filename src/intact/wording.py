"""How messages are worded, and what of a stranger's text may stand in them."""

from __future__ import annotations

import math
import reprlib
import unicodedata
from dataclasses import fields
from typing import Any, Final

#: Units whose values go over orders of magnitude, the largest first.
_SCALED: Final = {
    "bytes": ((1e9, "GB"), (1e6, "MB"), (1e3, "KB"), (1.0, "bytes")),
    "ms": ((1e3, "s"), (1.0, "ms"), (1e-3, "µs")),
}
#: Characters of one text that are shown; a name of a megabyte is no sentence.
LONGEST: Final = 2_000
#: What moves a terminal's cursor, breaks a line, turns text around or is not seen at all: control, surrogate and format
#: characters, line and paragraph separators.
_UNSEEN: Final = frozenset({"Cc", "Cs", "Cf", "Zl", "Zp"})
#: The format characters that scripts and emoji need: joiners.
_JOINERS: Final = "\u200c\u200d"


def counted(n: int, noun: str) -> str:
    """``1, "op" -> "1 op"``; ``2000, "sample" -> "2,000 samples"``. For nouns whose plural ends in s."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def quantity(value: float, unit: str) -> str:
    """A figure as people say it: ``112464, "bytes" -> "112 KB"`` (of 1,000 bytes), ``0.1112, "percentage points" -> "0.11
    points"``, ``0.0754, "ms" -> "75.4 µs"``, ``1, "steps" -> "1 step"``, ``1.892, "x" -> "1.89x"``.
    """
    if math.isnan(value):
        return "undefined"
    if math.isinf(value):
        return "infinite" if value > 0 else "-infinite"
    if unit in _SCALED:
        sizes = _SCALED[unit]
        size, called = next((pair for pair in sizes if abs(value) >= 0.9995 * pair[0]), sizes[-1])
        return f"{three(value / size)} {called}" if called != "bytes" else counted(round(value), "byte")
    if unit in {"%", "percentage points"}:
        text = f"{value:.2f}" if abs(value) >= 0.01 or value == 0 else f"{value:.1g}"
        return f"{text} {'%' if unit == '%' else 'points'}"
    if unit == "x":
        return f"{three(value)}x"
    text = f"{int(value):,}" if value == int(value) and (abs(value) >= 1000 or not unit.startswith("dB")) else three(value)
    return f"{text} {unit[:-1] if text == '1' and unit.endswith('s') else unit}".strip()


def span(low: float, high: float, unit: str) -> str:
    """``97.68, 99.23, "%" -> "97.68 to 99.23 %"``; the unit twice where the ends differ in it."""
    ends = [quantity(end, unit) for end in (low, high)]
    units = {end.lstrip("-0123456789.,e") for end in ends}
    return f"{ends[0].removesuffix(units.pop()) if len(units) == 1 else ends[0]} to {ends[1]}"


def three(value: float) -> str:
    """A number in three digits that matter, without an exponent: ``112.46 -> 112``, ``1.8 -> 1.80``, ``0.0754 -> 0.0754``."""
    if value == 0:
        return "0"
    rounded = float(f"{value:.3g}")
    if not math.isfinite(rounded):
        return f"{value:.3g}"
    digits = 2 - math.floor(math.log10(abs(rounded)))
    return f"{value:,.{max(digits, 0)}f}" if digits < 9 else f"{value:.3g}"


def shown(text: str, most: int = LONGEST) -> str:
    r"""``text`` as one line that can be printed anywhere: names of files and tensors are what strangers wrote.

    ``"a\x1b[2J\nb"`` gives the characters ``a\x1b[2J\nb`` with backslashes; letters of any script stay. A text of more than
    ``most`` characters loses its middle. Shown twice is shown once.
    """
    if len(text) > most:  # before the rest, which takes its time
        text = f"{text[: most // 2]}…{text[len(text) - (most - most // 2) + 1 :]}"
    if text.isascii() and text.isprintable():
        return text
    seen = "".join(c if unicodedata.category(c) not in _UNSEEN or c in _JOINERS else _escape(c) for c in text)
    return seen if len(seen) <= most else shown(seen, most)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


_SHORT: Final = reprlib.Repr()
_SHORT.maxdict = _SHORT.maxlist = _SHORT.maxtuple = 3
_SHORT.maxstring = _SHORT.maxother = 120
vars(_SHORT)["repr_mappingproxy"] = _SHORT.repr_dict
vars(_SHORT)["repr_ndarray"] = lambda array, _: f"{array.dtype}{list(array.shape)}"  # found by the name of the type


def brief(self: Any) -> str:
    """The ``__repr__`` of a dataclass that may hold megabytes: its fields, each cut short."""
    held = (f"{f.name}={_SHORT.repr(getattr(self, f.name))}" for f in fields(self) if f.repr)
    return f"{type(self).__name__}({', '.join(held)})"
