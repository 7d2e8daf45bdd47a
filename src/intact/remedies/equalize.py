"""Cross-layer equalization: channels that waste their tensor's range are rescaled against the weights that read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Final, final

import numpy as np

from intact.affine import Affine
from intact.data import Samples
from intact.graph import Graph, Op, Tensor
from intact.ops.convolution import Conv2D, DepthwiseConv2D
from intact.ops.elementwise import Mul
from intact.ops.matmul import FullyConnected
from intact.ops.pooling import AveragePool2D, MaxPool2D
from intact.ops.reduction import Mean
from intact.ops.resize import ResizeBilinear, ResizeNearestNeighbor
from intact.ops.shaping import Pad
from intact.quantized import Quantized
from intact.remedies.base import Context, Remedy, look_at
from intact.verify import concrete, verify
from intact.wording import counted

#: Ops through which a scale per channel passes: ``f(s x) = s f(x)``.
_PASSES: Final = (Pad, MaxPool2D, AveragePool2D, Mean, ResizeBilinear, ResizeNearestNeighbor)
#: One step changes a channel by at most this factor.
_MOST: Final = 1e4


@final
@dataclass(frozen=True)
class Pair:
    """An op whose output channels can be rescaled, and the ops whose weights take the factor up again."""

    maker: Op
    takers: tuple[Op, ...]


@final
@dataclass(frozen=True)
class Equalize(Remedy):
    """``W1 / s``, ``b1 / s`` and ``W2 s`` with ``s[c] = sqrt(r1[c] / r2[c])``, sweep by sweep; the float output stays as it is.

    ``r2[c]`` is the largest weight that reads channel c, ``r1[c]`` the largest value that the channel takes on the samples
    when weights have a scale per channel (then only activations waste range), else the largest weight that makes it. A RELU6
    that no sample drives to 6 becomes a RELU; one that clips does not scale, and its pair is left alone.
    Source: Nagel et al. 2019 (arXiv 1906.04721), section 4.1; with activation ranges: Xiao et al. 2023 (arXiv 2211.10438).
    """

    name: ClassVar[str] = "equalize"
    order: ClassVar[int] = 10
    paper: ClassVar[str] = "Nagel et al. 2019, Data-Free Quantization (arXiv 1906.04721)"
    sweeps: int = 20

    def apply(self, network: Quantized, samples: Samples, context: Context) -> Quantized:
        found = pairs(network.graph)
        highest = _channel_maxima(network.graph, [p.maker.output for p in found], samples, context)
        usable = [p for p in found if not _clips(p.maker, highest[p.maker.output])]
        if not usable:
            return replace(
                network, log=(*network.log, "equalized nothing: no two layers of the network scale against each other")
            )
        factors = self._factors(network, usable, highest)
        graph = verify(rescaled(network.graph, usable, factors))
        most = max(float(np.abs(np.log2(s)).max()) for s in factors.values())
        said = f"equalized {counted(len(usable), 'pair')} of layers, by factors up to {2**most:.3g}"
        exact = rescaled(network.exact, usable, factors)
        return replace(network, graph=graph, plan=context.make_plan(graph, (), ()), log=(*network.log, said), rescaled=exact)

    def _factors(self, network: Quantized, usable: list[Pair], highest: Mapping[int, np.ndarray]) -> dict[int, np.ndarray]:
        """What to divide each maker's channels by, by the id of its output."""
        graph = network.graph
        total = {p.maker.output: np.ones(_channels(graph, p.maker)) for p in usable}
        for _ in range(self.sweeps):
            moved = 0.0
            for pair in usable:
                out = pair.maker.output
                if _is_per_channel(network, pair.maker):
                    made = highest[out] / total[out]
                else:
                    made = np.abs(_scaled_weight(graph, pair.maker, total, usable)).reshape(-1, len(total[out])).max(0)
                read = np.max([_reader_range(graph, taker, total, usable, out) for taker in pair.takers], axis=0)
                step = np.sqrt(made / np.maximum(read, 1e-12))
                alive = (made > 1e-9) & (read > 1e-9)
                # Only ratios between channels matter: the geometric mean stays where it is.
                step = np.where(alive, step / np.exp(np.log(step[alive]).mean()) if alive.any() else 1.0, 1.0)
                step = np.clip(step, 1 / _MOST, _MOST)
                total[out] = total[out] * step
                moved = max(moved, float(np.abs(np.log(step)).max()))
            if moved < 1e-3:
                break
        return total


def pairs(graph: Graph) -> list[Pair]:
    """Every op with a weight whose output channels reach nothing but weights, through ops that pass a scale on."""
    readers = graph.consumers()
    found = []
    for op in graph.ops:
        if isinstance(op.kind, (Conv2D, DepthwiseConv2D, FullyConnected)) and op.kind.activation in ("none", "relu", "relu6"):
            takers = _takers(graph, op, readers)
            if takers and _constant_weights(graph, op) and all(_constant_weights(graph, t) for t in takers):
                found.append(Pair(op, tuple(takers)))
    return found


