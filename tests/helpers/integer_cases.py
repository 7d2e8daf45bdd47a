"""One small int8 graph that holds every op kind with an int8 kernel, each with its own inputs, in random formats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from op_cases import CASES

from intact.network.graph import Graph, Op, Tensor
from intact.numbers.affine import Affine, Float, Format, Index, bias_format, limits
from intact.ops import INTEGER, KINDS
from intact.ops.base import Counts, Fixed, OpKind, SameAsInput
from intact.ops.inference import infer_shapes


@dataclass
class Builder:
    """Ops beside each other on activations of ``dtype``; :meth:`op` adds one with random inputs."""

    draw: np.random.Generator
    dtype: str = "int8"
    tensors: list[Tensor] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    names: dict[str, Op] = field(default_factory=dict)

    def format(self, low: float = 0.01, high: float = 0.3) -> Affine:
        scale = float(np.exp(self.draw.uniform(np.log(low), np.log(high))))
        if self.dtype == "int16":
            return Affine((scale / 256,), (0,), "int16")
        return Affine((scale,), (int(self.draw.integers(-128, 128)),))

    def activation(self) -> str:
        return str(self.draw.choice(("none", "relu", "relu6", "relu_n1_to_1")))

    def flow(self, *shape: int, fmt: Format | None = None) -> int:
        """A graph input [n, *shape]."""
        i = self._add((None, *shape), fmt or self.format())
        self.inputs.append(i)
        return i

    def ints(self, *values: int, shape: tuple[int, ...] = (-1,)) -> int:
        data = np.int32(values).reshape(shape)
        return self._add(data.shape, Index(), data)

    def constant(self, *shape: int, fmt: Affine | None = None) -> int:
        own = fmt or self.format()
        low, high = limits(own.dtype)
        return self._add(shape, own, self.draw.integers(low, high + 1, shape, own.dtype))

    def weights(
        self, x: int, shape: tuple[int, ...], axis: int, *, per_channel: bool = True, dtype: str = "int8"
    ) -> tuple[int, int]:
        """Weights with zero point 0, and a bias that matters."""
        count = shape[axis] if per_channel else 1
        scale = tuple(self.draw.uniform(0.002, 0.02, count).tolist())
        fmt = Affine(scale, (0,) * count, dtype, axis if per_channel else None)
        most = limits(dtype)[1]
        w = self._add(shape, fmt, self.draw.integers(-most, most + 1, shape, np.int8))
        of_bias, wide = bias_format(self.tensors[x].format, fmt), self.dtype == "int16"
        bias = self.draw.integers(-3000, 3000, shape[axis]).astype(of_bias.dtype) * (256 if wide else 1)
        return w, self._add(bias.shape, of_bias, bias)

    def op(
        self, kind: OpKind, *reads: int | None, out: Format | None = None, second: Format | None = None, name: str = ""
    ) -> None:
        given = [None if i is None else self._meta(self.tensors[i]) for i in reads]
        first = next(f for f in (self.tensors[i].format for i in reads if i is not None) if not isinstance(f, Index))
        fmt = out or self.format()
        if isinstance(kind.range_rule, SameAsInput):
            fmt = first
        if isinstance(kind.range_rule, Fixed):
            scale, zero_point = kind.range_rule.by_dtype[self.dtype]
            fmt = Affine((scale,), (zero_point,), self.dtype)
        shapes = infer_shapes(kind, given)
        made = tuple(self._add((None, *s[1:]), (second or fmt) if n else fmt) for n, s in enumerate(shapes))
        self.ops.append(Op(kind, reads, made))
        label = f"{kind.name} {name}".strip()
        assert label not in self.names
        self.names[label] = self.ops[-1]

    def convolution(self, name: str, c_in: int, shape: tuple[int, ...], options: Mapping[str, object]) -> None:
        """CONV_2D of a 9 x 8 image, its activation drawn."""
        x = self.flow(9, 8, c_in)
        kind = KINDS["CONV_2D"](activation=self.activation(), **options)
        self.op(kind, x, *self.weights(x, shape, 0), out=self.format(0.05, 0.5), name=name)

    def graph(self) -> Graph:
        outputs = tuple(i for op in self.ops for i in op.outputs)
        used = {*self.inputs, *outputs, *(i for op in self.ops for i in op.reads)}
        return Graph({t.id: t for t in self.tensors if t.id in used}, tuple(self.ops), tuple(self.inputs), outputs)

    def _add(self, shape: tuple[int | None, ...], fmt: Format, data: np.ndarray | None = None) -> int:
        i = len(self.tensors)
        self.tensors.append(Tensor(i, f"t{i}", tuple(shape), fmt, data))
        return i

    @staticmethod
    def _meta(t: Tensor) -> torch.Tensor:
        if isinstance(t.format, Index):
            return torch.from_numpy(np.array(t.data))
        return torch.empty([1 if n is None else n for n in t.shape], device="meta")


def every_kind(seed: int) -> Builder:
    """All op kinds of the targets' integer lists, the weighted ones in several shapes."""
    b = Builder(np.random.default_rng(seed))
    kinds = KINDS
    _weighted(b)
    b.op(kinds["BATCH_MATMUL"](), b.flow(5, 6), b.flow(6, 4), out=b.format(0.05, 0.5))
    b.op(kinds["BATCH_MATMUL"](adj_y=True), b.flow(5, 6), b.flow(4, 6), out=b.format(0.05, 0.5), name="transposed")

    for name in ("ADD", "SUB", "MUL"):
        b.op(kinds[name](activation=b.activation()), b.flow(5, 6), b.flow(5, 6))
        b.op(kinds[name](), b.flow(3, 6), b.constant(6), name="constant")
        b.op(kinds[name](), b.flow(3, 1, 6), b.flow(1, 4, 6), name="broadcast")
    b.op(kinds["SQUARED_DIFFERENCE"](), b.flow(5, 6), b.flow(5, 6))
    for name in ("MAXIMUM", "MINIMUM"):
        fmt = b.format()
        b.op(kinds[name](), b.flow(5, 6, fmt=fmt), b.flow(5, 6, fmt=fmt))

    for name in (
        *("ABS", "ELU", "EXP", "GELU", "HARD_SWISH", "LEAKY_RELU", "LOGISTIC", "RELU", "RELU6", "RELU_0_TO_1"),
        *("RELU_N1_TO_1", "TANH", "SOFTMAX", "LOG_SOFTMAX", "L2_NORMALIZATION"),
    ):
        b.op(kinds[name](), b.flow(5, 11))
    b.op(kinds["GELU"](approximate=True), b.flow(5, 6), name="approximate")
    b.op(kinds["LEAKY_RELU"](alpha=0.01), b.flow(5, 6), name="0.01")
    b.op(kinds["SOFTMAX"](beta=2.0), b.flow(100, fmt=b.format(0.001, 0.01)), name="flat")
    b.op(kinds["PRELU"](), b.flow(4, 4, 6), b.constant(1, 1, 6))
    for name in ("RSQRT", "LOG"):
        b.op(kinds[name](), b.flow(5, 6, fmt=Affine((0.05,), (-128,))))

    for padding in ("same", "valid"):
        for name in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
            b.op(kinds[name]((3, 2), (2, 2), padding, b.activation()), b.flow(7, 7, 4), name=padding)
    for name in ("MEAN", "SUM"):
        b.op(kinds[name](), b.flow(5, 6, 4), b.ints(1, 2))
        b.op(kinds[name](keep_dims=True), b.flow(5, 6, 4), b.ints(3), name="channels")
    for name in ("REDUCE_MAX", "REDUCE_MIN"):
        b.op(kinds[name](), b.flow(5, 6, 4), b.ints(1, 2))
    for name in ("ARG_MAX", "ARG_MIN"):
        b.op(kinds[name]("int32"), b.flow(9), b.ints(1, shape=()), out=Index())

    for options in ({}, {"align_corners": True}, {"half_pixel_centers": True}):
        for name in ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"):
            b.op(kinds[name](**options), b.flow(5, 4, 3), b.ints(8, 9), name=" ".join(options))
            b.op(kinds[name](**options), b.flow(9, 8, 3), b.ints(4, 5), name=" ".join(("down", *options)))
    _moves(b)
    b.op(kinds["QUANTIZE"](), b.flow(5, 6, fmt=Float()), name="real")
    b.op(kinds["QUANTIZE"](), b.flow(5, 6), name="format")
    b.op(kinds["QUANTIZE"](), b.flow(5, 6), out=Affine((0.1,), (100,), "uint8"), name="uint8")
    b.op(kinds["QUANTIZE"](), b.flow(5, 6, fmt=Affine((0.1,), (100,), "uint8")), name="from uint8")
    b.op(kinds["DEQUANTIZE"](), b.flow(5, 6), out=Float())
    _others(b)
    _in_two_bits(b, np.random.default_rng(100 + seed))
    return b


