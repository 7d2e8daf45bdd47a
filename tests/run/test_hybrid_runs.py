"""Runs, commands and documents of int4 weights beside real activations."""

import json
from dataclasses import replace

import numpy as np
import pytest
from drafts import draft, normal
from typer.testing import CliRunner

import intact
from intact.cli.app import app
from intact.errors import ModelError, OptionError
from intact.formats import tflite
from intact.ops.convolution import Conv2D, DepthwiseConv2D
from intact.ops.matmul import FullyConnected
from intact.ops.reduction import Mean
from intact.remedies import REMEDIES
from intact.run.findings import wider

pytestmark = pytest.mark.usefixtures("hasty")

RUN = CliRunner()
INPUTS, HIDDEN, CLASSES = 128, 64, 5


def dense_network():
    def build(d, x):
        y = d(FullyConnected(activation="relu"), x, normal(HIDDEN, INPUTS) / 11, normal(HIDDEN))
        return d(FullyConnected(), y, normal(CLASSES, HIDDEN) / 8, normal(CLASSES))

    net = draft((INPUTS,), build)
    names = {net.inputs[0]: "x", net.outputs[0]: "scores"}
    return replace(net, tensors={i: replace(t, name=names.get(i, t.name), origin="") for i, t in net.tensors.items()})


def image_network():
    """No dense layer has blocks: 16 inputs."""

    def build(d, x):
        y = d(Conv2D(padding="same", activation="relu"), x, normal(16, 3, 3, 3) / 5, normal(16))
        y = d(DepthwiseConv2D(padding="same", activation="relu"), y, normal(1, 5, 5, 16) / 5, normal(16))
        y = d(Mean(), y, np.int32([1, 2]))
        return d(FullyConnected(), y, normal(20, 16), normal(20))

    return draft((8, 8, 3), build)


