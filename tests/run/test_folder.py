"""What a run leaves in its folder: when it goes on, finishes, gives up, or meets what is not its own."""

import json

import numpy as np
import pytest
from compare import assert_same

from intact.errors import OutputError
from intact.run.folder import RESULTS, open_run

JOB = {"model": "net.tflite", "seed": 0}


def held(path):
    return sorted(p.name for p in path.iterdir())


def never():
    raise AssertionError("a finished step is not done again")


@pytest.fixture
def run(tmp_path):
    return open_run(tmp_path / "run", JOB)


def test_a_new_run_notes_its_job(run):
    assert held(run.path) == ["job.json"]
    assert (run.path / "job.json").read_text() == '{\n "model": "net.tflite",\n "seed": 0\n}\n'


def test_a_step_is_made_once_and_taken_over_by_the_next_run_of_the_job(run):
    path = run.file("float.tflite", lambda: b"abc")
    assert path.read_bytes() == b"abc"
    assert run.file("float.tflite", never) == path
    assert open_run(run.path, dict(reversed(JOB.items()))).file("float.tflite", never).read_bytes() == b"abc"


def test_a_step_that_fails_leaves_nothing(run):
    def fails():
        raise OSError("converter died")

    with pytest.raises(OSError, match="converter died"):
        run.file("float.tflite", fails)
    with pytest.raises(OSError, match="converter died"):
        run.arrays("calibration", fails)
    assert held(run.path) == ["job.json"]
    assert run.file("float.tflite", lambda: b"abc").read_bytes() == b"abc"


ARRAYS = {
    "0 lows": np.float32([-1.5, np.inf]),
    "0 counts": np.arange(6, dtype=np.int64).reshape(2, 3),
    "scalar": np.float64(0.1),
    "none": np.zeros((0, 4), np.int8),
}


def test_arrays_come_back_as_they_were(run):
    made = run.arrays("calibration", lambda: ARRAYS)
    again = open_run(run.path, JOB).arrays("calibration", never)
    for stored in (made, again):
        assert list(stored) == list(ARRAYS)
        for name, array in ARRAYS.items():
            assert_same(np.nan_to_num(stored[name]), np.nan_to_num(array))


@pytest.mark.parametrize("name", ["file", "allow_pickle", "args", "a/b:0", "../x", "ünï", "", "arr_0"])
def test_outputs_may_have_any_name(run, name):
    stored = run.arrays("outputs of float", lambda: {name: np.float32([1, 2]), "y": np.float32([3])})
    assert list(stored) == [name, "y"]
    assert_same(stored[name], np.float32([1, 2]))
    assert held(run.path) == [".stages", "job.json"]


def test_no_arrays_are_no_arrays(run):
    assert run.arrays("outputs", dict) == {}


def test_objects_are_refused_rather_than_pickled(run):
    with pytest.raises(ValueError, match="allow_pickle=False"):
        run.arrays("outputs", lambda: {"y": np.array([{}], dtype=object)})


