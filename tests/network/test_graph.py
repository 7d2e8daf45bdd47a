"""The graph as data: an op's operands by position."""

from dataclasses import replace

import pytest
from drafts import draft, normal

from intact.errors import ModelError
from intact.ops.matmul import FullyConnected


def test_an_operand_is_the_tensor_at_its_position_and_never_tensor_0():
    graph = draft((2,), lambda d, x: d(FullyConnected(), x, normal(4, 2), None))
    (op,) = graph.ops
    assert [graph.operand(op, n).id for n in (0, 1)] == list(op.inputs[:2])
    for n in (2, 3):  # left out, and beyond the last
        with pytest.raises(ModelError, match=rf"op FULLY_CONNECTED '.*' needs its input {n}, which is left out"):
            graph.operand(op, n)
    with pytest.raises(ModelError, match="needs its input 0"):
        graph.operand(replace(op, inputs=(None, *op.inputs[1:])), 0)
