"""Weights as indices and tables: golden bytes, read back as they were, run by the runtime, and hostile ones refused."""

import importlib.util
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from drafts import draft, normal
from nets import images, mobile
from plans import ranges_of

from intact.errors import IntactError, ModelError, UnsupportedError
from intact.formats import tflite
from intact.formats.tflite.packing import DECODED, Packed, pack, packed_weights, without_decode
from intact.formats.tflite.write import write
from intact.measure.split import split
from intact.network.graph import Op, Tensor
from intact.network.weighted import weighted
from intact.numbers.affine import Affine, Float, Index
from intact.ops import KINDS
from intact.ops.base import WeightedKind
from intact.ops.convolution import Conv2D, DepthwiseConv2D, TransposeConv
from intact.ops.matmul import FullyConnected
from intact.planning.integer_graph import emit
from intact.planning.planner import make_plan
from intact.planning.request import Request
from intact.planning.schemes import scheme
from intact.planning.targets import target

needs_tflm = pytest.mark.skipif(
    importlib.util.find_spec("tflite_micro") is None,
    reason="the microcontroller runtime is not installed; type: pip install tflite-micro",
)


INT8 = Affine((1.0,), (0,), "int8")


def weight(data, fmt=INT8):
    data = np.asarray(data, np.float32 if isinstance(fmt, Float) else np.int8)
    return Tensor(0, "w", data.shape, fmt, data)


def test_the_worked_example():
    made = pack(weight([5, -3, -3, 5]))
    assert made.indices == bytes([0b1001_0000])
    assert made.ancillary == bytes([0, 1, 0, 0, 1, 0xF1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 253, 5])


def test_three_bits_run_on_from_byte_to_byte():
    assert pack(weight([0, 1, 2, 3, 4, 5, 6, 7])).indices == bytes([0b00000101, 0b00111001, 0b01110111])


def test_each_channel_has_a_table_where_that_is_smaller():
    data = np.repeat(np.arange(100, dtype=np.int8)[:, None], 4, 1) + np.int8([0, 1, 0, 1])
    made = pack(weight(data, Affine((1.0,) * 100, (0,) * 100, "int8", 0)))
    assert made.ancillary[5] == 0x01
    assert made.ancillary[6] == 2
    assert len(made.indices) == 50


def test_what_has_too_many_numbers_is_not_packed():
    assert pack(weight(np.arange(-127, 128))) is None
    assert pack(weight(np.arange(128) - 64)).ancillary[5] == 0xF7
    assert pack(Tensor(0, "w", (2,), Affine((1.0,), (0,), "int4"), np.int8([1, 2]))) is None


@pytest.mark.parametrize("bits", range(1, 8))
@pytest.mark.parametrize("axis", [None, 0, 2])
def test_what_is_packed_comes_back(bits, axis):
    draw = np.random.default_rng(bits)
    values = draw.choice(np.arange(-127, 128), 2**bits, replace=False)
    data = draw.choice(values, (5, 3, 7)).astype(np.int8)
    count = 1 if axis is None else data.shape[axis]
    t = weight(data, Affine((0.5,) * count, (0,) * count, "int8", axis))
    assert np.array_equal(unpacked(t, pack(t)), data)


def test_real_numbers_come_back():
    t = weight(np.float32([[0.25, -1.5], [0.25, 3.0]]), Float())
    assert np.array_equal(unpacked(t, pack(t)), t.data)


def unpacked(t, made):
    kind = decode_kind()
    parts = [np.frombuffer(part, np.uint8) for part in (made.indices, made.ancillary)]
    tensors = {n + 1: Tensor(n + 1, f"p{n}", part.shape, Index("uint8"), part) for n, part in enumerate(parts)}
    ops, known = without_decode([Op(kind, (1, 2), (0,))], {0: replace(t, data=None), **tensors})
    assert ops == ()
    return known[0].data


def decode_kind():
    from intact.ops.opaque import Opaque, Port, Spelling  # noqa: PLC0415

    ports = tuple(Port((1,), Index("uint8"), constant) for constant in (True, True))
    return Opaque("CUSTOM TFLM_DECODE", Spelling(32, 1, b"TFLM_DECODE", None, b""), ports, ports[:1], False)


GOOD = pack(weight([5, -3, -3, 5]))


def header(**at):
    made = bytearray(GOOD.ancillary)
    for place, value in at.items():
        made[int(place[1:])] = value
    return bytes(made)


@pytest.mark.parametrize(
    ("made", "error", "said"),
    [
        (Packed(GOOD.indices, b"\0\1"), ModelError, "no header"),
        (Packed(GOOD.indices, header(_1=2)), ModelError, "no header"),
        (Packed(GOOD.indices, header(_0=1)), UnsupportedError, "packed otherwise than by tables"),
        (Packed(GOOD.indices, header(_0=200)), UnsupportedError, "packed otherwise than by tables"),
        (Packed(GOOD.indices, header(_4=9)), UnsupportedError, "packed otherwise than by tables"),
        (Packed(GOOD.indices, header(_5=0xF0)), ModelError, "indices of 0 bits"),
        (Packed(b"", GOOD.ancillary), ModelError, "0 bytes for 4 indices of 1 bits"),
        (Packed(GOOD.indices * 9, GOOD.ancillary), ModelError, "9 bytes for 4 indices"),
        (Packed(GOOD.indices, GOOD.ancillary[:-1]), ModelError, "beyond its tables of 1 numbers"),
    ],
)
def test_hostile_tables_are_refused_by_name(made, error, said):
    with pytest.raises(error, match=said):
        unpacked(weight([5, -3, -3, 5]), made)


