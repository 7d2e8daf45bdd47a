"""Functions of 16-bit numbers that kernels interpolate in tables: LOGISTIC, TANH and SOFTMAX of TensorFlow Lite Micro, to the
last bit.

Source: its kernels/internal/reference/integer_ops/logistic.h and tanh.h, reference/softmax.h, the tables of internal/common.h.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import torch
from torch import Tensor

from intact.annotations import Floats, Ints
from intact.numbers import fixed_point as fixed

_LOW, _HIGH = -(2**15), 2**15 - 1
#: Real numbers that SOFTMAX tells apart below the largest: exp of what is further down counts as that of this.
_DEPTH: Final = 10.0
#: Powers of two of a scale that LOGISTIC and TANH take as they are, and how far its logarithm may be from one.
LOGISTIC_POWERS: Final = (-12,)
TANH_POWERS: Final = (-12, -11)
_NEAR: Final = 1e-3


@final
@dataclass(frozen=True)
class Argument:
    """How stored numbers become places in the table: ``(q * multiplier + half) >> right``, of which 3 * 2**12 are 1.0."""

    multiplier: int
    right: int

    @staticmethod
    def of(scale: float, powers: Collection[int]) -> Argument:
        """Worked: scale 2**-12 -> 3, 0; scale 0.001 -> 25165, 11."""
        exact = float(np.log2(scale))
        if abs(exact - round(exact)) < _NEAR and round(exact) in powers:
            return Argument(3 << (12 + round(exact)), 0)
        multiplier, right = 3 * 2.0**12 * scale, 0
        while multiplier <= _HIGH / 2 and right <= 30:
            multiplier, right = 2 * multiplier, right + 1
        return Argument(int(multiplier), right)

    @staticmethod
    def of_power(power: int) -> Argument:
        """Of TANH of a cell state in steps of ``2**power``, as the kernel of the LSTM has it."""
        return Argument(3 << (12 + power), 0) if power >= -12 else Argument(3, -12 - power)

    @property
    def half(self) -> int:
        return 1 << (self.right - 1) if self.right else 0

    def place(self, q: Ints[Tensor, "*s"]) -> Ints[Tensor, "*s"]:
        return (q.to(torch.int64) * self.multiplier + self.half) >> self.right


#: Of what an LSTM's gates sum, in 1/4096.
GATE: Final = Argument(3, 0)


@functools.cache
def sigmoid_table() -> Ints[np.ndarray, "256"]:
    """``s(n / 24)`` of the logistic function s in 1/65536, each less half of what interpolation is short of at the middle."""
    n = np.arange(256)

    def s(at: np.ndarray) -> np.ndarray:
        return np.asarray(65536.0 / (1.0 + np.exp(-at / 24.0)))

    short = s(n + 0.5) - (s(n) + s(n + 1)) / 2
    table = np.floor(s(n) + short / 2 + 0.5)
    table[-1] = 65535
    return np.asarray(table, np.uint16)


def logistic(q: Ints[Tensor, "*s"], scale: float) -> Ints[Tensor, "*s"]:
    """LOGISTIC in 1/32768."""
    return _logistic(Argument.of(scale, LOGISTIC_POWERS).place(q))


def gate(q: Ints[Tensor, "*s"]) -> Ints[Tensor, "*s"]:
    """LOGISTIC of what an LSTM's gate sums, in 1/4096."""
    return _logistic(GATE.place(q))


def tanh(q: Ints[Tensor, "*s"], argument: Argument) -> Ints[Tensor, "*s"]:
    """TANH in 1/32768: ``2 s(2x) - 1``."""
    at = argument.place(q)
    y = _looked_up(at.abs(), 8)
    return torch.where(at >= 0, y - 2**23 + 128, 2**23 + 127 - y) >> 8


def _logistic(at: Ints[Tensor, "*s"]) -> Ints[Tensor, "*s"]:
    y = _looked_up(at.abs(), 9)
    return torch.where(at >= 0, y + 512, 2**25 + 511 - y) >> 10


