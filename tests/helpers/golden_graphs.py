"""The graphs of ``golden/*.tflite``. ``python tests/helpers/golden_graphs.py`` writes them again, after a change on purpose."""

from pathlib import Path

import numpy as np

from intact.formats import tflite
from intact.network.graph import Graph, Op, Signature, Tensor
from intact.numbers.affine import Affine, Float, Index, bias_format
from intact.ops.activation import Softmax
from intact.ops.convolution import Conv2D, DepthwiseConv2D
from intact.ops.elementwise import Add
from intact.ops.matmul import FullyConnected
from intact.ops.quantization import Dequantize, Quantize
from intact.ops.reduction import Mean

FOLDER = Path(__file__).parents[1] / "golden"


def wave(*shape):
    """Float32 numbers in -1..1 that need no random generator, in steps of 1/16 so that float16 holds them exactly."""
    return (((np.arange(np.prod(shape)) * 7) % 33 - 16) / 16).reshape(shape).astype(np.float32)


def steps(*shape):
    """int8 numbers in -127..127."""
    return ((np.arange(np.prod(shape)) * 37) % 255 - 127).reshape(shape).astype(np.int8)


def biases(n):
    return ((np.arange(n) * 501) % 2000 - 1000).astype(np.int32)


def graph(tensors, ops, outputs=None, **about) -> Graph:
    """Of (shape, format, data) in the order of their ids; x is the first tensor and y the last."""
    last = len(tensors) - 1
    names = {0: "x", last: "y"}
    made = {i: Tensor(i, names.get(i, f"t{i}"), tuple(shape), fmt, data) for i, (shape, fmt, data) in enumerate(tensors)}
    return Graph(made, tuple(ops), (0,), (last,) if outputs is None else outputs, **about)


def flow(*shape, fmt=None):
    return (None, *shape), fmt or Float(), None


def stored(data, fmt=None):
    return data.shape, fmt or Float(str(data.dtype)), data


def float32():
    """Strided and depthwise convolution, residual ADD, MEAN, classifier; with a signature, metadata and a description."""
    tensors = [
        flow(6, 6, 2),
        stored(wave(4, 3, 3, 2)),
        stored(wave(4)),
        flow(3, 3, 4),
        stored(wave(1, 3, 3, 4)),
        stored(wave(4)),
        flow(3, 3, 4),
        flow(3, 3, 4),
        ((2,), Index(), np.int32([1, 2])),
        flow(4),
        stored(wave(3, 4)),
        flow(3),
        flow(3),
    ]
    ops = [
        Op(Conv2D(stride=(2, 2), padding="same", activation="relu6"), (0, 1, 2), (3,)),
        Op(DepthwiseConv2D(padding="same"), (3, 4, 5), (6,)),
        Op(Add("relu"), (3, 6), (7,)),
        Op(Mean(), (7, 8), (9,)),
        Op(FullyConnected(), (9, 10), (11,)),
        Op(Softmax(), (11,), (12,)),
    ]
    signature = Signature("serving_default", (("image", 0),), (("scores", 12),))
    return graph(tensors, ops, signatures=(signature,), metadata=(("min_runtime_version", b"2.3.0"),), description="golden")


X = Affine((1 / 64,), (-5,))
Y = Affine((1 / 4,), (3,))


def per_channel(channels, axis):
    return Affine(tuple((1 + c) / 1024 for c in range(channels)), (0,) * channels, axis=axis)


def int8_per_channel():
    """Float in and out, an int8 convolution and a depthwise one with a scale per output channel."""
    wide, deep = per_channel(4, 0), per_channel(4, 3)
    tensors = [
        flow(5, 5, 2),
        flow(5, 5, 2, fmt=X),
        stored(steps(4, 1, 1, 2), wide),
        stored(biases(4), bias_format(X, wide)),
        flow(5, 5, 4, fmt=Y),
        stored(steps(1, 3, 3, 4), deep),
        stored(biases(4), bias_format(Y, deep)),
        flow(3, 3, 4, fmt=Y),
        flow(3, 3, 4),
    ]
    ops = [
        Op(Quantize(), (0,), (1,)),
        Op(Conv2D(activation="relu"), (1, 2, 3), (4,)),
        Op(DepthwiseConv2D(), (4, 5, 6), (7,)),
        Op(Dequantize(), (7,), (8,)),
    ]
    return graph(tensors, ops)


def int8_shared_zero_points():
    """Four layers of equal width and equal scales: all scale vectors are one in the file, and all zero-point vectors."""
    wide, channels = Affine((1 / 512,) * 16, (0,) * 16, axis=0), 16
    tensors = [flow(1, 2, channels, fmt=X)]
    ops = []
    for layer in range(4):
        tensors += [
            stored(steps(channels, 1, 1, channels), wide),
            stored(biases(channels), bias_format(X, wide)),
            flow(1, 2, channels, fmt=X),
        ]
        ops.append(Op(Conv2D(), (3 * layer, 3 * layer + 1, 3 * layer + 2), (3 * layer + 3,)))
    return graph(tensors, ops)


def float16():
    """Weights in half precision behind DEQUANTIZE."""
    tensors = [
        flow(6),
        stored(wave(4, 6).astype(np.float16)),
        stored(wave(4).astype(np.float16)),
        stored_later(4, 6),
        stored_later(4),
        flow(4),
    ]
    ops = [
        Op(Dequantize(), (1,), (3,)),
        Op(Dequantize(), (2,), (4,)),
        Op(FullyConnected(activation="relu"), (0, 3, 4), (5,)),
    ]
    return graph(tensors, ops)


def stored_later(*shape):
    return shape, Float(), None


def dynamic():
    """int8 weights, float activations."""
    tensors = [
        flow(4, 4, 2),
        stored(steps(4, 3, 3, 2), per_channel(4, 0)),
        stored(wave(4)),
        flow(4, 4, 4),
        ((2,), Index(), np.int32([1, 2])),
        flow(4),
        stored(steps(3, 4), Affine((1 / 128,), (0,))),
        flow(3),
    ]
    ops = [
        Op(Conv2D(padding="same", activation="relu"), (0, 1, 2), (3,)),
        Op(Mean(), (3, 4), (5,)),
        Op(FullyConnected(asymmetric_inputs=True), (5, 6), (7,)),
    ]
    return graph(tensors, ops)


def int4():
    """Weights of 4 bits, two to a byte, an odd number of them."""
    weight = Affine((1 / 8, 1 / 16, 1 / 32), (0, 0, 0), "int4", 0)
    data = (np.arange(15) % 15 - 7).reshape(3, 5).astype(np.int8)
    tensors = [flow(5, fmt=X), stored(data, weight), stored(biases(3), bias_format(X, weight)), flow(3, fmt=Y)]
    return graph(tensors, [Op(FullyConnected(), (0, 1, 2), (3,))])


def int2():
    """Weights of 2 bits, four to a byte, and three more; one scale for all."""
    weight = Affine((1 / 8,), (0,), "int2")
    data = (np.arange(15) % 4 - 2).reshape(3, 5).astype(np.int8)
    tensors = [flow(5, fmt=X), stored(data, weight), stored(biases(3), bias_format(X, weight)), flow(3, fmt=Y)]
    return graph(tensors, [Op(FullyConnected(), (0, 1, 2), (3,))])


GRAPHS = {make.__name__: make for make in (float32, int8_per_channel, int8_shared_zero_points, float16, dynamic, int4, int2)}

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, make in GRAPHS.items():
        (FOLDER / f"{name}.tflite").write_bytes(tflite.write(make()))
