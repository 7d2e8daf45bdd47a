"""An op with a weight: its tensors by what they are for, wherever the op keeps them and whatever it leaves out."""

from dataclasses import replace

import numpy as np
import pytest
from drafts import draft, normal

from intact.network.weighted import data_of, weight_of, weighted
from intact.ops.convolution import Conv2D, DepthwiseConv2D, TransposeConv
from intact.ops.elementwise import Add
from intact.ops.matmul import FullyConnected


def named(found):
    return found.weight.shape, None if found.bias is None else found.bias.shape, found.data.shape, found.axis


def test_every_kind_with_a_weight_tells_its_tensors_apart():
    conv = draft((6, 6, 2), lambda d, x: d(Conv2D(), x, normal(3, 1, 1, 2), normal(3)))
    assert named(weighted(conv, conv.ops[0])) == ((3, 1, 1, 2), (3,), (None, 6, 6, 2), 0)
    depthwise = draft((6, 6, 2), lambda d, x: d(DepthwiseConv2D(), x, normal(1, 3, 3, 2), normal(2)))
    assert named(weighted(depthwise, depthwise.ops[0])) == ((1, 3, 3, 2), (2,), (None, 6, 6, 2), 3)
    dense = draft((2,), lambda d, x: d(FullyConnected(), x, normal(4, 2)))
    assert named(weighted(dense, dense.ops[0])) == ((4, 2), None, (None, 2), 0)


def test_the_data_of_a_transposed_convolution_is_neither_its_sizes_nor_its_weight():
    def build(d, x):
        return d(TransposeConv(stride=(2, 2)), np.int32([1, 8, 8, 3]), normal(3, 2, 2, 2), x)

    graph = draft((4, 4, 2), build)
    found = weighted(graph, graph.ops[-1])
    assert (found.data.id, found.weight.shape, found.bias) == (graph.inputs[0], (3, 2, 2, 2), None)
    assert data_of(graph, graph.ops[-1]) == graph.inputs[0]


def test_an_op_without_a_weight_is_none():
    graph = draft((2,), lambda d, x: d(Add(), x, normal(2)))
    assert weighted(graph, graph.ops[0]) is None
    assert data_of(graph, graph.ops[0]) is None
    with pytest.raises(TypeError, match=r"ADD '.*' has no weight"):
        weight_of(graph, graph.ops[0])


def test_a_weight_or_data_that_is_left_out_is_none_and_never_tensor_0():
    graph = draft((2,), lambda d, x: d(FullyConnected(), x, normal(4, 2)))
    (op,) = graph.ops
    x, w = op.inputs
    assert weighted(graph, replace(op, inputs=(x, None))) is None
    assert weighted(graph, replace(op, inputs=(None, w))) is None
    assert weighted(graph, replace(op, inputs=(x, w, None))).bias is None


def test_a_bias_is_put_where_the_kind_keeps_it():
    graph = draft((2,), lambda d, x: d(FullyConnected(), x, normal(4, 2)))
    found = weighted(graph, graph.ops[0])
    assert found.with_bias(7).inputs == (*graph.ops[0].inputs, 7)
    assert weighted(graph, replace(graph.ops[0], inputs=(*graph.ops[0].inputs, None))).with_bias(7).inputs[2] == 7


def test_values_are_of_constant_weights_only():
    graph = draft((2,), lambda d, x: d(FullyConnected(), x, d(Add(), normal(1, 2), x)))
    found = weighted(graph, graph.ops[-1])
    assert not found.is_constant
    with pytest.raises(TypeError, match="is computed"):
        _ = found.values
