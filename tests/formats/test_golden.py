"""Files written once: the writer still gives their bytes, the reader still gives their graphs, and the runtime takes them."""

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from compare import assert_same
from flatbuffers import Builder
from golden_graphs import FOLDER, GRAPHS

from intact.errors import UnsupportedError
from intact.formats import tflite
from intact.numbers.affine import Affine
from intact.simulate.engine import Program


def golden(name):
    return (FOLDER / f"{name}.tflite").read_bytes()


def assert_same_graph(actual, expected):
    assert list(actual.tensors) == list(expected.tensors)
    for a, e in zip(actual.tensors.values(), expected.tensors.values(), strict=True):
        assert (a.name, a.shape, a.format, a.is_constant) == (e.name, e.shape, e.format, e.is_constant)
        if e.data is not None:
            assert_same(a.data, e.data)
    assert [(op.kind, op.inputs, op.outputs) for op in actual.ops] == [(op.kind, op.inputs, op.outputs) for op in expected.ops]
    for part in ("inputs", "outputs", "signatures", "metadata", "description"):
        assert getattr(actual, part) == getattr(expected, part)


@pytest.mark.parametrize("name", GRAPHS)
def test_the_writer_gives_the_same_bytes_as_ever(name):
    assert tflite.write(GRAPHS[name]()).hex(" ", 4) == golden(name).hex(" ", 4)


@pytest.mark.parametrize("name", GRAPHS)
def test_the_reader_gives_the_same_graph_as_ever(name):
    assert_same_graph(tflite.read(golden(name)), GRAPHS[name]())


def test_every_golden_file_has_its_graph_and_all_are_small():
    files = sorted(FOLDER.glob("*"))
    assert [path.stem for path in files] == sorted(GRAPHS)
    assert sum(path.stat().st_size for path in files) < 10_000


#: What rounding may cost, relative to the largest output: none for float weights, a step of the output or two for integers
#: whose kernels round in another way than the simulator, 8 bits per activation where it is quantized on the fly.
ROUNDING = {
    "float32": 1e-6,
    "float16": 1e-6,
    "int8_per_channel": 2 / 127,
    "int8_shared_zero_points": 2 / 127,
    "dynamic": 2 / 127,
    "int4": 2 / 127,
    "int2": 2 / 127,
}


@pytest.mark.parametrize("name", GRAPHS)
def test_the_runtime_computes_what_the_simulator_does(name):
    graph, litert = GRAPHS[name](), Interpreter(model_content=golden(name), num_threads=1)
    litert.allocate_tensors()
    x = np.random.default_rng(0).uniform(-1, 1, (1, *graph[0].shape[1:])).astype(np.float32)
    fmt, out = graph[0].format, graph[graph.outputs[0]].format
    given = x if not isinstance(fmt, Affine) else np.round(x / fmt.scale[0] + fmt.zero_point[0]).clip(-128, 127).astype(np.int8)
    litert.set_tensor(litert.get_input_details()[0]["index"], given)
    litert.invoke()
    y = litert.get_tensor(litert.get_output_details()[0]["index"])
    if isinstance(out, Affine):
        y = (y.astype(np.float32) - np.float32(out.zero_point[0])) * np.float32(out.scale[0])
    with torch.inference_mode():
        expected = Program(graph)({graph.input_names[0]: x})[graph.output_names[0]].numpy()
    assert np.ptp(expected) > 0
    assert_same(y, expected, rtol=ROUNDING[name])


def test_equal_vectors_are_stored_once():
    """Sixteen zero points of 8 bytes: once in the file, though eight tensors have them."""
    blob = golden("int8_shared_zero_points")
    model = schema.Model.GetRootAs(blob, 0)
    tensors = [model.Subgraphs(0).Tensors(i).Quantization() for i in range(model.Subgraphs(0).TensorsLength())]
    places = {q._tab.Vector(q._tab.Offset(10)) for q in tensors if q.ZeroPointLength() == 16}
    assert len(places) == 1
    assert sum(q.ZeroPointLength() == 16 for q in tensors) == 8


def test_one_zero_point_in_the_file_stands_for_all():
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(golden("int8_per_channel"), 0))
    for tensor in model.subgraphs[0].tensors:
        if tensor.quantization is not None:
            tensor.quantization.zeroPoint = tensor.quantization.zeroPoint[:1]
    builder = Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    assert_same_graph(tflite.read(bytes(builder.Output())), GRAPHS["int8_per_channel"]())


def test_scales_of_blocks_are_refused_by_name():
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(golden("int8_per_channel"), 0))
    quantization = next(t.quantization for t in model.subgraphs[0].tensors if t.quantization is not None)
    quantization.detailsType = schema.QuantizationDetails.BlockwiseQuantization
    quantization.details = schema.BlockwiseQuantizationT()
    builder = Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    with pytest.raises(
        UnsupportedError, match=r"is int8 .* with a scale for each block of its numbers, for which no kernel is right"
    ):
        tflite.read(bytes(builder.Output()))
