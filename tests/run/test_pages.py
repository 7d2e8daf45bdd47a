"""The lines that a folder gives run its files where nothing is installed but what the page says."""

import re
import shutil

import fresh
import numpy as np
import pytest
from drafts import draft, normal
from nets import images, mobile

import intact
from intact.ops.convolution import Conv2D


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run for the CPU with everything that is exported from it."""
    folder = tmp_path_factory.mktemp("pages") / "run"
    intact.quantize(mobile(), images(64)).save_run(folder)
    return folder


def made(page, folder, count):
    """What each of the ``count`` blocks of a page prints; each goes on from those before."""
    blocks = fresh.lines(page)
    assert len(blocks) == count
    found = [fresh.run(page, "\n".join(blocks[: n + 1]), folder) for n in range(count)]
    assert [(one.returncode, one.stderr[-2000:] if one.returncode else "") for one in found] == [(0, "")] * count
    return [one.stdout for one in found]


def test_what_is_not_named_is_not_there(tmp_path):
    page = "`pip install numpy`"
    for name in ("intact", "torch", "rich"):
        refused = fresh.run(page, f"import {name}", tmp_path)
        assert f"No module named '{name}'" in refused.stderr
    assert fresh.run(page, "import numpy; print(numpy.zeros(1))", tmp_path).stdout == "[0.]\n"


def test_a_runs_page_runs_its_tflite(run):
    page = (run / "result.md").read_text()
    assert fresh.packages(page) == ["ai-edge-litert"]
    (said,) = made(page, run, 1)
    assert said.startswith("[array(")


def test_a_run_for_a_microcontroller_runs_its_packed_file(tmp_path):
    pytest.importorskip("tflite_micro", reason="tflite-micro is not installed (the extra mcu)")
    large = draft((8, 8, 3), lambda d, x: d(Conv2D(padding="same"), x, normal(64, 5, 5, 3), np.zeros(64)))
    intact.quantize(large, images(32), scheme="clusters2", target="mcu").save_run(tmp_path / "run")
    page = (tmp_path / "run" / "result.md").read_text()
    assert (tmp_path / "run" / "packed.tflite").exists()
    assert fresh.packages(page) == ["ai-edge-litert", "tflite-micro"]
    litert, micro = fresh.lines(page)
    for block in (litert, micro):
        ran = fresh.run(page, block, tmp_path / "run")
        assert (ran.returncode, ran.stdout[:1]) == (0, "["), ran.stderr


@pytest.mark.parametrize("target", ["cpu", "openvino", "tensorrt"])
def test_three_lines_run_an_onnx_file(run, tmp_path, target):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (the extra onnx)")
    folder = run
    if target != "cpu":
        folder = tmp_path / "run"
        intact.quantize(mobile(), images(32), target=target, measure=False).save_run(folder)
    intact.export(folder, "onnx")
    page = (folder / "README.md").read_text()
    assert "onnxruntime" in fresh.packages(page)
    blocks = fresh.lines(page)
    assert blocks[0].count("\n") == 3
    assert "array" in made(page, folder, len(blocks))[0]


def test_three_lines_run_a_pt2_file(run):
    path = intact.export(run, "pytorch", run / "net.pt2")
    (page,) = (p.read_text() for p in path.parent.glob("*README.md") if "# net.pt2" in p.read_text())
    assert fresh.packages(page) == ["torch", "numpy"]
    eager, compiled = fresh.lines(page)
    assert eager.count("\n") == 3
    ran = fresh.run(page, eager, run)
    assert "tensor(" in ran.stdout, ran.stderr
    if shutil.which("g++"):
        ran = fresh.run(page, eager + compiled, run)
        assert len(re.findall(r"tensor\(", ran.stdout)) == 2, ran.stderr
