"""Remedies beside what is no plain chain: shared biases, whole numbers in or out, scales that are alike by chance."""

import time
from dataclasses import replace

import numpy as np
import pytest
from compare import assert_same
from nets import images, mobile
from remedy_nets import planned as planned_mobile
from remedy_nets import planner

import intact
from intact.data import input_specs
from intact.errors import UnsupportedError
from intact.formats import tflite
from intact.measure.contradiction import contradiction
from intact.network.graph import Graph, Op, Tensor
from intact.network.verify import verify
from intact.numbers.affine import Affine, Index
from intact.ops.activation import Softmax, Tanh
from intact.ops.convolution import Conv2D
from intact.ops.elementwise import Maximum, Sub
from intact.ops.matmul import FullyConnected
from intact.ops.reduction import ArgMax, Mean
from intact.ops.shaping import Concatenation, Gather
from intact.planning.plan import Entry
from intact.planning.planner import mixed_plan
from intact.planning.quantized import Quantized
from intact.remedies.base import Context
from intact.remedies.bias import BiasCorrection
from intact.remedies.bias_analytic import AnalyticBiasCorrection
from intact.remedies.clip import Clip
from intact.remedies.finetune import FineTune, _Run
from intact.remedies.mixed import MixedPrecision
from intact.remedies.ranges import RangeRefinement
from intact.remedies.rounding import LearnedRounding
from intact.remedies.student import Student
from intact.run.settings import Settings
from intact.runtime import litert
from intact.simulate.calibrate import observe
from intact.simulate.engine import Program
from intact.simulate.noise import sensitivities

WIDTH = 6


def constant(i, data, fmt=None):
    return Tensor(i, f"c{i}", data.shape, data=data) if fmt is None else Tensor(i, f"c{i}", data.shape, fmt, data)


def weight(i, *shape):
    return constant(i, np.random.default_rng(i).normal(0, 0.4, shape).astype(np.float32))


def flow(i, *shape):
    return Tensor(i, f"x{i}", (None, *shape))


def network(tensors, ops, inputs, outputs):
    return verify(Graph({t.id: t for t in tensors}, tuple(ops), inputs, outputs))


def rows(n=70, seed=1):
    return np.random.default_rng(seed).normal(size=(n, WIDTH)).astype(np.float32)


def planned(graph, x, labels=None, **options):
    samples = intact.data.arrays(x, labels).bind(input_specs(graph), None)
    make = planner(Settings(**options), samples)
    return Quantized(graph, graph, make(graph)), samples, Context(make)


def ran(quantized, batch, tmp_path, kernels="default"):
    """What the runtime makes of a batch."""
    path = tmp_path / "model.tflite"
    path.write_bytes(tflite.write(quantized.integer()))
    return litert.run(path, batch, kernels=kernels)


def shared_bias():
    """Three layers, the first two with one bias between them."""
    tensors = [flow(0, WIDTH), weight(1, WIDTH, WIDTH), weight(2, WIDTH), flow(3, WIDTH), weight(4, WIDTH, WIDTH)]
    tensors += [flow(5, WIDTH), weight(6, 3, WIDTH), weight(7, 3), flow(8, 3)]
    dense, relu = FullyConnected(), FullyConnected(activation="relu")
    return network(tensors, [Op(relu, (0, 1, 2), (3,)), Op(dense, (3, 4, 2), (5,)), Op(dense, (5, 6, 7), (8,))], (0,), (8,))


def with_classes(*, scores):
    """A classifier that gives the class, and the scores too if asked."""
    tensors = [flow(0, WIDTH), weight(1, 4, WIDTH), weight(2, 4), flow(3, 4), flow(4, 4)]
    tensors += [constant(5, np.array(-1, np.int32), Index()), Tensor(6, "class", (None,), Index())]
    ops = [Op(FullyConnected(), (0, 1, 2), (3,)), Op(Softmax(), (3,), (4,)), Op(ArgMax(), (4, 5), (6,))]
    return network(tensors, ops, (0,), (6, 4) if scores else (6,))


