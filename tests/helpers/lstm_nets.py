"""LSTMs on stored integers, in formats drawn at random."""

from __future__ import annotations

import numpy as np

from intact.network.graph import Graph, Op, State, Tensor
from intact.numbers.affine import Affine
from intact.ops.recurrent import BIASES, INPUT_WEIGHTS, RECURRENT_WEIGHTS, UnidirectionalSequenceLstm


def lstm(seed: int, steps: int, *, state: bool, features: int = 5, units: int = 7, wide: bool = False, **options) -> Graph:
    """One layer over x [1, steps, features], in int8 or (``wide``) int16; with ``state`` from call to call."""
    draw = np.random.default_rng(seed)
    dtype = "int16" if wide else "int8"

    def format_of(low: float, high: float) -> Affine:
        scale = float(np.exp(draw.uniform(np.log(low), np.log(high))))
        return Affine((scale / 256,), (0,), dtype) if wide else Affine((scale,), (int(draw.integers(-90, 90)),))

    x, hidden = format_of(0.01, 0.05), format_of(0.006, 0.01)
    cell = Affine((2.0 ** -int(draw.integers(9, 16)),), (0,), "int16")
    tensors = [Tensor(0, "x", (1, steps, features), x)]
    for w, b in zip(INPUT_WEIGHTS, BIASES, strict=True):
        fmt = Affine((float(draw.uniform(0.002, 0.02)),), (0,))
        tensors.append(Tensor(w, f"w{w}", (units, features), fmt, draw.integers(-127, 128, (units, features), np.int8)))
        of_bias = Affine((x.scale[0] * fmt.scale[0],), (0,), "int64" if wide else "int32")
        bias = draw.integers(-4000, 4000, units).astype(of_bias.dtype) * (256 if wide else 1)
        tensors.append(Tensor(b, f"b{b}", (units,), of_bias, bias))
    for w in RECURRENT_WEIGHTS:
        fmt = Affine((float(draw.uniform(0.002, 0.02)),), (0,))
        tensors.append(Tensor(w, f"w{w}", (units, units), fmt, draw.integers(-127, 128, (units, units), np.int8)))
    tensors += [Tensor(30, "y", (1, steps, units), hidden), Tensor(31, "h", (1, units), hidden)]
    tensors += [Tensor(32, "c", (1, units), cell), Tensor(33, "cells", (1, steps, units), cell)]
    held = {18: hidden, 19: cell} if state else {}
    tensors += [Tensor(i, f"s{i}", (1, units), fmt) for i, fmt in held.items()]
    ids = {t.id for t in tensors if t.id < 24}
    zeros = np.zeros((1, units), np.float32)
    states = (State("h", 18, 31, zeros), State("c", 19, 32, zeros)) if state else ()
    op = Op(UnidirectionalSequenceLstm(**options), tuple(i if i in ids else None for i in range(24)), (30, 31, 32, 33))
    return Graph({t.id: t for t in tensors}, (op,), (0,), (30,), states=states)


def calls(graph: Graph, n: int, seed: int = 0) -> np.ndarray:
    """Stored numbers of ``n`` calls: a slow wave, noise, and the ends of the type."""
    (i,) = graph.inputs
    t, ends = graph[i], np.iinfo(graph[i].format.dtype)
    draw = np.random.default_rng(seed)
    shape = (n, *t.shape[1:])
    wave = ends.max * 0.6 * np.sin(np.arange(n * t.shape[1]).reshape(n, -1, 1) / 9.0) + draw.normal(0, ends.max / 5, shape)
    x = np.clip(wave, ends.min, ends.max).astype(t.format.dtype)
    x[-1, -1], x[0, 0] = ends.max, ends.min
    return x
