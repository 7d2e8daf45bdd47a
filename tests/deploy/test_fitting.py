"""Whether a network fits, what exists during each op, and what an Edge TPU's documentation says: worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest
from firmware_nets import two_convolutions
from integer_cases import Builder

from intact.deploy.boards import BOARDS
from intact.deploy.c.network import write
from intact.deploy.cores import CORES
from intact.deploy.edge_tpu import OPS, Fallback, by_document
from intact.deploy.firmware import UNNAMED, fitted, ways
from intact.deploy.fitting import Taken, verdict
from intact.deploy.project import STACK
from intact.deploy.timeline import Held, timeline
from intact.network.graph import Graph
from intact.numbers.affine import Affine
from intact.ops import KINDS
from intact.runtime.tools import ARM_COMPILER

PILL = BOARDS["bluepill"]  # 20,480 bytes of RAM and 65,536 of flash


@pytest.mark.parametrize(
    ("at_once", "by_row", "how", "ram", "flash"),
    [
        (Taken(18_432, 60_000, 5_536), None, "at once", 0, 0),  # 18,432 and 2,048 of stack are all there is
        (Taken(18_433, 60_000, 5_536), None, "no", 1, 0),
        (Taken(18_432, 60_000, 5_537), None, "no", 0, 1),
        (Taken(18_432, 65_536, None), None, "at once", 0, 0),  # code that nobody measured is not counted
        (Taken(30_000, 60_000, 4_000), Taken(9_000, 60_100, 5_436), "row by row", 0, 0),
        (Taken(30_000, 60_000, 4_000), Taken(20_000, 60_100, 5_000), "no", 1_568, 0),
        (Taken(30_000, 70_000, 4_000), Taken(20_000, 70_100, 5_000), "no", 1_568, 8_464),
        (Taken(30_000, 60_000, 4_000), Taken(9_000, 65_000, 1_000), "no", 0, 464),  # RAM by rows alone, flash at once alone
        (None, None, "unknown", 0, 0),
    ],
)
def test_a_board_holds_it_or_lacks_so_many_bytes(at_once, by_row, how, ram, flash):
    assert STACK == 2_048
    found = verdict(PILL, at_once, by_row)
    assert (found.how, found.ram, found.flash) == (how, ram, flash)


def test_a_board_holds_what_can_be_packed_or_not():
    packed, plain = Taken(2_000, 4_000, 700, scratch=40_000), Taken(2_000, 16_000, 400)
    rows = Taken(1_000, 16_100, 500, (("a", "b"),))
    assert verdict(PILL, packed, None, (plain,)).how == "at once"
    assert verdict(PILL, packed, None, (replace(plain, arena=30_000), rows)).how == "row by row"
    found = verdict(PILL, packed, None, (replace(plain, constants=70_000),))  # RAM unpacked alone, flash packed alone
    assert (found.how, found.ram, found.flash) == ("no", 0, 70_400 - PILL.flash)


def few_weights(many=0):
    """[2000] -> FULLY_CONNECTED to 8, in int8, of four different weights; and another to ``many`` of any.

    Unpacked 16,000 bytes of weights, packed 4,000 and four numbers; four rows of 2,000 are unpacked at once.
    """
    b = Builder(np.random.default_rng(0))
    x = b.flow(2000)
    w, bias = b.weights(x, (8, 2000), 0)
    b.tensors[w] = replace(b.tensors[w], data=b.draw.choice(np.int8([-3, 0, 1, 5]), (8, 2000)))
    b.op(KINDS["FULLY_CONNECTED"](), x, w, bias)
    if many:
        b.op(KINDS["FULLY_CONNECTED"](), x, *b.weights(x, (many, 2000), 0), name="many")
    return b.graph()


@pytest.mark.parametrize(
    ("ram", "flash", "scratch"),
    [
        (None, None, 8_000),
        (10_008, None, 8_000),
        (10_007, None, 0),  # packed it would take more than that
        (0, None, 0),  # the least there is
        (10_007, 20_000, 0),
        (10_007, 16_000, 8_000),  # neither way fits: the flash asks for it
    ],
)
def test_weights_are_packed_where_the_ram_has_room_for_that(ram, flash, scratch):
    assert write(few_weights(), UNNAMED, ram, flash).scratch == scratch


def test_weights_are_packed_where_code_has_no_room_beside_them():
    core, graph = CORES["cortex-m4"], few_weights(many=32)  # so many others that packing spares little of all
    plain = write(graph, UNNAMED)
    assert (plain.scratch, write(graph, UNNAMED, flash=0).scratch) == (0, 8_000)
    assert fitted(graph, UNNAMED, core, None, plain.constants + 8_192).scratch == 0
    assert fitted(graph, UNNAMED, core, None, plain.constants).scratch == 8_000


@pytest.mark.skipif(ARM_COMPILER.path is None, reason="no gcc-arm-none-eabi here")
def test_what_can_be_packed_is_known_in_every_way():
    made = ways(few_weights(), UNNAMED, CORES["cortex-m4"])
    assert made.taken["at once"].ram == 2_008 + 8_000 + STACK
    assert {taken.ram for taken in made.others} == {2_008 + 8_000 + STACK, 2_008 + STACK}
    assert ways(two_convolutions(), UNNAMED, CORES["cortex-m4"]).others == ()


def test_verdicts_in_words():
    assert verdict(PILL, Taken(100, 100, None), None).said == "fits at once"
    assert verdict(PILL, Taken(30_000, 70_000, 4_000), None).said == "lacks 11,568 bytes of RAM and 8,464 bytes of flash"
    assert verdict(PILL, None, None).said == "unknown: there is no C of it"


def test_what_exists_during_each_op():
    graph = two_convolutions()
    made = timeline(graph)
    assert made.live == (432 + 1152, 1152 + 1152, 1152 + 8, 8 + 5, 5 + 5)
    assert made.ops == tuple(graph.label(op) for op in graph.ops)
    first, second = graph.ops[0].output, graph.ops[1].output
    assert made.at == 1
    assert made.held == (
        Held(graph[first].name, 1152, made.ops[0]),
        Held(graph[second].name, 1152, made.ops[1]),
    )


def test_what_is_written_over_another_counts_once():
    """[10, 10, 4] -> CONV_2D to 4 -> HARD_SWISH in its place -> ADD of the input, in the place of either: 800 bytes at most."""
    b = Builder(np.random.default_rng(0))
    x = b.flow(10, 10, 4)
    b.op(KINDS["CONV_2D"](padding="same"), x, *b.weights(x, (4, 1, 1, 4), 0))
    b.op(KINDS["HARD_SWISH"](), b.ops[-1].output)
    b.op(KINDS["ADD"](), b.ops[-1].output, x)
    graph = b.graph()
    made = timeline(Graph(graph.tensors, graph.ops, graph.inputs, (graph.ops[-1].output,)))
    assert made.live == (800, 800, 800)
    assert {(t.bytes, t.origin) for t in made.held} == {(400, "input"), (400, made.ops[0])}


def test_documented_ops_are_kinds_that_there_are():
    assert set(OPS) <= set(KINDS)


def test_every_op_of_a_plain_network_runs_on_an_edge_tpu():
    graph = two_convolutions()
    found = by_document(graph)
    assert found.runs == tuple(graph.label(op) for op in graph.ops)
    assert found.cpu == ()
    assert set(found.limits) == {"CONV_2D", "MEAN", "FULLY_CONNECTED"}


def test_what_stands_behind_an_op_on_the_cpu_stays_there():
    b = Builder(np.random.default_rng(0))
    x = b.flow(6, 6, 4)
    b.op(KINDS["CONV_2D"](), x, *b.weights(x, (4, 1, 1, 4), 0))
    b.op(KINDS["HARD_SWISH"](), b.ops[-1].output)
    b.op(KINDS["RELU"](), b.ops[-1].output)
    graph = b.graph()
    conv, swish, relu = (graph.label(op) for op in graph.ops)
    found = by_document(graph)
    assert found.runs == (conv,)
    assert found.cpu == (
        Fallback(swish, "HARD_SWISH is not in the table"),
        Fallback(relu, f"stands behind {swish}, and a network is divided once"),
    )


def one(kind, *shape, dtype="int8"):
    """Why the only op of a network would not run there; empty where it would."""
    b = Builder(np.random.default_rng(0))
    b.op(kind, b.flow(*shape))
    graph = b.graph()
    tensors = {i: replace(t, format=Affine(t.format.scale, (0,), dtype)) for i, t in graph.tensors.items()}
    found = by_document(Graph(tensors, graph.ops, graph.inputs, graph.outputs))
    return found.cpu[0].why if found.cpu else ""


def test_formats_and_shapes_that_the_documentation_excludes():
    assert one(KINDS["RELU"](), 6, 6, 4) == ""
    assert one(KINDS["RELU"](), 6, 6, 4, dtype="int16") == "int16 numbers; all must be int8"
    assert one(KINDS["RELU"](), 2, 6, 6, 4) == "more than its innermost 3 dimensions are larger than 1"
    assert one(KINDS["RELU"](), 1, 6, 6, 4) == ""
    assert one(KINDS["SOFTMAX"](), 16_000) == ""
    assert "16,000" in one(KINDS["SOFTMAX"](), 16_001)
    assert "16,000" in one(KINDS["SOFTMAX"](), 2, 10)
    assert one(KINDS["MAX_POOL_2D"]((2, 2), (2, 2), "same", "relu"), 6, 6, 4) == "a fused relu"
    assert one(KINDS["MAX_POOL_2D"]((2, 2), (2, 2), "same", "none"), 6, 6, 4) == ""
