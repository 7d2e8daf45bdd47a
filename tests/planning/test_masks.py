"""Masked scores and the margins of max pools: exactly zero in the softmax, whatever stands for minus infinity."""

import numpy as np
import pytest
import torch
from compare import assert_same
from drafts import draft, normal

from intact.errors import DataError, ModelError
from intact.formats import tflite
from intact.network.verify import verify
from intact.ops.activation import Exp, Softmax
from intact.ops.convolution import Conv2D
from intact.ops.elementwise import Add, Mul, Sub
from intact.ops.logic import Greater, Select, SelectV2
from intact.ops.matmul import FullyConnected
from intact.ops.pooling import MaxPool2D
from intact.ops.quantization import Cast
from intact.ops.shaping import PadV2, Reshape
from intact.planning.integer_graph import emit
from intact.planning.masks import Masks
from intact.planning.planner import Request, make_plan
from intact.planning.ranges import estimator
from intact.planning.schemes import scheme
from intact.planning.targets import target
from intact.rewrite.clean import clean
from intact.runtime import litert
from intact.simulate.calibrate import observe
from intact.simulate.engine import Program

N = 8
LOWEST = float(np.finfo(np.float32).min)
CAUSAL = np.tril(np.ones((N, N), bool))


def scores(n, seed=0):
    return np.random.default_rng(seed).normal(0, 2.5, (n, N, N)).astype(np.float32)


def added(value):
    mask = np.where(CAUSAL, 0.0, value).astype(np.float32)[None]
    return lambda d, x: d(Softmax(), d(Add(), x, mask))


def chosen(value):
    return lambda d, x: d(Softmax(), d(SelectV2(), CAUSAL[None], x, np.float32(value)))


def reshaped(value):
    mask = np.where(CAUSAL, 0.0, value).astype(np.float32)[None]
    return lambda d, x: d(Softmax(), d(Reshape(), d(Add(), x, mask), [-1, 1, N, N]))


def twice(value):
    """A mask, and then a bias for every place."""
    mask = np.where(CAUSAL, 0.0, value).astype(np.float32)[None]
    return lambda d, x: d(Softmax(), d(Add(), d(Add(), x, mask), normal(N, N, seed=3)[None] * np.float32(1.0)))


def computed(value):
    """As transformers make a mask: (1 - keep) * value."""
    keep = CAUSAL[None].astype(np.float32)

    def build(d, x):
        hide = d(Sub(), np.float32(1.0), d(Cast(), d(Greater(), d(Add(), d(Mul(), x, 0.0), keep), 0.5)))
        return d(Softmax(), d(Add(), x, d(Mul(), hide, np.float32(value))))

    return build


FORMS = [(form, value) for form in (added, chosen, reshaped, computed) for value in (-100.0, -1e4, -1e9, LOWEST, -np.inf)]
FORMS = [(form, value) for form, value in FORMS if (form, value) != (computed, -np.inf)]  # 0 * inf is NaN in any framework


def integer(graph, x, name="int8", ranges="minmax"):
    rule = estimator(ranges, scheme(name).activations)
    seen = observe(graph, lambda: [x], histogram=rule.needs_histogram)
    found = {i: rule.estimate(o) for i, o in seen.items()}
    wanted = Request(scheme(name), target("cpu"), input_type="float32", output_type="float32")
    return emit(graph, make_plan(graph, found, wanted))


def ran(net, x, folder, kernels):
    path = folder / "model.tflite"
    path.write_bytes(tflite.write(net))
    (y,) = litert.run(path, x, kernels=kernels).values()
    return y


@pytest.mark.parametrize(("form", "value"), FORMS, ids=lambda v: getattr(v, "__name__", str(v)))
def test_what_is_masked_is_zero_and_the_rest_keeps_its_resolution(form, value, tmp_path):
    graph = clean(draft((N, N), form(value)))
    x = {graph.input_names[0]: scores(32)}
    (wanted,) = (y.numpy() for y in Program(graph)(x).values())
    assert wanted.reshape(-1, N, N)[:, ~CAUSAL].max() < 1e-30
    net = integer(graph, x)
    for kernels in ("default", "reference"):
        y = ran(net, x, tmp_path, kernels)
        assert (y.reshape(-1, N, N)[:, ~CAUSAL] == 0).all()
        # A step of 40 / 255 in the scores moves a probability by an eighth of that at most, up or down.
        assert_same(y, wanted, atol=0.045)


@pytest.mark.parametrize("ranges", ["moving", "percentile", "mse"])
@pytest.mark.parametrize("form", [added, chosen])
def test_every_range_estimator_leaves_the_mask_its_place(form, ranges, tmp_path):
    graph = clean(draft((N, N), form(-np.inf)))
    x = {graph.input_names[0]: scores(32)}
    y = ran(integer(graph, x, ranges=ranges), x, tmp_path, "default")
    assert y.reshape(-1, N, N)[:, ~CAUSAL].max() <= 1 / 256


