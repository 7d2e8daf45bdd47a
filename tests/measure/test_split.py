"""What the bytes of a file are for: worked numbers, anybody's files, and files that are none."""

import contextlib
import io
import time
import zipfile
from pathlib import Path

import flatbuffers
import golden_graphs
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from raw_files import F, N, custom, model, one, op_table, tensor
from raw_files import code as op_code
from small_graphs import fully_connected

from intact.errors import IntactError, ModelError
from intact.formats import tflite
from intact.measure.split import ORDER, split
from intact.numbers.affine import Affine

TESTS = Path(__file__).parents[1]


def parts(data):
    found = split(data)
    assert tuple(found) == ORDER
    assert sum(found.values()) == len(data)
    assert min(found.values()) >= 0
    return found


def without_structure(data):
    return {part: size for part, size in parts(data).items() if part != "structure"}


def test_a_float_layer_is_its_weights_and_its_bias():
    assert without_structure(tflite.write(fully_connected(n_in=6, n_out=3))) == {
        "weights": 4 * 6 * 3,
        "biases": 4 * 3,
        "quantization": 0,
        "constants": 0,
        "metadata": 0,
    }


def test_an_integer_network_has_scales_and_zero_points():
    """A scale takes 4 bytes and a zero point 8."""
    graph = golden_graphs.int8_per_channel()
    found = without_structure(tflite.write(graph))
    stored = {(t.format.dtype, t.data.tobytes()) for t in graph.constants()}  # what is equal is stored once
    for part, dtype in (("weights", "int8"), ("biases", "int32")):
        assert found[part] == sum(len(held) for kind, held in stored if kind == dtype) > 0
    scales = {t.format.scale for t in graph.tensors.values() if isinstance(t.format, Affine)}
    zeros = {t.format.zero_point for t in graph.tensors.values() if isinstance(t.format, Affine)}
    assert found["quantization"] == sum(4 * len(s) for s in scales) + sum(8 * len(z) for z in zeros)


def test_what_is_no_weight_is_a_constant_of_the_converter():
    """A permutation, and the 1/6 of a hard swish; a vector of real numbers is learned."""
    turned = one("TRANSPOSE", [((1, 4, 6), F), ((3,), N, [0, 2, 1])], [((1, 6, 4), F)])
    assert without_structure(turned) | {"metadata": 0} == dict.fromkeys(ORDER[:-1], 0) | {"constants": 12}
    scaled = one("MUL", [((1, 6), F), ((1,), F, [1 / 6])], [((1, 6), F)])
    assert (parts(scaled)["constants"], parts(scaled)["weights"]) == (4, 0)
    shifted = one("MUL", [((1, 6), F), ((6,), F, np.ones(6))], [((1, 6), F)])
    assert (parts(shifted)["constants"], parts(shifted)["weights"]) == (0, 24)


def test_an_op_that_nobody_knows_and_one_weight_of_a_convolution():
    assert parts(custom())["weights"] == 0
    single = one("CONV_2D", [((1, 4, 4, 1), F), ((1, 1, 1, 1), F, [2]), ((1,), F, [3])], [((1, 4, 4, 1), F)])
    assert (parts(single)["weights"], parts(single)["biases"], parts(single)["constants"]) == (4, 4, 0)


def test_a_bias_that_is_stored_in_float16_is_one():
    def build(buffers):
        raw = [tensor("w", (3, 6), data=np.ones((3, 6)), buffers=buffers), tensor("b", (3,), data=np.ones(3), buffers=buffers)]
        flows = [tensor("x", (1, 6)), tensor("w32", (3, 6)), tensor("b32", (3,)), tensor("y", (1, 3))]
        ops = [op_table(0, [0], [3]), op_table(0, [1], [4]), op_table(1, [2, 3, 4], [5])]
        return raw + flows, ops, [op_code("DEQUANTIZE"), op_code("FULLY_CONNECTED")], [2], [5]

    found = parts(model(build))
    assert (found["weights"], found["biases"]) == (4 * 18, 4 * 3)


