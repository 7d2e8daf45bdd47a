"""ONNX's pools, over windows and over whole images."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from math import prod
from typing import Final

import numpy as np

from intact.errors import ModelError, UnsupportedError
from intact.formats.onnx.build import Stored, Value
from intact.formats.onnx.call import Call, Row
from intact.formats.onnx.windows import LAST, LOWEST, Window, images, window
from intact.ops.base import OpKind
from intact.ops.elementwise import Maximum, Mul
from intact.ops.pooling import AveragePool2D, MaxPool2D
from intact.ops.reduction import Mean, ReduceMax
from intact.ops.shaping import StridedSlice


def _slides(call: Call, v: Value) -> Window:
    if v.rank not in (3, 4, 5):
        raise UnsupportedError(f"its input has {v.rank} axes, and only signals, images and volumes are pooled here")
    kernel = call.integers("kernel_shape")
    if kernel is None or min(kernel, default=0) < 1:
        raise ModelError("it says no size of its window")
    slides = window(call, v, kernel, ceil=bool(call.integer("ceil_mode", 0)))
    if any(b >= k for b, k in zip(slides.before, slides.kernel, strict=True)):
        raise ModelError("a margin as wide as its window")
    if v.rank == 5 and max(slides.dilation) > 1:
        raise UnsupportedError("no runtime here pools volumes over windows with gaps")
    return slides


def _pooled(call: Call, kind: Callable[..., OpKind], slides: Window, x: Stored) -> Stored:
    """What windows without a margin give; those of volumes along two dimensions first, and then along the third."""
    if len(slides.kernel) == 2:
        return call.build.one(kind(slides.kernel, slides.stride, "valid"), x)
    (kd, kh, kw), (sd, sh, sw) = slides.kernel, slides.stride
    n, d, h, w, c = x.shape
    y = call.build.one(kind((kd, kh), (sd, sh), "valid"), call.build.reshaped(x, (n, d, h, w * c)))
    _, d, h, _ = y.shape
    y = call.build.one(kind((1, kw), (1, sw), "valid"), call.build.reshaped(y, (n, d * h, w, c)))
    return call.build.reshaped(y, (n, d, h, y.shape[2], c))


def _max_pool(call: Call) -> Value:
    if len(call.node.outputs) > 1 and call.node.outputs[1]:
        raise UnsupportedError("it gives the places of the largest too, which no op here does")
    x = call.value(0)
    slides, x = _slides(call, x), images(call, x)
    if max(slides.dilation) > 1:
        return call.resized(_largest_of_slices(call, slides, x.stored), x.order)
    if slides.padding == "same" and len(slides.kernel) == 2:
        kernel, stride, _ = slides.pair
        return call.resized(call.build.one(MaxPool2D(kernel, stride, "same"), x.stored), x.order)
    stored = x.stored if slides.padding == "valid" else slides.padded(call.build, x.stored, LOWEST)
    return call.resized(_pooled(call, MaxPool2D, slides, stored), x.order)


def _largest_of_slices(call: Call, slides: Window, x: Stored) -> Stored:
    """A pool with gaps: the largest of what each place of the window sees, along one dimension and then the other."""
    if any((*slides.before, *slides.after, *slides.over)):
        x = slides.padded(call.build, x, LOWEST)
    for axis in (1, 2):
        kernel, stride, gap = (sizes[axis - 1] for sizes in (slides.kernel, slides.stride, slides.dilation))
        count = (x.shape[axis] - (kernel - 1) * gap - 1) // stride + 1
        parts = []
        for n in range(kernel):
            begin, end, step = [0] * 4, list(x.shape), [1] * 4
            begin[axis], end[axis], step[axis] = n * gap, n * gap + (count - 1) * stride + 1, stride
            entries = (np.asarray(entry, np.int32) for entry in (begin, end, step))
            parts.append(call.build.one(StridedSlice(1, 1), x, *entries))
        x = functools.reduce(lambda a, b: call.build.one(Maximum(), a, b), parts)
    return x


def _average_pool(call: Call) -> Value:
    """The sum of a window by how many elements count: the image's, and with ``count_include_pad`` the margin's, never more."""
    x = call.value(0)
    slides, x = _slides(call, x), images(call, x)
    if max(slides.dilation) > 1:
        raise UnsupportedError("no runtime here averages over windows with gaps")
    counts_margin = bool(call.integer("count_include_pad", 0))
    if slides.padding == "valid":
        return call.resized(_pooled(call, AveragePool2D, slides, x.stored), x.order)
    if slides.padding == "same" and not counts_margin and len(slides.kernel) == 2:
        kernel, stride, _ = slides.pair
        return call.resized(call.build.one(AveragePool2D(kernel, stride, "same"), x.stored), x.order)
    y = _pooled(call, AveragePool2D, slides, slides.padded(call.build, x.stored))
    counts = (_counts(slides, axis, n, counts_margin) for axis, n in enumerate(y.shape[1:-1]))
    factor = (prod(slides.kernel) / functools.reduce(np.multiply.outer, counts)).astype(np.float32)[None, ..., None]
    return call.resized(y if (factor == 1).all() else call.build.one(Mul(), y, factor), x.order)


def _counts(slides: Window, axis: int, windows: int, counts_margin: bool) -> np.ndarray:
    """How many elements each window counts along one dimension."""
    first, last = 0, slides.size[axis]
    if counts_margin:
        first, last = first - slides.before[axis], last + slides.after[axis]
    begins = np.arange(windows) * slides.stride[axis] - slides.before[axis]
    ends = np.minimum(begins + slides.kernel[axis], last)
    return np.asarray(np.maximum(ends - np.maximum(begins, first), 1))


def _whole(kind: Callable[[], OpKind]) -> Row:
    """A pool over all dimensions behind the channels, which stay as one element each."""

    def row(call: Call) -> Value:
        x = call.value(0)
        x = call.build.arranged(x, LAST[x.rank - 2]) if x.rank - 2 in LAST else call.build.complete(x)
        axes = np.asarray([n for n, a in enumerate(x.order) if a > 1], np.int32)
        return call.resized(call.build.one(kind(), x.stored, axes), x.order)

    return row


ROWS: Final[Mapping[str, Row]] = {
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _whole(lambda: Mean(keep_dims=True)),
    "GlobalMaxPool": _whole(lambda: ReduceMax(keep_dims=True)),
}
