"""The scale of a weight: its numbers, and what its bias and its kernel ask for."""

from dataclasses import replace

import numpy as np
import pytest

from intact.network.graph import Graph, Op, Tensor
from intact.network.weighted import weighted
from intact.numbers.affine import Affine
from intact.ops.matmul import FullyConnected
from intact.planning import weights as planned
from intact.planning.request import Request
from intact.planning.schemes import scheme
from intact.planning.targets import target
from intact.planning.weights import hybrid_weight, integer_weight

X, Y = Affine((0.01,), (3,)), Affine((0.02,), (-5,))
INT8 = Request(scheme("int8"), target("cpu"))


def dense(w, b=None):
    """FULLY_CONNECTED with these weights, [c_out, c_in], and this bias."""
    w = np.asarray(w, np.float32)
    bias = () if b is None else (Tensor(2, "b", (len(w),), data=np.asarray(b, np.float32)),)
    tensors = (Tensor(0, "x", (None, w.shape[1])), Tensor(1, "w", w.shape, data=w), *bias, Tensor(3, "y", (None, len(w))))
    op = Op(FullyConnected(), (0, 1, *(t.id for t in bias)), (3,))
    return weighted(Graph({t.id: t for t in tensors}, (op,), (0,), (3,)), op)


def scales(entry):
    return pytest.approx(entry.format.scale, rel=1e-6)


def test_the_largest_weight_of_a_channel_is_127_steps():
    entry = integer_weight(dense([[-0.5, 0.3], [1.0, 2.0]], [0, 1]), X, Y, INT8)
    assert scales(entry) == (0.5 / 127, 2 / 127)
    assert (entry.format.axis, entry.format.zero_point, entry.format.dtype) == (0, (0, 0), "int8")
    assert entry.why == "largest |weight| of each output channel"


def test_one_scale_where_that_was_asked_for():
    entry = integer_weight(dense([[-0.5, 0.3], [1.0, 2.0]]), X, Y, replace(INT8, weights="per-tensor"))
    assert scales(entry) == (2 / 127,)
    assert (entry.format.axis, entry.why) == (None, "largest |weight|")


def test_a_large_bias_fits_the_accumulator():
    entry = integer_weight(dense([[-0.5, 0.3], [1.0, 2.0]], [50_000, 0]), X, Y, INT8)
    assert scales(entry) == (50_000 / 2**30 / 0.01, 2 / 127)
    assert entry.format.scale[0] == pytest.approx(0.00466, rel=1e-3)
    assert entry.why.endswith("so wide that the bias fits the accumulator in 1 of 2 channels")


def test_a_channel_of_zeros_takes_its_neighbours_scale_as_wide_as_their_bias_makes_it():
    entry = integer_weight(dense([[0.0], [0.5]], [0, 50_000]), X, Y, INT8)
    assert scales(entry) == (50_000 / 2**30 / 0.01, 50_000 / 2**30 / 0.01)


def test_a_channel_of_zeros_with_a_large_bias_is_as_wide_as_the_bias_asks():
    entry = integer_weight(dense([[0.0], [2.0]], [500_000, 0]), X, Y, INT8)
    assert scales(entry) == (500_000 / 2**30 / 0.01, 2 / 127)


def test_no_multiplier_is_smaller_than_kernels_take():
    entry = integer_weight(dense([[0.0001], [0.001]]), X, replace(Y, scale=(50.0,)), INT8)
    assert scales(entry) == (2**-30 * 50 / 0.01, 0.001 / 127)
    assert entry.format.scale[0] == pytest.approx(4.66e-6, rel=1e-3)
    assert entry.why.endswith("so wide that kernels take the multiplier in 1 of 2 channels")


def test_zeros_are_stored_in_any_scale():
    assert scales(integer_weight(dense([[0.0], [2.0]]), X, Y, INT8)) == (2 / 127, 2 / 127)
    entry = integer_weight(dense([[0.0], [0.0]]), X, Y, INT8)
    assert scales(entry) == (2.0, 2.0)  # 2 * 0.01 / 0.02 is a multiplier of 1
    assert entry.why == "all zeros: any scale holds them"


def test_four_bits_clip_what_costs_least():
    w = np.random.default_rng(0).normal(size=(2, 400)).astype(np.float32)
    w[0, 0] = 20
    request = Request(scheme("w4a8"), target("cpu"))
    entry = integer_weight(dense(w), X, Y, request)
    assert (entry.format.dtype, entry.why) == ("int4", "least squared error of the weights")
    assert entry.format.scale[1] < np.abs(w[1]).max() / 7
    wide = integer_weight(dense(w), X, Y, replace(request, wide_weights=(3,)))
    assert (wide.format.dtype, wide.format.scale[0]) == ("int8", pytest.approx(20 / 127))


def test_four_bits_stay_eight_beside_16_bit_activations_on_microcontrollers():
    wide = Affine(X.scale, (0,), "int16")
    found = dense([[0.5, 0.25], [1.0, 0.5]])
    assert [
        integer_weight(found, activation, Y, Request(scheme("w4a8"), target(name))).format.dtype
        for name, activation in (("mcu", X), ("mcu", wide), ("cpu", wide))
    ] == ["int4", "int8", "int4"]


def test_a_hybrid_weight_has_its_own_numbers_to_fit():
    found = dense([[0.0001], [0.001]], [50_000, 0])
    assert scales(hybrid_weight(found, replace(INT8, scheme=scheme("dynamic")))) == (0.0001 / 127, 0.001 / 127)


def test_a_bias_that_is_computed_is_no_bias_to_plan():
    found = dense([[1.0]], [1.0])
    with pytest.raises(TypeError, match="the bias 'b' of FULLY_CONNECTED is computed"):
        integer_weight(replace(found, bias=replace(found.bias, data=None)), X, Y, INT8)


def test_clipping_of_int4_is_looked_for_once_for_each_weight_and_axis(monkeypatch):
    asked = []
    search = planned.least_squared_error
    monkeypatch.setattr(planned, "least_squared_error", lambda *given: asked.append(given) or search(*given))
    draw = np.random.default_rng(0)
    found, other = (dense(draw.normal(size=(4, 32))) for _ in range(2))
    int4 = Request(scheme("w4a8"), target("cpu"))
    first, again = integer_weight(found, X, Y, int4), integer_weight(found, X, Y, replace(int4, input_type="float32"))
    alone = integer_weight(found, X, Y, replace(int4, weights="per-tensor"))
    assert (first, len(asked)) == (again, 2)
    assert len(alone.format.scale) == 1 < len(first.format.scale)
    assert integer_weight(other, X, Y, int4) != first
    assert len(asked) == 3
