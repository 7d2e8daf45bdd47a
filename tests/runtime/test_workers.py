"""Processes that compute: what goes in and comes out, and how they end."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import computing
import pytest

import intact
from intact.errors import ChildError, MissingExtraError, OutputError
from intact.progress import silent
from intact.runtime.workers import Asked, Computer, Workers


@pytest.fixture(scope="module")
def workers():
    with Workers(2) as found:
        yield found


def compute(workers, function, request=b"", files=(), **how):
    asked = {"what": "Work", "memory": 1, "progress": silent, "check": lambda: None}
    return workers.compute(Asked(function, request, dict(files), **(asked | how)))


def is_gone(pid):
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return not Path(f"/proc/{pid}").exists()


def test_request_files_and_progress_go_through(workers, tmp_path):
    (tmp_path / "one").write_bytes(b"1")
    (tmp_path / "two").write_bytes(b"2")
    told = []
    files = {"a": tmp_path / "one", "b": tmp_path / "two"}
    assert compute(workers, computing.backwards, b"abc", files, progress=lambda *said: told.append(said)) == b"12cba"
    assert told == [("read", 2, 2)]
    assert isinstance(workers, Computer)
    assert (workers.at_once, workers.is_here, workers.lacking()) == (2, True, "")


def test_a_process_is_asked_again(workers):
    assert compute(workers, computing.pid) == compute(workers, computing.pid) != str(os.getpid()).encode()


def test_processes_that_are_made_ready_are_those_that_are_asked():
    with Workers(2, ready=computing.pid) as made:
        ready = {str(worker._process.pid).encode() for worker in made._idle}
        assert len(ready) == 2
        assert {compute(made, computing.pid) for _ in range(2)} <= ready


def test_two_work_side_by_side(workers, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(compute, workers, computing.meets, str(tmp_path).encode()) for _ in range(2)]
        assert [one.result() for one in both] == [b"2", b"2"]


def test_what_takes_all_memory_works_alone():
    with Workers(2, memory=100) as narrow, ThreadPoolExecutor(2) as pool:
        both = [pool.submit(compute, narrow, computing.waits, b"0.2", memory=memory) for memory in (60, 1000)]
        (a, b), (c, d) = (map(float, one.result().split()) for one in both)
    assert b < c or d < a


def test_an_error_is_the_one_that_was_raised(workers):
    with pytest.raises(OutputError, match=r"^net\.tflite: cannot be written$") as caught:
        compute(workers, computing.fails, b"disk")
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == 28
    with pytest.raises(MissingExtraError, match=r"Ray needs packages .* pip install 'intact\[ray\]'"):
        compute(workers, computing.fails, b"extra")


def test_what_is_no_error_of_ours_is_told_with_what_was_printed(workers):
    with pytest.raises(ChildError, match=r"^Work failed \(ZeroDivisionError: of nothing\)") as caught:
        compute(workers, computing.fails)
    assert "about to fail" in caught.value.__notes__[0]
    assert "Traceback" in caught.value.__notes__[0]
    assert compute(workers, computing.backwards, b"ab") == b"ba"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals")
def test_a_process_that_dies_costs_its_own_work(workers):
    with ThreadPoolExecutor(2) as pool:
        other = pool.submit(compute, workers, computing.waits, b"1")
        with pytest.raises(ChildError, match=r"^Work died of SIGKILL \(Killed, often for want of memory\)"):
            compute(workers, computing.dies, str(int(signal.SIGKILL)).encode())
        assert other.result()
    assert compute(workers, computing.backwards, b"ab") == b"ba"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_who_asks_no_longer_ends_it(workers):
    begun = []

    def check():
        if begun:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compute(workers, computing.waits, b"60", progress=lambda pid, *_: begun.append(pid), check=check)
    assert is_gone(begun[0])


ALONE = """
import sys
sys.path.insert(0, {helpers!r})
import computing
from intact.runtime.workers import Asked, Workers

def begun(pid, *_):
    print(pid, flush=True)

with Workers(1) as workers:
    workers.compute(Asked(computing.waits, b"60", {{}}, "Work", 1, begun, lambda: None))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_none_is_left_when_we_are_killed():
    helpers = str(Path(computing.__file__).parent)
    environment = os.environ | {"PYTHONPATH": str(Path(intact.__file__).parents[1])}
    command = [sys.executable, "-c", ALONE.format(helpers=helpers)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        pid = process.stdout.readline().strip()
        assert Path(f"/proc/{pid}").exists()
        process.kill()
    assert is_gone(pid)
