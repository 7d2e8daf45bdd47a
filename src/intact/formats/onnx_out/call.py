"""One op of ours with what a row of the table asks of it, and the one pass that lays axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, TypeAlias, TypeVar, final

import numpy as np

from intact.errors import UnsupportedError
from intact.formats.onnx_out.build import FIRST, Builder, Order, Value, clamps
from intact.network.graph import Graph, Op, Tensor
from intact.network.shapes import concrete
from intact.numbers.affine import Affine, Float, Index, dequantize_array
from intact.ops.base import OpKind
from intact.ops.call import CLAMPS

Kind = TypeVar("Kind", bound=OpKind)
#: The largest number that int32 holds.
_INT32: Final = (1 << 31) - 1


def plain(rank: int) -> Order:
    """Our own order."""
    return tuple(range(rank))


@final
@dataclass(eq=False)
class Values:
    """What ONNX calls each of our tensors, in every order that somebody asked for. Mutable; owned by the one who writes."""

    graph: Graph
    build: Builder
    #: Biases: stored integers, or real numbers where a runtime takes no others.
    float_bias: bool = False
    #: Constants that are another in half precision, by our id.
    aliases: dict[int, int] = field(default_factory=dict)
    #: What a PAD puts around images that convolutions alone read: the id that it pads, and how.
    padded: Mapping[int, tuple[int, tuple[int, ...]]] = field(default_factory=dict)
    #: What a RESHAPE makes one row of, of images [n, h, w, c], for dense layers alone: (h, w, c), by its id. Their weights are
    #: written for the order that the row has with channels first.
    rows: Mapping[int, tuple[int, int, int]] = field(default_factory=dict)
    _made: dict[int, Value] = field(default_factory=dict)
    _arranged: dict[tuple[int, Order], str] = field(default_factory=dict)

    def put(self, i: int, value: Value) -> None:
        self._made[i] = value

    def order(self, i: int) -> Order:
        """How tensor ``i`` lies; a constant lies as one wants it."""
        return self._made[i].order if i in self._made else plain(len(self.graph[i].shape))

    def is_constant(self, i: int) -> bool:
        return self.source(i).is_constant

    def source(self, i: int) -> Tensor:
        """The tensor itself, or the constant that it is in another precision."""
        return self.graph[self.aliases.get(i, i)]

    def name(self, i: int, order: Order) -> str:
        """Tensor ``i`` with its axes in ``order``: as it is, or through a node that moves them."""
        if self.is_constant(i):
            return self.constant(i, order)
        value = self._made[i]
        if value.order == order:
            return value.name
        if (i, order) not in self._arranged:
            self._arranged[i, order] = self._moved(i, value, order)
        return self._arranged[i, order]

    def _moved(self, i: int, value: Value, order: Order) -> str:
        t = self.graph[i]
        was, self.build.called = self.build.called, t.name
        shape = concrete(t, -1)
        long = [axis for axis in value.order if shape[axis] != 1]
        if long == [axis for axis in order if shape[axis] != 1]:  # nothing moves past anything
            sizes = self.build.numbers(*(shape[axis] for axis in order))
            made = self.build.node("Reshape", (value.name, sizes), "_laid")
        else:
            moves = [value.order.index(axis) for axis in order]
            made = self.build.node("Transpose", (value.name,), "_laid", perm=moves)
        made = self.rounded(made, t)
        self.build.called = was
        return made

    def rounded(self, name: str, t: Tensor) -> str:
        return self.build.rounded(name, t.format) if isinstance(t.format, Affine) else name

    def constant(
        self, i: int, order: Order | None = None, *, shape: tuple[int, ...] | None = None, weight: bool = False
    ) -> str:
        """A constant with its axes in ``order``, and then in ``shape``. A ``weight`` stays int8 where activations are uint8."""
        t = self.source(i)
        order = plain(len(t.shape)) if order is None else order
        key = i, (*order, -1, *(shape or ()))
        if key not in self._arranged:
            data = np.asarray(t.data).transpose(order)
            axis = order.index(t.format.axis) if isinstance(t.format, Affine) and t.format.axis is not None else None
            self._arranged[key] = self._constant(t, data if shape is None else data.reshape(shape), axis, weight=weight)
        return self._arranged[key]

    def _constant(self, t: Tensor, data: np.ndarray, axis: int | None, *, weight: bool) -> str:
        if isinstance(t.format, Affine):
            return self.build.stored(data, t.format, axis, t.name, activation=not weight)
        made = self.build.constant(data, t.format.dtype, t.name)
        return self.build.node("Cast", (made,), "_real", to="float32") if t.format == Float("float16") else made

    def dense(self, i: int, row: tuple[int, int, int] | None) -> str:
        """A dense layer's weight [out, in]; ``row`` as in ``rows`` where it reads such a row."""
        if row is None:
            return self.weight(i, (0, 1))
        t = self.source(i)
        data = np.asarray(t.data)
        laid = data.reshape(-1, *row).transpose(0, 3, 1, 2).reshape(data.shape)
        return self._constant(t, laid, t.format.axis if isinstance(t.format, Affine) else None, weight=True)

    def weight(self, i: int, order: Order) -> str:
        """A weight with its axes in ``order``."""
        return self.constant(i, order, weight=True) if self.is_constant(i) else self.name(i, order)

    def bias(self, i: int, *places: int) -> str:
        """A bias [c]: int32 in the unit of the sums, or real numbers; these as [c, 1, …] with so many ``places``."""
        t = self.source(i)
        if isinstance(t.format, Affine) and (self.float_bias or t.format.dtype == "int64"):
            real = dequantize_array(np.asarray(t.data), t.format).reshape(-1, *places)
            return self.build.constant(real, "float32", t.name)
        return self.constant(i, shape=(-1,))

    def is_beyond_int32(self, i: int) -> bool:
        """Whether int32 holds a bias not in the unit of the sums, as beside 16-bit activations."""
        t = self.source(i)
        return isinstance(t.format, Affine) and t.data is not None and int(np.abs(t.data).max(initial=0)) > _INT32

    def is_real_beside_integers(self, i: int) -> bool:
        """Whether ``i`` is a constant of real numbers in a network whose ops may compute on integers."""
        return self.is_constant(i) and self.source(i).is_float and self._rounds

    @cached_property
    def _rounds(self) -> bool:
        return any(isinstance(t.format, Affine) and not t.is_constant for t in self.graph.tensors.values())


