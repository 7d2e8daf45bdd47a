"""Moves spelled otherwise move the same numbers."""

import itertools

import numpy as np
import pytest
from compare import assert_same
from drafts import draft
from small_graphs import graph

from intact.network.graph import Op, Tensor
from intact.network.shapes import concrete, infer
from intact.network.verify import verify
from intact.numbers.affine import Float, Index
from intact.ops.logic import Select, SelectV2
from intact.ops.shaping import Concatenation, MirrorPad, Reshape, StridedSlice, Tile, Transpose, Unpack
from intact.rewrite.lowerings import lower
from intact.rewrite.move_ops import merged, transpose_within
from intact.simulate.engine import Program

ACTIVATIONS = ("float32", "int8", "int16")


def outputs(net, *inputs):
    """What the network gives for inputs in their order."""
    return list(Program(net)(dict(zip(net.input_names, inputs, strict=True))).values())


def numbers(*shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def longest(net, name):
    """The most axes of any tensor that an op of kind ``name`` touches."""
    return max((len(net[i].shape) for op in net.ops if op.kind.name == name for i in (op.inputs[0], op.output)), default=0)


# ---- TRANSPOSE ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "axes", "small", "order"),
    [
        ((1, 16, 16, 2, 2, 2), (0, 1, 3, 2, 4, 5), (16, 16, 2, 4), (0, 2, 1, 3)),
        ((2, 3, 4), (0, 1, 2), (24,), (0,)),
        ((2, 3, 4), (1, 2, 0), (2, 12), (1, 0)),
        ((2, 1, 4, 1, 3), (3, 2, 1, 0, 4), (2, 4, 3), (1, 0, 2)),
        ((None, 3, 4, 5), (0, 1, 3, 2), (None, 3, 4, 5), (0, 1, 3, 2)),
        ((None, 3, 4, 5), (0, 3, 1, 2), (None, 12, 5), (0, 2, 1)),
        ((1, 1), (1, 0), (), ()),
    ],
)
def test_axes_that_stay_together_are_one(shape, axes, small, order):
    assert merged(shape, axes) == (small, order)


def transposed(shape, axes, *, open_batch=False):
    if open_batch:
        return draft(shape[1:], lambda d, x: d(Transpose(), x, list(axes)))
    tensors = (
        Tensor(0, "x", shape),
        Tensor(1, "p", (len(axes),), Index("int32"), np.asarray(axes, np.int32)),
        Tensor(2, "y", tuple(shape[a] for a in axes)),
    )
    return graph(tensors, [Op(Transpose(), (0, 1), (2,))], (0,), (2,))


@pytest.mark.parametrize("rank", [3, 4, 5])
def test_every_order_of_six_axes_is_done_in_fewer(rank):
    shape = (2, 3, 2, 4, 2, 3)
    x = numbers(*shape)
    for axes in itertools.islice(itertools.permutations(range(6)), 0, None, 7):
        net = transposed(shape, axes)
        ops, tensors = transpose_within(rank, net, net.ops[0], net.next_id)
        new = verify(graph([*net.tensors.values(), *tensors], ops, net.inputs, net.outputs))
        assert longest(new, "TRANSPOSE") <= rank
        assert_same(outputs(new, x)[0], x.transpose(axes))


@pytest.mark.parametrize("axes", [(0, 1, 3, 2, 4, 5), (0, 5, 4, 3, 2, 1), (0, 2, 4, 1, 5, 3), (0, 3, 1, 5, 2, 4)])
@pytest.mark.parametrize("activations", ACTIVATIONS)
def test_a_batch_stays_open(axes, activations):
    net = transposed((None, 3, 2, 4, 2, 3), axes, open_batch=True)
    new = lower(net, "mcu", activations)
    assert longest(new, "TRANSPOSE") <= 5
    assert new[new.outputs[0]].shape[0] is None
    x = numbers(4, 3, 2, 4, 2, 3)
    assert_same(outputs(new, x)[0], x.transpose(axes))
    assert infer(new, 7)[new.outputs[0]] == (7, *concrete(net[net.outputs[0]])[1:])


