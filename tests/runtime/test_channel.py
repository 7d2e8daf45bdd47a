"""What does the steps on a machine elsewhere, over a line that is a pipe to a process of this one."""

import hashlib
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from intact.errors import ChildError, LineLostError, OutputError, PlaceError
from intact.runtime import channel
from intact.runtime.channel import Channel
from intact.runtime.confinement import Confinement
from intact.runtime.devices import Device
from intact.runtime.elsewhere import Elsewhere
from intact.runtime.talk import Talk

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="devices are POSIX systems")

SCRIPTS = Path(channel.__file__).parent / "scripts"
WORKER = """
import os, signal, subprocess, sys, time

def main(request, progress):
    match request["do"]:
        case "answer":
            return {"twice": 2 * request["x"]}
        case "die":
            print("before the end", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGSEGV)
        case "exit":
            os._exit(3)
        case "start":
            return {"started": subprocess.Popen(["sleep", "600"]).pid}
        case "flood":
            while True:
                print("x" * 10_000, file=sys.stderr)
        case "sleep":
            progress(1, 2)
            time.sleep(600)
"""


class Pipe:
    """A line that runs words here; ``before`` is what a login shell does first."""

    def __init__(self, before=""):
        self.before = before

    def open(self):
        pass

    def close(self):
        pass

    def command(self, words):
        return ["sh", "-c", f'{self.before}\nexec "$@"', "sh", *words]

    def refusal(self, printed):
        return LineLostError(f"the line broke ({printed})")


@pytest.fixture
def opened(tmp_path):
    made = []

    def opened(before=""):
        made.append(Channel(Device("pi", "pi", python=sys.executable), Pipe(before), str(tmp_path / "sessions" / "a")))
        return made[-1]

    yield opened
    for each in made:
        each.close()


@pytest.fixture
def scripts(tmp_path):
    folder = tmp_path / "scripts"
    folder.mkdir()
    for name in ("serve.py", "confine.py"):
        shutil.copy(SCRIPTS / name, folder)
    (folder / "worker.py").write_text(WORKER)
    return folder


@pytest.fixture
def begun(tmp_path, scripts):
    def begun(over):
        folder = tmp_path / "call"
        rules = {"writes": [], "memory": 1 << 33, "cpu_seconds": 600, "file_bytes": 1 << 30}
        worker = over.call({"script": "worker.py", "rules": rules, "folder": str(folder), "scripts": str(scripts)})
        return Talk("it", worker, Confinement(), None)

    return begun


def until(true, seconds=15.0):
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.05)
    return true()


