"""int4 weights beside real activations: which ops have them, per channel or in blocks, and what LiteRT computes of them.

The bound. A kernel rounds what an op reads, x, to 8 bits as it runs. XNNPACK takes 255 steps from the lowest to the highest
number of a row, with zero at a whole one, so that a number moves by one step at most; LiteRT's own takes 127 to the largest and
moves it by half a step. Both are at most max |x| / 127, so that output c is within max |x| / 127 times the sum of |w| of c.
"""

from dataclasses import replace

import numpy as np
import pytest
import run_files
import torch
from compare import assert_same
from drafts import draft, normal

from intact.errors import ModelError, OptionError
from intact.formats import tflite
from intact.network.graph import Graph, Op, Tensor
from intact.network.weighted import weighted
from intact.numbers.affine import Affine, Float, Index, dequantize_array, in_blocks, quantize_weight
from intact.numbers.block_scales import scales_of
from intact.ops.activation import Softmax
from intact.ops.convolution import Conv2D, DepthwiseConv2D
from intact.ops.elementwise import Add
from intact.ops.indexing import EmbeddingLookup
from intact.ops.matmul import BatchMatMul, FullyConnected
from intact.ops.pooling import MaxPool2D
from intact.ops.shaping import Reshape
from intact.planning.integer_graph import emit
from intact.planning.plan import Plan
from intact.planning.planner import make_plan
from intact.planning.request import Request
from intact.planning.schemes import SCHEMES, scheme
from intact.planning.targets import TARGETS, target
from intact.runtime import litert
from intact.simulate.engine import Program

NAMES = ("dynamic-w4", "dynamic-w4-g32", "dynamic-w4-g64", "dynamic-w4-g128", "dynamic-w4-g256")


def plan_of(graph, name, **options):
    return make_plan(graph, {}, Request(scheme(name), target("cpu"), **options))


def stored(graph, name, **options):
    """The format of each op's weight, in order, as planned."""
    plan = plan_of(graph, name, **options)
    return [plan.own(found.weight.id) for op in graph.ops if (found := weighted(graph, op)) is not None]


def scaled(*shape, seed=0):
    return normal(*shape, seed=seed) / np.sqrt(np.prod(shape[1:]))


def transformer(width=64, tokens=6, classes=5):
    """Two blocks of attention and a dense pair, each on what the one before gives, and a classifier."""

    def dense(d, x, outputs, inputs, seed, *bias, activation="none"):
        return d(FullyConnected(keep_dims=True, activation=activation), x, scaled(outputs, inputs, seed=seed), *bias)

    def block(d, x, seed):
        q, k, v = (dense(d, x, width, width, seed + n) for n in range(3))
        mixed = d(BatchMatMul(), d(Softmax(), d(BatchMatMul(adj_y=True), q, k)), v)
        x = d(Add(), x, dense(d, mixed, width, width, seed + 3, normal(width)))
        inner = dense(d, x, 2 * width, width, seed + 4, normal(2 * width), activation="relu")
        return d(Add(), x, dense(d, inner, width, 2 * width, seed + 5, normal(width, seed=1)))

    return draft((tokens, width), lambda d, x: dense(d, block(d, block(d, x, 0), 10), classes, width, 20, normal(classes)))


def image_network():
    """Two convolutions, one of each channel by itself between, and one dense layer of 256 inputs."""

    def build(d, x):
        y = d(Conv2D(padding="same", activation="relu"), x, scaled(16, 3, 3, 3), normal(16))
        y = d(DepthwiseConv2D(padding="same", activation="relu"), y, scaled(1, 5, 5, 16), normal(16, seed=1))
        y = d(MaxPool2D(filter=(2, 2), stride=(2, 2)), d(Conv2D(padding="same"), y, scaled(16, 1, 1, 16), normal(16, seed=2)))
        y = d(Reshape(), y, np.int32([-1, 256]))
        return d(FullyConnected(), y, scaled(10, 256), normal(10))

    return draft((8, 8, 3), build)


def with_every_op_seen(graph: Graph) -> Graph:
    """``graph`` with all activations as outputs."""
    return replace(graph, outputs=tuple(op.output for op in graph.ops if not op.kind.converts))