WHOLE = 2000
DAMAGE = {
    "empty": lambda data: data[:0],
    "cut": lambda data: data[: len(data) // 2],
    "another file": lambda data: b"x" * len(data),
    "one byte": lambda data: data[:-WHOLE] + bytes([data[-WHOLE] ^ 1]) + data[1 - WHOLE :],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_step_is_made_anew(run, damage):
    run.arrays("calibration", lambda: {"x": np.zeros(WHOLE, np.float32)})
    path = run.path / ".stages" / "calibration.npz"
    path.write_bytes(damage(path.read_bytes()))
    made = run.arrays("calibration", lambda: {"y": np.float32([1])})
    assert_same(made["y"], np.float32([1]))
    assert_same(run.arrays("calibration", never)["y"], np.float32([1]))


def test_what_is_claimed_must_stay_as_it_was(run):
    run.claim("data", "abc")
    open_run(run.path, JOB).claim("data", "abc")
    with pytest.raises(OutputError, match="its data has changed since; type --overwrite"):
        run.claim("data", "abd")
    (run.path / ".stages" / "data.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(OutputError, match="its data has changed since"):
        run.claim("data", "abc")


def test_finish_writes_result_json_last_and_removes_the_steps(run, monkeypatch):
    run.file("float.tflite", lambda: b"abc")
    order = []
    replace = type(run.path).replace
    monkeypatch.setattr(type(run.path), "replace", lambda self, to: (order.append(to.name), replace(self, to))[1])
    run.finish({name: name.encode() for name in reversed(RESULTS)})
    assert order == list(RESULTS)
    assert order[-1] == "result.json"
    assert held(run.path) == sorted((*RESULTS, "job.json"))
    assert (run.path / "plan.json").read_bytes() == b"plan.json"


def test_a_run_that_stops_while_finishing_is_not_finished(run, monkeypatch):
    run.file("float.tflite", lambda: b"abc")

    def stop(self, to):
        if to.name == "result.json":
            raise KeyboardInterrupt
        return replace(self, to)

    replace = type(run.path).replace
    with monkeypatch.context() as patch:
        patch.setattr(type(run.path), "replace", stop)
        with pytest.raises(KeyboardInterrupt):
            run.finish(dict.fromkeys(RESULTS, b"x"))
    assert open_run(run.path, JOB).file("float.tflite", never).read_bytes() == b"abc"


def finished(run):
    run.finish({"model.tflite": b"m", "result.json": b"{}"})


def other_job(run):
    (run.path / "job.json").write_text(json.dumps({**JOB, "settings": {"seed": 7}, "eval": "there"}))


def garbled_job(run):
    (run.path / "job.json").write_bytes(b"\xff\xfe{")


def foreign(run):
    (run.path / "job.json").unlink()
    (run.path / "thesis.txt").write_text("mine")


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (finished, "holds a finished run; type --overwrite to replace it, or --out"),
        (other_job, r"unfinished run of another job \(.*seed 7 there, .* now.*\); type --overwrite, or --out"),
        (garbled_job, "holds an unfinished run of another job; type --overwrite, or --out"),
        (foreign, r"holds other things \(thesis\.txt\); type --out with another folder, or --overwrite"),
    ],
)
def test_a_folder_that_is_not_the_jobs_own_stays_as_it_is_until_overwritten(run, state, says):
    state(run)
    before = {p.name: p.read_bytes() for p in run.path.iterdir()}
    with pytest.raises(OutputError, match=says):
        open_run(run.path, JOB)
    assert {p.name: p.read_bytes() for p in run.path.iterdir()} == before
    again = open_run(run.path, JOB, overwrite=True)
    assert held(again.path) == sorted({"job.json"} | ({"thesis.txt"} & set(before)))


def test_overwriting_does_the_steps_again(run):
    run.file("float.tflite", lambda: b"abc")
    assert open_run(run.path, JOB, overwrite=True).file("float.tflite", lambda: b"new").read_bytes() == b"new"


def test_abandoning_takes_back_the_folder_and_nothing_that_was_there(run, tmp_path):
    run.file("float.tflite", lambda: b"abc")
    run.abandon()
    assert held(tmp_path) == []
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("mine")
    open_run(tmp_path / "run", JOB, overwrite=True).abandon()
    assert held(tmp_path / "run") == ["thesis.txt"]


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "run").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match=r"run cannot be used as a folder \(File exists\); type --out with another"):
            open_run(tmp_path / "run", JOB, overwrite=overwrite)
    assert (tmp_path / "run").read_text() == "mine"


def test_what_cannot_be_overwritten_is_named(run):
    (run.path / "model.tflite").mkdir()
    with pytest.raises(OutputError, match=r"run cannot be overwritten \(.*\); type --out with another"):
        open_run(run.path, JOB, overwrite=True)


def test_two_runs_of_one_job_meet_in_whole_files(run):
    """There is no lock: each finished step appears whole, and the first to appear is kept by whoever comes later."""
    other = open_run(run.path, JOB)

    def slow():
        other.arrays("calibration", lambda: {"y": np.float32([2])})
        return {"y": np.float32([1])}

    assert_same(run.arrays("calibration", slow)["y"], np.float32([1]))
    assert_same(other.arrays("calibration", never)["y"], np.float32([1]))
    assert held(run.path / ".stages") == ["calibration.npz"]
