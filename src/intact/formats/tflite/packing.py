"""Weights as TensorFlow Lite Micro's DECODE takes them: packed indices, and tables of the numbers that they stand for.

A packed weight is two constants of bytes: the indices, each of as many bits, the first in the highest bits of the first byte;
and 16 bytes that say how, with the tables after them. DECODE stands right before the op that reads what it makes, which
lives in the arena until then. Source: TensorFlow Lite Micro kernels/decode_state_lut.cc.

Worked: the weights 5, -3, -3, 5 have the table -3, 5 and the indices 1, 0, 0, 1, which are the byte 1001 0000.

The kernel takes as many tables as the weight has *scales*, whatever the 16 bytes say: one table for a weight with a scale for
each channel has to have the stride 0, or all channels but the first are read from beyond it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Final, final

import numpy as np

from intact.errors import ModelError, UnsupportedError
from intact.formats.tflite.values import encode
from intact.network.graph import Graph, Op, Tensor
from intact.network.weighted import weighted
from intact.numbers.affine import BIASES, Affine, Index, bias_format
from intact.ops.opaque import Opaque

#: What the op is called in a file.
DECODE: Final = b"TFLM_DECODE"
#: Kinds whose kernels read a weight when they run, and not before DECODE has made it.
DECODED: Final = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"})
MOST_BITS: Final = 7
_HEADER: Final = 16
_VERSION: Final = 1
#: The axis of one table for all.
_NO_AXIS: Final = 15
#: Tensors, ops and vectors that are added for a packed weight take about this many bytes.
BESIDE: Final = 256
_TYPES: Final = frozenset({"int8", "float32"})


@final
@dataclass(frozen=True)
class Packed:
    """A constant as DECODE reads it, both bytes."""

    indices: bytes
    ancillary: bytes

    @property
    def bytes(self) -> int:
        return len(self.indices) + len(self.ancillary)


def packed_weights(graph: Graph) -> dict[int, Packed]:
    """By tensor id, the weights of ``graph`` that are smaller so, and that no op reads otherwise than as its weight."""
    readers, found = graph.consumers(), dict[int, Packed]()
    for op in graph.ops:
        one = weighted(graph, op)
        if one is None or not one.is_constant or one.weight.id in found or one.weight.id in graph.outputs:
            continue
        others = [weighted(graph, reader) for reader in readers[one.weight.id]]
        alike = all(other is not None and other.weight.id == one.weight.id for other in others)
        if alike and all(reader.kind.name in DECODED for reader in readers[one.weight.id]):
            made = pack(one.weight)
            if made is not None and made.bytes + BESIDE < len(encode(one.weight)):
                found[one.weight.id] = made
    return found


def unscaled_biases(graph: Graph) -> frozenset[int]:
    """The biases whose scales no kernel of TensorFlow Lite Micro reads: they follow from those of what they are added to.

    FULLY_CONNECTED compares its bias' scale with the others. Source: TensorFlow Lite kernels/kernel_util.cc,
    GetQuantizedConvolutionMultipler.
    """
    found = (weighted(graph, op) for op in graph.ops if op.kind.name in DECODED - {"FULLY_CONNECTED"})
    return frozenset(one.bias.id for one in found if one is not None and one.bias is not None)


def pack(t: Tensor) -> Packed | None:
    """The weight by one table, or by one for each of its scales, whichever is smaller; None where it has too many numbers."""
    if t.format.dtype not in _TYPES or t.data is None:
        return None
    axis = t.format.axis if isinstance(t.format, Affine) else None
    ways = [_by_tables(t.data, None)]
    if axis is not None and axis in {0, t.data.ndim - 1}:
        ways.append(_by_tables(t.data, axis))
    return min((way for way in ways if way is not None), key=lambda way: way.bytes, default=None)


def _by_tables(data: np.ndarray, axis: int | None) -> Packed | None:
    rows = data.reshape(1, -1) if axis is None else np.moveaxis(data, axis, 0).reshape(data.shape[axis], -1)
    tables = [np.unique(row) for row in rows]
    k = max(map(len, tables))
    bits = max(1, (k - 1).bit_length())
    if bits > MOST_BITS:
        return None
    index = np.stack([np.searchsorted(table, row) for table, row in zip(tables, rows, strict=True)])
    if axis is not None:
        others = [n for a, n in enumerate(data.shape) if a != axis]
        index = np.moveaxis(index.reshape(data.shape[axis], *others), 0, axis)
    held = np.stack([np.append(table, np.repeat(table[-1:], k - len(table))) for table in tables])
    header = bytearray(_HEADER)
    header[1] = header[4] = _VERSION
    header[5] = ((_NO_AXIS if axis is None else axis) << 4) | bits
    header[6] = 0 if axis is None else k
    return Packed(_packed(index, bits), bytes(header) + held.tobytes())


def _packed(index: np.ndarray, bits: int) -> bytes:
    places = np.arange(bits - 1, -1, -1)
    return np.packbits((index.reshape(-1, 1) >> places) & 1).tobytes()


def without_decode(ops: Sequence[Op], tensors: Mapping[int, Tensor]) -> tuple[tuple[Op, ...], dict[int, Tensor]]:
    """The ops without DECODE: what it makes are constants. ModelError, UnsupportedError where it does not fit what it reads."""
    kept, known = list[Op](), dict(tensors)
    for op in ops:
        if not isinstance(op.kind, Opaque) or op.kind.spelling.custom != DECODE:
            kept.append(op)
            continue
        if len(op.inputs) != 2 * len(op.outputs):
            raise ModelError(f"is corrupt: DECODE makes {len(op.outputs)} tensors of {len(op.inputs)}")
        for n, output in enumerate(op.outputs):
            reads = [known[i].data if i is not None else None for i in op.inputs[2 * n : 2 * n + 2]]
            indices, ancillary = reads
            if indices is None or ancillary is None:
                raise ModelError(f"is corrupt: DECODE of {known[output].name!r} reads what is no constant")
            known[output] = replace(known[output], data=_decoded(known[output], indices.tobytes(), ancillary.tobytes()))
    return tuple(kept), known if len(kept) == len(ops) else _with_scales(kept, known)


def _with_scales(ops: Sequence[Op], tensors: Mapping[int, Tensor]) -> dict[int, Tensor]:
    """The tensors with the scales of biases that :func:`unscaled_biases` left out."""
    graph, known = Graph(dict(tensors), tuple(ops), (), ()), dict(tensors)
    for op in ops:
        one = weighted(graph, op)
        if one is None or one.bias is None or one.bias.data is None or not isinstance(one.bias.format, Index):
            continue
        activation, weight = one.data.format, one.weight.format
        if isinstance(activation, Affine) and isinstance(weight, Affine) and activation.dtype in BIASES:
            known[one.bias.id] = replace(one.bias, format=bias_format(activation, weight))
    return known


def _decoded(t: Tensor, indices: bytes, ancillary: bytes) -> np.ndarray:
    """The numbers of ``t``, as the kernel makes them. Nothing larger than what is stored is made."""
    if len(ancillary) < _HEADER or ancillary[1] != _VERSION:
        raise ModelError(f"is corrupt: DECODE of {t.name!r} has no header that is known")
    if ancillary[0] != 0 or ancillary[4] != _VERSION:
        raise UnsupportedError(f"tensor {t.name!r} is packed otherwise than by tables; give the file before it was packed")
    shape = tuple(n or 1 for n in t.shape)
    count, bits, stride = prod(shape), ancillary[5] & MOST_BITS, ancillary[6]
    tables = np.frombuffer(ancillary[_HEADER:], np.dtype(t.format.dtype)) if t.format.dtype in _TYPES else None
    if tables is None:
        raise UnsupportedError(f"tensor {t.name!r} is packed and of {t.format.dtype}; Intact unpacks int8 and float32")
    if bits == 0 or len(indices) != -(-count * bits // 8):
        raise ModelError(f"is corrupt: DECODE of {t.name!r} has {len(indices)} bytes for {count} indices of {bits} bits")
    bit = np.unpackbits(np.frombuffer(indices, np.uint8), count=count * bits).reshape(count, bits)
    index = (bit @ (1 << np.arange(bits - 1, -1, -1))).reshape(shape)
    axis = t.format.axis if isinstance(t.format, Affine) else None
    if axis is not None:
        along = [-1 if a == axis else 1 for a in range(len(shape))]
        index = index + stride * np.arange(shape[axis]).reshape(along)
    if index.size and int(index.max()) >= len(tables):
        raise ModelError(f"is corrupt: DECODE of {t.name!r} points beyond its tables of {len(tables)} numbers")
    return np.asarray(tables[index])
