"""Ops that Intact does not know: kept as their file spells them, computed by the runtime, in float between integers."""

import contextlib
import gc
import struct

import numpy as np
import pytest
import run_files
import torch
from ai_edge_litert import schema_py_generated as schema
from compare import assert_same
from raw_files import BUILTIN, UNIONS, F, N, code, custom, model, one, op_table, samples, tensor

import intact
from intact import data
from intact.errors import DataError, ModelError, UnsupportedError
from intact.formats import tflite
from intact.numbers.affine import Affine
from intact.ops.opaque import Opaque
from intact.rewrite.clean import clean
from intact.runtime import litert
from intact.simulate.engine import Program


def local_response():
    options = schema.LocalResponseNormalizationOptionsT()
    options.radius, options.bias, options.alpha, options.beta = 2, 1.5, 0.25, 0.75
    return options


def buckets():
    options = schema.BucketizeOptionsT()
    options.boundaries = np.float32([-1.0, 0.0, 0.5])
    return options


def pool():
    options = schema.Pool2DOptionsT()
    options.filterHeight, options.filterWidth, options.strideH, options.strideW, options.padding = 2, 3, 2, 1, 1
    return options


def sequence():
    options = schema.ReverseSequenceOptionsT()
    options.seqDim, options.batchDim = 1, 0
    return options


BOXES = np.random.default_rng(0).uniform(0, 1, (6, 4)).astype(np.float32)
#: Builtin ops that have no kind: with options of numbers, vectors and none, several outputs, other types.
FILES = {
    "LOCAL_RESPONSE_NORMALIZATION": one(
        "LOCAL_RESPONSE_NORMALIZATION", [((1, 3, 3, 8), F)], [((1, 3, 3, 8), F)], options=local_response()
    ),
    "BUCKETIZE": one("BUCKETIZE", [((1, 7), F)], [((1, 7), N)], options=buckets()),
    "L2_POOL_2D": one("L2_POOL_2D", [((1, 6, 7, 2), F)], [((1, 3, 5, 2), F)], options=pool()),
    "REVERSE_SEQUENCE": one("REVERSE_SEQUENCE", [((1, 5, 2), F), ((1,), N, [3])], [((1, 5, 2), F)], options=sequence()),
    "ATAN2": one("ATAN2", [((1, 5), F), ((1, 5), F)], [((1, 5), F)], options=schema.ATan2OptionsT()),
    "MATRIX_DIAG": one("MATRIX_DIAG", [((1, 3), F)], [((1, 3, 3), F)], options=schema.MatrixDiagOptionsT()),
    "RFFT2D": one("RFFT2D", [((1, 8, 8), F), ((2,), N, [8, 8])], [((1, 8, 5), "complex64")], options=schema.Rfft2dOptionsT()),
    "NON_MAX_SUPPRESSION_V5": one(
        "NON_MAX_SUPPRESSION_V5",
        [((6, 4), F, BOXES), ((6,), F), ((), N, 4), ((), F, 0.5), ((), F, 0.1), ((), F, 0.0)],
        [((4,), N), ((4,), F), ((), N)],
        options=schema.NonMaxSuppressionV5OptionsT(),
    ),
}


def random_inputs(graph, seed=0):
    draw = np.random.default_rng(seed)
    return [draw.normal(0, 1, [n or 1 for n in graph[i].shape]).astype(np.float32) for i in graph.inputs]


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """By name: what LiteRT makes of the file, and of the file that Intact wrote of it."""
    graphs = [tflite.read(file) for file in FILES.values()]
    given = [random_inputs(graph) for graph in graphs]
    folder = tmp_path_factory.mktemp("opaque")
    both = [*FILES.values(), *map(tflite.write, graphs)]
    made = run_files.outputs(both, [*given, *given], folder, "default")
    return {name: (made[n], made[n + len(FILES)]) for n, name in enumerate(FILES)}


@pytest.mark.parametrize("name", FILES)
def test_the_runtime_makes_the_same_of_the_file_that_is_written_back(ran, name):
    before, after = ran[name]
    assert not isinstance(before, str), before
    for x, y in zip(before, after, strict=True):
        assert_same(y, x)


@pytest.mark.parametrize("name", FILES)
def test_reading_what_was_written_and_writing_it_again_gives_the_same_bytes(name):
    written = tflite.write(tflite.read(FILES[name]))
    assert tflite.write(tflite.read(written)) == written


@pytest.mark.parametrize("name", FILES)
def test_the_simulator_asks_the_runtime(ran, name):
    graph = tflite.read(FILES[name])
    with torch.inference_mode():
        made = Program(graph)(dict(zip(graph.input_names, random_inputs(graph), strict=True)))
    for i, y, expected in zip(graph.outputs, made.values(), ran[name][0], strict=True):
        assert_same(y.numpy().reshape(expected.shape), expected)
        assert graph[i].shape[1:] == expected.shape[1:]