def assert_ops_are_right(graph, data, folder):
    """Each op of the file ``data`` gives what its weights in ``graph`` give of what the runtime itself made before it."""
    path = folder / "net.tflite"
    path.write_bytes(data)
    (name,) = graph.input_names
    shape = tuple(graph[graph.inputs[0]].shape[1:])
    x = np.random.default_rng(7).normal(size=(5, *shape)).astype(np.float32)
    made = dict(zip(graph.outputs, litert.run(path, {name: x}, batch=5).values(), strict=True)) | {graph.inputs[0]: x}
    program, looked_at = Program(graph), 0
    for op in graph.ops:
        found = weighted(graph, op)
        if op.kind.converts or not all(i in made or graph[i].is_constant or i not in graph.outputs for i in op.reads):
            continue
        known = {i: torch.from_numpy(made[i]) for i in op.reads if i in made}
        known |= {i: program.compute(maker, {})[0] for i, maker in graph.producers().items() if maker.kind.converts}
        with torch.inference_mode():
            (expected,) = program.compute(op, known)
        bound = 1e-5 * float(expected.abs().max())
        if found is not None and isinstance(found.weight.format, Affine):
            w = dequantize_array(found.values, found.weight.format)
            sums = np.abs(w).sum(axis=tuple(a for a in range(w.ndim) if a != found.axis))
            bound = bound + np.abs(made[found.data.id]).max() / 127 * sums
            looked_at += 1
        assert (np.abs(made[op.output] - expected.numpy()) <= bound).all(), graph.label(op)
    return looked_at


