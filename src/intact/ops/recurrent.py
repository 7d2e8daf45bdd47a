"""A whole recurrent layer in one op."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, log2
from typing import ClassVar, Final, final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from intact.annotations import Ints
from intact.errors import ModelError, UnsupportedError
from intact.numbers import fixed_point as fixed
from intact.numbers import interpolated
from intact.numbers.affine import Affine, limits, storage, symmetric_from_absmax
from intact.ops.base import OpKind, no_integers
from intact.ops.call import Activation, Call, Shape, activate, affine, present

#: Where the gates' operands are, in LiteRT's order of gates: input, forget, cell, output. Source: kernels/lstm_shared.h.
INPUT_WEIGHTS: Final = (1, 2, 3, 4)
RECURRENT_WEIGHTS: Final = (5, 6, 7, 8)
_PEEPHOLES: Final = (9, 10, 11)
BIASES: Final = (12, 13, 14, 15)
_PROJECTION: Final = (16, 17)
#: What calls leave to each other: the hidden state and the cell state.
HIDDEN, CELL = 18, 19
_LAYER_NORM: Final = (20, 21, 22, 23)
#: The coarsest step of a cell state that kernels take, and the finest that is of use (a range of 1).
_CELL_STEPS: Final = (-9, -15)
#: The step of what a gate sums, and that of a gate.
_GATE_STEP: Final = 2.0**-12
_GATE_UNIT: Final = 2.0**-15
#: Steps of the longest sequence.
_MOST_STEPS: Final = 1 << 16


@final
@dataclass(frozen=True)
class UnidirectionalSequenceLstm(OpKind):
    """An LSTM over x [B, T, in] ([T, B, in] if ``time_major``): for every step, with s the logistic function,

    ``i, f, o = s(W x + R h + b)``, ``g = a(W x + R h + b)``, ``c = f c + i g``, ``h = o a(c)``

    with weights of its own for each gate; a is ``activation``. Without weights of the input gate ``i = 1 - f``. The states
    h and c [B, units], inputs 18 and 19, are zeros where they are left out. Gives all h [B, T, units]; the last h and c; all c.

    Integer kernels: x and h in int8, gates in int16 with fixed scales, c in int16 in a power of two of at most 1/512.
    Source: LiteRT lstm_eval.cc, TensorFlow Lite Micro lstm_eval_common.cc.
    """

    name: ClassVar[str] = "UNIDIRECTIONAL_SEQUENCE_LSTM"
    takes: ClassVar[tuple[int, int]] = (20, 24)
    activation: Activation = "tanh"
    cell_clip: float = 0.0
    proj_clip: float = 0.0
    time_major: bool = False
    asymmetric_inputs: bool = False
    diagonal: bool = False

    def compute(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        if self.diagonal or any(i < len(inputs) and inputs[i] is not None for i in _LAYER_NORM):
            raise UnsupportedError("an LSTM with layer normalization or diagonal recurrent weights is not supported")
        x = present(inputs[0], "x")
        axis = 0 if self.time_major else 1
        if x.dim() != 3 or not 0 < x.shape[axis] <= _MOST_STEPS:
            raise ModelError(f"a sequence of shape {list(x.shape)}")
        count = x.shape[axis]
        steps = (x.narrow(axis, 0, 1) if x.is_meta else x).unbind(axis)
        units, width = present(inputs[INPUT_WEIGHTS[3]], "weights").shape[0], self._width(inputs)
        h = _state(inputs, HIDDEN, (steps[0].shape[0], width), x)
        c = _state(inputs, CELL, (steps[0].shape[0], units), x)
        hidden, cells = [], []
        for step in steps:
            h, c = self._step(inputs, step, h, c)
            hidden.append(h)
            cells.append(c)
        if x.is_meta:  # every step has the shapes of the first
            hidden, cells = hidden * count, cells * count
        return torch.stack(hidden, axis), h, c, torch.stack(cells, axis)

    def _step(self, inputs: Sequence[Tensor | None], x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        forget = torch.sigmoid(self._gate(inputs, 1, x, h) + _peephole(inputs, 1, c))
        new = activate(self._gate(inputs, 2, x, h), self.activation)
        if inputs[INPUT_WEIGHTS[0]] is None:
            enter = 1 - forget
        else:
            enter = torch.sigmoid(self._gate(inputs, 0, x, h) + _peephole(inputs, 0, c))
        c = forget * c + enter * new
        if self.cell_clip > 0:
            c = c.clamp(-self.cell_clip, self.cell_clip)
        h = torch.sigmoid(self._gate(inputs, 3, x, h) + _peephole(inputs, 2, c)) * activate(c + 0, self.activation)
        if inputs[_PROJECTION[0]] is not None:
            h = F.linear(h, present(inputs[_PROJECTION[0]], "projection"), inputs[_PROJECTION[1]])
            if self.proj_clip > 0:
                h = h.clamp(-self.proj_clip, self.proj_clip)
        return h, c

    @staticmethod
    def _gate(inputs: Sequence[Tensor | None], n: int, x: Tensor, h: Tensor) -> Tensor:
        w, r = present(inputs[INPUT_WEIGHTS[n]], "weights"), present(inputs[RECURRENT_WEIGHTS[n]], "recurrent weights")
        return F.linear(x, w, inputs[BIASES[n]]) + F.linear(h, r)

    @staticmethod
    def _width(inputs: Sequence[Tensor | None]) -> int:
        return present(inputs[RECURRENT_WEIGHTS[3]], "recurrent weights").shape[1]

    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        if self.why_not_integer([x is not None for x in call.inputs]):
            raise no_integers(self)
        kernel, axis = IntegerKernel.of(call, self.cell_clip), 0 if self.time_major else 1
        steps = call.centered(0).unbind(axis)
        h, c = (call.inputs[i] for i in (HIDDEN, CELL))
        shape = (len(steps[0]), kernel.units)
        h = steps[0].new_full(shape, kernel.hidden.zero_point[0]) if h is None else h.reshape(shape).to(torch.int64)
        c = steps[0].new_zeros(shape) if c is None else c.reshape(shape).to(torch.int64)
        hidden, cells = [], []
        for step in steps:
            h, c = kernel.step(step, h, c)
            hidden.append(h)
            cells.append(c)
        of_hidden = storage(kernel.hidden.dtype)
        made = torch.stack(hidden, axis).to(of_hidden), h.to(of_hidden)
        return *made, c.to(torch.int16), torch.stack(cells, axis).to(torch.int16)

    def unit(self, scales: Sequence[float]) -> float:
        del scales
        return 0.0

    def macs(self, inputs: Sequence[Shape], output: Shape) -> int:
        steps = output[0] * output[1]
        weights = (*INPUT_WEIGHTS, *RECURRENT_WEIGHTS, _PROJECTION[0])
        return steps * sum(int(np.prod(inputs[i])) for i in weights if i < len(inputs) and inputs[i])

    def why_not_integer(self, given: Sequence[bool]) -> str:
        if self.activation != "tanh":
            return f"an LSTM with {self.activation} instead of tanh"
        if not given[INPUT_WEIGHTS[0]] or any(given[i] for i in (*_PEEPHOLES, *_PROJECTION) if i < len(given)):
            return "an LSTM with coupled gates, peepholes or a projection"
        return ""

    def operands(self, formats: Mapping[int, Affine], constants: Mapping[int, np.ndarray]) -> Mapping[int, Affine]:
        """Weights with one symmetric scale each; biases in ``scale_x * scale_w`` of the gate's input weights."""
        weights = {
            i: symmetric_from_absmax(np.atleast_1d(np.abs(constants[i]).max())) for i in (*INPUT_WEIGHTS, *RECURRENT_WEIGHTS)
        }
        x = formats[0]
        biases = {
            b: Affine((x.scale[0] * weights[w].scale[0],), (0,), "int32") for b, w in zip(BIASES, INPUT_WEIGHTS, strict=True)
        }
        return weights | {i: fmt for i, fmt in biases.items() if i in constants}

    def results(self, first: Affine, seen: Sequence[tuple[float, float]]) -> Mapping[int, Affine]:
        """The last h as all of them; c in a power of two that holds what was seen, and half as much again."""
        largest = 1.5 * max(max(-low, high) for low, high in seen[2:4])
        power = ceil(log2(max(largest, 1e-9) / 2**15))
        cell = Affine((2.0 ** min(max(power, _CELL_STEPS[1]), _CELL_STEPS[0]),), (0,), "int16")
        return {1: first, 2: cell, 3: cell}


