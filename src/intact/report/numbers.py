"""How reports write a number: four digits, or all before the point of a large one."""

from __future__ import annotations

import math
from typing import Final

#: Beyond these a number is written with an exponent: nobody counts so many digits.
_NEAR: Final = 1e-9
_FAR: Final = 1e15


def number(value: float | str) -> str:
    """``0.4857 -> 0.4857``, ``28208.3 -> 28,208``, ``1.385e-05 -> 0.00001385``, infinity (a string in JSON) ``-> infinite``."""
    x = float(value)
    if math.isnan(x):
        return "undefined"
    if math.isinf(x):
        return "infinite" if x > 0 else "-infinite"
    if (x.is_integer() and abs(x) >= 100) or abs(x) >= 10_000:
        return f"{x:,.0f}" if abs(x) < _FAR else f"{x:.4g}"
    text = f"{x:.4g}"
    if "e" not in text or abs(x) < _NEAR:
        return text
    return f"{x:.{3 - math.floor(math.log10(abs(x)))}f}".rstrip("0")


def interval(low: float | str | None, high: float | str | None) -> str:
    """``-0.03 to 0.25``; nothing when there is none, or when it is one infinite point."""
    if low is None or high is None or (float(low) == float(high) and math.isinf(float(low))):
        return ""
    return f"{number(low)} to {number(high)}"
