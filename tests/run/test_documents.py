"""The folder of a run or a study as it may come from anyone."""

import json
import os
from hashlib import sha256

import numpy as np
import pytest
from run_documents import MODEL, details, older, result, study, write_run

from intact.errors import OptionError
from intact.measure.by_sample import BySample
from intact.run.documents import read, sides


def test_a_run_is_read_with_its_details_and_the_hashes_of_its_files(tmp_path):
    found = read(write_run(tmp_path / "run", result(), details()))
    absent = dict.fromkeys(("place", "notes", "state", "state_after", "samples_on"))  # what may be absent is null
    assert found.document == result() | {"acceptance": None, "machine": result()["machine"] | absent}
    assert found.details == {**details(), "firmware": None}  # which a run for no microcontroller has not
    held = {f["file"]: (f["bytes"], f["sha256"]) for f in found.files}
    assert held["model.tflite"] == (len(MODEL), sha256(MODEL).hexdigest())
    assert set(held) == {"model.tflite", "plan.json", "result.json", "details.json"}
    assert not found.notes
    assert read(tmp_path / "run" / "result.json").document == found.document


def test_an_older_run_has_no_details(tmp_path):
    assert read(write_run(tmp_path / "run", older())).details is None


def test_a_study_is_read(tmp_path):
    (tmp_path / "study.json").write_text(json.dumps(study()))
    assert read(tmp_path).is_study


@pytest.mark.parametrize("data", [b"{", b"[]", b'{"schema": "intact-details/9"}', b'{"schema": "intact-details/1", "ops": 3}'])
def test_details_that_are_broken_are_left_out_and_told(tmp_path, data):
    folder = write_run(tmp_path / "run", result())
    (folder / "details.json").write_bytes(data)
    found = read(folder)
    assert found.details is None
    assert "left out" in found.notes[0]


def test_details_of_another_model_are_left_out(tmp_path):
    found = read(write_run(tmp_path / "run", result(), {**details(), "model_sha256": "0" * 64}))
    assert found.details is None
    assert "of another model" in found.notes[0]


def test_a_model_that_was_replaced_is_not_handed_on_with_figures_of_another(tmp_path):
    folder = write_run(tmp_path / "run", result())
    (folder / "model.tflite").write_bytes(MODEL + b"!")
    found = read(folder)
    assert "model.tflite" not in {f["file"] for f in found.files}
    assert found.notes[-1].startswith("model.tflite is another model than that of result.json")


def test_a_file_that_claims_to_be_huge_is_not_read_for_its_hash(tmp_path):
    folder = write_run(tmp_path / "run", result())
    os.truncate(folder / "model.tflite", 1 << 40)
    assert "model.tflite" not in {f["file"] for f in read(folder).files}


def test_figures_by_sample_are_read_where_they_are_of_this_model_and_these_samples(tmp_path):
    a, b = (write_run(tmp_path / name, result()) for name in ("a", "b"))
    model, report = result()["model"]["sha256"], result()["samples"]["report"]
    right = {("quantized", "top-1 accuracy"): np.ones(report["n"], bool)}
    kept = {
        "is of another model or other samples": BySample("0" * 64, report["fingerprint"], right).to_bytes(),
        "model or other samples than result.json": BySample(model, "0" * 64, right).to_bytes(),
        "b: samples.npz: is not what Intact writes; make the run again": b"PK",
    }
    (a / "samples.npz").write_bytes(BySample(model, report["fingerprint"], right).to_bytes())
    for said, data in kept.items():
        (b / "samples.npz").write_bytes(data)
        first, second = sides(a, b)
        assert first.samples.columns.keys() == right.keys()
        assert (first.notes, second.samples) == ((), None)
        assert said in second.notes[0]
    (b / "samples.npz").unlink()
    os.mkfifo(b / "samples.npz")
    assert "is a named pipe" in sides(a, b)[1].notes[0]


def _new(path):
    path.touch()
    return path


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda _: None, "there is no such folder, or it is a link to none; give the folder that"),
        (lambda p: p.symlink_to("nowhere"), "there is no such folder, or it is a link to none"),
        (os.mkfifo, "is no folder of a run"),
        (lambda p: (p.mkdir(), (p / "result.json").symlink_to("nowhere")), "holds no run"),
        (lambda p: (p.mkdir(), (p / "result.json").write_text("[" * 200_000)), "is no JSON that Intact wrote"),
        (lambda p: (p.mkdir(), os.truncate(_new(p / "result.json"), 5 << 30)), "is 5,368,709,120 bytes, and such a file has"),
        (lambda p: p.write_text("x"), "is no folder of a run; give the folder that intact quantize --out"),
        (lambda p: p.mkdir(), "holds no run; give the folder"),
        (
            lambda p: (p.mkdir(), (p / "job.json").write_text("{}")),
            "a run that is not finished; the same intact",
        ),
        (lambda p: ((p / "runs").mkdir(parents=True), (p / "job.json").write_text("{}")), "a study that is not finished"),
        (lambda p: (p.mkdir(), (p / "result.json").write_text("")), "result.json: is no JSON that Intact wrote"),
        (lambda p: (p.mkdir(), (p / "result.json").write_text('{"schema": "x"}')), "is not what Intact writes"),
        (lambda p: (p.mkdir(), (p / "result.json").mkdir()), "result.json: is a folder, not a file"),
        (lambda p: (p.mkdir(), (p / "study.json").write_text('{"schema": "intact-study/1"}')), "study.json: models is missing"),
    ],
)
def test_what_is_no_finished_run_is_said(tmp_path, make, said):
    make(tmp_path / "it")
    with pytest.raises(OptionError, match=said):
        read(tmp_path / "it")


def test_a_huge_document_and_a_pipe_are_refused(tmp_path, monkeypatch):
    folder = write_run(tmp_path / "run", result())
    monkeypatch.setattr("intact.run.documents._LARGEST", 100)
    with pytest.raises(OptionError, match="such a file has at most 100"):
        read(folder)
    (folder / "result.json").unlink()
    os.mkfifo(folder / "result.json")
    with pytest.raises(OptionError, match="is a named pipe"):
        read(folder)


def test_two_runs_are_called_by_their_folders(tmp_path):
    a, b = (write_run(tmp_path / name, result(), details()) for name in ("a", "b"))
    first, second = sides(a, b)
    assert (first.name, second.name) == ("a", "b")
    assert first.plan is None  # {} is no plan
    c = write_run(tmp_path / "other" / "a", result())
    assert [side.name for side in sides(a, c)] == [str(a), str(c)]
    with pytest.raises(OptionError, match="is given twice"):
        sides(a, a)
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "study.json").write_text(json.dumps(study()))
    with pytest.raises(OptionError, match="is a study; compare two of its runs"):
        sides(a, tmp_path / "study")
