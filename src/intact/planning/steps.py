"""The step sizes of a plan: which of them may be learned, which go together, and what biases count in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from intact.network.graph import Graph, Tensor
from intact.network.weighted import Weighted, weighted
from intact.numbers.affine import Affine, Format, bias_format, bits_of
from intact.numbers.codebook import Codebook
from intact.ops.base import SameAsInput
from intact.planning.plan import Edge, Entry, Plan

_LEARNED: Final = "step size learned"


def place_of(plan: Plan, i: int, reader: int | None) -> Edge:
    """What has a format of its own: a tensor read in another format than it was produced in, or the tensor (as its reader)."""
    return (i, reader) if reader is not None and (i, reader) in plan.edges else (i, i)


def slots(graph: Graph, plan: Plan) -> dict[Edge, str]:
    """The places whose step size may be learned, each with the name of its parameter.

    Those have one parameter that an op ties because it only moves numbers, and all copies of a tensor in one format. Where a
    kernel fixes the format of one of them, none learns.
    """
    weights = {found.weight.id for found in stored_as_integers(graph, plan)}
    places = [*((i, i) for i in plan.tensors), *plan.edges]
    above = {place: place for place in places}

    def root(place: Edge) -> Edge:
        while above[place] != place:
            place = above[place]
        return place

    def tie(one: Edge, other: Edge) -> None:
        if one in above and other in above and plan.at(*one) == plan.at(*other):
            above[root(one)] = root(other)

    copies: dict[tuple[int, Format], Edge] = {}
    for place in places:
        tie(place, copies.setdefault((place[0], plan.at(*place)), place))
    for op in graph.ops:
        if isinstance(op.kind.range_rule, SameAsInput):
            for other in (*((i, i) for i in op.outputs), *(place_of(plan, i, op.output) for i in op.reads)):
                tie((op.output, op.output), other)
    entries = {(i, i): e for i, e in plan.tensors.items()} | dict(plan.edges)
    learned, fixed = set[Edge](), set[Edge]()
    for place, entry in entries.items():
        i = place[0]
        if i in weights:
            learned |= {root(place)} if isinstance(entry.format, Affine) else set()
        elif graph[i].is_float and not graph[i].is_constant:
            (fixed if entry.range is None else learned).add(root(place))
    names = {place: str(n) for n, place in enumerate(sorted(learned - fixed))}
    return {place: names[root(place)] for place in places if root(place) in names}


def stored_as_integers(graph: Graph, plan: Plan) -> list[Weighted]:
    """The ops whose weight the plan stores as integers, without a bias where that is none."""
    found = []
    for op in graph.ops:
        one = weighted(graph, op)
        if one is not None and one.is_constant and isinstance(plan.at(one.weight.id, op.output), Affine):
            is_stored = one.bias is not None and isinstance(plan.at(one.bias.id, op.output), Affine)
            found.append(one if is_stored else replace(one, bias=None))
    return found


def narrowest(graph: Graph, plan: Plan) -> int:
    """The fewest bits of any weight that the plan stores as integers; 8 where it stores none."""
    return min((bits_of(plan.at(one.weight.id, one.op.output)) for one in stored_as_integers(graph, plan)), default=8)


def own_biases(graph: Graph, plan: Plan) -> list[tuple[Weighted, Tensor]]:
    """Those of :func:`stored_as_integers` with a bias that no other op reads, so that it may be corrected for this op alone.

    Beside real activations it is a real number.
    """
    readers, found = graph.consumers(), list[tuple[Weighted, Tensor]]()
    for one in stored_as_integers(graph, plan):
        own = weighted(graph, one.op)
        bias = one.bias if own is None or isinstance(plan.own(one.data.id), Affine) else own.bias
        if bias is not None and bias.is_constant and len(readers[bias.id]) == 1:
            found.append((one, bias))
    return found


def units(graph: Graph, plan: Plan) -> dict[int, np.ndarray]:
    """What each weight and bias counts in: powers of two, so that nothing is rounded, near the step size, or near the distance
    of the numbers that it may become.

    Worked: a weight of scale 0.0149 counts in 2**-6 = 0.0156; its op's bias, beside an output of scale 0.02, too.
    """
    found: dict[int, np.ndarray] = {}
    for one in stored_as_integers(graph, plan):
        weight, output = plan.at(one.weight.id, one.op.output), plan.own(one.op.output)
        if isinstance(weight, Affine):
            shape = [-1 if axis == weight.axis else 1 for axis in range(len(one.weight.shape))]
            steps = 1.0 if weight.codebook is None else distance(weight.codebook)
            unit = (_power_of_two(np.asarray(weight.scale)) * steps).reshape(shape)
            if weight.blocks is not None:
                unit = unit * _power_of_two(weight.blocks.steps(one.values.shape))
            found[one.weight.id] = unit
        if one.bias is not None and isinstance(output, Affine):
            found[one.bias.id] = _power_of_two(np.asarray(output.scale[0]))
    return found


def _power_of_two(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp2(np.round(np.log2(x))))


def sums(graph: Graph, plan: Plan) -> dict[Edge, tuple[int, int]]:
    """By the ids of an integer bias and its op's output: the activation and the weight in whose product's units it counts."""
    return {
        (one.bias.id, one.op.output): (one.data.id, one.weight.id)
        for one in stored_as_integers(graph, plan)
        if one.bias is not None and isinstance(plan.at(one.data.id, one.op.output), Affine)
    }


def grown(plan: Plan, slots: Mapping[Edge, str], growth: Mapping[str, np.ndarray]) -> Plan:
    """``plan`` with the step sizes of every slot ``exp(growth)`` times what they are, [c] or [1]; biases stay."""

    def regrown(entry: Entry, place: Edge) -> Entry:
        slot, fmt = slots.get(place), entry.format
        if slot is None or not isinstance(fmt, Affine) or not growth[slot].any():
            return entry
        made = replace(fmt, scale=tuple((np.asarray(fmt.scale, np.float64) * np.exp(growth[slot])).tolist()))
        seen = None if fmt.axis is not None or entry.range is None else made.range
        return Entry(made, entry.why if entry.why.startswith(_LEARNED) else f"{_LEARNED}, from {entry.why}", seen)

    def seen_outside(entry: Entry, i: int) -> Entry:
        """What the caller sees of a tensor follows the tensor's own scale."""
        was, now = plan.own(i), tensors[i].format if i in tensors else None
        if not isinstance(was, Affine) or not isinstance(now, Affine) or not isinstance(entry.format, Affine):
            return entry
        return replace(entry, format=replace(entry.format, scale=now.scale)) if entry.format.scale == was.scale else entry

    tensors = {i: regrown(entry, (i, i)) for i, entry in plan.tensors.items()}
    edges = {edge: regrown(entry, edge) for edge, entry in plan.edges.items()}
    return replace(plan, tensors=tensors, edges=edges, boundary={i: seen_outside(e, i) for i, e in plan.boundary.items()})


