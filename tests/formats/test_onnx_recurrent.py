"""Recurrent layers and loops of ONNX files: what is refused, and in which words."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx_models import compare, graph, model, node, wanted  # noqa: E402

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
