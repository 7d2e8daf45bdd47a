"""Makes a Graph op by op, and keeps for each of ONNX's values how its axes lie in the tensor that stands for it.

ONNX's images are channels first, ours channels last. No pass moves transposes about: a value knows the ``order`` of its axes,
an op takes the order that costs nothing, and a TRANSPOSE is made only where what an op computes asks for another. So a plain
network of convolutions has none, and a transpose in the file is only another order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Final, TypeAlias, final

import numpy as np
import torch

from intact.formats.onnx.fuse import Fusing
from intact.network.graph import Graph, Op, Signature, Tensor
from intact.numbers.affine import Float, Index
from intact.ops.base import OpKind, WeightedKind
from intact.ops.inference import Allowance, known_values, without_data
from intact.ops.shaping import Concatenation, Reshape, Transpose

Shape: TypeAlias = tuple[int, ...]
#: By axis of a stored tensor, ONNX's axis that lies there; NONE for an axis of length 1 that ONNX does not count. ONNX's axes
#: of length 1 need not lie anywhere.
Order: TypeAlias = tuple[int, ...]
NONE: Final = -1

#: Numbers that constants may be folded to, over the whole network; what would be more is computed at run time.
_ALLOWED: Final = 1 << 27
#: What whole numbers are stored as: of 64 bits they count and point, and no device's kernel wants them so wide.
_NARROW: Final = {"int64": "int32"}


@final
@dataclass(frozen=True, eq=False)
class Stored:
    """A tensor as it lies in the graph, or a constant that may not be in it yet (``data``)."""

    shape: Shape
    dtype: str
    id: int | None = None
    data: np.ndarray | None = None

    @classmethod
    def of(cls, data: np.ndarray) -> Stored:
        return cls(tuple(data.shape), str(data.dtype), None, data)


@final
@dataclass(frozen=True, eq=False)
class Value:
    """What ONNX calls a value: its ``shape`` as ONNX has it, and the tensor that stands for it, whose axes lie in ``order``."""

    stored: Stored
    shape: Shape
    order: Order

    @classmethod
    def plain(cls, stored: Stored) -> Value:
        """A value that lies as ONNX has it."""
        return cls(stored, stored.shape, tuple(range(len(stored.shape))))

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def is_constant(self) -> bool:
        return self.stored.data is not None

    @property
    def is_float(self) -> bool:
        return self.stored.dtype == "float32"

    def axis(self, axis: int) -> int:
        """Where ONNX's ``axis`` lies, which must lie somewhere."""
        return self.order.index(axis)

    def seen_as(self, rank: int) -> Value:
        """The value with axes of length 1 before its own, as broadcasting sees it."""
        more = rank - self.rank
        return Value(self.stored, (1,) * more + self.shape, tuple(a if a == NONE else a + more for a in self.order))


