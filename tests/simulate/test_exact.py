"""Integers to the last bit: what the simulator computes against what the real kernels compute."""

import functools
import importlib.util
import math
from dataclasses import replace

import numpy as np
import pytest
import run_files
import torch
from compare import assert_same
from hypothesis import given
from hypothesis import strategies as st
from integer_cases import every_kind, samples
from nets import images, mobile
from small_graphs import graph

import intact
from intact.errors import DataError, OptionError, UnsupportedError
from intact.formats import tflite
from intact.network.graph import Op, Tensor
from intact.numbers import fixed_point as fixed
from intact.numbers.affine import Affine, Float, Index, bias_format, quantize_array
from intact.numbers.arithmetic import Output
from intact.ops.activation import HardSwish, Relu, Tanh
from intact.ops.base import OpKind
from intact.ops.matmul import FullyConnected
from intact.ops.quantization import Dequantize, Quantize
from intact.ops.shaping import BroadcastTo
from intact.planning.targets import TARGETS
from intact.runtime.litert import run
from intact.simulate.exact import ARITHMETICS, IntegerProgram, exposed

no_tflm = pytest.mark.skipif(
    importlib.util.find_spec("tflite_micro") is None,
    reason="the microcontroller runtime is not installed; type: pip install tflite-micro",
)
KERNELS = ("reference", "default", pytest.param("tflm", marks=no_tflm))
SEEDS = (0, 1)
#: Kinds that a kernel set lacks, and the one that the reference kernels compute from the wrong type (see the tests below).
ABSENT = {
    "reference": {"ELU", "SUM", "SUM channels"},
    "default": set(),
    "tflm": {
        *("EXP", "GELU", "GELU approximate", "LOG", "RELU_0_TO_1", "RELU_N1_TO_1", "TILE", "TOPK_V2"),
        *("FULLY_CONNECTED int2 39", "FULLY_CONNECTED int2 40", "FULLY_CONNECTED int2 40 per tensor"),
    },
}
LABELS = tuple(every_kind(0).names)


@pytest.fixture(scope="module")
def of_the_runtime(tmp_path_factory):
    """A graph of every kind, its samples, its simulator and what the runtime gives; once for each kernel set and seed."""

    @functools.cache
    def computed(kernels, seed):
        b = every_kind(seed)
        for label in ABSENT[kernels]:
            gone = b.names.pop(label)
            b.ops.remove(gone)
            b.inputs.remove(gone.inputs[0])
        x, g = samples(b, 24), b.graph()
        return b, x, IntegerProgram(g, kernels), outputs_of(g, tmp_path_factory.mktemp("kinds"), x, kernels)

    return computed


def outputs_of(g, tmp_path, x, kernels, name="net.tflite"):
    """What the runtime itself gives for samples by name: stored integers by name."""
    if kernels == "tflm":
        formats = [g[i].format for i in g.inputs]
        given = [x[name] for name in g.input_names]
        real = [isinstance(fmt, Affine) and v.dtype == np.float32 for fmt, v in zip(formats, given, strict=True)]
        stored = [quantize_array(v, fmt) if r else v for v, fmt, r in zip(given, formats, real, strict=True)]
        (made,) = run_files.outputs([tflite.write(g)], [stored], tmp_path, "tflm")
        assert not isinstance(made, str), made
        return dict(zip(g.output_names, made, strict=True))
    (tmp_path / name).write_bytes(tflite.write(g))
    return run(tmp_path / name, x, kernels=kernels, raw=True, threads=1)


def assert_all_tensors_same(g, tmp_path, x, kernels):
    """Every activation of the graph, and the outputs of the graph as it is (kernels fuse what nobody looks at)."""
    shown = exposed(g)
    renamed = dict(zip(shown.input_names, x.values(), strict=True))
    wanted = outputs_of(shown, tmp_path, renamed, kernels)
    ours = IntegerProgram(shown, kernels)(renamed)
    assert len(wanted) == len({i for op in g.ops for i in op.outputs})
    for name, y in wanted.items():
        assert_same(ours[name], y)
    for name, y in outputs_of(g, tmp_path, x, kernels, "whole.tflite").items():
        assert_same(IntegerProgram(g, kernels)(x)[name], y)


# ---- op by op -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("label", LABELS)
def test_every_kind_computes_what_the_kernels_compute(of_the_runtime, label, kernels, seed):
    if label in ABSENT[kernels]:
        return  # pinned by the two tests below
    b, x, program, wanted = of_the_runtime(kernels, seed)
    op = b.names[label]
    given = {i: torch.from_numpy(x[b.tensors[i].name]) for i in op.reads if i in b.inputs}
    for i, y in zip(op.outputs, program.compute(op, given), strict=True):
        assert_same(y, wanted[b.tensors[i].name])


