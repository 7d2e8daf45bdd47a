"""Rounding that lets gradients through, and gives its step size one.

Source: the straight-through estimator, Bengio et al. 2013 (arXiv 1308.3432), section 3; the gradient of a step size, Esser
et al. 2020, Learned Step Size Quantization (arXiv 1902.08153), equation 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import torch
from torch import Tensor

#: Steps in a range from which on rounding errors are small beside the numbers: 16 bits.
_FINE: Final = 1 << 10


@final
@dataclass(frozen=True)
class Made:
    """How a tensor was made, so that less of it is kept for the way back.

    ``clamp``: the ends of a fused activation that is still to be done; ``remake``, if given, makes the tensor again of
    ``operands``, which are kept anyway.
    """

    clamp: tuple[float, float] | None = None
    remake: Callable[..., Tensor] | None = None
    operands: tuple[Tensor | None, ...] = ()


KEPT: Final = Made()


@final
class _FakeQuantize(torch.autograd.Function):
    """``s * clamp(round(x / s), low, high)``, with integers in_units from the zero point, of x clamped as ``made`` says.

    Gradients: to x, 1 inside the range and 0 outside; to s, ``y/s - x/s`` inside (the rounding error) and the bound outside.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, s: Tensor, ends: tuple[float, float], made: Made, *operands: Tensor) -> Tensor:
        y = torch.div(x, s) if made.clamp is None else x.clamp(*made.clamp).div_(s)
        y.round_().clamp_(*ends).mul_(s)
        ctx.save_for_backward(s, y, *(operands if made.remake else (x,)))
        ctx.ends, ctx.clamp, ctx.remake = (ends[0] - 0.5, ends[1] + 0.5), made.clamp, made.remake
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        s, y, *kept = ctx.saved_tensors
        x = ctx.remake(*kept) if ctx.remake else kept[0]
        if s.dim() == 0:
            # Few passes over memory: this is done to every activation, and costs as much as the convolutions.
            low, high = (float(s) * end for end in ctx.ends)
            clamp = ctx.clamp
            if clamp is not None and clamp[0] == 0 and low < 0 and clamp[1] > high:
                low, clamp = 0.0, None  # RELU: what it stops is 0, and has no part in any sum
            elif clamp is not None:
                unclamped, x = x, x.clamp(*clamp)
            through = torch.ops.aten.hardtanh_backward(grad, x, low, high)
            if high - low > _FINE * float(s):
                # y and x are nearly alike: two sums of them would cancel.
                to_scale = torch.addcmul(grad * y, through, x, value=-1).sum()
            else:
                to_scale = torch.dot(grad.reshape(-1), y.reshape(-1)) - torch.dot(through.reshape(-1), x.reshape(-1))
            if clamp is not None:
                through = torch.ops.aten.hardtanh_backward(through, unclamped, *clamp)
        else:
            ratio, axes = x / s, [axis for axis in range(x.dim()) if s.shape[axis] == 1]
            through = grad * ((ratio > ctx.ends[0]) & (ratio < ctx.ends[1]))
            to_scale = grad * y - through * x
            to_scale = to_scale.sum(axes, keepdim=True) if axes else to_scale  # torch sums all axes where none is named
        return through, to_scale / s, *[None] * (len(ctx.needs_input_grad) - 2)


def fake_quantize(x: Tensor, scale: Tensor, ends: tuple[int, int], made: Made = KEPT) -> Tensor:
    """``x`` in steps of ``scale``, which broadcasts, from the first of ``ends`` to the other, in_units from the zero point."""
    low, high = ends
    rounded: Tensor = _FakeQuantize.apply(x, scale, (float(low), float(high)), made, *made.operands)  # type: ignore[no-untyped-call]
    return rounded


@final
class _FakeCluster(torch.autograd.Function):
    """``s * table[t][index]`` with the index of what is nearest to x / s, the lower of two as near.

    Gradients: to x, 1; to s, ``y/s - x/s``; to a table's number, the sum of those of what is stored by it, in steps of s.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, s: Tensor, table: Tensor, axis: int | None) -> Tensor:
        ratio = x / s
        rows = _rows(ratio, axis)
        index = torch.searchsorted((table[:, :-1] + table[:, 1:]) / 2, rows)
        q = _back(table.gather(1, index), ratio, axis)
        ctx.save_for_backward(s, q - ratio, index)
        ctx.axis, ctx.size = axis, table.shape
        return q * s

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        s, off, index = ctx.saved_tensors
        axes = [axis for axis in range(off.dim()) if s.dim() == 0 or s.shape[axis] == 1]
        to_scale = (grad * off).sum(axes, keepdim=s.dim() > 0)
        to_table = torch.zeros(ctx.size, device=grad.device, dtype=grad.dtype)
        to_table.scatter_add_(1, index, _rows(grad * s, ctx.axis))
        return grad, to_scale, to_table, None


def _rows(x: Tensor, axis: int | None) -> Tensor:
    return x.reshape(1, -1) if axis is None else x.movedim(axis, 0).reshape(x.shape[axis], -1).contiguous()


def _back(rows: Tensor, like: Tensor, axis: int | None) -> Tensor:
    return rows.reshape(like.shape) if axis is None else rows.reshape(like.movedim(axis, 0).shape).movedim(0, axis)


def fake_cluster(x: Tensor, scale: Tensor, table: Tensor, axis: int | None) -> Tensor:
    """``x`` in steps of ``scale``, which broadcasts, as the nearest of ``table`` [t, k], in order, with t along ``axis``."""
    made: Tensor = _FakeCluster.apply(x, scale, table, axis)  # type: ignore[no-untyped-call]
    return made


def around(x: Tensor, table: Tensor, axis: int | None) -> tuple[Tensor, Tensor]:
    """The numbers of ``table`` below and above each of ``x``, of its shape; both the outermost for what is beyond it."""
    at = torch.searchsorted(table, _rows(x, axis), right=True)
    low, high = ((at + side).clamp(0, table.shape[1] - 1) for side in (-1, 0))
    return _back(table.gather(1, low), x, axis), _back(table.gather(1, high), x, axis)


def whole(table: Tensor, highest: int) -> Tensor:
    """The whole numbers nearest to those of ``table`` [t, k], in order; gradients pass."""
    ordered = table.sort(1).values
    return ordered + (ordered.round().clamp(-highest, highest) - ordered).detach()


def in_units(bias: Tensor, steps: Sequence[Tensor]) -> Tensor:
    """``bias`` in whole units of ``scale_in * scale_weight[c]``; gradients pass to the bias, and none to the scales."""
    unit = (steps[0] * steps[1]).detach()
    return bias + (torch.round(bias / unit) * unit - bias).detach()
