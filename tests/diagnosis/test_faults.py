"""A fault planted in an integer file is named with its op, before anything that follows from it."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from drafts import draft, normal
from nets import images, mobile
from remedy_nets import chain, rescaled_channels
from typer.testing import CliRunner

import intact
from intact.cli.app import app
from intact.diagnosis.counterparts import find_counterparts
from intact.diagnosis.trace import decibels
from intact.errors import OptionError
from intact.formats import tflite
from intact.network.graph import Graph, Op, Tensor
from intact.numbers.affine import Index, bias_format
from intact.ops.activation import HardSwish, Relu
from intact.ops.convolution import Conv2D
from intact.ops.elementwise import Add
from intact.ops.matmul import FullyConnected
from intact.ops.pooling import MaxPool2D
from intact.ops.shaping import Reshape
from intact.runtime.litert import run
from intact.simulate.engine import Program

SIDE = 16
#: The weighted ops of ``mobile`` by output name, with their weight and bias.
WEIGHTED = {"CONV_2D 't3'": (1, 2), "DEPTHWISE_CONV_2D 't6'": (4, 5), "FULLY_CONNECTED 't12'": (10, 11)}


def data(n=96, seed=3, of=lambda x: x):
    return intact.data.arrays(of(images(n, seed, SIDE)))


def quantized(net, calibration=None, **options):
    """The integer network, tensors under the ids of ``net``, as Intact writes it; plain, if no remedies are named."""
    return intact.quantize(net, calibration or data(), measure=False, **{"remedies": "none", **options}).graph


def by_name(graph, name):
    return next(t for t in graph.tensors.values() if t.name == name)


def changed(graph, *tensors):
    return replace(graph, tensors={**graph.tensors, **{t.id: t for t in tensors}})


def scaled(t, factor):
    """The tensor with its scale, or each channel's, times ``factor``; its integers stay."""
    scale = np.asarray(t.format.scale) * factor
    return replace(t, format=replace(t.format, scale=tuple(scale.tolist())))


@pytest.fixture
def diagnosed(tmp_path):
    def of(integer, net, samples=None, **options):
        (tmp_path / "int8.tflite").write_bytes(tflite.write(integer, kernels=False))
        (tmp_path / "float.tflite").write_bytes(tflite.write(net))
        return intact.diagnose_file(tmp_path / "int8.tflite", samples or data(), against=tmp_path / "float.tflite", **options)

    return of


def first(found):
    assert found.symptoms, "nothing was found"
    return found.symptoms[0]


@pytest.fixture(scope="module")
def net():
    return mobile(seed=5, side=SIDE)


@pytest.fixture(scope="module")
def sound(net):
    return quantized(net)


@pytest.mark.parametrize("target", ["cpu", "mcu"])
@pytest.mark.parametrize("scheme", ["int8", "w4a8"])
def test_a_sound_file_has_nothing_to_complain_of(net, diagnosed, scheme, target):
    found = diagnosed(quantized(net, scheme=scheme, target=target), net, target=target)
    assert found.symptoms == ()
    assert [row.op.split()[0] for row in found.activations] == ["input", *(op.kind.name for op in net.ops)]
    floor = 10 if scheme == "w4a8" else 20
    assert all(v > floor for row in found.activations for v in (row.simulated, row.runtime, row.own) if v is not None)


@pytest.mark.parametrize("factor", [0.5, 4.0])
@pytest.mark.parametrize("op", WEIGHTED)
def test_a_wrong_weight_scale(net, sound, diagnosed, op, factor):
    w, b = WEIGHTED[op]
    wrong = scaled(sound[w], factor)
    flow = next(o.inputs[0] for o in sound.ops if w in o.reads)
    bias = replace(sound[b], format=bias_format(sound[flow].format, wrong.format))  # consistent, so that any reader takes it
    for integer in (changed(sound, wrong), changed(sound, wrong, bias)):
        found = diagnosed(integer, net)
        assert first(found).where == op
        assert f"its weights are {factor:g} times the float file's" in first(found).what
        own = {row.op: row.own for row in found.activations if row.own is not None}
        assert min(own, key=own.get) == op, "successors are true to their own inputs"


