"""Ops that move numbers without computing any. Shapes, axes and paddings are integer constants among the inputs.

Sources of their integers: LiteRT kernels/concatenation.cc and shape.cc; the others move numbers as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, final

import torch
from torch import Tensor
from torch.nn import functional as F

from intact.errors import ModelError
from intact.ops.base import MANY, Activated, Counts, InPlace, Moves, Rearranges
from intact.ops.call import Activation, activate, bounded, bounded_for, integer, integers, present
from intact.ops.scales import Passed, unscaled

#: Tensors that one op may be taken apart into.
_MOST_PARTS: Final = 1 << 16


@final
@dataclass(frozen=True)
class Reshape(Rearranges):
    """The same numbers in another shape: the second input's, else ``new_shape``; one dimension may be -1."""

    name: ClassVar[str] = "RESHAPE"
    takes: ClassVar[tuple[int, int]] = (1, 2)
    in_place: ClassVar[InPlace | None] = "renames"
    new_shape: tuple[int, ...] | None = None

    def compute(self, *inputs: Tensor | None) -> Tensor:
        given = inputs[1] if len(inputs) > 1 else None
        shape = self.new_shape if given is None else integers(given, "shape")
        if shape is None:
            raise ModelError("no shape is given")
        return present(inputs[0], "x").reshape(shape)


@final
@dataclass(frozen=True)
class Transpose(Rearranges):
    """Axes in another order."""

    name: ClassVar[str] = "TRANSPOSE"
    takes: ClassVar[tuple[int, int]] = (2, 2)

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return present(inputs[0], "x").permute(integers(inputs[1], "permutation"))


@final
@dataclass(frozen=True)
class Squeeze(Rearranges):
    """Without axes of length 1: those named, or all."""

    name: ClassVar[str] = "SQUEEZE"
    in_place: ClassVar[InPlace | None] = "renames"
    axes: tuple[int, ...] = ()

    def compute(self, *inputs: Tensor | None) -> Tensor:
        x = present(inputs[0], "x")
        return x.squeeze(self.axes) if self.axes else x.squeeze()


@final
@dataclass(frozen=True)
class ExpandDims(Rearranges):
    """With one more axis of length 1."""

    name: ClassVar[str] = "EXPAND_DIMS"
    takes: ClassVar[tuple[int, int]] = (2, 2)
    in_place: ClassVar[InPlace | None] = "renames"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return present(inputs[0], "x").unsqueeze(integer(inputs[1], "axis"))


def _pads(inputs: tuple[Tensor | None, ...]) -> list[int]:
    """Paddings in torch's order, last axis first, from [rank, 2]."""
    x, pads = present(inputs[0], "x"), integers(inputs[1], "paddings", 2)
    if len(pads) != 2 * x.dim() or min(pads, default=0) < 0 or present(inputs[1], "paddings").dim() != 2:
        raise ModelError(f"paddings {list(pads)} do not fit rank {x.dim()}")
    bounded_for(x, tuple(n + before + after for n, before, after in zip(x.shape, pads[::2], pads[1::2], strict=True)))
    return [p for axis in range(x.dim() - 1, -1, -1) for p in pads[2 * axis : 2 * axis + 2]]


@final
@dataclass(frozen=True)
class Pad(Rearranges):
    """Zeros around; paddings [rank, 2]."""

    name: ClassVar[str] = "PAD"
    takes: ClassVar[tuple[int, int]] = (2, 2)

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return F.pad(present(inputs[0], "x"), _pads(inputs))


@final
@dataclass(frozen=True)
class PadV2(Moves):
    """A value, which is the third input, around."""

    name: ClassVar[str] = "PADV2"
    takes: ClassVar[tuple[int, int]] = (3, 3)

    def compute(self, *inputs: Tensor | None) -> Tensor:
        x, pads, value = present(inputs[0], "x"), _pads(inputs), present(inputs[2], "value")
        inside = F.pad(torch.ones_like(x, dtype=torch.bool), pads)
        return torch.where(inside, F.pad(x, pads), value.reshape(()))

    def passes(self, *marks: Tensor | None) -> Passed:
        return (self.compute(*marks),) if unscaled(marks[2]) else None


