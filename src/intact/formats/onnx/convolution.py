"""ONNX's convolutions: kernels [c_out, c_in / groups, k...] over [n, c, ...], of signals, images and volumes."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Final

import numpy as np

from intact.errors import ModelError, UnsupportedError
from intact.formats.onnx.build import Value
from intact.formats.onnx.call import Call, Row
from intact.formats.onnx.windows import LAST, images, window
from intact.ops.convolution import Conv2D, DepthwiseConv2D, TransposeConv
from intact.ops.elementwise import Add
from intact.ops.shaping import Concatenation, Slice, Split
from intact.ops.volume import Conv3D

#: Elements of a kernel that is filled up with zeros, so that groups need no ops of their own.
_FILLED: Final = 1 << 18
#: Elements of a kernel whose gaps are filled with zeros.
_SPREAD: Final = 1 << 24


def _kernel(call: Call, rank: int) -> np.ndarray:
    """The weights, with a height of 1 for signals."""
    w = call.constant(1, "weight")
    if w.ndim != rank or w.dtype != np.float32:
        raise ModelError(f"a kernel of shape {list(w.shape)} over a tensor of {rank} axes")
    return w


def _bias(call: Call, count: int) -> np.ndarray:
    """The biases, zeros where there are none: LiteRT's kernel wants some."""
    return call.constant(2, "bias").reshape(-1) if call.has(2) else np.zeros(count, np.float32)