# ---- which weights ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "outputs", "size", "in_blocks"),
    [
        (64, 8, 32, True),
        (96, 4, 32, True),
        (256, 8, 128, True),
        (512, 8, 256, True),
        (64, 8, 64, True),  # 2 bytes a channel, where a scale and a zero point are 12
        (32, 8, 64, False),
        (80, 8, 32, False),  # not whole blocks
        (128, 3, 32, False),  # LiteRT's own kernel is wrong about so few outputs
        (63, 9, 32, False),
        (192, 8, 128, False),
    ],
)
def test_which_dense_weights_lie_in_blocks(inputs, outputs, size, in_blocks):
    graph = draft((inputs,), lambda d, x: d(FullyConnected(), x, normal(outputs, inputs), normal(outputs)))
    (fmt,) = stored(graph, f"dynamic-w4-g{size}")
    assert (fmt.dtype, fmt.axis, len(fmt.scale)) == ("int4", 0, outputs)
    assert (fmt.block_scales is not None) == in_blocks
    if in_blocks:
        assert (fmt.block_scales.size, fmt.block_scales.count) == (size, outputs * inputs // size)
    else:
        assert stored(graph, "dynamic-w4") == [fmt]


def test_other_kinds_have_what_kernels_take():
    formats = stored(image_network(), "dynamic-w4-g32")
    assert [fmt.dtype for fmt in formats] == ["int4", "float16", "int4", "int4"]
    assert [getattr(fmt, "block_scales", None) is not None for fmt in formats] == [False, False, False, True]
    assert [fmt.dtype for fmt in stored(image_network(), "dynamic")] == ["int8", "float16", "int8", "int8"]


def test_two_bits_are_for_dense_layers_alone():
    assert [fmt.dtype for fmt in stored(image_network(), "dynamic-w2")] == ["int8", "float16", "int8", "int2"]
    (fmt,) = stored(draft((32,), lambda d, x: d(FullyConnected(), x, normal(8, 32))), "dynamic-w2", weights="per-tensor")
    assert (fmt.dtype, fmt.axis) == ("int2", None)


def test_a_convolution_without_a_bias_is_int8_for_the_kernel_of_int4_needs_one():
    graph = draft((6, 6, 8), lambda d, x: d(Conv2D(padding="same"), x, normal(8, 3, 3, 8)))
    plan = plan_of(graph, "dynamic-w4")
    (entry,) = plan.tensors.values()
    assert (entry.format.dtype, entry.why) == ("int8", "largest |weight| of each output channel; no kernel takes int4 here")


def test_small_and_kept_weights_stay_float():
    graph = draft((64,), lambda d, x: d(FullyConnected(), d(FullyConnected(), x, normal(8, 64)), normal(4, 8)))
    assert [fmt.dtype for fmt in stored(graph, "dynamic-w4-g32")] == ["int4", "float32"]
    assert stored(graph, "dynamic-w4-g32", keep_float=(graph.label(graph.ops[0]),)) == [Float(), Float()]


@pytest.mark.parametrize("factor", [1e-6, 1e8])
def test_weights_beyond_float16_have_a_scale_a_channel(factor):
    w = (normal(8, 64) * factor).astype(np.float32)
    graph = draft((64,), lambda d, x: d(FullyConnected(), x, w))
    (fmt,) = stored(graph, "dynamic-w4-g32")
    assert fmt.block_scales is None
    assert np.square(dequantize_array(emit(graph, plan_of(graph, "dynamic-w4-g32"))[1].data, fmt) - w).sum() < (
        0.05 * np.square(w.astype(np.float64)).sum()
    )


def test_per_tensor_is_one_scale_and_contradicts_blocks():
    graph = transformer()
    assert all(fmt.axis is None and fmt.dtype == "int4" for fmt in stored(graph, "dynamic-w4", weights="per-tensor"))
    with pytest.raises(
        OptionError, match=r"--weights per-tensor has one scale .* leave out --weights, or type --scheme dynamic-w4"
    ):
        plan_of(graph, "dynamic-w4-g32", weights="per-tensor")


def test_a_plan_with_scales_of_blocks_is_read_back_and_checked():
    graph = transformer()
    plan = plan_of(graph, "dynamic-w4-g32")
    again = Plan.from_json(plan.to_json())
    assert again.diff(plan) == ()
    assert tflite.write(emit(graph, again)) == tflite.write(emit(graph, plan))
    assert "int4 128 scales" in str(plan)
    assert "one for each 32 along axis 1: least squared error of each 32 inputs" in str(plan)
    i = next(iter(plan.tensors))
    fmt = stored(draft((96,), lambda d, x: d(FullyConnected(), x, normal(64, 96))), "dynamic-w4-g32")[0]
    other = replace(plan, tensors={**plan.tensors, i: replace(plan.tensors[i], format=fmt)})
    with pytest.raises(OptionError, match="its scales of blocks are not those of"):
        other.check(graph)
    for was, now in (('"size": 32', '"size": 1'), ('"size": 32', '"size": 32.0'), ('"zero_point": 0', '"zero_point": [1]')):
        with pytest.raises(OptionError, match="not a plan that Intact wrote"):
            Plan.from_json(plan.to_json().replace(was, now))


# ---- names and targets --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "dynamic-w4-g48",
            r"for 32, 64, 128, 256 inputs, and not for 48; type --scheme with one of: dynamic-w4-g32, dynamic-w4-g64,",
        ),
        ("dynamic-w4-g16", "not for 16; type --scheme with one of: dynamic-w4-g32"),
        ("dynamic-w4-g512", "not for 512; type --scheme"),
        ("dynamic-w8", "is called dynamic; type --scheme dynamic"),
        ("dynamic-w8-g32", "weights of 2, 4 or 8 bits beside real activations; type --scheme dynamic-w2, dynamic-w4"),
        ("dynamic-w3", "weights of 2, 4 or 8 bits beside real activations; type --scheme dynamic-w2, dynamic-w4 or dynamic"),
        ("dynamic-w2-g32", "one scale for each output of 2-bit weights; type --scheme dynamic-w2"),
        ("dynamic-4", "no scheme is called 'dynamic-4'; .*dynamic-w4, dynamic-w4-g32"),
    ],
)
def test_other_names_say_what_to_type(name, said):
    with pytest.raises(OptionError, match=said):
        scheme(name)


def test_what_the_schemes_say_of_themselves():
    narrow = SCHEMES["dynamic-w2"]
    assert (narrow.bits, narrow.block, narrow.usual, narrow.packs, narrow.is_integer) == (2, 0, False, False, False)
    made = {name: SCHEMES[name] for name in NAMES}
    assert {s.bits for s in made.values()} == {4}
    assert [s.block for s in made.values()] == [0, 32, 64, 128, 256]
    assert not any(s.usual or s.packs or s.study_only or s.is_integer for s in made.values())


@pytest.mark.parametrize("name", [*NAMES, "dynamic-w2"])
@pytest.mark.parametrize("device", sorted(set(TARGETS) - {"cpu"}))
def test_other_targets_refuse_them(name, device):
    said = f"{device}, which has no kernels for {SCHEMES[name].bits}-bit weights .* or --target cpu for {name}"
    with pytest.raises(OptionError, match=said):
        Request(scheme(name), target(device))


