"""Ops that move or pick numbers, spelled for kernels that take fewer axes, lack the op or are slow at it. All are exact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import prod
from typing import Final, TypeAlias

import numpy as np

from intact.network.graph import Dim, Graph, Op, Tensor, constant
from intact.network.shapes import concrete
from intact.numbers.affine import Index
from intact.ops.base import OpKind
from intact.ops.elementwise import Add, Mul, Sub
from intact.ops.logic import SelectV2
from intact.ops.pooling import MaxPool2D
from intact.ops.quantization import Cast
from intact.ops.shaping import Concatenation, MirrorPad, Reshape, StridedSlice, Transpose

Made: TypeAlias = tuple[list[Op], list[Tensor]]

#: How many tensors the microcontroller kernel of CONCATENATION takes. Source: micro/kernels/concatenation.cc, kMaxInputNum.
_MOST_PARTS: Final = 10


class _Maker:
    """Collects the ops and tensors that take the place of one op."""

    def __init__(self, like: Tensor, free: int) -> None:
        self.like = like
        self.free = free
        self.ops: list[Op] = []
        self.tensors: list[Tensor] = []

    def constant(self, values: list[int]) -> int:
        data = np.asarray(values, np.int32)
        return self._keep(constant(self._next(), data, like=self.like, name=f"sizes{self._next()}", made_by="lower"))

    def op(self, kind: OpKind, reads: tuple[int, ...], made: Tensor) -> int:
        """A new op whose output is shaped and stored as ``made``."""
        name = f"{self.like.name}/{kind.name.lower()}{self._next()}"
        new = self._keep(
            replace(made, id=self._next(), name=name, data=None, origin=self.like.origin or self.like.name, made_by="lower")
        )
        self.ops.append(Op(kind, reads, (new,)))
        return new

    def reshape(self, x: int, given: Tensor, shape: tuple[Dim, ...]) -> int:
        """``x`` in another shape; as it is where it has that already."""
        if given.shape == shape:
            return x
        sizes = self.constant([-1 if n is None else n for n in shape])
        return self.op(Reshape(), (x, sizes), replace(given, shape=shape))

    def into(self, outputs: tuple[int, ...]) -> Made:
        """What was made, with the last op writing ``outputs``."""
        last = self.ops[-1]
        tensors = [t for t in self.tensors if t.id != last.output]
        return [*self.ops[:-1], replace(last, outputs=outputs)], tensors

    def _keep(self, tensor: Tensor) -> int:
        self.tensors.append(tensor)
        return tensor.id

    def _next(self) -> int:
        return self.free + len(self.tensors)


# ---- TRANSPOSE ----------------------------------------------------------------------------------------------------------


def transpose_within(rank: int, graph: Graph, op: Op, free: int) -> Made:
    """A TRANSPOSE of more than ``rank`` axes as RESHAPE and TRANSPOSE of fewer.

    Axes that stay together are one axis, axes of length 1 are none; what is still too many is done in several steps, each
    of which moves one block. Worked: [1, 16, 16, 2, 2, 2] by (0, 1, 3, 2, 4, 5) is [16, 16, 2, 4] by (0, 2, 1, 3).
    """
    x, out = graph.operand(op, 0), graph[op.output]
    order = graph.operand(op, 1).data
    if len(x.shape) <= rank or order is None or (x.shape[0] is None) != (out.shape[0] is None):
        return [op], []
    made = _Maker(out, free)
    at, now, shape, axes = x.id, x, x.shape, tuple(int(a) % len(x.shape) for a in order.reshape(-1))
    while True:
        shape, axes = merged(shape, axes)
        step = axes if len(axes) <= rank else _step(shape, axes, rank)
        small, turned = merged(shape, step)
        at = made.reshape(at, now, small)
        perm = made.constant(list(turned))
        now = replace(x, shape=tuple(small[a] for a in turned))
        at = made.op(Transpose(), (at, perm), now)
        if step == axes:
            break
        shape, axes = tuple(shape[a] for a in step), tuple(step.index(a) for a in axes)
    made.reshape(at, now, out.shape)
    return made.into(op.outputs)


def merged(shape: tuple[Dim, ...], axes: tuple[int, ...]) -> tuple[tuple[Dim, ...], tuple[int, ...]]:
    """The same move of the same numbers with as few axes as there can be."""
    kept = [a for a, n in enumerate(shape) if n != 1]
    order = [a for a in axes if a in kept]
    runs: list[list[int]] = []
    for a in order:
        alone = not runs or shape[runs[-1][-1]] is None  # the number of samples stays an axis of its own
        if not alone and kept.index(a) == kept.index(runs[-1][-1]) + 1:
            runs[-1].append(a)
        else:
            runs.append([a])
    starts = sorted(run[0] for run in runs)
    sizes = {run[0]: None if shape[run[0]] is None else prod(shape[a] or 0 for a in run) for run in runs}
    return tuple(sizes[a] for a in starts), tuple(starts.index(run[0]) for run in runs)


def _step(shape: tuple[Dim, ...], axes: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """The move of one block within ``rank`` axes after which least is left to do."""
    steps = [s for s in _block_moves(len(axes)) if len(merged(shape, s)[1]) <= rank and (shape[0] is not None or s[0] == 0)]

    def left(step: tuple[int, ...]) -> int:
        return len(merged(tuple(shape[a] for a in step), tuple(step.index(a) for a in axes))[1])

    return min(steps, key=left)


def _block_moves(count: int) -> Iterator[tuple[int, ...]]:
    """Every order of ``count`` axes in which two neighbouring blocks have changed places."""
    for start in range(count):
        for middle in range(start + 1, count):
            for end in range(middle + 1, count + 1):
                a = tuple(range(count))
                yield (*a[:start], *a[middle:end], *a[start:middle], *a[end:])


# ---- TILE ---------------------------------------------------------------------------------------------------------------


def tile_as_concatenation(graph: Graph, op: Op, free: int) -> Made:
    """TILE as CONCATENATION of the tensor with itself, axis by axis, of at most ten parts each."""
    x, out = graph.operand(op, 0), graph[op.output]
    times = graph.operand(op, 1).data
    if times is None or not times.size or min(times.reshape(-1).tolist()) < 1:
        return [op], []
    made = _Maker(out, free)
    at, shape = x.id, x.shape
    for axis, count in enumerate(int(n) for n in times.reshape(-1)):
        at = _repeated(made, at, replace(x, shape=shape), axis, count)
        shape = tuple(n if n is None or a != axis else n * count for a, n in enumerate(shape))
    if not made.ops:  # once along every axis: the same numbers
        sizes = made.constant([-1 if n is None else n for n in out.shape])
        made.op(Reshape(), (at, sizes), out)
    return made.into(op.outputs)


def _repeated(made: _Maker, x: int, like: Tensor, axis: int, count: int) -> int:
    """``count`` copies along ``axis``: copies of copies where there are more than one op takes."""
    if count == 1:
        return x
    each = -(-count // _MOST_PARTS)
    parts = [_repeated(made, x, like, axis, each)] * (count // each)
    if rest := count % each:
        parts.append(_repeated(made, x, like, axis, rest))
    shape = tuple(n if n is None or a != axis else n * count for a, n in enumerate(like.shape))
    return made.op(Concatenation(axis), tuple(parts), replace(like, shape=shape))


def concatenation_in_parts(graph: Graph, op: Op, free: int) -> Made:
    """A CONCATENATION of more than ten tensors as one of others: so the steps of PyTorch's recurrent layers come together."""
    kind, parts, out = op.kind, [i for i in op.inputs if i is not None], graph[op.output]
    if not isinstance(kind, Concatenation) or len(parts) <= _MOST_PARTS:
        return [op], []
    made, axis = _Maker(out, free), kind.axis % len(out.shape)
    sizes = [concrete(graph[i])[axis] for i in parts]
    while len(parts) > _MOST_PARTS:
        joined, longer = list[int](), list[int]()
        for at in range(0, len(parts), _MOST_PARTS):
            some, size = tuple(parts[at : at + _MOST_PARTS]), sum(sizes[at : at + _MOST_PARTS])
            like = replace(out, shape=tuple(size if a == axis else n for a, n in enumerate(out.shape)))
            joined.append(made.op(Concatenation(axis), some, like) if len(some) > 1 else some[0])
            longer.append(size)
        parts, sizes = joined, longer
    made.op(replace(kind, axis=axis), tuple(parts), out)
    return made.into(op.outputs)


