"""Chains of ops that run row by row, so that of what lies between them only the rows exist that are still read.

Every row is computed once: rows that a later window needs again stay in a ring. The order is fixed before: of a chain's ops the
last one that can run makes its next row, until all have made theirs. What a chain makes may take the place of what it reads, as
that is used up.
Source of patches and of kept rows: Lin et al. 2021, MCUNetV2 (arXiv 2110.15352), and Yang et al. 2023, StreamNet (NeurIPS).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias, final

import numpy as np

from intact.network.arena import Buffer, lifetimes
from intact.network.graph import Graph, Op
from intact.network.placement import Placement, place
from intact.ops.call import Shape

#: Chains of one network at most; those of the least peak by estimate whose rows are counted; and plans that are made of them.
_CHAINS: Final = 3
_COUNTED: Final = 24
_PLANNED: Final = 6


@final
@dataclass(frozen=True)
class Reach:
    """Output row r reads ``taps`` rows of its inputs from ``r * stride - before`` on, as far as they are."""

    stride: int = 1
    taps: int = 1
    before: int = 0

    def first(self, row: int) -> int:
        """The first row that output row ``row`` reads."""
        return max(row * self.stride - self.before, 0)

    def needed(self, row: int, height: int) -> int:
        """How many rows of an input of ``height`` must be there before output row ``row`` is made."""
        return min(max(row * self.stride - self.before + self.taps, 0), height)


@final
@dataclass(frozen=True)
class Over:
    """The output ``made`` of a chain lies where its input ``read`` does, which begins ``gap`` bytes behind it."""

    read: int
    made: int
    gap: int


@final
@dataclass(frozen=True)
class Chain:
    """Ops ``first`` to ``end`` (not included) of a graph; ``rings`` are the rows that exist of what lies between them."""

    first: int
    end: int
    rings: Mapping[int, int] = field(default_factory=dict)
    over: Over | None = None

    @property
    def ops(self) -> int:
        return self.end - self.first

    def holds(self, n: int) -> bool:
        return self.first <= n < self.end

    def meets(self, other: Chain) -> bool:
        return self.first < other.end and other.first < self.end


#: What an op reads to make a row; None where it cannot be computed by rows.
Reaching: TypeAlias = Callable[[Op], Reach | None]


@final
@dataclass(frozen=True)
class Striped:
    """The chains to run by rows, and the plan of the arena with them."""

    chains: tuple[Chain, ...]
    plan: Placement


def striped(graph: Graph, shapes: Mapping[int, Shape], reaching: Reaching, alignment: int, ram: int) -> Striped:
    """The fewest ops in chains with which ``ram`` bytes hold all; where nothing does, the least arena that was found."""
    search = _Search(graph, shapes, [reaching(op) for op in graph.ops], alignment)
    best = Striped((), place(search.buffers, alignment))
    for _ in range(_CHAINS):
        if best.plan.arena_bytes <= ram:
            break
        found = search.better(best, ram)
        if found is None:
            break
        best = found
    return best


def order(ops: Sequence[Op], reaches: Sequence[Reach], shapes: Mapping[int, Shape]) -> Iterator[int]:
    """Which op of a chain makes its next row, one after the other, as the C decides it too."""
    made = {op.output: n for n, op in enumerate(ops)}
    reads = [[(made[i], shapes[i][1]) for i in op.reads if i in made] for op in ops]
    done, heights, n = [0] * len(ops), [shapes[op.output][1] for op in ops], len(ops) - 1
    while n >= 0:
        row = done[n]
        if row < heights[n] and all(done[k] >= reaches[n].needed(row, height) for k, height in reads[n]):
            done[n] += 1
            yield n
            n = len(ops) - 1
        else:
            n -= 1


@final
class _Search:
    """Chains of a graph, tried one after the other; an op can be in one if its reach is not None."""

    def __init__(self, graph: Graph, shapes: Mapping[int, Shape], reaches: Sequence[Reach | None], alignment: int) -> None:
        self.graph, self.shapes, self.reaches, self.alignment = graph, shapes, reaches, alignment
        self.buffers, self.readers = lifetimes(graph), graph.consumers()
        self.place_of = {id(op): n for n, op in enumerate(graph.ops)}
        self.of = {b.tensor: b for b in self.buffers}
        self.candidates = [self._estimated(first, end) for first, end in self._runs()]
        self.counted: dict[tuple[int, int], Chain] = {}

    def better(self, now: Striped, ram: int) -> Striped | None:
        """With one chain more, or one longer: the fewest ops that fit, else the least arena; None where none is less."""
        near = {(c.first, c.end) for both in self._best(now.chains, self.candidates, ram, _COUNTED) for c in both}
        exact = [self._exact(first, end) for first, end in sorted(near)]
        planned = [Striped(both, self.plan(both)) for both in self._best(now.chains, exact, ram, _PLANNED)]
        good = [made for made in planned if made.plan.arena_bytes <= ram]
        if good:
            return min(good, key=lambda made: _ops(made.chains))
        least = min(planned, key=lambda made: (made.plan.arena_bytes, _ops(made.chains)), default=now)
        return least if least.plan.arena_bytes < now.plan.arena_bytes else None

    def _best(self, chains: tuple[Chain, ...], candidates: Sequence[Chain], ram: int, most: int) -> list[tuple[Chain, ...]]:
        """``chains`` with one of the candidates: so many with the least peak, and as many of the fewest ops that fit."""
        tried = [(self._peak(both), _ops(both), both) for both in self._with_one_more(chains, candidates)]
        least = sorted(tried, key=lambda t: t[:2])[:most]
        fits = sorted((t for t in tried if t[0] <= ram), key=lambda t: t[1])[:most]
        return [both for _, _, both in (*least, *fits)]

    def plan(self, chains: Sequence[Chain]) -> Placement:
        """Where everything lies; what a chain makes over what it reads lies at the bottom."""
        over = next((c.over for c in chains if c.over is not None), None)
        bottom = () if over is None else (over.read, over.made)
        made = place(self.collapsed(chains), self.alignment, bottom=bottom)
        if over is None:
            return made
        return replace(made, offsets={**made.offsets, over.read: over.gap, over.made: 0})

    def collapsed(self, chains: Sequence[Chain]) -> list[Buffer]:
        """The buffers, where what a chain touches lives as long as all of it runs, and rings have their rows alone."""
        found = {b.tensor: b for b in self.buffers}
        for chain in chains:
            ops = self.graph.ops[chain.first : chain.end]
            for i in {i for op in ops for i in (*op.reads, *op.outputs)} & found.keys():
                b = found[i]
                size = b.bytes // self.shapes[i][1] * chain.rings[i] if i in chain.rings else b.bytes
                found[i] = replace(b, bytes=size, first=min(b.first, chain.first), last=max(b.last, chain.end - 1))
            if chain.over is not None:
                read, made = found[chain.over.read], found[chain.over.made]
                both = max(read.bytes + chain.over.gap, made.bytes)
                found[read.tensor] = replace(read, bytes=both, last=chain.end - 1)
                found[made.tensor] = replace(made, first=chain.end, last=max(made.last, chain.end))
        return list(found.values())

    def _runs(self) -> Iterator[tuple[int, int]]:
        """Every run of at least two ops that can be computed by rows."""
        for first in range(len(self.reaches)):
            for end in range(first, len(self.reaches)):
                if self.reaches[end] is None:
                    break
                if end > first:
                    yield first, end + 1

    def _inside(self, first: int, end: int) -> list[int]:
        """What a chain makes and nothing else reads."""
        made = (op.output for op in self.graph.ops[first:end])
        read_within = (
            (i, self.readers[i] and all(first <= self.place_of[id(reader)] < end for reader in self.readers[i])) for i in made
        )
        return [i for i, within in read_within if within and i not in self.graph.ends]

    def _estimated(self, first: int, end: int) -> Chain:
        """A chain whose rings hold what one window reads, which is the least."""
        rings = dict[int, int]()
        for i in self._inside(first, end):
            taps = [r.taps for reader in self.readers[i] if (r := self.reaches[self.place_of[id(reader)]]) is not None]
            rings[i] = min(max(taps), self.shapes[i][1])
        over = self._replaced(first, end)
        return Chain(first, end, rings, None if over is None else Over(over, self.graph.ops[end - 1].output, 0))

    def _exact(self, first: int, end: int) -> Chain:
        """A chain with the rows that exist at once when it runs, and with its output over its input where that is used up."""
        if (first, end) not in self.counted:
            self.counted[first, end] = self._simulated(first, end)
        return self.counted[first, end]

    def _simulated(self, first: int, end: int) -> Chain:
        ops, reaches = self.graph.ops[first:end], [r for r in self.reaches[first:end] if r is not None]
        made, heights = {op.output: n for n, op in enumerate(ops)}, [self.shapes[op.output][1] for op in ops]
        over = self._replaced(first, end)
        watched = [*self._inside(first, end), *([over] if over is not None else [])]
        reading = {i: [n for n, op in enumerate(ops) if i in op.reads] for i in watched}
        touching = [[i for i in watched if i == op.output or i in op.reads] for op in ops]
        done, most, gap, last = [0] * len(ops), dict.fromkeys(watched, 1), 0, len(ops) - 1
        width_read = 0 if over is None else self.of[over].bytes // self.shapes[over][1]
        width_made = self.of[ops[last].output].bytes // heights[last]

        def lowest(i: int) -> int:
            """The first row that is still read."""
            there = self.shapes[i][1] if i not in made else done[made[i]]
            return min((reaches[r].first(done[r]) for r in reading[i] if done[r] < heights[r]), default=there)

        for n in order(ops, reaches, self.shapes):
            kept = {i: lowest(i) for i in touching[n] if i in made}
            if n == last and over is not None:
                gap = max(gap, (done[n] + 1) * width_made - lowest(over) * width_read)
            done[n] += 1
            for i, low in kept.items():
                most[i] = max(most[i], done[made[i]] - low)
        rings = {i: min(rows, self.shapes[i][1]) for i, rows in most.items() if i in made}
        gap = -(-gap // self.alignment) * self.alignment
        return Chain(first, end, rings, None if over is None else Over(over, ops[last].output, gap))

    def _replaced(self, first: int, end: int) -> int | None:
        """What a chain reads from its first op on and nothing reads behind it, so that its output may take its place."""
        ops = self.graph.ops[first:end]
        held = {*self.graph.ends, *(state.read for state in self.graph.states)}
        given = (i for i in ops[0].reads if i in self.of and i not in held and self.of[i].last < end)
        return next((i for i in given if len(self.shapes[i]) == len(self.shapes[ops[-1].output])), None)

    def _with_one_more(self, chains: tuple[Chain, ...], candidates: Sequence[Chain]) -> Iterator[tuple[Chain, ...]]:
        for chain in candidates:
            others = [c for c in chains if not c.meets(chain)]
            taken = any(c.over is not None for c in others)
            added = replace(chain, over=None) if taken else chain
            yield tuple(sorted((*others, added), key=lambda c: c.first))

    def _peak(self, chains: Sequence[Chain]) -> int:
        buffers = self.collapsed(chains)
        live = np.zeros(len(self.graph.ops) + 2, np.int64)
        for b in buffers:
            live[b.first] += b.bytes
            live[b.last + 1] -= b.bytes
        return int(np.cumsum(live).max())


def _ops(chains: Sequence[Chain]) -> int:
    return sum(chain.ops for chain in chains)
