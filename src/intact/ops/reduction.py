"""Reductions over axes, given as an integer constant in the second input.

Sources of their integers: LiteRT kernels/reduce.cc and arg_min_max.cc.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import ClassVar, final

import torch
from torch import Tensor

from intact.ops.base import Costless, Counts, FloatOnly, Picks
from intact.ops.call import Call, integer, integers, present
from intact.ops.scales import Passed, averaged, picked


def _axes(inputs: tuple[Tensor | None, ...]) -> tuple[int, ...]:
    rank = present(inputs[0], "x").dim()
    return tuple(sorted({axis % rank if -rank <= axis < rank else axis for axis in integers(inputs[1], "axes", least=0)}))


def _reduced(reduce: Callable[[Tensor, int], Tensor], inputs: tuple[Tensor | None, ...]) -> Tensor:
    """One axis after the other, the last first."""
    return functools.reduce(reduce, reversed(_axes(inputs)), present(inputs[0], "x"))


def _total(call: Call, keep_dims: bool) -> tuple[Tensor, int]:
    """The sum of centered integers over the axes, and how many it sums."""
    x, axes = call.centered(0), _axes(call.inputs)
    return x.sum(axes, keepdim=keep_dims), prod(x.shape[axis] for axis in axes)


@final
@dataclass(frozen=True)
class Mean(Costless):
    """The mean over axes."""

    name: ClassVar[str] = "MEAN"
    takes: ClassVar[tuple[int, int]] = (2, 2)
    keep_dims: bool = False

    def compute(self, *inputs: Tensor | None) -> Tensor:
        x, axes = present(inputs[0], "x"), _axes(inputs)
        # Of no numbers the sum has the same shape, and torch loads no compiler for it.
        return x.sum(axes, keepdim=self.keep_dims) if x.is_meta else x.mean(axes, keepdim=self.keep_dims)

    def passes(self, *marks: Tensor | None) -> Passed:
        return averaged(lambda m: self.compute(m, marks[1]), present(marks[0], "x"))

    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        total, count = _total(call, self.keep_dims)
        return (call.arithmetic.mean(total, count, call.format(0), call.output()),)


@final
@dataclass(frozen=True)
class Sum(Costless):
    """The sum over axes."""

    name: ClassVar[str] = "SUM"
    takes: ClassVar[tuple[int, int]] = (2, 2)
    keep_dims: bool = False

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return present(inputs[0], "x").sum(_axes(inputs), keepdim=self.keep_dims)

    def passes(self, *marks: Tensor | None) -> Passed:
        return averaged(lambda m: self.compute(m, marks[1]), present(marks[0], "x"))

    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        total, count = _total(call, self.keep_dims)
        return (call.arithmetic.total(total, count, call.format(0), call.output()),)


@final
@dataclass(frozen=True)
class ReduceProd(FloatOnly):
    """The product over axes."""

    name: ClassVar[str] = "REDUCE_PROD"
    takes: ClassVar[tuple[int, int]] = (2, 2)
    keep_dims: bool = False

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return _reduced(lambda y, axis: y.prod(axis, keepdim=self.keep_dims, dtype=y.dtype), inputs)


@final
@dataclass(frozen=True)
class ReduceMax(Picks):
    """The largest over axes; it picks numbers, so input and output share one scale."""

    name: ClassVar[str] = "REDUCE_MAX"
    takes: ClassVar[tuple[int, int]] = (2, 2)
    keep_dims: bool = False

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return torch.amax(present(inputs[0], "x"), _axes(inputs), keepdim=self.keep_dims)

    def passes(self, *marks: Tensor | None) -> Passed:
        return picked(lambda m: self.compute(m, marks[1]), present(marks[0], "x"))


@final
@dataclass(frozen=True)
class ReduceMin(Picks):
    """The smallest over axes; it picks numbers, so input and output share one scale."""

    name: ClassVar[str] = "REDUCE_MIN"
    takes: ClassVar[tuple[int, int]] = (2, 2)
    keep_dims: bool = False

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return torch.amin(present(inputs[0], "x"), _axes(inputs), keepdim=self.keep_dims)

    def passes(self, *marks: Tensor | None) -> Passed:
        return picked(lambda m: self.compute(m, marks[1]), present(marks[0], "x"))


@final
@dataclass(frozen=True)
class ArgMin(Counts):
    """The index of the smallest along one axis, which the second input holds."""

    name: ClassVar[str] = "ARG_MIN"
    takes: ClassVar[tuple[int, int]] = (2, 2)
    dtype: str = "int64"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        axis = integer(inputs[1], "axis")
        return torch.argmin(present(inputs[0], "x"), axis).to(getattr(torch, self.dtype))


@final
@dataclass(frozen=True)
class ReduceAny(FloatOnly):
    """Whether any bool over axes is true."""

    name: ClassVar[str] = "REDUCE_ANY"
    takes: ClassVar[tuple[int, int]] = (2, 2)
    keep_dims: bool = False

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return _reduced(lambda y, axis: torch.any(y, axis, keepdim=self.keep_dims), inputs)


@final
@dataclass(frozen=True)
class ReduceAll(FloatOnly):
    """Whether every bool over axes is true."""

    name: ClassVar[str] = "REDUCE_ALL"
    takes: ClassVar[tuple[int, int]] = (2, 2)
    keep_dims: bool = False

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return _reduced(lambda y, axis: torch.all(y, axis, keepdim=self.keep_dims), inputs)


@final
@dataclass(frozen=True)
class Cumsum(FloatOnly):
    """Sums of all elements so far along the axis in the second input: without the element itself if ``exclusive``, from the
    end if ``reverse``."""

    name: ClassVar[str] = "CUMSUM"
    takes: ClassVar[tuple[int, int]] = (2, 2)
    exclusive: bool = False
    reverse: bool = False

    def compute(self, *inputs: Tensor | None) -> Tensor:
        x, axis = present(inputs[0], "x"), integer(inputs[1], "axis")
        x = x.flip(axis) if self.reverse else x
        if self.exclusive and x.shape[axis]:
            x = torch.cat([torch.zeros_like(x.narrow(axis, 0, 1)), x.narrow(axis, 0, x.shape[axis] - 1)], axis)
        y = torch.cumsum(x, axis, dtype=x.dtype)
        return y.flip(axis) if self.reverse else y


@final
@dataclass(frozen=True)
class ArgMax(Counts):
    """The index of the largest along one axis, which the second input holds."""

    name: ClassVar[str] = "ARG_MAX"
    takes: ClassVar[tuple[int, int]] = (2, 2)
    dtype: str = "int64"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        axis = integer(inputs[1], "axis")
        return torch.argmax(present(inputs[0], "x"), axis).to(getattr(torch, self.dtype))
