"""A plan of the arena in a .tflite file, which TensorFlow Lite Micro takes instead of its own where it is given one.

The metadata entry holds int32 numbers: version 1, subgraph 0, the count of tensors, and for each its offset in the arena, or -1
where the runtime plans it. Source: tflite-micro, docs/offline_memory_plan.md and micro/micro_allocation_info.cc, by which the
count is that of all subgraphs, and every subgraph takes the same offsets from the first on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from intact.errors import UnsupportedError
from intact.formats.tflite.states import variable_tensors
from intact.formats.tflite.write import file_order, write
from intact.network.graph import ARENA_PLAN, Graph
from intact.network.placement import placement

#: Kinds whose kernels in TensorFlow Lite Micro do no harm where output and operand lie in one place: kernels/reshape.cc asks
#: for it, and kernels/expand_dims.cc copies element by element. SQUEEZE is not among them: a memcpy of overlapping memory.
STAYS: Final = frozenset({"RESHAPE", "EXPAND_DIMS"})
_VERSION: Final = 1
_ELSEWHERE: Final = -1
_LARGEST: Final = 2**31 - 1


def write_planned(graph: Graph, *, kernels: bool = True, named: bool = False, packed: bool = False) -> bytes:
    """The .tflite file of ``graph`` as :func:`~intact.formats.tflite.write.write` makes it, with a plan of the arena.

    The ops stay in their order; :func:`~intact.network.schedule.reordered` may have found a better one before. Buffers that a
    kernel asks for and weights that are decoded lie where the runtime finds room. UnsupportedError where states are kept in a
    subgraph of their own, or where the arena is larger than 2 GiB.
    """
    variable = variable_tensors(graph)
    if kept := [state.name for state in graph.states if state.read not in variable]:
        raise UnsupportedError(
            f"keeps {kept[0]!r} between calls by a second subgraph, to which TensorFlow Lite Micro would apply the plan of the "
            "arena too; write the network without one"
        )
    order = file_order(graph)
    elsewhere = variable | (graph.tensors.keys() - set(order))
    found = placement(graph, in_place=STAYS, elsewhere=elsewhere)
    if found.arena_bytes > _LARGEST:
        raise UnsupportedError(f"takes an arena of {found.arena_bytes:,} bytes, and the plan of one ends at {_LARGEST:,}")
    model = schema.Model.GetRootAs(write(graph, kernels=kernels, packed=packed))
    count = model.Subgraphs(0).TensorsLength()
    offsets = [found.offsets.get(i, _ELSEWHERE) for i in order]
    plan = np.asarray([_VERSION, 0, count, *offsets, *[_ELSEWHERE] * (count - len(order))], "<i4")
    others = [entry for entry in graph.metadata if entry[0] != ARENA_PLAN]
    planned = replace(graph, metadata=(*others, (ARENA_PLAN, plan.tobytes())))
    return write(planned, kernels=kernels, named=named, packed=packed)
