"""Files of one op each, of every kind, in every type and rank: what TensorFlow Lite Micro is asked about."""

from dataclasses import dataclass

import numpy as np
import torch

from intact.network.graph import Graph, Op, Tensor
from intact.numbers.affine import Affine, Float, Format, Index, quantize_array
from intact.ops import (
    activation,
    blocks,
    elementwise,
    indexing,
    logic,
    matmul,
    pooling,
    quantization,
    reduction,
    resize,
    rounding,
    shaping,
)
from intact.ops.base import Fixed, OpKind
from intact.ops.call import as_tuple

FORMATS = {
    "float32": Float(),
    "int8": Affine((1 / 32,), (3,)),
    "int16": Affine((1 / 8192,), (0,), "int16"),
    **{name: Index(name) for name in ("int32", "int64", "uint8", "bool")},
}
BYTES = Affine((1 / 32,), (131,), "uint8")


@dataclass(frozen=True)
class Bools:
    """A condition."""

    shape: tuple[int, ...]


@dataclass(frozen=True)
class Micro:
    """``inputs``: a shape is an activation, :class:`Bools` a condition, anything else a constant (real or whole numbers)."""

    kind: OpKind
    inputs: tuple

    def graph(self, name: str, out: Format | None = None) -> Graph | None:
        """The op with its activations stored as ``name``; None where the kind does not compute on such."""
        if isinstance(self.kind, activation.PRelu) and isinstance(FORMATS[name], Index):
            return None
        converts = isinstance(self.kind, (quantization.Quantize, quantization.Dequantize))
        given = BYTES if converts and name == "uint8" else FORMATS[name]
        tensors, values, flows = [], [], []
        for i, x in enumerate(self.inputs):
            fmt, data = given, None
            if isinstance(x, Bools):
                fmt, value = Index("bool"), torch.zeros(x.shape, dtype=torch.bool)
            elif isinstance(x, tuple):
                value = torch.zeros(x, dtype=_torch(fmt))
            else:
                data = np.asarray(x)
                value = torch.from_numpy(data.copy())
                fmt = fmt if data.dtype == np.float32 else Index(str(data.dtype))
                data = np.asarray(quantize_array(data, fmt) if isinstance(fmt, Affine) else data.astype(fmt.dtype))
            tensors.append(Tensor(i, f"x{i}", tuple(value.shape), fmt, data))
            values.append(value)
            flows += [] if data is not None else [i]
        try:
            made = as_tuple(self.kind.compute(*values))
        except (RuntimeError, NotImplementedError):  # torch has no such function of whole numbers
            return None
        if isinstance(given, Index) and made[0].is_floating_point() and not isinstance(self.kind, quantization.Cast):
            return None
        ids = tuple(range(len(values), len(values) + len(made)))
        for i, y in zip(ids, made, strict=True):
            fmt = out or self._out(given, y)
            tensors.append(Tensor(i, f"y{i}", tuple(y.shape), fmt))
        return Graph({t.id: t for t in tensors}, (Op(self.kind, tuple(range(len(values))), ids),), tuple(flows), ids)

    def _out(self, given: Format, y: torch.Tensor) -> Format:
        rule = self.kind.range_rule
        if isinstance(self.kind, quantization.Dequantize):
            return Float()
        if isinstance(given, Affine) and y.is_floating_point() and not isinstance(self.kind, quantization.Cast):
            if isinstance(rule, Fixed) and given.dtype in rule.by_dtype:
                scale, zero_point = rule.by_dtype[given.dtype]
                return Affine((scale,), (zero_point,), given.dtype)
            return given
        return Float() if y.is_floating_point() else Index(str(y.dtype).removeprefix("torch."))


def _torch(fmt: Format) -> torch.dtype:
    return torch.float32 if isinstance(fmt, (Affine, Float)) else getattr(torch, fmt.dtype)


def samples(graph: Graph, seed: int = 0) -> list[np.ndarray]:
    """Inputs as stored; whole numbers are 0 or 1, so that they are indices too."""
    draw = np.random.default_rng(seed)
    made = []
    for t in (graph[i] for i in graph.inputs):
        if isinstance(t.format, Index):
            made.append(draw.integers(0, 2, t.shape).astype(t.format.dtype))
        else:
            x = draw.uniform(0.1, 2, t.shape).astype(np.float32)
            made.append(quantize_array(x, t.format) if isinstance(t.format, Affine) else x)
    return made