# ---- what LiteRT computes -----------------------------------------------------------------------------------------------

LAYERS = {
    "a vector": ((64,), {}, True),
    "no bias": ((64,), {}, False),
    "rows": ((5, 64), {"keep_dims": True}, True),
    "rows without a bias": ((3, 64), {"keep_dims": True}, False),
    "rows of rows": ((2, 3, 64), {"keep_dims": True}, True),
    "flattened": ((64,), {"keep_dims": False}, True),
    "relu": ((64,), {"activation": "relu"}, True),
    "relu6": ((64,), {"activation": "relu6"}, False),
}


@pytest.mark.parametrize("name", [*NAMES, "dynamic-w2"])
@pytest.mark.parametrize("layer", LAYERS)
def test_a_dense_layer_is_within_its_bound(tmp_path, name, layer):
    shape, options, has_bias = LAYERS[layer]
    inputs = 2 * (SCHEMES[name].block or 32)
    shape = (*shape[:-1], inputs)
    bias = [normal(7)] if has_bias else []
    net = draft(shape, lambda d, x: d(FullyConnected(**options), x, normal(7, inputs), *bias))
    graph = with_every_op_seen(emit(net, plan_of(net, name)))
    assert assert_ops_are_right(graph, tflite.write(graph), tmp_path) == 1


@pytest.mark.parametrize(("inputs", "outputs"), [(33, 9), (63, 5), (257, 1), (80, 7), (256, 1), (128, 3), (1001, 11)])
@pytest.mark.parametrize("name", ["dynamic-w4", "dynamic-w4-g32", "dynamic-w2"])
def test_odd_sizes_are_within_their_bound(tmp_path, name, inputs, outputs):
    net = draft((inputs,), lambda d, x: d(FullyConnected(), x, normal(outputs, inputs), normal(outputs)))
    graph = with_every_op_seen(emit(net, plan_of(net, name)))
    assert assert_ops_are_right(graph, tflite.write(graph), tmp_path) == 1


@pytest.mark.parametrize(
    ("kind", "weight"),
    [
        (Conv2D(padding="same"), (6, 3, 3, 5)),
        (Conv2D(padding="valid", stride=(2, 2)), (7, 3, 3, 5)),
        (Conv2D(padding="same", dilation=(2, 2)), (6, 3, 3, 5)),
        (Conv2D(padding="same", activation="relu6"), (52, 1, 1, 5)),
        (Conv2D(padding="same"), (10, 5, 5, 5)),
    ],
)
def test_a_convolution_is_within_its_bound(tmp_path, kind, weight):
    net = draft((9, 9, 5), lambda d, x: d(kind, x, normal(*weight), normal(weight[0])))
    graph = with_every_op_seen(emit(net, plan_of(net, "dynamic-w4")))
    assert weighted(graph, graph.ops[0]).weight.format.dtype == "int4"
    assert assert_ops_are_right(graph, tflite.write(graph), tmp_path) == 1


@pytest.mark.parametrize("name", [*NAMES, "dynamic-w2"])
@pytest.mark.parametrize(("make", "count"), [(transformer, 13), (image_network, 3)])
def test_the_file_computes_what_is_simulated(tmp_path, make, count, name):
    net = make()
    graph = emit(net, plan_of(net, name))
    again = tflite.read(tflite.write(graph))
    x = np.random.default_rng(1).normal(size=(4, *net[0].shape[1:])).astype(np.float32)
    with torch.inference_mode():
        ours, read = (next(iter(Program(g)({g.input_names[0]: x}).values())).numpy() for g in (graph, again))
    assert_same(read, ours)
    shown = with_every_op_seen(graph)
    assert assert_ops_are_right(shown, tflite.write(shown), tmp_path) == count


def test_smaller_blocks_come_nearer_to_the_float_network():
    net = transformer(width=256)
    x = {net.input_names[0]: np.random.default_rng(1).normal(size=(8, 6, 256)).astype(np.float32)}

    def lost(name):
        with torch.inference_mode():
            float_, ours = (next(iter(Program(g)(x).values())) for g in (net, emit(net, plan_of(net, name))))
        return float((ours - float_).square().sum())

    assert lost("dynamic") < lost("dynamic-w4-g32") < lost("dynamic-w4")


