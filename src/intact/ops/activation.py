"""Functions of one tensor, element by element, and softmax.

Sources of their integers: LiteRT kernels/activations.cc; kernels/elementwise.cc (ABS, LOG, RSQRT), exp.cc and gelu.cc;
the rounding of each kernel set is in :mod:`intact.numbers`.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import ClassVar, Final, final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from intact.errors import ModelError
from intact.numbers import fixed_point as fixed
from intact.numbers.affine import Affine
from intact.numbers.arithmetic import Output
from intact.ops.base import Costless, Fixed, Function, Homogeneous, InPlace, Maps, RangeRule
from intact.ops.call import Activation, Call, present
from intact.ops.scales import Passed, unscaled

#: LOGISTIC and SOFTMAX give [0, 1) in 1/256 steps. Source: LiteRT activations.cc; int16 in 1/32768 steps.
_UNIT: Final = Fixed({"int8": (1 / 256, -128), "int16": (1 / 32768, 0)})
#: TANH and L2_NORMALIZATION give [-1, 1) in 1/128 steps.
_SIGNED_UNIT: Final = Fixed({"int8": (1 / 128, 0), "int16": (1 / 32768, 0)})


def _clamped(call: Call, activation: Activation) -> Tensor:
    return call.arithmetic.clamped(call.tensor(0), call.format(0), call.output(activation))


class _Tabled(Costless):
    """A function that kernels look up: what it makes of each of the 256 integers, rounded."""

    in_place: ClassVar[InPlace | None] = "elements"

    @abc.abstractmethod
    def compute(self, *inputs: Tensor | None) -> Tensor: ...

    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        return (call.arithmetic.unary(self.compute, call.tensor(0), call.format(0), call.output()),)


@final
@dataclass(frozen=True)
class Relu(Homogeneous, Costless):
    """``max(x, 0)``. Source of its integers: LiteRT ReluX in optimized_ops.h."""

    name: ClassVar[str] = "RELU"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return F.relu(present(inputs[0], "x"))

    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        return (_clamped(call, "relu"),)


@final
@dataclass(frozen=True)
class Relu6(Costless):
    """``min(max(x, 0), 6)``."""

    name: ClassVar[str] = "RELU6"
    in_place: ClassVar[InPlace | None] = "elements"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return present(inputs[0], "x").clamp(0.0, 6.0)

    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        return (call.arithmetic.relu6(call.tensor(0), call.format(0), call.output("relu6")),)


@final
@dataclass(frozen=True)
class Relu0To1(Costless):
    """``min(max(x, 0), 1)``. Source of its integers: LiteRT ReluX in optimized_ops.h."""

    name: ClassVar[str] = "RELU_0_TO_1"
    in_place: ClassVar[InPlace | None] = "elements"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return present(inputs[0], "x").clamp(0.0, 1.0)

    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        return (_clamped(call, "relu_0_to_1"),)


@final
@dataclass(frozen=True)
class ReluN1To1(Costless):
    """``min(max(x, -1), 1)``. Source of its integers: LiteRT ReluX in optimized_ops.h."""

    name: ClassVar[str] = "RELU_N1_TO_1"
    in_place: ClassVar[InPlace | None] = "elements"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return present(inputs[0], "x").clamp(-1.0, 1.0)

    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        return (_clamped(call, "relu_n1_to_1"),)


@final
@dataclass(frozen=True)
class LeakyRelu(Homogeneous, Costless):
    """``x if x > 0 else alpha * x``."""

    name: ClassVar[str] = "LEAKY_RELU"
    alpha: float = 0.2

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return F.leaky_relu(present(inputs[0], "x"), self.alpha)

    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        return (call.arithmetic.leaky_relu(call.tensor(0), call.format(0), call.output(), self.alpha),)


@final
@dataclass(frozen=True)
class PRelu(Costless):
    """``x if x > 0 else alpha * x``, alpha a tensor that broadcasts against x."""

    name: ClassVar[str] = "PRELU"
    takes: ClassVar[tuple[int, int]] = (2, 2)
    of_one_type: ClassVar[bool] = True
    in_place: ClassVar[InPlace | None] = "elements"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        x, alpha = present(inputs[0], "x"), present(inputs[1], "alpha")
        return torch.where(x > 0, x, alpha * x)

    def passes(self, *marks: Tensor | None) -> Passed:
        return (present(marks[0], "x"),) if unscaled(marks[1]) else None

    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        x, alpha, out, ratio = call.centered(0), call.centered(1), call.output(), call.arithmetic.ratio
        above = fixed.rescale(x, ratio(call.format(0).scale[0], over=out.scale))
        below = fixed.rescale(x * alpha, ratio(call.format(0).scale[0], call.format(1).scale[0], over=out.scale))
        return (call.arithmetic.finish(torch.where(x >= 0, above, below) + out.zero_point, out),)


@final
@dataclass(frozen=True)
class HardSwish(Costless):
    """``x * relu6(x + 3) / 6``."""

    name: ClassVar[str] = "HARD_SWISH"
    cheap: ClassVar[bool] = True
    in_place: ClassVar[InPlace | None] = "elements"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return F.hardswish(present(inputs[0], "x"))

    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        out, fine = call.output(), np.float32(call.format(0).scale[0]) * np.float32(1 / 128)
        factor, shift = fixed.q15(float(fine / np.float32(out.scale)))
        gate_factor, gate_shift = fixed.q15(float(fine / np.float32(3 / 32768)))
        x = call.centered(0) << 7
        gate = fixed.shift_left(x, max(gate_shift - 1, 0), 16)
        gate = fixed.shift_left(fixed.high_product(gate, gate_factor, 16), min(max(gate_shift, 0), 1), 16)
        gate = (fixed.shift_right(gate, max(-gate_shift, 0)) + 2**15) >> 1
        y = torch.div(gate * fixed.high_product(x, factor, 16), 2**15, rounding_mode="trunc")
        return (call.arithmetic.finish(fixed.shift_right(y, -shift) + out.zero_point, out),)


@final
@dataclass(frozen=True)
class Gelu(_Tabled):
    """``x * Phi(x)``, or its tanh approximation."""

    name: ClassVar[str] = "GELU"
    approximate: bool = False

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return F.gelu(present(inputs[0], "x"), approximate="tanh" if self.approximate else "none")


@final
@dataclass(frozen=True)
class Elu(_Tabled):
    """``x if x > 0 else exp(x) - 1``."""

    name: ClassVar[str] = "ELU"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return F.elu(present(inputs[0], "x"))


@final
@dataclass(frozen=True)
class Logistic(Costless):
    """``1 / (1 + exp(-x))``."""

    name: ClassVar[str] = "LOGISTIC"
    probabilities: ClassVar[bool] = True
    range_rule: ClassVar[RangeRule] = _UNIT
    in_place: ClassVar[InPlace | None] = "elements"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return torch.sigmoid(present(inputs[0], "x"))

    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        return (call.arithmetic.logistic(call.tensor(0), call.format(0), call.output()),)


@final
@dataclass(frozen=True)
class Tanh(Costless):
    """Hyperbolic tangent."""

    name: ClassVar[str] = "TANH"
    range_rule: ClassVar[RangeRule] = _SIGNED_UNIT
    in_place: ClassVar[InPlace | None] = "elements"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return torch.tanh(present(inputs[0], "x"))

    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        return (call.arithmetic.tanh(call.tensor(0), call.format(0), call.output()),)


@final
@dataclass(frozen=True)
class Softmax(Costless):
    """``exp(beta x) / sum(exp(beta x))`` along the last axis."""

    name: ClassVar[str] = "SOFTMAX"
    probabilities: ClassVar[bool] = True
    range_rule: ClassVar[RangeRule] = _UNIT
    beta: float = 1.0

    def compute(self, *inputs: Tensor | None) -> Tensor:
        x = present(inputs[0], "x")
        return torch.softmax(x if self.beta == 1 else self.beta * x, -1)

    def softmax_factor(self) -> float | None:
        return self.beta

    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        return (call.arithmetic.softmax(call.tensor(0), call.format(0), call.output(), self.beta),)


@final
@dataclass(frozen=True)
class LogSoftmax(Costless):
    """``x - log(sum(exp(x)))`` along the last axis. Source of the fixed scale: LiteRT log_softmax in activations.cc."""

    name: ClassVar[str] = "LOG_SOFTMAX"
    range_rule: ClassVar[RangeRule] = Fixed({"int8": (16 / 256, 127)})

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return torch.log_softmax(present(inputs[0], "x"), -1)

    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        return (call.arithmetic.log_softmax(call.tensor(0), call.format(0), call.output()),)


@final
@dataclass(frozen=True)
class L2Normalization(Costless):
    """``x / sqrt(sum(x^2))`` along the last axis. Source of the fixed scale: LiteRT l2norm.cc."""

    name: ClassVar[str] = "L2_NORMALIZATION"
    range_rule: ClassVar[RangeRule] = Fixed({"int8": (1 / 128, 0)})

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return F.normalize(present(inputs[0], "x"), dim=-1, eps=1e-6)

    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        x, out = call.centered(0), call.output()
        multiplier, shift = fixed.inverse_sqrt((x * x).sum(-1, keepdim=True))
        return (call.arithmetic.finish(fixed.multiply(multiplier, shift + 7, x) + out.zero_point, out),)


@final
@dataclass(frozen=True)
class Exp(_Tabled):
    """``e^x``."""

    name: ClassVar[str] = "EXP"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return torch.exp(present(inputs[0], "x"))


@final
@dataclass(frozen=True)
class Log(_Tabled):
    """Natural logarithm."""

    name: ClassVar[str] = "LOG"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return torch.log(present(inputs[0], "x"))


@final
@dataclass(frozen=True)
class Abs(Homogeneous, Costless):
    """``|x|``."""

    name: ClassVar[str] = "ABS"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return torch.abs(present(inputs[0], "x"))

    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        x, out = call.centered(0).abs(), call.output()
        scaled = fixed.rescale(x, call.arithmetic.ratio(call.format(0).scale[0], over=out.scale))
        return (call.arithmetic.finish(scaled + out.zero_point, out),)


@final
@dataclass(frozen=True)
class Neg(Homogeneous, Maps):
    """``-x``."""

    name: ClassVar[str] = "NEG"
    function: ClassVar[Function] = staticmethod(torch.neg)


@final
@dataclass(frozen=True)
class Sqrt(Maps):
    """Square root."""

    name: ClassVar[str] = "SQRT"
    function: ClassVar[Function] = staticmethod(torch.sqrt)


@final
@dataclass(frozen=True)
class Sin(Maps):
    """Sine, of radians."""

    name: ClassVar[str] = "SIN"
    function: ClassVar[Function] = staticmethod(torch.sin)


@final
@dataclass(frozen=True)
class Cos(Maps):
    """Cosine, of radians."""

    name: ClassVar[str] = "COS"
    function: ClassVar[Function] = staticmethod(torch.cos)


@final
@dataclass(frozen=True)
class Rsqrt(Costless):
    """``1 / sqrt(x)``."""

    name: ClassVar[str] = "RSQRT"
    in_place: ClassVar[InPlace | None] = "elements"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return torch.rsqrt(present(inputs[0], "x"))

    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        x, out = call.centered(0), call.output()
        if bool((x < 0).any()):
            raise ModelError("RSQRT of a negative number, at which the kernel stops")
        return (call.arithmetic.finish(self._scaled(x, call.format(0), out) + out.zero_point, out),)

    @staticmethod
    def _scaled(x: Tensor, fmt: Affine, out: Output) -> Tensor:
        """In steps of ``out``, with 20 bits more on the way; 1 / 0 is far more than any format holds."""
        multiplier, shift = fixed.inverse_sqrt(x)
        inverse = fixed.multiply(multiplier, shift + 20, torch.ones_like(x))
        multiplier, shift = fixed.q31(1.0 / float(np.sqrt(np.float32(fmt.scale[0])) * np.float32(out.scale)))
        return torch.where(x == 0, 2**31, fixed.multiply(multiplier, shift - 20, inverse))


@final
@dataclass(frozen=True)
class Square(Maps):
    """``x^2``."""

    name: ClassVar[str] = "SQUARE"
    function: ClassVar[Function] = staticmethod(torch.square)