@pytest.mark.parametrize("form", [added, chosen, twice])
def test_int16_has_room_for_a_mask_too(form, tmp_path):
    graph = clean(draft((N, N), form(-np.inf)))
    x = {graph.input_names[0]: scores(8)}
    (wanted,) = (y.numpy() for y in Program(graph)(x).values())
    y = ran(integer(graph, x, "int16x8"), x, tmp_path, "reference")
    assert y[:, ~CAUSAL].max() <= 2 / 32768  # the kernel's table of exp ends at exp(-10) = 1.5 / 32768
    assert_same(y, wanted, atol=1e-3)


def test_a_mask_before_another_bias(tmp_path):
    graph = clean(draft((N, N), twice(-1e4)))
    x = {graph.input_names[0]: scores(32)}
    (wanted,) = (y.numpy() for y in Program(graph)(x).values())
    y = ran(integer(graph, x), x, tmp_path, "default")
    assert (y[:, ~CAUSAL] == 0).all()
    assert_same(y, wanted, atol=0.06)


def test_how_a_range_sees_a_mask():
    graph = draft((1, 3), lambda d, x: d(Softmax(), d(Add(), x, np.zeros((1, 3), np.float32))))
    masks, tensor = Masks(graph), graph[graph.ops[0].output]
    assert masks.scores == {tensor.id}
    seen = masks.seen(tensor, torch.tensor([[[3.0, -np.inf, 1.0], [5.0, -30.0, 0.0]]]))
    assert_same(seen.numpy(), np.asarray([[[3, -9, 1], [5, -30, 0]]], np.float32))


def test_a_graph_without_masks_has_none():
    logits = draft((4,), lambda d, x: d(Softmax(), d(FullyConnected(), x, normal(3, 4), normal(3))))
    attention = draft((3, 3), lambda d, x: d(Softmax(), d(Add(), x, normal(1, 3, 3))))
    for graph in (logits, attention):
        x = np.random.default_rng(0).normal(size=(9, *graph[0].shape[1:])).astype(np.float32)
        seen = observe(graph, lambda x=x, graph=graph: [{graph.input_names[0]: x}])
        assert Masks(graph).bounded({i: o.extremes for i, o in seen.items()}) == {}
    assert Masks(logits).scores == frozenset()


@pytest.mark.parametrize("value", [-np.inf, LOWEST])
def test_the_margin_of_a_max_pool_takes_no_range(value, tmp_path):
    """MaxPool2d(3, 2, padding=1) on an even size, which is no SAME: the margin holds the lowest integer."""

    def build(d, x):
        y = d(Conv2D((1, 1), "same"), x, normal(4, 3, 3, 3), normal(4))
        return d(MaxPool2D((3, 3), (2, 2)), d(PadV2(), y, [[0, 0], [1, 1], [1, 1], [0, 0]], np.float32(value)))

    graph = clean(draft((8, 8, 3), build))
    x = {graph.input_names[0]: np.random.default_rng(1).normal(size=(16, 8, 8, 3)).astype(np.float32)}
    (wanted,) = (y.numpy() for y in Program(graph)(x).values())
    net = integer(graph, x)
    made = next(op.output for op in graph.ops if isinstance(op.kind, Conv2D))
    low, high = net[made].format.range
    assert -40 < low < -3
    assert 3 < high < 40
    for kernels in ("default", "reference"):
        assert_same(ran(net, x, tmp_path, kernels), wanted, atol=3 * net[made].format.scale[0])


def test_a_mask_does_not_go_into_a_bias():
    """A bias of -inf has no integer: the sum stays by itself."""
    mask = np.asarray([0.0, -np.inf, 0.0], np.float32)
    graph = clean(draft((4,), lambda d, x: d(Softmax(), d(Add(), d(FullyConnected(), x, normal(3, 4), normal(3)), mask))))
    assert [op.kind.name for op in graph.ops] == ["FULLY_CONNECTED", "ADD", "SOFTMAX"]


def test_infinity_from_samples_and_in_weights_is_refused_still():
    with pytest.raises(ModelError, match="holds 1 values that are NaN or infinite"):
        verify(draft((4,), lambda d, x: d(FullyConnected(), x, np.asarray([[1, 2, np.inf, 3.0]]), None)))
    with pytest.raises(ModelError, match="holds 1 values that are NaN or infinite"):
        verify(draft((2,), lambda d, x: d(Add(), x, np.asarray([np.nan, 0.0]))))
    broken = draft((N, N), lambda d, x: d(Softmax(), d(Add(), d(Exp(), x), np.where(CAUSAL, 0.0, -np.inf)[None])))
    with pytest.raises(DataError, match="becomes NaN or infinite on the calibration samples"):
        observe(broken, lambda: [{broken.input_names[0]: scores(2) * 1e4}])


def test_a_choice_between_scores_and_a_mask_that_comes_with_the_sample(tmp_path):
    def build(d, x):
        return d(Softmax(), d(Select(), d(Greater(), x, -1.0), x, np.full((1, N, N), -np.inf, np.float32)))

    graph = clean(draft((N, N), build, open_batch=False))
    x = {graph.input_names[0]: np.abs(scores(1)) - 2}
    (wanted,) = (y.numpy() for y in Program(graph)(x).values())
    assert_same(ran(integer(graph, x), x, tmp_path, "default"), wanted, atol=0.045)
