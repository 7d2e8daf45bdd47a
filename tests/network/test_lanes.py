"""A network that takes one sample at a time is looked at, mended and trained as the same network with an open batch is."""

import warnings
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from closed import NETWORKS, attention, shuffled, turned, varied
from compare import assert_same
from drafts import draft, normal
from op_cases import CASES, graph_of, samples
from remedy_nets import planner

import intact
from intact.data import input_specs
from intact.diagnosis.diagnose import _magnitudes, diagnose
from intact.errors import DataError, UnsupportedError
from intact.formats import tflite
from intact.network.graph import State
from intact.network.lanes import Lanes
from intact.numbers.affine import Affine
from intact.ops.activation import Relu
from intact.ops.call import as_tuple
from intact.ops.elementwise import Add, Sub
from intact.ops.matmul import FullyConnected
from intact.ops.recurrent import UnidirectionalSequenceLstm
from intact.ops.reduction import Mean
from intact.ops.shaping import Pack, Reshape, ShapeOf, StridedSlice, Transpose
from intact.planning.quantized import Quantized
from intact.planning.ranges import ESTIMATORS
from intact.remedies import REMEDIES, apply, known
from intact.remedies.base import Context, look_at
from intact.remedies.finetune import FineTune
from intact.remedies.rounding import LearnedRounding
from intact.run.settings import Settings
from intact.runtime import litert
from intact.simulate.calibrate import observe
from intact.simulate.engine import Program, map_batches, run_batches
from intact.simulate.exact import IntegerProgram, exposed
from intact.simulate.noise import sensitivities

NETS = pytest.mark.parametrize("net", NETWORKS.values(), ids=NETWORKS)
RESHAPES = (Reshape, Transpose)


def samples_of(graph, n=80):
    return intact.data.arrays(varied(graph, n)).bind(input_specs(graph), None)


def batches_of(graph, n=80, size=32):
    x = varied(graph, n)
    return lambda: [{graph.input_names[0]: x[at : at + size]} for at in range(0, n, size)]


def planned(graph, scheme="int8"):
    samples = samples_of(graph)
    make = planner(Settings(scheme=scheme), samples)
    return Quantized(graph, graph, make(graph)), samples, Context(make)


def made(graph):
    """What ops make, without those that only regroup: the two spellings of a network differ in these."""
    return [op.output for op in graph.ops if not isinstance(op.kind, RESHAPES)]


# ---- one look at everything ---------------------------------------------------------------------------------------------


@NETS
def test_outputs_are_those_of_the_open_network(net):
    one, any_ = net(open_batch=False), net(open_batch=True)
    assert (Program(one).batches, Program(any_).batches) == (False, True)
    x = {"x0": varied(one, 7)}
    for a, b in zip(Program(one)(x).values(), Program(any_)(x).values(), strict=True):
        assert_same(a, b, rtol=1e-6)
        assert len(a) == 7


@NETS
def test_an_observer_is_told_once_of_all_samples(net):
    graph = net(open_batch=False)
    for program in (Program(graph), IntegerProgram(planned(graph)[0].integer())):
        told = []
        program({"x0": varied(graph, 7)}, lambda t, y, told=told: told.append((t.id, len(y))))
        count = Counter(i for i, _ in told)
        assert set(count.values()) == {1}
        assert {n for _, n in told} == {7}
        assert count.keys() >= set(made(graph))


@NETS
def test_calibration_sees_every_sample(net):
    one, any_ = net(open_batch=False), net(open_batch=True)
    a, b = (observe(g, batches_of(g), histogram=True) for g in (one, any_))
    for i, j in zip(made(one), made(any_), strict=True):
        assert_same(a[i].lows, b[j].lows, rtol=1e-6)
        assert_same(a[i].highs, b[j].highs, rtol=1e-6)
        assert a[i].counts.sum() == b[j].counts.sum() == 80 * np.prod([n or 1 for n in any_[j].shape])
        assert np.abs(a[i].counts - b[j].counts).sum() <= 4  # a value at the edge of a bin
        for name, estimator in ESTIMATORS.items():
            assert estimator.estimate(a[i]) == pytest.approx(estimator.estimate(b[j]), rel=1e-3, abs=1e-4), name


