"""int4 weights with a scale for each block in a .tflite: what is written, read, counted, and refused."""

from dataclasses import replace

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from compare import assert_same
from drafts import draft, normal
from flatbuffers import Builder

from intact.errors import ModelError, UnsupportedError
from intact.formats import onnx_out, pt2_out, tflite
from intact.formats.tflite.parts import pieces
from intact.measure.size import file_size
from intact.measure.split import split
from intact.network.weighted import weighted
from intact.numbers.affine import dequantize_array
from intact.numbers.block_scales import BlockScales
from intact.ops.matmul import FullyConnected
from intact.planning.integer_graph import emit
from intact.planning.planner import make_plan
from intact.planning.request import Request
from intact.planning.schemes import scheme
from intact.planning.targets import target


def dense(inputs=64, outputs=6):
    return draft((inputs,), lambda d, x: d(FullyConnected(), x, normal(outputs, inputs), normal(outputs)))


def in_blocks(graph, name="dynamic-w4-g32"):
    return emit(graph, make_plan(graph, {}, Request(scheme(name), target("cpu"))))


def as_model(data):
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))


def packed(model):
    builder = Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def weight_in(model):
    (found,) = (t for t in model.subgraphs[0].tensors if t.type == schema.TensorType.INT4)
    return found


def weight_of(graph):
    return weighted(graph, graph.ops[0]).weight


def test_the_file_holds_what_the_schema_says():
    graph = in_blocks(dense())
    ours = weight_of(graph)
    model = as_model(tflite.write(graph))
    t = weight_in(model)
    q, tensors = t.quantization, model.subgraphs[0].tensors
    assert q.detailsType == schema.QuantizationDetails.BlockwiseQuantization
    assert (q.details.blockSize, q.details.zeroPoints, q.quantizedDimension) == (32, -1, 0)
    assert q.scale is None
    assert q.zeroPoint is None
    scales = tensors[q.details.scales]
    assert (scales.type, list(scales.shape)) == (schema.TensorType.FLOAT16, [6, 2])
    held = np.frombuffer(model.buffers[scales.buffer].data.tobytes(), np.float16)
    assert held.tolist() == [s for row in ours.format.block_scales.scales for s in row]
    payload = np.asarray(model.buffers[t.buffer].data)
    halves = np.stack([payload & 15, payload >> 4], -1).reshape(6, 64).astype(np.int8)  # the low half first
    assert_same(np.where(halves > 7, halves - 16, halves).astype(np.int8), ours.data)
    assert all(q.details.scales not in op.inputs for op in model.subgraphs[0].operators)


@pytest.mark.parametrize(("inputs", "outputs", "size"), [(64, 4, 32), (96, 5, 32), (128, 7, 64), (384, 4, 128), (768, 33, 256)])
def test_what_is_written_is_read_back(inputs, outputs, size):
    graph = in_blocks(dense(inputs, outputs), f"dynamic-w4-g{size}")
    data = tflite.write(graph)
    again = tflite.read(data)
    assert weight_of(again).format == weight_of(graph).format
    assert weight_of(again).format.block_scales.size == size
    assert_same(weight_of(again).data, weight_of(graph).data)
    assert tflite.write(tflite.read(tflite.write(again))) == tflite.write(again)
    assert len(again.tensors) == len(graph.tensors)


def test_equal_weights_share_their_bytes_and_their_scales():
    def two(seed):
        return draft((64,), lambda d, x: tuple(d(FullyConnected(), x, normal(8, 64, seed=n)) for n in (0, seed)))

    alike, other = (len(tflite.write(in_blocks(two(seed)))) for seed in (0, 1))
    assert other - alike >= 8 * 64 // 2 + 2 * 8 * 2


def test_the_bytes_of_scales_are_quantization():
    graph = in_blocks(dense(256, 16))
    data = tflite.write(graph)
    assert sum(p.end - p.start for p in pieces(data) if p.part == "quantization") == 2 * 16 * 8
    assert split(data)["quantization"] == 2 * 16 * 8
    assert split(data)["weights"] == 16 * 256 // 2
    assert split(data)["biases"] == 4 * 16
    assert file_size(tflite.read(data), len(data)).scales == 2 * 16 * 8


