"""The C of every op kind, bit for bit the arithmetic of TensorFlow Lite Micro as the simulator has it."""

import subprocess
from dataclasses import replace

import numpy as np
import pytest
from c_networks import STRICT, compiler, outputs_in_c
from compare import assert_same
from integer_cases import Builder, every_kind, samples

from intact.deploy.c.network import Text, write
from intact.deploy.c.table import ROWS
from intact.errors import UnsupportedError
from intact.network.graph import Graph, Op, State, Tensor
from intact.numbers.affine import Affine
from intact.ops import KINDS
from intact.planning.targets import TARGETS
from intact.simulate.exact import IntegerProgram

#: Cases of ops that C lacks: of real numbers, or that TensorFlow Lite Micro has no kernel for.
WITHOUT = {"QUANTIZE real", "DEQUANTIZE", "TOPK_V2"}
#: What shapes settle before anything runs.
LACKING = {"SHAPE"}


def reads(graph, ops):
    return tuple(dict.fromkeys(i for op in ops for i in op.reads if not graph[i].is_constant))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_kind_is_bit_exact(tmp_path, seed):
    b = every_kind(seed)
    graph, x = b.graph(), samples(b, 20)
    ops = tuple(op for label, op in b.names.items() if label not in WITHOUT)
    outputs = tuple(i for op in ops for i in op.outputs)
    whole = replace(graph, ops=ops, inputs=reads(graph, ops), outputs=outputs)
    given = {graph[i].name: x[graph[i].name] for i in whole.inputs}
    made, exact = outputs_in_c(whole, given, tmp_path), IntegerProgram(whole, "tflm")(given)
    for op in ops:
        for i in op.outputs:
            assert_same(made[graph[i].name], exact[graph[i].name])


