"""The order in which a Graph's ops run: one of those that their data allow, chosen for the memory that it takes.

The bytes that are alive after some ops have run follow from which these are, not from their order. So dynamic programming
over sets of ops, one op more at a time, finds the order with the least peak.
Sources: Liberis and Lane (2019), Neural networks on microcontrollers: saving memory at inference via operator reordering; Ahn
et al. (2020), Ordering Chaos: Memory-Aware Scheduling of Irregularly Wired Neural Networks for Edge Devices.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, final

from intact.network.arena import ALIGNMENT, lifetimes
from intact.network.graph import Graph

#: Sets of ops that are gone on from, over all numbers of ops: about a second of them.
_SETS: Final = 30_000
#: Sets that are kept of one number of ops, however many ops there are.
_LEAST: Final = 32


def reordered(graph: Graph, alignment: int = ALIGNMENT) -> Graph:
    """``graph`` with its ops in an order whose peak of live bytes is lower, or as it is where none was found.

    Buffers count as rounded up to ``alignment``, as in :func:`~intact.network.placement.place`. The peak is the least of all
    orders where every set of ops was kept, as in networks of few branches; in others those with the lowest peaks so far are.
    Ops that do not always give the same keep their order among themselves, and a graph with states stays as it is: kernels may
    overwrite what a state is read from.
    """
    if graph.states or not graph.ops:
        return graph
    needs = _needs(graph, alignment)
    written = needs.peak(range(len(graph.ops)))
    found = _search(needs, written) if written > needs.floor else None
    return graph if found is None else replace(graph, ops=tuple(graph.ops[n] for n in found))


class _Way(NamedTuple):
    """How the ops of the set ``done`` were reached: with what peak, what is alive then, which can be next, and from where."""

    peak: int
    live: int
    done: int
    ready: int
    last: int
    before: _Way | None

    def ops(self) -> list[int]:
        found, way = list[int](), self
        while way.before is not None:
            found.append(way.last)
            way = way.before
        return found[::-1]


@final
@dataclass(frozen=True)
class _Needs:
    """What each op needs, by position; sets of ops are numbers with a bit for each.

    ``before`` and ``after``: the ops that it waits for, as a set, and that wait for it. ``makes``: the bytes of its outputs.
    ``frees``: bytes that go when this op and all of a set have run. ``given`` is alive before the first op, and ``unread``
    while that runs. ``floor``: a peak that no order is below.
    """

    before: tuple[int, ...]
    after: tuple[tuple[int, ...], ...]
    makes: tuple[int, ...]
    frees: tuple[tuple[tuple[int, int], ...], ...]
    given: int
    unread: int
    floor: int

    def peak(self, order: Iterable[int]) -> int:
        """The peak of live bytes of an order."""
        way = self.start()
        for n in order:
            way = self.step(way, n)
        return way.peak

    def start(self) -> _Way:
        ready = sum(1 << n for n, before in enumerate(self.before) if not before)
        return _Way(self.given + self.unread, self.given, 0, ready, -1, None)

    def step(self, way: _Way, n: int) -> _Way:
        """``way``, and then op ``n``."""
        during = way.live + self.makes[n] + (0 if way.done else self.unread)
        done = way.done | 1 << n
        gone = sum(size for size, readers in self.frees[n] if not readers & ~done)
        ready = way.ready & ~(1 << n)
        for m in self.after[n]:
            if not self.before[m] & ~done:
                ready |= 1 << m
        return _Way(max(way.peak, during), way.live + self.makes[n] - gone, done, ready, n, way)


def _needs(graph: Graph, alignment: int) -> _Needs:
    size = {b.tensor: -(-b.bytes // alignment) * alignment for b in lifetimes(graph)}
    count, ends = len(graph.ops), set(graph.ends)
    maker = {i: n for n, op in enumerate(graph.ops) for i in op.outputs}
    readers = dict.fromkeys(size, 0)
    before, unsteady = [0] * count, 0
    for n, op in enumerate(graph.ops):
        for i in op.reads:
            if i in size:
                readers[i] |= 1 << n
            if i in maker:
                before[n] |= 1 << maker[i]
        if not op.kind.repeatable:
            before[n] |= unsteady
            unsteady |= 1 << n
    after = [list[int]() for _ in range(count)]
    for m in range(count):
        for n in _members(before[m]):
            after[n].append(m)
    flows = [[i for i in dict.fromkeys(op.reads) if i in size] for op in graph.ops]
    makes = [[i for i in op.outputs if i in size] for op in graph.ops]
    starts = [i for i in dict.fromkeys(graph.inputs) if i in size]
    unread = [i for i in starts if not readers[i] and i not in ends]
    return _Needs(
        tuple(before),
        tuple(map(tuple, after)),
        tuple(sum(size[i] for i in ids) for ids in makes),
        tuple(
            tuple((size[i], readers[i]) for i in (*flows[n], *makes[n]) if i not in ends and not (i in makes[n] and readers[i]))
            for n in range(count)
        ),
        sum(size[i] for i in starts if i not in unread),
        sum(size[i] for i in unread),
        max(sum(size[i] for i in (*flows[n], *makes[n])) for n in range(count)),
    )


def _search(needs: _Needs, limit: int) -> list[int] | None:
    """An order whose peak is below ``limit``, the least that was found; None where none was."""
    count = len(needs.before)
    kept, width = [needs.start()], max(_LEAST, _SETS // count)
    for _ in range(count):
        found = dict[int, _Way]()
        for way in kept:
            for further in _further(needs, way):
                known = found.get(further.done)
                if further.peak < limit and (known is None or further.peak < known.peak):
                    found[further.done] = further
        kept = sorted(found.values(), key=lambda way: (way.peak, way.live, way.done))[:width]
    return kept[0].ops() if kept else None


def _further(needs: _Needs, way: _Way) -> list[_Way]:
    """The ways on by one op: by one alone that takes no more and leaves no more than before, if there is such.

    What it leaves out could only be better with that op done first: wherever that comes later, it frees no more than it does
    now together with what others free after it.
    """
    ways = [needs.step(way, n) for n in _members(way.ready)]
    free = [further for further in ways if further.peak <= max(way.peak, needs.floor) and further.live <= way.live]
    return free[:1] if free and way.done else ways


def _members(ops: int) -> Iterator[int]:
    while ops:
        lowest = ops & -ops
        yield lowest.bit_length() - 1
        ops ^= lowest
