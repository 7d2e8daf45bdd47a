"""What is written as an exported program, run by torch's own operators, beside the exact integers of LiteRT's kernels."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from compare import assert_same
from integer_cases import every_kind, samples

from intact.errors import ModelError, UnsupportedError
from intact.formats import pt2, pt2_out
from intact.formats.pt2_out.rows import ROWS
from intact.formats.pt2_out.write import exported, network
from intact.network.graph import Graph, Op, State, Tensor
from intact.numbers.affine import Affine, dequantize_array
from intact.ops import INTEGER, KINDS
from intact.planning.unrounded import unrounded
from intact.simulate.engine import Program
from intact.simulate.exact import IntegerProgram

CASES = every_kind(seed=0)
NAMES = [name for name, op in CASES.names.items() if op.kind.name != "UNIDIRECTIONAL_SEQUENCE_LSTM"]
#: Kinds whose integer kernels in LiteRT round more than once, or read tables: torch rounds real numbers once.
NEARLY = {"HARD_SWISH": 2.0}


def alone(op: Op) -> Graph:
    graph = CASES.graph()
    used = {*op.reads, *op.outputs}
    tensors = {i: t for i, t in graph.tensors.items() if i in used}
    return replace(
        graph, tensors=tensors, ops=(op,), inputs=tuple(i for i in op.reads if i in CASES.inputs), outputs=op.outputs
    )


def ran(module, graph, stored):
    """What a module makes, in our order, as stored integers where the graph stores such."""
    orders, given = pt2_out.orders_of(graph), []
    for name, i in zip(graph.input_names, graph.inputs, strict=True):
        x = stored[name]
        x = dequantize_array(x, graph[i].format) if isinstance(graph[i].format, Affine) else x
        given.append(torch.from_numpy(np.ascontiguousarray(x.transpose(orders[i]))))
    with torch.no_grad():
        made = module(*given)
    result = {}
    for name, i, given_back in zip(graph.output_names, graph.outputs, made, strict=True):
        y, fmt = given_back.numpy().transpose(np.argsort(orders[i])), graph[i].format
        result[name] = np.rint(y.astype(np.float64) / fmt.scale[0]) + fmt.zero_point[0] if isinstance(fmt, Affine) else y
    return result


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_gives_the_same_integers(name):
    op = CASES.names[name]
    graph = alone(op)
    given = {k: v for k, v in samples(replace(CASES, draw=np.random.default_rng(1)), 4).items() if k in graph.input_names}
    made, expected = ran(network(graph), graph, given), IntegerProgram(graph, "default")(given)
    for output in graph.output_names:
        exact = np.asarray(expected[output]).astype(np.float64)
        assert_same(made[output].astype(np.float64), exact, atol=NEARLY.get(op.kind.name, 1.0))
        if op.kind.name not in NEARLY:
            assert (made[output] == exact).mean() > 0.85


def image_net(per_channel: bool = True) -> Graph:
    """PAD, CONV, depthwise CONV, HARD_SWISH, MUL by a channel's number, residual ADD, global mean, dense, softmax."""
    b = every_kind(seed=3)
    b.ops.clear(), b.inputs.clear(), b.names.clear()
    step = Affine((0.05,), (-3,))

    def weights(i, shape, axis):
        return b.weights(i, shape, axis, per_channel=per_channel)

    x = b.flow(8, 8, 3, fmt=b.format(0.02, 0.03))
    b.op(KINDS["PAD"](), x, b.ints(0, 0, 1, 0, 0, 1, 0, 0, shape=(4, 2)))
    padded = b.ops[-1].output
    b.op(KINDS["CONV_2D"](stride=(2, 2)), padded, *weights(padded, (6, 3, 3, 3), 0), out=step)
    first = b.ops[-1].output
    b.op(KINDS["DEPTHWISE_CONV_2D"](padding="same"), first, *weights(first, (1, 3, 3, 6), 3), out=step)
    b.op(KINDS["HARD_SWISH"](), b.ops[-1].output, out=step)
    b.op(KINDS["MUL"](), b.ops[-1].output, b.constant(6), out=step)
    b.op(KINDS["ADD"](), b.ops[-1].output, first, out=step)
    b.op(KINDS["MEAN"](), b.ops[-1].output, b.ints(1, 2), out=Affine((0.037,), (5,)))
    mean = b.ops[-1].output
    b.op(KINDS["FULLY_CONNECTED"](), mean, *weights(mean, (5, 6), 0), out=step)
    b.op(KINDS["SOFTMAX"](), b.ops[-1].output, out=Affine((1 / 256,), (-128,)))
    used = {*b.inputs, *(i for op in b.ops for i in (*op.reads, *op.outputs))}
    graph = b.graph()
    return replace(graph, tensors={i: t for i, t in graph.tensors.items() if i in used}, outputs=(b.ops[-1].output,))


def loaded(data: bytes):
    return torch.export.load(io.BytesIO(data))


