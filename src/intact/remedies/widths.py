"""Widths of their own: the weights of each op get as many bits as were chosen for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, final

from intact.data import Samples
from intact.planning.quantized import Quantized
from intact.planning.request import Request
from intact.planning.widths import Width, choosable, width_in, with_widths
from intact.remedies.base import Context, Remedy
from intact.wording import counted


@final
@dataclass(frozen=True, eq=False)
class ChosenWidths(Remedy):
    """Store the weights of the ops ``widths``, by first output, as that says; those that are so already stay as they are.

    ``before``, if given, is the network as it was until weights learned something: those that get more bits have them of that.
    """

    name: ClassVar[str] = "mixed"
    order: ClassVar[int] = 25
    widths: Mapping[int, Width]
    request: Request
    before: Quantized | None = None

    def apply(self, network: Quantized, samples: Samples, context: Context) -> Quantized:
        del samples, context
        graph, plan = network.graph, network.plan
        ops = choosable(graph, plan)
        now = {output: width_in(plan, ops[output]) for output in self.widths}
        other = {output: width for output, width in self.widths.items() if width != now[output]}
        tensors = dict(graph.tensors)
        for output, width in other.items():
            weight = ops[output].weight
            if self.before is not None and width.bits > now[output].bits:
                tensors[weight.id] = self.before.graph[weight.id]
        graph = replace(graph, tensors=tensors)
        made = with_widths(graph, plan, other, self.request)
        return replace(network, graph=graph, plan=made, log=(*network.log, f"gave weights their widths: {said(self.widths)}"))


def said(widths: Mapping[int, Width]) -> str:
    """``3 ops int8, 12 ops int4``, the widest first."""
    counts = Counter(widths.values())
    order = sorted(counts, key=lambda width: (-width.bits, width.clusters))
    return ", ".join(f"{counted(counts[width], 'op')} {width}" for width in order)
