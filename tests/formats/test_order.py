"""Inputs and outputs keep the order of the model that they come from, whatever a converter makes of it."""

import importlib.util
import os
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from compare import assert_same
from torch import nn

import intact
from intact.data import input_specs
from intact.errors import DataError, UnsupportedError
from intact.formats import tflite
from intact.formats.load import load, to_float_tflite
from intact.formats.order import ordered
from intact.network.graph import BY_NAME, Graph, Op, Signature, Tensor
from intact.network.verify import verify
from intact.ops.elementwise import Sub
from intact.simulate.engine import Program

NAMES = ("zeta", "alpha", "mid")
FACTORS = (1.0, 10.0, 100.0)
needs_keras = pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="needs the extra [keras]")
needs_torch = pytest.mark.skipif(importlib.util.find_spec("litert_torch") is None, reason="needs the extra [torch]")


def samples(n=3):
    rng = np.random.default_rng(0)
    return tuple(rng.normal(size=(n, 4)).astype(np.float32) for _ in NAMES)


def assert_order(graph, inputs=NAMES, outputs=("sum", "least")):
    """A tuple reaches the inputs as the model lists them, and the outputs come as it gives them."""
    assert graph.input_names == inputs
    assert graph.output_names == outputs
    x = samples()
    rows = [(row, 0) for row in zip(*x, strict=True)]
    for given in (intact.data.arrays(x), intact.data.iterable(rows), intact.data.iterable([(list(x), None)])):
        batch, _ = given.bind(input_specs(graph), None).batch(range(3))
        made = list(Program(graph)(batch).values())
        total = sum(f * v for f, v in zip(FACTORS, x, strict=True))
        assert_same(made[0].numpy(), total, rtol=1e-5)
        assert_same(made[1].numpy(), x[2], rtol=1e-5)
    again = tflite.read(tflite.write(graph))
    assert (again.input_names, again.output_names) == (inputs, outputs)


# ---- the file -----------------------------------------------------------------------------------------------------------


def difference(signature=True):
    """``b - a``, as a converter lists them: by name."""
    tensors = [Tensor(i, name, (None, 4)) for i, name in enumerate(("a", "b", "y", "z"))]
    signatures = (Signature("serving_default", (("a", 0), ("b", 1)), (("y", 2), ("z", 3))),) if signature else ()
    ops = (Op(Sub(), (1, 0), (2,)), Op(Sub(), (0, 1), (3,)))
    return verify(Graph({t.id: t for t in tensors}, ops, (0, 1), (2, 3), signatures))


def test_a_file_takes_the_order_that_it_is_given():
    graph = tflite.read(ordered(tflite.write(difference()), ["b", "a"], ["z", "y"]))
    assert (graph.input_names, graph.output_names) == (("b", "a"), ("z", "y"))
    assert graph.order_is_known
    x = {"a": np.full((1, 4), 1.0, np.float32), "b": np.full((1, 4), 3.0, np.float32)}
    assert [float(y[0, 0]) for y in Program(graph)(x).values()] == [-2.0, 2.0]
    same = tflite.write(difference())
    assert ordered(same, ["a", "b"], ["y", "z"]) == same


def test_constants_stay_where_runtimes_can_map_them():
    """The schema wants every buffer at a multiple of 16 bytes."""
    c = Tensor(4, "c", (4,), data=np.arange(4, dtype=np.float32))
    graph = difference()
    graph = replace(graph, tensors={**graph.tensors, 4: c}, ops=(Op(Sub(), (1, 4), (2,)), Op(Sub(), (0, 4), (3,))))
    data = ordered(tflite.write(graph), ["b", "a"], None)
    at = data.index(c.data.tobytes())
    assert at % 16 == 0
    assert_same(tflite.read(data)[4].data, c.data)


@pytest.mark.parametrize(("inputs", "signature"), [(None, True), (["a", "c"], True), (["a"], True), (["a", "b"], False)])
def test_an_order_that_is_not_known_is_remembered(inputs, signature):
    graph = tflite.read(ordered(tflite.write(difference(signature)), inputs, None))
    assert not graph.order_is_known
    assert [name for name, _ in tflite.read(tflite.write(graph)).metadata] == [BY_NAME]
    x = (np.zeros((2, 4), np.float32), np.ones((2, 4), np.float32))
    for data in (intact.data.arrays(x), intact.data.iterable([(x, None)])):
        with pytest.raises(DataError, match=r"knows them by name alone.*give a dictionary: \{'a': \.\.\., 'b': \.\.\.\}"):
            data.bind(input_specs(graph), None)
    by_name = intact.data.arrays(dict(zip("ab", x, strict=True))).bind(input_specs(graph), None).batch([0])[0]
    assert by_name["b"][0, 0] == 1


