"""Element-wise arithmetic of two tensors, with broadcasting and, where LiteRT has one, a fused activation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar, Final, final

import torch
from torch import Tensor

from intact.numbers import fixed_point as fixed
from intact.numbers.arithmetic import aligned
from intact.ops.base import OpKind, RangeRule, SameAsInput
from intact.ops.call import CLAMPS, Activation, Call, activate, present
from intact.ops.scales import ONE, Passed, alike, homogeneous, times, unscaled

#: Of the output's step. XNNPACK adds numbers whose steps are at least 2**-10 of it, and leaves others to slower kernels; what
#: is this fine loses nothing by a step of 2**-9. Source: xnnpack_delegate.cc, CheckTensorsInputOutputScale.
_LEAST_ADDEND: Final = 2.0**-9


@final
@dataclass(frozen=True)
class Add(OpKind):
    """``activation(a + b)``."""

    name: ClassVar[str] = "ADD"
    takes_infinity: ClassVar[bool] = True
    least_operand: ClassVar[float] = _LEAST_ADDEND
    activation: Activation = "none"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return activate(present(inputs[0], "a") + present(inputs[1], "b"), self.activation)

    def passes(self, *marks: Tensor | None) -> Passed:
        return alike(present(marks[0], "a"), present(marks[1], "b")) if homogeneous(CLAMPS, self.activation) else None

    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        formats = (call.format(0), call.format(1))
        return (call.arithmetic.add(call.tensor(0), call.tensor(1), formats, call.output(self.activation)),)

    def unit(self, scales: Sequence[float]) -> float:
        return max(scales)


@final
@dataclass(frozen=True)
class Sub(OpKind):
    """``activation(a - b)``."""

    name: ClassVar[str] = "SUB"
    least_operand: ClassVar[float] = _LEAST_ADDEND
    activation: Activation = "none"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return activate(present(inputs[0], "a") - present(inputs[1], "b"), self.activation)

    def passes(self, *marks: Tensor | None) -> Passed:
        return alike(present(marks[0], "a"), present(marks[1], "b")) if homogeneous(CLAMPS, self.activation) else None

    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        formats = (call.format(0), call.format(1))
        return (call.arithmetic.add(call.tensor(0), call.tensor(1), formats, call.output(self.activation), sign=-1),)

    def unit(self, scales: Sequence[float]) -> float:
        return max(scales)


@final
@dataclass(frozen=True)
class Mul(OpKind):
    """``activation(a * b)``."""

    name: ClassVar[str] = "MUL"
    activation: Activation = "none"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return activate(present(inputs[0], "a") * present(inputs[1], "b"), self.activation)

    def passes(self, *marks: Tensor | None) -> Passed:
        return times(present(marks[0], "a"), present(marks[1], "b")) if homogeneous(CLAMPS, self.activation) else None

    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        products = call.centered(0) * call.centered(1)
        return (call.arithmetic.multiply(products, call.format(0), call.format(1), call.output(self.activation)),)

    def unit(self, scales: Sequence[float]) -> float:
        return prod(scales)


@final
@dataclass(frozen=True)
class Div(OpKind):
    """``activation(a / b)``."""

    name: ClassVar[str] = "DIV"
    activation: Activation = "none"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return activate(present(inputs[0], "a") / present(inputs[1], "b"), self.activation)

    def passes(self, *marks: Tensor | None) -> Passed:
        if not unscaled(marks[1]) or not homogeneous(CLAMPS, self.activation):
            return None
        return times(present(marks[0], "a"), torch.full_like(present(marks[1], "b"), ONE))


@final
@dataclass(frozen=True)
class AddN(OpKind):
    """The sum of any number of tensors of one shape, from the first on."""

    name: ClassVar[str] = "ADD_N"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        total = present(inputs[0], "value")
        for x in inputs[1:]:
            total = total + present(x, "value")
        return total


@final
@dataclass(frozen=True)
class SquaredDifference(OpKind):
    """``(a - b)^2``."""

    name: ClassVar[str] = "SQUARED_DIFFERENCE"

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
class Pow(OpKind):
    """``a ** b``."""

    name: ClassVar[str] = "POW"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return torch.pow(present(inputs[0], "a"), present(inputs[1], "b"))


@final
@dataclass(frozen=True)
class Maximum(OpKind):
    """``max(a, b)``; it picks numbers, so all three share one scale. Source: LiteRT maximum_minimum.cc."""

    name: ClassVar[str] = "MAXIMUM"
    range_rule: ClassVar[RangeRule] = SameAsInput()
    takes_infinity: ClassVar[bool] = True

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return torch.maximum(present(inputs[0], "a"), present(inputs[1], "b"))

    def passes(self, *marks: Tensor | None) -> Passed:
        return alike(present(marks[0], "a"), present(marks[1], "b"))


@final
@dataclass(frozen=True)
class Minimum(OpKind):
    """``min(a, b)``; it picks numbers, so all three share one scale. Source: LiteRT maximum_minimum.cc."""

    name: ClassVar[str] = "MINIMUM"
    range_rule: ClassVar[RangeRule] = SameAsInput()
    takes_infinity: ClassVar[bool] = True

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return torch.minimum(present(inputs[0], "a"), present(inputs[1], "b"))

    def passes(self, *marks: Tensor | None) -> Passed:
        return alike(present(marks[0], "a"), present(marks[1], "b"))
