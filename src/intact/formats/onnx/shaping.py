"""ONNX's ops that move numbers: most only say where axes lie from then on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Final

import numpy as np

from intact.errors import ModelError
from intact.formats.onnx.build import NONE, Builder, Shape, Stored, Value, size
from intact.formats.onnx.call import Call, Row
from intact.formats.onnx.matmul import transposed, without
from intact.ops.shaping import BroadcastTo, Gather, Slice, Split, SplitV, StridedSlice, Tile


def _transpose(call: Call) -> Value:
    v = call.value(0)
    permutation = call.integers("perm") or tuple(reversed(range(v.rank)))
    if sorted(permutation) != list(range(v.rank)):
        raise ModelError(f"an order of axes {list(permutation)} of a tensor of {v.rank}")
    return transposed(v, permutation)


# ---- shapes -------------------------------------------------------------------------------------------------------------


def reshaped(build: Builder, v: Value, shape: Shape) -> Value:
    """``v`` in another shape. Where runs of axes are split or put together that lie side by side, they stay where they are."""
    if prod(v.shape) != prod(shape):
        raise ModelError(f"{list(v.shape)} has not as many elements as {list(shape)}")
    runs = _runs(v.shape, shape)
    order: list[int] = []
    lying = [a for a in v.order if a != NONE and (v.shape[a] != 1 or a == 0)]
    at = 0
    while runs is not None and at < len(lying):
        old, new = next((run for run in runs if lying[at] in run[0]), ([], []))
        if not old or lying[at : at + len(old)] != old:
            runs = None
            break
        order += new
        at += len(old)
    if runs is None:
        return _moved(build, v, shape)
    samples = _samples(v, shape)
    if tuple(shape[a] for a in order) == tuple(v.shape[a] for a in lying):  # only axes of length 1 came or went
        place = dict(zip(lying, order, strict=True)) | samples
        return Value(v.stored, shape, tuple(place.get(a, NONE) for a in v.order))
    order = [*samples.values(), *order]
    return Value(build.reshaped(v.stored, tuple(shape[a] for a in order)), shape, tuple(order))


def _samples(v: Value, shape: Shape) -> dict[int, int]:
    """The axis of one sample that lies first and is not ONNX's first, as of sequences [T, N, ...]; and that in ``shape``."""
    first = v.order[0] if v.order else NONE
    if first < 1 or v.shape[first] != 1:
        return {}
    before = prod(v.shape[:first])
    found = [a for a, n in enumerate(shape) if n == 1 and a and prod(shape[:a]) == before]
    return {first: found[0]} if found else {}


def _moved(build: Builder, v: Value, shape: Shape) -> Value:
    """``v`` in another shape, its axes moved first: as ONNX has them, unless it is an image whose channels stay last."""
    runs = _runs(v.shape, shape) or []
    order = list[int]()
    for a in v.order:
        order += [] if a in order else next((old for old, _ in runs if a in old), [])
    if len(shape) == 4 and any(old == order[-len(old) :] and new[-1] == 1 for old, new in runs):
        return reshaped(build, build.arranged(v, tuple(order)), shape)
    return Value.plain(build.reshaped(build.as_onnx(v).stored, shape))


def _runs(old: Shape, new: Shape) -> list[tuple[list[int], list[int]]] | None:
    """The least runs of axes that hold the same elements, without axes of length 1; the first counts where both have it."""
    runs, i, j = list[tuple[list[int], list[int]]](), 0, 0
    if old[:1] == new[:1] == (1,):
        runs, i, j = [([0], [0])], 1, 1
    elif 1 in (*old[:1], *new[:1]):
        return None
    left, right = [a for a in range(i, len(old)) if old[a] != 1], [a for a in range(j, len(new)) if new[a] != 1]
    while left and right:
        run = ([left.pop(0)], [right.pop(0)])
        while (a := prod(old[n] for n in run[0])) != (b := prod(new[n] for n in run[1])):
            side, rest = (run[0], left) if a < b else (run[1], right)
            if not rest:
                return None
            side.append(rest.pop(0))
        runs.append(run)
    return None if left or right else runs


def _reshape(call: Call) -> Value:
    v, wanted = call.value(0), call.whole(1, "shape")
    if wanted is None:
        raise ModelError("it says no shape")
    keeps = not call.integer("allowzero", 0)
    if keeps and any(n == 0 and a >= v.rank for a, n in enumerate(wanted)):
        raise ModelError(f"a shape {list(wanted)} of a tensor of {v.rank} axes")
    sizes = [v.shape[a] if n == 0 and keeps else n for a, n in enumerate(wanted)]
    if sizes.count(-1) == 1:
        rest = prod(n for n in sizes if n != -1)
        if rest == 0 or prod(v.shape) % rest:
            raise ModelError(f"{list(v.shape)} cannot be given the shape {list(wanted)}")
        sizes[sizes.index(-1)] = prod(v.shape) // rest
    return reshaped(call.build, v, tuple(sizes))


