"""The weight report: errors with their unit and bytes, worked by hand."""

import math

import numpy as np
import pytest
from drafts import draft

from intact.measure.weight_report import over_all, weight_rows
from intact.ops.matmul import FullyConnected
from intact.ops.shaping import Gather
from intact.planning.integer_graph import emit
from intact.planning.planner import make_plan
from intact.planning.request import Request
from intact.planning.schemes import scheme
from intact.planning.targets import target

WEIGHT = np.float32([[1.27, 0.0, 0.0, -1.27], [1.27, 0.1, 0.1, -1.27]])


def rows(name, weight=WEIGHT):
    graph = draft((weight.shape[1],), lambda d, x: d(FullyConnected(), x, weight, np.zeros(len(weight))))
    ranges = {i: (-1.0, 1.0) for i in graph.tensors if not graph[i].is_constant}
    made = make_plan(graph, ranges, Request(scheme(name), target("cpu")))
    return weight_rows(graph, emit(graph, made), made)


def test_what_four_numbers_hold_is_lost_by_none():
    (row,) = rows("clusters2")  # -127, 0, 10 and 127 steps of 0.01
    assert (row.worst < 1e-7, row.worst_steps < 1e-4, row.sqnr > 120) == (True, True, True)


def test_the_error_is_in_the_weights_own_unit_and_in_steps():
    """Steps of 0.01: 127 and 107 are stored as 117, which is off by 10 steps, 0.1."""
    (row,) = rows("clusters1", np.float32([[1.27, 1.07, 0.0, 0.0]]))
    assert row.worst == pytest.approx(0.1, rel=1e-5)
    assert row.worst_steps == pytest.approx(10, rel=1e-4)
    assert row.mse == pytest.approx(2 * 0.1**2 / 4, rel=1e-4)
    assert row.sqnr == pytest.approx(10 * math.log10((1.27**2 + 1.07**2) / (2 * 0.1**2)), rel=1e-4)


def test_bytes_are_those_of_the_file_packed_and_in_theory():
    weight = np.random.default_rng(0).normal(0, 1, (10, 200)).astype(np.float32)
    (row,) = rows("clusters4", weight)
    assert (row.count, row.file_bytes) == (2000, 2000)
    assert row.theory_bytes == 1000 + 10 * 16
    assert row.packed_bytes == row.theory_bytes + 16
    assert row.to_json()["ratio"] == 4
    assert row.to_json()["ratio_packed"] == pytest.approx(8000 / 1176)


def test_blocks_count_their_steps_in_theory():
    weight = np.random.default_rng(0).normal(0, 1, (10, 200)).astype(np.float32)
    (row,) = rows("w4a8-g32", weight)
    assert row.theory_bytes == 1000 + 10 * 7 // 2  # seven blocks of a channel, the last of 8
    assert (row.count, row.file_bytes) == (2000, 2000)
    (plain,) = rows("w4a8", weight)
    assert row.sqnr > plain.sqnr + 1


def test_wide_weights_are_held_as_floats():
    weight = np.random.default_rng(0).normal(0, 1, (10, 200)).astype(np.float32)
    (row,) = rows("w12a8", weight)
    assert (row.worst_steps, row.file_bytes, row.theory_bytes) == (None, 8000, 3000)
    assert row.worst <= np.abs(weight).max() / 2047 / 2 * (1 + 1e-3)
    assert row.sqnr > 60


def test_float_weights_have_no_steps():
    weight = np.random.default_rng(0).normal(0, 1, (10, 200)).astype(np.float32)
    (row,) = rows("clusters2-float", weight)
    assert row.worst_steps is None
    assert (row.file_bytes, row.theory_bytes, row.packed_bytes) == (8000, 500 + 16, 500 + 16 + 16)


def half_rows(scheme_name):
    weight = np.full((2, 300), 1.0, np.float32)
    weight[0, 0] = 1 + 2**-12  # between the half precisions 1 and 1 + 2**-10: stored as 1
    bias = np.zeros(300, np.float32)
    graph = draft((300,), lambda d, x: d(FullyConnected(), d(FullyConnected(), x, np.ones((300, 300)), bias), weight, None))
    made = make_plan(graph, {}, Request(scheme(scheme_name), target("cpu")))
    return weight_rows(graph, emit(graph, made), made)


def test_weights_in_half_precision_are_reported_and_their_biases_are_none():
    first, second = half_rows("float16")
    assert (first.stored, first.count, first.file_bytes, first.noise) == ("float16", 90_000, 180_000, 0)
    assert (second.count, second.file_bytes, second.worst, second.worst_steps) == (600, 1200, 2**-12, None)


def test_a_table_that_is_looked_up_in_is_a_weight_and_not_packed():
    """From -1.27 to 1.28 in 256 steps of 0.01: 0.004 is stored as 0."""
    table = np.float32([[-1.27, 0.004], [1.28, 0.0]])
    graph = draft((1,), lambda d, _: d(Gather(), table, np.int32([0, 1])))
    ranges = dict.fromkeys(graph.tensors, (-1.27, 1.28))
    made = make_plan(graph, ranges, Request(scheme("clusters1"), target("cpu")))
    (row,) = weight_rows(graph, emit(graph, made), made)
    assert row.op.startswith("GATHER")
    assert (row.count, row.file_bytes, row.packed_bytes, row.theory_bytes) == (4, 4, 4, 4)
    assert row.worst == pytest.approx(0.004, rel=1e-5)
    assert row.worst_steps == pytest.approx(0.4, rel=1e-4)


def test_over_all_names_the_worst_and_its_unit():
    found = {m.name: m for m in over_all(rows("clusters1"))}
    assert found["worst weight error"].unit == "units of the weight"
    assert "FULLY_CONNECTED" in found["worst weight error"].how
    assert "steps of its channel" in found["worst weight error"].how
    assert found["weight SQNR"].unit == "dB"
    assert over_all(()) == ()


def test_a_float_network_has_no_report():
    assert rows("float32") == ()