# ---- SELECT -------------------------------------------------------------------------------------------------------------


def select_as_v2(graph: Graph, op: Op, free: int) -> Made:
    """SELECT as SELECT_V2; a condition [n] that picks whole slices becomes [n, 1, …]. Whole numbers: :func:`select_as_sum`."""
    condition, out = graph.operand(op, 0), graph[op.output]
    made = _Maker(out, free)
    shape = condition.shape
    if len(shape) == 1 and len(out.shape) > 1:
        shape = (*shape, *[1] * (len(out.shape) - 1))
    chosen = made.reshape(condition.id, condition, shape)
    new = Op(SelectV2(), (chosen, *op.inputs[1:]), op.outputs)
    if isinstance(out.format, Index) and out.format.dtype == "int32":
        conditions = {**graph.tensors, **{t.id: t for t in made.tensors}}
        ops, tensors = select_as_sum(replace(graph, tensors=conditions), new, made.free + len(made.tensors))
        return [*made.ops, *ops], [*made.tensors, *tensors]
    return [*made.ops, new], made.tensors


def select_as_sum(graph: Graph, op: Op, free: int) -> Made:
    """SELECT_V2 of int32 as ``b + c (a - b)`` with the condition c as 0 or 1: exact, overflow included, as it wraps around."""
    out = graph[op.output]
    if not isinstance(out.format, Index) or out.format.dtype != "int32":
        return [op], []
    condition, a, b = (graph[i] for i in op.reads)
    made = _Maker(out, free)
    one = made.op(Cast("int32"), (condition.id,), replace(out, shape=condition.shape))
    shape = tuple(np.broadcast_shapes(concrete(a), concrete(b)))
    shape = out.shape if shape == concrete(out) else shape
    difference = made.op(Sub(), (a.id, b.id), replace(out, shape=shape))
    taken = made.op(Mul(), (difference, one), out)
    return [*made.ops, Op(Add(), (b.id, taken), op.outputs)], made.tensors