def test_every_kind_alone_compiles_without_a_warning(tmp_path):
    """What one kernel brings along must be used by it, or a network without the others would not build."""
    b = every_kind(0)
    graph = b.graph()
    for n, op in enumerate(op for label, op in b.names.items() if label not in WITHOUT):
        net = write(replace(graph, ops=(op,), inputs=reads(graph, [op]), outputs=op.outputs), Text(f"net{n}", "a test"))
        for name, text in ((f"net{n}.h", net.header), (f"net{n}.c", net.body)):
            (tmp_path / name).write_text(text)
    sources = [path.name for path in tmp_path.glob("*.c")]
    made = subprocess.run([compiler(), *STRICT, "-c", *sources], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr


def test_every_kind_of_the_target_has_its_c():
    assert TARGETS["mcu"].kinds("int8") - set(ROWS) == LACKING


@pytest.mark.parametrize("label", sorted(WITHOUT))
def test_what_c_lacks_is_refused_by_name(label):
    b = every_kind(0)
    graph, op = b.graph(), b.names[label]
    with pytest.raises(UnsupportedError, match=rf"{op.kind.name} .* cannot be written as C"):
        write(replace(graph, ops=(op,), inputs=reads(graph, [op]), outputs=op.outputs), Text("net", "a test"))


def test_a_channel_that_is_constant_may_have_any_bias(tmp_path):
    """Converters clip the biases of dead channels to 2**30: nothing may overflow on the way to what they always give."""
    b = every_kind(3)
    graph, op = b.graph(), b.names["CONV_2D same"]
    bias, weight = graph[op.inputs[2]], graph[op.inputs[1]]
    dead = np.array(weight.data)
    dead[1], dead[2] = 0, 0
    sums = np.array(bias.data)
    sums[1], sums[2] = 2**30, -(2**30)
    tensors = {**graph.tensors, bias.id: replace(bias, data=sums), weight.id: replace(weight, data=dead)}
    changed = replace(graph, ops=(op,), inputs=(op.inputs[0],), outputs=op.outputs, tensors=tensors)
    x = {graph[op.inputs[0]].name: samples(b, 5)[graph[op.inputs[0]].name]}
    name = graph[op.output].name
    assert_same(outputs_in_c(changed, x, tmp_path)[name], IntegerProgram(changed, "tflm")(x)[name])


def test_a_state_is_kept_from_run_to_run(tmp_path):
    """A running sum that begins at 1.5: each run adds its input to what the run before left."""
    b = every_kind(4)
    fmt = Affine((0.1,), (3,))
    tensors = [Tensor(n, f"t{n}", (None, 6), fmt) for n in range(3)]
    start = np.full((1, 6), 1.5, np.float32)
    graph = Graph(
        {t.id: t for t in tensors}, (Op(KINDS["ADD"](), (0, 1), (2,)),), (0,), (2,), states=(State("sum", 1, 2, start),)
    )
    x = {"t0": b.draw.integers(-10, 12, (9, 6), np.int8)}
    made = outputs_in_c(graph, x, tmp_path)["t2"]
    assert_same(made, IntegerProgram(graph, "tflm")(x)["t2"])
    assert_same(made[0], np.clip(x["t0"][0].astype(int) + 15, -128, 127).astype(np.int8))
    assert (made[1] - made[0] == x["t0"][1] - 3).all()


@pytest.mark.parametrize(("bits", "per_channel"), [(1, False), (2, True), (3, False), (4, True), (5, False)])
@pytest.mark.parametrize("outputs", [4, 6, 9])
def test_weights_of_few_numbers_are_packed_and_come_out_the_same(tmp_path, bits, per_channel, outputs):
    b = Builder(np.random.default_rng(bits))
    x = b.flow(7, 6, 16)
    for name, shape in (("conv", (outputs, 3, 3, 16)), ("dense", (outputs, 1, 1, outputs))):
        read = x if name == "conv" else b.ops[-1].output
        padding = {"padding": "same"} if name == "conv" else {}
        b.op(KINDS["CONV_2D"](**padding), read, *b.weights(read, shape, 0), out=b.format(0.05, 0.5), name=name)
    graph = b.graph()
    weight = graph[b.names["CONV_2D conv"].inputs[1]]
    tables = b.draw.integers(-127, 128, (outputs if per_channel else 1, 1 << bits))
    index = b.draw.integers(0, 1 << bits, weight.shape)
    few = np.stack([tables[n % len(tables)][index[n]] for n in range(outputs)]).astype(np.int8)
    changed = Graph({**graph.tensors, weight.id: replace(weight, data=few)}, graph.ops, (x,), (graph.ops[-1].output,))
    net = write(changed, Text("net", "a test"))
    assert net.scratch == 4 * 144
    assert net.constants < write(Graph(graph.tensors, graph.ops, (x,), changed.outputs), Text("net", "a test")).constants
    given = {graph[x].name: samples(b, 5)[graph[x].name]}
    name = graph[graph.ops[-1].output].name
    assert_same(outputs_in_c(changed, given, tmp_path)[name], IntegerProgram(changed, "tflm")(given)[name])
    rows = outputs_in_c(changed, given, tmp_path, ram=0)[name]
    assert_same(rows, IntegerProgram(changed, "tflm")(given)[name])


@pytest.mark.parametrize(("bits", "per_channel"), [(1, True), (2, False), (3, True), (4, False)])
@pytest.mark.parametrize("channels", [12, 16, 37])
def test_depthwise_weights_of_few_numbers_are_packed_and_come_out_the_same(tmp_path, bits, per_channel, channels):
    b = Builder(np.random.default_rng(bits))
    x = b.flow(9, 8, channels)
    kind = KINDS["DEPTHWISE_CONV_2D"](padding="same", stride=(2, 1))
    b.op(kind, x, *b.weights(x, (1, 7, 7, channels), 3), out=b.format(0.05, 0.5))
    graph, plain = b.graph(), write(b.graph(), Text("net", "a test"))
    weight = graph[graph.ops[0].inputs[1]]
    tables = b.draw.integers(-127, 128, (channels if per_channel else 1, 1 << bits))
    index = b.draw.integers(0, 1 << bits, weight.shape)
    few = np.stack([tables[n % len(tables)][index[..., n]] for n in range(channels)], -1).astype(np.int8)
    changed = replace(graph, tensors={**graph.tensors, weight.id: replace(weight, data=few)})
    net = write(changed, Text("net", "a test"))
    block = min(channels, 16)
    assert net.scratch == 49 * block
    blocks = -(-channels // block)  # the last one is whole
    assert plain.constants - net.constants == 49 * channels - -(-49 * block * blocks * bits // 8) - tables.size
    given = {graph[x].name: samples(b, 5)[graph[x].name]}
    exact = IntegerProgram(changed, "tflm")(given)[graph[graph.ops[0].output].name]
    for ram in (None, 0):
        made = outputs_in_c(changed, given, tmp_path, ram)[graph[graph.ops[0].output].name]
        assert_same(made, exact)


@pytest.mark.parametrize("channels", [143, 1300])
def test_windows_too_large_for_the_stack_are_computed_without_buffers(tmp_path, channels):
    """3 x 3 x 143 numbers would be brought together, and 1,300 of padding stand beside the input: the stack has 2,048 bytes."""
    b = Builder(np.random.default_rng(0))
    x = b.flow(3, 4, channels)
    b.op(KINDS["CONV_2D"](padding="same"), x, *b.weights(x, (5, 3, 3, channels), 0), out=b.format(1, 2))
    graph, given = b.graph(), samples(b, 3)
    net, name = write(graph, Text("net", "a test")), graph[graph.ops[0].output].name
    assert ("run_conv_grouped(&" in net.body, "run_conv(&" in net.body) == (True, False)
    assert_same(outputs_in_c(graph, given, tmp_path)[name], IntegerProgram(graph, "tflm")(given)[name])


@pytest.mark.parametrize("width", [255, 256, 40_000])
def test_windows_slide_over_rows_of_any_length(tmp_path, width):
    b = Builder(np.random.default_rng(0))
    x = b.flow(1, width, 4)
    b.op(KINDS["CONV_2D"](padding="same"), x, *b.weights(x, (5, 1, 3, 4), 0), out=b.format(0.1, 0.2))
    b.op(KINDS["DEPTHWISE_CONV_2D"](stride=(2, 2)), x, *b.weights(x, (1, 1, 5, 4), 3), out=b.format(0.1, 0.2))
    graph, given = b.graph(), samples(b, 2)
    made, exact = outputs_in_c(graph, given, tmp_path), IntegerProgram(graph, "tflm")(given)
    for op in graph.ops:
        assert_same(made[graph[op.output].name], exact[graph[op.output].name])


def test_several_images_in_one_call_are_refused():
    b = Builder(np.random.default_rng(0))
    x = b.flow(6, 6, 4)
    b.op(KINDS["CONV_2D"](padding="same"), x, *b.weights(x, (4, 3, 3, 4), 0))
    graph = b.graph()
    four = {i: replace(t, shape=(4, *t.shape[1:])) for i, t in graph.tensors.items() if t.shape[:1] == (None,)}
    fixed = Graph({**graph.tensors, **four}, graph.ops, (x,), (graph.ops[-1].output,))
    with pytest.raises(UnsupportedError, match="it computes 4 samples at once; export it with an open batch"):
        write(fixed, Text("net", "a test"))


@pytest.mark.parametrize("label", ["CONCATENATION", "PAD", "MAXIMUM", "MAX_POOL_2D same", "REDUCE_MAX", "GATHER"])
def test_what_only_picks_numbers_keeps_their_scale_or_is_refused(label):
    """Other runtimes' files may hold an output with a scale of its own, which a copy would not give it."""
    b = every_kind(0)
    graph, op = b.graph(), b.names[label]
    other = replace(graph[op.output], format=Affine((0.123,), (5,)))
    tensors = {**graph.tensors, op.output: other}
    changed = replace(graph, ops=(op,), inputs=reads(graph, [op]), outputs=op.outputs, tensors=tensors)
    with pytest.raises(UnsupportedError, match="have different scales"):
        write(changed, Text("net", "a test"))


def test_an_output_that_is_a_constant_is_refused():
    b = every_kind(0)
    graph, op = b.graph(), b.names["ADD constant"]
    constant = next(i for i in op.reads if graph[i].is_constant)
    changed = replace(graph, ops=(op,), inputs=reads(graph, [op]), outputs=(op.output, constant))
    with pytest.raises(UnsupportedError, match="is a constant"):
        write(changed, Text("net", "a test"))