def of_tokens():
    """Words by number, their mean, and classes."""
    tensors = [Tensor(0, "words", (None, 5), Index()), weight(1, 20, WIDTH), flow(2, 5, WIDTH)]
    tensors += [constant(3, np.int32([1]), Index()), flow(4, WIDTH), weight(5, 3, WIDTH), weight(6, 3), flow(7, 3), flow(8, 3)]
    ops = [
        Op(Gather(), (1, 0), (2,)),
        Op(Mean(), (2, 3), (4,)),
        Op(FullyConnected(), (4, 5, 6), (7,)),
        Op(Softmax(), (7,), (8,)),
    ]
    return network(tensors, ops, (0,), (8,))


def with_tanh():
    tensors = [flow(0, WIDTH), weight(1, WIDTH, WIDTH), weight(2, WIDTH), flow(3, WIDTH), flow(4, WIDTH), weight(5, 3, WIDTH)]
    tensors += [weight(6, 3), flow(7, 3)]
    ops = [Op(FullyConnected(), (0, 1, 2), (3,)), Op(Tanh(), (3,), (4,)), Op(FullyConnected(), (4, 5, 6), (7,))]
    return network(tensors, ops, (0,), (7,))


@pytest.mark.parametrize("remedy", [BiasCorrection(), AnalyticBiasCorrection()])
def test_a_bias_that_two_ops_read_is_not_corrected_for_one_of_them(remedy):
    network, samples, context = planned(shared_bias(), rows())
    corrected = remedy.apply(network, samples, context)
    changed = {t.id for t in corrected.graph.constants() if not np.array_equal(t.data, network.graph[t.id].data)}
    assert changed == {7}
    if isinstance(remedy, BiasCorrection):
        batch, _ = samples.batch(np.arange(len(samples)))
        means = [Program(g)(batch)["x8"].mean(0) for g in (network.reference, corrected.integer())]
        assert_same(means[1], means[0], atol=corrected.plan.own(8).scale[0])


@pytest.mark.parametrize("scheme", ["int8", "int16x8"])
@pytest.mark.parametrize("output", [3, 5])
def test_a_constant_of_an_integer_op_and_a_float_one_is_stored_as_both(output, scheme, tmp_path):
    network, samples, context = planned(shared_bias(), rows(), scheme=scheme)
    mixed = MixedPrecision(outputs=(output,)).apply(network, samples, context)
    batch, _ = samples.batch(np.arange(16))
    step = mixed.plan.own(8).scale[0]
    assert_same(ran(mixed, batch, tmp_path)["x8"], Program(mixed.integer())(batch)["x8"].numpy(), atol=2 * step)
    stored = {t.format.dtype for t in mixed.integer().constants() if t.origin == "c2"}
    assert stored == {"float32", "int32" if scheme == "int8" else "int64"}


def test_only_real_numbers_are_learned_from():
    network, samples, context = planned(with_classes(scores=True), rows(), np.arange(70) % 4)
    assert "fine-tuned" in FineTune(epochs=1).apply(network, samples, context).log[-1]


def test_a_network_that_gives_whole_numbers_only_cannot_be_fine_tuned():
    network, samples, context = planned(with_classes(scores=False), rows())
    with pytest.raises(UnsupportedError, match="needs an output of real numbers"):
        FineTune(epochs=1).apply(network, samples, context)


def test_a_network_that_is_all_in_float_cannot_be_fine_tuned():
    network, samples, context = planned_mobile(input_type="float32", output_type="float32")
    in_float = MixedPrecision(tuple(op.output for op in network.graph.ops)).apply(network, samples, context)
    with pytest.raises(UnsupportedError, match="needs weights or activations of integers"):
        FineTune(epochs=1).apply(in_float, samples, context)


def test_numbers_of_words_are_not_taken_for_pixels():
    draw, graph = np.random.default_rng(2), of_tokens()
    words, labels = draw.integers(0, 20, (300, 5)).astype(np.int32), draw.integers(0, 3, 300)
    found = contradiction(graph, intact.data.arrays(words, labels).bind(input_specs(graph), 3))
    assert found is not None
    assert found.advice.endswith("are wrong")


