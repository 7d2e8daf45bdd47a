"""What a run leaves in its folder: when it goes on, finishes, is killed, meets another, or meets what is not its own."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from compare import assert_same

from intact import files, locks
from intact.errors import ChildError, DataError, OptionError, OutputError, ResourceError, UnsupportedError
from intact.run.folder import RESULTS, Common, RunFolder, open_run

JOB = {"model": "net.tflite", "seed": 0}


def held(path):
    return sorted(p.name for p in path.iterdir() if p.name != locks.NAME)


def never():
    raise AssertionError("a finished step is not done again")


class Stop(KeyboardInterrupt):
    """The end of a run before its end."""


def interrupted(path, work, error=Stop, **options):
    """A run of JOB that ends with ``error`` after ``work``."""
    with pytest.raises(error), open_run(path, JOB, **options) as run:  # noqa: PT012  # what is left is the subject
        work(run)
        raise error("no more")


def converts(run):
    run.file("float.tflite", lambda: b"abc")


def calibrates(run):
    converts(run)
    run.claim("data", "abc", "float.tflite")
    run.arrays("calibration", lambda: {"x": np.float32([1])})


@pytest.fixture
def run(tmp_path):
    with open_run(tmp_path / "run", JOB) as opened:
        yield opened


def test_a_new_run_notes_its_job(run):
    assert held(run.path) == ["job.json"]
    assert (run.path / "job.json").read_text() == '{\n "model": "net.tflite",\n "seed": 0\n}\n'


def test_a_step_is_made_once_and_taken_over_by_the_next_run_of_the_job(tmp_path):
    path = tmp_path / "run"
    interrupted(path, converts)
    with open_run(path, dict(reversed(JOB.items()))) as run:
        assert run.file("float.tflite", never).read_bytes() == b"abc"


def test_a_step_that_fails_leaves_nothing(run):
    def fails():
        raise OSError("converter died")

    with pytest.raises(OSError, match="converter died"):
        run.file("float.tflite", fails)
    with pytest.raises(OSError, match="converter died"):
        run.arrays("calibration", fails)
    assert held(run.path) == ["job.json"]
    assert run.file("float.tflite", lambda: b"abc").read_bytes() == b"abc"


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda _: b"", lambda data: data + b"0"])
def test_a_file_that_is_not_whole_is_made_anew(run, damage):
    path = run.file("float.tflite", lambda: b"abc")
    path.write_bytes(damage(b"abc"))
    assert run.file("float.tflite", lambda: b"new").read_bytes() == b"new"
    assert run.file("float.tflite", never).read_bytes() == b"new"


ARRAYS = {
    "0 lows": np.float32([-1.5, np.inf]),
    "0 counts": np.arange(6, dtype=np.int64).reshape(2, 3),
    "scalar": np.float64(0.1),
    "none": np.zeros((0, 4), np.int8),
}


def test_arrays_come_back_as_they_were(run):
    made, again = run.arrays("calibration", lambda: ARRAYS), run.arrays("calibration", never)
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


def test_what_is_claimed_must_stay_as_it_was(tmp_path):
    path = tmp_path / "run"
    interrupted(path, calibrates)
    interrupted(path, lambda run: run.claim("data", "abc", "float.tflite"))
    with pytest.raises(OutputError, match="its data has changed since; type --overwrite"), open_run(path, JOB) as run:
        run.claim("data", "abd", "float.tflite")
    assert (path / ".stages" / "calibration.npz").exists()
    (path / ".stages" / "data.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(OutputError, match="its data has changed since"), open_run(path, JOB) as run:
        run.claim("data", "abc", "float.tflite")


def test_overwriting_does_again_what_was_made_from_other_data(tmp_path):
    path = tmp_path / "run"
    interrupted(path, calibrates)
    with open_run(path, JOB, overwrite=True) as run:
        assert run.file("float.tflite", never).read_bytes() == b"abc"
        run.claim("data", "abd", "float.tflite")
        assert_same(run.arrays("calibration", lambda: {"x": np.float32([2])})["x"], np.float32([2]))
    with open_run(path, JOB) as run:
        run.claim("data", "abd", "float.tflite")


def test_finish_writes_result_json_last_and_removes_the_steps(run, monkeypatch):
    converts(run)
    order = []
    replace = type(run.path).replace
    monkeypatch.setattr(type(run.path), "replace", lambda self, to: (order.append(to.name), replace(self, to))[1])
    run.finish({name: name.encode() for name in reversed(RESULTS)})
    assert order == list(RESULTS)
    assert order[-1] == "result.json"
    assert held(run.path) == sorted((*RESULTS, "job.json"))
    assert (run.path / "plan.json").read_bytes() == b"plan.json"


# ---- ends before the end ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ChildError, OutputError, ResourceError, KeyError, MemoryError, Stop])
def test_whatever_ends_a_run_its_finished_steps_stay(tmp_path, error):
    path = tmp_path / "run"
    interrupted(path, converts, error)
    with open_run(path, JOB) as run:
        assert run.file("float.tflite", never).read_bytes() == b"abc"


@pytest.mark.parametrize("error", [DataError, OptionError, ChildError, OutputError, Stop])
def test_where_nothing_is_finished_nothing_is_left(tmp_path, error):
    interrupted(tmp_path / "run", lambda _: None, error)
    assert held(tmp_path) == []
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("mine")
    interrupted(tmp_path / "run", lambda _: None, error, overwrite=True)
    assert held(tmp_path / "run") == ["thesis.txt"]


def test_bad_input_leaves_nothing_until_there_is_a_network_to_keep(tmp_path):
    """Whoever has to type another command must not be told that the folder holds an unfinished run of another job."""
    path, told = tmp_path / "run", []
    for error in (DataError, OptionError, UnsupportedError):
        interrupted(path, calibrates, error)
        assert held(tmp_path) == []

    def an_hour_later(run):
        calibrates(run)
        run.keep(b"model", "2 points lost")

    interrupted(path, an_hour_later, DataError, tell=told.append)
    assert told == [
        f"the best network so far is {path / 'best-so-far.tflite'} (2 points lost); "
        "for another job, type --overwrite or --out with another folder"
    ]
    with open_run(path, JOB) as run:
        run.arrays("calibration", never)


def test_the_best_so_far_is_told(tmp_path):
    told = []
    interrupted(tmp_path / "run", lambda run: run.keep(b"model", "2 points lost"), ChildError, tell=told.append)
    assert told == [f"the best network so far is {tmp_path / 'run' / 'best-so-far.tflite'} (2 points lost)"]


def finishing(run):
    calibrates(run)
    run.finish(dict.fromkeys(RESULTS, b"x"))


#: What changes names; a process may be killed before or after each.
STEPS = ("replace", "rename", "unlink", "rmdir", "mkdir")


def killed_at(number, work, monkeypatch):
    """Do ``work`` until the ``number``-th change of a name in a folder, after which nothing happens; whether it came."""
    count = 0

    def counted(real):
        def step(*args, **options):
            nonlocal count
            count += 1
            if count >= number:
                raise Stop
            return real(*args, **options)

        return step

    with monkeypatch.context() as patch:
        for name in STEPS:
            patch.setattr(Path, name, counted(getattr(Path, name)))
        patch.setattr("os.unlink", counted(os.unlink))
        patch.setattr("shutil.rmtree", counted(shutil.rmtree))
        with contextlib.suppress(Stop):
            work()
    return count >= number


def test_whenever_a_run_is_killed_the_folder_says_what_it_is_and_the_run_goes_on(tmp_path, monkeypatch):
    """Killed before each change of a name: in a fresh folder, and where it overwrites a finished run of another job."""

    def work(path, **options):
        with open_run(path, JOB, **options) as run:
            finishing(run)

    for overwrite in (False, True):
        for number in range(1, 1000):
            path = tmp_path / f"{overwrite} {number}"
            if overwrite:
                with open_run(path, {"model": "other"}) as run:
                    run.finish(dict.fromkeys(RESULTS, b"old"))
            came = killed_at(number, partial(work, path, overwrite=overwrite), monkeypatch)
            if (path / "result.json").exists():
                kinds = {(path / name).read_bytes() for name in RESULTS}
                assert kinds in ({b"x"}, {b"old"}), f"a finished run that is not whole, killed at {number}"
            if not came:
                break
            if not (path / "result.json").exists() or (path / "result.json").read_bytes() == b"old":
                work(path, overwrite=overwrite)
            else:
                with pytest.raises(OutputError, match="holds a finished run"):
                    work(path)
            assert sorted(p.name for p in path.iterdir()) == sorted((*RESULTS, "job.json")), f"killed at {number}"
            assert json.loads((path / "job.json").read_bytes()) == JOB
        assert number > 20  # it was killed somewhere


def test_drafts_go_and_what_only_looks_alike_stays(tmp_path):
    path = tmp_path / "run"
    interrupted(path, converts)
    for name in (
        ".job.json.abc12345.draft",
        ".model.tflite.x.draft",
        ".thesis.txt.x.draft",
        ".stages/.calibration.npz.x.draft",
    ):
        (path / name).write_bytes(b"half")
    (path / "..stages.x.draft" / ".stages").mkdir(parents=True)
    with open_run(path, JOB) as run:
        assert run.file("float.tflite", never).read_bytes() == b"abc"
        assert held(path) == [".stages", ".thesis.txt.x.draft", "job.json"]
        assert held(path / ".stages") == ["float.tflite", "float.tflite.sha256"]


def test_a_draft_of_the_very_first_write_blocks_nothing(tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    (path / ".job.json.abc12345.draft").write_bytes(b"{")
    with open_run(path, JOB):
        assert held(path) == ["job.json"]


# ---- two runs -----------------------------------------------------------------------------------------------------------


def test_a_folder_is_for_one_run_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "_PATIENCE", 0.1)
    path = tmp_path / "run"
    with open_run(path, JOB) as run:
        converts(run)
        for overwrite in (False, True):
            with pytest.raises(
                OutputError, match=r"another run works in .*run; wait until it has ended, or type --out with another"
            ):
                interrupted(path, never, overwrite=overwrite)
        assert run.file("float.tflite", never).read_bytes() == b"abc"
    with open_run(path, JOB) as run:
        assert run.file("float.tflite", never).read_bytes() == b"abc"


HOLDS = """
import sys
from pathlib import Path
from intact.run.folder import open_run
with open_run(Path(sys.argv[1]), {"model": "net.tflite", "seed": 0}) as run:
    run.file("float.tflite", lambda: b"abc")
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_the_lock_of_another_process_ends_with_it_however_it_ends(tmp_path, monkeypatch):
    path = tmp_path / "run"
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"ready\n"
        monkeypatch.setattr(locks, "_PATIENCE", 0.1)
        with pytest.raises(OutputError, match="another run works in"):
            interrupted(path, never)
        other.kill()
        other.wait()
    assert (path / locks.NAME).exists()
    with open_run(path, JOB) as run:
        assert run.file("float.tflite", never).read_bytes() == b"abc"
    assert not (path / locks.NAME).exists()


