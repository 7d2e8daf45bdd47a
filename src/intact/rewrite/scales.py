"""Rewrites of arithmetic with constants: it is done once, merges, and goes into the weights and activations that it meets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Final, final

import numpy as np
import torch

from intact.errors import IntactError
from intact.network.graph import Graph, Op, rebuild
from intact.network.weighted import Weighted, weighted
from intact.ops.activation import Exp, Relu, Relu6, ReluN1To1
from intact.ops.base import OpKind
from intact.ops.call import Activation, as_tuple
from intact.ops.convolution import Conv2D, DepthwiseConv2D
from intact.ops.elementwise import Add, Minimum, Mul, Sub
from intact.ops.logic import Greater, GreaterEqual, Select, SelectV2
from intact.ops.matmul import FullyConnected
from intact.rewrite.view import View

#: Folding a constant may make it this many elements large, or as large as what it is made from.
_FOLD_LIMIT: Final = 1 << 20
#: Stand-alone activations that a producer may carry.
_FUSABLE: Final[Mapping[type[OpKind], Activation]] = {Relu: "relu", Relu6: "relu6", ReluN1To1: "relu_n1_to_1"}
#: Ops that take a scale or a shift of what they make or read into their constants.
_WEIGHING: Final = (Conv2D, DepthwiseConv2D, FullyConnected)


def fold_constants(view: View, op: Op) -> Graph | None:
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


def fuse_activation(view: View, op: Op) -> Graph | None:
    """RELU(CONV(x)) = CONV+RELU(x), for every op that has a fused activation and one reader."""
    activation, before = _FUSABLE.get(type(op.kind)), view.sole_producer(op.inputs[0])
    if activation is None or before is None or not isinstance(before.kind, (*_WEIGHING, Add, Sub, Mul)):
        return None
    if before.kind.activation != "none":
        return None
    return view.swap([before, op], [Op(before.kind.activated(activation), before.inputs, op.outputs)])


@final
@dataclass(frozen=True, eq=False)
class _Shift:
    """A MUL or ADD of the tensor ``x`` and a ``constant``, by id, that holds ``values``."""

    x: int
    constant: int
    values: np.ndarray


def _shift(view: View, op: Op | None) -> _Shift | None:
    """``op`` as an ADD or MUL of something and a constant; None for any other."""
    if op is None or not isinstance(op.kind, (Add, Mul)) or len(op.reads) != 2:
        return None
    for x, c in (op.reads, op.reads[::-1]):
        values = view.data(c)
        if values is not None and view.data(x) is None:
            return _Shift(x, c, values)
    return None


def scale_in_weights(view: View, op: Op) -> Graph | None:
    """MUL(CONV(x, w, b), s) = CONV(x, s w, s b) for constant s, one per output channel or one for all."""
    return _in_weights(view, op, "scale_in_weights") if isinstance(op.kind, Mul) else None


def shift_in_bias(view: View, op: Op) -> Graph | None:
    """ADD(CONV(x, w, b), t) = CONV(x, w, b + t) for constant t, one per output channel or one for all."""
    return _in_weights(view, op, "shift_in_bias") if isinstance(op.kind, Add) else None


def _in_weights(view: View, op: Op, name: str) -> Graph | None:
    outer = _shift(view, op)
    before = None if outer is None else view.sole_producer(outer.x)
    found = None if before is None or not isinstance(before.kind, _WEIGHING) else weighted(view.graph, before)
    if outer is None or found is None or found.kind.activation != "none":
        return None
    values, w, channels = outer.values, view.data(found.weight.id), view.shape(found.weight.id)[found.axis]
    b = np.zeros(channels, np.float32) if found.bias is None else view.data(found.bias.id)
    if w is None or b is None or not np.isfinite(values).all():
        return None
    if values.size not in (1, channels) or (values.size > 1 and values.shape[-1] != channels):
        return None
    if view.shape(op.output) != view.shape(outer.x):
        return None
    vector, b, scales = np.broadcast_to(values.reshape(-1), (channels,)), b.reshape(-1), isinstance(op.kind, Mul)
    new = [view.constant((b * vector if scales else b + vector).astype(np.float32), found.weight.id, name)]
    inputs = [found.data.id, found.weight.id, new[0].id]
    if scales:
        new.append(view.constant((w * found.along(vector)).astype(np.float32), found.weight.id, name, 1))
        inputs[1] = new[1].id
    folded = Op(found.kind.activated(op.kind.unfused()[1]), tuple(inputs), op.outputs)
    return view.swap([found.op, op], [folded], new)


def merge_constants(view: View, op: Op) -> Graph | None:
    """MUL(MUL(x, c), d) = MUL(x, c d), and ADD(ADD(x, c), d) = ADD(x, c + d), for constants that stay as small."""
    outer = _shift(view, op)
    before = None if outer is None else view.sole_producer(outer.x)
    inner = _shift(view, before)
    if outer is None or before is None or inner is None or before.kind != type(op.kind)():
        return None
    c, d = inner.values, outer.values
    merged = np.asarray(c * d if isinstance(op.kind, Mul) else c + d)
    if np.isnan(merged).any() or merged.size > max(c.size, d.size) or merged.dtype != c.dtype:
        return None
    both = view.constant(merged, op.output, "merge_constants")
    return view.swap([before, op], [replace(op, inputs=(inner.x, both.id))], [both])


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
    outer = _shift(view, op)
    before = None if outer is None else view.sole_producer(outer.x)
    inner = _shift(view, before)
    if not isinstance(op.kind, Mul) or outer is None or before is None or inner is None or before.kind != Add():
        return None
    c, s = inner.values, outer.values
    if not np.isfinite(c).all() or (c * s).size > max(c.size, s.size) or view.shape(inner.x) != view.shape(op.output):
        return None
    shift = view.constant(np.asarray(c * s), op.output, "scale_before_shift")
    scaled = view.made(op.output, view.graph[inner.x].shape, "scale_before_shift", 1)
    ops = [Op(Mul(), (inner.x, outer.constant), (scaled.id,)), Op(Add(op.kind.activation), (scaled.id, shift.id), op.outputs)]
    return view.swap([before, op], ops, [shift, scaled])


def bounded_exponential(view: View, op: Op) -> Graph | None:
    """SELECT(x > 0, a, f(EXP(x))) = SELECT(x > 0, a, f(EXP(MINIMUM(x, 0)))): what is not taken needs no range.

    So SELU comes out of Keras. Its exponential of positive numbers, a million and more, would take the range of the rest.
    """
    if not isinstance(op.kind, (Select, SelectV2)):
        return None
    condition = view.producer(op.inputs[0])
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
    outer = _shift(view, op)
    inner = None if outer is None else view.sole_producer(outer.x)
    if not isinstance(op.kind, Add) or outer is None or inner is None or inner.kind != Add():
        return None
    for a, b in (inner.inputs, inner.inputs[::-1]):
        maker = view.sole_producer(a)
        if maker is None or a is None or not isinstance(maker.kind, _WEIGHING):
            continue
        shape = view.shape(a)
        if maker.kind.activation != "none" or shape != view.shape(op.output) or outer.values.size not in (1, shape[-1]):
            continue
        shifted = view.made(op.output, view.graph[a].shape, "bias_before_sum")
        ops = [Op(Add(), (a, outer.constant), (shifted.id,)), Op(op.kind, (shifted.id, b), op.outputs)]
        return view.swap([inner, op], ops, [shifted])
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


def scale_in_next_weights(view: View, op: Op) -> Graph | None:
    """CONV(MUL(x, s), w, b) = CONV(x, w s, b) for constant s, one per input channel or one for all; padding zeros stay zero."""
    found = weighted(view.graph, op) if isinstance(op.kind, _WEIGHING) else None
    before = None if found is None else view.sole_producer(found.data.id)
    inner = _shift(view, before)
    if found is None or before is None or inner is None or before.kind != Mul():
        return None
    w = view.data(found.weight.id)
    if w is None or w.dtype.kind != "f" or view.shape(inner.x) != view.shape(before.output):
        return None
    factor = _per_input_channel(inner.values, w, found, view.shape(inner.x)[-1])
    if factor is None:
        return None
    scaled = view.constant((w * factor).astype(w.dtype), found.weight.id, "scale_in_next_weights")
    return view.swap([before, op], [replace(op, inputs=(inner.x, scaled.id, *op.inputs[2:]))], [scaled])


def _per_input_channel(s: np.ndarray, w: np.ndarray, found: Weighted, channels: int) -> np.ndarray | None:
    """``s`` shaped to multiply the weight along the axis that meets the input's channels; None when it cannot be."""
    if s.size == 1:
        return s.reshape(())
    if s.size != channels or s.shape[-1] != channels:
        return None
    if isinstance(found.kind, DepthwiseConv2D):
        return np.repeat(s.reshape(-1), w.shape[found.axis] // channels)
    return s.reshape(-1) if w.shape[-1] == channels else None  # a grouped convolution's weight sees a part of the channels
