"""Rewrites of ops on images: pads, pools, resizes and convolutions that are spelled as several ops."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
import torch

from intact.network.graph import Graph, Op
from intact.ops.base import Padding, same_padding
from intact.ops.blocks import BatchToSpaceNd, SpaceToBatchNd
from intact.ops.call import Shape
from intact.ops.convolution import Conv2D, DepthwiseConv2D, TransposeConv
from intact.ops.opaque import Opaque
from intact.ops.pooling import AveragePool2D, MaxPool2D
from intact.ops.reduction import Mean
from intact.ops.resize import ResizeNearestNeighbor
from intact.ops.shaping import ExpandDims, Pad, PadV2, Reshape, Tile
from intact.rewrite.view import View

#: Padding with this or less before a max pool means that the padding never wins.
_LOWEST: Final = float(np.finfo(np.float32).min)
_TRANSPOSE_CONV_OPTIONS: Final = struct.Struct("<3i")
_PADDINGS: Final[Mapping[int, Padding]] = {1: "same", 2: "valid"}
_PLAIN: Final[Mapping[str, Any]] = {"stride": (1, 1), "dilation": (1, 1), "padding": "valid"}


def global_pool_to_mean(view: View, op: Op) -> Graph | None:
    """AVERAGE_POOL_2D over the whole map is MEAN over height and width, which runs in more kernels."""
    if not isinstance(op.kind, AveragePool2D) or op.kind.activation != "none":
        return None
    if view.shape(op.inputs[0])[1:3] != op.kind.filter or view.shape(op.output)[1:3] != (1, 1):
        return None
    axes = view.constant(np.asarray([1, 2], np.int32), op.output, "global_pool_to_mean")
    return view.swap([op], [Op(Mean(keep_dims=True), (op.inputs[0], axes.id), op.outputs)], [axes])


def pad_in_convolution(view: View, op: Op) -> Graph | None:
    """CONV(PAD(x)) with the very zeros that SAME would put around x is a SAME convolution of x.

    PyTorch's symmetric padding at stride 2 puts its zeros elsewhere than SAME does; such a PAD stays.
    """
    before = view.sole_producer(op.inputs[0])
    if not isinstance(op.kind, (Conv2D, DepthwiseConv2D)) or op.kind.padding != "valid" or before is None:
        return None
    pads = view.data(before.inputs[1]) if isinstance(before.kind, Pad) else None
    size, kernel = view.shape(before.inputs[0])[1:3], view.shape(op.inputs[1])[1:3]
    if not _is_same_margin(pads, size, kernel, op.kind.stride, op.kind.dilation):
        return None
    return view.swap([before, op], [Op(replace(op.kind, padding="same"), (before.inputs[0], *op.inputs[1:]), op.outputs)])


def pad_in_max_pool(view: View, op: Op) -> Graph | None:
    """MAX_POOL(PADV2(x, lowest)) with the very margin that SAME would leave out is a SAME pool of x."""
    before = view.sole_producer(op.inputs[0])
    if not isinstance(op.kind, MaxPool2D) or op.kind.padding != "valid" or before is None or not isinstance(before.kind, PadV2):
        return None
    pads, value = view.data(before.inputs[1]), view.data(before.inputs[2])
    size = view.shape(before.inputs[0])[1:3]
    if value is None or not (value <= _LOWEST).all() or not _is_same_margin(pads, size, op.kind.filter, op.kind.stride):
        return None
    return view.swap([before, op], [Op(replace(op.kind, padding="same"), (before.inputs[0],), op.outputs)])


def _is_same_margin(
    pads: np.ndarray | None, size: Shape, kernel: Shape, stride: tuple[int, int], dilation: tuple[int, int] = (1, 1)
) -> bool:
    """Whether paddings are the very margin that SAME puts around height and width."""
    if pads is None or pads.shape != (4, 2) or pads[[0, 3]].any():
        return False
    same = [same_padding(size[a], kernel[a], stride[a], dilation[a]) for a in (0, 1)]
    return np.array_equal(pads[1:3], same)


def _nearest(size: int, new: int) -> list[int]:
    """Which of ``size`` rows each of ``new`` rows is. In float32, 41 * (1 / 41) is below 1: no row is repeated 41 times."""
    rows = torch.arange(size, dtype=torch.float32).reshape(1, -1, 1, 1)
    picked = ResizeNearestNeighbor().compute(rows, torch.tensor([new, 1]))
    return [int(row) for row in picked.reshape(-1).tolist()]


def repeat_to_resize(view: View, op: Op) -> Graph | None:
    """RESHAPE(TILE(x with a new axis)) that repeats each row or column is RESIZE_NEAREST_NEIGHBOR (Keras upsampling)."""
    tile = view.sole_producer(op.inputs[0]) if isinstance(op.kind, Reshape) else None
    before = view.sole_producer(tile.inputs[0]) if tile is not None and isinstance(tile.kind, Tile) else None
    if tile is None or before is None or not isinstance(before.kind, (Reshape, ExpandDims)):
        return None
    x, times = view.shape(before.inputs[0]), view.data(tile.inputs[1])
    middle, out = view.shape(before.output), view.shape(op.output)
    if times is None or len(x) != 4 or len(middle) != 5 or sorted(times.tolist())[:-1] != [1, 1, 1, 1]:
        return None
    at, r = int(times.argmax()), int(times.max())
    wanted = tuple(n * r if axis == at - 1 else n for axis, n in enumerate(x))
    if at - 1 not in (1, 2) or (*middle[:at], *middle[at + 1 :]) != x or middle[at] != 1:
        return None
    if _nearest(x[at - 1], wanted[at - 1]) != [row // r for row in range(wanted[at - 1])]:
        return None
    size = view.constant(np.asarray(wanted[1:3], np.int32), op.output, "repeat_to_resize")
    if out == wanted:
        return view.swap([before, tile, op], [Op(ResizeNearestNeighbor(), (before.inputs[0], size.id), op.outputs)], [size])
    # The last RESHAPE does more than merge the axes, such as making room for the next repetition: it stays.
    larger = view.made(op.output, (*view.graph[tile.output].shape[:1], *wanted[1:]), "repeat_to_resize", 1)
    resize = Op(ResizeNearestNeighbor(), (before.inputs[0], size.id), (larger.id,))
    return view.swap([before, tile, op], [resize, replace(op, inputs=(larger.id, *op.inputs[1:]))], [size, larger])


def merge_resizes(view: View, op: Op) -> Graph | None:
    """RESIZE_NEAREST_NEIGHBOR twice is once where that picks the same elements, as it does by whole factors."""
    before = view.sole_producer(op.inputs[0])
    plain = ResizeNearestNeighbor()
    if op.kind != plain or before is None or before.kind != plain:
        return None
    x, middle, out = (view.shape(i)[1:3] for i in (before.inputs[0], before.output, op.output))
    for a, m, o in zip(x, middle, out, strict=True):
        if [_nearest(a, m)[row] for row in _nearest(m, o)] != _nearest(a, o):
            return None
    return view.swap([before, op], [replace(op, inputs=(before.inputs[0], *op.inputs[1:]))])


def dilated_convolution(view: View, op: Op) -> Graph | None:
    """BATCH_TO_SPACE(CONV(SPACE_TO_BATCH(x, d)), d) = CONV(PAD(x)) with dilation d, in one dimension or two.

    TensorFlow spells dilation this way. What the last op crops off the end, the first need not pad.
    """
    if not isinstance(op.kind, BatchToSpaceNd):
        return None
    after, conv = _through_reshape(view, op.inputs[0])
    before, cut = _through_reshape(view, None if conv is None else conv.inputs[0])
    if conv is None or cut is None or not isinstance(cut.kind, SpaceToBatchNd):
        return None
    if not isinstance(conv.kind, (Conv2D, DepthwiseConv2D)) or conv.kind != replace(conv.kind, **_PLAIN):
        return None
    block, crops = view.data(op.inputs[1]), view.data(op.inputs[2])
    cut_block, pads = view.data(cut.inputs[1]), view.data(cut.inputs[2])
    if block is None or crops is None or pads is None or cut_block is None or not np.array_equal(block, cut_block):
        return None
    needed = pads - crops
    if crops[:, 0].any() or (needed < 0).any():
        return None
    x = cut.inputs[0]
    if x is None or len(block) + (before is not None) != 2 or (before is None) != (after is None):
        return None
    if before is not None and after is not None:  # one dimension: height 1 is put in, as [n, 1, w, c], and taken out
        tall = ((view.shape(before.output), view.shape(cut.output)), (view.shape(conv.output), view.shape(after.output)))
        if any(image != (*row[:1], 1, *row[1:]) for image, row in tall):
            return None
    rows = np.vstack([np.zeros((3 - len(needed), 2)), needed, [[0, 0]]]).astype(np.int32)
    dilation = (1, int(block[0])) if before is not None else (int(block[0]), int(block[1]))
    n, size = view.graph[x].shape[0], ((1,) if before is not None else ()) + view.shape(x)[1:]
    larger = (n, *(s + int(p.sum()) for s, p in zip(size, rows[1:], strict=True)))
    paddings = view.constant(rows, op.output, "dilated_convolution")
    image = view.made(op.output, (n, *size), "dilated_convolution", 1)
    padded = view.made(op.output, larger, "dilated_convolution", 2)
    wide = Op(replace(conv.kind, dilation=dilation), (padded.id, *conv.inputs[1:]), op.outputs)
    if before is None or after is None:
        ops = [Op(Pad(), (x, paddings.id), (padded.id,)), wide]
        return view.swap([cut, conv, op], ops, [paddings, padded])
    grown = view.constant(np.asarray([-1, *size], np.int32), op.output, "dilated_convolution", 3)
    shape = view.shape(op.output)
    flat = view.constant(np.asarray([-1, *shape[1:]], np.int32), op.output, "dilated_convolution", 4)
    result = view.made(op.output, (n, 1, *shape[1:]), "dilated_convolution", 5)
    ops = [
        Op(Reshape(), (x, grown.id), (image.id,)),
        Op(Pad(), (image.id, paddings.id), (padded.id,)),
        replace(wide, outputs=(result.id,)),
        Op(Reshape(), (result.id, flat.id), op.outputs),
    ]
    return view.swap([cut, before, conv, after, op], ops, [paddings, image, padded, grown, flat, result])


def _through_reshape(view: View, i: int | None) -> tuple[Op | None, Op | None]:
    """The RESHAPE that makes ``i``, if one does, and the op before it."""
    op = view.sole_producer(i)
    if op is not None and isinstance(op.kind, (Reshape, ExpandDims)):
        return op, view.sole_producer(op.inputs[0])
    return None, op


def mediapipe_transpose_conv(view: View, op: Op) -> Graph | None:
    """MediaPipe's custom Convolution2DTransposeBias(x, w, b) = TRANSPOSE_CONV(shape, w, x, b), shape being its output's.

    Its options are LiteRT's TfLiteTransposeConvParams: padding (1 SAME, 2 VALID), stride over width, over height.
    Source: LiteRT delegates/xnnpack/xnnpack_delegate.cc, VisitMediaPipeDeconvolutionNode.
    """
    if not isinstance(op.kind, Opaque) or op.kind.spelling.custom != b"Convolution2DTransposeBias" or len(op.inputs) != 3:
        return None
    options = op.kind.spelling.custom_options or b""
    if len(options) < _TRANSPOSE_CONV_OPTIONS.size:
        return None
    padding, width, height = _TRANSPOSE_CONV_OPTIONS.unpack_from(options)
    if padding not in _PADDINGS or min(width, height) < 1:
        return None
    x, w, b = op.inputs
    shape = view.constant(np.asarray(view.shape(op.output), np.int32), op.output, "mediapipe_transpose_conv")
    return view.swap([op], [Op(TransposeConv((height, width), _PADDINGS[padding]), (shape.id, w, x, b), op.outputs)], [shape])
