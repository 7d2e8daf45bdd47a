"""Every row of the ONNX tables against ONNX's own evaluator: LiteRT must give the same numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx_models import compare, graph, model, node, runtime  # noqa: E402

from intact.formats.onnx.table import ROWS  # noqa: E402

RNG = np.random.default_rng(0)


def real(*shape, low=-3.0, high=3.0):
    return RNG.uniform(low, high, shape).astype(np.float32)


def ints(*values):
    return np.asarray(values, np.int64)


class Case:
    """One op on arrays: those of ``inputs`` are given, others are constants; None is left out."""

    def __init__(
        self, op, *operands, opset=17, given=1, outputs=1, oracle="reference", tolerance=1e-5, domain="", **attributes
    ):
        self.op, self.operands, self.opset, self.given, self.outputs = op, operands, opset, given, outputs
        self.oracle, self.tolerance, self.domain, self.attributes = oracle, tolerance, domain, attributes

    def __repr__(self):
        shapes = "x".join(",".join(map(str, x.shape)) if x is not None else "-" for x in self.operands[: self.given])
        said = ",".join(f"{k}={v if not isinstance(v, (list, np.ndarray)) else list(v)}" for k, v in self.attributes.items())
        return f"{self.op}-{self.opset}[{shapes}]{said}"[:110]


def boxed(shape, box):
    """The places [..., rank] that a slice assigns to, as torch's exporters spell it."""
    places = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    return places[box].astype(np.int64)