@final
@dataclass(frozen=True)
class Call:
    """An ``op`` and the values that it reads."""

    op: Op
    values: Values

    @property
    def build(self) -> Builder:
        return self.values.build

    @property
    def graph(self) -> Graph:
        return self.values.graph

    def kind(self, of: type[Kind]) -> Kind:
        assert isinstance(self.op.kind, of)
        return self.op.kind

    # ---- what it reads --------------------------------------------------------------------------------------------------

    def has(self, n: int) -> bool:
        return n < len(self.op.inputs) and self.op.inputs[n] is not None

    def id(self, n: int) -> int:
        return self.graph.operand(self.op, n).id

    def shape(self, n: int) -> tuple[int, ...]:
        """The shape of an input for one sample."""
        return concrete(self.graph[self.id(n)])

    def order(self, n: int = 0) -> Order:
        return self.values.order(self.id(n))

    def first(self, n: int = 0) -> str:
        """An image with its channels first."""
        return self.values.name(self.id(n), FIRST)

    def plain(self, n: int = 0) -> str:
        """An input in our own order."""
        return self.values.name(self.id(n), plain(len(self.graph[self.id(n)].shape)))

    def value(self, n: int = 0) -> Value:
        """An input as it lies."""
        return Value(self.values.name(self.id(n), self.order(n)), self.order(n))

    def whole(self, n: int, what: str) -> tuple[int, ...]:
        """The whole numbers of a constant input. UnsupportedError where they are computed."""
        data = self.values.source(self.id(n)).data
        if data is None:
            raise UnsupportedError(f"its {what} is computed at run time")
        return tuple(int(x) for x in data.reshape(-1))

    def alike(self) -> tuple[list[str], Order]:
        """All inputs, which broadcast against each other, with their axes alike.

        Images keep their channels first where one has them so; what has fewer axes gets axes of one element before its own.
        """
        ids = [self.id(n) for n in range(len(self.op.inputs))]
        moving = [i for i in ids if not self.values.is_constant(i)]
        rank = max(len(self.graph[i].shape) for i in ids)
        orders = [self.values.order(i) for i in moving if len(self.graph[i].shape) == rank]
        order = next((o for o in orders if o != plain(rank)), plain(rank))
        if any(0 < len(self.graph[i].shape) < rank for i in moving):
            order = plain(rank)
        return [self._broadcast(i, rank, order) for i in ids], order

    def _broadcast(self, i: int, rank: int, order: Order) -> str:
        own = len(self.graph[i].shape)
        if own == rank:
            return self.values.name(i, order)
        if order == plain(rank) or np.prod(concrete(self.graph[i])) == 1:
            return self.values.name(i, plain(own))
        t = self.values.source(i)
        full = (1,) * (rank - own) + tuple(n or 1 for n in t.shape)
        data = np.asarray(t.data).reshape(full).transpose(order)
        if isinstance(t.format, Affine):
            return self.build.stored(data, t.format, None, t.name, activation=True)
        return self.build.constant(data, t.format.dtype, t.name)

    # ---- what it makes ---------------------------------------------------------------------------------------------------

    def out(self, n: int = 0) -> Tensor:
        return self.graph[self.op.outputs[n]]

    @property
    def out_shape(self) -> tuple[int, ...]:
        """The shape of the first output, -1 for an open batch."""
        return concrete(self.out(), -1)

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        return self.build.node(op, inputs, **attributes)

    def settled(self, name: str, n: int | None = None) -> str:
        """``name`` rounded as the first output is stored, or input ``n``: what is one op on integers ends in such."""
        return self.values.rounded(name, self.out() if n is None else self.graph[self.id(n)])

    def activated(self, name: str, activation: str) -> str:
        """``name`` after a fused activation; left out where rounding to the output's integers clamps as much."""
        clamp, fmt = CLAMPS[activation], self.out().format
        if clamp is None:
            return self.node("Tanh", self.settled(name))
        if clamp == CLAMPS["none"] or (isinstance(fmt, Affine) and not clamps(*clamp, fmt)):
            return name
        low, high = clamp
        name = self.settled(name)
        return (
            self.node("Relu", name) if np.isinf(high) else self.node("Clip", name, self.build.real(low), self.build.real(high))
        )

    def reshaped(self, name: str, shape: Sequence[int]) -> str:
        return self.node("Reshape", name, self.build.numbers(*shape))

    def is_whole(self, n: int = 0) -> bool:
        """Whether an input holds whole numbers or bools that mean themselves."""
        return isinstance(self.graph[self.id(n)].format, Index)


#: What makes of a call the values that its outputs are, before they are rounded.
Row: TypeAlias = Callable[[Call], Sequence[Value]]
