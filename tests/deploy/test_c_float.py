"""The same networks in float32, in C: what integers are measured against is right, to float32's rounding."""

from dataclasses import replace

import numpy as np
import pytest
from c_networks import outputs_in_c
from firmware_nets import two_convolutions
from integer_cases import Builder, every_kind, samples

from intact.deploy.c import real_table, table
from intact.deploy.c.network import Text, write
from intact.deploy.cores import CORES
from intact.deploy.emulate import emulate, run, sizes
from intact.deploy.project import Budget, Vectors
from intact.errors import UnsupportedError
from intact.network.graph import Graph, Op, State, Tensor
from intact.network.real import in_real_numbers
from intact.numbers.affine import Affine, Float, dequantize_array
from intact.ops import KINDS
from intact.runtime.tools import ARM_COMPILER, EMULATOR
from intact.simulate.engine import Program

no_arm = pytest.mark.skipif(
    ARM_COMPILER.path is None or EMULATOR.path is None, reason="no gcc-arm-none-eabi and qemu-system-arm here"
)
#: What the C may be off by, of the largest output.
CLOSE = 1e-5
WITHOUT = {"TOPK_V2"}


def reads(graph, ops):
    return tuple(dict.fromkeys(i for op in ops for i in op.reads if not graph[i].is_constant))


def real(graph, given):
    """Stored integers as the real numbers that they stand for."""
    formats = {graph[i].name: graph[i].format for i in graph.inputs}
    return {name: dequantize_array(x, formats[name]) if isinstance(formats[name], Affine) else x for name, x in given.items()}


def assert_close(made, wanted, what):
    assert made.shape == wanted.shape
    assert made.dtype == wanted.dtype
    if made.dtype != np.float32:
        np.testing.assert_array_equal(made, wanted)
        return
    same = (made == wanted) | (np.isnan(made) & np.isnan(wanted))
    finite = np.isfinite(wanted)
    assert same[~finite].all(), what
    error = np.abs(made[finite] - wanted[finite]).max(initial=0)
    assert error <= CLOSE * np.abs(wanted[finite]).max(initial=1e-30), (what, error)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_kind_is_the_float_reference(tmp_path, seed):
    b = every_kind(seed)
    graph, x = b.graph(), samples(b, 20)
    ops = tuple(op for label, op in b.names.items() if label not in WITHOUT)
    whole = replace(graph, ops=ops, inputs=reads(graph, ops), outputs=tuple(i for op in ops for i in op.outputs))
    given, floats = real(whole, {graph[i].name: x[graph[i].name] for i in whole.inputs}), in_real_numbers(whole)
    made, wanted = outputs_in_c(floats, given, tmp_path), Program(floats)(given)
    for label, op in b.names.items():
        for i in op.outputs if label not in WITHOUT else ():
            assert_close(made[graph[i].name], wanted[graph[i].name].numpy(), label)


@no_arm
@pytest.mark.parametrize("core", ["cortex-m3", "cortex-m4"])
def test_every_kind_is_the_float_reference_on_a_core(core):
    """Floats of a library, and floats of the core, of which two positions are computed at once."""
    b = every_kind(1)
    graph, x = b.graph(), samples(b, 2)
    ops = tuple(op for label, op in b.names.items() if label not in WITHOUT)
    whole = replace(graph, ops=ops, inputs=reads(graph, ops), outputs=tuple(i for op in ops for i in op.outputs))
    given, floats = real(whole, {graph[i].name: x[graph[i].name] for i in whole.inputs}), in_real_numbers(whole)
    wanted = Program(floats)(given)
    at = CORES[core]
    ran = run(
        write(floats, Text("net", "a test")), at, Budget(at.ram, at.flash), tuple(given[graph[i].name] for i in whole.inputs)
    )
    begin = 0
    for name, y in ((name, wanted[name].numpy()) for name in floats.output_names):
        size = y[:1].nbytes
        made = np.ascontiguousarray(ran.outputs[:, begin : begin + size]).view(y.dtype).reshape(y.shape)
        assert_close(made, y, name)
        begin += size
    assert begin == ran.outputs.shape[1]
    assert ran.instructions > 10_000
    assert 0 < ran.stack < 2048


@no_arm
def test_floats_of_a_library_count_as_code():
    """Without floating point two floats are added by a function of the compiler's library, which the firmware holds too."""
    tensors = [Tensor(n, f"t{n}", (None, 6), Float()) for n in range(3)]
    net = write(Graph({t.id: t for t in tensors}, (Op(KINDS["ADD"](), (0, 1), (2,)),), (0, 1), (2,)), Text("net", "a test"))
    soft, hard = (sizes(net, CORES[name]) for name in ("cortex-m3", "cortex-m4"))
    assert soft.code > hard.code + 400
    assert soft.ram == hard.ram == net.arena