def test_samples_are_taken_one_by_one_where_the_op_has_one_of_each():
    graph = tflite.read(FILES["LOCAL_RESPONSE_NORMALIZATION"])
    assert graph.takes_batches
    x = np.random.default_rng(1).normal(0, 1, (5, 3, 3, 8)).astype(np.float32)
    with torch.inference_mode():
        together = Program(graph)({"x0": x})["y0"].numpy()
        alone = [Program(graph)({"x0": x[i : i + 1]})["y0"].numpy() for i in range(5)]
    assert_same(together, np.concatenate(alone))


def test_a_graph_whose_op_has_no_sample_axis_runs_one_by_one():
    graph = tflite.read(FILES["NON_MAX_SUPPRESSION_V5"])
    assert not graph.takes_batches


def positives():
    """WHERE(x > 0): as many rows as there are positive numbers."""

    def build(buffers):
        tensors = [tensor("x", (1, 8)), tensor("zero", (), data=0.0, buffers=buffers), tensor("there", (1, 8), "bool")]
        ops = [op_table(0, (0, 1), (2,), schema.GreaterOptionsT()), op_table(1, (2,), (3,), schema.WhereOptionsT())]
        return [*tensors, tensor("y", (1, 2), "int64")], ops, [code("GREATER"), code("WHERE")], [0], [3]

    return model(build)


def test_an_output_whose_size_depends_on_the_sample_breaks_nothing(tmp_path):
    graph = tflite.read(positives())
    assert not graph.takes_batches
    x = np.random.default_rng(8).normal(0, 1, (6, 8)).astype(np.float32)
    (made,) = Program(graph)({"x": x}).values()
    for rows, sample in zip(made.numpy(), x, strict=True):
        count = (sample > 0).sum()
        assert_same(rows[:count, 1], np.flatnonzero(sample > 0))
        assert not rows[count:].any()
    result = intact.quantize(positives(), data.arrays(x), measure=False)
    assert [op.kind.name for op in result.graph.ops][-1] == "WHERE"
    with pytest.raises(DataError, match=r"another shape for some samples .*cut the model before the op that makes it"):
        litert.run(result.save(tmp_path / "model.tflite"), {"x": x})


# ---- custom ops ---------------------------------------------------------------------------------------------------------


def spelled(raw):
    m = schema.Model.GetRootAs(raw, 0)
    op, made = m.Subgraphs(0).Operators(0), m.OperatorCodes(0)
    return bytes(op.CustomOptionsAsNumpy()), made.CustomCode(), made.Version(), made.BuiltinCode()


def test_a_custom_op_is_written_back_with_its_bytes():
    raw = custom()
    assert spelled(tflite.write(tflite.read(raw))) == spelled(raw) == (b"\x00\x01\xffopaque", b"NobodysOp", 3, BUILTIN.CUSTOM)


def test_a_custom_op_that_the_runtime_lacks_is_named_with_what_to_do():
    graph = tflite.read(custom())
    with pytest.raises(UnsupportedError, match=r"op CUSTOM NobodysOp 'y0': LiteRT cannot run it \(.*cut the model before it"):
        Program(graph)({"x0": np.zeros((1, 6), np.float32)})


def test_control_characters_in_a_custom_name_do_not_reach_a_terminal():
    (op,) = tflite.read(custom(b"\x1b[31mred")).ops
    assert op.kind.name == "CUSTOM ?[31mred"


# ---- MediaPipe's ---------------------------------------------------------------------------------------------------------

IMAGE, GRID = (1, 5, 6, 4), (1, 3, 3, 4)
KERNEL = np.random.default_rng(5).normal(0, 1, (3, 3, 2, 4)).astype(np.float32)


def transposed(padding, stride, size):
    """Convolution2DTransposeBias with a bias."""
    options = struct.pack("<3i", padding, stride[1], stride[0])
    inputs = [(IMAGE, F), (KERNEL.shape, F, KERNEL), ((3,), F, [1, -2, 3])]
    return one("CUSTOM", inputs, [((1, *size, 3), F)], custom=options, custom_code=b"Convolution2DTransposeBias")


