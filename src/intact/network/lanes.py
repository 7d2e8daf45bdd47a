"""Many samples through a graph whose batch is fixed: side by side in lanes, which nothing that an op does can cross.

A graph with a batch of k takes k samples at a time. n samples make n / k lanes: an axis in front of every tensor that follows
from the inputs, ``[lanes, *shape]``, the last lane filled up with the last sample. Ops compute each lane by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias, final

import torch
from torch import Tensor

from intact.network.graph import Graph, Op
from intact.network.graph import Tensor as GraphTensor
from intact.network.shapes import concrete
from intact.ops.base import OpKind
from intact.ops.call import activate, as_tuple

#: What an op makes of its inputs, None for one that is left out.
Compute: TypeAlias = Callable[..., Tensor | tuple[Tensor, ...]]


@final
class Lanes:
    """How samples pass through ``graph``. Where its batch is open there are no lanes, and every tensor is as ops read it.

    ``size``: the samples of one lane. ``carried``: the tensors that follow from the inputs.
    """

    def __init__(self, graph: Graph) -> None:
        self.open: Final = graph.takes_batches
        self.size: Final = max((concrete(graph[i]) or (1,))[0] for i in graph.inputs) if graph.inputs and not self.open else 1
        self.carried: Final = _carried(graph)
        #: Lanes come one after the other, as calls do: ops are given one, without an axis for it.
        self._in_turn: Final = bool(graph.states)

    def enter(self, t: GraphTensor, x: Tensor) -> Tensor:
        """``x`` as ops read it: samples ``[n, *shape[1:]]``, or ``[n, *shape]`` of a tensor without a batch axis."""
        shape = concrete(t)
        if self.open or tuple(x.shape[1:]) == shape:
            return x
        short = -len(x) % shape[0]
        filled = x if not short else x[torch.arange(len(x) + short, device=x.device).clamp(max=len(x) - 1)]
        return filled.reshape(-1, *shape)

    def leave(self, t: GraphTensor, y: Tensor, count: int) -> Tensor:
        """The way back for ``count`` samples, as the runtime gives them: a tensor without a batch axis is one sample's whole.

        Of several samples together, one that does not tell them apart comes lane after lane, along its own axis 0.
        """
        if self.open:
            return y
        if t.id not in self.carried:
            y = y.expand(-(-count // self.size), *y.shape)
        if tuple(y.shape[1:2]) == (self.size,):
            return y.flatten(0, 1)[:count]
        return y if self.size == 1 or y.dim() == 1 else y.flatten(0, 1)

    def tells_samples_apart(self, t: GraphTensor) -> bool:
        """Whether axis 0 of ``t`` may be the samples, or each sample has all of it."""
        if self.open:
            return t.shape[:1] in {(None,), (1,)}
        return t.id in self.carried and (self.size == 1 or t.shape[:1] == (self.size,))

    def shown(self, t: GraphTensor, y: Tensor, count: int, *, rows: bool) -> Tensor:
        """``y`` with axis 0 counting samples, or lanes where they are not told apart; 1 where the inputs do not matter.

        ``rows``: whether axis 0 of a lane of ``t`` is its samples; of those that only fill up the last lane nothing is shown.
        """
        if self.open:
            return y if t.shape[:1] == (None,) else y[None]
        if t.id not in self.carried:
            return y[None]
        return y.flatten(0, 1)[:count] if rows else y

    def compute(self, op: Op, kind: OpKind, inputs: tuple[Tensor | None, ...]) -> tuple[Tensor, ...]:
        """What ``kind``, with the inputs of ``op``, makes of them in real numbers."""
        if not self._has_lanes(op):
            return as_tuple(kind.compute(*inputs))
        if not kind.repeatable:
            return self.one_by_one(op, kind.compute, inputs)
        plain, activation = kind.unfused()  # vmap would do a clamp in place one lane after the other
        try:
            made = as_tuple(torch.func.vmap(plain.compute, in_dims=self._axes(op))(*inputs))
        except RuntimeError:  # it has to know the numbers in an input, such as a shape that is computed: or it fails again
            made = self.one_by_one(op, plain.compute, inputs)
        return tuple(activate(y, activation) for y in made)

    def one_by_one(self, op: Op, work: Compute, inputs: tuple[Tensor | None, ...]) -> tuple[Tensor, ...]:
        """What ``work`` makes of the inputs of ``op``, one lane after the other."""
        if not self._has_lanes(op):
            return as_tuple(work(*inputs))
        axes = self._axes(op)
        count = next(len(x) for x, axis in zip(inputs, axes, strict=True) if x is not None and axis is not None)
        lanes = ([x if x is None or axis is None else x[n] for x, axis in zip(inputs, axes, strict=True)] for n in range(count))
        return tuple(_stacked(parts) for parts in zip(*(as_tuple(work(*lane)) for lane in lanes), strict=True))

    def _has_lanes(self, op: Op) -> bool:
        return not self.open and not self._in_turn and not self.carried.isdisjoint(op.reads)

    def _axes(self, op: Op) -> tuple[int | None, ...]:
        return tuple(0 if i in self.carried else None for i in op.inputs)


def _stacked(lanes: tuple[Tensor, ...]) -> Tensor:
    """Lanes side by side; where their sizes depend on the numbers, filled up with zeros to the largest."""
    shapes = [tuple(y.shape) for y in lanes]
    if len(set(shapes)) == 1:
        return torch.stack(lanes)
    stacked = lanes[0].new_zeros((len(lanes), *(max(sizes) for sizes in zip(*shapes, strict=True))))
    for lane, y in zip(stacked, lanes, strict=True):
        lane[tuple(slice(n) for n in y.shape)] = y
    return stacked


def _carried(graph: Graph) -> frozenset[int]:
    found = set(graph.starts)
    for op in graph.ops:
        if not found.isdisjoint(op.reads):
            found.update(op.outputs)
    return frozenset(found)
