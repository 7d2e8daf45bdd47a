"""A network that is being made op by op, in which sequences are held as their rows.

Unrolled loops take rows from sequences and put rows into them; where both are known, no op is needed for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import final

import numpy as np
import torch

from intact.errors import ModelError, UnsupportedError
from intact.network.graph import Op, Tensor
from intact.numbers.affine import Format, Index
from intact.ops.base import OpKind
from intact.ops.call import Shape
from intact.ops.inference import infer_shapes
from intact.ops.shaping import Concatenation, Gather, Pack, Reshape, ReverseV2, Slice, StridedSlice, Transpose, Unpack


@final
class Draft:
    """Ops and tensors so far; ``shown`` holds whole numbers that are known with their values, all else by its shape."""

    def __init__(self, tensors: Mapping[int, Tensor]) -> None:
        self.ops: list[Op] = []
        self.tensors: dict[int, Tensor] = dict(tensors)
        self.shown: dict[int, torch.Tensor] = {}
        self._next_id = max(self.tensors, default=-1) + 1

    def emit(self, kind: OpKind, inputs: tuple[int | None, ...], like: Sequence[Tensor]) -> list[int]:
        shapes = self.shapes(kind, inputs)
        if len(shapes) != len(like):
            raise ModelError(f"has {len(like)} outputs where {len(shapes)} are computed")
        first_of_main = not any(t.id in self.shown for t in like) and all(self.tensors.get(t.id) is t for t in like)
        made = []
        for tensor, shape in zip(like, shapes, strict=True):
            if first_of_main:
                self.tensors[tensor.id] = replace(tensor, shape=shape)
                made.append(tensor.id)
            else:
                made.append(self.add(replace(tensor, shape=shape)))
            self.show(made[-1])
        self.ops.append(Op(kind, inputs, tuple(made)))
        return made

    def shapes(self, kind: OpKind, inputs: Sequence[int | None]) -> tuple[Shape, ...]:
        """Of what the op makes."""
        return infer_shapes(kind, [None if i is None else self.shown[i] for i in inputs])

    def add(self, tensor: Tensor) -> int:
        i, self._next_id = self._next_id, self._next_id + 1
        self.tensors[i] = replace(tensor, id=i)
        return i

    def constant(self, like: Tensor, value: torch.Tensor) -> int:
        data = np.ascontiguousarray(value.numpy())
        fmt: Format = Index(str(data.dtype))
        i = self.add(replace(like, shape=tuple(data.shape), format=fmt, data=data, made_by="unroll"))
        self.shown[i] = value
        return i

    def show(self, i: int) -> None:
        """Whole numbers with their values where they are constant, anything else by its shape."""
        t = self.tensors[i]
        if t.data is not None and isinstance(t.format, Index):
            self.shown[i] = torch.from_numpy(np.array(t.data))
        else:
            dtype = getattr(torch, t.format.dtype) if isinstance(t.format, Index) else torch.float32
            self.shown[i] = torch.empty([1 if n is None else n for n in t.shape], device="meta", dtype=dtype)

    def shape(self, i: int) -> tuple[int, ...]:
        return tuple(self.shown[i].shape)

    def value(self, i: int) -> torch.Tensor | None:
        """A whole number or numbers that are known; None for real numbers, constant or not."""
        shown = self.shown[i]
        return None if shown.is_meta or shown.is_floating_point() else shown


@final
class Sequences:
    """``rows`` holds, for a tensor whose first axis counts steps, the tensors that its rows are, ``[B, …]`` each for
    ``[T, B, …]``. It is put together (PACK) only where an op reads it as a whole, along axis 1 where the next op would only
    have exchanged the first two axes.
    """

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.rows: dict[int, tuple[int, ...]] = {}
        self._wholes: dict[int, int] = {}
        self._packs: dict[int, tuple[tuple[int, ...], int]] = {}
        self._parts: dict[tuple[int, int], tuple[int, ...]] = {}

    def moved(self, op: Op, inputs: tuple[int | None, ...], like: Tensor, *, looping: bool) -> int | None:
        """The result of an op that only picks or joins rows, without making an op; None for any other."""
        x = inputs[0]
        if x is None or not op.outputs:
            return None
        if x not in self.rows and not looping and not isinstance(op.kind, (Reshape, Transpose, ReverseV2)):
            return None  # outside a loop, and no sequence: an embedding, an image
        match op.kind:
            case Gather(axis=0, batch_dims=0):
                at = self.draft.value(inputs[1]) if len(inputs) > 1 and inputs[1] is not None else None
                return None if at is None or at.dim() else self._row(x, int(at))
            case Slice():
                return self._sliced(x, inputs, like)
            case StridedSlice():
                return self._strided(op.kind, x, inputs, like)
            case ReverseV2():
                return self._reversed(x, None if inputs[1] is None else self.draft.value(inputs[1]), like)
            case Concatenation(axis=0, activation="none"):
                if any(i is not None and i in self.rows for i in inputs):
                    return self._joined([i for i in inputs if i is not None], like)
            case Reshape() | Transpose():
                return self._reshaped(op, x, inputs, like, looping)
        return None

    def _reversed(self, x: int, axes: torch.Tensor | None, like: Tensor) -> int | None:
        """A sequence backwards, before or after its rows are put together."""
        at = None if axes is None else [int(a) % self.draft.shown[x].dim() for a in axes.reshape(-1)]
        if x in self.rows and at == [0]:
            return self._stack(self.rows[x][::-1], like)
        if x in self._packs and at == [self._packs[x][1]]:
            return self._pack(self._packs[x][0][::-1], at[0], like)
        return None

    def _row(self, x: int, at: int) -> int | None:
        count = self.draft.shape(x)[0] if self.draft.shape(x) else 0
        if at not in range(-count, count):
            raise ModelError(f"reads step {at} of a sequence of {count}")
        rows = self._rows_of(x)
        return None if rows is None else rows[at % count]

    def _rows_of(self, x: int) -> tuple[int, ...] | None:
        """The rows of ``x`` along axis 0, taken apart by one UNPACK where it is not made of rows."""
        if x in self.rows:
            return self.rows[x]
        t, shape = self.draft.tensors[x], self.draft.shape(x)
        if len(shape) < 2:
            return None
        # [1, 1, …] is one step of one sample: taken along axis 1, the batch stays on axis 0.
        axis = 1 if shape[:2] == (1, 1) and len(shape) > 2 else 0
        return self._unpacked(x, axis, t)

    def _unpacked(self, x: int, axis: int, like: Tensor) -> tuple[int, ...]:
        if (x, axis) not in self._parts:
            shape = self.draft.shape(x)
            rest = shape[:axis] + shape[axis + 1 :]
            t = self.draft.tensors[x]
            if t.is_constant:
                data = np.moveaxis(np.asarray(t.data), axis, 0)
                rows = [
                    self.draft.add(replace(t, name=f"{t.name}/{n}", shape=rest, data=np.array(row)))
                    for n, row in enumerate(data)
                ]
                for row in rows:
                    self.draft.show(row)
            else:
                parts = [replace(like, id=-1, name=f"{t.name}/{n}", shape=rest, data=None) for n in range(shape[axis])]
                rows = self.draft.emit(Unpack(axis, shape[axis]), (x,), parts)
            self._parts[x, axis] = tuple(rows)
        return self._parts[x, axis]

    def _stack(self, rows: tuple[int, ...], like: Tensor) -> int | None:
        """A tensor that is these rows, not put together yet."""
        if not rows:
            shape: tuple[int, ...] = (0, *self._shape_of_row(like))
        else:
            shape = (len(rows), *self.draft.shape(rows[0]))
        i = self.draft.add(replace(like, shape=shape, data=None))
        self.draft.show(i)
        self.rows[i] = rows
        return i

    @staticmethod
    def _shape_of_row(like: Tensor) -> tuple[int, ...]:
        return tuple(1 if n is None else n for n in like.shape[1:])

    def whole(self, i: int) -> int:
        """``i`` as a tensor that an op has made."""
        if i not in self.rows:
            return i
        if i not in self._wholes:
            self._wholes[i] = self._pack(self.rows[i], 0, self.draft.tensors[i])
        return self._wholes[i]

    def _pack(self, rows: tuple[int, ...], axis: int, like: Tensor) -> int:
        """Rows put together, by an op."""
        if not rows:
            raise UnsupportedError("is a sequence of no steps")
        (made,) = self.draft.emit(Pack(axis, len(rows)), rows, [replace(like, id=-1, data=None)])
        self._packs[made] = rows, axis
        return made

    def _joined(self, parts: list[int], like: Tensor) -> int | None:
        rows: list[int] = []
        for part in parts:
            if part not in self.rows and 0 in self.draft.shape(part):
                continue
            of_part = self._rows_of(part)
            if of_part is None:
                return None
            rows += of_part
        return self._stack(tuple(rows), like)

    def _sliced(self, x: int, inputs: tuple[int | None, ...], like: Tensor) -> int | None:
        if len(inputs) < 3 or inputs[1] is None or inputs[2] is None:
            return None
        begin, size = self.draft.value(inputs[1]), self.draft.value(inputs[2])
        shape = self.draft.shape(x)
        if begin is None or size is None or len(shape) < 2:
            return None
        starts, sizes = begin.reshape(-1).tolist(), size.reshape(-1).tolist()
        whole = all(b == 0 and n in (-1, have) for b, n, have in zip(starts[1:], sizes[1:], shape[1:], strict=True))
        if not whole or not (x in self.rows or self.draft.tensors[x].is_constant):
            return None
        rows = self._rows_of(x)
        if rows is None:
            return None
        stop = len(rows) if sizes[0] == -1 else starts[0] + sizes[0]
        return self._stack(rows[starts[0] : stop], replace(like, shape=shape))

    def _strided(self, kind: StridedSlice, x: int, inputs: tuple[int | None, ...], like: Tensor) -> int | None:
        """``x[i]`` and ``x[a:b]`` of a tensor held as rows."""
        if x not in self.rows or kind.ellipsis_mask or kind.new_axis_mask or any(i is None for i in inputs[1:4]):
            return None
        given = [self.draft.value(i) for i in inputs[1:4] if i is not None]
        if len(given) != 3 or any(g is None for g in given):
            return None
        begin, end, strides = ([int(v) for v in g.reshape(-1).tolist()] for g in given if g is not None)
        for axis in range(1, len(begin)):
            open_ends = kind.begin_mask >> axis & 1 and kind.end_mask >> axis & 1
            covers = begin[axis] == 0 and end[axis] >= self.draft.shape(x)[axis] if axis < self.draft.shown[x].dim() else False
            if kind.shrink_axis_mask >> axis & 1 or strides[axis] != 1 or not (open_ends or covers):
                return None
        rows = self.rows[x]
        if kind.shrink_axis_mask & 1:
            return rows[begin[0]]
        low, high = None if kind.begin_mask & 1 else begin[0], None if kind.end_mask & 1 else end[0]
        return self._stack(rows[slice(low, high, strides[0])], replace(like, shape=self.draft.shape(x)))

    def _reshaped(self, op: Op, x: int, inputs: tuple[int | None, ...], like: Tensor, looping: bool) -> int | None:
        """A row made into a sequence of one, and sequence and batch changing places."""
        (shape,) = self.draft.shapes(op.kind, inputs)
        before = self.draft.shape(x)
        if isinstance(op.kind, Transpose):
            order = self.draft.value(inputs[1]) if len(inputs) > 1 and inputs[1] is not None else None
            swaps = order is not None and order.tolist() == [1, 0, *range(2, len(before))]
        else:
            swaps = len(before) > 2 and 1 in before[:2] and shape == (before[1], before[0], *before[2:])
        if swaps and x in self.rows:
            return self._pack(self.rows[x], 1, like)
        if swaps and not self.draft.tensors[x].is_constant and before[0] <= before[1]:
            return self._stack(self._unpacked(x, 1, self.draft.tensors[x]), replace(like, shape=shape))
        if isinstance(op.kind, Reshape) and shape == (1, *before) and len(before) > 1 and looping:
            return self._stack((x,), like)  # elsewhere a leading 1 is a batch
        return None