@pytest.mark.parametrize("at_once", [3, 4, 40])
def test_labels_stay_beside_their_samples_where_the_batch_is_fixed(at_once):
    graph, x = mobile(), images(70)
    right = Program(graph)({"image": x})["scores"].argmax(-1).numpy()
    fixed = {i: replace(t, shape=(at_once, *t.shape[1:])) for i, t in graph.tensors.items() if t.shape[:1] == (None,)}
    graph = verify(replace(graph, tensors=graph.tensors | fixed))
    wrong = (right + 1) % 4
    found = [contradiction(graph, intact.data.arrays(x, y).bind(input_specs(graph), 4)) for y in (right, wrong)]
    assert found[0] is None
    assert "right on 0.0 % of the samples" in found[1].what


def test_a_kernels_own_scale_does_not_grow_with_one_that_is_alike():
    """Pixels minus 128 over 128 reach from -1 to 127/128: as int8 that is TANH's own format."""
    x = (np.random.default_rng(1).integers(0, 256, (70, WIDTH)) - 128) / 128
    x[0, :2] = -1, 127 / 128
    network, _, _ = planned(with_tanh(), x.astype(np.float32))
    assert network.plan.own(0) == network.plan.own(4) == Affine((1 / 128,), (0,))
    student = Student(network.graph, network.plan)
    for growth in student.growth.values():
        growth.data.fill_(0.1)
    _, plan = student.learned()
    assert plan.own(4) == Affine((1 / 128,), (0,))
    assert plan.own(0).scale[0] > network.plan.own(0).scale[0]
    assert plan.own(7).scale[0] > network.plan.own(7).scale[0]


def test_activations_that_are_alike_by_chance_learn_their_step_sizes_apart():
    """As all those are that RELU6 fills up. Those that CONCATENATION ties keep one scale."""
    tensors = [flow(0, 4, 4, 2), flow(1, 4, 4, 2), flow(2, 4, 4, 2), flow(3, 4, 4, 4), flow(4, 4, 4, 4)]
    relu6 = Conv2D(activation="relu6")
    for n, (out, read) in enumerate(((2, 2), (2, 2), (4, 4))):
        tensors += [weight(5 + 2 * n, out, 1, 1, read), weight(6 + 2 * n, out)]
    ops = [
        Op(relu6, (0, 5, 6), (1,)),
        Op(relu6, (0, 7, 8), (2,)),
        Op(Concatenation(axis=3), (1, 2), (3,)),
        Op(relu6, (3, 9, 10), (4,)),
    ]
    x = 50 * np.random.default_rng(1).normal(size=(70, 4, 4, 2)).astype(np.float32)
    made, _, _ = planned(network(tensors, ops, (0,), (4,)), x)
    assert made.plan.own(1) == made.plan.own(2) == made.plan.own(3) == made.plan.own(4)
    student = Student(made.graph, made.plan)
    assert student.slot(1) == student.slot(2) == student.slot(3) != student.slot(4)
    student.grow(student.slot(4), 0.1)
    _, plan = student.learned()
    assert plan.own(3) == made.plan.own(3) == plan.own(1)
    assert plan.own(4).scale[0] == pytest.approx(made.plan.own(4).scale[0] * np.exp(0.1))


