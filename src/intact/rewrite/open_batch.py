"""Opens the batch of a graph whose ops spell out that it is 1: each is spelled for any batch, if that is enough."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, TypeAlias, final

import numpy as np

from intact.network.graph import Graph, Op, Tensor, constant, rebuild
from intact.network.shapes import open_batch
from intact.ops.base import OpKind
from intact.ops.shaping import Reshape, Slice, StridedSlice
from intact.rewrite.view import View

#: Axis 0, as the masks of a STRIDED_SLICE name it.
_BATCH: Final = 1


@final
@dataclass(frozen=True, eq=False)
class Freed:
    """How an op is spelled for any batch: its kind, and the constants that take the place of all inputs but the first."""

    kind: OpKind
    constants: tuple[np.ndarray, ...]


#: The op for any batch, or None where it need not or cannot be freed.
Free: TypeAlias = Callable[[View, Op], Freed | None]


def free_batch(graph: Graph) -> Graph:
    """``graph`` with its batch open, if respelling every op of ``FREE`` opens it; else as it is."""
    if graph.takes_batches:
        return graph
    view, ops, tensors = View(graph), list[Op](), list[Tensor]()
    for op in graph.ops:
        free = FREE.get(type(op.kind))
        freed = None if free is None else free(view, op)
        if freed is None:
            ops.append(op)
            continue
        reads = list(op.inputs[:1])
        for data in freed.constants:
            tensors.append(constant(graph.next_id + len(tensors), data, like=graph[op.output], name="", made_by="free_batch"))
            reads.append(tensors[-1].id)
        ops.append(replace(op, kind=freed.kind, inputs=tuple(reads)))
    opened = open_batch(rebuild(graph, ops, tensors))
    return opened if opened.takes_batches else graph


def _reshape(view: View, op: Op) -> Freed | None:
    """RESHAPE to [1, k] is RESHAPE to [-1, k], wherever it keeps its shape."""
    shape = view.shape(op.output)
    if op.inputs[1:] and op.inputs[1] is not None:
        wanted = view.data(op.inputs[1])
        if wanted is None or not wanted.size or wanted[0] != 1:
            return None
        return Freed(op.kind, (np.asarray((-1, *shape[1:]), wanted.dtype),))
    return (
        Freed(Reshape((-1, *shape[1:])), ()) if isinstance(op.kind, Reshape) and (op.kind.new_shape or (0,))[0] == 1 else None
    )


def _slice(view: View, op: Op) -> Freed | None:
    """SLICE of 1 from 0 on axis 0 is a STRIDED_SLICE that leaves axis 0 alone; XNNPACK has none of size -1."""
    begin, size = view.data(op.inputs[1]), view.data(op.inputs[2])
    if begin is None or size is None or view.shape(op.inputs[0])[:1] != (1,) or (begin[0], size[0]) != (0, 1):
        return None
    end = begin + np.asarray(view.shape(op.output), begin.dtype)
    return Freed(StridedSlice(begin_mask=_BATCH, end_mask=_BATCH), (begin, end, np.ones_like(begin)))


def _strided_slice(view: View, op: Op) -> Freed | None:
    """x[0:1, ...] of a tensor with one sample is x[:, ...]."""
    begin, end, strides = (view.data(i) for i in op.inputs[1:4])
    if not isinstance(op.kind, StridedSlice) or begin is None or end is None or strides is None:
        return None
    named = op.kind.shrink_axis_mask | op.kind.ellipsis_mask | op.kind.new_axis_mask
    if named & _BATCH or view.shape(op.inputs[0])[:1] != (1,) or view.shape(op.output)[:1] != (1,) or strides[0] != 1:
        return None
    masks = op.kind.begin_mask | _BATCH, op.kind.end_mask | _BATCH
    return Freed(replace(op.kind, begin_mask=masks[0], end_mask=masks[1]), (begin, end, strides))


#: By op kind, what opens it. An op that is in no row keeps its spelling, whatever the batch.
FREE: Final[Mapping[type[OpKind], Free]] = MappingProxyType({Reshape: _reshape, Slice: _slice, StridedSlice: _strided_slice})
