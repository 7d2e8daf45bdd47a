"""A graph as a torch module: every op on the real numbers that its stored inputs stand for, rounded back to stored ones.

That is the form which torch's compiler lowers to integer kernels on x86: int8 weights with a scale per channel, activations as
uint8. int8 activations are the same numbers with zero points that are 128 higher.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import _disable_current_modes

from intact.errors import IntactError, UnsupportedError, located
from intact.formats.onnx_out.build import clamps
from intact.formats.onnx_out.write import padded
from intact.formats.refusals import collected
from intact.network.graph import Graph, Op
from intact.network.graph import Tensor as GraphTensor
from intact.network.shapes import concrete
from intact.numbers.affine import Affine, Float, Index, dequantize_array, limits, storage
from intact.ops.base import OpKind
from intact.ops.call import CLAMPS, Stated, as_tuple

importlib.import_module("torch.ao.quantization.fx._decomposed")  # registers the operators below
_OPERATORS: Final = torch.ops.quantized_decomposed
#: Which axis of ours lies at each axis of torch's.
Order: TypeAlias = tuple[int, ...]

#: Of images.
FIRST: Final[Order] = (0, 3, 1, 2)
#: What the zero points of int8 activations are raised by.
_SHIFT: Final = 128


@final
@dataclass(frozen=True)
class _Storage:
    """How torch stores an activation: ``real = scale * (q - zero_point)``, q from ``low`` to ``high``."""

    scale: float
    zero_point: int
    low: int
    high: int
    dtype: torch.dtype

    @staticmethod
    def of(fmt: Affine) -> _Storage:
        shift = _SHIFT if fmt.dtype == "int8" else 0
        low, high = limits(fmt.dtype)
        dtype = torch.uint8 if shift else storage(fmt.dtype)
        return _Storage(fmt.scale[0], fmt.zero_point[0] + shift, low + shift, high + shift, dtype)

    def stored(self, real: Tensor) -> Tensor:
        made: Tensor = _OPERATORS.quantize_per_tensor.default(
            real, self.scale, self.zero_point, self.low, self.high, self.dtype
        )
        return made

    def real(self, stored: Tensor) -> Tensor:
        made: Tensor = _OPERATORS.dequantize_per_tensor.default(
            stored, self.scale, self.zero_point, self.low, self.high, self.dtype
        )
        return made


@final
@dataclass(frozen=True, eq=False)
class Value:
    """An activation as it is stored, with our axis at each of its axes in ``order``."""

    stored: Tensor
    order: Order

    def laid(self, order: Order) -> Tensor:
        """With its axes in another order: a view of the same memory."""
        return self.stored if order == self.order else self.stored.permute([self.order.index(axis) for axis in order])


@final
@dataclass(frozen=True, eq=False)
class Call:
    """An ``op`` of ``network`` and what is known when it runs: ``values`` by id."""

    op: Op
    network: Network
    values: dict[int, Value]

    @property
    def graph(self) -> Graph:
        return self.network.graph

    def has(self, n: int) -> bool:
        return n < len(self.op.inputs) and self.op.inputs[n] is not None

    def id(self, n: int) -> int:
        return self.graph.operand(self.op, n).id

    def tensor(self, n: int) -> GraphTensor:
        return self.graph[self.id(n)]

    def order(self, n: int) -> Order:
        """How an input lies; a constant, and what is left out, in our own order."""
        i = self.id(n) if self.has(n) else None
        return self.values[i].order if i is not None and i in self.values else ()

    def stored(self, n: int, order: Order | None = None) -> Tensor:
        """An input as it is stored, in ``order`` or our own."""
        i = self.id(n)
        if i not in self.values:
            return self.network.constant(i)
        return self.values[i].laid(order or plain(len(self.graph[i].shape)))

    def image(self, n: int) -> tuple[Tensor, tuple[int, ...]]:
        """An image as it is stored, channels first, before a PAD that this op can do itself; and what that pads at the top,
        left, bottom and right."""
        i = self.id(n)
        source, around = self.network.padded.get(i, (i, (0, 0, 0, 0)))
        held = self.values.get(source) or Value(self.network.constant(source), plain(4))
        return held.laid(FIRST), around

    def is_whole(self, n: int) -> bool:
        """Whether an input is left out, or whole numbers that mean themselves."""
        return not self.has(n) or isinstance(self.tensor(n).format, Index)

    @property
    def is_uniform(self) -> bool:
        """Whether all real numbers that it reads and makes are stored alike, as integers, and no activation changes them."""
        formats = {self.graph[i].format for i in (*self.op.reads, *self.op.outputs)}
        real = [fmt for fmt in formats if not isinstance(fmt, Index)]
        return len(real) == 1 and isinstance(real[0], Affine) and self.op.kind.unfused()[1] == "none"

    def zero(self, n: int) -> int:
        """The stored number that stands for 0 in an input."""
        fmt = self.tensor(n).format
        return _Storage.of(fmt).zero_point if isinstance(fmt, Affine) else 0

    def as_real(self, n: int, stored: Tensor) -> Tensor:
        """What ``stored``, rearranged from what input ``n`` stores, stands for."""
        fmt = self.tensor(n).format
        return _Storage.of(fmt).real(stored) if isinstance(fmt, Affine) else stored

    def real(self, n: int, order: Order | None = None) -> Tensor | None:
        """An input as the op's own ``compute`` reads it, in ``order`` or our own."""
        if not self.has(n):
            return None
        if self.id(n) in self.values:
            return self.as_real(n, self.stored(n, order))
        return self.network.operand(self.op, n, order)

    def weight(self, n: int, order: tuple[int, ...]) -> Tensor:
        """A weight with its axes in ``order``, of which the first counts output channels."""
        i = self.id(n)
        if i in self.values:
            real = self.real(n)
            assert real is not None
            return real.permute(order)
        return self.network.weight(i, order)

    def bias(self, n: int) -> Tensor | None:
        """A bias [c] as real numbers."""
        if not self.has(n):
            return None
        i = self.id(n)
        if i in self.values:
            return self.as_real(n, self.stored(n)).reshape(-1)
        held = self.network.reals(i)
        return held if held.dim() == 1 else held.reshape(-1)

    def settled(self, real: Tensor, n: int = 0) -> Tensor:
        """An output as it is stored, rounded; with its activation where that changes anything."""
        fmt, activation = self.graph[self.op.outputs[n]].format, self.op.kind.unfused()[1]
        bounds = CLAMPS[activation]
        if bounds is None:
            real = torch.tanh(real)
        elif not isinstance(fmt, Affine) or clamps(*bounds, fmt):
            real = _clamped(real, *bounds)
        return _Storage.of(fmt).stored(real) if isinstance(fmt, Affine) else real