def _others(b: Builder) -> None:
    """A kind that has nothing above: its first case with real numbers alone, in random formats."""
    had = {op.kind.name for op in b.ops}
    for case in CASES:
        plain = all(isinstance(given, tuple) and len(given) > 1 for given in case.inputs)
        if plain and case.kind.name in INTEGER - had and not isinstance(case.kind, Counts):
            had.add(case.kind.name)
            b.op(case.kind, *(b.flow(*given[1:]) for given in case.inputs))


def _weighted(b: Builder) -> None:
    kinds = KINDS
    for name, c_in, shape, options in (
        ("same", 3, (8, 3, 3, 3), {"padding": "same"}),
        ("strided", 8, (5, 3, 2, 8), {"padding": "same", "stride": (2, 2)}),
        ("dilated", 4, (6, 3, 3, 4), {"dilation": (2, 2)}),
        ("grouped", 4, (6, 1, 1, 2), {}),
    ):
        b.convolution(name, c_in, shape, options)
    x = b.flow(7, 6, 5)
    b.op(kinds["CONV_2D"](), x, *b.weights(x, (4, 1, 1, 5), 0, per_channel=False), out=b.format(), name="per tensor")
    x = b.flow(7, 6, 5)
    b.op(kinds["CONV_2D"](), x, *b.weights(x, (4, 3, 3, 5), 0, dtype="int4"), name="int4")
    x = b.flow(7, 6, 6)
    b.op(kinds["CONV_2D"](), x, *b.weights(x, (4, 3, 3, 3), 0, dtype="int4"), name="int4 grouped")
    x = b.flow(9, 8, 6)
    b.op(kinds["DEPTHWISE_CONV_2D"](padding="same", activation=b.activation()), x, *b.weights(x, (1, 3, 3, 6), 3), name="same")
    x = b.flow(9, 8, 3)
    doubled = kinds["DEPTHWISE_CONV_2D"](stride=(2, 2), depth_multiplier=2)
    b.op(doubled, x, *b.weights(x, (1, 3, 3, 6), 3), name="doubled")
    x = b.flow(4, 4, 3)
    w, bias = b.weights(x, (5, 3, 3, 3), 0)
    b.op(kinds["TRANSPOSE_CONV"](stride=(2, 2), padding="same"), b.ints(1, 8, 8, 5), w, x, bias)
    for per_channel in (False, True):
        x = b.flow(40)
        w, bias = b.weights(x, (7, 40), 0, per_channel=per_channel)
        name = "per channel" if per_channel else "per tensor"
        b.op(kinds["FULLY_CONNECTED"](activation=b.activation()), x, w, bias, out=b.format(0.05, 0.5), name=name)
    for count in (39, 40):  # LiteRT's own kernel, and XNNPACK's
        x = b.flow(count)
        w, bias = b.weights(x, (64, count), 0, per_channel=False, dtype="int4")
        b.op(kinds["FULLY_CONNECTED"](), x, w, bias, out=b.format(0.05, 0.5), name=f"int4 {count}")
    x = b.flow(1200)  # sums beyond 2**24, which float32 could not hold
    b.op(kinds["FULLY_CONNECTED"](), x, *b.weights(x, (4, 1200), 0), out=b.format(1.0, 2.0), name="wide")


