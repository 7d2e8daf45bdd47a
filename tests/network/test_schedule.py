"""Orders of ops: the least peak of all orders in small networks, never a larger one, and the same results."""

import random
from dataclasses import replace

import numpy as np
import pytest
from drafts import draft, normal
from nets import mobile

from intact.formats import tflite
from intact.network import schedule
from intact.network.arena import alive, lifetimes
from intact.network.graph import Graph, Op, State, Tensor, rebuild
from intact.network.placement import placement
from intact.network.schedule import reordered
from intact.network.verify import verify
from intact.numbers.affine import Float
from intact.ops.elementwise import Add
from intact.ops.matmul import FullyConnected
from intact.ops.opaque import Opaque, Port, Spelling
from intact.ops.shaping import Concatenation
from intact.simulate.engine import Program


def peak(graph):
    """By hand: what is alive during each op, with every buffer rounded up to 16 bytes."""
    rounded = tuple(replace(b, bytes=-(-b.bytes // 16) * 16) for b in lifetimes(graph))
    return int(alive(graph, rounded).max())


def branches(widths):
    """For each width, x is made that wide and narrow again; all wide ones first. Their sum is the output."""

    def build(d, x):
        wide = [d(FullyConnected(), x, normal(n, 4), None) for n in widths]
        narrow = [d(FullyConnected(), w, normal(4, n), None) for w, n in zip(wide, widths, strict=True)]
        total = narrow[0]
        for y in narrow[1:]:
            total = d(Add(), total, y)
        return total

    return draft((4,), build, open_batch=False)


def network(seed, count):
    """A random network of ops that read one or two of the tensors before them; what nothing reads is an output."""
    draw = random.Random(seed)

    def build(d, x):
        known = [x]
        for _ in range(count):
            a, b = draw.choice(known[-5:]), draw.choice(known)
            if draw.random() < 0.4 and a != b and d.shape(a)[0] + d.shape(b)[0] <= 200:
                known.append(d(Concatenation(axis=1), a, b))
            else:
                known.append(d(FullyConnected(), a, normal(draw.randrange(1, 60), *d.shape(a)), None))
        read = {i for op in d.ops for i in op.inputs}
        return tuple(i for i in known[1:] if i not in read)

    return draft((8,), build, open_batch=False)


def every_order(graph):
    """The graph in each order in which it can run."""

    def go(done, left, known):
        if not left:
            yield replace(graph, ops=tuple(done))
        for op in left:
            if known.issuperset(op.reads):
                yield from go([*done, op], [other for other in left if other is not op], known | set(op.outputs))

    yield from go([], list(graph.ops), set(graph.inputs) | {t.id for t in graph.constants()})


def results(graph):
    draw = np.random.default_rng(0)
    x = {graph.input_names[0]: draw.normal(size=[n or 2 for n in graph[graph.inputs[0]].shape]).astype(np.float32)}
    made = Program(graph)(x)
    return [made[name].detach().numpy() for name in graph.output_names]


def test_wide_tensors_do_not_wait_for_each_other():
    """[1, 4] of float32 are 16 bytes. All wide first: 400 + 800 and 16; one by one: x or the other's 16, then 800 and 16."""
    graph = branches([100, 200])
    assert peak(graph) == 400 + 800 + 16
    assert peak(reordered(graph)) == 16 + 800 + 16
    assert [op.output for op in reordered(graph).ops] != [op.output for op in graph.ops]


@pytest.mark.parametrize(("seed", "count"), [*((seed, 7) for seed in range(20)), (25, 8), (89, 8), (210, 8)])
def test_small_networks_have_the_least_peak_of_all_orders(seed, count):
    """In the last three an op that frees more than it takes must wait, as it takes too much meanwhile."""
    graph = network(seed, count)
    assert peak(reordered(graph)) == min(peak(other) for other in every_order(graph))


@pytest.mark.parametrize("seed", range(25))
def test_an_order_is_never_worse_and_gives_the_same(seed):
    graph = network(1000 + seed, random.Random(seed).randrange(1, 40))
    found = verify(reordered(graph))
    assert peak(found) <= peak(graph)
    assert placement(found).bound_bytes <= placement(graph).bound_bytes
    assert sorted(op.output for op in found.ops) == sorted(op.output for op in graph.ops)
    assert replace(found, ops=graph.ops, formerly=graph.formerly).tensors == graph.tensors
    assert (found.inputs, found.outputs) == (graph.inputs, graph.outputs)
    for a, b in zip(results(found), results(graph), strict=True):
        np.testing.assert_array_equal(a, b)


def test_networks_are_found_that_gain():
    """So that the test above sees other orders."""
    assert sum(peak(reordered(network(1000 + seed, 30))) < peak(network(1000 + seed, 30)) for seed in range(10)) > 2


def test_few_sets_are_kept_and_the_order_is_still_no_worse(monkeypatch):
    monkeypatch.setattr(schedule, "_SETS", 1)
    monkeypatch.setattr(schedule, "_LEAST", 1)
    for seed in range(10):
        graph = network(seed, 25)
        assert peak(reordered(graph)) <= peak(graph)


def test_a_chain_stays_as_it_is():
    graph = mobile()
    assert reordered(graph) is graph


@pytest.mark.parametrize("name", ["resnet8_cifar10_int8", "vww_96_int8", "kws_int8", "ad01_int8"])
def test_real_networks_are_in_a_good_order_already(shared, name):
    graph = tflite.read(shared / "models" / f"{name}.tflite")
    assert reordered(graph) is graph


def test_a_graph_without_ops_stays_as_it_is():
    graph = Graph({0: Tensor(0, "x", (1, 8))}, (), (0,), (0,))
    assert reordered(graph) is graph


def test_an_input_that_nothing_reads_counts_until_the_first_op_has_run():
    graph = branches([100, 200])
    added = Tensor(graph.next_id, "unread", (1, 100))
    graph = replace(graph, tensors={**graph.tensors, added.id: added}, inputs=(*graph.inputs, added.id))
    assert peak(reordered(graph)) == min(peak(other) for other in every_order(graph)) == 16 + 800 + 16


def test_a_graph_with_states_stays_as_it_is():
    graph = branches([100, 200])
    state = State("s", graph.next_id, graph.outputs[0], np.zeros((1, 4)))
    held = Tensor(state.read, "s", (1, 4))
    kept = replace(graph, tensors={**graph.tensors, held.id: held}, states=(state,))
    assert reordered(kept) is kept


def test_ops_that_nobody_knows_keep_their_order():
    """They may draw numbers one after the other, so that the second must not become the first."""
    graph = branches([100, 200])

    def unknown(op):
        ports = [(Port(graph[i].shape, Float()),) for i in (op.inputs[0], op.output)]
        return Op(Opaque("CUSTOM DRAW", Spelling(32, 1, b"DRAW"), *ports), op.inputs[:1], op.outputs)

    ops = [unknown(op) if op.kind.name == "FULLY_CONNECTED" else op for op in graph.ops]
    drawing = rebuild(graph, ops)
    assert peak(drawing) == peak(graph) > peak(reordered(graph))
    assert reordered(drawing) is drawing
    mixed = rebuild(graph, [*ops[:2], *graph.ops[2:]])
    assert peak(reordered(mixed)) < peak(mixed)
    assert [op.output for op in reordered(mixed).ops if op.kind.unknown] == [op.output for op in ops[:2]]
