"""The one shape of every figure that is reported."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, final


@final
@dataclass(frozen=True)
class Measurement:
    """A figure with its unit, its interval and how it was taken.

    ``low`` and ``high`` bound a 95 % interval unless ``how`` says otherwise, and are None for what has no uncertainty (bytes)
    or where no interval can be had (``how`` says why). ``n`` is the number of samples, blocks or items behind it.
    ``each``: what it is of every sample, an array ``[n, …]`` as :mod:`intact.measure.by_sample` has it, where it is put
    together of that; of any type here, since criteria are read without numpy.
    Worked: ``Measurement("accuracy drop", 0.11, "percentage points", -0.03, 0.25, "paired, Tango score interval", 10000)``.
    """

    name: str
    value: float
    unit: str
    low: float | None
    high: float | None
    how: str
    n: int
    each: Any = field(default=None, compare=False, repr=False)

    def named(self, name: str) -> Measurement:
        """The same figure under another name."""
        return replace(self, name=name)

    def to_json(self) -> dict[str, Any]:
        """A dict of what JSON has; infinite and undefined numbers become the strings "inf", "-inf" and "nan"."""
        return {
            "name": self.name,
            "value": _to_json(self.value),
            "unit": self.unit,
            "low": None if self.low is None else _to_json(self.low),
            "high": None if self.high is None else _to_json(self.high),
            "how": self.how,
            "n": self.n,
        }

    def __str__(self) -> str:
        """``accuracy drop 0.11 percentage points [-0.03, 0.25]``, ``levels used 27``."""
        interval = "" if self.low is None or self.high is None else f"[{_short(self.low)}, {_short(self.high)}]"
        counted = not interval and math.isfinite(self.value) and self.value == int(self.value)  # two decimals would be no count
        value = f"{int(self.value):,}" if counted else _short(self.value)
        return " ".join(part for part in (self.name, value, self.unit, interval) if part)


def _to_json(x: float) -> float | str:
    return x if math.isfinite(x) else str(float(x))


def _short(x: float) -> str:
    """Two decimals, or three digits that matter when that would show nothing; whole numbers with separators."""
    if math.isfinite(x) and x == int(x) and abs(x) >= 1000:
        return f"{int(x):,}"
    return f"{x:.2f}" if x == 0 or abs(x) >= 0.1 or not math.isfinite(x) else f"{x:.3g}"
