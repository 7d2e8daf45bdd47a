"""Puts together what converters put together: scales, shifts and activations behind an op with weights become part of it.

The op is called after all that it was made of, as converters do: :mod:`intact.formats.tflite.op_names` finds its layer there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeAlias, final

import numpy as np

from intact.network.graph import Op, Tensor
from intact.numbers.affine import Float
from intact.ops.activation import Relu, Relu6, ReluN1To1
from intact.ops.base import OpKind, WeightedKind
from intact.ops.call import Activation
from intact.ops.elementwise import Add, Mul, Sub
from intact.ops.shaping import Gather

Inputs: TypeAlias = tuple[int | None, ...]

_ACTIVATIONS: Final[Mapping[type[OpKind], Activation]] = {Relu: "relu", Relu6: "relu6", ReluN1To1: "relu_n1_to_1"}


@final
class Fusing:
    """One pass over ops in order; mutable, used once. ``tensors`` of the graph grow by what is folded."""

    def __init__(self, tensors: Mapping[int, Tensor], ops: Sequence[Op], ends: Iterable[int]) -> None:
        self.tensors = dict(tensors)
        self.ops: list[Op] = []
        self._reads = Counter([*(i for op in ops for i in op.reads), *ends])
        self._made: dict[int, int] = {}
        for op in ops:
            fused = self._fused(op)
            at = len(self.ops) if fused is None else self._made[self._behind(op)]
            self.ops[at : at + 1] = [fused or op]
            self._made |= dict.fromkeys(op.outputs, at)

    def _behind(self, op: Op) -> int:
        """What the op reads besides constants, if that is one tensor; else none."""
        found = [i for i in op.reads if self.tensors[i].data is None]
        return found[0] if len(found) == 1 else -1

    def _fused(self, op: Op) -> Op | None:
        """The op before with this one as a part of it; None where it cannot be."""
        x = self._behind(op)
        if x not in self._made or self._reads[x] != 1:
            return None
        before = self.ops[self._made[x]]
        kind = before.kind
        if not isinstance(kind, (WeightedKind, Add, Sub, Mul)) or kind.activation != "none" or before.output != x:
            return None
        if type(op.kind) in _ACTIVATIONS:
            self._call(op, before)
            return Op(kind.activated(_ACTIVATIONS[type(op.kind)]), before.inputs, op.outputs)
        fold = _FOLDED.get(type(op.kind))
        inputs = fold(self, op, before, kind) if fold is not None and isinstance(kind, WeightedKind) else None
        if inputs is None:
            return None
        self._call(op, before)
        return Op(kind, inputs, op.outputs)

    def _call(self, op: Op, before: Op) -> None:
        t = self.tensors[op.output]
        name = f"{t.name};{self.tensors[before.output].name}"
        self.tensors[op.output] = replace(t, name=name, origin=name)

    def picked(self, op: Op, before: Op, kind: WeightedKind) -> Inputs | None:
        """The inputs of ``before`` whose weight and bias hold the channels that ``op`` picks, as a pixel shuffle does."""
        weight, places = self._data(before.inputs[kind.weight.input]), self._data(op.inputs[1])
        bias = self._data(before.inputs[kind.weight.bias]) if kind.weight.bias < len(before.inputs) else None
        channels = {self.tensors[i].shape[-1] for i in before.reads if self.tensors[i].data is None}
        is_whole = weight is not None and kind.weight.axis == 0 and channels == {weight.shape[-1]}
        if not isinstance(op.kind, Gather) or weight is None or not is_whole or places is None or places.ndim != 1:
            return None
        if op.kind.axis != len(self.tensors[before.output].shape) - 1:
            return None
        inputs, name = list(before.inputs), self.tensors[before.output].name
        inputs[kind.weight.input] = self._constant(weight[places], name)
        if bias is not None:
            inputs[kind.weight.bias] = self._constant(bias.reshape(-1)[places], name)
        return tuple(inputs)

    def folded(self, op: Op, before: Op, kind: WeightedKind) -> Inputs | None:
        """The inputs of ``before`` whose weight and bias hold the constant that ``op`` multiplies by or adds."""
        (c,) = [i for i in op.reads if self.tensors[i].data is not None] or (-1,)
        weight = self._data(before.inputs[kind.weight.input])
        bias = self._data(before.inputs[kind.weight.bias]) if kind.weight.bias < len(before.inputs) else None
        if c < 0 or weight is None or self.tensors[op.output].shape != self.tensors[before.output].shape:
            return None
        number, axis = self.tensors[c].data, kind.weight.axis
        assert number is not None
        channels = weight.shape[axis]
        if number.size not in (1, channels) or (number.size > 1 and number.shape[-1] != channels):
            return None
        vector = np.broadcast_to(number.reshape(-1), channels).astype(np.float32)
        inputs = list(before.inputs) + [None] * (kind.weight.bias + 1 - len(before.inputs))
        name, bias = self.tensors[before.output].name, np.zeros(channels, np.float32) if bias is None else bias.reshape(-1)
        if isinstance(op.kind, Mul):
            along = [-1 if a == axis else 1 for a in range(weight.ndim)]
            inputs[kind.weight.input] = self._constant(weight * vector.reshape(along), name)
            bias = bias * vector
        else:
            bias = bias + vector
        inputs[kind.weight.bias] = self._constant(bias.astype(np.float32), name)
        return tuple(inputs)

    def _data(self, i: int | None) -> np.ndarray | None:
        return None if i is None else self.tensors[i].data

    def _constant(self, data: np.ndarray, name: str) -> int:
        i = len(self.tensors)  # none is taken out, so that their ids are their number
        self.tensors[i] = Tensor(i, name, tuple(data.shape), Float(), data)
        return i


_FOLDED: Final[Mapping[type[OpKind], Callable[[Fusing, Op, Op, WeightedKind], Inputs | None]]] = {
    Add: Fusing.folded,
    Mul: Fusing.folded,
    Gather: Fusing.picked,
}
