"""Analytic bias correction: the shift that rounded weights cause, from the mean of what they read, in one float pass."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, final

import numpy as np
import torch

from intact.data import Samples
from intact.network.graph import Graph, Op
from intact.network.shapes import concrete
from intact.numbers.affine import Affine, dequantize_array, quantize_weight
from intact.planning.quantized import Quantized
from intact.remedies.base import Context, Remedy, look_at
from intact.remedies.student import own_biases


@final
@dataclass(frozen=True)
class AnalyticBiasCorrection(Remedy):
    """``b <- b - (W_q - W) * E[x]`` per output channel, E[x] being the float network's mean of every position.

    Exact in the mean for what rounded weights add; what rounded activations add is left to the empirical correction, which
    costs a pass through the integer network as well. The paper takes E[x] from a batch norm's parameters, which folded
    networks no longer have; here the samples say it.
    Source: Nagel et al. 2019 (arXiv 1906.04721), section 4.2.1.
    """

    name: ClassVar[str] = "bias-analytic"
    order: ClassVar[int] = 31
    paper: ClassVar[str] = "Nagel et al. 2019, Data-Free Quantization (arXiv 1906.04721)"

    def apply(self, network: Quantized, samples: Samples, context: Context) -> Quantized:
        graph, plan = network.graph, network.plan
        weighted = own_biases(graph, plan)
        means = _means(network.exact, {_data(graph, op, w, b) for op, w, b in weighted}, samples, context)
        tensors = {}
        for op, w, b in weighted:
            fmt = plan.at(w, op.output)
            if isinstance(fmt, Affine):
                shift = _shift(network, op, w, fmt, means[_data(graph, op, w, b)])
                bias = np.asarray(graph[b].data, np.float64) - shift.reshape(np.asarray(graph[b].data).shape)
                tensors[b] = replace(graph[b], data=bias.astype(np.float32))
        said = f"corrected {len(tensors)} biases by the mean that rounded weights add"
        return replace(network, graph=replace(graph, tensors={**graph.tensors, **tensors}), log=(*network.log, said))


def _data(graph: Graph, op: Op, w: int, b: int) -> int:
    """The activation that a weighted op reads."""
    return next(i for i in op.reads if i not in (w, b) and graph[i].is_float and not graph[i].is_constant)


def _shift(network: Quantized, op: Op, w: int, fmt: Affine, mean: torch.Tensor) -> np.ndarray:
    """The mean over positions of what the rounding error of the weight makes of the mean input, [c]."""
    graph = network.graph
    data = np.asarray(graph[w].data)
    known = {w: torch.from_numpy(dequantize_array(quantize_weight(data, fmt), fmt) - np.asarray(network.exact[w].data))}
    known |= {i: torch.from_numpy(np.array(graph[i].data)) for i in op.reads if graph[i].is_constant and i != w}
    weight = op.kind.weight
    given = op.inputs if weight is None else op.inputs[: weight.bias]
    with torch.no_grad():
        linear: Any = replace(op.kind, activation="none")  # type: ignore[type-var]
        made = linear.compute(*(None if i is None else known.get(i, mean) for i in given))
    return np.asarray(made.reshape(-1, made.shape[-1]).double().mean(0).numpy())


def _means(graph: Graph, wanted: set[int], samples: Samples, context: Context) -> dict[int, torch.Tensor]:
    """The mean over samples of the tensors ``wanted``, as an op reads one sample."""

    def summed(y: torch.Tensor) -> tuple[torch.Tensor, int]:
        return y.double().sum(0).cpu(), len(y)

    seen = look_at(graph, wanted, samples, context, summed, lambda a, b: (a[0] + b[0], a[1] + b[1]))
    return {i: (total / count).float().reshape(-1, *concrete(graph[i])[1:]) for i, (total, count) in seen.items()}
