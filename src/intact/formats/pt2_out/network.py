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
from intact.network.graph import Graph, Op
from intact.network.graph import Tensor as GraphTensor
from intact.network.shapes import concrete
from intact.numbers.affine import Affine, Float, Index, dequantize_array, limits, storage
from intact.ops.base import OpKind
from intact.ops.call import CLAMPS, Stated

importlib.import_module("torch.ao.quantization.fx._decomposed")  # registers the operators below
_OPERATORS: Final = torch.ops.quantized_decomposed
#: Which axis of ours lies at each axis of torch's images.
FIRST: Final = (0, 3, 1, 2)
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
class Call:
    """An ``op`` of ``network`` and what is known when it runs: ``values`` by id, as they are stored."""

    op: Op
    network: Network
    values: dict[int, Tensor]

    @property
    def graph(self) -> Graph:
        return self.network.graph

    def has(self, n: int) -> bool:
        return n < len(self.op.inputs) and self.op.inputs[n] is not None

    def id(self, n: int) -> int:
        return self.graph.operand(self.op, n).id

    def tensor(self, n: int) -> GraphTensor:
        return self.graph[self.id(n)]

    def stored(self, n: int) -> Tensor:
        """An input as it is stored, in our order."""
        i = self.id(n)
        return self.values[i] if i in self.values else self.network.constant(i)

    def padded(self, n: int) -> tuple[Tensor, tuple[int, ...]]:
        """An image as it is stored before a PAD that this op can do itself: and what it pads at the top, left, bottom, right."""
        i = self.id(n)
        source, around = self.network.padded.get(i, (i, (0, 0, 0, 0)))
        return self.values[source] if source in self.values else self.network.constant(source), around

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

    def real(self, n: int) -> Tensor | None:
        """An input as the op's own ``compute`` reads it."""
        if not self.has(n):
            return None
        i = self.id(n)
        return self.as_real(n, self.values[i]) if i in self.values else self.network.operand(self.op, n)

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
            return self.as_real(n, self.values[i]).reshape(-1)
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


#: What makes the outputs of an op, as they are stored.
Row: TypeAlias = Callable[[Call], tuple[Tensor, ...]]


@final
class Network(torch.nn.Module):
    """``graph`` as torch runs it, images with their channels first where ``orders`` say so.

    Its constants become buffers when it is called for the first time. Raises UnsupportedError then, which names all ops that
    cannot be had.
    """

    def __init__(self, graph: Graph, rows: Mapping[str, Row], orders: Mapping[int, tuple[int, ...]]) -> None:
        super().__init__()
        self.graph, self.rows, self.orders = graph, rows, orders
        self.padded = padded(graph)
        self._stated = dict[tuple[int, int], Tensor | None]()

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        graph, values = self.graph, dict[int, Tensor]()
        for i, x in zip(graph.inputs, given, strict=True):
            fmt, order = graph[i].format, self.orders[i]
            q = _Storage.of(fmt).stored(x) if isinstance(fmt, Affine) else x
            values[i] = q.permute(_back(order)) if order != tuple(range(len(order))) else q
        errors: list[IntactError] = []
        for op in graph.ops:
            if op.output in self.padded:
                continue
            try:
                with located(graph.label(op)):
                    made = self.rows[op.kind.name](Call(op, self, values))
            except UnsupportedError as error:
                errors.append(error)
                made = tuple(torch.zeros(concrete(graph[i])) for i in op.outputs)
            values.update(zip(op.outputs, made, strict=True))
        if errors:
            raise collected(errors)
        return tuple(self._left(i, values) for i in graph.outputs)

    def _left(self, i: int, values: Mapping[int, Tensor]) -> Tensor:
        fmt, order = self.graph[i].format, self.orders[i]
        y = values[i] if i in values else self.constant(i)
        y = y.permute(order) if order != tuple(range(len(order))) else y
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

    def reals(self, i: int) -> Tensor:
        """A constant as real numbers."""
        t = self.graph[i]

        def data() -> np.ndarray:
            held = np.asarray(t.data)
            return (dequantize_array(held, t.format) if isinstance(t.format, Affine) else held).astype(np.float32)

        return self._buffer(f"real_{i}", data)

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
        zeros = self._buffer(f"zeros_{count}" if alike else f"zeros_of_{i}", lambda: np.broadcast_to(np.asarray(fmt.zero_point, np.int64), (count,)))
        low, high = limits(fmt.dtype)
        real: Tensor = _OPERATORS.dequantize_per_channel.default(held, scales, zeros, 0, low, high, held.dtype)
        return real

    def operand(self, op: Op, n: int) -> Tensor | None:
        """A constant as the op's ``compute`` reads it: real numbers, a buffer of whole ones, or sizes that are read now."""
        i = self.graph.operand(op, n).id
        if not isinstance(self.graph[i].format, Index):
            return self.reals(i)
        key = op.output, n
        if key not in self._stated:
            with _disable_current_modes():
                self._stated[key] = self._sizes(op, n)
        stated = self._stated[key]
        return self.constant(i) if stated is None else stated

    def _sizes(self, op: Op, n: int) -> Tensor | None:
        """The whole numbers of input ``n``, if the op has to know them before it runs; None where they are numbers like others."""
        bare = [self._bare(i) for i in op.inputs]
        stated, data = bare[n], np.asarray(self.graph.operand(op, n).data)
        bare[n] = torch.empty(data.shape, dtype=torch.from_numpy(data[:0].copy()).dtype, device="meta")
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


def computed(call: Call) -> tuple[Tensor, ...]:
    """The op's own meaning, on real numbers."""
    kind: OpKind = call.op.kind.unfused()[0]
    made = kind.compute(*(call.real(n) for n in range(len(call.op.inputs))))
    made = made if isinstance(made, tuple) else (made,)
    return tuple(call.settled(y, n) for n, y in enumerate(made))


def collected(errors: list[IntactError]) -> UnsupportedError:
    """What several ops cannot, in one sentence."""
    said = "; ".join(dict.fromkeys(": ".join((*error.where, error.message)) for error in errors))
    return UnsupportedError(f"cannot be exported to PyTorch: {said}; the .tflite runs in LiteRT")


def _clamped(x: Tensor, low: float, high: float) -> Tensor:
    """Not in place; by the names that torch's compiler looks for."""
    if (low, high) == (float("-inf"), float("inf")):
        return x
    return F.relu(x) if (low, high) == (0.0, float("inf")) else F.hardtanh(x, low, high)


def _back(order: tuple[int, ...]) -> tuple[int, ...]:
    """Where each axis of ours lies."""
    return tuple(order.index(axis) for axis in range(len(order)))
