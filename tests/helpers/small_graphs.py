"""Graphs of one or a few ops for the tests of the runtime and of measurements."""

import numpy as np

from intact.network.graph import Graph, Op, Signature, Tensor
from intact.numbers.affine import Affine, Float, Format, Index
from intact.ops.activation import Softmax
from intact.ops.convolution import Conv2D
from intact.ops.elementwise import Add
from intact.ops.matmul import FullyConnected
from intact.ops.quantization import Quantize
from intact.ops.reduction import Mean
from intact.ops.shaping import Reshape


def fully_connected(n_in=6, n_out=3, *, seed=0, batch: int | None = 1, signature: bool = False) -> Graph:
    """y = W x + b in float32."""
    rng = np.random.default_rng(seed)
    w = rng.normal(size=(n_out, n_in)).astype(np.float32)
    b = rng.normal(size=n_out).astype(np.float32)
    tensors = (
        Tensor(0, "x", (batch, n_in)),
        Tensor(1, "w", w.shape, data=w),
        Tensor(2, "b", b.shape, data=b),
        Tensor(3, "y", (batch, n_out)),
    )
    signatures = (Signature("serving_default", (("features", 0),), (("scores", 3),)),) if signature else ()
    return graph(tensors, [Op(FullyConnected(), (0, 1, 2), (3,))], (0,), (3,), signatures)


def requantize(source: Format, target: Format, shape=(1, 8)) -> Graph:
    """QUANTIZE from one number format to another: the output shows what the input held."""
    return graph((Tensor(0, "x", shape, source), Tensor(1, "y", shape, target)), [Op(Quantize(), (0,), (1,))], (0,), (1,))


def softmax(scale=0.1, n=4) -> Graph:
    """int8 SOFTMAX. An input scale below 2**-26 makes the reference kernels abort the process."""
    tensors = (
        Tensor(0, "x", (1, n), Affine((scale,), (0,))),
        Tensor(1, "y", (1, n), Affine((1 / 256,), (-128,))),
    )
    return graph(tensors, [Op(Softmax(), (0,), (1,))], (0,), (1,))


def baked_batch(n=4) -> Graph:
    """A RESHAPE to a constant [1, n], as front ends write it: resizing the input cannot work."""
    tensors = (
        Tensor(0, "x", (1, 2, n // 2)),
        Tensor(1, "shape", (2,), Index("int32"), np.array([1, n], np.int32)),
        Tensor(2, "y", (1, n)),
    )
    return graph(tensors, [Op(Reshape(), (0, 1), (2,))], (0,), (2,))


def mixes_batch(n=4) -> Graph:
    """x + mean over axis 0: resizing works, and mixes the samples."""
    tensors = (
        Tensor(0, "x", (1, n)),
        Tensor(1, "axes", (1,), Index("int32"), np.array([0], np.int32)),
        Tensor(2, "mean", (1, n)),
        Tensor(3, "y", (1, n)),
    )
    return graph(tensors, [Op(Mean(keep_dims=True), (0, 1), (2,)), Op(Add(), (0, 2), (3,))], (0,), (3,))


def two_inputs(n=3) -> Graph:
    """u + v, both [1, n]."""
    tensors = (Tensor(0, "u", (1, n)), Tensor(1, "v", (1, n)), Tensor(2, "y", (1, n)))
    return graph(tensors, [Op(Add(), (0, 1), (2,))], (0, 1), (2,))


def residual(fmt: Format | None = None, size=8, channels=4) -> Graph:
    """x + conv(conv(x)), 3x3 SAME: the input must be kept until the ADD."""
    fmt = fmt or Float()
    kernel = np.zeros((channels, 3, 3, channels), np.int8 if isinstance(fmt, Affine) else np.float32)
    weight = Affine((0.1,), (0,)) if isinstance(fmt, Affine) else fmt
    shape = (1, size, size, channels)
    flow = tuple(Tensor(i, name, shape, fmt) for i, name in enumerate(("x", "a", "b", "y")))
    weights = tuple(Tensor(i, f"w{i}", kernel.shape, weight, kernel) for i in (4, 5))
    conv = Conv2D(padding="same")
    ops = [Op(conv, (0, 4, None), (1,)), Op(conv, (1, 5, None), (2,)), Op(Add(), (0, 2), (3,))]
    return graph((*flow, *weights), ops, (0,), (3,))


def graph(tensors, ops, inputs, outputs, signatures=()) -> Graph:
    return Graph({t.id: t for t in tensors}, tuple(ops), inputs, outputs, signatures)
