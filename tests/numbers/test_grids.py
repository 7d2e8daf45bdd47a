"""The explorer's arithmetic: what holds of any grid, and that its 8 bits are those that Intact stores."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from compare import assert_same

from intact.errors import OptionError
from intact.numbers.affine import (
    affine_from_range,
    dequantize_array,
    quantize_array,
    quantize_weight,
    symmetric_from_absmax,
)
from intact.numbers.grids import Choice, figures_of, grids_of, groups_of, percentile
from intact.planning.ranges import least_squared_error

DRAW = np.random.default_rng(3)
TENSORS = {
    "normal": (DRAW.normal(0, 0.1, (6, 3, 3, 4)).astype(np.float32), 0),
    "depthwise": (DRAW.standard_t(2, (1, 3, 3, 8)).astype(np.float32), 3),
    "one side": (DRAW.exponential(1, (5, 40)).astype(np.float32), 0),
    "a channel of zeros": (np.concatenate([np.zeros((1, 9)), DRAW.normal(0, 2, (2, 9))]).astype(np.float32), 0),
    "one number": (np.float32([0.7]), None),
    "all zeros": (np.zeros((2, 5), np.float32), 0),
    "large": (DRAW.laplace(0, 1e-3, 40_000).astype(np.float32), None),
}
CHOICES = [
    Choice(bits, symmetric, per_channel, ranges, levels)
    for bits, symmetric, per_channel, ranges, levels in itertools.product(
        (2, 3, 4, 8), (True, False), (True, False), ("minmax", "percentile", "mse"), ("linear", "kmeans")
    )
]


def figures(name, choice):
    values, axis = TENSORS[name]
    groups = groups_of(values, axis, choice)
    return [figures_of(x, grid, choice) for x, grid in zip(groups, grids_of(groups, choice), strict=True)]


def noise(name, choice):
    return sum(f.noise for f in figures(name, choice))


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
def test_no_error_exceeds_half_a_step_where_nothing_is_clipped(name, bits, symmetric):
    for f in figures(name, Choice(bits, symmetric)):
        # an asymmetric zero point is rounded, which moves the ends by up to half a step more
        assert f.worst <= f.bound * (1 + 1e-5) or (not symmetric and f.worst <= 2 * f.bound * (1 + 1e-5))
        assert f.clipped == 0 or not symmetric
        assert sum(f.occupancy) == sum(f.histogram) == sum(f.errors) == f.count


def test_eight_symmetric_bits_are_those_of_a_weight():
    values, axis = TENSORS["normal"]
    groups = groups_of(values, axis, Choice())
    grids = grids_of(groups, Choice())
    fmt = symmetric_from_absmax(np.abs(values).max(axis=(1, 2, 3)), "int8", axis)
    assert fmt.scale == tuple(grid.scale for grid in grids)
    stored = quantize_weight(values, fmt)
    for k, (x, grid) in enumerate(zip(groups, grids, strict=True)):
        assert_same(grid.index(x) - 127, stored[k].reshape(-1).astype(np.int64))
        assert_same(grid.rounded(x), dequantize_array(stored, fmt)[k].reshape(-1))


@pytest.mark.parametrize(("bits", "dtype"), [(8, "int8"), (4, "int4")])
def test_asymmetric_grids_are_those_of_an_activation(bits, dtype):
    x = TENSORS["one side"][0].reshape(-1) - np.float32(0.5)
    choice = Choice(bits, symmetric=False, per_channel=False)
    (grid,) = grids_of([x], choice)
    fmt = affine_from_range(float(x.min()), float(x.max()), dtype)
    assert (grid.scale, grid.zero_point) == (fmt.scale[0], fmt.zero_point[0])
    assert_same(grid.index(x) + choice.limits[0], quantize_array(x, fmt).astype(np.int64))


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("per_channel", [True, False])
def test_a_searched_range_is_no_worse_than_all_of_it(name, symmetric, per_channel):
    for bits in (2, 3, 4, 6):
        whole = Choice(bits, symmetric, per_channel)
        # of more numbers than the search looks at, it sees a part
        assert noise(name, replace(whole, ranges="mse")) <= noise(name, whole) * (1.02 if name == "large" else 1)


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("choice", [c for c in CHOICES if c.levels == "kmeans"], ids=str)
def test_moved_levels_are_no_worse_than_those_they_began_as(name, choice):
    assert noise(name, choice) <= noise(name, replace(choice, levels="linear")) * (1 + 1e-6) + 1e-12


def test_the_search_finds_what_planning_finds():
    values, axis = TENSORS["normal"]
    groups = groups_of(values, axis, Choice())
    planned = least_squared_error(values, np.abs(values).max(axis=(1, 2, 3)), "int4", axis) / 7
    for x, scale, grid in zip(groups, planned, grids_of(groups, Choice(4, ranges="mse")), strict=True):
        error = np.square(x - np.clip(np.rint(x / scale), -7, 7) * scale).sum()
        assert figures_of(x, grid, Choice(4)).noise <= 1.05 * error


def test_more_bits_are_less_noise():
    found = [noise("large", Choice(bits)) for bits in range(2, 9)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 100 * found[-1]


def test_a_channel_of_zeros_takes_a_neighbours_scale():
    first, *others = figures("a channel of zeros", Choice(4))
    assert first.scale == max(f.scale for f in others)
    assert (first.noise, first.sqnr, first.used) == (0, float("inf"), 1)


def test_bytes():
    assert [f.bytes for f in figures("a channel of zeros", Choice(3))] == [4 + 4] * 3  # 27 bits and a scale
    assert figures("large", Choice(8, symmetric=False))[0].bytes == 40_000 + 5
    assert figures("large", Choice(2, levels="kmeans"))[0].bytes == 10_000 + 3 * 4


def test_percentiles_are_numpys():
    x = np.sort(TENSORS["large"][0]).astype(np.float64)
    for p in (0, 0.1, 37.77, 99.9, 100):
        assert percentile(x, p) == pytest.approx(np.percentile(x, p), rel=1e-12)


def test_a_percentile_clips_what_lies_beyond():
    (f,) = figures("large", Choice(8, ranges="percentile", percent=99))
    assert 300 <= f.clipped <= 401


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bits": 1}, "at least 2"),
        ({"bits": 9}, "2 to 8"),
        ({"ranges": "moving"}, "no ranges are called 'moving'; give one of: minmax, percentile, mse"),
        ({"levels": "log"}, "no levels are called 'log'"),
        ({"percent": 10.0}, "above 50"),
        ({"percent": float("nan")}, "finite"),
    ],
)
def test_what_there_is_not_is_said(change, words):
    with pytest.raises(OptionError, match=words):
        Choice(**change)
