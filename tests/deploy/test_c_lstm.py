"""LSTMs in C: bit for bit the arithmetic of TensorFlow Lite Micro, from call to call and over sequences."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from c_networks import outputs_in_c
from compare import assert_same
from lstm_nets import calls, lstm
from recurrent import signals

import intact
from intact.deploy.c.network import Text, write
from intact.deploy.timeline import timeline
from intact.errors import UnsupportedError
from intact.numbers.affine import Affine
from intact.run.deploy import deploy
from intact.runtime.tools import ARM_COMPILER, EMULATOR
from intact.simulate.exact import IntegerProgram

WAYS = [pytest.param(steps, state, wide, id=f"{steps}{'-state' * state}{'-int16' * wide}")
        for steps, state in ((1, True), (11, False)) for wide in (False, True)]  # fmt: skip


no_arm = pytest.mark.skipif(
    ARM_COMPILER.path is None or EMULATOR.path is None, reason="no gcc-arm-none-eabi and qemu-system-arm here"
)


def written(graph):
    return write(graph, Text("net", "a test"))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("steps", "state", "wide"), WAYS)
def test_a_layer_is_bit_exact(tmp_path, steps, state, wide, seed):
    sizes = ((5, 7), (9, 16), (4, 3), (1, 1))[seed]
    graph = lstm(seed, steps, state=state, wide=wide, features=sizes[0], units=sizes[1], cell_clip=0.6 * (seed % 2))
    x = {"x": calls(graph, 40, seed)}
    made, exact = (run["y"] for run in (outputs_in_c(graph, x, tmp_path), IntegerProgram(graph, "tflm")(x)))
    assert_same(made, exact)
    assert len(np.unique(made)) > 20


@pytest.mark.parametrize("wide", [False, True])
def test_all_outputs_are_there_where_they_are_wanted(tmp_path, wide):
    graph = replace(lstm(5, 6, state=False, wide=wide), outputs=(30, 31, 32, 33))
    x = {"x": calls(graph, 9)}
    made, exact = outputs_in_c(graph, x, tmp_path), IntegerProgram(graph, "tflm")(x)
    for name in graph.output_names:
        assert_same(made[name], exact[name])
    assert_same(made["h"], made["y"][:, -1])
    assert_same(made["c"], made["cells"][:, -1])


def test_what_lies_between_takes_no_memory():
    """The arena: 11 steps of 5 numbers, 11 of 7, and one cell state of 7 numbers of 16 bits, each at a multiple of 8 bytes."""
    graph = lstm(0, 11, state=False)
    assert written(graph).arena == 56 + 80 + 16
    assert [(held.name, held.bytes) for held in timeline(graph).held] == [("y", 77), ("x", 55), ("c", 14)]


def test_a_sequence_begins_anew_with_every_call(tmp_path):
    graph = lstm(1, 11, state=False)
    x = calls(graph, 6)
    once = outputs_in_c(graph, {"x": np.repeat(x[:1], 3, 0)}, tmp_path)["y"]
    assert_same(once[0], once[1])
    assert_same(once[0], once[2])


def test_a_layer_in_time_major(tmp_path):
    plain, major = (lstm(2, 8, state=False, time_major=t) for t in (False, True))
    x = calls(plain, 1)
    turned = {i: replace(t, shape=(8, 1, *t.shape[2:])) for i, t in major.tensors.items() if i in {0, 30, 33}}
    graph = replace(major, tensors={**major.tensors, **turned})
    made = outputs_in_c(graph, {"x": x.reshape(1, 8, 1, -1)}, tmp_path)["y"]
    assert_same(made.reshape(8, 7), IntegerProgram(plain, "tflm")({"x": x})["y"][0])


@no_arm
@pytest.mark.parametrize("name", ["lstm_streaming", "gru_streaming"])
def test_a_network_that_keeps_its_state_runs_on_an_emulated_core(tmp_path, name):
    """The cell of one is fused; the other's state has 16 bits between calls, whatever the rest has."""
    x = signals(1, 400, 5)[0].reshape(400, 1, 2)
    source = Path(__file__).parents[1] / "networks" / f"{name}.tflite"
    made = intact.quantize(source, intact.data.arrays(x), target="mcu", measure=False)
    fused = "UNIDIRECTIONAL_SEQUENCE_LSTM" in {op.kind.name for op in made.graph.ops}
    assert fused == (name == "lstm_streaming")
    path = made.save(tmp_path / "model.tflite")
    done = deploy(path, tmp_path / "out", runtime="both", data=intact.data.arrays(x[:60]), verify=True, samples=60)
    assert done.document["emulated"]["exact"] == done.document["emulated"]["samples"] == 60
    assert done.is_exact


# ---- what is refused ----------------------------------------------------------------------------------------------------


def changed(graph, i, **fields):
    return replace(graph, tensors={**graph.tensors, i: replace(graph[i], **fields)})


@pytest.mark.parametrize(
    ("i", "fmt", "why"),
    [
        (32, Affine((0.003,), (0,), "int16"), "takes cell states of int16 in a power of two of at most 1/512"),
        (32, Affine((2.0**-8,), (0,), "int16"), "takes cell states of int16 in a power of two of at most 1/512"),
        (0, Affine((0.001,), (0,), "int16"), "has no int16 kernel in TensorFlow Lite Micro"),
        (6, Affine((0.01,), (3,)), "takes weights with one scale each"),
        (6, Affine((0.01,) * 7, (0,) * 7, axis=0), "takes weights with one scale each"),
    ],
)
def test_formats_that_the_kernel_does_not_take_are_refused(i, fmt, why):
    with pytest.raises(UnsupportedError, match=why):
        written(changed(lstm(0, 4, state=False), i, format=fmt))


def test_other_layers_are_refused_by_name():
    graph = lstm(0, 4, state=False, activation="relu")
    with pytest.raises(
        UnsupportedError, match=r"UNIDIRECTIONAL_SEQUENCE_LSTM 'y' cannot be written as C: .* relu instead of tanh"
    ):
        written(graph)


def test_several_samples_at_once_are_refused():
    graph = lstm(0, 4, state=False)
    two = {i: replace(t, shape=(2, *t.shape[1:])) for i, t in graph.tensors.items() if i in {0, 30, 31, 32, 33}}
    with pytest.raises(UnsupportedError, match="it computes 2 samples at once; export it with a batch of 1"):
        written(replace(graph, tensors={**graph.tensors, **two}))
