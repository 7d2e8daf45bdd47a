"""What an op kind is: its options (dataclass fields) and its semantics (methods), written once.

An op kind is a final frozen dataclass under :class:`OpKind`. Its fields are its options, its ``compute`` is its float
meaning in torch, and class variables are the facts that others ask for, so that nobody asks for a kind by its class. Shapes
are not written a second time: they are read off ``compute`` on meta tensors (:mod:`intact.ops.inference`). Image tensors are
NHWC throughout, as in LiteRT.

Abstract or final: what several kinds share is a class between that nothing below overrides, such as :class:`FloatOnly`,
:class:`Moves` or :class:`Activated`. Only methods of :class:`OpKind` that say that there is nothing to say are overridden.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, ClassVar, Final, Literal, Self, TypeAlias, final

import numpy as np
import torch
from torch import Tensor

from intact.errors import ModelError, UnsupportedError
from intact.numbers.affine import Affine, Format, Index, storage
from intact.numbers.arithmetic import centered
from intact.numbers.fixed_point import wrap
from intact.ops.call import CLAMPS, Activation, Call, Shape, affine, as_tuple, present
from intact.ops.scales import Passed, homogeneous

Padding: TypeAlias = Literal["same", "valid"]
Function: TypeAlias = Callable[..., Tensor]
#: ``extreme``: the larger or smaller operand; ``choice``: the operand that a condition names.
Combination: TypeAlias = Literal["sum", "difference", "product", "quotient", "extreme", "choice"]
#: ``renames``: the output's bytes are the first operand's. ``elements``: element n of an operand that has the output's shape
#: is read for element n of the output alone.
InPlace: TypeAlias = Literal["renames", "elements"]

#: Operands of an op that takes any number.
MANY: Final = 1 << 16


@final
@dataclass(frozen=True)
class Free:
    """The output's range comes from calibration."""


@final
@dataclass(frozen=True)
class SameAsInput:
    """Every quantized input and output shares one scale and zero point: the op only moves or picks numbers."""


@final
@dataclass(frozen=True)
class Fixed:
    """The output's scale and zero point are constants of the kernel, by dtype: ``{"int8": (1/256, -128)}``."""

    by_dtype: Mapping[str, tuple[float, int]]


RangeRule: TypeAlias = Free | SameAsInput | Fixed


@final
@dataclass(frozen=True)
class Weight:
    """Where an op keeps its weight and bias: positions among its inputs, and the weight's output-channel axis."""

    input: int
    axis: int
    bias: int

    def data(self, formats: Sequence[Format | None]) -> int | None:
        """The position of the activations: the first other input that is there and stands for real numbers."""
        others = ((n, f) for n, f in enumerate(formats) if n not in (self.input, self.bias))
        return next((n for n, f in others if f is not None and not isinstance(f, Index)), None)


