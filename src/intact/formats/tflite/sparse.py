"""Constants that a .tflite stores sparse, as dense ones. Source: LiteRT kernels/internal/utils/sparsity_format_converter.cc.

A tensor of rank r is cut into blocks along the axes of ``block map`` and walked level by level in ``traversal order``: levels
below r count an axis (in blocks, where it is cut), levels from r on count inside the blocks. A dense level has every place, a
sparse one (CSR) lists for each node above it which places there are. What the walk ends at is stored, in that order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any, Final

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from intact.errors import ModelError, UnsupportedError
from intact.formats.tflite.op_rows import CODES
from intact.formats.tflite.values import ints
from intact.network.graph import Op, Tensor
from intact.ops.opaque import Opaque

#: A small file may not claim a huge tensor: this many elements, or so many for each that is stored.
_LARGEST: Final = 1 << 22
_SPARSEST: Final = 1000
_VECTORS: Final = {
    schema.SparseIndexVector.Int32Vector: schema.Int32Vector,
    schema.SparseIndexVector.Uint16Vector: schema.Uint16Vector,
    schema.SparseIndexVector.Uint8Vector: schema.Uint8Vector,
}


def densify(values: np.ndarray, sparsity: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The dense array of ``shape`` whose stored ``values`` [k] lie where ``sparsity``, the file's table, says; 0 elsewhere.

    Raises ModelError where the table contradicts itself, the shape or the values.
    """
    order, cut = ints(sparsity.TraversalOrderAsNumpy()), ints(sparsity.BlockMapAsNumpy())
    levels = [sparsity.DimMetadata(n) for n in range(sparsity.DimMetadataLength())]
    rank = len(shape)
    if sorted(order) != list(range(rank + len(cut))) or len(levels) != len(order):
        raise _corrupt(f"{len(levels)} levels in the order {order} for {rank} axes and {len(cut)} blocks")
    if len(set(cut)) != len(cut) or not set(cut) <= set(range(rank)):
        raise _corrupt(f"blocks along the axes {cut} of {rank}")
    if prod(shape) > max(_LARGEST, _SPARSEST * values.size):
        raise _corrupt(f"{values.size} values for {list(shape)}")
    sizes = _sizes(order, cut, levels, shape)
    places = _walk(order, levels, sizes, prod(shape))
    if places.shape[1] != values.size:
        raise _corrupt(f"{places.shape[1]} places for {values.size} values")
    index = [
        places[axis] * sizes[rank + cut.index(axis)] + places[rank + cut.index(axis)] if axis in cut else places[axis]
        for axis in range(rank)
    ]
    dense = np.zeros(shape, values.dtype)
    dense[tuple(index)] = values
    return dense


def _sizes(order: Sequence[int], cut: Sequence[int], levels: Sequence[Any], shape: tuple[int, ...]) -> list[int]:
    """How many places each axis, counted in blocks, and each block has: [rank + blocks]."""
    rank = len(shape)
    blocks = [int(levels[order.index(rank + n)].DenseSize()) for n in range(len(cut))]
    if any(size < 1 or shape[axis] % size for axis, size in zip(cut, blocks, strict=True)):
        raise _corrupt(f"blocks of {blocks} along the axes {cut} of {list(shape)}")
    return [n // blocks[cut.index(axis)] if axis in cut else n for axis, n in enumerate(shape)] + blocks


def _walk(order: Sequence[int], levels: Sequence[Any], sizes: Sequence[int], most: int) -> np.ndarray:
    """The places that the walk ends at: [rank + blocks, k], counted by axis."""
    places = np.zeros((len(order), 1), np.int64)
    for axis, level in zip(order, levels, strict=True):
        nodes, size = places.shape[1], sizes[axis]
        if level.Format() == schema.DimensionType.DENSE:
            if level.DenseSize() != size or nodes * size > most:
                raise _corrupt(f"a dense level of {level.DenseSize()} for an axis of {size}")
            counts, found = np.full(nodes, size), np.tile(np.arange(size), nodes)
        else:
            segments = _vector(level.ArraySegmentsType(), level.ArraySegments())
            found = _vector(level.ArrayIndicesType(), level.ArrayIndices())
            counts = np.diff(segments)
            ends = segments.size == nodes + 1 and segments[0] == 0 and segments[-1] == found.size <= most
            if not ends or (counts < 0).any() or (found < 0).any() or (found >= size).any():
                raise _corrupt(f"a sparse level that does not fit {nodes} nodes above an axis of {size}")
        places = np.repeat(places, counts, axis=1)
        places[axis] = found
    return places


def _vector(kind: int, table: Any) -> np.ndarray:
    if kind not in _VECTORS or table is None:
        raise _corrupt("a sparse level without indices")
    vector = _VECTORS[kind]()
    vector.Init(table.Bytes, table.Pos)
    return np.asarray(ints(vector.ValuesAsNumpy()), np.int64)


def _corrupt(what: str) -> ModelError:
    return ModelError(f"is corrupt: it is stored sparse with {what}")


def without_densify(ops: Sequence[Op], tensors: Mapping[int, Tensor]) -> tuple[tuple[Op, ...], dict[int, Tensor]]:
    """The ops without DENSIFY: what it makes is a constant like what it reads, which is dense already."""
    kept, known = list[Op](), dict(tensors)
    for op in ops:
        if not isinstance(op.kind, Opaque) or op.kind.spelling.code != CODES["DENSIFY"]:
            kept.append(op)
            continue
        source = known[op.reads[0]]
        if source.data is None or source.shape != known[op.output].shape:
            raise UnsupportedError(f"op DENSIFY with output {known[op.output].name!r} reads no constant of its output's shape")
        known[op.output] = replace(known[op.output], data=source.data, format=source.format)
    return tuple(kept), known
