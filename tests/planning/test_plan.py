from dataclasses import replace

import numpy as np
import pytest
import torch
from compare import assert_same
from drafts import draft, normal
from nets import images, mobile
from plans import planned, ranges_of

from intact.errors import DataError, OptionError, UnsupportedError
from intact.formats import tflite
from intact.network.graph import Graph, Op, Tensor
from intact.numbers.affine import Affine, Float, affine_from_range
from intact.ops.activation import Logistic, Relu, Square
from intact.ops.convolution import Conv2D, DepthwiseConv2D
from intact.ops.elementwise import Mul
from intact.ops.matmul import FullyConnected
from intact.ops.shaping import Concatenation
from intact.planning.integer_graph import emit
from intact.planning.plan import Plan
from intact.planning.planner import make_plan
from intact.planning.request import Request
from intact.planning.schemes import SCHEMES, scheme
from intact.planning.targets import target
from intact.run.settings import Settings
from intact.runtime import litert
from intact.simulate.calibrate import observe
from intact.simulate.engine import Program


@pytest.fixture(scope="module")
def net():
    return mobile()


@pytest.fixture(scope="module")
def plan(net):
    return planned(net)


def test_weights_are_symmetric_per_output_channel(net, plan):
    fmt = plan.own(1)
    assert fmt.axis == 0
    assert set(fmt.zero_point) == {0}
    assert fmt.scale == pytest.approx(np.abs(net[1].data).max((1, 2, 3)) / 127)
    assert plan.own(4).axis == 3


def test_per_tensor_weights_have_one_scale(net):
    fmt = planned(net, weights="per-tensor").own(1)
    assert fmt.axis is None
    assert fmt.scale[0] == pytest.approx(np.abs(net[1].data).max() / 127)


def test_mcu_keeps_fully_connected_weights_per_tensor(net):
    assert planned(net, target="mcu").own(10).axis is None


def test_biases_count_in_input_times_weight_scale(plan):
    assert plan.own(2).scale == pytest.approx(plan.own(0).scale[0] * np.array(plan.own(1).scale))
    assert plan.own(2).dtype == "int32"


def test_softmax_has_its_kernels_scale(plan):
    assert plan.own(13) == Affine((1 / 256,), (-128,))
    assert "fixed by the kernel" in plan.tensors[13].why


def test_activation_ranges_come_from_calibration(net, plan):
    assert plan.own(3) == affine_from_range(*ranges_of(net, images(20))[3])
    assert plan.tensors[3].range[0] == 0


def test_json_gives_the_plan_back_exactly(plan):
    back = Plan.from_json(plan.to_json())
    assert back.to_json() == plan.to_json()
    assert plan.diff(back) == ()


def test_diff_names_what_differs(net, plan):
    other = planned(net, x=images(20) * 2)
    assert any(line.startswith("0 'image': int8 scale") for line in plan.diff(other))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 1}', '{"version": 1, "tensors": 3}'])
def test_what_is_no_plan_is_refused(text):
    with pytest.raises(OptionError, match=r"give --plan a plan\.json"):
        Plan.from_json(text)


def test_a_plan_of_another_version_or_model_is_refused(net, plan):
    with pytest.raises(OptionError, match="version 99"):
        Plan.from_json(plan.to_json().replace('"version": 1', '"version": 99'))
    tensors = {**net.tensors, 3: replace(net[3], name="other", origin="other")}
    with pytest.raises(OptionError, match="tensor 3 is 'x3' there and 'other' here"):
        plan.check(replace(net, tensors=tensors))


@pytest.mark.parametrize(("wanted", "zero_shift"), [("int8", 0), ("uint8", 128)])
def test_integer_inputs_and_outputs_are_exactly_what_was_asked_for(net, wanted, zero_shift):
    plan = planned(net, input_type=wanted, output_type=wanted)
    graph = emit(net, plan)
    for inside, outside in ((0, graph.inputs[0]), (13, graph.outputs[0])):
        assert graph[outside].format.dtype == wanted
        assert graph[outside].format.zero_point[0] == plan.own(inside).zero_point[0] + zero_shift