def test_what_is_tied_to_a_constant_is_clipped_with_it(tmp_path):
    """MAXIMUM with a constant: one scale before, one after."""
    tensors = [flow(0, WIDTH), weight(1, WIDTH, WIDTH), weight(2, WIDTH), flow(3, WIDTH)]
    tensors += [
        constant(4, np.full((1, WIDTH), -0.5, np.float32)),
        flow(5, WIDTH),
        weight(6, 3, WIDTH),
        weight(7, 3),
        flow(8, 3),
    ]
    dense = FullyConnected()
    ops = [Op(dense, (0, 1, 2), (3,)), Op(Maximum(), (3, 4), (5,)), Op(dense, (5, 6, 7), (8,))]
    x = rows()
    x[0] *= 20
    made, samples, context = planned(network(tensors, ops, (0,), (8,)), x)
    clipped = Clip().apply(made, samples, context)
    assert clipped.plan.own(5).scale[0] < made.plan.own(5).scale[0]
    assert clipped.plan.at(3, 5) == clipped.plan.at(4, 5) == clipped.plan.own(5)
    exact = Program(clipped.graph)({"x0": x[1:9]})["x8"].numpy()
    assert_same(next(iter(ran(clipped, {"x0": x[1:9]}, tmp_path).values())), exact, atol=0.1 * np.abs(exact).max())


def twins():
    """One layer, weight and bias, on two inputs, and the difference."""
    tensors = [flow(0, WIDTH), flow(1, WIDTH), weight(2, 4, WIDTH), weight(3, 4), flow(4, 4), flow(5, 4), flow(6, 4)]
    dense = FullyConnected()
    return network(tensors, [Op(dense, (0, 2, 3), (4,)), Op(dense, (1, 2, 3), (5,)), Op(Sub(), (4, 5), (6,))], (0, 1), (6,))


def test_a_layer_on_two_inputs_of_one_range_is_written_after_their_scales_grew_apart(tmp_path):
    a, b = np.random.default_rng(0).uniform(-1, 1, (2, 70, WIDTH)).astype(np.float32)
    a[0, :2] = b[0, :2] = -1, 1
    made, samples, context = planned(twins(), {"x0": a, "x1": b})
    assert made.plan.own(0) == made.plan.own(1)
    tuned = FineTune(epochs=2, batch=16).apply(made, samples, context)
    exact = Program(made.graph)({"x0": a, "x1": b})["x6"].numpy()
    assert_same(ran(tuned, {"x0": a, "x1": b}, tmp_path)["x6"], exact, atol=0.1)


@pytest.mark.parametrize("output_type", ["int8", "uint8"])
def test_an_output_at_16_bits_keeps_what_the_outside_sees_of_it(output_type):
    graph, x = shared_bias(), rows()
    settings = Settings(target="mcu", output_type=output_type)
    samples = intact.data.arrays(x).bind(input_specs(graph), None)

    def plan(graph, precise):
        seen = observe(graph, lambda: (batch for batch, _ in samples.batches(32)))
        return mixed_plan(graph, {i: o.extremes for i, o in seen.items()}, settings.request(), precise)

    wide = Quantized(graph, graph, plan(graph, (8,)))
    assert wide.plan.own(8).dtype == "int16"
    student = Student(graph, wide.plan)
    student.grow(student.slot(8), 0.1)
    _, learned = student.learned()
    assert learned.own(8).scale[0] > wide.plan.own(8).scale[0]
    assert learned.outside(8) == wide.plan.outside(8)


@pytest.mark.parametrize("input_type", ["int8", "float32"])
def test_remedies_see_inputs_as_the_caller_stores_them(input_type):
    """The first layer reads float, and where the file's input is int8 what is left of that."""
    graph, x = shared_bias(), rows()
    network, samples, context = planned(graph, x, input_type=input_type)
    mixed = replace(network, plan=context.make_plan(graph, (3,)))
    assert not isinstance(mixed.plan.own(0), Affine)
    wanted = Program(mixed.integer())(samples.batch(np.arange(len(x)))[0])
    student = Student(mixed.graph, mixed.plan)
    made = student(Program(graph).entered(samples.batch(np.arange(len(x)))[0]), (8,))[8]
    assert mixed.plan.outside(0).dtype == input_type
    step = mixed.plan.own(8).scale[0]
    assert (made - next(iter(wanted.values()))).abs().max() <= 1.01 * step
    assert ((made - next(iter(wanted.values()))).abs() > step / 2).float().mean() < 0.03


