"""A plan of the arena in a file: golden numbers, and that TensorFlow Lite Micro needs less with it and computes the same."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from drafts import draft, normal
from nets import images, mobile
from plans import planned
from small_graphs import residual, softmax

from intact.errors import UnsupportedError
from intact.formats import tflite
from intact.formats.tflite.offline import STAYS
from intact.formats.tflite.write import file_order
from intact.network.arena import activation_memory
from intact.network.graph import ARENA_PLAN, Graph, Op, State, Tensor
from intact.network.placement import placement
from intact.numbers.affine import Affine, Float
from intact.ops.activation import Relu, Softmax
from intact.ops.matmul import FullyConnected
from intact.ops.reduction import Mean
from intact.ops.shaping import ExpandDims, Reshape
from intact.planning.integer_graph import emit
from intact.rewrite.clean import clean
from intact.rewrite.fuse import fuse_cells
from intact.runtime import litert, tflm

needs_tflm = pytest.mark.skipif(
    importlib.util.find_spec("tflite_micro") is None,
    reason="the microcontroller runtime is not installed; type: pip install tflite-micro",
)
NETWORKS = Path(__file__).parents[1] / "networks"


def plan_of(data):
    """What the metadata of a file says: version, subgraph, count and offsets; None where there is no plan."""
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    found = [model.buffers[m.buffer].data for m in model.metadata or [] if m.name.decode() == ARENA_PLAN]
    if not found:
        return None
    (payload,) = found
    return np.frombuffer(bytes(payload), "<i4").tolist()


def both(graph, folder, **how):
    """The file without a plan and that with one, on disk."""
    paths = folder / "plain.tflite", folder / "planned.tflite"
    for path, write in zip(paths, (tflite.write, tflite.write_planned), strict=True):
        path.write_bytes(write(graph, **how))
    return paths


def test_the_entry_number_by_number():
    """x, a and y of 256 bytes, b of 256 too, all int8; x waits for the ADD, so that a, b and x lie apart, and y where a did."""
    graph = residual(Affine((0.1,), (0,)))
    version, subgraph, count, *offsets = plan_of(tflite.write_planned(graph))
    assert (version, subgraph, count) == (1, 0, len(graph.tensors)) == (1, 0, 6)
    assert [graph[i].is_constant for i in file_order(graph)] == [offset == -1 for offset in offsets]
    x, a, b, y = offsets[:4]
    assert sorted((x, a, b)) == [0, 256, 512]
    assert y == a


def test_a_plan_is_of_the_files_tensors_in_the_files_order():
    graph = emit(mobile(), planned(mobile(), target="mcu"))
    data = tflite.write_planned(graph)
    offsets, found = plan_of(data)[3:], placement(graph, in_place=STAYS).offsets
    subgraph = schema.ModelT.InitFromPackedBuf(data, 0).subgraphs[0]
    assert len(offsets) == len(subgraph.tensors)
    named = {int(i): graph.inputs[n] for n, i in enumerate(subgraph.inputs)} | {
        int(i): graph.outputs[n] for n, i in enumerate(subgraph.outputs)
    }
    assert all(offsets[place] == found[i] for place, i in named.items())
    for op, written in zip(graph.ops, subgraph.operators, strict=True):
        assert [offsets[int(i)] for i in written.outputs] == [found[i] for i in op.outputs]


def test_a_plan_is_not_read_back_since_it_holds_for_its_file_alone(tmp_path):
    """Nor written again: the file is otherwise what is written without a plan."""
    graph = replace(residual(Affine((0.1,), (0,))), metadata=(("note", b"kept"),))
    plain, offline = both(graph, tmp_path)
    assert (plan_of(plain.read_bytes()), plan_of(offline.read_bytes())) == (None, plan_of(tflite.write_planned(graph)))
    assert tflite.read(offline).metadata == (("note", b"kept"),)
    assert tflite.write(tflite.read(offline)) == tflite.write(tflite.read(plain))


def test_a_plan_replaces_one_that_a_graph_carries():
    graph = replace(softmax(), metadata=((ARENA_PLAN, b"stale"),))
    assert plan_of(tflite.write_planned(graph)) == [1, 0, 2, *placement(graph).offsets.values()]


def test_a_reshape_lies_where_its_operand_does():
    graph = draft((2, 8), lambda d, x: d(Softmax(), d(Reshape(), d(Relu(), x), [1, 16])), open_batch=False)
    offsets = dict(zip(file_order(graph), plan_of(tflite.write_planned(graph))[3:], strict=True))
    op = graph.ops[1]
    assert offsets[op.output] == offsets[op.inputs[0]]
    assert offsets[op.inputs[1]] == -1


def test_a_graph_whose_output_is_its_input_has_a_plan():
    graph = Graph({0: Tensor(0, "x", (1, 8))}, (), (0,), (0,))
    assert plan_of(tflite.write_planned(graph)) == [1, 0, 1, 0]


def test_states_in_a_second_subgraph_are_refused():
    """Else it would lay their first values over the inputs."""
    tensors = {i: Tensor(i, f"t{i}", (1, 8)) for i in range(3)}
    ops = (Op(Relu(), (0,), (1,)), Op(Relu(), (1,), (2,)))
    graph = Graph(tensors, ops, (), (2,), states=(State("memory", 0, 1, np.zeros((1, 8))),))
    with pytest.raises(UnsupportedError, match="keeps 'memory' between calls by a second subgraph"):
        tflite.write_planned(graph)


def test_an_arena_beyond_what_int32_can_say_is_refused():
    big = Tensor(0, "x", (1, 1 << 28), Float())
    graph = Graph({0: big, 1: replace(big, id=1, name="y")}, (Op(Softmax(), (0,), (1,)),), (0,), (1,))
    with pytest.raises(UnsupportedError, match="takes an arena of 2,147,483,648 bytes"):
        tflite.write_planned(graph)


# ---- in TensorFlow Lite Micro -------------------------------------------------------------------------------------------


def same(graph, plain, offline, folder, count=20):
    """How many output elements differ on random inputs."""
    draw, inputs = np.random.default_rng(0), {}
    for n, i in enumerate(graph.inputs):
        shape = (count, *[n or 1 for n in graph[i].shape])
        if graph[i].format.dtype == "int8":
            inputs[str(n)] = draw.integers(-128, 128, shape).astype(np.int8)
        else:
            inputs[str(n)] = draw.normal(size=shape).astype(np.float32)
    np.savez(folder / "inputs.npz", **inputs)
    equal, elements = tflm.compare(plain, offline, folder / "inputs.npz", len(graph.outputs), 1 << 24)
    return elements > 0 and equal == elements


@needs_tflm
@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("resnet8_cifar10", 55_984, 55_984),
        ("vww_96", 103_680, 85_248),
        ("kws", 24_272, 24_272),
        ("ad01", 4_640, 4_640),
    ],
)
def test_real_networks_take_no_more_and_compute_the_same(shared, tmp_path, name, before, after):
    graph = tflite.read(shared / "models" / f"{name}_int8.tflite")
    plain, offline = both(graph, tmp_path)
    arenas = [tflm.arena(path, 1 << 16) for path in (plain, offline)]
    assert [found.bytes for found in arenas] == [before, after]
    assert arenas[1].activations == -(-activation_memory(graph).live_bytes // 16) * 16
    assert same(graph, plain, offline, tmp_path)


def clustered():
    """Two layers whose weights are indices and tables in the file, 4,096 bytes each when they are decoded."""

    def build(d, x):
        return d(FullyConnected(), d(FullyConnected("relu"), x, normal(64, 64), normal(64)), normal(64, 64), normal(64))

    graph = draft((64,), build)
    return emit(graph, planned(graph, normal(20, 64, seed=1), target="mcu", scheme="clusters4"))


def test_weights_that_are_decoded_are_left_to_the_runtime():
    """Their tensors come behind the graph's, and have an entry each."""
    graph = clustered()
    data = tflite.write_planned(graph, packed=True)
    _, _, count, *offsets = plan_of(data)
    tensors = schema.ModelT.InitFromPackedBuf(data, 0).subgraphs[0].tensors
    assert len(graph.tensors) < len(tensors) == count == len(offsets)
    assert set(offsets[len(graph.tensors) :]) == {-1}


