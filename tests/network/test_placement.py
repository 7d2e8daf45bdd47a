"""Plans of an arena: nothing that lives together overlaps, few buffers lie in the least arena, networks in what they hold."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intact.formats import tflite
from intact.network import placement as module
from intact.network.arena import Buffer, activation_memory
from intact.network.in_place import IN_PLACE
from intact.network.least import least_offsets
from intact.network.placement import PROVEN, place, placement

#: Nine buffers (bytes, first op, last op) of which 8 bytes are alive at once, and which no plan puts in 8.
GAP = ((6, 0, 0), (2, 0, 1), (1, 1, 2), (1, 2, 2), (1, 2, 3), (1, 1, 3), (4, 1, 4), (2, 3, 4), (2, 4, 4))


def buffers_of(rows):
    return tuple(Buffer(i, *row) for i, row in enumerate(rows))


def rows(most, largest=5000):
    row = st.tuples(st.integers(0, largest), st.integers(0, 12), st.integers(0, 6))
    return st.lists(row.map(lambda r: (r[0], r[1], r[1] + r[2])), max_size=most)


def overlapping(buffers, offsets):
    """Pairs that share a byte while both live."""
    return [
        (a, b)
        for a, b in itertools.combinations(buffers, 2)
        if a.first <= b.last
        and b.first <= a.last
        and max(offsets[a.tensor], offsets[b.tensor]) < min(offsets[a.tensor] + a.bytes, offsets[b.tensor] + b.bytes)
    ]


def sound(buffers, found, alignment):
    """``found`` is a plan of ``buffers``, with the bound that it should have."""
    assert set(found.offsets) == {b.tensor for b in buffers}
    assert not overlapping(buffers, found.offsets)
    assert all(offset >= 0 and offset % alignment == 0 for offset in found.offsets.values())
    rounded = {b: (b.bytes + alignment - 1) // alignment * alignment for b in buffers}
    live = [sum(rounded[b] for b in buffers if b.first <= at <= b.last) for at in range(400)]
    assert found.bound_bytes == max(live)
    assert found.arena_bytes == max((found.offsets[b.tensor] + size for b, size in rounded.items() if size), default=0)
    assert found.bound_bytes <= found.arena_bytes
    assert found.optimal or found.arena_bytes > found.bound_bytes


def test_an_overlap_is_seen():
    pair = buffers_of([(16, 0, 1), (16, 1, 2)])
    assert overlapping(pair, {0: 0, 1: 15})
    assert not overlapping(pair, {0: 0, 1: 16})


@given(rows(25), st.sampled_from((1, 4, 16)))
def test_plans_are_sound(drawn, alignment):
    buffers = buffers_of(drawn)
    sound(buffers, place(buffers, alignment), alignment)


def first_fit(order):
    """The arena where each, in this order, takes the lowest offset that is free: byte by byte, as a check."""
    offsets = {}
    for b in order:
        at = 0
        while overlapping((*offsets, b), {o.tensor: x for o, x in offsets.items()} | {b.tensor: at}):
            at += 1
        offsets[b] = at
    return max((at + b.bytes for b, at in offsets.items()), default=0)


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=5))
def test_few_buffers_are_where_the_best_of_all_orders_puts_them(drawn):
    buffers = buffers_of([(size, first, first + more) for size, first, more in drawn])
    found = place(buffers, 1)
    assert found.optimal
    assert found.arena_bytes == min(first_fit(order) for order in itertools.permutations(buffers))


def fits(rows, size):
    """Whether any plan, at whatever offsets, lies in ``size`` bytes: all of them are tried, the largest buffers first."""
    order = sorted(rows, key=lambda row: -row[0])

    def go(placed):
        if len(placed) == len(order):
            return True
        bytes_, first, last = order[len(placed)]
        for at in range(size - bytes_ + 1):
            free = all(
                last < f or first > end or at + bytes_ <= low or low + b <= at
                for (b, f, end), low in zip(order, placed, strict=False)
            )
            if free and go([*placed, at]):
                return True
        return False

    return go([])


@settings(max_examples=80)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 6), st.integers(0, 4)), min_size=1, max_size=7))
def test_the_proven_optimum_is_the_least_size_that_any_offsets_fit(drawn):
    """Branch and bound alone, from a limit that all fits below."""
    held = [(size, first, first + more) for size, first, more in drawn]
    sizes, first, last = zip(*held, strict=True)
    offsets = least_offsets(sizes, first, last, 0, sum(sizes) + 1)
    top = max(at + size for at, size in zip(offsets, sizes, strict=True))
    assert not overlapping(buffers_of(held), dict(enumerate(offsets)))
    assert fits(held, top)
    assert not fits(held, top - 1)


def test_a_bound_that_no_plan_meets_is_told_apart():
    found = place(buffers_of(GAP), 1)
    assert (found.bound_bytes, found.arena_bytes, found.optimal) == (8, 9, True)
    assert fits(GAP, 9)
    assert not fits(GAP, 8)


def test_no_offsets_below_a_limit_that_nothing_fits_below():
    assert least_offsets((2, 2), (0, 0), (0, 0), 4, 4) is None
    assert least_offsets((2, 2), (0, 0), (0, 0), 4, 5) in ([0, 2], [2, 0])


@pytest.mark.parametrize("seed", range(60))
def test_few_buffers_are_proven_where_no_search_goes_before(seed, monkeypatch):
    """The best of the first orders is not always the least, and what is returned is."""
    monkeypatch.setattr(module, "_COMPARISONS", 0)
    draw = random.Random(seed)
    rows = [(draw.randrange(1, 8), (first := draw.randrange(6)), first + draw.randrange(4)) for _ in range(PROVEN)]
    found = place(buffers_of(rows), 1)
    assert found.optimal
    assert found.arena_bytes == found.bound_bytes or not fits(rows, found.arena_bytes - 1)


# ---- larger ones --------------------------------------------------------------------------------------------------------


def network(kind, seed):
    """The buffers of a network of this kind, op by op: each op makes one, which lives until its last reader."""
    draw = random.Random(seed)
    count = draw.randrange(3, 120)
    reads = {
        "chain": lambda n: [n - 1],
        "residual": lambda n: [n - 1, n - 3] if n % 3 == 0 and n > 3 else [n - 1],
        "dense": lambda n: list(range(n - n % 8, n)) or [n - 1],
        "random": lambda n: [draw.randrange(max(0, n - 12), n) for _ in range(draw.randrange(1, 4))],
    }[kind]
    last = list(range(count))
    for n in range(1, count):
        for i in reads(n):
            last[i] = n
    sizes = [draw.choice([draw.randrange(1, 200), draw.randrange(1, 5000), 16 * draw.randrange(1, 3000)]) for _ in last]
    return buffers_of([(size, n, end) for n, (size, end) in enumerate(zip(sizes, last, strict=True))])


@pytest.mark.parametrize("kind", ["chain", "residual", "dense", "random"])
def test_networks_take_at_most_a_twentieth_more_than_they_hold(kind):
    for seed in range(50):
        buffers = network(kind, seed)
        found = place(buffers)
        sound(buffers, found, 16)
        assert found.arena_bytes <= 1.05 * found.bound_bytes


def test_the_search_does_better_than_the_first_orders(monkeypatch):
    buffers = network("random", 225)
    searched = place(buffers).arena_bytes
    monkeypatch.setattr(module, "_COMPARISONS", 0)
    assert searched < place(buffers).arena_bytes


def test_the_same_buffers_have_the_same_plan():
    buffers = network("random", 225)
    assert place(buffers) == place(buffers)


INTEGER = ("resnet8_cifar10_int8", "vww_96_int8", "kws_int8", "ad01_int8")
FLOAT = ("resnet8_cifar10", "vww_96_float", "kws_float", "ad01_float", "mobilenet_v2_cifar10", "mobilenet_v3_small_cifar10")


@pytest.mark.parametrize("name", [*INTEGER, *FLOAT])
def test_real_networks_take_what_they_hold(shared, name):
    graph = tflite.read(shared / "models" / f"{name}.tflite")
    alone, joined = placement(graph), placement(graph, in_place=IN_PLACE)
    assert alone.arena_bytes == alone.bound_bytes == -(-activation_memory(graph).live_bytes // 16) * 16
    assert joined.arena_bytes == joined.bound_bytes <= alone.arena_bytes


# ---- odd sizes ----------------------------------------------------------------------------------------------------------


def test_nothing_takes_nothing():
    found = place(())
    assert (dict(found.offsets), found.arena_bytes, found.bound_bytes, found.optimal) == ({}, 0, 0, True)


def test_empty_buffers_have_a_place_and_take_none():
    found = place(buffers_of([(0, 0, 3), (16, 0, 3), (0, 1, 1)]))
    assert (dict(found.offsets), found.arena_bytes) == ({0: 0, 1: 0, 2: 0}, 16)


def test_one_buffer_is_rounded_up():
    found = place(buffers_of([(17, 0, 0)]))
    assert (dict(found.offsets), found.arena_bytes, found.bound_bytes) == ({0: 0}, 32, 32)


def test_buffers_of_two_gibibytes():
    found = place(buffers_of([(2**31, 0, 1), (2**31, 1, 2), (2**31, 2, 3)]))
    assert found.arena_bytes == found.bound_bytes == 2**32


def test_the_worked_example():
    found = place(buffers_of([(16, 0, 1), (32, 1, 2), (16, 2, 3)]))
    assert (dict(found.offsets), found.arena_bytes, found.bound_bytes) == ({0: 32, 1: 0, 2: 32}, 48, 48)
