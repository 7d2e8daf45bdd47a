"""A study carried to another machine: the packed file runs with worker scripts alone, and its answers make the same page."""

import json
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from nets import images, mobile

import intact
from intact.errors import OptionError
from intact.formats import tflite
from intact.report import checked
from intact.run import carry
from intact.run.documents import read


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("carried")
    model = folder / "model.tflite"
    model.write_bytes(tflite.write(mobile()))
    data = images(60), np.arange(60) % 4
    intact.study(model, data, schemes=("float32", "int8"), accept="latency <= 5 s", out=folder / "study")
    return folder / "study"


@pytest.fixture(scope="module")
def packed(study):
    return carry.pack(study, study.parent / "measure.pyz")


def started(packed, out, **more):
    return subprocess.run([sys.executable, packed, out], capture_output=True, text=True, check=False, timeout=300, **more)


@pytest.fixture(scope="module")
def measured(packed):
    out = packed.parent / "measured.json"
    found = started(packed, out)
    assert found.returncode == 0, found.stderr
    return out


def test_the_packed_file_needs_nothing_of_intact(packed):
    with zipfile.ZipFile(packed) as archive:
        names = archive.namelist()
        for name in names:
            if name.endswith(".py"):
                assert "import intact" not in archive.read(name).decode().replace("never import", "")
    assert len([name for name in names if name.endswith(".tflite")]) == 2


def test_what_comes_back_is_the_study_with_the_times_from_there(study, measured):
    before, after = json.loads((study / "study.json").read_text()), carry.carried(measured)
    told = json.loads(measured.read_text())
    assert checked.holds(json.loads(json.dumps(after)), checked.STUDY)
    for old, new in zip(before["cells"], after["cells"], strict=True):
        own = {(m["of"], m["name"]): m["value"] for m in old["measurements"]}
        there = {(m["of"], m["name"]): m for m in new["measurements"]}
        assert own.keys() == there.keys()
        kept = {key for key in own if there[key]["value"] == own[key]}
        assert ("quantized", "top-1 accuracy") in kept
        answers = [a for a, call in zip(told["answers"], told["calls"], strict=True) if call["cell"] == new["name"]]
        expected = np.median(answers[0]["result"]["samples"]["quantized"])
        assert there["quantized", "latency"]["value"] == pytest.approx(expected)
        assert f"on {told['machine']['node']}, LiteRT" in there["quantized", "latency"]["how"]
        assert [j["status"] for j in new["criteria"]] == ["pass"]
    assert read(measured).is_study


def test_what_the_device_suffered_from_is_on_the_page(measured, tmp_path):
    document = json.loads(measured.read_text())
    document["after"] |= {"celsius": {"cpu": 91.0}}
    path = tmp_path / "hot.json"
    path.write_text(json.dumps(document))
    assert "it was at 91 degrees Celsius at the end" in intact.report(path)


def test_started_again_it_goes_on_where_it_was(packed, measured, tmp_path):
    document = json.loads(measured.read_text())
    some = tmp_path / "some.json"
    some.write_text(json.dumps(document | {"answers": document["answers"][:-1]}))
    with pytest.raises(OptionError, match="not finished; start it again there"):
        carry.carried(some)
    found = started(packed, some)
    assert found.stdout.count(" of ") == 1
    assert json.loads(some.read_text())["answers"][:-1] == document["answers"][:-1]


def test_a_call_that_fails_there_is_a_row_with_its_reason(measured, tmp_path):
    document = json.loads(measured.read_text())
    document["answers"][-1] = {"error": "ended with -9: no word"}
    path = tmp_path / "failed.json"
    path.write_text(json.dumps(document))
    made = carry.carried(path)
    assert [cell["status"] for cell in made["cells"]] == ["done", "failed"]
    assert "no word" in made["cells"][1]["why"]


def test_a_machine_without_litert_is_told_what_to_install(packed, tmp_path):
    plain = shutil.which("python3", path="/usr/bin")
    if (
        plain is None
        or subprocess.run([plain, "-c", "import ai_edge_litert"], capture_output=True, check=False).returncode == 0
    ):
        pytest.skip("needs a Python of the system without LiteRT")
    words = [plain, str(packed), str(tmp_path / "x.json")]
    found = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert found.returncode == 1
    assert "has no ai-edge-litert" in found.stderr
    assert "-m pip install ai-edge-litert" in found.stderr


@pytest.mark.parametrize("text", ["{}", "[]", "x", '{"schema": "intact-measured/1"}'])
def test_what_no_packed_file_wrote_is_refused(tmp_path, text):
    path = tmp_path / "measured.json"
    path.write_text(text)
    with pytest.raises(OptionError, match=r"measured\.json"):
        read(path)


def test_a_study_without_float_and_a_folder_that_is_none_are_refused(study, tmp_path):
    with pytest.raises(OptionError, match="there is no study"):
        carry.pack(tmp_path, tmp_path / "x.pyz")
    document = json.loads((study / "study.json").read_text())
    for name, change in (("none", {"scheme": "float16"}), ("out", {"file": "../model.tflite"})):
        (tmp_path / name).mkdir()
        cells = [cell | change if cell["scheme"] == "float32" else cell for cell in document["cells"]]
        (tmp_path / name / "study.json").write_text(json.dumps(document | {"cells": cells}))
    with pytest.raises(OptionError, match="no float32 variant of"):
        carry.pack(tmp_path / "none", tmp_path / "x.pyz")
    with pytest.raises(OptionError, match=r"there is no \.\./model\.tflite in it"):
        carry.pack(tmp_path / "out", tmp_path / "x.pyz")
