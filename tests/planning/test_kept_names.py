"""An op of which there are several by one name is called by its number too, as tables and messages show it."""

from dataclasses import replace

import pytest
from nets import mobile

from intact.errors import OptionError
from intact.planning.integer_ops import kept_float
from intact.planning.request import Request
from intact.planning.schemes import scheme
from intact.planning.targets import target


@pytest.fixture
def graph():
    """The network with all of its ops in one layer."""
    made = mobile()
    return replace(made, tensors={i: replace(t, origin="block") for i, t in made.tensors.items()})


def kept(graph, *names):
    return kept_float(graph, Request(scheme("int8"), target("cpu"), keep_float=names))


def test_what_a_table_calls_an_op_keeps_that_op(graph):
    twice = replace(graph, ops=(*graph.ops[:2], replace(graph.ops[0], outputs=graph.ops[2].outputs), *graph.ops[3:]))
    second = twice.ops[2]
    assert twice.called(second) == "block #2"
    assert kept(twice, "block #2") == {second.output}
    assert kept(twice, twice.label(second)) == {second.output}
    assert kept(twice, "block") == {op.output for op in twice.ops}
    with pytest.raises(OptionError, match="matches no op"):
        kept(twice, "block #3")
