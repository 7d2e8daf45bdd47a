"""What is written as ONNX, run in ONNX Runtime, beside the exact integers of LiteRT's kernels."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from compare import assert_same
from integer_cases import every_kind, samples

from intact.errors import UnsupportedError
from intact.formats.onnx_out import ORDERS, Spelling, write
from intact.formats.onnx_out.build import Builder, clamps
from intact.formats.onnx_out.table import ROWS
from intact.network.graph import Graph, Op, State, Tensor
from intact.numbers.affine import Affine, Float, Index, dequantize_array
from intact.ops import INTEGER, KINDS
from intact.ops.convolution import Conv2D
from intact.ops.quantization import Dequantize, Quantize
from intact.simulate.engine import Program
from intact.simulate.exact import IntegerProgram

onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (the extra onnx)")
onnx = pytest.importorskip("onnx", reason="onnx is not installed (the extra onnx)")

CASES = every_kind(seed=0)
NAMES = list(CASES.names)
#: Kinds whose kernels round otherwise in ONNX Runtime, which computes them in real numbers: by at most one step.
NEARLY = {
    "ABS", "LEAKY_RELU", "PRELU", "RELU_N1_TO_1", "AVERAGE_POOL_2D", "RESIZE_BILINEAR",
    # what ONNX Runtime computes in real numbers, as it has no kernels for int4 weights, as which it gets int2
    "CONV_2D int4", "CONV_2D int4 grouped", "FULLY_CONNECTED int4", "FULLY_CONNECTED int2",
    # two conversions after each other become one there
    "QUANTIZE from uint8",
}  # fmt: skip


def alone(op: Op) -> Graph:
    graph = CASES.graph()
    used = {*op.reads, *op.outputs}
    tensors = {i: t for i, t in graph.tensors.items() if i in used}
    return replace(
        graph, tensors=tensors, ops=(op,), inputs=tuple(i for i in op.reads if i in CASES.inputs), outputs=op.outputs
    )


def session(model: bytes) -> object:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def ran(model: bytes, graph: Graph, stored: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What ONNX Runtime makes, in our order, as stored integers where the graph stores such."""
    runtime = session(model)
    orders = json.loads(runtime.get_modelmeta().custom_metadata_map[ORDERS])
    feeds = {}
    for name, i in zip(graph.input_names, graph.inputs, strict=True):
        x = stored[name]
        x = dequantize_array(x, graph[i].format) if isinstance(graph[i].format, Affine) else x
        feeds[name] = np.ascontiguousarray(x.transpose(orders[name]))
    made = dict(zip(graph.output_names, runtime.run(list(graph.output_names), feeds), strict=True))
    result = {}
    for name, i in zip(graph.output_names, graph.outputs, strict=True):
        y, fmt = made[name].transpose(np.argsort(orders[name])), graph[i].format
        result[name] = np.rint(y.astype(np.float64) / fmt.scale[0]) + fmt.zero_point[0] if isinstance(fmt, Affine) else y
    return result


@pytest.mark.parametrize("activations", ["int8", "uint8"])
@pytest.mark.parametrize("name", NAMES)
def test_every_kind_gives_the_same_integers(name, activations):
    op = CASES.names[name]
    graph = alone(op)
    given = {k: v for k, v in samples(replace_draw(), 4).items() if k in graph.input_names}
    made = ran(write(graph, Spelling(activations=activations)), graph, given)
    expected = IntegerProgram(graph, "default")(given)
    tolerance = 1.0 if op.kind.name in NEARLY or any(name.startswith(n) for n in NEARLY) else 0.0
    for output in graph.output_names:
        exact = np.asarray(expected[output])
        assert_same(made[output].astype(np.float64), exact.astype(np.float64), atol=tolerance)


def replace_draw():
    """The cases with a generator that begins anew, so that each test has the same numbers however many ran before."""
    return replace(CASES, draw=np.random.default_rng(1))


def test_every_integer_kind_but_the_recurrent_one_has_a_row():
    assert INTEGER - ROWS.keys() == {"CONV_3D", "UNIDIRECTIONAL_SEQUENCE_LSTM"}


def test_every_row_is_of_a_known_kind():
    assert ROWS.keys() <= KINDS.keys()


