"""What whole numbers are read from stays exact: ids that enter as real numbers, positions, marks."""

import numpy as np
import pytest
import run_files
import torch
from compare import assert_same
from drafts import Draft, draft, normal
from small_graphs import graph as graph_of_draft

import intact
from intact import data
from intact.errors import OptionError, UnsupportedError
from intact.formats import tflite
from intact.numbers.affine import Affine, Float
from intact.ops.activation import Relu, Softmax
from intact.ops.elementwise import Add, Mul, Sub
from intact.ops.indexing import OneHot
from intact.ops.logic import Greater, Less, NotEqual, SelectV2
from intact.ops.matmul import FullyConnected
from intact.ops.quantization import Cast
from intact.ops.reduction import Mean
from intact.ops.rounding import Floor
from intact.ops.shaping import Gather, Reshape
from intact.planning.exactness import exact
from intact.runtime import litert

VOCABULARY = 5000


def head(d, rows, width=8):
    """Mean over the words, then scores of four classes."""
    return d(Softmax(), d(FullyConnected(), d(Mean(), rows, [1]), normal(4, width, seed=2) * 3, None))


def embedding(scale=1.0):
    """Keras' Embedding of float ids: CAST, negative ones counted from the end, GATHER."""

    def build(d, x):
        ids = d(Cast("int32"), x if scale == 1 else d(Floor(), d(Mul(), x, scale)))
        wrapped = d(SelectV2(), d(Less(), ids, np.int32(0)), d(Add(), ids, np.int32(VOCABULARY)), ids)
        return head(d, d(Gather(0), normal(VOCABULARY, 8), wrapped))

    return draft((10,), build)


def ids(n=200, high=VOCABULARY):
    return np.random.default_rng(0).integers(0, high, (n, 10)).astype(np.float32)


def both(graph, x, folder, **options):
    """The result, and the outputs of the float and of the quantized file in the runtime."""
    result = intact.quantize(graph, data.arrays(x), measure=False, **options)
    (folder / "float.tflite").write_bytes(tflite.write(graph))
    paths = folder / "float.tflite", result.save(folder / "quantized.tflite")
    before, after = (litert.run(path, {graph.input_names[0]: x}) for path in paths)
    return result, [*before.values()], [*after.values()]


def sqnr(a, b):
    return 10 * np.log10(np.square(a).sum() / max(np.square(a - b).sum(), 1e-30))


@pytest.mark.parametrize("scheme", ["int8", "int16x8"])
def test_float_ids_choose_the_rows_that_they_name(scheme, tmp_path):
    """As int8 they named their neighbours' rows: 34 % of the samples kept their class."""
    result, (before,), (after,) = both(embedding(), ids(), tmp_path, scheme=scheme)
    assert (before.argmax(1) == after.argmax(1)).mean() >= 0.98
    assert sqnr(before, after) > 30
    (entry,) = result.graph.inputs
    assert result.graph[entry].format == Float()


def test_what_ids_are_computed_from_stays_exact_too(tmp_path):
    graph = embedding(0.5)
    kinds = {op.output: op.kind.name for op in graph.ops}
    assert {kinds.get(i, "input") for i in exact(graph)} == {"input", "MUL", "FLOOR"}
    _, (before,), (after,) = both(graph, ids(high=2 * VOCABULARY), tmp_path)
    assert (before.argmax(1) == after.argmax(1)).mean() >= 0.98


def test_an_input_type_that_would_round_ids_is_refused():
    with pytest.raises(OptionError, match=r"--input-type int8 would round input 'x0', from which whole numbers are read"):
        intact.quantize(embedding(), data.arrays(ids()), input_type="int8", measure=False)
    assert intact.quantize(embedding(), data.arrays(ids()), input_type="float32", measure=False)


def test_a_target_of_integers_says_that_ids_must_enter_as_integers():
    with pytest.raises(
        UnsupportedError, match=r"CAST 'x1' makes whole numbers of real ones.*let them enter the model as int32"
    ):
        intact.quantize(embedding(), data.arrays(ids()), target="mcu", measure=False)


