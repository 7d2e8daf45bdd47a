"""The C of 16-bit activations, bit for bit the arithmetic of TensorFlow Lite Micro as the simulator has it."""

import re
from dataclasses import replace

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from c_networks import outputs_in_c
from compare import assert_same
from integer_cases import Builder, every_kind
from nets import NETS, images, varied
from plans import planned
from wide_cases import every_wide_kind, extreme

import intact
from intact.deploy.c.network import Text, write
from intact.deploy.c.table import ROWS
from intact.errors import UnsupportedError
from intact.formats import tflite
from intact.network.graph import Graph, Op, State, Tensor
from intact.numbers.affine import Affine, Index
from intact.ops import KINDS
from intact.planning.integer_graph import emit
from intact.planning.targets import TARGETS
from intact.rewrite.lowerings import lower
from intact.run.deploy import deploy
from intact.runtime.tools import ARM_COMPILER, EMULATOR
from intact.simulate.exact import IntegerProgram

WIDE = Affine((0.001,), (0,), "int16")
no_arm = pytest.mark.skipif(
    ARM_COMPILER.path is None or EMULATOR.path is None, reason="no gcc-arm-none-eabi and qemu-system-arm here"
)


def assert_exact(graph, x, folder, ram=None):
    made, exact = outputs_in_c(graph, x, folder, ram), IntegerProgram(graph, "tflm")(x)
    for name in graph.output_names:
        assert_same(made[name], exact[name])
        assert np.ptp(made[name]) > 0


def only(graph, op, **changed):
    """The graph of one of its ops, of which some tensors are others."""
    inputs = tuple(dict.fromkeys(i for i in op.reads if not graph[i].is_constant))
    tensors = {**graph.tensors, **{t.id: t for t in changed.pop("tensors", ())}}
    return replace(graph, ops=(replace(op, **changed),), inputs=inputs, outputs=op.outputs, tensors=tensors)


def written(graph):
    return write(graph, Text("net", "a test"))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_kind_is_bit_exact(tmp_path, seed):
    b = every_wide_kind(seed)
    graph, x = b.graph(), extreme(b, 20)
    made, exact = outputs_in_c(graph, x, tmp_path), IntegerProgram(graph, "tflm")(x)
    for name in graph.output_names:
        assert_same(made[name], exact[name])


def test_every_kind_of_the_target_has_its_c():
    assert TARGETS["mcu"].kinds("int16") - set(ROWS) == {"SHAPE"}


def chain(seed):
    """Windows of several kinds over an image, a sum with what came before, and a mean."""
    b = Builder(np.random.default_rng(seed), "int16")
    kinds, draw = KINDS, b.draw
    x = first = b.flow(int(draw.integers(14, 20)), int(draw.integers(9, 14)), 3)
    b.op(
        kinds["CONV_2D"](padding="same", activation="relu"), x, *b.weights(x, (8, 3, 3, 3), 0), out=b.format(0.2, 0.5), name="1"
    )
    x = b.ops[-1].output
    b.op(kinds["DEPTHWISE_CONV_2D"](padding="same"), x, *b.weights(x, (1, 3, 3, 8), 3), out=b.format(0.2, 0.5), name="2")
    x, before = b.ops[-1].output, x
    b.op(kinds["CONV_2D"](), x, *b.weights(x, (8, 1, 1, 8), 0), out=b.format(0.2, 0.5), name="3")
    b.op(kinds["LEAKY_RELU"](), b.ops[-1].output, out=b.format(0.2, 0.5))
    b.op(kinds["ADD"](), b.ops[-1].output, before, out=b.format(0.3, 0.5))
    b.op(kinds["PAD"](), b.ops[-1].output, b.ints(0, 0, 1, 2, 0, 1, 0, 0, shape=(4, 2)))
    b.op(kinds["MAX_POOL_2D"]((2, 2), (2, 2)), b.ops[-1].output)
    b.op(kinds["AVERAGE_POOL_2D"]((2, 2), (1, 1), "same"), b.ops[-1].output)
    x = b.ops[-1].output
    b.op(kinds["CONV_2D"](dilation=(2, 2), padding="same"), x, *b.weights(x, (5, 3, 3, 8), 0), out=b.format(0.2, 0.5), name="4")
    b.op(kinds["TANH"](), b.ops[-1].output)
    b.op(kinds["QUANTIZE"](), b.ops[-1].output, out=Affine((0.01,), (-3,)), name="to int8")
    b.op(kinds["QUANTIZE"](), b.ops[-1].output, out=WIDE, name="from int8")
    b.op(kinds["MEAN"](), b.ops[-1].output, b.ints(1, 2), out=WIDE)
    graph = b.graph()
    return Graph(graph.tensors, graph.ops, (first,), (graph.ops[-1].output,))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_rows_give_the_same_numbers_in_less_memory(tmp_path, seed):
    graph = chain(seed)
    least = write(graph, Text("net", "a test"), 0)
    assert least.by_row
    assert least.arena < written(graph).arena
    x = {"t0": np.random.default_rng(seed).integers(-32768, 32768, (6, *graph[0].shape[1:]), np.int16)}
    assert_exact(graph, x, tmp_path, ram=0)


