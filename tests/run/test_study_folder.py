"""What a study takes over from its folder: whole runs and times, and nothing that anyone may have put in their place."""

import json
import os

import pytest
from run_documents import result, write_run

from intact.errors import IntactError, ModelError
from intact.run.study_folder import StudyFolder, of_models

TIME = {"of": "quantized", "name": "latency", "value": 1.0, "unit": "ms", "low": 0.9, "high": 1.1, "how": "timed", "n": 5}


@pytest.fixture
def study(tmp_path):
    write_run(tmp_path / "runs" / "net", result())
    return StudyFolder(tmp_path)


def test_a_run_is_finished_with_its_record_and_its_model(study):
    assert study.finished("net")["measurements"] == result()["measurements"]
    assert study.finished("other") is None
    (study.run("net") / "model.tflite").unlink()
    assert study.finished("net") is None


@pytest.mark.parametrize("text", ["", "[", "[" * 200_000, "3", "{}", '{"schema": "intact-result/1"}', '{"schema": "x"}'])
def test_what_is_no_record_is_made_again(study, text):
    (study.run("net") / "result.json").write_text(text)
    assert study.finished("net") is None


def test_what_is_no_file_is_made_again(study):
    path = study.run("net") / "result.json"
    path.unlink()
    os.mkfifo(path)
    assert study.finished("net") is None
    path.unlink()
    path.mkdir()
    assert study.finished("net") is None


def test_times_are_taken_over_one_by_one(study):
    study.add_times("net", "1 threads, repeat 0", [TIME])
    study.add_times("net", "2 threads, repeat 0", [TIME])
    assert list(study.times("net")) == ["1 threads, repeat 0", "2 threads, repeat 0"]
    (path,) = (study.path / "times").iterdir()
    held = json.loads(path.read_text())
    for broken in (5, None, {}, [3], [{}], [TIME | {"value": "fast"}], [TIME | {"how": 3}]):
        path.write_text(json.dumps(held | {"1 threads, repeat 0": broken}))
        assert study.times("net") == {"2 threads, repeat 0": [TIME]}
    for text in ("", "[]", "3", "{"):
        path.write_text(text)
        assert study.times("net") == {}


def test_models_that_cannot_be_read_are_noted_where_others_can(tmp_path):
    (tmp_path / "empty.tflite").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.tflite")
    broken = [tmp_path / "empty.tflite", tmp_path / "pipe.tflite", tmp_path / "none.keras"]
    made = of_models(("a", "b", "c", "d"), (*broken, object()))
    assert [m["sha256"] for m in made] == [None] * 4
    assert ["why" in m for m in made] == [True, True, True, False]
    with pytest.raises(ModelError, match="the file is empty") as raised:
        of_models(("a", "b", "c"), broken)
    assert isinstance(raised.value, IntactError)
