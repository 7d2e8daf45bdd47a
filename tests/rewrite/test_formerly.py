"""Ops are kept in float by what the user's model calls them, however they are spelled since."""

from dataclasses import replace

import numpy as np
import pytest
from drafts import draft, normal

import intact
from intact.errors import OptionError
from intact.ops.activation import HardSwish, Relu
from intact.ops.convolution import Conv2D
from intact.ops.elementwise import Add, Mul, Sub
from intact.ops.reduction import Mean
from intact.planning.integer_ops import kept_float
from intact.run.prepared import prepare
from intact.run.settings import Settings


def net():
    """A batch norm apart from its convolution, a HARD_SWISH that is lowered, and a SUB that becomes an ADD."""

    def build(d, x):
        y = d(Conv2D(padding="same"), x, normal(8, 3, 3, 3), normal(8))
        y = d(Relu(), d(Add(), d(Mul(), y, normal(8)), normal(8, seed=1)))
        return d(Mean(), d(Sub(), d(HardSwish(), y), np.float32(1.5)), [1, 2])

    return draft((8, 8, 3), build)


def kept(pattern, target="cpu"):
    """Kinds of the ops of the network as it is planned that ``pattern`` keeps in float."""
    settings = Settings(target=target, keep_float=(pattern,))
    graph = prepare(net(), settings)
    found = kept_float(graph, settings.request())
    return [op.kind.name for op in graph.ops if op.output in found]


@pytest.mark.parametrize(
    ("pattern", "kinds"),
    [
        ("SUB", ["ADD"]),  # as x + -1.5
        ("ADD", ["CONV_2D"]),  # the user's own ADD, which is in the convolution now, and not what SUB and HARD_SWISH became
        ("MUL", ["CONV_2D"]),
        ("RELU", ["CONV_2D"]),
        ("CONV_2D", ["CONV_2D"]),
        ("HARD_SWISH", ["ADD", "MUL", "MUL"]),
        ("MEAN", ["MEAN"]),
        ("x3", ["CONV_2D"]),  # the convolution's own output, which is no tensor any more
        ("*_SWISH", ["ADD", "MUL", "MUL"]),
        ("…_SWISH", ["ADD", "MUL", "MUL"]),  # as a table shows the end of a long name
    ],
)
def test_names_and_kinds_are_those_of_the_users_model(pattern, kinds):
    assert [op.kind.name for op in net().ops] == ["CONV_2D", "MUL", "ADD", "RELU", "HARD_SWISH", "SUB", "MEAN"]
    assert kept(pattern) == kinds


def test_what_the_target_is_given_may_be_named_as_well():
    assert kept("MEAN", "mcu") == ["MEAN"]
    graph = prepare(net(), Settings())
    (lowered,) = [op for op in graph.ops if op.kind.name == "ADD" and "SUB" in graph.formerly[op.output]]
    assert kept(graph.label(lowered)) == ["ADD"]  # as messages name it


@pytest.mark.parametrize(
    ("typed", "near"),
    [("sub", "'SUB'"), ("HARDSWISH", "'HARD_SWISH'"), ("hard", "'HARD_SWISH'"), ("CONV2D", "'CONV_2D'"), ("relu", "'RELU'")],
)
def test_a_name_that_nothing_has_is_told_with_those_near(typed, near):
    with pytest.raises(OptionError, match=rf"--keep-float '{typed}' matches no op; .* such as {near}"):
        kept(typed)


def test_a_graph_keeps_the_names_that_its_tensors_have():
    graph = net()
    (sub,) = [op for op in graph.ops if op.kind.name == "SUB"]
    named = replace(
        graph, tensors={**graph.tensors, sub.output: replace(graph[sub.output], name="stem/less", origin="stem/less")}
    )
    x = np.random.default_rng(0).normal(size=(40, 8, 8, 3)).astype(np.float32)
    result = intact.quantize(named, x, keep_float=["*/less"], measure=False, remedies=())
    assert [op.kind.name for op in result.graph.ops if not op.kind.converts and result.graph[op.output].is_float] == ["ADD"]
    (said,) = [f.message for f in result.findings if f.kind == "kept alone"]
    assert said.startswith("ADD 'stem/less' kept in float between integer ops")


def test_what_is_kept_together_is_not_alone():
    x = np.random.default_rng(0).normal(size=(40, 8, 8, 3)).astype(np.float32)
    result = intact.quantize(net(), x, keep_float=["SUB", "MEAN"], output_type="float32", measure=False, remedies=())
    assert [f for f in result.findings if f.kind == "kept alone"] == []
    assert [f for f in result.findings if f.kind == "float ops"] != []
