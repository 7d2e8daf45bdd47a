"""How reports write a number: four digits, or all before the point of a large one."""

from __future__ import annotations

import math


def number(value: float | str) -> str:
    """``0.4857 -> 0.4857``, ``28208.3 -> 28,208``, infinity (a string in JSON) ``-> infinite``."""
    x = float(value)
    if math.isinf(x):
        return "infinite" if x > 0 else "-infinite"
    return f"{x:,.0f}" if (x.is_integer() and abs(x) >= 100) or abs(x) >= 10_000 else f"{x:.4g}"


def interval(low: float | str | None, high: float | str | None) -> str:
    """``-0.03 to 0.25``; nothing when there is none, or when it is one infinite point."""
    if low is None or high is None or (float(low) == float(high) and math.isinf(float(low))):
        return ""
    return f"{number(low)} to {number(high)}"