def test_depth_to_space_by_reshape_is_three_ops():
    def build(d, x):
        y = d(Reshape(), x, [-1, 4, 4, 2, 2, 2])
        y = d(Transpose(), y, [0, 1, 3, 2, 4, 5])
        return d(Reshape(), y, [-1, 8, 8, 2])

    net = draft((4, 4, 8), build)
    new = lower(net, "mcu", "int8")
    assert [op.kind.name for op in new.ops] == ["RESHAPE", "TRANSPOSE", "RESHAPE"]
    x = numbers(3, 4, 4, 8)
    assert_same(outputs(new, x)[0], outputs(net, x)[0])
    assert lower(net, "cpu", "int8").ops == net.ops  # whose kernels take six axes


def test_seven_axes_are_too_many_for_a_cpu_too():
    net = transposed((None, 2, 3, 2, 2, 3, 2), (0, 6, 5, 4, 3, 2, 1), open_batch=True)
    new = lower(net, "cpu", "int8")
    assert longest(new, "TRANSPOSE") == 6
    x = numbers(2, 2, 3, 2, 2, 3, 2)
    assert_same(outputs(new, x)[0], outputs(net, x)[0])


# ---- TILE ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [(1, 2, 1), (1, 1, 3), (1, 3, 2), (1, 10, 1), (1, 11, 1), (1, 37, 1), (1, 101, 1), (1, 1, 1)])
@pytest.mark.parametrize("activations", ACTIVATIONS)
def test_tile_is_concatenation_of_at_most_ten(times, activations):
    net = draft((4, 3), lambda d, x: d(Tile(), x, list(times)))
    new = lower(net, "mcu", activations)
    assert {op.kind.name for op in new.ops} <= {"CONCATENATION", "RESHAPE"}
    assert max((len(op.inputs) for op in new.ops if op.kind.name == "CONCATENATION"), default=1) <= 10
    x = numbers(5, 4, 3)
    assert_same(outputs(new, x)[0], np.tile(x, times))


@pytest.mark.parametrize("count", [10, 11, 20, 101])
@pytest.mark.parametrize("activations", ACTIVATIONS)
def test_many_parts_come_together_ten_at_a_time(count, activations):
    net = draft((count, 2), lambda d, x: d(Concatenation(axis=-1), *d(Unpack(axis=1, count=count), x)))
    new = lower(net, "mcu", activations)
    assert max(len(op.inputs) for op in new.ops if op.kind.name == "CONCATENATION") == 10
    x = numbers(3, count, 2)
    assert_same(outputs(new, x)[0], x.reshape(3, -1))
    assert_same(outputs(lower(net, "cpu", activations), x)[0], x.reshape(3, -1))


# ---- SELECT -------------------------------------------------------------------------------------------------------------


def choice(kind, condition, a, b, fmt):
    """``kind`` of three inputs."""
    shape = np.broadcast_shapes(a, b)
    tensors = (
        Tensor(0, "c", condition, Index("bool")),
        Tensor(1, "a", a, fmt),
        Tensor(2, "b", b, fmt),
        Tensor(3, "y", shape, fmt),
    )
    return graph(tensors, [Op(kind, (0, 1, 2), (3,))], (0, 1, 2), (3,))


@pytest.mark.parametrize("activations", ACTIVATIONS)
@pytest.mark.parametrize("condition", [(3, 4, 2), (3,)])
def test_select_is_select_v2(condition, activations):
    net = choice(Select(), condition, (3, 4, 2), (3, 4, 2), Float())
    new = lower(net, "mcu", activations)
    assert [op.kind.name for op in new.ops][-1] == "SELECT_V2"
    assert "SELECT" not in {op.kind.name for op in new.ops}
    c = np.random.default_rng(0).uniform(size=condition) < 0.5
    given = (c, numbers(3, 4, 2), -numbers(3, 4, 2))
    assert_same(outputs(new, *given)[0], outputs(net, *given)[0])