def test_what_no_row_has_is_refused_at_once_in_one_sentence():
    b = every_kind(seed=0)
    x = b.flow(4, 4, 4, 3)
    b.op(KINDS["CONV_3D"](), x, b.constant(1, 1, 1, 3, 2), name="x")
    b.op(KINDS["GATHER"](axis=1, batch_dims=1), b.flow(5, 6), b.ints(1, 2, shape=(1, 2)), name="batched")
    with pytest.raises(UnsupportedError, match=r"^ONNX has no form of the ops CONV_3D; the .tflite runs them in LiteRT$"):
        write(b.graph())
    others = replace(b.graph(), ops=tuple(op for op in b.graph().ops if op.kind.name != "CONV_3D"))
    others = replace(others, outputs=tuple(i for op in others.ops for i in op.outputs))
    with pytest.raises(UnsupportedError, match=r"GATHER '.*': gathers in batches .* at places of one batch; the .tflite"):
        write(others)


def test_each_sample_is_gathered_at_places_of_its_own():
    tensors = {
        0: Tensor(0, "x", (None, 5, 3), Float()),
        1: Tensor(1, "at", (None, 4), Index("int32")),
        2: Tensor(2, "y", (None, 4, 3), Float()),
    }
    graph = Graph(tensors, (Op(KINDS["GATHER"](axis=1, batch_dims=1), (0, 1), (2,)),), (0, 1), (2,))
    rng = np.random.default_rng(0)
    x, at = rng.normal(size=(3, 5, 3)).astype(np.float32), rng.integers(0, 5, (3, 4)).astype(np.int32)
    (y,) = session(write(graph)).run(None, dict(zip(graph.input_names, (x, at), strict=True)))
    assert_same(y, np.stack([sample[places] for sample, places in zip(x, at, strict=True)]))


def test_a_stored_constant_is_no_zero_point_too():
    build = Builder()
    build.stored(np.asarray(3, np.int8), Affine((0.5,), (3,)), None, "c", activation=True)
    ((held, _, zero_point),) = [node.inputs for node in build.nodes]
    assert held != zero_point
    assert_same(build.constants[held].data, build.constants[zero_point].data)


def test_sums_of_integers_are_means_by_their_count():
    (name,) = [name for name in NAMES if name.startswith("SUM")][:1]
    ops = {node.op_type for node in onnx.load_from_string(write(alone(CASES.names[name]))).graph.node}
    assert "ReduceSum" not in ops
    assert {"ReduceMean", "Mul"} <= ops


@pytest.mark.parametrize(("was", "new"), [(12, 7), (14, 9), (10, 7), (7, 12), (33, 32)])
@pytest.mark.parametrize("kind", ["RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"])
def test_sizes_are_what_factors_give(kind, was, new):
    tensors = {
        0: Tensor(0, "x", (None, was, 4, 2), Float()),
        1: Tensor(1, "size", (2,), Index("int32"), np.asarray([new, 4], np.int32)),
        2: Tensor(2, "y", (None, new, 4, 2), Float()),
    }
    graph = Graph(tensors, (Op(KINDS[kind](), (0, 1), (2,)),), (0,), (2,))
    (y,) = session(write(graph)).run(None, {graph.input_names[0]: np.zeros((1, 2, was, 4), np.float32)})
    assert y.shape == (1, 2, new, 4)


def test_states_are_refused():
    graph = Graph({0: Tensor(0, "x", (1, 2)), 1: Tensor(1, "y", (1, 2))}, (Op(KINDS["ABS"](), (0,), (1,)),), (), (1,))
    with pytest.raises(UnsupportedError, match="1 state that it keeps"):
        write(replace(graph, states=(State("s", 0, 1, np.zeros((1, 2), np.float32)),)))


