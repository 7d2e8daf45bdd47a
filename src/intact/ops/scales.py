"""Scales per element and where ops take them: marks, and how they meet.

A mark is a number that names a positive scale: every element of a tensor carries one. Marks are what makes "channel 3 of this
convolution" mean the same after a TRANSPOSE, a RESHAPE, a CONCATENATION: they are moved by the op itself, on numbers, rather
than told from sizes. An op kind says by :meth:`~intact.ops.base.OpKind.passes` which marks its output carries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import numpy as np
import torch
from torch import Tensor

from intact.annotations import Floats

#: The mark of an element that is zero or infinite: any scale leaves it as it is.
ANY: Final = 0.0
#: The mark of an element that has no scale of its own. Others count on from here.
ONE: Final = 1.0

#: A mark for each element of a tensor.
Marks: TypeAlias = Floats[Tensor, "..."]
#: The marks of an op's outputs; None where no scale passes.
Passed: TypeAlias = tuple[Tensor, ...] | None

_BEYOND: Final = 2.0**40


def constant_marks(data: Floats[Tensor, "*s"]) -> Marks:
    """The marks of a float constant: it cannot be scaled, save where it is zero or infinite."""
    return torch.where((data == 0) | torch.isinf(data), ANY, ONE).to(torch.float64)


def alike(*marks: Marks) -> Passed:
    """Elements that are added, compared or chosen among: all have to carry one scale."""
    first, *others = _broadcast(*marks)
    for other in others:
        if bool(((first != other) & (first != ANY) & (other != ANY)).any()):
            return None
        first = torch.where(first == ANY, other, first)
    return (first,)


def times(a: Floats[Tensor, "*#s"], b: Floats[Tensor, "*#s"]) -> Passed:
    """Elements that are multiplied: one of the two may carry a scale."""
    a, b = _broadcast(a, b)
    if bool(((a > ONE) & (b > ONE)).any()):
        return None
    return (torch.where((a == ANY) | (b == ANY), ANY, torch.maximum(a, b)),)


def _broadcast(*marks: Tensor) -> tuple[Tensor, ...]:
    shape = np.broadcast_shapes(*(tuple(m.shape) for m in marks))
    return tuple(m.broadcast_to(shape) for m in marks)


def unscaled(marks: Marks | None) -> bool:
    """Whether no element carries a scale of its own."""
    return marks is None or not bool((marks > ONE).any())


def averaged(mean: Callable[[Tensor], Tensor], marks: Marks) -> Passed:
    """Weighted sums of elements with weights of one sign: all that are summed have to carry one scale.

    With ``E`` the weighted mean over the elements that are not zero, ``E[m^2] = E[m]^2`` only where all m are alike.
    """
    weight = mean((marks != ANY).to(torch.float64))
    some = weight != 0
    whole = torch.where(some, weight, 1.0)
    first, second = mean(marks) / whole, mean(marks.square()) / whole
    if bool(((second - first.square()).abs() > 1e-9 * second).any()):
        return None
    return (torch.where(some, first.round(), ANY),)


def picked(pick: Callable[[Tensor], Tensor], marks: Marks) -> Passed:
    """The largest or smallest of some elements: all of them have to carry one scale."""
    low = torch.where(marks == ANY, _BEYOND, marks)
    highest = torch.maximum(pick(marks), -pick(-marks))
    lowest = torch.minimum(pick(low), -pick(-low))
    if bool(((highest != lowest) & (highest != ANY)).any()):
        return None
    return (highest,)


def homogeneous(clamps: Mapping[str, tuple[float, float] | None], activation: str) -> bool:
    """Whether ``f(s x) = s f(x)`` for every s > 0: a clamp at nothing but zero and infinity."""
    clamp = clamps[activation]
    return clamp is not None and all(end in (0.0, float("inf"), float("-inf")) for end in clamp)
