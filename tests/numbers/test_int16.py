"""int16 activations with int8 weights: kinds and networks against LiteRT's two kernel sets and TensorFlow Lite Micro."""

import dataclasses
import importlib.util
import json

import numpy as np
import pytest
import run_files
import torch
from compare import assert_same
from drafts import draft
from kind_files import gap, integer_cases, integer_graph, stored
from nets import NETS, images, mobile, varied
from op_cases import CASES
from plans import planned
from small_graphs import graph
from typer.testing import CliRunner

import intact
from intact.cli.app import app
from intact.errors import OptionError, UnsupportedError
from intact.formats import tflite
from intact.measure.memory import activation_memory
from intact.network.graph import Op, Tensor
from intact.numbers.affine import Affine, dequantize_array, quantize_array
from intact.ops import KINDS
from intact.ops.activation import Exp
from intact.ops.base import Fixed
from intact.ops.elementwise import Add, Mul, Sub
from intact.ops.matmul import FullyConnected
from intact.ops.shaping import Concatenation
from intact.planning.integer_graph import emit
from intact.planning.schemes import SCHEMES
from intact.planning.targets import TARGETS
from intact.rewrite.lowerings import lower
from intact.run.settings import Settings
from intact.runtime.litert import run
from intact.simulate.engine import Program

