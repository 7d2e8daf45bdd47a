"""Spatial resizing, NHWC; the second input holds (height, width).

Source of their integers: LiteRT kernels/internal/reference/resize_bilinear.h.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from intact.annotations import Floats
from intact.errors import ModelError
from intact.ops.base import Costless, Picks, RangeRule, SameAsInput
from intact.ops.call import Call, bounded_for, integers, present
from intact.ops.scales import Passed, averaged


def _positions(size: int, new: int, align_corners: bool, half_pixel: bool, device: torch.device) -> Floats[Tensor, "new"]:
    """Where each of the ``new`` output rows falls among ``size`` input rows. Source: LiteRT resize_bilinear.h."""
    scale = (size - 1) / (new - 1) if align_corners and new > 1 else size / new
    at = torch.arange(new, dtype=torch.float32, device=device)
    return (at + 0.5) * scale - 0.5 if half_pixel else at * scale


def _size(x: Tensor, given: Tensor | None) -> tuple[int, int]:
    """The height and width to resize images [n, h, w, c] to."""
    size = integers(given, "size")
    if x.dim() != 4 or len(size) != 2 or min(size) < 1 or min(x.shape[1:3]) < 1:
        raise ModelError(f"{list(x.shape)} cannot be resized to {list(size)}")
    bounded_for(x, (x.shape[0], *size, x.shape[3]))
    return size[0], size[1]


@final
@dataclass(frozen=True)
class ResizeBilinear(Costless):
    """Linear interpolation along height and width."""

    name: ClassVar[str] = "RESIZE_BILINEAR"
    takes: ClassVar[tuple[int, int]] = (2, 2)
    range_rule: ClassVar[RangeRule] = SameAsInput()
    align_corners: bool = False
    half_pixel_centers: bool = False

    def compute(self, *inputs: Tensor | None) -> Tensor:
        x = present(inputs[0], "x")
        height, width = _size(x, inputs[1])
        for axis, new in ((1, height), (2, width)):
            size = x.shape[axis]
            at = _positions(size, new, self.align_corners, self.half_pixel_centers, x.device).clamp(min=0.0)
            low = at.floor().long().clamp(max=size - 1)
            high = (low + 1).clamp(max=size - 1)
            shape = [1, 1, 1, 1]
            shape[axis] = new
            part = (at - low).reshape(shape)
            x = x.index_select(axis, low) * (1 - part) + x.index_select(axis, high) * part
        return x

    def passes(self, *marks: Tensor | None) -> Passed:
        return averaged(lambda m: self.compute(m, marks[1]), present(marks[0], "x"))

    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        x = call.tensor(0).to(torch.int64)
        for axis, new in zip((1, 2), integers(call.inputs[1], "size"), strict=True):
            low, high, part, whole = call.arithmetic.positions(x.shape[axis], new, self.align_corners, self.half_pixel_centers)
            part = part.reshape([-1 if a == axis else 1 for a in range(4)]).to(x.device)
            low, high = low.to(x.device), high.to(x.device)
            x = x.index_select(axis, low) * (whole - part) + x.index_select(axis, high) * part
        return (call.arithmetic.interpolated(x, call.output()),)


@final
@dataclass(frozen=True)
class ResizeNearestNeighbor(Picks):
    """The nearest element along height and width."""

    name: ClassVar[str] = "RESIZE_NEAREST_NEIGHBOR"
    takes: ClassVar[tuple[int, int]] = (2, 2)
    align_corners: bool = False
    half_pixel_centers: bool = False

    def compute(self, *inputs: Tensor | None) -> Tensor:
        x = present(inputs[0], "x")
        height, width = _size(x, inputs[1])
        for axis, new in ((1, height), (2, width)):
            size = x.shape[axis]
            scale = (size - 1) / (new - 1) if self.align_corners and new > 1 else size / new
            at = (torch.arange(new, dtype=torch.float32, device=x.device) + (0.5 if self.half_pixel_centers else 0.0)) * scale
            # Halves go away from zero, as the kernel's std::round does.
            index = ((at + 0.5).floor() if self.align_corners else at.floor()).long().clamp(0, size - 1)
            x = x.index_select(axis, index)
        return x

    def passes(self, *marks: Tensor | None) -> Passed:
        return (self.compute(*marks),)