def of_rank(rank: int) -> list[Micro]:
    """Every kind that takes tensors of ``rank`` axes."""
    s = (2, 3, 2, 3, 2, 3)[:rank]
    last, zeros = rank - 1, np.zeros(rank, np.int32)
    half, axis = np.float32(0.5), np.int32(last)
    pads = np.int32([[1, 0]] * rank)
    unary = (
        *(activation.Relu, activation.Relu6, activation.Relu0To1, activation.ReluN1To1, activation.LeakyRelu),
        *(activation.HardSwish, activation.Gelu, activation.Elu, activation.Logistic, activation.Tanh, activation.Softmax),
        *(activation.LogSoftmax, activation.L2Normalization, activation.Exp, activation.Log, activation.Abs),
        *(activation.Neg, activation.Sqrt, activation.Rsqrt, activation.Square),
        *(activation.Sin, activation.Cos, rounding.Floor, rounding.Ceil, rounding.Round, rounding.Sign, indexing.ZerosLike),
        *(quantization.Quantize, quantization.Dequantize, shaping.ShapeOf),
    )
    binary = (
        *(elementwise.Add, elementwise.Sub, elementwise.Mul, elementwise.Div, elementwise.SquaredDifference),
        *(elementwise.Maximum, elementwise.Minimum, elementwise.Pow, rounding.FloorDiv, rounding.FloorMod),
        *(logic.Greater, logic.GreaterEqual, logic.Less, logic.LessEqual, logic.Equal, logic.NotEqual),
    )
    made = [Micro(kind(), (s,)) for kind in unary]
    made += [Micro(kind(), (s, b)) for kind in binary for b in (s, (*s[:-1], 1))]
    made += [
        *(Micro(kind(), (Bools(s), Bools(s))) for kind in (logic.LogicalAnd, logic.LogicalOr)),
        *(Micro(kind, (Bools(s),)) for kind in (logic.LogicalNot(), quantization.Cast("int32"), quantization.Cast("float32"))),
        *(Micro(kind(), (Bools(s), s, s)) for kind in (logic.Select, logic.SelectV2)),
        *(Micro(quantization.Cast(name), (s,)) for name in ("float32", "int32", "int64", "bool")),
        Micro(activation.PRelu(), (s, np.full(s[-1:], 0.25, np.float32))),
        Micro(shaping.Transpose(), (s, np.arange(rank, dtype=np.int32)[::-1])),
        Micro(shaping.Reshape(), (s, np.int32([-1]))),
        Micro(shaping.Squeeze(), ((1, *s),)),
        Micro(shaping.ExpandDims(), (s, np.int32([0]))),
        Micro(shaping.Pad(), (s, pads)),
        Micro(shaping.PadV2(), (s, pads, half)),
        Micro(shaping.MirrorPad("symmetric"), (s, pads)),
        Micro(shaping.Concatenation(axis=last), (s, s)),
        Micro(shaping.Pack(axis=0, count=2), (s, s)),
        Micro(shaping.Split(count=2), (np.int32(0), s)),
        Micro(shaping.SplitV(count=2), (s, np.int32([1, 1]), np.int32(0))),
        Micro(shaping.Slice(), (s, zeros, zeros + 1)),
        Micro(shaping.StridedSlice(), (s, zeros, np.int32(s), zeros + 2)),
        Micro(shaping.Gather(axis=0), (s, np.int32([1, 0]))),
        Micro(shaping.Tile(), (s, zeros + 2)),
        Micro(elementwise.AddN(), (s, s, s)),
        Micro(reduction.Cumsum(), (s, axis)),
        Micro(indexing.GatherNd(), (s, np.int32([[1], [0]]))),
        Micro(shaping.BroadcastTo(), ((1, *s[1:]), np.int32(s))),
        Micro(shaping.ReverseV2(), (s, np.int32([last]))),
        *(
            Micro(kind(keep_dims=True), (s, np.int32([last])))
            for kind in (reduction.Mean, reduction.Sum, reduction.ReduceMax, reduction.ReduceMin, reduction.ReduceProd)
        ),
    ]
    if rank > 1:
        made += [
            Micro(reduction.ArgMax("int32"), (s, axis)),
            Micro(reduction.ArgMin("int32"), (s, axis)),
            Micro(indexing.EmbeddingLookup(), (np.int32([1, 0, 1]), s)),
            Micro(shaping.Unpack(axis=0, count=s[0]), (s,)),
        ]
    if rank > 2:
        made += [Micro(matmul.BatchMatMul(), ((*s[:-2], 3, 4), (*s[:-2], 4, 5)))]
    if rank == 3:
        made += [Micro(blocks.BatchToSpaceNd(), ((2, 8, 3), np.int32([2]), np.int32([[1, 1]])))]
    if rank == 4:
        made += [
            Micro(blocks.BatchToSpaceNd(), ((4, 4, 4, 3), np.int32([2, 2]), np.int32([[1, 0], [0, 1]]))),
            Micro(blocks.SpaceToBatchNd(), ((2, 8, 6, 3), np.int32([2, 2]), np.int32([[1, 1], [0, 2]]))),
            Micro(blocks.DepthToSpace(2), ((1, 3, 2, 8),)),
            Micro(blocks.SpaceToDepth(2), ((1, 4, 6, 3),)),
            Micro(pooling.AveragePool2D((2, 2), (2, 2)), ((1, 4, 4, 3),)),
            Micro(pooling.MaxPool2D((2, 2), (2, 2)), ((1, 4, 4, 3),)),
            Micro(resize.ResizeBilinear(), ((1, 3, 3, 2), np.int32([6, 6]))),
            Micro(resize.ResizeNearestNeighbor(), ((1, 3, 3, 2), np.int32([6, 6]))),
        ]
    return made


#: What QUANTIZE converts, by the type given: every format that may be wanted.
QUANTIZED = (FORMATS["int8"], BYTES, FORMATS["int16"])
