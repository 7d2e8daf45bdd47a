"""Which tables the numbers of a weight are stored by: one for each output channel where that pays, else one for all.

Worked, for 4 bits: a channel of 576 weights has 288 bytes of indices and a table of 16, which is less than a quarter of them;
one of 27 has 14, and shares the table of its weight. Channels of at most 32 weights have their own as soon as that is less than
int8: 9 weights of a depthwise channel are 2.25 bytes of 2-bit indices and a table of 4. Few bytes of a network are theirs, and
most of its loss.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Final

import numpy as np

from intact.network.weighted import Weighted
from intact.numbers.affine import Affine, Float, weight_limits
from intact.numbers.blocks import blocks_of
from intact.numbers.codebook import Codebook, table_of, tables_of_integers

#: A table of its own may take this part of its channel's indices.
_OF_INDICES: Final = 0.25
#: Channels of so few weights have a table of their own as soon as they are smaller with it than as int8.
_FEW: Final = 32


def with_codebook(found: Weighted, fmt: Affine, bits: int) -> Affine:
    """``fmt`` with the whole numbers that lose least of the weight in its steps; ``fmt`` itself where it has no more."""
    highest = weight_limits(fmt.dtype)[1]
    if 2**bits > 2 * highest:
        return fmt
    ratio = found.values.astype(np.float64) / _along(np.asarray(fmt.scale, np.float64), fmt.axis, found.values.ndim)
    q = np.clip(np.rint(ratio), -highest, highest).astype(np.int64)
    own = fmt.axis is not None and _pays(q.size // q.shape[fmt.axis], bits)
    rows = np.moveaxis(q, fmt.axis or 0, 0).reshape(q.shape[fmt.axis or 0], -1) if own else q.reshape(1, -1)
    table = _tables(rows.astype(np.int8).tobytes(), len(rows), 2**bits)
    return replace(fmt, codebook=Codebook(table, bits, fmt.axis if own else None))


@functools.lru_cache(maxsize=512)
def _tables(q: bytes, rows: int, k: int) -> tuple[tuple[float, ...], ...]:
    """A network is planned several times in a run, mostly with the same weights in the same steps."""
    return _values(tables_of_integers(np.frombuffer(q, np.int8).reshape(rows, -1).astype(np.int64), k))


def with_blocks(found: Weighted, fmt: Affine, bits: int, size: int) -> Affine:
    """``fmt`` with the multiples of its steps that lose least of the weight, one for each ``size`` numbers of a channel."""
    ratio = found.values.astype(np.float64) / _along(np.asarray(fmt.scale, np.float64), fmt.axis, found.values.ndim)
    return replace(fmt, blocks=blocks_of(ratio, bits, size, fmt.axis))


def float_codebook(values: np.ndarray, bits: int) -> Float:
    """The real numbers that lose least of a weight: one table, of float32."""
    table = np.sort(table_of(values, 2**bits).astype(np.float32))
    return Float("float32", Codebook(_values(table[None]), bits))


def _pays(count: int, bits: int) -> bool:
    """Whether a channel of ``count`` weights has a table of its own."""
    indices, table = count * bits / 8, 2**bits
    return table <= _OF_INDICES * indices or (count <= _FEW and indices + table < count)


def _along(scale: np.ndarray, axis: int | None, rank: int) -> np.ndarray:
    return scale.reshape([-1 if a == axis else 1 for a in range(rank)] if axis is not None else [1] * rank)


def _values(tables: np.ndarray) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(x) for x in table) for table in tables)