def is_there(process):
    """Whether it runs; what ended and nobody asked for counts as gone."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# ---- steps ------------------------------------------------------------------------------------------------------------------


def test_steps_are_taken_one_after_the_other(opened, tmp_path):
    over, data = opened(), os.urandom(600_000)
    source, digest = tmp_path / "source", hashlib.sha256(data).hexdigest()
    source.write_bytes(data)
    held = tmp_path / "sessions" / "a" / "files"
    assert over.ask("have", {"folder": str(held), "sizes": {digest: len(data)}}) == {"have": {digest: 0}}
    over.upload("receive", {"folder": str(held), "rests": {digest: (0, len(data))}}, [(source, 0, len(data))])
    assert over.ask("have", {"folder": str(held), "sizes": {digest: len(data)}}) == {"have": {digest: len(data)}}
    with (tmp_path / "back").open("wb") as file:
        told = over.download("send", {"path": str(held / digest), "offset": 100_000}, file)
    assert (told["size"], told["sha256"], told["bytes"]) == (600_000, digest, 500_000)
    assert (tmp_path / "back").read_bytes() == data[100_000:]
    assert over.ask("look", {"folder": str(tmp_path), "runner": "none"})["has_runner"] is False
    assert over.ask("drop", {"paths": [str(held)]}) == {}
    assert not held.exists()
    assert over.is_open


def test_a_file_of_a_session_that_was_interrupted_becomes_this_ones(opened, tmp_path):
    over, data, spoilt = opened(), b"samples", b"the model"
    for content, kept in ((data, data), (spoilt, b"the mOdel")):
        path = tmp_path / "sessions" / "dead" / "files" / hashlib.sha256(content).hexdigest()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(kept)
    held = tmp_path / "sessions" / "a" / "files"
    sizes = {hashlib.sha256(content).hexdigest(): len(content) for content in (data, spoilt)}
    found = over.ask("have", {"folder": str(held), "sizes": sizes})["have"]
    assert list(found.values()) == [len(data), 0]
    shutil.rmtree(tmp_path / "sessions" / "dead")
    assert (held / hashlib.sha256(data).hexdigest()).read_bytes() == data


def test_a_step_that_fails_says_why_and_ends_the_channel(opened, tmp_path):
    over = opened()
    with (
        pytest.raises(PlaceError, match=r"pi failed \(No such file or directory: .*none\)"),
        (tmp_path / "x").open("wb") as file,
    ):
        over.download("send", {"path": str(tmp_path / "none"), "offset": 0}, file)
    assert not over.is_open


def test_a_file_that_is_refused_half_way_is_told_of(opened, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(bytes(8 << 20))
    told = {"folder": str(tmp_path / "no"), "rests": {"x": (0, 8 << 20)}}
    with pytest.raises(PlaceError, match="pi failed"):
        opened().upload("receive", told, [(source, 0, 8 << 20)])


def test_a_file_that_becomes_shorter_meanwhile_is_told_of(opened, tmp_path):
    (tmp_path / "source").write_bytes(bytes(1000))
    over, told = opened(), {"folder": str(tmp_path), "rests": {"x": (0, 2000)}}
    with pytest.raises(PlaceError, match="source became shorter while it was sent to pi"):
        over.upload("receive", told, [(tmp_path / "source", 0, 2000)])
    assert not over.is_open


def test_a_full_disk_is_told_of(opened):
    over = opened()
    with pytest.raises(OutputError, match=r"no room is left on pi \(/home\)"):
        over.checked({"full": "/home"})


# ---- workers ----------------------------------------------------------------------------------------------------------------


def test_workers_answer_one_after_the_other(opened, begun):
    over = opened()
    for x in (1, 2):
        talk = begun(over)
        assert talk.finish({"do": "answer", "x": x}, 60) == {"twice": 2 * x}
        talk.close()
    assert over.is_open


@pytest.mark.parametrize(("what", "said"), [("die", r"SIGSEGV.*before the end"), ("exit", r"\b3\b")])
def test_the_death_of_a_worker_is_told_of_and_the_next_one_works(opened, begun, what, said):
    over = opened()
    talk = begun(over)
    with pytest.raises(ChildError, match=said):
        talk.finish({"do": what}, 60)
    assert talk.process.lost is None
    talk.close()
    talk = begun(over)
    assert talk.finish({"do": "answer", "x": 3}, 60) == {"twice": 6}
    talk.close()


def test_what_a_worker_started_ends_with_it(opened, begun):
    talk = begun(opened())
    child = talk.finish({"do": "start"}, 60)["started"]
    assert is_there(child)
    talk.close()
    assert until(lambda: not is_there(child))


@pytest.mark.parametrize("what", ["sleep", "flood"])
def test_a_worker_that_does_not_answer_is_stopped_and_the_next_one_works(opened, begun, what):
    over = opened()
    talk = begun(over)
    with pytest.raises(ChildError, match="no sign of life for 1 seconds"):
        talk.finish({"do": what}, 1)
    talk.close()
    assert over.is_open
    talk = begun(over)
    assert talk.finish({"do": "answer", "x": 4}, 60) == {"twice": 8}
    talk.close()


def test_a_worker_that_cannot_be_started_is_told_of(opened, tmp_path):
    (tmp_path / "file").touch()
    worker = opened().call({"script": "x", "rules": {"writes": []}, "folder": str(tmp_path / "file" / "x"), "scripts": "none"})
    talk = Talk("it", worker, Confinement(), None)
    with pytest.raises(ChildError):
        talk.finish({}, 60)
    talk.close()
    assert isinstance(worker.lost, PlaceError)
    assert "Not a directory" in str(worker.lost)


def test_a_request_that_comes_after_the_end_of_its_worker_goes_nowhere(opened, begun):
    over = opened()
    talk = begun(over)
    talk.process.end()
    talk.process.say(b'{"step": "drop", "arguments": {}}\n')
    talk.close()
    over.say(b">late\n.\n")
    assert over.ask("drop", {"paths": []}) == {}


# ---- a line that breaks -----------------------------------------------------------------------------------------------------


def server_of(over):
    return over._process.pid  # sh became it


def test_what_does_the_steps_dies_during_a_call(opened, begun):
    over = opened()
    talk = begun(over)
    child = talk.finish({"do": "answer", "x": 1}, 60) and children(server_of(over))[0]
    os.kill(server_of(over), signal.SIGKILL)
    with pytest.raises(ChildError):
        talk.finish({"do": "answer", "x": 2}, 60)
    assert isinstance(talk.process.lost, LineLostError)
    talk.close()
    assert until(lambda: not is_there(child))
    assert not over.is_open


def children(process):
    return [int(each) for each in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def test_what_does_the_steps_dies_during_a_step(opened, tmp_path):
    over = opened()
    killer = threading.Timer(0.5, os.kill, (server_of(over), signal.SIGKILL))
    killer.start()
    told = {"folder": str(tmp_path), "rests": {"x": (0, 1 << 62)}}
    with pytest.raises(LineLostError):
        over.upload("receive", told, [(Path("/dev/zero"), 0, 1 << 62)])
    killer.join()
    assert not over.is_open


def test_nothing_stays_there_when_nobody_speaks_any_more(opened, begun, monkeypatch):
    monkeypatch.setattr(channel, "_SILENCE", 1.0)
    monkeypatch.setattr(channel, "_BEAT", 600.0)
    idle, busy = opened(), opened()
    talk = begun(busy)
    with pytest.raises(ChildError):
        talk.finish({"do": "sleep"}, 60)
    assert isinstance(talk.process.lost, LineLostError)
    talk.close()
    assert until(lambda: not is_there(server_of(idle)))
    assert not is_there(server_of(busy))


def test_signs_of_life_keep_it(opened, begun, monkeypatch):
    monkeypatch.setattr(channel, "_SILENCE", 1.0)
    monkeypatch.setattr(channel, "_BEAT", 0.1)
    over = opened()
    talk = begun(over)
    with pytest.raises(ChildError, match="no sign of life for 3 seconds"):
        talk.finish({"do": "sleep"}, 3)
    talk.close()
    time.sleep(2)
    assert over.ask("drop", {"paths": []}) == {}


def test_an_answer_that_is_here_is_kept_when_the_line_breaks_after_it(tmp_path, monkeypatch):
    asked, calls = Channel.ask, []

    def ask(self, step, *rest):
        if step == "drop":
            self.close()
            raise LineLostError("the line broke")
        return asked(self, step, *rest)

    with Elsewhere(Device("pi", "pi", python=sys.executable, folder=str(tmp_path / "there")), Pipe()) as place:
        began = Channel.call
        monkeypatch.setattr(Channel, "ask", ask)
        monkeypatch.setattr(Channel, "call", lambda self, told: calls.append(told) or began(self, told))
        for _ in range(2):
            assert place.call("litert_profile.py", {"task": "check", "kernels": "default"}, what="LiteRT", timeout=60) == {}
    assert (len(calls), place.patience.lost) == (2, 0)


# ---- what a login shell prints ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "before", ["echo Welcome", "printf 'no end of line'", 'echo \'{"serving": "me"}\'', "printf '\\377\\000\\n{}\\n'"]
)
def test_what_a_login_shell_prints_is_passed_by(opened, before):
    assert opened(before).ask("drop", {"paths": []}) == {}


@pytest.mark.parametrize("before", ["yes", "exit 0", "echo no; exit 1"])
def test_a_shell_that_says_something_else_altogether(opened, before):
    with pytest.raises(PlaceError):
        opened(before)