@final
@dataclass(frozen=True, eq=False)
class IntegerKernel:
    """One step of TensorFlow Lite Micro's LSTM on stored integers, gates in the order input, forget, cell, output.

    ``real_x`` and ``real_h``: what each gate's sums are multiplied by to be in 1/4096; ``wide``: sums have 64 bits.
    ``power``: the cell state is in steps of ``2**power``; ``clip``: its largest integer, 0 for none.
    Source: micro/kernels/lstm_eval.h and lstm_eval_common.cc.
    """

    weights: tuple[Ints[Tensor, "units in"], ...]
    recurrent: tuple[Ints[Tensor, "units units"], ...]
    biases: tuple[Ints[Tensor, " units"] | None, ...]
    real_x: tuple[float, ...]
    real_h: tuple[float, ...]
    hidden: Affine
    power: int
    clip: int
    wide: bool

    @staticmethod
    def of(call: Call, cell_clip: float) -> IntegerKernel:
        """UnsupportedError where the formats are not such as the kernel takes."""
        x, hidden, cell = call.format(0), affine(call.outs[1]), affine(call.outs[2])
        formats = {i: call.format(i) for i in (*INPUT_WEIGHTS, *RECURRENT_WEIGHTS)}
        power = round(log2(cell.scale[0]))
        if any(len(f.scale) > 1 or any(f.zero_point) for f in formats.values()) or hidden != affine(call.outs[0]):
            raise UnsupportedError(
                "the kernel of the LSTM takes weights with one scale each, and one format for all hidden states"
            )
        if x.dtype != hidden.dtype:
            raise UnsupportedError(f"the kernel of the LSTM gives what it takes, and not {hidden.dtype} of {x.dtype}")
        if cell.dtype != "int16" or cell.scale[0] != 2.0**power or power > _CELL_STEPS[0]:
            raise UnsupportedError("the kernel of the LSTM takes cell states of int16 in a power of two of at most 1/512")
        return IntegerKernel(
            tuple(call.tensor(i).to(torch.int64) for i in INPUT_WEIGHTS),
            tuple(call.tensor(i).to(torch.int64) for i in RECURRENT_WEIGHTS),
            tuple(b if (b := call.inputs[i]) is None else b.to(torch.int64) for i in BIASES),
            tuple(x.scale[0] * formats[i].scale[0] / _GATE_STEP for i in INPUT_WEIGHTS),
            tuple(hidden.scale[0] * formats[i].scale[0] / _GATE_STEP for i in RECURRENT_WEIGHTS),
            hidden,
            power,
            int(min(float(np.float32(cell_clip)) / cell.scale[0], 2.0**15 - 1)),
            call.is_wide,
        )

    @property
    def units(self) -> int:
        return self.weights[0].shape[0]

    @property
    def entering(self) -> float:
        """What the product of the input gate and the cell gate is multiplied by to be in steps of the cell state."""
        return _GATE_UNIT**2 / 2.0**self.power

    @property
    def leaving(self) -> float:
        """What the product of the output gate and TANH is multiplied by to be in steps of the hidden state."""
        return _GATE_UNIT**2 / self.hidden.scale[0]

    @property
    def cell_argument(self) -> interpolated.Argument:
        """How cell states are looked up by TANH."""
        return interpolated.Argument.of_power(self.power)

    def step(
        self, x: Ints[Tensor, "b in"], h: Ints[Tensor, "b units"], c: Ints[Tensor, "b units"]
    ) -> tuple[Ints[Tensor, "b units"], Ints[Tensor, "b units"]]:
        """The new h and c, as stored; ``x`` less its zero point."""
        enter, forget, new, leave = (self._gate(n, x, h - self.hidden.zero_point[0]) for n in range(4))
        kept = _clamped(fixed.rescale(interpolated.gate(forget) * c, _GATE_UNIT))
        added = interpolated.gate(enter) * interpolated.tanh(new, interpolated.GATE)
        c = _clamped(kept + _clamped(fixed.rescale(added, self.entering)))
        if self.clip > 0:
            c = c.clamp(-self.clip, self.clip)
        given = interpolated.tanh(c, self.cell_argument) * interpolated.gate(leave)
        h = fixed.rescale(given, self.leaving) + self.hidden.zero_point[0]
        return h.clamp(*limits(self.hidden.dtype)), c

    def _gate(self, n: int, x: Tensor, h: Tensor) -> Tensor:
        """What gate ``n`` sums, in 1/4096 and 16 bits."""
        of_x = self._scaled(x, self.weights[n], self.biases[n], self.real_x[n])
        return _clamped(of_x + self._scaled(h, self.recurrent[n], None, self.real_h[n]))

    def _scaled(self, x: Tensor, w: Tensor, bias: Tensor | None, real: float) -> Tensor:
        total = F.linear(x.to(torch.float64), w.to(torch.float64)).to(torch.int64)
        total = total if bias is None else total + bias
        return _clamped(fixed.rescale_wide(total, real) if self.wide else fixed.rescale(fixed.wrap(total), real))


def _clamped(q: Tensor) -> Tensor:
    return q.clamp(*limits("int16"))


def _state(inputs: Sequence[Tensor | None], i: int, shape: tuple[int, int], like: Tensor) -> Tensor:
    given = inputs[i] if i < len(inputs) else None
    return like.new_zeros(shape) if given is None else given.reshape(shape)


def _peephole(inputs: Sequence[Tensor | None], n: int, c: Tensor) -> Tensor | int:
    weight = inputs[_PEEPHOLES[n]]
    return 0 if weight is None else weight * c
