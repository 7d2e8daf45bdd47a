"""Element-wise arithmetic of two tensors, with broadcasting and, where LiteRT has one, a fused activation.

Sources of their integers: LiteRT kernels/internal/reference/integer_ops/add.h and mul.h, kernels/sub.cc and
squared_difference.cc.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar, Final, final

import torch
from torch import Tensor

from intact.numbers import fixed_point as fixed
from intact.numbers.arithmetic import aligned
from intact.ops.base import MANY, Activated, Combination, Costless, FloatOnly, Function, InPlace, Maps, Picks
from intact.ops.call import Activation, Call, Shape, activate, present
from intact.ops.scales import ONE, Passed, alike, times, unscaled

#: Of the output's step. XNNPACK adds numbers whose steps are at least 2**-10 of it, and leaves others to slower kernels; what
#: is this fine loses nothing by a step of 2**-9. Source: xnnpack_delegate.cc, CheckTensorsInputOutputScale.
_LEAST_ADDEND: Final = 2.0**-9


class _Addition(Activated):
    """``activation(a + sign b)``."""

    least_operand: ClassVar[float] = _LEAST_ADDEND
    cheap: ClassVar[bool] = True
    in_place: ClassVar[InPlace | None] = "elements"
    sign: ClassVar[int]

    def passes(self, *marks: Tensor | None) -> Passed:
        return alike(present(marks[0], "a"), present(marks[1], "b")) if self.is_homogeneous else None

    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        a, b, formats = call.tensor(0), call.tensor(1), (call.format(0), call.format(1))
        return (call.arithmetic.add(a, b, formats, call.output(self.activation), sign=self.sign),)

    def unit(self, scales: Sequence[float]) -> float:
        return max(scales)

    def macs(self, inputs: Sequence[Shape], output: Shape) -> int:
        del inputs, output
        return 0


@final
@dataclass(frozen=True)
class Add(_Addition):
    """``activation(a + b)``."""

    name: ClassVar[str] = "ADD"
    takes: ClassVar[tuple[int, int]] = (2, 2)
    of_one_type: ClassVar[bool] = True
    combines: ClassVar[Combination | None] = "sum"
    takes_infinity: ClassVar[bool] = True
    sign: ClassVar[int] = 1
    activation: Activation = "none"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return activate(present(inputs[0], "a") + present(inputs[1], "b"), self.activation)


@final
@dataclass(frozen=True)
class Sub(_Addition):
    """``activation(a - b)``."""

    name: ClassVar[str] = "SUB"
    takes: ClassVar[tuple[int, int]] = (2, 2)
    of_one_type: ClassVar[bool] = True
    combines: ClassVar[Combination | None] = "difference"
    sign: ClassVar[int] = -1
    activation: Activation = "none"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return activate(present(inputs[0], "a") - present(inputs[1], "b"), self.activation)


@final
@dataclass(frozen=True)
class Mul(Activated):
    """``activation(a * b)``."""

    name: ClassVar[str] = "MUL"
    takes: ClassVar[tuple[int, int]] = (2, 2)
    of_one_type: ClassVar[bool] = True
    combines: ClassVar[Combination | None] = "product"
    cheap: ClassVar[bool] = True
    in_place: ClassVar[InPlace | None] = "elements"
    activation: Activation = "none"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return activate(present(inputs[0], "a") * present(inputs[1], "b"), self.activation)

    def passes(self, *marks: Tensor | None) -> Passed:
        return times(present(marks[0], "a"), present(marks[1], "b")) if self.is_homogeneous else None

    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        products = call.centered(0) * call.centered(1)
        return (call.arithmetic.multiply(products, call.format(0), call.format(1), call.output(self.activation)),)

    def unit(self, scales: Sequence[float]) -> float:
        return prod(scales)

    def macs(self, inputs: Sequence[Shape], output: Shape) -> int:
        del inputs, output
        return 0


@final
@dataclass(frozen=True)
class Div(Activated, FloatOnly):
    """``activation(a / b)``; of whole numbers the quotient loses its fraction, as in C."""

    name: ClassVar[str] = "DIV"
    takes: ClassVar[tuple[int, int]] = (2, 2)
    of_one_type: ClassVar[bool] = True
    combines: ClassVar[Combination | None] = "quotient"
    in_place: ClassVar[InPlace | None] = "elements"
    activation: Activation = "none"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        a, b = present(inputs[0], "a"), present(inputs[1], "b")
        of = torch.result_type(a, b)
        whole = not (of.is_floating_point or of.is_complex)
        return activate(torch.div(a, b, rounding_mode="trunc" if whole else None), self.activation)

    def passes(self, *marks: Tensor | None) -> Passed:
        if not unscaled(marks[1]) or not self.is_homogeneous:
            return None
        return times(present(marks[0], "a"), torch.full_like(present(marks[1], "b"), ONE))


@final
@dataclass(frozen=True)
class AddN(FloatOnly):
    """The sum of any number of tensors of one shape, from the first on."""

    name: ClassVar[str] = "ADD_N"
    takes: ClassVar[tuple[int, int]] = (1, MANY)
    of_one_type: ClassVar[bool] = True
    in_place: ClassVar[InPlace | None] = "elements"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        total = present(inputs[0], "value")
        for x in inputs[1:]:
            total = total + present(x, "value")
        return total


@final
@dataclass(frozen=True)
class SquaredDifference(Costless):
    """``(a - b)^2``."""

    name: ClassVar[str] = "SQUARED_DIFFERENCE"
    takes: ClassVar[tuple[int, int]] = (2, 2)
    of_one_type: ClassVar[bool] = True
    in_place: ClassVar[InPlace | None] = "elements"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return torch.square(present(inputs[0], "a") - present(inputs[1], "b"))

    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        formats = (call.format(0), call.format(1))
        a, b = (aligned(q, fmt, formats, 7) for q, fmt in zip((call.tensor(0), call.tensor(1)), formats, strict=True))
        out, unit = call.output(), 2 * max(fmt.scale[0] for fmt in formats) / 2**7
        scaled = fixed.rescale(torch.square(a - b), unit * unit / out.scale)
        return (call.arithmetic.finish(scaled + out.zero_point, out),)


@final
@dataclass(frozen=True)
class Pow(Maps):
    """``a ** b``."""

    name: ClassVar[str] = "POW"
    takes: ClassVar[tuple[int, int]] = (2, 2)
    of_one_type: ClassVar[bool] = True
    function: ClassVar[Function] = staticmethod(torch.pow)


@final
@dataclass(frozen=True)
class Maximum(Picks):
    """``max(a, b)``; it picks numbers, so all three share one scale. Source: LiteRT maximum_minimum.cc."""

    name: ClassVar[str] = "MAXIMUM"
    takes: ClassVar[tuple[int, int]] = (2, 2)
    of_one_type: ClassVar[bool] = True
    combines: ClassVar[Combination | None] = "extreme"
    takes_infinity: ClassVar[bool] = True
    in_place: ClassVar[InPlace | None] = "elements"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return torch.maximum(present(inputs[0], "a"), present(inputs[1], "b"))

    def passes(self, *marks: Tensor | None) -> Passed:
        return alike(present(marks[0], "a"), present(marks[1], "b"))


@final
@dataclass(frozen=True)
class Minimum(Picks):
    """``min(a, b)``; it picks numbers, so all three share one scale. Source: LiteRT maximum_minimum.cc."""

    name: ClassVar[str] = "MINIMUM"
    takes: ClassVar[tuple[int, int]] = (2, 2)
    of_one_type: ClassVar[bool] = True
    combines: ClassVar[Combination | None] = "extreme"
    takes_infinity: ClassVar[bool] = True
    in_place: ClassVar[InPlace | None] = "elements"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return torch.minimum(present(inputs[0], "a"), present(inputs[1], "b"))

    def passes(self, *marks: Tensor | None) -> Passed:
        return alike(present(marks[0], "a"), present(marks[1], "b"))
