"""Which channels of a network may take on a scale of their own, which weights give it to them and which take it back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Final, final

import numpy as np
import torch
from torch import Tensor as Marks

from intact.errors import IntactError
from intact.network.graph import Graph, Op, Tensor
from intact.network.shapes import concrete
from intact.network.weighted import Weighted, columns, weight_of, weighted
from intact.numbers.affine import Affine, Index, dequantize_array
from intact.ops.base import OpKind
from intact.ops.scales import ANY, ONE, Passed, constant_marks

_FIRST: Final = 2
_BEYOND: Final = 2.0**40


@final
@dataclass(frozen=True, eq=False)
class Channels:
    """A scale per mark, from 2 on; mark 1 is no scale. ``graph`` is what they are marks of.

    ``made``: by first output of the ops whose weights can divide their output channels by a scale, the marks of these, [c_out].
    ``taken``: by first output of the ops that read such channels and can multiply their weights by it, the marks of what they
    read, [c_in]. Every tensor in between is divided by the scales of its elements' marks, and the output stays as it is.
    """

    graph: Graph
    made: Mapping[int, np.ndarray]
    taken: Mapping[int, np.ndarray]
    count: int

    def only(self, keep: np.ndarray) -> Channels:
        """Those whose mark ``keep`` [count] has; the others take no scale."""
        names = np.where(keep, np.arange(self.count), int(ONE))
        return _alive(self.graph, self.made, self.taken, names)

    def ops(self) -> tuple[Op, ...]:
        """The ops that give or take scales."""
        return tuple(op for op in self.graph.ops if op.output in self.made or op.output in self.taken)

    def entering(self, op: Op) -> np.ndarray | None:
        """The mark that meets each element of the op's weight: broadcasts against it; None where none does."""
        marks = self.taken.get(op.output)
        return None if marks is None else marks[columns(op, len(marks), weight_of(self.graph, op).shape)]

    def leaving(self, op: Op) -> np.ndarray | None:
        """The mark of the output channel of each element of the op's weight, likewise."""
        marks, found = self.made.get(op.output), weighted(self.graph, op)
        if marks is None or found is None:
            return None
        return found.along(marks)

    def scaled_weight(self, op: Op, factors: np.ndarray) -> np.ndarray:
        """The op's weight in double precision under ``factors`` [count]."""
        entering, leaving = self.entering(op), self.leaving(op)
        w = weight_of(self.graph, op).astype(np.float64)
        w = w if entering is None else w * factors[entering]
        return w if leaving is None else w / factors[leaving]


def rescaled(channels: Channels, graph: Graph, factors: np.ndarray) -> Graph:
    """``graph`` (which has the ops of ``channels.graph``) with every mark's channels divided by its factor, and every weight
    that reads them multiplied by it. A RELU6 that makes such channels becomes a RELU: it must not have clipped.
    """
    held = replace(channels, graph=graph)
    tensors: dict[int, Tensor] = dict(graph.tensors)
    unclamped = dict[int, OpKind]()
    for op in held.ops():
        found = weighted(graph, op)
        if found is None:
            raise TypeError(f"{graph.label(op)} has no weight")
        w, b, marks = found.weight, found.bias, channels.made.get(op.output)
        tensors[w.id] = replace(w, data=np.ascontiguousarray(held.scaled_weight(op, factors), np.float32))
        if b is not None and marks is not None and np.any(b.data):
            bias = np.asarray(b.data, np.float64) / factors[marks].reshape(concrete(b))
            tensors[b.id] = replace(b, data=bias.astype(np.float32))
        if marks is not None and found.kind.activation == "relu6":
            unclamped[op.output] = found.kind.activated("relu")
    ops = tuple(replace(op, kind=unclamped[op.output]) if op.output in unclamped else op for op in graph.ops)
    return replace(graph, tensors=tensors, ops=ops)


def free_channels(graph: Graph) -> Channels:
    """Every output channel of a weight whose scale reaches nothing but weights, through ops that pass it on."""
    walk = _Walk(graph)
    for op in graph.ops:
        walk.step(op)
    for i in graph.ends:
        walk.pin(walk.marks[i])
    names = np.arange(walk.next)
    names[sorted(walk.pinned)] = int(ONE)
    return _alive(graph, walk.made, walk.taken, names)


def passed(graph: Graph, op: Op, marks: Mapping[int, Marks | None]) -> Passed:
    """The marks of what an op without weights makes of inputs with ``marks``, by tensor; None where no scale passes."""
    try:
        made = op.kind.passes(*(None if i is None else _given(graph[i], marks.get(i)) for i in op.inputs))
        if made is None or len(made) != len(op.outputs):
            return None
        return tuple(y.broadcast_to(concrete(graph[i])) for i, y in zip(op.outputs, made, strict=True))
    except (IntactError, RuntimeError, ValueError, IndexError, TypeError):
        return None  # an index that is computed at run time


