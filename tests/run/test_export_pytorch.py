"""A run's network as a .pt2: written, run by the lines beside it, measured by the code that measures every runtime."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from nets import images, mobile
from typer.testing import CliRunner

import intact
from intact.cli.app import app
from intact.errors import ChildError, ModelError, OptionError
from intact.runtime import litert

NEEDS_COMPILER = pytest.mark.skipif(shutil.which("g++") is None, reason="torch's compiler needs a C++ compiler (g++)")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pytorch") / "run"
    result = intact.quantize(mobile(), images(64), target="pytorch", measure=False)
    result.save_run(folder)
    np.savez(folder.parent / "data.npz", x=images(64, seed=1), y=np.arange(64) % 4)
    return folder, intact.export(folder, "pytorch")


def test_the_command_writes_a_file_and_a_page(run, tmp_path):
    made = CliRunner().invoke(app, ["export", str(run[0]), "--to", "pytorch", "--out", str(tmp_path / "net.pt2")])
    assert made.exit_code == 0, made.output
    assert "is written" in made.output
    assert "sums of" in (tmp_path / "README.md").read_text()


def test_the_lines_beside_it_run_it(run):
    lines = re.search(r"```python\n(.*?)```", (run[0] / "README.md").read_text(), re.DOTALL)[1]
    assert lines.count("\n") == 3
    made = subprocess.run([sys.executable, "-c", lines], cwd=run[0], capture_output=True, text=True, check=True)
    assert "tensor" in made.stdout


def test_figures_beside_the_runs_own_file_are_taken_by_the_same_code(run):
    folder, path = run
    found = intact.evaluate(path, folder.parent / "data.npz", against=folder / "model.tflite", runtime="pytorch-eager")
    assert re.search(r"model\.pt2 in PyTorch [\w.+]+ on the CPU, op by op", found.how)
    (same,) = (r.measurement for r in found.readings if "agreement" in r.measurement.name)
    assert same.value >= 95.0


def test_an_int8_run_for_the_cpu_keeps_its_integers(tmp_path):
    result = intact.quantize(mobile(), images(64), measure=False)
    path = intact.export(result, "pytorch", tmp_path / "net.pt2")
    assert "sums of" not in (tmp_path / "README.md").read_text()
    result.save(tmp_path / "net.tflite")
    np.savez(tmp_path / "data.npz", x=images(64, seed=1), y=np.arange(64) % 4)
    found = intact.evaluate(path, tmp_path / "data.npz", against=tmp_path / "net.tflite", runtime="pytorch-eager")
    (same,) = (r.measurement for r in found.readings if "agreement" in r.measurement.name)
    assert same.value == 100.0


@NEEDS_COMPILER
def test_it_is_compiled_timed_and_weighed_in_a_child(run):
    folder, path = run
    found = intact.evaluate(path, folder.parent / "data.npz", against=folder / "model.tflite")
    assert re.search(r"model\.pt2 in PyTorch [\w.+]+ on the CPU, compiled", found.how)
    kernels = {"ours": "pytorch", "litert": "default"}
    timed = litert.latency({"ours": path, "litert": folder / "model.tflite"}, kernels=kernels, rounds=5, block_seconds=0.01)
    assert all(min(each.samples_ms) > 0 for each in timed.values())


def test_without_a_compiler_one_sentence_says_what_to_do(run, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ModelError, match=r"needs a C\+\+ compiler, and there is none; install g\+\+"):
        litert.describe(run[1], kernels="pytorch")


def test_int8_activations_are_refused(run):
    with pytest.raises(OptionError, match="take uint8 activations, the same numbers; leave --activations out"):
        intact.export(run[0], "pytorch", activations="int8")


def test_a_file_that_torch_cannot_load_is_refused(tmp_path):
    (tmp_path / "model.pt2").write_bytes(b"PK nothing")
    with pytest.raises((ModelError, ChildError), match=r"model\.pt2"):
        intact.evaluate(tmp_path / "model.pt2", images(4), runtime="pytorch-eager")


@pytest.mark.parametrize("scheme", ["w4a8", "int16x8"])
def test_schemes_without_kernels_are_refused(scheme):
    with pytest.raises(OptionError, match="PyTorch's compiler has no kernels"):
        intact.quantize(mobile(), images(32), target="pytorch", scheme=scheme)


@pytest.mark.parametrize("scheme", ["float32", "float16", "dynamic"])
def test_other_schemes_are_exported(scheme, tmp_path):
    result = intact.quantize(mobile(), images(32), scheme=scheme, measure=False)
    path = intact.export(result, "pytorch", tmp_path / "net.pt2")
    result.save(tmp_path / "net.tflite")
    np.savez(tmp_path / "data.npz", x=images(64, seed=1), y=np.arange(64) % 4)
    found = intact.evaluate(path, tmp_path / "data.npz", against=tmp_path / "net.tflite", runtime="pytorch-eager")
    (sqnr,) = (r.measurement for r in found.readings if r.measurement.name == "SQNR")
    assert sqnr.value > (25 if scheme == "dynamic" else 90)


@pytest.mark.parametrize(("scheme", "stored"), [("float32", "float32"), ("float16", "float16"), ("dynamic", "int8")])
def test_weights_are_stored_as_the_scheme_says(scheme, stored, tmp_path):
    result = intact.quantize(mobile(classes=64), images(32), scheme=scheme, measure=False)
    path = intact.export(result, "pytorch", tmp_path / "net.pt2")
    import torch.ao.quantization.fx._decomposed  # noqa: PLC0415  # registers what the file calls

    program = torch.export.load(path)
    assert max(program.state_dict.values(), key=torch.numel).dtype == getattr(torch, stored)
    assert sum(node.target == torch.ops.aten.to.dtype for node in program.graph.nodes) == (scheme == "float16")
