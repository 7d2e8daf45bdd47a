"""Scales per channel go where the ops take them, and the network stays the same."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from compare import assert_same
from drafts import draft, normal
from op_cases import CASES, samples

import intact
from intact.data import input_specs
from intact.errors import IntactError
from intact.network.channels import free_channels, rescaled
from intact.numbers.affine import Float
from intact.ops.activation import LeakyRelu, Logistic, PRelu, Relu, Relu6
from intact.ops.blocks import DepthToSpace
from intact.ops.call import as_tuple
from intact.ops.convolution import Conv2D, DepthwiseConv2D, TransposeConv
from intact.ops.elementwise import Add, Div, Mul
from intact.ops.matmul import FullyConnected
from intact.ops.pooling import AveragePool2D, MaxPool2D
from intact.ops.reduction import Mean
from intact.ops.resize import ResizeBilinear
from intact.ops.scales import ANY, ONE, constant_marks
from intact.ops.shaping import Concatenation, Pad, Reshape, Split, StridedSlice, Transpose
from intact.planning.planner import make_plan
from intact.planning.quantized import Quantized
from intact.remedies.absorb import Absorb
from intact.remedies.base import Context
from intact.remedies.equalize import Equalize
from intact.rewrite.lowerings import lower
from intact.run.settings import Settings
from intact.simulate.calibrate import observe
from intact.simulate.engine import Program

# ---- what passes through one op -----------------------------------------------------------------------------------------


def marks_of(shape, how):
    """Marks for one activation: one for all, one a channel, or one an element."""
    if how == "tensor":
        return torch.full(shape, 2.0, dtype=torch.float64)
    if how == "channels":
        return (torch.arange(shape[-1] if shape else 1, dtype=torch.float64) + 2).broadcast_to(shape)
    return torch.arange(int(np.prod(shape)), dtype=torch.float64).reshape(shape) + 2


def given_marks(case, scaled, how):
    marks = []
    for n, given in enumerate(case.inputs):
        if n in case.flows and n not in real_flows(case):
            marks.append(None)
        elif n in case.flows:
            shape = case.flows[n].shape
            plain = torch.full(shape, ONE, dtype=torch.float64)
            marks.append(marks_of(shape, how) if n in scaled else plain)
        elif given is None:
            marks.append(None)
        else:
            data = torch.from_numpy(np.array(given))
            marks.append(constant_marks(data) if data.is_floating_point() else data)
    return marks


def real_flows(case):
    return [n for n, given in case.flows.items() if isinstance(given.format, Float)]


TRIALS = [
    (case, scaled, how)
    for case in CASES
    for scaled in ([(n,) for n in real_flows(case)] + ([tuple(real_flows(case))] if len(real_flows(case)) > 1 else []))
    for how in ("tensor", "channels", "elements")
]


def passed(case, scaled, how):
    marks = given_marks(case, scaled, how)
    try:
        return marks, case.kind.passes(*marks)
    except (IntactError, TypeError, RuntimeError):
        return marks, None


@pytest.mark.parametrize(("case", "scaled", "how"), TRIALS, ids=lambda v: getattr(v, "id", str(v)))
def test_what_an_op_passes_is_what_it_computes(case, scaled, how):
    """``f(s x) = t f(x)``, in double precision."""
    marks, outputs = passed(case, scaled, how)
    if outputs is None:
        return
    factors = torch.from_numpy(np.exp(np.random.default_rng(1).normal(0, 1, 1 << 17)))
    factors[[int(ANY), int(ONE)]] = 1.0
    flows = samples(case, 4)
    x = []
    for n, given in enumerate(case.inputs):
        data = flows.get(f"x{n}", given)
        tensor = None if data is None else torch.from_numpy(np.array(data))
        x.append(tensor.double() if tensor is not None and tensor.is_floating_point() else tensor)
    scaled_x = [v * factors[marks[n].long()] if n in scaled else v for n, v in enumerate(x)]
    exact, made = (as_tuple(case.kind.compute(*(v if v is None else v.clone() for v in values))) for values in (x, scaled_x))
    for y, z, out in zip(exact, made, outputs, strict=True):
        t = factors[out.broadcast_to(y.shape).long()]
        assert torch.allclose(z.double(), t * y, rtol=1e-6, atol=1e-9)


# fmt: off
THROUGH = {
    "ABS", "ADD", "AVERAGE_POOL_2D", "BATCH_TO_SPACE_ND", "BROADCAST_TO", "CONCATENATION", "DEPTH_TO_SPACE",
    "DIV", "EMBEDDING_LOOKUP", "EXPAND_DIMS", "GATHER", "GATHER_ND", "LEAKY_RELU", "MAXIMUM", "MAX_POOL_2D", "MEAN",
    "MIRROR_PAD", "MUL", "NEG", "ONE_HOT", "PACK", "PAD", "PADV2", "PRELU", "QUANTIZE", "REDUCE_MAX", "REDUCE_MIN", "RELU",
    "RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "REVERSE_V2", "SELECT", "SELECT_V2", "SLICE",
    "SPACE_TO_BATCH_ND", "SPACE_TO_DEPTH", "SPLIT", "SPLIT_V", "SQUEEZE", "STRIDED_SLICE", "SUB", "SUM", "TILE",
    "TRANSPOSE", "UNPACK",
}
# fmt: on


def test_the_kinds_through_which_channels_pass():
    """The whole list: a kind that stops passing scales, or begins to, is seen here."""
    assert {case.kind.name for case, scaled, how in TRIALS if how == "channels" and passed(case, scaled, how)[1]} == THROUGH


# ---- what passes through a network --------------------------------------------------------------------------------------


def conv(d, x, out, seed=0, kernel=3, **options):
    w = normal(out, kernel, kernel, d.shape(x)[-1], seed=seed)
    return d(Conv2D(padding="same", **options), x, w, 0.1 * normal(out, seed=seed))


def dense(d, x, out, seed=7, **options):
    return d(FullyConnected(**options), x, normal(out, d.shape(x)[-1], seed=seed), 0.1 * normal(out, seed=seed))


def flat(d, x):
    return d(Reshape(), x, [-1, int(np.prod(d.shape(x)))])


def to_nchw(d, x):
    return d(Transpose(), x, [0, 3, 1, 2])


def halves(d, x):
    return d(Split(2), np.int32(3), x)


#: How what a convolution of 6 channels on [8, 6, 4] makes reaches the next weights, and how many channels take a scale.
ROUTES = {
    "directly": (lambda d, y: conv(d, y, 3, 2), 6),
    "flatten": (lambda d, y: dense(d, flat(d, y), 5), 6),
    "flatten channels first": (lambda d, y: dense(d, flat(d, to_nchw(d, y)), 5), 6),
    "mean over pixels": (lambda d, y: dense(d, d(Mean(), y, [1, 2]), 5), 6),
    "mean over channels": (lambda d, y: dense(d, d(Mean(), y, [3]), 5, keep_dims=True), 0),
    "mean over channels, kept": (lambda d, y: conv(d, d(Mean(True), y, [3]), 2, 2), 0),
    "mean over rows": (lambda d, y: dense(d, d(Mean(), y, [1]), 5, keep_dims=True), 6),
    "width as channels": (lambda d, y: conv(d, d(Transpose(), y, [0, 1, 3, 2]), 2, 2), 0),
    "pools, padding, leaky": (
        lambda d, y: conv(
            d,
            d(
                Pad(),
                d(LeakyRelu(0.1), d(MaxPool2D((2, 2), (2, 2)), d(AveragePool2D((2, 1), (1, 1)), y))),
                [[0, 0], [1, 2], [0, 1], [0, 0]],
            ),
            3,
            2,
        ),
        6,
    ),
    "resize and prelu": (lambda d, y: conv(d, d(PRelu(), d(ResizeBilinear(), y, [16, 9]), normal(1, 1, 6)), 3, 2), 6),
    "a factor per channel": (lambda d, y: conv(d, d(Mul("relu"), y, normal(6)), 3, 2), 6),
    "a divisor": (lambda d, y: conv(d, d(Div(), y, 1 + np.abs(normal(6))), 3, 2), 6),
    "a shift": (lambda d, y: conv(d, d(Add(), y, normal(6)), 3, 2), 0),
    "clamped at 6": (lambda d, y: conv(d, d(Relu6(), y), 3, 2), 0),
    "sigmoid": (lambda d, y: conv(d, d(Logistic(), y), 3, 2), 0),
    "a square": (lambda d, y: conv(d, d(Mul(), y, y), 3, 2), 0),
    "depth to space": (lambda d, y: conv(d, d(DepthToSpace(2), conv(d, y, 8, 3)), 3, 2), 6),
    "a slice that ends as an output": (
        lambda d, y: (
            conv(d, d(StridedSlice(), y, [0, 0, 0, 0], [1, 8, 6, 4], [1, 1, 1, 1]), 3, 2),
            d(StridedSlice(begin_mask=7, end_mask=15), y, [0, 0, 0, 4], [0, 0, 0, 0], [1, 1, 1, 1]),
        ),
        4,
    ),
    "split, one half through a sigmoid": (
        lambda d, y: conv(d, d(Concatenation(3), halves(d, y)[0], d(Logistic(), halves(d, y)[1])), 3, 2),
        3,
    ),
    "concatenation with a sigmoid": (lambda d, y: conv(d, d(Concatenation(3), d(Logistic(), conv(d, y, 2, 4)), y), 3, 2), 6),
    "concatenation with itself": (lambda d, y: conv(d, d(Concatenation(-1), y, d(Relu(), y)), 3, 2), 6),
    "concatenation of pixels": (lambda d, y: conv(d, d(Concatenation(1), y, y), 3, 2), 6),
    "added to itself": (lambda d, y: conv(d, d(Add(), y, d(Relu(), y)), 3, 2), 6),
    "added to another": (lambda d, y: conv(d, d(Add(), y, conv(d, y, 6, 4)), 3, 2), 0),
    "depthwise, two a channel": (
        lambda d, y: conv(d, d(DepthwiseConv2D(padding="same", depth_multiplier=2), y, normal(1, 3, 3, 12), normal(12)), 3, 2),
        18,
    ),
    "grouped": (lambda d, y: d(Conv2D(), y, normal(4, 1, 1, 3), normal(4)), 6),
    "transposed": (lambda d, y: d(TransposeConv((2, 2)), np.int32([1, 16, 12, 3]), normal(3, 2, 2, 6), y, normal(3)), 6),
}


def network(route, activation="relu"):
    return draft((8, 6, 4), lambda d, x: ROUTES[route][0](d, conv(d, x, 6, 1, activation=activation)))


def outputs(graph, n=8):
    x = np.random.default_rng(2).normal(0, 1, (n, 8, 6, 4)).astype(np.float32)
    with torch.inference_mode():
        return {name: y.numpy() for name, y in Program(graph)({graph.input_names[0]: x}).items()}


def planned(graph, scale=1.0, **options):
    graph = lower(graph, "cpu", "int8")
    x = (scale * np.random.default_rng(2).normal(0, 1, (64, 8, 6, 4))).astype(np.float32)
    given = intact.data.arrays(x).bind(input_specs(graph), None)

    def plan(changed, precise=(), wide=()):
        seen = observe(changed, lambda: (batch for batch, _ in given.batches(32)))
        request = replace(Settings(**options).request(), float_ops=precise, wide_weights=wide)
        return make_plan(changed, {i: o.extremes for i, o in seen.items()}, request)

    return Quantized(graph, graph, plan(graph)), given, Context(plan)


@pytest.mark.parametrize("route", ROUTES)
def test_channels_take_scales_where_weights_take_them_back(route):
    """And under any scales the float output stays as it is."""
    graph = network(route)
    channels = free_channels(graph)
    assert sum(int((marks > ONE).sum()) for marks in channels.made.values()) >= ROUTES[route][1]
    first = graph.ops[0].output
    assert int((channels.made.get(first, np.ones(1)) > ONE).sum()) == min(ROUTES[route][1], 6)
    factors = 2.0 ** np.random.default_rng(5).integers(-6, 7, channels.count)
    factors[: int(ONE) + 1] = 1.0
    changed = outputs(rescaled(channels, graph, factors))
    for name, y in outputs(graph).items():
        assert_same(changed[name], y, atol=1e-5 * np.abs(y).max())


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("remedy", [Equalize(), Absorb()])
def test_remedies_that_keep_the_float_output_do(route, remedy):
    start, given, context = planned(network(route))
    better = remedy.apply(start, given, context)
    assert not any("left undone" in step for step in better.log)
    for name, y in outputs(start.graph).items():
        assert_same(outputs(better.graph)[name], y, atol=1e-4 * np.ptp(y))


def test_a_remedy_that_changes_the_float_output_is_left_undone(monkeypatch):
    start, given, context = planned(network("directly"))

    def wrong(channels, graph, factors):
        made = rescaled(channels, graph, factors)
        weight = made[made.ops[0].inputs[1]]
        return replace(made, tensors={**made.tensors, weight.id: replace(weight, data=weight.data * np.float32(1.1))})

    monkeypatch.setattr("intact.remedies.equalize.rescaled", wrong)
    better = Equalize().apply(start, given, context)
    assert "left undone: equalize, which would change the float output" in better.log[-1]
    assert better.graph is start.graph