def test_the_activation_inside_of_an_lstm_is_not_taken_out_of_it():
    inputs = [normal(3, 2, seed=n) for n in range(4)] + [normal(3, 3, seed=n) for n in range(4)] + [None] * 16

    def build(d, x):
        return d(UnidirectionalSequenceLstm(), x, *inputs)[0]

    one, any_ = (draft((4, 2), build, open_batch=open_batch) for open_batch in (False, True))
    x = {"x0": normal(5, 4, 2)}
    assert_same(Program(one)(x)[one.output_names[0]], Program(any_)(x)[any_.output_names[0]], rtol=1e-5)


def test_a_range_is_that_of_all_samples_by_hand():
    graph = draft((2,), lambda d, x: d(Relu(), d(Reshape(), x, [2])), open_batch=False)
    assert graph[1].shape == (2,) or graph[2].shape == (2,)  # no batch axis in the middle
    x = np.array([[1, -5], [2, 3], [-7, 9]], np.float32)
    seen = observe(graph, lambda: [{"x0": x}])
    assert_same(seen[2].lows, np.array([-5, 2, -7], np.float32))
    assert_same(seen[2].highs, np.array([1, 3, 9], np.float32))


@NETS
def test_remedies_look_at_every_sample(net):
    one, any_ = net(open_batch=False), net(open_batch=True)
    ids = [
        (i, j)
        for i, j in zip(made(one), made(any_), strict=True)
        if len(one[i].shape) > 1 and one[i].shape[-1] == any_[j].shape[-1]
    ]
    looks = []
    for graph, side in ((one, 0), (any_, 1)):
        wanted = {pair[side] for pair in ids}
        found = look_at(
            graph, wanted, samples_of(graph), Context(None), lambda y: y.reshape(-1, y.shape[-1]).amax(0), torch.maximum
        )
        looks.append([found[pair[side]] for pair in ids])
    for a, b in zip(*looks, strict=True):
        assert_same(a, b, rtol=1e-6)


@NETS
def test_a_diagnosis_looks_at_every_sample(net):
    one, any_ = net(open_batch=False), net(open_batch=True)
    (channels, sizes), (same_channels, same_sizes) = (_magnitudes(g, samples_of(g)) for g in (one, any_))
    for i, j in zip(made(one), made(any_), strict=True):
        if one[i].shape[-1] == any_[j].shape[-1]:
            assert_same(channels[i], same_channels[j], rtol=1e-6)
        assert_same(sizes[i], same_sizes[j], rtol=1e-6)


@NETS
def test_decibels_of_a_diagnosis_are_those_of_the_open_network(net):
    found = []
    for open_batch in (False, True):
        network, samples, _ = planned(net(open_batch))
        rows = {row.output: row for row in diagnose(network, samples).activations}
        found.append([rows[i] for i in made(network.graph)])
    for a, b in zip(*found, strict=True):
        for name in ("simulated", "runtime", "own"):
            assert getattr(a, name) == pytest.approx(getattr(b, name), abs=0.3), (a, b)


@NETS
def test_noise_of_ops_is_that_of_the_open_network(net):
    one, any_ = ({row.output: row.noise for row in sensitivities(*planned(net(o))[:2])} for o in (False, True))
    graphs = net(open_batch=False), net(open_batch=True)
    for i, j in zip(made(graphs[0]), made(graphs[1]), strict=True):
        assert (i in one) == (j in any_)  # else it stays in float
        if i in one:
            assert one[i] == pytest.approx(any_[j], rel=0.02, abs=1e-9)
    assert sum(i in one for i in made(graphs[0])) > 3


