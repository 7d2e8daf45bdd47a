"""An op with a weight, and its tensors by what they are for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch

from intact.network.graph import Graph, Op, Tensor
from intact.network.shapes import concrete
from intact.ops.base import WeightedKind


@final
@dataclass(frozen=True, eq=False)
class Weighted:
    """An op that multiplies what it reads, ``data``, by ``weight`` and adds ``bias``, if it has one.

    ``data`` [n, ..., c_in] and the output [n, ..., c_out] are activations; ``weight`` has c_out along :attr:`axis`; ``bias`` is
    [c_out]. A weight that another op computes has no values.
    """

    op: Op
    kind: WeightedKind
    weight: Tensor
    bias: Tensor | None
    data: Tensor

    @property
    def axis(self) -> int:
        """The axis of the weight along which its output channels lie."""
        return self.kind.weight.axis

    @property
    def count(self) -> int:
        """How many input channels the op counts."""
        return self.kind.reads(concrete(self.data), concrete(self.weight))

    @property
    def takes_its_data(self) -> bool:
        """Whether as many channels enter the weight as the data has, as often as the op's equation says."""
        weight = concrete(self.weight)
        try:
            return tuple(self.kind.entering(torch.empty(self.count, device="meta"), weight).shape[-1:]) == weight[-1:]
        except (RuntimeError, IndexError, ArithmeticError):  # what does not divide, or has too few axes
            return False

    @property
    def is_constant(self) -> bool:
        """Whether the weight is known before the network runs."""
        return self.weight.is_constant

    @property
    def values(self) -> np.ndarray:
        """The constant weight, as it is stored. TypeError where an op computes it."""
        if self.weight.data is None:
            raise TypeError(f"the weight {self.weight.name!r} of {self.op.kind.name} is computed")
        return self.weight.data

    def along(self, values: np.ndarray) -> np.ndarray:
        """``values`` [c_out], one for each output channel, so that they broadcast against the weight."""
        return values.reshape([-1 if axis == self.axis else 1 for axis in range(len(self.weight.shape))])

    def with_bias(self, bias: int) -> Op:
        """The op with the bias ``bias``, by id, whether it had one before or not."""
        place = self.kind.weight.bias
        left_out = (None,) * (place - len(self.op.inputs))
        return replace(self.op, inputs=(*self.op.inputs[:place], *left_out, bias))


def weighted(graph: Graph, op: Op) -> Weighted | None:
    """``op`` as a weighted one; None for a kind without weights, and where the weight or the data is left out."""
    kind = op.kind
    if not isinstance(kind, WeightedKind):
        return None
    places = kind.weight
    given = [None if i is None else graph[i] for i in op.inputs] + [None] * (places.bias + 1)
    weight, at = given[places.input], places.data([None if t is None else t.format for t in given])
    data = None if at is None else given[at]
    return None if weight is None or data is None else Weighted(op, kind, weight, given[places.bias], data)


def converted(graph: Graph) -> dict[int, int]:
    """By id, what is made of a constant before an op reads it, and that constant: a weight in half precision."""
    return {op.output: op.reads[0] for op in graph.ops if op.kind.converts and graph[op.reads[0]].is_constant}


def columns(op: Op, count: int, weight: tuple[int, ...]) -> np.ndarray:
    """Which of the op's ``count`` input channels meets each element of its weight: broadcasts against it, of its rank."""
    if not isinstance(op.kind, WeightedKind):
        raise TypeError(op.kind.name)
    met = op.kind.entering(torch.arange(count), weight).numpy()
    return np.asarray(met.reshape((1,) * (len(weight) - met.ndim) + met.shape))


def weight_of(graph: Graph, op: Op) -> np.ndarray:
    """The constant weight of an op that has one, as it is stored. TypeError for any other op."""
    found = weighted(graph, op)
    if found is None:
        raise TypeError(f"{graph.label(op)} has no weight")
    return found.values


def data_of(graph: Graph, op: Op) -> int | None:
    """The activations that an op with a weight reads, by id."""
    found = weighted(graph, op)
    return None if found is None else found.data.id
