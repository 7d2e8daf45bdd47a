"""Where each buffer lies in one arena, so that the arena is small: dynamic storage allocation, which is NP-hard.

First fit in several orders, then a local search over orders, until the arena is as large as what is alive at its peak, which no
plan can be below; of few buffers the least arena is proven. Nothing depends on a clock, so that every machine makes one plan.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, cycle
from random import Random
from typing import Final, TypeAlias, final

from intact.network.arena import ALIGNMENT, Buffer, lifetimes
from intact.network.graph import Graph
from intact.network.in_place import shared
from intact.network.least import least_offsets

#: Buffers up to which the optimum is proven.
PROVEN: Final = 10
#: Comparisons of two buffers that a local search makes: a few tenths of a second of them.
_COMPARISONS: Final = 1_500_000
#: Orders in a row that are no better, after which the search begins again from another one.
_PATIENCE: Final = 60

Order: TypeAlias = list[int]


@final
@dataclass(frozen=True)
class Placement:
    """``offsets`` by tensor and the bytes of the arena, a multiple of the alignment.

    ``bound_bytes``: the peak of live bytes, each buffer rounded up to the alignment. ``optimal``: that no arena can be smaller,
    because it is the bound or because all orders were tried.
    """

    offsets: Mapping[int, int]
    arena_bytes: int
    bound_bytes: int
    optimal: bool


def placement(
    graph: Graph,
    alignment: int = ALIGNMENT,
    *,
    in_place: Collection[str] = (),
    overwrite_inputs: bool = False,
    elsewhere: Collection[int] = (),
) -> Placement:
    """A plan of one call with one sample: inputs and outputs have a place in it, constants and what is kept ``elsewhere`` none.

    An input's bytes are used again once its last reader has run. ``in_place``: the kinds whose kernels write over an operand
    where they can (:func:`~intact.network.in_place.shared`); the plan is never larger than without.
    """
    alone = place([b for b in lifetimes(graph) if b.tensor not in elsewhere], alignment)
    if not in_place:
        return alone
    joined = shared(graph, kinds=in_place, overwrite_inputs=overwrite_inputs, elsewhere=elsewhere)
    made = place(joined.buffers, alignment)
    if made.arena_bytes > alone.arena_bytes:
        return alone
    return replace(made, offsets={i: made.offsets[home] for i, home in joined.of.items()})


def place(buffers: Sequence[Buffer], alignment: int = ALIGNMENT, seed: int = 0, *, bottom: Collection[int] = ()) -> Placement:
    """Offsets, multiples of ``alignment``, at which no two ``buffers`` that live during one op overlap.

    ``bottom``: tensors, never two of them at once, that lie at 0.

    The same buffers and ``seed`` give the same plan. Worked: of 16, 32 and 16 bytes during ops 0-1, 1-2 and 2-3, the second
    lies at 0 and the others at 32, in 48 bytes, which is the bound.
    """
    held = [b for b in buffers if b.bytes > 0]
    lowest = frozenset(n for n, b in enumerate(held) if b.tensor in bottom)
    sizes = tuple(-(-b.bytes // alignment) for b in held)
    problem = Problem(sizes, tuple(b.first for b in held), tuple(b.last for b in held), lowest)
    offsets = _searched(problem, Random(seed))
    proven, bound = len(held) <= PROVEN and not lowest, problem.bound
    if proven and (top := problem.top(offsets)) > bound:
        offsets = least_offsets(problem.sizes, problem.first, problem.last, bound, top) or offsets
    top = problem.top(offsets)
    found = {b.tensor: 0 for b in buffers} | {b.tensor: o * alignment for b, o in zip(held, offsets, strict=True)}
    return Placement(found, top * alignment, bound * alignment, proven or top == bound)


@final
class Problem:
    """Sizes in units of the alignment, all positive, with the first and last op of each, and who lives together with whom.

    Those of ``bottom`` lie at 0.
    """

    def __init__(
        self, sizes: tuple[int, ...], first: tuple[int, ...], last: tuple[int, ...], bottom: frozenset[int] = frozenset()
    ) -> None:
        self.sizes, self.first, self.last, self.bottom = sizes, first, last, bottom
        alive: dict[int, None] = {}
        self.meets: list[list[int]] = [[] for _ in sizes]
        for i in sorted(range(len(sizes)), key=lambda i: first[i]):
            alive = {j: None for j in alive if last[j] >= first[i]}
            for j in alive:
                self.meets[i].append(j)
                self.meets[j].append(i)
            alive[i] = None
        #: The ops at which something begins to be, in order, and what is alive then: at no other is it more.
        self.begins = sorted(set(first))
        self.live = self._live()
        #: An end that no plan is below.
        self.bound = max(self.live, default=0)

    def _live(self) -> list[int]:
        changes = [0] * (len(self.begins) + 1)
        for size, first, last in zip(self.sizes, self.first, self.last, strict=True):
            changes[bisect_left(self.begins, first)] += size
            changes[bisect_right(self.begins, last)] -= size
        return list(accumulate(changes[:-1]))

    def fullest(self, i: int) -> int:
        """The most that is alive at once while ``i`` is."""
        return max(self.live[bisect_left(self.begins, self.first[i]) : bisect_right(self.begins, self.last[i])])

    def top(self, offsets: Sequence[int]) -> int:
        return max((at + size for at, size in zip(offsets, self.sizes, strict=True)), default=0)

    def fit(self, order: Order, limit: int) -> list[int] | None:
        """Offsets where each, in ``order``, lies as low as those before it allow; None where one ends above ``limit``."""
        sizes, meets = self.sizes, self.meets
        offsets = [0 if i in self.bottom else -1 for i in range(len(sizes))]
        for i in order:
            if i in self.bottom:
                continue
            at, size = 0, sizes[i]
            for low, j in sorted([(offsets[j], j) for j in meets[i] if offsets[j] >= 0]):
                if at + size <= low:
                    break
                at = max(at, low + sizes[j])
            if at + size > limit:
                return None
            offsets[i] = at
        return offsets


def _orders(p: Problem) -> Iterator[Order]:
    """Orders that are good for some networks each; none is for all.

    Source of those by size and by the fullest op: Pisarchyk and Lee (2020), Efficient Memory Management for Deep Neural Net
    Inference, greedy by size and by breadth.
    """
    span = [last - first + 1 for first, last in zip(p.first, p.last, strict=True)]
    keys: tuple[Callable[[int], tuple[int, ...]], ...] = (
        lambda i: (-p.sizes[i], p.first[i]),
        lambda i: (-p.sizes[i] * span[i], p.first[i]),
        lambda i: (-p.fullest(i), -p.sizes[i]),
        lambda i: (-span[i], -p.sizes[i]),
        lambda i: (p.first[i], -p.sizes[i]),
        lambda i: (p.first[i], -p.last[i]),
        lambda i: (-p.last[i], -p.sizes[i]),
        lambda i: (-p.sizes[i], -p.last[i]),
    )
    return (sorted(range(len(p.sizes)), key=key) for key in keys)


def _searched(p: Problem, draw: Random) -> list[int]:
    """The best offsets that were found: of each order in turn, again and again until the work is done."""
    room, starts = sum(p.sizes), list[tuple[Order, list[int]]]()
    for order in _orders(p):
        offsets = p.fit(order, room)
        if offsets is not None:
            starts.append((order, offsets))
            if p.top(offsets) == p.bound:
                return offsets
    starts.sort(key=lambda start: p.top(start[1]))
    turns, best = cycle(starts), starts[0][1]
    tries = _COMPARISONS // max(sum(map(len, p.meets)), 1)
    while p.top(best) > p.bound and tries > 0:
        found, made = _climbed(p, *next(turns), tries, draw)
        best, tries = min(best, found, key=p.top), tries - made
    return best


def _climbed(p: Problem, order: Order, offsets: list[int], most: int, draw: Random) -> tuple[list[int], int]:
    """The best offsets near a start, and how many orders were tried for them: ``most``, or until none is better for long.

    What lies at the top of the arena, or lives with what does, is put elsewhere in the order; a plan that is no larger is gone
    on from. Source: hill climbing as in TVM's unified static memory planner (src/tir/usmp/algo/hill_climb.cc).
    """
    top, made, since = p.top(offsets), 0, 0
    while top > p.bound and made < most and since < _PATIENCE:
        made, since = made + 1, since + 1
        changed = _promoted(p, order, offsets, top, draw)
        tried = p.fit(changed, top)
        if tried is not None:
            order, offsets, now = changed, tried, p.top(tried)
            top, since = now, since if now == top else 0
    return offsets, made


def _promoted(p: Problem, order: Order, offsets: Sequence[int], top: int, draw: Random) -> Order:
    """``order`` with a buffer earlier that ends at the top, or with one that lives with it anywhere else."""
    highest = [i for i in order if offsets[i] + p.sizes[i] == top]
    chosen = highest[_below(draw, len(highest))]
    near = [chosen, *p.meets[chosen]]
    moved = chosen if draw.random() < 0.5 else near[_below(draw, len(near))]
    to = _below(draw, order.index(moved) + 1 if moved == chosen else len(order))
    rest = [i for i in order if i != moved]
    return [*rest[:to], moved, *rest[to:]]


def _below(draw: Random, count: int) -> int:
    """A whole number below ``count``; ``random`` is the one method whose numbers Python promises to keep."""
    return int(draw.random() * count)