def image_net() -> Graph:
    """PAD, CONV and depthwise CONV, MUL by a channel's number, ADD, global mean, dense: what a plain network is of."""
    b = every_kind(seed=3)
    b.ops.clear(), b.inputs.clear(), b.names.clear()
    one, step = b.format(0.02, 0.03), Affine((0.05,), (-3,))
    x = b.flow(8, 8, 3, fmt=one)
    b.op(KINDS["PAD"](), x, b.ints(0, 0, 1, 0, 0, 1, 0, 0, shape=(4, 2)))
    padded = b.ops[-1].output
    b.op(KINDS["CONV_2D"](stride=(2, 2)), padded, *b.weights(padded, (6, 3, 3, 3), 0), out=step)
    first = b.ops[-1].output
    b.op(KINDS["DEPTHWISE_CONV_2D"](padding="same"), first, *b.weights(first, (1, 3, 3, 6), 3), out=step)
    b.op(KINDS["MUL"](), b.ops[-1].output, b.constant(6), out=step)
    b.op(KINDS["ADD"](), b.ops[-1].output, first, out=step)
    b.op(KINDS["MEAN"](), b.ops[-1].output, b.ints(1, 2), out=Affine((0.037,), (5,)))  # no ties of means of 16
    mean = b.ops[-1].output
    b.op(KINDS["FULLY_CONNECTED"](), mean, *b.weights(mean, (5, 6), 0), out=step)
    used = {*b.inputs, *(i for op in b.ops for i in (*op.reads, *op.outputs))}
    graph = b.graph()
    tensors = {i: t for i, t in graph.tensors.items() if i in used}
    return replace(graph, tensors=tensors, outputs=(b.ops[-1].output,))


@pytest.mark.parametrize("activations", ["int8", "uint8"])
def test_a_plain_network_has_no_transpose_and_gives_the_same_integers(activations):
    graph = image_net()
    model = write(graph, Spelling(activations=activations))
    kinds = [node.op_type for node in onnx.load_from_string(model).graph.node]
    assert not {"Transpose", "Pad"}.intersection(kinds)
    x = np.random.default_rng(0).integers(-128, 128, (16, 8, 8, 3), np.int8)
    given = {graph.input_names[0]: x}
    (name,) = graph.output_names
    assert_same(ran(model, graph, given)[name], np.asarray(IntegerProgram(graph, "default")(given)[name], np.float64))


@pytest.mark.parametrize("per_channel", [False, True])
def test_images_that_become_rows_are_not_turned(per_channel):
    b = every_kind(seed=4)
    for held in (b.ops, b.inputs, b.names):
        held.clear()
    step = Affine((0.05,), (-3,))
    x = b.flow(6, 5, 3)
    b.op(KINDS["CONV_2D"](), x, *b.weights(x, (4, 3, 3, 3), 0), out=step)
    b.op(KINDS["RESHAPE"](), b.ops[-1].output, b.ints(-1, 48))
    row = b.ops[-1].output
    b.op(KINDS["FULLY_CONNECTED"](), row, *b.weights(row, (7, 48), 0, per_channel=per_channel), out=Affine((0.5,), (0,)))
    graph = b.graph()
    used = {*b.inputs, *(i for op in b.ops for i in (*op.reads, *op.outputs))}
    graph = replace(graph, tensors={i: t for i, t in graph.tensors.items() if i in used}, outputs=(b.ops[-1].output,))
    model = write(graph)
    assert "Transpose" not in {node.op_type for node in onnx.load_from_string(model).graph.node}
    given = {graph.input_names[0]: np.random.default_rng(0).integers(-128, 128, (9, 6, 5, 3), np.int8)}
    (name,) = graph.output_names
    assert_same(ran(model, graph, given)[name], np.asarray(IntegerProgram(graph, "default")(given)[name], np.float64))


def test_images_come_with_their_channels_first():
    (port,) = session(write(image_net())).get_inputs()
    assert (port.shape, port.type) == (["n", 3, 8, 8], "tensor(float)")


def test_integers_scales_and_biases_are_those_of_the_graph():
    graph = image_net()
    model = onnx.load_from_string(write(graph))
    held = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    op = next(op for op in graph.ops if op.kind.name == "CONV_2D")
    weight, bias = graph.operand(op, 1), graph.operand(op, 2)
    assert_same(held[f"{weight.name}_quantized"], np.asarray(weight.data).transpose(0, 3, 1, 2))
    assert_same(held[f"{bias.name}_quantized"], np.asarray(bias.data))
    node = next(n for n in model.graph.node if n.output[0] == f"{bias.name}_dequantized")
    assert_same(held[node.input[1]], np.float32(bias.format.scale))


