"""What converters leave behind, and the rewrites that take it out. Every one keeps the float output, to the last rounding.

A rewrite is one function: given the graph and one of its ops it gives the graph without that remnant, or None.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Final

import numpy as np
import torch

from intact.errors import IntactError
from intact.network.graph import Dim, Graph, Op, rebuild
from intact.ops.activation import Relu, Relu6, ReluN1To1
from intact.ops.base import OpKind, same_padding
from intact.ops.call import Activation, as_tuple
from intact.ops.convolution import Conv2D, DepthwiseConv2D
from intact.ops.elementwise import Add, Mul, Sub
from intact.ops.matmul import FullyConnected
from intact.ops.pooling import AveragePool2D, MaxPool2D
from intact.ops.reduction import Mean
from intact.ops.resize import ResizeNearestNeighbor
from intact.ops.shaping import ExpandDims, Pad, PadV2, Reshape, Squeeze, Tile, Transpose
from intact.rewrite.folds import (
    bias_before_sum,
    bounded_exponential,
    broadcast_as_it_is,
    dilated_convolution,
    mediapipe_transpose_conv,
    merge_constants,
    nothing_to_add,
    scale_before_shift,
    scale_in_next_weights,
    strided_slice_in_full,
    sub_to_add,
)
from intact.rewrite.view import Rewrite, View

#: Folding a constant may make it this many elements large, or as large as what it is made from.
_FOLD_LIMIT: Final = 1 << 20
#: Padding with this or less before a max pool means that the padding never wins.
_LOWEST: Final = float(np.finfo(np.float32).min)


def _fold_constants(view: View, op: Op) -> Graph | None:
    """An op whose inputs are all constant is a constant, unless that would grow the file."""
    data = [view.data(i) for i in op.inputs]
    if not op.kind.repeatable or not data or any(d is None for d, i in zip(data, op.inputs, strict=True) if i is not None):
        return None
    size = sum(prod(view.shape(i)) for i in op.outputs)
    if size > max(_FOLD_LIMIT, sum(d.size for d in data if d is not None)) or view.graph.is_quantized:
        return None
    try:
        made = as_tuple(op.kind.compute(*(None if d is None else torch.from_numpy(np.array(d)) for d in data)))
    except (IntactError, RuntimeError, ValueError, IndexError):
        return None
    folded = [
        replace(view.graph[i], data=np.ascontiguousarray(y.numpy()), shape=tuple(y.shape), made_by="fold_constants")
        for i, y in zip(op.outputs, made, strict=True)
    ]
    if any(t.id in view.graph.ends or str(np.asarray(t.data).dtype) != t.format.dtype for t in folded):
        return None
    return rebuild(view.graph, [o for o in view.graph.ops if o is not op], folded)


def _drop_identity(view: View, op: Op) -> Graph | None:
    """A RESHAPE, TRANSPOSE or PAD that changes nothing: its readers read its input."""
    x = op.inputs[0]
    if x is None or op.output in view.graph.ends or not isinstance(op.kind, (Reshape, Transpose, Pad)):
        return None
    if view.graph[x].shape != view.graph[op.output].shape:
        return None
    if isinstance(op.kind, Transpose) and not _keeps_order(view.permutation(op), view.graph[x].shape):
        return None
    return _bypass(view.graph, op, x)


def _bypass(graph: Graph, op: Op, x: int) -> Graph:
    ops = [replace(o, inputs=tuple(x if i == op.output else i for i in o.inputs)) for o in graph.ops if o.output != op.output]
    return rebuild(graph, ops)


def _keeps_order(permutation: np.ndarray | None, shape: tuple[Dim, ...]) -> bool:
    """True when only axes of length 1 change places."""
    if permutation is None:
        return False
    moved = [int(a) for a in permutation if shape[int(a)] != 1]
    return moved == sorted(moved)


def _merge_transposes(view: View, op: Op) -> Graph | None:
    """TRANSPOSE(TRANSPOSE(x, p), q) = TRANSPOSE(x, p[q])."""
    before = view.made_by.get(-1 if op.inputs[0] is None else op.inputs[0])
    p, q = view.permutation(before), view.permutation(op)
    if before is None or p is None or q is None:
        return None
    both = view.constant(p[q], op.output, "merge_transposes")
    return view.swap(view.unread_without(before, op), [replace(op, inputs=(before.inputs[0], both.id))], [both])


def _transpose_to_reshape(view: View, op: Op) -> Graph | None:
    """A TRANSPOSE that only moves axes of length 1 is a RESHAPE."""
    x = op.inputs[0]
    if x is None or not _keeps_order(view.permutation(op), view.graph[x].shape):
        return None
    if view.graph[op.output].shape[:1] != view.graph[x].shape[:1]:
        return None
    wanted = [-1 if n is None else n for n in view.graph[op.output].shape]
    shape = view.constant(np.asarray(wanted, np.int32), op.output, "transpose_to_reshape")
    return view.swap([op], [Op(Reshape(), (x, shape.id), op.outputs)], [shape])


def _mean_of_transpose(view: View, op: Op) -> Graph | None:
    """MEAN(TRANSPOSE(x, p), axes) = MEAN(x, p[axes]) when the axes that are left keep their order."""
    before = view.made_by.get(-1 if op.inputs[0] is None else op.inputs[0])
    p, axes = view.permutation(before), view.data(op.inputs[1]) if isinstance(op.kind, Mean) else None
    if not isinstance(op.kind, Mean) or before is None or p is None or axes is None:
        return None
    reduced = {int(p[a]) for a in axes.reshape(-1)}
    left = [int(a) for a in p if int(a) not in reduced]
    if left != sorted(left):
        return None
    renamed = view.constant(np.asarray(sorted(reduced), np.int32), op.output, "mean_of_transpose")
    if not op.kind.keep_dims:
        new = replace(op, inputs=(before.inputs[0], renamed.id))
        return view.swap(view.unread_without(before, op), [new], [renamed])
    # With kept axes of length 1 the result is a RESHAPE of what MEAN gives before the transpose.
    wanted = [-1 if n is None else n for n in view.graph[op.output].shape]
    if wanted.count(-1) != (view.graph[op.output].shape[:1] == (None,)):
        return None
    shape = view.constant(np.asarray(wanted, np.int32), op.output, "mean_of_transpose", 1)
    x = view.graph[before.inputs[0] or 0]
    middle = view.made(op.output, tuple(1 if a in reduced else n for a, n in enumerate(x.shape)), "mean_of_transpose", 2)
    mean = Op(op.kind, (before.inputs[0], renamed.id), (middle.id,))
    new_ops = [mean, Op(Reshape(), (middle.id, shape.id), op.outputs)]
    return view.swap(view.unread_without(before, op), new_ops, [renamed, shape, middle])


def _global_pool_to_mean(view: View, op: Op) -> Graph | None:
    """AVERAGE_POOL_2D over the whole map is MEAN over height and width, which runs in more kernels."""
    if not isinstance(op.kind, AveragePool2D) or op.kind.activation != "none":
        return None
    if view.shape(op.inputs[0])[1:3] != op.kind.filter or view.shape(op.output)[1:3] != (1, 1):
        return None
    axes = view.constant(np.asarray([1, 2], np.int32), op.output, "global_pool_to_mean")
    return view.swap([op], [Op(Mean(keep_dims=True), (op.inputs[0], axes.id), op.outputs)], [axes])


def _mean_without_kept_axes(view: View, op: Op) -> Graph | None:
    """RESHAPE(MEAN(x), [n, c]) = MEAN(x), whether or not MEAN keeps its axes."""
    before = view.sole_producer(op.inputs[0])
    if not isinstance(op.kind, Reshape) or before is None or not isinstance(before.kind, Mean):
        return None
    axes, x = view.data(before.inputs[1]), before.inputs[0]
    if axes is None or x is None:
        return None
    rank = len(view.shape(x))
    reduced = {int(a) % rank for a in axes.reshape(-1)}
    left = tuple(n for a, n in enumerate(view.graph[x].shape) if a not in reduced)
    if view.graph[op.output].shape != left:
        return None
    return view.swap([before, op], [Op(Mean(), before.inputs, op.outputs)])


def _expand_dims_to_reshape(view: View, op: Op) -> Graph | None:
    """EXPAND_DIMS and SQUEEZE are RESHAPEs, which merge with their like."""
    x, shape = op.inputs[0], view.graph[op.output].shape
    if not isinstance(op.kind, (ExpandDims, Squeeze)) or not view.graph[op.output].is_float or x is None:
        return None
    if shape[:1] != view.graph[x].shape[:1]:
        return None
    wanted = view.constant(np.asarray([-1 if n is None else n for n in shape], np.int32), op.output, "expand_dims_to_reshape")
    return view.swap([op], [Op(Reshape(), (x, wanted.id), op.outputs)], [wanted])


def _merge_reshapes(view: View, op: Op) -> Graph | None:
    """RESHAPE(RESHAPE(x)) is the last of them."""
    before = view.sole_producer(op.inputs[0])
    if not isinstance(op.kind, Reshape) or before is None or not isinstance(before.kind, Reshape):
        return None
    return view.swap([before, op], [replace(op, inputs=(before.inputs[0], *op.inputs[1:]))])


def _pad_in_convolution(view: View, op: Op) -> Graph | None:
    """CONV(PAD(x)) with the very zeros that SAME would put around x is a SAME convolution of x.

    PyTorch's symmetric padding at stride 2 puts its zeros elsewhere than SAME does; such a PAD stays.
    """
    before = view.sole_producer(op.inputs[0])
    if not isinstance(op.kind, (Conv2D, DepthwiseConv2D)) or op.kind.padding != "valid" or before is None:
        return None
    pads = view.data(before.inputs[1]) if isinstance(before.kind, Pad) else None
    if pads is None or pads.shape != (4, 2) or pads[[0, 3]].any():
        return None
    size, kernel = view.shape(before.inputs[0])[1:3], view.shape(op.inputs[1])[1:3]
    same = [same_padding(size[a], kernel[a], op.kind.stride[a], op.kind.dilation[a]) for a in (0, 1)]
    if [tuple(map(int, p)) for p in pads[1:3]] != same:
        return None
    return view.swap([before, op], [Op(replace(op.kind, padding="same"), (before.inputs[0], *op.inputs[1:]), op.outputs)])


def _pad_in_max_pool(view: View, op: Op) -> Graph | None:
    """MAX_POOL(PADV2(x, lowest)) with the very margin that SAME would leave out is a SAME pool of x."""
    before = view.sole_producer(op.inputs[0])
    if not isinstance(op.kind, MaxPool2D) or op.kind.padding != "valid" or before is None or not isinstance(before.kind, PadV2):
        return None
    pads, value = view.data(before.inputs[1]), view.data(before.inputs[2])
    if pads is None or value is None or pads.shape != (4, 2) or pads[[0, 3]].any() or not (value <= _LOWEST).all():
        return None
    size = view.shape(before.inputs[0])[1:3]
    if [tuple(map(int, p)) for p in pads[1:3]] != [
        same_padding(size[a], op.kind.filter[a], op.kind.stride[a], 1) for a in (0, 1)
    ]:
        return None
    return view.swap([before, op], [Op(replace(op.kind, padding="same"), (before.inputs[0],), op.outputs)])


#: Stand-alone activations that a producer may carry.
_FUSABLE: Final[Mapping[type[OpKind], Activation]] = {Relu: "relu", Relu6: "relu6", ReluN1To1: "relu_n1_to_1"}
_CARRIERS: Final = (Conv2D, DepthwiseConv2D, FullyConnected, Add, Sub, Mul)


def _fuse_activation(view: View, op: Op) -> Graph | None:
    """RELU(CONV(x)) = CONV+RELU(x), for every op that has a fused activation and one reader."""
    activation, before = _FUSABLE.get(type(op.kind)), view.sole_producer(op.inputs[0])
    if activation is None or before is None or not isinstance(before.kind, _CARRIERS) or before.kind.activation != "none":
        return None
    return view.swap([before, op], [Op(replace(before.kind, activation=activation), before.inputs, op.outputs)])


def _scale_in_weights(view: View, op: Op) -> Graph | None:
    """MUL(CONV(x, w, b), s) = CONV(x, s w, s b) for constant s, one per output channel or one for all."""
    return _fold_affine(view, op, Mul, "scale_in_weights")


def _shift_in_bias(view: View, op: Op) -> Graph | None:
    """ADD(CONV(x, w, b), t) = CONV(x, w, b + t) for constant t, one per output channel or one for all."""
    return _fold_affine(view, op, Add, "shift_in_bias")


def _fold_affine(view: View, op: Op, kind: type[Mul] | type[Add], name: str) -> Graph | None:
    if not isinstance(op.kind, kind) or len(op.inputs) != 2:
        return None
    constants = [(i, view.data(i)) for i in op.inputs if view.data(i) is not None]
    flows = [i for i in op.inputs if view.data(i) is None]
    before = view.sole_producer(flows[0]) if len(flows) == 1 and len(constants) == 1 else None
    if (
        before is None
        or not isinstance(before.kind, (Conv2D, DepthwiseConv2D, FullyConnected))
        or before.kind.activation != "none"
    ):
        return None
    weight, values = before.kind.weight, constants[0][1]
    w = None if weight is None else view.data(before.inputs[weight.input])
    given = before.inputs[weight.bias] if weight is not None and len(before.inputs) > weight.bias else None
    bias = view.data(given)
    if weight is None or w is None or values is None or (bias is None) != (given is None) or not np.isfinite(values).all():
        return None
    channels = w.shape[weight.axis]
    if values.size not in (1, channels) or (values.size > 1 and values.shape[-1] != channels):
        return None
    if view.shape(op.output) != view.shape(before.output):
        return None
    b = np.zeros(channels, np.float32) if bias is None else bias.reshape(-1)
    vector = np.broadcast_to(values.reshape(-1), (channels,))
    new = [
        view.constant((b * vector if kind is Mul else b + vector).astype(np.float32), before.inputs[weight.input] or 0, name)
    ]
    inputs = [before.inputs[0], before.inputs[1], new[0].id]
    if kind is Mul:
        along = [1] * w.ndim
        along[weight.axis] = channels
        scaled = view.constant((w * vector.reshape(along)).astype(np.float32), before.inputs[weight.input] or 0, name, 1)
        new.append(scaled)
        inputs[1] = scaled.id
    folded = Op(replace(before.kind, activation=op.kind.activation), tuple(inputs), op.outputs)
    return view.swap([before, op], [folded], new)


def _nearest(size: int, new: int) -> list[int]:
    """Which of ``size`` rows each of ``new`` rows is. In float32, 41 * (1 / 41) is below 1: no row is repeated 41 times."""
    rows = torch.arange(size, dtype=torch.float32).reshape(1, -1, 1, 1)
    picked = ResizeNearestNeighbor().compute(rows, torch.tensor([new, 1]))
    return [int(row) for row in picked.reshape(-1).tolist()]


def _repeat_to_resize(view: View, op: Op) -> Graph | None:
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


def _merge_resizes(view: View, op: Op) -> Graph | None:
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


def _flatten_of_transpose(view: View, op: Op) -> Graph | None:
    """FULLY_CONNECTED(flatten(TRANSPOSE(x, p)), w) = FULLY_CONNECTED(flatten(x), w with its columns in x's order)."""
    if not isinstance(op.kind, FullyConnected) or len(view.shape(op.inputs[0])) != 2:
        return None
    flat = view.sole_producer(op.inputs[0])
    turned = view.sole_producer(flat.inputs[0]) if flat is not None and isinstance(flat.kind, Reshape) else None
    p = view.permutation(turned)
    if flat is None or turned is None or p is None:
        return None
    w, x, shape, vector = view.data(op.inputs[1]), turned.inputs[0], view.shape(turned.output), view.shape(flat.output)
    if w is None or x is None or p[0] != 0 or vector != (shape[0], prod(shape[1:])) or w.shape[1] != vector[1]:
        return None
    columns = w.reshape(len(w), *shape[1:]).transpose(0, *(1 + np.argsort(p[1:])))
    ordered = view.constant(np.ascontiguousarray(columns.reshape(w.shape)), op.inputs[1] or 0, "flatten_of_transpose")
    ops = [replace(flat, inputs=(x, *flat.inputs[1:])), replace(op, inputs=(op.inputs[0], ordered.id, *op.inputs[2:]))]
    return view.swap([turned, flat, op], ops, [ordered])


def _transpose_of_unflatten(view: View, op: Op) -> Graph | None:
    """TRANSPOSE(unflatten(FULLY_CONNECTED(x, w, b)), p) = unflatten(FULLY_CONNECTED(x, rows of w and b in p's order))."""
    p, split = view.permutation(op), view.sole_producer(op.inputs[0])
    dense = view.sole_producer(split.inputs[0]) if split is not None and isinstance(split.kind, Reshape) else None
    if p is None or split is None or dense is None or not isinstance(dense.kind, FullyConnected):
        return None
    w, given, shape = view.data(dense.inputs[1]), (*dense.inputs, None)[2], view.shape(split.output)
    bias = view.data(given)
    if w is None or p[0] != 0 or view.shape(dense.output) != (shape[0], prod(shape[1:])):
        return None
    if (bias is None) != (given is None) or (bias is not None and bias.size != len(w)):
        return None
    rows = np.arange(len(w)).reshape(shape[1:]).transpose(p[1:] - 1).reshape(-1)
    new = [view.constant(w[rows], dense.inputs[1] or 0, "transpose_of_unflatten")]
    inputs: list[int | None] = [dense.inputs[0], new[0].id, *dense.inputs[2:]]
    if bias is not None:
        new.append(view.constant(bias.reshape(-1)[rows], dense.inputs[2] or 0, "transpose_of_unflatten", 1))
        inputs[2] = new[1].id
    wanted = [-1 if n is None else n for n in view.graph[op.output].shape]
    sizes = view.constant(np.asarray(wanted, np.int32), op.output, "transpose_of_unflatten", 2)
    ops = [replace(dense, inputs=tuple(inputs)), Op(Reshape(), (dense.output, sizes.id), op.outputs)]
    return view.swap([dense, split, op], ops, [*new, sizes])


REWRITES: Final[Mapping[str, Rewrite]] = {
    "fold constants": _fold_constants,
    "drop identity": _drop_identity,
    "merge transposes": _merge_transposes,
    "transpose to reshape": _transpose_to_reshape,
    "mean of transpose": _mean_of_transpose,
    "global pool to mean": _global_pool_to_mean,
    "mean without kept axes": _mean_without_kept_axes,
    "repeat to resize": _repeat_to_resize,
    "expand dims to reshape": _expand_dims_to_reshape,
    "merge reshapes": _merge_reshapes,
    "merge resizes": _merge_resizes,
    "flatten of transpose": _flatten_of_transpose,
    "transpose of unflatten": _transpose_of_unflatten,
    "dilated convolution": dilated_convolution,
    "strided slice in full": strided_slice_in_full,
    "mediapipe transposed convolution": mediapipe_transpose_conv,
    "pad in convolution": _pad_in_convolution,
    "pad in max pool": _pad_in_max_pool,
    "fuse activation": _fuse_activation,
    "scale in weights": _scale_in_weights,
    "shift in bias": _shift_in_bias,
    "sub to add": sub_to_add,
    "merge constants": merge_constants,
    "scale before shift": scale_before_shift,
    "scale in next weights": scale_in_next_weights,
    "bounded exponential": bounded_exponential,
    "broadcast as it is": broadcast_as_it_is,
    "nothing to add": nothing_to_add,
    "bias before sum": bias_before_sum,
}
