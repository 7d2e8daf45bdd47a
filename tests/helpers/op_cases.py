"""One-op float graphs of every op kind: what the tests of kinds run in the simulator and in the runtimes."""

from dataclasses import dataclass

import numpy as np
import torch

from intact.network.graph import Graph, Op, Tensor
from intact.numbers.affine import Affine, Float, Format, Index
from intact.ops import (
    activation,
    blocks,
    convolution,
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
    volume,
)
from intact.ops.base import OpKind
from intact.ops.call import as_tuple


@dataclass(frozen=True)
class Given:
    """An activation stored as something else than float32."""

    shape: tuple[int, ...]
    format: Format


@dataclass(frozen=True)
class Case:
    """``inputs``: a shape is a float activation with values in ``low``..``high``, an array a constant, None one left out.

    ``out``: the format of the output, where it is not what the op computes.
    """

    kind: OpKind
    inputs: tuple
    low: float = -2.0
    high: float = 2.0
    out: Format | None = None

    @property
    def flows(self) -> dict[int, Given]:
        """Activations by their place among the inputs."""
        given = {i: Given(x, Float()) if isinstance(x, tuple) else x for i, x in enumerate(self.inputs)}
        return {i: x for i, x in given.items() if isinstance(x, Given)}

    @property
    def id(self) -> str:
        inputs = "_".join(_brief(x) for x in self.inputs)
        options = "_".join(str(v) for v in vars(self.kind).values())
        span = "" if (self.low, self.high) == (-2.0, 2.0) else f"-{self.low:g}..{self.high:g}"
        return f"{self.kind.name}-{inputs}-{options}{span}".replace(" ", "")


def _brief(given) -> str:
    if isinstance(given, Given):
        return f"{given.format.dtype}{_brief(given.shape)}"
    if isinstance(given, np.ndarray):
        return f"c{_brief(given.shape)}" if given.dtype == np.float32 else ",".join(map(str, given.reshape(-1)))
    return "none" if given is None else "x".join(map(str, given))


def graph_of(case: Case) -> Graph:
    """The op alone: activations are the graph's inputs."""
    tensors, values, flows = [], [], case.flows
    for i, given in enumerate(case.inputs):
        if i in flows:
            fmt = flows[i].format
            tensors.append(Tensor(i, f"x{i}", flows[i].shape, fmt))
            values.append(torch.zeros(flows[i].shape, dtype=getattr(torch, fmt.dtype) if isinstance(fmt, Index) else None))
        elif given is None:
            values.append(None)
        else:
            fmt = Float() if given.dtype == np.float32 else Index(str(given.dtype))
            tensors.append(Tensor(i, f"c{i}", given.shape, fmt, given))
            values.append(torch.from_numpy(given))
    made = as_tuple(case.kind.compute(*values))
    ids = tuple(range(len(case.inputs), len(case.inputs) + len(made)))
    for i, y in zip(ids, made, strict=True):
        fmt = Float() if y.is_floating_point() else Index(str(y.dtype).removeprefix("torch."))
        tensors.append(Tensor(i, f"y{i}", tuple(y.shape), case.out or fmt))
    reads = tuple(None if x is None else i for i, x in enumerate(case.inputs))
    return Graph({t.id: t for t in tensors}, (Op(case.kind, reads, ids),), tuple(flows), ids)


def samples(case: Case, seed: int = 0) -> dict[str, np.ndarray]:
    """Real numbers for floats and for integers that stand for real numbers; bools for bools."""
    draw = np.random.default_rng(seed)
    return {
        f"x{i}": draw.uniform(size=given.shape) < 0.5
        if given.format == Index("bool")
        else draw.uniform(case.low, case.high, given.shape).astype(np.float32)
        for i, given in case.flows.items()
    }


def _random(*shape: int, seed: int = 1, spread: float = 0.5) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, spread, shape).astype(np.float32)


def _ints(*values: int) -> np.ndarray:
    return np.asarray(values, np.int32)


def _pads(*rows: tuple[int, int]) -> np.ndarray:
    return np.asarray(rows, np.int32)


