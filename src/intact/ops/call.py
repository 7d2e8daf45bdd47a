"""What an op is called with: its operands, as numbers or as stored integers, and the activation that is fused into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Final, Literal, TypeAlias, final

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import _disable_current_modes

from intact.annotations import Ints, Values
from intact.errors import ModelError, UnsupportedError
from intact.numbers.affine import Affine, Format
from intact.numbers.arithmetic import Arithmetic, Output, centered

Shape: TypeAlias = tuple[int, ...]

Activation: TypeAlias = Literal["none", "relu", "relu6", "relu_n1_to_1", "relu_0_to_1", "tanh"]

#: The clamp that each fused activation is; None where it is not a clamp.
CLAMPS: Final[Mapping[str, tuple[float, float] | None]] = {
    "none": (float("-inf"), float("inf")),
    "relu": (0.0, float("inf")),
    "relu6": (0.0, 6.0),
    "relu_n1_to_1": (-1.0, 1.0),
    "relu_0_to_1": (0.0, 1.0),
    "tanh": None,
}

#: Elements of the largest tensor that a network may make: a gibibyte of real numbers.
LARGEST: Final = 1 << 28
#: More axes than these no tensor has, and more numbers no list of sizes.
_MOST_SIZES: Final = 1 << 12


@final
@dataclass(frozen=True, eq=False)
class Call:
    """What an integer kernel is given: stored tensors with their formats, and the formats it must give."""

    inputs: tuple[Tensor | None, ...]
    formats: tuple[Format, ...]
    outs: tuple[Format, ...]
    arithmetic: Arithmetic

    def tensor(self, i: int) -> Tensor:
        return present(self.inputs[i], f"{i}")

    def format(self, i: int) -> Affine:
        return affine(self.formats[i])

    def output(self, activation: Activation = "none") -> Output:
        """The first output; UnsupportedError where the activation is more than a clamp."""
        clamp = CLAMPS[activation]
        if clamp is None:
            raise UnsupportedError(f"the exact integer arithmetic of a fused {activation} is not known")
        return Output(affine(self.outs[0]), clamp, self.is_wide)

    @property
    def is_wide(self) -> bool:
        """Whether sums have 64 bits: those of int16 activations, unless their bias has 32."""
        return sums_are_wide(self.formats, self.outs[0])

    def require_wide(self, kind: str) -> None:
        """Refuse an int32 bias where kernels of int16 activations read one of 64 bits."""
        if self.outs[0].dtype == "int16" and not self.is_wide:
            raise UnsupportedError(f"{kind} of int16 activations takes a bias of int64, and has one of int32")

    def centered(self, i: int) -> Ints[Tensor, "..."]:
        """``q - zero_point`` of one input in int64."""
        return centered(self.tensor(i), self.format(i))


def sums_are_wide(given: Sequence[Format], made: Format) -> bool:
    """Whether an op that reads ``given`` and makes ``made`` sums in 64 bits."""
    narrow = any(isinstance(fmt, Affine) and fmt.dtype == "int32" for fmt in given)
    return made.dtype == "int16" and not narrow


def affine(fmt: Format) -> Affine:
    """``fmt``, which must be integers that stand for real numbers; a mixture of float and integers is another kernel."""
    if not isinstance(fmt, Affine):
        raise UnsupportedError(f"the exact arithmetic of integers mixed with {fmt.dtype} is not known")
    return fmt


def activate(x: Values[Tensor, "*s"], activation: Activation) -> Values[Tensor, "*s"]:
    """Apply a fused activation to an op's own fresh result: in place unless gradients are wanted, which saves its memory."""
    if x.is_meta or activation == "none":  # shapes are asked for, and torch takes milliseconds to clamp nothing
        return x
    clamp = CLAMPS[activation]
    if clamp is None:
        return torch.tanh(x)
    low, high = clamp
    return F.hardtanh(x, low, high) if x.requires_grad else x.clamp_(low, high)


def present(x: Tensor | None, what: str) -> Tensor:
    """A required input; its absence is the file's fault."""
    if x is None:
        raise ModelError(f"required input {what} is left out")
    return x


@final
class Stated(Tensor):
    """Whole numbers without data, which only :func:`integers` reads: with them shapes follow, and nothing is computed."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]  # it makes plain tensors
    numbers: Tensor

    @classmethod
    def of(cls, x: Tensor) -> Tensor:
        """``x`` in this way; real numbers and bools by their shape alone."""
        bare = x.to("meta")
        if x.is_floating_point() or x.is_complex() or x.dtype == torch.bool:
            return bare
        made = bare.as_subclass(cls)
        made.numbers = x
        return made


def integers(x: Tensor | None, what: str, axes: int = 1, least: int = 1) -> tuple[int, ...]:
    """The values of an integer constant of ``least`` to ``axes`` axes, which say a shape or name axes.

    UnsupportedError when it is computed at run time.
    """
    x = present(x, what)
    if isinstance(x, Stated):
        with _disable_current_modes():  # where a network is traced these would be symbols
            return _listed(x.numbers, what, axes, least)
    return _listed(x, what, axes, least)


def _listed(x: Tensor, what: str, axes: int, least: int) -> tuple[int, ...]:
    if x.numel() > _MOST_SIZES or not least <= x.dim() <= axes:
        raise ModelError(f"{what} is a constant of shape {list(x.shape)}, which is no list of that")
    if x.is_meta or x.is_floating_point():
        raise UnsupportedError(f"{what} is computed at run time; only constant {what} can be quantized")
    return tuple(int(v) for v in x.reshape(-1).tolist())


def integer(x: Tensor | None, what: str) -> int:
    """The value of a constant that is one whole number."""
    values = integers(x, what, least=0)
    if len(values) != 1:
        raise ModelError(f"{what} of {len(values)} numbers, where one is meant")
    return values[0]


def bounded(shape: Shape) -> Shape:
    """``shape``, unless a tensor of it would be absurd (beyond LARGEST, or with a negative side): the file is corrupt then."""
    if min(shape, default=1) < 0 or prod(shape) > LARGEST:
        raise ModelError(f"a tensor of shape {list(shape)}")
    return shape


def bounded_for(x: Tensor, shape: Shape) -> None:
    """What is made of ``x`` is :func:`bounded`, as one sample has it: of numbers, which come many samples at a time, no longer.

    Shapes are inferred on tensors without data before anything is computed.
    """
    if x.is_meta:
        bounded(shape)


def as_tuple(result: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Outputs always as a tuple."""
    return result if isinstance(result, tuple) else (result,)