def test_float_inputs_and_outputs_get_conversions(net):
    graph = emit(net, planned(net, input_type="float32", output_type="float32"))
    assert [op.kind.name for op in graph.ops][:1] + [op.kind.name for op in graph.ops][-1:] == ["QUANTIZE", "DEQUANTIZE"]
    assert graph[graph.inputs[0]].format == graph[graph.outputs[0]].format == Float()
    assert graph.input_names == net.input_names
    assert graph.output_names == net.output_names


def test_types_that_a_scheme_lacks_are_refused():
    with pytest.raises(OptionError, match=r"--input-type int8 cannot be had with --scheme dynamic; type one of: float32"):
        Request(scheme("dynamic"), target("cpu"), input_type="int8")


def test_keep_float_leaves_an_island(net):
    graph = emit(net, planned(net, keep_float=("DEPTHWISE*",)))
    kinds = [op.kind.name for op in graph.ops]
    at = kinds.index("DEPTHWISE_CONV_2D")
    assert kinds[at - 1] == "DEQUANTIZE"
    assert graph[graph.ops[at].inputs[1]].format == Float()
    assert "QUANTIZE" in kinds[at + 1 :]


def test_keep_float_takes_names_as_messages_show_them(net):
    long = "outer/" + "sequential_of_blocks/" * 6 + "stem"
    alike = {i: replace(net[i], origin=long) for i in (net.ops[0].output, net.ops[1].output, net.ops[2].output)}
    net = replace(net, tensors={**net.tensors, **alike})
    for op in net.ops[:3]:
        plan = planned(net, keep_float=(net.label(op),))
        assert [o.output for o in net.ops if plan.own(o.output) == Float()] == [op.output]
    assert planned(net, keep_float=("outer/*/stem",)).own(net.ops[0].output) == Float()


def test_ops_of_one_name_are_numbered():
    first, second = Tensor(90, "a", (None, 4), origin="same"), Tensor(91, "b", (None, 4), origin="same")
    graph = one_op_net(Relu())
    graph = replace(
        graph,
        tensors={**graph.tensors, 90: first, 91: second},
        ops=(Op(Relu(), (0,), (90,)), Op(Relu(), (90,), (91,)), Op(Relu(), (91,), (1,))),
    )
    assert [graph.label(op) for op in graph.ops] == ["RELU 'same'", "RELU 'same' #2", "RELU 'y'"]


def test_keep_float_that_matches_nothing_is_refused(net):
    with pytest.raises(
        OptionError, match="'stem' matches no op; names are op kinds or output tensors, as intact inspect shows them, such as"
    ):
        planned(net, keep_float=("stem",))


def one_op_net(kind):
    tensors = [Tensor(0, "x", (None, 4)), Tensor(1, "y", (None, 4))]
    return Graph({t.id: t for t in tensors}, (Op(kind, (0,), (1,)),), (0,), (1,))


def test_an_op_without_an_integer_kernel_stays_float_on_cpu_and_is_refused_on_mcu():
    x = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    graph = emit(one_op_net(Square()), planned(one_op_net(Square()), x))
    assert [op.kind.name for op in graph.ops] == ["DEQUANTIZE", "SQUARE", "QUANTIZE"]
    with pytest.raises(UnsupportedError, match="SQUARE 'y' has no int8 kernel, and target mcu runs integers only"):
        planned(one_op_net(Square()), x, target="mcu")


def test_a_wide_and_a_narrow_branch_meet_in_a_concatenation():
    """The narrow one is read elsewhere, so it keeps its own scale and is requantized on the way."""
    names = ["x", "gate", "wide", "cat", "narrow use"]
    shapes = [(None, 4)] * 3 + [(None, 8), (None, 4)]
    tensors = [Tensor(i, n, s) for i, (n, s) in enumerate(zip(names, shapes, strict=True))]
    tensors.append(Tensor(5, "hundred", (), data=np.asarray(100, np.float32)))
    ops = (
        Op(Logistic(), (0,), (1,)),
        Op(Mul(), (0, 5), (2,)),
        Op(Concatenation(axis=1), (1, 2), (3,)),
        Op(Mul(), (1, 0), (4,)),
    )
    net = Graph({t.id: t for t in tensors}, ops, (0,), (3, 4))
    plan = planned(net, np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32))
    assert plan.own(1) == Affine((1 / 256,), (-128,))
    assert plan.own(2) == plan.own(3)
    assert plan.at(1, 3) == plan.own(3)
    assert [op.kind.name for op in emit(net, plan).ops].count("QUANTIZE") == 1


