"""What slides over images: how far a window reaches, which margin stands around the image, and how LiteRT spells both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from intact.errors import ModelError, UnsupportedError
from intact.formats.onnx.build import NONE, Builder, Order, Stored, Value
from intact.formats.onnx.call import Call
from intact.ops.base import Padding, same_padding
from intact.ops.shaping import Pad, PadV2

#: Orders in which images lie for our ops, by how many dimensions a window slides along: of signals, images and volumes.
LAST: Final[dict[int, Order]] = {1: (0, NONE, 2, 1), 2: (0, 2, 3, 1), 3: (0, 2, 3, 4, 1)}
#: The lowest number: a margin that never wins.
LOWEST: Final = np.asarray(np.finfo(np.float32).min, np.float32)
_MOST: Final = 1 << 20


@final
@dataclass(frozen=True)
class Window:
    """Sizes along each dimension: of the image, the kernel, the steps, the gaps, and the margin before and after.

    Signals have a height of 1. ``over``: what stands behind the margin where the output's size is rounded up.
    """

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    over: tuple[int, ...]

    @property
    def padding(self) -> Padding | None:
        """LiteRT's word for the margin; None where it has none."""
        before, after = self.before, tuple(a + o for a, o in zip(self.after, self.over, strict=True))
        if not any((*before, *after)):
            return "valid"
        same = [same_padding(*sizes) for sizes in zip(self.size, self.kernel, self.stride, self.dilation, strict=True)]
        return "same" if same == list(zip(before, after, strict=True)) else None

    @property
    def pair(self) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
        """Kernel, stride and dilation of an image."""
        (kh, kw), (sh, sw), (dh, dw) = self.kernel, self.stride, self.dilation
        return (kh, kw), (sh, sw), (dh, dw)

    def padded(self, build: Builder, x: Stored, value: np.ndarray | None = None) -> Stored:
        """Channels-last images with the margin around them: zeros, or ``value``."""
        ends = zip(self.before, (a + o for a, o in zip(self.after, self.over, strict=True)), strict=True)
        pads = np.asarray([(0, 0), *ends, (0, 0)], np.int32)
        return build.one(Pad(), x, pads) if value is None else build.one(PadV2(), x, pads, value)


def images(call: Call, v: Value) -> Value:
    """``v`` channels last, as our ops take it."""
    if v.rank - 2 not in LAST:
        raise UnsupportedError(f"its input has {v.rank} axes, and only signals, images and volumes of 3 to 5 can be read")
    return call.build.arranged(v, LAST[v.rank - 2])


def window(call: Call, v: Value, kernel: Sequence[int], *, ceil: bool = False) -> Window:
    """How the node's window slides over ``v``, by its attributes."""
    n = v.rank - 2
    stride, dilation = (_sizes(call, name, n, 1) for name in ("strides", "dilations"))
    size, kernel = v.shape[2:], tuple(kernel)
    if len(kernel) != n:
        raise ModelError(f"a kernel of shape {list(kernel)} over {n} dimensions")
    before, after = _margin(call, size, kernel, stride, dilation)
    over = [0] * n
    for i in range(n):
        reach = (kernel[i] - 1) * dilation[i] + 1
        room = size[i] + before[i] + after[i] - reach
        if room < 0:
            raise ModelError(f"a window of {reach} over {size[i]} elements with a margin of {before[i]} and {after[i]}")
        if ceil:
            count = -(-room // stride[i])
            count -= count * stride[i] >= size[i] + before[i]  # a window that begins behind the image is none
            over[i] = max(count * stride[i] - room, 0)
    front = (1,) * (n == 1)
    none = (0,) * (n == 1)
    return Window(
        (*front, *size), (*front, *kernel), (*front, *stride), (*front, *dilation), (*none, *before), (*none, *after),
        (*none, *over),
    )  # fmt: skip


def _sizes(call: Call, name: str, n: int, least: int) -> tuple[int, ...]:
    found = call.integers(name)
    found = (1,) * n if found is None else found
    if len(found) != n or min(found, default=least) < least or max(found, default=0) > _MOST:
        raise ModelError(f"its attribute {name!r} is {list(found)} over {n} dimensions")
    return found


def _margin(
    call: Call, size: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What stands before and after the image along each dimension."""
    n, auto = len(size), call.text("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        ends = [same_padding(*sizes) for sizes in zip(size, kernel, stride, dilation, strict=True)]
        ends = [(b, a) if auto == "SAME_UPPER" else (a, b) for b, a in ends]
        return tuple(b for b, _ in ends), tuple(a for _, a in ends)
    pads = (call.integers("pads") or (0,) * (2 * n)) if auto == "NOTSET" else (0,) * (2 * n)
    if len(pads) != 2 * n or min(pads, default=0) < 0 or max(pads, default=0) > _MOST:
        raise ModelError(f"its attribute 'pads' is {list(pads)} over {n} dimensions")
    return pads[:n], pads[n:]
