"""ONNX's recurrent layers over a fixed length: plain ops, once for each step, as Keras' loops become them.

Of the time T, the batch N, the input's features I and the units H: ``x`` [T, N, I], ``W`` [directions, gates H, I],
``R`` [directions, gates H, H], ``B`` [directions, 2 gates H], both kinds of biases. All steps' ``W x + b`` are one product.
A state that begins with zeros is left out of the first step. Source: ONNX's operator schemas.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, TypeAlias, final

import numpy as np

from intact.errors import ModelError, UnsupportedError
from intact.formats.onnx import activations
from intact.formats.onnx.arithmetic import combined, scalar
from intact.formats.onnx.build import Order, Stored, Value
from intact.formats.onnx.call import Call, Row
from intact.formats.onnx.document import Node
from intact.formats.onnx.matmul import by_weights, transposed, without
from intact.formats.onnx.shaping import part
from intact.formats.tflite.loops import LIMIT
from intact.ops.base import OpKind
from intact.ops.elementwise import Add, Maximum, Minimum, Mul, Sub
from intact.ops.shaping import Concatenation, Pack, Reshape, Split, SplitV, Unpack

Numbers: TypeAlias = np.ndarray
#: What is kept from step to step, the hidden state first; None for zeros.
State: TypeAlias = tuple[Value | None, ...]

#: Activations that a layer may name, each with the attributes that its own row reads.
_ACTIVATIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "Sigmoid": (), "Tanh": (), "Relu": (), "Softsign": (), "Softplus": (), "HardSigmoid": ("alpha", "beta"),
    "LeakyRelu": ("alpha",), "ThresholdedRelu": ("alpha",), "Elu": ("alpha",),
}  # fmt: skip
#: Ops of one step, about.
_EACH: Final = 12
_DIRECTIONS: Final[Mapping[str, tuple[bool, ...]]] = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}


@final
@dataclass(frozen=True, eq=False)
class _Cell:
    """One direction of a layer: ``R`` [gates H, H], those biases that stand beside it, and the functions of its gates.

    ``held``: weights and biases by the gates that they are of, the same arrays in each step.
    """

    call: Call
    recurrent: Numbers
    beside: Numbers
    functions: Sequence[Callable[[Value], Value]]
    peepholes: Sequence[Value] | None
    units: int
    held: dict[tuple[int, ...], tuple[Numbers, Numbers]] = field(default_factory=dict)

    def of(self, kind: OpKind, a: Value, b: Value) -> Value:
        return combined(self.call.build, kind, a, b)

    def product(self, h: Value, *gates: int) -> Value:
        """``R h + b`` of the gates, which lie side by side."""
        if gates not in self.held:
            rows = slice(gates[0] * self.units, (gates[-1] + 1) * self.units)
            self.held[gates] = self.recurrent[rows], self.beside[rows]
        return by_weights(self.call, h, *self.held[gates])

    def plus_product(self, x: Value, h: Value | None, *gates: int) -> Value:
        """``x + R h + b``."""
        return x if h is None else self.of(Add(), x, self.product(h, *gates))

    def seen(self, gate: Value, n: int, c: Value | None) -> Value:
        """A gate that sees the cell by the ``n``-th peephole."""
        if self.peepholes is None or c is None:
            return gate
        return self.of(Add(), gate, self.of(Mul(), c, self.peepholes[n]))

    def applied(self, n: int, x: Value) -> Value:
        """The ``n``-th function, of what lies no further from zero than the attribute ``clip``."""
        clip = self.call.real("clip", 0.0)
        if clip:
            x = self.of(Minimum(), self.of(Maximum(), x, scalar(-clip)), scalar(clip))
        return self.functions[n](x)

    def parts(self, x: Value, *gates: int) -> list[Value]:
        """The parts of [N, gates H] that hold so many gates each."""
        if len(set(gates)) == 1:
            made = self.call.build.emit(Split(len(gates)), np.asarray(1, np.int32), x.stored)
        else:
            sizes = np.asarray([n * self.units for n in gates], np.int32)
            made = self.call.build.emit(SplitV(len(gates)), x.stored, sizes, np.asarray(1, np.int32))
        return [Value.plain(y) for y in made]


Step: TypeAlias = Callable[[_Cell, Value, State], State]


def _lstm_step(cell: _Cell, x: Value, state: State) -> State:
    """``i, o, f = s(W x + R h + b)``, ``g = a(...)``, ``c = f c + i g``, ``h = o a(c)``."""
    h, c = state
    i, o, f, g = cell.parts(cell.plus_product(x, h, 0, 1, 2, 3), 1, 1, 1, 1)
    i, g = cell.applied(0, cell.seen(i, 0, c)), cell.applied(1, g)
    new = cell.of(Mul(), i, g)
    if c is not None:
        new = cell.of(Add(), cell.of(Mul(), cell.applied(0, cell.seen(f, 2, c)), c), new)
    o = cell.applied(0, cell.seen(o, 1, new))
    return cell.of(Mul(), o, cell.functions[2](new)), new


def _gru_step(cell: _Cell, x: Value, state: State) -> State:
    """``z, r = s(W x + R h + b)``, ``n = a(W x + R (r h) + b)``, ``h = n - z (n - h)``.

    With ``linear_before_reset`` it is ``n = a(W x + r (R h + b))``.
    """
    (h,) = state
    gates, n = cell.parts(x, 2, 1)
    if cell.call.integer("linear_before_reset", 0):
        before = None if h is None else cell.parts(cell.product(h, 0, 1, 2), 2, 1)
        gates = gates if before is None else cell.of(Add(), gates, before[0])
        z, r = cell.parts(cell.applied(0, gates), 1, 1)
        inner = Value.plain(Stored.of(cell.beside[2 * cell.units :])) if before is None else before[1]
        n = cell.of(Add(), n, cell.of(Mul(), r, inner))
    else:
        z, r = cell.parts(cell.applied(0, cell.plus_product(gates, h, 0, 1)), 1, 1)
        n = n if h is None else cell.plus_product(n, cell.of(Mul(), r, h), 2)
    n = cell.applied(1, n)
    return (cell.of(Sub(), n, cell.of(Mul(), z, n if h is None else cell.of(Sub(), n, h))),)


def _plain_step(cell: _Cell, x: Value, state: State) -> State:
    """``h = a(W x + R h + b)``."""
    (h,) = state
    return (cell.applied(0, cell.plus_product(x, h, 0)),)


@final
@dataclass(frozen=True)
class _Layer:
    """How many ``gates`` there are, the ``functions`` they have unless a node says others, and where states begin.

    ``states``: the inputs that hold what the hidden state, and the cell, begin with.
    """

    gates: int
    functions: tuple[str, ...]
    states: tuple[int, ...]
    step: Step

    def __call__(self, call: Call) -> list[Value]:
        """All h [T, directions, N, H], and of each state the last [directions, N, H]."""
        leading = call.integer("layout", 0)
        x = call.value(0)
        if x.rank != 3:
            raise ModelError(f"a sequence of shape {list(x.shape)}")
        x = x if leading else transposed(x, (1, 0, 2))
        backwards = _DIRECTIONS.get(call.text("direction", "forward"))
        if backwards is None or call.integer("input_forget", 0):
            raise UnsupportedError("its gates are wired in a way that no exporter writes; export it as a plain layer")
        batch, length, _ = x.shape
        _check_lengths(call, batch, length)
        if not 0 < length * len(backwards) * _EACH <= LIMIT:
            raise UnsupportedError(
                f"{length} steps of a recurrent layer are more than a network of plain ops can be; export it on a shorter "
                "sequence"
            )
        made = [self._direction(call, x, d, back) for d, back in enumerate(backwards)]
        hidden = [rows for rows, _ in made]
        lasts = [[state[n] for _, state in made] for n in range(len(self.states))]
        return [_all(call, hidden, leading), *(_last(call, states, leading) for states in lasts)]

    def _direction(self, call: Call, x: Value, d: int, back: bool) -> tuple[list[Value], State]:
        """h [N, H] of every step, in the order of time, and the states after the last."""
        weight, cell, inner = self._weights(call, d)
        product = by_weights(call, call.build.as_onnx(x), weight, inner)
        rows = [Value.plain(y) for y in call.build.emit(Unpack(1, x.shape[1]), product.stored)]
        state: State = tuple(_begin(call, n, d, (x.shape[0], cell.units)) for n in self.states)
        found = list[Value]()
        for row in reversed(rows) if back else rows:
            state = self.step(cell, row, state)
            (h, *_) = state
            assert h is not None
            found.append(h)
        return found[::-1] if back else found, state

    def _weights(self, call: Call, d: int) -> tuple[Numbers, _Cell, Numbers]:
        """``W``; what steps need; the biases beside ``W``, with those beside ``R`` added where no gate tells them apart."""
        given, recurrent = call.constant(1, "weight"), call.constant(2, "recurrent weight")
        if recurrent.ndim != 3 or given.ndim != 3 or not len(given) == len(recurrent) > d:
            raise ModelError(f"weights of shape {list(given.shape)} and {list(recurrent.shape)}")
        units, rows = recurrent.shape[2], self.gates * recurrent.shape[2]
        bias = call.constant(3, "bias") if call.has(3) else np.zeros((len(given), 2 * rows), np.float32)
        peepholes = call.constant(7, "peepholes") if call.has(7) else None
        if given.shape[1] != rows or recurrent.shape[1] != rows or bias.shape != (len(given), 2 * rows):
            raise ModelError(f"weights of shape {list(given.shape)} and {list(recurrent.shape)} of {self.gates} gates")
        if peepholes is not None and peepholes.shape != (len(given), 3 * units):
            raise ModelError(f"peepholes of shape {list(peepholes.shape)} of {units} units")
        inner, beside = bias[d, :rows].copy(), bias[d, rows:].copy()
        together = rows - units if call.integer("linear_before_reset", 0) else rows
        inner[:together] += beside[:together]
        beside[:together] = 0
        functions = _functions(call, self.functions, d)
        sees = None if peepholes is None else [Value.plain(Stored.of(p)) for p in np.split(peepholes[d], 3)]
        return given[d], _Cell(call, recurrent[d], beside, functions, sees, units), inner


def _check_lengths(call: Call, batch: int, length: int) -> None:
    """That no sequence is shorter than the array that holds it."""
    lengths = call.whole(4, "lengths of its sequences")
    if lengths is not None and lengths != (length,) * batch:
        raise UnsupportedError(f"its sequences end before the last of {length} steps; export it without their lengths")


def _functions(call: Call, usual: tuple[str, ...], d: int) -> list[Callable[[Value], Value]]:
    """The functions of one direction's gates; numbers that they need are said in one list for all that need some."""
    named = call.node.attributes.get("activations") or usual * (d + 1)
    said = {name: list(call.node.attributes.get(f"activation_{name}") or ()) for name in ("alpha", "beta")}
    if len(named) < (d + 1) * len(usual):
        raise ModelError(f"{len(named)} activations for {len(usual)} in each direction")
    made = list[Callable[[Value], Value]]()
    for name in map(str, named):
        if name not in _ACTIVATIONS:
            raise UnsupportedError(f"its activation {name[:80]!r} is none that can be read")
        own = {key: said[key].pop(0) for key in _ACTIVATIONS[name] if said[key]}
        made.append(partial(_row, call, name, own))
    return made[d * len(usual) : (d + 1) * len(usual)]