def test_a_state_is_kept_from_run_to_run(tmp_path):
    tensors = [Tensor(n, f"t{n}", (None, 6), WIDE) for n in range(3)]
    start = np.full((1, 6), 0.5, np.float32)
    graph = Graph(
        {t.id: t for t in tensors}, (Op(KINDS["ADD"](), (0, 1), (2,)),), (0,), (2,), states=(State("sum", 1, 2, start),)
    )
    x = {"t0": np.random.default_rng(4).integers(-1000, 1000, (9, 6), np.int16)}
    assert_same(outputs_in_c(graph, x, tmp_path)["t2"], (500 + np.cumsum(x["t0"], 0)).astype(np.int16))


def test_a_choice_between_tensors(tmp_path):
    tensors = [Tensor(0, "t0", (None, 6), Index("bool")), *(Tensor(n, f"t{n}", (None, 6), WIDE) for n in (1, 2, 3))]
    graph = Graph({t.id: t for t in tensors}, (Op(KINDS["SELECT_V2"](), (0, 1, 2), (3,)),), (0, 1, 2), (3,))
    draw = np.random.default_rng(0)
    x = {"t0": draw.integers(0, 2, (5, 6)).astype(bool)} | {t: draw.integers(-9, 9, (5, 6), np.int16) for t in ("t1", "t2")}
    assert_same(outputs_in_c(graph, x, tmp_path)["t3"], np.where(x["t0"], x["t1"], x["t2"]))


@pytest.mark.parametrize("name", NETS)
def test_quantized_networks_are_bit_exact(tmp_path, name):
    net = lower(NETS[name](), "mcu", "int16")
    graph = emit(net, planned(net, scheme="int16x8", target="mcu"))
    (i,) = graph.inputs
    x = {graph[i].name: np.random.default_rng(1).integers(-32768, 32768, (6, *graph[i].shape[1:]), np.int16)}
    for ram in (None, 0):
        assert_exact(graph, x, tmp_path, ram)


# ---- what is refused ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["HARD_SWISH", "GATHER", "RESIZE_BILINEAR", "REDUCE_MAX", "PRELU", "ARG_MAX", "ELU"])
def test_what_tensorflow_lite_micro_lacks_is_refused_by_name(name):
    b = every_kind(0)
    graph, op = b.graph(), b.names[name]
    changed = [replace(graph[i], format=WIDE) for i in (*op.reads, *op.outputs) if isinstance(graph[i].format, Affine)]
    with pytest.raises(UnsupportedError, match=rf"{name} .* has no int16 kernel in TensorFlow Lite Micro"):
        written(only(graph, op, tensors=changed))


def test_a_zero_point_is_refused():
    b = every_wide_kind(0)
    graph, op = b.graph(), b.names["FULLY_CONNECTED wide"]
    other = replace(graph[op.inputs[0]], format=Affine((0.001,), (3,), "int16"))
    with pytest.raises(UnsupportedError, match=r"FULLY_CONNECTED .*'t\d+' is int16 with a zero point, which kernels leave out"):
        written(only(graph, op, tensors=[other]))
    with pytest.raises(UnsupportedError, match=r"int16 activations with a zero point \('t\d+'\) is not known"):
        IntegerProgram(only(graph, op, tensors=[other]), "tflm")({other.name: np.zeros((1, 40), np.int16)})


