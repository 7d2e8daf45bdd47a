"""Weights in the order in which the C kernels read them, and packed where they have few numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np

from intact.annotations import Ints

#: Channels that the kernels compute at once; of packed depthwise weights, those that are unpacked at once.
AT_ONCE: Final = 4
DEPTHWISE_AT_ONCE: Final = 16
#: Weights, and the part of their bytes, that packing must spare to be worth the unpacking.
_LEAST: Final = 512
_WORTH_IT: Final = 0.75
#: Of an index.
MOST_BITS: Final = 5


@final
@dataclass(frozen=True, eq=False)
class Packing:
    """``indices``: of ``bits`` each, the lowest first, as :func:`interleaved` lays weights, ``block`` outputs at a time, in
    rows of ``row`` inputs.

    ``tables``: the numbers that they stand for, int8, [1, 2^bits] or [outputs, 2^bits].
    """

    indices: Ints[np.ndarray, "bytes"]
    tables: Ints[np.ndarray, "tables numbers"]
    bits: int
    row: int
    block: int


def interleaved(weight: np.ndarray, row: int, block: int = AT_ONCE, *, overlaps: bool = False) -> np.ndarray:
    """Weights [outputs, ...inputs] as the kernels read them.

    ``block`` outputs at a time, for every ``row`` inputs: four inputs of each output in turn, and of those that are left over
    four one of each. Outputs that are left over lie one after the other; or the last block is whole (``overlaps``).
    """
    rows, quads = weight.reshape(len(weight), -1), row // 4 * 4
    made, whole = list[np.ndarray](), len(rows) // block * block
    if overlaps and whole < len(rows):
        rows = np.concatenate([rows[:whole], rows[-block:]])
        whole = len(rows)
    blocks = rows[:whole].reshape(-1, block, rows.shape[1] // row, row).transpose(0, 2, 1, 3)
    for part in blocks.reshape(-1, block, row):
        made.append(part[:, :quads].reshape(block, quads // 4, 4).transpose(1, 0, 2).reshape(-1))
        made.append(part[:, quads:].T.reshape(-1))
    return np.ascontiguousarray(np.concatenate([*made, rows[whole:].reshape(-1)]))


def packing(weight: np.ndarray, row: int, block: int = AT_ONCE) -> Packing | None:
    """int8 weights [outputs, ...inputs] of few different numbers, all together or within each output; None for others.

    Nothing is lost: 4-bit weights, clusters and the like are found by their numbers alone.
    """
    rows = weight.reshape(len(weight), -1)
    if len(rows) < block or rows.size < _LEAST:
        return None
    ways = [_tables(rows.reshape(1, -1)), _tables(rows)]
    made = [(_bytes(rows, tables), tables) for tables in ways if tables is not None]
    if not made or min(size for size, _ in made) > _WORTH_IT * rows.size:
        return None
    _, tables = min(made, key=lambda way: way[0])
    bits = int(tables.shape[1]).bit_length() - 1
    indices = np.stack([np.searchsorted(tables[n % len(tables)], channel) for n, channel in enumerate(rows)])
    return Packing(_in_bits(interleaved(indices, row, block, overlaps=True), bits), tables, bits, row, block)


def _tables(rows: np.ndarray) -> np.ndarray | None:
    """The numbers of each row, lowest first, the last one again until there are a power of two; None for too many."""
    found = [np.unique(row) for row in rows]
    bits = max(1, (max(map(len, found)) - 1).bit_length())
    if bits > MOST_BITS:
        return None
    return np.stack([np.append(u, np.full((1 << bits) - len(u), u[-1])) for u in found]).astype(np.int8)


def _bytes(rows: np.ndarray, tables: np.ndarray) -> float:
    return rows.size * (int(tables.shape[1]).bit_length() - 1) / 8 + tables.size


def _in_bits(indices: np.ndarray, bits: int) -> np.ndarray:
    """Indices one after the other, the lowest bit of each first: uint8."""
    spread = (indices.reshape(-1, 1) >> np.arange(bits)) & 1
    return np.packbits(spread.astype(np.uint8).reshape(-1), bitorder="little")