@no_arm
def test_a_wrong_bit_of_a_float_is_seen():
    tensors = [Tensor(n, f"t{n}", (None, 2), Float()) for n in range(2)]
    net = write(Graph({t.id: t for t in tensors}, (Op(KINDS["RELU"](), (0,), (1,)),), (0,), (1,)), Text("net", "a test"))
    x, at = np.float32([[-1, 2], [3, -4]]), CORES["cortex-m4"]
    for wrong in (False, True):
        y = np.maximum(x, 0)
        y[1, 0] = np.nextafter(y[1, 0], np.float32(4 if wrong else 3))
        assert emulate(net, at, Budget(at.ram, at.flash), Vectors((x,), (y,), "")).same == (1 if wrong else 2)


@pytest.mark.parametrize("seed", range(3))
def test_windows_of_any_shape(tmp_path, seed):
    """Odd widths, of which the last window has no neighbour; steps, gaps, and channels that are no fours."""
    b = Builder(np.random.default_rng(seed))
    for n in range(8):
        size, c_in, c_out = b.draw.integers(5, 9, 2).tolist(), int(b.draw.integers(1, 7)), int(b.draw.integers(4, 11))
        kernel, step, gap = (tuple(b.draw.integers(1, 4, 2).tolist()) for _ in range(3))
        options = {"stride": step, "padding": str(b.draw.choice(("same", "valid"))), "dilation": gap if n % 2 else (1, 1)}
        if options["padding"] == "valid" and any(
            (k - 1) * g >= s for k, g, s in zip(kernel, options["dilation"], size, strict=True)
        ):
            options["padding"] = "same"
        x = b.flow(*size, c_in)
        b.op(KINDS["CONV_2D"](**options), x, *b.weights(x, (c_out, *kernel, c_in), 0), name=f"conv {n}")
        b.op(KINDS["DEPTHWISE_CONV_2D"](**options), x, *b.weights(x, (1, *kernel, c_in), 3), name=f"depthwise {n}")
    floats = in_real_numbers(b.graph())
    given = real(b.graph(), samples(b, 3))
    wanted = Program(floats)(given)
    for ram in (None, 0):
        made = outputs_in_c(floats, given, tmp_path, ram)
        for name in floats.output_names:
            assert_close(made[name], wanted[name].numpy(), (name, ram))


def net_of(*tensors, ops, **more):
    return Graph({t.id: t for t in tensors}, ops, (0,), (tensors[-1].id,), **more)


def test_what_integers_stand_for():
    """3 steps of 0.5 above zero point 4 are 1.5, and a bias of 6 steps of 0.25 is 1.5 too; conversions between are gone."""
    a, b = Affine((0.5,), (4,)), Affine((0.1,), (0,), "uint8")
    tensors = [
        Tensor(0, "x", (None, 1), a),
        Tensor(1, "as bytes", (None, 1), b),
        Tensor(2, "w", (1, 1), Affine((0.5,), (0,)), np.int8([[3]])),
        Tensor(3, "b", (1,), Affine((0.25,), (0,), "int32"), np.int32([6])),
        Tensor(4, "y", (None, 1), a),
        Tensor(5, "real", (None, 1), Float()),
    ]
    dense = KINDS["FULLY_CONNECTED"](activation="relu6")
    ops = (Op(KINDS["QUANTIZE"](), (0,), (1,)), Op(dense, (1, 2, 3), (4,)), Op(KINDS["DEQUANTIZE"](), (4,), (5,)))
    made = in_real_numbers(net_of(*tensors, ops=ops))
    assert [op.kind.name for op in made.ops] == ["FULLY_CONNECTED", "DEQUANTIZE"]
    assert made.ops[0].inputs == (0, 2, 3)
    assert made.ops[0].kind.activation == "relu6"
    assert 1 not in made.tensors
    assert (made[2].data.item(), made[3].data.item()) == (1.5, 1.5)
    assert {t.format for t in made.tensors.values()} == {Float()}
    assert not made.is_quantized


def test_a_conversion_that_makes_an_output_costs_nothing(tmp_path):
    tensors = [Tensor(0, "x", (None, 3), Affine((0.5,), (4,))), Tensor(1, "y", (None, 3), Float())]
    graph = net_of(*tensors, ops=(Op(KINDS["DEQUANTIZE"](), (0,), (1,)),))
    floats = in_real_numbers(graph)
    x = np.float32([[1.25, -3, 1e30]])
    assert_close(outputs_in_c(floats, {"x": x}, tmp_path)["y"], x, "the same")
    assert write(floats, Text("net", "a test")).arena == 16  # twelve, up to what double words are aligned to


