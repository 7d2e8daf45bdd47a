"""Every rewrite: where it applies, where it must not, and that the float output stays what it was."""

import struct
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from compare import assert_same
from drafts import draft, normal
from hypothesis import given, settings
from hypothesis import strategies as st
from small_graphs import mixes_batch

from intact.formats import tflite
from intact.network.graph import Graph
from intact.network.verify import verify
from intact.numbers.affine import Affine, Float
from intact.ops.activation import Exp, LeakyRelu, Relu, Relu6, ReluN1To1, Softmax, Tanh
from intact.ops.blocks import BatchToSpaceNd, SpaceToBatchNd
from intact.ops.convolution import Conv2D, DepthwiseConv2D, TransposeConv
from intact.ops.elementwise import Add, Div, Mul, Sub
from intact.ops.logic import Greater, Select
from intact.ops.matmul import BatchMatMul, FullyConnected
from intact.ops.opaque import Opaque, Port, Spelling
from intact.ops.pooling import AveragePool2D, MaxPool2D
from intact.ops.quantization import Cast
from intact.ops.reduction import Mean, Sum
from intact.ops.resize import ResizeBilinear, ResizeNearestNeighbor
from intact.ops.shaping import (
    BroadcastTo,
    Concatenation,
    ExpandDims,
    Pack,
    Pad,
    PadV2,
    Reshape,
    ReverseV2,
    ShapeOf,
    Slice,
    Squeeze,
    StridedSlice,
    Tile,
    Transpose,
)
from intact.rewrite.clean import clean, clean_with_log
from intact.rewrite.table import REWRITES
from intact.runtime import litert
from intact.simulate.engine import Program

_TO_NCHW = [0, 3, 1, 2]


@dataclass(frozen=True)
class Case:
    """A graph that ``rewrite`` applies to, and the op kinds that are left; or, without them, one that it must leave alone."""

    rewrite: str
    what: str
    graph: Graph
    left: str = ""

    def __str__(self):
        return f"{self.rewrite}: {self.what}"


def outputs(graph, n=5):
    rng = np.random.default_rng(1)
    with torch.inference_mode():
        made = Program(graph)(
            {
                name: rng.normal(0, 2, (n, *graph[i].shape[1:])).astype(np.float32)
                for name, i in zip(graph.input_names, graph.inputs, strict=True)
            }
        )
    return [made[name].numpy() for name in graph.output_names]


def assert_computes_the_same(graph, expected, rtol=1e-6):
    for y, wanted in zip(outputs(graph), outputs(expected), strict=True):
        assert_same(y, wanted, rtol=rtol)


def kinds(graph):
    return " ".join(op.kind.name for op in graph.ops)


def names(log):
    return [step.rewrite for step in log]


def both(*ids):
    """A branch beside the main path: what it reads has two readers."""
    return ids


