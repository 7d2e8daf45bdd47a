"""What is written for microcontrollers runs in TensorFlow Lite Micro, or is refused with the op and the reason."""

import dataclasses
import importlib.util
import re
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import run_files
import torch
from ai_edge_litert import schema_py_generated as schema
from drafts import draft, normal
from micro_cases import BYTES, FORMATS, QUANTIZED, of_rank, samples
from small_graphs import fully_connected, graph, softmax

from intact import data as samples_of
from intact import quantize
from intact.deploy import micro
from intact.deploy.micro import KERNELS, refusals, require, types
from intact.errors import ChildError, OptionError, UnsupportedError
from intact.formats import tflite
from intact.network.graph import Op, Tensor
from intact.numbers.affine import Affine, Index, dequantize_array, quantize_array
from intact.ops import KINDS
from intact.ops.call import as_tuple
from intact.ops.convolution import Conv2D
from intact.ops.logic import Less, SelectV2
from intact.ops.quantization import Quantize
from intact.ops.shaping import Gather, StridedSlice
from intact.planning.targets import TARGETS
from intact.run.settings import Settings

NETWORKS = Path(__file__).parents[1] / "networks"
WRITER = import_module("intact.formats.tflite.write")  # tflite.write itself is the function

needs_tflm = pytest.mark.skipif(
    importlib.util.find_spec("tflite_micro") is None,
    reason="the microcontroller runtime is not installed; type: pip install tflite-micro",
)


# ---- the table ----------------------------------------------------------------------------------------------------------

#: What the runtime takes and computes right in these files, and the table leaves out all the same.
LEFT_OUT = {
    "int8 and int16 clamp without requantizing: right in one format only": {("RELU6", "int8"), ("RELU6", "int16")},
    "a divisor may be a stored zero": {("DIV", "int8")},
    "pads with the stored 0, and wrongly in float32": {("SPACE_TO_BATCH_ND", "int8"), ("SPACE_TO_BATCH_ND", "float32")},
    "requantizes to steps of 1/256, whatever the scale": {
        (kind, f"{name}>bool")
        for kind in ("EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL", "NOT_EQUAL")
        for name in ("int8", "int16")
    },
    "stored integers are taken for numbers": {
        *(("CAST", f"{name}>{made}") for name in ("int8", "int16") for made in ("bool", "int32", "float32")),
    },
    "right up to rank 6, where that of float32 aborts beyond 4": {("PRELU", "int8")},
    "half right: 1 to 3 steps off, more in some shapes": {("SQUARED_DIFFERENCE", "int16")},
}
KNOWN = set().union(*LEFT_OUT.values())


def cases(rank):
    """Label and graph of every kind in every type at ``rank``."""
    for case in of_rank(rank):
        for name in FORMATS:
            outs = QUANTIZED if isinstance(case.kind, Quantize) else (None,)
            for out in outs:
                made = case.graph(name, out)
                # whole numbers without a scale are none that could be quantized: such a graph is refused whole
                if made is not None and not (out and isinstance(made[made.inputs[0]].format, Index)):
                    yield f"{case.kind.name} {types(made, made.ops[0])}", made


def _real(stored, fmt):
    return dequantize_array(stored, fmt) if isinstance(fmt, Affine) else stored


def _stored(real, fmt):
    return quantize_array(np.asarray(real, np.float32), fmt) if isinstance(fmt, Affine) else real


def right(net, given, made):
    """Within a step of the real numbers, or the same whole numbers."""
    (op,) = net.ops
    stored = dict(zip(net.inputs, given, strict=True)) | {t.id: t.data for t in net.constants()}
    reads = [_real(np.asarray(stored[i]), net[i].format) for i in op.inputs]
    computed = as_tuple(op.kind.compute(*(torch.from_numpy(np.array(x)) for x in reads)))
    formats = [net[i].format for i in net.outputs]
    expected = [_real(_stored(y.numpy(), fmt), fmt) for y, fmt in zip(computed, formats, strict=True)]
    for i, y, wanted in zip(net.outputs, made, expected, strict=True):
        fmt = net[i].format
        real_y = _real(y, fmt)
        allowed = 1e-4 if not isinstance(fmt, Affine) else (1.01 if fmt.dtype == "int8" else 2.01) * fmt.scale[0]
        if y.shape != wanted.shape or np.abs(real_y.astype(np.float64) - wanted).max(initial=0) > allowed:
            return False
    return True


