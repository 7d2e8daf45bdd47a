"""How the numbers of a tensor lie, in float and as integers: counts over bins that no level of the integers straddles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import torch

from intact.numbers.affine import Affine, limits

#: Bins over what a format can hold, and those beside it on each side: there lies what is cut off.
_BINS: Final = 128
_BEYOND: Final = 8


@final
@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts ``[bins]`` of the float numbers and of the integers' values, between ``low`` and ``high``.

    Numbers outside count in the first or the last bin.
    """

    low: float
    high: float
    exact: np.ndarray
    made: np.ndarray

    def __add__(self, other: Histogram) -> Histogram:
        return Histogram(self.low, self.high, self.exact + other.exact, self.made + other.made)

    def to_json(self) -> dict[str, Any]:
        return {"low": self.low, "high": self.high, "float": self.exact.tolist(), "integer": self.made.tolist()}


def on_grid(fmt: Affine, exact: torch.Tensor, made: torch.Tensor) -> Histogram:
    """Of a per-tensor format: each bin is a whole number of levels wide, or a level a whole number of bins.

    Worked: int8 has 128 bins of two levels each, and eight beside them on either side.
    """
    first, last = limits(fmt.dtype)
    levels = last - first + 1
    width = fmt.scale[0] * levels / max(_BINS, levels // (levels // _BINS or 1))
    low = fmt.scale[0] * (first - fmt.zero_point[0] - 0.5) - _BEYOND * width
    bins = round(levels * fmt.scale[0] / width) + 2 * _BEYOND
    return Histogram(low, low + bins * width, *(_counts(x, low, width, bins) for x in (exact, made)))


def between(low: float, high: float, exact: torch.Tensor, made: torch.Tensor) -> Histogram:
    """In even bins from ``low`` to ``high``: for formats per channel, whose levels differ."""
    width = (high - low) / _BINS or 1.0
    return Histogram(low, low + _BINS * width, *(_counts(x, low, width, _BINS) for x in (exact, made)))


def _counts(x: torch.Tensor, low: float, width: float, bins: int) -> np.ndarray:
    place = ((x.reshape(-1).double() - low) / width).floor().clamp(0, bins - 1)
    return torch.bincount(place.nan_to_num().long(), minlength=bins).numpy()
