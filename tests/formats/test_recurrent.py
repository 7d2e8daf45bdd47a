"""Recurrent networks keep their states from call to call: in float, quantized, in LiteRT and in TensorFlow Lite Micro."""

import importlib.util
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from compare import assert_same
from recurrent import signals

import intact
from intact.data.splits import split
from intact.errors import ModelError, UnsupportedError
from intact.formats import tflite
from intact.formats.tflite.control import Block
from intact.formats.tflite.states import fused_states
from intact.network.graph import Graph, Op, State, Tensor
from intact.network.verify import verify
from intact.ops.recurrent import UnidirectionalSequenceLstm
from intact.planning.mixed_widths import accumulators
from intact.rewrite.clean import clean
from intact.rewrite.fuse import fuse_cells
from intact.runtime import child, litert
from intact.runtime.confinement import Confinement
from intact.simulate.engine import Program

DATA = Path(__file__).parents[1] / "networks"
CALLS = signals(1, 1000, 6)[0].reshape(1000, 1, 2)
BEFORE = signals(1, 4000, 5)[0].reshape(4000, 1, 2)
STREAMING = ("lstm_streaming", "gru_streaming")
SEQUENCES = ("lstm_sequence", "gru_sequence", "simple_rnn", "bidirectional")
no_tflm = pytest.mark.skipif(
    importlib.util.find_spec("tflite_micro") is None,
    reason="no microcontroller runtime; type: pip install tflite-micro",
)
RUNTIMES = ("default", "reference", pytest.param("tflm", marks=no_tflm))


def sqnr(expected, actual):
    """dB, the mean of each output taken away."""
    signal = expected - expected.mean(0)
    return 10 * np.log10(np.square(signal).sum() / np.square(expected - actual).sum())


def ran(path, x, runtime):
    """The only output of a file, call after call."""
    if runtime == "tflm":
        out = path.with_suffix(".npy")
        np.save(out, x)
        script = Path(__file__).parents[1] / "helpers" / "tflm_calls.py"
        request = {"model": str(path), "calls": str(out)}
        child.call(str(script), request, what="TensorFlow Lite Micro", timeout=60, confinement=Confinement(writes=(out,)))
        return np.load(out)
    (name,) = tflite.read(path).input_names
    (y,) = litert.run(path, {name: x}, kernels=runtime).values()
    return y


def simulated(graph, x):
    (y,) = Program(graph)({graph.input_names[0]: x}).values()
    return y.numpy()


def layer(steps, *, state, seed=0, features=2, units=8, **options):
    """One LSTM over [1, steps, features]; with ``state``, between calls too."""
    draw = np.random.default_rng(seed)

    def held(i, *shape, shift=0.0):
        return Tensor(i, f"w{i}", shape, data=(draw.normal(0, 0.4, shape) + shift).astype(np.float32))

    weights = {1 + n: held(1 + n, units, features if n < 4 else units) for n in range(8)}
    weights |= {12 + n: held(12 + n, units, shift=float(n == 1)) for n in range(4)}
    flows = [Tensor(0, "x", (1, steps, features)), *(Tensor(i, f"s{i}", (1, units)) for i in (18, 19))]
    made = [Tensor(30, "y", (1, steps, units)), *(Tensor(i, f"s{i}", (1, units)) for i in (31, 32))]
    made += [Tensor(33, "cells", (1, steps, units))]
    reads = tuple(i if i in (0, *weights, *((18, 19) if state else ())) else None for i in range(24))
    zeros = np.zeros((1, units), np.float32)
    states = (State("h", 18, 31, zeros), State("c", 19, 32, zeros)) if state else ()
    tensors = [*(flows if state else flows[:1]), *weights.values(), *made]
    op = Op(UnidirectionalSequenceLstm(**options), reads, (30, 31, 32, 33))
    return Graph({t.id: t for t in tensors}, (op,), (0,), (30,), states=states)


def test_a_layer_without_tensors_for_its_states_is_named_when_a_file_is_read():
    graph = layer(1, state=False)
    block = Block("main", graph.tensors, graph.ops, graph.inputs, graph.outputs)
    with pytest.raises(ModelError, match="UNIDIRECTIONAL_SEQUENCE_LSTM 'y' has no tensors for its states"):
        fused_states(block, set())