@needs_tflm
@pytest.mark.parametrize("rank", [1, 3, 4, 5, 6])
def test_the_table_and_the_runtime_agree_on_every_kind_type_and_rank(tmp_path, rank):
    found = list(cases(rank))
    given = [samples(net) for _, net in found]
    ran = run_files.outputs([tflite.write(net) for _, net in found], given, tmp_path, "tflm")
    wrong = []
    for (label, net), x, made in zip(found, given, ran, strict=True):
        listed = not list(refusals(net))
        runs = not isinstance(made, str) and right(net, x, made)
        known = tuple(label.split(" ", 1)) in KNOWN
        if listed != runs and not (known and not listed):
            wrong.append(
                f"{label} of rank {rank}: the table says {listed}, the runtime {made if isinstance(made, str) else runs}"
            )
    assert not wrong
    assert len(found) > 300


def test_every_kind_of_the_target_is_in_the_table():
    target = TARGETS["mcu"]
    for kind in target.kinds("int8"):
        assert "int8" in {t.partition(">")[0] for t in KERNELS[kind].types}
    for kind in target.kinds("int16"):
        assert "int16" in {t.partition(">")[0] for t in KERNELS[kind].types}
    assert set(KERNELS) <= set(KINDS)


@needs_tflm
def test_op_versions_do_not_matter_to_the_runtime(monkeypatch):
    net = planned(fully_connected())
    monkeypatch.setattr(WRITER, "version", lambda *_: 99)
    assert require(net, tflite.write(net)).asked


# ---- asking -------------------------------------------------------------------------------------------------------------


def planned(net, **settings):
    """The graph that is written for a microcontroller."""
    from intact.planning.integer_graph import emit  # noqa: PLC0415
    from intact.planning.planner import make_plan  # noqa: PLC0415
    from intact.simulate.calibrate import observe  # noqa: PLC0415  # beside its one use

    draw = np.random.default_rng(0)
    x = {
        n: draw.normal(size=(4, *net[i].shape[1:])).astype(np.float32) for n, i in zip(net.input_names, net.inputs, strict=True)
    }
    ranges = {i: o.extremes for i, o in observe(net, lambda: [x]).items()}
    return emit(net, make_plan(net, ranges, Settings(target="mcu", **settings).request()))


def picks():
    """A number of 5 rows by an id in int32 that is chosen by SELECT_V2, which takes no whole numbers there."""
    tensors = (
        Tensor(0, "id", (1, 2), Index("int32")),
        Tensor(1, "zero", (), Index("int32"), np.asarray(0, np.int32)),
        Tensor(2, "negative", (1, 2), Index("bool")),
        Tensor(3, "chosen", (1, 2), Index("int32")),
        Tensor(4, "table", (5, 3), data=normal(5, 3)),
        Tensor(5, "y", (1, 2, 3)),
    )
    ops = [Op(Less(), (0, 1), (2,)), Op(SelectV2(), (2, 1, 0), (3,)), Op(Gather(), (4, 3), (5,))]
    return graph(tensors, ops, (0,), (5,))


@needs_tflm
def test_a_refusal_names_the_op_the_reason_and_what_to_do():
    net = picks()
    said = r"SELECT_V2 'chosen' does not run in TensorFlow Lite Micro \(Does not support type other than int8\|int16\|float32, "
    with pytest.raises(UnsupportedError, match=said + r"but got INT32\); change the model, or type --target cpu"):
        require(net, tflite.write(net))


def test_ops_are_numbered_as_the_file_has_them():
    """A file that keeps a state begins with ops of its own, by which the runtime counts along."""
    net = tflite.read(NETWORKS / "gru_streaming.tflite")
    data = tflite.write(net)
    model = schema.Model.GetRootAs(data, 0)
    body, layer = model.Subgraphs(0), schema.BuiltinOperator.FULLY_CONNECTED
    codes = [model.OperatorCodes(body.Operators(n).OpcodeIndex()).BuiltinCode() for n in range(body.OperatorsLength())]
    numbers = [n for n, code in enumerate(codes) if code == layer]
    layers = [op for op in net.ops if op.kind.name == "FULLY_CONNECTED"]
    assert len(numbers) == len(layers) == 3
    assert net.ops[numbers[0]] != layers[0]
    for number, op in zip(numbers, layers, strict=True):
        said = f"it says why\nNode FULLY_CONNECTED (number {number}) failed to prepare with status 1\n"
        assert micro._named(net, data, said) == net.label(op)
    assert micro._named(net, data, "Node FULLY_CONNECTED (number 999f) failed to invoke") == ""
    assert micro._named(net, data, "Didn't find op for builtin opcode 'FULLY_CONNECTED'") == net.label(layers[0])