def _flatten(call: Call) -> Value:
    v = call.value(0)
    axis = call.integer("axis", 1)
    axis = axis + v.rank if axis < 0 else axis
    return reshaped(call.build, v, (prod(v.shape[:axis]), prod(v.shape[axis:])))


def _squeeze(call: Call) -> Value:
    v, given = call.value(0), call.axes(1)
    axes = [a for a, n in enumerate(v.shape) if n == 1] if given is None else [call.counted(a, v.rank) for a in given]
    return without(v, tuple(axes))


def _unsqueeze(call: Call) -> Value:
    v = call.value(0)
    given = call.axes(1)
    if given is None:
        raise ModelError("it says no axes")
    rank = v.rank + len(given)
    new = {call.counted(a, rank) for a in given}
    kept = [a for a in range(rank) if a not in new]
    if len(kept) != v.rank:
        raise ModelError(f"axes {list(given)} are not apart")
    shape = tuple(1 if a in new else v.shape[kept.index(a)] for a in range(rank))
    return Value(v.stored, shape, tuple(a if a == NONE else kept[a] for a in v.order))


def _expand(call: Call) -> Value:
    v, wanted = call.value(0), call.whole(1, "shape")
    try:
        shape = np.broadcast_shapes(v.shape, wanted or ())
    except ValueError as error:
        raise ModelError(f"{list(v.shape)} does not fit the shape {list(wanted or ())}") from error
    if prod(shape) == prod(v.shape):
        return reshaped(call.build, v, shape)
    v = call.build.complete(v.seen_as(len(shape)))
    sizes = np.asarray([1 if a == NONE else shape[a] for a in v.order], np.int32)
    return Value(call.build.one(BroadcastTo(), v.stored, sizes), shape, v.order)


def _tile(call: Call) -> Value:
    v, times = call.build.complete(call.value(0)), call.whole(1, "repeats")
    if times is None or len(times) != v.rank:
        raise ModelError(f"repeats {times} of a tensor of {v.rank} axes")
    y = call.build.one(Tile(), v.stored, np.asarray(call.lists(v, dict(enumerate(times)), 1), np.int32))
    return call.resized(y, v.order)


# ---- parts --------------------------------------------------------------------------------------------------------------


def part(build: Builder, v: Value, ranges: Mapping[int, range]) -> Value:
    """The elements of ``v`` at ``ranges`` along ONNX's axes; all along others. Where there are none, an empty constant.

    Of tensors one after the other that are in one of them, it is the part of that: what lies beside decides no scale then.
    """
    ranges = {a: r for a, r in ranges.items() if r != range(v.shape[a])}
    if not ranges:
        return v
    shape = tuple(len(ranges[a]) if a in ranges else n for a, n in enumerate(v.shape))
    if 0 in shape:
        return Value.plain(Stored.of(np.empty(shape, v.stored.dtype)))
    v = build.having(v, *ranges)
    for a, places in ranges.items():
        if (found := build.part_of(v.stored, v.axis(a), places)) is not None:
            holder = tuple(found[0].shape[v.axis(a)] if n == a else length for n, length in enumerate(v.shape))
            return part(build, Value(found[0], holder, v.order), ranges | {a: found[1]})
    if all(r.step == 1 for r in ranges.values()):
        begins = np.asarray([ranges[a].start if a in ranges else 0 for a in v.order], np.int32)
        sizes = np.asarray([len(ranges[a]) if a in ranges else -1 for a in v.order], np.int32)
        y = build.one(Slice(), v.stored, begins, sizes)
    else:
        begins = np.asarray([ranges[a].start if a in ranges else 0 for a in v.order], np.int32)
        ends = np.asarray([ranges[a].stop if a in ranges else 0 for a in v.order], np.int32)
        steps = np.asarray([ranges[a].step if a in ranges else 1 for a in v.order], np.int32)
        whole = sum(1 << n for n, a in enumerate(v.order) if a not in ranges)
        to_end = sum(1 << n for n, a in enumerate(v.order) if a in ranges and ranges[a].stop < 0)
        y = build.one(StridedSlice(whole, whole | to_end), v.stored, begins, ends, steps)
    return Value(y, shape, v.order)


def picked(build: Builder, v: Value, axis: int, places: np.ndarray) -> Value:
    """The elements of ``v`` at ``places`` along ONNX's ``axis``."""
    v = build.having(v, axis)
    y = build.one(Gather(v.axis(axis)), v.stored, places)
    return Value(y, tuple(len(places) if a == axis else n for a, n in enumerate(v.shape)), v.order)


