"""What an op makes of what is known: shapes first, values only where they are few, and every misfit in words."""

import subprocess
import sys

import pytest
import torch

from intact.errors import ModelError, UnsupportedError
from intact.ops.convolution import TransposeConv
from intact.ops.elementwise import Add
from intact.ops.indexing import Fill, Range
from intact.ops.inference import Allowance, infer_shapes, known_values
from intact.ops.matmul import BatchMatMul, FullyConnected
from intact.ops.pooling import MaxPool2D
from intact.ops.recurrent import UnidirectionalSequenceLstm
from intact.ops.shaping import MirrorPad, Reshape, StridedSlice, Tile, Unpack


def ints(*values):
    return torch.tensor(values, dtype=torch.int64)


def bare(*shape, dtype=torch.float32):
    return torch.empty(shape, device="meta", dtype=dtype)


def test_shapes_follow_from_whole_numbers_and_nothing_is_computed():
    assert infer_shapes(Fill(), [ints(2**14, 2**14), ints(7)]) == ((2**14, 2**14),)  # a GiB, were it filled
    assert infer_shapes(Reshape(), [bare(4, 6), ints(-1, 3)]) == ((8, 3),)
    assert infer_shapes(Range(), [ints(0), ints(2**28), ints(2)]) == ((2**27,),)


