"""Each remedy does what its paper says, and the trainable network is the network that is written."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from compare import assert_same
from nets import mobile
from remedy_nets import SIDE, chain, float_outputs, mean_of_logits, noise, planned, planner, rescaled_channels, samples_of

import intact
from intact.errors import OptionError
from intact.formats import tflite
from intact.network.channels import free_channels
from intact.network.graph import Op, Tensor
from intact.numbers.affine import Affine, dequantize_array, quantize_array, symmetric_from_absmax
from intact.ops.activation import HardSwish
from intact.ops.convolution import Conv2D
from intact.ops.elementwise import Add, Mul, Sub
from intact.ops.shaping import Concatenation
from intact.planning.quantized import Quantized
from intact.planning.ranges import least_squared_error
from intact.planning.steps import stored_as_integers
from intact.remedies import apply, known
from intact.remedies.bias import BiasCorrection
from intact.remedies.equalize import Equalize
from intact.remedies.finetune import FineTune
from intact.remedies.ranges import RangeRefinement
from intact.remedies.rounding import LearnedRounding
from intact.remedies.side_by_side import SideBySide
from intact.remedies.straight_through import _FakeQuantize
from intact.remedies.student import Student
from intact.run.settings import Settings
from intact.runtime import litert
from intact.simulate.engine import Program
from intact.simulate.noise import only, sensitivities

# ---- the student --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"weights": "per-tensor"}, {"scheme": "w4a8"}, {"keep_float": ("MEAN",)}])
def test_the_student_computes_what_is_written(options):
    network, samples, _ = planned(**options)
    student, integer = Student(network.graph, network.plan), network.integer()
    batch, _ = samples.batch(np.arange(8))
    with torch.no_grad():
        made = student({network.graph.inputs[0]: torch.as_tensor(batch["image"])}, network.graph.outputs)
        expected = Program(integer)(batch)
    assert_same(made[network.graph.outputs[0]], next(iter(expected.values())), atol=1e-6)


def test_what_was_not_trained_is_written_to_the_same_bytes():
    network, _, _ = planned()
    graph, plan = Student(network.graph, network.plan).learned()
    assert tflite.write(replace(network, graph=graph, plan=plan).integer()) == tflite.write(network.integer())


def test_gradients_of_rounding_are_those_of_the_paper():
    """Inside the range 1 to x and (y - x) / s to s; outside 0 to x and the bound to s."""
    network, _, _ = planned()
    student = Student(network.graph, network.plan)
    fmt = network.plan.own(3)
    low, high = fmt.range
    x = torch.tensor([0.3 * high, 0.71 * high, high + 1.0, low - 1.0], requires_grad=True)
    student.store(x, 3).sum().backward()
    assert x.grad.tolist() == [1.0, 1.0, 0.0, 0.0]
    s = fmt.scale[0]
    inside = x.detach()[:2]
    rounded = (torch.round(inside / s) * s - inside).sum().item()
    # the parameter is log(s / s0), so its gradient is s times that to s
    assert student.growth[student.slot(3)].grad.item() == pytest.approx(rounded + high + low, abs=1e-4)


def with_activations(activation):
    """``mobile`` with every op whose result training does not keep, on its way to MEAN."""
    graph = mobile(seed=5, side=SIDE)
    first, second, add, mean, *rest = graph.ops
    shape = graph[7].shape
    more = {i: Tensor(i, f"x{i}", shape) for i in (20, 21, 22)} | {23: Tensor(23, "x23", (None, SIDE, 2 * SIDE, 8))}
    ops = (
        replace(first, kind=replace(first.kind, activation=activation)),
        replace(second, kind=replace(second.kind, activation="relu_n1_to_1")),
        replace(add, kind=Add(activation=activation)),
        Op(HardSwish(), (7,), (20,)),
        Op(Mul(activation="relu6"), (20, 3), (21,)),
        Op(Sub(), (21, 6), (22,)),
        Op(Concatenation(2), (22, 22), (23,)),
        replace(mean, inputs=(23, 8)),
        *rest,
    )
    return replace(graph, ops=ops, tensors=graph.tensors | more)


@pytest.mark.parametrize("options", [{}, {"keep_float": ("HARD_SWISH",)}])
@pytest.mark.parametrize("activation", ["none", "relu", "relu6", "relu_0_to_1", "tanh"])
def test_gradients_are_those_of_rounding_op_by_op(activation, options, monkeypatch):
    """What is made again, or not kept at all, changes nothing."""
    graph = with_activations(activation)
    samples = samples_of(graph)
    plan = planner(Settings(**options), samples)(graph)
    batch, _ = samples.batch(np.arange(16))

    def rounded(x, s, ends, *_):
        within = (x / s).clamp(ends[0] - 0.5, ends[1] + 0.5)
        return s * (within + (within.round().clamp(*ends) - within).detach())

    def gradients(*, plainly):
        student = Student(graph, plan)
        draw = torch.Generator().manual_seed(1)
        for growth in student.growth.values():  # so that some numbers are clipped, and ends of activations are off the grid
            growth.data += 0.2 * torch.randn(growth.shape, generator=draw) - 0.1
        if plainly:
            student._kinds = {op.output: (op.kind, None) for op in graph.ops}
            student._moved = set()
            monkeypatch.setattr(_FakeQuantize, "apply", rounded)
        logits = student({0: torch.as_tensor(batch["image"])}, [12])[12]
        torch.nn.functional.cross_entropy(logits, torch.arange(16) % logits.shape[1]).backward()
        return {name: p.grad.numpy() for name, p in student.named_parameters()}

    mine, theirs = gradients(plainly=False), gradients(plainly=True)
    assert len(mine) > 12
    for name, expected in theirs.items():
        assert_same(mine[name], expected, atol=3e-3 * np.abs(expected).max() + 1e-6)


def test_samples_that_do_not_fit_at_first_join_where_tensors_are_smaller():
    """And bring what both networks, corrected so far, make of them."""
    network, samples, context = planned()
    graph, made = network.graph, {}
    largest = 8 * 8 * 8
    for room in (5 * largest, 1 << 20):
        student = Student(graph, network.plan)
        both, counts = SideBySide(student, graph, samples.take(np.arange(40)), context, room), []
        held = both.start()
        for n, op in enumerate(graph.ops):
            earlier, ids = held, set(held.real)
            held = both.before(n, held)
            assert set(earlier.real) == ids  # what was held is not changed
            counts.append(held.count)
            if op.kind.weight is not None:  # what is corrected on the way holds for those that join later too
                student.assign(op.inputs[1], 1.5 * student.real(op.inputs[1]))
            real, stored = both.program.run([op], held.real, op.outputs), student.run([op], held.stored, op.outputs)
            held = both.after(n, held, real, stored)
        assert held.real == held.stored == {}  # nothing reads what the last op makes
        made[room] = counts, real[graph.outputs[0]], stored[graph.outputs[0]]
    (few, *grown), (all_of_them, *at_once) = made.values()
    assert few[0] < 10
    assert few == sorted(few)
    assert few[-1] == 40
    assert all_of_them == [40] * len(graph.ops)
    for mine, theirs in zip(grown, at_once, strict=True):
        assert_same(mine.detach(), theirs.detach(), atol=1e-5)


# ---- equalization -------------------------------------------------------------------------------------------------------


def test_equalization_keeps_the_float_output_and_undoes_a_rescaling():
    factors = np.float32([1 / 16, 16, 1, 4, 1 / 4, 8, 1 / 8, 2])
    graph = rescaled_channels(chain(), factors)
    network, samples, context = planned(graph)
    better = Equalize().apply(network, samples, context)
    assert_same(float_outputs(better.graph, samples), float_outputs(graph, samples), rtol=1e-5)
    assert noise(better, samples) < noise(network, samples) / 10
    assert "equalized 2 pairs" in better.log[-1]


def test_equalization_of_per_tensor_weights_makes_weight_ranges_alike():
    factors = np.float32([1 / 16, 16, 1, 4, 1 / 4, 8, 1 / 8, 2])
    network, samples, context = planned(rescaled_channels(chain(), factors), weights="per-tensor")
    better = Equalize().apply(network, samples, context)
    spread = [np.abs(n.graph[1].data).max((1, 2, 3)) for n in (network, better)]
    assert spread[1].max() / spread[1].min() < spread[0].max() / spread[0].min() / 10


def test_a_residual_is_no_pair_and_an_output_neither():
    assert free_channels(mobile(side=SIDE)).made == {}
    graph = chain()
    assert [graph.producers()[i].kind.name for i in free_channels(graph).made] == ["CONV_2D", "DEPTHWISE_CONV_2D"]


@pytest.mark.parametrize(("gain", "left"), [(0.05, "relu"), (20.0, "relu6")])
def test_relu6_becomes_relu_only_where_nothing_is_clipped(gain, left):
    graph = chain("relu6")
    w = graph[1]
    graph = replace(graph, tensors={**graph.tensors, 1: replace(w, data=(w.data * np.float32(gain)))})
    network, samples, context = planned(graph)
    better = Equalize().apply(network, samples, context)
    assert better.graph.ops[0].kind.activation == left
    assert_same(float_outputs(better.graph, samples), float_outputs(graph, samples), rtol=1e-5)


# ---- bias correction ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("remedy", [BiasCorrection(samples=16), RangeRefinement(samples=16)])
def test_samples_that_come_class_by_class_are_mixed(remedy):
    """The first of them are all of one kind: what is learned from 16 is learned from all kinds."""
    network, samples, context = planned(scheme="w4a8")
    batch, _ = samples.batch(np.arange(len(samples)))
    x = np.concatenate([batch["image"] * np.float32(0.01), batch["image"]])  # nearly nothing to see in the first half
    by_class = intact.data.arrays(x).bind(samples.inputs, None)
    reached = set()
    fetch = type(by_class.source).fetch

    def seen(self, indices):
        reached.update(int(i) // len(samples) for i in indices)
        return fetch(self, indices)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(by_class.source), "fetch", seen)
        remedy.apply(network, by_class, context)
    assert reached == {0, 1}


def test_after_the_biases_are_corrected_the_network_is_still_to_be_like_the_float_one():
    """Not like itself with other biases: a second correction finds nothing, and rounding has the same targets."""
    network, samples, context = planned(rescaled_channels(chain(), np.float32([1, 2, 3, 1, 0.5, 0.4, 1, 2])), scheme="w4a8")
    once = apply((Equalize(), BiasCorrection()), network, samples, context)
    assert once.exact is not network.reference
    assert_same(float_outputs(once.exact, samples), float_outputs(network.reference, samples), rtol=1e-5)
    again = BiasCorrection().apply(once, samples, context)
    first, second = (float(n.log[-1].rpartition(" ")[2]) for n in (once, again))
    assert second < first / 5
    rounded = apply((LearnedRounding(steps=150), BiasCorrection()), once, samples, context)
    assert noise(rounded, samples) < noise(once, samples)


@pytest.mark.parametrize("remedies", [(Equalize(), BiasCorrection()), (BiasCorrection(),)])
def test_a_network_is_kept_with_what_it_is_to_be_like(remedies):
    network, samples, context = planned(rescaled_channels(chain(), np.float32([1, 2, 3, 1, 0.5, 0.4, 1, 2])), scheme="w4a8")
    made = apply(remedies, network, samples, context)
    kept = Quantized.from_arrays(network, made.to_arrays())
    assert_same(float_outputs(kept.exact, samples), float_outputs(made.exact, samples))
    assert tflite.write(kept.integer()) == tflite.write(made.integer())


def test_bias_correction_leaves_no_mean_shift():
    network, samples, context = planned(scheme="w4a8")
    better = BiasCorrection().apply(network, samples, context)
    assert noise(better, samples) < noise(network, samples)
    batch, _ = samples.batch(np.arange(len(samples)))
    before, after = (mean_of_logits(g, batch) for g in (network.integer(), better.integer()))
    exact = mean_of_logits(network.graph, batch)
    step = network.plan.own(12).scale[0]
    assert np.abs(before - exact).max() > step
    # what is left comes from rounding the logits themselves
    assert np.abs(after - exact).max() < step / 4


# ---- fine-tuning --------------------------------------------------------------------------------------------------------


def test_fine_tuning_at_rate_zero_changes_nothing():
    network, samples, context = planned()
    still = FineTune(epochs=1, rate=0.0, scale_rate=0.0).apply(network, samples, context)
    assert tflite.write(still.integer()) == tflite.write(network.integer())


def test_fine_tuning_lowers_the_noise_and_repeats_itself():
    network, samples, context = planned(scheme="w4a8")
    better = FineTune(epochs=6, batch=16).apply(network, samples, context)
    assert noise(better, samples) < 0.8 * noise(network, samples)
    again = FineTune(epochs=6, batch=16).apply(network, samples, context)
    assert tflite.write(better.integer()) == tflite.write(again.integer())


def test_a_diverging_fine_tune_goes_back_to_the_best_state():
    network, samples, context = planned()
    wild = FineTune(epochs=2, batch=16, rate=1e30, scale_rate=1e30).apply(network, samples, context)
    assert np.isfinite(float_outputs(wild.integer(), samples)).all()
    assert noise(wild, samples) <= noise(network, samples) * (1 + 1e-6)


def test_fine_tuning_stops_at_the_deadline():
    network, samples, context = planned()
    late = FineTune().apply(network, samples, replace(context, deadline=0.0))
    assert "for 0 epochs" in late.log[-1]


# ---- together -----------------------------------------------------------------------------------------------------------


def test_remedies_run_in_the_order_that_lets_them_work():
    mixed_up = [
        "finetune",
        "clip",
        "bias",
        "round",
        "compensate",
        "ranges",
        "bias-analytic",
        "mixed",
        "equalize",
        "bias",
        "absorb",
    ]
    in_order = ["equalize", "absorb", "mixed", "clip", "ranges", "compensate", "bias", "bias-analytic", "round", "finetune"]
    assert [r.name for r in known(mixed_up)] == in_order
    with pytest.raises(
        OptionError, match=f"no remedy is called 'magic'; type --remedies with auto, none or some of: {','.join(in_order)}"
    ):
        known(["magic"])


def test_a_recovered_network_survives_its_arrays():
    network, samples, context = planned(rescaled_channels(chain("relu6"), np.float32([1, 2, 4, 8, 1, 2, 4, 8]) / 64))
    better = apply(known(["equalize", "bias"]), network, samples, context)
    back = Quantized.from_arrays(network, better.to_arrays())
    assert tflite.write(back.integer()) == tflite.write(better.integer())
    assert back.log == better.log


def test_the_worst_op_is_named():
    """One channel a thousand times too large takes all others' resolution."""
    network, samples, _ = planned(rescaled_channels(chain(), np.float32([1000, 1, 1, 1, 1, 1, 1, 1])))
    rows = sensitivities(network, samples)
    assert rows[0].op.startswith("CONV_2D")
    assert sum(row.share for row in rows) == pytest.approx(1.0)


