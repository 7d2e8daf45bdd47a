"""Channels that a file rescales on purpose are followed through what passes a scale, and through nothing else."""

from dataclasses import replace

import numpy as np
import pytest
from drafts import draft, normal
from plans import planned

from intact.diagnosis.counterparts import counterparts_by_id
from intact.diagnosis.rescaling import find_rescaling
from intact.diagnosis.weights import constants_of
from intact.network.graph import Graph, Op, Tensor
from intact.network.weighted import weighted
from intact.numbers.affine import Affine
from intact.ops.activation import HardSwish, LeakyRelu, Relu
from intact.ops.elementwise import Add
from intact.ops.matmul import FullyConnected
from intact.ops.shaping import Reshape, Squeeze
from intact.planning.integer_graph import emit

FACTORS = np.float32([1, 4, 0.25, 2])


def rescaled_by(between):
    """The tensors found to be rescaled where the first weights are ``FACTORS`` times the float file's and the last the inverse,
    and all that are in between.
    """
    net = draft((3,), lambda d, x: d(FullyConnected(), between(d, d(FullyConnected(), x, normal(4, 3))), normal(2, 4)))
    first, *_, last = (found.weight for op in net.ops if (found := weighted(net, op)) is not None)
    changed = {
        first.id: replace(first, data=first.data * FACTORS[:, None]),
        last.id: replace(last, data=last.data / FACTORS),
    }
    made = replace(net, tensors={**net.tensors, **changed})
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    integer = emit(made, planned(made, x))
    found = find_rescaling(integer, constants_of(counterparts_by_id(integer, net)))
    return set(found.channels), {op.output for op in net.ops[:-1]}


@pytest.mark.parametrize(
    "between",
    [
        lambda d, y: d(Relu(), y),
        lambda d, y: d(LeakyRelu(), y),
        lambda d, y: d(Reshape(), d(Reshape(), y, np.int32([-1, 1, 4])), np.int32([-1, 4])),
        lambda d, y: d(Add(), y, np.zeros(4, np.float32)),
    ],
    ids=["RELU", "LEAKY_RELU", "RESHAPE", "ADD of zeros"],
)
def test_a_rescaling_is_followed_through_what_passes_a_scale(between):
    followed, before_the_last = rescaled_by(between)
    assert followed == before_the_last


@pytest.mark.parametrize(
    "between", [lambda d, y: d(HardSwish(), y), lambda d, y: d(Add(), y, normal(4))], ids=["HARD_SWISH", "ADD"]
)
def test_a_rescaling_ends_at_what_does_not_pass_a_scale(between):
    followed, _ = rescaled_by(between)
    assert followed == set()


def test_a_single_number_made_of_a_weighted_ops_output_breaks_nothing():
    shapes = {0: (1, 1), 1: (1, 1), 2: (1, 1), 3: ()}
    data = {1: np.float32([[0.5]])}
    tensors = {i: Tensor(i, f"t{i}", shape, data=data.get(i)) for i, shape in shapes.items()}
    net = Graph(tensors, (Op(FullyConnected(), (0, 1), (2,)), Op(Squeeze(), (2,), (3,))), (0,), (3,))
    stored = replace(net[1], format=Affine((0.1,), (0,)), data=np.int8([[10]]))  # twice as large
    integer = replace(net, tensors={**net.tensors, 1: stored})
    found = find_rescaling(integer, constants_of(counterparts_by_id(integer, net)))
    assert found.channels == {}
    assert found.gains[2].values == pytest.approx([2.0])
