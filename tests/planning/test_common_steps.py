"""Weights with a table for each channel that count in the same steps: which do, what it costs them, and what a file saves."""

import numpy as np
import pytest
from drafts import draft, normal

from intact.formats import tflite
from intact.network.weighted import weighted
from intact.numbers.affine import Affine
from intact.ops.convolution import Conv2D
from intact.planning.integer_graph import emit
from intact.planning.planner import make_plan
from intact.planning.request import Request
from intact.planning.schemes import scheme
from intact.planning.targets import target

#: Channels of every layer, whose own tables pay with two bits.
WIDE = 64


def layers(*sizes, channels=WIDE):
    """Convolutions whose weights reach to about ``sizes`` times the same."""

    def build(d, x):
        for n, size in enumerate(sizes):
            given = WIDE if n else channels
            x = d(Conv2D(), x, size * normal(WIDE, 1, 1, given, seed=n), normal(WIDE, seed=n))
        return x

    return draft((2, 2, channels), build)


def planned(graph, name="clusters2", high=1.0):
    ranges = {i: (-high, high) for i in graph.tensors if not graph[i].is_constant}
    return make_plan(graph, ranges, Request(scheme(name), target("mcu")))


def formats(graph, plan):
    return [plan.own(found.weight.id) for op in graph.ops if (found := weighted(graph, op)) is not None]


def own_steps(graph):
    return [np.abs(weighted(graph, op).values).reshape(WIDE, -1).max(1) / 127 for op in graph.ops]


def test_the_steps_of_a_channel_are_the_largest_of_the_weights_that_share_them():
    graph = layers(1.0, 0.8, 1.2)
    first, *others = formats(graph, planned(graph))
    assert all(fmt.scale == first.scale for fmt in others)
    assert np.allclose(first.scale, np.max(own_steps(graph), axis=0), rtol=1e-6)


@pytest.mark.parametrize(("times", "alike"), [(2.0, True), (20.0, False)])
def test_weights_of_very_different_size_keep_their_own_steps(times, alike):
    graph = layers(1.0, times)
    one, other = formats(graph, planned(graph))
    assert (one.scale == other.scale) is alike
    for fmt, own in zip((one, other), own_steps(graph), strict=True):
        assert (np.asarray(fmt.scale) <= 4.001 * own).all()


@pytest.mark.parametrize("name", ["clusters4", "int8"])
def test_what_has_more_numbers_or_no_table_keeps_its_own_steps(name):
    graph = layers(1.0, 1.0, channels=WIDE)
    one, other = formats(graph, planned(graph, name))
    assert one.scale != other.scale


def test_one_table_for_all_channels_needs_their_own_steps():
    graph = draft(
        (2, 2, 40),
        lambda d, x: d(
            Conv2D(), d(Conv2D(), x, normal(40, 1, 1, 40, seed=1), np.zeros(40)), normal(40, 1, 1, 40, seed=2), np.zeros(40)
        ),
    )
    one, other = formats(graph, planned(graph))
    assert one.codebook.axis is None
    assert one.scale != other.scale


def test_a_weight_loses_hardly_more_in_common_steps():
    graph = layers(1.0, 0.5, 0.7)
    for fmt, op in zip(formats(graph, planned(graph)), graph.ops, strict=True):
        values = weighted(graph, op).values
        alone = draft((2, 2, WIDE), lambda d, x, w=values: d(Conv2D(), x, w, np.zeros(WIDE)))
        (own,) = formats(alone, planned(alone))
        assert error(values, fmt) < 1.02 * error(values, own)


def error(values, fmt):
    steps = np.asarray(fmt.scale).reshape(-1, 1, 1, 1)
    return np.square(values - steps * fmt.codebook.snapped(values / steps)).sum()


@pytest.mark.parametrize(("high", "alike"), [(1.0, True), (1e-5, False)])
def test_no_multiplier_gets_larger_than_kernels_take(high, alike):
    graph = layers(1.0, 2.0)
    middle, last = (op.output for op in graph.ops)
    ranges = {0: (-1.0, 1.0), middle: (-high, high), last: (-1.0, 1.0)}
    plan = make_plan(graph, ranges, Request(scheme("clusters2"), target("mcu")))
    one, other = formats(graph, plan)
    assert (one.scale == other.scale) is alike
    assert plan.own(0).scale[0] * max(one.scale) / plan.own(middle).scale[0] <= 64 * 1.001


def test_biases_count_in_common_steps_and_the_file_stores_these_once():
    graph = layers(1.0, 0.9, 1.1)
    plan = planned(graph)
    for op in graph.ops:
        found = weighted(graph, op)
        bias, weight, read = plan.own(found.bias.id), plan.own(found.weight.id), plan.own(found.data.id)
        assert isinstance(read, Affine)
        assert np.allclose(bias.scale, np.asarray(weight.scale) * read.scale[0])
    data = tflite.write(emit(graph, plan), packed=True)
    assert data.count(np.float32(plan.own(weighted(graph, graph.ops[0]).weight.id).scale).tobytes()) == 1
    again = tflite.read(data)
    assert [weighted(again, op).weight.format.scale for op in again.ops] == [
        tuple(map(float, np.float32(fmt.scale))) for fmt in formats(graph, plan)
    ]
