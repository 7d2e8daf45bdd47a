"""One-op float graphs of every op kind: what the tests of kinds run in the simulator and in the runtimes."""

from dataclasses import dataclass

import numpy as np
import torch

from intact.affine import Float, Index
from intact.graph import Graph, Op, Tensor
from intact.ops import (
    activation,
    blocks,
    convolution,
    elementwise,
    logic,
    matmul,
    pooling,
    quantization,
    reduction,
    resize,
    shaping,
)
from intact.ops.base import OpKind, as_tuple


@dataclass(frozen=True)
class Case:
    """``inputs``: a shape is an activation with values in ``low``..``high``, an array a constant."""

    kind: OpKind
    inputs: tuple
    low: float = -2.0
    high: float = 2.0

    @property
    def id(self) -> str:
        shapes = "_".join("x".join(map(str, i)) for i in self.inputs if isinstance(i, tuple))
        options = "_".join(str(v) for v in vars(self.kind).values())
        return f"{self.kind.name}-{shapes}-{options}".replace(" ", "")


def graph_of(case: Case) -> Graph:
    """The op alone: activations are the graph's inputs."""
    tensors, inputs, values = [], [], []
    for i, given in enumerate(case.inputs):
        if isinstance(given, tuple):
            tensors.append(Tensor(i, f"x{i}", given))
            inputs.append(i)
            values.append(torch.zeros(given))
        else:
            fmt = Float() if given.dtype == np.float32 else Index(str(given.dtype))
            tensors.append(Tensor(i, f"c{i}", given.shape, fmt, given))
            values.append(torch.from_numpy(given))
    made = as_tuple(case.kind.compute(*values))
    ids = tuple(range(len(case.inputs), len(case.inputs) + len(made)))
    for i, y in zip(ids, made, strict=True):
        fmt = Float() if y.is_floating_point() else Index(str(y.dtype).removeprefix("torch."))
        tensors.append(Tensor(i, f"y{i}", tuple(y.shape), fmt))
    return Graph({t.id: t for t in tensors}, (Op(case.kind, tuple(range(len(case.inputs))), ids),), tuple(inputs), ids)


def samples(case: Case, seed: int = 0) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    shapes = {f"x{i}": given for i, given in enumerate(case.inputs) if isinstance(given, tuple)}
    return {name: draw.uniform(case.low, case.high, shape).astype(np.float32) for name, shape in shapes.items()}


def _random(*shape: int, seed: int = 1, spread: float = 0.5) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, spread, shape).astype(np.float32)


def _ints(*values: int) -> np.ndarray:
    return np.asarray(values, np.int32)


def _pads(*rows: tuple[int, int]) -> np.ndarray:
    return np.asarray(rows, np.int32)