@pytest.fixture
def fused():
    """A layer called step by step, whose kernel keeps its states in two variable tensors of the graph."""
    return fuse_cells(clean(tflite.read(NETWORKS / "lstm_streaming.tflite")))


def test_variables_are_left_to_the_runtime(fused):
    data = tflite.write_planned(fused)
    _, _, count, *offsets = plan_of(data)
    tensors = schema.ModelT.InitFromPackedBuf(data, 0).subgraphs[0].tensors
    assert count == len(offsets) == len(tensors)
    assert [n for n, t in enumerate(tensors) if t.isVariable and offsets[n] != -1] == []
    assert sum(t.isVariable for t in tensors) == 2


@needs_tflm
def test_a_layer_called_step_by_step_goes_on_as_it_did(fused, tmp_path):
    plain, offline = both(fused, tmp_path)
    assert same(fused, plain, offline, tmp_path)


@needs_tflm
@pytest.mark.parametrize("packed", [False, True])
def test_small_networks_compute_the_same(tmp_path, packed):
    """Packed weights are decoded into tensors that the runtime plans itself, around the plan."""
    graph = clustered() if packed else emit(mobile(), planned(mobile(), target="mcu"))
    plain, offline = both(graph, tmp_path, packed=packed)
    assert same(graph, plain, offline, tmp_path)


@needs_tflm
def test_reshapes_in_place_take_less_and_compute_the_same(tmp_path):
    """4,096 bytes under three names, the first of them read at the end: three buffers without a plan, and one with it."""

    def build(d, x):
        a = d(Relu(), x)
        renamed = d(ExpandDims(), d(Reshape(), a, [1, 1024]), np.int32(1))
        return d(Mean(), renamed, [1, 2]), d(Mean(), a, [1, 2])

    graph = draft((32, 32), build, open_batch=False)
    plain, offline = both(graph, tmp_path)
    arenas = [tflm.arena(path, 1 << 15).activations for path in (plain, offline)]
    assert arenas == [3 * 4096, 2 * 4096]
    assert same(graph, plain, offline, tmp_path)


@needs_tflm
def test_a_recurrent_network_computes_the_same(tmp_path):
    graph = tflite.read(NETWORKS / "lstm_sequence.tflite")
    plain, offline = both(graph, tmp_path)
    assert same(graph, plain, offline, tmp_path, count=5)


def test_litert_takes_no_notice(tmp_path):
    x = {"image": images(1)}
    (a,), (b,) = (litert.run(path, x).values() for path in both(mobile(), tmp_path))
    np.testing.assert_array_equal(a, b)
