"""High-bias absorption: what a channel never falls below moves into the biases that read it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar, final

import numpy as np

from intact.data import Samples
from intact.graph import Graph, Op, Tensor
from intact.ops.convolution import Conv2D, DepthwiseConv2D
from intact.ops.matmul import FullyConnected
from intact.quantized import Quantized
from intact.remedies.base import Context, Remedy, look_at
from intact.remedies.equalize import Pair, pairs
from intact.verify import concrete, verify


@final
@dataclass(frozen=True)
class Absorb(Remedy):
    """``b1 <- b1 - c`` and ``b2 <- b2 + W2 c``, c[i] being the least value that channel i takes after a RELU, if above 0.

    ``relu(x - c) = relu(x) - c`` wherever ``x >= c``, so the float output stays as it is on the samples, and the tensor
    between the two needs a smaller range. The paper takes c from a batch norm's mean and deviation, which folded networks no
    longer have; here the samples say it. Only readers to which every position looks alike can take c up: those without
    padding.
    Source: Nagel et al. 2019 (arXiv 1906.04721), section 4.1.3.
    """

    name: ClassVar[str] = "absorb"
    order: ClassVar[int] = 11
    paper: ClassVar[str] = "Nagel et al. 2019, Data-Free Quantization (arXiv 1906.04721)"

    def apply(self, network: Quantized, samples: Samples, context: Context) -> Quantized:
        graph = network.graph
        usable = [p for p in pairs(graph) if _can_move(graph, p)]
        lowest = _channel_minima(graph, {p.maker.output for p in usable}, samples, context)
        moved = {p.maker.output: lowest[p.maker.output] for p in usable if (lowest[p.maker.output] > 0).any()}
        if not moved:
            return replace(network, log=(*network.log, "absorbed nothing: no channel stays above 0 on the samples"))
        taken = [p for p in usable if p.maker.output in moved]
        changed, exact = verify(_absorbed(graph, taken, moved)), _absorbed(network.exact, taken, moved)
        channels = sum(int((c > 0).sum()) for c in moved.values())
        said = f"absorbed the least value of {channels} channels of {len(moved)} layers into the biases after them"
        return replace(
            network, graph=changed, plan=context.make_plan(changed, (), ()), log=(*network.log, said), rescaled=exact
        )


def _can_move(graph: Graph, pair: Pair) -> bool:
    """A RELU that reaches its readers directly, all of which have a bias and no padding that would not be moved too."""
    if getattr(pair.maker.kind, "activation", "none") != "relu" or _bias(pair.maker) is None:
        return False
    return all(t.inputs[0] == pair.maker.output and _bias(t) is not None and not _pads(graph, t) for t in pair.takers)


def _bias(op: Op) -> int | None:
    return op.inputs[2] if len(op.inputs) > 2 else None


def _pads(graph: Graph, op: Op) -> bool:
    if not isinstance(op.kind, (Conv2D, DepthwiseConv2D)):
        return False
    return op.kind.padding == "same" and concrete(graph[op.inputs[1] or 0])[1:3] != (1, 1)


def _absorbed(graph: Graph, moving: list[Pair], least: dict[int, np.ndarray]) -> Graph:
    tensors: dict[int, Tensor] = dict(graph.tensors)

    def add(b: int | None, shift: np.ndarray) -> None:
        t = tensors[b or 0]
        tensors[t.id] = replace(t, data=(np.asarray(t.data, np.float64) + shift.reshape(concrete(t))).astype(np.float32))

    for pair in moving:
        c = np.maximum(least[pair.maker.output], 0.0)
        add(_bias(pair.maker), -c)
        for taker in pair.takers:
            add(_bias(taker), _reads(graph, taker, c))
    return replace(graph, tensors=tensors)


def _reads(graph: Graph, taker: Op, c: np.ndarray) -> np.ndarray:
    """``W2 c``: what a constant c in every channel adds to each output channel."""
    w = np.asarray(graph[taker.inputs[1] or 0].data, np.float64)
    if isinstance(taker.kind, DepthwiseConv2D):
        added: np.ndarray = w.reshape(-1, w.shape[3]).sum(0) * np.repeat(c, w.shape[3] // len(c))
        return added
    if isinstance(taker.kind, FullyConnected):
        return np.asarray(w.reshape(len(w), -1, len(c)).sum(1) @ c)
    return np.asarray(w.reshape(len(w), prod(w.shape[1:3]), len(c)).sum(1) @ c)


def _channel_minima(graph: Graph, wanted: set[int], samples: Samples, context: Context) -> dict[int, np.ndarray]:
    """The least value of every channel of the tensors ``wanted`` on the samples."""
    seen = look_at(graph, wanted, samples, context, lambda y: y.reshape(-1, y.shape[-1]).amin(0).double())
    return {i: least.amin(0).numpy() for i, least in seen.items()}
