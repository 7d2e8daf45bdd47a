"""Recurrent layers and loops of ONNX files: what is refused, and in which words."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx_models import compare, graph, model, node, runtime, wanted  # noqa: E402

from intact.errors import ModelError, UnsupportedError  # noqa: E402
from intact.formats.tflite.loops import LIMIT  # noqa: E402

RNG = np.random.default_rng(0)


def real(*shape):
    return RNG.uniform(-1, 1, shape).astype(np.float32)


def layer(op="LSTM", *, gates=4, length=5, lengths=None, given=("x",), units=4, outputs=("y",), **attributes):
    constants = {"w": real(1, gates * units, 3), "r": real(1, gates * units, units), "b": real(1, 2 * gates * units)}
    constants |= {} if lengths is None else {"lengths": np.asarray(lengths, np.int32)}
    inputs = {"x": real(length, 1, 3), **constants}
    read = ["x", "w", "r", "b", "" if lengths is None else "lengths"]
    made = node(op, read, outputs, hidden_size=units, **attributes)
    kept = {name: data for name, data in constants.items() if name not in given}
    return model([made], {name: inputs[name] for name in given}, [name for name in outputs if name], kept)


def test_a_layer_that_has_the_batch_first():
    """``layout``, which ONNX Runtime has not; ONNX's evaluator has it for one direction."""
    x, units = real(2, 5, 3), 4
    constants = {"w": real(1, 4 * units, 3), "r": real(1, 4 * units, units), "b": real(1, 8 * units)}
    nodes = [node("LSTM", ["x", "w", "r", "b"], ["y", "h"], hidden_size=units, layout=1)]
    made = model(nodes, {"x": x}, ["y", "h"], constants)
    plain = [node("LSTM", ["t", "w", "r", "b"], ["y", "h"], hidden_size=units)]
    other = model(plain, {"t": x.transpose(1, 0, 2)}, ["y", "h"], constants)
    expected = wanted(other, {"t": x.transpose(1, 0, 2)})
    turned = {"y": expected["y"].transpose(2, 0, 1, 3), "h": expected["h"].transpose(1, 0, 2)}
    compare(made, {"x": x}, oracle=lambda *_: turned)


def test_lengths_that_are_all_there_is_are_none():
    made = layer(lengths=[5])
    x = {"x": real(5, 1, 3)}
    compare(made, x, oracle=lambda *_: wanted(layer_of(made), x))


def layer_of(made):
    """The same without its lengths."""
    other = onnx.ModelProto()
    other.CopyFrom(made)
    other.graph.node[0].input[4] = ""
    return other


def test_every_step_has_the_same_weights():
    found, _ = graph(layer("GRU", gates=3))
    weights = {op.inputs[1] for op in found.ops if op.kind.name == "FULLY_CONNECTED"}
    assert len(weights) == 3  # of all inputs at once, of two gates, and of the third


# ---- loops ------------------------------------------------------------------------------------------------------------


def port(name, shape=None, kind=onnx.TensorProto.FLOAT):
    return onnx.helper.make_tensor_value_info(name, kind, shape)


def looped(*, most=None, condition=None, last="going", before=(), outputs=("h", "all"), constants=None):
    """h = tanh(x + h w) in each step, and 2 h beside it."""
    body = onnx.helper.make_graph(
        [
            node("MatMul", ["h0", "w"], ["p"]),
            node("Add", ["p", "x"], ["q"]),
            node("Tanh", ["q"], ["h1"]),
            node("Add", ["h1", "h1"], ["twice"]),
            node("Less", ["i", "three"], ["early"]),
            node("ReduceMax", ["h1"], ["top"], keepdims=0),
            node("Greater", ["top", "zero"], ["computed"]),
            node("Identity", ["going"], ["same"]),
        ],
        "body",
        [port("i", [], onnx.TensorProto.INT64), port("going", [], onnx.TensorProto.BOOL), port("h0")],
        [port("same" if last == "going" else last, [], onnx.TensorProto.BOOL), port("h1"), port("twice")],
    )
    given = {"w": real(3, 3), "first": real(1, 3), "three": np.int64(3), "zero": np.float32(0), "yes": np.bool_(True)}
    nodes = [*before, node("Loop", [most or "", condition or "", "first"], outputs, body=body)]
    made = model(nodes, {"x": real(1, 3)}, outputs, given | (constants or {}))
    for n, shape in enumerate(([1, 3], [None, 1, 3])):
        made.graph.output[n].CopyFrom(port(outputs[n], shape))
    return made