def test_what_is_shared_counts_once_and_as_a_weight_first():
    """One buffer for the weight [3, 3] and for a constant of an ADD; another for two weights."""

    def build(buffers):
        w = tensor("w", (3, 3), data=np.ones((3, 3)), buffers=buffers)
        again, added = tensor("again", (3, 3)), tensor("added", (3, 3), "int32")
        again.buffer = added.buffer = w.buffer
        flows = [tensor(name, (1, 3)) for name in "xyz"]
        ops = [op_table(0, [3, 0, -1], [4]), op_table(0, [4, 1, -1], [5])]
        return [w, again, added, *flows], ops, [op_code("FULLY_CONNECTED")], [3], [5]

    assert without_structure(model(build))["weights"] == 36
    assert without_structure(model(build))["constants"] == 0


def test_metadata_is_told_apart_and_so_is_an_archive_behind_the_network():
    graph = golden_graphs.float32()
    data = tflite.write(graph)
    assert parts(data)["metadata"] == sum(len(value) for _, value in graph.metadata) > 0
    packed = io.BytesIO(data)
    with zipfile.ZipFile(packed, "a") as file:
        file.writestr(zipfile.ZipInfo("labels.txt"), "cat\ndog\n")
    longer = packed.getvalue()
    assert parts(longer)["metadata"] - parts(data)["metadata"] == len(longer) - len(data)


def test_numbers_outside_the_tables_and_ranges_count():
    """A buffer that stands behind the tables, by offset and size; and the minimum and maximum that old files hold."""
    m = schema.ModelT.InitFromPackedBuf(one("FULLY_CONNECTED", [((1, 6), F), ((3, 6), F, np.ones(18))], [((1, 3), F)]), 0)
    about = schema.QuantizationParametersT()
    about.min, about.max = [-1.0], [1.0]
    m.subgraphs[0].tensors[0].quantization = about
    assert parts(packed(m))["quantization"] == 8
    weight = next(b for b in m.buffers if b.data is not None and len(b.data))
    weight.data, weight.offset, weight.size = None, 4096, 72
    data = packed(m)
    assert parts(data + bytes(4096 - len(data) + 72))["weights"] == 72
    with pytest.raises(ModelError, match="ends at byte 4168 and the file has 4100: it is cut off"):
        split(data + bytes(4100 - len(data)))


def packed(m):
    builder = flatbuffers.Builder(1024)
    builder.Finish(m.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize(
    "path", sorted(TESTS.glob("golden/*.tflite")) + sorted(TESTS.glob("networks/*.tflite")), ids=lambda p: p.stem
)
def test_the_parts_of_every_sound_file_add_up(path):
    assert parts(path.read_bytes())["weights"] > 0


@pytest.mark.parametrize("path", sorted(TESTS.glob("hostile/**/*.tflite")), ids=lambda p: p.stem)
def test_a_hostile_file_adds_up_or_is_refused_soon(path):
    began = time.process_time()
    with contextlib.suppress(IntactError):
        parts(path.read_bytes())
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "holds 0 bytes, too few"),
        (b"PK\3\4TFL2" * 9, "is not a .tflite file"),
        (b"\x10\0\0\0TFL3" + b"\xff" * 40, "is corrupt"),
    ],
)
def test_what_is_no_model_is_refused(data, says):
    with pytest.raises(ModelError, match=says):
        split(data)


def test_a_file_cut_anywhere_is_refused_or_adds_up():
    data = tflite.write(golden_graphs.float32())
    refused = 0
    for end in range(0, len(data), 37):
        try:
            parts(data[:end])
        except IntactError:
            refused += 1
    assert refused > 40


def test_published_files(shared):
    """vww: int8 weights and int32 biases as its authors count its parameters; the scales are over a quarter of the file."""
    found = parts((shared / "models" / "vww_96_int8.tflite").read_bytes())
    assert found["weights"] == 208_112
    assert found["biases"] == 4 * (210_850 - 208_112)
    assert found["quantization"] / 333_288 > 0.25
