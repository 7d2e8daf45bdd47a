"""Analytic bias correction: the shift that rounded weights cause, from the mean of what they read, in one float pass."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, final

import numpy as np
import torch

from intact.data import Samples
from intact.network.graph import Graph
from intact.network.shapes import concrete
from intact.network.weighted import Weighted
from intact.numbers.affine import Affine, dequantize_array, quantize_weight
from intact.ops.call import as_tuple
from intact.planning.quantized import Quantized
from intact.planning.steps import own_biases
from intact.remedies.base import Context, Remedy, look_at


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

    def apply(self, network: Quantized, samples: Samples, context: Context) -> Quantized:
        graph, plan = network.graph, network.plan
        biases = own_biases(graph, plan)
        means = _means(network.exact, {one.data.id for one, _ in biases}, samples, context)
        tensors = {}
        for one, bias in biases:
            fmt = plan.at(one.weight.id, one.op.output)
            if isinstance(fmt, Affine):
                shift = _shift(network, one, fmt, means[one.data.id])
                corrected = np.asarray(bias.data, np.float64) - shift.reshape(np.asarray(bias.data).shape)
                tensors[bias.id] = replace(bias, data=corrected.astype(np.float32))
        said = f"corrected {len(tensors)} biases by the mean that rounded weights add"
        return replace(network, graph=replace(graph, tensors={**graph.tensors, **tensors}), log=(*network.log, said))


def _shift(network: Quantized, one: Weighted, fmt: Affine, mean: torch.Tensor) -> np.ndarray:
    """The mean over positions of what the rounding error of the weight makes of the mean input, [c]."""
    graph, w = network.graph, one.weight.id
    stored = dequantize_array(quantize_weight(one.values, fmt), fmt)
    known = {w: torch.from_numpy(stored - np.asarray(network.exact[w].data))}
    known |= {i: torch.from_numpy(np.array(graph[i].data)) for i in one.op.reads if graph[i].is_constant and i != w}
    given = (i for i in one.op.inputs if one.bias is None or i != one.bias.id)
    with torch.no_grad():
        (made,) = as_tuple(one.kind.plain.compute(*(None if i is None else known.get(i, mean) for i in given)))
    return np.asarray(made.reshape(-1, made.shape[-1]).double().mean(0).numpy())


def _means(graph: Graph, wanted: set[int], samples: Samples, context: Context) -> dict[int, torch.Tensor]:
    """The mean over samples of the tensors ``wanted``, as an op reads one sample."""

    def summed(y: torch.Tensor) -> tuple[torch.Tensor, int]:
        return y.double().sum(0).cpu(), len(y)

    seen = look_at(graph, wanted, samples, context, summed, lambda a, b: (a[0] + b[0], a[1] + b[1]))
    return {i: (total / count).float().reshape(-1, *concrete(graph[i])[1:]) for i, (total, count) in seen.items()}