@pytest.mark.parametrize(
    ("padding", "stride", "size"),
    [(1, (2, 2), (10, 12)), (2, (2, 2), (11, 12)), (1, (1, 1), (5, 6)), (1, (2, 1), (10, 6)), (2, (3, 2), (15, 12))],
)
def test_mediapipes_transposed_convolution_is_a_builtin_one(tmp_path, padding, stride, size):
    raw = transposed(padding, stride, size)
    graph = clean(tflite.read(raw))
    assert [op.kind.name for op in graph.ops] == ["TRANSPOSE_CONV"]
    x = np.random.default_rng(6).normal(0, 1, IMAGE).astype(np.float32)
    before, after = run_files.outputs([raw, tflite.write(graph)], [[x], [x]], tmp_path, "default")
    assert not isinstance(before, str), before
    assert_same(after[0], before[0], rtol=1e-5)


def test_mediapipes_pooling_with_places_runs_in_the_simulator():
    options = struct.pack("<6i", 1, 2, 2, 2, 2, 0) + bytes(32)
    raw = one("CUSTOM", [((1, 6, 6, 4), F)], [(GRID, F)] * 2, custom=options, custom_code=b"MaxPoolingWithArgmax2D")
    graph = tflite.read(raw)
    x = np.random.default_rng(7).normal(0, 1, (3, 6, 6, 4)).astype(np.float32)
    largest, _ = Program(graph)({"x0": x}).values()
    assert_same(largest.numpy(), x.reshape(3, 3, 2, 3, 2, 4).max((2, 4)))


# ---- what cannot stand alone --------------------------------------------------------------------------------------------


def test_an_op_that_runs_another_subgraph_is_refused():
    options = schema.CallOptionsT()
    options.subgraph = 1
    file = one("CALL", [((1, 6), F)], [((1, 6), F)], options=options)
    with pytest.raises(UnsupportedError, match="op CALL with output 'y0': CALL runs other subgraphs"):
        tflite.read(file)


@pytest.mark.parametrize("at", range(0, 400, 3))
def test_a_damaged_file_gives_a_graph_or_an_error_of_ours(at):
    raw = bytearray(FILES["BUCKETIZE"])
    raw[at % len(raw)] ^= 0xFF
    with contextlib.suppress(intact.IntactError):
        assert tflite.read(bytes(raw)).ops


# ---- in a network -------------------------------------------------------------------------------------------------------


def network(middle="LOCAL_RESPONSE_NORMALIZATION"):
    """fully connected, the op, fully connected."""
    rng = np.random.default_rng(3)

    def build(buffers):
        weights = [rng.normal(0, 0.5, s).astype(np.float32) for s in ((8, 6), (3, 8))]
        tensors = [
            tensor("x", (1, 6)),
            tensor("w", (8, 6), data=weights[0], buffers=buffers),
            tensor("a", (1, 8)),
            tensor("b", (1, 8)),
            tensor("v", (3, 8), data=weights[1], buffers=buffers),
            tensor("y", (1, 3)),
        ]
        dense = [op_table(0, ids, out, schema.FullyConnectedOptionsT()) for ids, out in (((0, 1), (2,)), ((3, 4), (5,)))]
        inner = op_table(1, (2, 2) if middle == "ATAN2" else (2,), (3,), schema.ATan2OptionsT() if middle == "ATAN2" else None)
        if middle == "CUSTOM":
            inner = op_table(1, (2,), (3,), custom=b"")
        codes = [code("FULLY_CONNECTED"), code(middle, custom=b"NobodysOp" if middle == "CUSTOM" else None)]
        return tensors, [dense[0], inner, dense[1]], codes, [0], [5]

    return model(build)


def test_what_is_around_an_unknown_op_is_quantized_and_the_op_stays_in_float():
    result = intact.quantize(network("ATAN2"), samples(), measure=False)
    kinds = [op.kind.name for op in result.graph.ops]
    assert kinds == ["FULLY_CONNECTED", "DEQUANTIZE", "ATAN2", "QUANTIZE", "FULLY_CONNECTED"]
    dense = [op for op in result.graph.ops if op.kind.name == "FULLY_CONNECTED"]
    assert all(isinstance(result.graph[i].format, Affine) for op in dense for i in (*op.reads, *op.outputs))
    (said,) = [f.message for f in result.findings if "in float" in f.message]
    assert "1 ATAN2" in said