def test_a_weight_that_reaches_the_class_alone_does_not_stop_learned_rounding():
    tensors = [flow(0, WIDTH), weight(1, WIDTH, WIDTH), weight(2, WIDTH), flow(3, WIDTH), weight(4, 4, WIDTH), weight(5, 4)]
    tensors += [flow(6, 4), constant(7, np.array(-1, np.int32), Index()), Tensor(8, "class", (None,), Index())]
    ops = [Op(FullyConnected(activation="relu"), (0, 1, 2), (3,)), Op(FullyConnected(), (3, 4, 5), (6,))]
    graph = network(tensors, [*ops, Op(ArgMax(), (6, 7), (8,))], (0,), (3, 8))
    made, samples, context = planned(graph, rows(), scheme="w4a8")
    assert "learned how to round" in LearnedRounding(steps=30).apply(made, samples, context).log[-1]


@pytest.mark.parametrize("count", [20, 33, 64])
def test_a_model_of_a_fixed_number_of_samples_is_ranked_and_computed_whole(count):
    """The last batch is filled up."""
    tensors = [Tensor(0, "x0", (count, WIDTH)), weight(1, 3, WIDTH), weight(2, 3), Tensor(3, "x3", (count, 3))]
    graph = network(tensors, [Op(FullyConnected(), (0, 1, 2), (3,))], (0,), (3,))
    x = rows(70)
    made, samples, _ = planned(graph, x)
    assert [row.share for row in sensitivities(made, samples)] == [1.0]
    exact = x @ np.asarray(graph[1].data).T + np.asarray(graph[2].data)
    assert_same(Program(graph)({"x0": x})["x3"].numpy(), exact, atol=1e-5)


def test_refining_ranges_leaves_the_inputs_as_they_are():
    """They were rounded before any range is refined: errors would be measured with another scale than what is written."""
    network, samples, context = planned_mobile()
    fmt = network.plan.own(6)
    wide = Affine((fmt.scale[0] * 64,), fmt.zero_point, fmt.dtype)
    entries = network.plan.tensors | {i: Entry(wide, "too wide", wide.range) for i in (0, 6)}
    spoilt = replace(network, plan=replace(network.plan, tensors=entries))
    assert RangeRefinement().apply(spoilt, samples, context).plan.own(0) == wide


@pytest.mark.parametrize("output_type", ["int8", "uint8", "float32"])
def test_16_bits_at_the_output_leave_as_asked_for(output_type, tmp_path):
    graph = shared_bias()
    x = rows()
    result = intact.quantize(
        graph, intact.data.arrays(x), target="mcu", output_type=output_type, remedies=["mixed"], measure=False
    )
    path = result.save(tmp_path / "model.tflite")
    made = litert.run(path, {"x0": x[:8]}, kernels="reference")
    exact = Program(graph)({"x0": x[:8]})["x8"].numpy()
    assert "int16" in {t.format.dtype for t in result.graph.tensors.values()}
    assert_same(next(iter(made.values())), exact, atol=0.1 * np.abs(exact).max())


def test_learned_rounding_stops_when_time_is_up():
    network, samples, context = planned_mobile(scheme="w4a8")
    began = time.monotonic()
    LearnedRounding(steps=1_000_000).apply(network, samples, replace(context, deadline=began + 1))
    assert time.monotonic() - began < 20


def test_training_goes_on_at_the_lower_rate_at_once():
    network, samples, context = planned_mobile()
    run = _Run(FineTune(epochs=2, batch=16), network, samples, context)
    run.learn(run.learning[:16])
    before = [group["lr"] for group in run.optimizer.param_groups]
    run._slow_down(run.student.state_dict())
    assert [group["lr"] for group in run.optimizer.param_groups] == pytest.approx([0.3 * rate for rate in before])


def test_training_that_gave_up_has_given_up_when_it_is_taken_up_again(tmp_path):
    network, samples, context = planned_mobile()
    how, context = FineTune(epochs=8, batch=16, rate=3.0, scale_rate=0.3, patience=1), replace(context, folder=tmp_path)
    first, again = (how.apply(network, samples, context).log[-1] for _ in range(2))
    assert "stopped after 1 epochs" in first
    assert again == first
