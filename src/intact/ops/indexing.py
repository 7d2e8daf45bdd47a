"""Ops that pick or place numbers by whole-number indices, or make tensors from shapes.

Sources of their integers: LiteRT kernels/topk_v2.cc and rank.cc.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar, final

import torch
from torch import Tensor

from intact.errors import ModelError
from intact.ops.base import Counts, FloatOnly, InPlace, Moves, Rearranges
from intact.ops.call import bounded, bounded_for, integer, integers, present
from intact.ops.scales import ONE, Passed, picked


@final
@dataclass(frozen=True)
class EmbeddingLookup(Rearranges):
    """The rows of the table [v, ...], which is the second input, at the ids [n] in the first."""

    name: ClassVar[str] = "EMBEDDING_LOOKUP"
    takes: ClassVar[tuple[int, int]] = (2, 2)

    def compute(self, *inputs: Tensor | None) -> Tensor:
        ids, table = present(inputs[0], "ids"), present(inputs[1], "table")
        return table.index_select(0, ids.reshape(-1).to(device=table.device, dtype=torch.int64))


@final
@dataclass(frozen=True)
class GatherNd(Rearranges):
    """``y[i...] = x[index[i..., :]]``: the last axis of the indices, the second input, counts the first axes of x."""

    name: ClassVar[str] = "GATHER_ND"
    takes: ClassVar[tuple[int, int]] = (2, 2)

    def compute(self, *inputs: Tensor | None) -> Tensor:
        x, index = present(inputs[0], "x"), present(inputs[1], "indices")
        depth = index.shape[-1]
        flat = x.reshape(prod(x.shape[:depth]), *x.shape[depth:]).index_select(0, _rows(index, x.shape[:depth], x.device))
        return flat.reshape(*index.shape[:-1], *x.shape[depth:])


@final
@dataclass(frozen=True)
class ScatterNd(FloatOnly):
    """Zeros of the shape in the third input, to which the updates, the second, are added at the indices in the first."""

    name: ClassVar[str] = "SCATTER_ND"
    takes: ClassVar[tuple[int, int]] = (3, 3)

    def compute(self, *inputs: Tensor | None) -> Tensor:
        index, updates, shape = present(inputs[0], "indices"), present(inputs[1], "updates"), integers(inputs[2], "shape")
        bounded(shape)
        depth = index.shape[-1]
        zeros = torch.zeros(prod(shape[:depth]), *shape[depth:], dtype=updates.dtype, device=updates.device)
        rows = updates.reshape(-1, *shape[depth:])
        return zeros.index_add(0, _rows(index, shape[:depth], updates.device), rows).reshape(shape)


def _rows(index: Tensor, sizes: tuple[int, ...], device: torch.device) -> Tensor:
    """Indices [..., d] into axes of these sizes as numbers of rows, [prod(...)]."""
    if len(sizes) != index.shape[-1]:
        raise ModelError(f"indices of {index.shape[-1]} axes into {len(sizes)}")
    index = index.to(device=device, dtype=torch.int64).reshape(-1, len(sizes))
    if not index.is_meta and bool(((index < 0) | (index >= torch.tensor(sizes, device=device))).any()):
        raise ModelError(f"an index outside {list(sizes)}")
    steps = [prod(sizes[axis + 1 :]) for axis in range(len(sizes))]
    return (index * torch.tensor(steps, device=index.device)).sum(1)


@final
@dataclass(frozen=True)
class TopK(Moves):
    """The k largest along the last axis, largest first, and their indices; of equal ones the first comes first."""

    name: ClassVar[str] = "TOPK_V2"
    takes: ClassVar[tuple[int, int]] = (2, 2)

    def compute(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        x, k = present(inputs[0], "x"), integer(inputs[1], "k")
        values, order = torch.sort(x, dim=-1, descending=True, stable=True)
        if not 0 <= k <= x.shape[-1]:
            raise ModelError(f"the {k} largest of {x.shape[-1]}")
        return values[..., :k], order[..., :k].to(torch.int32)

    def passes(self, *marks: Tensor | None) -> Passed:
        one = picked(lambda m: m.amax(-1, keepdim=True), present(marks[0], "x"))
        k = integer(marks[1], "k")
        if one is None:
            return None
        mark = one[0].expand(*one[0].shape[:-1], k)
        return mark, torch.full_like(mark, ONE)


@final
@dataclass(frozen=True)
class OneHot(Rearranges):
    """The third input where the index, the first, counts along a new ``axis`` of the length in the second; else the fourth."""

    name: ClassVar[str] = "ONE_HOT"
    takes: ClassVar[tuple[int, int]] = (4, 4)
    axis: int = -1

    def compute(self, *inputs: Tensor | None) -> Tensor:
        index, depth = present(inputs[0], "indices"), integer(inputs[1], "depth")
        on, off = present(inputs[2], "on value").reshape(()), present(inputs[3], "off value").reshape(())
        axis = self.axis % (index.dim() + 1)
        bounded_for(index, (*index.shape[:axis], depth, *index.shape[axis:]))
        places = torch.arange(depth, device=index.device).reshape(-1, *[1] * (index.dim() - axis))
        hot = index.unsqueeze(axis) == places
        return torch.where(hot.to(on.device), on, off)


@final
@dataclass(frozen=True)
class Fill(Rearranges):
    """A tensor of the shape in the first input, full of the second."""

    name: ClassVar[str] = "FILL"
    takes: ClassVar[tuple[int, int]] = (2, 2)

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return present(inputs[1], "value").reshape(()).expand(bounded(integers(inputs[0], "shape"))).contiguous()


@final
@dataclass(frozen=True)
class ZerosLike(FloatOnly):
    """Zeros in the shape of x."""

    name: ClassVar[str] = "ZEROS_LIKE"
    in_place: ClassVar[InPlace | None] = "elements"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return torch.zeros_like(present(inputs[0], "x"))


@final
@dataclass(frozen=True)
class Range(FloatOnly):
    """Whole numbers from the first input up to, and without, the second in steps of the third."""

    name: ClassVar[str] = "RANGE"
    takes: ClassVar[tuple[int, int]] = (3, 3)

    def compute(self, *inputs: Tensor | None) -> Tensor:
        start, limit, step = (integer(x, "bound") for x in inputs)
        if step == 0:
            raise ModelError("a range in steps of 0")
        bounded((len(range(start, limit, step)),))
        like = present(inputs[0], "start")
        return torch.arange(start, limit, step, dtype=like.dtype, device=like.device)


@final
@dataclass(frozen=True)
class Rank(Counts):
    """How many axes x has."""

    name: ClassVar[str] = "RANK"
    of_shapes: ClassVar[bool] = True

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return torch.tensor(present(inputs[0], "x").dim(), dtype=torch.int32)


@final
@dataclass(frozen=True)
class BroadcastArgs(FloatOnly):
    """The shape that two shapes broadcast to."""

    name: ClassVar[str] = "BROADCAST_ARGS"
    takes: ClassVar[tuple[int, int]] = (2, 2)

    def compute(self, *inputs: Tensor | None) -> Tensor:
        a, b = (torch.empty(bounded(integers(x, "shape")), device="meta") for x in inputs)
        return torch.tensor(tuple((a + b).shape), dtype=present(inputs[0], "shape").dtype)