# ---- remedies -----------------------------------------------------------------------------------------------------------


def noise(network, samples):
    x = [batch for batch, _ in samples.batches(40)]
    exact, rounded = (run_batches(Program(g), x) for g in (network.reference, network.integer()))
    return sum(float(np.square(y - rounded[name]).sum() / np.square(y).sum()) for name, y in exact.items())


@NETS
@pytest.mark.parametrize("name", [name for name in REMEDIES if name not in {"round", "finetune"}])
def test_a_remedy_does_what_it_does_to_the_open_network(net, name):
    mended = []
    for open_batch in (False, True):
        network, samples, context = planned(net(open_batch), "w4a8" if name.startswith("bias") else "int8")
        after = apply(known([name]), network, samples, context)
        read = (i for op in after.graph.ops for i in op.reads if op.kind.weight is not None)
        mended.append((after, [after.graph[i].data for i in read if after.graph[i].is_constant]))
    (one, weights), (any_, same) = mended
    for w, v in zip(weights, same, strict=True):
        assert_same(w, v, atol=1e-4 * max(1, np.abs(v).max()))
    for i, j in zip(made(one.graph), made(any_.graph), strict=True):
        a, b = one.plan.own(i), any_.plan.own(j)
        assert a.dtype == b.dtype
        if isinstance(a, Affine):
            assert a.range == pytest.approx(b.range, rel=0.02, abs=1e-3)


@pytest.mark.parametrize(
    ("net", "remedy"),
    [(attention, LearnedRounding(steps=80)), (turned, FineTune(epochs=8, batch=16))],
    ids=["round", "finetune"],
)
def test_what_learns_learns_as_much_as_of_the_open_network(net, remedy):
    gains = []
    for open_batch in (False, True):
        network, samples, context = planned(net(open_batch), "w4a8")
        gains.append(noise(apply([remedy], network, samples, context), samples) / noise(network, samples))
    assert gains[0] < 0.9
    assert gains[0] == pytest.approx(gains[1], rel=0.25)


# ---- the kernels --------------------------------------------------------------------------------------------------------


@NETS
def test_exact_integers_of_a_closed_network_are_the_kernels(net, tmp_path):
    shown = exposed(planned(net(open_batch=False))[0].integer())
    path = tmp_path / "m.tflite"
    path.write_bytes(tflite.write(shown))
    x = varied(shown, 9)
    ran = litert.run(path, {shown.input_names[0]: x}, kernels="reference", raw=True)
    ours = IntegerProgram(shown, "reference")({shown.input_names[0]: x})
    assert len(ran) >= len(made(shown))
    for name, y in ran.items():
        if name in ours and ours[name].dtype in (torch.int8, torch.int16):
            assert_same(ours[name], y)


@NETS
def test_a_closed_network_is_quantized_as_well_as_an_open_one(net, tmp_path):
    found = []
    for open_batch in (False, True):
        graph = net(open_batch)
        path = tmp_path / "m.tflite"
        path.write_bytes(tflite.write(graph))
        x = varied(graph, 200)
        result = intact.quantize(path, intact.data.arrays(x[:100]), evaluation=intact.data.arrays(x[100:]))
        found.append(
            [r.measurement.value for r in result.readings if r.measurement.name.startswith("SQNR") and r.of == "quantized"]
        )
    assert found[0] == pytest.approx(found[1], abs=0.5)
    assert min(found[0]) > 17


# ---- several samples together -------------------------------------------------------------------------------------------


def together(graph, k):
    """An open network with its batch fixed at k."""
    return replace(
        graph, tensors={i: replace(t, shape=(k, *t.shape[1:])) if None in t.shape else t for i, t in graph.tensors.items()}
    )