def conv(d, x, out=4, *, kernel=1, kind=None, groups=1, bias=True):
    w = normal(out, kernel, kernel, d.shape(x)[-1] // groups)
    return d(kind or Conv2D(), x, w, normal(out) if bias else None)


def depthwise(d, x, multiplier=2, **options):
    channels = d.shape(x)[-1] * multiplier
    return d(DepthwiseConv2D(depth_multiplier=multiplier, **options), x, normal(1, 3, 3, channels), normal(channels))


def dense(d, x, out=5, *, bias=True, **options):
    given = [normal(out)] if bias is True else [] if bias is False else [bias]
    return d(FullyConnected(**options), x, normal(out, d.shape(x)[-1]), *given)


def with_computed_weights(d, x, out):
    return d(FullyConnected(), x, computed(d, x, out, d.shape(x)[-1]), None)


def computed(d, x, *shape):
    """Numbers that are not known before the graph runs, though every input gives the same."""
    mean = d(Mean(), x, list(range(1 + len(d.shape(x)))))
    return d(Add(), d(Mul(), mean, 1e-30), normal(*shape))


def repeat(d, x, axis, times, *, kind=ExpandDims):
    """Keras's repeat_elements: every element of ``axis`` ``times`` times."""
    shape = d.shape(x)
    middle = d(ExpandDims(), x, [axis + 1]) if kind is ExpandDims else d(Reshape(), x, [-1, *shape[:axis], 1, *shape[axis:]])
    tiled = d(Tile(), middle, [times if a == axis + 1 else 1 for a in range(5)])
    return d(Reshape(), tiled, [-1, *(n * times if a == axis else n for a, n in enumerate(shape, 1))])


IMAGE = (4, 6, 3)


def applies(rewrite, what, left, shape, build):
    return Case(rewrite, what, draft(shape, build), left)


def stays(rewrite, what, shape, build):
    return Case(rewrite, what, draft(shape, build))


def padded_pool(pads, value, pool=MaxPool2D):
    return lambda d, x: d(pool((3, 3), (2, 2)), d(PadV2(), x, pads, float(value)))


def dilated(block, pads, crops, back=None, **options):
    """A convolution between SPACE_TO_BATCH and BATCH_TO_SPACE, as TensorFlow spells dilation."""

    def build(d, x):
        y = d(Conv2D(**options), d(SpaceToBatchNd(), x, block, pads), normal(4, 3, 3, 3), normal(4))
        return d(BatchToSpaceNd(), y, back or block, crops)

    return build


def dilated_row(*, regroup=False):
    def build(d, x):
        cut = d(SpaceToBatchNd(), x, [2], [[2, 2]])
        n, w, c = d.values[cut][0].shape
        image = d(Reshape(), cut, [n, 1, w // 2, c * 2] if regroup else [n, 1, w, c])
        y = d(Conv2D(), image, normal(4, 1, 3, d.shape(image)[-1]), normal(4))
        return d(BatchToSpaceNd(), d(Reshape(), y, [n, *d.shape(y)[1:]]), [2], [[0, 0]])

    return build


def two_readers(d, y):
    return d(Tanh(), y), d(Relu(), y)


def transpose_beside_a_reader(d, x):
    first = d(Transpose(), x, [0, 2, 3, 1])
    return d(Relu(), first), d(Tanh(), d(Transpose(), first, [0, 1, 3, 2]))


def mean_beside_a_reader(d, x):
    turned = d(Transpose(), x, _TO_NCHW)
    return d(Relu(), turned), d(Mean(), turned, [2, 3])


def padded(pads, *, kind=Pad, stride=1, kernel=3, conv_kind=Conv2D, padding="valid", dilation=1, value=None):
    def build(d, x):
        y = d(kind(), x, pads, *([] if value is None else [value]))
        options = {"stride": (stride, stride), "dilation": (dilation, dilation), "padding": padding}
        channels = d.shape(y)[-1]
        if conv_kind is DepthwiseConv2D:
            return d(DepthwiseConv2D(**options), y, normal(1, kernel, kernel, channels), normal(channels))
        return d(Conv2D(**options), y, normal(4, kernel, kernel, channels), normal(4))

    return build


AROUND = [[0, 0], [1, 1], [1, 1], [0, 0]]
LOWEST = np.finfo(np.float32).min
AFTER = [[0, 0], [0, 1], [0, 1], [0, 0]]


def abbreviated(begin, end, **masks):
    """A slice whose begin is masked on axis 0, so that it keeps the batch."""
    kind = StridedSlice(begin_mask=1, end_mask=1, **masks)
    return lambda d, x: d(kind, x, begin, end, [1] * len(begin))


def mediapipe(padding, name=b"Convolution2DTransposeBias", options=None):
    """MediaPipe's custom transposed convolution of stride 2, [4, 6, 3] to [8, 12, 5], computed by the builtin one."""
    weight, bias = normal(5, 2, 2, 3), normal(5)
    builtin = TransposeConv((2, 2), "valid" if padding == 2 else "same")

    def kernel(runs):
        shape = torch.tensor([1, 8, 12, 5])
        return [[builtin.compute(shape, torch.from_numpy(weight), x, torch.from_numpy(bias))] for (x,) in runs]

    ports = (Port((1, 4, 6, 3), Float()), Port(weight.shape, Float(), True), Port(bias.shape, Float(), True))
    spelling = Spelling(32, 1, name, None, struct.pack("<3i", padding, 2, 2) if options is None else options)
    kind = Opaque("CUSTOM", spelling, ports, (Port((1, 8, 12, 5), Float()),), per_sample=True, kernel=kernel)
    return lambda d, x: d(kind, x, weight, bias)


CASES = [
    applies("fold constants", "a chain", "ADD", IMAGE, lambda d, x: d(Add(), x, d(Mul(), d(Tanh(), normal(3)), 2.0))),
    stays("fold constants", "one input flows", IMAGE, lambda d, x: d(Div(), x, 2.0)),
    stays("fold constants", "an output", IMAGE, lambda d, x: (d(Relu(), x), d(Tanh(), normal(5, 3)))),
    stays(
        "fold constants",
        "it would grow the file",
        (1,),
        lambda d, x: d(Mul(), x, d(Sum(), d(Tile(), normal(2), [1 << 20]), [0])),
    ),
    applies("drop identity", "RESHAPE", "RELU TANH", IMAGE, lambda d, x: d(Tanh(), d(Reshape(), d(Relu(), x), [-1, *IMAGE]))),
    applies("drop identity", "TRANSPOSE", "TANH", IMAGE, lambda d, x: d(Tanh(), d(Transpose(), x, [0, 1, 2, 3]))),
    applies("drop identity", "PAD, two readers", "TANH RELU", IMAGE, lambda d, x: two_readers(d, d(Pad(), x, [[0, 0]] * 4))),
    applies("drop identity", "axes of length 1", "TANH", (1, 1, 3), lambda d, x: d(Tanh(), d(Transpose(), x, [0, 2, 1, 3]))),
    stays("drop identity", "an output", IMAGE, lambda d, x: d(Reshape(), x, [-1, *IMAGE])),
    stays("drop identity", "equal sides", (3, 3), lambda d, x: d(Tanh(), d(Transpose(), x, [0, 2, 1]))),
    stays("drop identity", "counted from the end", (3, 3), lambda d, x: d(Tanh(), d(Transpose(), x, [0, -1, 1]))),
    stays("drop identity", "another shape", IMAGE, lambda d, x: d(Tanh(), d(Reshape(), x, [-1, 6, 4, 3]))),
    applies(
        "merge transposes",
        "not each other's inverse",
        "TRANSPOSE",
        (2, 3, 4),
        lambda d, x: d(Transpose(), d(Transpose(), x, [0, 2, 3, 1]), [0, 1, 3, 2]),
    ),
    applies(
        "merge transposes",
        "to nothing",
        "RELU TANH",
        IMAGE,
        lambda d, x: d(Tanh(), d(Transpose(), d(Transpose(), d(Relu(), x), _TO_NCHW), [0, 2, 3, 1])),
    ),
    applies(
        "merge transposes",
        "the first has another reader",
        "TRANSPOSE RELU TRANSPOSE TANH",
        IMAGE,
        transpose_beside_a_reader,
    ),
    applies(
        "merge transposes",
        "the first is an output",
        "TRANSPOSE TRANSPOSE",
        (2, 3, 4),
        lambda d, x: both(y := d(Transpose(), x, [0, 2, 3, 1]), d(Transpose(), y, [0, 1, 3, 2])),
    ),
    applies(
        "merge transposes",
        "counted from the end",
        "TRANSPOSE",
        (2, 3, 4),
        lambda d, x: d(Transpose(), d(Transpose(), x, [0, -2, -1, 1]), [0, 1, -1, 2]),
    ),
    stays(
        "merge transposes",
        "an activation between",
        IMAGE,
        lambda d, x: d(Transpose(), d(Tanh(), d(Transpose(), x, _TO_NCHW)), [0, 2, 3, 1]),
    ),
    applies("transpose to reshape", "1 x 1 maps", "RESHAPE", (1, 1, 3), lambda d, x: d(Transpose(), x, _TO_NCHW)),
    applies("transpose to reshape", "one row", "RESHAPE", (1, 4, 3), lambda d, x: d(Transpose(), x, [0, 2, 1, 3])),
    stays("transpose to reshape", "one row, channels first", (1, 4, 3), lambda d, x: d(Transpose(), x, _TO_NCHW)),
    stays("transpose to reshape", "counted from the end", (1, 3, 3), lambda d, x: d(Transpose(), x, [0, 1, -1, 2])),
    applies("mean of transpose", "plain", "MEAN", IMAGE, lambda d, x: d(Mean(), d(Transpose(), x, _TO_NCHW), [2, 3])),
    applies("mean of transpose", "from the end", "MEAN", IMAGE, lambda d, x: d(Mean(), d(Transpose(), x, _TO_NCHW), [-1, -2])),
    applies(
        "mean of transpose",
        "axes kept",
        "MEAN RESHAPE",
        IMAGE,
        lambda d, x: d(Mean(keep_dims=True), d(Transpose(), x, _TO_NCHW), [2, 3]),
    ),
    applies(
        "mean of transpose",
        "axes kept, counted from the end",
        "MEAN RESHAPE",
        IMAGE,
        lambda d, x: d(Mean(keep_dims=True), d(Transpose(), x, [0, 1, -1, -2]), [2, 3]),
    ),
    applies("mean of transpose", "another reader", "TRANSPOSE RELU MEAN", IMAGE, mean_beside_a_reader),
    stays("mean of transpose", "what is left is turned", IMAGE, lambda d, x: d(Mean(), d(Transpose(), x, _TO_NCHW), [2])),
    stays(
        "mean of transpose",
        "what is left is turned, axes kept",
        IMAGE,
        lambda d, x: d(Mean(keep_dims=True), d(Transpose(), x, _TO_NCHW), [3]),
    ),
    stays("mean of transpose", "SUM", IMAGE, lambda d, x: d(Sum(), d(Transpose(), x, _TO_NCHW), [2, 3])),
    stays(
        "mean of transpose",
        "counted from the end",
        (4, 4, 4),
        lambda d, x: d(Mean(), d(Transpose(), x, [0, -1, 1, 2]), [3]),
    ),
    applies("global pool to mean", "VALID", "MEAN", IMAGE, lambda d, x: d(AveragePool2D((4, 6)), x)),
    applies("global pool to mean", "SAME", "MEAN", IMAGE, lambda d, x: d(AveragePool2D((4, 6), (4, 6), "same"), x)),
    stays("global pool to mean", "half the map", IMAGE, lambda d, x: d(AveragePool2D((2, 6), (2, 6)), x)),
    stays("global pool to mean", "one of two windows", IMAGE, lambda d, x: d(AveragePool2D((3, 6), (2, 1)), x)),
    stays("global pool to mean", "at every place", IMAGE, lambda d, x: d(AveragePool2D((4, 6), (1, 1), "same"), x)),
    stays("global pool to mean", "the largest", IMAGE, lambda d, x: d(MaxPool2D((4, 6)), x)),
    stays("global pool to mean", "an activation", IMAGE, lambda d, x: d(AveragePool2D((4, 6), activation="relu"), x)),
    applies(
        "mean without kept axes",
        "flattened",
        "MEAN",
        IMAGE,
        lambda d, x: d(Reshape(), d(Mean(keep_dims=True), x, [1, 2]), [-1, 3]),
    ),
    applies(
        "mean without kept axes",
        "none kept, and an output",
        "MEAN",
        IMAGE,
        lambda d, x: d(Reshape(), d(Mean(), x, [1, 2]), [-1, 3]),
    ),
    stays(
        "mean without kept axes",
        "axes still kept",
        IMAGE,
        lambda d, x: d(Reshape(), d(Mean(keep_dims=True), x, [1, 2]), [-1, 3, 1]),
    ),
    stays(
        "mean without kept axes",
        "another reader",
        IMAGE,
        lambda d, x: both(d(Reshape(), y := d(Mean(keep_dims=True), x, [1, 2]), [-1, 3]), d(Mul(), x, y)),
    ),
    stays(
        "mean without kept axes",
        "an output",
        IMAGE,
        lambda d, x: both(y := d(Mean(keep_dims=True), x, [1, 2]), d(Reshape(), y, [-1, 3])),
    ),
    applies("merge reshapes", "two", "RESHAPE", IMAGE, lambda d, x: d(Reshape(), d(Reshape(), x, [-1, 72]), [-1, 8, 9])),
    applies(
        "merge reshapes",
        "shapes as options",
        "RESHAPE",
        IMAGE,
        lambda d, x: d(Reshape((-1, 8, 9)), d(Reshape((-1, 72)), x)),
    ),
    stays(
        "merge reshapes",
        "another reader",
        IMAGE,
        lambda d, x: both(d(Tanh(), y := d(Reshape(), x, [-1, 72])), d(Reshape(), y, [-1, 8, 9])),
    ),
    stays("merge reshapes", "an output", IMAGE, lambda d, x: both(y := d(Reshape(), x, [-1, 72]), d(Reshape(), y, [-1, 8, 9]))),
    stays(
        "merge reshapes",
        "a TRANSPOSE between",
        IMAGE,
        lambda d, x: d(Reshape(), d(Transpose(), d(Reshape(), x, [-1, 8, 9]), [0, 2, 1]), [-1, 72]),
    ),
    applies("pad in convolution", "stride 1", "CONV_2D", (5, 6, 3), padded(AROUND)),
    applies("pad in convolution", "stride 2, odd side", "CONV_2D", (5, 7, 3), padded(AROUND, stride=2)),
    applies("pad in convolution", "stride 2, even side", "CONV_2D", (6, 8, 3), padded(AFTER, stride=2)),
    applies(
        "pad in convolution",
        "dilated",
        "CONV_2D",
        (6, 8, 3),
        padded([[0, 0], [2, 2], [2, 2], [0, 0]], dilation=2),
    ),
    applies(
        "pad in convolution",
        "depthwise",
        "DEPTHWISE_CONV_2D",
        (6, 6, 3),
        padded(AFTER, stride=2, conv_kind=DepthwiseConv2D),
    ),
    stays("pad in convolution", "symmetric at stride 2", (6, 6, 3), padded(AROUND, stride=2)),
    stays("pad in convolution", "before, not after", (6, 6, 3), padded([[0, 0], [1, 0], [1, 0], [0, 0]], stride=2)),
    stays("pad in convolution", "one axis only", (6, 6, 3), padded([[0, 0], [1, 1], [0, 0], [0, 0]])),
    stays("pad in convolution", "channels too", (6, 6, 3), padded([[0, 0], [1, 1], [1, 1], [0, 1]])),
    stays("pad in convolution", "too much", (6, 6, 3), padded([[0, 0], [2, 2], [2, 2], [0, 0]])),
    stays("pad in convolution", "SAME already", (6, 6, 3), padded(AROUND, padding="same")),
    stays("pad in convolution", "other values", (6, 6, 3), padded(AROUND, kind=PadV2, value=1.0)),
    stays(
        "pad in convolution",
        "another reader",
        (6, 6, 3),
        lambda d, x: both(d(Relu(), y := d(Pad(), x, AROUND)), d(Conv2D(), y, normal(4, 3, 3, 3), None)),
    ),
    *(
        applies("fuse activation", f"{act.name} of {left}", left, IMAGE, lambda d, x, make=make, act=act: d(act(), make(d, x)))
        for act in (Relu, Relu6, ReluN1To1)
        for left, make in {
            "CONV_2D": conv,
            "DEPTHWISE_CONV_2D": depthwise,
            "FULLY_CONNECTED": lambda d, x: dense(d, x, keep_dims=True),
            "ADD": lambda d, x: d(Add(), x, x),
            "SUB": lambda d, x: d(Sub(), 1.0, x),
            "MUL": lambda d, x: d(Mul(), x, x),
        }.items()
    ),
    stays("fuse activation", "another reader", IMAGE, lambda d, x: both(d(Tanh(), y := conv(d, x)), d(Relu(), y))),
    stays("fuse activation", "an output", IMAGE, lambda d, x: both(y := conv(d, x), d(Relu(), y))),
    stays("fuse activation", "one there already", IMAGE, lambda d, x: d(Relu(), conv(d, x, kind=Conv2D(activation="relu6")))),
    stays("fuse activation", "not fused by any kernel", IMAGE, lambda d, x: d(LeakyRelu(0.1), conv(d, x))),
    stays("fuse activation", "no op to carry it", IMAGE, lambda d, x: d(Relu(), d(Tanh(), x))),
]


def affine_cases(rewrite, kind):
    """What holds alike of MUL into weights and ADD into a bias."""
    return [
        applies(rewrite, "a vector", "CONV_2D", IMAGE, lambda d, x: d(kind(), conv(d, x), normal(4, seed=1))),
        applies(rewrite, "the constant first", "CONV_2D", IMAGE, lambda d, x: d(kind(), normal(4, seed=1), conv(d, x))),
        applies(rewrite, "[1, 1, 1, c]", "CONV_2D", IMAGE, lambda d, x: d(kind(), conv(d, x), normal(1, 1, 1, 4, seed=1))),
        applies(rewrite, "a scalar", "CONV_2D", IMAGE, lambda d, x: d(kind(), conv(d, x), -0.7)),
        applies(rewrite, "one channel", "CONV_2D", IMAGE, lambda d, x: d(kind(), conv(d, x, 1), [[-0.7]])),
        applies(rewrite, "without a bias", "CONV_2D", IMAGE, lambda d, x: d(kind(), conv(d, x, bias=False), normal(4, seed=1))),
        applies(rewrite, "groups", "CONV_2D", (4, 4, 6), lambda d, x: d(kind(), conv(d, x, groups=2), normal(4, seed=1))),
        applies(rewrite, "with RELU", "CONV_2D", IMAGE, lambda d, x: d(kind("relu"), conv(d, x), normal(4, seed=1))),
        applies(rewrite, "depthwise", "DEPTHWISE_CONV_2D", IMAGE, lambda d, x: d(kind(), depthwise(d, x), normal(6, seed=1))),
        applies(rewrite, "dense", "FULLY_CONNECTED", (7,), lambda d, x: d(kind(), dense(d, x), normal(5, seed=1))),
        applies(
            rewrite,
            "dense without a bias",
            "FULLY_CONNECTED",
            (7,),
            lambda d, x: d(kind(), dense(d, x, bias=False), normal(1, 5, seed=1)),
        ),
        applies(
            rewrite,
            "dense along the last axis",
            "FULLY_CONNECTED",
            (5, 7),
            lambda d, x: d(kind(), dense(d, x, keep_dims=True), normal(5, seed=1)),
        ),
        stays(rewrite, "per column, as many as channels", IMAGE, lambda d, x: d(kind(), conv(d, x, 6), normal(6, 1, seed=1))),
        stays(rewrite, "per row, as many as channels", IMAGE, lambda d, x: d(kind(), conv(d, x), normal(4, 1, 1, seed=1))),
        stays(rewrite, "per place", IMAGE, lambda d, x: d(kind(), conv(d, x), normal(4, 6, 4, seed=1))),
        stays(rewrite, "one channel becomes many", IMAGE, lambda d, x: d(kind(), conv(d, x, 1), normal(6, seed=1))),
        stays(rewrite, "one column becomes many", (4, 1, 3), lambda d, x: d(kind(), conv(d, x), normal(4, 1, seed=1))),
        Case(
            rewrite, "another rank", draft(IMAGE, lambda d, x: d(kind(), conv(d, x), normal(1, 1, 1, 1, 1)), open_batch=False)
        ),
        stays(rewrite, "nothing constant", IMAGE, lambda d, x: d(kind(), conv(d, x, 3), d(Tanh(), x))),
        stays(rewrite, "twice the same", IMAGE, lambda d, x: d(kind(), y := conv(d, x), y)),
        stays(rewrite, "a RELU between", IMAGE, lambda d, x: d(kind(), conv(d, x, kind=Conv2D(activation="relu")), 0.5)),
        stays(rewrite, "another reader", IMAGE, lambda d, x: both(d(Tanh(), y := conv(d, x)), d(kind(), y, 0.5))),
        stays(rewrite, "an output", IMAGE, lambda d, x: both(y := conv(d, x), d(kind(), y, 0.5))),
        stays(rewrite, "no weights", IMAGE, lambda d, x: d(kind(), d(AveragePool2D((2, 2)), x), 0.5)),
        stays(rewrite, "a bias that is computed", (7,), lambda d, x: d(kind(), dense(d, x, bias=computed(d, x, 5)), 0.5)),
        stays(
            rewrite,
            "weights that are computed",
            (7,),
            lambda d, x: d(kind(), with_computed_weights(d, x, 5), 0.5),
        ),
        stays(rewrite, "the layer is subtracted", (7,), lambda d, x: d(Sub(), 0.5, dense(d, x))),
    ]


CASES += affine_cases("scale in weights", Mul) + affine_cases("shift in bias", Add)
CASES += [
    applies("repeat to resize", "rows", "RESIZE_NEAREST_NEIGHBOR", IMAGE, lambda d, x: repeat(d, x, 1, 2)),
    applies("repeat to resize", "columns", "RESIZE_NEAREST_NEIGHBOR", IMAGE, lambda d, x: repeat(d, x, 2, 3)),
    applies("repeat to resize", "RESHAPE", "RESIZE_NEAREST_NEIGHBOR", IMAGE, lambda d, x: repeat(d, x, 1, 2, kind=Reshape)),
    applies(
        "repeat to resize", "one column", "RESIZE_NEAREST_NEIGHBOR", (4, 1, 3), lambda d, x: repeat(d, x, 2, 3, kind=Reshape)
    ),
    applies(
        "repeat to resize",
        "reshaped further",
        "RESIZE_NEAREST_NEIGHBOR RESHAPE",
        IMAGE,
        lambda d, x: d(Reshape(), d(Tile(), d(ExpandDims(), x, [2]), [1, 1, 2, 1, 1]), [-1, 144]),
    ),
    stays("repeat to resize", "channels", IMAGE, lambda d, x: repeat(d, x, 3, 2)),
    stays(
        "repeat to resize",
        "the whole map",
        IMAGE,
        lambda d, x: d(Reshape(), d(Tile(), d(ExpandDims(), x, [1]), [1, 2, 1, 1, 1]), [-1, 8, 6, 3]),
    ),
    stays(
        "repeat to resize",
        "two axes at once",
        IMAGE,
        lambda d, x: d(Reshape(), d(Tile(), d(ExpandDims(), x, [2]), [1, 1, 2, 2, 1]), [-1, 8, 12, 3]),
    ),
    stays(
        "repeat to resize",
        "another reader",
        IMAGE,
        lambda d, x: both(d(Tanh(), y := d(Tile(), d(ExpandDims(), x, [2]), [1, 1, 2, 1, 1])), d(Reshape(), y, [-1, 8, 6, 3])),
    ),
    stays("repeat to resize", "41 times: 41 * float32(1 / 41) < 1", IMAGE, lambda d, x: repeat(d, x, 1, 41)),
    applies(
        "merge resizes",
        "Keras upsampling",
        "RESIZE_NEAREST_NEIGHBOR",
        IMAGE,
        lambda d, x: repeat(d, repeat(d, x, 1, 2), 2, 3),
    ),
    applies(
        "merge resizes",
        "twice 2",
        "RESIZE_NEAREST_NEIGHBOR",
        IMAGE,
        lambda d, x: d(ResizeNearestNeighbor(), d(ResizeNearestNeighbor(), x, [8, 12]), [16, 24]),
    ),
    stays(
        "merge resizes",
        "no whole factor",
        IMAGE,
        lambda d, x: d(ResizeNearestNeighbor(), d(ResizeNearestNeighbor(), x, [6, 9]), [9, 27]),
    ),
    stays(
        "merge resizes",
        "down and up",
        IMAGE,
        lambda d, x: d(ResizeNearestNeighbor(), d(ResizeNearestNeighbor(), x, [2, 3]), [4, 6]),
    ),
    stays(
        "merge resizes",
        "41 in two steps of rounding",
        (2, 2, 1),
        lambda d, x: d(ResizeNearestNeighbor(), d(ResizeNearestNeighbor(), x, [82, 2]), [164, 2]),
    ),
    stays(
        "merge resizes",
        "other corners",
        IMAGE,
        lambda d, x: d(ResizeNearestNeighbor(), d(ResizeNearestNeighbor(half_pixel_centers=True), x, [8, 12]), [16, 24]),
    ),
    stays("merge resizes", "linear", IMAGE, lambda d, x: d(ResizeBilinear(), d(ResizeBilinear(), x, [8, 12]), [16, 24])),
    stays(
        "merge resizes",
        "another reader",
        IMAGE,
        lambda d, x: both(d(Tanh(), y := d(ResizeNearestNeighbor(), x, [8, 12])), d(ResizeNearestNeighbor(), y, [16, 24])),
    ),
]


def flat(permutation=_TO_NCHW, width=None):
    def build(d, x):
        turned = d(Transpose(), x, permutation)
        size = int(np.prod(d.shape(turned)))
        return d(FullyConnected(), d(Reshape(), turned, [-1, size]), normal(5, width or size), normal(5))

    return build


def unflat(permutation, *, bias=True, activation="none", split=(3, 2, 4)):
    def build(d, x):
        y = dense(d, x, int(np.prod(split)), bias=bias, activation=activation)
        return d(Transpose(), d(Reshape(), y, [-1, *split]), permutation)

    return build


CASES += [
    applies("flatten of transpose", "channels first", "RESHAPE FULLY_CONNECTED", IMAGE, flat()),
    applies("flatten of transpose", "another turn", "RESHAPE FULLY_CONNECTED", IMAGE, flat([0, 2, 3, 1])),
    stays(
        "flatten of transpose",
        "another reader",
        IMAGE,
        lambda d, x: both(d(Tanh(), y := d(Transpose(), x, _TO_NCHW)), dense(d, d(Reshape(), y, [-1, 72]))),
    ),
    stays(
        "flatten of transpose",
        "the flat has another reader",
        IMAGE,
        lambda d, x: both(d(Tanh(), y := d(Reshape(), d(Transpose(), x, _TO_NCHW), [-1, 72])), dense(d, y)),
    ),
    stays(
        "flatten of transpose",
        "an activation between",
        IMAGE,
        lambda d, x: dense(d, d(Reshape(), d(Tanh(), d(Transpose(), x, _TO_NCHW)), [-1, 72])),
    ),
    stays(
        "flatten of transpose",
        "flat in part",
        IMAGE,
        lambda d, x: dense(d, d(Reshape(), d(Transpose(), x, _TO_NCHW), [-1, 3, 24]), keep_dims=True),
    ),
    stays(
        "flatten of transpose",
        "weights that are computed",
        (2, 3),
        lambda d, x: with_computed_weights(d, d(Reshape(), d(Transpose(), x, [0, 2, 1]), [-1, 6]), 5),
    ),
    applies("transpose of unflatten", "turned", "FULLY_CONNECTED RESHAPE", (7,), unflat([0, 2, 3, 1])),
    applies("transpose of unflatten", "turned back", "FULLY_CONNECTED RESHAPE", (7,), unflat(_TO_NCHW)),
    applies("transpose of unflatten", "no bias", "FULLY_CONNECTED RESHAPE", (7,), unflat([0, 2, 3, 1], bias=False)),
    applies("transpose of unflatten", "RELU", "FULLY_CONNECTED RESHAPE", (7,), unflat([0, 3, 1, 2], activation="relu")),
    stays(
        "transpose of unflatten",
        "another reader",
        (7,),
        lambda d, x: both(d(Tanh(), y := dense(d, x, 24)), d(Transpose(), d(Reshape(), y, [-1, 3, 2, 4]), [0, 2, 3, 1])),
    ),
    stays(
        "transpose of unflatten",
        "the unflat is an output",
        (7,),
        lambda d, x: both(y := d(Reshape(), dense(d, x, 24), [-1, 3, 2, 4]), d(Transpose(), y, [0, 2, 3, 1])),
    ),
    stays(
        "transpose of unflatten",
        "a bias that is computed",
        (7,),
        lambda d, x: d(Transpose(), d(Reshape(), dense(d, x, 6, bias=computed(d, x, 6)), [-1, 2, 3]), [0, 2, 1]),
    ),
    stays(
        "transpose of unflatten",
        "no FULLY_CONNECTED",
        (24,),
        lambda d, x: d(Transpose(), d(Reshape(), d(Tanh(), x), [-1, 3, 2, 4]), [0, 2, 3, 1]),
    ),
]


def added(d, x, inner=Add, outer=Add, c=None):
    """``(x w + tanh(x)) + c``, as recurrent cells come."""
    return d(outer(), d(inner(), dense(d, x), d(Tanh(), x)), normal(5, seed=1) if c is None else c)


def without_batch(d, x, shape):
    """``x + y`` for y of the input's shape, which is made to lose its leading axes."""
    return d(Add(), x, d(Reshape(), d(Tanh(), x), shape))


def nothing(d, x, *, factor=0.0, **options):
    return d(Tanh(), d(Add(**options), d(Mul(), x, factor), d(Relu(), x)))


CASES += [
    applies("bias before sum", "the layer first", "TANH FULLY_CONNECTED ADD", (5,), added),
    applies(
        "bias before sum",
        "the layer second",
        "TANH FULLY_CONNECTED ADD",
        (5,),
        lambda d, x: d(Add(), normal(5, seed=1), d(Add(), d(Tanh(), x), dense(d, x))),
    ),
    applies("bias before sum", "one for all", "TANH FULLY_CONNECTED ADD", (5,), lambda d, x: added(d, x, c=0.5)),
    stays("bias before sum", "no layer", (5,), lambda d, x: d(Add(), d(Add(), d(Tanh(), x), x), normal(5))),
    stays("bias before sum", "a product of the layer", (5,), lambda d, x: added(d, x, inner=Mul)),
    stays("bias before sum", "a product of the sum", (5,), lambda d, x: added(d, x, outer=Mul)),
    stays(
        "bias before sum",
        "per place",
        IMAGE,
        lambda d, x: d(Add(), d(Add(), conv(d, x, 3), d(Tanh(), x)), normal(4, 6, 3, seed=1)),
    ),
    stays(
        "bias before sum",
        "another reader of the sum",
        (5,),
        lambda d, x: both(d(Tanh(), y := d(Add(), dense(d, x), d(Tanh(), x))), d(Add(), y, normal(5, seed=1))),
    ),
    Case("broadcast as it is", "a row", draft((6,), lambda d, x: without_batch(d, x, [6]), open_batch=False), "TANH ADD"),
    Case("broadcast as it is", "two axes", draft((1, 6), lambda d, x: without_batch(d, x, [6]), open_batch=False), "TANH ADD"),
    Case("broadcast as it is", "another shape", draft((6, 6), lambda d, x: without_batch(d, x, [6, 1, 6]), open_batch=False)),
    applies("nothing to add", "zeros of a first step", "RELU TANH", (5,), nothing),
    stays("nothing to add", "something", (5,), lambda d, x: nothing(d, x, factor=normal(5))),
    stays("nothing to add", "a clamp", (5,), lambda d, x: nothing(d, x, activation="relu6")),
    stays("nothing to add", "an output", (5,), lambda d, x: d(Add(), d(Mul(), x, 0.0), d(Tanh(), x))),
    stays(
        "nothing to add",
        "more rows",
        (3, 5),
        lambda d, x: d(Tanh(), d(Add(), d(Mul(), x, 0.0), d(Mean(keep_dims=True), x, [1]))),
    ),
]


SELU = "GREATER MUL MINIMUM EXP MUL ADD SELECT"
BARE = "MINIMUM EXP GREATER SELECT"


def selected(d, x, otherwise, limit=0.0):
    return d(Select(), d(Greater(), x, limit), x, otherwise)


def selu(d, x):
    """As Keras' converter spells it."""
    above, positive = d(Greater(), x, 0.0), d(Mul(), x, 1.05)
    return d(Select(), above, positive, d(Add(), d(Mul(), d(Exp(), x), 1.76), -1.76))


def shifted(d, x, c, s, act="none"):
    return d(Mul(act), d(Add(), x, c), s)


def scaled_conv(shape=(3,), **options):
    return lambda d, x: conv(d, d(Mul(), x, normal(*shape, seed=1)), kernel=3, kind=Conv2D(padding="same"), **options)


def two_steps(d, x, second):
    y = d(Mul(), x, normal(3))
    return second(d, y), d(Tanh(), y)


CASES += [
    applies("expand dims to reshape", "EXPAND_DIMS", "RESHAPE", IMAGE, lambda d, x: d(ExpandDims(), x, [2])),
    applies("expand dims to reshape", "SQUEEZE", "RESHAPE", (4, 1, 3), lambda d, x: d(Squeeze((2,)), x)),
    stays("expand dims to reshape", "whole numbers", IMAGE, lambda d, x: d(Tile(), x, d(ExpandDims(), [1, 1, 1, 2], [0]))),
    Case("expand dims to reshape", "the batch's axis", draft((3,), lambda d, x: d(Squeeze((0,)), x), open_batch=False)),
    applies("sub to add", "a vector", "ADD", IMAGE, lambda d, x: d(Sub("relu"), x, normal(3))),
    stays("sub to add", "from a constant", IMAGE, lambda d, x: d(Sub(), normal(3), x)),
    stays("sub to add", "nothing constant", IMAGE, lambda d, x: d(Sub(), d(Tanh(), x), x)),
    applies("merge constants", "MUL", "MUL", IMAGE, lambda d, x: d(Mul("relu"), d(Mul(), x, normal(3)), 2.0)),
    applies("merge constants", "ADD", "ADD", IMAGE, lambda d, x: d(Add(), normal(6, 1), d(Add(), x, normal(6, 1, seed=1)))),
    stays("merge constants", "another axis", IMAGE, lambda d, x: d(Mul(), d(Mul(), x, normal(3)), normal(6, 1))),
    stays("merge constants", "an activation between", IMAGE, lambda d, x: d(Mul(), d(Mul("relu"), x, normal(3)), -1.0)),
    stays("merge constants", "two kinds", IMAGE, lambda d, x: d(Add(), d(Mul(), x, normal(3)), 2.0)),
    stays("merge constants", "another reader", IMAGE, lambda d, x: two_steps(d, x, lambda d, y: d(Mul(), y, 2.0))),
    stays("merge constants", "an output", IMAGE, lambda d, x: both(y := d(Mul(), x, 2.0), d(Mul(), y, 2.0))),
    applies("scale before shift", "vectors", "MUL ADD", IMAGE, lambda d, x: shifted(d, x, normal(3), normal(3), "relu")),
    applies("scale before shift", "scalars", "MUL ADD", IMAGE, lambda d, x: shifted(d, x, -1.0, 0.5)),
    stays("scale before shift", "two axes", IMAGE, lambda d, x: shifted(d, x, normal(3), normal(6, 1))),
    stays("scale before shift", "an activation between", IMAGE, lambda d, x: d(Mul(), d(Add("relu"), x, 1.0), -1.0)),
    stays("scale before shift", "x is broadcast", (4, 1, 3), lambda d, x: shifted(d, x, normal(5, 3), 2.0)),
    stays("scale before shift", "an output", IMAGE, lambda d, x: both(y := d(Add(), x, 2.0), d(Mul(), y, 2.0))),
    applies("bounded exponential", "SELU", SELU, IMAGE, selu),
    applies("bounded exponential", "bare", BARE, IMAGE, lambda d, x: selected(d, x, d(Exp(), x))),
    stays("bounded exponential", "another reader", IMAGE, lambda d, x: both(y := d(Exp(), x), selected(d, x, y))),
    stays("bounded exponential", "the other branch", IMAGE, lambda d, x: d(Select(), d(Greater(), x, 0.0), d(Exp(), x), x)),
    stays("bounded exponential", "another limit", IMAGE, lambda d, x: selected(d, x, d(Exp(), x), 1.0)),
    stays("bounded exponential", "of something else", IMAGE, lambda d, x: selected(d, x, d(Exp(), d(Tanh(), x)))),
    applies("strided slice in full", "an ellipsis", "STRIDED_SLICE", IMAGE, abbreviated([0, 1], [0, 3], ellipsis_mask=1)),
    applies(
        "strided slice in full",
        "a new axis",
        "STRIDED_SLICE RESHAPE",
        IMAGE,
        abbreviated([0, 0, 1, 0], [9, 0, 3, 2], new_axis_mask=2),
    ),
    stays("strided slice in full", "every axis by itself", IMAGE, abbreviated([0, 1, 0, 0], [9, 3, 2, 3])),
    applies("mediapipe transposed convolution", "same", "TRANSPOSE_CONV", IMAGE, mediapipe(1)),
    applies("mediapipe transposed convolution", "valid", "TRANSPOSE_CONV", IMAGE, mediapipe(2)),
    stays("mediapipe transposed convolution", "unknown padding", IMAGE, mediapipe(0)),
    stays("mediapipe transposed convolution", "another op", IMAGE, mediapipe(1, b"MaxUnpooling2D")),
    stays("mediapipe transposed convolution", "options cut off", IMAGE, mediapipe(1, options=b"")),
    applies("scale in next weights", "per channel", "CONV_2D", IMAGE, scaled_conv()),
    applies("scale in next weights", "a scalar", "CONV_2D", IMAGE, scaled_conv(())),
    applies("scale in next weights", "[1, 1, c]", "CONV_2D", IMAGE, scaled_conv((1, 1, 3))),
    applies("scale in next weights", "scalar, groups", "CONV_2D", (4, 4, 6), scaled_conv((), groups=2)),
    applies(
        "scale in next weights", "depthwise", "DEPTHWISE_CONV_2D", IMAGE, lambda d, x: depthwise(d, d(Mul(), x, normal(3)), 2)
    ),
    applies("scale in next weights", "dense", "FULLY_CONNECTED", (7,), lambda d, x: dense(d, d(Mul(), x, normal(7)))),
    stays("scale in next weights", "groups", (4, 4, 6), scaled_conv((6,), groups=2)),
    stays("scale in next weights", "per column, groups", (4, 4, 6), scaled_conv((4, 1), groups=2)),
    stays("scale in next weights", "per column", (4, 3, 3), scaled_conv((3, 1))),
    stays("scale in next weights", "per column and channel", IMAGE, scaled_conv((6, 3))),
    Case(
        "scale in next weights",
        "another rank",
        draft((7,), lambda d, x: dense(d, d(Mul(), x, normal(1, 1, 7)), keep_dims=True), open_batch=False),
    ),
    stays("scale in next weights", "x is broadcast", (4, 4, 1), scaled_conv((3,))),
    stays("scale in next weights", "another reader", IMAGE, lambda d, x: two_steps(d, x, conv)),
    stays("scale in next weights", "an activation between", IMAGE, lambda d, x: conv(d, d(Mul("relu"), x, -1.0))),
    stays("scale in next weights", "computed weights", (7,), lambda d, x: with_computed_weights(d, d(Mul(), x, 2.0), 5)),
    applies("pad in max pool", "stride 2, odd side", "MAX_POOL_2D", (5, 7, 3), padded_pool(AROUND, -np.inf)),
    applies("pad in max pool", "stride 2, even side", "MAX_POOL_2D", (6, 8, 3), padded_pool(AFTER, LOWEST)),
    stays("pad in max pool", "symmetric, even side", (6, 8, 3), padded_pool(AROUND, -np.inf)),
    stays("pad in max pool", "zeros", (5, 7, 3), padded_pool(AROUND, 0.0)),
    stays("pad in max pool", "an average", (5, 7, 3), padded_pool(AROUND, -1e30, AveragePool2D)),
    stays("pad in max pool", "channels too", (5, 7, 3), padded_pool([[0, 0], [1, 1], [1, 1], [0, 1]], LOWEST)),
    *(
        Case("dilated convolution", what, draft(shape, build, open_batch=False), left)
        for what, shape, build, left in (
            ("two dimensions", (8, 8, 3), dilated([2, 2], [[2, 2], [2, 2]], [[0, 0], [0, 0]]), "CONV_2D"),
            ("cropped", (7, 9, 3), dilated([2, 3], [[0, 1], [0, 3]], [[0, 1], [0, 2]]), "PAD CONV_2D"),
            ("one dimension", (8, 3), dilated_row(), "RESHAPE CONV_2D RESHAPE"),
            ("cropped before", (8, 8, 3), dilated([2, 2], [[2, 2], [2, 2]], [[1, 1], [0, 0]]), ""),
            ("crops more than pads", (8, 8, 3), dilated([2, 2], [[2, 2], [2, 2]], [[0, 4], [0, 0]]), ""),
            ("other blocks", (8, 8, 3), dilated([2, 2], [[2, 2], [2, 2]], [[0, 0], [0, 0]], back=[4, 1]), ""),
            ("a stride", (8, 8, 3), dilated([2, 2], [[2, 2], [2, 2]], [[0, 0], [0, 0]], stride=(2, 2)), ""),
            ("SAME", (8, 8, 3), dilated([2, 2], [[2, 2], [2, 2]], [[0, 0], [0, 0]], padding="same"), ""),
            ("regrouped row", (8, 4), dilated_row(regroup=True), ""),
        )
    ),
]


@pytest.mark.parametrize("case", [c for c in CASES if c.left], ids=str)
def test_a_rewrite_applies_and_keeps_the_output(case):
    cleaned, log = clean_with_log(case.graph)
    assert case.rewrite in names(log)
    assert kinds(cleaned) == case.left
    assert cleaned.outputs == case.graph.outputs
    assert_computes_the_same(cleaned, case.graph)


@pytest.mark.parametrize("case", [c for c in CASES if not c.left], ids=str)
def test_a_rewrite_leaves_alone_what_is_not_its_own(case):
    cleaned, log = clean_with_log(case.graph)
    assert case.rewrite not in names(log)
    assert_computes_the_same(cleaned, case.graph)


def test_every_rewrite_has_cases_of_both_kinds():
    assert {c.rewrite for c in CASES if c.left} == set(REWRITES)
    assert {c.rewrite for c in CASES if not c.left} == set(REWRITES)
    assert len({str(c) for c in CASES}) == len(CASES)


def test_the_log_names_the_op_that_each_rewrite_started_from():
    net = draft(IMAGE, lambda d, x: d(Relu(), d(Mul(), conv(d, x), 2.0)))
    assert [(step.rewrite, step.op) for step in clean_with_log(net)[1]] == [
        ("scale in weights", f"MUL {net[net.ops[1].output].name!r}"),
        ("fuse activation", f"RELU {net[net.ops[2].output].name!r}"),
    ]


def turned_flat(d, x):
    return d(Reshape(), d(Transpose(), d(Reshape(), x, [-1, 2, 3]), [0, 2, 1]), [-1, 6])


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("scale in weights", lambda d, x: d(Mul(), dense(d, x), normal(5, seed=1))),
        ("shift in bias", lambda d, x: d(Add(), dense(d, x), normal(5, seed=1))),
        (
            "flatten of transpose",
            lambda d, x: dense(d, turned_flat(d, x)),
        ),
        ("transpose of unflatten", lambda d, x: d(Transpose(), d(Reshape(), dense(d, x, 6), [-1, 2, 3]), [0, 2, 1])),
    ],
)
def test_stored_integers_are_not_taken_for_weights(name, build):
    net = draft((6,), build)
    assert name in names(clean_with_log(net)[1])
    i = next(op.inputs[1] for op in net.ops if isinstance(op.kind, FullyConnected))
    stored = replace(net[i], format=Affine((0.1,), (0,)), data=np.round(10 * net[i].data).astype(np.int8))
    hybrid = replace(net, tensors={**net.tensors, i: stored})
    cleaned, log = clean_with_log(hybrid)
    assert name not in names(log)
    assert_computes_the_same(cleaned, hybrid)


def test_a_dense_layer_that_regroups_its_input_is_left_alone():
    """FULLY_CONNECTED cuts [1, 72] into rows of 36: its columns are no longer x's."""
    net = draft(IMAGE, flat(width=36), open_batch=False)
    cleaned, log = clean_with_log(net)
    assert names(log) == []
    assert_computes_the_same(cleaned, net)


# ---- passes over the whole graph ----------------------------------------------------------------------------------------


def size_of(d, x, axis):
    return d(StridedSlice(shrink_axis_mask=1), d(ShapeOf(), x), [axis], [axis + 1], [1])


def shape_input(graph, kind):
    (op,) = (op for op in graph.ops if isinstance(op.kind, kind))
    return graph[op.inputs[kind is Reshape]].data.tolist()


COUNT = np.int32(72)
CHAINS = {
    "rest is constant": (lambda d, x: d(Pack(), size_of(d, x, 0), COUNT), [-1, 72]),
    "rest is computed": (lambda d, x: d(Pack(), size_of(d, x, 0), d(Mul(), size_of(d, x, 1), np.int32(18))), [-1, 72]),
    "batch is left open": (lambda d, x: d(Pack(), np.int32(-1), d(Mul(), size_of(d, x, 1), np.int32(18))), [-1, 72]),
    "rest is left open": (lambda d, x: d(Pack(), size_of(d, x, 0), np.int32(-1)), [-1, 72]),
    "through a RESHAPE": (
        lambda d, x: d(Pack(), d(Reshape(), d(Reshape(), size_of(d, x, 0), [1]), np.zeros(0, int)), COUNT),
        [-1, 72],
    ),
    "through floats": (
        lambda d, x: d(Pack(), d(Cast("int32"), d(Cast(), size_of(d, x, 0))), COUNT),
        [-1, 72],
    ),
}


@pytest.mark.parametrize("open_batch", [True, False])
@pytest.mark.parametrize(("chain", "wanted"), CHAINS.values(), ids=CHAINS)
def test_shapes_that_follow_the_batch_become_constants(chain, wanted, open_batch):
    net = draft(IMAGE, lambda d, x: d(Tanh(), d(Reshape(), x, chain(d, x))), open_batch=open_batch)
    cleaned = clean(net)
    assert kinds(cleaned) == "RESHAPE TANH"
    assert shape_input(cleaned, Reshape) == wanted
    assert cleaned[cleaned.outputs[0]].shape == (None, 72)
    assert_computes_the_same(cleaned, net)


def test_the_size_of_a_transposed_convolution_becomes_constant_for_one_sample():
    def build(d, x):
        size = d(Pack(), size_of(d, x, 0), d(Mul(), size_of(d, x, 1), np.int32(2)), np.int32(12), np.int32(5))
        return d(TransposeConv((2, 2), "same"), size, normal(5, 3, 3, 3), x, normal(5))

    net = draft(IMAGE, build)
    cleaned = clean(net)
    assert kinds(cleaned) == "TRANSPOSE_CONV"
    assert shape_input(cleaned, TransposeConv) == [1, 8, 12, 5]
    assert_computes_the_same(cleaned, net)


def test_a_size_that_another_op_needs_with_the_batch_stays_computed():
    net = draft((1, 3), lambda d, x: d(BroadcastTo(), x, d(Pack(), size_of(d, x, 0), np.int32(4), np.int32(3))))
    cleaned = clean(net)
    assert kinds(cleaned) == "SHAPE STRIDED_SLICE PACK BROADCAST_TO"
    assert_computes_the_same(cleaned, net)


def test_the_batch_as_a_number_is_not_taken_for_a_shape():
    """x * n, where n passes through a RESHAPE: its value is wanted, not -1."""

    def build(d, x):
        return d(Mul(), x, d(Cast(), d(Reshape(), size_of(d, x, 0), [1])))

    net = draft((3,), build)
    assert_computes_the_same(clean(net), net)


def closed(build):
    return draft(IMAGE, build, open_batch=False)


def test_a_reshape_to_one_sample_is_freed():
    net = closed(lambda d, x: dense(d, d(Reshape(), conv(d, x), [1, 96])))
    cleaned = clean(net)
    assert cleaned[cleaned.outputs[0]].shape == (None, 5)
    assert shape_input(cleaned, Reshape) == [-1, 96]
    assert Program(cleaned).batches
    assert_computes_the_same(cleaned, net)


def sliced(d, x):
    """[1, 4, 6, 3] to [1, 2, 6, 3], each time by another spelling of axis 0."""
    return {
        "SLICE": lambda: d(Slice(), x, [0, 1, 0, 0], [1, 2, 6, 3]),
        "SLICE to the end": lambda: d(Slice(), x, [0, 2, 0, 0], [1, -1, 6, -1]),
        "STRIDED_SLICE": lambda: d(StridedSlice(), x, [0, 1, 0, 0], [1, 3, 6, 3], [1, 1, 1, 1]),
        "STRIDED_SLICE with masks": lambda: d(
            StridedSlice(begin_mask=13, end_mask=12), x, [7, 1, 0, 0], [1, 3, 0, 0], [1, 1, 1, 1]
        ),
        "STRIDED_SLICE from behind": lambda: d(StridedSlice(), x, [-1, 1, 0, 0], [1, 3, 6, 3], [1, 1, 1, 1]),
        "STRIDED_SLICE by twos": lambda: d(StridedSlice(), x, [0, 0, 0, 0], [1, 4, 6, 3], [1, 2, 1, 1]),
    }


OPENED = {
    **{name: (lambda d, x, name=name: conv(d, sliced(d, x)[name]())) for name in sliced(None, None)},
    "the one sample": lambda d, x: d(Add(), x, d(StridedSlice(), x, [0, 0, 0, 0], [1, 4, 6, 3], [1, 1, 1, 1])),
    "a step that goes": lambda d, x: dense(
        d, d(StridedSlice(shrink_axis_mask=2), x, [0, 2, 0, 0], [1, 3, 6, 3], [1, 1, 1, 1]), keep_dims=True
    ),
    "RESHAPE with options": lambda d, x: dense(d, d(Reshape((1, 72)), conv(d, x, 3))),
    "RESHAPE with options and -1": lambda d, x: dense(d, d(Reshape((1, -1)), conv(d, x, 3))),
    "products of flows": lambda d, x: d(
        Transpose(), d(BatchMatMul(adj_y=True), d(Reshape(), x, [1, 2, 12, 3]), d(Reshape((1, 2, 12, 3)), x)), [0, 2, 1, 3]
    ),
    "product with a constant": lambda d, x: d(BatchMatMul(), d(Reshape((1, 24, 3)), x), normal(1, 3, 5)),
    "shuffle": lambda d, x: d(
        Reshape((1, 4, 6, 6)), d(Transpose(), d(Reshape(), conv(d, x, 6), [1, 4, 6, 2, 3]), [0, 1, 2, 4, 3])
    ),
    "parts put together": lambda d, x: d(
        Concatenation(1),
        d(Slice(), x, [0, 2, 0, 0], [1, 2, 6, 3]),
        d(StridedSlice(), x, [0, 0, 0, 0], [1, 2, 6, 3], [1, 1, 1, 1]),
    ),
}


@pytest.mark.parametrize("build", OPENED.values(), ids=OPENED)
def test_what_says_that_the_batch_is_one_is_freed(build, tmp_path):
    net = closed(build)
    cleaned = clean(net)
    assert Program(cleaned).batches
    assert_computes_the_same(cleaned, net)
    x = np.random.default_rng(0).normal(0, 1, (5, 4, 6, 3)).astype(np.float32)
    alone = [next(iter(Program(net)({"x0": x[n : n + 1]}).values())) for n in range(5)]
    assert_same(next(iter(Program(cleaned)({"x0": x}).values())), np.concatenate(alone), rtol=1e-6)
    for name, graph in {"before": net, "after": cleaned}.items():
        (tmp_path / name).write_bytes(tflite.write(graph))
    before, after = (litert.describe(tmp_path / name) for name in ("before", "after"))
    assert len(after.outside) <= len(before.outside)  # nothing leaves the delegate
    (y,) = litert.run(tmp_path / "after", {"x0": x[:1]}).values()
    assert_same(y, alone[0], rtol=1e-5)


def test_the_batch_is_freed_once_a_rewrite_made_room():
    """A TRANSPOSE that takes a batch of 1 for any axis of length 1 hides, until it is gone, that the batch may be open."""
    net = draft((1, 6), lambda d, x: dense(d, d(Reshape(), d(Transpose(), x, [1, 0, 2]), [1, 6])), open_batch=False)
    cleaned = clean(net)
    assert cleaned[cleaned.outputs[0]].shape == (None, 5)
    assert_computes_the_same(cleaned, net)


@pytest.mark.parametrize(
    "net",
    [
        mixes_batch(),
        closed(lambda d, x: d(Sub(), x, d(Mean(keep_dims=True), x, [0]))),
        closed(lambda d, x: d(Add(), x, d(Sum(), x, [0, 1, 2, 3]))),
        closed(lambda d, x: dense(d, d(Reshape(), x, [4, 18]))),
        closed(lambda d, x: d(Transpose(), x, [3, 1, 2, 0])),
        closed(lambda d, x: d(ReverseV2(), x, [0])),
        closed(lambda d, x: d(StridedSlice(begin_mask=1, end_mask=1), x, [0, 0, 0, 0], [0, 4, 6, 3], [-1, 1, 1, 1])),
        draft((), lambda d, x: d(Softmax(), x), open_batch=False),
        draft((3,), lambda d, x: d(Add(), x, d(Mean(), x, [1])), open_batch=False),  # 3 samples fit 3 columns
    ],
)
def test_what_would_mix_samples_stays_closed(net):
    cleaned = clean(net)
    assert cleaned[cleaned.inputs[0]].shape[0] == 1
    assert_computes_the_same(cleaned, net)


def test_an_output_that_is_one_number_per_sample_may_have_no_axis():
    net = closed(lambda d, x: d(Mean(), d(Transpose(), x, _TO_NCHW), [0, 1, 2, 3]))
    cleaned = clean(net)
    assert kinds(cleaned) == "MEAN"
    assert outputs(cleaned)[0].shape == (5,)
    assert_computes_the_same(cleaned, net)


def test_ops_that_only_computed_a_shape_are_gone():
    net = draft(IMAGE, lambda d, x: d(Reshape(), x, d(Pack(), size_of(d, d(Tanh(), x), 0), COUNT)))
    assert kinds(clean(net)) == "RESHAPE"


# ---- any chain of ops ---------------------------------------------------------------------------------------------------


def shapes_of(size):
    """Ways to write ``size`` as a shape of up to 4 axes."""
    return (
        st.lists(st.sampled_from([n for n in range(1, size + 1) if size % n == 0]), max_size=3)
        .filter(lambda shape: size % int(np.prod(shape)) == 0)
        .map(lambda shape: [*shape, size // int(np.prod(shape, dtype=int))])
    )


def step_transpose(draw, d, x, first):
    axes = draw(st.permutations(range(first, 1 + len(d.shape(x)))))
    return d(Transpose(), x, [*range(first), *axes])


def step_reshape(draw, d, x, first):
    lead = -1 if first else d.values[x][0].shape[0]
    return d(Reshape(), x, [lead, *draw(shapes_of(int(np.prod(d.shape(x), dtype=int))))])


def step_pad(draw, d, x, first):
    del first
    pads = [draw(st.sampled_from([(0, 0), (1, 1), (0, 1), (1, 0)])) for _ in d.shape(x)]
    return d(Pad(), x, [(0, 0), *pads])


def step_conv(draw, d, x, first):
    del first
    if len(d.shape(x)) != 3:
        return None
    kernel, stride = draw(st.sampled_from([1, 3])), draw(st.sampled_from([1, 2]))
    padding = draw(st.sampled_from(["same", "valid"]))
    if padding == "valid" and min(d.shape(x)[:2]) < kernel:
        return None
    options = {"stride": (stride, stride), "padding": padding}
    channels = d.shape(x)[-1]
    if draw(st.booleans()):
        return d(DepthwiseConv2D(**options), x, normal(1, kernel, kernel, channels), normal(channels))
    out = draw(st.sampled_from([1, 2, channels]))
    return d(Conv2D(**options), x, normal(out, kernel, kernel, channels), normal(out) if draw(st.booleans()) else None)


def step_dense(draw, d, x, first):
    del first
    shape = d.shape(x)
    return dense(d, x, draw(st.sampled_from([1, 4, 6])), bias=draw(st.booleans()), keep_dims=True) if shape else None


def step_arithmetic(draw, d, x, first):
    del first
    shape = d.shape(x)
    kept = draw(st.integers(0, len(shape)))
    constant = normal(*(n if draw(st.booleans()) else 1 for n in shape[len(shape) - kept :]))
    kind = draw(st.sampled_from([Add, Mul, Sub]))(draw(st.sampled_from(["none", "none", "relu"])))
    return d(kind, x, constant) if draw(st.booleans()) else d(kind, constant, x)


def step_activation(draw, d, x, first):
    del first
    return d(draw(st.sampled_from([Relu(), Relu6(), ReluN1To1(), Tanh()])), x)


def step_mean(draw, d, x, first):
    axes = draw(st.lists(st.sampled_from(range(first, 1 + len(d.shape(x)))), min_size=1, max_size=3)) if d.shape(x) else []
    return d(Mean(draw(st.booleans())), x, axes) if axes else None


STEPS = [step_transpose, step_reshape, step_pad, step_conv, step_dense, step_arithmetic, step_activation, step_mean]


@st.composite
def chains(draw):
    """Up to 8 ops in a row, any of whose outputs may be given out or added to a later one of the same shape.

    With a closed batch, axis 0 is an axis like any other.
    """
    open_batch = draw(st.booleans())

    def build(d, x):
        made = [x]
        for step in draw(st.lists(st.sampled_from(STEPS), min_size=2, max_size=8)):
            if not d.values[made[-1]][0].dim():
                break
            y = step(draw, d, made[-1], int(open_batch))
            if y is not None and d.values[y][0].numel() < 5000:
                made.append(y)
        twins = [i for i in made[:-1] if i != made[-1] and d.values[i][0].shape == d.values[made[-1]][0].shape]
        if twins and draw(st.booleans()):
            made.append(d(Add(), made[-1], draw(st.sampled_from(twins))))
        others = [i for i in made[1:-1] if draw(st.integers(0, 5)) == 0]
        return (*others, made[-1]) if len(made) > 1 else d(Tanh(), x)

    return draft(draw(st.sampled_from([(4, 4, 3), (1, 4, 4), (1, 1, 6), (3, 3), (5, 2, 1)])), build, open_batch=open_batch)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(chains())
def test_any_chain_computes_the_same_and_is_clean_after_once(net):
    verify(net)
    cleaned, _ = clean_with_log(net)
    assert_computes_the_same(cleaned, net, rtol=1e-5)
    again, log = clean_with_log(cleaned)
    assert names(log) == []
    assert again.ops == cleaned.ops
    assert {i: t.shape for i, t in again.tensors.items()} == {i: t.shape for i, t in cleaned.tensors.items()}
