"""How the scale of a weight is chosen: one a channel where the kernel takes that, wide enough for all that has to fit.

Worked, for int8: a channel with weights from -0.5 to 0.3 has the scale 0.5 / 127 = 0.00394, and 0.3 is stored as 76 -> 0.299.
Beside an activation of scale 0.01 a bias of 50,000 has to count in steps of 50,000 / 2**30 = 4.66e-5 at least, to fit an
accumulator of int32: the scale is then 4.66e-5 / 0.01 = 0.00466. An output of scale 50 needs 2**-30 * 50 / 0.01 = 4.66e-6 at
least, for kernels take no smaller multiplier: that widens channels of weights below 0.00059. A channel of zeros can have any
scale, and has the largest of its neighbours'.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from weakref import WeakKeyDictionary

import numpy as np

from intact.network.graph import Tensor
from intact.network.weighted import Weighted
from intact.numbers.affine import PACKED, Affine, has_kernels, in_blocks, symmetric_from_absmax, weight_limits
from intact.numbers.block_scales import LEAST, scales_of
from intact.numbers.block_scales import MOST as MOST_SCALE
from intact.numbers.blocks import MOST, highest
from intact.planning.codebooks import with_blocks, with_codebook
from intact.planning.plan import Entry
from intact.planning.ranges import least_squared_error
from intact.planning.request import Request

#: Kernels take requantization multipliers above 2**-32 and below 2**8 (XNNPACK) or 2**7 (int16; ADD takes 2**14), and biases
#: that leave room in an accumulator of int32, or in the 48 bits that they take of an int64.
_LEAST_MULTIPLIER: Final = 2.0**-30
LARGEST_MULTIPLIER: Final = 2.0**6
_LARGEST_BIAS: Final[Mapping[str, int]] = {"int8": 2**30, "int16": 2**46}

#: Outputs of a dense layer whose weights may lie in blocks.
_LEAST_OUTPUTS: Final = 4

#: By weight, and then by type and axis: an answer follows from the weight's numbers, and goes when the weight does.
_CLIPPED: Final[WeakKeyDictionary[Tensor, dict[tuple[str, int | None], np.ndarray]]] = WeakKeyDictionary()


def hybrid_weight(found: Weighted, request: Request) -> Entry:
    """The weight of an op that reads and makes float32: nothing but its own numbers has to fit.

    int4 or int2 where the scheme asks for it and there is a kernel, in blocks where these fit the weight; else int8.
    """
    absmax, axis, why = _largest(found, request)
    dtype, block = request.scheme.weights, request.scheme.block
    if dtype not in PACKED:
        return Entry(symmetric_from_absmax(absmax, "int8", axis), why)
    if not _takes_hybrid(found, dtype, request):
        return Entry(symmetric_from_absmax(absmax, "int8", axis), f"{why}; no kernel takes {dtype} here")
    if block and _takes_blocks(found.values, block):
        scales = scales_of(found.values, weight_limits("int4")[1], block)
        return Entry(in_blocks(scales), f"least squared error of each {block} inputs")
    fmt = symmetric_from_absmax(_clipped(found, absmax, dtype, axis), dtype, axis)
    return Entry(fmt, "least squared error of the weights")


def _takes_hybrid(found: Weighted, dtype: str, request: Request) -> bool:
    """Whether there is a kernel for weights of ``dtype`` beside real activations."""
    kind, target = found.op.kind.name, request.target
    if dtype == "int2":
        return kind in target.hybrid2
    return kind in target.hybrid4 and (kind not in target.hybrid4_biased or found.bias is not None)


def _takes_blocks(weight: np.ndarray, block: int) -> bool:
    """Whether the kernels take a scale for each ``block`` inputs of a weight: a dense layer's, of whole blocks.

    LiteRT's kernel for what XNNPACK leaves to it gives wrong numbers for fewer than four outputs.
    """
    if weight.ndim != 2 or weight.shape[0] < _LEAST_OUTPUTS or weight.shape[1] % block:
        return False
    return LEAST <= float(np.abs(weight).max()) / weight_limits("int4")[1] <= MOST_SCALE


def integer_weight(found: Weighted, activation: Affine, output: Affine, request: Request) -> Entry:
    """The weight of an op that reads ``activation`` and makes ``output``: ``scale = max |w| / qmax``, of fewer
    than 8 bits that of the least squared error; or wider where kernels need it."""
    absmax, axis, why = _largest(found, request)
    multiplier = np.full(absmax.shape, _LEAST_MULTIPLIER * output.scale[0] / activation.scale[0])
    bias = np.zeros(absmax.shape)
    if found.bias is not None:
        if found.bias.data is None:
            raise TypeError(f"the bias {found.bias.name!r} of {found.op.kind.name} is computed")
        values = np.abs(found.bias.data.reshape(-1).astype(np.float64))
        least = values / (activation.scale[0] * _LARGEST_BIAS[activation.dtype])
        bias = least if axis is not None else np.full(absmax.shape, least.max(initial=0.0))
    floor, dtype = np.maximum(multiplier, bias), request.scheme.weights
    wide = found.op.output in request.wide_weights
    if wide or (dtype == "int4" and not _takes_int4(found, activation, request)):
        dtype = "int8"
    if not has_kernels(dtype):
        floor = bias
    if request.scheme.block and not wide:  # the largest multiple of the largest index is what an int8 scale's 127 is else
        absmax = absmax * weight_limits(dtype)[1] / (MOST * highest(request.scheme.steps))
    if dtype != "int8":
        absmax, why = _clipped(found, absmax, dtype, axis), "least squared error of the weights"
    qmax = weight_limits(dtype)[1]
    if not absmax.any():  # any scale holds zeros; this one makes the multiplier 1
        absmax, why = np.full(absmax.shape, qmax * output.scale[0] / activation.scale[0]), "all zeros: any scale holds them"
    why = _why_scales(why, np.asarray(symmetric_from_absmax(absmax, dtype, axis).scale), bias, multiplier)
    absmax = np.where(absmax > 0, np.maximum(absmax, floor * qmax), absmax)
    scales = np.asarray(symmetric_from_absmax(absmax, dtype, axis).scale)
    # The second maximum is for an all-zero channel with a large bias, whose scale came from its neighbours.
    fmt = symmetric_from_absmax(np.maximum(scales, floor) * qmax, dtype, axis)
    bits, block = request.scheme.clusters, request.scheme.block
    if bits and not wide:
        return Entry(with_codebook(found, fmt, bits), f"{why}; k-means of its numbers")
    if block and not wide:
        return Entry(with_blocks(found, fmt, request.scheme.steps, block), f"{why}; a multiple for each {block}")
    return Entry(fmt, why)


def _takes_int4(found: Weighted, activation: Affine, request: Request) -> bool:
    """Whether there is a kernel for int4 weights: TensorFlow Lite Micro has none beside 16-bit activations."""
    lacks = request.target.micro and activation.dtype == "int16"
    return not lacks and found.op.kind.name in request.target.int4


def _clipped(found: Weighted, absmax: np.ndarray, dtype: str, axis: int | None) -> np.ndarray:
    """Magnitudes of the least squared error of few bits, which a network is asked for in each of its plans."""
    kept = _CLIPPED.setdefault(found.weight, {})
    if (dtype, axis) not in kept:
        kept[dtype, axis] = least_squared_error(found.values, absmax, dtype, axis)
    return kept[dtype, axis]


def _largest(found: Weighted, request: Request) -> tuple[np.ndarray, int | None, str]:
    """Largest magnitude per output channel, or over all where the request or the target wants one scale."""
    data = found.values
    if request.weights == "per-channel" and found.op.kind.name in request.target.per_channel:
        others = tuple(a for a in range(data.ndim) if a != found.axis)
        return np.abs(data).max(axis=others), found.axis, "largest |weight| of each output channel"
    return np.atleast_1d(np.abs(data).max()), None, "largest |weight|"


def _why_scales(why: str, wanted: np.ndarray, bias: np.ndarray, multiplier: np.ndarray) -> str:
    """``why`` the scales of a weight are as ``wanted``, and in how many channels kernels need wider ones."""
    said = []
    causes = (("the bias fits the accumulator", bias, multiplier), ("kernels take the multiplier", multiplier, bias))
    for cause, floor, other in causes:
        count = int(((floor > wanted * (1 + 1e-6)) & (floor >= other)).sum())
        if count == wanted.size:
            return f"so wide that {cause}"
        said += [f"so wide that {cause} in {count} of {wanted.size} channels"] if count else []
    return "; ".join((why, *said))
