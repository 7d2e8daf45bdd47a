"""Mixed precision: the ops that make most of the noise stay in float, or get 16 bits, as few as do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, final

import numpy as np

from intact.data import Samples
from intact.network.graph import Graph
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
        return replace(network, plan=plan, log=(*network.log, *said))


def _labels(graph: Graph, outputs: Sequence[int]) -> str:
    return ", ".join(graph.label(op) for op in graph.ops if op.output in outputs)


def _noisiest(rows: Sequence[Sensitivity], share: float, most: int) -> tuple[int, ...]:
    """Outputs of the fewest ops, at most ``most``, that make ``share`` of the noise."""
    summed = np.cumsum([row.share for row in rows])
    count = min(most, int(np.searchsorted(summed, share)) + 1)
    return tuple(row.output for row in rows[:count])