@pytest.mark.parametrize("kind", ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"])
def test_a_wrong_weight_scale_beside_an_equalization(diagnosed, kind):
    net = chain()
    rescaled = quantized(rescaled_channels(net, np.float32([1, 2, 3, 1, 0.5, 0.4, 1, 2])))
    op = next(op for op in rescaled.ops if op.kind.name == kind)
    found = diagnosed(changed(rescaled, scaled(rescaled[op.inputs[1]], 2.0)), net)
    assert first(found).where.split()[0] == kind
    assert "its weights are 2 times the float file's" in first(found).what


@pytest.mark.parametrize("op", WEIGHTED)
def test_one_channel_of_a_weight_a_thousand_times_too_large(net, sound, diagnosed, op):
    w, _ = WEIGHTED[op]
    channels = np.ones(len(sound[w].format.scale))
    if len(channels) == 1:
        pytest.skip("one scale for all channels")
    channels[1] = 1000
    found = first(diagnosed(changed(sound, scaled(sound[w], channels)), net))
    assert found.where == op
    assert re.fullmatch(r"the weights of channel 1 are (999|1e\+03) times the float file's", found.what)


@pytest.mark.parametrize("op", WEIGHTED)
def test_a_zeroed_bias(net, sound, diagnosed, op):
    _, b = WEIGHTED[op]
    found = first(diagnosed(changed(sound, replace(sound[b], data=np.zeros_like(sound[b].data))), net))
    assert found.where == op
    assert found.what == "its bias is zero, and not in the float file"
    assert "quantize it anew" in found.advice


def test_a_bias_in_other_units(net, sound, diagnosed):
    bias = replace(sound[5], data=(sound[5].data * 5).astype(np.int32))
    found = first(diagnosed(changed(sound, bias), net))
    assert found.where == "DEPTHWISE_CONV_2D 't6'"
    assert "its bias is not the float file's" in found.what


@pytest.mark.parametrize("factor", [0.25, 0.5, 2.0, 4.0])
def test_a_wrong_activation_scale_that_the_next_bias_betrays(net, sound, diagnosed, factor):
    found = first(diagnosed(changed(sound, scaled(sound[3], factor)), net))
    assert found.where == "CONV_2D 't3'"
    right = sound[3].format.scale[0]
    assert found.what == f"its scale is {factor * right:.4g}, and DEPTHWISE_CONV_2D 't6' behind it was made for {right:.4g}"


@pytest.mark.parametrize(("name", "op"), [("t3", "CONV_2D"), ("t6", "DEPTHWISE_CONV_2D"), ("t7", "ADD"), ("t12", "FULLY_")])
def test_a_range_that_is_too_narrow(net, sound, diagnosed, name, op):
    narrow = scaled(by_name(sound, name), 0.2)
    tensors = [narrow]
    for o in sound.ops:  # the biases that count in its units are made for it
        if narrow.id in o.reads and o.kind.weight is not None:
            w, b = (o.inputs[n] for n in (o.kind.weight.input, o.kind.weight.bias))
            fmt = bias_format(narrow.format, sound[w].format)
            real = sound[b].data * np.asarray(sound[b].format.scale)
            tensors.append(replace(sound[b], format=fmt, data=np.round(real / np.asarray(fmt.scale)).astype(np.int32)))
    found = first(diagnosed(changed(sound, *tensors), net))
    assert found.where.startswith(op)
    assert f"'{name}'" in found.where
    assert "is too narrow: the float network's values go from" in found.what
    assert re.search(r"[\d.]+ % of its integers are at that end of the type", found.what)
    assert "calibrate on samples like these" in found.advice


def test_a_range_that_is_too_wide(net, sound, diagnosed):
    found = first(diagnosed(changed(sound, scaled(by_name(sound, "t12"), 64.0)), net))
    assert found.where == "FULLY_CONNECTED 't12'"
    assert "is too wide" in found.what


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (
            lambda x: (x + 1) * 127.5,
            "too wide: the float network's values go from -1 to 1, and 7.0 bits are never used; it fits pixels mapped to 0,255",
        ),
        (lambda x: (x + 1) / 2, "is too narrow"),
        (lambda x: x / 20, "is too narrow"),
    ],
)
def test_calibration_on_other_preprocessing(net, diagnosed, wrong, says):
    found = diagnosed(quantized(net, data(of=wrong)), net)
    assert first(found).where == "input"
    assert says in first(found).what
    assert "calibrated on other preprocessing" in first(found).advice
    assert len(found.symptoms) == 1


def test_ranges_off_behind_a_right_input(net, sound, diagnosed):
    """As when the input's scale was set by hand after calibration on other samples."""
    wrong = quantized(net, data(of=lambda x: x / 20))
    tensors = [replace(t, format=sound[t.id].format) for t in wrong.tensors.values() if t.id == sound.inputs[0]]
    bias = replace(wrong[2], format=sound[2].format, data=sound[2].data)
    found = first(diagnosed(changed(wrong, *tensors, bias), net))
    assert found.where == "input"
    assert "activations do not fit these samples, first CONV_2D 't3'" in found.what