def test_biases_of_tensorrt_are_real_numbers():
    graph = image_net()
    model = onnx.load_from_string(write(graph, Spelling(bias="float32")))
    assert not [t.name for t in model.graph.initializer if t.data_type == onnx.TensorProto.INT32]


def test_opset_21_where_4_or_16_bits_are_used_and_13_elsewhere():
    versions = {
        name: onnx.load_from_string(write(alone(CASES.names[name]))).opset_import[0].version
        for name in ("CONV_2D same", "CONV_2D int4")
    }
    assert versions == {"CONV_2D same": 13, "CONV_2D int4": 21}


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_is_sound_beside_int4_weights(name):
    """ONNX spells reductions otherwise since opset 18."""
    both, wide = alone(CASES.names[name]), alone(CASES.names["CONV_2D int4"])
    graph = replace(
        both,
        tensors=both.tensors | wide.tensors,
        ops=tuple(dict.fromkeys((*both.ops, *wide.ops))),
        inputs=tuple(dict.fromkeys((*both.inputs, *wide.inputs))),
        outputs=tuple(dict.fromkeys((*both.outputs, *wide.outputs))),
    )
    given = {k: v for k, v in samples(replace_draw(), 2).items() if k in graph.input_names}
    made, (output, *_) = ran(write(graph), graph, given), both.output_names
    assert np.array_equal(made[output], ran(write(both), both, {k: given[k] for k in both.input_names})[output])


def kept_in_float() -> Graph:
    """Q, DQ, a convolution in float of one channel a thousandth of the other, Q and DQ."""
    weight = np.float32([[[[1.0]]], [[[0.001]]]])
    fmt = Affine((1 / 127,), (0,))
    tensors = (
        Tensor(0, "x", (None, 4, 4, 1), fmt),
        Tensor(1, "real", (None, 4, 4, 1), Float()),
        Tensor(2, "weight", weight.shape, Float(), weight),
        Tensor(3, "made", (None, 4, 4, 2), Float()),
        Tensor(4, "y", (None, 4, 4, 2), Affine((1e-5,), (0,))),
    )
    ops = (Op(Dequantize(), (0,), (1,)), Op(Conv2D(), (1, 2, None), (3,)), Op(Quantize(), (3,), (4,)))
    return Graph({t.id: t for t in tensors}, ops, (0,), (4,))


def test_a_weight_kept_in_float_is_not_rounded_by_onnx_runtime():
    """50 steps of 1/127 times 0.001 are 39.4 steps of 1e-5: 39. With int8 of one scale 0.001 would be 0."""
    graph = kept_in_float()
    x = np.full((1, 4, 4, 1), 50, np.int8)
    (made,) = ran(write(graph, Spelling(activations="uint8")), graph, {"x": x}).values()
    assert (made[..., 1] == 39).all()


def test_a_float_network_is_the_same_network():
    graph = image_net()
    floats = {
        i: replace(t, format=Float(), data=None if t.data is None else dequantize_array(np.asarray(t.data), t.format))
        if isinstance(t.format, Affine)
        else t
        for i, t in graph.tensors.items()
    }
    graph = replace(graph, tensors=floats)
    x = np.random.default_rng(0).normal(size=(5, 8, 8, 3)).astype(np.float32)
    given = {graph.input_names[0]: x}
    (name,) = graph.output_names
    assert_same(ran(write(graph), graph, given)[name], np.asarray(Program(graph)(given)[name]), rtol=1e-5)


@pytest.mark.parametrize(
    ("low", "high", "fmt", "does"),
    [
        (0.0, 6.0, Affine((6 / 255,), (-128,)), False),
        (0.0, 6.0, Affine((5 / 255,), (-128,)), False),
        (0.0, 6.0, Affine((7 / 255,), (-128,)), True),
        (0.0, float("inf"), Affine((1.0,), (-128,)), False),
        (0.0, float("inf"), Affine((1.0,), (-127,)), True),
        (-1.0, 1.0, Affine((1 / 128,), (0,)), False),
    ],
)
def test_a_clamp_is_left_out_where_rounding_does_it(low, high, fmt, does):
    assert clamps(low, high, fmt) is does