@pytest.mark.parametrize("label", ["DEPTHWISE_CONV_2D same", "TRANSPOSE_CONV"])
def test_a_bias_that_the_kernel_would_misread_is_refused(label):
    b = every_wide_kind(0)
    graph, op = b.graph(), b.names[label]
    bias = graph[op.inputs[-1]]
    short = replace(bias, format=replace(bias.format, dtype="int32"), data=bias.data.astype(np.int32))
    with pytest.raises(UnsupportedError, match="its bias is int32, which the kernel of 16-bit numbers reads as int64"):
        written(only(graph, op, tensors=[short]))
    x = graph[next(i for i in op.reads if not graph[i].is_constant)]
    with pytest.raises(UnsupportedError, match="takes a bias of int64, and has one of int32"):
        IntegerProgram(only(graph, op, tensors=[short]), "tflm")({x.name: np.zeros((1, *x.shape[1:]), np.int16)})


@pytest.mark.parametrize(
    ("label", "n", "scale", "why"),
    [
        ("FULLY_CONNECTED wide", -1, 1e-9, "the scales of its weights and of its output are too far apart"),
        ("FULLY_CONNECTED with a bias of 32 bits", -1, 1e-9, "its sums of products may leave 32 bits"),
        ("ADD", -1, 1e-8, "TensorFlow Lite Micro stops at it"),
        ("MUL", -1, 1e-8, "leaves 32 bits on the way"),
        ("LEAKY_RELU", -1, 1e-9, "leaves 32 bits on the way"),
        ("MEAN", -1, 1e-9, "its sums may leave 32 bits"),
        ("TANH", 0, 10.0, "the scale of its input is too large to be looked up"),
        ("LOGISTIC", -1, 0.01, "its output is not in steps of 1/32768"),
        ("SOFTMAX 0", 0, 10.0, "leaves 32 bits on the way"),
    ],
)
def test_scales_that_overflow_are_refused(label, n, scale, why):
    b = every_wide_kind(0)
    graph, op = b.graph(), b.names[label]
    other = replace(graph[op.outputs[0] if n < 0 else op.inputs[n]], format=Affine((scale,), (0,), "int16"))
    with pytest.raises(UnsupportedError, match=re.escape(why)):
        written(only(graph, op, tensors=[other]))


def test_int4_weights_are_refused():
    b = every_wide_kind(0)
    graph, op = b.graph(), b.names["FULLY_CONNECTED wide"]
    weight = graph[op.inputs[1]]
    narrow = replace(weight, format=replace(weight.format, dtype="int4"), data=weight.data // 19)
    with pytest.raises(UnsupportedError, match="its weight is int4 beside activations of 16 bits"):
        written(only(graph, op, tensors=[narrow]))


@pytest.mark.parametrize(("kind", "shape"), [("CONV_2D", (4, 3, 3, 4)), ("FULLY_CONNECTED", (4, 4))])
@pytest.mark.parametrize("asked", [schema.TensorType.INT32, schema.TensorType.INT64])
def test_a_layer_without_a_bias_that_asks_for_short_sums_is_refused(tmp_path, kind, shape, asked):
    b = Builder(np.random.default_rng(0), "int16")
    x = b.flow(*(6, 5, 4)[-len(shape) + 1 :])
    b.op(KINDS[kind](), x, b.weights(x, shape, 0, per_channel=False)[0])
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(tflite.write(b.graph()), 0))
    model.subgraphs[0].operators[0].builtinOptions.quantizedBiasType = asked
    made = flatbuffers.Builder()
    made.Finish(model.Pack(made), b"TFL3")
    path = tmp_path / "model.tflite"
    path.write_bytes(bytes(made.Output()))
    if asked == schema.TensorType.INT64:
        assert deploy(path, tmp_path / "out").document["arena"]
        return
    with pytest.raises(UnsupportedError, match="without a bias that asks for sums of 32 bits"):
        deploy(path, tmp_path / "out")


# ---- the whole way ------------------------------------------------------------------------------------------------------


@no_arm
def test_what_intact_quantize_makes_runs_on_an_emulated_core(tmp_path):
    data = intact.data.arrays(images(40))
    made = intact.quantize(varied(), data, scheme="int16x8", target="mcu", measure=False)
    path = made.save(tmp_path / "model.tflite")
    done = deploy(path, tmp_path / "firmware", data=intact.data.arrays(images(4, seed=1)), verify=True, samples=4)
    assert done.is_exact
    assert done.document["emulated"]["samples"] == 4
    header = (tmp_path / "firmware" / "network.h").read_text()
    assert "int16_t *network_input_0(void);" in header
    graph = tflite.read(path)
    assert {graph[i].format.dtype for op in graph.ops for i in op.outputs} == {"int16"}
