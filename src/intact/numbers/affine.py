"""How numbers are stored, and the only arithmetic that takes a real number to an integer and back.

``real = scale * (q - zero_point)``. Worked: range [-1.5, 2.3] as int8 gives scale 3.8/255 = 0.0149 and zero point -27, so
0.5 -> round(33.55) - 27 = 7 -> 0.0149 * 34 = 0.507.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, TypeAlias, final

import numpy as np
import torch
from torch import Tensor

from intact.annotations import Floats, Ints, Numbers
from intact.numbers.block_scales import BlockScales
from intact.numbers.blocks import Blocks
from intact.numbers.codebook import Codebook

#: Scales below this make the reference kernels abort (SOFTMAX needs 2**-26); a real activation never comes near it.
MIN_SCALE: Final = 2.0**-24

#: Kernels insist on zero point 0 for these.
_SYMMETRIC: Final = frozenset({"int16"})
#: What a bias, and the sums it is added to, are stored as beside activations of each type.
BIASES: Final = {"int8": "int32", "uint8": "int32", "int16": "int64"}

#: Types of which a file has several numbers to a byte, by their bits; arrays have an int8 for each.
PACKED: Final = {"int2": 2, "int4": 4}
#: Types of weights in a plan alone where no kernel takes them: files hold their integers as int8.
_IN_INT8: Final = {"int2": (-2, 1), "int3": (-4, 3), "int5": (-16, 15), "int6": (-32, 31), "int7": (-64, 63)}
#: The same where no kernel takes as many bits: files hold the real numbers that they stand for.
_IN_FLOAT: Final = {f"int{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in range(9, 16)}

_LIMITS: Final = {
    **_IN_INT8,
    **_IN_FLOAT,
    "int4": (-8, 7),
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-32768, 32767),
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
}
#: The types of stored integers that may stand for real numbers.
QUANTIZED: Final = (frozenset(_LIMITS) - frozenset(_IN_INT8) - frozenset(_IN_FLOAT)) | frozenset(PACKED)
_TORCH: Final = {
    **dict.fromkeys(_IN_INT8, torch.int8),
    **dict.fromkeys(_IN_FLOAT, torch.int16),
    "int4": torch.int8,
    "int8": torch.int8,
    "uint8": torch.uint8,
    "int16": torch.int16,
    "int32": torch.int32,
    "int64": torch.int64,
}


@final
@dataclass(frozen=True)
class Float:
    """Stored as IEEE floating point: ``float32``, ``float16`` or ``float64``; the numbers of a ``codebook`` alone, if any."""

    dtype: str = "float32"
    codebook: Codebook | None = None


@final
@dataclass(frozen=True)
class Index:
    """Numbers that mean themselves: whole ones (shapes, axes, paddings), bools, complex ones. Never quantized."""

    dtype: str = "int32"


@final
@dataclass(frozen=True)
class Affine:
    """``real[..., c, ...] = scale[c] * (q[..., c, ...] - zero_point[c])`` with c counted along ``axis``.

    ``scale`` and ``zero_point`` have one entry when ``axis`` is None (per-tensor), else one per channel. Scales are held
    as the nearest float32, which is what a file stores. Where a weight has a ``codebook``, q is one of its whole numbers;
    where it has ``blocks``, a multiple of its block's. Where it has ``block_scales``, each block counts in its own, and
    ``scale`` is the largest of each channel (:func:`in_blocks`).
    """

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    dtype: str = "int8"
    axis: int | None = None
    codebook: Codebook | None = None
    blocks: Blocks | None = None
    block_scales: BlockScales | None = None

    def __post_init__(self) -> None:
        if len(self.scale) != len(self.zero_point) or not self.scale:
            raise ValueError(f"{len(self.scale)} scales, {len(self.zero_point)} zero points")
        if self.axis is None and len(self.scale) != 1:
            raise ValueError(f"{len(self.scale)} scales without an axis")
        object.__setattr__(self, "scale", tuple(np.asarray(self.scale, np.float32).tolist()))
        object.__setattr__(self, "zero_point", tuple(int(z) for z in self.zero_point))
        own = self.block_scales
        if own is not None and (self.axis != 0 or self.scale != own.largest or any(self.zero_point)):
            raise ValueError("scales of blocks beside others than the largest of each channel, or zero points")

    @property
    def range(self) -> tuple[float, float]:
        """The real numbers that a per-tensor format can hold, lowest and highest."""
        low, high = limits(self.dtype)
        return self.scale[0] * (low - self.zero_point[0]), self.scale[0] * (high - self.zero_point[0])


Format: TypeAlias = Float | Index | Affine


def limits(dtype: str) -> tuple[int, int]:
    """Lowest and highest stored integer of ``dtype``: ``int8 -> (-128, 127)``."""
    return _LIMITS[dtype]


def weight_limits(dtype: str) -> tuple[int, int]:
    """Lowest and highest integer of a weight: the type's lowest stays unused, ``int8 -> (-127, 127)``, ``int4 -> (-7, 7)``.

    But for the four of int2, of which it is one, ``(-2, 1)``. Source: the LiteRT int8 quantization specification, "symmetric
    vs asymmetric".
    """
    lowest, highest = limits(dtype)
    return (lowest if dtype == "int2" else -highest), highest


def bits_of(fmt: Format) -> int:
    """Bits that one number of a weight takes where nothing is padded: of its table's index, if it has one."""
    codebook = None if isinstance(fmt, Index) else fmt.codebook
    if codebook is not None:
        return codebook.bits
    if isinstance(fmt, Affine) and fmt.blocks is not None:
        return fmt.blocks.bits
    return (limits(fmt.dtype)[1]).bit_length() + 1 if fmt.dtype in _LIMITS else 8 * np.dtype(fmt.dtype).itemsize


