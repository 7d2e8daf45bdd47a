"""The chain of widths: the least noise for the bytes, held against trying everything."""

import itertools

import numpy as np
import pytest

from intact.planning.widths import INT4, INT8, Width
from intact.search.chain import Price, chain, hull

TWO, THREE = Width(clusters=2), Width(clusters=3)


def test_the_worked_example():
    prices = {
        1: (Price(INT8, 100, 1.0), Price(INT4, 50, 3.0), Price(TWO, 25, 9.0)),
        2: (Price(INT8, 40, 0.0), Price(INT4, 20, 10.0)),
    }
    points = chain(prices)
    assert [(p.bytes, p.noise) for p in points] == [(140, 1.0), (90, 3.0), (65, 9.0), (45, 19.0)]
    assert [p.widths for p in points] == [
        {1: INT8, 2: INT8},
        {1: INT4, 2: INT8},
        {1: TWO, 2: INT8},
        {1: TWO, 2: INT4},
    ]


def test_what_a_mixture_of_two_others_beats_is_left_out():
    prices = (Price(INT8, 100, 0.0), Price(INT4, 50, 8.0), Price(THREE, 40, 5.0), Price(TWO, 25, 30.0))
    assert [p.width for p in hull(prices)] == [INT8, THREE, TWO]


def test_as_many_bytes_with_more_noise_are_no_step():
    assert hull((Price(INT8, 100, 1.0), Price(INT4, 100, 2.0))) == (Price(INT8, 100, 1.0),)


def test_one_weight_of_one_width_is_one_point():
    (point,) = chain({7: (Price(INT8, 10, 0.5),)})
    assert (point.widths, point.bytes, point.noise) == ({7: INT8}, 10, 0.5)


@pytest.mark.parametrize("seed", range(5))
def test_no_choice_of_widths_makes_less_noise_for_as_many_bytes(seed):
    draw = np.random.default_rng(seed)
    widths = (INT8, INT4, THREE, TWO)
    prices = {
        n: tuple(Price(w, int(size * w.bits / 8), float(draw.uniform(0.5, 2) * 4.0**-w.bits * scale)) for w in widths)
        for n, (size, scale) in enumerate(zip(draw.integers(80, 4000, 5), draw.uniform(1, 100, 5), strict=True))
    }
    everything = [(sum(p.bytes for p in each), sum(p.noise for p in each)) for each in itertools.product(*prices.values())]
    points = chain(prices)
    for point in points:
        least = min(noise for size, noise in everything if size <= point.bytes)
        assert point.noise == pytest.approx(least, rel=1e-9)
    assert all(a.bytes > b.bytes for a, b in itertools.pairwise(points))
    assert all(a.noise <= b.noise + 1e-12 for a, b in itertools.pairwise(points))
    assert points[-1].bytes == sum(min(p.bytes for p in each) for each in prices.values())