def test_every_kind_of_every_target_is_among_them():
    tested = {label.partition(" ")[0] for label in LABELS} | {"BROADCAST_TO"}  # whose shape holds the batch: below
    # Those that change the batch, read bools or whole numbers: test_op_kinds, with a batch that is fixed.
    tested |= {"BATCH_TO_SPACE_ND", "SELECT", "SELECT_V2", "SHAPE", "SPACE_TO_BATCH_ND"}
    tested |= {"EMBEDDING_LOOKUP", "FILL", "GATHER_ND", "RANK"}
    tested |= {"UNIDIRECTIONAL_SEQUENCE_LSTM"}  # whose exact arithmetic is not written down: test_recurrent
    assert set().union(*(target.kinds("int8") for target in TARGETS.values())) <= tested


@pytest.mark.parametrize("kernels", KERNELS)
def test_a_shape_that_holds_the_batch_is_computed_sample_by_sample(tmp_path, kernels):
    fmt = Affine((0.1,), (3,))
    tensors = (
        *(Tensor(0, "x", (1, 1, 6), fmt), Tensor(1, "shape", (3,), Index(), np.int32([1, 5, 6]))),
        Tensor(2, "y", (1, 5, 6), fmt),
    )
    g = graph(tensors, [Op(BroadcastTo(), (0, 1), (2,))], (0,), (2,))
    x = {"x": np.random.default_rng(0).integers(-128, 128, (4, 1, 6), np.int8)}
    assert_same(IntegerProgram(g, kernels)(x)["y"], outputs_of(g, tmp_path, x, kernels)["y"])


def test_the_reference_kernels_have_no_elu(tmp_path):
    b = every_kind(0)
    elu = b.names["ELU"]
    g = replace(b.graph(), ops=(elu,), inputs=elu.inputs, outputs=elu.outputs)
    with pytest.raises(intact.IntactError, match="Didn't find op for builtin opcode 'ELU'"):
        outputs_of(g, tmp_path, {b.tensors[elu.inputs[0]].name: np.zeros((1, 5, 11), np.int8)}, "reference")


@no_tflm
@pytest.mark.parametrize("label", sorted(ABSENT["tflm"]))
def test_tflm_refuses_what_it_lacks(tmp_path, label):
    b = every_kind(0)
    op = b.names[label]
    inputs = tuple(i for i in op.inputs if not b.tensors[i].is_constant)
    g = replace(b.graph(), ops=(op,), inputs=inputs, outputs=op.outputs)
    given = [np.zeros((1, *b.tensors[i].shape[1:]), np.int8) for i in inputs]
    (made,) = run_files.outputs([tflite.write(g)], [given], tmp_path, "tflm")
    assert isinstance(made, str)
    assert "TFLM failed to allocate tensors" in made or "Interpreter invocation failed" in made


@pytest.mark.parametrize("label", ["SUM", "SUM channels"])
def test_the_reference_kernels_take_the_bytes_of_sum_for_uint8(tmp_path, label):
    """QuantizedMeanOrSum in LiteRT's kernels/reduce.cc. TFLM and the default kernels read int8, and so do we."""
    b = every_kind(0)
    op = b.names[label]
    g = replace(b.graph(), ops=(op,), inputs=op.inputs[:1], outputs=op.outputs)
    (i, axes), (o,) = op.inputs, op.outputs
    x = b.draw.integers(-128, 128, (24, *b.tensors[i].shape[1:]), np.int8)
    source, out = b.tensors[i].format, b.tensors[o].format
    total = (x.view(np.uint8).astype(np.int64) - source.zero_point[0]).sum(
        tuple(b.tensors[axes].data.tolist()), keepdims=op.kind.keep_dims
    )
    scaled = fixed.rescale(torch.from_numpy(total), source.scale[0] / out.scale[0]).numpy() + out.zero_point[0]
    wanted = np.clip(scaled, 0, 255).astype(np.uint8).view(np.int8)
    assert_same(outputs_of(g, tmp_path, {b.tensors[i].name: x}, "reference")[b.tensors[o].name], wanted)