def _row(call: Call, name: str, attributes: Mapping[str, float], v: Value) -> Value:
    made = activations.ROWS[name](replace(call, node=Node(name, "", (), (), attributes), inputs=(v,)))
    assert isinstance(made, Value)
    return made


def _begin(call: Call, n: int, d: int, shape: tuple[int, int]) -> Value | None:
    """What a state [N, H] begins with, from an input [directions, N, H] or, batch first, [N, directions, H]."""
    if not call.has(n):
        return None
    v = call.value(n)
    if v.stored.data is not None and not v.stored.data.any():
        return None
    axis = 1 if call.integer("layout", 0) else 0
    v = without(part(call.build, v, {axis: range(d, d + 1)}), (axis,))
    if v.shape != shape:
        raise ModelError(f"a state of shape {list(v.shape)} for {list(shape)}")
    return call.build.as_onnx(v)


def _all(call: Call, directions: list[list[Value]], leading: int) -> Value:
    """h of all steps: they lie [N, T, directions, H], which ONNX has as [T, directions, N, H] or [N, T, directions, H]."""
    made = [call.build.one(Pack(1, len(rows)), *(h.stored for h in rows)) for rows in directions]
    n, t, units = made[0].shape
    shape = (n, t, len(made), units)
    order: Order = (0, 1, 2, 3) if leading else (2, 0, 1, 3)
    if len(made) == 1:
        return Value(made[0], _onnx(shape, order), (*order[:2], order[3]))
    wide = call.build.one(Concatenation(2), *made)
    return Value(call.build.one(Reshape(shape), wide, np.asarray(shape, np.int32)), _onnx(shape, order), order)


def _last(call: Call, states: list[Value | None], leading: int) -> Value:
    """The last of a state: it lies [N, directions, H], which ONNX has as [directions, N, H] or [N, directions, H]."""
    held = [v for v in states if v is not None]
    n, units = held[0].shape
    order: Order = (0, 1, 2) if leading else (1, 0, 2)
    if len(held) == 1:
        return Value(held[0].stored, _onnx((n, 1, units), order), (order[0], order[2]))
    made = call.build.one(Pack(1, len(held)), *(v.stored for v in held))
    return Value(made, _onnx((n, len(held), units), order), order)


def _onnx(shape: tuple[int, ...], order: Order) -> tuple[int, ...]:
    """ONNX's shape of what has ``shape`` as it lies."""
    return tuple(shape[order.index(a)] for a in range(len(order)))


ROWS: Final[Mapping[str, Row]] = {
    "LSTM": _Layer(4, ("Sigmoid", "Tanh", "Tanh"), (5, 6), _lstm_step),
    "GRU": _Layer(3, ("Sigmoid", "Tanh"), (5,), _gru_step),
    "RNN": _Layer(1, ("Tanh",), (5,), _plain_step),
}