IMAGE = (2, 9, 8, 4)
ROW = (3, 12)
BOOLS = Given(ROW, Index("bool"))
BYTES = Affine((0.02,), (7,))
W, B = _random(8, 3, 3, 4), _random(8)
DW, DB = _random(1, 3, 3, 4), _random(4)
CUMSUMS = ((), (True,), (False, True), (True, True))
CONVS_3D = (((1, 1, 1), "same"), ((2, 1, 2), "valid", (1, 1, 1), "relu"), ((2, 2, 2), "same"), ((1, 1, 1), "valid", (1, 2, 2)))
CASES = (
    Case(convolution.Conv2D(padding="same"), (IMAGE, W, B)),
    Case(convolution.Conv2D((2, 1), "valid", (1, 1), "relu6"), (IMAGE, W, B)),
    Case(convolution.Conv2D((1, 1), "same", (2, 2), "relu"), (IMAGE, W, B)),
    Case(convolution.Conv2D((2, 2), "same", activation="relu_n1_to_1"), (IMAGE, _random(8, 1, 1, 4), B)),
    Case(convolution.Conv2D(padding="same"), (IMAGE, _random(8, 3, 3, 2), B)),
    Case(convolution.Conv2D((1, 2), "same"), ((1, 7, 10, 4), _random(8, 2, 5, 4), _random(8))),
    Case(convolution.DepthwiseConv2D(padding="same"), (IMAGE, DW, DB)),
    Case(convolution.DepthwiseConv2D((2, 2), "same", activation="relu6"), (IMAGE, DW, DB)),
    Case(convolution.DepthwiseConv2D((1, 1), "valid", (2, 2)), (IMAGE, DW, DB)),
    Case(convolution.DepthwiseConv2D((1, 1), "same", depth_multiplier=2), (IMAGE, _random(1, 3, 3, 8), _random(8))),
    Case(convolution.DepthwiseConv2D((2, 1), "valid"), ((1, 9, 8, 40), _random(1, 5, 2, 40), _random(40))),
    Case(convolution.TransposeConv((2, 2), "same"), (_ints(2, 18, 16, 8), W, IMAGE, B)),
    Case(convolution.TransposeConv((2, 2), "valid"), (_ints(2, 19, 17, 8), W, IMAGE, B)),
    Case(convolution.TransposeConv((1, 1), "same"), (_ints(2, 9, 8, 8), W, IMAGE, None)),
    Case(matmul.FullyConnected("relu"), (ROW, _random(5, 12), _random(5))),
    Case(matmul.FullyConnected(), (ROW, _random(30, 12), None)),
    Case(matmul.FullyConnected(keep_dims=True), ((2, 7, 12), _random(5, 12), _random(5))),
    Case(matmul.BatchMatMul(), ((2, 5, 6), (2, 6, 4))),
    Case(matmul.BatchMatMul(adj_y=True), ((2, 5, 6), (2, 4, 6))),
    Case(matmul.BatchMatMul(adj_x=True), ((2, 6, 5), (2, 6, 4))),
    *(Case(kind("relu"), (IMAGE, IMAGE)) for kind in (elementwise.Add, elementwise.Sub, elementwise.Mul)),
    *(Case(kind(), (IMAGE, (2, 1, 8, 1))) for kind in (elementwise.Add, elementwise.Sub, elementwise.Mul)),
    Case(elementwise.Add(), (IMAGE, _random(4))),
    Case(elementwise.Mul("relu_n1_to_1"), (IMAGE, (1, 1, 1, 4))),
    Case(elementwise.Mul(), (IMAGE, np.asarray(1 / 6, np.float32))),
    Case(elementwise.Sub("relu6"), (IMAGE, _random(4))),
    Case(elementwise.Sub(), (_random(4), IMAGE)),
    Case(elementwise.Div(), (IMAGE, IMAGE), 0.5, 2.0),
    Case(elementwise.Pow(), (IMAGE, IMAGE), 0.5, 2.0),
    Case(elementwise.SquaredDifference(), (IMAGE, IMAGE)),
    Case(elementwise.SquaredDifference(), (IMAGE, (1, 1, 1, 4))),
    Case(elementwise.Maximum(), (IMAGE, IMAGE)),
    Case(elementwise.Maximum(), (IMAGE, (1, 1, 8, 1))),
    Case(elementwise.Minimum(), (IMAGE, _random(4))),
    *(
        Case(kind(), (IMAGE,))
        for kind in (
            activation.Relu,
            activation.Relu6,
            activation.Relu0To1,
            activation.ReluN1To1,
            activation.LeakyRelu,
            activation.HardSwish,
            activation.Gelu,
            activation.Elu,
            activation.Logistic,
            activation.Tanh,
            activation.Abs,
            activation.Neg,
            activation.Square,
            activation.Exp,
        )
    ),
    Case(activation.LeakyRelu(0.01), (ROW,), -9, 3),
    Case(activation.Relu(), (ROW,), -9, 9),
    Case(activation.Relu6(), (ROW,), -9, 9),
    *(Case(kind(), (ROW,), -9, 9) for kind in (activation.Logistic, activation.Tanh, activation.Elu)),
    Case(activation.Gelu(approximate=True), (IMAGE,), -6, 6),
    Case(activation.HardSwish(), (IMAGE,), -6, 6),
    Case(activation.PRelu(), (IMAGE, _random(1, 1, 4))),
    Case(activation.Softmax(), (ROW,)),
    Case(activation.Softmax(beta=0.5), (IMAGE,)),
    Case(activation.LogSoftmax(), (ROW,)),
    Case(activation.L2Normalization(), (ROW,)),
    *(Case(kind(), (IMAGE,), 0.1, 2.0) for kind in (activation.Log, activation.Sqrt, activation.Rsqrt)),
    Case(pooling.AveragePool2D((2, 2), (2, 2), "valid"), (IMAGE,)),
    Case(pooling.AveragePool2D((3, 3), (1, 2), "same", "relu6"), (IMAGE,)),
    Case(pooling.AveragePool2D((9, 8), (1, 1), "valid"), (IMAGE,)),
    Case(pooling.MaxPool2D((2, 2), (2, 2), "same"), (IMAGE,)),
    Case(pooling.MaxPool2D((3, 2), (1, 1), "valid", "relu"), (IMAGE,)),
    Case(reduction.Mean(), (IMAGE, _ints(1, 2))),
    *(Case(reduction.Mean(keep_dims=True), (IMAGE, axes)) for axes in (_ints(1, 2), _ints(3), _ints(-1, 1))),
    Case(reduction.Sum(), (IMAGE, _ints(1, 2))),
    Case(reduction.Sum(keep_dims=True), (IMAGE, _ints(-1))),
    Case(reduction.ReduceProd(), (IMAGE, _ints(3))),
    Case(reduction.ReduceProd(keep_dims=True), ((2, 3, 2, 4), _ints(1, 2))),
    Case(reduction.ReduceMax(), (IMAGE, _ints(1, 2))),
    Case(reduction.ReduceMax(keep_dims=True), (IMAGE, _ints(-1))),
    Case(reduction.ReduceMin(), (IMAGE, _ints(2))),
    Case(reduction.ReduceMin(keep_dims=True), (IMAGE, _ints(3))),
    Case(reduction.ArgMax(), (ROW, np.asarray(1, np.int32))),
    Case(reduction.ArgMax("int32"), (IMAGE, np.asarray(-1, np.int32))),
    Case(resize.ResizeBilinear(), (IMAGE, _ints(18, 16))),
    Case(resize.ResizeBilinear(half_pixel_centers=True), (IMAGE, _ints(18, 16))),
    Case(resize.ResizeBilinear(align_corners=True), (IMAGE, _ints(5, 11))),
    Case(resize.ResizeNearestNeighbor(), (IMAGE, _ints(18, 24))),
    Case(resize.ResizeNearestNeighbor(align_corners=True), (IMAGE, _ints(5, 11))),
    Case(resize.ResizeNearestNeighbor(half_pixel_centers=True), (IMAGE, _ints(18, 16))),
    Case(shaping.Reshape(), (IMAGE, _ints(-1, 72, 4))),
    Case(shaping.Transpose(), (IMAGE, _ints(0, 3, 1, 2))),
    Case(shaping.Transpose(), (IMAGE, _ints(2, 0, 3, 1))),
    Case(shaping.Squeeze((1,)), ((2, 1, 5),)),
    Case(shaping.Squeeze((-2, 1)), ((2, 1, 1, 5),)),
    Case(shaping.ExpandDims(), (ROW, np.asarray(1, np.int32))),
    Case(shaping.ExpandDims(), (ROW, np.asarray(-1, np.int32))),
    Case(shaping.Pad(), (IMAGE, _pads((0, 0), (1, 2), (0, 1), (0, 0)))),
    Case(shaping.Pad(), (ROW, _pads((1, 0), (0, 5)))),
    Case(shaping.PadV2(), (IMAGE, _pads((0, 0), (1, 2), (0, 1), (0, 0)), np.asarray(-1.5, np.float32))),
    Case(shaping.MirrorPad("reflect"), (IMAGE, _pads((0, 0), (2, 1), (1, 1), (0, 0)))),
    Case(shaping.MirrorPad("symmetric"), (IMAGE, _pads((0, 0), (2, 1), (1, 1), (0, 0)))),
    Case(shaping.Concatenation(axis=3), (IMAGE, (2, 9, 8, 2))),
    Case(shaping.Concatenation(axis=-1), (ROW, (3, 5), (3, 3))),
    Case(shaping.Pack(axis=1, count=2), (ROW, ROW)),
    Case(shaping.Pack(axis=-1, count=2), (ROW, ROW)),
    Case(shaping.Unpack(axis=1, count=3), ((2, 3, 4),)),
    Case(shaping.Split(count=2), (np.asarray(3, np.int32), IMAGE)),
    Case(shaping.Split(count=4), (np.asarray(-2, np.int32), IMAGE)),
    Case(shaping.SplitV(count=2), (IMAGE, _ints(1, 3), np.asarray(3, np.int32))),
    Case(shaping.Slice(), (IMAGE, _ints(0, 1, 2, 0), _ints(-1, 4, 5, 3))),
    Case(shaping.StridedSlice(begin_mask=1, end_mask=1), (IMAGE, _ints(0, 1, 0, 0), _ints(0, 9, 8, 4), _ints(1, 2, 1, 1))),
    Case(shaping.StridedSlice(begin_mask=3, end_mask=3), (ROW, _ints(0, 0), _ints(0, 0), _ints(1, -2))),
    Case(shaping.StridedSlice(shrink_axis_mask=2, begin_mask=1, end_mask=1), (ROW, _ints(0, 3), _ints(0, 4), _ints(1, 1))),
    Case(shaping.Gather(axis=1), (ROW, _ints(3, 0, 7))),
    Case(shaping.Gather(axis=-1), (IMAGE, np.asarray([[3, 0], [1, 1]], np.int32))),
    Case(shaping.Tile(), (ROW, _ints(1, 3))),
    Case(shaping.Tile(), (ROW, _ints(2, 2))),
    Case(shaping.BroadcastTo(), ((2, 1, 4), _ints(2, 5, 4))),
    Case(shaping.ReverseV2(), (ROW, _ints(1))),
    Case(shaping.ReverseV2(), (IMAGE, _ints(-2))),
    Case(shaping.ShapeOf(), (IMAGE,)),
    Case(blocks.DepthToSpace(2), (IMAGE,)),
    Case(blocks.SpaceToDepth(2), ((2, 8, 6, 3),)),
    Case(blocks.SpaceToBatchNd(), ((2, 8, 6, 3), _ints(2, 2), _pads((1, 1), (0, 2)))),
    Case(blocks.SpaceToBatchNd(), ((2, 8, 6, 3), _ints(2, 3), _pads((0, 0), (0, 0)))),
    Case(blocks.BatchToSpaceNd(), ((8, 4, 3, 3), _ints(2, 2), _pads((1, 0), (0, 1)))),
    *(
        Case(kind(), inputs)
        for kind in (logic.Greater, logic.GreaterEqual, logic.Less, logic.LessEqual, logic.Equal, logic.NotEqual)
        for inputs in ((IMAGE, IMAGE), (IMAGE, _random(4)))
    ),
    Case(logic.LogicalAnd(), (BOOLS, BOOLS)),
    Case(logic.LogicalOr(), (BOOLS, BOOLS)),
    Case(logic.LogicalNot(), (BOOLS,)),
    Case(logic.Select(), (BOOLS, ROW, ROW)),
    Case(logic.Select(), (Given((2,), Index("bool")), IMAGE, IMAGE)),
    Case(logic.SelectV2(), (BOOLS, ROW, ROW)),
    Case(logic.SelectV2(), (BOOLS, ROW, (3, 1))),
    Case(reduction.ArgMin(), (ROW, np.asarray(1, np.int32))),
    Case(reduction.ArgMin("int32"), (IMAGE, np.asarray(-1, np.int32))),
    *(Case(kind(), (BOOLS, _ints(1))) for kind in (reduction.ReduceAny, reduction.ReduceAll)),
    *(Case(kind(keep_dims=True), (BOOLS, _ints(0, 1))) for kind in (reduction.ReduceAny, reduction.ReduceAll)),
    *(Case(reduction.Cumsum(*options), (IMAGE, np.asarray(2, np.int32))) for options in CUMSUMS),
    Case(reduction.Cumsum(), (ROW, np.asarray(-1, np.int32))),
    *(Case(kind(), (IMAGE,), -9, 9) for kind in (activation.Sin, activation.Cos)),
    *(Case(kind(), (IMAGE,), -9, 9) for kind in (rounding.Floor, rounding.Ceil, rounding.Sign)),
    Case(rounding.Round(), (IMAGE,), -9, 9),
    Case(rounding.Round(), (np.float32([[-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]]),)),
    *(Case(kind(), (IMAGE, (2, 9, 8, 4)), 0.5, 9) for kind in (rounding.FloorDiv, rounding.FloorMod)),
    *(Case(kind(), (IMAGE, np.float32([-3.0])), -9, 9) for kind in (rounding.FloorDiv, rounding.FloorMod)),
    Case(elementwise.AddN(), (ROW, ROW, ROW)),
    Case(indexing.EmbeddingLookup(), (_ints(4, 0, 4, 2), (6, 5))),
    Case(indexing.GatherNd(), (IMAGE, np.asarray([[0, 1], [1, 8]], np.int32))),
    Case(indexing.GatherNd(), (IMAGE, np.asarray([[[0, 1, 2, 3]], [[1, 8, 7, 0]]], np.int32))),
    Case(indexing.ScatterNd(), (np.asarray([[3], [0], [3]], np.int32), ROW, _ints(5, 12))),
    Case(indexing.ScatterNd(), (np.asarray([[1, 2], [0, 0]], np.int32), (2, 4), _ints(2, 3, 4))),
    Case(indexing.TopK(), (ROW, np.asarray(3, np.int32))),
    Case(indexing.TopK(), (IMAGE, np.asarray(4, np.int32))),
    Case(indexing.OneHot(), (_ints(3, 0, 9), np.asarray(5, np.int32), (1,), (1,))),
    Case(indexing.OneHot(1), (np.asarray([[3, 0], [1, -1]], np.int32), np.asarray(4, np.int32), (1,), (1,))),
    Case(indexing.Fill(), (_ints(2, 3), np.asarray(1.5, np.float32))),
    Case(indexing.ZerosLike(), (ROW,)),
    Case(indexing.Range(), tuple(np.asarray(n, np.int32) for n in (9, 0, -2))),
    Case(indexing.Rank(), (IMAGE,)),
    Case(indexing.BroadcastArgs(), (_ints(3, 1, 4), _ints(5, 1))),
    *(Case(volume.Conv3D(*options), ((2, 5, 6, 7, 3), _random(3, 2, 3, 3, 4), _random(4))) for options in CONVS_3D),
    Case(volume.Conv3D(padding="same"), ((2, 5, 6, 7, 3), _random(3, 2, 3, 3, 4), None)),
    Case(shaping.Gather(1, 1), ((2, 5, 3), np.asarray([[4, 0], [1, 1]], np.int32))),
    Case(shaping.Gather(2, 1), ((2, 5, 6, 3), np.asarray([[[4, 0]], [[1, 1]]], np.int32))),
    Case(shaping.Gather(2, 2), ((2, 2, 6), np.asarray([[5, 0], [1, 1]], np.int32))),
    Case(quantization.Quantize(), (ROW,), out=BYTES),
    Case(quantization.Quantize(), (Given(ROW, BYTES),), out=Affine((0.031,), (130,), "uint8")),
    Case(quantization.Dequantize(), (Given(ROW, BYTES),)),
    Case(quantization.Cast("int32"), (ROW,), -9, 9),
    Case(quantization.Cast("int64"), (ROW,), -9, 9),
    Case(quantization.Cast("float32"), (BOOLS,)),
)

