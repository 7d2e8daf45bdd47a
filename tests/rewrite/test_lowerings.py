"""A target's spelling of an op computes what the op computes, and is used where the table says so."""

import itertools

import numpy as np
import pytest
from compare import assert_same
from drafts import draft, normal
from small_graphs import graph

from intact.network.graph import Op, Signature, Tensor
from intact.numbers.affine import Index
from intact.ops.activation import Abs, HardSwish, Neg, PRelu, Relu, Relu6, ReluN1To1
from intact.ops.convolution import Conv2D, DepthwiseConv2D
from intact.ops.elementwise import Add, SquaredDifference
from intact.ops.matmul import FullyConnected
from intact.ops.pooling import AveragePool2D
from intact.ops.reduction import ArgMax, Sum
from intact.planning.schemes import SCHEMES
from intact.planning.targets import TARGETS
from intact.rewrite.lowerings import LOWERINGS, lower
from intact.simulate.engine import Program


def hard_swishes(count=2):
    """y = h(h(... x)) and x + y, both given out; x is [n, 5]."""
    flow = [Tensor(i, f"x{i}", (None, 5)) for i in range(count + 2)]
    chain = [Op(HardSwish(), (i,), (i + 1,)) for i in range(count)]
    ends = (Op(Add(), (0, count), (count + 1,)),)
    names = (("y", count), ("sum", count + 1))
    return graph(flow, [*chain, *ends], (0,), (count, count + 1), (Signature("serving_default", (("x", 0),), names),))


def kinds(net):
    return [op.kind.name for op in net.ops]


@pytest.mark.parametrize(("target", "activations"), [("cpu", "int8"), ("cpu", "int16"), ("mcu", "int16")])
def test_hard_swish_is_add_mul_mul_and_computes_the_same(target, activations):
    net = hard_swishes()
    lowered = lower(net, target, activations)
    assert kinds(lowered) == ["ADD", "MUL", "MUL", "ADD", "MUL", "MUL", "ADD"]
    assert (lowered.inputs, lowered.outputs, lowered.signatures) == (net.inputs, net.outputs, net.signatures)
    x = np.concatenate([np.random.default_rng(0).normal(0, 3, (64, 5)), [[-4, -3, 0, 3, 4]]]).astype(np.float32)
    y, expected = Program(lowered)({"x": x}), Program(net)({"x": x})
    for name in ("y", "sum"):
        assert_same(y[name], expected[name], rtol=1e-6)


def test_what_a_lowering_makes_stems_from_the_op():
    net = hard_swishes(1)
    lowered = lower(net, "cpu", "int8")
    made = [t for i, t in lowered.tensors.items() if i not in net.tensors]
    assert {(t.origin, t.made_by) for t in made} == {("x1", "lower")}
    assert sorted(float(t.data) for t in made if t.is_constant) == pytest.approx([1 / 6, 3])
    assert len(made) == 4


def test_lowering_again_changes_nothing():
    once = lower(hard_swishes(), "cpu", "int8")
    assert lower(once, "cpu", "int8").ops == once.ops


@pytest.mark.parametrize(
    ("name", "activations"),
    sorted(
        set(itertools.product(TARGETS, {s.activations for s in SCHEMES.values()}))
        - {("cpu", "int8"), ("cpu", "int16"), ("mcu", "int16")}
    ),
)
def test_elsewhere_hard_swish_stays(name, activations):
    net = hard_swishes()
    assert lower(net, name, activations).ops == net.ops


NETS = {
    "HARD_SWISH": lambda d, x: d(HardSwish(), x),
    "RELU": lambda d, x: d(Relu(), x),
    "RELU6": lambda d, x: d(Relu6(), x),
    "RELU_N1_TO_1": lambda d, x: d(ReluN1To1(), x),
    "AVERAGE_POOL_2D": lambda d, x: d(AveragePool2D((2, 3), (2, 1), activation="relu"), x),
    "NEG": lambda d, x: d(Neg(), x),
    "SUM": lambda d, x: d(Sum(), x, [1, 2]),
    "SQUARED_DIFFERENCE": lambda d, x: d(SquaredDifference(), x, normal(4, 6, 3)),
    "PRELU": lambda d, x: d(PRelu(), x, normal(1, 1, 3)),
    "ABS": lambda d, x: d(Abs(), x),
}


def same_output(a, b):
    x = np.random.default_rng(0).normal(0, 4, (5, 4, 6, 3)).astype(np.float32)
    (y,), (expected,) = (Program(net)({net.input_names[0]: x}).values() for net in (a, b))
    assert_same(y, expected, rtol=1e-6)


