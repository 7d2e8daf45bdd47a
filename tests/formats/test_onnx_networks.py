"""Whole networks as exporters write them: float outputs equal to ONNX Runtime's, no transposes left, layers by their names."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from onnx_models import compare, gap, graph, laid, litert, model, node, runtime  # noqa: E402

from intact.formats import tflite  # noqa: E402
from intact.formats.load import load  # noqa: E402
from intact.rewrite.clean import clean  # noqa: E402

RNG = np.random.default_rng(0)


def real(*shape):
    return RNG.uniform(-1, 1, shape).astype(np.float32)


def ints(*values):
    return np.asarray(values, np.int64)


def exported(module, sample, *, dynamo, opset=17, **more):
    """What torch's exporters make of a module, the new one or TorchScript's."""
    torch.manual_seed(0)
    module = module if isinstance(module, torch.fx.GraphModule) else module.eval()
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.running_mean.normal_(0, 0.3)
            part.running_var.uniform_(0.5, 2)
    held = io.BytesIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            if dynamo:
                return torch.onnx.export(module, sample, dynamo=True, verbose=False, **more).model_proto
            torch.onnx.export(module, sample, held, dynamo=False, opset_version=opset, **more)
        finally:
            logging.disable(logging.NOTSET)
    return onnx.load_from_string(held.getvalue())


def block(i, o, stride=1, groups=1, kernel=3):
    return nn.Sequential(
        nn.Conv2d(i, o, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(o), nn.Hardswish()
    )


class Gate(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.squeeze, self.excite = nn.Conv2d(c, c // 2, 1), nn.Conv2d(c // 2, c, 1)

    def forward(self, x):
        y = F.relu(self.squeeze(F.adaptive_avg_pool2d(x, 1)))
        return x * F.hardsigmoid(self.excite(y))


class Classifier(nn.Module):
    """As MobileNetV3."""

    def __init__(self):
        super().__init__()
        self.stem, self.depth, self.gate, self.point = block(3, 8, 2), block(8, 8, groups=8), Gate(8), block(8, 8, kernel=1)
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(8, 10))

    def forward(self, x):
        x = self.stem(x)
        x = x + self.point(self.gate(self.depth(x)))
        return self.head(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


class Detector(nn.Module):
    """As YOLO: a pyramid, two heads, boxes put together."""

    def __init__(self):
        super().__init__()
        self.down, self.deep, self.join = block(3, 8, 4), block(8, 8, 2), block(16, 8)
        self.heads = nn.ModuleList([nn.Conv2d(8, 3 * 7, 1), nn.Conv2d(8, 3 * 7, 1)])

    def forward(self, x):
        a = self.down(x)
        b = self.deep(a)
        p = F.max_pool2d(b, 5, 1, 2)
        up = F.interpolate(p, scale_factor=2.0, mode="nearest")
        made = []
        for head, y in zip(self.heads, (self.join(torch.cat([up, a], 1)), b), strict=True):
            z = head(y)
            n, _, h, w = z.shape
            z = z.view(n, 3, 7, h, w).permute(0, 1, 3, 4, 2).sigmoid()
            centre, size, rest = z.split((2, 2, 3), -1)
            made.append(torch.cat([(centre * 2 - 0.5) * 8, (size * 2) ** 2, rest], -1).reshape(n, -1, 7))
        return torch.cat(made, 1)


class Decoder(nn.Module):
    """As YOLO v5: boxes are decoded in place, by a grid and anchors that are constants."""

    def __init__(self):
        super().__init__()
        self.body, self.head = block(3, 8, 4), nn.Conv2d(8, 2 * 7, 1)
        y, x = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
        self.register_buffer("grid", torch.stack((x, y), -1).view(1, 1, 8, 8, 2) - 0.5)
        self.register_buffer("anchors", torch.tensor([[10.0, 13.0], [16.0, 30.0]]).view(1, 2, 1, 1, 2))

    def forward(self, x):
        y = self.head(self.body(x)).view(x.shape[0], 2, 7, 8, 8).permute(0, 1, 3, 4, 2).contiguous().sigmoid()
        y[..., 0:2] = (y[..., 0:2] * 2 + self.grid) * 4
        y[..., 2:4] = (y[..., 2:4] * 2) ** 2 * self.anchors
        return y.view(x.shape[0], -1, 7)


class Distributed(nn.Module):
    """As YOLO v8: sides of boxes as expectations of distributions, around points, times strides; scores."""

    def __init__(self, bins=4, classes=3):
        super().__init__()
        self.bins, self.classes = bins, classes
        self.fine, self.coarse = block(3, 8, 4), block(8, 8, 2)
        self.heads = nn.ModuleList([nn.Conv2d(8, 4 * bins + classes, 1) for _ in range(2)])
        self.expectation = nn.Conv2d(bins, 1, 1, bias=False)
        self.expectation.weight.data[:] = torch.arange(float(bins)).view(1, bins, 1, 1)
        points, strides = [], []
        for size, stride in ((8, 4.0), (4, 8.0)):
            y, x = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
            points.append(torch.stack((x.reshape(-1), y.reshape(-1))))
            strides.append(torch.full((1, size * size), stride))
        self.register_buffer("points", torch.cat(points, 1)[None])
        self.register_buffer("strides", torch.cat(strides, 1)[None])

    def forward(self, x):
        a = self.fine(x)
        maps = [head(y).flatten(2) for head, y in zip(self.heads, (a, self.coarse(a)), strict=True)]
        box, scores = torch.cat(maps, 2).split((4 * self.bins, self.classes), 1)
        n, _, count = box.shape
        sides = self.expectation(box.view(n, 4, self.bins, count).transpose(2, 1).softmax(1)).view(n, 4, count)
        first, last = sides.chunk(2, 1)
        low, high = self.points - first, self.points + last
        return torch.cat((torch.cat(((low + high) / 2, high - low), 1) * self.strides, scores.sigmoid()), 1)


class Segmenter(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.up = block(3, 8), block(8, 16, 2), nn.ConvTranspose2d(16, 8, 2, 2)
        self.wide, self.out = nn.Conv2d(16, 16, 3, padding=2, dilation=2), nn.Conv2d(16, 4, 1)

    def forward(self, x):
        a = self.a(x)
        y = F.leaky_relu(self.wide(torch.cat([self.up(self.b(a)), a], 1)), 0.1)
        y = F.interpolate(self.out(y), scale_factor=2.0, mode="bilinear", align_corners=False)
        return y, y.argmax(1)


class Transformer(nn.Module):
    def __init__(self, d=16):
        super().__init__()
        self.patch, self.place = nn.Conv2d(3, d, 8, 8), nn.Parameter(torch.rand(1, 16, d))
        self.layer = nn.TransformerEncoderLayer(d, 2, 32, activation="gelu", batch_first=True, norm_first=True)
        self.head = nn.Linear(d, 5)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2) + self.place
        return self.head(self.layer(x).mean(1))


class Listener(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv1d(1, 8, 20, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.MaxPool1d(4), nn.Conv1d(8, 8, 3, groups=8), nn.ReLU()
        )
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return F.log_softmax(self.head(self.net(x).mean(-1)), -1)


class Keywords(nn.Module):
    """Frames of a spectrogram, a convolution over time, a recurrent layer in both directions, the last step's classes."""

    def __init__(self, layer, **more):
        super().__init__()
        self.front, self.layer = nn.Conv1d(10, 8, 3, 2, 1), layer(8, 6, batch_first=True, **more)
        self.head = nn.Linear(12 if self.layer.bidirectional else 6, 4)

    def forward(self, x):
        y, _ = self.layer(F.relu(self.front(x)).transpose(1, 2))
        return self.head(y[:, -1])


