"""Rewrites of ops that only move numbers: transposes, reshapes and slices, and what meets them."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from intact.network.graph import Dim, Graph, Op, rebuild
from intact.network.weighted import weighted
from intact.ops.elementwise import Add, Mul, Sub
from intact.ops.matmul import FullyConnected
from intact.ops.reduction import Mean
from intact.ops.shaping import ExpandDims, Pad, Reshape, Squeeze, StridedSlice, Transpose
from intact.rewrite.view import View


def drop_identity(view: View, op: Op) -> Graph | None:
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


def merge_transposes(view: View, op: Op) -> Graph | None:
    """TRANSPOSE(TRANSPOSE(x, p), q) = TRANSPOSE(x, p[q])."""
    before = view.producer(op.inputs[0])
    p, q = view.permutation(before), view.permutation(op)
    if before is None or p is None or q is None:
        return None
    both = view.constant(p[q], op.output, "merge_transposes")
    return view.swap(view.unread_without(before, op), [replace(op, inputs=(before.inputs[0], both.id))], [both])


def transpose_to_reshape(view: View, op: Op) -> Graph | None:
    """A TRANSPOSE that only moves axes of length 1 is a RESHAPE."""
    x = op.inputs[0]
    if x is None or not _keeps_order(view.permutation(op), view.graph[x].shape):
        return None
    if view.graph[op.output].shape[:1] != view.graph[x].shape[:1]:
        return None
    shape = view.sizes(view.graph[op.output].shape, op.output, "transpose_to_reshape")
    return view.swap([op], [Op(Reshape(), (x, shape.id), op.outputs)], [shape])


def mean_of_transpose(view: View, op: Op) -> Graph | None:
    """MEAN(TRANSPOSE(x, p), axes) = MEAN(x, p[axes]) when the axes that are left keep their order."""
    before = view.producer(op.inputs[0])
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
    wanted, x = view.graph[op.output].shape, view.graph.operand(before, 0)
    shape = view.sizes(wanted, op.output, "mean_of_transpose", 1)
    middle = view.made(op.output, tuple(1 if a in reduced else n for a, n in enumerate(x.shape)), "mean_of_transpose", 2)
    mean = Op(op.kind, (before.inputs[0], renamed.id), (middle.id,))
    new_ops = [mean, Op(Reshape(), (middle.id, shape.id), op.outputs)]
    return view.swap(view.unread_without(before, op), new_ops, [renamed, shape, middle])


def mean_without_kept_axes(view: View, op: Op) -> Graph | None:
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


def expand_dims_to_reshape(view: View, op: Op) -> Graph | None:
    """EXPAND_DIMS and SQUEEZE are RESHAPEs, which merge with their like."""
    x, shape = op.inputs[0], view.graph[op.output].shape
    if not isinstance(op.kind, (ExpandDims, Squeeze)) or not view.graph[op.output].is_float or x is None:
        return None
    if shape[:1] != view.graph[x].shape[:1]:
        return None
    wanted = view.sizes(shape, op.output, "expand_dims_to_reshape")
    return view.swap([op], [Op(Reshape(), (x, wanted.id), op.outputs)], [wanted])


def merge_reshapes(view: View, op: Op) -> Graph | None:
    """RESHAPE(RESHAPE(x)) is the last of them."""
    before = view.sole_producer(op.inputs[0])
    if not isinstance(op.kind, Reshape) or before is None or not isinstance(before.kind, Reshape):
        return None
    return view.swap([before, op], [replace(op, inputs=(before.inputs[0], *op.inputs[1:]))])


def flatten_of_transpose(view: View, op: Op) -> Graph | None:
    """FULLY_CONNECTED(flatten(TRANSPOSE(x, p)), w) = FULLY_CONNECTED(flatten(x), w with its columns in x's order)."""
    if not isinstance(op.kind, FullyConnected) or len(view.shape(op.inputs[0])) != 2:
        return None
    flat = view.sole_producer(op.inputs[0])
    turned = view.sole_producer(flat.inputs[0]) if flat is not None and isinstance(flat.kind, Reshape) else None
    p = view.permutation(turned)
    if flat is None or turned is None or p is None:
        return None
    found, x, shape, vector = weighted(view.graph, op), turned.inputs[0], view.shape(turned.output), view.shape(flat.output)
    w = None if found is None else view.data(found.weight.id)
    if found is None or w is None or x is None or p[0] != 0 or vector != (shape[0], prod(shape[1:])) or w.shape[1] != vector[1]:
        return None
    columns = w.reshape(len(w), *shape[1:]).transpose(0, *(1 + np.argsort(p[1:])))
    ordered = view.constant(np.ascontiguousarray(columns.reshape(w.shape)), found.weight.id, "flatten_of_transpose")
    ops = [replace(flat, inputs=(x, *flat.inputs[1:])), replace(op, inputs=(op.inputs[0], ordered.id, *op.inputs[2:]))]
    return view.swap([turned, flat, op], ops, [ordered])


def transpose_of_unflatten(view: View, op: Op) -> Graph | None:
    """TRANSPOSE(unflatten(FULLY_CONNECTED(x, w, b)), p) = unflatten(FULLY_CONNECTED(x, rows of w and b in p's order))."""
    p, split = view.permutation(op), view.sole_producer(op.inputs[0])
    dense = view.sole_producer(split.inputs[0]) if split is not None and isinstance(split.kind, Reshape) else None
    if p is None or split is None or dense is None or not isinstance(dense.kind, FullyConnected):
        return None
    found, shape = weighted(view.graph, dense), view.shape(split.output)
    w = None if found is None else view.data(found.weight.id)
    if found is None or w is None or p[0] != 0 or view.shape(dense.output) != (shape[0], prod(shape[1:])):
        return None
    bias = None if found.bias is None else view.data(found.bias.id)
    if (bias is None) != (found.bias is None) or (bias is not None and bias.size != len(w)):
        return None
    rows = np.arange(len(w)).reshape(shape[1:]).transpose(p[1:] - 1).reshape(-1)
    new = [view.constant(w[rows], found.weight.id, "transpose_of_unflatten")]
    if found.bias is not None and bias is not None:
        new.append(view.constant(bias.reshape(-1)[rows], found.bias.id, "transpose_of_unflatten", 1))
    inputs = (found.data.id, *(t.id for t in new), *dense.inputs[1 + len(new) :])
    sizes = view.sizes(view.graph[op.output].shape, op.output, "transpose_of_unflatten", 2)
    ops = [replace(dense, inputs=inputs), Op(Reshape(), (dense.output, sizes.id), op.outputs)]
    return view.swap([dense, split, op], ops, [*new, sizes])


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
    shape = view.sizes(wanted, op.output, name, len(bounds))
    cut = view.made(op.output, tuple(n for a, n in enumerate(wanted) if a not in added), name, len(bounds) + 1)
    ops = [replace(slicing, outputs=(cut.id,)), Op(Reshape(), (cut.id, shape.id), op.outputs)]
    return view.swap([op], ops, [*bounds, shape, cut])


def broadcast_as_it_is(view: View, op: Op) -> Graph | None:
    """ADD(x, RESHAPE(y)) = ADD(x, y) where y only loses leading axes of length 1, which broadcasting gives back."""
    if not isinstance(op.kind, (Add, Sub, Mul)):
        return None
    for n, i in enumerate(op.inputs):
        before = view.producer(i)
        if i is None or before is None or not isinstance(before.kind, Reshape):
            continue
        y, flat, whole = before.inputs[0], view.shape(i), view.shape(before.inputs[0])
        lost = len(whole) - len(flat)
        if y is None or lost <= 0 or whole != (*[1] * lost, *flat) or len(whole) > len(view.shape(op.output)):
            continue
        inputs = tuple(y if m == n else j for m, j in enumerate(op.inputs))
        return view.swap(view.unread_without(before, op), [replace(op, inputs=inputs)])
    return None