@pytest.mark.parametrize("bias", [0.0, 3e8])
def test_zero_channels_and_huge_biases_stay_within_int32(net, bias):
    w, b = net[1].data.copy(), np.full(8, bias, np.float32)
    w[3] = 0
    changed = replace(net, tensors={**net.tensors, 1: replace(net[1], data=w), 2: replace(net[2], data=b)})
    graph = emit(changed, planned(changed))
    assert np.abs(graph[2].data.astype(np.float64)).max() <= 2**30 + 1
    tflite.read(tflite.write(graph))


@pytest.mark.parametrize("name", [name for name, made in SCHEMES.items() if made.usual])
def test_every_scheme_is_close_to_float_and_deterministic(net, name):
    x = {"image": images(16, seed=5)}
    plan = planned(net, scheme=name)
    graph = emit(net, plan)
    assert tflite.write(graph) == tflite.write(emit(net, Plan.from_json(plan.to_json())))
    with torch.inference_mode():
        float_scores, scores = (Program(g)(x)["scores"].numpy() for g in (net, graph))
    assert_same(
        scores,
        float_scores,
        atol={"float32": 0, "float16": 2e-3, "dynamic": 0.01, "int8": 0.02, "w4a8": 0.05, "int16x8": 0.01}[name],
    )


def test_dynamic_stores_depthwise_weights_in_half_precision_so_that_one_part_runs_all(tmp_path):
    """Its int8 kernel beside float activations lies outside XNNPACK: the file would be slower than float's."""

    def build(d, x):
        y = d(Conv2D(padding="same", activation="relu"), x, normal(16, 3, 3, 3), normal(16))
        y = d(DepthwiseConv2D(padding="same", activation="relu"), y, normal(1, 5, 5, 16), normal(16))
        return d(Conv2D(padding="same"), y, normal(16, 1, 1, 16), normal(16))

    net = draft((8, 8, 3), build)
    graph = emit(net, make_plan(net, {}, Request(scheme("dynamic"), target("cpu"))))
    assert sorted(t.format.dtype for t in graph.constants() if t.data.size >= 256) == ["float16", "int8", "int8"]
    (tmp_path / "net.tflite").write_bytes(tflite.write(graph))
    assert litert.describe(tmp_path / "net.tflite").partitions == 1


def test_calibration_refuses_numbers_that_overflow():
    with pytest.raises(DataError, match="tensor 'y': becomes NaN or infinite on the calibration samples; check --pixels"):
        observe(one_op_net(Square()), lambda: [{"x": np.full((2, 4), 1e30, np.float32)}])


def test_histograms_count_every_value(net):
    seen = observe(net, lambda: [{"image": images(6)}, {"image": images(4, 1)}], histogram=True)
    assert seen[0].counts.sum() == 10 * 8 * 8 * 3
    assert len(seen[0].lows) == 10


# ---- what set a scale ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "bias", "why"),
    [
        (1.0, 1.0, "largest |weight| of each output channel"),
        (1e-9, 5e4, "so wide that the bias fits the accumulator"),
        (1e-13, 0.0, "so wide that kernels take the multiplier"),
        (0.0, 0.0, "all zeros: any scale holds them"),
    ],
)
def test_a_plan_says_what_set_the_scale_of_a_weight(size, bias, why):
    w = (normal(3, 4) * size).astype(np.float32)
    net = draft((4,), lambda d, x: d(FullyConnected(), x, w, np.full(3, bias, np.float32)))
    plan = make_plan(net, {0: (-1.0, 1.0), 3: (-1.0, 1e3)}, Settings().request())
    assert plan.tensors[1].why == why
    fmt = plan.tensors[1].format
    assert (max(fmt.scale) * 127 > 2 * np.abs(w).max()) == (why != "largest |weight| of each output channel")


def test_a_plan_says_in_how_many_channels_a_bias_set_the_scale():
    net = draft((4,), lambda d, x: d(FullyConnected(), x, normal(3, 4), np.array([0, 1e9, 0], np.float32)))
    plan = make_plan(net, {0: (-1.0, 1.0), 3: (-1.0, 1e3)}, Settings().request())
    assert plan.tensors[1].why == (
        "largest |weight| of each output channel; so wide that the bias fits the accumulator in 1 of 3 channels"
    )
