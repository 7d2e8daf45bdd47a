"""Ops that run row by row: the same numbers in less memory, on networks that nobody tuned anything for."""

from dataclasses import replace

import numpy as np
import pytest
from c_networks import outputs_in_c
from compare import assert_same
from integer_cases import Builder

from intact.deploy.c.network import Text, write
from intact.deploy.c.stripes import Reach, order
from intact.network.graph import Graph
from intact.network.shapes import infer
from intact.ops import KINDS
from intact.simulate.exact import IntegerProgram


def image_network(seed, ops=9):
    """Windows of random sizes, strides, dilations and paddings over an image, sums with what came before, and a mean."""
    b = Builder(np.random.default_rng(seed))
    draw = b.draw
    x = b.flow(int(draw.integers(14, 24)), int(draw.integers(9, 20)), int(draw.choice((3, 4, 8))))
    first, before = x, None
    for n in range(ops):
        shape = infer(b.graph(), 1)[x] if b.ops else (1, *b.tensors[x].shape[1:])
        choice = draw.choice(("conv", "point", "depthwise", "pool", "sum", "function", "pad"))
        kernel = int(draw.choice((1, 2, 3)))
        options = {"padding": str(draw.choice(("same", "valid"))), "activation": b.activation()}
        if min(shape[1:3]) < 6:
            options["padding"], kernel = "same", 1
        stride = (2, 2) if min(shape[1:3]) > 8 and draw.random() < 0.3 else (1, 1)
        name = f"{n}"
        if choice == "sum" and before is not None and b.tensors[before].shape == b.tensors[x].shape:
            b.op(KINDS["ADD"](), before, x, name=name)
        elif choice == "function":
            b.op(KINDS["HARD_SWISH"](), x, name=name)
        elif choice == "pad":
            sides = [0, 0, *(int(v) for v in draw.integers(0, 3, 4)), 0, 0]
            b.op(KINDS["PAD"](), x, b.ints(*sides, shape=(4, 2)), name=name)
        elif choice == "pool":
            b.op(
                KINDS["MAX_POOL_2D"]((kernel, kernel), stride, options["padding"], "none"),
                x,
                out=b.tensors[x].format,
                name=name,
            )
        elif choice == "depthwise":
            weights = b.weights(x, (1, kernel, kernel, shape[3]), 3)
            b.op(KINDS["DEPTHWISE_CONV_2D"](stride=stride, **options), x, *weights, out=b.format(0.05, 0.5), name=name)
        else:
            size = 1 if choice == "point" else kernel
            dilation = (2, 2) if size == 3 and stride == (1, 1) and min(shape[1:3]) > 8 and draw.random() < 0.3 else (1, 1)
            made = int(draw.choice((4, 5, 8)))
            kind = KINDS["CONV_2D"](stride=stride if size > 1 else (1, 1), dilation=dilation, **options)
            b.op(kind, x, *b.weights(x, (made, size, size, shape[3]), 0), out=b.format(0.05, 0.5), name=name)
        before, x = x, b.ops[-1].output
    b.op(KINDS["MEAN"](), x, b.ints(1, 2), name="end")
    graph = b.graph()
    return Graph(graph.tensors, graph.ops, (first,), (graph.ops[-1].output,))


@pytest.mark.parametrize("seed", range(8))
def test_rows_give_the_same_numbers_in_no_more_memory(tmp_path, seed):
    graph = image_network(seed)
    at_once, least = write(graph, Text("net", "a test")), write(graph, Text("net", "a test"), 0)
    assert least.arena < at_once.arena
    assert least.by_row
    x = {"t0": np.random.default_rng(seed).integers(-128, 128, (6, *graph[0].shape[1:]), np.int8)}
    made = outputs_in_c(graph, x, tmp_path, ram=0)
    exact = IntegerProgram(graph, "tflm")(x)
    for name, y in made.items():
        assert_same(y, exact[name])


def test_only_as_many_ops_run_by_rows_as_the_memory_asks_for():
    counts = []
    for seed in range(6):
        graph = image_network(seed)
        at_once, least = write(graph, Text("net", "a test")), write(graph, Text("net", "a test"), 0)
        between = (at_once.arena + least.arena) // 2
        some = write(graph, Text("net", "a test"), between)
        assert least.arena <= some.arena <= between
        assert write(graph, Text("net", "a test"), at_once.arena).by_row == ()
        counts.append([net.body.count("case ") for net in (some, least)])
    assert all(some <= least for some, least in counts)
    assert sum(some for some, _ in counts) < sum(least for _, least in counts)


def test_the_last_op_that_can_run_makes_its_next_row():
    """Two windows of three rows in a row over an image of four, with padding: worked out by hand."""
    b = Builder(np.random.default_rng(0))
    x = b.flow(4, 4, 4)
    for name in ("first", "second"):
        b.op(KINDS["CONV_2D"](padding="same"), x, *b.weights(x, (4, 3, 3, 4), 0), name=name)
        x = b.ops[-1].output
    reach = Reach(1, 3, 1)
    assert list(order(b.ops, [reach, reach], infer(b.graph()))) == [0, 0, 1, 0, 1, 0, 1, 1]


@pytest.mark.parametrize(
    ("reach", "row", "first", "needed"), [(Reach(2, 3, 0), 1, 2, 5), (Reach(1, 3, 1), 0, 0, 2), (Reach(1, 3, 1), 7, 6, 8)]
)
def test_what_a_row_reads(reach, row, first, needed):
    assert (reach.first(row), reach.needed(row, 8)) == (first, needed)


def test_several_images_in_one_call_do_not_run_by_rows(tmp_path):
    """A row of a batch is no stretch of memory: layers of 1 x 1 take all images at once, and are right."""
    b = Builder(np.random.default_rng(0))
    x = first = b.flow(8, 8, 4)
    for name, channels in (("wide", 16), ("narrow", 4)):
        b.op(
            KINDS["CONV_2D"](), x, *b.weights(x, (channels, 1, 1, b.tensors[x].shape[3]), 0), out=b.format(0.05, 0.5), name=name
        )
        x = b.ops[-1].output
    graph = b.graph()
    three = {i: replace(t, shape=(3, *t.shape[1:])) for i, t in graph.tensors.items() if t.shape[:1] == (None,)}
    fixed = Graph({**graph.tensors, **three}, graph.ops, (first,), (x,))
    given = np.random.default_rng(1).integers(-128, 128, (5, 3, 8, 8, 4), np.int8)
    made = outputs_in_c(fixed, {"t0": given}, tmp_path, ram=0)[graph[x].name]
    exact = IntegerProgram(fixed, "tflm")({"t0": given.reshape(15, 8, 8, 4)})[graph[x].name]
    assert write(fixed, Text("net", "a test"), 0).by_row == ()
    assert_same(made.reshape(-1), np.asarray(exact).reshape(-1))
