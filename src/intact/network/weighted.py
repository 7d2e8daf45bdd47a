"""An op with a weight, and its tensors by what they are for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np

from intact.network.graph import Graph, Op, Tensor
from intact.numbers.affine import Index
from intact.ops.base import Weight


@final
@dataclass(frozen=True, eq=False)
class Weighted:
    """An op that multiplies what it reads, ``data``, by ``weight`` and adds ``bias``, if it has one.

    ``data`` [n, ..., c_in] and the output [n, ..., c_out] are activations; ``weight`` has c_out along :attr:`axis`; ``bias`` is
    [c_out]. A weight that another op computes has no values.
    """

    op: Op
    weight: Tensor
    bias: Tensor | None
    data: Tensor
    places: Weight

    @property
    def axis(self) -> int:
        """The axis of the weight along which its output channels lie."""
        return self.places.axis

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

    def with_bias(self, bias: int) -> Op:
        """The op with the bias ``bias``, by id, whether it had one before or not."""
        left_out = (None,) * (self.places.bias - len(self.op.inputs))
        return replace(self.op, inputs=(*self.op.inputs[: self.places.bias], *left_out, bias))


def weighted(graph: Graph, op: Op) -> Weighted | None:
    """``op`` as a weighted one; None for a kind without weights, and where the weight or the data is left out."""
    places = op.kind.weight
    if places is None:
        return None
    given = [None if i is None else graph[i] for i in op.inputs] + [None] * (places.bias + 1)
    special = (places.input, places.bias)
    data = next(
        (t for n, t in enumerate(given) if t is not None and n not in special and not isinstance(t.format, Index)), None
    )
    weight = given[places.input]
    return None if weight is None or data is None else Weighted(op, weight, given[places.bias], data, places)


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
