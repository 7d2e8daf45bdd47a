"""Small float networks that several tests quantize."""

import numpy as np
from drafts import draft, normal

from intact.network.graph import Graph, Op, Signature, Tensor
from intact.numbers.affine import Index
from intact.ops.activation import HardSwish, Logistic, Relu6, Softmax, Tanh
from intact.ops.convolution import Conv2D, DepthwiseConv2D
from intact.ops.elementwise import Add, Mul
from intact.ops.matmul import FullyConnected
from intact.ops.pooling import AveragePool2D
from intact.ops.reduction import Mean
from intact.ops.shaping import Concatenation, Pad, Reshape


def mobile(seed: int = 0, side: int = 8, classes: int = 4) -> Graph:
    """Convolution, depthwise convolution, residual ADD, global MEAN, classifier, softmax; "image" is [n, side, side, 3]."""
    draw = np.random.default_rng(seed)

    def weight(i: int, *shape: int) -> Tensor:
        return Tensor(i, f"w{i}", shape, data=draw.normal(0, 0.4, shape).astype(np.float32))

    def flow(i: int, *shape: int | None) -> Tensor:
        return Tensor(i, f"x{i}", shape)

    tensors = [
        Tensor(0, "image", (None, side, side, 3)),
        weight(1, 8, 3, 3, 3),
        weight(2, 8),
        flow(3, None, side, side, 8),
        weight(4, 1, 3, 3, 8),
        weight(5, 8),
        flow(6, None, side, side, 8),
        flow(7, None, side, side, 8),
        Tensor(8, "axes", (2,), Index(), np.int32([1, 2])),
        flow(9, None, 8),
        weight(10, classes, 8),
        weight(11, classes),
        flow(12, None, classes),
        Tensor(13, "scores", (None, classes)),
    ]
    ops = (
        Op(Conv2D(padding="same", activation="relu6"), (0, 1, 2), (3,)),
        Op(DepthwiseConv2D(padding="same", activation="relu"), (3, 4, 5), (6,)),
        Op(Add(), (3, 6), (7,)),
        Op(Mean(), (7, 8), (9,)),
        Op(FullyConnected(), (9, 10, 11), (12,)),
        Op(Softmax(), (12,), (13,)),
    )
    return Graph(
        tensors={t.id: t for t in tensors},
        ops=ops,
        inputs=(0,),
        outputs=(13,),
        signatures=(Signature("serving_default", (("image", 0),), (("scores", 13),)),),
    )


def images(n: int, seed: int = 0, side: int = 8) -> np.ndarray:
    """Samples for :func:`mobile`, float32 [n, side, side, 3] in -1..1."""
    return np.random.default_rng(seed).uniform(-1, 1, (n, side, side, 3)).astype(np.float32)


def varied(seed=0):
    """Every rule of formats at once: fixed scales, shared scales, a branch that is requantized, lowered kinds."""

    def weight(*shape):
        return 0.4 * normal(*shape, seed=seed)

    def build(d, x):
        stem = d(HardSwish(), d(Conv2D(padding="same"), x, weight(8, 3, 3, 3), weight(8)))
        y = d(DepthwiseConv2D(padding="same", activation="relu6"), stem, weight(1, 3, 3, 8), weight(8))
        squeezed = d(FullyConnected("relu"), d(Mean(), y, [1, 2]), weight(4, 8), weight(4))
        gate = d(Logistic(), d(FullyConnected(), squeezed, weight(8, 4), weight(8)))
        y = d(Add(), stem, d(Mul(), y, d(Reshape(), gate, [-1, 1, 1, 8])))
        y = d(Concatenation(axis=3), d(Tanh(), y), d(Mul(), y, 10.0), d(Relu6(), y))
        y = d(AveragePool2D((2, 2), (2, 2)), d(Pad(), y, [[0, 0], [1, 1], [1, 1], [0, 0]]))
        y = d(FullyConnected(), d(Reshape(), y, [-1, 5 * 5 * 24]), weight(5, 600), None)
        return d(Softmax(0.05), y)

    return draft((8, 8, 3), build)


NETS = {"mobile": mobile, "varied": varied}