@final
class Builder:
    """A graph in the making; mutable, owned by whoever reads a model into it."""

    def __init__(self) -> None:
        self._tensors: dict[int, Tensor] = {}
        self._ops: list[Op] = []
        self._made: dict[int, OpKind] = {}
        self._moved: dict[tuple[int, type[OpKind], Shape], Stored] = {}
        self._derived: dict[tuple[int, Callable[..., np.ndarray], tuple[float, ...]], tuple[np.ndarray, np.ndarray]] = {}
        self._placed: dict[int, tuple[Stored, Stored]] = {}
        self._joined: dict[int, tuple[int, tuple[Stored, ...]]] = {}
        self._allowance = Allowance(_ALLOWED)
        #: What the ops that are made now are called after: a layer, if it is one, and the exporter's word for what it computes.
        self.called, self.word = "", ""

    @property
    def count(self) -> int:
        """How many ops there are."""
        return len(self._ops)

    # ---- tensors ----------------------------------------------------------------------------------------------------

    def input(self, name: str, shape: Shape, dtype: str, order: Order) -> Value:
        stored = self._tensor(name, tuple(shape[a] for a in order), _NARROW.get(dtype, dtype))
        return Value(stored, shape, order)

    def _tensor(self, name: str, shape: Shape, dtype: str, data: np.ndarray | None = None) -> Stored:
        i = len(self._tensors)
        self._tensors[i] = Tensor(i, name, shape, Float(dtype) if dtype.startswith("float") else Index(dtype), data)
        return Stored(shape, dtype, i)

    def placed(self, x: Stored, name: str = "") -> Stored:
        """``x`` as a tensor of the graph; whole numbers of 64 bits at the nearest of 32."""
        if x.id is not None:
            return x
        assert x.data is not None
        if id(x.data) not in self._placed:
            data = x.data
            if x.dtype in _NARROW:
                narrow = np.iinfo(_NARROW[x.dtype])
                data = np.clip(data, narrow.min, narrow.max).astype(narrow.dtype)
            self._placed[id(x.data)] = x, self._tensor(name or self.called, x.shape, str(data.dtype), np.array(data, order="C"))
        return self._placed[id(x.data)][1]

    def derived(self, data: np.ndarray, *numbers: float, by: Callable[..., np.ndarray]) -> np.ndarray:
        """What ``by`` makes of constant data and numbers: one array for all steps of a loop."""
        key = id(data), by, numbers
        if key not in self._derived:
            self._derived[key] = data, by(data, *numbers)
        return self._derived[key][1]

    # ---- ops ------------------------------------------------------------------------------------------------------------

    def emit(self, kind: OpKind, *operands: Stored | np.ndarray | None) -> tuple[Stored, ...]:
        """What ``kind`` makes of tensors; of constants alone a constant, unless that is much to compute."""
        given = [Stored.of(x) if isinstance(x, np.ndarray) else x for x in operands]
        known = [None if x is None else x.data for x in given]
        if kind.repeatable and any(x is not None for x in known) and all(x is None or x.data is not None for x in given):
            made = known_values(kind, [None if x is None else _numbers(x) for x in known], self._allowance)
            if made is not None:
                return tuple(Stored.of(y.numpy()) for y in made)
        name = self._name(kind)
        given = [None if x is None else self.placed(x, name) for x in given]
        bare = without_data(kind, [None if x is None else self._bare(x) for x in given])
        outputs = [self._tensor(name, tuple(y.shape), _NARROW.get(t := str(y.dtype).removeprefix("torch."), t)) for y in bare]
        ids = tuple(None if x is None else x.id for x in given)
        self._ops.append(Op(kind, ids, tuple(y.id for y in outputs if y.id is not None)))
        self._made |= {y.id: kind for y in outputs if y.id is not None}
        return tuple(outputs)

    def _name(self, kind: OpKind) -> str:
        word = kind.name.lower() if isinstance(kind, WeightedKind) else self.word
        return f"{self.called}/{word}" if self.word else self.called

    def one(self, kind: OpKind, *operands: Stored | np.ndarray | None) -> Stored:
        """The only output."""
        (y,) = self.emit(kind, *operands)
        return y

    def _bare(self, x: Stored) -> torch.Tensor:
        assert x.id is not None
        data = self._tensors[x.id].data
        if data is None or x.dtype == "float32":
            return torch.empty(x.shape, device="meta", dtype=getattr(torch, x.dtype))
        return _numbers(data)

    def joined(self, parts: Sequence[Stored], axis: int) -> Stored:
        """``parts`` one after the other along an axis of theirs."""
        y = self.one(Concatenation(axis), *parts)
        if y.id is not None:
            self._joined[y.id] = axis, tuple(parts)
        return y

    def part_of(self, x: Stored, axis: int, places: range) -> tuple[Stored, range] | None:
        """The one part of ``x`` that holds all ``places`` along ``axis``, and where there; None where none does."""
        along, parts = self._joined.get(-1 if x.id is None else x.id, (-1, ()))
        begin = 0
        for part in parts if along == axis else ():
            end = begin + part.shape[axis]
            if begin <= min(places) and max(places) < end:
                return part, range(places.start - begin, places.stop - begin, places.step)
            begin = end
        return None

    def is_made_by(self, x: Stored, kind: OpKind) -> bool:
        """Whether an op of this kind and these options makes ``x``."""
        return x.id is not None and self._made.get(x.id) == kind

    # ---- orders -----------------------------------------------------------------------------------------------------------

    def arranged(self, v: Value, order: Order) -> Value:
        """``v`` with its axes in ``order``, by what costs least."""
        if v.order == order:
            return v
        wanted = tuple(1 if a == NONE else v.shape[a] for a in order)
        had, want = _telling(v, v.order, order), _telling(v, order, v.order)
        if had == want:
            return Value(self.reshaped(v.stored, wanted), v.shape, order)
        if len(v.order) == len(order) and set(v.order) == set(order) and NONE not in order:
            permutation, x = [v.order.index(a) for a in order], v.stored
        else:
            permutation, x = [had.index(a) for a in want], self.reshaped(v.stored, tuple(v.shape[a] for a in had))
        moved = self._once(Transpose(), x, permutation)
        return Value(self.reshaped(moved, wanted), v.shape, order)

    def as_onnx(self, v: Value) -> Value:
        """``v`` with its axes as ONNX has them."""
        return self.arranged(v, tuple(range(v.rank)))

    def having(self, v: Value, *axes: int) -> Value:
        """``v`` with these of ONNX's axes somewhere."""
        return v if set(axes) <= set(v.order) else self.complete(v)

    def complete(self, v: Value) -> Value:
        """``v`` with all of ONNX's axes somewhere; those that are not yet take the places of axes that ONNX does not count."""
        missing = [a for a in range(v.rank) if a not in v.order]
        if not missing:
            return v
        order = list(v.order)
        while missing and NONE in order:
            order[order.index(NONE)] = missing.pop(0)
        for a in missing:
            order.insert(next((n for n, other in enumerate(order) if other > a), len(order)), a)
        return self.arranged(v, tuple(order))

    def reshaped(self, x: Stored, shape: Shape) -> Stored:
        return x if x.shape == shape else self._once(Reshape(shape), x, shape)

    def _once(self, kind: OpKind, x: Stored, numbers: Sequence[int]) -> Stored:
        """What an op that moves ``x`` makes, by constant ``numbers``: made once for all that read it so."""
        if x.id is None:
            return self.one(kind, x, np.asarray(numbers, np.int32))
        key = x.id, type(kind), tuple(numbers)
        if key not in self._moved:
            self._moved[key] = self.one(kind, x, np.asarray(numbers, np.int32))
        return self._moved[key]

    # ---- the end ----------------------------------------------------------------------------------------------------------

    def graph(self, inputs: Sequence[tuple[str, Value]], outputs: Sequence[tuple[str, Value]]) -> Graph:
        """The graph, its inputs and outputs called as the model calls them, less what nothing reads."""
        taken = [(name, i) for name, v in inputs if (i := v.stored.id) is not None]
        given = list[tuple[str, int]]()
        for name, v in outputs:
            self.called = name
            given.append((name, self._own(v, [i for _, i in (*taken, *given)])))
        needed, ops = {i for _, i in given}, list[Op]()
        for op in reversed(self._ops):
            if needed.intersection(op.outputs):
                ops.append(op)
                needed.update(op.reads)
        ops.reverse()
        fusing = Fusing(self._tensors, ops, [i for _, i in given])
        used = {*(i for _, i in (*taken, *given)), *(i for op in fusing.ops for i in (*op.reads, *op.outputs))}
        tensors = {i: t for i, t in fusing.tensors.items() if i in used}
        signature = Signature("serving_default", tuple(taken), tuple(given))
        return Graph(tensors, tuple(fusing.ops), tuple(i for _, i in taken), tuple(i for _, i in given), (signature,))

    def _own(self, v: Value, others: Sequence[int]) -> int:
        """The tensor of an output, which is none of ``others``: a copy of a constant, of an input or of another output."""
        x = self.placed(v.stored)
        if v.is_constant or x.id in others:
            x = self.one(Reshape(x.shape), replace(x, data=None), np.asarray(x.shape, np.int32))
        assert x.id is not None
        return x.id


def _telling(v: Value, order: Order, other: Order) -> list[int]:
    """The axes that tell two orders apart: those of more than one element, and the first, which counts samples."""
    return [a for a in order if (a == 0 and 0 in other) or (a != NONE and v.shape[a] != 1)]


def _numbers(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(x))


def size(x: Stored) -> int:
    """How many elements a tensor has."""
    return prod(x.shape)