@final
@dataclass(frozen=True)
class MirrorPad(Rearranges):
    """The tensor's own values around, mirrored with (``symmetric``) or without the edge (``reflect``)."""

    name: ClassVar[str] = "MIRROR_PAD"
    takes: ClassVar[tuple[int, int]] = (2, 2)
    mode: Literal["reflect", "symmetric"] = "reflect"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        x = present(inputs[0], "x")
        pads = _pads(inputs)[::-1]
        edge = 1 if self.mode == "reflect" else 0
        for axis in range(x.dim()):
            after, before = pads[2 * axis], pads[2 * axis + 1]
            size = x.shape[axis]
            if max(before, after) > size - edge:
                raise ModelError(f"mirrored padding {before}, {after} is larger than axis {axis} of {size}")
            bounds = (before - 1 + edge, edge - 1, -1), (0, size, 1), (size - 1 - edge, size - 1 - edge - after, -1)
            x = x.index_select(axis, torch.cat([torch.arange(*part, device=x.device) for part in bounds]))
        return x


@final
@dataclass(frozen=True)
class Concatenation(Activated, Moves):
    """Tensors one after the other along ``axis``."""

    name: ClassVar[str] = "CONCATENATION"
    takes: ClassVar[tuple[int, int]] = (1, MANY)
    of_one_type: ClassVar[bool] = True
    joins: ClassVar[Literal["along", "stacked"] | None] = "along"
    axis: int = 0
    activation: Activation = "none"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return activate(torch.cat([present(x, "value") for x in inputs], self.axis), self.activation)

    def passes(self, *marks: Tensor | None) -> Passed:
        return (self.compute(*marks),) if self.is_homogeneous else None


@final
@dataclass(frozen=True)
class Pack(Rearranges):
    """Tensors stacked along a new ``axis``."""

    name: ClassVar[str] = "PACK"
    takes: ClassVar[tuple[int, int]] = (1, MANY)
    of_one_type: ClassVar[bool] = True
    joins: ClassVar[Literal["along", "stacked"] | None] = "stacked"
    axis: int = 0
    count: int = 0

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return torch.stack([present(x, "value") for x in inputs], self.axis)