@pytest.mark.parametrize("kind", [Select(), SelectV2()])
@pytest.mark.parametrize(("condition", "b"), [((3, 4), (3, 4)), ((3,), (3, 4))])
def test_whole_numbers_are_chosen_by_a_sum(kind, condition, b):
    if isinstance(kind, SelectV2):
        condition, b = (3, 4), (1, 4)
    net = choice(kind, condition, (3, 4), b, Index("int32"))
    new = lower(net, "mcu", "int8")
    assert not {"SELECT", "SELECT_V2"} & {op.kind.name for op in new.ops}
    draw = np.random.default_rng(0)
    given = (draw.uniform(size=condition) < 0.5, *(draw.integers(-(2**31), 2**31, s).astype(np.int32) for s in ((3, 4), b)))
    assert_same(outputs(new, *given)[0], outputs(net, *given)[0])


# ---- STRIDED_SLICE and MIRROR_PAD ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("begin", "end", "strides", "masks", "made"),
    [
        ([0, 0, 0, 0], [0, 0, 0, 0], [1, 2, 2, 1], (15, 15), ["MAX_POOL_2D"]),
        ([0, 1, 0, 0], [0, 0, 0, 0], [1, 2, 2, 1], (13, 15), ["STRIDED_SLICE", "MAX_POOL_2D"]),
        ([0, 1, 2, 1], [0, 7, -1, 3], [1, 3, 1, 1], (1, 1), ["STRIDED_SLICE", "MAX_POOL_2D"]),
        ([0, 0, 0, 0], [0, 0, 0, 0], [1, 2, 1, 2], (15, 15), ["STRIDED_SLICE"]),  # channels are no rows
        ([0, -1, 0, 0], [0, -9, 0, 0], [1, -2, 1, 1], (13, 13), ["STRIDED_SLICE"]),  # backwards
        ([0, 1, 0, 0], [0, 6, 0, 0], [1, 1, 1, 1], (13, 13), ["STRIDED_SLICE"]),  # every row
    ],
)
def test_every_nth_row_is_a_pool(begin, end, strides, masks, made):
    net = draft((8, 7, 4), lambda d, x: d(StridedSlice(begin_mask=masks[0], end_mask=masks[1]), x, begin, end, strides))
    new = lower(net, "cpu", "int8")
    assert [op.kind.name for op in new.ops] == made
    x = numbers(3, 8, 7, 4) - 300
    assert_same(outputs(new, x)[0], outputs(net, x)[0])
    assert lower(net, "mcu", "int8").ops == net.ops


def test_a_slice_that_drops_an_axis_stays():
    def build(d, x):
        return d(StridedSlice(begin_mask=13, end_mask=13, shrink_axis_mask=2), x, [0, 1, 0, 0], [0, 2, 0, 0], [1, 1, 2, 1])

    net = draft((8, 7, 4), build)
    assert lower(net, "cpu", "int8").ops == net.ops


@pytest.mark.parametrize("mode", ["reflect", "symmetric"])
@pytest.mark.parametrize("pads", [[(1, 1), (1, 1), (0, 0)], [(0, 2), (3, 0), (0, 0)], [(4, 4), (0, 0), (1, 0)]])
def test_a_narrow_mirror_is_slices(mode, pads):
    net = draft((6, 5, 3), lambda d, x: d(MirrorPad(mode), x, [(0, 0), *pads]))
    new = lower(net, "cpu", "int8")
    assert {op.kind.name for op in new.ops} == {"STRIDED_SLICE", "CONCATENATION"}
    x = numbers(2, 6, 5, 3)
    assert_same(outputs(new, x)[0], np.pad(x, [(0, 0), *pads], mode))


@pytest.mark.parametrize("pads", [[(0, 0), (5, 0), (0, 0), (0, 0)], [(0, 0)] * 4])
def test_a_wide_mirror_stays(pads):
    net = draft((8, 5, 3), lambda d, x: d(MirrorPad(), x, pads))
    assert lower(net, "cpu", "int8").ops == net.ops
