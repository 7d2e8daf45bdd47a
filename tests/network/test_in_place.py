"""Which tensors share a buffer: never one whose bytes something still needs, as a network that runs in its arena shows."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from drafts import draft
from hypothesis import given
from hypothesis import strategies as st

from intact.network.graph import Graph, Op, State, Tensor
from intact.network.in_place import IN_PLACE, shared
from intact.network.placement import placement
from intact.ops.activation import Relu, Softmax
from intact.ops.call import as_tuple
from intact.ops.elementwise import Add, Maximum, Mul
from intact.ops.logic import Greater
from intact.ops.quantization import Cast
from intact.ops.shaping import Concatenation, ExpandDims, Reshape, Transpose


def chain(*kinds, size=8):
    """x, and an op of each kind after the other, over [1, size]; tensor n is what op n makes."""

    def build(d, x):
        for kind in kinds:
            x = d(kind, x)
        return x

    return draft((size,), build, open_batch=False)


def flows(graph):
    return [i for i, t in graph.tensors.items() if not t.is_constant]


def homes(graph, **options):
    return dict(shared(graph, **options).of)


def test_the_worked_example():
    made = shared(chain(Softmax(), Relu(), Reshape((8,))))
    assert dict(made.of) == {0: 0, 1: 1, 2: 1, 3: 1}
    assert [(b.tensor, b.bytes, b.first, b.last) for b in made.buffers] == [(0, 32, 0, 0), (1, 32, 0, 2)]


def test_nothing_is_shared_where_no_kind_is_named():
    assert homes(chain(Softmax(), Relu(), Reshape((8,))), kinds=()) == {0: 0, 1: 1, 2: 2, 3: 3}


def test_only_kinds_that_are_named_share():
    assert homes(chain(Softmax(), Relu(), Reshape((8,))), kinds={"RESHAPE"}) == {0: 0, 1: 1, 2: 2, 3: 2}


def test_naming_a_kind_that_cannot_does_nothing():
    assert homes(chain(Softmax(), Softmax()), kinds={"SOFTMAX"}) == {0: 0, 1: 1, 2: 2}


def test_an_input_is_written_over_only_where_the_caller_says_so():
    graph = chain(Relu(), Relu())
    assert homes(graph) == {0: 0, 1: 1, 2: 1}
    assert homes(graph, overwrite_inputs=True) == {0: 0, 1: 0, 2: 0}


def test_an_input_is_not_written_over_by_another_name():
    graph = chain(Reshape((8,)), Relu())
    assert homes(graph) == {0: 0, 1: 0, 2: 2}
    assert homes(graph, overwrite_inputs=True) == {0: 0, 1: 0, 2: 0}


def test_what_is_read_again_is_not_written_over():
    graph = draft((8,), lambda d, x: d(Mul(), d(Relu(), a := d(Softmax(), x)), a), open_batch=False)
    _, a, b, y = flows(graph)
    assert homes(graph)[b] == b
    assert homes(graph)[y] in (a, b)


def test_what_is_read_again_by_another_name_is_not_written_over():
    def build(d, x):
        a = d(Softmax(), x)
        renamed = d(Reshape((8,)), a)
        b = d(Relu(), renamed)  # the last to read `renamed`, whose bytes are those of `a`
        return d(Mul(), b, a)

    graph = draft((8,), build, open_batch=False)
    _, a, renamed, b, _ = flows(graph)
    assert homes(graph)[renamed] == a
    assert homes(graph)[b] == b


def test_an_output_that_the_last_op_reads_is_not_written_over():
    graph = draft((8,), lambda d, x: (a := d(Softmax(), x), d(Relu(), a)), open_batch=False)
    _, a, y = flows(graph)
    assert homes(graph) == {0: 0, a: a, y: y}
    assert homes(draft((8,), lambda d, x: (a := d(Softmax(), x), d(Reshape((8,)), a)), open_batch=False))[y] == a


def test_an_output_keeps_its_bytes_under_another_name():
    """The renamed one is an output, so that neither name may be written over."""

    def build(d, x):
        renamed = d(Reshape((8,)), d(Softmax(), x))
        return renamed, d(Relu(), renamed)

    graph = draft((8,), build, open_batch=False)
    assert len({homes(graph)[i] for i in graph.outputs}) == 2


def test_a_broadcast_operand_is_not_written_over():
    def build(d, x):
        row, column = d(Softmax(), x), d(ExpandDims(), d(Softmax(), x), np.int32(2))
        return d(Add(), column, d(ExpandDims(), row, np.int32(1)))

    graph = draft((8,), build, open_batch=False)
    (y,) = graph.outputs
    assert homes(graph)[y] == y


def test_the_operand_of_the_outputs_shape_is_written_over_whichever_it_is():
    graph = draft((2, 8), lambda d, x: d(Maximum(), d(Softmax(), d(Relu(), x)), 0.5), open_batch=False)
    assert homes(graph)[graph.outputs[0]] == graph.ops[-1].inputs[0]
    graph = draft((2, 8), lambda d, x: d(Maximum(), 0.5, d(Softmax(), x)), open_batch=False)
    assert homes(graph)[graph.outputs[0]] == graph.ops[-1].inputs[1]


def test_a_constant_has_no_buffer():
    graph = draft((8,), lambda d, x: d(Add(), d(Reshape((1, 8)), np.ones(8)), x), open_batch=False)
    constants = {t.id for t in graph.constants()}
    assert constants.isdisjoint(homes(graph))
    assert constants.isdisjoint(homes(graph).values())


def test_elements_of_other_sizes_share_nothing():
    assert homes(chain(Softmax(), Cast("int64"))) == {0: 0, 1: 1, 2: 2}
    assert homes(chain(Softmax(), Cast("int32"))) == {0: 0, 1: 1, 2: 1}


def test_as_many_bytes_in_another_shape_are_not_written_over():
    """Four numbers of four bytes are compared with each other: 16 bools, each of them made of two numbers."""

    def build(d, x):
        column, row = (d(ExpandDims(), d(Softmax(), x), np.int32(axis)) for axis in (2, 1))
        return d(Greater(), column, row)

    graph = draft((4,), build, open_batch=False)
    (y,) = graph.outputs
    assert {b.bytes for b in shared(graph).buffers} == {16}
    assert homes(graph)[y] == y


def test_what_is_kept_elsewhere_has_no_buffer():
    graph = chain(Softmax(), Relu(), Relu())
    assert homes(graph, elsewhere={1}) == {0: 0, 2: 2, 3: 2}


def counter(kind, *more):
    """A network of one op that reads a state 0, whose next value 1 it makes; ``more`` ops read tensor 1."""
    tensors = {i: Tensor(i, f"t{i}", (1, 8)) for i in range(3)}
    ops = (Op(kind, (0,), (1,)), *more)
    return Graph(tensors, ops, (), (2,), states=(State("s", 0, 1, np.zeros((1, 8))),))


def test_states_are_not_written_over():
    graph = counter(Relu(), Op(Relu(), (1,), (2,)))
    assert homes(graph, overwrite_inputs=True) == {0: 0, 1: 1, 2: 2}


def test_a_state_is_no_other_states_next_value():
    """Whoever copies next values into states one by one would copy a new one on."""
    assert homes(counter(Reshape((1, 8)), Op(Reshape((1, 8)), (1,), (2,)))) == {0: 0, 1: 1, 2: 1}


def test_a_graph_without_ops_and_one_whose_output_is_its_input():
    graph = Graph({0: Tensor(0, "x", (1, 8))}, (), (0,), (0,))
    assert homes(graph, overwrite_inputs=True) == {0: 0}
    found = placement(graph, in_place=IN_PLACE, overwrite_inputs=True)
    assert (dict(found.offsets), found.arena_bytes) == ({0: 0}, 32)
    kept = draft((8,), lambda d, x: (x, d(Relu(), x)), open_batch=False)
    assert len(set(homes(kept, overwrite_inputs=True).values())) == 2


# ---- in one arena -------------------------------------------------------------------------------------------------------

KINDS = ("relu", "add", "mul", "reshape", "expand", "softmax", "transpose", "join")
STEPS = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 99), st.integers(0, 99)))


def network(steps, ends):
    """A network of two inputs and some outputs, all of float32."""

    def build(d, x):
        known = [x, d.input((4,))]
        for kind, first, second in steps:
            a, b = known[first % len(known)], known[second % len(known)]
            flat = len(d.shape(a)) == 1
            same = d.values[a][0].shape == d.values[b][0].shape
            match kind:
                case "relu":
                    known.append(d(Relu(), a))
                case "softmax":
                    known.append(d(Softmax(), a))
                case "add" | "mul":
                    known.append(d(Add() if kind == "add" else Mul(), a, b if same else 0.5))
                case "reshape":
                    known.append(d(Reshape(), a, [1, d.values[a][0].numel()]))
                case "expand" if flat:
                    known.append(d(ExpandDims(), a, np.int32(1)))
                case "transpose" if flat:
                    known.append(d(Transpose(), a, [1, 0]))
                case "join" if same and d.values[a][0].numel() <= 64:
                    known.append(d(Concatenation(), a, b))
        return tuple(dict.fromkeys([known[-1], *(known[n % len(known)] for n in ends)]))

    return replace(draft((4,), build, open_batch=False), inputs=(0, 1))


def in_an_arena(graph, found, fed):
    """The outputs where every tensor is bytes of one arena: elements are made one by one, in place where the plan says so."""
    arena = np.full(found.arena_bytes, 0xA5, np.uint8)

    def at(i):
        t = graph[i]
        shape = tuple(n or 1 for n in t.shape)
        size = int(np.prod(shape)) * 4
        return arena[found.offsets[i] : found.offsets[i] + size].view(np.float32).reshape(shape)

    for i, x in fed.items():
        at(i)[...] = x
    for op in graph.ops:
        read = [torch.from_numpy(np.array(graph[i].data if graph[i].is_constant else at(i))) for i in op.inputs]
        (made,) = as_tuple(op.kind.compute(*read))
        at(op.output)[...] = made.numpy()
    return [np.array(at(i)) for i in graph.outputs]


@given(STEPS, st.lists(st.integers(0, 99), max_size=3), st.booleans())
def test_networks_that_run_in_their_arena_give_what_they_give(steps, ends, overwrite):
    graph = network(steps, ends)
    fed = {i: np.random.default_rng(i).normal(size=graph[i].shape).astype(np.float32) for i in graph.inputs}
    apart, joined = placement(graph), placement(graph, in_place=IN_PLACE, overwrite_inputs=overwrite)
    assert joined.arena_bytes <= apart.arena_bytes
    assert joined.bound_bytes <= joined.arena_bytes
    values = dict(fed)
    for op in graph.ops:
        read = [torch.from_numpy(np.array(graph[i].data if graph[i].is_constant else values[i])) for i in op.inputs]
        values[op.output] = as_tuple(op.kind.compute(*read))[0].numpy()
    for found in (apart, joined):
        for i, y in zip(graph.outputs, in_an_arena(graph, found, fed), strict=True):
            np.testing.assert_array_equal(y, values[i])


def test_the_arena_of_a_wrong_plan_is_seen():
    graph = draft((8,), lambda d, x: (a := d(Softmax(), x), d(Softmax(), a)), open_batch=False)
    right = placement(graph)
    wrong = replace(right, offsets=dict.fromkeys(right.offsets, 0))
    x = {0: np.float32([[1, 2, 3, 4, 5, 6, 7, 8]])}
    assert not np.array_equal(in_an_arena(graph, wrong, x)[0], in_an_arena(graph, right, x)[0])


def test_in_place_takes_less_where_it_can():
    graph = chain(Softmax(), *[Relu()] * 4, size=100)
    assert placement(graph).arena_bytes == 2 * 400
    assert placement(graph, in_place=IN_PLACE).arena_bytes == 2 * 400
    assert placement(graph, in_place=IN_PLACE, overwrite_inputs=True).arena_bytes == 2 * 400
    graph = chain(*[Relu()] * 4, size=100)
    assert placement(graph, in_place=IN_PLACE).arena_bytes == 2 * 400
    assert placement(graph, in_place=IN_PLACE, overwrite_inputs=True).arena_bytes == 400


@pytest.mark.parametrize("joined", [False, True])
def test_a_plan_is_for_every_tensor_that_is_no_constant(joined):
    graph = chain(Softmax(), Relu(), Reshape((8,)))
    assert set(placement(graph, in_place=IN_PLACE if joined else ()).offsets) == set(flows(graph))
