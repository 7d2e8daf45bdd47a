"""Compensated rounding: the sums that it sees are the op's own, and no single weight that changes makes them better."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from compare import assert_same
from drafts import draft, normal
from nets import mobile
from remedy_nets import SIDE, planned, planner

import intact
from intact.data import input_specs
from intact.network.graph import Graph, Op, Tensor
from intact.network.weighted import weighted
from intact.numbers.affine import Affine, dequantize_array, quantize_array, quantize_weight
from intact.ops.convolution import Conv2D, DepthwiseConv2D
from intact.ops.elementwise import Add
from intact.ops.matmul import FullyConnected
from intact.planning.quantized import Quantized
from intact.planning.steps import stored_as_integers
from intact.remedies import apply, known
from intact.remedies.base import Context
from intact.remedies.compensate import _moments, _Sums
from intact.remedies.moments import Moments, by_table, compensated
from intact.rewrite.lowerings import lower
from intact.run.settings import Settings
from intact.simulate.engine import Program


def whole(x):
    return x.round().clip(-7, 7)


def moments(x, y):
    """Of samples ``x`` [n, k] and sums ``y`` [n, m], about 0."""
    return Moments((x.T @ x / len(x))[None], (y.T @ x / len(x))[None], y.square().mean(0)[None])


def made_of(x, weight, nearest=whole, scale=1.0):
    """The weights [m, k] for inputs ``x`` [n, k]."""
    m = moments(x, x @ weight.T)
    return compensated(m, weight[None], torch.full((1, len(weight), 1), scale, dtype=torch.float64), nearest)[0]


def test_one_of_two_equal_inputs_makes_up_for_the_other():
    """0.4 and 0.4 of the same number are 0.8 of it: 1 is nearer than 0 + 0."""
    x = torch.tensor([[1.0, 1.0], [2.0, 2.0], [-1.0, -1.0]], dtype=torch.float64)
    made = made_of(x, torch.tensor([[0.4, 0.4]], dtype=torch.float64))
    assert sorted(made[0].tolist()) == [0.0, 1.0]


def test_moments_that_rounding_left_of_a_large_mean_are_no_error():
    """The least eigenvalue is far below 0, which no second moments have."""
    turn = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))[0]
    h = (turn @ torch.diag(torch.tensor([1.0, 1.0, 1.0, -0.5], dtype=torch.float64)) @ turn.T)[None]
    weight = torch.tensor([[[0.4, -1.2, 2.3, 0.1]]], dtype=torch.float64)
    moments = Moments(h, weight @ h, torch.ones(1, 1, dtype=torch.float64))
    got = compensated(moments, weight, torch.ones(1, 1, 1, dtype=torch.float64), np.round)
    assert torch.equal(got, got.round())
    assert (got - weight).abs().max() < 3


def test_what_varies_little_beside_its_mean_keeps_its_moments():
    """In float64 by the plain sums; float32's would be wrong by more than the variance."""
    draw = np.random.default_rng(0)
    x = torch.from_numpy((100 + 0.001 * draw.normal(size=(2, 5000, 3))).astype(np.float32))
    y = torch.from_numpy((50 + 0.01 * draw.normal(size=(2, 5000, 4))).astype(np.float32))
    xx, yx, yy, sx, sy, n = _moments(x, y)
    wide, out = x.double(), y.double()
    assert n == 5000
    for got, sums in ((sx, wide.sum(1)), (sy, out.sum(1)), (yy, out.square().sum(1)), (yx, out.mT @ wide)):
        torch.testing.assert_close(got, sums, rtol=1e-12, atol=0)
    variance = (xx - sx[:, :, None] * sx[:, None, :] / n) / n
    right = torch.stack([torch.from_numpy(np.cov(part.numpy().T, bias=True)) for part in wide])
    torch.testing.assert_close(variance, right, rtol=1e-3, atol=1e-9)


def test_inputs_that_vary_apart_are_rounded_to_the_nearest():
    x = torch.eye(3, dtype=torch.float64)
    assert made_of(x, torch.tensor([[0.4, 1.6, -2.3]], dtype=torch.float64))[0].tolist() == [0.0, 2.0, -2.0]