# ---- whole networks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("target", ["cpu", "mcu"])  # the others keep ops in real numbers, which no two runtimes round alike
@pytest.mark.parametrize("scheme", ["int8", "w4a8"])
def test_every_tensor_of_a_quantized_network(tmp_path, scheme, target, kernels):
    options = {"weights": "per-tensor"} if kernels == "tflm" else {}  # it refuses int4 FULLY_CONNECTED per channel
    made = intact.quantize(mobile(), intact.data.arrays(images(40)), scheme=scheme, target=target, measure=False, **options)
    assert_all_tensors_same(made.graph, tmp_path, {"image": images(24, seed=1)}, kernels)


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("name", ["ad01_int8", "kws_int8", "resnet8_cifar10_int8", "vww_96_int8"])
def test_every_tensor_of_a_real_network(shared, tmp_path, name, kernels):
    g = intact.load(shared / "models" / f"{name}.tflite")
    shape = g[g.inputs[0]].shape[1:]
    x = np.random.default_rng(0).integers(-128, 128, (3, *shape), np.int8)
    assert_all_tensors_same(g, tmp_path, {g.input_names[0]: x}, kernels)


def test_an_arithmetic_that_rounds_otherwise_is_caught(tmp_path, monkeypatch):
    made = intact.quantize(mobile(), intact.data.arrays(images(40)), target="mcu", measure=False)
    monkeypatch.setattr(fixed, "shift_right", lambda x, bits: x >> bits)  # halves down, not away from zero
    with pytest.raises(AssertionError, match="elements differ"):
        assert_all_tensors_same(made.graph, tmp_path, {"image": images(24, seed=1)}, "reference")


def test_kernel_sets_differ():
    made = intact.quantize(mobile(), intact.data.arrays(images(40)), measure=False)
    x = {"image": images(200, seed=1)}
    shown = exposed(made.graph)
    x = {shown.input_names[0]: x["image"]}
    reference, default = (IntegerProgram(shown, kernels)(x) for kernels in ("reference", "default"))
    gaps = [int((reference[n].float() - default[n].float()).abs().max()) for n in reference]
    assert 1 <= max(gaps) <= 4


def test_a_second_rounding_of_fully_connected_shows_only_beside_a_half():
    x, weight, out = Affine((0.1,), (0,)), Affine((0.0731,), (0,)), Output(Affine((0.9,), (3,)))
    sums = torch.arange(-15000, 15000)
    once, twice = (ARITHMETICS[kernels].dense(sums, x, weight, out, count=4) for kernels in ("reference", "tflm"))
    real = sums.to(torch.float64) * (x.scale[0] * weight.scale[0] / out.scale)  # 0.52 * 2**-6: six bits go in the second one
    assert_same(once, (real.round() + 3).to(torch.int8))
    other = once != twice
    assert other.any()
    assert int((once.int() - twice.int()).abs().max()) == 1
    assert float(((real - real.floor())[other] - 0.5).abs().max()) <= 2.0**-7 + 1e-9


# ---- edges --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernels", KERNELS)
def test_sums_wrap_at_32_bits_as_they_do_in_the_kernels(tmp_path, kernels):
    x, w, out = Affine((0.1,), (0,)), Affine((0.1,), (0,)), Affine((2.0e5,), (0,))
    weight, bias = np.full((2, 4), 100, np.int8), np.int32([2**31 - 1000, -(2**31) + 1000])
    tensors = (
        *(Tensor(0, "x", (None, 4), x), Tensor(1, "w", (2, 4), w, weight), Tensor(2, "b", (2,), bias_format(x, w), bias)),
        Tensor(3, "y", (None, 2), out),
    )
    g = graph(tensors, [Op(FullyConnected(), (0, 1, 2), (3,))], (0,), (3,))
    given = {"x": np.repeat(np.int8([[-100], [0], [100]]), 4, axis=1)}
    y = IntegerProgram(g, kernels)(given)["y"]
    assert_same(y, outputs_of(g, tmp_path, given, kernels)["y"])
    assert (y[1].tolist(), y[2, 0].item()) == ([107, -107], -107)  # 2**31 * 0.01 / 2e5 = 107.4


def test_real_inputs_are_quantized_as_the_runtime_does(tmp_path):
    made = intact.quantize(mobile(), intact.data.arrays(images(40)), input_type="int8", output_type="int8", measure=False)
    x = {"image": images(24, seed=2) * 1.5}  # some beyond the calibrated range
    assert_same(IntegerProgram(made.graph, "default")(x)["scores"], outputs_of(made.graph, tmp_path, x, "default")["scores"])


@pytest.mark.parametrize("kernels", KERNELS)
def test_a_float_island_is_computed_in_float(tmp_path, kernels):
    fmt = Affine((0.05,), (3,))
    tensors = (
        *(Tensor(0, "q", (None, 9), fmt), Tensor(1, "x", (None, 9)), Tensor(2, "t", (None, 9)), Tensor(3, "y", (None, 9), fmt)),
    )
    ops = [Op(Dequantize(), (0,), (1,)), Op(Relu(), (1,), (2,)), Op(Quantize(), (2,), (3,))]
    g = graph(tensors, ops, (0,), (3,))
    assert_all_tensors_same(g, tmp_path, {"q": np.random.default_rng(0).integers(-128, 128, (24, 9), np.int8)}, kernels)


