"""Ops are called what the user's network calls them: by the names that converters string together, and through our own."""

import importlib.util
import re

import numpy as np
import pytest
import torch
from drafts import draft, normal
from torch import nn

from intact.formats import tflite
from intact.formats.load import load
from intact.formats.tflite.op_names import named
from intact.network.graph import Graph, Op, Tensor
from intact.ops.activation import Relu, Softmax
from intact.ops.convolution import Conv2D, DepthwiseConv2D
from intact.ops.elementwise import Add, Mul
from intact.ops.matmul import FullyConnected
from intact.ops.quantization import Dequantize
from intact.planning.integer_ops import kept_float
from intact.planning.request import Request
from intact.planning.schemes import scheme
from intact.planning.targets import target
from intact.rewrite.clean import clean

needs_keras = pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="needs the extra [keras]")
needs_torch = pytest.mark.skipif(importlib.util.find_spec("litert_torch") is None, reason="needs the extra [torch]")


def called(kind, name, *others, weight="", bias=""):
    """What an op of ``kind`` is called whose output is called ``name``, in a network with ops of the names ``others``."""
    x = Tensor(0, "serving_default_x:0", (None, 4, 4, 4))
    tensors = [x, Tensor(1, name, x.shape)]
    reads = [0]
    if kind.weight is not None:
        for text, shape in ((weight, (4, 1, 1, 4)), (bias, (4,))):
            tensors.append(Tensor(len(tensors), text, shape, data=np.ones(shape, np.float32)))
            reads.append(tensors[-1].id)
    ops = [Op(kind, tuple(reads), (1,))]
    for other in others:
        tensors.append(Tensor(len(tensors), other, x.shape))
        ops.append(Op(Relu(), (0,), (tensors[-1].id,)))
    graph = named(Graph({t.id: t for t in tensors}, tuple(ops), (0,), (tensors[-1].id,)))
    return graph[1].origin


TORCH = "torch.nn.modules."
WRAPPED = f"litert_torch._convert.to_channel_last_io.ChannelLastIOWrapper/{TORCH}container.Sequential_wrapped"


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        (
            Conv2D(),
            "m/act/Relu;m/bn/FusedBatchNormV3;m/conv/BiasAdd/ReadVariableOp/resource;m/conv/BiasAdd;m/conv/Conv2D1",
            "conv",
        ),
        (Conv2D(), "m/act/Relu;m/bn/batchnorm/add_1;m/bn/batchnorm/mul_1;m/conv/Squeeze;m/conv/convolution", "conv"),
        (DepthwiseConv2D(), "m/bn_1/FusedBatchNormV3;m/dw/depthwise;m/dw/BiasAdd;m/last/Conv2D", "dw"),
        (FullyConnected(), "m/fc/MatMul;m/fc/BiasAdd;m/bn/batchnorm/mul_1;m/act/Relu", "fc"),
        (FullyConnected(), "m/fc/Tensordot/MatMul;m/fc/BiasAdd", "fc"),
        (FullyConnected(), "m/mha/query/einsum/Einsum", "mha/query"),
        (Add(), "m/act_2/Relu;m/add_1/Add", "add_1"),
        (Conv2D(), "StatefulPartitionedCall/m/block/conv/Conv2D", "block/conv"),
        (Conv2D(), "m/separable_conv2d/separable_conv2d/depthwise", "separable_conv2d"),
        (Conv2D(), f"N/{TORCH}batchnorm.BatchNorm2d_1;;N/{TORCH}conv.Conv2d_0;2".replace("N/", "nets.Net/"), "0"),
        (Conv2D(), f"{WRAPPED}/nets.Net_0/{TORCH}container.Sequential_f/{TORCH}conv.Conv2d_stem;", "0.f.stem"),
        (Conv2D(), f"a.b.<locals>.Net/__main__.make.<locals>.Block_block_2/{TORCH}conv.Conv2d_conv;7", "block_2.conv"),
        (Relu(), f"nets.Net/nets._Odd_layer1/{TORCH}activation.ReLU_relu@1;", "layer1.relu"),
        (Conv2D(), "features.0.2/hardtanh;;features.0.1/batch_norm;;features.0.0/conv2d;11", "features.0.0"),
        (Mul(), "block.1/hardsigmoid;;block.1.fc2/conv2d;2", "block.1"),
        (Add(), "0/add;", "0"),
        (Add(), "add_3;1", "add_3"),
        (Relu(), "", ""),
        (Relu(), "t7", "t7"),
        (Relu(), "PartitionedCall:1", "PartitionedCall:1"),
        (Relu(), ";;;", ";;;"),
        (Conv2D(), "カメラ/畳み込み/Conv2D", "畳み込み"),
    ],
)
def test_the_part_of_a_list_that_tells(kind, name, expected):
    others = [name[: name.index("m/")] + "m/other/Relu"] if re.match(r"(\w+/)?m/", name) else []
    assert called(kind, name, *others) == expected


