"""Which tensors of a network exist during each op, and at which op they are most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from intact.deploy.c.table import unread
from intact.network.arena import alive, lifetimes
from intact.network.graph import Graph
from intact.network.in_place import IN_PLACE, shared


@final
@dataclass(frozen=True)
class Held:
    """A tensor that exists during an op: ``origin`` is the op that made it, or says that it is given."""

    name: str
    bytes: int
    origin: str


@final
@dataclass(frozen=True)
class Timeline:
    """``live``: bytes that exist during each op, in order; ``at``: the op where they are most, of several the first.

    ``held``: what exists then, the largest first; a tensor that is written over another counts once, as the one it replaces.
    """

    ops: tuple[str, ...]
    live: tuple[int, ...]
    at: int
    held: tuple[Held, ...]


def timeline(graph: Graph) -> Timeline:
    """What one call with one sample holds where every op is computed at once, written over an operand where that can be.

    Worked: a RELU of 100 bytes is written over what it reads, and 100 bytes exist during it.
    """
    joined = shared(graph, kinds=IN_PLACE, overwrite_inputs=True, elsewhere=unread(graph))
    live = alive(graph, joined.buffers)
    at = int(live.argmax())
    makers = graph.producers()
    origins = {i: graph.label(op) for i, op in makers.items()}
    origins |= dict.fromkeys((state.read for state in graph.states), "kept from call to call")
    origins |= dict.fromkeys(graph.inputs, "input")
    own = {b.tensor: b for b in lifetimes(graph)}
    held = list[Held]()
    for b in sorted((b for b in joined.buffers if b.first <= at <= b.last and b.bytes > 0), key=lambda b: -b.bytes):
        inside = (i for i, home in joined.of.items() if home == b.tensor and own[i].first <= at <= own[i].last)
        i = next(inside, b.tensor)
        held.append(Held(graph[i].name, b.bytes, origins[i]))
    return Timeline(tuple(graph.label(op) for op in graph.ops), tuple(live.tolist()), at, tuple(held))
