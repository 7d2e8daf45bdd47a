"""Clipping: every activation's range drawn in to where rounding and clipping together cost least."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, final

import numpy as np

from intact.data import Samples
from intact.network.graph import Graph
from intact.numbers.affine import Affine, affine_from_range
from intact.planning.plan import Edge, Entry, Plan
from intact.planning.quantized import Quantized
from intact.planning.ranges import Range, estimator, hull
from intact.planning.steps import slots, with_bias_formats
from intact.remedies.base import Context, Remedy
from intact.simulate.calibrate import from_arrays, observe, to_arrays


@final
@dataclass(frozen=True)
class Clip(Remedy):
    """A few outliers clipped, for finer steps everywhere else: the range with the least squared error of the tensor.

    One pass over the samples, where ``ranges`` asks the network's output about each tensor. Tensors that share a scale get
    the range that holds those of all. What the outside gives or gets keeps its range, and none shrinks below ``least`` of it.
    Where the plan was free to choose its ranges, they are first those of the extremes: what it cut off already, one tensor
    like the other, could not be given back.
    Source: Choukroun et al. 2019, Low-bit Quantization of Neural Networks for Efficient Inference (arXiv 1902.06822).
    """

    name: ClassVar[str] = "clip"
    order: ClassVar[int] = 14
    samples: int = 512
    least: float = 0.25

    def apply(self, network: Quantized, samples: Samples, context: Context) -> Quantized:
        graph, plan = network.graph, network.plan
        if context.by_extremes is not None:
            plan = context.by_extremes(graph, network.precise, network.wide_weights)
        few = samples.spread(self.samples)

        def look() -> dict[str, np.ndarray]:
            return to_arrays(observe(graph, lambda: (b for b, _ in few.batches()), histogram=True, device=context.device))

        seen = from_arrays(context.shared("calibration with histograms", graph, few, look))
        constants = {t.id: np.asarray(t.data) for t in graph.constants() if t.is_float}

        def needed(i: int, dtype: str) -> Range:
            data = constants.get(i)
            return estimator("mse", dtype).estimate(seen[i]) if data is None else (float(data.min()), float(data.max()))

        groups = _groups(graph, plan)
        clipped = {place: fmt for group in groups for place, fmt in self._clipped(group, plan, needed).items()}
        tensors = {i: _entry(entry, clipped.get((i, i))) for i, entry in plan.tensors.items()}
        edges = {edge: _entry(entry, clipped.get(edge)) for edge, entry in plan.edges.items()}
        drawn_in = with_bias_formats(graph, replace(plan, tensors=tensors, edges=edges))
        count = sum(group[0] in clipped for group in groups)
        said = f"drew in {count} of {len(groups)} ranges to their least squared error on {len(few)} samples"
        return replace(network, plan=drawn_in, log=(*network.log, said))

    def _clipped(self, group: list[Edge], plan: Plan, needed: Callable[[int, str], Range]) -> dict[Edge, Affine]:
        """The format for all places of a group, where it has finer steps than they have now."""
        now = plan.at(*group[0])
        if not isinstance(now, Affine):
            return {}
        floor, ceiling = now.range
        low, high = functools.reduce(hull, (needed(i, now.dtype) for i, _ in group), (self.least * floor, self.least * ceiling))
        made = affine_from_range(max(low, floor), min(high, ceiling), now.dtype)
        return dict.fromkeys(group, made) if made.scale < now.scale else {}


def _groups(graph: Graph, plan: Plan) -> list[list[Edge]]:
    """The places by the scale that they share, without those of weights and those that the outside sees."""
    outside = {*graph.inputs, *plan.boundary}
    groups: dict[str, list[Edge]] = {}
    for place, slot in slots(graph, plan).items():
        groups.setdefault(slot, []).append(place)
    return [
        group
        for group in groups.values()
        if not all(graph[i].is_constant for i, _ in group) and not any(i in outside for i, _ in group)
    ]


def _entry(entry: Entry, fmt: Affine | None) -> Entry:
    return entry if fmt is None else Entry(fmt, f"least squared error, from {entry.why}", fmt.range)
