"""A run's network in another format, and figures of it beside the run's own file."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from drafts import draft, normal
from nets import images, mobile
from typer.testing import CliRunner

import intact
from intact.cli.app import app
from intact.errors import MissingExtraError, OptionError, OutputError
from intact.numbers.affine import Affine
from intact.ops import KINDS
from intact.runtime import litert

onnx = pytest.importorskip("onnx", reason="onnx is not installed (the extra onnx)")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (the extra onnx)")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "run"
    result = intact.quantize(mobile(), images(64), measure=False)
    result.save_run(folder)
    np.savez(folder.parent / "data.npz", x=images(64, seed=1), y=np.arange(64) % 4)
    return folder, result


def command(*words):
    made = CliRunner().invoke(app, [str(word) for word in words])
    return made.exit_code, made.output


def test_a_folder_and_its_result_are_exported_alike(run, tmp_path):
    folder, result = run
    assert intact.export(folder).read_bytes() == intact.export(result, "onnx", tmp_path / "net.onnx").read_bytes()


def test_the_file_says_what_it_is(run):
    folder, result = run
    model = onnx.load_from_string(intact.export(folder).read_bytes())
    about = {entry.key: entry.value for entry in model.metadata_props}
    assert about["intact_version"] == intact.__version__
    assert (about["intact_target"], about["intact_scheme"]) == ("cpu", "int8")
    assert about["intact_model_sha256"] == hashlib.sha256(result.model).hexdigest()


def test_the_lines_beside_it_run_it(run, tmp_path):
    path = intact.export(run[1], "onnx", tmp_path / "it's a net.onnx")
    lines = re.search(r"```python\n(.*?)```", (tmp_path / "README.md").read_text(), re.DOTALL)[1]
    assert lines.count("\n") == 3
    made = subprocess.run([sys.executable, "-c", lines], cwd=path.parent, capture_output=True, text=True, check=True)
    assert "array" in made.stdout


def test_a_page_of_somebody_else_stays(run, tmp_path):
    (tmp_path / "README.md").write_text("mine")
    intact.export(run[1], "onnx", tmp_path / "net.onnx")
    assert (tmp_path / "README.md").read_text() == "mine"
    assert (tmp_path / "net.onnx.README.md").exists()


def test_figures_of_both_files_are_taken_by_the_same_code(run):
    folder, _ = run
    intact.export(folder)
    found = intact.evaluate(folder / "model.onnx", folder.parent / "data.npz", against=folder / "model.tflite")
    assert "model.onnx in ONNX Runtime" in found.how
    assert "model.tflite in LiteRT default kernels" in found.how
    (same,) = (r.measurement for r in found.readings if "agreement" in r.measurement.name)
    assert (same.value, same.name) == (100.0, "agreement with model.tflite")


def test_the_command_exports_evaluates_and_times(run):
    folder, _ = run
    code, said = command("export", folder, "--to", "onnx", "--out", folder / "again.onnx")
    assert (code, "is written" in said) == (0, True), said
    code, said = command("benchmark", folder / "again.onnx", "--against", folder / "model.tflite", "--json")
    assert code == 0
    assert [r["name"] for r in json.loads(said)["measurements"]] == ["latency", "latency", "speed-up"]


#: The least SQNR in dB beside the .tflite: LiteRT quantizes activations on the fly (dynamic), or has other sums (int16x8).
LEAST = {"float32": 90.0, "float16": 90.0, "dynamic": 25.0, "w4a8": 30.0, "int16x8": 40.0}


@pytest.mark.parametrize("scheme", LEAST)
def test_every_scheme_is_exported(scheme, tmp_path):
    result = intact.quantize(mobile(), images(32), scheme=scheme, measure=False)
    result.save_run(tmp_path / "run")
    data = tmp_path / "data.npz"
    np.savez(data, x=images(64, seed=1), y=np.arange(64) % 4)
    found = intact.evaluate(intact.export(tmp_path / "run"), data, against=tmp_path / "run" / "model.tflite")
    (sqnr,) = (r.measurement for r in found.readings if r.measurement.name == "SQNR")
    assert sqnr.value > LEAST[scheme]


def biased(kind):
    """One op whose weights are so small that int32 does not hold its bias in the unit of its sums."""
    small = {"CONV_2D": (4, 3, 3, 3), "DEPTHWISE_CONV_2D": (1, 3, 3, 3), "FULLY_CONNECTED": (4, 3)}[kind]
    shape = (3,) if kind == "FULLY_CONNECTED" else (6, 6, 3)
    return draft(shape, lambda d, x: d(KINDS[kind](), x, 1e-6 * normal(*small), normal(small[-1 if small[0] == 1 else 0])))


@pytest.mark.parametrize("kind", ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"])
def test_a_bias_that_int32_does_not_hold_stays_what_it_is(kind, tmp_path):
    graph = biased(kind)
    x = np.random.default_rng(0).normal(0, 1, (40, *graph[graph.inputs[0]].shape[1:])).astype(np.float32)
    result = intact.quantize(graph, x, scheme="int16x8", measure=False)
    intact.export(result, "onnx", tmp_path / "net.onnx")
    result.save(tmp_path / "net.tflite")
    (name,) = graph.input_names
    made = litert.run(tmp_path / "net.onnx", {name: x}, kernels="onnxruntime")
    for output, y in litert.run(tmp_path / "net.tflite", {name: x}).items():
        assert np.abs(y).max() > 0.1
        assert np.abs(made[output] - y).max() < 1e-3


def test_tensorrt_has_zero_points_of_zero_and_softmax_in_real_numbers():
    result = intact.quantize(mobile(), images(32), target="tensorrt", measure=False, output_type="float32")
    formats = [t.format for t in result.graph.tensors.values() if isinstance(t.format, Affine)]
    assert {z for fmt in formats for z in fmt.zero_point} == {0}
    softmax = next(op for op in result.graph.ops if op.kind.name == "SOFTMAX")
    assert result.graph[softmax.reads[0]].is_float


def test_tensorrt_gets_int8_activations_and_real_biases(tmp_path):
    result = intact.quantize(mobile(), images(32), target="tensorrt", measure=False)
    model = onnx.load_from_string(intact.export(result, "onnx", tmp_path / "net.onnx").read_bytes())
    types = {t.data_type for t in model.graph.initializer}
    assert not types & {onnx.TensorProto.UINT8, onnx.TensorProto.INT32}
    zeros = [t for t in model.graph.initializer if t.name.startswith("zero_point")]
    assert zeros
    assert not any(onnx.numpy_helper.to_array(t).any() for t in zeros)


@pytest.mark.parametrize(("target", "scheme"), [("tensorrt", "w4a8"), ("openvino", "int16x8")])
def test_what_a_target_has_no_kernels_for_is_refused(target, scheme):
    with pytest.raises(OptionError, match=f"--scheme {scheme} cannot be had with --target {target}"):
        intact.quantize(mobile(), images(8), target=target, scheme=scheme)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--to", "tvm"], "no format is called 'tvm'; type --to with one of: onnx, pytorch"),
        (["--activations", "int4"], "type --activations int8 or uint8"),
        (["--out", "net.bin"], "does not end in .onnx; type --out with a file such as model.onnx"),
    ],
)
def test_wrong_options_are_refused(run, words, said):
    code, output = command("export", run[0], *words)
    assert (code, said in output) == (2, True), output


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(OptionError, match="holds no run"):
        intact.export(tmp_path)


def test_a_result_needs_a_path(run):
    with pytest.raises(OptionError, match="give the path to write"):
        intact.export(run[1])


def test_a_folder_is_no_file(run, tmp_path):
    (tmp_path / "net.onnx").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        intact.export(run[1], "onnx", tmp_path / "net.onnx")


def test_a_missing_package_says_what_to_type(run, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'intact\[onnx\]'"):
        intact.export(run[1], "onnx", tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_sizes_that_are_open_are_asked_for(run, tmp_path):
    model = onnx.load_from_string(intact.export(run[1], "onnx", tmp_path / "net.onnx").read_bytes())
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "side"
    (tmp_path / "open.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(OptionError, match=r"open\.onnx: input 'image' leaves sizes open; type --input-shape"):
        intact.evaluate(tmp_path / "open.onnx", run[0].parent / "data.npz")


def test_a_float_file_is_converted_for_litert_where_that_is_asked(tmp_path, run):
    result = intact.quantize(mobile(), images(16), scheme="float32", measure=False)
    path = intact.export(result, "onnx", tmp_path / "net.onnx")
    found = intact.evaluate(path, run[0].parent / "data.npz", runtime="litert")
    assert found.how == "LiteRT default kernels (XNNPACK)"
    assert intact.explore(path)


def test_a_runtime_for_other_files_is_refused(run):
    with pytest.raises(OptionError, match=r"--runtime openvino runs \.onnx files, and there is none"):
        intact.evaluate(run[0] / "model.tflite", run[0].parent / "data.npz", runtime="openvino")