#: What microcontrollers' kernels lack: `clean` spells it out.
ABBREVIATED = (
    Case(shaping.StridedSlice(ellipsis_mask=1), (IMAGE, _ints(0, 1), _ints(0, 3), _ints(1, 1))),
    Case(shaping.StridedSlice(3, 3, 0, 4, 8), (IMAGE, _ints(0, 0, 0, 2), _ints(0, 0, 0, 3), _ints(1, 2, 1, 1))),
    Case(
        shaping.StridedSlice(ellipsis_mask=2, new_axis_mask=4, shrink_axis_mask=9),
        (IMAGE, _ints(1, 0, 0, 3), _ints(2, 0, 0, 4), _ints(1, 1, 1, 1)),
    ),
)

#: Where int8 kernels that exist fail: divisors that are stored zeros, padding where zero is not stored as 0, differences that
#: are small in real numbers.
HARSH = (
    Case(elementwise.Div(), (IMAGE, IMAGE)),
    Case(blocks.SpaceToBatchNd(), ((2, 8, 6, 3), _ints(2, 2), _pads((1, 1), (0, 2))), -1.0, 3.0),
    *(
        Case(kind(), (IMAGE, IMAGE), -0.01, 0.01)
        for kind in (logic.Greater, logic.GreaterEqual, logic.Less, logic.LessEqual, logic.Equal, logic.NotEqual)
    ),
)
#: Output channels whose weights differ a thousandfold, which one scale for all could not hold.
UNEVEN = Case(matmul.FullyConnected(), (ROW, _random(5, 12) * np.float32([[1e-3], [1], [1e-2], [0.1], [1]]), _random(5)))
