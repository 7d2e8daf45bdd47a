"""Small float networks that several tests quantize."""

import numpy as np

from intact.affine import Index
from intact.graph import Graph, Op, Signature, Tensor
from intact.ops.activation import Softmax
from intact.ops.convolution import Conv2D, DepthwiseConv2D
from intact.ops.elementwise import Add
from intact.ops.matmul import FullyConnected
from intact.ops.reduction import Mean


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
