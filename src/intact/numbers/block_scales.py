"""A scale for each few inputs of an output channel, as LiteRT's FULLY_CONNECTED takes them beside real activations.

A file holds them as float16, of which XNNPACK keeps eight significant bits: it reads 1.0029 as 1 and 1.0059 as 1.0078. A scale
that is chosen here has no more, so that all kernels count in the same steps. Worked, for 4 bits (-7 to 7) in blocks of two: the
channel 0.70, -0.20, 0.07 and 0.03 has the scales 0.1001 and 0.01001. It stores 7, -2, 7 and 3, which stand for 0.7007, -0.2002,
0.0701 and 0.0300; a scale of 0.1 for all would have made the last two 0.1 and 0. Source: BlockwiseQuantization in the schema of
LiteRT; XNNPACK, ``qb4w`` (its scales are bfloat16).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np

#: Bytes of a scale in a file.
BYTES: Final = 2
#: The scales between which float16 loses none of the eight bits.
LEAST: Final = 2.0**-14
MOST: Final = 255.0 * 2**8
#: Bits of float32's mantissa beyond the eight.
_DROPPED: Final = 16
#: Parts of the largest number of a block that are tried as the largest that is stored.
_PARTS: Final = np.linspace(0.5, 1.0, 40)


@final
@dataclass(frozen=True)
class BlockScales:
    """``real[c, n] = scales[c][n // size] * stored[c, n]`` for a weight [c, n] whose n is a multiple of ``size``.

    Scales are held as the nearest float16.
    """

    scales: tuple[tuple[float, ...], ...]
    size: int

    def __post_init__(self) -> None:
        if self.size < 2:
            raise ValueError(f"blocks of {self.size}")
        if not self.scales or len({len(row) for row in self.scales}) != 1 or not self.scales[0]:
            raise ValueError(f"scales of {len(self.scales)} channels that do not have as many blocks each")
        with np.errstate(over="ignore"):
            held = np.asarray(self.scales, np.float64).astype(np.float16)
        if not ((held > 0) & np.isfinite(held)).all():
            raise ValueError("scales that are not positive numbers")
        object.__setattr__(self, "scales", tuple(map(tuple, held.tolist())))

    @property
    def count(self) -> int:
        """How many scales there are."""
        return len(self.scales) * len(self.scales[0])

    @property
    def largest(self) -> tuple[float, ...]:
        """The largest scale of each channel."""
        return tuple(max(row) for row in self.scales)

    def fits(self, shape: Sequence[int | None]) -> bool:
        """Whether a weight of ``shape`` has so many channels and blocks."""
        return tuple(shape) == (len(self.scales), len(self.scales[0]) * self.size)

    def table(self) -> np.ndarray:
        """The scales, float16 [channels, blocks]."""
        return np.asarray(self.scales, np.float16)

    def steps(self) -> np.ndarray:
        """The scale of each number of the weight, float32 [c, n]."""
        return np.asarray(np.repeat(self.table().astype(np.float32), self.size, axis=1))


def kept(scales: np.ndarray) -> np.ndarray:
    """The nearest scales of eight significant bits, of two as near the even one, that float16 holds; float32, same shape."""
    bits = np.clip(scales, LEAST, MOST).astype(np.float32).view(np.uint32)
    half = (1 << (_DROPPED - 1)) - 1 + ((bits >> _DROPPED) & 1)
    return np.asarray((((bits + half) >> _DROPPED) << _DROPPED).astype(np.uint32).view(np.float32))


def scales_of(weight: np.ndarray, highest: int, size: int) -> BlockScales:
    """The scales with the least squared error for ``weight`` [c, n] in numbers from ``-highest`` to ``highest``.

    With few bits, clipping the largest number of a block may cost less than coarser steps for the others. Searched over 40
    steps. A block of zeros has the largest scale there is: any holds them.
    """
    blocks = weight.astype(np.float64).reshape(len(weight), -1, size)
    absmax = np.abs(blocks).max(axis=2)
    best, least = kept(absmax / highest), np.full(absmax.shape, np.inf)
    for part in _PARTS:
        scale = kept(part * absmax / highest)
        steps = scale.astype(np.float64)[:, :, None]
        error = np.square(blocks - np.clip(np.rint(blocks / steps), -highest, highest) * steps).sum(axis=2)
        best = np.where(error < least, scale, best)
        least = np.minimum(error, least)
    best = np.where(absmax > 0, best, best.max())
    return BlockScales(tuple(map(tuple, best.tolist())), size)