# ---- four bits ----------------------------------------------------------------------------------------------------------


def test_the_clipping_with_least_squared_error_beats_the_largest_weight():
    w = np.random.default_rng(0).standard_t(3, (16, 3, 3, 8)).astype(np.float32)
    absmax = np.abs(w).max((1, 2, 3))

    def error(most):
        fmt = symmetric_from_absmax(most, "int4", 0)
        return np.square(w - dequantize_array(quantize_array(w, fmt), fmt)).sum((1, 2, 3))

    best = least_squared_error(w, absmax, "int4", 0)
    assert (best <= absmax).all()
    assert (error(best) <= error(absmax) * (1 + 1e-6)).all()
    assert error(best).sum() < 0.9 * error(absmax).sum()


def test_w4a8_packs_what_has_kernels_and_runs(tmp_path):
    network, samples, _ = planned(scheme="w4a8")
    dtypes = {
        one.op.kind.name: network.plan.at(one.weight.id, one.op.output).dtype
        for one in stored_as_integers(network.graph, network.plan)
    }
    assert dtypes == {"CONV_2D": "int4", "DEPTHWISE_CONV_2D": "int8", "FULLY_CONNECTED": "int4"}
    integer = network.integer()
    data = tflite.write(integer)
    assert_same(tflite.read(data)[1].data, integer[1].data)
    path = tmp_path / "w4a8.tflite"
    path.write_bytes(data)
    batch, _ = samples.batch(np.arange(8))
    ran = next(iter(litert.run(path, batch).values()))
    with torch.inference_mode():
        made = next(iter(Program(integer)(batch).values())).numpy()
    assert np.abs(ran - made).max() <= 2 / 256
    assert isinstance(network.plan.own(3), Affine)
    assert isinstance(network.graph.ops[0].kind, Conv2D)


def test_one_op_alone_has_the_weights_that_the_file_has():
    """Weights clipped by the least squared error end at -7 in the file; -8 would be another network."""
    network, _, _ = planned(scheme="w4a8")
    alone = only(network.graph, network, network.graph.ops, activations=False)
    held = {t.id: t for t in network.integer().constants()}
    clipped = 0
    for op in network.graph.ops:
        w = None if op.kind.weight is None else op.inputs[op.kind.weight.input]
        if w is not None and held[w].format.dtype == "int4":
            assert_same(alone[w].data, dequantize_array(held[w].data, held[w].format))
            steps = np.asarray(network.graph[w].data).reshape(len(held[w].data), -1) / np.asarray(held[w].format.scale)[:, None]
            clipped += int((steps < -7.5).sum())
            assert held[w].data.min() >= -7
    assert clipped