def test_a_weight_tells_which_of_two_layers_it_is():
    """TensorFlow names a zero bias that two layers share after one of them."""
    name = "m/act/Relu;m/conv/BiasAdd;m/last/Conv2D;m/conv/Conv2D1"
    assert called(Conv2D(), name, "m/x/Relu", weight="m/conv/Conv2D", bias="m/last/Conv2D") == "conv"
    assert called(Conv2D(), "Identity", "m/x/Relu", weight="m/dense_9/MatMul") == "dense_9"
    assert called(Conv2D(), "Identity", "m/x/Relu", weight="arith.constant", bias="m/dense_9/BiasAdd") == "dense_9"


def test_a_model_without_a_scope_of_its_own_keeps_all_of_a_path():
    assert called(Conv2D(), "conv/Conv2D", "act/Relu") == "conv"
    assert called(Conv2D(), "left/conv/Conv2D", "right/act/Relu") == "left/conv"
    assert called(Conv2D(), "only/conv/Conv2D", "only/act/Relu") == "conv"


def chain(*steps):
    """A network of ops one after the other: (kind, name of its output)."""
    tensors = [Tensor(0, "x", (None, 4))] + [Tensor(n, name, (None, 4)) for n, (_, name) in enumerate(steps, 1)]
    ops = tuple(Op(kind, (n, n) if isinstance(kind, (Mul, Add)) else (n,), (n + 1,)) for n, (kind, _) in enumerate(steps))
    return named(Graph({t.id: t for t in tensors}, ops, (0,), (len(steps),)))


def test_ops_of_one_module_are_told_apart_by_kind_by_what_they_compute_or_by_number():
    gate = ((Add(), "gate/hardsigmoid;1"), (Mul(), "gate/hardsigmoid;2"), (Mul(), "gate/mul;"))
    graph = chain(*gate, (Relu(), "act/relu;"), (Relu(), "act/relu;1"))
    labels = [graph.label(op) for op in graph.ops]
    assert labels == ["ADD 'gate'", "MUL 'gate (hardsigmoid)'", "MUL 'gate (mul)'", "RELU 'act'", "RELU 'act #2'"]
    typed = {"gate": [0, 1, 2], "gate (mul)": [2], "MUL 'gate (mul)'": [2], "act": [3, 4], "RELU 'act'": [3], "act #2": [4]}
    for name, wanted in typed.items():
        kept = kept_float(graph, Request(scheme("int8"), target("cpu"), keep_float=(name,)))
        assert kept == {graph.ops[n].output for n in wanted}, name


def test_a_pattern_finds_layers_and_not_what_was_fused_into_them():
    graph = chain((Relu(), "a.0/relu;;b.0/batch_norm;"), (Relu(), "b.1/relu;"))
    for typed, wanted in (("b.*", [1]), ("*b.0*", []), ("a.0/relu;;b.0/batch_norm;", [0])):
        request = Request(scheme("int8"), target("cpu"), keep_float=(typed,))
        if wanted:
            assert kept_float(graph, request) == {graph.ops[n].output for n in wanted}
        else:
            with pytest.raises(Exception, match="matches no op"):
                kept_float(graph, request)


