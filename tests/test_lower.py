"""A target's spelling of an op computes what the op computes, and is used where the table says so."""

import itertools

import numpy as np
import pytest

from compare import assert_same
from intact.graph import Op, Signature, Tensor
from intact.lower import LOWERINGS, lower
from intact.ops.activation import HardSwish
from intact.ops.elementwise import Add
from intact.schemes import SCHEMES
from intact.simulate import Program
from intact.targets import TARGETS
from small_graphs import graph


def hard_swishes(count=2):
    """y = h(h(... x)) and x + y, both given out; x is [n, 5]."""
    flow = [Tensor(i, f"x{i}", (None, 5)) for i in range(count + 2)]
    chain = [Op(HardSwish(), (i,), (i + 1,)) for i in range(count)]
    ends = (Op(Add(), (0, count), (count + 1,)),)
    names = (("y", count), ("sum", count + 1))
    return graph(flow, [*chain, *ends], (0,), (count, count + 1), (Signature("serving_default", (("x", 0),), names),))


def kinds(net):
    return [op.kind.name for op in net.ops]


def test_hard_swish_for_int8_on_cpu_is_add_mul_mul_and_computes_the_same():
    net = hard_swishes()
    lowered = lower(net, "cpu", "int8")
    assert kinds(lowered) == ["ADD", "MUL", "MUL", "ADD", "MUL", "MUL", "ADD"]
    assert (lowered.inputs, lowered.outputs, lowered.signatures) == (net.inputs, net.outputs, net.signatures)
    x = np.concatenate([np.random.default_rng(0).normal(0, 3, (64, 5)), [[-4, -3, 0, 3, 4]]]).astype(np.float32)
    y, expected = Program(lowered)({"x": x}), Program(net)({"x": x})
    for name in ("y", "sum"):
        assert_same(y[name], expected[name], rtol=1e-6)


def test_what_a_lowering_makes_stems_from_the_op():
    net = hard_swishes(1)
    lowered = lower(net, "cpu", "int8")
    made = [t for i, t in lowered.tensors.items() if i not in net.tensors]
    assert {(t.origin, t.made_by) for t in made} == {("x1", "lower")}
    assert sorted(float(t.data) for t in made if t.is_constant) == pytest.approx([1 / 6, 3])
    assert len(made) == 4


def test_lowering_again_changes_nothing():
    once = lower(hard_swishes(), "cpu", "int8")
    assert lower(once, "cpu", "int8").ops == once.ops


@pytest.mark.parametrize(
    ("name", "activations"),
    sorted(set(itertools.product(TARGETS, {s.activations for s in SCHEMES.values()})) - {("cpu", "int8")}),
)
def test_elsewhere_hard_swish_stays(name, activations):
    net = hard_swishes()
    assert lower(net, name, activations).ops == net.ops


def test_every_lowering_is_for_a_target_and_activations_that_exist():
    for name, activations, _ in LOWERINGS:
        assert name in TARGETS
        assert activations in {s.activations for s in SCHEMES.values()}