def test_a_tuple_of_the_wrong_length():
    specs = input_specs(difference())
    x = np.zeros((2, 4), np.float32)
    with pytest.raises(DataError, match="3 inputs are given, but the model takes 2: a, b"):
        intact.data.arrays((x, x, x)).bind(specs, None)
    with pytest.raises(DataError, match="3 inputs are given, but the model takes 2: a, b"):
        intact.data.iterable([((x, x, x), None)]).bind(specs, None)


def test_a_tuple_of_samples_for_one_input():
    rows = tuple(np.full((4,), i, np.float32) for i in range(3))
    batch, _ = intact.data.arrays(rows).bind(input_specs(difference())[:1], None).batch([2])
    assert_same(batch["a"], np.full((1, 4), 2, np.float32))


# ---- PyTorch ------------------------------------------------------------------------------------------------------------


class Weighted(nn.Module):
    """Its outputs and its inputs are not in the order of their names."""

    def forward(self, zeta, alpha, mid):
        return {"sum": zeta + 10 * alpha + 100 * mid, "least": mid * 1.0}


def tensors(*order):
    return {name: torch.zeros(2, 4) for name in order}


@needs_torch
@pytest.mark.xdist_group("torch")
def test_torch_by_position_and_by_name(tmp_path):
    assert_order(load(Weighted(), (torch.zeros(2, 4),) * 3))
    assert_order(load(Weighted(), tensors("mid", "zeta", "alpha")))
    program = torch.export.export(Weighted(), (torch.zeros(1, 4), torch.zeros(1, 4)), {"mid": torch.zeros(1, 4)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, tmp_path / "model.pt2")
    assert_order(tflite.read(to_float_tflite(tmp_path / "model.pt2", tmp_path / "float.tflite")))


@needs_torch
@pytest.mark.xdist_group("torch")
def test_a_program_whose_sample_was_one_tensor_twice():
    """torch.export gives 10 alpha + alpha for it, without a word."""
    x = torch.zeros(1, 4)
    program = torch.export.export(Weighted(), (x, x), {"mid": torch.zeros(1, 4)})
    with pytest.raises(UnsupportedError, match=r"one tensor for the inputs 'zeta' and 'alpha', .* with a tensor for each"):
        load(program)


@needs_torch
@pytest.mark.xdist_group("torch")
def test_torch_gives_eleven_outputs_in_order():
    class Many(nn.Module):
        def forward(self, x):
            return tuple(x + i for i in range(11))

    assert load(Many(), torch.zeros(1, 4)).output_names == tuple(f"output_{i}" for i in range(11))


# ---- Keras --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keras():
    os.environ.update(KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import keras  # noqa: PLC0415
    return keras


def weighted(keras, as_dict):
    inputs = [keras.Input((4,), name=name) for name in NAMES]
    total = keras.layers.Add(name="sum")([x * f for x, f in zip(inputs, FACTORS, strict=True)])
    outputs = [total, keras.layers.Rescaling(1.0, name="least")(inputs[2])]
    if as_dict:
        return keras.Model(dict(zip(NAMES, inputs, strict=True)), dict(zip(("sum", "least"), outputs, strict=True)))
    return keras.Model(inputs, outputs)


@needs_keras
@pytest.mark.xdist_group("keras")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("as_dict", [False, True], ids=["a list", "a dictionary"])
def test_keras_in_memory_and_as_a_file(keras, as_dict, tmp_path):
    model = weighted(keras, as_dict)
    assert_order(load(model))
    model.save(tmp_path / "model.keras")
    assert_order(load(tmp_path / "model.keras"))


@needs_keras
@pytest.mark.xdist_group("keras")
@pytest.mark.filterwarnings("ignore")
def test_keras_subclassed_with_a_dictionary(keras):
    class Own(keras.Model):
        def call(self, x):
            return {"sum": x["zeta"] + 10 * x["alpha"] + 100 * x["mid"], "least": x["mid"] * 1.0}

    model = Own()
    model({name: np.zeros((1, 4), np.float32) for name in NAMES})
    assert_order(load(model))


@needs_keras
@pytest.mark.xdist_group("keras")
@pytest.mark.filterwarnings("ignore")
def test_a_saved_model_by_position_is_ordered_and_one_by_name_is_not(keras, tmp_path):
    weighted(keras, as_dict=False).export(tmp_path / "listed", verbose=False)
    assert_order(load(tmp_path / "listed"), outputs=("output_0", "output_1"))
    weighted(keras, as_dict=True).export(tmp_path / "named", verbose=False)
    graph = load(tmp_path / "named")
    assert set(graph.input_names) == set(NAMES)
    assert not graph.order_is_known
    x = samples()
    with pytest.raises(DataError, match="knows them by name alone"):
        intact.data.arrays(x).bind(input_specs(graph), None)
    made = Program(graph)(dict(zip(NAMES, x, strict=True)))
    assert_same(made["sum"].numpy(), sum(f * v for f, v in zip(FACTORS, x, strict=True)), rtol=1e-5)