#: Steps of the output's scale that a kernel may be off the simulator. One: halves, and multipliers that kernels hold in 16
#: bits, which errs by 2**-16 of the range or half a step. More: the tables of TANH and SOFTMAX; RESIZE_BILINEAR, which counts
#: in 1/1024 of a pixel and is 5/1024 of one off after ten of them, where the next pixel may be all of the range away.
STEPS = {"TANH": 2, "SOFTMAX": 2, "RESIZE_BILINEAR": 160}
RUNTIMES = {"cpu": ("default", "reference"), "mcu": ("reference", "tflm")}
PAIRS = [(target, runtime) for target, runtimes in RUNTIMES.items() for runtime in runtimes]
RUN_ON = {target: integer_cases(target, "int16") for target in TARGETS}
EACH = [pytest.param(t, r, n, id=f"{t}-{r}-{case.id}") for t, r in PAIRS for n, case in enumerate(RUN_ON[t])]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Files and inputs run by target and runtime: the outputs, or what went wrong."""

    def run(runtime, graphs, given):
        if runtime == "tflm" and importlib.util.find_spec("tflite_micro") is None:
            pytest.skip("the microcontroller runtime is not installed; type: pip install tflite-micro")
        return run_files.outputs([tflite.write(g) for g in graphs], given, tmp_path_factory.mktemp(runtime), runtime)

    return run


@pytest.fixture(scope="module")
def of_the_kinds(runs):
    done = {}

    def computed(target, runtime):
        if (target, runtime) not in done:
            request = Settings(scheme="int16x8", target=target).request()
            graphs = [integer_graph(case, request) for case in RUN_ON[target]]
            given = [stored(graph, case) for graph, case in zip(graphs, RUN_ON[target], strict=True)]
            done[target, runtime] = graphs, runs(runtime, graphs, given)
        return done[target, runtime]

    return computed


@pytest.mark.parametrize("target", TARGETS)
def test_every_listed_kind_has_a_case_and_its_fixed_format(target):
    assert TARGETS[target].kinds("int16") <= {case.kind.name for case in CASES}
    rules = [KINDS[name].range_rule for name in TARGETS[target].kinds("int16")]
    assert all("int16" in rule.by_dtype for rule in rules if isinstance(rule, Fixed))


@pytest.mark.parametrize(("target", "runtime", "n"), EACH)
def test_kernels_agree_with_the_simulator(target, runtime, n, of_the_kinds):
    graphs, results = of_the_kinds(target, runtime)
    case, graph, made = RUN_ON[target][n], graphs[n], results[n]
    assert not isinstance(made, str), made
    assert all(not graph[i].is_float for op in graph.ops for i in (*op.reads, *op.outputs))
    shown = dataclasses.replace(graph, outputs=graph.outputs[: len(made)])  # TFLM's Python binding gives one
    assert gap(shown, case, made) <= STEPS.get(case.kind.name, 1) + 1e-2


# ---- whole networks -----------------------------------------------------------------------------------------------------


def program_outputs(graph, x):
    with torch.inference_mode():
        (y,) = Program(graph)({graph.input_names[0]: x}).values()
    return y.numpy()


def quantized(net, target="cpu", scheme="int16x8", x=None, **options):
    """The network as ``target`` runs it, calibrated on x or ``images(20)``, and its float self as lowered."""
    net = lower(net, target, SCHEMES[scheme].activations)
    return emit(net, planned(net, x, scheme=scheme, target=target, **options)), net


def relative_error(y, expected):
    return float(np.sqrt(np.square(y.astype(np.float64) - expected).mean()) / np.sqrt(np.square(expected).mean()))


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize(("target", "runtime"), PAIRS)
def test_networks_run_as_simulated(target, runtime, name, runs):
    """Each op is off by a step of 2**-15 of its range at most, half of the time by none: a thousandth after ten of them."""
    graph, _ = quantized(NETS[name](), target)
    assert all(not graph[i].is_float for op in graph.ops for i in (*op.reads, *op.outputs))
    x = images(8, seed=3)
    (source,), (out,) = ([graph[i].format for i in ids] for ids in (graph.inputs, graph.outputs))
    results = runs(runtime, [graph] * len(x), [[quantize_array(x[n : n + 1], source)] for n in range(len(x))])
    assert not [r for r in results if isinstance(r, str)]
    y = dequantize_array(np.concatenate([r[0] for r in results]), out)
    assert np.ptp(y) > 0.2
    assert_same(y, program_outputs(graph, x), atol=1e-3)


@pytest.mark.parametrize("name", NETS)
def test_activations_of_16_bits_err_less_than_of_8(name):
    """With weights that int8 holds exactly only activations err. Steps are 256 times finer, or 128 where all values have one
    sign; what kernels fix (a softmax's 1/256 is finer than calibration would choose) and float32 take some: 32 are asked.
    """
    net = NETS[name]()
    plan = planned(net, scheme="int16x8")
    exact = {
        i: dataclasses.replace(net[i], data=dequantize_array(quantize_array(net[i].data, plan.own(i)), plan.own(i)))
        for i in plan.tensors
        if net[i].is_constant and plan.own(i).dtype == "int8"
    }
    assert exact
    x = images(20)
    for given, factor in ((net, 1), (dataclasses.replace(net, tensors={**net.tensors, **exact}), 32)):
        wide, lowered = quantized(given)
        expected = program_outputs(lowered, x)
        narrow, _ = quantized(given, scheme="int8")
        errors = [relative_error(program_outputs(g, x), expected) for g in (wide, narrow)]
        assert factor * errors[0] < errors[1]


def test_formats():
    graph, _ = quantized(varied())
    biases = {op.inputs[op.kind.weight.bias] for op in graph.ops if op.kind.weight is not None}
    weights = {op.inputs[op.kind.weight.input] for op in graph.ops if op.kind.weight is not None}
    for t in graph.tensors.values():
        if isinstance(t.format, Affine):
            assert t.format.dtype == ("int64" if t.id in biases else "int8" if t.id in weights else "int16")
            assert set(t.format.zero_point) == {0}
    fixed = {op.kind.name: graph[op.output].format for op in graph.ops if op.kind.name in ("TANH", "LOGISTIC", "SOFTMAX")}
    assert len(fixed) == 3
    assert set(fixed.values()) == {Affine((1 / 32768,), (0,), "int16")}
    back = tflite.read(tflite.write(graph))
    assert [t.format for t in back.tensors.values()] == [t.format for t in graph.tensors.values()]
    assert all(
        t.data is None or np.array_equal(t.data, back[i].data)
        for i, t in zip(back.tensors, graph.tensors.values(), strict=True)
    )


@pytest.mark.parametrize("wanted", ["int16", "float32"])
def test_inputs_and_outputs_are_exactly_what_was_asked_for(wanted):
    graph, _ = quantized(mobile(), input_type=wanted, output_type=wanted)
    assert {graph[i].format.dtype for i in (*graph.inputs, *graph.outputs)} == {wanted}


@pytest.mark.parametrize("wanted", ["int8", "uint8"])
def test_8_bit_inputs_are_refused(wanted):
    with pytest.raises(
        OptionError, match=f"--input-type {wanted} cannot be had with --scheme int16x8; type one of: int16, float32"
    ):
        planned(mobile(), scheme="int16x8", input_type=wanted)


@pytest.mark.parametrize("runtime", RUNTIMES["cpu"])
def test_what_has_no_kernel_stays_float_on_cpu_and_is_refused_on_mcu(runtime, runs):
    net = draft((8, 8, 3), lambda d, x: d(Exp(), d(Add(), x, 1.0)), open_batch=False)
    graph, _ = quantized(net)
    assert [op.kind.name for op in graph.ops] == ["ADD", "DEQUANTIZE", "EXP", "QUANTIZE"]
    source, out = graph[graph.inputs[0]].format, graph[graph.outputs[0]].format
    ((y,),) = runs(runtime, [graph], [[quantize_array(images(1), source)]])
    assert_same(dequantize_array(y, out), program_outputs(graph, images(1)), atol=1.01 * out.scale[0])
    with pytest.raises(UnsupportedError, match=r"EXP '.*' has no int16 kernel, and target mcu runs integers only"):
        quantized(net, "mcu")


@pytest.mark.parametrize("runtime", ["default", "reference", "tflm"])
def test_biases_that_int32_would_not_hold(runtime, runs):
    """An int32 bias is at most 2**31 * 2/32767 * 1/127 = 1032 here."""

    def build(d, x):
        return d(FullyConnected("relu6"), x, np.eye(3, dtype=np.float32), np.float32([5000, -5000, 3]))

    net = draft((3,), build, open_batch=False)
    x = np.random.default_rng(0).uniform(-2, 2, (40, 3)).astype(np.float32)
    graph, _ = quantized(net, "mcu", x=x)
    bias = graph[graph.ops[0].inputs[2]]
    assert bias.data.dtype == np.int64
    assert 2**31 < np.abs(bias.data).max() < 2**46
    (results,) = runs(runtime, [graph], [[quantize_array(x[:1], graph[graph.inputs[0]].format)]])
    assert_same(dequantize_array(results[0], graph[graph.outputs[0]].format), program_outputs(graph, x[:1]), atol=2e-3)


@pytest.mark.parametrize("scheme", ["int8", "int16x8"])
@pytest.mark.parametrize("runtime", ["default", "reference", "tflm"])
def test_outputs_and_weights_of_nothing_but_zeros_are_no_trouble_for_kernels(scheme, runtime, runs):
    """Zeros tell nothing of a scale, and kernels refuse, miscompute or abort where it is far finer than what is summed."""

    def build(d, x):
        dead = d(Add("relu"), x, [-300.0, -400.0, -500.0])
        product = d(FullyConnected("relu"), x, -np.ones((4, 3), np.float32), [-700.0] * 4)
        faint = d(FullyConnected(), x, np.zeros((4, 3), np.float32), [1e-3, -1e-3, 2e-3, 0.0])
        return d(Concatenation(axis=1), dead, d(Mul("relu"), x, -200.0)), product, faint

    net = draft((3,), build, open_batch=False)
    x = np.random.default_rng(0).uniform(0, 200, (40, 3)).astype(np.float32)
    graph, _ = quantized(net, "mcu", scheme, x)
    for i in graph.outputs:
        (results,) = runs(runtime, [dataclasses.replace(graph, outputs=(i,))], [[quantize_array(x[:1], graph[0].format)]])
        assert not isinstance(results, str), results
        with torch.inference_mode():
            expected = Program(dataclasses.replace(graph, outputs=(i,)))({graph[0].name: x[:1]})[graph[i].name].numpy()
        assert_same(dequantize_array(results[0], graph[i].format), expected, atol=2.5e-5)


@pytest.mark.parametrize("kind", [Add(), Sub()])
@pytest.mark.parametrize("runtime", ["default", "reference", "tflm"])
def test_powers_of_two_are_scales_like_any_other(runtime, kind, runs):
    """LiteRT has other ADD and SUB kernels where all scales are powers of two, which take two of the three to be equal."""
    formats = [Affine((scale,), (0,), "int16") for scale in (2**-12, 2**-14, 2**-11)]
    tensors = [Tensor(i, name, (1, 50), fmt) for i, (name, fmt) in enumerate(zip("aby", formats, strict=True))]
    g = graph(tensors, [Op(kind, (0, 1), (2,))], (0, 1), (2,))
    draw = np.random.default_rng(0)
    given = [draw.integers(-32768, 32768, (1, 50)).astype(np.int16) for _ in "ab"]
    (made,) = runs(runtime, [g], [given])
    assert not isinstance(made, str), made
    with torch.inference_mode():
        real = {n: torch.from_numpy(dequantize_array(q, f)) for n, q, f in zip("ab", given, formats, strict=False)}
        expected = Program(g)(real)["y"].numpy()
    assert_same(dequantize_array(made[0], formats[2]), expected, atol=2**-11)


# ---- from the outside ---------------------------------------------------------------------------------------------------


def test_the_command_writes_and_measures_it(tmp_path):
    (tmp_path / "net.tflite").write_bytes(tflite.write(varied()))
    np.savez(tmp_path / "val.npz", x=images(80), y=np.arange(80) % 5)
    paths = [str(tmp_path / name) for name in ("net.tflite", "val.npz", "run")]
    done = CliRunner().invoke(app, ["quantize", paths[0], "--data", paths[1], "--scheme", "int16x8", "--out", paths[2]])
    assert done.exit_code == 0, done.output
    record = json.loads((tmp_path / "run" / "result.json").read_text())
    figures = {(row["of"], row["name"]): row["value"] for row in record["measurements"]}
    assert figures["quantized", "agreement with float"] >= 95
    assert figures["quantized", "SQNR"] > 25
    assert figures["quantized", "SQNR of runtime against simulator (float simulator)"] > 60  # the exact arithmetic is int8's
    written = tflite.read(tmp_path / "run" / "model.tflite")
    assert {written[i].format.dtype for i in (*written.inputs, *written.outputs)} == {"int16"}
    assert figures["quantized", "peak live activations"] == activation_memory(written).live_bytes


@pytest.mark.parametrize("remedies", [("equalize", "ranges", "round", "bias"), ("finetune",)])
def test_remedies_work_on_it(remedies):
    data = intact.data.arrays(images(80), np.arange(80) % 4)
    result = intact.quantize(mobile(), data, scheme="int16x8", remedies=remedies, measure=False)
    x = images(40, seed=7)
    y, expected = (program_outputs(g, x) for g in (result.graph, result.float_graph))
    assert relative_error(y, expected) < 0.02


@pytest.mark.parametrize("name", ["resnet8_cifar10", "mobilenet_v3_small_cifar10"])
def test_real_models_run_in_16_bits_from_end_to_end(shared, name, tmp_path):
    x = images(24, side=32) if name.startswith("mobilenet") else 127.5 * (1 + images(24, side=32))
    made = intact.quantize(shared / "models" / f"{name}.tflite", intact.data.arrays(x), scheme="int16x8", measure=False)
    assert not [f for f in made.findings if f.kind == "float ops"]
    expected = program_outputs(made.graph, x[:8])
    path = made.save(tmp_path / "model.tflite")
    for kernels in ("default", "reference"):
        (y,) = run(path, {made.graph.input_names[0]: x[:8]}, kernels=kernels).values()
        assert_same(y, expected, atol=2e-3)
