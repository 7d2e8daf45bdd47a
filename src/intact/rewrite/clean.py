"""Takes out of a float graph what converters leave behind: one engine applies the rows of ``REWRITES`` until none applies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, final

import numpy as np

from intact.network.graph import Graph, Op, Tensor, constant, rebuild
from intact.network.shapes import infer_values
from intact.network.verify import verify
from intact.numbers.affine import Index
from intact.ops.base import OpKind
from intact.ops.convolution import TransposeConv
from intact.ops.shaping import Reshape
from intact.rewrite.open_batch import free_batch
from intact.rewrite.table import REWRITES
from intact.rewrite.view import View


@final
@dataclass(frozen=True)
class Applied:
    """One rewrite that was made: its name and the op it started from."""

    rewrite: str
    op: str


def clean(graph: Graph) -> Graph:
    """``graph`` without what converters leave behind; verified, idempotent, with the batch open wherever it can be."""
    return clean_with_log(graph)[0]


def clean_with_log(graph: Graph) -> tuple[Graph, tuple[Applied, ...]]:
    """:func:`clean`, and what it did in order."""
    graph, log = free_batch(verify(_constant_shapes(graph))), list[Applied]()
    while True:
        at = 0
        while (step := _next(graph, at)) is not None:
            graph, applied, at = step
            log.append(applied)
        freed = free_batch(graph)  # what stood in its way may be gone
        if freed is graph:
            return verify(graph), tuple(log)
        graph = freed


#: How many ops before the last rewrite the search for the next begins: what it made may meet what stands there.
_BACK: Final = 16


def _next(graph: Graph, at: int) -> tuple[Graph, Applied, int] | None:
    """The first rewrite that applies, from a little before op ``at`` on and round to it again, and where it was.

    Not from the first op each time: an unrolled loop has thousands, and a rewrite in each step.
    """
    view, count = View(graph), len(graph.ops)
    start = max(0, min(at, count) - _BACK)
    for n in (*range(start, count), *range(start)):
        for name, rewrite in REWRITES.items():
            changed = rewrite(view, graph.ops[n])
            if changed is not None:
                return changed, Applied(name, graph.label(graph.ops[n])), n
    return None


# ---- whole-graph passes -------------------------------------------------------------------------------------------------


#: The input that holds the output's shape: where it follows the batch, it need not be computed.
_SHAPE_AT: Final[Mapping[type[OpKind], int]] = {Reshape: 1, TransposeConv: 0}


def _constant_shapes(graph: Graph) -> Graph:
    """SHAPE/STRIDED_SLICE/PACK chains give way to constants: -1 where a RESHAPE's size follows the batch.

    The chains are computed for batches of 1 and 3; what does not change is constant. TRANSPOSE_CONV's output shape says
    batch 1, as devices run it: the simulator takes the batch from the input, and the runtime is asked one by one.
    """
    if not any(_computed_indices(graph, op) for op in graph.ops):
        return graph
    batches = (1, 3) if any(None in t.shape for t in graph.tensors.values()) else (1, 1)
    one, three = (infer_values(graph, n) for n in batches)
    known: list[Tensor] = []
    ops: list[Op] = []
    next_id = graph.next_id
    for op in graph.ops:
        reads = list(op.inputs)
        for position, i in enumerate(op.inputs):
            if i is None or graph[i].is_constant or one[i].is_meta or one[i].is_floating_point():
                continue
            a, b = one[i].numpy(), three[i].numpy()
            moving = np.flatnonzero(a.reshape(-1) != b.reshape(-1))
            is_shape = _SHAPE_AT.get(type(op.kind)) == position
            if len(moving) > is_shape:
                continue
            values = a.astype(graph[i].format.dtype)
            if len(moving) and isinstance(op.kind, Reshape):
                sizes = values.reshape(-1)
                sizes[:] = one[op.output].shape  # without a -1 of its own: there may be one at most
                sizes[moving] = -1
            known.append(constant(next_id, values, like=graph[i], name=f"shape{next_id}", made_by="constant_shapes"))
            reads[position], next_id = next_id, next_id + 1
        ops.append(replace(op, inputs=tuple(reads)))
    return _without_dead(rebuild(graph, ops, known)) if known else graph


def _computed_indices(graph: Graph, op: Op) -> bool:
    """Whether the op reads integers that other ops compute."""
    return any(isinstance(graph[i].format, Index) and not graph[i].is_constant and i not in graph.starts for i in op.reads)


def _without_dead(graph: Graph) -> Graph:
    needed, ops = set(graph.ends), list[Op]()
    for op in reversed(graph.ops):
        if needed.intersection(op.outputs):
            ops.append(op)
            needed.update(op.reads)
    return rebuild(graph, reversed(ops))
