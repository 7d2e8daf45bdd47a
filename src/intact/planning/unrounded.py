"""Sums that are read as real numbers, without the rounding that LiteRT's kernels put between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from intact.network.graph import Graph, Op, rebuild
from intact.network.weighted import weighted


def unrounded(graph: Graph) -> tuple[Graph, int]:
    """``graph`` where ops with a weight whose integers one DEQUANTIZE alone reads make its real numbers; and how many do.

    int8 in, int8 weights, sums in int32, real numbers out: what PyTorch's kernels can do and LiteRT's cannot. Sums that have an
    activation and are added to something stay rounded: torch 2.13 would fuse both, which its kernels cannot
    (``torch/_inductor/fx_passes/quantization.py``, an assertion in ``qconv``).
    """
    readers, fused = graph.consumers(), dict[int, int]()
    for op in graph.ops:
        after = readers[op.output]
        alone = len(after) == 1 and after[0].kind.converts and graph[after[0].output].is_float
        if alone and op.output not in graph.ends and weighted(graph, op) is not None and not _is_added(op, after[0], readers):
            fused[op.output] = after[0].output
    made = set(fused.values())
    ops = [replace(op, outputs=(fused[op.output],)) if op.output in fused else op for op in graph.ops if op.output not in made]
    return rebuild(graph, ops), len(fused)


def _is_added(op: Op, real: Op, readers: Mapping[int, Sequence[Op]]) -> bool:
    """Whether what ``op`` makes, in real numbers by ``real``, is summed with something else after an activation."""
    after, activated = readers[real.output], op.kind.unfused()[1] != "none"
    if len(after) == 1 and len(after[0].reads) == 1:
        after, activated = readers[after[0].output], True
    return activated and len(after) == 1 and after[0].kind.combines == "sum"
