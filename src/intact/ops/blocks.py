"""Ops that move blocks of pixels into channels or into the batch, and back."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar, final

from torch import Tensor
from torch.nn import functional as F

from intact.errors import ModelError
from intact.ops.base import Rearranges
from intact.ops.call import bounded_for, integers, present


@final
@dataclass(frozen=True)
class DepthToSpace(Rearranges):
    """[n, h, w, c b b] to [n, h b, w b, c]: channels become a b x b block of pixels."""

    name: ClassVar[str] = "DEPTH_TO_SPACE"
    block_size: int = 2

    def compute(self, *inputs: Tensor | None) -> Tensor:
        x, b = present(inputs[0], "x"), self.block_size
        n, h, w, c = x.shape
        if b < 1 or c % (b * b):
            raise ModelError(f"{c} channels cannot be split into blocks of {b}")
        return x.reshape(n, h, w, b, b, c // (b * b)).permute(0, 1, 3, 2, 4, 5).reshape(n, h * b, w * b, c // (b * b))


@final
@dataclass(frozen=True)
class SpaceToDepth(Rearranges):
    """[n, h b, w b, c] to [n, h, w, c b b]: a b x b block of pixels becomes channels."""

    name: ClassVar[str] = "SPACE_TO_DEPTH"
    block_size: int = 2

    def compute(self, *inputs: Tensor | None) -> Tensor:
        x, b = present(inputs[0], "x"), self.block_size
        n, h, w, c = x.shape
        if b < 1 or h % b or w % b:
            raise ModelError(f"{h} x {w} pixels cannot be cut into blocks of {b}")
        return x.reshape(n, h // b, b, w // b, b, c).permute(0, 1, 3, 2, 4, 5).reshape(n, h // b, w // b, c * b * b)


def _by_axis(inputs: tuple[Tensor | None, ...]) -> bool:
    """Whether block sizes are [m] and what is put around or cut off [m, 2]."""
    return present(inputs[1], "block sizes").dim() == 1 and present(inputs[2], "paddings").dim() == 2


@final
@dataclass(frozen=True)
class SpaceToBatchNd(Rearranges):
    """[n, s..., c] to [n prod(b), (s + pads) / b..., c]: every b-th pixel becomes an image of its own.

    Inputs (x, block sizes b [m], pads [m, 2]). Image ``k n + i`` holds the pixels of image i at offset k within each block.
    """

    name: ClassVar[str] = "SPACE_TO_BATCH_ND"
    takes: ClassVar[tuple[int, int]] = (3, 3)

    def compute(self, *inputs: Tensor | None) -> Tensor:
        x, block, pads = present(inputs[0], "x"), integers(inputs[1], "block sizes"), integers(inputs[2], "paddings", 2)
        m, rest = len(block), x.shape[1 + len(block) :]
        padded = [size + before + after for size, before, after in zip(x.shape[1:], pads[::2], pads[1::2], strict=False)]
        if (
            len(pads) != 2 * m
            or min(pads, default=0) < 0
            or min(block, default=1) < 1
            or len(padded) != m
            or not _by_axis(inputs)
        ):
            raise ModelError(f"blocks {list(block)} and paddings {list(pads)} do not fit rank {x.dim()}")
        if any(size % b for size, b in zip(padded, block, strict=True)):
            raise ModelError(f"{padded} pixels cannot be cut into blocks of {list(block)}")
        bounded_for(x, (x.shape[0], *padded, *rest))
        x = F.pad(x, [0, 0] * len(rest) + [p for axis in range(m - 1, -1, -1) for p in pads[2 * axis : 2 * axis + 2]])
        cut = [part for size, b in zip(padded, block, strict=True) for part in (size // b, b)]
        order = [*(2 + 2 * a for a in range(m)), 0, *(1 + 2 * a for a in range(m)), *(1 + 2 * m + r for r in range(len(rest)))]
        whole = [size // b for size, b in zip(padded, block, strict=True)]
        return x.reshape(x.shape[0], *cut, *rest).permute(order).reshape(x.shape[0] * prod(block), *whole, *rest)


@final
@dataclass(frozen=True)
class BatchToSpaceNd(Rearranges):
    """The way back: [n prod(b), s..., c] to [n, s b - crops..., c]. Inputs (x, block sizes b [m], crops [m, 2])."""

    name: ClassVar[str] = "BATCH_TO_SPACE_ND"
    takes: ClassVar[tuple[int, int]] = (3, 3)

    def compute(self, *inputs: Tensor | None) -> Tensor:
        x, block, crops = present(inputs[0], "x"), integers(inputs[1], "block sizes"), integers(inputs[2], "crops", 2)
        m, rest = len(block), x.shape[1 + len(block) :]
        fits = len(crops) == 2 * m and min(crops, default=0) >= 0 and min(block, default=1) > 0 and _by_axis(inputs)
        if not fits or x.shape[0] % prod(block):
            raise ModelError(f"{x.shape[0]} images cannot be put together from blocks of {list(block)}")
        n, sizes = x.shape[0] // prod(block), x.shape[1 : 1 + m]
        order = [m, *(axis for a in range(m) for axis in (m + 1 + a, a)), *(2 * m + 1 + r for r in range(len(rest)))]
        whole = [size * b for size, b in zip(sizes, block, strict=True)]
        y = x.reshape(*block, n, *sizes, *rest).permute(order).reshape(n, *whole, *rest)
        for axis, size in enumerate(whole):
            before, after = crops[2 * axis : 2 * axis + 2]
            y = y.narrow(1 + axis, before, size - before - after)
        return y
