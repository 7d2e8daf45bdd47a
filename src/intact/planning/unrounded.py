"""Sums that are read as real numbers, without the rounding that LiteRT's kernels put between."""

from __future__ import annotations

from dataclasses import replace

from intact.network.graph import Graph, Op, rebuild
from intact.network.weighted import weighted


def unrounded(graph: Graph) -> tuple[Graph, int]:
    """``graph`` where ops with a weight whose integers one DEQUANTIZE alone reads make its real numbers; and how many do.

    int8 in, int8 weights, sums in int32, real numbers out: what PyTorch's kernels can do and LiteRT's cannot.
    """
    readers, skipped, ops = graph.consumers(), dict[int, int](), list[Op]()
    for op in graph.ops:
        after = readers[op.output]
        alone = len(after) == 1 and after[0].kind.converts and graph[after[0].output].is_float
        if alone and op.output not in graph.ends and weighted(graph, op) is not None and len(op.outputs) == 1:
            skipped[op.output] = after[0].output
    made = set(skipped.values())
    for op in graph.ops:
        if op.output in made:
            continue
        ops.append(replace(op, outputs=(skipped[op.output],)) if op.output in skipped else op)
    return rebuild(graph, ops), len(skipped)