def test_what_tells_nothing_at_an_end_is_called_after_what_it_reads():
    graph = chain(
        (Dequantize(), "tfl.dequantize"), (Relu(), "net/dense/Relu"), (Relu(), "net/act/Relu"), (Softmax(), "Identity")
    )
    assert [graph.called(op) for op in graph.ops] == ["x", "dense", "act", "act"]
    graph = chain((Relu(), "t1"), (Relu(), "t2"), (Softmax(), "scores"))
    assert [graph.called(op) for op in graph.ops][1:] == ["t2", "scores"]


def test_a_weight_is_called_after_its_layer():
    graph = draft((4,), lambda d, x: d(FullyConnected(), x, normal(4, 4), normal(4)))
    op = graph.ops[0]
    tensors = {**graph.tensors, op.output: Tensor(op.output, "net/fc/MatMul;net/fc/BiasAdd", (None, 4))}
    graph = named(Graph(tensors, graph.ops, graph.inputs, graph.outputs))
    assert [graph[i].origin for i in op.inputs[1:]] == ["fc/weight", "fc/bias"]


@pytest.mark.parametrize(
    "name",
    ["a/" * 9000, "x" * 100_000, ";" * 50_000, "a.B_" * 20_000 + ";", "\x1b[2J/\n;" * 900, "(" * 300, "a (b) #2"],
    ids=len,
)
def test_hostile_names_are_bounded_and_harm_nothing(name):
    graph = chain((Relu(), name), (Relu(), name), (Softmax(), "y"))
    assert all(len(graph[op.output].origin) <= max(len(name), 1) + 4 for op in graph.ops[:-1])
    telling = [graph[op.output].origin for op in graph.ops[:2] if graph[op.output].origin != name]
    assert all(len(text) <= 410 for text in telling)
    labels = [graph.label(op) for op in graph.ops]
    assert len(set(labels)) == len(labels)
    assert all(text.isprintable() for text in labels)


# ---- through the converters -------------------------------------------------------------------------------------------------


def names_of(graph):
    return [graph.label(op) for op in graph.ops]