@pytest.mark.parametrize("n", [1, 3, 4, 10])
@NETS
def test_samples_that_fill_up_the_last_batch_are_not_seen(net, n):
    any_ = net(open_batch=True)
    four = together(any_, 4)
    assert Lanes(four).size == 4
    a, b = (observe(g, batches_of(g, n, 7), histogram=True) for g in (four, any_))
    for i in made(any_):
        assert_same(a[i].lows, b[i].lows, rtol=1e-6, atol=1e-5)
        assert_same(a[i].highs, b[i].highs, rtol=1e-6)
        assert a[i].counts.sum() == b[i].counts.sum()
    x = {"x0": varied(any_, n)}
    for y, same in zip(Program(four)(x).values(), Program(any_)(x).values(), strict=True):
        assert_same(y, same, rtol=1e-6)


def test_what_does_not_tell_samples_together_apart_is_seen_whole():
    """The batch of 4 goes to the back of [4, 2, 4]: axis 0 has 4 as well, and is not the samples."""
    turn = together(draft((2, 4), lambda d, x: d(Relu(), d(Transpose(), x, [2, 1, 0]))), 4)
    behind = {op.output: replace(turn[op.output], shape=(4, 2, 4)) for op in turn.ops}
    graph = replace(turn, tensors={**turn.tensors, **behind})
    x = np.random.default_rng(0).normal(0, 1, (6, 2, 4)).astype(np.float32)
    seen = observe(graph, lambda: [{"x0": x}], histogram=True)
    assert seen[graph.inputs[0]].counts.sum() == 6 * 8
    assert seen[graph.outputs[0]].counts.sum() == 2 * 32  # both batches, with what fills the second
    assert seen[graph.outputs[0]].extremes == (0.0, float(x.max()))


def test_a_network_that_mixes_its_batch_is_run_as_the_runtime_runs_it(tmp_path):
    graph = together(draft((3,), lambda d, x: d(Sub(), x, d(Mean(keep_dims=True), x, [0]))), 4)
    graph = replace(
        graph, tensors={i: replace(t, shape=(1, 3)) if i == graph.ops[0].output else t for i, t in graph.tensors.items()}
    )
    path = tmp_path / "m.tflite"
    path.write_bytes(tflite.write(graph))
    x = varied(graph, 6)
    ((name, y),) = Program(graph)({"x0": x}).items()
    assert_same(y, litert.run(path, {"x0": x})[name], rtol=1e-6)


def test_remedies_that_need_single_samples_say_what_to_do():
    graph = together(shuffled(open_batch=True), 4)
    network, samples, context = planned(graph)
    for name in ("equalize", "clip", "bias-analytic"):
        assert apply(known([name]), network, samples, context).log
    with pytest.raises(
        UnsupportedError, match="learns from samples one by one, and this model takes 4 together: export it with"
    ):
        apply(known(["bias"]), network, samples, context)


def test_remedies_that_take_samples_in_any_order_refuse_a_network_that_keeps_state():
    graph = draft((3,), lambda d, x: d(Add(), x, d.input((3,))), open_batch=False)
    (kept,) = (op.inputs[1] for op in graph.ops)
    graph = replace(graph, states=(State("sum", kept, graph.outputs[0], np.zeros((1, 3))),))
    network, samples, context = planned(graph)
    assert apply(known(["clip"]), network, samples, context).log
    with pytest.raises(UnsupportedError, match="keeps 'sum' from one to the next: leave finetune out"):
        apply(known(["finetune"]), network, samples, context)


def test_inputs_of_different_batch_sizes_are_refused():
    graph = draft((4,), lambda d, x: d(Add(), x, d.input((4,))), open_batch=False)
    second = next(i for i in graph.tensors if i not in graph.inputs and not graph[i].is_constant and i not in graph.outputs)
    graph = replace(graph, inputs=(0, second), tensors=graph.tensors | {second: replace(graph[second], shape=(2, 4))})
    with pytest.raises(DataError, match="inputs of different batch sizes"):
        Program(graph)({"x0": np.zeros((4, 4), np.float32), graph[second].name: np.zeros((4, 4), np.float32)})