def test_an_output_that_nothing_reads_breaks_nothing():
    """NON_MAX_SUPPRESSION gives the boxes' numbers, their scores and how many they are; a network may read one."""

    def build(buffers):
        inputs = [((6, 4), F, BOXES), ((6,), F), ((), N, 4), ((), F, 0.5), ((), F, 0.1), ((), F, 0.0)]
        reads = [tensor(f"x{i}", *given, buffers=buffers) for i, given in enumerate(inputs)]
        made = [tensor(f"y{i}", *given) for i, given in enumerate((((4,), N), ((4,), F), ((), N)))]
        flat = tensor("flat", (1,), N, [6], buffers=buffers)
        scores = [tensor("scores", (1, 6)), tensor("sure", (1, 6)), flat]
        ops = [op_table(1, (9,), (10,)), op_table(2, (10, 11), (1,)), op_table(0, range(6), (6, 7, 8))]
        ops[-1].builtinOptions = schema.NonMaxSuppressionV5OptionsT()
        ops[-1].builtinOptionsType = UNIONS["NonMaxSuppressionV5Options"]
        codes = [code("NON_MAX_SUPPRESSION_V5"), code("LOGISTIC"), code("RESHAPE")]
        return [*reads, *made, *scores], ops, codes, [9], [6]

    x = np.random.default_rng(9).normal(0, 1, (40, 6)).astype(np.float32)
    result = intact.quantize(model(build), data.arrays(x), measure=False)
    assert [op.kind.name for op in result.graph.ops][-2:] == ["DEQUANTIZE", "NON_MAX_SUPPRESSION_V5"]


def test_keep_float_names_an_unknown_op():
    result = intact.quantize(network("ATAN2"), samples(), measure=False, keep_float=("ATAN2",))
    assert "ATAN2" in [op.kind.name for op in result.graph.ops]


def test_a_target_of_integers_refuses_an_unknown_op_by_name():
    with pytest.raises(UnsupportedError, match="ATAN2 'b' has no int8 kernel, and target mcu runs integers only"):
        intact.quantize(network("ATAN2"), samples(), target="mcu", measure=False)


def test_an_unknown_op_that_the_runtime_lacks_is_named_when_it_would_be_calibrated():
    with pytest.raises(UnsupportedError, match="CUSTOM NobodysOp 'b': LiteRT cannot run it"):
        intact.quantize(network("CUSTOM"), samples(), measure=False)


def test_nothing_is_folded_through_an_unknown_op():
    """It may give another result each time."""
    file = one(
        "ATAN2", [((1, 5), F, np.ones((1, 5))), ((1, 5), F, np.ones((1, 5)))], [((1, 5), F)], options=schema.ATan2OptionsT()
    )
    assert [op.kind.name for op in clean(tflite.read(file)).ops] == ["ATAN2"]


def ending(last="ATAN2"):
    """fully connected, then the op."""

    def build(buffers):
        w = np.random.default_rng(3).normal(0, 0.5, (8, 6))
        tensors = [tensor("x", (1, 6)), tensor("w", (8, 6), data=w, buffers=buffers), tensor("a", (1, 8)), tensor("b", (1, 8))]
        ops = [op_table(0, (0, 1), (2,), schema.FullyConnectedOptionsT()), op_table(1, (2, 2), (3,), schema.ATan2OptionsT())]
        return tensors, ops, [code("FULLY_CONNECTED"), code(last)], [0], [3]

    return model(build)


@pytest.mark.parametrize("remedy", ["bias", "clip", "mixed", "ranges", "round", "finetune"])
@pytest.mark.parametrize("made", [ending, network], ids=["at the end", "in the middle"])
def test_remedies_take_a_network_with_an_unknown_op(made, remedy):
    """No gradient passes it: what comes before it learns by what it reads."""
    raw = made() if made is ending else made("ATAN2")
    result = intact.quantize(raw, samples(60), measure=False, remedies=(remedy,), time_budget=10)
    assert result.steps
    assert "ATAN2" in [op.kind.name for op in result.graph.ops]


def test_the_child_ends_with_the_graph():
    graph = tflite.read(FILES["ATAN2"])
    Program(graph)(dict(zip(graph.input_names, random_inputs(graph), strict=True)))
    (kind,) = [op.kind for op in graph.ops]
    talk = kind.kernel._runtime.talk._talk
    assert talk.process.poll() is None
    del graph, kind
    gc.collect()
    assert talk.process.poll() is not None


def test_kinds_are_compared_by_their_spelling():
    a, b = (tflite.read(FILES["BUCKETIZE"]).ops[0].kind for _ in range(2))
    assert isinstance(a, Opaque)
    assert a == b
    assert a != tflite.read(FILES["ATAN2"]).ops[0].kind


def test_options_newer_than_the_schema_are_refused():
    raw = bytearray(FILES["ATAN2"])
    op = schema.Model.GetRootAs(bytes(raw), 0).Subgraphs(0).Operators(0)
    at = op._tab.Pos + op._tab.Offset(10)
    assert raw[at] == UNIONS["ATan2Options"]
    raw[at] = 250
    with pytest.raises(UnsupportedError, match="options that are newer"):
        tflite.read(bytes(raw))


def test_a_cut_off_file_is_named():
    with pytest.raises(ModelError):
        tflite.read(FILES["BUCKETIZE"][:200])