def test_an_axis_of_millions_is_no_list():
    long = bare(1, 2**28, dtype=torch.int8)
    begin, end, stride = ints(0, 5), ints(1, 2**28), ints(1, 3)
    assert infer_shapes(StridedSlice(), [long, begin, end, stride]) == ((1, -(-(2**28 - 5) // 3)),)
    pads = torch.tensor([[0, 0], [1, 2]])
    assert infer_shapes(MirrorPad(), [bare(1, 2**27), pads]) == ((1, 2**27 + 3),)
    weights = [bare(4, 3)] * 4 + [bare(4, 4)] * 4
    states = [None] * 12  # peepholes, biases, projection, states
    hidden, *_ = infer_shapes(UnidirectionalSequenceLstm(), [bare(1, 60_000, 3), *weights, *states])
    assert hidden == (1, 60_000, 4)


def test_slices_and_mirrors_are_what_they_were():
    x = torch.arange(10)
    for begin, end, step in ((2, 9, 3), (9, 1, -2), (4, 4, 1), (7, 2, 1)):
        made = StridedSlice().compute(x, ints(begin), ints(end), ints(step))
        assert made.tolist() == list(range(10))[begin:end:step]
    assert MirrorPad("reflect").compute(x[:4], torch.tensor([[2, 1]])).tolist() == [2, 1, 0, 1, 2, 3, 2]
    assert MirrorPad("symmetric").compute(x[:4], torch.tensor([[2, 1]])).tolist() == [1, 0, 0, 1, 2, 3, 3]


def test_values_are_computed_while_the_allowance_lasts():
    allowance = Allowance(1000)
    (made,) = known_values(Tile(), [ints(1, 2), ints(300)], allowance)
    assert made.tolist() == [1, 2] * 300
    assert allowance.left == 400
    assert known_values(Tile(), [ints(1, 2), ints(300)], allowance) is None
    (made,) = known_values(Add(), [ints(1, 2), ints(3)], Allowance(0))  # a step of a counter costs nothing
    assert made.tolist() == [4, 5]


def test_products_of_weights_are_left_unknown():
    assert known_values(BatchMatMul(), [ints(1, 2).reshape(1, 2), ints(3, 4).reshape(2, 1)], Allowance()) is None


@pytest.mark.parametrize(
    ("kind", "inputs", "says"),
    [
        (Add(), (ints(1, 2), ints(1, 2, 3)), r"inputs of shape \[2\], \[3\] do not fit"),
        (Add(), (bare(2, 3), None), "required input b is left out"),
        (FullyConnected(), (bare(2, 3), bare(4, 3), bare(5)), r"inputs of shape \[2, 3\], \[4, 3\], \[5\] do not fit"),
        (Tile(), (bare(2, 2), ints(3)), r"multiples \[3\] do not fit rank 2"),
        (Tile(), (bare(2**14, 2**14), ints(2, 1)), r"a tensor of shape \[32768, 16384\]"),
        (Reshape(), (bare(4), ints(2, 2).reshape(1, 2)), r"shape is a constant of shape \[1, 2\], which is no list"),
        (MaxPool2D(stride=(0, 1)), (bare(1, 4, 4, 1),), "a pool of size"),
        (Unpack(axis=0), (bare(2**20),), "an axis of 1,048,576 cannot be taken apart"),
        (Unpack(axis=1), (bare(4),), "do not fit"),
        (
            TransposeConv((1, 65536), "same"),
            (ints(1, 9, 16, 8), bare(8, 3, 3, 4), bare(1, 9, 8, 4)),
            r"in steps of \(1, 65536\) reaches beyond an output of \[1, 9, 16, 8\]",
        ),
    ],
)
def test_what_does_not_fit_is_told_in_words(kind, inputs, says):
    with pytest.raises(ModelError, match=says):
        infer_shapes(kind, inputs)


def test_a_shape_that_is_computed_later_is_unsupported():
    with pytest.raises(UnsupportedError, match="shape is computed at run time"):
        infer_shapes(Reshape(), [bare(4), bare(2, dtype=torch.int32)])


def test_the_same_op_of_the_same_shapes_is_asked_once(monkeypatch):
    asked = []
    compute = Reshape.compute
    monkeypatch.setattr(Reshape, "compute", lambda self, *x: asked.append(1) or compute(self, *x))
    first = infer_shapes(Reshape(), [bare(41, 6), ints(-1, 3)])
    assert infer_shapes(Reshape(), [bare(41, 6), ints(-1, 3)]) == first == ((82, 3),)
    assert len(asked) == 1
    assert infer_shapes(Reshape(), [bare(41, 6), ints(3, -1)]) == ((3, 82),)
    assert infer_shapes(Reshape(), [bare(41, 9), ints(-1, 3)]) == ((123, 3),)
    assert infer_shapes(StridedSlice(begin_mask=1), [bare(9), ints(2), ints(5), ints(1)]) == ((5,),)
    assert infer_shapes(StridedSlice(end_mask=1), [bare(9), ints(2), ints(5), ints(1)]) == ((7,),)
    for _ in range(2):  # what does not fit is said every time
        with pytest.raises(ModelError, match="do not fit"):
            infer_shapes(Add(), [bare(2, 3), bare(2, 4)])


def test_the_shapes_of_common_ops_do_not_load_a_compiler():
    script = """
import sys, torch
from intact.ops import KINDS
from intact.ops.inference import infer_shapes
def bare(*shape):
    return torch.empty(shape, device="meta")
assert infer_shapes(KINDS["FULLY_CONNECTED"](), [bare(2, 3), bare(4, 3), bare(4)]) == ((2, 4),)
assert infer_shapes(KINDS["ADD"](), [bare(2, 3), bare(2, 3)]) == ((2, 3),)
assert infer_shapes(KINDS["SOFTMAX"](), [bare(2, 3)]) == ((2, 3),)
assert infer_shapes(KINDS["MEAN"](), [bare(2, 5, 4, 3), torch.tensor([1, 2])]) == ((2, 3),)
assert infer_shapes(KINDS["MEAN"](keep_dims=True), [bare(2, 5, 4, 3), torch.tensor([1, 2])]) == ((2, 1, 1, 3),)
assert infer_shapes(KINDS["CONV_2D"](activation="relu"), [bare(1, 5, 4, 3), bare(7, 3, 3, 3), bare(7)]) == ((1, 3, 2, 7),)
sys.exit("torch._dynamo" in sys.modules)
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