def test_without_the_runtime_the_table_refuses_the_same(monkeypatch):
    monkeypatch.setattr(micro, "_ask", lambda *_: None)
    net = picks()
    with pytest.raises(UnsupportedError, match=r"SELECT_V2 'chosen' .* \(its kernel does not take int32\); change the model"):
        require(net, tflite.write(net))
    taken = planned(fully_connected())
    assert "pip install tflite-micro" in require(taken, tflite.write(taken)).advice


@needs_tflm
def test_what_runs_needs_no_advice():
    for net in (fully_connected(), planned(fully_connected()), planned(fully_connected(), scheme="w4a8")):
        assert require(net, tflite.write(net)) == micro.Answer(asked=True)
        assert not list(refusals(net))


@needs_tflm
def test_a_kernel_that_aborts_is_a_refusal():
    net = softmax(scale=2.0**-30)
    with pytest.raises(UnsupportedError, match=r"TensorFlow Lite Micro died of SIGABRT.*; change the model"):
        require(net, tflite.write(net))


def test_a_missing_runtime_is_told_from_one_that_fails(monkeypatch):
    net = fully_connected()
    monkeypatch.setattr(micro.child, "call", lambda *_, **__: {"missing": True})
    assert not require(net, tflite.write(net)).asked

    def dies(*_, **__):
        raise ChildError("TensorFlow Lite Micro died of SIGSEGV")

    monkeypatch.setattr(micro.child, "call", dies)
    with pytest.raises(UnsupportedError, match="the model: TensorFlow Lite Micro died of SIGSEGV"):
        require(net, tflite.write(net))


def test_hybrid_weights_are_not_in_the_table():
    net = planned(fully_connected())
    tensors = {i: dataclasses.replace(t, format=FORMATS["float32"]) if not t.is_constant else t for i, t in net.tensors.items()}
    ((_, why),) = refusals(dataclasses.replace(net, tensors=tensors))
    assert why == "its kernel does not take float32 with int8"


def test_a_byte_that_stands_for_a_number_is_converted():
    tensors = (Tensor(0, "x", (1,), BYTES), Tensor(1, "y", (1,), FORMATS["int8"]))
    net = graph(tensors, [Op(Quantize(), (0,), (1,))], (0,), (1,))
    assert types(net, net.ops[0]) == "uint8>int8"


# ---- options ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "why"), [("float16", "no DEQUANTIZE of float16"), ("dynamic", "no kernels for int8 weights")]
)
def test_schemes_that_the_runtime_has_no_kernels_for_are_refused(scheme, why):
    said = (
        rf"--scheme {scheme} cannot be had with --target mcu: .*{re.escape(why)}.*; type --scheme int8 for mcu, or --target cpu"
    )
    with pytest.raises(OptionError, match=said):
        Settings(scheme=scheme, target="mcu")
    Settings(scheme=scheme, target="cpu")


@needs_tflm
@pytest.mark.parametrize("scheme", ["float32", "int8", "w4a8", "int16x8"])
def test_every_other_scheme_gives_a_file_that_runs(tmp_path, scheme):
    net = draft((6, 6, 3), lambda d, x: d(Conv2D(padding="same"), x, normal(4, 3, 3, 3), normal(4)))
    path = tmp_path / "net.tflite"
    path.write_bytes(tflite.write(net))
    x = np.random.default_rng(0).normal(size=(8, 6, 6, 3)).astype(np.float32)
    result = quantize(path, samples_of.arrays(x), scheme=scheme, target="mcu", measure=False)
    assert require(result.graph, result.model).asked
    assert "not run on device" not in {f.kind for f in result.findings}


@needs_tflm
def test_a_refusal_comes_before_anything_is_written(tmp_path):
    path = tmp_path / "net.tflite"
    ends, every = [1, 4, 4, 4, 4], [1, 2, 1, 1, 1]
    path.write_bytes(
        tflite.write(draft((4, 4, 4, 4), lambda d, x: d(StridedSlice(begin_mask=1, end_mask=1), x, [0] * 5, ends, every)))
    )
    x = np.random.default_rng(0).normal(size=(8, 4, 4, 4, 4)).astype(np.float32)
    with pytest.raises(UnsupportedError, match=r"STRIDED_SLICE .* does not run in TensorFlow Lite Micro \("):
        quantize(path, samples_of.arrays(x), target="mcu")
    assert list(tmp_path.iterdir()) == [path]