def test_a_lock_whose_file_was_removed_meanwhile_is_none(tmp_path):
    """Who waits for a lock that is dropped must not have the file that has no name any more: the next makes another."""
    first = locks.take(tmp_path)
    assert locks.take(tmp_path) is None
    first.drop()
    assert held(tmp_path) == []
    again = locks.take(tmp_path)
    assert locks.take(tmp_path) is None
    again.drop()


def test_who_drops_a_lock_leaves_that_of_the_next_alone(tmp_path, monkeypatch):
    """The next may have it the moment that it is released."""
    first, taken = locks.take(tmp_path), []
    release = type(first._held).release
    monkeypatch.setattr(type(first._held), "release", lambda *args: (release(*args), taken.append(locks.take(tmp_path))))
    first.drop()
    monkeypatch.undo()
    assert taken[0] is not None
    assert locks.take(tmp_path) is None
    taken[0].drop()


def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch):
    def none(*_, **__):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("filelock.FileLock.acquire", none)
    told = []
    with open_run(tmp_path / "run", JOB, tell=told.append) as run:
        converts(run)
    assert told == [f"{tmp_path / 'run'} is on a file system without locks: let no other run work there meanwhile"]


# ---- what is there already ----------------------------------------------------------------------------------------------


def finished(path):
    with open_run(path, JOB) as run:
        run.finish({"model.tflite": b"m", "result.json": b"{}"})