def unary(kind: OpKind, source, out):
    return graph((Tensor(0, "x", (None, 4), source), Tensor(1, "y", (None, 4), out)), [Op(kind, (0,), (1,))], (0,), (1,))


def test_what_is_not_known_is_said_with_the_op_and_tensor():
    wide = Affine((0.1,), (0,), "int16")
    with pytest.raises(UnsupportedError, match="op TANH 'y': the exact arithmetic of int16 activations is not known"):
        IntegerProgram(unary(Tanh(), wide, Affine((1 / 32768,), (0,), "int16")))({"x": np.zeros((1, 4), np.int16)})
    with pytest.raises(UnsupportedError, match="integers mixed with float32"):
        IntegerProgram(unary(HardSwish(), Float(), Affine((0.1,), (0,))))({"x": np.zeros((1, 4), np.float32)})
    four, out = Affine((0.1, 0.2), (0, 0), "int4", 3), Output(Affine((0.1,), (0,)))
    with pytest.raises(UnsupportedError, match="int4 depthwise weights in the default kernels"):
        ARITHMETICS["default"].depthwise(torch.zeros(1, 1, 1, 2, dtype=torch.int64), Affine((0.1,), (0,)), four, out)
    with pytest.raises(OptionError, match="no kernels are called 'fast'; there are reference, tflm, default"):
        IntegerProgram(mobile(), "fast")
    with pytest.raises(DataError, match=r"input 'x' takes int8 or real numbers as float32, and got torch\.int32"):
        IntegerProgram(unary(Tanh(), Affine((0.1,), (0,)), Affine((1 / 128,), (0,))))({"x": np.zeros((1, 4), np.int32)})


# ---- fixed point: independent definitions -------------------------------------------------------------------------------

INT32 = st.integers(-(2**31), 2**31 - 1)


def away(numerator, denominator):
    """Rounded division, halves away from zero, in exact integers."""
    sign = 1 if numerator >= 0 else -1
    return sign * ((2 * abs(numerator) + denominator) // (2 * denominator))


@given(INT32, st.integers(0, 31))
def test_shift_right_rounds_halves_away_from_zero(x, bits):
    assert int(fixed.shift_right(torch.tensor(x), bits)) == away(x, 2**bits)


@given(INT32, st.integers(2**30, 2**31 - 1))
def test_high_product_rounds_halves_up(x, multiplier):
    assert int(fixed.high_product(torch.tensor(x), multiplier)) == (2 * x * multiplier + 2**31) // 2**32


@given(st.floats(2.0**-30, 2.0**20))
def test_q31_holds_31_bits(real):
    multiplier, shift = (int(v) for v in fixed.q31(real))
    assert 2**30 <= multiplier < 2**31
    assert abs(multiplier * 2.0 ** (shift - 31) / real - 1) <= 2.0**-31


@given(st.integers(-(2**24), 2**24), st.floats(2.0**-20, 1.0, exclude_max=True))
def test_rescale_is_within_two_roundings(x, real):
    assert abs(int(fixed.rescale(torch.tensor(x), real)) - x * real) <= 1.0 + abs(x) * 2.0**-31


@given(st.integers(-(31 * 2**26), 0))
def test_exp_is_right_to_six_digits(raw):
    assert abs(int(fixed.exp_of_negative(torch.tensor(raw))) / 2**31 - math.exp(raw / 2**26)) <= 5e-7


@given(st.integers(2**19, 2**31 - 1))
def test_reciprocal_is_right_to_seven_digits(raw):
    inverse, bits = fixed.reciprocal(torch.tensor(raw), 12)
    assert math.isclose(int(inverse) * 2.0 ** (-31 - int(bits)), 2**19 / raw, rel_tol=1e-7)


@given(st.integers(2, 2**31 - 1))
def test_five_newton_steps_leave_at_most_two_millionths(x):
    multiplier, shift = fixed.inverse_sqrt(torch.tensor(x))
    assert math.isclose(int(multiplier) * 2.0 ** (int(shift) - 31), x**-0.5, rel_tol=2e-6)


@given(st.integers(2**19, 2**31 - 1))
def test_log_is_right_to_six_digits(raw):
    assert abs(int(fixed.log(torch.tensor(raw))) / 2**26 - math.log(raw / 2**19)) <= 1e-6
