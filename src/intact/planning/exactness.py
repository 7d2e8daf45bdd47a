"""Which real numbers may not be rounded, because whole numbers are read from them: ids, codes, positions, marks."""

from __future__ import annotations

from intact.network.graph import Graph, Op


def exact(graph: Graph) -> frozenset[int]:
    """The float activations that must stay as they are, by tensor id.

    Where an op tells numbers apart (CAST to whole ones, a comparison), those of its ancestors that stem from the graph's inputs
    alone, through ops that multiply nothing with weights: an id of 417 in [0, 50000] is no number near 417. Where what it tells
    apart is an index, all ancestors back to the ops with weights. A comparison of what a convolution made is none of these:
    such a choice may as well be made among rounded numbers, as ARG_MAX does.
    """
    raw, indices, makers = _raw(graph), _indices(graph), graph.producers()
    found = set[int]()
    for op in graph.ops:
        if not op.kind.discerns or any(graph[i].is_float for i in op.outputs):
            continue
        anything = bool(indices.intersection(op.outputs))
        todo = [i for i in op.reads if _flows(graph, i)]
        while todo:
            i = todo.pop()
            maker = makers.get(i)
            if i in found or not (i in raw or (anything and maker is not None and not _weighs(graph, maker))):
                continue
            found.add(i)
            todo += [] if maker is None else [j for j in maker.reads if _flows(graph, j)]
    return frozenset(found)


def _flows(graph: Graph, i: int) -> bool:
    return graph[i].is_float and not graph[i].is_constant


def _weighs(graph: Graph, op: Op) -> bool:
    """Whether the op multiplies and adds, so that what it makes is no id however exact its inputs are."""
    shapes = [() if i is None else tuple(n or 1 for n in graph[i].shape) for i in op.inputs]
    return op.kind.weight is not None or op.kind.macs(shapes, tuple(n or 1 for n in graph[op.output].shape)) > 0


def _raw(graph: Graph) -> set[int]:
    """The float activations that stem from the graph's inputs without a weighted op between."""
    raw = {i for i in graph.inputs if graph[i].is_float}
    for op in graph.ops:
        flows = [i for i in op.reads if _flows(graph, i)]
        if flows and raw.issuperset(flows) and not _weighs(graph, op):
            raw.update(i for i in op.outputs if graph[i].is_float)
    return raw


def _indices(graph: Graph) -> set[int]:
    """The activations of whole numbers by which an op picks or places real ones, and those that they are computed from."""
    found = set[int]()
    for op in reversed(graph.ops):
        picks = any(graph[i].is_float for i in op.reads) and any(graph[i].is_float for i in op.outputs)
        if picks or found.intersection(op.outputs):
            found.update(i for i in op.reads if graph[i].format.dtype.startswith("int") and not graph[i].is_constant)
    return found
