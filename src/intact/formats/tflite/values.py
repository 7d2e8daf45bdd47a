"""What a .tflite file stores, as we hold it: texts, vectors, number formats, constants; int4 two to a byte, int2 four."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from intact.errors import ModelError, UnsupportedError
from intact.network.graph import Tensor
from intact.numbers.affine import PACKED, QUANTIZED, Affine, Float, Format, Index, in_blocks
from intact.numbers.block_scales import BlockScales

_FLOATS: Final = ("float32", "float16", "float64")
_IN_BLOCKS: Final = schema.QuantizationDetails.BlockwiseQuantization


def text(raw: bytes | None) -> str:
    """A string, empty where it is absent."""
    return "" if raw is None else raw.decode("utf-8", "replace")


def ints(array: Any) -> list[int]:
    """A vector accessor's answer, which is 0 where the vector is absent."""
    return [] if isinstance(array, int) else [int(v) for v in array]


def number_format(q: Any, dtype: str, shape: tuple[int, ...]) -> Format:
    """The format that a tensor of ``dtype`` with the quantization table ``q`` has."""
    if dtype in _FLOATS:
        return Float(dtype)
    if q is None or q.ScaleLength() == 0:
        if dtype in PACKED:
            raise UnsupportedError(
                f"is stored in {PACKED[dtype]} bits without a scale; export it with one for each channel, or in 8 bits"
            )
        return Index(dtype)
    if dtype not in QUANTIZED:
        raise ModelError(f"has a scale, which numbers of type {dtype} cannot have")
    scale = q.ScaleAsNumpy()
    zero = q.ZeroPointAsNumpy() if q.ZeroPointLength() else np.zeros(len(scale), np.int64)
    if len(zero) == 1:
        zero = np.repeat(zero, len(scale))
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise ModelError("has a scale that is not a positive number")
    axis = int(q.QuantizedDimension()) if len(scale) > 1 else None
    if axis is None and len(shape) > 0 and len(scale) == 1:
        return Affine((float(scale[0]),), (int(zero[0]),), dtype)
    return Affine(tuple(map(float, scale)), tuple(map(int, zero)), dtype, axis)


def of_blocks(q: Any) -> Any:
    """The table that names the scales of blocks; None where the quantization table ``q`` has none."""
    details = None if q is None or q.DetailsType() != _IN_BLOCKS else q.Details()
    if details is None:
        return None
    table = schema.BlockwiseQuantization()
    table.Init(details.Bytes, details.Pos)
    return table


def block_format(table: Any, scales: np.ndarray | None, dtype: str, shape: tuple[int, ...]) -> Affine:
    """The format of a weight of ``dtype`` and ``shape`` with the ``scales`` of blocks that ``table`` names."""
    size = table.BlockSize()
    if dtype != "int4" or len(shape) != 2:
        raise UnsupportedError(
            f"is {dtype} {list(shape)} with a scale for each block of its numbers, for which no kernel is right; export "
            "it with one a channel, or as int4 with two axes"
        )
    if table.ZeroPoints() > 0:
        raise UnsupportedError("has a zero point for each block of its numbers, which no kernel takes; export it without")
    if scales is None or scales.dtype != np.float16:
        raise ModelError("has scales of blocks that are no constants of float16")
    if size < 2 or shape[1] % size or scales.size * size != shape[0] * shape[1]:
        raise ModelError(f"has {scales.size} scales for {list(shape)} in blocks of {size}, which do not fit")
    if not (np.isfinite(scales).all() and (scales > 0).all()):
        raise ModelError("has a scale that is not a positive number")
    return in_blocks(BlockScales(tuple(map(tuple, scales.reshape(shape[0], -1).tolist())), size))


def decode(payload: bytes, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """The stored values; int4 comes two to a byte and int2 four, the lowest bits first, and each goes to an int8."""
    count = int(np.prod(shape, dtype=np.float64))
    bits = PACKED[dtype] if dtype in PACKED else 8 * np.dtype(dtype).itemsize
    if len(payload) != -(-count * bits // 8):
        raise ModelError(f"holds {len(payload)} bytes, which is not {dtype} {list(shape)}")
    if dtype not in PACKED:
        return np.frombuffer(payload, dtype).reshape(shape)
    parts = (np.frombuffer(payload, np.uint8)[:, None] >> _places(bits)) & ((1 << bits) - 1)
    values = parts.reshape(-1)[:count].astype(np.int8)
    signed: np.ndarray = np.where(values >> (bits - 1), values - (1 << bits), values).astype(np.int8)
    return signed.reshape(shape)


def encode(t: Tensor) -> bytes:
    """The bytes of a constant; what :func:`decode` takes."""
    data = np.ascontiguousarray(t.data)
    if t.format.dtype not in PACKED:
        return data.tobytes()
    bits = PACKED[t.format.dtype]
    places = _places(bits)
    parts = data.reshape(-1).astype(np.uint8) & ((1 << bits) - 1)
    rows = np.pad(parts, (0, -parts.size % len(places))).reshape(-1, len(places))
    held: np.ndarray = np.bitwise_or.reduce(rows << places, axis=1).astype(np.uint8)
    return held.tobytes()


def _places(bits: int) -> np.ndarray:
    """By how many bits the numbers in a byte are shifted, the first one first."""
    return np.arange(0, 8, bits, dtype=np.uint8)