def other_job(path):
    interrupted(path, converts)
    (path / "job.json").write_text(json.dumps({**JOB, "settings": {"seed": 7}, "eval": "there"}))


def garbled_job(path):
    interrupted(path, converts)
    (path / "job.json").write_bytes(b"\xff\xfe{")


def foreign(path):
    path.mkdir()
    (path / "thesis.txt").write_text("mine")


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (finished, "holds a finished run; type --overwrite to replace it, or --out"),
        (other_job, r"unfinished run of another job \(.*seed 7 there, .* now.*\); type --overwrite, or --out"),
        (garbled_job, "holds an unfinished run of another job; type --overwrite, or --out"),
        (foreign, r"holds other things \(thesis\.txt\); type --out with another folder, or --overwrite"),
    ],
)
def test_a_folder_that_is_not_the_jobs_own_stays_as_it_is_until_overwritten(tmp_path, state, says):
    path = tmp_path / "run"
    state(path)
    before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
    with pytest.raises(OutputError, match=says):
        interrupted(path, never)
    assert {p: p.read_bytes() for p in path.rglob("*") if p.is_file()} == before
    with open_run(path, JOB, overwrite=True):
        assert held(path) == sorted({"job.json"} | ({"thesis.txt"} & {p.name for p in before}))


def test_overwriting_goes_on_with_what_is_finished_of_the_same_job(tmp_path):
    """What is typed with --overwrite and then killed would never come to its end otherwise."""
    path = tmp_path / "run"
    interrupted(path, converts, overwrite=True)
    with open_run(path, JOB, overwrite=True) as run:
        assert run.file("float.tflite", never).read_bytes() == b"abc"


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "run").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match=r"run cannot be used as a folder \(File exists\); type --out with another"):
            interrupted(tmp_path / "run", never, overwrite=overwrite)
    assert (tmp_path / "run").read_text() == "mine"