class OpKind(abc.ABC):
    """One kind of op with its options. Subclasses are final frozen dataclasses; ``name`` is LiteRT's operator name."""

    name: ClassVar[str]
    #: How many operands it has, at least and at most, with those that are left out before the last.
    takes: ClassVar[tuple[int, int]] = (1, 1)
    range_rule: ClassVar[RangeRule] = Free()
    weight: ClassVar[Weight | None] = None
    #: The least step of an operand that every kernel takes, in steps of the output; 0: any.
    least_operand: ClassVar[float] = 0.0
    #: Whether the same inputs always give the same outputs, so that an op of constants is a constant.
    repeatable: ClassVar[bool] = True
    #: Whether the output follows from the inputs' shapes alone, so that it is known before any number is.
    of_shapes: ClassVar[bool] = False
    #: Whether the output jumps where an input passes some number, so that ids and codes are read by it.
    discerns: ClassVar[bool] = False
    #: Whether an infinite element among its inputs can be a neutral one: a margin that never wins, a mask.
    takes_infinity: ClassVar[bool] = False
    #: Whether gradients pass from real outputs to real inputs.
    differentiable: ClassVar[bool] = True
    #: Whether it only moves numbers, or puts zeros or one other value between them, without looking at them.
    moves: ClassVar[bool] = False
    #: Whether it puts tensors into one, along an axis that they have or stacked along a new one.
    joins: ClassVar[Literal["along", "stacked"] | None] = None
    #: Whether nobody knows what it computes, nor which formats its kernel takes.
    unknown: ClassVar[bool] = False
    #: Whether it only says how the same real numbers are stored.
    converts: ClassVar[bool] = False
    #: Whether its operands are all real numbers, or all whole ones.
    of_one_type: ClassVar[bool] = False
    #: Whether it costs one pass over memory: making its result again is cheaper than keeping it.
    cheap: ClassVar[bool] = False
    #: Whether it gives probabilities, in which no scale of what it reads can be seen any more.
    probabilities: ClassVar[bool] = False
    #: How it makes each element of the same elements of its operands, where it is one step of arithmetic or a choice.
    combines: ClassVar[Combination | None] = None
    #: Why the output can lie where an operand does that nothing needs any more; None: it cannot.
    in_place: ClassVar[InPlace | None] = None

    @abc.abstractmethod
    def compute(self, *inputs: Tensor | None) -> Tensor | tuple[Tensor, ...]:
        """Float semantics: NHWC tensors in (None: an optional input left out), output or tuple of outputs out.

        Integer inputs (axes, shapes, paddings) are constants, which :func:`~intact.ops.call.integers` reads.
        """

    @abc.abstractmethod
    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        """What a kernel of this op makes of stored integers, to the last bit: stored integers in ``call.outs``.

        Raises UnsupportedError where that is not known.
        """

    @abc.abstractmethod
    def unit(self, scales: Sequence[float]) -> float:
        """The step in which an integer kernel sums before it requantizes, for the steps of its operands; 0: it has no such."""

    @abc.abstractmethod
    def macs(self, inputs: Sequence[Shape], output: Shape) -> int:
        """Multiply-accumulates for one call, from the shapes of its inputs and first output."""

    def unfused(self) -> tuple[OpKind, Activation]:
        """The op without the activation that its options fuse into it, and that activation."""
        return self, "none"

    def softmax_factor(self) -> float | None:
        """k, where the op gives ``exp(k x) / sum(exp(k x))`` along its last axis; None for any other."""
        return None

    def as_stored(self, given: Format) -> tuple[OpKind, Affine] | None:
        """The op of an integer network where this makes real numbers of whole ones, and how that reads ``given``; else None."""
        del given
        return None

    def passes(self, *marks: Tensor | None) -> Passed:
        """Which scale each output element takes on: ``f(s x) = t f(x)`` for every x and all positive s; None: not so.

        ``marks``: of the floats, which scale every element carries (:mod:`intact.ops.scales`); integer constants as they are.
        """
        del marks
        return None

    def why_not_integer(self, given: Sequence[bool]) -> str:
        """What, with the inputs that are ``given``, no integer kernel of this op takes, in words; empty where one does."""
        del given
        return ""

    def operands(self, formats: Mapping[int, Affine], constants: Mapping[int, np.ndarray]) -> Mapping[int, Affine]:
        """How an integer kernel stores constants that are neither ``weight`` nor like activations, by position.

        ``formats`` are those of the activations among the inputs, ``constants`` the values of the others.
        """
        del formats, constants
        return {}

    def results(self, first: Affine, seen: Sequence[tuple[float, float]]) -> Mapping[int, Affine]:
        """The formats of outputs that follow from the first one's or from the ranges ``seen`` of all, by position."""
        del first, seen
        return {}


class Costless(OpKind):
    """An op that multiplies nothing by weights and requantizes each number by itself."""

    def unit(self, scales: Sequence[float]) -> float:
        del scales
        return 0.0

    def macs(self, inputs: Sequence[Shape], output: Shape) -> int:
        del inputs, output
        return 0


class FloatOnly(Costless):
    """An op of real numbers, bools or whole ones, for which no integer kernel is known to the last bit."""

    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        del call
        raise no_integers(self)


class Maps(FloatOnly):
    """An op that applies one function of torch to all that it reads, element by element."""

    function: ClassVar[Function]
    in_place: ClassVar[InPlace | None] = "elements"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return self.function(*(present(x, f"{n}") for n, x in enumerate(inputs)))


class Homogeneous(OpKind):
    """An op with ``f(s x) = s f(x)`` for every positive s, element by element."""

    in_place: ClassVar[InPlace | None] = "elements"

    def passes(self, *marks: Tensor | None) -> Passed:
        return (present(marks[0], "x"),)


class Counts(Costless):
    """An op that gives whole numbers which no scale changes: an index, a shape."""

    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        return as_tuple(self.compute(*call.inputs))


class Picks(Costless):
    """An op each of whose numbers is one of those it reads, or zero: all share one scale, and integers are picked alike."""

    range_rule: ClassVar[RangeRule] = SameAsInput()

    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        return move(self, call)


class Moves(Picks):
    """An op that picks without looking at the numbers that it moves."""

    moves: ClassVar[bool] = True
    takes_infinity: ClassVar[bool] = True


