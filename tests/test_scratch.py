"""What a process works on in files goes when it ends, however it ends, and nobody else's goes with it."""

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from intact import files, locks, scratch, spool
from intact.errors import OutputError

WORKS = """
import sys, time
from pathlib import Path
from intact import scratch
with scratch.folder() as folder:
    (folder / "large").mkdir()
    (folder / "large" / "file").write_bytes(b"x")
    scratch.lasting()
    print(scratch.place(), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder for temporary files that is this test's own, here and in child processes."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield tmp_path
    monkeypatch.undo()
    scratch.place()  # back where it was


@contextlib.contextmanager
def working():
    """Another process that works on files, and its folder."""
    with subprocess.Popen([sys.executable, "-c", WORKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process, Path(process.stdout.readline().decode().strip())
        process.kill()


def test_a_folder_goes_at_its_end_with_all_that_is_in_it(place):
    with scratch.folder() as folder:
        (folder / "file").write_bytes(b"x")
        assert scratch.holds(folder / "file")
    assert not folder.exists()
    assert not scratch.holds(place / "file")
    with pytest.raises(KeyError), scratch.folder() as folder:
        raise KeyError
    assert not folder.exists()


def test_a_process_that_ends_leaves_nothing(place):
    with working() as (process, folder):
        assert folder.parent == place
        process.stdin.close()
        assert process.wait() == 0
    assert list(place.iterdir()) == []


def test_what_a_killed_process_left_is_swept_and_a_living_one_keeps_its_folder(place):
    with working() as (killed, left), working() as (_, kept):
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert (left / "large").exists() or list(left.iterdir())
        with scratch.folder() as folder:
            assert not left.exists()
            assert len(list(kept.iterdir())) == 3  # its lock and two folders
            assert sorted(place.iterdir()) == sorted((kept, folder.parent))


@pytest.mark.skipif(os.name == "nt", reason="links and owners are told otherwise there")
def test_only_its_own_is_swept(place, monkeypatch):
    elsewhere = place / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / locks.NAME).touch()
    (elsewhere / "thesis.txt").write_text("mine")
    (place / "intact-scratch-link").symlink_to(elsewhere)
    (place / "intact-scratch-file").write_text("mine")
    without_lock = place / "intact-scratch-nolock"
    without_lock.mkdir(mode=0o700)
    (without_lock / "thesis.txt").write_text("mine")
    with_link = place / "intact-scratch-linked"
    with_link.mkdir(mode=0o700)
    (with_link / locks.NAME).symlink_to(elsewhere / "thesis.txt")
    opened = place / "intact-scratch-open"
    opened.mkdir()
    opened.chmod(0o777)
    (opened / locks.NAME).touch()
    before = sorted(p for p in place.rglob("*"))
    with scratch.folder() as folder:
        assert sorted(p for p in place.rglob("*") if folder.parent not in {p, *p.parents}) == before
    assert (elsewhere / "thesis.txt").read_text() == "mine"
    others = place / "intact-scratch-others"
    others.mkdir(mode=0o700)
    (others / locks.NAME).touch()
    user = os.getuid()
    monkeypatch.setattr(scratch, "_USER", lambda: user + 1)
    scratch._sweep(place)
    assert others.exists()
    monkeypatch.setattr(scratch, "_USER", lambda: user)
    scratch._sweep(place)
    assert not others.exists()


@pytest.mark.skipif(os.name == "nt", reason="folders have no modes there")
@pytest.mark.usefixtures("place")
def test_nobody_else_can_enter():
    with scratch.folder() as folder:
        assert folder.parent.stat().st_mode & 0o777 == 0o700


def test_links_in_what_is_swept_are_not_followed(place):
    elsewhere = place / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "thesis.txt").write_text("mine")
    dead = place / "intact-scratch-dead"
    dead.mkdir(mode=0o700)
    (dead / locks.NAME).touch()
    (dead / "link").symlink_to(elsewhere)
    with scratch.folder():
        assert not dead.exists()
    assert (elsewhere / "thesis.txt").read_text() == "mine"


@pytest.mark.usefixtures("place")
def test_a_fork_takes_nothing_away_from_its_parent():
    with scratch.folder() as folder:
        process = os.fork()
        if process == 0:
            with contextlib.suppress(BaseException):
                atexit._run_exitfuncs()
            os._exit(0)
        os.waitpid(process, 0)
        assert folder.exists()


@pytest.mark.parametrize("number", [28, 122, 5, 30], ids=["full", "quota", "broken", "read-only"])
def test_a_disk_that_takes_no_more_is_said(place, number):
    why = os.strerror(number)
    says = rf"cannot work in {place} \({why}\); make room there, or set TMPDIR to a folder that has some"
    with pytest.raises(OutputError, match=says), scratch.folder():
        raise OSError(number, why)
    with scratch.folder() as folder, pytest.raises(OutputError, match=says), files.writing(folder / "a"):
        raise OSError(number, why)


def test_an_error_about_another_file_is_left_to_its_reader(place):
    with pytest.raises(FileNotFoundError), scratch.folder():
        (place / "nothing").read_bytes()


def test_no_folder_for_temporary_files_is_said(monkeypatch):
    def none():
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    with (
        pytest.raises(OutputError, match=r"cannot work in any folder for temporary files \(No usable temporary dir"),
        scratch.folder(),
    ):
        pass


@pytest.mark.usefixtures("place")
def test_a_full_disk_is_said_where_arrays_are_kept(monkeypatch):
    class Full:
        def write(self, _):
            raise OSError(28, "No space left on device")

        def close(self):
            pass

    monkeypatch.setattr(scratch, "file", Full)
    column = spool.Column((3,), np.dtype(np.float32))
    with pytest.raises(OutputError, match=r"cannot work in .* \(No space left on device\)"):
        column.add(np.zeros((2, 3), np.float32))


@pytest.mark.usefixtures("place")
def test_children_leave_their_temporary_files_here():
    assert scratch.environment()["TMPDIR"] == str(scratch.place())
    said = subprocess.run(
        [sys.executable, "-c", "import tempfile; print(tempfile.mkdtemp())"],
        env=os.environ | dict(scratch.environment()),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert Path(said).parent == scratch.place()


def test_processes_that_start_at_once_do_not_take_away_each_others_folders(place):
    made = [subprocess.Popen([sys.executable, "-c", WORKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(6)]
    folders = [Path(process.stdout.readline().decode().strip()) for process in made]
    time.sleep(0.1)
    assert [sorted(p.name for p in folder.iterdir())[0] for folder in folders] == [locks.NAME] * len(made)
    for process in made:
        process.stdin.close()
        assert process.wait() == 0
        process.stdout.close()
    assert list(place.iterdir()) == []
