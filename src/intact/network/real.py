"""The network that an integer one stands for, in real numbers throughout."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from intact.network.graph import Graph, Op, Tensor, rebuild
from intact.numbers.affine import Affine, Float, dequantize_array


def in_real_numbers(graph: Graph) -> Graph:
    """``graph`` with every number that stands for a real one as float32: weights and biases are what their integers stand for.

    Conversions are gone, but for those that make an output or what a state holds, which keep its name; activations, fused ones
    among them, are the same. What an integer file cuts off by the range of a format alone is not cut off here.
    Worked: scale 0.5, zero point 3: a constant 7 becomes 2.0.
    """
    ends, same = set(graph.ends), dict[int, int]()
    ops = list[Op]()
    for op in graph.ops:
        reads = tuple(i if i is None else same.get(i, i) for i in op.inputs)
        if op.kind.converts and op.output not in ends and reads[0] is not None:
            same[op.output] = reads[0]
        else:
            ops.append(replace(op, inputs=reads))
    return rebuild(graph, ops, [_real(t) for t in graph.tensors.values() if t.is_float or isinstance(t.format, Affine)])


def _real(t: Tensor) -> Tensor:
    if t.data is None:
        return replace(t, format=Float())
    real = dequantize_array(t.data, t.format) if isinstance(t.format, Affine) else np.asarray(t.data, np.float32)
    return replace(t, format=Float(), data=real)
