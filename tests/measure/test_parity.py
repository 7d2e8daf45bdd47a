"""Simulator and runtime, bit for bit: the exact integer program beside what the file gave, and where they part if they do."""

from dataclasses import replace

import numpy as np
import pytest
from nets import images, mobile
from plans import planned

import intact
from intact.data import input_specs
from intact.formats import tflite
from intact.measure import parity
from intact.planning.integer_graph import emit
from intact.runtime import litert
from intact.runtime.runtimes import KERNEL_NAMES

SAME = "simulator = runtime, bit for bit"


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """An integer network, samples, and what its file gives, by kernels."""
    graph = emit(mobile(), planned(mobile()))
    samples = intact.data.arrays(images(60)).bind(input_specs(graph), None)
    path = tmp_path_factory.mktemp("parity") / "net.tflite"
    path.write_bytes(tflite.write(graph))
    return graph, samples, {k: litert.run(path, {"image": images(60)}, kernels=k) for k in ("default", "reference")}


def by_name(found):
    return {m.name: m for m in found.measurements}


@pytest.mark.parametrize("kernels", ["default", "reference"])
def test_equal_is_one_line_with_elements_and_kernels(ran, kernels):
    graph, samples, outputs = ran
    found = parity.parity(graph, outputs[kernels], samples, kernels)
    assert found.said == ""
    (m,) = found.measurements
    assert (m.name, m.value, m.unit, m.n) == (SAME, 240, "of 240 stored numbers", 60)
    assert KERNEL_NAMES[kernels] in m.how


def test_a_network_that_differs_is_said_with_the_op_where_it_begins(ran):
    """The simulator is given other weights in the second convolution than the file that ran."""
    graph, samples, outputs = ran
    weight = next(op for op in graph.ops if op.kind.name == "FULLY_CONNECTED").inputs[1]
    other = replace(graph[weight], data=np.asarray(graph[weight].data)[::-1].copy())
    wrong = replace(graph, tensors={**graph.tensors, weight: other})
    found = parity.parity(wrong, outputs["default"], samples, "default")
    values = by_name(found)
    assert values[SAME].value < 240
    assert values["largest difference"].value >= 1
    assert found.said.startswith(f"simulator and runtime differ in {240 - values[SAME].value:,} of 240 output numbers")


def test_where_a_difference_begins_is_found_in_the_runtime(ran, monkeypatch):
    """One op of the simulator is broken on purpose: its name is what is told."""
    graph, samples, outputs = ran
    computed = parity.IntegerProgram._computed

    def broken(self, op, inputs):
        made = computed(self, op, inputs)
        return tuple((y.to(int) + 3).clamp(-128, 127).to(y.dtype) for y in made) if op.kind.name == "MEAN" else made

    monkeypatch.setattr(parity.IntegerProgram, "_computed", broken)
    found = parity.parity(graph, outputs["default"], samples, "default")
    assert "it begins at MEAN 'x9': 32 of 32 numbers, by at most 3 steps" in found.said


def test_what_has_no_exact_arithmetic_falls_back_and_names_the_op(ran, monkeypatch):
    graph, samples, outputs = ran
    monkeypatch.setattr(parity.IntegerProgram, "_check", _unknown)
    found = by_name(parity.parity(graph, outputs["default"], samples, "default"))
    assert set(found) == {
        f"{name} (float simulator)"
        for name in ("identical stored integers", "largest difference", "SQNR of runtime against simulator")
    }
    assert "since op CONV_2D 'x3': the exact arithmetic is not known" in found["largest difference (float simulator)"].how


def _unknown(self, op):
    del self, op
    raise intact.errors.UnsupportedError("the exact arithmetic is not known")


def test_a_float_network_is_not_called_exact(tmp_path):
    graph = emit(mobile(side=16), planned(mobile(side=16), images(8, side=16), scheme="float16"))
    samples = intact.data.arrays(images(8, side=16)).bind(input_specs(graph), None)
    path = tmp_path / "net.tflite"
    path.write_bytes(tflite.write(graph))
    found = by_name(parity.parity(graph, litert.run(path, {"image": images(8, side=16)}), samples, "default"))
    assert list(found) == ["SQNR of runtime against simulator (float simulator)"]


def test_a_float_output_of_integers_is_exact_too(tmp_path):
    graph = emit(mobile(), planned(mobile(), output_type="float32"))
    samples = intact.data.arrays(images(8)).bind(input_specs(graph), None)
    path = tmp_path / "net.tflite"
    path.write_bytes(tflite.write(graph))
    (m,) = parity.parity(graph, litert.run(path, {"image": images(8)}), samples, "default").measurements
    assert (m.name, m.value, m.unit) == (SAME, 32, "of 32 stored numbers")


def test_what_takes_long_is_cut_short(ran, monkeypatch):
    graph, samples, outputs = ran
    monkeypatch.setattr(parity, "_SECONDS", 0.0)
    (m,) = parity.parity(graph, outputs["default"], samples, "default").measurements
    assert (m.n, m.unit) == (4, "of 16 stored numbers")