BOXES = (
    (np.s_[:, 1:3], (1, 2, 5, 6)),
    (np.s_[:, :, :, 0:2], (1, 4, 5, 2)),
    (np.s_[:, 1:3, 2:, :4], (1, 2, 3, 4)),
    (np.s_[:, :], (1, 4, 5, 6)),
)
IMAGE, ODD = (1, 4, 6, 7), (1, 3, 9, 11)
W, DW = real(5, 4, 3, 3), real(8, 1, 3, 3)
ELEMENTWISE = [
    *(
        Case(op, real(*IMAGE))
        for op in (
            "Relu",
            "Sigmoid",
            "Tanh",
            "Exp",
            "Abs",
            "Neg",
            "Sin",
            "Cos",
            "Floor",
            "Ceil",
            "Sign",
            "Erf",
            "Softplus",
            "Softsign",
            "Identity",
            "HardSwish",
        )
    ),
    Case("Round", np.asarray([[-2.5, -1.5, -0.5, 0.5, 1.5, 2.4]], np.float32)),
    *(Case(op, real(2, 5, low=0.1)) for op in ("Log", "Sqrt", "Reciprocal")),
    Case("Tan", real(2, 5, low=-1, high=1)),
    Case("LeakyRelu", real(2, 5), alpha=0.3),
    Case("LeakyRelu", real(2, 5)),
    *(Case("Elu", real(2, 5), alpha=a) for a in (1.0, 0.7)),
    Case("Selu", real(2, 5)),
    Case("Selu", real(2, 5), alpha=1.5, gamma=2.0),
    Case("Celu", real(2, 5), alpha=1.3),
    Case("HardSigmoid", real(2, 40)),
    Case("HardSigmoid", real(2, 40, low=-6, high=6), alpha=1 / 6, beta=0.5),
    Case("ThresholdedRelu", real(2, 5), alpha=0.8),
    Case("Mish", real(2, 5), opset=18),
    Case("Gelu", real(2, 5), opset=20),
    Case("Gelu", real(2, 5), opset=20, approximate="tanh"),
    Case("Swish", real(2, 5), opset=24, alpha=1.7),
    Case("PRelu", real(*IMAGE), real(4, 1, 1)),
    Case("PRelu", real(*IMAGE), real(1)),
    Case("PRelu", real(1, 4), real(4)),
    Case("Clip", real(*IMAGE, low=-9, high=9), np.float32(0), np.float32(6)),
    Case("Clip", real(*IMAGE), None, np.float32(1)),
    Case("Clip", real(*IMAGE), np.float32(-0.5)),
    Case("Clip", real(*IMAGE), np.float32(0)),
    Case("Clip", real(*IMAGE), np.float32(-1), np.float32(1)),
    Case("Clip", real(*IMAGE)),
    Case("Clip", real(2, 3), np.float32(0), np.float32(1), opset=11),
    *(Case("Softmax", real(2, 3, 4), axis=a, opset=13) for a in (0, 1, 2, -1, -2)),
    *(Case("Softmax", real(2, 3, 4), axis=a, opset=11, oracle="runtime") for a in (0, 1, 2)),
    Case("Softmax", real(2, 3, 4), opset=11, oracle="runtime"),
    Case("Softmax", real(2, 3, 4), opset=13),
    Case("Softmax", real(*IMAGE), axis=1),
    Case("LogSoftmax", real(2, 5)),
    Case("LogSoftmax", real(*IMAGE), axis=2),
    *(
        Case("Cast", x, to=t)
        for x, t in (
            (real(2, 3), 7),
            (real(2, 3), 6),
            (ints(1, 0, 3), 1),
            (ints(1, 0, 3), 9),
            (np.asarray([True, False]), 1),
            (real(2, 3), 9),
        )
    ),
]
PAIRS = [
    *(
        Case(op, real(*a), real(*b), given=2)
        for op in ("Add", "Sub", "Mul")
        for a, b in (
            (IMAGE, IMAGE),
            (IMAGE, (1, 4, 1, 1)),
            ((1, 1, 1, 7), IMAGE),
            (IMAGE, (4, 1, 1)),
            ((2, 3), (3,)),
            ((3,), (2, 3)),
            ((1, 5), (2, 3, 5)),
            ((2, 3, 4), (3, 1)),
            ((), (2, 3)),
            ((1, 2, 3, 4, 2), (1, 2, 1, 4, 2)),
        )
    ),
    *(
        Case(op, real(*a), real(*b))
        for op in ("Add", "Mul", "Sub", "Div")
        for a, b in (
            (IMAGE, (4, 1, 1)),
            (IMAGE, (7,)),
            (IMAGE, (1,)),
            (IMAGE, ()),
            ((3,), (2, 3)),
            ((2, 3), (1, 2, 3)),
        )
    ),
    Case("Sub", real(7), real(*IMAGE), given=2),
    Case("Div", real(2, 5), real(2, 5, low=0.5), given=2),
    *(Case("Pow", real(2, 5, low=0.1), np.float32(e)) for e in (2, 0.5, 1.7, -1)),
    Case("Pow", real(2, 5), ints(2).reshape(())),
    Case("Pow", real(2, 5, low=0.1), real(5), given=2),
    *(Case(op, real(2, 5), real(2, 5), real(1, 5), given=3) for op in ("Max", "Min", "Sum", "Mean")),
    *(Case(op, real(2, 5)) for op in ("Max", "Min", "Sum", "Mean")),
    Case("Max", real(*IMAGE), np.float32(0)),
    *(Case(op, real(2, 5), real(5), given=2) for op in ("Greater", "Less", "GreaterOrEqual", "LessOrEqual")),
    Case("Equal", ints(1, 2, 3), ints(1, 5, 3), given=2),
    *(Case(op, RNG.random((2, 5)) > 0.5, RNG.random((2, 5)) > 0.5, given=2) for op in ("And", "Or", "Xor")),
    Case("Not", RNG.random((2, 5)) > 0.5),
    Case("Where", RNG.random((1, 1, 6, 7)) > 0.5, real(*IMAGE), real(*IMAGE), given=3),
    Case("Where", RNG.random((2, 5)) > 0.5, real(2, 5), np.float32(-1), given=2),
    Case("Mod", ints(5, -5, 7), ints(3, 3, -4), given=2),
    Case("Mod", ints(5, -5, 7), ints(3, 3, -4), given=2, fmod=1),
]
CONV = [
    Case("Conv", real(*IMAGE), W),
    Case("Conv", real(*IMAGE), W, real(5), pads=[1, 1, 1, 1]),
    Case("Conv", real(*IMAGE), W, pads=[1, 1, 1, 1], strides=[2, 2]),
    Case("Conv", real(*IMAGE), W, pads=[0, 0, 1, 1], strides=[2, 2]),
    Case("Conv", real(*IMAGE), W, pads=[0, 2, 1, 0], strides=[1, 2]),
    Case("Conv", real(*IMAGE), W, dilations=[2, 2], pads=[2, 2, 2, 2]),
    Case("Conv", real(1, 4, 9, 9), W, dilations=[2, 3]),
    *(
        Case("Conv", real(*IMAGE), W, auto_pad=a, strides=s)
        for a in ("SAME_UPPER", "SAME_LOWER", "VALID")
        for s in ([1, 1], [2, 2], [2, 3])
    ),
    Case("Conv", real(1, 4, 6, 7), real(4, 1, 3, 3), group=4, pads=[1] * 4),
    Case("Conv", real(1, 4, 6, 7), DW, real(8), group=4, strides=[2, 2]),
    Case("Conv", real(1, 4, 6, 7), real(6, 2, 3, 3), group=2),
    Case("Conv", real(1, 4, 6, 7), real(5, 4, 1, 1), kernel_shape=[1, 1]),
    Case("Conv", real(1, 1, 6, 7), real(3, 1, 3, 3)),
    Case("Conv", real(1, 3, 20), real(5, 3, 4), real(5), pads=[2, 1], strides=[2]),
    Case("Conv", real(1, 6, 20), real(6, 1, 3), group=6, dilations=[2]),
    Case("Conv", real(1, 2, 5, 6, 7), real(3, 2, 2, 3, 3), real(3), pads=[1, 1, 1, 0, 1, 1], strides=[1, 2, 2]),
    Case("ConvTranspose", real(1, 4, 5, 6), real(4, 3, 2, 2), strides=[2, 2]),
    Case(
        "ConvTranspose", real(1, 4, 5, 6), real(4, 3, 3, 3), real(3), strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]
    ),
    Case("ConvTranspose", real(1, 4, 5, 6), real(4, 3, 3, 3), pads=[1, 1, 1, 1]),
    Case("ConvTranspose", real(1, 4, 5, 6), real(4, 3, 3, 3), strides=[3, 2], pads=[0, 1, 2, 0]),
    Case("ConvTranspose", real(1, 4, 5, 6), real(4, 3, 4, 4), strides=[2, 2], pads=[1, 1, 1, 1]),
    Case("ConvTranspose", real(1, 4, 5, 6), real(4, 3, 3, 3), dilations=[2, 2]),
    Case("ConvTranspose", real(1, 4, 5, 6), real(4, 3, 2, 2), strides=[2, 2], output_padding=[1, 1], oracle="runtime"),
    Case("ConvTranspose", real(1, 4, 5, 6), real(4, 1, 4, 4), group=4, strides=[2, 2], pads=[1] * 4),
    Case("ConvTranspose", real(1, 4, 5, 6), real(4, 3, 3, 3), real(6), group=2, strides=[2, 2], oracle="runtime"),
    Case("ConvTranspose", real(1, 4, 5, 6), real(4, 3, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER", oracle="runtime"),
    Case("ConvTranspose", real(1, 4, 5, 6), real(4, 3, 3, 3), strides=[2, 2], auto_pad="SAME_LOWER", oracle="runtime"),
    Case("ConvTranspose", real(1, 4, 5, 6), real(4, 3, 3, 3), strides=[2, 2], output_shape=[10, 12], oracle="runtime"),
    Case("ConvTranspose", real(1, 4, 7), real(4, 3, 4), real(3), strides=[2], pads=[1, 1]),
]
VOLUME = (1, 3, 5, 6, 7)
POOL = [
    *(
        Case(op, real(*VOLUME), oracle="runtime", **more)
        for op in ("MaxPool", "AveragePool")
        for more in (
            {"kernel_shape": [2, 2, 2]},
            {"kernel_shape": [2, 3, 2], "strides": [2, 1, 2], "pads": [1, 1, 0, 0, 1, 1]},
            {"kernel_shape": [3, 3, 3], "strides": [2, 2, 2], "auto_pad": "SAME_UPPER"},
            {"kernel_shape": [2, 2, 2], "strides": [2, 2, 2], "ceil_mode": 1},
        )
    ),
    Case("AveragePool", real(*VOLUME), kernel_shape=[3, 3, 3], pads=[1] * 6, count_include_pad=1, oracle="runtime"),
    Case("GlobalAveragePool", real(*VOLUME), oracle="runtime"),
    Case("GlobalMaxPool", real(*VOLUME), oracle="runtime"),
    Case("MaxPool", real(*ODD), kernel_shape=[2, 2], strides=[2, 2]),
    Case("MaxPool", real(*ODD), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    Case("MaxPool", real(*ODD), kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1, oracle="runtime"),
    Case("MaxPool", real(*ODD), kernel_shape=[2, 3], strides=[2, 3], pads=[1, 1, 0, 1], ceil_mode=1, oracle="runtime"),
    Case("MaxPool", real(*ODD), kernel_shape=[5, 5], pads=[2, 2, 2, 2]),
    Case("MaxPool", real(*ODD), kernel_shape=[3, 3], dilations=[2, 2], pads=[1, 1, 1, 1], oracle="runtime"),
    Case("MaxPool", real(*ODD), kernel_shape=[3, 3], auto_pad="SAME_UPPER", strides=[2, 2]),
    Case("MaxPool", real(*ODD), kernel_shape=[3, 3], auto_pad="SAME_LOWER", strides=[2, 2], oracle="runtime"),
    Case("MaxPool", real(1, 3, 20), kernel_shape=[3], strides=[2], pads=[1, 1]),
    Case("AveragePool", real(*ODD), kernel_shape=[2, 2], strides=[2, 2]),
    *(
        Case(
            "AveragePool",
            real(*ODD),
            kernel_shape=[3, 3],
            strides=[2, 2],
            pads=[1, 1, 1, 1],
            count_include_pad=c,
            ceil_mode=m,
            opset=o,
            oracle="runtime",
        )
        for c in (0, 1)
        for m in (0, 1)
        for o in (11, 19)
    ),
    Case("AveragePool", real(*ODD), kernel_shape=[3, 2], strides=[2, 3], pads=[0, 1, 1, 0], oracle="runtime"),
    Case("AveragePool", real(*ODD), kernel_shape=[4, 4], strides=[3, 3], ceil_mode=1, oracle="runtime", opset=19),
    Case("AveragePool", real(*ODD), kernel_shape=[3, 3], auto_pad="SAME_UPPER", strides=[2, 2], oracle="runtime"),
    Case("AveragePool", real(1, 3, 20), kernel_shape=[3], strides=[2], pads=[1, 1], oracle="runtime"),
    *(
        Case(op, real(*shape), oracle="runtime")
        for op in ("GlobalAveragePool", "GlobalMaxPool")
        for shape in (ODD, (1, 3, 9), (1, 2, 3, 4, 5))
    ),
]
SHAPES = [
    *(Case("Transpose", real(*IMAGE), perm=p) for p in ([0, 2, 3, 1], [0, 3, 1, 2], [3, 2, 1, 0], [0, 1, 3, 2])),
    Case("Transpose", real(2, 3, 4)),
    Case("Transpose", real(1, 2, 3, 4, 5), perm=[0, 3, 1, 4, 2]),
    *(
        Case("Reshape", real(*a), ints(*b))
        for a, b in (
            (IMAGE, (1, -1)),
            (IMAGE, (1, 4, 42)),
            (IMAGE, (0, -1, 7)),
            (IMAGE, (0, 2, 2, 6, 7)),
            (IMAGE, (4, 42)),
            ((2, 6), (3, 4)),
            ((1, 4, 1, 1), (1, 4)),
            ((1, 4, 1, 1), (-1,)),
            ((6,), (1, 6)),
            ((1, 6), (6,)),
            ((1, 1, 6), (1, 6, 1)),
            ((2, 1, 3), (2, 3)),
        )
    ),
    *(Case("Flatten", real(*IMAGE), axis=a) for a in (0, 1, 2, 4, -1)),
    *(Case("Squeeze", real(1, 3, 1, 5), ints(*a), opset=13) for a in ((0,), (2,), (0, 2), (-2,))),
    *(Case("Squeeze", real(1, 3, 1, 5), axes=list(a), opset=11) for a in ((0,), (2,), (0, 2), (-2,))),
    Case("Squeeze", real(1, 3, 1, 5), opset=11),
    Case("Squeeze", real(1, 3, 1, 5), opset=13),
    *(Case("Unsqueeze", real(3, 5), ints(*a), opset=13) for a in ((0,), (1,), (2,), (0, 3), (-1,), (0, 1))),
    *(Case("Unsqueeze", real(3, 5), axes=list(a), opset=11) for a in ((0,), (1,), (0, 3), (-1,))),
    *(
        Case("Expand", real(*a), ints(*b))
        for a, b in (((3, 1), (3, 4)), ((3,), (2, 3)), ((1, 4, 1, 1), (1, 4, 5, 6)), ((3, 4), (1, 1)))
    ),
    Case("Tile", real(2, 3), ints(2, 3)),
    Case("Tile", real(*IMAGE), ints(1, 2, 1, 3)),
    *(
        Case("Slice", real(*IMAGE), ints(*s), ints(*e), ints(*a), ints(*t))
        for s, e, a, t in (
            ((1,), (3,), (1,), (1,)),
            ((0, 1), (5, 2**31), (2, 3), (2, 3)),
            ((-1,), (-(2**31),), (3,), (-1,)),
            ((-3,), (-1,), (-1,), (1,)),
            ((5,), (0,), (2,), (-2,)),
            ((0,), (2**62,), (1,), (1,)),
        )
    ),
    Case("Slice", real(*IMAGE), ints(0, 1), ints(1, 3)),
    Case("Slice", real(5, 6), ints(1), ints(4), ints(0)),
    Case("Split", real(*IMAGE), axis=1, outputs=2, opset=13),
    Case("Split", real(*IMAGE), axis=1, outputs=2, opset=11),
    Case("Split", real(*IMAGE), ints(1, 3), axis=1, outputs=2, opset=13),
    Case("Split", real(*IMAGE), axis=3, split=[2, 4, 1], outputs=3, opset=11),
    Case("Split", real(*IMAGE), axis=3, num_outputs=3, outputs=3, opset=18),
    *(Case("Concat", real(*IMAGE), real(*IMAGE), axis=a, given=2) for a in (1, 2, -1)),
    Case("Concat", real(2, 3), real(2, 5), real(2, 1), axis=1, given=3),
    Case("Concat", real(1, 3), real(1, 5), axis=-1),
    *(
        Case("Gather", real(*IMAGE), np.asarray(i, np.int64), axis=a)
        for i, a in ((0, 1), (-1, 2), ([0, 2], 1), ([1, 2, 3], 3), ([[0, 1], [3, 2]], 1), ([-1, 0], 3))
    ),
    Case("Gather", real(5, 6), np.asarray([[0, 2, 4]], np.int64), given=2),
    Case("GatherND", real(3, 4, 5), np.asarray([[0, 1], [2, -1]], np.int64)),
    Case("GatherND", real(3, 4, 5), np.asarray([[0, 1], [2, 3]], np.int64), given=2),
    Case("GatherND", real(2, 3, 4), np.asarray([[[1], [0]], [[2], [-1]]], np.int64), batch_dims=1, opset=12),
    Case("GatherND", real(2, 3, 4), RNG.integers(0, 4, (2, 3, 2, 1)), batch_dims=2, opset=12),
    *(
        Case("GatherElements", real(1, 4, 3), RNG.integers(-n, n, (1, 2, 3)), axis=a, oracle="runtime")
        for a, n in ((1, 4), (-1, 3))
    ),
    *(
        Case("GatherElements", real(2, 4, 3), RNG.integers(-n, n, (2, 4, 3)), axis=a, given=2)
        for a, n in ((0, 2), (1, 4), (2, 3))
    ),
    Case("GatherElements", real(*IMAGE), RNG.integers(0, 7, (1, 4, 6, 2)), axis=3),
    *(Case("ScatterND", real(1, 4, 5, 6), boxed((1, 4, 5, 6), box), real(*shape)) for box, shape in BOXES),
    Case("ScatterND", real(1, 4, 5), boxed((1, 4, 5), np.s_[:, ::2, :]), real(1, 2, 5)),
    Case("ScatterND", real(4, 5), ints(3, -3).reshape(2, 1), real(2, 5)),
    Case("ScatterElements", real(1, 4, 3), np.asarray([[[2, -1, 0], [0, 1, 2]]], np.int64), real(1, 2, 3), axis=1),
    Case("ScatterElements", real(3, 4), np.asarray([[1], [0], [-1]], np.int64), real(3, 1), axis=1),
    Case("NonZero", np.asarray([[1, 0, 2], [0, 0, 3]], np.float32), given=0),
    Case("ReverseSequence", real(5, 1, 3), ints(5)),
    Case("ReverseSequence", real(2, 4, 3), ints(4, 4), time_axis=1, batch_axis=0),
    *(
        Case("Pad", real(*IMAGE), ints(*p), mode=m)
        for m in ("constant", "reflect", "edge")
        for p in ((0, 0, 1, 2, 0, 0, 2, 1), (0, 1, 0, 0, 0, 0, 0, 3))
    ),
    Case("Pad", real(*IMAGE), ints(0, 0, 1, 2, 0, 0, 2, 1), mode="wrap", opset=19),
    Case("Pad", real(*IMAGE), ints(0, 0, 1, 2, 0, 0, 2, 1), np.float32(1.5)),
    Case("Pad", real(*IMAGE), ints(0, 0, -1, 2, 0, 0, 0, -2), oracle="runtime"),
    Case("Pad", real(*IMAGE), ints(1, 2), None, ints(-1), opset=18),
    Case("DepthToSpace", real(1, 8, 3, 4), blocksize=2),
    Case("DepthToSpace", real(1, 12, 3, 4), blocksize=2, mode="CRD"),
    Case("SpaceToDepth", real(1, 3, 4, 6), blocksize=2),
    Case("Trilu", real(3, 4)),
    Case("Trilu", real(3, 4), ints(1).reshape(()), upper=0),
    Case("Dropout", real(3, 4)),
    Case("OneHot", ints(1, 0, 3), ints(4), np.asarray([0, 2], np.float32), oracle="runtime"),
]
REDUCE = [
    *(
        Case(f"Reduce{op}", real(*IMAGE, low=0.2), axes=list(a), keepdims=k, opset=11)
        for op in ("Mean", "Max", "Min", "L1", "L2", "SumSquare", "LogSum", "LogSumExp", "Prod")
        for a, k in (((2, 3), 1), ((1,), 0), ((-1,), 0))
    ),
    *(Case("ReduceSum", real(*IMAGE), axes=list(a), keepdims=k, opset=11) for a, k in (((2, 3), 1), ((1,), 0))),
    *(Case("ReduceSum", real(*IMAGE), ints(*a), keepdims=k, opset=13) for a, k in (((2, 3), 1), ((1,), 0), ((-2,), 0))),
    *(Case(f"Reduce{op}", real(*IMAGE, low=0.2), ints(2, 3), opset=18) for op in ("Mean", "Max", "L2")),
    Case("ReduceMean", real(2, 3, 4, low=0.2), opset=11),
    Case("ReduceMean", real(2, 3, 4, low=0.2), keepdims=0, opset=18),
    Case("ReduceSum", real(2, 3, 4), noop_with_empty_axes=1, opset=13),
    *(Case(op, real(*IMAGE), axis=a, keepdims=k) for op in ("ArgMax", "ArgMin") for a, k in ((1, 0), (1, 1), (-1, 0))),
    Case("ArgMax", np.asarray([[1, 3, 3, 0]], np.float32), axis=1, select_last_index=1),
    *(Case("CumSum", real(3, 4), np.asarray(1, np.int64), exclusive=e, reverse=r) for e in (0, 1) for r in (0, 1)),
    Case("TopK", real(2, 9), ints(3), outputs=2),
    Case("TopK", real(2, 9, 3), ints(3), outputs=2, axis=1),
    *(Case("LpNormalization", real(2, 5), p=p, oracle="runtime") for p in (1, 2)),
]
TAKEN_APART = [  # what ONNX itself says that they are made of
    *(Case("Attention", real(1, 2, 5, 8), real(1, 2, 6, 8), real(1, 2, 6, 8), given=3, opset=23, is_causal=c) for c in (0, 1)),
    Case("Shrink", real(2, 5), lambd=0.3, bias=0.1, opset=20),
]
NORMS = [
    Case("BatchNormalization", real(*IMAGE), real(4), real(4), real(4), real(4, low=0.2), epsilon=1e-3),
    Case("BatchNormalization", real(2, 4), real(4), real(4), real(4), real(4, low=0.2)),
    Case("BatchNormalization", real(1, 4, 9), real(4), real(4), real(4), real(4, low=0.2)),
    Case("LayerNormalization", real(1, 5, 8), real(8), real(8)),
    Case("LayerNormalization", real(*IMAGE), real(6, 7), axis=2, epsilon=1e-4),
    Case("RMSNormalization", real(1, 5, 8), real(8), opset=23),
    Case("InstanceNormalization", real(*IMAGE), real(4), real(4)),
    Case("GroupNormalization", real(*IMAGE), real(4), real(4), num_groups=2, opset=21),
    Case("MeanVarianceNormalization", real(*IMAGE)),
    Case("LRN", real(1, 7, 3, 4), size=3, alpha=0.5, beta=0.75, bias=1.2, oracle="runtime"),
    Case("LRN", real(1, 7, 3, 4), size=5, alpha=0.5, oracle="runtime"),
]
PRODUCTS = [
    Case("MatMul", real(2, 5), real(5, 3)),
    Case("MatMul", real(1, 4, 5), real(5, 3)),
    Case("MatMul", real(1, 2, 4, 5), real(5, 3)),
    *(
        Case("MatMul", real(*a), real(*b), given=2)
        for a, b in (((2, 5), (5, 3)), ((1, 2, 4, 5), (1, 2, 5, 3)), ((3, 4, 5), (5, 2)), ((4, 5), (3, 5, 2)))
    ),
    Case("MatMul", real(5, 3), real(3, 4)),
    Case("Gemm", real(2, 5), real(5, 3), real(3)),
    Case("Gemm", real(2, 5), real(3, 5), real(1, 3), transB=1, alpha=0.5, beta=2.0),
    Case("Gemm", real(5, 2), real(3, 5), real(2, 3), transA=1, transB=1),
    Case("Gemm", real(2, 5), real(5, 3), np.float32(1.5)),
    Case("Gemm", real(2, 5), real(5, 3)),
    Case("Gemm", real(2, 5), real(3, 5), real(2, 1), given=2, transB=1, alpha=0.3, beta=0.5),
    *(
        Case("Einsum", *(real(*s) for s in shapes), given=len(shapes), equation=e)
        for e, shapes in (
            ("bhid,bhjd->bhij", ((1, 2, 3, 4), (1, 2, 5, 4))),
            ("bij,bjk->bik", ((2, 3, 4), (2, 4, 5))),
            ("ij->ji", ((2, 3),)),
            ("bchw,bkc->bkhw", ((1, 4, 3, 2), (1, 5, 4))),
            ("ij->i", ((2, 3),)),
            ("i,j->ij", ((2,), (3,))),
        )
    ),
]


def layer(op, *, gates, length=5, batch=1, directions=1, states=(), opset=17, **attributes):
    """A recurrent layer of 3 features and 4 units; ``states`` are those that it begins with."""
    x = real(batch, length, 3) if attributes.get("layout") else real(length, batch, 3)
    weights = [real(directions, gates * 4, n, low=-1, high=1) for n in (3, 4)]
    bias = real(directions, 2 * gates * 4, low=-1, high=1)
    count = 3 if op == "LSTM" else 2
    return Case(op, x, *weights, bias, None, *states, hidden_size=4, outputs=count, opset=opset, oracle="runtime", **attributes)


def begin(*, batch=1, directions=1):
    return real(directions, batch, 4, low=-1, high=1)


RECURRENT = [
    *(layer(op, gates=n, direction=d) for op, n in (("LSTM", 4), ("GRU", 3), ("RNN", 1)) for d in ("forward", "reverse")),
    *(layer(op, gates=n, direction="bidirectional", directions=2) for op, n in (("LSTM", 4), ("GRU", 3), ("RNN", 1))),
    *(layer(op, gates=n, batch=2, opset=11) for op, n in (("LSTM", 4), ("GRU", 3), ("RNN", 1))),
    *(
        layer("GRU", gates=3, directions=n, direction=d, linear_before_reset=1)
        for n, d in ((1, "forward"), (2, "bidirectional"))
    ),
    layer("GRU", gates=3, linear_before_reset=1, states=[begin()]),
    layer("GRU", gates=3, states=[begin()], batch=1),
    layer("LSTM", gates=4, states=[begin(), begin()], opset=22),
    layer("LSTM", gates=4, states=[begin(directions=2), None, real(2, 12)], directions=2, direction="bidirectional"),
    layer("LSTM", gates=4, states=[None, begin(), real(1, 12)], clip=0.3),
    layer("LSTM", gates=4, states=[np.zeros((1, 1, 4), np.float32)] * 2),
    layer("LSTM", gates=4, activations=["HardSigmoid", "Relu", "Softsign"], activation_alpha=[0.25], activation_beta=[0.4]),
    layer("RNN", gates=1, activations=["Relu", "Elu"], activation_alpha=[0.7], direction="bidirectional", directions=2),
    layer("RNN", gates=1, length=1),
]
WAYS = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


def scaled(scales, shape=(1, 2, 4, 5), *, way="half_pixel", opset=17, **attributes):
    attributes["coordinate_transformation_mode"] = way
    return Case("Resize", real(*shape), None, np.asarray(scales, np.float32), opset=opset, oracle="runtime", **attributes)


def sized(*sizes, way="half_pixel", opset=17, **attributes):
    attributes["coordinate_transformation_mode"] = way
    return Case("Resize", real(1, 2, 4, 5), None, None, ints(*sizes), opset=opset, oracle="runtime", **attributes)


RESIZE = [
    *(
        scaled((1, 1, *s), mode="nearest", way=way, nearest_mode=rounding)
        for s in ((2, 2), (0.5, 1.5), (3, 2.5))
        for way in WAYS
        for rounding in ROUNDINGS
    ),
    *(scaled((1, 1, *s), mode=m, way=way) for m in ("linear", "cubic") for s in ((2, 2), (0.5, 1.5), (3, 2.6)) for way in WAYS),
    *(sized(1, 2, *s, mode=m, way=way) for m in ("nearest", "linear") for s in ((8, 10), (7, 3), (1, 1)) for way in WAYS[:3]),
    sized(8, 10, mode="linear", axes=[2, 3], opset=18),
    sized(8, 8, mode="linear", axes=[2, 3], keep_aspect_ratio_policy="not_larger", opset=18),
    scaled((1, 1, 2, 2), mode="cubic", cubic_coeff_a=-0.5, exclude_outside=1),
    scaled((1, 1, 2), (1, 2, 6), mode="linear"),
    scaled((1, 1, 2, 2), mode="linear", way="half_pixel_symmetric", opset=19),
    scaled((1, 2, 2, 2), mode="nearest"),
]
CLASSICAL = [
    Case("Scaler", real(2, 4), offset=[1.0, 2.0, 3.0, 4.0], scale=[0.5, 1.0, 2.0, 3.0], domain="ai.onnx.ml", oracle="runtime"),
    Case(
        "LinearRegressor",
        real(2, 4),
        coefficients=[float(x) for x in range(8)],
        intercepts=[1.0, 2.0],
        targets=2,
        domain="ai.onnx.ml",
        oracle="runtime",
    ),
    Case(
        "LinearClassifier",
        real(3, 2),
        outputs=2,
        coefficients=[1.0, -2.0, 0.5, 2.0, 0.1, 0.2],
        intercepts=[0.1, 0.2, 0.3],
        classlabels_ints=[7, 3, 5],
        post_transform="SOFTMAX",
        domain="ai.onnx.ml",
        oracle="runtime",
    ),
    *(Case("Normalizer", real(2, 4, low=0.1), norm=n, domain="ai.onnx.ml", oracle="runtime") for n in ("MAX", "L1", "L2")),
    Case("ArrayFeatureExtractor", real(2, 4), ints(1, 3), domain="ai.onnx.ml", oracle="runtime"),
]
GRID = np.asarray([[-1.4, -1.0], [1.0, 1.0], [0.2, -0.7], [-0.31, 1.8], [0.9, 0.05], [1.01, -2.6]], np.float32)
SAMPLED = [
    *(
        Case(
            "GridSample",
            real(1, 3, 5, 7),
            GRID.reshape(1, 2, 3, 2),
            given=given,
            oracle="runtime",
            mode=mode,
            padding_mode=padding,
            align_corners=aligned,
        )
        for mode in ("bilinear", "nearest")
        for padding in ("zeros", "border", "reflection")
        for aligned in (0, 1)
        for given in (1, 2)
    ),
    Case("GridSample", real(1, 2, 1, 1), GRID.reshape(1, 2, 3, 2), given=2, oracle="runtime", opset=20, mode="linear"),
]
SPECTRA = [
    *(Case("DFT", real(1, 12, 5, parts), axis=1, inverse=back) for parts in (1, 2) for back in (0, 1)),
    Case("DFT", real(1, 12, 5, 1), axis=2, onesided=1),
    Case("DFT", real(1, 3, 8, 2), None, np.asarray(-2, np.int64), opset=20),
    *(Case("DFT", real(1, 12, 1), np.asarray(n, np.int64)) for n in (8, 12, 16)),
    Case("STFT", real(1, 64), np.asarray(8, np.int64), np.hanning(16).astype(np.float32), oracle="runtime"),
    Case("STFT", real(1, 64, 1), np.asarray(10, np.int64), None, np.asarray(32, np.int64), onesided=0, oracle="runtime"),
]
EXTREMES = np.asarray([[-np.inf, -1, 0, 3e38, np.inf, np.nan]], np.float32)
SELDOM = [
    *(Case(op, real(2, 5)) for op in ("Sinh", "Cosh")),
    Case("IsNaN", EXTREMES),
    *(Case("IsInf", EXTREMES, detect_positive=p, detect_negative=n) for p in (0, 1) for n in (0, 1)),
    Case("Hardmax", np.asarray([[1, 5, 5], [2, 0, 1]], np.float32)),
    Case("Hardmax", real(2, 5, 3), axis=1),
    Case("Hardmax", real(2, 5), axis=1, opset=11),
    Case("Compress", real(3, 4), np.asarray([True, False, True]), axis=0),
    Case("Compress", real(3, 4), np.asarray([True, False, True])),
    Case("TopK", real(2, 9), ints(3), outputs=2, largest=0),
    Case("TopK", np.asarray([[4, -7, 4, 9, -7]]), ints(3), outputs=2, largest=0),
    Case("Dropout", real(3, 4), np.float32(0.5), np.asarray(False), outputs=2),
    Case("RotaryEmbedding", real(1, 6, 24), real(1, 6, 4), real(1, 6, 4), opset=23, num_heads=3, oracle="runtime"),
    Case("CenterCropPad", real(1, 2, 9, 6), ints(5, 8), opset=18, axes=[2, 3]),
]
PARTS = [ELEMENTWISE, PAIRS, CONV, POOL, SHAPES, REDUCE, NORMS, PRODUCTS, RESIZE, RECURRENT, CLASSICAL, TAKEN_APART]
CASES = [case for part in (*PARTS, SAMPLED, SPECTRA, SELDOM) for case in part]


def made_of(case):
    names = [None if x is None else f"in{n}" for n, x in enumerate(case.operands)]
    given = {name: np.asarray(x) for name, x in list(zip(names, case.operands, strict=True))[: case.given] if name}
    constants = {name: x for name, x in list(zip(names, case.operands, strict=True))[case.given :] if name}
    outputs = [f"out{n}" for n in range(case.outputs)]
    attributes = {k: v for k, v in case.attributes.items() if v is not None}
    one = node(case.op, [name or "" for name in names], outputs, domain=case.domain, **attributes)
    domains = [case.domain] if case.domain else []
    ranks = {"out0": [None] if case.outputs > 1 else [None, None], "out1": [None, None]} if domains else None
    return model([one], given, outputs, constants, opset=case.opset, domains=domains, ranks=ranks), given


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_op(case):
    made, given = made_of(case)
    if case.oracle == "runtime":
        pytest.importorskip("onnxruntime")
        compare(made, given, oracle=runtime, tolerance=case.tolerance)
    else:
        compare(made, given, tolerance=case.tolerance)


def test_every_row_has_a_case():
    tried = {f"{case.domain}.{case.op}" if case.domain else case.op for case in CASES}
    elsewhere = {"Constant", "ConstantOfShape", "Range", "Shape", "Size", "EyeLike", "CastLike", "Upsample"}
    assert ROWS.keys() - tried == elsewhere


def test_the_page_lists_the_rows():
    table = (Path(__file__).parents[2] / "docs" / "onnx.md").read_text().split("## Ops")[1].split("\n- ")[0]
    rows = [line.split("|")[2] for line in table.splitlines() if line.startswith("| ")][1:-1]  # the last is control flow
    assert {name.strip() for row in rows for name in row.split(",")} == ROWS.keys()


def test_comparison_can_fail():
    made, given = made_of(Case("Relu", real(2, 3)))
    with pytest.raises(AssertionError):
        compare(made, given, oracle=lambda _, x: {"out0": np.maximum(x["in0"], 0.1)})
    assert graph(made)[0].ops
