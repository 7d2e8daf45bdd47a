"""Calibrate, estimate and plan: what the one function that does so gives for what is asked."""

import pytest
from nets import mobile
from remedy_nets import SIDE, samples_of

from intact.numbers.affine import Affine
from intact.planning.planner import make_plan
from intact.rewrite.lowerings import lower
from intact.run.as_planned import observed, plan_of, ranges_taken
from intact.run.settings import Settings
from intact.simulate.calibrate import observe


@pytest.fixture(scope="module")
def network():
    graph = lower(mobile(seed=5, side=SIDE), "cpu", "int8")
    return graph, samples_of(graph, 64)


def by_batches(samples):
    return lambda: (batch for batch, _ in samples.batches())


def test_with_minmax_the_plan_is_that_of_the_extremes(network):
    graph, samples = network
    settings = Settings(ranges="minmax")
    extremes = {i: o.extremes for i, o in observe(graph, by_batches(samples)).items()}
    made = plan_of(graph, samples, settings)
    assert made.plan.to_json() == make_plan(graph, extremes, settings.request()).to_json()
    assert (made.ranges, made.request) == ("minmax", settings.request())


def test_what_was_seen_is_not_looked_at_again(network):
    graph, samples = network
    settings = Settings(ranges="mse")
    seen = observed(graph, by_batches(samples), settings)
    assert all(o.counts is not None for o in seen.values())
    assert plan_of(graph, None, settings, seen=seen).plan.to_json() == plan_of(graph, samples, settings).plan.to_json()


def test_ops_are_kept_precise_as_the_target_can(network):
    """In float on a cpu; at 16 bits on a microcontroller, which has no floats."""
    graph, samples = network
    conv = graph.ops[0].output
    cpu, mcu = (plan_of(graph, samples, Settings(target=t), precise=(conv,)).plan for t in ("cpu", "mcu"))
    assert not isinstance(cpu.own(conv), Affine)
    assert mcu.own(conv).dtype == "int16"
    assert plan_of(graph, samples, Settings()).plan.own(conv).dtype == "int8"


@pytest.mark.parametrize(
    ("gains", "ranges", "said"),
    [
        ({}, "minmax", "minmax over the calibration samples"),
        ({"y": 0.4}, "minmax", "minmax over the calibration samples"),
        (
            {"y": 3.0},
            "moving",
            "moving over the calibration samples, 3.0 dB better at the output than minmax on samples held out",
        ),
    ],
)
def test_the_chosen_estimator_is_named_and_said(network, monkeypatch, gains, ranges, said):
    graph, samples = network
    monkeypatch.setattr("intact.run.as_planned._gains_of_moving", lambda *_: gains)
    made = plan_of(graph, samples, Settings())
    assert (made.ranges, made.request.ranges_from) == (ranges, said)
    assert len(ranges_taken(made.plan)) == (ranges == "moving")
    same = plan_of(graph, samples, Settings(ranges=ranges)).plan
    assert {i: entry.format for i, entry in made.plan.tensors.items()} == {i: e.format for i, e in same.tensors.items()}


def test_a_scheme_in_float_needs_no_samples(network):
    graph, _ = network
    settings = Settings(scheme="float16")
    made = plan_of(graph, None, settings)
    assert made.plan.scheme == "float16"
    assert made.plan.to_json() == make_plan(graph, {}, settings.request()).to_json()