# ---- float --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernels", ["default", "reference"])
@pytest.mark.parametrize("name", STREAMING)
def test_states_survive_a_round_trip(tmp_path, name, kernels):
    source = DATA / f"{name}.tflite"
    graph = clean(tflite.read(source))
    assert graph.states
    assert not graph.takes_batches
    path = tmp_path / "again.tflite"
    path.write_bytes(tflite.write(graph))
    expected = ran(source, CALLS, "default")
    assert_same(ran(path, CALLS, kernels), expected, rtol=1e-5)
    assert_same(simulated(graph, CALLS), expected, rtol=1e-5)
    assert tflite.write(tflite.read(path)) == path.read_bytes()


@pytest.mark.parametrize("name", STREAMING)
def test_a_state_matters(name):
    """Else the tests of this file would prove nothing: each call by itself gives something else."""
    graph = clean(tflite.read(DATA / f"{name}.tflite"))
    alone = np.concatenate([simulated(graph, CALLS[i : i + 1]) for i in range(200)])
    assert sqnr(simulated(graph, CALLS[:200]), alone) < 3


@pytest.mark.parametrize("steps", [1, 12])
def test_a_fused_layer_is_what_the_kernel_computes(tmp_path, steps):
    graph = layer(steps, state=steps == 1, cell_clip=0.7)
    path = tmp_path / "layer.tflite"
    path.write_bytes(tflite.write(graph))
    x = CALLS if steps == 1 else signals(60, steps, 7)[0]
    again = tflite.read(path)
    assert len(again.states) == (2 if steps == 1 else 0)
    assert (tflite.write(again) == path.read_bytes()) == (steps == 1)  # of sequences, the batch is open then
    assert_same(simulated(again, x), ran(path, x, "default"), rtol=2e-6)


def test_a_streaming_cell_is_fused_without_a_change():
    graph = clean(tflite.read(DATA / "lstm_streaming.tflite"))
    fused = fuse_cells(graph)
    assert [op.kind.name for op in fused.ops].count("UNIDIRECTIONAL_SEQUENCE_LSTM") == 1
    assert "LOGISTIC" not in {op.kind.name for op in fused.ops}
    assert_same(simulated(fused, CALLS), simulated(graph, CALLS), rtol=2e-6)


@pytest.mark.parametrize("what", ["the cell is given out", "another order of gates"])
def test_what_is_no_plain_cell_stays_as_it_is(what):
    graph = clean(tflite.read(DATA / "lstm_streaming.tflite"))
    if what == "the cell is given out":
        graph = replace(graph, outputs=(*graph.outputs, *(s.write for s in graph.states)), signatures=())
    else:
        (split,) = (op for op in graph.ops if op.kind.name == "SPLIT")
        swapped = replace(split, outputs=split.outputs[::-1])
        graph = replace(graph, ops=tuple(swapped if op is split else op for op in graph.ops))
    assert fuse_cells(graph) is graph


def test_which_states_add_up():
    lstm, gru = (clean(tflite.read(DATA / f"{name}.tflite")) for name in STREAMING)
    assert len(lstm.states) == 2
    assert len(accumulators(lstm)) == 1
    assert accumulators(gru) == (gru.states[0].write,)


def test_a_state_of_another_shape_is_refused():
    graph = layer(1, state=True)
    (h, c) = graph.states
    with pytest.raises(ModelError, match=r"state 'h' of shape \[1, 8\] begins with \[1, 7\]"):
        verify(replace(graph, states=(replace(h, initial=np.zeros((1, 7), np.float32)), c)))
    with pytest.raises(ModelError, match=r"state 'h' is read as .* and kept as"):
        verify(replace(graph, states=(replace(h, write=30), c)))


def test_calls_are_divided_into_stretches():
    parts = split(12, None, seed=0, in_order=True)
    assert [part.tolist() for part in parts.values()] == [[0, 1, 2], [3, 4, 5], [6, 7, 8, 9, 10, 11]]


def test_the_documented_calls_work(tmp_path, monkeypatch):
    text = (Path(__file__).parents[2] / "docs" / "recurrent.md").read_text()
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(code) == 2
    monkeypatch.chdir(tmp_path)
    shutil.copy(DATA / "lstm_streaming.tflite", tmp_path)
    np.save("calls.npy", BEFORE[:200])
    scope = {}
    for block in code:
        exec(compile(block, "docs/recurrent.md", "exec"), scope)
    assert scope["averages"].shape == (1, 2)