@final
@dataclass(frozen=True)
class Unpack(Rearranges):
    """The slices along ``axis``, each a tensor."""

    name: ClassVar[str] = "UNPACK"
    axis: int = 0
    count: int = 0

    def compute(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        x = present(inputs[0], "x")
        if x.shape[self.axis] > _MOST_PARTS:
            raise ModelError(f"an axis of {x.shape[self.axis]:,} cannot be taken apart into as many tensors")
        return x.unbind(self.axis)


@final
@dataclass(frozen=True)
class Split(Rearranges):
    """``count`` equal parts along the axis in the first input."""

    name: ClassVar[str] = "SPLIT"
    takes: ClassVar[tuple[int, int]] = (2, 2)
    count: int = 1

    def compute(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        axis, x = integer(inputs[0], "axis"), present(inputs[1], "x")
        if not 0 < self.count <= _MOST_PARTS or x.shape[axis] % self.count:
            raise ModelError(f"{x.shape[axis]} elements cannot be split into {self.count} equal parts")
        return torch.split(x, x.shape[axis] // self.count, axis)


@final
@dataclass(frozen=True)
class SplitV(Rearranges):
    """Parts of the sizes in the second input along the axis in the third; one size may be -1."""

    name: ClassVar[str] = "SPLIT_V"
    takes: ClassVar[tuple[int, int]] = (3, 3)
    count: int = 1

    def compute(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        x, sizes, axis = present(inputs[0], "x"), list(integers(inputs[1], "sizes")), integer(inputs[2], "axis")
        if -1 in sizes:
            sizes[sizes.index(-1)] = x.shape[axis] - sum(s for s in sizes if s != -1)
        return torch.split(x, sizes, axis)


@final
@dataclass(frozen=True)
class Slice(Rearranges):
    """``x[begin : begin + size]`` along every axis; size -1: to the end."""

    name: ClassVar[str] = "SLICE"
    takes: ClassVar[tuple[int, int]] = (3, 3)

    def compute(self, *inputs: Tensor | None) -> Tensor:
        x, begins, sizes = present(inputs[0], "x"), integers(inputs[1], "begin"), integers(inputs[2], "size")
        if not len(begins) == len(sizes) == x.dim():
            raise ModelError(f"a slice from {list(begins)} of size {list(sizes)} does not fit rank {x.dim()}")
        for axis, (begin, size) in enumerate(zip(begins, sizes, strict=True)):
            x = x.narrow(axis, begin, x.shape[axis] - begin if size == -1 else size)
        return x


@final
@dataclass(frozen=True)
class StridedSlice(Rearranges):
    """``x[begin:end:strides]``; the bits of the masks say, axis by axis, which bounds are left open or axes dropped.

    An entry may also stand for all axes that no other names (``ellipsis_mask``) or for a new one (``new_axis_mask``).
    """

    name: ClassVar[str] = "STRIDED_SLICE"
    takes: ClassVar[tuple[int, int]] = (4, 4)
    begin_mask: int = 0
    end_mask: int = 0
    ellipsis_mask: int = 0
    new_axis_mask: int = 0
    shrink_axis_mask: int = 0

    def compute(self, *inputs: Tensor | None) -> Tensor:
        x = present(inputs[0], "x")
        given = (integers(inputs[1], "begin"), integers(inputs[2], "end"), integers(inputs[3], "strides"))
        if len({len(part) for part in given}) != 1:
            raise ModelError("a slice whose begin, end and strides name different numbers of axes")
        plain, entries, added = self.in_full(x.dim(), list(zip(*given, strict=True)))
        if len(entries) > x.dim():
            raise ModelError(f"a slice of {len(entries)} axes does not fit rank {x.dim()}")
        dropped = []
        for axis, (begin, end, step) in enumerate(entries):
            bit, size = 1 << axis, x.shape[axis]
            if step == 0:
                raise ModelError("a slice with stride 0")
            if plain.shrink_axis_mask & bit:
                picked = range(size)[begin : begin + 1] if begin != -1 else range(size)[-1:]
                dropped.append(axis)
            else:
                picked = range(size)[
                    slice(None if plain.begin_mask & bit else begin, None if plain.end_mask & bit else end, step)
                ]
            if len(picked) != size or step != 1:
                x = x.index_select(axis, torch.arange(len(picked), device=x.device) * picked.step + picked.start)
        x = x.squeeze(tuple(dropped)) if dropped else x
        for place in added:
            x = x.unsqueeze(place)
        return x

    def in_full(
        self, rank: int, entries: Sequence[tuple[int, int, int]]
    ) -> tuple[StridedSlice, list[tuple[int, int, int]], tuple[int, ...]]:
        """The same with an entry for each of the input's first axes and none for another: its options and (begin, end, stride)
        entries; and the axes of the output that are new."""
        named = sum(not (self.ellipsis_mask | self.new_axis_mask) >> n & 1 for n in range(len(entries)))
        full, added, begins, ends, shrunk = list[tuple[int, int, int]](), list[int](), 0, 0, 0
        for n, entry in enumerate(entries):
            if self.ellipsis_mask >> n & 1:  # all axes that no other entry names
                for _ in range(rank - named):
                    begins, ends = begins | 1 << len(full), ends | 1 << len(full)
                    full.append((0, 0, 1))
            elif self.new_axis_mask >> n & 1:
                added.append(len(full) - shrunk.bit_count() + len(added))
            else:
                begins |= (self.begin_mask >> n & 1) << len(full)
                ends |= (self.end_mask >> n & 1) << len(full)
                shrunk |= (self.shrink_axis_mask >> n & 1) << len(full)
                full.append(entry)
        return StridedSlice(begins, ends, shrink_axis_mask=shrunk), full, tuple(added)


@final
@dataclass(frozen=True)
class Gather(Rearranges):
    """The slices of x along ``axis`` at the indices in the second input."""

    name: ClassVar[str] = "GATHER"
    takes: ClassVar[tuple[int, int]] = (2, 2)
    axis: int = 0
    batch_dims: int = 0

    def compute(self, *inputs: Tensor | None) -> Tensor:
        x, index = present(inputs[0], "x"), present(inputs[1], "indices")
        axis = self.axis % max(x.dim(), 1)
        if self.batch_dims:
            batch = self.batch_dims + (index.dim() if self.batch_dims < 0 else 0)
            return _gather_in_batches(x, index.to(device=x.device, dtype=torch.int64), axis, batch)
        flat = x.index_select(axis, index.reshape(-1).to(device=x.device, dtype=torch.int64))
        return flat.reshape((*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]))


def _gather_in_batches(x: Tensor, index: Tensor, axis: int, batch: int) -> Tensor:
    """``y[b..., m..., k..., r...] = x[b..., m..., index[b..., k...], r...]`` with batch dimensions b, and axis after m."""
    lead, middle, picked = x.shape[:batch], x.shape[batch:axis], index.shape[batch:]
    rows = x.movedim(axis, batch).flatten(batch + 1) if x.dim() > batch + 1 else x.unsqueeze(-1)
    flat = index.reshape(*lead, -1, 1)
    y = rows.gather(batch, flat.expand(*flat.shape[:-1], rows.shape[-1]))
    y = y.reshape(*lead, *picked, *middle, *x.shape[axis + 1 :])
    return y.permute(
        *range(batch),
        *(batch + len(picked) + a for a in range(len(middle))),
        *(batch + a for a in range(len(picked))),
        *range(batch + len(picked) + len(middle), y.dim()),
    )


@final
@dataclass(frozen=True)
class Tile(Rearranges):
    """x repeated along every axis."""

    name: ClassVar[str] = "TILE"
    takes: ClassVar[tuple[int, int]] = (2, 2)

    def compute(self, *inputs: Tensor | None) -> Tensor:
        x, times = present(inputs[0], "x"), integers(inputs[1], "multiples", 2)
        if len(times) != x.dim():
            raise ModelError(f"multiples {list(times)} do not fit rank {x.dim()}")
        bounded_for(x, tuple(n * t for n, t in zip(x.shape, times, strict=True)))
        return x.repeat(times)


@final
@dataclass(frozen=True)
class BroadcastTo(Rearranges):
    """x repeated to a shape that it broadcasts to."""

    name: ClassVar[str] = "BROADCAST_TO"
    takes: ClassVar[tuple[int, int]] = (2, 2)

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return present(inputs[0], "x").broadcast_to(bounded(integers(inputs[1], "shape")))


@final
@dataclass(frozen=True)
class ReverseV2(Rearranges):
    """x backwards along the axes in the second input."""

    name: ClassVar[str] = "REVERSE_V2"
    takes: ClassVar[tuple[int, int]] = (2, 2)

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return present(inputs[0], "x").flip(integers(inputs[1], "axes", least=0))


@final
@dataclass(frozen=True)
class ShapeOf(Counts):
    """The shape of x as integers."""

    name: ClassVar[str] = "SHAPE"
    of_shapes: ClassVar[bool] = True
    dtype: str = "int32"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return torch.tensor(tuple(present(inputs[0], "x").shape), dtype=getattr(torch, self.dtype))
