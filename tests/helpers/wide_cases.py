"""One small graph of int16 activations and int8 weights that holds every op kind with a kernel in TensorFlow Lite Micro."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from integer_cases import Builder, samples

from intact.numbers.affine import Affine
from intact.ops import KINDS


def every_wide_kind(seed: int) -> Builder:
    """All op kinds that the target takes in int16, the weighted ones in several shapes, each with its own inputs."""
    b = Builder(np.random.default_rng(seed), "int16")
    kinds = KINDS
    _weighted(b)
    b.op(kinds["BATCH_MATMUL"](), b.flow(5, 6), b.flow(6, 4), out=b.format(0.05, 0.5))
    b.op(kinds["BATCH_MATMUL"](adj_y=True), b.flow(2, 5, 7), b.flow(2, 4, 7), out=b.format(0.05, 0.5), name="transposed")
    b.op(kinds["BATCH_MATMUL"](adj_x=True), b.flow(6, 5), b.flow(6, 3), out=b.format(9.0, 30.0), name="of rows")
    for name in ("ADD", "SUB", "MUL"):
        b.op(kinds[name](activation=b.activation()), b.flow(5, 6), b.flow(5, 6))
        b.op(kinds[name](), b.flow(3, 6), b.constant(6), name="constant")
        b.op(kinds[name](), b.flow(3, 1, 6), b.flow(1, 4, 6), name="broadcast")
        b.op(kinds[name](), b.flow(7, fmt=_fine(b)), b.flow(7), out=b.format(0.5, 0.6), name="of unlike scales")
    for name in ("MAXIMUM", "MINIMUM"):
        fmt = b.format()
        b.op(kinds[name](), b.flow(5, 6, fmt=fmt), b.flow(5, 6, fmt=fmt))
    for name in ("ABS", "LEAKY_RELU", "RELU"):
        b.op(kinds[name](), b.flow(5, 11))
    b.op(kinds["ABS"](), (x := b.flow(5, 11)), out=b.tensors[x].format, name="of one scale")
    b.op(kinds["LEAKY_RELU"](alpha=0.01), b.flow(5, 6), name="0.01")
    for name in ("LOGISTIC", "TANH"):
        b.op(kinds[name](), b.flow(500, fmt=Affine((8 / 32768,), (0,), "int16")))
        b.op(kinds[name](), b.flow(500, fmt=Affine((2.0**-11,), (0,), "int16")), name="of a power of two")
        b.op(kinds[name](), b.flow(500, fmt=Affine((2.0**-12,), (0,), "int16")), name="of the table's own scale")
        b.op(kinds[name](), b.flow(500, fmt=Affine((1e-7,), (0,), "int16")), name="near zero")
        b.op(kinds[name](), b.flow(500, fmt=Affine((1.3,), (0,), "int16")), name="far out")
        b.op(kinds[name](), b.flow(500), name="of any scale")
    for n, scale in enumerate((1e-4, 3e-4, 2e-3, 0.3)):
        b.op(kinds["SOFTMAX"](), b.flow(4, 11, fmt=Affine((scale,), (0,), "int16")), name=f"{n}")
    b.op(kinds["SOFTMAX"](beta=2.0), b.flow(1), name="of one")
    b.op(kinds["SOFTMAX"](beta=0.5), b.flow(1000, fmt=Affine((1e-5,), (0,), "int16")), name="flat")
    for padding in ("same", "valid"):
        for name in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
            b.op(kinds[name]((3, 2), (2, 2), padding, b.activation()), b.flow(7, 7, 5), name=padding)
    for name in ("MEAN", "SUM"):
        b.op(kinds[name](), b.flow(5, 6, 4), b.ints(1, 2), out=b.format(0.3, 3.0))
        b.op(kinds[name](keep_dims=True), b.flow(5, 6, 4), b.ints(3), name="channels")
    for options in ({}, {"align_corners": True}, {"half_pixel_centers": True}):
        b.op(kinds["RESIZE_NEAREST_NEIGHBOR"](**options), b.flow(5, 4, 3), b.ints(8, 9), name=" ".join(options))
    _moves(b)
    byte = Affine((0.02,), (-7,))
    b.op(kinds["QUANTIZE"](), b.flow(5, 6), name="format")
    b.op(kinds["QUANTIZE"](), b.flow(5, 6), out=byte, name="to int8")
    b.op(kinds["QUANTIZE"](), b.flow(5, 6, fmt=byte), name="from int8")
    return b


def _fine(b: Builder) -> Affine:
    return Affine((b.format().scale[0] / 500,), (0,), "int16")


def _weighted(b: Builder) -> None:
    kinds = KINDS
    for name, c_in, shape, options in (
        ("same", 3, (8, 3, 3, 3), {"padding": "same"}),
        ("strided", 8, (5, 3, 2, 8), {"padding": "same", "stride": (2, 2)}),
        ("whole", 8, (6, 3, 3, 8), {}),
        ("dilated", 4, (6, 3, 3, 4), {"dilation": (2, 2)}),
        ("dilated down", 4, (6, 3, 3, 4), {"dilation": (3, 1), "padding": "same"}),
        ("grouped", 4, (6, 1, 1, 2), {}),
        ("of wide windows", 57, (4, 3, 3, 57), {"padding": "same"}),
        ("narrow", 3, (2, 3, 3, 3), {"padding": "same"}),
        ("of a pixel", 7, (9, 1, 1, 7), {}),
    ):
        b.convolution(name, c_in, shape, options)
    x = b.flow(7, 6, 5)
    b.op(kinds["CONV_2D"](), x, *b.weights(x, (4, 1, 1, 5), 0, per_channel=False), out=b.format(), name="per tensor")
    x = b.flow(7, 6, 4)
    w, bias = b.weights(x, (4, 3, 3, 4), 0)
    b.op(kinds["CONV_2D"](padding="same"), x, w, _short(b, bias), out=b.format(), name="with a bias of 32 bits")
    x = b.flow(7, 6, 4)
    b.op(kinds["CONV_2D"](padding="same"), x, b.weights(x, (4, 3, 3, 4), 0)[0], out=b.format(), name="without a bias")
    x = b.flow(9, 8, 6)
    b.op(kinds["DEPTHWISE_CONV_2D"](padding="same", activation=b.activation()), x, *b.weights(x, (1, 3, 3, 6), 3), name="same")
    x = b.flow(9, 8, 3)
    doubled = kinds["DEPTHWISE_CONV_2D"](stride=(2, 2), depth_multiplier=2)
    b.op(doubled, x, *b.weights(x, (1, 3, 3, 6), 3), name="doubled")
    x = b.flow(9, 8, 5)
    b.op(kinds["DEPTHWISE_CONV_2D"](dilation=(2, 2), padding="same"), x, *b.weights(x, (1, 3, 3, 5), 3), name="dilated")
    x = b.flow(4, 4, 3)
    w, bias = b.weights(x, (5, 3, 3, 3), 0)
    b.op(kinds["TRANSPOSE_CONV"](stride=(2, 2), padding="same"), b.ints(1, 8, 8, 5), w, x, bias)
    x = b.flow(40)
    b.op(
        kinds["FULLY_CONNECTED"](activation=b.activation()), x, *b.weights(x, (7, 40), 0), out=b.format(0.05, 0.5), name="wide"
    )
    x = b.flow(39)
    w, bias = b.weights(x, (10, 39), 0, per_channel=False)
    b.op(kinds["FULLY_CONNECTED"](), x, w, bias, out=b.format(0.05, 0.5), name="per tensor")
    x = b.flow(5, 6)
    w, bias = b.weights(x, (3, 6), 0, per_channel=False)
    b.op(kinds["FULLY_CONNECTED"](keep_dims=True), x, w, _short(b, bias), out=b.format(), name="with a bias of 32 bits")
    for kind, shape, options in (
        ("CONV_2D", (5, 3, 3, 4), {"padding": "same"}),
        ("DEPTHWISE_CONV_2D", (1, 3, 3, 6), {"padding": "same"}),
        ("FULLY_CONNECTED", (6, 9), {}),
    ):
        x = b.flow(*((9,) if kind == "FULLY_CONNECTED" else (6, 5, shape[3])))
        w, bias = b.weights(x, shape, 3 if kind.startswith("DEPTH") else 0, per_channel=kind != "FULLY_CONNECTED")
        b.tensors[bias] = replace(b.tensors[bias], data=b.tensors[bias].data + np.int64(2**34) * b.draw.choice((-1, 0, 1)))
        b.op(kinds[kind](**options), x, w, bias, out=b.format(50.0, 60.0), name="with a bias beyond 32 bits")
    x = b.flow(1200)  # sums beyond 32 bits, which the fast kernel could not hold
    fmt = Affine((0.01,), (0,))
    w = b._add((4, 1200), fmt, np.full((4, 1200), 127, np.int8) * np.int8([[1], [-1], [1], [-1]]))
    bias = b._add((4,), Affine((b.tensors[x].format.scale[0] * 0.01,), (0,), "int64"), np.int64([2**40, -(2**41), 0, 5]))
    b.op(kinds["FULLY_CONNECTED"](), x, w, bias, out=b.format(30.0, 60.0), name="far beyond")


def _short(b: Builder, bias: int) -> int:
    """The bias in int32."""
    t = b.tensors[bias]
    b.tensors[bias] = replace(t, format=replace(t.format, dtype="int32"), data=t.data.astype(np.int32))
    return bias


def _moves(b: Builder) -> None:
    kinds, fmt = KINDS, b.format()
    b.op(kinds["CONCATENATION"](axis=2), b.flow(5, 6, fmt=fmt), b.flow(5, 2, fmt=fmt))
    b.op(kinds["EXPAND_DIMS"](), b.flow(5, 6), b.ints(1, shape=()))
    b.op(kinds["PACK"](axis=1, count=2), b.flow(5, fmt=fmt), b.flow(5, fmt=fmt))
    b.op(kinds["PAD"](), b.flow(5, 6), b.ints(0, 0, 2, 1, 0, 3, shape=(3, 2)))
    x = b.flow(5, 6)
    b.op(kinds["PADV2"](), x, b.ints(0, 0, 2, 1, 0, 3, shape=(3, 2)), b.constant(1, fmt=b.tensors[x].format))
    b.op(kinds["RESHAPE"](), b.flow(5, 6), b.ints(-1, 30))
    b.op(kinds["REVERSE_V2"](), b.flow(5, 6), b.ints(1))
    b.op(kinds["SLICE"](), b.flow(5, 6), b.ints(0, 1, 2), b.ints(-1, 3, 2))
    b.op(kinds["SPLIT"](2), b.ints(2, shape=()), b.flow(5, 6))
    b.op(kinds["SPLIT_V"](3), b.flow(5, 6), b.ints(1, -1, 2), b.ints(2, shape=()))
    b.op(kinds["SQUEEZE"]((2,)), b.flow(5, 1, 6))
    b.op(kinds["STRIDED_SLICE"](begin_mask=1, end_mask=1), b.flow(5, 6), b.ints(0, 4, 0), b.ints(1, 0, 6), b.ints(1, -2, 2))
    b.op(kinds["TRANSPOSE"](), b.flow(5, 6), b.ints(0, 2, 1))
    b.op(kinds["UNPACK"](axis=1, count=3), b.flow(3, 6))


def extreme(b: Builder, n: int) -> dict[str, np.ndarray]:
    """Samples of which one is all lowest, one all highest and one both by turns."""
    given = samples(b, n)
    for x in given.values():
        ends = np.iinfo(x.dtype)
        x[0], x[1] = ends.min, ends.max
        x[2] = np.resize([ends.min, ends.max], x[2].shape)
    return given