# ---- quantized ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Quantized networks by name and target, each made once."""
    folder, made = tmp_path_factory.mktemp("written"), {}

    def write(name, target, scheme="int8"):
        key = name, target, scheme
        if key not in made:
            streaming = name in STREAMING
            before = BEFORE if streaming else signals(200, 24, 5)[0]
            after = CALLS if streaming else signals(200, 24, 6)[0]
            samples = intact.data.arrays(before), intact.data.arrays(after)
            options = {"target": target, "scheme": scheme, "measure": False}
            result = intact.quantize(DATA / f"{name}.tflite", samples[0], evaluation=samples[1], **options)
            path = folder / f"{name}_{target}_{scheme}.tflite"
            path.write_bytes(result.model)
            made[key] = path, result
        return made[key]

    return write


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("target", ["cpu", "mcu"])
def test_a_trained_lstm_keeps_its_state_over_1000_calls(written, target, runtime):
    path, _ = written("lstm_streaming", target)
    expected = ran(DATA / "lstm_streaming.tflite", CALLS, "default")
    actual = ran(path, CALLS, runtime)
    assert sqnr(expected, actual) >= 30
    assert sqnr(expected[-100:], actual[-100:]) >= 30  # it does not drift


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_trained_gru_keeps_its_state_over_1000_calls(written, runtime):
    """At 16 bits between calls, whatever the rest of the network has."""
    path, result = written("gru_streaming", "mcu")
    (state,) = result.graph.states
    assert result.graph[state.read].format.dtype == "int16"
    assert sqnr(ran(DATA / "gru_streaming.tflite", CALLS, "default"), ran(path, CALLS, runtime)) >= 28


@pytest.mark.parametrize(("name", "least"), [("lstm_streaming", 38), ("gru_streaming", 38)])
def test_16_bits_keep_more(written, name, least):
    path, _ = written(name, "cpu", "int16x8")
    assert sqnr(ran(DATA / f"{name}.tflite", CALLS, "default"), ran(path, CALLS, "default")) >= least


@pytest.mark.parametrize(
    ("name", "least"), [("lstm_sequence", 30), ("gru_sequence", 29), ("simple_rnn", 25), ("bidirectional", 29)]
)
@pytest.mark.parametrize(
    ("target", "runtime"), [("cpu", "default"), ("mcu", "reference"), pytest.param("mcu", "tflm", marks=no_tflm)]
)
def test_unrolled_networks_are_quantized(written, name, target, runtime, least):
    path, _ = written(name, target)
    x = signals(200, 24, 6)[0]
    assert sqnr(ran(DATA / f"{name}.tflite", x, "default"), ran(path, x, runtime)) >= least


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_fused_layer_runs_in_int8(tmp_path, runtime):
    source = tmp_path / "float.tflite"
    source.write_bytes(tflite.write(layer(1, state=True)))
    result = intact.quantize(source, intact.data.arrays(BEFORE), measure=False, target="mcu")
    path = tmp_path / "int8.tflite"
    path.write_bytes(result.model)
    assert sqnr(ran(source, CALLS, "default"), ran(path, CALLS, runtime)) >= 35


def test_a_sequence_begins_anew_for_every_sample(tmp_path):
    """Kernels go on from the sample before; whoever runs sequences resets them, and so does Intact."""
    source = tmp_path / "float.tflite"
    source.write_bytes(tflite.write(layer(12, state=False)))
    x = signals(80, 12, 5)[0]
    result = intact.quantize(source, intact.data.arrays(x), measure=False)
    path = tmp_path / "int8.tflite"
    path.write_bytes(result.model)
    expected = ran(source, x, "default")
    assert sqnr(expected, ran(path, x, "default")) >= 35
    assert_same(ran(source, x[::-1], "default"), expected[::-1])


def test_what_the_integer_kernels_do_not_take_is_said(tmp_path):
    source = tmp_path / "float.tflite"
    source.write_bytes(tflite.write(layer(1, state=True, activation="relu")))
    samples = intact.data.arrays(BEFORE)
    with pytest.raises(UnsupportedError, match=r"has no int8 kernel for an LSTM with relu instead of tanh.*--target cpu"):
        intact.quantize(source, samples, measure=False, target="mcu")
    result = intact.quantize(source, samples, measure=False)
    assert any("UNIDIRECTIONAL_SEQUENCE_LSTM" in f.message for f in result.findings)
    path = tmp_path / "cpu.tflite"
    path.write_bytes(result.model)
    assert sqnr(ran(source, CALLS, "default"), ran(path, CALLS, "default")) >= 30