IMAGE = (1, 9, 8, 4)
ROW = (1, 12)
W, B = _random(6, 3, 3, 4), _random(6)
DW, DB = _random(1, 3, 3, 4), _random(4)
CASES = (
    Case(convolution.Conv2D(padding="same"), (IMAGE, W, B)),
    Case(convolution.Conv2D((2, 1), "valid", (1, 1), "relu6"), (IMAGE, W, B)),
    Case(convolution.Conv2D((1, 1), "same", (2, 2), "relu"), (IMAGE, W, B)),
    Case(convolution.Conv2D((2, 2), "same"), (IMAGE, _random(6, 1, 1, 4), B)),
    Case(convolution.Conv2D(padding="same"), (IMAGE, _random(6, 3, 3, 2), B)),
    Case(convolution.DepthwiseConv2D(padding="same"), (IMAGE, DW, DB)),
    Case(convolution.DepthwiseConv2D((2, 2), "same", activation="relu6"), (IMAGE, DW, DB)),
    Case(convolution.DepthwiseConv2D((1, 1), "valid", (2, 2)), (IMAGE, DW, DB)),
    Case(convolution.DepthwiseConv2D((1, 1), "same", depth_multiplier=2), (IMAGE, _random(1, 3, 3, 8), _random(8))),
    Case(convolution.TransposeConv((2, 2), "same"), (_ints(1, 18, 16, 6), _random(6, 3, 3, 4), IMAGE, B)),
    Case(convolution.TransposeConv((2, 2), "valid"), (_ints(1, 19, 17, 6), _random(6, 3, 3, 4), IMAGE, B)),
    Case(matmul.FullyConnected("relu"), (ROW, _random(5, 12), _random(5))),
    Case(matmul.FullyConnected(keep_dims=True), ((1, 7, 12), _random(5, 12), _random(5))),
    Case(matmul.BatchMatMul(), ((1, 5, 6), (1, 6, 4))),
    Case(matmul.BatchMatMul(adj_y=True), ((1, 5, 6), (1, 4, 6))),
    *(Case(kind("relu"), (IMAGE, IMAGE)) for kind in (elementwise.Add, elementwise.Sub, elementwise.Mul)),
    Case(elementwise.Add(), (IMAGE, _random(4))),
    Case(elementwise.Mul(), (IMAGE, (1, 1, 1, 4))),
    Case(elementwise.Mul(), (IMAGE, np.asarray(1 / 6, np.float32))),
    Case(elementwise.Sub("relu6"), (IMAGE, _random(4))),
    Case(elementwise.Div(), (IMAGE, IMAGE), 0.5, 2.0),
    Case(elementwise.Pow(), (IMAGE, IMAGE), 0.5, 2.0),
    Case(elementwise.SquaredDifference(), (IMAGE, IMAGE)),
    Case(elementwise.Maximum(), (IMAGE, IMAGE)),
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
    Case(activation.Gelu(approximate=True), (IMAGE,), -6, 6),
    Case(activation.HardSwish(), (IMAGE,), -6, 6),
    Case(activation.PRelu(), (IMAGE, _random(1, 1, 4))),
    Case(activation.Softmax(), (ROW,)),
    Case(activation.Softmax(beta=0.5), (IMAGE,)),
    Case(activation.LogSoftmax(), (ROW,)),
    Case(activation.L2Normalization(), (ROW,)),
    *(Case(kind(), (IMAGE,), 0.1, 2.0) for kind in (activation.Log, activation.Sqrt, activation.Rsqrt)),
    Case(pooling.AveragePool2D((2, 2), (2, 2), "valid"), (IMAGE,)),
    Case(pooling.AveragePool2D((3, 3), (1, 2), "same"), (IMAGE,)),
    Case(pooling.MaxPool2D((2, 2), (2, 2), "same"), (IMAGE,)),
    Case(pooling.MaxPool2D((3, 2), (1, 1), "valid", "relu"), (IMAGE,)),
    Case(reduction.Mean(), (IMAGE, _ints(1, 2))),
    Case(reduction.Mean(keep_dims=True), (IMAGE, _ints(1, 2))),
    Case(reduction.Mean(keep_dims=True), (IMAGE, _ints(3))),
    Case(reduction.Sum(), (IMAGE, _ints(1, 2))),
    Case(reduction.ReduceProd(), (IMAGE, _ints(3))),
    Case(reduction.ReduceMax(), (IMAGE, _ints(1, 2))),
    Case(reduction.ReduceMin(keep_dims=True), (IMAGE, _ints(3))),
    Case(reduction.ArgMax(), (ROW, np.asarray(1, np.int32))),
    Case(resize.ResizeBilinear(half_pixel_centers=True), (IMAGE, _ints(18, 16))),
    Case(resize.ResizeBilinear(align_corners=True), (IMAGE, _ints(5, 11))),
    Case(resize.ResizeNearestNeighbor(), (IMAGE, _ints(18, 24))),
    Case(resize.ResizeNearestNeighbor(half_pixel_centers=True), (IMAGE, _ints(18, 16))),
    Case(shaping.Reshape(), (IMAGE, _ints(-1, 72, 4))),
    Case(shaping.Transpose(), (IMAGE, _ints(0, 3, 1, 2))),
    Case(shaping.Squeeze((1,)), ((1, 1, 5),)),
    Case(shaping.ExpandDims(), (ROW, np.asarray(1, np.int32))),
    Case(shaping.Pad(), (IMAGE, _pads((0, 0), (1, 2), (0, 1), (0, 0)))),
    Case(shaping.PadV2(), (IMAGE, _pads((0, 0), (1, 2), (0, 1), (0, 0)), np.asarray(-1.5, np.float32))),
    Case(shaping.MirrorPad("reflect"), (IMAGE, _pads((0, 0), (2, 1), (1, 1), (0, 0)))),
    Case(shaping.MirrorPad("symmetric"), (IMAGE, _pads((0, 0), (2, 1), (1, 1), (0, 0)))),
    Case(shaping.Concatenation(axis=3), (IMAGE, (1, 9, 8, 2))),
    Case(shaping.Concatenation(axis=1), (ROW, (1, 5), (1, 3))),
    Case(shaping.Pack(axis=1, count=2), (ROW, ROW)),
    Case(shaping.Unpack(axis=1, count=3), ((1, 3, 4),)),
    Case(shaping.Split(count=2), (np.asarray(3, np.int32), IMAGE)),
    Case(shaping.SplitV(count=2), (IMAGE, _ints(1, 3), np.asarray(3, np.int32))),
    Case(shaping.Slice(), (IMAGE, _ints(0, 1, 2, 0), _ints(-1, 4, 5, 3))),
    Case(shaping.StridedSlice(begin_mask=1, end_mask=1), (IMAGE, _ints(0, 1, 0, 0), _ints(0, 9, 8, 4), _ints(1, 2, 1, 1))),
    Case(shaping.Gather(axis=1), (ROW, _ints(3, 0, 7))),
    Case(shaping.Tile(), (ROW, _ints(1, 3))),
    Case(shaping.BroadcastTo(), ((1, 1, 4), _ints(1, 5, 4))),
    Case(shaping.ReverseV2(), (ROW, _ints(1))),
    Case(shaping.ShapeOf(), (IMAGE,)),
    Case(blocks.DepthToSpace(2), (IMAGE,)),
    Case(blocks.SpaceToDepth(2), ((1, 8, 6, 3),)),
    Case(blocks.SpaceToBatchNd(), ((1, 8, 6, 3), _ints(2, 2), _pads((1, 1), (0, 2)))),
    Case(blocks.BatchToSpaceNd(), ((4, 4, 3, 3), _ints(2, 2), _pads((1, 0), (0, 1)))),
    *(
        Case(kind(), (IMAGE, IMAGE))
        for kind in (logic.Greater, logic.GreaterEqual, logic.Less, logic.LessEqual, logic.Equal, logic.NotEqual)
    ),
    *(Case(kind(), (ROW, ROW)) for kind in ()),
    Case(quantization.Cast("int32"), (ROW,), -9, 9),
)

#: Kinds that need bools or formats of their own: tested in chains below.
ELSEWHERE = {"LOGICAL_AND", "LOGICAL_OR", "LOGICAL_NOT", "SELECT", "SELECT_V2", "QUANTIZE", "DEQUANTIZE"}