def distance(table: Codebook) -> float:
    """A power of two near the mean distance of a codebook's numbers, so that one learning rate suits each."""
    values = table.table()
    return float(_power_of_two(np.asarray(max(np.ptp(values, axis=1).mean() / values.shape[1], 1.0))))


def retabled(plan: Plan, slots: Mapping[Edge, str], tables: Mapping[str, np.ndarray]) -> Plan:
    """``plan`` with the codebooks of every slot as ``tables`` [t, k] say."""

    def changed(entry: Entry, place: Edge) -> Entry:
        table, fmt = tables.get(slots.get(place, "")), entry.format
        if table is None or not isinstance(fmt, Affine) or fmt.codebook is None:
            return entry
        values = tuple(tuple(float(x) for x in row) for row in table)
        return replace(entry, format=replace(fmt, codebook=replace(fmt.codebook, values=values)))

    return replace(
        plan,
        tensors={i: changed(entry, (i, i)) for i, entry in plan.tensors.items()},
        edges={edge: changed(entry, edge) for edge, entry in plan.edges.items()},
    )


def with_bias_formats(graph: Graph, plan: Plan) -> Plan:
    """Biases count in the learned scale of the input times that of the weight."""
    tensors, edges, settled = dict(plan.tensors), dict(plan.edges), set[int]()
    for (b, output), read in sums(graph, plan).items():
        activation, weight = (plan.at(i, output) for i in read)
        entry = plan.entry(b, output)
        if entry is None or not isinstance(activation, Affine) or not isinstance(weight, Affine):
            continue
        made = replace(entry, format=bias_format(activation, weight))
        if (b, output) not in edges and b not in settled:
            settled.add(b)
            tensors[b] = made
        elif (b, output) in edges or made.format != tensors[b].format:  # another reader's scales may have grown apart
            edges[b, output] = made
    return replace(plan, tensors=tensors, edges=edges)
