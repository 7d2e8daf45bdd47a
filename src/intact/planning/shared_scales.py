"""Which tensors must share one scale, and when a branch is requantized instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from intact.network.graph import Graph, Op
from intact.numbers.affine import Affine, affine_from_range
from intact.ops.base import Fixed, SameAsInput
from intact.planning.plan import Entry
from intact.planning.ranges import Range, hull

#: A branch joins a shared scale if it keeps at least this part of its own resolution; else it is requantized on the way.
_JOIN: Final = 0.75


class Groups:
    """Tensors that share one scale: a union-find whose roots carry the hull of the ranges, or a kernel's fixed format."""

    def __init__(self) -> None:
        self._parent: dict[int, int] = {}
        self._hull: dict[int, Range] = {}
        self._fixed: dict[int, tuple[Fixed, str]] = {}
        self._why: dict[int, str] = {}

    def __contains__(self, tensor: int) -> bool:
        return tensor in self._parent

    def add(self, tensor: int, seen: Range, fixed: tuple[Fixed, str] | None = None) -> None:
        """A tensor of its own, with its range or the format that its kernel fixes."""
        self._parent[tensor] = tensor
        self._hull[tensor] = seen
        if fixed is not None:
            self._fixed[tensor] = fixed

    def __iter__(self) -> Iterator[int]:
        return iter(tuple(self._parent))

    def root(self, tensor: int) -> int:
        while self._parent[tensor] != tensor:
            tensor = self._parent[tensor]
        return tensor

    def range(self, tensor: int) -> Range:
        return self._hull[self.root(tensor)]

    def widen(self, tensor: int, seen: Range) -> None:
        root = self.root(tensor)
        self._hull[root] = hull(self._hull[root], seen)

    def is_fixed(self, tensor: int) -> bool:
        return self.root(tensor) in self._fixed

    def members(self, tensor: int) -> list[int]:
        root = self.root(tensor)
        return [i for i in self._parent if self.root(i) == root]

    def join(self, tensor: int, other: int, why: str) -> None:
        """``tensor`` and ``other`` share a scale that covers both ranges; at most one of them is fixed."""
        mine, theirs = self.root(tensor), self.root(other)
        self._why[tensor] = why
        if mine != theirs:
            self._hull[theirs] = hull(self._hull[mine], self._hull[theirs])
            self._parent[mine] = theirs
            if mine in self._fixed:
                self._fixed[theirs] = self._fixed[mine]

    def entries(self, dtype: str, ranges_from: str) -> dict[int, Entry]:
        """The format of every tensor in a group."""
        entries = {}
        for i in self._parent:
            root = self.root(i)
            if root in self._fixed:
                rule, label = self._fixed[root]
                scale, zero_point = rule.by_dtype[dtype]
                entries[i] = Entry(Affine((scale,), (zero_point,), dtype), f"fixed by the kernel of {label}")
            else:
                seen = self._hull[root]
                entries[i] = Entry(affine_from_range(*seen, dtype), self._why.get(i, ranges_from), seen)
        return entries


def share_scales(graph: Graph, ranges: Mapping[int, Range], integer_ops: set[int], dtype: str, exact: frozenset[int]) -> Groups:
    """The groups of every activation that an integer op makes, and of every graph input that one reads.

    ``ranges`` covers all float tensors, constants too; ``integer_ops`` are first outputs; ``dtype`` stores activations. Those
    that are ``exact`` stay real.
    """
    groups = Groups()
    consumers = graph.consumers()
    for i in graph.starts:
        if graph[i].is_float and i not in exact and any(op.output in integer_ops for op in consumers[i]):
            groups.add(i, ranges[i])
    for op in graph.ops:
        if op.output not in integer_ops:
            continue
        outputs = [i for i in op.outputs if graph[i].is_float]
        rule = op.kind.range_rule
        for i in outputs:
            groups.add(i, ranges[i], (rule, graph.label(op)) if isinstance(rule, Fixed) else None)
        if not isinstance(rule, SameAsInput) or not outputs:
            continue
        for i in outputs[1:]:
            groups.join(i, outputs[0], f"shares {op.kind.name}'s scale")
        reads = [i for i in dict.fromkeys(op.reads) if graph[i].is_float]
        for i in reads:
            groups.widen(outputs[0], ranges[i])
        why = f"{op.kind.name} only moves numbers: one scale for {graph[outputs[0]].origin!r} and its inputs"
        for i in reads:
            if i not in groups:
                continue
            if len(reads) == 1:
                groups.join(outputs[0], i, why)
            elif not groups.is_fixed(i) and _may_widen(groups, i, op, consumers, dtype):
                groups.join(i, outputs[0], why)
    _join_states(groups, graph)
    return groups


def _join_states(groups: Groups, graph: Graph) -> None:
    """What a state keeps is stored as it is read."""
    for state in graph.states:
        if state.read in groups and state.write in groups and not groups.is_fixed(state.read):
            groups.join(state.read, state.write, f"is what {graph[state.write].origin!r} was in the call before")


def _may_widen(groups: Groups, tensor: int, op: Op, consumers: Mapping[int, list[Op]], dtype: str) -> bool:
    """True when taking the shared scale keeps ``tensor``'s resolution, or when only ``op`` would notice."""
    members = groups.members(tensor)
    private = all(
        reader is op or any(out in members for out in reader.outputs) for member in members for reader in consumers[member]
    )
    own, shared = groups.range(tensor), hull(groups.range(tensor), groups.range(op.output))
    return private or affine_from_range(*own, dtype).scale[0] >= _JOIN * affine_from_range(*shared, dtype).scale[0]