def test_a_mark_in_the_input_stays_exact_and_the_rest_is_quantized(tmp_path):
    """Keras' Masking: a step counts unless it is the mark, here 0.3 in numbers up to 100."""

    def build(d, x):
        there = d(Cast("float32"), d(NotEqual(), x, 0.3))
        return tuple(d(FullyConnected(), y, normal(3, 12), None) for y in (there, x))

    graph = draft((12,), build)
    assert exact(graph) == set(graph.inputs)
    x = np.random.default_rng(1).uniform(0, 100, (80, 12)).astype(np.float32)
    x[np.random.default_rng(2).uniform(size=x.shape) < 0.5] = 0.3
    result, before, after = both(graph, x, tmp_path)
    assert all(sqnr(a, b) > 20 for a, b in zip(before, after, strict=True))  # 20 samples calibrate: some clip
    dense = [op for op in result.graph.ops if op.kind.name == "FULLY_CONNECTED"]
    assert all(isinstance(result.graph[op.inputs[0]].format, Affine) for op in dense)


def test_a_choice_among_what_weights_made_is_quantized():
    """SELU-like: x > 0 of a weighted op's result is no id."""

    def build(d, x):
        y = d(FullyConnected(), x, normal(8, 12), None)
        return d(SelectV2(), d(Greater(), y, 0.0), y, d(Mul(), y, 0.1))

    assert exact(draft((12,), build)) == frozenset()


def test_positions_that_weights_made_are_exact_back_to_the_weights():
    """A learned place in a grid of 1,000: the product is rounded, what is added and floored is not."""

    def build(d, x):
        moved = d(Add(), d(FullyConnected(), x, normal(5, 12), None), 500.0)
        place = d(Cast("int32"), d(Floor(), moved))
        return d(Gather(0), normal(1000, 4), place)

    graph = draft((12,), build)
    kinds = {op.output: op.kind.name for op in graph.ops}
    assert {kinds[i] for i in exact(graph)} == {"ADD", "FLOOR"}


def test_one_hot_of_float_codes_is_exact(tmp_path):
    def build(d, x):
        hot = d(OneHot(), d(Cast("int32"), d(Reshape(), x, [-1])), np.int32(7), 1.0, 0.0)
        return d(FullyConnected(), hot, normal(3, 7), None)

    graph = draft((1,), build)
    codes = np.random.default_rng(3).integers(0, 7, (60, 1)).astype(np.float32)
    _, (before,), (after,) = both(graph, codes, tmp_path)
    assert sqnr(before, after) > 30


def test_arithmetic_without_whole_numbers_is_none_of_this():
    graph = draft((12,), lambda d, x: d(Relu(), d(Sub(), d(Mul(), x, 2.0), 1.0)))
    assert exact(graph) == frozenset()


def test_integer_ids_run_on_microcontrollers_negative_ones_too(tmp_path):
    """Keras' count from the end, `ids < 0 ? ids + n : ids`, is spelled as TensorFlow Lite Micro's kernels take it."""
    pytest.importorskip("tflite_micro", reason="the microcontroller runtime is not installed")
    d = Draft(open_batch=True)
    x = d.add(tuple(torch.zeros(n, 10, dtype=torch.int32) for n in (2, 3)))
    wrapped = d(SelectV2(), d(Less(), x, np.int32(0)), d(Add(), x, np.int32(50)), x)
    y = head(d, d(Gather(0), normal(50, 8), wrapped))
    network = graph_of_draft(d.tensors, d.ops, (x,), (y,))
    given = np.random.default_rng(5).integers(-50, 50, (40, 10)).astype(np.int32)
    result = intact.quantize(network, data.arrays(given), target="mcu", measure=False)
    ((micro,),) = run_files.outputs([result.model], [[given]], tmp_path, "tflm")
    path = result.save(tmp_path / "model.tflite")
    (reference,) = litert.run(path, {"x0": given}, kernels="reference", raw=True).values()
    assert_same(micro, reference)
