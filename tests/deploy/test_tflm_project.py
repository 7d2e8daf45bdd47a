"""The project for TensorFlow Lite Micro: the file in C++, the kernels it needs, the least arena, and samples that prove it."""

import hashlib
import importlib.util
import json
import re
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import run_files
from compare import assert_same
from drafts import draft
from lstm_nets import lstm
from nets import images, mobile
from plans import planned
from small_graphs import graph, requantize, softmax
from tflm_stubs import assert_compiles

from intact.deploy import micro
from intact.deploy.c.network import Text
from intact.deploy.micro import KERNELS
from intact.deploy.project import Vectors
from intact.deploy.tflm.project import Arena, Project, files_of, ports, real
from intact.deploy.tflm.resolver import METHODS, check_softmax, resolved
from intact.errors import MissingToolError, ModelError, OptionError, UnsupportedError
from intact.formats import tflite
from intact.formats.tflite.op_codes import operators, resource_variables
from intact.network.graph import Graph, Op, State, Tensor
from intact.numbers.affine import Affine, Float, Index
from intact.ops.activation import Exp, Gelu
from intact.ops.elementwise import Add
from intact.ops.matmul import FullyConnected
from intact.ops.quantization import Dequantize, Quantize
from intact.ops.reduction import Mean
from intact.ops.shaping import ExpandDims, Reshape
from intact.planning.integer_graph import emit
from intact.run import deploy_tflm
from intact.run.deploy import deploy
from intact.runtime import child, tflm

needs_tflm = pytest.mark.skipif(
    importlib.util.find_spec("tflite_micro") is None,
    reason="the microcontroller runtime is not installed; type: pip install tflite-micro",
)

#: Every method that adds a kernel, as tensorflow/lite/micro/micro_mutable_op_resolver.h has it (90b983c, 2026-08-20), but those
#: of the signal library and of Ethos-U.
_NAMES = (
    "Abs Add AddN ArgMax ArgMin AssignVariable AveragePool2D BatchMatMul BatchToSpaceNd BroadcastArgs BroadcastTo CallOnce "
    "Cast Ceil CircularBuffer Concatenation Conv2D Cos CumSum Decode DepthToSpace DepthwiseConv2D Dequantize "
    "DetectionPostprocess Div DynamicUpdateSlice Elu EmbeddingLookup Equal Exp ExpandDims Fill Floor FloorDiv FloorMod "
    "FullyConnected Gather GatherNd Greater GreaterEqual HardSwish If L2Normalization L2Pool2D LeakyRelu Less LessEqual "
    "Log LogSoftmax LogicalAnd LogicalNot LogicalOr Logistic MaxPool2D Maximum Mean Minimum MirrorPad Mul Neg NotEqual "
    "Pack Pad PadV2 Prelu Quantize ReadVariable ReduceAll ReduceMax ReduceMin Relu Relu6 Reshape ResizeBilinear "
    "ResizeNearestNeighbor ReverseV2 Round Rsqrt SelectV2 Shape Sin Slice Softmax SpaceToBatchNd SpaceToDepth Split SplitV "
    "Sqrt Square SquaredDifference Squeeze StridedSlice Sub Sum Svdf Tanh Transpose TransposeConv "
    "UnidirectionalSequenceLSTM Unpack VarHandle While ZerosLike"
)
DOCUMENTED = {f"Add{name}" for name in _NAMES.split()}