def _conv(call: Call) -> Value:
    x = call.value(0)
    w, groups = _kernel(call, x.rank), call.integer("group", 1)
    if groups < 1 or x.shape[1] != w.shape[1] * groups or w.shape[0] % groups:
        raise ModelError(f"a kernel of shape {list(w.shape)} in {groups} groups over {x.shape[1]} channels")
    slides = window(call, x, w.shape[2:])
    x = images(call, x)
    w = w[:, :, None] if w.ndim == 3 else w
    stored, padding = x.stored, slides.padding
    if padding is None or (w.ndim == 5 and padding == "same"):
        stored, padding = slides.padded(call.build, stored), "valid"
    bias = _bias(call, len(w))
    if w.ndim == 5:
        if groups > 1:
            raise UnsupportedError("no runtime here has convolutions of volumes in groups")
        d, h, t = slides.stride
        e, i, u = slides.dilation
        y = call.build.one(Conv3D((d, h, t), padding, (e, i, u)), stored, w.transpose(2, 3, 4, 1, 0), bias)
        return call.resized(y, LAST[3])
    _, stride, dilation = slides.pair
    if groups > 1 and w.shape[1] == 1:
        kind = DepthwiseConv2D(stride, padding, dilation, w.shape[0] // groups)
        y = call.build.one(kind, stored, w.transpose(1, 2, 3, 0), bias)
    else:
        y = call.build.one(Conv2D(stride, padding, dilation), stored, w.transpose(0, 2, 3, 1), bias)
    return call.resized(y, x.order)


def _transposed(call: Call) -> Value:
    """Each element adds its kernel to the output, of which the margin is cut: ``s (n - 1) + e (k - 1) + 1 + o - cut``."""
    x = call.value(0)
    w, groups = _kernel(call, x.rank), call.integer("group", 1)
    n = x.rank - 2
    if groups < 1 or x.shape[1] != w.shape[0] or x.shape[1] % groups:
        raise ModelError(f"a kernel of shape {list(w.shape)} in {groups} groups over {x.shape[1]} channels")
    if n == 3:
        raise UnsupportedError("no runtime here has transposed convolutions of volumes")
    stride = call.integers("strides") or (1,) * n
    w = _spread(w, call.integers("dilations") or (1,) * n)
    before, size = _cut(call, x.shape[2:], w.shape[2:], stride)
    x = images(call, x)
    if n == 1:
        w, stride, before, size = w[:, :, None], (1, *stride), (0, *before), (1, *size)
    if groups > 1 and prod(w.shape) * groups <= _FILLED:
        w, groups = _filled(w, groups), 1
    parts = [x.stored] if groups == 1 else list(call.build.emit(Split(groups), np.asarray(3, np.int32), x.stored))
    kernels = np.split(w, groups)
    full = [s * (i - 1) + k for s, i, k in zip(stride, x.stored.shape[1:3], w.shape[2:], strict=True)]
    reach = [max(f, b + i) for f, b, i in zip(full, before, size, strict=True)]
    kind = TransposeConv((stride[0], stride[1]))
    made = [
        call.build.one(kind, np.asarray([part.shape[0], *reach, kernel.shape[1]], np.int32), kernel.transpose(1, 2, 3, 0), part)
        for part, kernel in zip(parts, kernels, strict=True)
    ]
    y = made[0] if groups == 1 else call.build.one(Concatenation(3), *made)
    if tuple(reach) != size:
        y = call.build.one(Slice(), y, np.asarray([0, *before, 0], np.int32), np.asarray([-1, *size, -1], np.int32))
    y = call.build.one(Add(), y, call.constant(2, "bias").reshape(-1)) if call.has(2) else y
    return call.resized(y, x.order)


def _spread(w: np.ndarray, dilation: tuple[int, ...]) -> np.ndarray:
    """The kernel with zeros in its gaps."""
    if len(dilation) != w.ndim - 2 or min(dilation) < 1 or max(dilation) > 64:
        raise ModelError(f"gaps of {list(dilation)} in a kernel of shape {list(w.shape)}")
    wide = [(k - 1) * d + 1 for k, d in zip(w.shape[2:], dilation, strict=True)]
    if prod((*w.shape[:2], *wide)) > _SPREAD:
        raise UnsupportedError(f"its kernel of shape {list(w.shape)} with gaps of {list(dilation)} is too large")
    out = np.zeros((*w.shape[:2], *wide), w.dtype)
    out[(slice(None), slice(None), *(slice(None, None, d) for d in dilation))] = w
    return out


def _filled(w: np.ndarray, groups: int) -> np.ndarray:
    """One kernel for all groups, [c_in, c_out, ...], zero where another group's channels meet."""
    each, more = w.shape[0] // groups, w.shape[1]
    out = np.zeros((w.shape[0], more * groups, *w.shape[2:]), w.dtype)
    for g in range(groups):
        out[g * each : (g + 1) * each, g * more : (g + 1) * more] = w[g * each : (g + 1) * each]
    return out


def _cut(
    call: Call, size: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What is cut before the output along each dimension, and its size."""
    n, auto = len(size), call.text("auto_pad", "NOTSET")
    more = call.integers("output_padding") or (0,) * n
    pads = call.integers("pads") or (0,) * (2 * n)
    wanted = call.integers("output_shape")
    if not len(stride) == len(more) == len(pads) / 2 == n or min((*stride, *(p + 1 for p in (*pads, *more)))) < 1:
        raise ModelError(f"its strides {list(stride)} and pads {list(pads)} do not fit {n} dimensions")
    full = [s * (i - 1) + k + o for s, i, k, o in zip(stride, size, kernel, more, strict=True)]
    if wanted is None and auto not in ("SAME_UPPER", "SAME_LOWER"):
        pads = (0,) * (2 * n) if auto == "VALID" else pads
        return pads[:n], tuple(f - b - a for f, b, a in zip(full, pads[:n], pads[n:], strict=True))
    wanted = tuple(s * i for s, i in zip(stride, size, strict=True)) if wanted is None else wanted[-n:]
    total = [f - w for f, w in zip(full, wanted, strict=True)]
    if min(total) < 0:
        raise UnsupportedError(f"its output of {list(wanted)} is larger than what {list(full)} its kernel reaches")
    return tuple(t // 2 if auto == "SAME_UPPER" else -(-t // 2) for t in total), wanted


ROWS: Final[Mapping[str, Row]] = {"Conv": _conv, "ConvTranspose": _transposed}