def _in_two_bits(b: Builder, draw: np.random.Generator) -> None:
    """With random numbers of its own: a few of those of the others lie beside a half, where runtimes differ, and are pinned."""
    b.draw, of_others = draw, b.draw
    for count, per_channel in ((39, True), (40, True), (40, False)):  # XNNPACK takes whole bytes, with a scale a channel
        x = b.flow(count)
        w, bias = b.weights(x, (64, count), 0, per_channel=per_channel, dtype="int2")
        name = f"int2 {count}{'' if per_channel else ' per tensor'}"
        b.op(KINDS["FULLY_CONNECTED"](), x, w, bias, out=b.format(0.005, 0.05), name=name)
    b.draw = of_others


def _moves(b: Builder) -> None:
    kinds, fmt = KINDS, b.format()
    b.op(kinds["CONCATENATION"](axis=2), b.flow(5, 6, fmt=fmt), b.flow(5, 2, fmt=fmt))
    b.op(kinds["DEPTH_TO_SPACE"](), b.flow(3, 4, 8))
    b.op(kinds["SPACE_TO_DEPTH"](), b.flow(4, 6, 3))
    b.op(kinds["EXPAND_DIMS"](), b.flow(5, 6), b.ints(1, shape=()))
    b.op(kinds["GATHER"](axis=1), b.flow(5, 6), b.ints(4, 0, 0, 2))
    b.op(kinds["TOPK_V2"](), b.flow(3, 9), b.ints(4, shape=()), second=Index())
    b.op(kinds["MIRROR_PAD"](), b.flow(5, 6), b.ints(0, 0, 2, 1, 0, 3, shape=(3, 2)))
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
    b.op(kinds["TILE"](), b.flow(5, 6), b.ints(1, 2, 3))
    b.op(kinds["TRANSPOSE"](), b.flow(5, 6), b.ints(0, 2, 1))
    b.op(kinds["UNPACK"](axis=1, count=3), b.flow(3, 6))


def samples(b: Builder, n: int) -> dict[str, np.ndarray]:
    """Any stored integer; real numbers for float inputs."""
    result = {}
    for i in b.inputs:
        t = b.tensors[i]
        shape = (n, *t.shape[1:])
        if isinstance(t.format, Affine):
            low, high = limits(t.format.dtype)
            result[t.name] = b.draw.integers(low, high + 1, shape, t.format.dtype)
        else:
            result[t.name] = b.draw.normal(0, 2, shape).astype(np.float32)
    return result
