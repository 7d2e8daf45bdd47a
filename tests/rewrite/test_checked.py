"""In tests, every rewrite and lowering is followed by verify: one that breaks the graph is named, and not what comes after."""

from dataclasses import replace

import numpy as np
import pytest
from checked_rewrites import checked, checked_lowerings
from drafts import draft, normal

from intact.errors import ModelError
from intact.network.graph import Op, Tensor
from intact.ops.activation import HardSwish, Relu, Tanh
from intact.ops.matmul import FullyConnected
from intact.rewrite import clean, lowerings, table

NET = draft((3,), lambda d, x: d(Tanh(), d(FullyConnected(), x, normal(4, 3), normal(4))))


def wider(view, op):
    """Says that a TANH has one output more: no op computes that."""
    t = view.graph[op.output]
    if not isinstance(op.kind, Tanh) or t.shape[1] > 4:
        return None
    return replace(view.graph, tensors={**view.graph.tensors, t.id: replace(t, shape=(None, 5))})


def put_right(view, op):
    """What hides it from whoever looks at the end."""
    t = view.graph[op.output]
    if t.shape[1] != 5:
        return None
    return replace(view.graph, tensors={**view.graph.tensors, t.id: replace(t, shape=(None, 4))})


def test_a_rewrite_that_breaks_the_graph_is_named(monkeypatch):
    rows = {"wider": wider, "put right": put_right}
    monkeypatch.setattr(clean, "REWRITES", checked(rows))
    with pytest.raises(ModelError, match=r"after rewrite 'wider': .*TANH .* computes shape \[1, 4\].* recorded as \[1, 5\]"):
        clean.clean(NET)


def too_few(graph, op, free):
    """A clamp of nothing."""
    del graph
    return [Op(Relu(), (free,), op.outputs)], [Tensor(free, "nothing", (2,), data=np.zeros(2, np.float32))]


def test_a_lowering_that_breaks_the_graph_is_named(monkeypatch):
    net = draft((3,), lambda d, x: d(HardSwish(), x))
    key = ("cpu", "int8", "HARD_SWISH")
    monkeypatch.setattr(lowerings, "LOWERINGS", checked_lowerings({key: too_few}))
    with pytest.raises(ModelError, match=r"after lowering \('cpu', 'int8', 'HARD_SWISH'\): .*RELU .* computes shape \[2\]"):
        lowerings.lower(net, "cpu", "int8")


def test_every_row_is_checked_in_tests():
    assert clean.REWRITES.keys() == table.REWRITES.keys()
    assert not [name for name, rewrite in table.REWRITES.items() if clean.REWRITES[name] is rewrite]
    assert {row.__qualname__.partition(".")[0] for row in clean.REWRITES.values()} == {"checked"}
    assert {row.__qualname__.partition(".")[0] for row in lowerings.LOWERINGS.values()} == {"checked_lowerings"}
