"""Remedies on weights of few numbers: assignments re-chosen, tables and scales learned, biases corrected."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from drafts import draft, normal
from remedy_nets import noise, planned, planner

import intact
from intact.data import input_specs
from intact.network.weighted import weighted
from intact.ops.matmul import FullyConnected
from intact.planning.integer_graph import emit
from intact.planning.quantized import Quantized
from intact.remedies import apply, known
from intact.remedies.base import Context
from intact.remedies.bias import BiasCorrection
from intact.remedies.finetune import FineTune
from intact.remedies.rounding import LearnedRounding
from intact.remedies.straight_through import around, fake_cluster, fake_quantize, whole
from intact.remedies.student import Student
from intact.run.settings import Settings
from intact.simulate.engine import Program


def tables(network):
    graph, plan = network.graph, network.plan
    return [plan.at(found.weight.id, op.output).codebook for op in graph.ops if (found := weighted(graph, op)) is not None]


def test_gradients_go_to_what_is_stored_its_step_and_its_number():
    x = torch.tensor([[0.9, 3.2], [-1.0, 8.0]], requires_grad=True)
    s = torch.tensor([[1.0], [2.0]], requires_grad=True)
    table = torch.tensor([[-1.0, 1.0, 4.0]], requires_grad=True)
    y = fake_cluster(x, s, table, None)
    assert y.tolist() == [[1.0, 4.0], [-2.0, 8.0]]
    y.sum().backward()
    assert x.grad.tolist() == [[1, 1], [1, 1]]
    assert torch.allclose(s.grad, torch.tensor([[0.1 + 0.8], [-0.5 + 0.0]]))
    assert table.grad.tolist() == [[2.0, 1.0, 1.0 + 2.0]]


def test_gradients_to_the_step_and_the_table_are_those_of_small_changes():
    draw = torch.Generator().manual_seed(0)
    x, grad = (torch.randn(4, 30, generator=draw, dtype=torch.float64) for _ in range(2))
    s = torch.full((4, 1), 0.1, dtype=torch.float64)
    table = torch.sort(torch.randn(4, 5, generator=draw, dtype=torch.float64) * 10, 1).values.requires_grad_()
    (fake_cluster(x, s, table, 0) * grad).sum().backward()
    moved = table.detach().clone()
    moved[2, 3] += 1e-7  # too little to change what is nearest
    change = ((fake_cluster(x, s, moved, 0) - fake_cluster(x, s, table.detach(), 0)) * grad).sum() / 1e-7
    assert float(table.grad[2, 3]) == pytest.approx(float(change), rel=1e-5)


def test_gradients_to_the_step_are_summed_over_the_numbers_that_count_in_it():
    x = torch.tensor([[0.9, 3.3], [-2.2, 8.0]])
    multiples = torch.tensor([[1.0, 2.0], [1.0, 2.0]])
    s = torch.tensor([[1.0], [2.0]], requires_grad=True)
    y = fake_quantize(x, s * multiples, (-3, 3))
    assert y.tolist() == [[1.0, 4.0], [-2.0, 8.0]]
    y.sum().backward()
    assert torch.allclose(s.grad, torch.tensor([[0.1 + 2 * 0.35], [0.1 + 0.0]]), atol=1e-6)


def test_tables_are_whole_numbers_in_order_within_the_type():
    assert whole(torch.tensor([[3.4, -200.0, 1.6]]), 127).tolist() == [[-127, 2, 3]]


def test_a_weight_lies_between_two_numbers_of_its_table():
    low, high = around(torch.tensor([-9.0, -1.0, 0.0, 9.0]), torch.tensor([[-1.0, 2.0]]), None)
    assert low.tolist() == [-1, -1, -1, 2]
    assert high.tolist() == [-1, 2, 2, 2]


@pytest.mark.parametrize("scheme", ["clusters2", "clusters4", "w3a8", "w3a8-g16"])
def test_the_student_computes_what_is_emitted(scheme):
    network, _, _ = planned(scheme=scheme)
    student = Student(network.graph, network.plan)
    for op in network.integer().ops:
        found = weighted(network.integer(), op)
        if found is not None:
            held = (
                found.values * found.along(np.float32(found.weight.format.scale))
                if found.weight.format.axis is not None
                else None
            )
            read = student.read(found.weight.id, op, {}).detach().numpy()
            if held is not None:
                assert np.allclose(read, held, rtol=1e-5, atol=1e-7)


def alike(scheme):
    """A matrix product of samples that all lie along one direction: only what each row of weights sums to there counts."""
    graph = draft((32,), lambda d, x: d(FullyConnected(), x, normal(8, 32), np.zeros(8)))
    x = (normal(128, 1, seed=1) * normal(32, seed=2)).astype(np.float32)
    samples = intact.data.arrays(x).bind(input_specs(graph), None)
    make = planner(Settings(scheme=scheme), samples)
    return Quantized(graph, graph, make(graph)), samples, Context(make)


@pytest.mark.parametrize("scheme", ["clusters2", "clusters3", "w2a8", "w3a8", "w2a8-g16", "w3a8-g16"])
def test_learned_rounding_picks_other_numbers_of_the_same_tables_for_what_counts(scheme):
    network, samples, context = alike(scheme)
    made = LearnedRounding(steps=1500).apply(network, samples, context)
    assert tables(made) == tables(network)
    batch, _ = samples.batch(np.arange(len(samples)))
    exact, before, after = (
        next(iter(Program(graph)(batch).values())).numpy() for graph in (network.graph, network.integer(), made.integer())
    )
    assert np.square(after - exact).mean() < 0.4 * np.square(before - exact).mean()


@pytest.mark.parametrize("scheme", ["clusters2", "clusters3", "w3a8", "w3a8-g16"])
def test_fine_tuning_learns_tables_and_brings_the_output_nearer(scheme):
    network, samples, context = planned(scheme=scheme)
    made = FineTune(epochs=6, batch=16).apply(network, samples, context)
    assert noise(made, samples) < noise(network, samples)
    if scheme.startswith("clusters"):
        assert tables(made) != tables(network)
        assert all(x == round(x) and abs(x) <= 127 for table in tables(made) for row in table.values for x in row)


def test_remedies_that_learn_share_the_time_that_is_left(monkeypatch):
    network, samples, context = planned(scheme="clusters3")
    deadlines = {}

    def taking(name):
        def apply_it(_, network, __, context):
            deadlines[name] = context.deadline
            return network

        return apply_it

    for remedy in (BiasCorrection, LearnedRounding, FineTune):
        monkeypatch.setattr(remedy, "apply", taking(remedy.name))
    now = time.monotonic()
    remedies = known(["bias", "round", "finetune"])
    assert apply(remedies, network, samples, replace(context, deadline=now + 100)).remedies == ("bias", "round", "finetune")
    assert deadlines["bias"] == pytest.approx(now + 100)
    assert deadlines["round"] == pytest.approx(now + 50, abs=5)
    assert deadlines["finetune"] == pytest.approx(now + 100)
    apply(known(["round"]), network, samples, replace(context, deadline=now + 100))
    assert deadlines["round"] == pytest.approx(now + 100)


@pytest.mark.parametrize(("scheme", "epochs"), [("clusters3", 6), ("w2a8", 6), ("clusters4", 2), ("w4a8", 2), ("int8", 2)])
def test_fewer_than_four_bits_are_trained_for_longer(scheme, epochs):
    network, samples, context = planned(scheme=scheme)
    said = FineTune(epochs=2, batch=48, patience=99).apply(network, samples, context).log[-1]
    assert said.startswith(f"fine-tuned for {epochs} epochs on 96 samples")


@pytest.mark.parametrize(
    ("scheme", "before", "moves"), [("clusters4", (), True), ("clusters4", ("round",), False), ("w4a8", (), False)]
)
def test_tables_are_moved_by_their_own_rate_unless_rounding_was_learned(scheme, before, moves):
    network, samples, context = planned(scheme=scheme)
    network = replace(network, remedies=before)
    made = FineTune(epochs=6, batch=16, rate=0.0, scale_rate=0.0).apply(network, samples, context)
    same = all(np.array_equal(t.data, made.graph[t.id].data) for t in network.graph.constants())
    assert same is not moves


def test_fine_tuning_at_rate_zero_changes_nothing():
    network, samples, context = planned(scheme="clusters3")
    made = FineTune(epochs=1, batch=16, rate=0.0, table_rate=0.0, scale_rate=0.0).apply(network, samples, context)
    before, after = emit(network.graph, network.plan), emit(made.graph, made.plan)
    for t in before.constants():
        assert np.array_equal(t.data, after[t.id].data)


def test_bias_correction_takes_back_the_mean_shift():
    network, samples, context = planned(scheme="clusters1")
    made = BiasCorrection().apply(network, samples, context)
    assert noise(made, samples) < noise(network, samples)
    assert tables(made) == tables(network)