FILES = {
    *("README.md", "Makefile", "main.cc", "model_data.h", "model_data.cc", "model_settings.h", "model_ops.h", "vectors.h"),
    *("model_runner.h", "model_runner.cc", "esp-idf/CMakeLists.txt", "esp-idf/main/CMakeLists.txt", "esp-idf/main/main.cc"),
    *("esp-idf/main/idf_component.yml", "zephyr/CMakeLists.txt", "zephyr/prj.conf", "zephyr/src/main.cc"),
    *(f"arduino/kws/{name}" for name in ("kws.ino", "model_data.h", "model_data.cpp", "model_settings.h", "model_ops.h")),
    *(f"arduino/kws/{name}" for name in ("model_runner.h", "model_runner.cpp", "vectors.h")),
}
SOURCES = (
    *("model_data.cc", "model_runner.cc", "main.cc", "esp-idf/main/main.cc", "zephyr/src/main.cc"),
    *("arduino/kws/model_data.cpp", "arduino/kws/model_runner.cpp", "arduino/kws/kws.ino"),
)


def integers(scheme="int8"):
    return emit(mobile(), planned(mobile(), target="mcu", scheme=scheme))


def island():
    """int8, EXP in float32, int8."""
    fmt = Affine((1 / 64,), (3,))
    tensors = (
        *(Tensor(0, "x", (1, 8), fmt), Tensor(1, "r", (1, 8), Float()), Tensor(2, "e", (1, 8), Float())),
        Tensor(3, "y", (1, 8), Affine((1 / 8,), (-128,))),
    )
    ops = [Op(Dequantize(), (0,), (1,)), Op(Exp(), (1,), (2,)), Op(Quantize(), (2,), (3,))]
    return graph(tensors, ops, (0,), (3,))


def accumulator():
    """y = x + y of the call before."""
    fmt = Affine((0.5,), (0,))
    tensors = {i: Tensor(i, name, (1, 4), fmt) for i, name in enumerate(("x", "before", "y"))}
    states = (State("sum", 1, 2, np.zeros((1, 4), np.float32)),)
    return Graph(tensors, (Op(Add(), (0, 1), (2,)),), (0,), (2,), states=states)


def renamed():
    """1,024 bytes under three names, the first of them read at the end: three buffers without a plan, and two with it."""
    fmt = Affine((0.5,), (0,))
    constants = enumerate(([1, 32, 32], [1], [2, 3], [1]), 6)
    tensors = (
        *(Tensor(0, "x", (1, 1024), fmt), Tensor(1, "a", (1, 1024), fmt), Tensor(2, "b", (1, 32, 32), fmt)),
        *(Tensor(3, "c", (1, 1, 32, 32), fmt), Tensor(4, "u", (1, 1), fmt), Tensor(5, "v", (1,), fmt)),
        *(Tensor(i, f"k{i}", (len(data),), Index("int32"), np.int32(data)) for i, data in constants),
    )
    ops = [
        *(Op(Add(), (0, 0), (1,)), Op(Reshape(), (1, 6), (2,)), Op(ExpandDims(), (2, 7), (3,))),
        *(Op(Mean(), (3, 8), (4,)), Op(Mean(), (1, 9), (5,))),
    ]
    return graph(tensors, ops, (0,), (4, 5))


