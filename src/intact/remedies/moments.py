"""Second moments of what an op sums, and the weights that are best by them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias, final

import numpy as np
import torch
from torch import Tensor

#: Rounds real weights in steps of their scale, one for each output channel, to what may be stored: [g, m] to [g, m].
Nearest: TypeAlias = Callable[[np.ndarray], np.ndarray]
#: What the weights [g, m] of a column may be stored as, in real numbers: of the column so many.
_Stored: TypeAlias = Callable[[np.ndarray, int], np.ndarray]

#: Inputs are taken to vary by this part of their mean variance besides, so that few samples do not move weights far.
_DAMPING: Final = 0.01
_SWEEPS: Final = 4
#: What changing so many weights of a channel does to the others is worked out at once.
_TOGETHER: Final = 64


@final
@dataclass(frozen=True, eq=False)
class Moments:
    """Second moments about the mean, or about 0, over many sums: of what is summed, ``h`` [g, k, k], of float's sums and that,
    ``c`` [g, m, k], and of float's sums, ``power`` [g, m].

    The op's output channels fall into g groups of m, each of which reads k numbers of its own at a time.
    """

    h: Tensor
    c: Tensor
    power: Tensor

    def with_more(self, other: Moments, part: float) -> Moments:
        """Of the sums of both, where those of ``other`` are this part of all."""
        mine = 1 - part
        return Moments(mine * self.h + part * other.h, mine * self.c + part * other.c, mine * self.power + part * other.power)

    def error(self, q: Tensor) -> Tensor:
        """``E[(y - q x)^2]``, [g, m], of weights ``q`` [g, m, k] in real numbers."""
        return self.power - 2 * (q * self.c).sum(-1) + ((q @ self.h) * q).sum(-1)


def compensated(moments: Moments, weight: Tensor, scale: Tensor, nearest: Nearest) -> Tensor:
    """The weights [g, m, k] in real numbers, each on its grid, that no change of a single one betters.

    ``weight`` [g, m, k] is what they are before they are rounded, ``scale`` [g, m, k] or [g, m, 1] what :data:`Nearest`
    counts in.
    """
    count = weight.shape[-1]
    steps = np.broadcast_to(_columns(scale), (count, *weight.shape[:2]))
    damping = _damping(moments.h)
    h = moments.h + damping * torch.eye(count, dtype=weight.dtype)
    c = moments.c + damping * weight

    def stored(column: np.ndarray, j: int) -> np.ndarray:
        rounded = nearest(column / steps[j])
        rounded *= steps[j]
        return rounded

    def cost(q: Tensor) -> Tensor:
        return ((q @ h - 2 * c) * q).sum(-1, keepdim=True)

    nearby = _together(np.stack([stored(column, j) for j, column in enumerate(_columns(weight))]))
    in_turn = _in_turn(h, c, stored)
    q = torch.where(cost(in_turn) < cost(nearby), in_turn, nearby)
    slope = q @ h - c
    for _ in range(_SWEEPS):
        before = q.clone()
        for start in range(0, count, _TOGETHER):
            some = slice(start, start + _TOGETHER)
            at_once = _columns(q[..., some]), _columns(slope[..., some]), _beside(h[:, some, some])
            now = _together(_one_by_one(*at_once, stored, start))
            slope += (now - q[..., some]) @ h[:, some]
            q[..., some] = now
        if torch.equal(q, before):
            break
    return q


def _one_by_one(q: np.ndarray, slope: np.ndarray, beside: np.ndarray, stored: _Stored, start: int) -> np.ndarray:
    """The columns ``q`` [k, g, m], of which the first is number ``start`` of all, one after the other at its best beside those
    before it; ``slope`` [k, g, m] follows.

    ``beside`` [k, k, g, 1]: what changing one column changes in the slopes of the others.
    """
    for j in range(len(q)):
        step = stored(q[j] - slope[j] / beside[j, j], start + j) - q[j]
        if step.any():
            q[j] += step
            slope[j + 1 :] += step * beside[j, j + 1 :]
    return q


def _columns(x: Tensor) -> np.ndarray:
    """A copy of [g, m, k] as [k, g, m], for numpy, which begins sooner than torch: a column is a small array."""
    return np.array(x.permute(2, 0, 1).numpy(), order="C")


def _together(columns: np.ndarray) -> Tensor:
    """The way back: [k, g, m] as [g, m, k]."""
    return torch.from_numpy(columns).permute(1, 2, 0).contiguous()


def _beside(h: Tensor) -> np.ndarray:
    """[g, i, j] as [i, j, g, 1], to be multiplied by columns [g, m]."""
    return np.array(h.permute(1, 2, 0).numpy()[..., None], order="C")


def _damping(h: Tensor) -> Tensor:
    """What to add to the diagonal of each ``h`` [g, k, k], [g, 1, 1]. Where inputs have a mean far beyond what they vary by,
    what is left when it is taken out may be no moments of anything: there it is as much as makes them some.
    """
    each = h.diagonal(dim1=1, dim2=2).mean(-1).clamp(min=1e-30)[:, None, None]
    damping, unit = _DAMPING * each, torch.eye(h.shape[-1], dtype=h.dtype)
    failed = torch.linalg.cholesky_ex(h + damping * unit)[1] > 0
    if not failed.any():
        return damping
    beyond = -torch.linalg.eigvalsh(h)[:, 0].clamp(max=0)[:, None, None]
    return torch.where(failed[:, None, None], damping + 2 * beyond, damping)


def _in_turn(h: Tensor, c: Tensor, stored: _Stored) -> Tensor:
    """The weights [g, m, k] one after the other, each time with the best real numbers for those that are left."""
    factor = torch.linalg.cholesky(torch.linalg.inv(h), upper=True)
    left = torch.linalg.solve(h, c.mT).mT.contiguous()
    q = torch.empty_like(left)
    for start in range(0, left.shape[-1], _TOGETHER):
        some, after = slice(start, start + _TOGETHER), slice(start + _TOGETHER, None)
        near, rows = _columns(left[..., some]), _beside(factor[:, some, some])
        rounded, off = np.empty_like(near), np.empty_like(near)
        for j in range(len(near)):
            rounded[j] = stored(near[j], start + j)
            off[j] = (near[j] - rounded[j]) / rows[j, j]
            near[j + 1 :] -= off[j] * rows[j, j + 1 :]
        q[..., some] = _together(rounded)
        left[..., after] -= _together(off) @ factor[:, some, after]
    return q


def by_table(table: Tensor) -> Nearest:
    """The nearest of the numbers in ``table``: [1, k] for all channels, or [c_out, k]."""
    between = (table[:, :-1] + table[:, 1:]) / 2

    def nearest(x: np.ndarray) -> np.ndarray:
        rows = torch.from_numpy(x.reshape(len(table), -1))
        return np.asarray(table.gather(1, torch.searchsorted(between, rows)).reshape(x.shape).numpy())

    return nearest
