"""Rewrites of arithmetic with constants: shifts and scales merge, and go into the weights that meet them."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from intact.network.graph import Graph, Op, rebuild
from intact.ops.activation import Exp
from intact.ops.base import Padding, Weight
from intact.ops.blocks import BatchToSpaceNd, SpaceToBatchNd
from intact.ops.convolution import Conv2D, DepthwiseConv2D, TransposeConv
from intact.ops.elementwise import Add, Minimum, Mul, Sub
from intact.ops.logic import Greater, GreaterEqual, Select, SelectV2
from intact.ops.matmul import FullyConnected
from intact.ops.opaque import Opaque
from intact.ops.shaping import ExpandDims, Pad, Reshape, StridedSlice
from intact.rewrite.view import View

_TRANSPOSE_CONV_OPTIONS: Final = struct.Struct("<3i")
_PADDINGS: Final[Mapping[int, Padding]] = {1: "same", 2: "valid"}
_PLAIN: Final[Mapping[str, Any]] = {"stride": (1, 1), "dilation": (1, 1), "padding": "valid"}


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


def strided_slice_in_full(view: View, op: Op) -> Graph | None:
    """A STRIDED_SLICE with an ellipsis or new axes as one that names every axis of its input, and a RESHAPE for new axes."""
    kind, x = op.kind, op.inputs[0]
    if not isinstance(kind, StridedSlice) or x is None or not (kind.ellipsis_mask or kind.new_axis_mask):
        return None
    given = [d.reshape(-1).tolist() for i in op.inputs[1:4] if (d := view.data(i)) is not None]
    if len(given) != 3:
        return None
    plain, entries, added = kind.in_full(len(view.shape(x)), list(zip(*given, strict=True)))
    name = "strided_slice_in_full"
    columns = zip(*entries, strict=True)
    bounds = [view.constant(np.asarray(c, np.int32), op.output, name, n) for n, c in enumerate(columns)]
    slicing = Op(plain, (x, *(t.id for t in bounds)), op.outputs)
    if not added:
        return view.swap([op], [slicing], bounds)
    wanted = view.graph[op.output].shape
    shape = view.constant(np.asarray([-1 if n is None else n for n in wanted], np.int32), op.output, name, len(bounds))
    cut = view.made(op.output, tuple(n for a, n in enumerate(wanted) if a not in added), name, len(bounds) + 1)
    ops = [replace(slicing, outputs=(cut.id,)), Op(Reshape(), (cut.id, shape.id), op.outputs)]
    return view.swap([op], ops, [*bounds, shape, cut])


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


def merge_constants(view: View, op: Op) -> Graph | None:
    """MUL(MUL(x, c), d) = MUL(x, c d), and ADD(ADD(x, c), d) = ADD(x, c + d), for constants that stay as small."""
    before, d = _constant_operand(view, op)
    if before is None or d is None or before.kind != type(op.kind)():
        return None
    _, c = _constant_operand(view, before, any_producer=True)
    flow = next((i for i in before.inputs if view.data(i) is None), None)
    if c is None or flow is None:
        return None
    merged = np.asarray(c * d if isinstance(op.kind, Mul) else c + d)
    if np.isnan(merged).any() or merged.size > max(c.size, d.size) or merged.dtype != c.dtype:
        return None
    both = view.constant(merged, op.output, "merge_constants")
    return view.swap([before, op], [replace(op, inputs=(flow, both.id))], [both])


def sub_to_add(view: View, op: Op) -> Graph | None:
    """SUB(x, c) = ADD(x, -c) for constant c, so that it folds and merges like any other shift."""
    if not isinstance(op.kind, Sub):
        return None
    c = view.data(op.inputs[1])
    if c is None or c.dtype.kind != "f" or view.data(op.inputs[0]) is not None:
        return None
    negative = view.constant(np.asarray(-c), op.output, "sub_to_add")
    return view.swap([op], [Op(Add(op.kind.activation), (op.inputs[0], negative.id), op.outputs)], [negative])


def scale_before_shift(view: View, op: Op) -> Graph | None:
    """MUL(ADD(x, c), s) = ADD(MUL(x, s), c s): a batch norm by itself becomes one scale and one shift."""
    before, s = _constant_operand(view, op)
    if not isinstance(op.kind, Mul) or before is None or s is None or before.kind != Add():
        return None
    _, c = _constant_operand(view, before, any_producer=True)
    x = next((i for i in before.inputs if view.data(i) is None), None)
    if (
        c is None
        or x is None
        or not np.isfinite(c).all()
        or (c * s).size > max(c.size, s.size)
        or view.shape(x) != view.shape(op.output)
    ):
        return None
    factor = next(i for i in op.inputs if view.data(i) is not None)
    shift = view.constant(np.asarray(c * s), op.output, "scale_before_shift")
    scaled = view.made(op.output, view.graph[x].shape, "scale_before_shift", 1)
    ops = [Op(Mul(), (x, factor), (scaled.id,)), Op(Add(op.kind.activation), (scaled.id, shift.id), op.outputs)]
    return view.swap([before, op], ops, [shift, scaled])


def bounded_exponential(view: View, op: Op) -> Graph | None:
    """SELECT(x > 0, a, f(EXP(x))) = SELECT(x > 0, a, f(EXP(MINIMUM(x, 0)))): what is not taken needs no range.

    So SELU comes out of Keras. Its exponential of positive numbers, a million and more, would take the range of the rest.
    """
    if not isinstance(op.kind, (Select, SelectV2)):
        return None
    condition = view.made_by.get(op.inputs[0] or 0)
    if condition is None or not isinstance(condition.kind, (Greater, GreaterEqual)):
        return None
    x, zero = condition.inputs
    maker = view.sole_producer(op.inputs[2])
    while maker is not None and not isinstance(maker.kind, Exp):
        if not isinstance(maker.kind, (Add, Mul, Sub)):
            return None
        maker = next((m for i in maker.inputs if view.data(i) is None and (m := view.sole_producer(i)) is not None), None)
    if maker is None or x is None or maker.inputs != (x,) or zero is None or (limit := view.data(zero)) is None or limit.any():
        return None
    lower = view.made(x, view.graph[x].shape, "bounded_exponential")
    return view.swap([maker], [Op(Minimum(), (x, zero), (lower.id,)), Op(Exp(), (lower.id,), maker.outputs)], [lower])


def bias_before_sum(view: View, op: Op) -> Graph | None:
    """ADD(ADD(FC(x), y), c) = ADD(ADD(FC(x), c), y), after which the constant goes into the bias: so recurrent cells come."""
    inner, c = _constant_operand(view, op)
    if not isinstance(op.kind, Add) or inner is None or c is None or inner.kind != Add():
        return None
    for a, b in (inner.inputs, inner.inputs[::-1]):
        maker = view.sole_producer(a)
        if maker is None or a is None or not isinstance(maker.kind, (Conv2D, DepthwiseConv2D, FullyConnected)):
            continue
        shape = view.shape(a)
        if maker.kind.activation != "none" or shape != view.shape(op.output) or c.size not in (1, shape[-1]):
            continue
        shifted = view.made(op.output, view.graph[a].shape, "bias_before_sum")
        constant = next(i for i in op.inputs if view.data(i) is not None)
        ops = [Op(Add(), (a, constant), (shifted.id,)), Op(op.kind, (shifted.id, b), op.outputs)]
        return view.swap([inner, op], ops, [shifted])
    return None


def broadcast_as_it_is(view: View, op: Op) -> Graph | None:
    """ADD(x, RESHAPE(y)) = ADD(x, y) where y only loses leading axes of length 1, which broadcasting gives back."""
    if not isinstance(op.kind, (Add, Sub, Mul)):
        return None
    for n, i in enumerate(op.inputs):
        before = view.made_by.get(-1 if i is None else i)
        if i is None or before is None or not isinstance(before.kind, Reshape):
            continue
        y, flat, whole = before.inputs[0], view.shape(i), view.shape(before.inputs[0])
        lost = len(whole) - len(flat)
        if y is None or lost <= 0 or whole != (*[1] * lost, *flat) or len(whole) > len(view.shape(op.output)):
            continue
        inputs = tuple(y if m == n else j for m, j in enumerate(op.inputs))
        return view.swap(view.unread_without(before, op), [replace(op, inputs=inputs)])
    return None


def nothing_to_add(view: View, op: Op) -> Graph | None:
    """ADD(MUL(x, 0), y) = y: the first step of a cell, whose state is all zeros."""
    if not isinstance(op.kind, Add) or op.kind.activation != "none" or op.output in view.graph.ends:
        return None
    for i, y in (op.inputs, op.inputs[::-1]):
        product = view.sole_producer(i)
        if product is None or y is None or view.data(y) is not None or not isinstance(product.kind, Mul):
            continue
        factor = next((d for j in product.inputs if (d := view.data(j)) is not None), None)
        if factor is None or factor.any() or view.graph[y].shape != view.graph[op.output].shape:
            continue
        kept = [o for o in view.graph.ops if o is not op and o is not product]
        return rebuild(view.graph, [replace(o, inputs=tuple(y if j == op.output else j for j in o.inputs)) for o in kept])
    return None


def _constant_operand(view: View, op: Op, *, any_producer: bool = False) -> tuple[Op | None, np.ndarray | None]:
    """For MUL or ADD of something and a constant: the op that makes the something for this op alone, and the constant."""
    if not isinstance(op.kind, (Add, Mul)) or len(op.inputs) != 2:
        return None, None
    constants = [d for i in op.inputs if (d := view.data(i)) is not None]
    flows = [i for i in op.inputs if view.data(i) is None]
    if len(constants) != 1:
        return None, None
    return (None if any_producer else view.sole_producer(flows[0])), constants[0]


def scale_in_next_weights(view: View, op: Op) -> Graph | None:
    """CONV(MUL(x, s), w, b) = CONV(x, w s, b) for constant s, one per input channel or one for all; padding zeros stay zero."""
    if not isinstance(op.kind, (Conv2D, DepthwiseConv2D, FullyConnected)) or op.kind.weight is None:
        return None
    before = view.sole_producer(op.inputs[0])
    if before is None or before.kind != Mul():
        return None
    _, s = _constant_operand(view, before, any_producer=True)
    x = next((i for i in before.inputs if view.data(i) is None), None)
    w = view.data(op.inputs[op.kind.weight.input])
    if s is None or x is None or w is None or w.dtype.kind != "f" or view.shape(x) != view.shape(before.output):
        return None
    factor = _per_input_channel(s, w, op, op.kind.weight, view.shape(x)[-1])
    if factor is None:
        return None
    scaled = view.constant((w * factor).astype(w.dtype), op.inputs[1] or 0, "scale_in_next_weights")
    return view.swap([before, op], [replace(op, inputs=(x, scaled.id, *op.inputs[2:]))], [scaled])


def _per_input_channel(s: np.ndarray, w: np.ndarray, op: Op, weight: Weight, channels: int) -> np.ndarray | None:
    """``s`` shaped to multiply the weight along the axis that meets the input's channels; None when it cannot be."""
    if s.size == 1:
        return s.reshape(())
    if s.size != channels or s.shape[-1] != channels:
        return None
    if isinstance(op.kind, DepthwiseConv2D):
        return np.repeat(s.reshape(-1), w.shape[weight.axis] // channels)
    return s.reshape(-1) if w.shape[-1] == channels else None  # a grouped convolution's weight sees a part of the channels