def as_held(fmt: Format, *, packed: bool = False) -> Format:
    """What a graph that is written holds for a weight that is planned as ``fmt``: plain int8, or floats.

    Codebooks, blocks, and widths that no runtime has, are in the numbers alone. ``packed``: the runtime has kernels for
    weights of 2 bits here.
    """
    if isinstance(fmt, Affine):
        keeps = fmt.dtype not in _IN_INT8 or (packed and fmt.dtype in PACKED)
        return replace(fmt, dtype=fmt.dtype if keeps else "int8", codebook=None, blocks=None)
    return replace(fmt, codebook=None) if isinstance(fmt, Float) else fmt


def has_kernels(dtype: str) -> bool:
    """Whether integer kernels take weights of ``dtype``, held in int8 if need be."""
    return dtype not in _IN_FLOAT and dtype != "int16"


def storage(dtype: str) -> torch.dtype:
    """How torch holds ``dtype``: int4 and int2 have an int8 each."""
    return _TORCH[dtype]


def affine_from_range(low: float, high: float, dtype: str = "int8") -> Affine:
    """The per-tensor format that covers [low, high], widened to contain zero, which is then exact.

    Asymmetric, by the range nudging of gemmlowp's quantization example; int16 is symmetric with zero point 0 and leaves its
    lowest integer unused, by the LiteRT 16x8 specification: [-1.5, 2.3] has scale 2.3/32767. A range of no width (a constant
    zero) gets ``MIN_SCALE``.
    """
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"not a range: [{low}, {high}]")
    low, high = min(low, 0.0), max(high, 0.0)
    q_low, q_high = limits(dtype)
    if dtype in _SYMMETRIC:
        return Affine((max(-low, high, MIN_SCALE * q_high) / q_high,), (0,), dtype)
    scale, zero_point = nudged(low, high, q_low, q_high)
    return Affine((scale,), (zero_point,), dtype)


def symmetric(seen: tuple[float, float]) -> tuple[float, float]:
    """The range that holds ``seen`` and is stored as int8 with zero point 0: [0, 6] gives [-128/127 6, 6], scale 6/127."""
    step = max(-seen[0] / 128, seen[1] / 127, 0.0)
    return -128 * step, 127 * step


def nudged(low: float, high: float, q_low: int, q_high: int) -> tuple[float, int]:
    """Scale, a float32, and zero point of the integers ``q_low`` to ``q_high`` that cover [low, high], which holds zero."""
    scale = float(np.float32(max((high - low) / (q_high - q_low), MIN_SCALE)))
    return scale, min(max(round(q_low - low / scale), q_low), q_high)


def symmetric_from_absmax(absmax: Floats[np.ndarray, "*c"], dtype: str = "int8", axis: int | None = None) -> Affine:
    """The symmetric format with zero point 0 that covers [-absmax, absmax] in ``[-qmax, qmax]``; shape ``[c]`` or ``[1]``.

    The lowest integer stays unused, as in :func:`weight_limits`. An all-zero channel takes the largest scale of its neighbours
    (1 when all are zero): any scale stores zeros, and this one keeps ``scale_in * scale / scale_out`` within what kernels
    accept.
    """
    qmax = weight_limits(dtype)[1]
    scale = np.atleast_1d(np.asarray(absmax, np.float64)) / qmax
    fallback = scale.max() if scale.max() > 0 else 1.0
    scale = np.where(scale > 0, np.maximum(scale, np.finfo(np.float32).tiny), fallback)
    return Affine(tuple(scale.tolist()), (0,) * scale.size, dtype, axis)