def test_one_channel_of_the_network_a_thousand_times_too_large(diagnosed):
    net = rescaled_channels(chain(), np.float32([1, 1, 1000, 1, 1, 1, 1, 1]))
    found = first(diagnosed(quantized(net), net))
    assert found.where == "CONV_2D 't3'"
    assert "channel 2 is" in found.what
    assert "--remedies equalize" in found.advice


def test_equalization_is_no_fault(diagnosed):
    net = chain()
    rescaled = rescaled_channels(net, np.float32([1, 2, 3, 1, 0.5, 0.4, 1, 2]))
    found = diagnosed(quantized(rescaled), net)
    assert found.symptoms == ()
    rows = {row.op: row for row in found.activations}
    assert rows["CONV_2D 't3'"].rescaled
    assert rows["CONV_2D 't3'"].runtime is None
    assert rows["DEPTHWISE_CONV_2D 't6'"].runtime > 25


def test_an_equalization_is_followed_through_ops_that_move_channels(diagnosed):
    """The convolution's channels lie one behind the other in what the dense layer reads, 16 times."""
    net, factors = pooled(), np.float32([1, 4, 0.25, 2])
    w, b, v = net[1], net[2], net[7]
    tensors = (
        replace(w, data=w.data / factors.reshape(-1, 1, 1, 1)),
        replace(b, data=b.data / factors),
        replace(v, data=v.data * np.tile(factors, 16)),
    )
    found = diagnosed(quantized(changed(net, *tensors)), net)
    assert found.symptoms == ()
    assert [row.op for row in found.activations if row.rescaled] == ["CONV_2D 't3'", "MAX_POOL_2D 't4'", "RESHAPE 't6'"]


def test_a_file_that_the_runtime_refuses_is_read_all_the_same(net, diagnosed):
    """The reference kernels ask that a bias fit its input's scale."""
    integer = quantized(net, target="mcu")
    found = diagnosed(changed(integer, scaled(integer[9], 20.0)), net, target="mcu")
    assert first(found).where == "MEAN 't9'"
    assert "FULLY_CONNECTED 't12' behind it was made for" in first(found).what
    assert found.symptoms[1].where == "the file"
    assert "it does not run: LiteRT cannot load it" in found.symptoms[1].what
    assert all(row.runtime is None for row in found.activations)


# ---- what the runtime does, and what an op does by itself ---------------------------------------------------------------


def pooled():
    """CONV_2D, MAX_POOL_2D, RESHAPE, FULLY_CONNECTED: two ops whose kernels copy integers."""
    draw = np.random.default_rng(4)
    tensors = [
        Tensor(0, "image", (None, SIDE, SIDE, 3)),
        Tensor(1, "w", (4, 3, 3, 3), data=draw.normal(0, 0.4, (4, 3, 3, 3)).astype(np.float32)),
        Tensor(2, "b", (4,), data=draw.normal(0, 0.4, 4).astype(np.float32)),
        Tensor(3, "conv", (None, 8, 8, 4)),
        Tensor(4, "pool", (None, 4, 4, 4)),
        Tensor(5, "shape", (2,), Index(), np.int32([-1, 64])),
        Tensor(6, "flat", (None, 64)),
        Tensor(7, "v", (5, 64), data=draw.normal(0, 0.2, (5, 64)).astype(np.float32)),
        Tensor(8, "c", (5,), data=draw.normal(0, 0.4, 5).astype(np.float32)),
        Tensor(9, "scores", (None, 5)),
    ]
    ops = (
        Op(Conv2D((2, 2), "same"), (0, 1, 2), (3,)),
        Op(MaxPool2D((2, 2), (2, 2)), (3,), (4,)),
        Op(Reshape(), (4, 5), (6,)),
        Op(FullyConnected(), (6, 7, 8), (9,)),
    )
    return Graph({t.id: t for t in tensors}, ops, (0,), (9,))


@pytest.mark.parametrize("target", ["cpu", "mcu"])
def test_an_op_whose_scales_contradict_its_kernel(diagnosed, target):
    """RESHAPE copies integers, so another scale behind it halves the numbers: the simulator, which rounds, would not see it."""
    net = pooled()
    sound = quantized(net, target=target)
    w, b = sound[7], sound[8]
    flat = scaled(sound[6], 0.5)
    bias = replace(b, format=bias_format(flat.format, w.format), data=b.data * 2)
    found = diagnosed(changed(sound, flat, bias), net, target=target)
    assert first(found).where == "RESHAPE 't6'"
    assert first(found).what.startswith("it gives 0.5 times what its float counterpart makes")
    gap = next(s for s in found.symptoms if "the simulator expects" in s.what)
    assert gap.where == "RESHAPE 't6'"
    (row,) = (row for row in found.activations if row.op == "RESHAPE 't6'")
    assert row.runtime < 7 < row.simulated