def test_a_file_in_blocks_is_one_part_of_xnnpack(tmp_path):
    net = transformer()
    path = tmp_path / "net.tflite"
    path.write_bytes(tflite.write(emit(net, plan_of(net, "dynamic-w4-g32"))))
    found = litert.describe(path)
    assert (found.partitions, found.outside) == (1, ())


# ---- kernels that are wrong ---------------------------------------------------------------------------------------------


def dense_in_blocks(outputs, activation="none"):
    """A file with blocks whatever the planner says, and its graph."""
    w = normal(outputs, 64)
    fmt = in_blocks(scales_of(w, 7, 32))
    net = draft((64,), lambda d, x: d(FullyConnected(activation=activation), x, w, normal(outputs)))
    graph = replace(net, tensors={**net.tensors, 1: replace(net[1], format=fmt, data=quantize_weight(w, fmt))})
    return graph, tflite.write(graph)


def error_of(graph, made, x):
    """The largest difference, relative to the largest number that is right."""
    with torch.inference_mode():
        expected = next(iter(Program(graph)({graph.input_names[0]: x}).values())).numpy()
    return float(np.abs(made - expected).max() / np.abs(expected).max())


def run(data, x, folder, kernels="default"):
    path = folder / "net.tflite"
    path.write_bytes(data)
    return next(iter(litert.run(path, {"x0": x}, kernels=kernels).values()))


@pytest.mark.parametrize("outputs", [1, 8])
def test_the_reference_kernels_are_wrong_and_refused(tmp_path, outputs):
    """When they are right one day, this says so, and the refusal may go."""
    graph, data = dense_in_blocks(outputs)
    x = normal(1, 64, seed=5)
    ((made,),) = run_files.outputs([data], [[x]], tmp_path, "reference")
    assert error_of(graph, made, x) > 0.3
    with pytest.raises(ModelError, match=r"reference kernels give wrong numbers for '.*', .*default kernels \(--target cpu\)"):
        run(data, x, tmp_path, "reference")


def test_litert_itself_is_wrong_about_fewer_than_four_outputs_and_refused(tmp_path):
    """XNNPACK takes no fused hyperbolic tangent. When it is right one day, this says so."""
    x = normal(1, 64, seed=5)
    for outputs, activation in ((3, "tanh"), (4, "tanh")):
        data = dense_in_blocks(outputs, activation)[1]
        linear = dense_in_blocks(outputs)[0]
        ((made,),) = run_files.outputs([data], [[x]], tmp_path, "default")
        # It leaves the hyperbolic tangent out too, so that its sums are what is compared.
        assert (error_of(linear, made, x) > 0.3) == (outputs == 3)
        if outputs == 3:
            with pytest.raises(
                ModelError, match=r"LiteRT's own kernel, outside XNNPACK, gives wrong numbers .*; export it with"
            ):
                run(data, x, tmp_path)


@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_xnnpack_is_right_about_few_outputs(tmp_path, outputs):
    graph, data = dense_in_blocks(outputs, "relu")
    x = np.abs(normal(3, 64, seed=5)) * np.sign(graph[1].data[0])  # the first output is large
    assert error_of(graph, run(data, x, tmp_path), x) < 0.03


@pytest.mark.parametrize("kernels", ["default", "reference"])
def test_rows_of_an_embedding_in_blocks_are_right_in_all_kernels(tmp_path, kernels):
    w = normal(8, 64)
    fmt = in_blocks(scales_of(w, 7, 32))
    tensors = [
        Tensor(0, "ids", (3,), Index("int32")),
        Tensor(1, "rows", (8, 64), fmt, quantize_weight(w, fmt)),
        Tensor(2, "y", (3, 64)),
    ]
    graph = Graph({t.id: t for t in tensors}, (Op(EmbeddingLookup(), (0, 1), (2,)),), (0,), (2,))
    again = tflite.read(tflite.write(graph))
    ids = np.int32([5, 0, 7])
    path = tmp_path / "net.tflite"
    path.write_bytes(tflite.write(again))
    (made,) = litert.run(path, {"ids": ids[None]}, kernels=kernels, batch=1).values()
    assert_same(made.reshape(3, 64), dequantize_array(graph[1].data, fmt)[ids])
