"""Ops that move numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from intact.errors import UnsupportedError
from intact.formats.onnx_out.build import FIRST, Order, Value
from intact.formats.onnx_out.call import Call, Row, plain
from intact.ops.blocks import DepthToSpace, SpaceToDepth
from intact.ops.indexing import OneHot
from intact.ops.shaping import Concatenation, Gather, MirrorPad, Pack, ShapeOf, Split, StridedSlice, Unpack

#: What Slice takes for "to the end", in either direction.
_END: Final = 2**31 - 1


def _reshape(call: Call) -> list[Value]:
    """RESHAPE, SQUEEZE and EXPAND_DIMS: all shapes but the batch are known."""
    shape, x = call.shape(0), call.value()
    long = [axis for axis in x.order if shape[axis] != 1]
    if call.op.output in call.values.rows:
        return [Value(call.reshaped(call.first(), call.out_shape), plain(2))]
    name = x.name if long == sorted(long) else call.plain()
    return [Value(call.reshaped(name, call.out_shape), plain(len(call.out_shape)))]


def _transpose(call: Call) -> list[Value]:
    """No node: what lies where is remembered, and numbers move where somebody needs them to."""
    x, moves = call.value(), call.whole(1, "permutation")
    return [Value(x.name, tuple(moves.index(axis) for axis in x.order))]


def _pad(call: Call) -> list[Value]:
    x, pads = call.value(), np.array(call.whole(1, "paddings")).reshape(-1, 2)
    laid = pads[list(x.order)]
    value = [call.values.constant(call.id(2), shape=())] if call.has(2) else []
    sizes = call.build.numbers(*laid[:, 0], *laid[:, 1])
    return [Value(call.node("Pad", x.name, sizes, *value, mode="constant"), x.order)]


def _mirror(call: Call) -> list[Value]:
    """By indices where the edge is mirrored too, which Pad cannot."""
    x, pads = call.value(), np.array(call.whole(1, "paddings")).reshape(-1, 2)
    if call.kind(MirrorPad).mode == "reflect":
        laid = pads[list(x.order)]
        return [Value(call.node("Pad", x.name, call.build.numbers(*laid[:, 0], *laid[:, 1]), mode="reflect"), x.order)]
    name = x.name
    for axis, (before, behind) in enumerate(pads):
        if before or behind:
            index = np.pad(np.arange(call.shape(0)[axis]), (before, behind), mode="symmetric")
            name = call.node("Gather", name, call.build.constant(index, "int64", "places"), axis=x.axis(axis))
    return [Value(name, x.order)]


def _concatenation(call: Call) -> list[Value]:
    kind = call.kind(Concatenation)
    names, order = call.alike()
    made = call.node("Concat", *names, axis=order.index(kind.axis % len(order)))
    return [Value(call.activated(made, kind.activation), order)]


def _pack(call: Call) -> list[Value]:
    kind, rank = call.kind(Pack), len(call.out_shape)
    axis = kind.axis % rank
    shape = tuple(1 if a == axis else n for a, n in enumerate(call.out_shape))
    names = [call.settled(call.reshaped(call.plain(n), shape)) for n in range(len(call.op.inputs))]
    return [Value(call.node("Concat", *names, axis=axis), plain(rank))]


def _unpack(call: Call) -> list[Value]:
    kind, x, rank = call.kind(Unpack), call.value(), len(call.shape(0))
    axis, count = kind.axis % rank, len(call.op.outputs)
    parts = call.build.node_of("Split", (x.name, call.build.numbers(*[1] * count)), count, axis=x.axis(axis))
    left = [a for a in x.order if a != axis]
    order = tuple(sorted(left).index(a) for a in left)
    at = call.build.numbers(x.axis(axis))
    return [Value(call.node("Squeeze", call.settled(part), at), order) for part in parts]


def _parts(call: Call, n: int, axis: int, sizes: Sequence[int]) -> list[Value]:
    x = call.value(n)
    made = call.build.node_of("Split", (x.name, call.build.numbers(*sizes)), len(sizes), axis=x.axis(axis))
    return [Value(name, x.order) for name in made]


def _split(call: Call) -> list[Value]:
    (axis,), count = call.whole(0, "axis"), call.kind(Split).count
    return _parts(call, 1, axis, [call.shape(1)[axis] // count] * count)


def _split_v(call: Call) -> list[Value]:
    sizes, (axis,) = list(call.whole(1, "sizes")), call.whole(2, "axis")
    rest = call.shape(0)[axis] - sum(n for n in sizes if n != -1)
    return _parts(call, 0, axis, [rest if n == -1 else n for n in sizes])


def _cut(call: Call, entries: Sequence[tuple[int, int, int, int]]) -> Value:
    """Slices of (axis, begin, end, step)."""
    x, build = call.value(), call.build
    if not entries:
        return x
    columns = list(zip(*entries, strict=True))
    axes = build.numbers(*(x.axis(axis) for axis in columns[0]))
    begins, ends, steps = (build.numbers(*column) for column in columns[1:])
    return Value(call.node("Slice", x.name, begins, ends, axes, steps), x.order)


def _slice(call: Call) -> list[Value]:
    spans = zip(call.whole(1, "begin"), call.whole(2, "size"), strict=True)
    entries = [(axis, begin, _END if size == -1 else begin + size, 1) for axis, (begin, size) in enumerate(spans)]
    return [_cut(call, [entry for entry in entries if entry[1:3] != (0, _END)])]


def _strided(call: Call) -> list[Value]:
    given = list(zip(*(call.whole(n, what) for n, what in ((1, "begin"), (2, "end"), (3, "strides"))), strict=True))
    rank, out = len(call.shape(0)), call.out_shape
    full, spans, added = call.kind(StridedSlice).in_full(rank, given)
    entries, dropped = [], []
    for axis, (begin, end, step) in enumerate(spans):
        bit = 1 << axis
        if full.shrink_axis_mask & bit:
            dropped.append(axis)
            entries.append((axis, begin, _END if begin == -1 else begin + 1, 1))
            continue
        first = (0 if step > 0 else _END) if full.begin_mask & bit else begin
        last = (_END if step > 0 else -_END) if full.end_mask & bit else end
        if (first, last, step) != (0, _END, 1):
            entries.append((axis, first, last, step))
    x = _cut(call, entries)
    if not dropped and not added:
        return [x]
    if x.order != plain(rank):
        x = Value(_laid(call, call.settled(x.name) if entries else x.name, x.order), plain(rank))
    return [Value(call.reshaped(call.settled(x.name) if entries else x.name, out), plain(len(out)))]


def _laid(call: Call, name: str, order: Order) -> str:
    return call.settled(call.node("Transpose", name, perm=[order.index(axis) for axis in range(len(order))]))


def _gather(call: Call) -> list[Value]:
    kind = call.kind(Gather)
    axis, batch = kind.axis % max(len(call.shape(0)), 1), kind.batch_dims % max(len(call.shape(1)), 1)
    if batch and (axis != batch or call.values.is_constant(call.id(1))):
        raise UnsupportedError("gathers in batches along an axis behind them, or at places of one batch")
    if batch:
        index = call.node("Unsqueeze", call.node("Cast", call.plain(1), to="int64"), call.build.numbers(-1))
        return [Value(call.node("GatherND", call.plain(), index, batch_dims=batch), plain(len(call.out_shape)))]
    return [Value(call.node("Gather", call.plain(), call.plain(1), axis=axis), plain(len(call.out_shape)))]


def _gather_nd(call: Call) -> list[Value]:
    index = call.node("Cast", call.plain(1), to="int64")
    return [Value(call.node("GatherND", call.plain(), index), plain(len(call.out_shape)))]


def _scatter_nd(call: Call) -> list[Value]:
    shape = call.build.numbers(*call.whole(2, "shape"))
    zeros = call.node("Expand", call.build.constant(np.zeros((), np.float32), call.out().format.dtype, "zero"), shape)
    made = call.node("ScatterND", zeros, call.node("Cast", call.plain(), to="int64"), call.plain(1), reduction="add")
    call.build.needs(16)
    return [Value(made, plain(len(call.out_shape)))]


def _lookup(call: Call) -> list[Value]:
    """EMBEDDING_LOOKUP: the ids come first."""
    return [Value(call.node("Gather", call.plain(1), call.reshaped(call.plain(0), (-1,)), axis=0), plain(len(call.out_shape)))]


def _one_hot(call: Call) -> list[Value]:
    depth = call.build.numbers(*call.whole(1, "depth"))
    both = call.node("Concat", *(call.reshaped(call.plain(n), (1,)) for n in (3, 2)), axis=0)
    made = call.node("OneHot", call.plain(), depth, both, axis=call.kind(OneHot).axis)
    return [Value(made, plain(len(call.out_shape)))]


def _tile(call: Call) -> list[Value]:
    x = call.value()
    return [Value(call.node("Tile", x.name, call.build.numbers(*x.arranged(call.whole(1, "multiples")))), x.order)]


def _expand(n: int, sizes: int) -> Row:
    """BROADCAST_TO and FILL: input ``n`` repeated to the shape in input ``sizes``."""

    def row(call: Call) -> list[Value]:
        shape = call.build.numbers(*call.whole(sizes, "shape"))
        return [Value(call.node("Expand", call.plain(n), shape), plain(len(call.out_shape)))]

    return row


def _reverse(call: Call) -> list[Value]:
    rank = len(call.shape(0))
    return [_cut(call, [(axis % rank, -1, -_END, -1) for axis in call.whole(1, "axes")])]


def _depth_to_space(call: Call) -> list[Value]:
    return [Value(call.node("DepthToSpace", call.first(), blocksize=call.kind(DepthToSpace).block_size, mode="DCR"), FIRST)]


def _space_to_depth(call: Call) -> list[Value]:
    return [Value(call.node("SpaceToDepth", call.first(), blocksize=call.kind(SpaceToDepth).block_size), FIRST)]


def _steps(call: Call, *steps: Callable[[str], str]) -> str:
    """What one step after the other makes, rounded in between."""
    name = call.plain()
    for n, step in enumerate(steps):
        name = step(name if n == 0 else call.settled(name))
    return name


def _space_to_batch(call: Call) -> list[Value]:
    block, pads, shape = call.whole(1, "block sizes"), np.array(call.whole(2, "paddings")).reshape(-1, 2), call.shape(0)
    m, rest = len(block), shape[1 + len(block) :]
    around = [[0, 0], *pads.tolist(), *[[0, 0]] * len(rest)]
    whole = [(shape[1 + a] + int(pads[a].sum())) // block[a] for a in range(m)]
    cut = [part for size, b in zip(whole, block, strict=True) for part in (size, b)]
    moves = [*(2 + 2 * a for a in range(m)), 0, *(1 + 2 * a for a in range(m)), *(1 + 2 * m + r for r in range(len(rest)))]
    sizes = call.build.numbers(*(before for before, _ in around), *(behind for _, behind in around))
    name = _steps(
        call,
        lambda x: call.node("Pad", x, sizes, mode="constant"),
        lambda x: call.reshaped(x, (-1, *cut, *rest)),
        lambda x: call.node("Transpose", x, perm=moves),
        lambda x: call.reshaped(x, (-1, *whole, *rest)),
    )
    return [Value(name, plain(len(shape)))]


def _batch_to_space(call: Call) -> list[Value]:
    block, crops, shape = call.whole(1, "block sizes"), np.array(call.whole(2, "crops")).reshape(-1, 2), call.shape(0)
    m, rest = len(block), shape[1 + len(block) :]
    moves = [m, *(axis for a in range(m) for axis in (m + 1 + a, a)), *(2 * m + 1 + r for r in range(len(rest)))]
    whole = [size * b for size, b in zip(shape[1 : 1 + m], block, strict=True)]
    axes = call.build.numbers(*range(1, 1 + m))
    begins = call.build.numbers(*crops[:, 0].tolist())
    ends = call.build.numbers(*(size - int(crop[1]) for size, crop in zip(whole, crops, strict=True)))
    name = _steps(
        call,
        lambda x: call.reshaped(x, (*block, -1, *shape[1 : 1 + m], *rest)),
        lambda x: call.node("Transpose", x, perm=moves),
        lambda x: call.reshaped(x, (-1, *whole, *rest)),
        lambda x: call.node("Slice", x, begins, ends, axes),
    )
    return [Value(name, plain(len(shape)))]


def _shape(call: Call) -> list[Value]:
    return [Value(call.node("Cast", call.node("Shape", call.plain()), to=call.kind(ShapeOf).dtype), plain(1))]


def _rank(call: Call) -> list[Value]:
    return [Value(call.build.constant(np.array(len(call.shape(0)), np.int32), "int32", "rank"), ())]


ROWS: Final[dict[str, Row]] = {
    "RESHAPE": _reshape,
    "SQUEEZE": _reshape,
    "EXPAND_DIMS": _reshape,
    "TRANSPOSE": _transpose,
    "PAD": _pad,
    "PADV2": _pad,
    "MIRROR_PAD": _mirror,
    "CONCATENATION": _concatenation,
    "PACK": _pack,
    "UNPACK": _unpack,
    "SPLIT": _split,
    "SPLIT_V": _split_v,
    "SLICE": _slice,
    "STRIDED_SLICE": _strided,
    "GATHER": _gather,
    "GATHER_ND": _gather_nd,
    "SCATTER_ND": _scatter_nd,
    "EMBEDDING_LOOKUP": _lookup,
    "ONE_HOT": _one_hot,
    "TILE": _tile,
    "BROADCAST_TO": _expand(0, 1),
    "FILL": _expand(1, 0),
    "REVERSE_V2": _reverse,
    "DEPTH_TO_SPACE": _depth_to_space,
    "SPACE_TO_DEPTH": _space_to_depth,
    "SPACE_TO_BATCH_ND": _space_to_batch,
    "BATCH_TO_SPACE_ND": _batch_to_space,
    "SHAPE": _shape,
    "RANK": _rank,
}