# ---- what lanes must take -----------------------------------------------------------------------------------------------


def test_shapes_that_are_computed_from_the_input_are_those_of_one_sample():
    def build(d, x):
        size = d(StridedSlice(shrink_axis_mask=1), d(ShapeOf(), x), [1], [2], [1])
        return d(Relu(), d(Reshape(), x, d(Pack(), size, np.int32(3))))

    graph = draft((4, 3), build, open_batch=False)
    x = varied(graph, 5)
    assert_same(next(iter(Program(graph)({"x0": x}).values())), np.maximum(x, 0).reshape(5, 4, 3))


def test_fused_activations_are_clamped_in_every_lane(recwarn):
    graph = draft(
        (6,),
        lambda d, x: d(Reshape(), d(FullyConnected(activation="relu6"), x, normal(3, 6), normal(3)), [3]),
        open_batch=False,
    )
    y = next(iter(Program(graph)({"x0": 20 * varied(graph, 50)}).values()))
    assert (float(y.min()), float(y.max())) == (0.0, 6.0)
    assert not recwarn.list  # vmap warns where it is slow


@pytest.mark.parametrize("case", [case for case in CASES if case.flows], ids=lambda case: case.id)
def test_every_op_kind_computes_each_lane_by_itself(case):
    graph = graph_of(case)
    (op,), several = graph.ops, 3
    runs = [dict(zip(graph.inputs, samples(case, seed).values(), strict=True)) for seed in range(several)]
    constants = {t.id: torch.from_numpy(np.array(t.data)) for t in graph.constants()}
    known = [{i: torch.as_tensor(x) for i, x in run.items()} | constants for run in runs]
    given = [[None if i is None else values[i] for i in op.inputs] for values in known]
    stacked = (xs[0] if i is None or i in constants else torch.stack(xs) for i, *xs in zip(op.inputs, *given, strict=True))
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("error")  # vmap warns where it is slow
        made = Lanes(graph).compute(op, op.kind, tuple(stacked))
        expected = [as_tuple(op.kind.compute(*one)) for one in given]
    for y, *each in zip(made, *expected, strict=True):
        assert_same(y, torch.stack(each), atol=1e-5)


def test_lanes_are_the_same_on_any_number_of_cores():
    graph = turned(open_batch=False)
    x = [{"x0": varied(graph, 8, seed)} for seed in range(6)]
    one, three = (list(map_batches(Program(graph), x, threads=threads)) for threads in (1, 3))
    for a, b in zip(one, three, strict=True):
        for name, y in a.items():
            assert_same(y, b[name])


# ---- memory -------------------------------------------------------------------------------------------------------------


def test_extremes_of_many_samples_are_folded():
    graph = draft((2,), lambda d, x: d(Relu(), x))
    x = np.random.default_rng(0).normal(0, 1, (5000, 2)).astype(np.float32)
    x[7] = -50, 40
    few, many = (
        observe(graph, lambda size=size: ({"x0": x[i : i + size]} for i in range(0, 5000, size))) for size in (32, 5000)
    )
    for seen in (few, many):
        assert len(seen[0].lows) == len(seen[0].highs) == 1024
        assert seen[0].extremes == (-50.0, 40.0)
        assert_same(seen[0].lows[1:], x.min(1)[-1023:])


def test_looks_are_folded_as_they_come():
    """One activation is held for no more batches than cores work on."""
    graph = draft((1000,), lambda d, x: d(Relu(), x))
    folded = []

    def fold(a, b):
        folded.append(len(folded))
        return a + b

    samples = intact.data.arrays(np.ones((320, 1000), np.float32)).bind(input_specs(graph), None)
    seen = look_at(graph, {0}, samples, Context(None), lambda y: y.sum(0), fold)
    assert_same(seen[0], np.full(1000, 320, np.float32))
    assert len(folded) == 9
