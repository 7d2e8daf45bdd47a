"""Networks that differ from one in a few tensors, run on the same samples: only what follows from those is computed anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Final, TypeAlias, final

import numpy as np
import torch

from intact.annotations import Values
from intact.network.graph import Graph, Tensor
from intact.network.shapes import infer
from intact.simulate.engine import Batch, Program, constant, map_batches, one_per_core, rounded

Activations: TypeAlias = Mapping[int, torch.Tensor]

#: Bytes of activations that are kept; samples beyond that are run as a whole.
_KEPT: Final = 512 << 20


@final
class Partly:
    """``graph``, of real numbers, on ``batches``, with all that it makes of them."""

    def __init__(self, graph: Graph, batches: Sequence[Batch], device: str = "cpu") -> None:
        self.graph, self.device, self.program = graph, device, Program(graph, device)
        kept = 0 if graph.states else _fitting(graph, batches)
        self.whole = batches[kept:]
        self.counts = [len(next(iter(batch.values()), ())) for batch in batches[:kept]]
        self.made: list[Activations] = list(map_batches(self._everything, batches[:kept], device))
        self.exact = self.outputs(graph)

    def outputs(self, graph: Graph) -> dict[str, Values[np.ndarray, "n ..."]]:
        """All outputs, [n, ...] by name, of the same ops where tensors hold other numbers, or are rounded."""
        parts = [
            *self._partly(graph),
            *(map_batches(Program(graph, self.device), self.whole, self.device) if self.whole else ()),
        ]
        return {name: np.concatenate([part[name].cpu().numpy() for part in parts]) for name in graph.output_names}

    def _everything(self, batch: Batch) -> Activations:
        program, values = self.program, dict(self.program.entered(batch))
        for op in self.graph.ops:
            values.update(zip(op.outputs, program.compute(op, values), strict=True))
        return values

    def _partly(self, graph: Graph) -> Iterator[dict[str, torch.Tensor]]:
        other = {i: t for i, t in graph.tensors.items() if t is not self.graph.tensors[i]}
        constants = {i: constant(t, self.program.device) for i, t in other.items() if t.is_constant}
        lanes = self.program.lanes

        def run(n: int) -> dict[str, torch.Tensor]:
            with torch.inference_mode():
                values = self._following(other, constants, self.made[n])
                ends = zip(graph.output_names, graph.outputs, strict=True)
                return {name: lanes.leave(graph[i], values[i], self.counts[n]) for name, i in ends}

        return one_per_core(run, range(len(self.made)), self.device)

    def _following(self, other: Mapping[int, Tensor], constants: Activations, made: Activations) -> Activations:
        """All activations where tensors are as in ``other``."""
        anew = {*constants, *(i for i in self.graph.inputs if i in other)}
        values = {**made, **constants, **{i: rounded(other[i], made[i]) for i in self.graph.inputs if i in other}}
        for op in self.graph.ops:
            if anew.isdisjoint(op.reads):
                y = [made[i] for i in op.outputs]
            else:
                y = list(self.program.compute(op, values))
                anew.update(op.outputs)
            for i, x in zip(op.outputs, y, strict=True):
                values[i] = rounded(other[i], x) if i in other else x
                if i in other:
                    anew.add(i)
        return values


def _fitting(graph: Graph, batches: Sequence[Batch]) -> int:
    """How many of ``batches`` there is room for."""
    each = 4 * sum(prod(shape) for i, shape in infer(graph).items() if not graph[i].is_constant)
    samples = np.cumsum([len(next(iter(batch.values()), ())) for batch in batches])
    return int(np.searchsorted(samples * each, _KEPT, side="right"))
