"""The arena of a Graph: which tensors are alive together, what they take at their peak, and where each can lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from intact.network.graph import Graph
from intact.network.shapes import infer
from intact.numbers.affine import PACKED

#: Bytes that LiteRT Micro aligns buffers to (micro/arena_allocator: MicroArenaBufferAlignment).
ALIGNMENT: Final = 16


@final
@dataclass(frozen=True)
class Buffer:
    """One activation: its bytes, and the first and last op (by position) during which it must exist."""

    tensor: int
    bytes: int
    first: int
    last: int


@final
@dataclass(frozen=True)
class ActivationMemory:
    """``live_bytes``: the most alive at once, during op ``at``; ``arena_bytes``: what a plan with fixed ``offsets`` takes."""

    live_bytes: int
    at: str
    arena_bytes: int
    offsets: Mapping[int, int]


def activation_memory(graph: Graph, batch: int = 1, alignment: int = ALIGNMENT) -> ActivationMemory:
    """What the activations of one invocation need: inputs and outputs count, constants do not.

    A tensor lives from the op that makes it to the last op that reads it; a graph input from the start, a graph output to the
    end. In-place ops are not taken into account: RESHAPE counts twice. Worked: two 3x3 convolutions of 32x32x16 int8 and the
    ADD of the first one's input: 3 * 16,384 bytes during the second convolution.
    """
    buffers = lifetimes(graph, batch)
    live = alive(graph, buffers)
    peak = int(live.argmax())
    offsets, arena = plan(buffers, alignment)
    at = graph.label(graph.ops[peak]) if graph.ops else ""
    return ActivationMemory(int(live[peak]), at, arena, offsets)


def alive(graph: Graph, buffers: tuple[Buffer, ...]) -> np.ndarray:
    """Bytes of ``buffers`` that exist during each op, int64 ``[ops]``; one entry for a graph without ops."""
    live = np.zeros(max(len(graph.ops), 1), np.int64)
    for b in buffers:
        live[b.first : b.last + 1] += b.bytes
    return live


def lifetimes(graph: Graph, batch: int = 1) -> tuple[Buffer, ...]:
    """The buffer of every tensor that is no constant, in order of its first op."""
    shapes = infer(graph, batch)
    end = max(len(graph.ops) - 1, 0)
    first = dict.fromkeys(graph.starts, 0)
    last = dict.fromkeys(graph.starts, 0)
    for n, op in enumerate(graph.ops):
        for i in op.outputs:
            first[i] = last[i] = n
        for i in op.reads:
            last[i] = n
    last |= dict.fromkeys(graph.ends, end)
    return tuple(
        Buffer(i, int(np.prod(shapes[i], dtype=np.int64)) * itemsize(graph[i].format.dtype), first[i], last[i])
        for i in first
        if not graph[i].is_constant
    )


def plan(buffers: tuple[Buffer, ...], alignment: int = ALIGNMENT) -> tuple[dict[int, int], int]:
    """Offsets by tensor and the arena's bytes: the largest buffer first, each at the lowest gap that is free while it lives.

    Source: Pisarchyk and Lee (2020), Efficient Memory Management for Deep Neural Net Inference, "greedy by size"; LiteRT's
    arena_planner.cc and LiteRT Micro's greedy_memory_planner.cc do the same.
    """
    order = sorted(buffers, key=lambda b: (-b.bytes, b.first, b.tensor))
    spans, offsets = (
        np.array([(b.first, b.last, b.bytes) for b in order], np.int64).reshape(-1, 3),
        np.zeros(len(order), np.int64),
    )
    for n, (first, last, size) in enumerate(spans):
        meeting = np.flatnonzero((spans[:n, 0] <= last) & (spans[:n, 1] >= first))
        meeting = meeting[np.argsort(offsets[meeting], kind="stable")]
        starts, ends = offsets[meeting], -(-(offsets[meeting] + spans[meeting, 2]) // alignment) * alignment
        free = np.append(0, np.maximum.accumulate(ends))  # where the gap before each begins, and what lies behind all
        fits = np.append(free[:-1] + size <= starts, [True])
        offsets[n] = free[int(fits.argmax())]
    return {b.tensor: int(o) for b, o in zip(order, offsets, strict=True)}, int((offsets + spans[:, 2]).max(initial=0))


def itemsize(dtype: str) -> int:
    """Bytes of one activation element; integers of fewer bits take a byte each."""
    return 1 if dtype in PACKED else np.dtype(dtype).itemsize