class Reader(nn.Module):
    """As a reader of text lines: columns of a flat image are the steps, and each gets its letter."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(block(1, 8, (2, 1)), block(8, 8, (2, 1)), nn.MaxPool2d((4, 2), (4, 2)))
        self.layer, self.head = nn.LSTM(8, 6, 2, bidirectional=True), nn.Linear(12, 5)

    def forward(self, x):
        y, _ = self.layer(self.body(x).squeeze(2).permute(2, 0, 1))
        return F.log_softmax(self.head(y), 2).permute(1, 0, 2)


IMAGE = (torch.zeros(1, 3, 32, 32),)
FRAMES = (torch.zeros(1, 10, 16),)
NETWORKS = {
    "classifier": (Classifier, IMAGE, 0),
    "detector": (Detector, IMAGE, 2),  # one for each head, whose boxes are rows of a table
    "decoder": (Decoder, IMAGE, 1),
    "distributed": (Distributed, IMAGE, 2),
    "segmenter": (Segmenter, IMAGE, 0),
    "transformer": (Transformer, IMAGE, 4),  # queries, keys, values and what comes of them: heads before places
    "listener": (Listener, (torch.zeros(1, 1, 400),), 0),
    "keywords by LSTM": (lambda: Keywords(nn.LSTM), FRAMES, 1),  # the spectrogram has its frames last
    "keywords by GRU": (lambda: Keywords(nn.GRU, bidirectional=True), FRAMES, 1),
    "keywords by RNN": (lambda: Keywords(nn.RNN, nonlinearity="relu", num_layers=2), FRAMES, 1),
    "reader": (Reader, (torch.zeros(1, 1, 16, 24),), 0),
}


@pytest.mark.parametrize("dynamo", [True, False], ids=["dynamo", "torchscript"])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_torch_are_those_that_onnx_runtime_runs(name, dynamo):
    network, sample, transposes = NETWORKS[name]
    made = exported(network(), sample, dynamo=dynamo)
    x = RNG.standard_normal(sample[0].shape).astype(np.float32)
    found = compare(made, {made.graph.input[0].name: x}, oracle=runtime)
    assert Counter(op.kind.name for op in clean(found).ops)["TRANSPOSE"] == transposes


@pytest.mark.parametrize("opset", [11, 13, 18, 20])
def test_every_version_of_the_older_exporter_gives_the_same_ops(opset):
    torch.manual_seed(0)
    module, x = Classifier(), RNG.standard_normal((1, 3, 32, 32)).astype(np.float32)
    more = {"input_names": ["image"], "output_names": ["scores"], "dynamic_axes": {"image": {0: "n"}}}
    made = exported(module, IMAGE, dynamo=False, opset=opset, do_constant_folding=opset != 11, **more)
    found = compare(made, {"image": x}, oracle=runtime)
    assert Counter(op.kind.name for op in clean(found).ops) == {
        "PAD": 1, "CONV_2D": 4, "DEPTHWISE_CONV_2D": 1, "HARD_SWISH": 3, "MEAN": 2, "ADD": 1, "MUL": 2, "FULLY_CONNECTED": 1,
    }  # fmt: skip


@pytest.mark.parametrize("dynamo", [True, False], ids=["dynamo", "torchscript"])
def test_ops_are_called_after_the_modules(dynamo):
    found, _ = graph(exported(Classifier(), IMAGE, dynamo=dynamo))
    read = tflite.read(tflite.write(found, named=True))
    called = {op.kind.name: [] for op in read.ops}
    for op in clean(read).ops:
        called.setdefault(op.kind.name, []).append(clean(read)[op.output].origin)
    assert called["CONV_2D"] == ["stem.0", "gate.squeeze", "gate.excite", "point.0"]
    assert called["DEPTHWISE_CONV_2D"] == ["depth.0"]
    assert called["HARD_SWISH"] == ["stem.2", "depth.2", "point.2"]
    assert called["FULLY_CONNECTED"] == ["head.1"]
    assert "gate" in " ".join(called["MUL"])


@pytest.mark.parametrize("name", ["detector", "decoder", "distributed", "keywords by LSTM", "keywords by GRU", "reader"])
def test_a_batch_stays_open(name):
    network, sample, _ = NETWORKS[name]
    found, _ = graph(exported(network(), sample, dynamo=True))
    assert clean(found).takes_batches


@pytest.mark.parametrize("name", ["mobilenet_v2_cifar10", "mobilenet_v3_small_cifar10"])
def test_real_networks_are_what_they_are_from_torch(shared, tmp_path, name):
    """The same ops of the same layers with the same weights, whichever way the network came."""
    source = shared / "models" / f"{name}.pt2"
    program = torch.export.load(source)
    path, x = tmp_path / "net.onnx", RNG.uniform(-1, 1, (1, 3, 32, 32)).astype(np.float32)
    made = exported(program.module(check_guards=False), (torch.zeros(1, 3, 32, 32),), dynamo=True)
    onnx.save(made, path)
    here, there = clean(load(path)), clean(load(source))
    assert [op.kind.name for op in here.ops] == [op.kind.name for op in there.ops]
    assert [here[op.output].origin for op in here.ops] == [there[op.output].origin for op in there.ops]
    given = {here.input_names[0]: laid(x, (0, 2, 3, 1))}
    (a,), (b,) = (
        litert(tflite.write(g), dict(zip(g.input_names, given.values(), strict=True))).values() for g in (here, there)
    )
    (c,) = runtime(made, {made.graph.input[0].name: x}).values()
    assert gap(a, c) < 1e-5
    assert gap(b, c) < 1e-5


# ---- as tf2onnx, PaddleOCR and scikit-learn write them ------------------------------------------------------------------


def test_channels_last_stay_so_where_the_model_has_them_so():
    """tf2onnx: transposes around what wants channels first, images and masks channels last."""
    nodes = [
        node("Transpose", ["image"], ["t"], "model/stem/Conv2D__7", perm=[0, 3, 1, 2]),
        node("Conv", ["t", "w", "b"], ["c"], "model/stem/Conv2D", pads=[0, 0, 1, 1], strides=[2, 2]),
        node("Clip", ["c", "zero", "six"], ["r"], "model/act/Relu6"),
        node("Transpose", ["r"], ["l"], perm=[0, 2, 3, 1]),
        node("Mul", ["l", "scale"], ["m"], "model/scale/mul"),
        node("ReduceMean", ["m"], ["p"], "model/pool/Mean", axes=[1, 2], keepdims=0),
        node("MatMul", ["p", "dense"], ["d"], "model/dense/MatMul"),
        node("Add", ["d", "bias"], ["scores"], "model/dense/BiasAdd"),
    ]
    constants = {"w": real(4, 3, 3, 3), "b": real(4), "zero": np.float32(0), "six": np.float32(6), "scale": real(4)}
    constants |= {"dense": real(4, 2), "bias": real(2)}
    made = model(nodes, {"image": real(1, 8, 10, 3)}, ["m", "scores"], constants)
    found = compare(made, {"image": real(1, 8, 10, 3)}, oracle=runtime)
    assert found[found.inputs[0]].shape == (1, 8, 10, 3)
    assert found[found.outputs[0]].shape == (1, 4, 5, 4)
    assert [op.kind.name for op in found.ops] == ["CONV_2D", "MUL", "MEAN", "FULLY_CONNECTED"]
    read = tflite.read(tflite.write(found, named=True))
    assert [read[op.output].origin for op in read.ops] == ["stem", "scale", "pool", "dense"]


def test_a_text_finder_as_paddle_writes_it():
    """PaddleOCR: hard sigmoids of slope 0.2, sizes computed from shapes, transposed convolutions with a bias behind."""
    nodes = [
        node("Conv", ["x", "w"], ["c"], "Conv.0", pads=[1, 1, 1, 1], strides=[2, 2]),
        node("BatchNormalization", ["c", "g", "h", "m", "v"], ["n"], "BatchNormalization.0", epsilon=1e-5),
        node("Add", ["n", "three"], ["a"]),
        node("Clip", ["a", "zero", "six"], ["k"]),
        node("Mul", ["n", "k"], ["q"]),
        node("Div", ["q", "six"], ["s"]),
        node("GlobalAveragePool", ["s"], ["p"]),
        node("Conv", ["p", "e"], ["f"]),
        node("HardSigmoid", ["f"], ["i"], alpha=0.2, beta=0.5),
        node("Mul", ["s", "i"], ["j"]),
        node("Shape", ["x"], ["size"]),
        node("Slice", ["size", "two", "four", "first"], ["wide"]),
        node("Shape", ["j"], ["now"]),
        node("Slice", ["now", "none", "two", "first"], ["kept"]),
        node("Concat", ["kept", "wide"], ["to"], axis=0),
        node(
            "Resize",
            ["j", "", "", "to"],
            ["r"],
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        ),
        node("ConvTranspose", ["r", "t"], ["u"], strides=[2, 2]),
        node("Add", ["u", "bias"], ["o"]),
        node("Sigmoid", ["o"], ["maps"]),
    ]
    constants = {"w": real(6, 3, 3, 3), "g": real(6), "h": real(6), "m": real(6), "v": real(6) + 2, "three": np.float32(3)}
    constants |= {"zero": np.float32(0), "six": np.float32(6), "e": real(6, 6, 1, 1), "two": ints(2), "four": ints(4)}
    constants |= {"first": ints(0), "none": ints(0), "t": real(6, 1, 2, 2), "bias": real(1, 1, 1, 1)}
    made = model(nodes, {"x": real(1, 3, 16, 24)}, ["maps"], constants, opset=13, sizes={"x": ["n", 3, 16, 24]})
    found = clean(compare(made, {"x": real(1, 3, 16, 24)}, oracle=runtime))
    assert Counter(op.kind.name for op in found.ops) == {
        "PAD": 1, "CONV_2D": 2, "HARD_SWISH": 1, "MEAN": 1, "MUL": 2, "RESIZE_NEAREST_NEIGHBOR": 1,
        "TRANSPOSE_CONV": 1, "LOGISTIC": 1,
    }  # fmt: skip
    assert found.takes_batches


def test_a_classifier_as_scikit_learn_writes_it():
    nodes = [
        node("Scaler", ["x"], ["s"], domain="ai.onnx.ml", offset=[1.0, 2.0, 3.0], scale=[0.5, 1.0, 2.0]),
        node("Cast", ["s"], ["c"], to=1),
        node("MatMul", ["c", "w0"], ["m"]),
        node("Add", ["m", "b0"], ["a"]),
        node("Relu", ["a"], ["r"]),
        node("MatMul", ["r", "w1"], ["n"]),
        node("Add", ["n", "b1"], ["o"]),
        node("Softmax", ["o"], ["probabilities"], axis=1),
        node("ArgMax", ["probabilities"], ["i"], axis=1),
        node("ArrayFeatureExtractor", ["classes", "i"], ["f"], domain="ai.onnx.ml"),
        node("Reshape", ["f", "flat"], ["label"]),
    ]
    constants = {
        "w0": real(3, 8),
        "b0": real(1, 8),
        "w1": real(8, 4),
        "b1": real(1, 4),
        "classes": ints(7, 5, 3, 1),
        "flat": ints(-1),
    }
    made = model(
        nodes, {"x": real(1, 3)}, ["label", "probabilities"], constants, domains=["ai.onnx.ml"],
        ranks={"label": [None], "probabilities": [None, 4]},
    )  # fmt: skip
    found = compare(made, {"x": real(1, 3)}, oracle=runtime)
    assert Counter(op.kind.name for op in found.ops)["FULLY_CONNECTED"] == 2


# ---- where axes lie -------------------------------------------------------------------------------------------------------


def test_a_network_without_convolutions_has_its_images_last_all_the_same():
    made = model(
        [node("Flatten", ["x"], ["f"]), node("Gemm", ["f", "w"], ["y"])], {"x": real(1, 3, 4, 5)}, ["y"], {"w": real(60, 2)}
    )
    found = compare(made, {"x": real(1, 3, 4, 5)})
    assert found[found.inputs[0]].shape == (1, 4, 5, 3)
    assert not [op for op in clean(found).ops if op.kind.name == "TRANSPOSE"]  # it is in the weights


def test_channels_are_shuffled_where_they_lie():
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("Reshape", ["c", "apart"], ["a"]),
        node("Transpose", ["a"], ["t"], perm=[0, 2, 1, 3, 4]),
        node("Reshape", ["t", "whole"], ["b"]),
        node("Conv", ["b", "v"], ["y"]),
    ]
    constants = {"w": real(6, 3, 1, 1), "v": real(2, 6, 1, 1), "apart": ints(1, 2, 3, 4, 5), "whole": ints(1, 6, 4, 5)}
    found = compare(model(nodes, {"x": real(1, 3, 4, 5)}, ["y"], constants), {"x": real(1, 3, 4, 5)})
    assert [op.kind.name for op in found.ops] == ["CONV_2D", "RESHAPE", "TRANSPOSE", "RESHAPE", "CONV_2D"]


def test_a_pixel_shuffle_is_in_the_weights_before_it():
    nodes = [node("Conv", ["x", "w", "b"], ["c"]), node("DepthToSpace", ["c"], ["y"], blocksize=2, mode="CRD")]
    made = model(nodes, {"x": real(1, 3, 4, 5)}, ["y"], {"w": real(12, 3, 1, 1), "b": real(12)})
    found = compare(made, {"x": real(1, 3, 4, 5)})
    assert [op.kind.name for op in found.ops] == ["CONV_2D", "DEPTH_TO_SPACE"]


@pytest.mark.parametrize("groups", [3, 6])
def test_channels_that_are_picked_of_groups_stay_picked(groups):
    nodes = [node("Conv", ["x", "w"], ["c"], group=groups), node("Gather", ["c", "places"], ["y"], axis=1)]
    made = model(nodes, {"x": real(1, 6, 4, 5)}, ["y"], {"w": real(6, 6 // groups, 1, 1), "places": ints(5, 0, 3)})
    found = compare(made, {"x": real(1, 6, 4, 5)})
    assert found.ops[-1].kind.name == "GATHER"


@pytest.mark.parametrize("rank", [3, 5])
def test_what_is_no_image_lies_as_the_model_has_it(rank):
    shape = (1, 2, 6, 5, 4)[:rank]
    made = model([node("Conv", ["x", "w"], ["y"])], {"x": real(*shape)}, ["y"], {"w": real(3, 2, *(1,) * (rank - 2))})
    found = compare(made, {"x": real(*shape)})
    assert found[found.inputs[0]].shape == shape


def test_an_output_that_something_else_is_too_is_a_tensor_of_its_own():
    """An input, a constant, another output."""
    nodes = [node("Identity", [a], [b]) for a, b in (("x", "same"), ("w", "known"), ("r", "again"))]
    made = model([node("Relu", ["x"], ["r"]), *nodes], {"x": real(1, 4)}, ["r", "same", "known", "again"], {"w": real(2, 3)})
    compare(made, {"x": real(1, 4)})


def test_an_input_that_nothing_reads_stays():
    found = compare(
        model([node("Relu", ["x"], ["y"])], {"x": real(1, 4), "z": real(1, 2)}, ["y"]), {"x": real(1, 4), "z": real(1, 2)}
    )
    assert found.input_names == ("x", "z")


def test_bytes_are_taken_as_they_are():
    made = model(
        [node("Cast", ["x"], ["f"], to=1), node("Conv", ["f", "w"], ["y"])],
        {"x": real(1, 3, 4, 4)},
        ["y"],
        {"w": real(2, 3, 1, 1)},
    )
    made.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    found = compare(made, {"x": RNG.integers(0, 255, (1, 3, 4, 4)).astype(np.uint8)}, oracle=runtime)
    assert found[found.inputs[0]].format.dtype == "uint8"


def test_ids_of_words_are_read():
    nodes = [node("Gather", ["table", "ids"], ["e"]), node("ReduceMean", ["e"], ["y"], axes=[1], keepdims=0)]
    ids = RNG.integers(0, 5, (1, 7))
    found = compare(model(nodes, {"ids": ids}, ["y"], {"table": real(5, 4)}), {"ids": ids})
    assert found[found.inputs[0]].format.dtype == "int32"


@pytest.mark.parametrize("form", ["erf", "divided", "halved first"])
def test_gelu_is_found_in_its_parts(form):
    root = np.float32(np.sqrt(2))
    inner = node("Div", ["x", "root"], ["i"]) if form == "divided" else node("Mul", ["x", "inverse"], ["i"])
    rest = [node("Mul", ["x", "a"], ["p"]), node("Mul", ["p", "half"], ["y"])]
    if form == "halved first":
        rest = [node("Mul", ["half", "x"], ["h"]), node("Mul", ["h", "a"], ["y"])]
    nodes = [inner, node("Erf", ["i"], ["e"]), node("Add", ["e", "one"], ["a"]), *rest]
    constants = {"root": root, "inverse": np.float32(1 / root), "one": np.float32(1), "half": np.float32(0.5)}
    found = compare(model(nodes, {"x": real(1, 9)}, ["y"], constants), {"x": 3 * real(1, 9)})
    assert [op.kind.name for op in found.ops] == ["GELU"]


def test_an_erf_of_something_else_stays_one():
    nodes = [node("Erf", ["x"], ["e"]), node("Add", ["e", "one"], ["a"]), node("Mul", ["x", "a"], ["y"])]
    found = compare(model(nodes, {"x": real(1, 9)}, ["y"], {"one": np.float32(1)}), {"x": 3 * real(1, 9)})
    assert "GELU" not in {op.kind.name for op in found.ops}


# ---- at random ----------------------------------------------------------------------------------------------------------


def random_net(draw):
    """A few ops that change shapes and orders, one after the other, on an image."""
    nodes, constants, shape, name = [], {}, (1, 4, 6, 6), "x"

    def add(op, *inputs, **attributes):
        nonlocal name
        made = f"v{len(nodes)}"
        nodes.append(node(op, [name, *inputs], [made], **attributes))
        name = made

    def constant(data):
        constants[key := f"k{len(constants)}"] = data
        return key

    for _ in range(draw.integers(3, 8)):
        rank = len(shape)
        match draw.integers(0, 10):
            case 0 if rank == 4:
                add("Conv", constant(real(4, shape[1], 1, 1)))
                shape = (shape[0], 4, *shape[2:])
            case 1:
                perm = [0, *(int(a) + 1 for a in draw.permutation(rank - 1))]
                add("Transpose", perm=perm)
                shape = tuple(shape[a] for a in perm)
            case 2:
                rest = int(np.prod(shape[1:]))
                sizes = [
                    s
                    for s in ((1, rest), (1, -1, 4), (1, 2, -1, 3), (1, 4, -1), (1, 3, 4, -1))
                    if rest % abs(int(np.prod(s))) == 0
                ]
                to = sizes[draw.integers(len(sizes))]
                add("Reshape", constant(ints(*to)))
                shape = tuple(rest // -int(np.prod(to)) if n == -1 else n for n in to)
            case 3:
                add("Add", constant(real(*(n if draw.random() < 0.6 else 1 for n in shape))))
            case 4:
                add("Mul", constant(real(shape[-1])))
            case 5:
                add("Softmax", axis=int(draw.integers(1, rank)))
            case 6:
                axis = int(draw.integers(1, rank))
                add("Concat", name, axis=axis)
                shape = tuple(2 * n if a == axis else n for a, n in enumerate(shape))
            case 7 if rank > 2:
                axis = int(draw.integers(1, rank))
                add("ReduceMean", axes=[axis], keepdims=0)
                shape = tuple(n for a, n in enumerate(shape) if a != axis)
            case 8:
                axis = int(draw.integers(1, rank + 1))
                if rank < 5:
                    add("Unsqueeze", constant(ints(axis)))
                    shape = (*shape[:axis], 1, *shape[axis:])
            case 9:
                axis = int(draw.integers(1, rank))
                add("Slice", constant(ints(0)), constant(ints(2)), constant(ints(axis)))
                shape = tuple(min(n, 2) if a == axis else n for a, n in enumerate(shape))
    add("Sigmoid")
    return model(nodes, {"x": real(1, 4, 6, 6)}, [name], constants)


@pytest.mark.parametrize("seed", range(60))
def test_random_networks_are_those_that_onnx_runtime_runs(seed):
    compare(random_net(np.random.default_rng(seed)), {"x": real(1, 4, 6, 6)}, oracle=runtime)


def test_a_part_of_no_elements_is_left_out():
    nodes = [node("Split", ["x", "sizes"], ["a", "b", "c"], axis=1), node("Concat", ["c", "b", "a"], ["y"], axis=1)]
    found = compare(model(nodes, {"x": real(1, 6)}, ["y"], {"sizes": np.asarray([4, 0, 2])}), {"x": real(1, 6)})
    assert [op.kind.name for op in found.ops] == ["SLICE", "SLICE", "CONCATENATION"]


def test_a_mask_of_attention_may_be_a_constant():
    mask = np.where(np.tri(5, dtype=bool), 0, -1e4).astype(np.float32)
    nodes = [node("Attention", ["x", "x", "x", "mask"], ["y"], q_num_heads=2, kv_num_heads=2)]
    x = real(1, 5, 8)
    compare(model(nodes, {"x": x}, ["y"], {"mask": mask}, opset=23), {"x": x}, oracle=runtime)


def sliced(start, end, step):
    """The kind that a slice reads of x behind 1000 x and before x + 1."""
    nodes = [
        node("Mul", ["x", "thousand"], ["large"]),
        node("Add", ["x", "one"], ["more"]),
        node("Concat", ["large", "x", "more"], ["all"], axis=1),
        node("Slice", ["all", "start", "end", "axis", "step"], ["y"]),
    ]
    numbers = {"start": start, "end": end, "axis": 1, "step": step}
    constants = {name: np.asarray([given]) for name, given in numbers.items()}
    x = real(1, 4, 3)
    made = model(nodes, {"x": x}, ["y", "all"], constants | {"thousand": np.float32(1000), "one": np.float32(1)})
    found = compare(made, {"x": x})
    maker = found.producers().get(found.producers()[found.outputs[0]].reads[0])
    return "x" if maker is None else maker.kind.name


@pytest.mark.parametrize(
    ("part", "of"),
    [((5, 7, 1), "x"), ((7, 4, -1), "x"), ((4, 7, 2), "x"), ((11, 8, -2), "ADD"), ((3, 0, -1), "MUL")],
)
def test_a_part_of_one_that_lies_beside_others_is_of_that_one(part, of):
    assert sliced(*part) == of


@pytest.mark.parametrize("part", [(2, 6, 1), (9, 2, -3)])
def test_a_part_of_several_that_lie_beside_each_other_is_of_them_all(part):
    assert sliced(*part) == "CONCATENATION"


def test_what_is_put_together_and_split_again_is_itself():
    x = real(1, 4, 3)
    nodes = [
        node("Mul", ["x", "thousand"], ["large"]),
        node("Concat", ["large", "x"], ["all"], axis=1),
        node("Split", ["all"], ["a", "b"], axis=1),
        node("Concat", ["b", "a"], ["y"], axis=1),
    ]
    found = compare(model(nodes, {"x": x}, ["y"], {"thousand": np.float32(1000)}), {"x": x})
    assert Counter(op.kind.name for op in found.ops) == {"MUL": 1, "CONCATENATION": 1}
