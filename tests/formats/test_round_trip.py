"""Reading and writing .tflite files, cleaning and verifying graphs, on real files and on damaged ones."""

import contextlib
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from compare import assert_same
from golden_graphs import int4
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import images, mobile
from plans import planned

from intact.errors import IntactError, ModelError
from intact.formats import tflite
from intact.formats.tflite.op_rows import CODES, UNIONS, row
from intact.formats.tflite.values import encode
from intact.network.graph import Op
from intact.network.verify import verify
from intact.numbers.affine import Affine
from intact.ops import KINDS
from intact.ops.base import same_padding
from intact.planning.integer_graph import emit
from intact.rewrite.clean import clean, clean_with_log
from intact.rewrite.lowerings import lower
from intact.simulate.engine import Program

WRITER = import_module("intact.formats.tflite.write")  # tflite.write itself is the function

MODELS = [
    "ad01_float",
    "ad01_int8",
    "kws_float",
    "kws_int8",
    "mobilenet_v2_cifar10",
    "mobilenet_v3_small_cifar10",
    "mobilenet_v3_small_hard",
    "resnet8_cifar10",
    "resnet8_cifar10_int8",
    "vww_96_float",
    "vww_96_int8",
]
FLOATS = [name for name in MODELS if not name.endswith("int8") and name != "kws_float"]  # kws_float has int8 weights
SMALL = tflite.write(emit(mobile(), planned(mobile())))


def run(blob, x, resolver=OpResolverType.AUTO):
    litert = Interpreter(model_content=blob, num_threads=1, experimental_op_resolver_type=resolver)
    litert.allocate_tensors()
    litert.set_tensor(litert.get_input_details()[0]["index"], x)
    litert.invoke()
    return litert.get_tensor(litert.get_output_details()[0]["index"])


def random_input(graph):
    tensor = graph[graph.inputs[0]]
    x = np.random.default_rng(0).normal(size=[1 if n is None else n for n in tensor.shape])
    return (50 * x).astype(np.int8) if isinstance(tensor.format, Affine) else x.astype(np.float32)


@pytest.mark.parametrize("resolver", [OpResolverType.AUTO, OpResolverType.BUILTIN_REF])
@pytest.mark.parametrize("name", MODELS)
def test_real_models_survive_to_the_last_bit(shared, name, resolver):
    path = shared / "models" / f"{name}.tflite"
    graph = tflite.read(path)
    written = tflite.write(graph)
    assert tflite.write(tflite.read(written)) == written
    assert len(written) <= path.stat().st_size
    x = random_input(graph)
    assert_same(run(written, x, resolver), run(path.read_bytes(), x, resolver))


@pytest.mark.parametrize("name", FLOATS)
def test_cleaned_and_lowered_real_models_compute_the_same(shared, name):
    path = shared / "models" / f"{name}.tflite"
    graph = tflite.read(path)
    cleaned, log = clean_with_log(graph)
    assert not clean_with_log(cleaned)[1]
    assert "TRANSPOSE" not in {op.kind.name for op in cleaned.ops}
    lowered = lower(cleaned, "cpu", "int8")
    assert "HARD_SWISH" not in {op.kind.name for op in lowered.ops}
    x = random_input(graph)
    expected = run(path.read_bytes(), x)
    assert_same(run(tflite.write(lowered), x), expected, rtol=1e-5)
    with torch.inference_mode():
        assert_same(next(iter(Program(lowered)({graph.input_names[0]: x}).values())), expected, rtol=1e-5)
    assert isinstance(log, tuple)


def test_simulator_is_the_runtime_on_a_small_net():
    net = mobile()
    x = images(1)
    with torch.inference_mode():
        assert_same(Program(net)({"image": x})["scores"], run(tflite.write(net), x), rtol=1e-6)


@pytest.mark.parametrize(
    ("blob", "says"),
    [
        (b"", "too few for a .tflite model"),
        (b"\0" * 7, "too few"),
        (np.random.default_rng(0).bytes(4096), "lacks the mark TFL3"),
        (SMALL[: len(SMALL) // 2], "corrupt or cut off"),
        (SMALL[:9], "corrupt or cut off"),
        (b"\xff\xff\xff\x7f" + SMALL[4:], "points to byte"),
    ],
)
def test_damaged_files_are_named_errors(blob, says):
    with pytest.raises(ModelError, match=says):
        tflite.read(blob)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"none\.tflite: there is no such file"):
        tflite.read(tmp_path / "none.tflite")


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.integers(0, len(SMALL) - 4), st.binary(min_size=1, max_size=4))
def test_any_damage_is_an_error_or_a_sound_graph(at, patch):
    damaged = SMALL[:at] + patch + SMALL[at + len(patch) :]
    with contextlib.suppress(IntactError):
        verify(tflite.read(damaged))


def test_every_op_kind_has_its_place_in_the_backend():
    assert not [name for name in KINDS if name not in CODES]
    options = {name: row(name).options for name in KINDS}
    assert not [name for name, table in options.items() if table and table not in UNIONS]


def broken(**changes):
    net = mobile()
    tensors = dict(net.tensors)
    for key, change in changes.items():
        i = int(key[1:])
        tensors[i] = replace(tensors[i], **change)
    return replace(net, tensors=tensors)


@pytest.mark.parametrize(
    ("graph", "says"),
    [
        (broken(t3={"shape": (None, 9, 8, 8)}), "computes shape"),
        (broken(t2={"data": np.zeros(7, np.float32)}), "constant 'w2' holds float32"),
        (broken(t1={"data": np.full((8, 3, 3, 3), np.nan, np.float32)}), "216 values that are NaN"),
        (broken(t3={"shape": (None, None, 8, 8)}), "only the first dimension may be open"),
        (broken(t3={"format": Affine((-1.0,), (0,))}), "not a positive number"),
        (broken(t3={"format": Affine((1.0,), (300,))}), "zero point outside int8"),
        (broken(t13={"format": Affine((1.0,), (0,))}), "must give scale 0.00390625 and zero point -128"),
        (replace(mobile(), ops=mobile().ops[::-1]), "before anything makes it"),
        (replace(mobile(), ops=(*mobile().ops, mobile().ops[0])), "which something else already holds"),
        (replace(mobile(), outputs=(99,)), "tensor 99 is used and does not exist"),
        (replace(mobile(), ops=(Op(mobile().ops[0].kind, (0, 1, 2), (3, 6)), *mobile().ops[2:])), "2 outputs where 1"),
    ],
)
def test_the_verifier_names_what_is_wrong(graph, says):
    with pytest.raises(ModelError, match=says):
        verify(graph)


def test_a_sound_graph_passes_and_is_clean_already():
    net = mobile()
    assert verify(net) is net
    assert [op.kind for op in clean(net).ops] == [op.kind for op in net.ops]


@pytest.mark.parametrize(("size", "kernel", "stride", "pads"), [(32, 3, 2, (0, 1)), (33, 3, 2, (1, 1)), (8, 5, 1, (2, 2))])
def test_same_padding_puts_the_odd_zero_after(size, kernel, stride, pads):
    assert same_padding(size, kernel, stride, 1) == pads


@pytest.mark.parametrize("change", [lambda payload: payload + b"\0", lambda payload: payload[:-1]], ids=["long", "short"])
def test_an_int4_buffer_of_another_length_is_refused(monkeypatch, change):
    monkeypatch.setattr(WRITER, "encode", lambda t: change(encode(t)) if t.format.dtype == "int4" else encode(t))
    with pytest.raises(ModelError, match=r"holds \d+ bytes, which is not int4"):
        tflite.read(tflite.write(int4()))
