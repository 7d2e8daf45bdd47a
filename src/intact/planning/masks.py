"""Infinity and its like as neutral elements: what a max pool's margin and a softmax's mask hold is no value to store.

``softmax(scores + mask)`` with a mask of 0 and -inf, -1e4 or the lowest float: what is masked counts exactly zero, whatever
its value. So it needs no place in the range that a few hundred integers share. Integer kernels saturate, and the lowest
integer is as far below the largest score as ``REACH`` says, which makes the softmax's stored result exactly zero too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, final

import numpy as np
import torch

from intact.network.graph import Graph, Op, Tensor
from intact.planning.ranges import Range

#: An element this far below its row's largest is masked: exp(-40) = 4e-18, which float32 cannot add to 1.
_HIDDEN: Final = 40.0
#: What is masked is stored this far below its row's largest: exp(-12) = 6e-6 rounds to zero in int8's steps of 1/256, and
#: int16's kernel tells nothing below exp(-10) apart (LiteRT softmax.cc).
REACH: Final = 12.0
#: Front ends write minus infinity as this, too.
_LARGEST: Final = float(np.finfo(np.float32).max)
#: Integers in an 8-bit range: a mask's factor need be no larger than what takes one step of its input over the whole range.
_STEPS: Final = 255


@final
@dataclass(frozen=True, eq=False)
class Masks:
    """Where the masks of a float graph are."""

    graph: Graph

    @cached_property
    def scores(self) -> frozenset[int]:
        """Tensors that a softmax reads, itself or through ops that keep its rows, once a mask was added or chosen."""
        made_by, found = self.graph.producers(), set[int]()
        for op in self.graph.ops:
            if op.kind.softmax_factor() is None or op.inputs[0] is None:
                continue
            path = [op.inputs[0]]
            while (before := made_by.get(path[-1])) is not None and (x := self._moved(before)) is not None:
                path.append(x)
            if before is not None and before.kind.combines in ("sum", "choice"):
                found.update(path)
        return frozenset(found)

    def _moved(self, op: Op) -> int | None:
        """The only float that the op reads, if it moves whole rows of it."""
        floats = [i for i in op.reads if self.graph[i].is_float]
        if not op.kind.moves or len(floats) != 1:
            return None
        same = self.graph[floats[0]].shape[-1:] == self.graph[op.output].shape[-1:]
        return floats[0] if same else None

    @cached_property
    def unbounded(self) -> frozenset[int]:
        """Tensors that hold an infinity because a constant does."""
        read = {i for op in self.graph.ops if op.kind.takes_infinity for i in op.reads if self.graph[i].is_float}
        found = {i for i in read if (data := self.graph[i].data) is not None and not is_bounded(data).all()}
        if found:
            for op in self.graph.ops:
                if op.kind.takes_infinity and found.intersection(op.reads):
                    found.update(op.outputs)
        return frozenset(found)

    def seen(self, tensor: Tensor, y: torch.Tensor) -> torch.Tensor:
        """``y`` as a range should see it: what is masked at the place where it is stored, infinities at the finite extremes.

        Worked: the row [3, -inf, 1] of scores is seen as [3, -9, 1].
        """
        if tensor.id in self.scores and y.shape[-1:].numel():
            top = y.amax(-1, keepdim=True)
            hidden = y < top - _HIDDEN
            y = torch.where(hidden, top - REACH, y) if hidden.any() else y
        if tensor.id in self.unbounded and (infinite := y.abs() >= _LARGEST).any():
            finite = y[~infinite]
            return y.clamp(finite.min(), finite.max()) if len(finite) else torch.zeros_like(y)
        return y

    def bounded(self, ranges: Mapping[int, Range]) -> dict[int, Range]:
        """The ranges of masks, constant or computed, that end where their sums saturate: ``a + m`` is the lowest integer for
        every score ``a`` if ``m <= lowest sum - highest a``. Empty for a graph without masks.
        """
        if not self.scores:
            return {}
        known = {**{t.id: _extremes(t) for t in self.graph.constants() if t.is_float}, **ranges}
        known |= {i: (-np.inf, known[i][1]) for i in self.unbounded - self.scores if i in ranges}
        floors: dict[int, float] = {i: known[i][0] for i in self.scores if i in known}
        readers, demands = self.graph.consumers(), dict[int, list[float]]()
        found: dict[int, Range] = {}
        for op in reversed(self.graph.ops):
            for i in op.outputs:
                asked = demands.get(i, [])
                if asked and len(asked) == len(readers[i]) and i not in self.graph.ends and i not in floors:
                    _lower(i, min(asked), known, found, floors)
            if op.output in floors:
                for i, floor in _demanded(op, floors[op.output], known):
                    demands.setdefault(i, []).append(floor)
        for i, asked in demands.items():
            if i in self.graph.tensors and self.graph[i].is_constant and len(asked) == len(readers[i]):
                _lower(i, min(asked), known, found, floors)
        return found


def is_bounded(data: np.ndarray) -> np.ndarray:
    """Element by element, whether it is a value at all: neither infinite nor the largest float there is."""
    return np.asarray(np.abs(data) < _LARGEST)


def _lower(i: int, floor: float, known: dict[int, Range], found: dict[int, Range], floors: dict[int, float]) -> None:
    """End the range of ``i`` at ``floor`` if it goes clearly beyond."""
    low, high = known[i]
    if low < floor - 1e-3 * abs(floor):
        found[i] = known[i] = (floor, max(high, floor))
        floors[i] = floor


def _demanded(op: Op, floor: float, known: Mapping[int, Range]) -> list[tuple[int, float]]:
    """For each float that the op reads the value below which its output is at the floor or under it in any case."""
    floats = [i for i in dict.fromkeys(op.reads) if i in known]
    if op.kind.combines == "sum" and len(floats) == 2:
        a, b = floats
        return [(a, floor - known[b][1]), (b, floor - known[a][1])]
    if op.kind.combines == "product" and len(floats) == 2 and floor < 0:
        ends = zip(floats, (known[i] for i in reversed(floats)), strict=True)
        return [(i, _STEPS * floor / high) for i, (low, high) in ends if low >= 0 and high > 0]
    return [(i, floor) for i in floats] if op.kind.moves else []


def _extremes(t: Tensor) -> Range:
    data = np.asarray(t.data)
    return (float(data.min()), float(data.max())) if data.size else (0.0, 0.0)