# ---- STRIDED_SLICE and MIRROR_PAD ---------------------------------------------------------------------------------------


def slice_as_pool(graph: Graph, op: Op, free: int) -> Made:
    """Every n-th row and column of an image as a MAX_POOL_2D of 1 x 1 windows, after what is cut off at the edges."""
    x, out = graph.operand(op, 0), graph[op.output]
    if not isinstance(op.kind, StridedSlice) or len(x.shape) != 4 or out.shape[:1] != x.shape[:1]:
        return [op], []
    begins, ends, strides = (graph.operand(op, n).data for n in (1, 2, 3))
    if begins is None or ends is None or strides is None or op.kind != replace(op.kind, **_NO_AXES):
        return [op], []
    steps = [int(n) for n in strides.reshape(-1)]
    if len(steps) != 4 or min(steps) < 1 or (steps[0], steps[3]) != (1, 1) or max(steps) == 1:
        return [op], []
    made = _Maker(out, free)
    picked = [
        range(n)[
            slice(
                None if op.kind.begin_mask >> a & 1 else int(begins.reshape(-1)[a]),
                None if op.kind.end_mask >> a & 1 else int(ends.reshape(-1)[a]),
            )
        ]
        for a, n in enumerate(concrete(x))
    ]
    at, shape = x.id, (x.shape[0], *(len(rows) for rows in picked[1:]))
    if shape != x.shape:
        ones = made.constant([1] * 4)
        at = made.op(op.kind, (at, *op.reads[1:3], ones), replace(x, shape=shape))
    made.op(MaxPool2D((1, 1), (steps[1], steps[2]), "valid"), (at,), out)
    return made.into(op.outputs)


#: Masks of STRIDED_SLICE that take axes away or add some.
_NO_AXES: Final[Mapping[str, int]] = {"ellipsis_mask": 0, "new_axis_mask": 0, "shrink_axis_mask": 0}
#: Rows on one side of a mirrored padding that are worth a slice each.
_MOST_MIRRORED: Final = 4


def mirror_as_slices(graph: Graph, op: Op, free: int) -> Made:
    """A narrow MIRROR_PAD as CONCATENATION of the rows that it repeats, axis by axis."""
    x, out = graph.operand(op, 0), graph[op.output]
    pads = graph.operand(op, 1).data
    if pads is None or not isinstance(op.kind, MirrorPad) or not 0 < pads.max(initial=0) <= _MOST_MIRRORED or pads[0].any():
        return [op], []
    made = _Maker(out, free)
    at, shape, edge = x.id, x.shape, 1 if op.kind.mode == "reflect" else 0
    for axis, (before, after) in enumerate((int(b), int(a)) for b, a in pads):
        if not before and not after:
            continue
        size = concrete(replace(x, shape=shape))[axis]
        now = replace(x, shape=shape)
        rows = [*range(before - 1 + edge, edge - 1, -1), *range(size - 1 - edge, size - 1 - edge - after, -1)]
        parts = [_row(made, at, now, axis, row) for row in rows]
        shape = tuple(n if a != axis else size + before + after for a, n in enumerate(shape))
        at = made.op(Concatenation(axis), (*parts[:before], at, *parts[before:]), replace(x, shape=shape))
    return made.into(op.outputs)


def _row(made: _Maker, x: int, like: Tensor, axis: int, row: int) -> int:
    """One row of ``x`` along ``axis``."""
    rank, bit = len(like.shape), 1 << axis
    begins, ends = ([n if a == axis else 0 for a in range(rank)] for n in (row, row + 1))
    others = (1 << rank) - 1 - bit
    reads = (x, made.constant(begins), made.constant(ends), made.constant([1] * rank))
    shape = tuple(1 if a == axis else n for a, n in enumerate(like.shape))
    return made.op(StridedSlice(begin_mask=others, end_mask=others), reads, replace(like, shape=shape))