def test_decibels():
    assert decibels(1.0, 0.001) == pytest.approx(30.0)
    assert decibels(1.0, 0.0) == np.inf
    assert decibels(0.0, 1.0) is None


def test_the_dbs_are_those_of_the_runtime(net, sound, diagnosed, tmp_path):
    x = images(32, 9, SIDE)
    found = diagnosed(sound, net, intact.data.arrays(x))
    (tmp_path / "q.tflite").write_bytes(tflite.write(sound))
    y = run(tmp_path / "q.tflite", {"image": x})["scores"].astype(np.float64)
    with torch.inference_mode():
        exact = Program(net)({"image": x})["scores"].numpy().astype(np.float64)
    last = found.activations[-1]
    assert last.op == "SOFTMAX 'scores'"
    assert last.runtime == pytest.approx(10 * np.log10(np.square(exact).sum() / np.square(exact - y).sum()), abs=1e-3)


# ---- files of other makers ----------------------------------------------------------------------------------------------


def named(graph, name):
    """The same network with tensors called ``name(id)``."""
    return replace(graph, tensors={i: replace(t, name=name(i), origin="") for i, t in graph.tensors.items()})


def test_ops_are_matched_through_conversions_and_other_names(net):
    inside = quantized(net, input_type="float32", output_type="float32", keep_float=("MEAN",))
    for graph in (inside, named(inside, lambda i: f"other/{i}")):
        found = find_counterparts(graph, net)
        kinds = {op.output: op.kind.name for op in graph.ops}
        assert {i: found.tensors[i] for i in kinds if kinds[i] not in {"QUANTIZE", "DEQUANTIZE"}} == {
            op.output: op.output for op in net.ops
        }
        assert all(i in found.tensors for i in kinds)


def test_a_name_decides_between_equal_ops():
    """Two convolutions read one tensor; the integer file lists them the other way round."""

    def written(first, second):
        draw = np.random.default_rng(1)
        flows = [Tensor(i, n, (None, 4, 4, 2)) for i, n in enumerate(("x", "left", "right", "sum"))]
        w = [Tensor(i, f"w{i}", (2, 1, 1, 2), data=draw.normal(size=(2, 1, 1, 2)).astype(np.float32)) for i in (4, 5)]
        convs = {1: Op(Conv2D(), (0, 4, None), (1,)), 2: Op(Conv2D(), (0, 5, None), (2,))}
        ops = (convs[first], convs[second], Op(Add(), (1, 2), (3,)))
        return Graph({t.id: t for t in (*flows, *w)}, ops, (0,), (3,))

    assert dict(find_counterparts(written(2, 1), written(1, 2)).tensors) == {0: 0, 1: 1, 2: 2, 3: 3}


def test_fused_and_replaced_ops_are_matched_by_another_spelling():
    """A float file with PAD, CONV_2D, RELU and HARD_SWISH by themselves; the integer file has one convolution and three ops."""
    w = np.random.default_rng(2).normal(0, 0.3, (4, 3, 3, 3)).astype(np.float32)
    tensors = [
        Tensor(0, "image", (None, SIDE, SIDE, 3)),
        Tensor(1, "w", w.shape, data=w),
        Tensor(2, "conv", (None, SIDE, SIDE, 4)),
        Tensor(3, "relu", (None, SIDE, SIDE, 4)),
        Tensor(4, "swish", (None, SIDE, SIDE, 4)),
    ]
    ops = (Op(Conv2D(padding="same"), (0, 1, None), (2,)), Op(Relu(), (2,), (3,)), Op(HardSwish(), (3,), (4,)))
    plain = Graph({t.id: t for t in tensors}, ops, (0,), (4,))
    integer = quantized(plain)
    assert [op.kind.name for op in integer.ops] == ["CONV_2D", "ADD", "MUL", "MUL"]
    found = find_counterparts(integer, plain)
    assert len(found.ops) == 4
    assert all(other.op.kind == other.of.kind for other in found.ops.values())


def test_other_networks_are_refused(net, sound, diagnosed):
    with pytest.raises(OptionError, match="the two files are of different networks: one takes samples of"):
        diagnosed(sound, mobile(side=8))
    with pytest.raises(OptionError, match="is not quantized; leave out --against"):
        diagnosed(net, net)
    with pytest.raises(OptionError, match=r"is the float model and .* the quantized one; give them the other way round"):
        diagnosed(net, sound)
    with pytest.raises(OptionError, match="is quantized itself; give --against the float model"):
        diagnosed(sound, sound)


