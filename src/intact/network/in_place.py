"""Ops that write over what they read: which tensors of a Graph can share a buffer.

That a kind allows it is a fact of the kind (:attr:`~intact.ops.base.OpKind.in_place`). Whether an operand's bytes may go is a
question of the graph, which is answered here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final, final

from intact.network.arena import Buffer, lifetimes
from intact.network.graph import Graph, Op
from intact.network.shapes import infer
from intact.ops import KINDS

#: The kinds that allow it.
IN_PLACE: Final = frozenset(name for name, kind in KINDS.items() if kind.in_place is not None)


@final
@dataclass(frozen=True)
class Shared:
    """``buffers``, each called after the first tensor that lies in it; ``of``: that tensor's id by the id of each."""

    buffers: tuple[Buffer, ...]
    of: Mapping[int, int]


def shared(
    graph: Graph,
    *,
    kinds: Collection[str] = IN_PLACE,
    overwrite_inputs: bool = False,
    elsewhere: Collection[int] = (),
) -> Shared:
    """The buffers of all tensors that are no constants nor ``elsewhere``, where ops of ``kinds`` write over an operand.

    A buffer lives as long as any of its tensors. An output that renames an operand shares its buffer whoever else reads that.
    Any other op takes the buffer of an operand of its output's shape and bytes, if it is the last to read anything there: never
    that of a graph output or of what a state holds, nor, unless ``overwrite_inputs``, that of a graph input, which the caller
    may feed again. Worked: CONV, RELU, RESHAPE of 100 bytes each are one buffer, from the CONV on.
    """
    shapes = infer(graph)
    buffers = {b.tensor: b for b in lifetimes(graph) if b.tensor not in elsewhere}
    of = {i: i for i in buffers}
    held = {state.read for state in graph.states}
    ends = set(graph.ends)
    kept = ends | held | (set() if overwrite_inputs else set(graph.inputs))

    def taken(n: int, op: Op) -> int | None:
        """The buffer that op ``n`` writes its output to, of those that it reads."""
        how, made = op.kind.in_place, buffers.get(op.output)
        if op.kind.name not in kinds or how is None or made is None or len(op.outputs) > 1:
            return None
        alike = {i: buffers[of[i]] for i in op.reads if i in of and buffers[of[i]].bytes == made.bytes}
        if how == "renames":
            first = alike.get(op.reads[0])
            return None if first is None or (first.tensor in held and op.output in ends) else first.tensor
        free = (i for i, b in alike.items() if b.last == n and b.tensor not in kept and shapes[i] == shapes[op.output])
        return next((of[i] for i in free), None)

    for n, op in enumerate(graph.ops):
        home = taken(n, op)
        if home is not None:
            made = buffers.pop(op.output)
            buffers[home] = replace(buffers[home], last=max(buffers[home].last, made.last))
            of[op.output] = home
            kept |= {home} if op.output in ends else set()
    return Shared(tuple(buffers.values()), of)