@pytest.mark.parametrize("per_channel", [True, False])
def test_a_network_comes_back_from_its_file_and_gives_what_the_simulator_gives(per_channel):
    graph = image_net(per_channel)
    program = loaded(pt2_out.write(graph))
    x = np.random.default_rng(0).integers(-128, 128, (32, 8, 8, 3), np.int8)
    (given,), (output,) = graph.input_names, graph.output_names
    made = ran(program.module(), graph, {given: x})[output]
    real = Program(graph)({given: dequantize_array(x, graph[graph.inputs[0]].format)})[output].numpy()
    simulated = np.rint(real / np.float32(1 / 256)) - 128
    assert (made == simulated).mean() > 0.95
    assert_same(made, simulated.astype(np.float64), atol=4.0)  # of the softmax, whose steps are fine
    exact = np.asarray(IntegerProgram(graph, "default")({given: x})[output])
    assert (made.argmax(1) == exact.argmax(1)).mean() > 0.9


def test_a_network_reads_what_is_stored_and_moves_nothing():
    """A quantized operand before every convolution; an axis moves for the mean and nowhere else; PAD is part of the pads."""
    called = [str(node.target) for node in exported(image_net()).graph.nodes if node.op == "call_function"]
    assert called.count("aten.permute.default") == 1
    assert called.count("quantized_decomposed.dequantize_per_channel.default") == 3
    nodes = [node for node in exported(image_net()).graph.nodes if "conv2d" in str(node.target)]
    assert [str(node.args[0].target) for node in nodes] == ["quantized_decomposed.dequantize_per_tensor.default"] * 2


def test_activations_are_uint8_and_weights_int8():
    program = exported(image_net())
    kept = {str(t.dtype) for name, t in program.state_dict.items() if "weight" in name}
    assert kept == {"torch.int8"}
    stored = {node.args[5] for node in program.graph.nodes if "quantize_per_tensor" in str(node.target)}
    assert stored == {torch.uint8}


def test_the_file_passes_our_own_inspection_and_holds_nothing_pickled(tmp_path):
    path = tmp_path / "model.pt2"
    path.write_bytes(pt2_out.write(image_net(), {"made by": "a test"}))
    assert pt2.checked_copy(path, tmp_path / "copy.pt2")
    assert pt2_out.is_ours(path)
    assert pt2_out.is_ours(tmp_path / "copy.pt2")
    with zipfile.ZipFile(path) as archive:
        (about,) = (name for name in archive.namelist() if name.endswith(pt2_out.ABOUT))
        said = json.loads(archive.read(about))
        assert said["made by"] == "a test"
        assert (list(said["inputs"].values()), list(said["outputs"].values())) == ([[0, 3, 1, 2]], [[0, 1]])
        (config,) = (name for name in archive.namelist() if name.endswith("model_weights_config.json"))
        assert not any(each["use_pickle"] for each in json.loads(archive.read(config))["config"].values())


def test_what_is_no_archive_is_not_ours(tmp_path):
    (tmp_path / "model.pt2").write_bytes(b"PK")
    assert not pt2_out.is_ours(tmp_path / "model.pt2")
    assert not pt2_out.is_ours(tmp_path / "none.pt2")
    with pytest.raises(ModelError):
        pt2.checked_copy(tmp_path / "model.pt2", tmp_path / "copy.pt2")


def test_every_integer_kind_has_a_row():
    assert INTEGER <= ROWS.keys() <= KINDS.keys()


def test_states_and_unknown_ops_are_refused_in_one_sentence():
    graph = Graph({0: Tensor(0, "x", (1, 2)), 1: Tensor(1, "y", (1, 2))}, (Op(KINDS["ABS"](), (0,), (1,)),), (0,), (1,))
    with pytest.raises(UnsupportedError, match="1 state that it keeps"):
        pt2_out.write(replace(graph, states=(State("s", 0, 1, np.zeros((1, 2), np.float32)),)))
    strange = SimpleNamespace(name="SOMETHING_ELSE", converts=False)
    unknown = Op(strange, (0,), (1,))
    with pytest.raises(UnsupportedError, match=r"^PyTorch has no form of the ops SOMETHING_ELSE; the \.tflite runs them"):
        pt2_out.write(replace(graph, ops=(unknown,)))


def test_sums_that_are_read_as_real_numbers_lose_their_rounding():
    b = every_kind(seed=5)
    b.ops.clear(), b.inputs.clear(), b.names.clear()
    x = b.flow(6, 6, 3, fmt=Affine((0.03,), (4,)))
    b.op(KINDS["CONV_2D"](), x, *b.weights(x, (5, 3, 3, 3), 0), out=Affine((0.1,), (2,)))
    graph = b.graph()
    made = graph.ops[-1].output
    real = Tensor(graph.next_id, "real", graph[made].shape)
    graph = replace(
        graph, tensors=dict(graph.tensors) | {real.id: real}, ops=(*graph.ops, Op(KINDS["DEQUANTIZE"](), (made,), (real.id,))),
        outputs=(real.id,),
    )  # fmt: skip
    fine, count = unrounded(graph)
    assert (count, len(fine.ops), fine.ops[0].outputs) == (1, 1, (real.id,))
    given = {graph.input_names[0]: np.random.default_rng(0).integers(-128, 128, (4, 6, 6, 3), np.int8)}
    y = {name: ran(network(each), each, given)["real"] for name, each in (("rounded", graph), ("fine", fine))}
    assert 0 < np.abs(y["rounded"] - y["fine"])[np.abs(y["fine"]) < 12].max() <= 0.05 + 1e-5
    assert unrounded(replace(graph, outputs=(real.id, made)))[1] == 0