def _slice(call: Call) -> Value:
    v = call.value(0)
    starts, ends = (call.axes(n, what) for n, what in ((1, "starts"), (2, "ends")))
    if starts is None or ends is None:
        raise ModelError("it says no starts or ends")
    axes, steps = call.axes(3), call.whole(4, "steps") or (1,) * len(starts)
    axes = tuple(range(len(starts))) if axes is None else tuple(call.counted(a, v.rank) for a in axes)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise ModelError(f"starts {list(starts)}, ends {list(ends)}, axes {list(axes)} and steps {list(steps)} do not fit")
    return part(call.build, v, {a: range(v.shape[a])[b:e:s] for a, b, e, s in zip(axes, starts, ends, steps, strict=True)})


def _split(call: Call) -> list[Value]:
    axis = call.counted(call.integer("axis", 0), call.value(0).rank)
    v = call.build.having(call.value(0), axis)
    count = len(call.node.outputs)
    sizes = call.axes(1, "split")
    if sizes is None:
        each = -(-v.shape[axis] // count)
        sizes = tuple(min(each, v.shape[axis] - n * each) for n in range(count))
    if len(sizes) != count or sum(sizes) != v.shape[axis] or min(sizes) < 0:
        raise ModelError(f"{v.shape[axis]} elements in parts of {list(sizes)}")
    places = [range(end - n, end) for n, end in zip(sizes, np.cumsum(sizes).tolist(), strict=True)]
    if count == 1 or 0 in sizes or all(call.build.part_of(v.stored, v.axis(axis), r) for r in places):
        return [part(call.build, v, {axis: r}) for r in places]
    at = np.asarray(v.axis(axis), np.int32)
    if len(set(sizes)) == 1:
        made = call.build.emit(Split(count), at, v.stored)
    else:
        made = call.build.emit(SplitV(count), v.stored, np.asarray(sizes, np.int32), at)
    return [
        Value(y, tuple(n if a == axis else m for a, m in enumerate(v.shape)), v.order) for y, n in zip(made, sizes, strict=True)
    ]


def joined(build: Builder, values: Sequence[Value], axis: int) -> Value:
    """``values`` one after the other along ONNX's ``axis``, in the order of the largest that is computed."""
    if len(values) == 1:
        return values[0]
    leading = max(values, key=lambda v: (not v.is_constant, size(v.stored), 0 in v.order))
    leading = build.having(leading, axis, *(a for v in values for a, n in enumerate(v.shape) if n != 1))
    laid = [build.arranged(v, leading.order) for v in values]
    y = build.joined([v.stored for v in laid], leading.axis(axis))
    total = sum(v.shape[axis] for v in values)
    return Value(y, tuple(total if a == axis else n for a, n in enumerate(leading.shape)), leading.order)


def _concat(call: Call) -> Value:
    values = call.values
    if len({v.rank for v in values}) != 1:
        raise ModelError("tensors of different ranks side by side")
    axis = call.counted(call.integer("axis", 0), values[0].rank)
    filled = [v for v in values if v.shape[axis]]  # shapes may be put together of nothing and something
    return joined(call.build, filled or values[:1], axis)


def _gather(call: Call) -> Value:
    v, index = call.value(0), call.build.as_onnx(call.value(1))
    axis = call.counted(call.integer("axis", 0), v.rank)
    if index.stored.data is not None:
        wanted = np.where(index.stored.data < 0, index.stored.data + v.shape[axis], index.stored.data)
        if ((wanted < 0) | (wanted >= v.shape[axis])).any():
            raise ModelError(f"an index outside of {v.shape[axis]}")
        if wanted.ndim == 0 and not v.is_constant:
            first = int(wanted)
            return without(part(call.build, v, {axis: range(first, first + 1)}), (axis,))
        flat = wanted.astype(np.int64)
        if flat.ndim == 1 and flat.size and (flat == flat[0] + np.arange(flat.size)).all() and not v.is_constant:
            return part(call.build, v, {axis: range(int(flat[0]), int(flat[-1]) + 1)})
        index = Value.plain(Stored.of(flat))
    v = call.build.having(v, axis)
    y = call.build.one(Gather(v.axis(axis)), v.stored, index.stored)
    more = index.rank - 1
    order: list[int] = []
    for a in v.order:
        order += range(axis, axis + index.rank) if a == axis else [a + more if a > axis else a]  # NONE stays
    return Value(y, (*v.shape[:axis], *index.shape, *v.shape[axis + 1 :]), tuple(order))


ROWS: Final[Mapping[str, Row]] = {
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Expand": _expand,
    "Tile": _tile,
    "Slice": _slice,
    "Split": _split,
    "Concat": _concat,
    "Gather": _gather,
}
