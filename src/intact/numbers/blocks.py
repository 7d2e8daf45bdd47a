"""Steps for a few weights each: whole multiples of the step of their channel, so that what is stored are int8 numbers.

Worked, for 3 bits (-3 to 3) in blocks of two: a channel of step 0.01 with 0.30, -0.11, 0.03 and 0.01 has the multiples 10 and
1. It stores 30, -10, 3 and 1, which int8 kernels read as 0.30, -0.10, 0.03 and 0.01; a step of 0.1 for all would have made the
last two 0. Source: Dai et al. 2021, VS-Quant (arXiv 2102.04503): the scale of a vector is a few bits beside its channel's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Final, final

import numpy as np

#: Bits of a multiple, which counts from 1.
MULTIPLE_BITS: Final = 4
MOST: Final = 1 << MULTIPLE_BITS


@final
@dataclass(frozen=True)
class Blocks:
    """``stored[c, n] = multiples[c][n // size] * index[c, n]`` with an index of ``bits``, -highest to highest.

    c is counted along ``axis``, n over all other numbers of its channel in their order; ``axis`` None: all are one channel.
    """

    multiples: tuple[tuple[int, ...], ...]
    bits: int
    size: int
    axis: int | None = None

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= MULTIPLE_BITS:
            raise ValueError(f"{self.bits} bits")
        if self.size < 2:
            raise ValueError(f"blocks of {self.size}")
        if not self.multiples or (self.axis is None and len(self.multiples) != 1):
            raise ValueError(f"multiples of {len(self.multiples)} channels with axis {self.axis}")
        if len({len(row) for row in self.multiples}) != 1 or not all(1 <= m <= MOST for row in self.multiples for m in row):
            raise ValueError("multiples that are not 1 to 16")

    @property
    def highest(self) -> int:
        """The largest index; the lowest of its bits stays unused: of 4 bits, 7."""
        return highest(self.bits)

    def fits(self, shape: Sequence[int | None]) -> bool:
        """Whether a weight of ``shape`` has so many channels and blocks."""
        if self.axis is not None and not 0 <= self.axis < len(shape):
            return False
        sizes = [n or 1 for n in shape]
        channels = 1 if self.axis is None else sizes[self.axis]
        count = prod(sizes) // channels
        return len(self.multiples) == channels and len(self.multiples[0]) == -(-count // self.size)

    def steps(self, shape: tuple[int, ...]) -> np.ndarray:
        """The multiple of each number of a weight of ``shape``, float32."""
        others = [n for a, n in enumerate(shape) if a != self.axis]
        channels = len(self.multiples)
        count = prod(shape) // channels
        each = np.repeat(np.asarray(self.multiples, np.float32), self.size, axis=1)[:, :count]
        return each.reshape(shape) if self.axis is None else np.moveaxis(each.reshape(channels, *others), 0, self.axis)

    def snapped(self, x: np.ndarray) -> np.ndarray:
        """Each number, in steps of its channel, as what is stored for it: whole numbers as float64, same shape."""
        steps = self.steps(x.shape).astype(np.float64)
        return np.clip(np.rint(x / steps), -self.highest, self.highest) * steps


def highest(bits: int) -> int:
    """The largest index of so many bits, as of a linear weight."""
    return (1 << (bits - 1)) - 1


def blocks_of(x: np.ndarray, bits: int, size: int, axis: int | None) -> Blocks:
    """The multiples with the least squared error for a weight ``x`` in steps of its channels; of two as good the lower."""
    rows = np.asarray(x, np.float64).reshape(1, -1) if axis is None else np.moveaxis(x, axis, 0).reshape(x.shape[axis], -1)
    count = -(-rows.shape[1] // size)
    padded = np.zeros((len(rows), count * size))
    padded[:, : rows.shape[1]] = rows
    each, most = padded.reshape(len(rows), count, size), highest(bits)
    least, best = np.full(each.shape[:2], np.inf), np.ones(each.shape[:2], np.int64)
    for m in range(1, MOST + 1):
        error = np.square(each - np.clip(np.rint(each / m), -most, most) * m).sum(2)
        best = np.where(error < least, m, best)
        least = np.minimum(error, least)
    return Blocks(tuple(tuple(int(m) for m in row) for row in best), bits, size, axis)