@pytest.mark.parametrize("row", [row for row in LOWERINGS if row[2] in NETS], ids="-".join)
def test_every_lowering_replaces_its_op_and_computes_the_same(row):
    name, activations, kind = row
    net = draft((4, 6, 3), NETS[kind])
    lowered = lower(net, name, activations)
    assert kind not in kinds(lowered)
    assert lowered.outputs == net.outputs
    same_output(lowered, net)


def test_every_lowering_is_tested():
    elsewhere = {"CONCATENATION", "MIRROR_PAD", "SELECT", "SELECT_V2", "STRIDED_SLICE", "TILE", "TRANSPOSE"}  # test_move_ops.py
    assert {kind for _, _, kind in LOWERINGS} == {*NETS, "ARG_MAX", "ARG_MIN", *elsewhere}


@pytest.mark.parametrize(
    ("slopes", "made"),
    [
        ([0.1, 0.5, -0.3], ["DEPTHWISE_CONV_2D", "ADD"]),
        ([1.1, 2.0, 1.0], ["DEPTHWISE_CONV_2D", "SUB"]),
        ([0.1, 2.0, -1.5], ["DEPTHWISE_CONV_2D", "ADD", "DEPTHWISE_CONV_2D", "SUB"]),
        ([0.25] * 3, ["LEAKY_RELU"]),
    ],
)
@pytest.mark.parametrize("activations", ["int8", "int16"])
def test_prelu_is_what_its_slopes_allow(slopes, made, activations):
    alpha = np.float32(slopes).reshape(1, 1, 3)
    net = draft((4, 6, 3), lambda d, x: d(PRelu(), x, alpha))
    lowered = lower(net, "cpu", activations)
    assert kinds(lowered) == [kind if activations == "int8" else kind.replace("DEPTHWISE_CONV_2D", "MUL") for kind in made]
    same_output(lowered, net)


def test_prelu_whose_slopes_differ_from_place_to_place_is_a_product():
    alpha = np.random.default_rng(0).uniform(-1, 2, (4, 6, 3)).astype(np.float32)
    net = draft((4, 6, 3), lambda d, x: d(PRelu(), x, alpha))
    lowered = lower(net, "cpu", "int8")
    assert kinds(lowered) == ["MUL", "ADD", "MUL", "SUB"]
    same_output(lowered, net)
    row = draft((6,), lambda d, x: d(PRelu(), x, normal(6)))
    assert kinds(lower(row, "cpu", "int8")) == ["MUL", "ADD", "MUL", "SUB"]
    assert kinds(lower(net, "mcu", "int8")) == ["PRELU"]


def test_an_index_is_int32_on_microcontrollers():
    net = draft((4, 6, 3), lambda d, x: d(ArgMax(), x, np.int32(3)))
    lowered = lower(net, "mcu", "int8")
    assert [op.kind for op in lowered.ops] == [ArgMax("int32")]
    assert lowered[lowered.outputs[0]].format == Index("int32")
    x = np.random.default_rng(0).normal(0, 4, (5, 4, 6, 3)).astype(np.float32)
    (y,), (expected,) = (Program(n)({n.input_names[0]: x}).values() for n in (lowered, net))
    assert_same(y, expected.int())


@pytest.mark.parametrize(
    ("padding", "stride", "left"),
    [
        ("same", (1, 1), "AVERAGE_POOL_2D"),  # windows over the border have fewer elements
        ("same", (2, 3), "DEPTHWISE_CONV_2D"),
        ("valid", (1, 1), "DEPTHWISE_CONV_2D"),
    ],
)
def test_an_average_pool_is_a_convolution_where_every_window_is_whole(padding, stride, left):
    net = draft((4, 6, 3), lambda d, x: d(AveragePool2D((2, 3), stride, padding), x))
    lowered = lower(net, "cpu", "int8")
    assert kinds(lowered) == [left]
    same_output(lowered, net)


@pytest.mark.parametrize("name", TARGETS)
def test_integer_networks_have_a_bias_of_zeros_where_there_was_none(name):
    def build(d, x):
        y = d(Conv2D(), x, normal(5, 1, 1, 3))
        y = d(DepthwiseConv2D(), y, normal(1, 3, 3, 5), None)
        return d(FullyConnected(keep_dims=True), y, normal(2, 5), normal(2))

    net = draft((4, 6, 3), build)
    lowered = lower(net, name, "int8")
    biases = [lowered[op.inputs[2]].data for op in lowered.ops]
    assert_same(biases[0], np.zeros(5, np.float32))
    assert_same(biases[1], np.zeros(5, np.float32))
    assert_same(biases[2], normal(2))
    same_output(lowered, net)
    assert lower(net, name, "float32").ops == net.ops


def test_every_lowering_is_for_a_target_and_activations_that_exist():
    for name, activations, _ in LOWERINGS:
        assert name in TARGETS
        assert activations in {s.activations for s in SCHEMES.values()}