class Scale(nn.Module):
    """A user's own leaf, of several operators and a weight."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.full((8, 1, 1), 0.5))

    def forward(self, x):
        return x * self.factor + 1.5


def network():
    class Block(nn.Module):  # its name holds <locals>
        def __init__(self, act):
            super().__init__()
            self.conv = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8))
            self.act = act

        def forward(self, x):
            return self.act(self.conv(x)) + x

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            act = nn.Hardswish()
            self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
            self.blocks = nn.ModuleList([Block(act), Block(act)])
            self.scale = Scale()
            self.head = nn.Linear(8, 4)

        def forward(self, x):
            x = self.stem(x)
            for block in self.blocks:
                x = block(x)
            x = self.scale(self.blocks[0](x))
            return self.head(x.mean((2, 3))).softmax(-1)

    torch.manual_seed(0)
    return Net().eval()


@needs_torch
@pytest.mark.xdist_group("torch")
def test_ops_of_pytorch_have_the_names_of_modules():
    """Nested and user-defined modules, one module in two places, a block called twice, operators outside any module."""
    graph = load(network(), torch.zeros(1, 3, 16, 16))
    labels = names_of(graph)
    assert [label for label in labels if "CONV" in label or "FULLY" in label] == [
        "CONV_2D 'stem'", "CONV_2D 'blocks.0.conv.0'", "CONV_2D 'blocks.1.conv.0'", "CONV_2D 'blocks.0.conv.0 #2'",
        "FULLY_CONNECTED 'head'",
    ]  # fmt: skip
    assert {"ADD 'blocks.0'", "ADD 'blocks.1'", "MUL 'scale'", "MEAN 'mean'", "SOFTMAX 'softmax'"} <= set(labels)
    assert sum(label.startswith("HARD_SWISH 'blocks.") for label in labels) == 3
    assert not any(re.search(r"<locals>|convert_torch|serving_default|;", label) for label in labels)
    assert not any(re.search(r"<locals>|convert_torch|;", label) for label in names_of(clean(graph)))


@needs_torch
@pytest.mark.xdist_group("torch")
def test_modules_with_names_that_are_no_names():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            for name in ("a/b c", "<script>", "ф" * 400):  # torch itself refuses quotes, line feeds and semicolons
                self.add_module(name, nn.Linear(4, 4))

        def forward(self, x):
            for module in self.children():
                x = module(x).relu()
            return {"y": x}

    graph = load(Odd(), torch.zeros(1, 4))
    names = [graph.called(op) for op in graph.ops]
    assert names[:2] == ["a_b c", "<script>"]
    assert names[2] == "…" + "ф" * 199


@needs_keras
@pytest.mark.xdist_group("keras")
def test_ops_of_keras_have_the_names_of_layers():
    """A nested model called twice, a Sequential, operations that are no layers, names that TensorFlow would number."""
    keras = importlib.import_module("keras")
    keras.backend.clear_session()  # what Keras names itself is counted over all models before
    layers = keras.layers
    inner_in = layers.Input((8, 8, 4))
    inner = keras.Model(
        inner_in, layers.ReLU(name="act")(layers.Conv2D(4, 3, padding="same", name="conv2d")(inner_in)), name="inner"
    )
    x = inputs = layers.Input((8, 8, 3))
    x = layers.BatchNormalization(name="bn")(layers.Conv2D(4, 3, padding="same", name="conv2d")(x))
    x = layers.DepthwiseConv2D(3, padding="same", name="conv2d_1")(x)
    x = inner(inner(x)) * x
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.Sequential([layers.Dense(4, activation="relu", name="hidden"), layers.Dense(3, name="scores")], name="head")(x)
    model = keras.Model(inputs, layers.Softmax(name="probabilities")(x), name="whole")
    calls = {id(layer): layer.call for layer in model._flatten_layers()}
    labels = names_of(load(model))
    assert [label for label in labels if "CONV" in label or "FULLY" in label] == [
        "CONV_2D 'conv2d'", "DEPTHWISE_CONV_2D 'conv2d_1'", "CONV_2D 'inner/conv2d'", "CONV_2D 'inner/conv2d #2'",
        "FULLY_CONNECTED 'head/hidden'", "FULLY_CONNECTED 'head/scores'",
    ]  # fmt: skip
    assert {"MUL 'multiply'", "MEAN 'pool'", "SOFTMAX 'probabilities'"} <= set(labels)
    assert all("call" not in vars(layer) and layer.call == calls[id(layer)] for layer in model._flatten_layers())


@needs_keras
@pytest.mark.xdist_group("keras")
def test_ops_of_subclassed_keras_models_and_of_their_folders(tmp_path):
    keras = importlib.import_module("keras")
    layers = keras.layers

    class Block(layers.Layer):
        def __init__(self, **rest):
            super().__init__(**rest)
            self.inside = layers.Dense(4, name="inside")

        def call(self, x):
            return keras.ops.relu(self.inside(x)) + x

    class Net(keras.Model):
        def __init__(self):
            super().__init__(name="net")
            self.blocks = [Block(name=f"block_{n}") for n in range(2)]

        def call(self, x):
            for block in self.blocks:
                x = block(x)
            return x

    model = Net()
    model(np.zeros((1, 4), np.float32))
    labels = names_of(load(model))
    assert labels[:3] == ["FULLY_CONNECTED 'block_0/inside'", "ADD 'block_0'", "FULLY_CONNECTED 'block_1/inside'"]
    model.export(str(tmp_path / "saved"), verbose=False)
    assert "block_0" in names_of(load(tmp_path / "saved"))[0]


def test_shared_models(shared):
    """Every op of the published files, and of those that litert-torch made of ours, has a layer's name."""
    for path in sorted((shared / "models").glob("*.tflite")):
        graph = tflite.read(path)
        names = [graph.called(op) for op in graph.ops]
        assert not [name for name in names if re.search(r"[;<:]|Identity|Partitioned|arith|torch|Conv2D$|BiasAdd", name)], (
            path.name
        )
        assert len(set(names_of(graph))) == len(graph.ops)