def test_rows_are_the_same_in_less_memory(tmp_path):
    """With padding of its own between the two convolutions, of which a row is 4 bytes a number."""
    b = Builder(np.random.default_rng(5))
    x = b.flow(20, 18, 3)
    b.op(KINDS["CONV_2D"](padding="same", activation="relu"), x, *b.weights(x, (8, 3, 3, 3), 0))
    b.op(KINDS["PAD"](), b.ops[-1].output, b.ints(0, 0, 1, 1, 2, 0, 0, 0, shape=(4, 2)))
    read = b.ops[-1].output
    b.op(KINDS["DEPTHWISE_CONV_2D"](stride=(2, 2), activation="relu6"), read, *b.weights(read, (1, 3, 3, 8), 3))
    b.op(KINDS["MAX_POOL_2D"]((2, 2), (2, 2)), b.ops[-1].output)
    graph = b.graph()
    floats = in_real_numbers(replace(graph, outputs=graph.ops[-1].outputs))
    at_once, least = write(floats, Text("net", "a test")), write(floats, Text("net", "a test"), 0)
    assert at_once.arena == 4 * (20 * 18 * 8 + 22 * 20 * 8)  # what PAD reads and makes
    assert least.by_row
    assert least.arena < at_once.arena / 2
    given = real(graph, samples(b, 5))
    wanted = Program(floats)(given)[floats.output_names[0]].numpy()
    for ram in (None, 0):
        assert_close(outputs_in_c(floats, given, tmp_path, ram)[floats.output_names[0]], wanted, ram)


def test_a_state_is_kept_from_run_to_run(tmp_path):
    """A running sum that begins at 1.5."""
    tensors = [Tensor(n, f"t{n}", (None, 2), Affine((0.1,), (3,))) for n in range(3)]
    states = (State("sum", 1, 2, np.full((1, 2), 1.5, np.float32)),)
    floats = in_real_numbers(net_of(*tensors, ops=(Op(KINDS["ADD"](), (0, 1), (2,)),), states=states))
    made = outputs_in_c(floats, {"t0": np.float32([[1, 2], [3, 4], [-8, 0.25]])}, tmp_path)["t2"]
    np.testing.assert_array_equal(made, np.float32([[2.5, 3.5], [5.5, 7.5], [-2.5, 7.75]]))


def test_constants_take_four_bytes_each_and_no_table_for_scales():
    """Weights of 8 x 27, 8 x 72 and 5 x 8 numbers, and 8 + 8 + 5 biases."""
    net = write(in_real_numbers(two_convolutions()), Text("net", "a test"))
    assert net.constants == 4 * (8 * 27 + 8 * 72 + 5 * 8 + 8 + 8 + 5)
    assert net.arena == 4 * 2304
    assert {port.type for port in net.ports} == {"float"}
    assert "a network in float32" in net.body
    assert "double" not in net.body


def test_every_kind_that_integers_have_is_there_but_the_lstm():
    assert set(real_table.ROWS) ^ set(table.ROWS) == {"DEQUANTIZE", "UNIDIRECTIONAL_SEQUENCE_LSTM"}


def test_what_float_c_lacks_is_refused_by_name():
    b = every_kind(0)
    graph, op = b.graph(), b.names["TOPK_V2"]
    floats = in_real_numbers(replace(graph, ops=(op,), inputs=reads(graph, [op]), outputs=op.outputs))
    with pytest.raises(UnsupportedError, match=r"TOPK_V2 .* cannot be written as C: there is no kernel for it$"):
        write(floats, Text("net", "a test"))


@pytest.mark.parametrize(
    ("kind", "x", "wanted"),
    [
        ("EXP", [-200, -103.5, -88, 0, 1, 88.5, 89, 1e30], [0, 0, np.exp(-88.0), 1, np.e, np.exp(88.5), np.inf, np.inf]),
        ("LOG", [0, 1e-40, 1, np.e, 1e38, -1, np.inf], [-np.inf, np.log(1e-40), 0, 1, np.log(1e38), np.nan, np.inf]),
        ("RSQRT", [0, 1e-30, 4, 1e30, -1], [np.inf, 1e15, 0.5, 1e-15, np.nan]),
        ("TANH", [-1e30, -0.625, -1e-6, 0, 0.7, 50], [-1, np.tanh(-0.625), -1e-6, 0, np.tanh(0.7), 1]),
        ("LOGISTIC", [-1e30, -100, 0, 100, 1e30], [0, np.exp(-100.0), 0.5, 1, 1]),
    ],
)
def test_functions_at_their_ends(tmp_path, kind, x, wanted):
    tensors = [Tensor(0, "x", (None, 1), Float()), Tensor(1, "y", (None, 1), Float())]
    graph = net_of(*tensors, ops=(Op(KINDS[kind](), (0,), (1,)),))
    made = outputs_in_c(graph, {"x": np.float32(x).reshape(-1, 1)}, tmp_path)["y"].reshape(-1)
    np.testing.assert_allclose(made, np.float32(wanted), rtol=1e-6, atol=1e-40)
