"""ONNX files through the whole job, from photos to integers."""

from __future__ import annotations

import json

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from images import image_folder  # noqa: E402
from onnx_models import model, node  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from intact.cli.app import app  # noqa: E402
from intact.formats import tflite  # noqa: E402

pytestmark = pytest.mark.usefixtures("hasty")


def real(*shape):
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def classifier(sizes=("n", 3, 8, 8)):
    nodes = [
        node("Conv", ["image", "w0", "b0"], ["c"], "stem", pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Relu", ["c"], ["r"], "act"),
        node("Conv", ["r", "w1", "b1"], ["d"], "head"),
        node("GlobalAveragePool", ["d"], ["p"], "pool"),
        node("Flatten", ["p"], ["f"]),
        node("Softmax", ["f"], ["scores"], axis=1),
    ]
    constants = {"w0": real(8, 3, 3, 3), "b0": real(8), "w1": real(4, 8, 1, 1), "b1": real(4)}
    return model(nodes, {"image": real(1, 3, 8, 8)}, ["scores"], constants, sizes={"image": list(sizes)})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    image_folder(tmp_path / "photos", ("a", "b", "c", "d"), per_class=8)
    onnx.save(classifier(), tmp_path / "model.onnx")
    onnx.save(classifier(("n", 3, "height", "width")), tmp_path / "open.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*args):
    return CliRunner().invoke(app, [str(arg) for arg in args])


def test_photos_and_an_onnx_file_become_integers(folder):
    done = call("quantize", "model.onnx", "--data", "photos", "--out", "run")
    assert done.exit_code == 0, done.output
    graph = tflite.read((folder / "run" / "model.tflite").read_bytes())
    assert graph.is_quantized
    assert (graph.input_names, graph.output_names) == (("image",), ("scores",))
    details = json.loads((folder / "run" / "details.json").read_text())
    assert {"stem", "head"} <= set(str(details["ops"]).replace("'", " ").split())


@pytest.mark.usefixtures("folder")
def test_arrays_with_channels_first_are_moved():
    np.savez("val.npz", x=np.random.default_rng(0).uniform(0, 1, (40, 3, 8, 8)).astype(np.float32), y=np.arange(40) % 4)
    done = call("quantize", "model.onnx", "--data", "val.npz", "--out", "run")
    assert done.exit_code == 0, done.output


@pytest.mark.usefixtures("folder")
def test_open_sizes_are_typed():
    done = call("quantize", "open.onnx", "--data", "photos", "--out", "run")
    assert done.exit_code == 2
    assert "--input-shape 3,224,224" in " ".join(done.output.split())
    done = call("quantize", "open.onnx", "--data", "photos", "--out", "run", "--input-shape", "3,8,8")
    assert done.exit_code == 0, done.output


@pytest.mark.usefixtures("folder")
def test_other_commands_take_onnx_too():
    done = call("inspect", "model.onnx")
    assert done.exit_code == 0, done.output
    assert "CONV_2D" in done.output
    done = call("evaluate", "open.onnx", "--data", "photos", "--input-shape", "3,8,8")
    assert done.exit_code == 0, done.output