def test_what_cannot_be_overwritten_is_named(tmp_path):
    (tmp_path / "run" / "model.tflite").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"run cannot be overwritten \(.*\); type --out with another"):
        interrupted(tmp_path / "run", never, overwrite=True)


def test_a_run_without_a_lock_is_for_scratch_folders(tmp_path):
    assert RunFolder(tmp_path).file("float.tflite", lambda: b"abc").read_bytes() == b"abc"
    assert (
        files.sha256(tmp_path / ".stages" / "float.tflite").encode()
        == (tmp_path / ".stages" / "float.tflite.sha256").read_bytes()
    )


def stages_elsewhere(path, outside):
    (path / ".stages").symlink_to(outside)


def stages_nowhere(path, outside):
    (path / ".stages").symlink_to(outside / "gone")


def stages_in_a_file(path, _outside):
    (path / ".stages").write_text("mine")


def step_elsewhere(path, outside):
    (path / ".stages").mkdir()
    (path / ".stages" / "data.txt").symlink_to(outside / "thesis.txt")


def folder_for_a_step(path, _outside):
    (path / ".stages" / "data.txt").mkdir(parents=True)


def pipe_for_a_step(path, _outside):
    (path / ".stages").mkdir()
    os.mkfifo(path / ".stages" / "data.txt")


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there, and there are no pipes")
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    "lay", [stages_elsewhere, stages_nowhere, stages_in_a_file, step_elsewhere, folder_for_a_step, pipe_for_a_step]
)
def test_a_run_that_someone_prepared_reaches_nothing_outside(tmp_path, lay, overwrite):
    """Going on with a job from another value removes its steps, and every start removes drafts: only the run's own."""
    path, outside = tmp_path / "run", tmp_path / "outside"
    outside.mkdir()
    for name in ("thesis.txt", "data.txt", ".thesis.draft"):
        (outside / name).write_text("mine")
    with open_run(path, JOB):
        pass
    lay(path, outside)
    with open_run(path, JOB, overwrite=overwrite) as run:
        run.claim("data", "new", "float.tflite")
        run.finish({"result.json": b"{}"})
    assert {p.name: p.read_text() for p in outside.iterdir()} == dict.fromkeys(
        ("thesis.txt", "data.txt", ".thesis.draft"), "mine"
    )
    assert held(path) == ["job.json", "result.json"]


