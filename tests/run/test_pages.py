"""The lines that a folder gives run its files where nothing is installed but what the page says."""

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


def said(folder, page, *packages):
    """What the blocks of a page print, each with the packages that it names alone."""
    found = []
    steps = fresh.blocks(page)
    assert [" ".join(needed) for needed, _ in steps] == list(packages)
    for needed, code in steps:
        ran = fresh.run(needed, code, folder)
        assert ran.returncode == 0, ran.stderr[-2000:]
        found.append(ran.stdout)
    return found


def test_what_is_not_named_is_not_there(tmp_path):
    for name in ("intact", "torch", "rich"):
        assert f"No module named '{name}'" in fresh.run(["numpy"], f"import {name}", tmp_path).stderr
    assert fresh.run(["numpy"], "import numpy; print(numpy.zeros(1))", tmp_path).stdout == "[0.]\n"


def test_a_block_goes_on_from_the_one_before_unless_it_names_packages():
    page = "`pip install a b`\n```python\n1\n```\nor\n```python\n2\n```\n`pip install c`\n```python\n3\n```\n"
    assert fresh.blocks(page) == [(["a", "b"], "1\n"), (["a", "b"], "1\n2\n"), (["c"], "3\n")]


def test_a_runs_page_runs_its_tflite(run):
    (printed,) = said(run, (run / "result.md").read_text(), "ai-edge-litert")
    assert printed.startswith("[array(")


def test_a_run_for_a_microcontroller_runs_its_packed_file(tmp_path):
    pytest.importorskip("tflite_micro", reason="tflite-micro is not installed (the extra mcu)")
    large = draft((8, 8, 3), lambda d, x: d(Conv2D(padding="same"), x, normal(64, 5, 5, 3), np.zeros(64)))
    intact.quantize(large, images(32), scheme="clusters2", target="mcu").save_run(tmp_path / "run")
    page = (tmp_path / "run" / "result.md").read_text()
    assert (tmp_path / "run" / "packed.tflite").exists()
    assert all(text.startswith("[") for text in said(tmp_path / "run", page, "ai-edge-litert", "tflite-micro"))


@pytest.mark.parametrize("target", ["cpu", "openvino", "tensorrt"])
def test_three_lines_run_an_onnx_file(run, tmp_path, target):
    for name in ("onnxruntime", "openvino"):
        pytest.importorskip(name, reason=f"{name} is not installed (an extra)")
    folder = run
    if target != "cpu":
        folder = tmp_path / "run"
        intact.quantize(mobile(), images(32), target=target, measure=False).save_run(folder)
    intact.export(folder, "onnx")
    page = (folder / "README.md").read_text()
    assert [code.count("\n") for _, code in fresh.blocks(page)] == [3, 3]
    assert all("array" in text for text in said(folder, page, "onnxruntime", "openvino"))
    assert ("TensorrtExecutionProvider" in page) == (target == "tensorrt")


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch's compiler needs a C++ compiler (g++)")
def test_three_lines_run_a_pt2_file(run):
    path = intact.export(run, "pytorch", run / "net.pt2")
    (page,) = (p.read_text() for p in path.parent.glob("*README.md") if "# net.pt2" in p.read_text())
    assert fresh.blocks(page)[0][1].count("\n") == 3
    eager, compiled = said(run, page, "torch numpy", "torch numpy")
    assert (eager.count("tensor("), compiled.count("tensor(")) == (1, 2)