def test_a_bias_that_was_corrected_is_no_fault(net, diagnosed):
    for remedies in ("bias", "equalize,bias"):
        found = diagnosed(quantized(net, scheme="w4a8", weights="per-tensor", remedies=remedies), net)
        assert not [s for s in found.symptoms if "bias" in s.what]


def test_what_an_equalization_rescales_has_no_dbs(diagnosed):
    net = rescaled_channels(chain(), np.float32([1 / 4, 4, 1, 4, 1 / 4, 4, 1 / 4, 2]))
    found = diagnosed(quantized(net, remedies="equalize"), net)
    rescaled = [row for row in found.activations if row.rescaled]
    assert [row.op for row in rescaled] == ["CONV_2D 't3'", "DEPTHWISE_CONV_2D 't6'", "MEAN 't8'"]
    assert all(row.runtime is None and row.own is None for row in rescaled)
    (taken_back,) = [row for row in found.activations if row.op.startswith("FULLY_CONNECTED")]
    assert taken_back.own is None
    assert taken_back.runtime > 20


def test_a_file_made_from_another_training_is_told_once(net, diagnosed):
    other = mobile(seed=8, side=SIDE)
    (found,) = diagnosed(quantized(other), net).symptoms
    assert found.where == "the file"
    assert found.what == "the weights of 3 of 3 ops are not the float file's"


def test_weights_of_2_bits_that_make_up_for_each_other_are_no_other_weights(diagnosed):
    x = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32) @ normal(6, 64)
    samples = intact.data.arrays(x)
    dense, other = (draft((64,), lambda d, x, n=n: d(FullyConnected(), x, normal(32, 64, seed=n), normal(32))) for n in (0, 1))
    how = {"scheme": "w2a8", "remedies": "compensate"}
    assert not diagnosed(quantized(dense, samples, **how), dense, samples).symptoms
    found = first(diagnosed(quantized(other, samples, **how), dense, samples))
    assert found.what == "its weights are not the float file's"


def test_the_command_compares_files(net, sound, tmp_path):
    (tmp_path / "float.tflite").write_bytes(tflite.write(net))
    wrong = scaled(sound[4], 2.0)
    (tmp_path / "int8.tflite").write_bytes(tflite.write(changed(sound, wrong), kernels=False))
    np.save(tmp_path / "x.npy", images(32, 3, SIDE))
    command = ["diagnose", tmp_path / "int8.tflite", "--against", tmp_path / "float.tflite", "--data", tmp_path / "x.npy"]
    command = [str(word) for word in command]
    document = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert document["symptoms"][0]["where"] == "DEPTHWISE_CONV_2D 't6'"
    assert [row["like"] for row in document["activations"]][-1] == "scores"
    shown = CliRunner().invoke(app, command).stdout
    assert shown.split()[:4] == ["simulated", "runtime", "op", "alone"]
    assert "note: DEPTHWISE_CONV_2D 't6': its weights are 2 times the float file's" in shown


# ---- real files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet8_cifar10", "ad01"])
def test_a_fault_in_a_published_file_is_named(shared, name, tmp_path):
    """Made by TensorFlow's converter: other names, other order of tensors."""
    files = {"resnet8_cifar10": ("_int8", ""), "ad01": ("_int8", "_float")}[name]
    made, source = (shared / "models" / f"{name}{end}.tflite" for end in files)
    graph = tflite.read(made)
    fmt = graph[graph.inputs[0]].format
    shape = (12, *graph[graph.inputs[0]].shape[1:])
    x = intact.data.arrays(np.random.default_rng(0).uniform(*fmt.range, shape).astype(np.float32))
    op = [op for op in graph.ops if op.kind.weight is not None][2]
    w, b = (graph[op.inputs[i]] for i in (op.kind.weight.input, op.kind.weight.bias))
    zeroed = replace(b, data=np.zeros_like(b.data))
    for fault, said in ((scaled(w, 2.0), "its weights are 2 times"), (zeroed, "its bias is zero")):
        (tmp_path / "wrong.tflite").write_bytes(tflite.write(changed(graph, fault), kernels=False))
        found = intact.diagnose_file(tmp_path / "wrong.tflite", x, against=source)
        assert all(row.counterpart is not None for row in found.activations)
        assert first(found).where.startswith(op.kind.name)
        assert said in first(found).what
        where = {row.op: row.own for row in found.activations if row.own is not None}
        assert min(where, key=where.get) == first(found).where