@pytest.mark.parametrize("count", [5, 70, 200])
def test_no_single_change_betters_the_sums_and_a_channel_is_better_than_by_the_nearest(count):
    generator = torch.Generator().manual_seed(count)
    x = torch.randn(400, 8, generator=generator).double() @ torch.randn(8, count, generator=generator).double()
    x += 0.3 * torch.randn(400, count, generator=generator).double()
    weight = 3 * torch.randn(6, count, generator=generator).double()
    made = made_of(x, weight)
    off = (x @ (made - weight).T).square().mean(0)
    nearest = (x @ (whole(weight) - weight).T).square().mean(0)
    assert (off <= nearest).all()
    assert off.mean() < (0.9 if count == 5 else 0.2) * nearest.mean()
    assert made.abs().max() <= 7
    if count == 5:  # ended: the others may have had sweeps left
        pull = 0.01 * x.square().mean()
        cost = off + pull * (made - weight).square().sum(-1)
        for j in range(count):
            for step in (-1, 1):
                other = made.clone()
                other[:, j] = (other[:, j] + step).clamp(-7, 7)
                changed = (x @ (other - weight).T).square().mean(0) + pull * (other - weight).square().sum(-1)
                assert (changed >= cost - 1e-9).all()


def test_a_table_gives_its_own_numbers():
    table = torch.tensor([[-5.0, 0.0, 1.0, 6.0]], dtype=torch.float64)
    x = torch.randn(50, 4, generator=torch.Generator().manual_seed(1)).double()
    made = made_of(x, torch.tensor([[0.7, 4.0, -2.6, -9.0]], dtype=torch.float64), by_table(table))
    assert set(made[0].tolist()) <= {-5.0, 0.0, 1.0, 6.0}
    own = by_table(torch.tensor([[0.0, 1.0], [10.0, 20.0]], dtype=torch.float64))
    assert own(np.array([[0.9, 14.0]])).tolist() == [[1.0, 10.0]]