def _given(t: Tensor, marks: Marks | None) -> Marks | None:
    """What an op is told of one input: marks of real numbers, the values of constants that mean themselves."""
    if marks is not None:
        return marks
    if t.data is not None:
        real = dequantize_array(t.data, t.format) if isinstance(t.format, Affine) else np.array(t.data)
        return torch.from_numpy(real) if isinstance(t.format, Index) else constant_marks(torch.from_numpy(real))
    return None if isinstance(t.format, Index) else torch.full(concrete(t), ONE, dtype=torch.float64)


def _alive(graph: Graph, made: Mapping[int, np.ndarray], taken: Mapping[int, np.ndarray], names: np.ndarray) -> Channels:
    """The channels under other names, mark 1 for those that take no scale, without ops that are left with no other."""
    kept = [{i: names[marks] for i, marks in places.items() if (names[marks] > ONE).any()} for places in (made, taken)]
    return Channels(graph, kept[0], kept[1], len(names))


class _Walk:
    """The ops in order: what each tensor's elements are marked with, and the marks that met something that takes no scale."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.next = graph, _FIRST
        self.readers = graph.consumers()
        self.pinned = {int(ANY)}
        self.made: dict[int, np.ndarray] = {}
        self.taken: dict[int, np.ndarray] = {}
        self.marks: dict[int, Marks | None] = dict.fromkeys(graph.tensors)
        last = {i: n for n, op in enumerate(graph.ops) for i in op.reads}
        self.dead_after = {n: [i for i in last if last[i] == n and i not in graph.ends] for n in set(last.values())}
        self.at = 0

    def pin(self, marks: Marks | None) -> None:
        """Whatever carries these marks stays as it is."""
        if marks is not None:
            self.pinned.update(np.unique(_once(marks).numpy()).astype(np.int64).tolist())

    def step(self, op: Op) -> None:
        """Note what an op does to the marks of its inputs: without an entry, a tensor carries none."""
        scaled = [i for i in op.reads if self.marks[i] is not None]
        found = weighted(self.graph, op)
        if found is not None:
            self._take(found, scaled)
            self._make(found)
        elif scaled:
            outputs = passed(self.graph, op, self.marks)
            if outputs is None:
                for i in scaled:
                    self.pin(self.marks[i])
            else:
                self.marks |= dict(zip(op.outputs, outputs, strict=True))
        for i in self.dead_after.get(self.at, ()):
            self.marks[i] = None
        self.at += 1

    def _take(self, found: Weighted, scaled: Iterable[int]) -> None:
        for i in scaled:
            if i != found.data.id or found.op.inputs.count(i) > 1:
                self.pin(self.marks[i])
                return
        marks, count = self.marks[found.data.id], found.count
        if marks is None:
            return
        if not self._owns_constants(found):
            self.pin(marks)
            return
        rows = (_once(marks) if marks.shape[-1] == count else marks).reshape(-1, count)
        high, low = rows.amax(0), torch.where(rows == ANY, _BEYOND, rows).amin(0)
        mixed = (high != low) & (high != ANY)
        self.pin(rows[:, mixed])
        self.taken[found.op.output] = torch.where(mixed | (high == ANY), ONE, high).numpy().astype(np.int64)

    def _make(self, found: Weighted) -> None:
        kind, op = found.kind, found.op
        if not self._owns_constants(found) or not (kind.is_homogeneous or kind.activation == "relu6"):
            return
        shape = concrete(self.graph[op.output])
        fresh = np.arange(self.next, self.next + shape[-1])
        self.next += shape[-1]
        self.made[op.output] = fresh
        self.marks[op.output] = torch.from_numpy(fresh).to(torch.float64).broadcast_to(shape)

    def _owns_constants(self, found: Weighted) -> bool:
        """Weight and bias are constants of this op alone; a bias of zeros, which no scale changes, may have more readers."""
        for t in (found.weight, found.bias):
            if t is None:
                continue
            alone = len(self.readers[t.id]) == 1 and found.op.inputs.count(t.id) == 1 and t.id not in self.graph.ends
            if t.data is None or not (alone or (t is found.bias and not np.any(t.data))):
                return False
        return prod(concrete(found.weight)) > 0


def _once(marks: Marks) -> Marks:
    """The marks without the axes along which they only repeat one memory: of a large image, one pixel."""
    for axis in range(marks.dim() - 1):
        if marks.stride(axis) == 0:
            marks = marks.narrow(axis, 0, 1)
    return marks
