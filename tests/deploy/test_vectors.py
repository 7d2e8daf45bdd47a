"""Cores with vectors and with DSP instructions, under QEMU: bit for bit what the simulator computes, whatever the sizes."""

from dataclasses import replace

import numpy as np
import pytest
from integer_cases import Builder, every_kind, samples

from intact.deploy.c.network import Text, write
from intact.deploy.cores import core
from intact.deploy.emulate import emulate
from intact.deploy.project import Budget, Vectors
from intact.network.graph import Graph
from intact.ops import KINDS
from intact.runtime.tools import ARM_COMPILER, EMULATOR
from intact.simulate.exact import IntegerProgram

pytestmark = pytest.mark.skipif(
    ARM_COMPILER.path is None or EMULATOR.path is None, reason="needs gcc-arm-none-eabi and qemu-system-arm"
)
#: Kinds that C lacks.
WITHOUT = {"QUANTIZE real", "DEQUANTIZE", "TOPK_V2"}


def exact_samples(graph, given, cpu, *, portable=False, ram=None):
    """How many samples come out right, element by element, and how many were given."""
    program = IntegerProgram(graph, "tflm")
    made = program(given)
    outputs = tuple(np.asarray(made[name]) for name in graph.output_names)
    vectors = Vectors(tuple(given[name] for name in graph.input_names), outputs, "")
    on = core(cpu)
    ran = emulate(write(graph, Text("net", "a test"), ram), on, Budget(on.ram, on.flash), vectors, portable=portable)
    return ran.same, ran.count


def of_all_widths(kind, widths, draw):
    """Beside each other, for every number of channels: a layer that reads as many, by windows of 3 x 3 or of one number."""
    b = Builder(draw)
    for c in widths:
        x, out = b.flow(5, 4, c), b.format(0.05, 0.5)
        made = int(draw.integers(1, 36))
        options = {"padding": "same", "activation": b.activation()}
        if kind == "depthwise":
            b.op(KINDS["DEPTHWISE_CONV_2D"](**options), x, *b.weights(x, (1, 3, 3, c), 3), out=out, name=f"{c}")
        elif kind == "dense":
            b.op(
                KINDS["FULLY_CONNECTED"](), b.flow(c), *b.weights(x, (made, c), 0, per_channel=c % 2 == 0), out=out, name=f"{c}"
            )
        else:
            size = 3 if kind == "conv" else 1
            b.op(KINDS["CONV_2D"](**options), x, *b.weights(x, (made, size, size, c), 0), out=out, name=f"{c}")
    return b


@pytest.mark.parametrize("cpu", ["m4", "m55"])
@pytest.mark.parametrize("kind", ["conv", "point", "depthwise", "dense"])
def test_any_number_of_channels_is_exact(kind, cpu):
    b = of_all_widths(kind, range(1, 36), np.random.default_rng(7))
    graph = b.graph()
    used = tuple(dict.fromkeys(i for op in graph.ops for i in op.reads if not graph[i].is_constant))
    graph = replace(graph, inputs=used)
    assert exact_samples(graph, samples(b, 3), cpu) == (3, 3)


@pytest.mark.parametrize(("cpu", "portable"), [("m4", False), ("m55", False), ("m55", True)])
def test_every_kind_is_exact(cpu, portable):
    b = every_kind(5)
    graph = b.graph()
    ops = tuple(op for label, op in b.names.items() if label not in WITHOUT)
    inputs = tuple(dict.fromkeys(i for op in ops for i in op.reads if not graph[i].is_constant))
    whole = replace(graph, ops=ops, inputs=inputs, outputs=tuple(i for op in ops for i in op.outputs))
    given = {name: x for name, x in samples(b, 4).items() if name in whole.input_names}
    assert exact_samples(whole, given, cpu, portable=portable) == (4, 4)


@pytest.mark.parametrize("cpu", ["m4", "m55"])
def test_the_lowest_numbers_times_the_lowest_weights_are_exact(cpu):
    """-128 x -128 is the one product of two int8 whose double leaves int16."""
    b = Builder(np.random.default_rng(1))
    x = b.flow(6, 6, 20)
    b.op(KINDS["DEPTHWISE_CONV_2D"](), x, *b.weights(x, (1, 3, 3, 20), 3), out=b.format(0.5, 1))
    b.op(KINDS["CONV_2D"](), x, *b.weights(x, (9, 3, 3, 20), 0), out=b.format(0.5, 1))
    graph = b.graph()
    lowest = {
        op.inputs[1]: replace(graph[op.inputs[1]], data=np.full(graph[op.inputs[1]].shape, -128, np.int8)) for op in graph.ops
    }
    changed = Graph({**graph.tensors, **lowest}, graph.ops, graph.inputs, graph.outputs)
    given = {changed.input_names[0]: np.full((2, 6, 6, 20), -128, np.int8)}
    assert exact_samples(changed, given, cpu) == (2, 2)


@pytest.mark.parametrize("cpu", ["m4", "m55"])
def test_rows_are_exact(cpu):
    b = Builder(np.random.default_rng(2))
    x = first = b.flow(13, 9, 3)
    for name, kind, shape in (
        ("conv", "CONV_2D", (20, 3, 3, 3)),
        ("depthwise", "DEPTHWISE_CONV_2D", (1, 3, 3, 20)),
        ("narrow", "CONV_2D", (6, 3, 2, 20)),
    ):
        weights = b.weights(x, shape, 3 if kind == "DEPTHWISE_CONV_2D" else 0)
        b.op(KINDS[kind](padding="same"), x, *weights, out=b.format(0.05, 0.5), name=name)
        x = b.ops[-1].output
    graph = b.graph()
    graph = Graph(graph.tensors, graph.ops, (first,), (x,))
    assert write(graph, Text("net", "a test"), 0).by_row
    assert exact_samples(graph, samples(b, 3), cpu, ram=0) == (3, 3)


@pytest.mark.parametrize("cpu", ["m4", "m55"])
def test_packed_weights_are_exact(cpu):
    b = Builder(np.random.default_rng(3))
    x = b.flow(7, 6, 21)
    b.op(KINDS["DEPTHWISE_CONV_2D"](padding="same"), x, *b.weights(x, (1, 5, 5, 21), 3), out=b.format(0.05, 0.5))
    b.op(KINDS["CONV_2D"](padding="same"), b.ops[-1].output, *b.weights(x, (10, 3, 3, 21), 0), out=b.format(0.05, 0.5))
    graph = b.graph()
    few = {i: replace(graph[i], data=np.asarray(graph[i].data) // 16 * 16) for i in (op.inputs[1] for op in graph.ops)}
    packed = Graph({**graph.tensors, **few}, graph.ops, (x,), (graph.ops[-1].output,))
    assert write(packed, Text("net", "a test")).scratch == max(16 * 25, 4 * 189)
    assert exact_samples(packed, samples(b, 3), cpu) == (3, 3)