def test_files_of_googles_quantizer_are_read():
    quantizer = pytest.importorskip("ai_edge_quantizer", reason="the peer is not installed")
    net = dense(128, 6)
    made = quantizer.Quantizer(tflite.write(net, named=True))
    made.add_dynamic_config(
        regex=".*",
        operation_name=quantizer.qtyping.TFLOperationName.FULLY_CONNECTED,
        num_bits=4,
        granularity=quantizer.qtyping.QuantGranularity.BLOCKWISE_64,
    )
    found = weight_of(tflite.read(bytes(made.quantize().quantized_model)))
    scales = found.format.block_scales
    assert (scales.size, np.shape(scales.scales)) == (64, (6, 2))
    real = weight_of(net).data
    error = np.abs(dequantize_array(found.data, found.format) - real)
    assert (error <= scales.steps() * 0.51 + 2.0**-8 * np.abs(real)).all()  # its scales are of the largest number, rounded


def changed(change, data=None):
    model = as_model(tflite.write(in_blocks(dense())) if data is None else data)
    t = weight_in(model)
    change(model, t, t.quantization.details, model.subgraphs[0].tensors[t.quantization.details.scales])
    return packed(model)


def hold(values):
    def change(model, t, details, scales):
        del t, details
        model.buffers[scales.buffer].data = np.frombuffer(np.asarray(values, np.float16).tobytes(), np.uint8)

    return change


def put(where, name, value):
    def change(model, t, details, scales):
        del model
        setattr({"weight": t, "details": details, "scales": scales}[where], name, value)

    return change


HOSTILE = {
    "no such tensor": (put("details", "scales", 99), ModelError, "has its scales in tensor 99 of"),
    "a negative tensor": (put("details", "scales", -1), ModelError, "has its scales in tensor -1 of"),
    "its own scales": (put("details", "scales", 1), ModelError, "no constants of float16"),
    "an activation": (put("details", "scales", 0), ModelError, "no constants of float16"),
    "scales of another type": (put("scales", "type", schema.TensorType.INT16), ModelError, "no constants of float16"),
    "scales without numbers": (put("scales", "buffer", 0), ModelError, "no constants of float16"),
    "scales of another shape": (put("scales", "shape", [6, 3]), ModelError, "which is not float16"),
    "no size": (put("details", "blockSize", 0), ModelError, "in blocks of 0, which do not fit"),
    "a negative size": (put("details", "blockSize", -32), ModelError, "in blocks of -32, which do not fit"),
    "another size": (put("details", "blockSize", 16), ModelError, "has 12 scales for .6, 64. in blocks of 16"),
    "a size that does not divide": (put("details", "blockSize", 48), ModelError, "in blocks of 48, which do not fit"),
    "zero points": (put("details", "zeroPoints", 2), UnsupportedError, "has a zero point for each block"),
    "a zero": (hold([0.5] * 11 + [0]), ModelError, "a scale that is not a positive number"),
    "a negative scale": (hold([0.5] * 11 + [-1]), ModelError, "a scale that is not a positive number"),
    "NaN": (hold([0.5] * 11 + [np.nan]), ModelError, "a scale that is not a positive number"),
    "infinity": (hold([0.5] * 11 + [np.inf]), ModelError, "a scale that is not a positive number"),
    "too few bytes": (hold([0.5] * 11), ModelError, "which is not float16"),
    "three axes": (put("weight", "shape", [6, 1, 64]), UnsupportedError, "int4 .6, 1, 64. with a scale for each block"),
    "no details": (put("weight", "quantization", None), UnsupportedError, "stored in 4 bits without a scale"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_cannot_be_is_refused_by_name(name):
    change, error, said = HOSTILE[name]
    with pytest.raises(error, match=said):
        tflite.read(changed(change))


def test_no_damaged_byte_ends_in_anything_but_an_error_of_ours():
    whole, rng = tflite.write(in_blocks(dense())), np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        data = bytearray(whole)
        data[int(rng.integers(8, len(data)))] ^= 1 << int(rng.integers(8))
        try:
            tflite.read(bytes(data))
        except (ModelError, UnsupportedError):
            refused += 1
    assert 0 < refused < 300


def test_other_formats_say_that_they_have_no_form_of_it():
    graph = in_blocks(dense())
    for write in (onnx_out.write, pt2_out.write):
        with pytest.raises(UnsupportedError, match=r"no form of weights with a scale for each block \(--scheme dynamic-w4 has"):
            write(graph)


def test_scales_that_are_not_of_the_shape_are_told_before_writing():
    graph = in_blocks(dense())
    t = weight_of(graph)
    fmt = in_blocks(dense(128, 6)).tensors[t.id].format
    assert isinstance(fmt.block_scales, BlockScales)
    with pytest.raises(ModelError, match="has 24 scales, one for each 32 numbers"):
        tflite.write(replace(graph, tensors={**graph.tensors, t.id: replace(t, format=fmt)}))
