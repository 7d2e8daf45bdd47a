"""Positions as loops: what a copy in C is read off."""

import numpy as np
import pytest

from intact.deploy.c.positions import Nest, runs


def visited(nest):
    """The positions that the loops of a nest visit, part by part: [parts, n]."""
    made = [np.array(nest.start)]
    for count, step in reversed(nest.loops):
        made = [at + turn * np.array(step) for at in made for turn in range(count)]
    return np.stack(made, 1)


@pytest.mark.parametrize("seed", range(20))
def test_loops_visit_what_they_were_read_off(seed):
    draw = np.random.default_rng(seed)
    shape = tuple(draw.integers(1, 5, 4))
    at = np.arange(np.prod(shape)).reshape(shape)
    moved = at.transpose(draw.permutation(4))[:, :: int(draw.choice((1, -1)))]
    positions = np.stack([np.arange(at.size), moved.reshape(-1)])
    nest = Nest.of(positions)
    assert nest is not None
    assert (visited(nest) == positions).all()


def test_a_transpose_is_two_loops_and_a_slice_has_runs():
    turned = Nest.of(np.stack([np.arange(6), np.arange(6).reshape(2, 3).T.reshape(-1)]))
    assert turned == Nest((0, 0), ((2, (1, 3)), (3, (2, 1))))
    assert turned.run == 1
    cut = Nest.of(np.stack([np.arange(6), np.arange(20).reshape(4, 5)[1:3, 1:4].reshape(-1)]))
    assert (cut.start, cut.run, cut.without_run()) == ((0, 6), 3, ((2, (3, 5)),))


def test_what_is_in_no_order_is_no_nest():
    assert Nest.of(np.array([[0, 1, 2, 3], [5, 0, 2, 9]])) is None
    assert runs(np.array([4, 5, 0, 1, 8, 9])) == 2
    assert runs(np.array([4, 5, 6, 1, 8, 9])) == 1
