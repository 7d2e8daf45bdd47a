"""Mixed precision: the ops that make most of the noise stay in float, or get 16 bits, as few as do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, final

import numpy as np

from intact.data import Samples
from intact.network.graph import Graph
from intact.network.weighted import weighted
from intact.numbers.affine import Affine, bias_format
from intact.planning.quantized import Quantized
from intact.remedies.base import Context, Remedy
from intact.simulate.noise import Sensitivity, sensitivities
from intact.wording import counted


@final
@dataclass(frozen=True)
class MixedPrecision(Remedy):
    """Keep the ops with the first outputs ``outputs`` in float; without any, the fewest ops that make half of the noise.

    Targets that run integers only keep their outputs as int16 instead. The ops of ``wide_weights`` get weights of 8 bits, where
    others have 4. The noise of an op is what quantizing it alone adds to the network's output. At most ``most`` ops are chosen,
    for each costs two conversions and the speed of the wider kernels.
    Source: per-layer sensitivity as in Wu et al. 2020, Integer Quantization for Deep Learning (arXiv 2004.09602), section 6.1.
    """

    name: ClassVar[str] = "mixed"
    order: ClassVar[int] = 12
    outputs: tuple[int, ...] = ()
    wide_weights: tuple[int, ...] = ()
    share: float = 0.5
    most: int = 8

    def apply(self, network: Quantized, samples: Samples, context: Context) -> Quantized:
        graph, outputs = network.graph, self.outputs
        if not outputs and not self.wide_weights:
            rows = sensitivities(network, samples, context.device, context.progress, out_of_time=context.out_of_time)
            outputs = _noisiest(rows, self.share, self.most)
        if not outputs and not self.wide_weights:
            return replace(network, log=(*network.log, f"kept no ops {context.precise}: no time to rank them"))
        plan = context.make_plan(graph, outputs, self.wide_weights)
        kinds = ((outputs, context.precise), (self.wide_weights, "with 8-bit weights"))
        said = (f"kept {counted(len(ops), 'op')} {how}: {_labels(graph, ops)}" for ops, how in kinds if ops)
        chosen = replace(network, plan=plan, precise=tuple(outputs), wide_weights=self.wide_weights)
        return replace(chosen, log=(*network.log, *said))


@final
@dataclass(frozen=True)
class WiderWeights(Remedy):
    """Give the ops with the first outputs ``outputs`` weights of 8 bits, those of ``before``, and keep all else as it is.

    ``before`` is the network as it was until weights learned their rounding: what the others learned is not learned anew.
    """

    name: ClassVar[str] = "mixed"
    order: ClassVar[int] = 45
    outputs: tuple[int, ...]
    before: Quantized

    def apply(self, network: Quantized, samples: Samples, context: Context) -> Quantized:
        del samples
        graph, plan, before = network.graph, network.plan, self.before.graph
        planned, readers = context.make_plan(before, (), self.outputs), graph.consumers()
        tensors, entries = dict(graph.tensors), dict(plan.tensors)
        wider = list[int]()
        for op in graph.ops:
            found = weighted(graph, op) if op.output in self.outputs else None
            if found is None or not found.is_constant or any(edge[1] == op.output for edge in plan.edges):
                continue
            activation, weight = plan.at(found.data.id, op.output), planned.entry(found.weight.id, op.output)
            if not isinstance(activation, Affine) or weight is None or not isinstance(weight.format, Affine):
                continue
            own = [t for t in (found.weight, found.bias) if t is not None]
            if any(len(readers[t.id]) > 1 for t in own):
                continue
            tensors[found.weight.id], entries[found.weight.id] = before[found.weight.id], weight
            if found.bias is not None:
                entries[found.bias.id] = replace(entries[found.bias.id], format=bias_format(activation, weight.format))
            wider.append(op.output)
        said = f"gave {counted(len(wider), 'op')} 8-bit weights: {_labels(graph, wider)}"
        plan = replace(plan, tensors=entries)
        return replace(network, graph=replace(graph, tensors=tensors), plan=plan, log=(*network.log, said))


def _labels(graph: Graph, outputs: Sequence[int]) -> str:
    return ", ".join(graph.label(op) for op in graph.ops if op.output in outputs)


def _noisiest(rows: Sequence[Sensitivity], share: float, most: int) -> tuple[int, ...]:
    """Outputs of the fewest ops, at most ``most``, that make ``share`` of the noise."""
    summed = np.cumsum([row.share for row in rows])
    count = min(most, int(np.searchsorted(summed, share)) + 1)
    return tuple(row.output for row in rows[:count])
