"""Fixed-point numbers as 8-bit kernels compute with them: int32 raws, here in int64 tensors so that nothing is lost unseen.

Worked: 0.0078 as a Q31 multiplier is 2144047674 * 2**-31 * 2**-7 (0.9984 * 2**-7). Source: gemmlowp fixedpoint/fixedpoint.h
and LiteRT kernels/internal/common.h; ``FixedPoint<n>`` there is a raw with n integer bits here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from intact.annotations import Bools, Floats, Ints

_ONE = 2**31 - 1  # the largest raw with no integer bits, which stands for 1


def wrap(x: Ints[Tensor, "*s"]) -> Ints[Tensor, "*s"]:
    """``x`` as an int32 sum would hold it: beyond 2**31 - 1 comes -2**31."""
    return x.to(torch.int32).to(torch.int64)


def q31(real: float | Floats[np.ndarray, "*s"]) -> tuple[Ints[Tensor, "*s"], Ints[Tensor, "*s"]]:
    """``real = multiplier * 2**-31 * 2**shift`` with the multiplier in [2**30, 2**31); below 2**-32, zero."""
    fraction, shift = np.frexp(np.asarray(real, np.float64))
    multiplier = np.floor(fraction * 2.0**31 + 0.5)
    full = multiplier == 2.0**31
    multiplier, shift = np.where(full, 2.0**30, multiplier), np.where(full, shift + 1, shift)
    none = shift < -31
    multiplier, shift = np.where(none, 0, multiplier), np.where(none, 0, shift)
    return torch.from_numpy(np.asarray(multiplier, np.int64)), torch.from_numpy(np.asarray(shift, np.int64))


def q15(real: float) -> tuple[int, int]:
    """``real = multiplier * 2**-15 * 2**shift``, rounded from the Q31 one."""
    multiplier, shift = q31(real)
    return int(short(multiplier)), int(shift)


def high_product(a: Ints[Tensor, "*#s"], b: Ints[Tensor, "*#s"] | int, width: int = 32) -> Ints[Tensor, "*#s"]:
    """``a * b / 2**(width - 1)``, halves up: SaturatingRoundingDoublingHighMul, but for the product of two lowest numbers."""
    product: Tensor = a * b
    product += 1 << (width - 2)
    product >>= width - 1
    return product


def shift_right(x: Ints[Tensor, "*s"], bits: Ints[Tensor, "*#s"] | int) -> Ints[Tensor, "*s"]:
    """``x / 2**bits``, halves away from zero: RoundingDivideByPOT. ``bits`` broadcasts to x, which is int64."""
    bits = torch.as_tensor(bits, device=x.device)
    y = (x >> 63) & -(bits > 0).to(torch.int64)  # a negative number starts one lower, so that its half goes down
    y += x
    y += (1 << bits) >> 1
    y >>= bits
    return y


def shift_left(x: Ints[Tensor, "*s"], bits: int, width: int = 32) -> Ints[Tensor, "*s"]:
    """``x * 2**bits`` held at the ends of int32, or of ``width`` bits."""
    return (x << bits).clamp(-(2 ** (width - 1)), 2 ** (width - 1) - 1)


def multiply(multiplier: Ints[Tensor, "*#s"], shift: Ints[Tensor, "*#s"], x: Ints[Tensor, "*s"]) -> Ints[Tensor, "*s"]:
    """``x * multiplier * 2**-31 * 2**shift`` for int32 ``x``: MultiplyByQuantizedMultiplier with its two roundings."""
    multiplier, shift = multiplier.to(x.device), shift.to(x.device)
    if bool((shift > 0).any()):
        x = wrap(x << shift.clamp(min=0))
    return shift_right(high_product(x, multiplier), (-shift).clamp(min=0))


def short(multiplier: Ints[Tensor, "*s"]) -> Ints[Tensor, "*s"]:
    """A Q31 multiplier rounded to Q15."""
    return ((multiplier + 2**15) >> 16).clamp(max=2**15 - 1)


def rescale_wide(x: Ints[Tensor, "*s"], real: float | Floats[np.ndarray, "*#s"]) -> Ints[Tensor, "*s"]:
    """``x * real`` for sums of 64 bits: MultiplyByQuantizedMultiplier with a Q15 multiplier and one rounding, halves up."""
    multiplier, shift = (v.to(x.device) for v in q31(real))
    down = 15 - shift
    return (x * short(multiplier) + (1 << (down - 1))) >> down


def rescale(x: Ints[Tensor, "*s"], real: float | Floats[np.ndarray, "*#s"]) -> Ints[Tensor, "*s"]:
    """``x * real`` as the kernels compute it; ``real`` is one number or one per element of the last axis."""
    return multiply(*q31(real), x)


# ---- exp and 1 / x ------------------------------------------------------------------------------------------------------

#: exp(-2**k) as raws for k = -2 ... 4.
_EXP_OF_MINUS_POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)


@final
@dataclass(frozen=True, eq=False)
class Differences:
    """How softmax kernels scale differences to the largest number, which are at most 0: to raws with 5 integer bits.

    Below ``-radius`` they would not fit, and exp of them counts as 0.
    """

    multiplier: Ints[Tensor, ""]
    bits: int
    radius: int

    @staticmethod
    def of(scale: float) -> Differences:
        multiplier, shift = q31(min(scale * 2.0**26, 2.0**31 - 1.0))
        return Differences(multiplier, int(shift), int(np.floor(31.0 * 2.0**26 / 2.0 ** int(shift))))

    def counts(self, below: Ints[Tensor, "*s"]) -> Bools[Tensor, "*s"]:
        return below >= -self.radius

    def raw(self, below: Ints[Tensor, "*s"]) -> Ints[Tensor, "*s"]:
        """``scale * below``."""
        return high_product(below.clamp(min=-self.radius) << self.bits, self.multiplier.to(below.device))

    @property
    def per_raw(self) -> tuple[Ints[Tensor, ""], Ints[Tensor, ""]]:
        """The multiplier and the shift that make differences of raws."""
        return q31(2.0 ** (31 - self.bits) / float(self.multiplier))

    def back(self, raw: Ints[Tensor, "*s"]) -> Ints[Tensor, "*s"]:
        """``raw / scale``: whole differences."""
        return multiply(*self.per_raw, raw)


def exp_of_negative(x: Ints[Tensor, "*s"]) -> Ints[Tensor, "*s"]:
    """``exp(x)`` (no integer bits) for ``x <= 0`` with 5 integer bits."""
    quarter = 2**24
    below_quarter = (x & (quarter - 1)) - quarter
    y = _exp_within_quarter(shift_left(below_quarter, 5))
    rest = below_quarter - x
    for bit, factor in enumerate(_EXP_OF_MINUS_POWERS, start=24):
        y = torch.where((rest & (1 << bit)) != 0, high_product(y, factor), y)
    return torch.where(x == 0, _ONE, y)


def _exp_within_quarter(x: Ints[Tensor, "*s"]) -> Ints[Tensor, "*s"]:
    """``exp(x)`` for x in [-1/4, 0), all without integer bits: the Taylor series around -1/8."""
    at, third = 1895147668, 715827883
    x = x + 2**28
    x2 = high_product(x, x)
    x3, x4 = high_product(x2, x), high_product(x2, x2)
    series = shift_right(high_product(shift_right(x4, 2) + x3, third) + x2, 1)
    return at + high_product(x + series, at)


def leading_zeros(x: Ints[Tensor, "*s"]) -> Ints[Tensor, "*s"]:
    """Of a positive uint32."""
    return 32 - torch.frexp(x.to(torch.float64)).exponent.to(torch.int64)


def reciprocal(x: Ints[Tensor, "*s"], integer_bits: int) -> tuple[Ints[Tensor, "*s"], Ints[Tensor, "*s"]]:
    """``1 / x = raw * 2**-31 * 2**-bits`` for positive ``x`` with ``integer_bits`` integer bits."""
    zeros = leading_zeros(x)
    return _one_over_one_plus((x << zeros) - 2**31), integer_bits - zeros


def _one_over_one_plus(x: Ints[Tensor, "*s"]) -> Ints[Tensor, "*s"]:
    """``1 / (1 + x)`` for x in [0, 1): three Newton steps, 2 integer bits inside."""
    half = (x + _ONE + 1) >> 1
    y = 1515870810 + high_product(half, -1010580540)
    for _ in range(3):
        y = y + shift_left(high_product(y, 2**29 - high_product(half, y)), 2)
    return shift_left(y, 1)


# ---- 1 / sqrt(x) and log ------------------------------------------------------------------------------------------------


def inverse_sqrt(x: Ints[Tensor, "*s"]) -> tuple[Ints[Tensor, "*s"], Ints[Tensor, "*s"]]:
    """``1 / sqrt(x)`` of positive integers as a Q31 multiplier and shift: five Newton steps. 0 and 1 both give 1."""
    value, down = x.clamp(min=2), torch.zeros_like(x)
    while bool((value >= 2**29).any()):
        large = value >= 2**29
        value, down = torch.where(large, value >> 2, value), down + large.to(torch.int64)
    pairs = ((leading_zeros(value) - 1) >> 1) - 1
    shift = 11 + down - pairs
    raw = (value << (2 * pairs)) >> 1
    half, y = shift_right(raw, 1), torch.full_like(raw, 2**28)
    for _ in range(5):
        cube = shift_left(high_product(high_product(y, y), y), 6)
        y = shift_left(high_product(y, 2**28 + 2**27) - high_product(half, cube), 3)
    y = high_product(y, _SQRT_HALF)
    y, shift = wrap(y << (-shift).clamp(min=0)), -shift.clamp(min=0)
    one = x <= 1
    return torch.where(one, _ONE, y), torch.where(one, 0, shift)


_SQRT_HALF = 1518500250
_FOURTH_ROOT_HALF = 1805811301
_LOG_2 = 1488522236


def log(x: Ints[Tensor, "*s"]) -> Ints[Tensor, "*s"]:
    """``log(x)`` with 5 integer bits for x >= 1 with 12: a power of two by its leading zeros, the rest by a fraction."""
    sqrt_half, alpha_n, alpha_d, alpha_f, quarter = _SQRT_HALF, 117049297, 127690142, 638450708, 2**23
    zeros = leading_zeros(x)
    first = shift_left(high_product((x << (zeros - 1)).clamp(max=_ONE), sqrt_half), 1)
    first_power = shift_left(12 - zeros, 25) + quarter
    zeros = leading_zeros(high_product(x, sqrt_half)) - 1
    second = (x << zeros).clamp(max=_ONE)
    second_power = shift_left(12 - zeros, 25) - quarter
    r, power = torch.minimum(first, second), torch.maximum(first_power, second_power)
    p = (r + (_FOURTH_ROOT_HALF + 1)) >> 1
    q = 2 * (r - _FOURTH_ROOT_HALF)
    square = high_product(q, q)
    over = high_product(q, r) + high_product(high_product(q, square), alpha_n)
    under = high_product(p, q + high_product(square, alpha_d) + 1057819769) + high_product(q, alpha_f)
    fraction = high_product(shift_right(over, 6), _one_over_one_plus(under))
    return shift_left(high_product(power, _LOG_2) + fraction, 1)