class Rearranges(Moves):
    """An op that moves whatever it reads: marks of scales too."""

    def passes(self, *marks: Tensor | None) -> Passed:
        return as_tuple(self.compute(*marks))


class Activated(OpKind):
    """An op with an option for the activation of what it computes, which kernels fuse into it."""

    activation: Activation
    __dataclass_fields__: ClassVar[dict[str, Any]]  # of the final class

    @property
    def plain(self) -> Self:
        """The op without its activation."""
        return self.activated("none")

    @property
    def is_homogeneous(self) -> bool:
        """Whether its activation passes every scale."""
        return homogeneous(CLAMPS, self.activation)

    def activated(self, activation: Activation) -> Self:
        """The op with another activation."""
        return replace(self, activation=activation)

    def unfused(self) -> tuple[OpKind, Activation]:
        return self.plain, self.activation


class WeightedKind(Activated):
    """An op that sums inputs times constant weights, per output channel: the last axis of its output."""

    weight: ClassVar[Weight]

    def unit(self, scales: Sequence[float]) -> float:
        return prod(scales)

    @abc.abstractmethod
    def entering(self, channels: Tensor, weight: Shape) -> Tensor:
        """``channels`` [c_in], in the order in which the op counts what it reads, as they meet each element of the weight:
        of a shape that broadcasts to ``weight``. Source: the op's own equation.
        """

    @abc.abstractmethod
    def reads(self, x: Shape, weight: Shape) -> int:
        """How many input channels the op counts: the input, as [-1, channels], has one of them in each column."""

    @abc.abstractmethod
    def is_uniform(self, weight: Shape) -> bool:
        """Whether channels that are constant over all positions give such channels: no position reads less than another."""


def no_integers(kind: OpKind) -> UnsupportedError:
    """The error of a kind whose integer kernel is not known to the last bit."""
    return UnsupportedError(f"the exact integer arithmetic of {kind.name} is not known")


def exact_float(largest: float) -> torch.dtype:
    """The float type in which sums of integers stay exact, whatever their order, if none exceeds ``largest``."""
    return torch.float32 if largest <= 2**24 else torch.float64


def move(kind: OpKind, call: Call) -> tuple[Tensor, ...]:
    """``kind.compute`` on ``q - zero_point``: exact where it only moves or picks numbers (8 bits fit float32)."""
    if kind.unfused()[1] != "none":
        raise UnsupportedError(f"integer kernels of {kind.name} take no fused activation")
    given = [
        x if x is None or not isinstance(f, Affine) else centered(x, f).to(torch.float32)
        for x, f in zip(call.inputs, call.formats, strict=True)
    ]
    made = zip(as_tuple(kind.compute(*given)), call.outs, strict=True)
    return tuple(y if isinstance(out, Index) else (y + affine(out).zero_point[0]).to(storage(out.dtype)) for y, out in made)


def accumulate(kind: WeightedKind, call: Call) -> tuple[Tensor, Affine, Affine]:
    """The sums of a weighted op, bias included, as int32 or int64 holds them, with the formats of its input and weight.

    Without its activation, its float meaning on ``q - zero_point`` gives the sums, exactly.
    """
    weight = kind.weight
    fw, w = call.format(weight.input), call.tensor(weight.input)
    at = weight.data(call.formats)
    if at is None:
        raise TypeError(f"{kind.name} reads no activations")
    x = call.centered(at)
    kernel = w.to(torch.int64) - _along(fw.zero_point, fw.axis, w)
    channels = kernel.abs().movedim(weight.axis, 0).flatten(1).sum(1)
    dtype = exact_float(float(channels.max()) * float(x.abs().max()))
    given = list(call.inputs[: weight.bias])
    given[weight.input], given[at] = kernel.to(dtype), x.to(dtype)
    acc = as_tuple(kind.plain.compute(*given))[0].to(torch.int64)
    bias = call.inputs[weight.bias] if weight.bias < len(call.inputs) else None
    total = acc if bias is None else acc + bias.reshape(-1).to(torch.int64)
    return total if call.is_wide else wrap(total), call.format(at), fw


def _along(values: tuple[int, ...], axis: int | None, like: Tensor) -> Tensor:
    shape = [1] * like.dim()
    if axis is not None:
        shape[axis] = -1
    return torch.tensor(values, device=like.device).reshape(shape)


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Zeros before and after so that the output has ceil(size / stride) elements; the odd one goes after.

    Worked: size 32, kernel 3, stride 2 -> (0, 1). Source: LiteRT kernels/padding.h.
    """
    if min(kernel, stride, dilation) < 1:
        raise ModelError(f"a window of {kernel} in steps of {stride}, {dilation} apart")
    total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2