def test_the_steps_of_another_tool_stay_where_a_folder_is_refused(tmp_path):
    (tmp_path / ".stages" / "theirs").mkdir(parents=True)
    with pytest.raises(OutputError, match="holds other things"):
        interrupted(tmp_path, never)
    assert (tmp_path / ".stages" / "theirs").is_dir()


def deep(path):
    path.write_text('{"a":' + "[" * 100_000)


def too_long(path):
    with path.open("wb") as file:
        file.truncate(1 << 40)


@pytest.mark.parametrize("make", [deep, too_long, Path.mkdir, *([os.mkfifo] if sys.platform != "win32" else [])])
def test_a_job_that_no_run_wrote_is_another_job(tmp_path, make):
    make(tmp_path / "job.json")
    with pytest.raises(OutputError, match="holds an unfinished run of another job; type --overwrite"):
        interrupted(tmp_path, never)


def test_what_is_said_of_the_best_so_far_may_be_garbage(tmp_path):
    path, told = tmp_path / "run", []
    interrupted(path, lambda run: run.keep(b"abc", "good"))
    (path / ".stages" / "best-so-far.txt").write_bytes(b"\xff")
    with pytest.raises(Stop), open_run(path, JOB, tell=told.append):
        raise Stop
    assert "best-so-far.tflite (\N{REPLACEMENT CHARACTER})" in told[0]


# ---- what runs have in common -------------------------------------------------------------------------------------------

SHARES = """
import sys, time
from pathlib import Path
from intact.run.folder import Common, RunFolder

def make():
    print("makes", flush=True)
    time.sleep(0.5)
    return b"made"

folder = Path(sys.argv[1])
path = RunFolder(folder / "run", common=Common(folder / "common")).file("step", make, lambda: "of this")
print(path.read_bytes().decode(), flush=True)
"""


def test_a_step_in_common_is_made_once_by_several_processes(tmp_path):
    typed = [sys.executable, "-c", SHARES, str(tmp_path)]
    both = [subprocess.Popen(typed, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted(process.communicate(timeout=60)[0].split() for process in both)
    assert said == [["made"], ["makes", "made"]]


def test_the_files_of_steps_in_common_are_those_that_were_asked_for(tmp_path):
    RunFolder(tmp_path, common=Common(tmp_path)).file("other", lambda: b"other", lambda: 1)
    common = Common(tmp_path)
    path = RunFolder(tmp_path, common=common).file("step", lambda: b"step", lambda: 1)
    steps = common.steps()
    assert path in steps.values()
    assert {one.name for one in steps.values()} == {"step", "step.sha256"}
    assert all((tmp_path / name) == one for name, one in steps.items())