def _takers(graph: Graph, maker: Op, readers: Mapping[int, list[Op]]) -> list[Op]:
    """The ops whose weights can take up a scale of ``maker``'s output channels; none when anything else sees it."""
    scaled, waiting, takers = {maker.output}, [maker.output], list[Op]()
    channels = _channels(graph, maker)
    while waiting:
        i = waiting.pop()
        if i in graph.outputs or not readers[i]:
            return []
        for op in readers[i]:
            kind = op.kind
            reads_as_data = op.inputs[0] == i and op.inputs[1:2] != (i,)
            if isinstance(kind, (Conv2D, DepthwiseConv2D, FullyConnected)):
                if not reads_as_data or not _meets_channels(graph, op, channels):
                    return []
                takers.append(op)
            elif isinstance(kind, Mul) and kind.activation in ("none", "relu"):
                other = next((j for j in op.inputs if j != i), None)
                if other is None or other in scaled or concrete(graph[op.output])[-1] != channels:
                    return []
                scaled.add(op.output)
                waiting.append(op.output)
            elif isinstance(kind, _PASSES) and reads_as_data and concrete(graph[op.output])[-1:] == (channels,):
                if getattr(kind, "activation", "none") not in ("none", "relu"):
                    return []
                scaled.add(op.output)
                waiting.append(op.output)
            else:
                return []
    return takers if all(sum(j in scaled for j in op.inputs if j is not None) <= 1 for op in graph.ops) else []


def _meets_channels(graph: Graph, op: Op, channels: int) -> bool:
    """Whether the weight has one slice per channel of the scaled input."""
    w = concrete(graph[op.inputs[1] or 0])
    if isinstance(op.kind, DepthwiseConv2D):
        return w[3] % channels == 0
    if isinstance(op.kind, FullyConnected) and len(concrete(graph[op.inputs[0] or 0])) != 2:
        return op.kind.keep_dims and w[-1] == channels
    return w[-1] == channels


def _constant_weights(graph: Graph, op: Op) -> bool:
    """Weight and bias are constants of this op alone."""
    readers = graph.consumers()
    ids = [i for i in op.inputs[1:3] if i is not None]
    return bool(ids) and all(graph[i].is_constant and len(readers[i]) == 1 for i in ids)


def _channels(graph: Graph, op: Op) -> int:
    return concrete(graph[op.output])[-1]


def _is_per_channel(network: Quantized, op: Op) -> bool:
    fmt = network.plan.at(op.inputs[1] or 0, op.output)
    return not isinstance(fmt, Affine) or fmt.axis is not None


def _clips(maker: Op, highest: np.ndarray) -> bool:
    return getattr(maker.kind, "activation", "none") == "relu6" and bool((highest >= 6.0 - 1e-4).any())


def _reader_range(graph: Graph, taker: Op, total: Mapping[int, np.ndarray], usable: list[Pair], source: int) -> np.ndarray:
    """The largest weight that reads each channel of ``source``."""
    w = _scaled_weight(graph, taker, total, usable)  # output channels last
    channels = len(total[source])
    each = w.shape[-1] // channels if isinstance(taker.kind, DepthwiseConv2D) else w.shape[-1]
    largest: np.ndarray = np.abs(w).reshape(-1, channels, each).max((0, 2))
    return largest


def _scaled_weight(graph: Graph, op: Op, total: Mapping[int, np.ndarray], usable: list[Pair]) -> np.ndarray:
    """The op's weight under all factors so far, its output channels last."""
    w: np.ndarray = np.asarray(graph[op.inputs[1] or 0].data, np.float64)
    w = w if isinstance(op.kind, DepthwiseConv2D) else np.moveaxis(w, 0, -1)
    for pair in usable:
        if any(t is op for t in pair.takers):
            s = total[pair.maker.output]
            w = w * (np.repeat(s, w.shape[-1] // len(s)) if isinstance(op.kind, DepthwiseConv2D) else s[:, None])
    return w / total[op.output] if op.output in total else w


def rescaled(graph: Graph, usable: list[Pair], factors: Mapping[int, np.ndarray]) -> Graph:
    """``graph`` with every maker's channels divided by their factor and every taker's weights multiplied by it."""
    tensors: dict[int, Tensor] = dict(graph.tensors)
    touched = {id(op): op for pair in usable for op in (pair.maker, *pair.takers)}
    for op in touched.values():
        w = _scaled_weight(graph, op, factors, usable)
        data = w if isinstance(op.kind, DepthwiseConv2D) else np.moveaxis(w, -1, 0)
        weight = graph[op.inputs[1] or 0]
        tensors[weight.id] = replace(weight, data=np.ascontiguousarray(data, np.float32))
        b = op.inputs[2] if len(op.inputs) > 2 else None
        if b is not None and op.output in factors:
            bias = np.asarray(graph[b].data, np.float64) / factors[op.output].reshape(concrete(graph[b]))
            tensors[b] = replace(graph[b], data=bias.astype(np.float32))
    makers = {pair.maker.output for pair in usable}
    ops = tuple(
        replace(op, kind=replace(op.kind, activation="relu"))  # type: ignore[type-var]
        if op.output in makers and getattr(op.kind, "activation", "none") == "relu6"
        else op
        for op in graph.ops
    )
    return replace(graph, tensors=tensors, ops=ops)


def _channel_maxima(graph: Graph, wanted: list[int], samples: Samples, context: Context) -> dict[int, np.ndarray]:
    """The largest magnitude of every channel of the tensors ``wanted`` on the samples."""
    seen = look_at(graph, set(wanted), samples, context, lambda y: y.reshape(-1, y.shape[-1]).abs().amax(0))
    return {i: seen[i].amax(0).numpy() for i in wanted}