#: What makes the outputs of an op.
Row: TypeAlias = Callable[[Call], tuple[Value, ...]]


@final
class Network(torch.nn.Module):
    """``graph`` as torch runs it, images with their channels first where ``orders`` say so.

    Its constants become buffers when it is called for the first time. Raises UnsupportedError then, which names all ops that
    cannot be had.
    """

    def __init__(self, graph: Graph, rows: Mapping[str, Row], orders: Mapping[int, Order]) -> None:
        super().__init__()
        self.graph, self.rows, self.orders = graph, rows, orders
        self.padded = padded(graph)
        self._stated = dict[tuple[int, int], Tensor | None]()

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        graph, values = self.graph, dict[int, Value]()
        for i, x in zip(graph.inputs, given, strict=True):
            fmt = graph[i].format
            values[i] = Value(_Storage.of(fmt).stored(x) if isinstance(fmt, Affine) else x, self.orders[i])
        errors: list[IntactError] = []
        for op in graph.ops:
            if op.output in self.padded:
                continue
            try:
                with located(graph.label(op)):
                    made = self.rows[op.kind.name](Call(op, self, values))
            except UnsupportedError as error:
                errors.append(error)
                made = tuple(_nothing(graph[i]) for i in op.outputs)  # to find what else there is
            values.update(zip(op.outputs, made, strict=True))
        if errors:
            raise collected(errors, "PyTorch")
        return tuple(self._left(i, values) for i in graph.outputs)

    def _left(self, i: int, values: Mapping[int, Value]) -> Tensor:
        fmt = self.graph[i].format
        held = values.get(i) or Value(self.constant(i), plain(len(self.graph[i].shape)))
        y = held.laid(self.orders[i])
        return _Storage.of(fmt).real(y) if isinstance(fmt, Affine) else y

    # ---- constants ------------------------------------------------------------------------------------------------------

    def constant(self, i: int) -> Tensor:
        """A constant as activations are stored."""
        t = self.graph[i]

        def data() -> np.ndarray:
            held = np.asarray(t.data)
            shifted = isinstance(t.format, Affine) and t.format.dtype == "int8"
            return (held.astype(np.int16) + _SHIFT).astype(np.uint8) if shifted else held

        return self._buffer(f"constant_{i}", data)

    def reals(self, i: int, order: Order | None = None) -> Tensor:
        """A constant as real numbers; with as many axes as ``order`` has, in that. Half precision is stored as such."""
        t = self.graph[i]

        def data() -> np.ndarray:
            held = np.asarray(t.data)
            real = dequantize_array(held, t.format) if isinstance(t.format, Affine) else held
            real = real.astype(np.float16 if t.format == Float("float16") else np.float32)
            return real if order is None else real.reshape((1,) * (len(order) - real.ndim) + real.shape).transpose(order)

        stored = self._buffer(f"real_{i}" if order is None else f"real_{i}_first", data)
        return stored.to(torch.float32) if stored.dtype == torch.float16 else stored

    def weight(self, i: int, order: tuple[int, ...]) -> Tensor:
        """A constant weight with its axes in ``order``: int8 with a scale for each output channel, which come first."""
        t = self.graph[i]
        held = self._buffer(f"weight_{i}", lambda: np.asarray(t.data).transpose(order))
        if not isinstance(t.format, Affine):
            return held if t.format == Float() else held.to(torch.float32)
        fmt, count = t.format, held.shape[0]
        if fmt.axis not in (None, order[0]):
            raise UnsupportedError(f"its weight has scales along axis {fmt.axis}")
        scales = self._buffer(f"scales_{i}", lambda: np.broadcast_to(np.asarray(fmt.scale, np.float32), (count,)))
        alike = set(fmt.zero_point) == {0}
        zeros = self._buffer(
            f"zeros_{count}" if alike else f"zeros_of_{i}",
            lambda: np.broadcast_to(np.asarray(fmt.zero_point, np.int64), (count,)),
        )
        low, high = limits(fmt.dtype)
        real: Tensor = _OPERATORS.dequantize_per_channel.default(held, scales, zeros, 0, low, high, held.dtype)
        return real

    def operand(self, op: Op, n: int, order: Order | None = None) -> Tensor | None:
        """A constant as the op's ``compute`` reads it: real numbers, a buffer of whole ones, or sizes that are read now."""
        i = self.graph.operand(op, n).id
        if not isinstance(self.graph[i].format, Index):
            return self.reals(i, order)
        key = op.output, n
        if key not in self._stated:
            with _disable_current_modes():
                self._stated[key] = self._sizes(op, n)
        stated = self._stated[key]
        return self.constant(i) if stated is None else stated

    def _sizes(self, op: Op, n: int) -> Tensor | None:
        """The whole numbers of input ``n``, if the op has to know them before it runs; else None."""
        bare = [self._bare(i) for i in op.inputs]
        stated, data = bare[n], np.asarray(self.graph.operand(op, n).data)
        bare[n] = torch.empty(data.shape, dtype=torch.from_numpy(np.zeros(0, data.dtype)).dtype, device="meta")
        try:
            op.kind.compute(*bare)
        except UnsupportedError:
            return stated
        return None

    def _bare(self, i: int | None) -> Tensor | None:
        if i is None:
            return None
        t = self.graph[i]
        if t.is_constant and isinstance(t.format, Index):
            return Stated.of(torch.from_numpy(np.array(t.data)))
        dtype = storage_of(t)
        return torch.empty(concrete(t), dtype=dtype, device="meta")

    def _buffer(self, name: str, data: Callable[[], np.ndarray]) -> Tensor:
        held = self._buffers.get(name)
        if held is None:
            held = torch.from_numpy(np.array(data(), order="C"))
            self.register_buffer(name, held)
        return held


def storage_of(t: GraphTensor) -> torch.dtype:
    """The type of what ``compute`` reads: real numbers as float32."""
    found: Any = torch.float32 if not isinstance(t.format, Index) else getattr(torch, t.format.dtype)
    assert isinstance(found, torch.dtype)
    return found


def plain(rank: int) -> Order:
    """Our own order."""
    return tuple(range(rank))


def computed(call: Call, order: Order | None = None) -> tuple[Value, ...]:
    """The op's own meaning, on real numbers; of ``order`` where it does not matter to the op."""
    kind: OpKind = call.op.kind.unfused()[0]
    made = as_tuple(kind.compute(*(call.real(n, order) for n in range(len(call.op.inputs)))))
    return tuple(Value(call.settled(y, n), order or plain(y.dim())) for n, y in enumerate(made))


def _nothing(t: GraphTensor) -> Value:
    return Value(torch.zeros(concrete(t)), plain(len(t.shape)))


def _clamped(x: Tensor, low: float, high: float) -> Tensor:
    """Not in place; by the names that torch's compiler looks for."""
    if (low, high) == (float("-inf"), float("inf")):
        return x
    return F.relu(x) if (low, high) == (0.0, float("inf")) else F.hardtanh(x, low, high)