def test_what_is_decoded_of_no_constant_is_refused():
    t = weight([5, -3, -3, 5])
    known = {0: replace(t, data=None), 1: Tensor(1, "a", (1,), Index("uint8")), 2: Tensor(2, "b", (1,), Index("uint8"))}
    with pytest.raises(ModelError, match="no constant"):
        without_decode([Op(decode_kind(), (1, 2), (0,))], known)
    with pytest.raises(ModelError, match="makes 1 tensors of 1"):
        without_decode([Op(decode_kind(), (1,), (0,))], known)


def integer(graph, name, *, ranges=None):
    request = Request(scheme(name), target("mcu"))
    found = ranges or {i: (-4.0, 4.0) for i in graph.tensors if not graph[i].is_constant}
    return emit(graph, make_plan(graph, found if request.scheme.is_integer else {}, request))


def large(kind):
    """One op with a weight that is worth it, of each kind that has one."""
    nets = {
        "CONV_2D": lambda: draft((6, 6, 16), lambda d, x: d(Conv2D(padding="same"), x, normal(24, 3, 3, 16), normal(24))),
        "DEPTHWISE_CONV_2D": lambda: draft(
            (6, 6, 96), lambda d, x: d(DepthwiseConv2D(padding="same"), x, normal(1, 5, 5, 96), normal(96))
        ),
        "FULLY_CONNECTED": lambda: draft((64,), lambda d, x: d(FullyConnected(), x, normal(30, 64), normal(30))),
        "TRANSPOSE_CONV": lambda: draft(
            (4, 4, 16),
            lambda d, x: d(TransposeConv(stride=(2, 2)), np.int32([1, 8, 8, 24]), normal(24, 3, 3, 16), x),
            open_batch=False,
        ),
    }
    return nets[kind]()


def test_every_kind_with_a_weight_decodes_it():
    assert {name for name, kind in KINDS.items() if issubclass(kind, WeightedKind)} == DECODED


SCHEMES = ("clusters1", "clusters2", "clusters3", "clusters4", "clusters6", "w2a8", "w5a8", "clusters3-float")


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("kind", sorted(DECODED))
def test_a_packed_file_reads_back_as_the_network(kind, name):
    graph = integer(large(kind), name)
    data = write(graph, packed=True)
    assert len(data) < len(tflite.write(graph))
    again = tflite.read(data)
    (one,), (other,) = ([weighted(g, op) for op in g.ops if weighted(g, op)] for g in (graph, again))
    assert other.weight.format == one.weight.format
    assert np.array_equal(other.values, one.values)
    if one.bias is not None:
        assert other.bias.format == one.bias.format
        assert np.array_equal(other.bias.data, one.bias.data)


@needs_tflm
@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("kind", sorted(DECODED))
def test_the_runtime_gives_the_same_of_the_packed_file_number_for_number(kind, name, tmp_path):
    """What fails without the stride of 0: all channels but the first are read from beyond the one table."""
    graph = integer(large(kind), name)
    draw = np.random.default_rng(0)
    x = draw.normal(0, 1, (20, *(n or 1 for n in graph[graph.inputs[0]].shape[1:]))).astype(np.float32)
    fmt = graph[graph.inputs[0]].format
    if isinstance(fmt, Affine):
        x = draw.integers(-128, 128, x.shape).astype(np.int8)
    one, other = (run_tflm(write(graph, packed=packed), x, tmp_path) for packed in (False, True))
    assert len(np.unique(one)) > 20
    assert np.array_equal(one, other)


def run_tflm(data, x, folder):
    """In a process of its own, as a kernel may end it."""
    script = """
import sys, numpy as np
from tflite_micro import runtime
net = runtime.Interpreter.from_file(sys.argv[1], arena_size=1 << 20)
made = []
for call in np.load(sys.argv[2]):
    net.set_input(call[None], 0)
    net.invoke()
    made.append(np.array(net.get_output(0)))
np.save(sys.argv[2], np.concatenate(made))
"""
    (folder / "m.tflite").write_bytes(data)
    np.save(folder / "x.npy", x)
    subprocess.run([sys.executable, "-c", script, str(folder / "m.tflite"), str(folder / "x.npy")], check=True)
    return np.load(folder / "x.npy")


def test_only_what_becomes_smaller_is_packed():
    assert packed_weights(integer(mobile(), "clusters4", ranges=ranges_of(mobile(), images(8)))) == {}  # 216 weights at most
    assert len(packed_weights(integer(large("CONV_2D"), "clusters4"))) == 1
    assert packed_weights(integer(large("CONV_2D"), "int8")) == {}


def test_indices_and_tables_count_as_weights():
    graph = integer(large("CONV_2D"), "clusters4")
    (made,) = packed_weights(graph).values()
    plain, packed = split(tflite.write(graph)), split(write(graph, packed=True))
    assert plain["weights"] == 24 * 9 * 16
    assert packed["weights"] == made.bytes == 24 * 9 * 16 // 2 + 16 + 16 * (24 if made.ancillary[6] else 1)
    assert packed["biases"] == plain["biases"]


def test_a_plain_file_is_what_it_was():
    graph = integer(large("CONV_2D"), "int8")
    assert write(graph, packed=True) == tflite.write(graph)


@pytest.mark.parametrize("seed", range(60))
def test_damaged_packed_files_are_read_or_refused_and_never_crash(seed):
    data = bytearray(write(integer(large("CONV_2D"), "clusters3"), packed=True))
    draw = np.random.default_rng(seed)
    for _ in range(4):
        data[int(draw.integers(8, len(data)))] = int(draw.integers(256))
    with suppress(IntactError):
        tflite.read(bytes(data))