def samples(n=60):
    return np.random.default_rng(0).normal(size=(n, INPUTS)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("hybrid")
    (path / "net.tflite").write_bytes(tflite.write(dense_network(), named=True))
    np.savez(path / "val.npz", x=samples(), y=np.arange(60) % CLASSES)
    np.save(path / "x.npy", samples())
    np.save(path / "images.npy", np.random.default_rng(0).normal(size=(60, 8, 8, 3)).astype(np.float32))
    (path / "images.tflite").write_bytes(tflite.write(image_network(), named=True))
    for name in ("dynamic", "dynamic-w4", "dynamic-w4-g32"):
        done = quantized(path, path / name, "--scheme", name)
        assert done.exit_code == 0, done.output
    return path


def call(*args):
    return RUN.invoke(app, [str(a) for a in args])


def quantized(folder, out, *options):
    return call("quantize", folder / "net.tflite", "--data", folder / "val.npz", *options, "--out", out)


def said(folder, name, of="quantized"):
    """The values of a run's figures by name."""
    document = json.loads((folder / name / "result.json").read_text())
    return {m["name"]: m["value"] for m in document["measurements"] if m["of"] == of}


def test_a_run_counts_the_scales_of_blocks(folder):
    weights, scales = INPUTS * HIDDEN + HIDDEN * CLASSES, (INPUTS * HIDDEN + HIDDEN * CLASSES) // 32
    assert said(folder, "dynamic-w4")["bytes of weights in theory"] == weights / 2
    assert said(folder, "dynamic-w4-g32")["bytes of weights in theory"] == weights / 2 + 2 * scales
    rows = json.loads((folder / "dynamic-w4-g32" / "details.json").read_text())["weights"]
    assert [row["bytes"] for row in rows] == [INPUTS * HIDDEN // 2 + INPUTS * HIDDEN // 16, HIDDEN * CLASSES // 2 + 20]
    assert [row["bytes_in_theory"] for row in rows] == [row["bytes"] for row in rows]
    assert all(row["worst_steps"] >= 0.5 for row in rows)
    assert all("one for each 32 along axis 1" in row["stored"] for row in rows)
    assert said(folder, "dynamic-w4-g32")["weight SQNR"] > said(folder, "dynamic-w4")["weight SQNR"] + 0.5


def test_figures_are_of_the_written_file(folder):
    exact, values = tflite.read(folder / "net.tflite"), samples()
    for name, least in (("dynamic", 30), ("dynamic-w4", 12), ("dynamic-w4-g32", 12)):
        found = said(folder, name)
        assert found["SQNR of runtime against simulator (float simulator)"] > 25
        assert found["SQNR"] > least
        assert found["file size"] == (folder / name / "model.tflite").stat().st_size
    assert len(values) == 60
    assert exact.input_names == ("x",)


def test_a_run_says_how_many_weights_lie_in_blocks(folder):
    def findings(result):
        return [f.message for f in result.findings if f.kind == "weights in blocks"]

    data = intact.data.arrays(samples())
    assert findings(intact.quantize(dense_network(), data, scheme="dynamic-w4-g32")) == [
        "2 of 2 weights in fewer bits have a scale for each 32 inputs"
    ]
    others = "the others are not of a dense layer of 4 outputs or more and a multiple of 128 inputs"
    assert findings(intact.quantize(dense_network(), data, scheme="dynamic-w4-g128")) == [
        f"1 of 2 weights in fewer bits have a scale for each 128 inputs; {others}"
    ]
    none = intact.quantize(folder / "images.tflite", folder / "images.npy", scheme="dynamic-w4-g32")
    assert len(findings(none)) == 1
    assert findings(none)[0].startswith("no weight has a scale for each 32 inputs")
    same = intact.quantize(folder / "images.tflite", folder / "images.npy", scheme="dynamic-w4", measure=False)
    assert same.model == none.model
    assert sorted(t.format.dtype for t in none.graph.constants() if t.data.size >= 256) == ["float16", "int4", "int4"]


def test_a_plan_makes_the_same_bytes_again(folder, tmp_path):
    plan = folder / "dynamic-w4-g32" / "plan.json"
    done = quantized(folder, tmp_path / "again", "--plan", plan)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "again" / "model.tflite").read_bytes() == (folder / "dynamic-w4-g32" / "model.tflite").read_bytes()


@pytest.mark.parametrize("name", ["dynamic", "dynamic-w4", "dynamic-w4-g32", "dynamic-w2"])
def test_remedies_for_weights_bring_outputs_back_and_a_plan_holds_what_they_did(name, tmp_path):
    """Inputs of a few directions: that is what rounding can be made up for by."""
    draw = np.random.default_rng(0)
    x = (draw.normal(size=(400, 6)) @ draw.normal(size=(6, INPUTS))).astype(np.float32)
    data = intact.data.arrays(x)
    plain = intact.quantize(dense_network(), data, scheme=name, remedies="none")
    made = intact.quantize(dense_network(), data, scheme=name, remedies="compensate")
    sqnr = [next(r.measurement.value for r in run.readings if r.measurement.name == "SQNR") for run in (plain, made)]
    assert sqnr[1] > sqnr[0] + (1 if name == "dynamic" else 4)
    assert len(made.model) == len(plain.model)
    by_default = intact.quantize(dense_network(), data, scheme=name, measure=False)
    assert by_default.plan.remedied.names[-1:] == (() if name == "dynamic" else ("compensate",))
    folder = made.save_run(tmp_path / "run")
    again = intact.quantize(dense_network(), data, plan=folder / "plan.json", measure=False)
    assert again.model == made.model


def test_biases_beside_real_activations_are_corrected():
    x = samples(200) + 1
    plain, made = (
        intact.quantize(dense_network(), intact.data.arrays(x), scheme="dynamic-w2", remedies=how, measure=False)
        for how in ("none", "bias")
    )
    bias = [[t.data for t in run.graph.constants() if t.shape == (CLASSES,)] for run in (plain, made)]
    assert np.abs(bias[0][0] - bias[1][0]).max() > 0.1
    assert len(made.model) == len(plain.model)


# ---- what is refused ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dynamic-w2", "dynamic-w4-g32"])
@pytest.mark.parametrize("remedy", sorted(set(REMEDIES) - {"equalize", "compensate", "bias"}))
def test_remedies_for_activations_are_refused_in_words(folder, tmp_path, name, remedy):
    done = quantized(folder, tmp_path, "--scheme", name, "--remedies", f"bias,{remedy}")
    assert done.exit_code != 0
    said = f"--scheme {name} has integers in weights alone, for which {remedy} does nothing; type --remedies with some of"
    assert said in " ".join(done.output.split())


@pytest.mark.parametrize("limit", [("--max-drop", "1"), ("--min-agreement", "99")])
def test_a_search_for_a_limit_is_refused_in_words(folder, tmp_path, limit):
    with pytest.raises(OptionError, match="--scheme dynamic-w4-g64 computes in float; remedies and limits are for int8"):
        intact.quantize(
            dense_network(),
            intact.data.arrays(samples(), np.arange(60) % CLASSES),
            scheme="dynamic-w4-g64",
            **{limit[0][2:].replace("-", "_"): float(limit[1])},
        )
    done = quantized(folder, tmp_path, "--scheme", "dynamic-w4", *limit)
    assert "--scheme dynamic-w4 computes in float; remedies and limits are for int8" in " ".join(done.output.split())


def test_what_rounds_less_is_named():
    assert wider("dynamic-w2") == "type --scheme dynamic-w4"
    assert {wider(name) for name in ("dynamic-w4", "dynamic-w4-g32", "dynamic-w4-g256")} == {"type --scheme dynamic"}
    assert (wider("dynamic"), wider("float16")) == ("type --scheme float16", "type --scheme float32")
    assert "gives the same" in wider("float32")


# ---- other commands -----------------------------------------------------------------------------------------------------


def test_inspect_tells_scales_from_weights(folder):
    document = json.loads(call("inspect", folder / "dynamic-w4-g32" / "model.tflite", "--json").output)
    weights = INPUTS * HIDDEN + HIDDEN * CLASSES
    assert document["sizes"]["weights"] == weights // 2
    assert document["sizes"]["quantization"] == 2 * weights // 32
    assert document["quantized"] is True


def test_evaluate_runs_such_a_file_in_kernels_that_are_right(folder):
    found = intact.evaluate(folder / "dynamic-w4-g32" / "model.tflite", samples(), against=folder / "net.tflite")
    (sqnr,) = (r.measurement.value for r in found.readings if r.measurement.name == "SQNR")
    assert 12 < sqnr < 30
    with pytest.raises(ModelError, match=r"reference kernels give wrong numbers for .*\(--target cpu\)"):
        intact.evaluate(folder / "dynamic-w4-g32" / "model.tflite", samples(), against=folder / "net.tflite", target="mcu")
    found = intact.evaluate(folder / "dynamic-w4" / "model.tflite", samples(), against=folder / "net.tflite", target="mcu")
    assert any(r.measurement.name == "SQNR" for r in found.readings)


def test_explore_diagnose_and_report_take_such_a_file(folder, tmp_path):
    model, page = folder / "dynamic-w4-g32" / "model.tflite", tmp_path / "page.html"
    done = call("explore", model, "--against", folder / "net.tflite", "--data", folder / "val.npz", "--out", page)
    assert done.exit_code == 0, done.output
    done = call("diagnose", model, "--against", folder / "net.tflite", "--data", folder / "x.npy")
    assert done.exit_code == 0, done.output
    assert "nothing looks wrong; what is lost is rounding noise" in " ".join(done.output.split())
    done = call("report", folder / "dynamic-w4-g32")
    assert done.exit_code == 0, done.output


def test_compare_tells_blocks_from_channels(folder):
    done = call("compare", folder / "dynamic-w4", folder / "dynamic-w4-g32")
    assert done.exit_code == 0, done.output
    assert "int4 per channel" in done.output
    assert "int4 per block of 32" in done.output


def test_export_takes_channels_and_refuses_blocks(folder, tmp_path):
    pytest.importorskip("onnx", reason="the extra [onnx] is not installed")
    done = call("export", folder / "dynamic-w4", "--to", "onnx", "--out", tmp_path / "net.onnx")
    assert done.exit_code == 0, done.output
    done = call("export", folder / "dynamic-w4-g32", "--to", "onnx", "--out", tmp_path / "other.onnx")
    assert done.exit_code != 0
    assert "no form of weights with a scale for each block" in " ".join(done.output.split())


def test_a_study_has_a_row_for_each(folder, tmp_path):
    intact.study(
        folder / "net.tflite",
        folder / "val.npz",
        schemes=("dynamic-w4", "dynamic-w4-g32"),
        weights=("per-channel", "per-tensor"),
        out=tmp_path / "study",
    )
    document = json.loads((tmp_path / "study" / "study.json").read_text())
    rows = {(row["scheme"], row["weights"]): row for row in document["rows"]}
    assert len(rows) == 4
    assert "leave out --weights" in json.dumps(rows["dynamic-w4-g32", "per-tensor"])
    (run,) = (tmp_path / "study" / "runs").glob("*dynamic-w4-g32*")
    assert (run / "model.tflite").read_bytes() == (folder / "dynamic-w4-g32" / "model.tflite").read_bytes()