SIZE = [node("Shape", ["x"], ["shape"]), node("Gather", ["shape", "last"], ["n"])]


@pytest.mark.parametrize(
    ("made", "steps"),
    [
        (looped(most="four", constants={"four": np.int64(4)}), 4),
        (looped(most="n", before=SIZE, constants={"last": np.int64(1)}), 3),
        (looped(condition="yes", last="early"), 4),
        (looped(most="ten", condition="yes", last="early", constants={"ten": np.int64(10)}), 4),
    ],
)
def test_a_loop_of_known_length_is_unrolled(made, steps):
    pytest.importorskip("onnxruntime")
    found = compare(made, {"x": real(1, 3)}, oracle=runtime)
    kinds = [op.kind.name for op in found.ops]
    assert kinds.count("TANH") == steps
    assert "WHILE" not in kinds


def test_a_loop_holds_its_constants_once():
    found, _ = graph(looped(most="four", constants={"four": np.int64(4)}))
    assert len({op.inputs[1] for op in found.ops if op.kind.name == "FULLY_CONNECTED"}) == 1


@pytest.mark.parametrize(("directions", "axis"), [((0, 0), 0), ((1, 1), 1), ((1, 0), 1)])
def test_a_scan_is_unrolled(directions, axis):
    body = onnx.helper.make_graph(
        [node("MatMul", ["h0", "w"], ["p"]), node("Add", ["p", "row"], ["h1"]), node("Neg", ["h1"], ["less"])],
        "body",
        [port("h0", [1, 3]), port("row", [1, 3])],
        [port("h1", [1, 3]), port("less", [1, 3])],
    )
    more = {"scan_input_directions": directions[:1], "scan_output_directions": directions[1:], "scan_output_axes": [axis]}
    nodes = [node("Scan", ["first", "x"], ["h", "all"], body=body, num_scan_inputs=1, scan_input_axes=[1], **more)]
    made = model(nodes, {"x": real(1, 5, 3)}, ["h", "all"], {"w": real(3, 3), "first": real(1, 3)})
    pytest.importorskip("onnxruntime")
    found = compare(made, {"x": real(1, 5, 3)}, oracle=runtime)
    assert [op.kind.name for op in found.ops].count("NEG") == 5


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (looped(condition="yes", last="computed"), "ends a loop by what it computes; export the model on an example"),
        (looped(most="n", before=[node("Cast", ["x"], ["n"], to=7)]), "takes as many steps as it computes"),
        (looped(most="none", constants={"none": np.int64(0)}), "takes no step"),
        (looped(condition="yes"), "come to more than 20,000 ops; export the model on a shorter sequence"),
        (looped(most="many", constants={"many": np.int64(1 << 62)}), "come to more than 20,000 ops"),
    ],
)
def test_a_loop_that_cannot_be_unrolled_is_refused(made, message):
    with pytest.raises(UnsupportedError, match=message):
        graph(made)


# ---- what is refused of layers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "error", "message"),
    [
        (layer(lengths=[3]), UnsupportedError, "end before the last of 5 steps; export it without their lengths"),
        (layer(activations=["Affine", "Tanh", "Tanh"]), UnsupportedError, "its activation 'Affine' is none"),
        (layer(input_forget=1), UnsupportedError, "wired in a way"),
        (layer(direction="sideways"), UnsupportedError, "wired in a way"),
        (layer(given=("x", "w")), UnsupportedError, "its weight is computed at run time; export the model so that it is a"),
        (layer(length=LIMIT // 12 + 1), UnsupportedError, "1667 steps of a recurrent layer .* export it on a shorter sequence"),
        (layer("GRU", gates=2), ModelError, "weights of shape .* of 3 gates"),
        (layer("RNN", gates=1, direction="bidirectional"), ModelError, "weights of shape"),
        (layer(activations=["Tanh"]), ModelError, "1 activations for 3 in each direction"),
        (layer(clip="much"), ModelError, "Mismatched attribute type"),
    ],
)
def test_what_is_refused(made, error, message):
    with pytest.raises(error, match=message):
        graph(made)
