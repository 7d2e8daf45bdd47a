"""The LSTM of TensorFlow Lite Micro to the last bit: the simulator against the real one."""

import dataclasses
import importlib.util

import numpy as np
import pytest
import run_files
from compare import assert_same
from lstm_nets import calls, lstm

from intact.errors import UnsupportedError
from intact.formats import tflite
from intact.numbers.affine import Affine
from intact.simulate.exact import IntegerProgram

no_tflm = pytest.mark.skipif(
    importlib.util.find_spec("tflite_micro") is None,
    reason="the microcontroller runtime is not installed; type: pip install tflite-micro",
)


@no_tflm
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_a_layer_that_is_called_step_by_step(tmp_path, seed, wide):
    graph = lstm(seed, 1, state=True, wide=wide, features=9, units=16, cell_clip=0.7 * (seed % 2))
    x = calls(graph, 300, seed)
    (made,) = run_files.outputs([tflite.write(graph)], [[x]], tmp_path, "tflm")
    assert not isinstance(made, str), made
    ours = IntegerProgram(graph, "tflm")({"x": x})["y"]
    assert_same(ours, made[0])
    assert len(np.unique(ours)) > 50


@no_tflm
@pytest.mark.parametrize("wide", [False, True])
def test_a_layer_over_a_sequence(tmp_path, wide):
    """The runtime goes on from call to call, so that each has one of its own."""
    graph = lstm(3, 20, state=False, wide=wide)
    x = calls(graph, 5)
    results = run_files.outputs([tflite.write(graph)] * len(x), [[x[n : n + 1]] for n in range(len(x))], tmp_path, "tflm")
    assert_same(IntegerProgram(graph, "tflm")({"x": x})["y"], np.concatenate([made[0] for made in results]))


@pytest.mark.parametrize("kernels", ["reference", "default"])
def test_the_arithmetic_of_other_kernels_is_not_known(kernels):
    graph = lstm(0, 4, state=False)
    with pytest.raises(UnsupportedError, match=r"UNIDIRECTIONAL_SEQUENCE_LSTM 'y'.* int16 activations is not known"):
        IntegerProgram(graph, kernels)({"x": calls(graph, 2)})


def test_what_the_kernel_does_not_compute_is_not_known():
    graph = lstm(0, 4, state=False, activation="relu")
    with pytest.raises(UnsupportedError, match="the exact integer arithmetic of UNIDIRECTIONAL_SEQUENCE_LSTM is not known"):
        IntegerProgram(graph, "tflm")({"x": calls(graph, 2)})


def test_hidden_states_of_another_type_are_not_known():
    graph = lstm(0, 4, state=False)
    x = dataclasses.replace(graph[0], format=Affine((0.001,), (0,), "int16"))
    mixed = dataclasses.replace(graph, tensors={**graph.tensors, 0: x})
    with pytest.raises(UnsupportedError, match="gives what it takes, and not int8 of int16"):
        IntegerProgram(mixed, "tflm")({"x": np.zeros((1, 4, 5), np.int16)})
