"""What the bytes of a .tflite are for: anybody's file, quantized or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from intact.formats.tflite.parts import PARTS, Piece, pieces

#: All parts, in the order in which they are told.
ORDER: Final[tuple[str, ...]] = (*PARTS, "structure")


def split(data: bytes) -> Mapping[str, int]:
    """Bytes of the .tflite ``data`` by what they are for; the sum is the size of the file. ModelError where it is none.

    ``weights`` and ``biases`` as stored; ``quantization``: vectors of scales, zero points and ranges; ``constants``: other
    constants that converters add, as shapes, axes, paddings, permutations and tables; ``metadata``; and ``structure``, all that
    remains: tensors, ops, options, names, and whatever nothing uses. What several tensors share is counted once.
    """
    counted = _counted(pieces(data))
    return dict(zip(ORDER, (*counted, len(data) - sum(counted)), strict=True))


def _counted(found: tuple[Piece, ...]) -> list[int]:
    """How many bytes lie in pieces of each part, each byte for the first part that it is in."""
    if not found:
        return [0] * len(PARTS)
    starts, ends = (np.array([getattr(piece, side) for piece in found], np.int64) for side in ("start", "end"))
    rank = np.array([PARTS.index(piece.part) for piece in found])
    edges = np.unique(np.concatenate([starts, ends]))
    free, sizes, counted = np.ones(len(edges) - 1, bool), np.diff(edges), []
    for part in range(len(PARTS)):
        mine = rank == part
        change = np.zeros(len(edges), np.int64)
        np.add.at(change, np.searchsorted(edges, starts[mine]), 1)
        np.add.at(change, np.searchsorted(edges, ends[mine]), -1)
        inside = free & (np.cumsum(change)[:-1] > 0)
        counted.append(int(sizes[inside].sum()))
        free &= ~inside
    return counted
