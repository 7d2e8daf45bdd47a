"""Fixed-point numbers as 8-bit kernels compute with them: int32 raws, here in int64 tensors so that nothing is lost unseen.

Worked: 0.0078 as a Q31 multiplier is 2144047674 * 2**-31 * 2**-7 (0.9984 * 2**-7). Source: gemmlowp fixedpoint/fixedpoint.h
and LiteRT kernels/internal/common.h; ``FixedPoint<n>`` there is a raw with n integer bits here.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_ONE = 2**31 - 1  # the largest raw with no integer bits, which stands for 1


def wrap(x: Tensor) -> Tensor:
    """``x`` as an int32 sum would hold it: beyond 2**31 - 1 comes -2**31."""
    return x.to(torch.int32).to(torch.int64)


def q31(real: float | np.ndarray) -> tuple[Tensor, Tensor]:
    """``real = multiplier * 2**-31 * 2**shift`` with the multiplier in [2**30, 2**31); below 2**-32, zero."""
    fraction, shift = np.frexp(np.asarray(real, np.float64))
    multiplier = np.floor(fraction * 2.0**31 + 0.5)
    full = multiplier == 2.0**31
    multiplier, shift = np.where(full, 2.0**30, multiplier), np.where(full, shift + 1, shift)
    none = shift < -31
    multiplier, shift = np.where(none, 0, multiplier), np.where(none, 0, shift)
    return torch.from_numpy(np.asarray(multiplier, np.int64)), torch.from_numpy(np.asarray(shift, np.int64))


def high_product(a: Tensor, b: Tensor) -> Tensor:
    """``a * b / 2**31``, halves up: SaturatingRoundingDoublingHighMul, but for the product of two lowest numbers."""
    return (a * b + 2**30) >> 31


def shift_right(x: Tensor, bits: Tensor | int) -> Tensor:
    """``x / 2**bits``, halves away from zero: RoundingDivideByPOT."""
    one = torch.ones((), dtype=torch.int64, device=x.device)
    mask = (one << bits) - 1
    return (x >> bits) + ((x & mask) > (mask >> 1) + (x < 0).to(torch.int64)).to(torch.int64)


def shift_left(x: Tensor, bits: int) -> Tensor:
    """``x * 2**bits`` held at the ends of int32."""
    return (x << bits).clamp(-(2**31), 2**31 - 1)


def multiply(multiplier: Tensor, shift: Tensor, x: Tensor) -> Tensor:
    """``x * multiplier * 2**-31 * 2**shift`` for int32 ``x``: MultiplyByQuantizedMultiplier with its two roundings."""
    multiplier, shift = multiplier.to(x.device), shift.to(x.device)
    return shift_right(high_product(wrap(x << shift.clamp(min=0)), multiplier), (-shift).clamp(min=0))


def rescale(x: Tensor, real: float | np.ndarray) -> Tensor:
    """``x * real`` as the kernels compute it; ``real`` is one number or one per element of the last axis."""
    return multiply(*q31(real), x)


# ---- exp and 1 / x ------------------------------------------------------------------------------------------------------

#: exp(-2**k) as raws for k = -2 ... 4.
_EXP_OF_MINUS_POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)


def exp_of_scaled(below: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """``exp(scale * below)`` (no integer bits) for ``below <= 0``, and where it counts: far below, kernels take 0."""
    multiplier, shift = q31(min(scale * 2.0**26, 2.0**31 - 1.0))
    bits = int(shift)
    radius = int(np.floor(31.0 * 2.0**26 / 2.0**bits))
    counted = below >= -radius
    scaled = high_product(torch.where(counted, below, 0) << bits, multiplier.to(below.device))
    return exp_of_negative(scaled), counted


def exp_of_negative(x: Tensor) -> Tensor:
    """``exp(x)`` (no integer bits) for ``x <= 0`` with 5 integer bits."""
    quarter = 2**24
    below_quarter = (x & (quarter - 1)) - quarter
    y = _exp_within_quarter(shift_left(below_quarter, 5))
    rest = below_quarter - x
    for bit, factor in enumerate(_EXP_OF_MINUS_POWERS, start=24):
        y = torch.where((rest & (1 << bit)) != 0, high_product(y, torch.tensor(factor, device=x.device)), y)
    return torch.where(x == 0, _ONE, y)


def _exp_within_quarter(x: Tensor) -> Tensor:
    """``exp(x)`` for x in [-1/4, 0), all without integer bits: the Taylor series around -1/8."""
    at, third = torch.tensor(1895147668, device=x.device), torch.tensor(715827883, device=x.device)
    x = x + 2**28
    x2 = high_product(x, x)
    x3, x4 = high_product(x2, x), high_product(x2, x2)
    series = shift_right(high_product(shift_right(x4, 2) + x3, third) + x2, 1)
    return at + high_product(at, x + series)


def leading_zeros(x: Tensor) -> Tensor:
    """Of a positive uint32."""
    return 32 - torch.frexp(x.to(torch.float64)).exponent.to(torch.int64)


def reciprocal(x: Tensor, integer_bits: int) -> tuple[Tensor, Tensor]:
    """``1 / x = raw * 2**-31 * 2**-bits`` for positive ``x`` with ``integer_bits`` integer bits."""
    zeros = leading_zeros(x)
    return _one_over_one_plus((x << zeros) - 2**31), integer_bits - zeros


def _one_over_one_plus(x: Tensor) -> Tensor:
    """``1 / (1 + x)`` for x in [0, 1): three Newton steps, 2 integer bits inside."""
    half = (x + _ONE + 1) >> 1
    y = 1515870810 + high_product(half, torch.tensor(-1010580540, device=x.device))
    for _ in range(3):
        y = y + shift_left(high_product(y, 2**29 - high_product(half, y)), 2)
    return shift_left(y, 1)