CASES = {
    "conv": (Conv2D(stride=(2, 1), padding="same"), (1, 7, 6, 3), (4, 3, 3, 3)),
    "grouped conv": (Conv2D(padding="valid"), (1, 6, 6, 4), (6, 3, 3, 2)),
    "dilated conv": (Conv2D(padding="same", dilation=(2, 2)), (1, 7, 7, 2), (3, 3, 3, 2)),
    "depthwise": (DepthwiseConv2D(padding="same"), (1, 5, 6, 3), (1, 3, 3, 3)),
    "depthwise, two for each": (DepthwiseConv2D(stride=(2, 2), padding="same", depth_multiplier=2), (1, 5, 6, 3), (1, 3, 3, 6)),
    "fully connected": (FullyConnected(), (1, 9), (5, 9)),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_summed_times_the_weight_is_the_sum(name):
    kind, shape, weight = CASES[name]
    draw = np.random.default_rng(0)
    x, w = draw.normal(size=(3, *shape[1:])).astype(np.float32), draw.normal(size=weight).astype(np.float32)
    made = kind.compute(torch.from_numpy(x), torch.from_numpy(w), None)
    tensors = {
        0: Tensor(0, "x", (None, *shape[1:])),
        1: Tensor(1, "w", weight, data=w),
        2: Tensor(2, "y", (None, *made.shape[1:])),
    }
    op = Op(kind, (0, 1), (2,))
    graph = Graph(tensors, (op,), (0,), (2,))
    sums = _Sums(weighted(graph, op), graph)
    rows = [kind.compute(torch.from_numpy(x), each, None).reshape(-1, sums.groups, sums.at_once) for each in sums.each]
    summed = torch.stack(rows, -1).reshape(-1, sums.groups, sums.count)
    assert sums.groups == {"grouped conv": 2, "depthwise": 3, "depthwise, two for each": 3}.get(name, 1)
    again = torch.einsum("pgk,gmk->pgm", summed, sums.rows(torch.from_numpy(w))).reshape(made.shape)
    assert_same(again, made, atol=1e-4)
    assert torch.equal(sums.weight(sums.rows(torch.from_numpy(w))), torch.from_numpy(w))


def smooth(**options):
    """A network as planned, with pictures whose neighbouring pixels are alike, as those of photos are."""
    graph = lower(mobile(seed=5, side=SIDE), "cpu", "int8")
    few = torch.from_numpy(np.random.default_rng(2).uniform(-1, 1, (96, 3, 3, 3)).astype(np.float32))
    x = torch.nn.functional.interpolate(few, size=(SIDE, SIDE), mode="bilinear").permute(0, 2, 3, 1).numpy()
    samples = intact.data.arrays(x).bind(input_specs(graph), None)
    make = planner(Settings(**options), samples)
    return Quantized(graph, graph, make(graph)), samples, Context(make)


def first_sums_off(network, samples):
    """The variance, over all channels and positions, of what rounding its weights does to the sums of the first convolution."""
    (one, *_) = stored_as_integers(network.graph, network.plan)
    fmt, batch = network.plan.at(one.weight.id, one.op.output), samples.batch(np.arange(len(samples)))[0]
    data = np.asarray(network.graph[one.weight.id].data)
    stored = dequantize_array(quantize_array(data, fmt), fmt) - np.asarray(network.reference[one.weight.id].data)
    return float(one.kind.plain.compute(torch.from_numpy(batch["image"]), torch.from_numpy(stored), None).var((0, 1, 2)).sum())


@pytest.mark.parametrize("options", [{}, {"scheme": "w4a8"}, {"weights": "per-tensor"}])
def test_a_network_is_nearer_to_float_and_its_weights_are_on_their_grid(options):
    network, samples, context = smooth(**options)
    made = apply(known(["compensate"]), network, samples, context)
    assert first_sums_off(made, samples) < 0.5 * first_sums_off(network, samples)
    assert made.plan is network.plan
    changed = 0
    for one in stored_as_integers(made.graph, made.plan):
        fmt, data = made.plan.at(one.weight.id, one.op.output), np.asarray(one.weight.data)
        assert isinstance(fmt, Affine)
        assert_same(dequantize_array(quantize_array(data, fmt), fmt), data, atol=1e-6)
        before = np.asarray(network.graph[one.weight.id].data)
        steps = quantize_array(data, fmt).astype(int) - quantize_array(before, fmt)
        changed += int((steps != 0).sum())
    assert changed > 0
    said = int(re.match(r"rounded ([\d,]+) numbers in the weights of 3 ops", made.log[-1])[1].replace(",", ""))
    assert abs(said - changed) <= 2  # the one or other lies just between two numbers
    assert made.remedies == ("compensate",)


@pytest.mark.parametrize("options", [{"scheme": "w2a8"}, {"scheme": "w3a8"}, {"scheme": "dynamic-w2"}])
def test_few_bits_count_in_wider_steps_where_sums_gain(options, monkeypatch):
    """The largest number of a channel, which the steps that lose least of its weights clip, meets the largest input."""
    w = normal(32, 64)
    w[:, 0] = np.where(w[:, 0] > 0, 1.0, -1.0) * (3.5 if options["scheme"] == "w3a8" else 1.8)
    graph = draft((64,), lambda d, x: d(FullyConnected(), x, w, normal(32)))
    x = np.random.default_rng(0).normal(size=(1000, 64)).astype(np.float32)
    x[:, 0] *= 10
    samples = intact.data.arrays(x[:800]).bind(input_specs(graph), None)
    make = planner(Settings(**options), samples)
    network = Quantized(graph, graph, make(graph))
    made = apply(known(["compensate"]), network, samples, Context(make))
    monkeypatch.setattr("intact.remedies.compensate._WIDER", (1.0,))
    kept = apply(known(["compensate"]), network, samples, Context(make))
    assert kept.plan is network.plan
    graphs = graph, kept.integer(), made.integer()
    exact, *others = (next(iter(Program(g)({"x0": x[800:]}).values())) for g in graphs)
    off = [float((y - exact).var(0).mean()) for y in others]
    assert off[1] < 0.8 * off[0]
    i = weighted(graph, graph.ops[0]).weight.id
    times = np.divide(*(np.asarray(n.plan.own(i).scale) for n in (made, network)))
    assert {round(float(t), 4) for t in times} <= {1.0, 1.2, 1.4, 1.6, 1.8}
    assert made.log[-1].endswith(f"; the steps of {(times > 1.01).sum()} channels are wider")
    fmt, data = made.plan.own(i), np.asarray(made.graph[i].data)
    assert_same(dequantize_array(quantize_weight(data, fmt), fmt), data, atol=1e-6)
    if options["scheme"] != "dynamic-w2":
        (one,) = (found for op in made.integer().ops if (found := weighted(made.integer(), op)) is not None)
        assert_same(np.asarray(one.bias.format.scale), np.asarray(fmt.scale) * one.data.format.scale[0], rtol=1e-6)


@pytest.mark.parametrize("options", [{"scheme": "w4a8"}, {"scheme": "w2a8", "weights": "per-tensor"}, {"scheme": "clusters2"}])
def test_other_steps_stay(options):
    network, samples, context = planned(**options)
    assert apply(known(["compensate"]), network, samples, context).plan is network.plan


@pytest.mark.parametrize("scheme", ["w4a8", "dynamic-w4"])
def test_the_mean_of_every_sum_is_that_of_float(scheme):
    network, samples, context = planned(scheme=scheme)
    made = apply(known(["compensate"]), network, samples, context)
    batch, _ = samples.batch(np.arange(len(samples)))
    seen = ({}, {})
    with torch.inference_mode():
        for program, into in zip((Program(network.reference), Program(made.integer())), seen, strict=True):
            program(batch, lambda tensor, y, into=into: into.setdefault(tensor.name, y.reshape(-1, y.shape[-1]).mean(0)))
    last = network.graph[network.graph.ops[-2].outputs[0]].name  # the logits: no activation clamps them
    spread = seen[0][last].abs().max()
    assert (seen[0][last] - seen[1][last]).abs().max() < 0.05 * spread


def test_what_others_of_the_samples_lose_by_is_not_done(monkeypatch):
    """Judges that see only noise take nothing: every weight stays as it is."""
    network, samples, context = planned()
    monkeypatch.setattr(Moments, "error", lambda _, q: torch.zeros(q.shape[:2], dtype=torch.float64))
    made = apply(known(["compensate"]), network, samples, context)
    assert "nan" not in made.log[-1]
    for one in stored_as_integers(made.graph, made.plan):
        fmt, before = made.plan.at(one.weight.id, one.op.output), np.asarray(network.graph[one.weight.id].data)
        assert_same(np.asarray(one.weight.data), dequantize_array(quantize_array(before, fmt), fmt), atol=1e-6)


@pytest.mark.parametrize("scheme", ["int8", "dynamic-w4"])
def test_weights_do_not_make_up_for_a_bias_that_another_op_reads_too(scheme):
    """A bias of 50 is no part of the sums, though it may not be corrected for one op alone."""
    draw = np.random.default_rng(0)
    weights = [draw.normal(size=(4, 64)).astype(np.float32) for _ in range(2)]

    def build(d, x):
        bias = d.constant(np.full(4, 50.0))
        return d(Add(), *(d(FullyConnected(), x, w, bias) for w in weights))

    graph = draft((64,), build)
    x = (0.5 + draw.random((200, 64))).astype(np.float32)
    samples = intact.data.arrays(x).bind(input_specs(graph), None)
    make = planner(Settings(scheme=scheme), samples)
    network = Quantized(graph, graph, make(graph))
    made = apply(known(["compensate"]), network, samples, Context(make))
    for op in graph.ops[:2]:
        before, after = (np.asarray(weighted(g, op).weight.data) for g in (graph, made.graph))
        step = np.asarray(made.plan.own(weighted(graph, op).weight.id).scale).max()
        assert np.abs(after - before).max() < 4 * step
        sums = [(x[:, None] * w).sum(-1).mean(0) for w in (before, after)]
        assert np.abs(sums[0] - sums[1]).max() < 1.5 * step
    assert made.graph.ops == graph.ops


def test_numbers_of_a_channel_may_count_in_steps_of_their_own():
    """0.4 and 0.4 of one number: halves hold the second as it is, the first is rounded in ones."""
    x = torch.tensor([[1.0, 0.5], [2.0, -2.0], [-1.0, 0.3]], dtype=torch.float64)
    steps = torch.tensor([[[1.0, 0.25]]], dtype=torch.float64)
    weight = torch.tensor([[1.1, 0.75]], dtype=torch.float64)
    made = compensated(moments(x, x @ weight.T), weight[None], steps, whole)[0]
    assert made[0].tolist() == [1.0, 0.75]


def test_weights_in_blocks_stay_on_the_grids_of_their_blocks():
    def build(d, x):
        return d(FullyConnected(), d(FullyConnected(), x, normal(64, 64), normal(64)), normal(8, 64), normal(8))

    graph = draft((64,), build)
    x = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32) @ normal(4, 64)
    samples = intact.data.arrays(x).bind(input_specs(graph), None)
    make = planner(Settings(scheme="dynamic-w4-g32"), samples)
    network = Quantized(graph, graph, make(graph))
    made = apply(known(["compensate"]), network, samples, Context(make))
    for op in graph.ops:
        i = weighted(graph, op).weight.id
        fmt, data = made.plan.own(i), np.asarray(made.graph[i].data)
        assert fmt.block_scales is not None
        assert_same(dequantize_array(quantize_weight(data, fmt), fmt), data, atol=1e-6)
    exact, *others = (next(iter(Program(g)({"x0": x}).values())) for g in (graph, network.integer(), made.integer()))
    off = [float((y - exact).square().mean()) for y in others]
    assert off[1] < 0.1 * off[0]


def test_without_time_weights_stay_as_they_are():
    network, samples, context = planned(scheme="w4a8")
    made = apply(known(["compensate"]), network, samples, replace(context, deadline=0.0))
    assert all(
        np.array_equal(made.graph[i].data, t.data)
        for i, t in network.graph.tensors.items()
        if t.data is not None and t.data.ndim > 1
    )


def test_a_run_on_one_thread_gives_the_same_bits():
    network, samples, context = planned(scheme="w4a8")
    threads = torch.get_num_threads()
    found = []
    for count in (1, 2):
        torch.set_num_threads(count)
        try:
            found.append(apply(known(["compensate"]), network, samples, context).graph)
        finally:
            torch.set_num_threads(threads)
    weights = [t.id for t in found[0].constants() if t.is_float and t.data.ndim > 1]
    assert all(np.array_equal(found[0][i].data, found[1][i].data) for i in weights)