def saved(net, folder, name="net.tflite"):
    path = folder / name
    path.write_bytes(tflite.write(net, kernels=False))
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project that was verified: its model, its folder and what deploy said."""
    folder = tmp_path_factory.mktemp("tflm")
    path = saved(integers(), folder)
    return path, folder / "out", deploy(path, folder / "out", runtime="tflm", name="kws", verify=True, samples=20)


@pytest.fixture
def without_runtime(monkeypatch):
    """As if the wheel were not installed."""
    monkeypatch.setattr(micro.child, "call", lambda *_, **__: {"missing": True})


def values(text, name):
    """The rows of the array ``name`` in a file of C++."""
    body = re.search(rf"\b{name}\[.*?= \{{\n(.*?)\n\}};", text, re.DOTALL)[1]
    return [
        [float(x.removesuffix("f")) for x in re.findall(r"[^\s,{}]+", row)] for row in re.findall(r"{(.*?)}", body, re.DOTALL)
    ]


def written(out):
    """The .tflite that the C++ holds."""
    return bytes(int(byte, 16) for byte in re.findall(r"0x[0-9a-f]{2}(?=,)", (out / "model_data.cc").read_text()))


def constant(text, name):
    return re.search(rf"\b{name} = (.*?);", text)[1]


# ---- the op resolver ----------------------------------------------------------------------------------------------------


def test_methods_are_those_that_the_runtime_has():
    assert set(METHODS.values()) == DOCUMENTED
    assert len(set(METHODS.values())) == len(METHODS)


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("CONV_2D", "AddConv2D"),
        ("BATCH_MATMUL", "AddBatchMatMul"),
        ("CUMSUM", "AddCumSum"),
        ("PADV2", "AddPadV2"),
        ("SPACE_TO_BATCH_ND", "AddSpaceToBatchNd"),
        ("UNIDIRECTIONAL_SEQUENCE_LSTM", "AddUnidirectionalSequenceLSTM"),
        ("TFLM_DECODE", "AddDecode"),
    ],
)
def test_a_method_is_spelled_as_in_the_header(name, method):
    assert METHODS[name] == method


def test_every_kernel_that_runs_right_can_be_added():
    assert KERNELS.keys() <= METHODS.keys()


def test_an_op_without_a_method_is_named():
    net = draft((4,), lambda d, x: d(Gelu(), x))
    with pytest.raises(UnsupportedError, match=r"^GELU 'x1' has no kernel that MicroMutableOpResolver could add;"):
        resolved(net, tflite.write(net))


def test_operators_are_read_from_the_file():
    assert operators(tflite.write(island())) == ("DEQUANTIZE", "EXP", "QUANTIZE")
    data = tflite.write(accumulator())
    assert set(operators(data)) == {"CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ADD", "ASSIGN_VARIABLE"}
    assert resource_variables(data) == 1
    assert resource_variables(tflite.write(island())) == 0
    with pytest.raises(ModelError):
        operators(data[:200])


# ---- what is written ----------------------------------------------------------------------------------------------------


@needs_tflm
def test_the_folder_holds_every_file_and_one_record(made):
    _, out, _ = made
    assert {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()} == FILES | {"deploy.json"}


@needs_tflm
def test_the_model_is_in_it_byte_for_byte(made):
    path, out, _ = made
    text, header = (out / "model_data.cc").read_text(), (out / "model_data.h").read_text()
    content = written(out)
    assert "alignas(16) const unsigned char kData[kDataBytes] = {" in text
    assert content == path.read_bytes()  # whose arena no plan made smaller
    assert constant(header, "kDataBytes") == str(len(content))
    assert f'"{hashlib.sha256(content).hexdigest()}"' in header


@needs_tflm
def test_settings_are_those_of_the_graph(made):
    path, out, _ = made
    net, text = tflite.read(path), (out / "model_settings.h").read_text()
    for side, i, count in (("Input0", net.inputs[0], 8 * 8 * 3), ("Output0", net.outputs[0], 4)):
        fmt = net[i].format
        assert f"using {side} = int8_t;" in text
        assert constant(text, f"k{side}Count") == str(count)
        assert np.float32(constant(text, f"k{side}Scale").removesuffix("f")) == np.float32(fmt.scale[0])
        assert constant(text, f"k{side}ZeroPoint") == str(fmt.zero_point[0])
    assert constant(text, "kInputs") == constant(text, "kOutputs") == "1"


@needs_tflm
def test_the_resolver_adds_what_the_file_uses_and_no_more(made):
    path, out, deployed = made
    used = {op.kind.name for op in tflite.read(path).ops}
    text = (out / "model_ops.h").read_text()
    assert {METHODS[name] for name in used} == set(re.findall(r"resolver\.(\w+)\(\)", text))
    assert f"MicroMutableOpResolver<{len(used)}>" in text
    assert set(deployed.document["tflm"]["ops"]) == used


@needs_tflm
def test_the_arena_is_the_least_that_works(made):
    path, out, deployed = made
    path.with_name("held.tflite").write_bytes(written(out))
    record = deployed.document["tflm"]
    size = record["arena"]

    def allocates(bytes_):
        request = {"task": "allocate", "model": str(path.with_name("held.tflite")), "size": bytes_}
        return child.call("tflm_worker.py", request, what="TFLM", timeout=60)["allocates"]

    assert size % 16 == 0
    assert allocates(size)
    assert not allocates(size - 16)
    assert record["found"] == "bisection"
    assert record["code"] is None
    text = (out / "model_settings.h").read_text()
    assert constant(text, "kArenaBytes") == str(size)
    for words in ("not in 16 bytes less", "64-bit pointers"):
        assert words in " ".join((out / "README.md").read_text().split())
        assert words in text.replace("\n// ", " ")


@needs_tflm
def test_samples_come_out_as_the_real_one_has_them(made, tmp_path):
    _, out, deployed = made
    text = (out / "vectors.h").read_text()
    given = np.array(values(text, "kVectorsInput0"), np.int8).reshape(-1, 8, 8, 3)
    wanted = np.array(values(text, "kVectorsOutput0"), np.int8).reshape(-1, 4)
    assert constant(text, "kVectors") == str(len(given)) == "5"
    [[outputs]] = run_files.outputs([written(out)], [[given]], tmp_path, "tflm")
    assert_same(wanted, outputs)
    assert deployed.document["tflm"]["verified"] == {"samples": 20, "exact": 20, "against": "exact simulator"}
    assert deployed.is_exact
    assert "20 of 20 samples as in the exact simulator" in "\n".join(deployed.lines)


@needs_tflm
def test_the_record_is_what_was_told(made):
    _, out, deployed = made
    assert json.loads((out / "deploy.json").read_text()) == deployed.document
    assert deployed.document["arena"] is None  # of the C, which was not asked for


@needs_tflm
def test_given_samples_are_brought_along(made, tmp_path):
    path, _, _ = made
    x = images(3, seed=5)
    deploy(path, tmp_path / "out", runtime="tflm", data=x)
    text, fmt = (tmp_path / "out" / "vectors.h").read_text(), tflite.read(path)[tflite.read(path).inputs[0]].format
    stored = np.clip(np.rint(x / np.float32(fmt.scale[0])) + fmt.zero_point[0], -128, 127).reshape(3, -1)
    assert_same(np.array(values(text, "kVectorsInput0")), stored.astype(np.float64))


@needs_tflm
def test_a_plan_of_the_arena_is_written_where_it_saves(tmp_path):
    path = saved(renamed(), tmp_path)
    record = deploy(path, tmp_path / "out", runtime="tflm", verify=True, samples=4).document["tflm"]
    assert record["unplanned"] == tflm.arena(path, 1 << 14).bytes
    assert record["activations"] == 2 * 1024
    assert record["arena"] <= record["unplanned"] - 900  # of 1,024, as the plan itself is kept
    assert record["verified"] == {"samples": 4, "exact": 4, "against": "exact simulator"}
    in_file = written(tmp_path / "out")
    assert b"OfflineMemoryAllocation" in in_file
    assert sorted(op.kind.name for op in tflite.read(in_file).ops) == ["ADD", "EXPAND_DIMS", "MEAN", "MEAN", "RESHAPE"]
    assert f"without, it takes {record['unplanned']:,}" in (tmp_path / "out" / "README.md").read_text()
    header = (tmp_path / "out" / "model_data.h").read_text()
    assert hashlib.sha256(in_file).hexdigest() in header


@needs_tflm
def test_what_cmake_names_is_there(made):
    _, out, _ = made
    for name in ("esp-idf/main/CMakeLists.txt", "zephyr/CMakeLists.txt"):
        named = re.findall(r"[\w./]+\.cc", (out / name).read_text())
        assert len(named) == 3
        assert all((out / name).parent.joinpath(source).is_file() for source in named)
    assert "espressif/esp-tflite-micro:" in (out / "esp-idf/main/idf_component.yml").read_text()
    assert "CONFIG_TENSORFLOW_LITE_MICRO=y" in (out / "zephyr/prj.conf").read_text()


@needs_tflm
def test_both_runtimes_lie_beside_each_other(made, tmp_path):
    path, _, one = made
    both = deploy(path, tmp_path / "out", runtime="both", name="kws")
    below = tmp_path / "out" / "tflm"
    assert {p.relative_to(below).as_posix() for p in below.rglob("*") if p.is_file()} == FILES
    assert (tmp_path / "out" / "kws.c").is_file()
    assert both.document["arena"] > 0
    assert both.document["tflm"] == one.document["tflm"] | {"verified": None}
    deploy(path, tmp_path / "out", name="kws", overwrite=True)
    assert json.loads((tmp_path / "out" / "deploy.json").read_text())["tflm"] is None


# ---- the C++ is C++ -----------------------------------------------------------------------------------------------------


@needs_tflm
def test_the_sources_compile(made, tmp_path):
    _, out, _ = made
    assert_compiles(out, SOURCES, tmp_path, DOCUMENTED)


@needs_tflm
def test_states_become_resource_variables(tmp_path):
    deployed = deploy(saved(accumulator(), tmp_path), tmp_path / "out", runtime="tflm", name="kws", verify=True, samples=6)
    assert deployed.document["tflm"]["verified"]["exact"] == 6
    assert "MicroResourceVariables::Create(allocator, 1)" in (tmp_path / "out" / "model_runner.cc").read_text()
    assert_compiles(tmp_path / "out", SOURCES, tmp_path / "stubs", DOCUMENTED)


HOSTILE = 'a */ // b\\\n"%s" ??/ é'


def test_names_and_labels_may_be_anything(tmp_path):
    net = requantize(Affine((0.5,), (1,)), Affine((0.25,), (-3,)), (1, 2))
    net = graph((Tensor(0, HOSTILE, (1, 2), net[0].format), net[1]), net.ops, (0,), (1,))
    text = Text("kws", f"{HOSTILE}.tflite", "00", (HOSTILE, "x"))
    vectors = Vectors((np.int8([[[1, 2]]]),), (np.int8([[[3, 4]]]),), "A test.")
    project = Project(text, b"\x01\xff", ports(net), ("QUANTIZE",), Arena(16, "A test"), vectors)
    for path, written in files_of(project).items():
        assert path == "README.md" or written.isascii()
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(written)
    assert_compiles(tmp_path, SOURCES, tmp_path / "stubs", DOCUMENTED)


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "1.0f"), (1 / 255, "0.00392156886f"), (1e-30, "1.00000000e-30f"), (np.inf, "INFINITY"), (-np.inf, "-INFINITY")],
)
def test_real_numbers_in_cpp(value, text):
    assert real(value).replace("1e-30f", "1.00000000e-30f") == text
    assert real(np.nan) == "NAN"


# ---- other numbers than int8 ---------------------------------------------------------------------------------------------


@needs_tflm
def test_int16_is_compared_with_the_simulator(tmp_path):
    deployed = deploy(saved(integers("int16x8"), tmp_path), tmp_path / "out", runtime="tflm", verify=True, samples=4)
    assert deployed.document["tflm"]["verified"] == {"samples": 4, "exact": 4, "against": "exact simulator"}
    assert "using Input0 = int16_t;" in (tmp_path / "out" / "model_settings.h").read_text()


@needs_tflm
@pytest.mark.parametrize(("steps", "against"), [(1, "exact simulator"), (5, "ample arena")])
def test_a_layer_that_goes_on_from_call_to_call_is_compared_with_itself(tmp_path, steps, against):
    net = lstm(1, steps, state=steps == 1)
    deployed = deploy(saved(net, tmp_path), tmp_path / "out", runtime="tflm", verify=True, samples=4)
    assert deployed.document["tflm"]["verified"] == {"samples": 4, "exact": 4, "against": against}


@needs_tflm
def test_ops_in_float_are_told_and_given_some_room(tmp_path):
    deployed = deploy(saved(island(), tmp_path), tmp_path / "out", runtime="tflm", name="kws")
    assert deployed.document["tflm"]["float_ops"] == 1
    assert deployed.notes == ("1 op in float32, on TensorFlow Lite Micro's float kernels, EXP 't2' first",)
    assert deployed.notes[0] in (tmp_path / "out" / "README.md").read_text()
    assert "apart >= -1 && apart <= 1" in (tmp_path / "out" / "model_runner.cc").read_text()
    assert_compiles(tmp_path / "out", SOURCES, tmp_path / "stubs", DOCUMENTED)


def packed():
    """The file of 32 x 64 weights of four values: two bits each."""
    draw, fmt = np.random.default_rng(0), Affine((0.5,), (0,))
    weights = draw.choice(np.int8([-90, -20, 35, 100]), (32, 64))
    tensors = (
        *(Tensor(0, "x", (1, 64), fmt), Tensor(1, "w", (32, 64), Affine((0.01,), (0,)), weights)),
        Tensor(2, "y", (1, 32), Affine((1.0,), (0,))),
    )
    net = graph(tensors, [Op(FullyConnected(), (0, 1, None), (2,))], (0,), (2,))
    return tflite.write(net, packed=True)


@needs_tflm
def test_packed_weights_are_decoded(tmp_path):
    path = tmp_path / "net.tflite"
    path.write_bytes(packed())
    record = deploy(path, tmp_path / "out", runtime="tflm", verify=True, samples=5).document["tflm"]
    assert record["ops"] == ["TFLM_DECODE", "FULLY_CONNECTED"]
    assert record["verified"] == {"samples": 5, "exact": 5, "against": "exact simulator"}
    assert "resolver.AddDecode()" in (tmp_path / "out" / "model_ops.h").read_text()
    assert written(tmp_path / "out") == path.read_bytes()


# ---- without the runtime -------------------------------------------------------------------------------------------------


@needs_tflm
@pytest.mark.usefixtures("without_runtime")
@pytest.mark.parametrize("content", [lambda: tflite.write(integers()), lambda: tflite.write(accumulator()), packed])
def test_the_estimate_is_named_one_and_is_enough(tmp_path, content, monkeypatch):
    path = tmp_path / "net.tflite"
    path.write_bytes(content())
    deployed = deploy(path, tmp_path / "out", runtime="tflm")
    record = deployed.document["tflm"]
    monkeypatch.undo()
    assert record["found"] == "estimate"
    assert record["arena"] % 16 == 0
    least = tflm.arena(path, 1 << 14).bytes
    assert least <= record["arena"] <= 2 * least + 2048
    assert "An upper estimate of the arena and no measurement" in (tmp_path / "out" / "model_settings.h").read_text()
    assert "(an upper estimate, not measured)" in deployed.lines[0]
    assert "pip install tflite-micro" in deployed.notes[0]


@pytest.mark.usefixtures("without_runtime")
def test_samples_come_from_the_simulator_then(tmp_path):
    net = requantize(Affine((0.5,), (1,)), Affine((0.25,), (-3,)))
    deploy(saved(net, tmp_path), tmp_path / "out", runtime="tflm")
    text = (tmp_path / "out" / "vectors.h").read_text()
    x, y = (np.array(values(text, f"kVectors{side}0")) for side in ("Input", "Output"))
    assert_same(y, np.clip(2 * (x - 1) - 3, -128, 127))  # 0.5 (x - 1) = 0.25 (y + 3)


@pytest.mark.usefixtures("without_runtime")
def test_what_takes_the_runtime_says_what_to_install(tmp_path):
    path, real = saved(integers(), tmp_path), saved(island(), tmp_path, "real.tflite")
    with pytest.raises(MissingToolError, match=r"--verify runs it; type: pip install tflite-micro"):
        deploy(path, tmp_path / "out", runtime="tflm", verify=True)
    with pytest.raises(MissingToolError, match=r"real\.tflite: TensorFlow Lite Micro alone knows .*type: pip install"):
        deploy(real, tmp_path / "out", runtime="tflm")
    assert not (tmp_path / "out").exists()


# ---- bad input -----------------------------------------------------------------------------------------------------------


@needs_tflm
def test_samples_that_differ_are_no_success(tmp_path, monkeypatch):
    simulated = deploy_tflm.simulated

    def other(net, inputs):
        (y,) = simulated(net, inputs)
        y[1] += 1
        return (y,)

    monkeypatch.setattr(deploy_tflm, "simulated", other)
    deployed = deploy(saved(integers(), tmp_path), tmp_path / "out", runtime="tflm", verify=True, samples=3)
    assert deployed.document["tflm"]["verified"]["exact"] == 2
    assert not deployed.is_exact


@needs_tflm
def test_a_file_that_kills_the_runtime_is_refused(tmp_path):
    path = saved(softmax(2.0**-27), tmp_path)
    with pytest.raises(UnsupportedError, match=r"net\.tflite: SOFTMAX 'y' aborts TensorFlow Lite Micro: .* is 7\.45e-09, and"):
        deploy(path, tmp_path / "out", runtime="tflm")
    assert not (tmp_path / "out").exists()


@needs_tflm
def test_a_softmax_is_refused_where_the_runtime_aborts(tmp_path):
    for scale, aborts in ((2.0**-25, False), (2.0**-26, True)):
        with pytest.raises(ModelError, match=r"it died of signal 6") if aborts else nullcontext():
            tflm.arena(saved(softmax(scale), tmp_path), 1 << 14)
        with pytest.raises(UnsupportedError) if aborts else nullcontext():
            check_softmax(softmax(scale))


@needs_tflm
def test_what_does_not_fit_is_told_with_the_bytes(made, tmp_path):
    path, _, deployed = made
    size, arena = path.stat().st_size, deployed.document["tflm"]["arena"]
    with pytest.raises(UnsupportedError, match=rf"the model alone takes .*, {100} bytes more than there are"):
        deploy(path, tmp_path / "out", runtime="tflm", flash=size - 100)
    with pytest.raises(UnsupportedError, match=rf"its arena takes .*, {50} bytes more than there are"):
        deploy(path, tmp_path / "out", runtime="tflm", ram=arena - 50)


def test_more_than_a_file_can_hold_is_refused(tmp_path):
    path = tmp_path / "huge.tflite"
    with path.open("wb") as file:
        file.truncate((2 << 30) + 1)
    with pytest.raises(ModelError, match=r"huge\.tflite: is 2,147,483,649 bytes, and a model has at most"):
        deploy(path, tmp_path / "out", runtime="tflm")


@needs_tflm
def test_what_the_runtime_does_not_take_is_refused_with_its_reason(tmp_path):
    net = requantize(Affine((0.5,), (1,)), Affine((0.25,), (0,), "uint8"))
    net = graph((replace(net[0], format=Affine((0.5,), (1,), "uint8")), net[1]), net.ops, (0,), (1,))
    with pytest.raises(UnsupportedError, match=r"QUANTIZE '\w+' does not run in TensorFlow Lite Micro \(.*type --runtime c$"):
        deploy(saved(net, tmp_path), tmp_path / "out", runtime="tflm")


def test_an_unknown_runtime_is_refused(tmp_path):
    with pytest.raises(OptionError, match=r"--runtime with one of: c, tflm, both"):
        deploy(Path("net.tflite"), tmp_path / "out", runtime="tflite")
