"""What an op makes of what is known before any sample is: shapes of everything, and the values of whole numbers.

All of it may stem from a hostile file. Nothing is computed before its size is known, and whatever torch raises is a sentence.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Final, final

import torch
from torch import Tensor

from intact.errors import ModelError
from intact.ops.base import Maps, OpKind
from intact.ops.call import Shape, Stated, as_tuple

#: What torch and Python raise for operands that do not fit.
_UNFIT: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    StopIteration,
    TypeError,
    ValueError,
)

#: Elements that are computed at once: to ask for the shape first takes longer.
_LITTLE: Final = 1 << 12
#: Answers that are kept, and whole numbers that one may have been given by.
_KEPT: Final = 4096
_FEW: Final = 64


@final
class Allowance:
    """How many whole numbers may still be computed; what asks for more is left unknown."""

    def __init__(self, numbers: int = 1 << 24) -> None:
        self.left = numbers

    def grants(self, shapes: Sequence[Shape]) -> bool:
        """Whether tensors of these shapes are within it, which then shrinks by them."""
        count = sum(map(prod, shapes))
        if count > self.left:
            return False
        self.left -= count
        return True


def infer_shapes(kind: OpKind, inputs: Sequence[Tensor | None]) -> tuple[Shape, ...]:
    """Output shapes, by computing on tensors without data. Whole numbers among the inputs say shapes and axes.

    Raises ModelError when the inputs do not fit.
    """
    return tuple(tuple(y.shape) for y in without_data(kind, inputs))


def known_values(kind: OpKind, inputs: Sequence[Tensor | None], allowance: Allowance) -> tuple[Tensor, ...] | None:
    """What ``kind`` makes of known whole numbers; None where that would be much to compute, or they are weights.

    Raises ModelError when the inputs do not fit.
    """
    if not (_is_elementwise(kind) and prod(x.numel() for x in inputs if x is not None) <= _LITTLE):
        shapes = infer_shapes(kind, inputs)
        given = [() if x is None else tuple(x.shape) for x in inputs]
        if kind.macs(given, shapes[0]) or not allowance.grants(shapes):
            return None
    with _in_words(inputs), torch.no_grad():
        return as_tuple(kind.compute(*inputs))


def _is_elementwise(kind: OpKind) -> bool:
    """Whether nothing that it makes has more elements than its operands broadcast to."""
    return kind.combines is not None or isinstance(kind, Maps)


def without_data(kind: OpKind, inputs: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
    """The outputs by their shapes and types, as :func:`infer_shapes` finds them.

    Kept for the next op like this one: networks repeat their ops, and are looked at after every change of a plan.
    """
    key = None if kind.unknown else tuple(map(_key, inputs))
    with _in_words(inputs), torch.no_grad():
        return _computed(kind, inputs) if key is None or _LONG in key else _remembered(kind, key)


@final
@dataclass(frozen=True)
class _Like:
    """What shapes follow from: a tensor's shape and type, and its numbers where they may say sizes or axes."""

    shape: Shape
    dtype: torch.dtype
    numbers: bytes | None = None

    def tensor(self) -> Tensor:
        if self.numbers is None:
            return torch.empty(self.shape, dtype=self.dtype, device="meta")
        return Stated.of(torch.frombuffer(bytearray(self.numbers), dtype=self.dtype).reshape(self.shape))


#: In place of numbers that are too many to be looked up by.
_LONG: Final = _Like((), torch.bool)


def _like(x: Tensor | None) -> _Like | None:
    return None if x is None else _Like(tuple(x.shape), x.dtype)


def _key(x: Tensor | None) -> _Like | None:
    if x is None or x.is_meta:
        return _like(x)
    if x.is_floating_point() or not 0 < x.numel() <= _FEW:
        return _LONG
    return _Like(tuple(x.shape), x.dtype, x.contiguous().numpy().tobytes())


@functools.lru_cache(maxsize=_KEPT)
def _remembered(kind: OpKind, inputs: tuple[_Like | None, ...]) -> tuple[Tensor, ...]:
    return _computed(kind, [None if like is None else like.tensor() for like in inputs])


def _computed(kind: OpKind, inputs: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
    if kind.combines not in {None, "choice"} and len(inputs) == 2 and _like(inputs[0]) == _like(inputs[1]):
        first = inputs[0]
        if first is not None and first.is_meta and first.is_floating_point():
            return (first,)  # numbers of one shape make as many, and torch would load its compiler, seconds, to say so
    return as_tuple(kind.compute(*(None if x is None else x if x.is_meta else Stated.of(x) for x in inputs)))


@contextmanager
def _in_words(inputs: Sequence[Tensor | None]) -> Iterator[None]:
    try:
        yield
    except _UNFIT as error:
        shapes = ", ".join("-" if x is None else str(list(x.shape)) for x in inputs)
        raise ModelError(f"inputs of shape {shapes} do not fit ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    if isinstance(error, ZeroDivisionError):
        return "a size or a step is 0"
    first = str(error).partition("\n")[0]
    return (
        "too few axes or operands" if "index out of range" in first or "to unpack" in first else first or type(error).__name__
    )