def _looked_up(at: Ints[Tensor, "*s"], bits: int) -> Ints[Tensor, "*s"]:
    """Between places of the table ``bits`` bits apart, which are as many bits finer; near 1 behind its end."""
    table = torch.from_numpy(sigmoid_table().astype(np.int64)).to(at.device)
    place = (at >> bits).clamp(max=254)
    below, above = table[place], table[place + 1]
    y = (below << bits) + (at & ((1 << bits) - 1)) * (above - below)
    end = {8: 0xFFFF << 8, 9: 0x7FFF << 10}[bits]
    return torch.where(at >> bits >= 255, end, y)


@functools.cache
def exp_table() -> Ints[np.ndarray, "513"]:
    """``exp(x)`` in 1/32767.5 for x from -10 to 0."""
    return _table(_DEPTH, _HIGH, 2.0, np.exp)


@functools.cache
def inverse_table() -> Ints[np.ndarray, "513"]:
    """``1 / (1 + x)`` in 1/32767.5 for x from 0 to 1."""
    return _table(1.0, _LOW, 2.0, lambda x: 1.0 / (1.0 + x))


def of_softmax(scale: float, beta: float) -> Floats[np.ndarray, ""]:
    """What differences to the largest number are multiplied by to become places of :func:`exp_table`."""
    return np.asarray(scale * float(np.float32(beta)) / (_DEPTH / 65535.0))


def softmax(q: Ints[Tensor, "*s"], scale: float, beta: float) -> Ints[Tensor, "*s"]:
    """SOFTMAX along the last axis in 1/32768."""
    q = q.to(torch.int64)
    at = fixed.rescale(q - q.amax(-1, keepdim=True), of_softmax(scale, beta))
    part = _between((at + _HIGH).clamp(_LOW, _HIGH), exp_table())
    total = part.sum(-1, keepdim=True)
    zeros = fixed.leading_zeros(total)
    rest = ((total << (zeros - 1)) + 2**13 >> 14) - 2**15 - 2**16
    inverse, right = _between(rest.clamp(_LOW, _HIGH), inverse_table()), 31 - zeros
    return ((part * inverse + (1 << (right - 1))) >> right).clamp(0, _HIGH)


def _between(at: Ints[Tensor, "*s"], table: Ints[np.ndarray, "513"]) -> Ints[Tensor, "*s"]:
    held = torch.from_numpy(table.astype(np.int64)).to(at.device)
    place = (at >> 7) + 256
    return held[place] + (((held[place + 1] - held[place]) * (at & 127) + 64) >> 7)


def _table(width: float, zero_point: int, made: float, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """A function at 513 places over all 16-bit numbers, ``width`` wide in all, in steps of ``made`` / 65535.

    Each place is moved by half of the error that interpolation would have at the middle to the next. All in float32.
    """
    one = np.float32(1)
    step_in, step_out = one * np.float32(width) / np.float32(65535), np.float32(made) / np.float32(65535)
    low, high = (step_in * np.float32(end - zero_point) for end in (_LOW, _HIGH))
    step = (high - low) / np.float32(512)
    per_unit = np.float32(65536) / (step_out * np.float32(_HIGH) - step_out * np.float32(_LOW))

    def at(places: np.ndarray) -> np.ndarray:
        return function(places.astype(np.float64)).astype(np.float32)

    n = np.arange(512).astype(np.float32)
    here, next_ = at(low + n * step) * per_unit, at(low + (n + one) * step) * per_unit
    middle = _rounded(at(low + n * step + step / np.float32(2)) * per_unit)
    error = _rounded((next_ + _rounded(here)) / np.float32(2)) - middle
    table = _rounded(here) - _rounded(error / np.float32(2))
    last = _rounded(at(np.asarray([high], np.float32)) * per_unit)
    return np.concatenate([table, last]).clip(_LOW, _HIGH).astype(np.int16)


def _rounded(x: np.ndarray) -> np.ndarray:
    """Halves away from zero."""
    return np.asarray(np.copysign(np.floor(np.abs(x) + np.float32(0.5)), x))