def in_blocks(scales: BlockScales) -> Affine:
    """The symmetric format of an int4 weight [c, n] with a scale for each block of a channel."""
    return Affine(scales.largest, (0,) * len(scales.scales), "int4", 0, block_scales=scales)


def bias_format(activation: Affine, weight: Affine) -> Affine:
    """int32 with ``scale[c] = scale_in * scale_weight[c]`` and zero point 0, the accumulator's own unit; int64 beside int16."""
    scale = np.float64(activation.scale[0]) * np.asarray(weight.scale, np.float64)
    return Affine(tuple(scale.tolist()), (0,) * scale.size, BIASES[activation.dtype], 0 if weight.axis is not None else None)


def _per_channel(values: tuple[float, ...], axis: int | None, like: Tensor, dtype: torch.dtype) -> Numbers[Tensor, "*ones"]:
    vector = torch.tensor(values, dtype=dtype, device=like.device)
    if axis is None:
        return vector[0]
    shape = [1] * like.dim()
    shape[axis] = -1
    return vector.reshape(shape)


def _scale(fmt: Affine, like: Tensor, dtype: torch.dtype) -> Numbers[Tensor, "*ones"]:
    """The scale of each number of ``like``: broadcasts against it."""
    if fmt.block_scales is not None:
        return torch.from_numpy(fmt.block_scales.steps()).to(like.device, dtype)
    return _per_channel(fmt.scale, fmt.axis, like, dtype)


def steps(fmt: Affine, shape: tuple[int, ...]) -> Floats[np.ndarray, "*s"]:
    """The scale of each number of a constant of ``shape``, float32."""
    return np.broadcast_to(_scale(fmt, torch.empty(shape, device="cpu"), torch.float32).numpy(), shape)


def quantize(real: Floats[Tensor, "*s"], fmt: Affine) -> Ints[Tensor, "*s"]:
    """``clamp(round_half_even(real / scale) + zero_point)`` as integers of ``fmt.dtype`` (int4 in int8), same shape.

    8- and 16-bit formats divide in the tensor's own float type, as the runtime's QUANTIZE kernels do; int32 and int64
    (biases) divide in float64, where float32 would lose the low bits.
    """
    exact = fmt.dtype in ("int32", "int64")
    work = real.to(torch.float64) if exact else real
    scale = _scale(fmt, work, work.dtype)
    zero_point = _per_channel(fmt.zero_point, fmt.axis, work, work.dtype)
    low, high = limits(fmt.dtype)
    q = torch.round(work / scale) + zero_point
    return q.clamp(float(low), float(high)).to(_TORCH[fmt.dtype])


def dequantize(q: Ints[Tensor, "*s"], fmt: Affine) -> Floats[Tensor, "*s"]:
    """``scale * (q - zero_point)`` in float32, same shape."""
    scale = _scale(fmt, q, torch.float64 if q.dtype in (torch.int32, torch.int64) else torch.float32)
    zero_point = _per_channel(fmt.zero_point, fmt.axis, q, scale.dtype)
    return ((q.to(scale.dtype) - zero_point) * scale).to(torch.float32)


def fake_quantize(real: Floats[Tensor, "*s"], fmt: Affine) -> Floats[Tensor, "*s"]:
    """``dequantize(quantize(real))`` in float32 without leaving floating point, so that it is fast on any device."""
    scale = _scale(fmt, real, torch.float32)
    zero_point = _per_channel(fmt.zero_point, fmt.axis, real, torch.float32)
    low, high = limits(fmt.dtype)
    return (real / scale).round_().add_(zero_point).clamp_(low, high).sub_(zero_point).mul_(scale)


def quantize_array(real: Floats[np.ndarray, "*s"], fmt: Affine) -> Ints[np.ndarray, "*s"]:
    """:func:`quantize` for a numpy constant."""
    return quantize(torch.from_numpy(np.array(real)), fmt).numpy()


def quantize_weight(real: Floats[np.ndarray, "*s"], fmt: Affine) -> Ints[np.ndarray, "*s"]:
    """:func:`quantize_array` for a weight: a clipped one is stored as -127 or -7, never -128 or -8.

    Or as its codebook or its blocks say.
    """
    if (few := fmt.codebook or fmt.blocks) is not None:
        weight = torch.from_numpy(np.array(real))
        ratio = weight / _scale(fmt, weight, weight.dtype)
        return few.snapped(ratio.numpy()).astype(np.int8)
    return np.asarray(np.maximum(quantize_array(real, fmt), weight_limits(fmt.dtype)[0]))


def dequantize_array(q: Ints[np.ndarray, "*s"], fmt: Affine) -> Floats[np.ndarray, "*s"]:
    """:func:`dequantize` for a numpy constant."""
    return dequantize(torch.from_numpy(np.array(q)), fmt).numpy()
