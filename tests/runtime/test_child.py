"""Whatever a child process does, the parent gets a result or one sentence."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from intact import scratch
from intact.errors import ChildError, OutputError
from intact.runtime import child
from intact.runtime.confinement import Confinement


@pytest.fixture
def script(tmp_path):
    """Write a child script and return its path."""

    def write(body: str) -> Path:
        path = tmp_path / "script.py"
        path.write_text(textwrap.dedent(body))
        return path

    return write


def ask(path: Path, request=None, timeout=60.0, **options):
    return child.call(path, request or {}, what="the test", timeout=timeout, **options)


def test_returns_the_result_and_reports_progress(script):
    path = script("""
        def main(request, progress):
            for i in range(3):
                progress(i + 1, 3)
            return {"twice": [2 * x for x in request["x"]]}
    """)
    seen = []
    answer = ask(path, {"x": [1, 2.5]}, on_progress=lambda done, total: seen.append((done, total)))
    assert answer == {"twice": [2, 5.0]}
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_large_request_and_answer_pass(script):
    path = script("def main(request, progress): return {'text': request['text']}")
    assert len(ask(path, {"text": "é" * 500_000})["text"]) == 500_000


def test_noise_on_stdout_and_stderr_does_not_matter(script):
    path = script("""
        import os, sys
        def main(request, progress):
            os.write(1, b"\\xff noise\\n" * 100_000)
            print("noise", file=sys.stderr)
            return {"ok": True}
    """)
    assert ask(path) == {"ok": True}


def test_crash_while_tearing_down_does_not_matter(script):
    path = script("""
        import atexit, os
        atexit.register(os.abort)
        def main(request, progress): return {"ok": True}
    """)
    assert ask(path) == {"ok": True}


def test_neighbours_are_importable_but_hide_no_package(script, tmp_path):
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')")
    (tmp_path / "neighbour.py").write_text("VALUE = 3")
    path = script("""
        import json
        def main(request, progress):
            import neighbour
            return {"x": neighbour.VALUE}
    """)
    assert ask(path) == {"x": 3}


#: A script that finds what its answers go through: a pipe that can be written to, and is none of the usual three.
CHANNEL = """
import fcntl, os, stat
def writable(fd):
    try:
        return stat.S_ISFIFO(os.fstat(fd).st_mode) and fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_WRONLY
    except OSError:
        return False
channel = next(fd for fd in range(3, 64) if writable(fd))
"""


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("def main(r, p): raise ValueError('tensor 7 is bad')", r"the test failed \(ValueError: tensor 7 is bad\)"),
        ("raise RuntimeError('at import')", r"the test failed \(RuntimeError: at import\)"),
        ("def main(r, p): raise SystemExit(3)", r"the test failed \(SystemExit: 3\)"),
        ("def main(r, p): return 5", "answered garbage: its result is not a dictionary"),
        ("def main(r, p): return {'x': {1, 2}}", "failed .TypeError: .*not JSON serializable"),
        ("syntax error", "failed .*SyntaxError"),
        ("x = 1", "failed .*has no attribute 'main'"),
        (
            "import os, sys\ndef main(r, p):\n  os.write(2, b'tensor.cc:7 multiplier < 1\\nINFO: x\\n\\n')\n  os.abort()",
            r"the test died of SIGABRT \(Aborted\); its last words: 'tensor.cc:7 multiplier < 1'",
        ),
        (
            "import os, signal\ndef main(r, p): os.kill(os.getpid(), signal.SIGKILL)",
            r"died of SIGKILL \(Killed, often for want",
        ),
        ("import os, signal\ndef main(r, p): os.kill(os.getpid(), signal.SIGSEGV)", "died of SIGSEGV"),
        ("import os\ndef main(r, p): print('bye'); os._exit(4)", "ended with status 4 and no answer; its last words: 'bye'"),
        (f"{CHANNEL}def main(r, p): os.write(channel, b'hello\\n'); return {{}}", "answered garbage: 'hello'"),
        (f"{CHANNEL}def main(r, p): os.write(channel, b'[' * 200000 + b'\\n')", "answered garbage"),
        (f"{CHANNEL}def main(r, p):\n  while True: os.write(channel, b'x' * 65536)", "a line of more than"),
    ],
)
def test_failures_are_one_sentence(script, body, says):
    with pytest.raises(ChildError, match=says) as caught:
        ask(script(body))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_missing_script_is_named(tmp_path):
    with pytest.raises(ChildError, match=r"nothere\.py"):
        ask(tmp_path / "nothere.py")


def test_notes_hold_what_was_printed(script):
    path = script("""
        import os
        def main(request, progress):
            print("first"); print("second")
            os.abort()
    """)
    with pytest.raises(ChildError) as caught:
        ask(path)
    assert "first\nsecond" in caught.value.__notes__[0]


def test_silence_is_ended_with_everything_the_child_started(script, tmp_path):
    path = script("""
        import subprocess, sys, time, pathlib
        def main(request, progress):
            grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            pathlib.Path(request["pid"]).write_text(str(grandchild.pid))
            time.sleep(600)
    """)
    noted = tmp_path / "pid"
    with pytest.raises(ChildError, match="gave no sign of life for 2 seconds and was stopped"):
        ask(path, {"pid": str(noted)}, timeout=2, confinement=Confinement((tmp_path,)))
    assert ends(int(noted.read_text()))


def test_progress_is_a_sign_of_life(script):
    path = script("""
        import time
        def main(request, progress):
            for i in range(12):
                progress(i, 12)
                time.sleep(0.25)
            return {}
    """)
    assert ask(path, timeout=2) == {}


def test_an_exception_in_the_callback_ends_the_child(script, tmp_path):
    path = script("""
        import os, pathlib, time
        def main(request, progress):
            pathlib.Path(request["pid"]).write_text(str(os.getpid()))
            progress(0, 1)
            time.sleep(600)
    """)

    def stop(_done, _total):
        raise KeyboardInterrupt

    noted = tmp_path / "pid"
    with pytest.raises(KeyboardInterrupt):
        ask(path, {"pid": str(noted)}, on_progress=stop, confinement=Confinement((tmp_path,)))
    assert ends(int(noted.read_text()))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_the_child_ends_with_its_parent(script, tmp_path, how):
    """Ctrl-C raises KeyboardInterrupt in the parent; kill -9 gives it no chance to act. The child is gone either way."""
    noted = tmp_path / "pid"
    path = script("""
        import os, pathlib, time
        def main(request, progress):
            part = pathlib.Path(request["pid"] + ".part")
            part.write_text(str(os.getpid()))
            part.rename(request["pid"])
            time.sleep(600)
    """)
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            # A shell's background job starts with SIGINT ignored, and these tests may run in one.
            "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            "import sys; from pathlib import Path; from intact.runtime import child\n"
            "from intact.runtime.confinement import Confinement\n"
            "held = Confinement((Path(sys.argv[2]).parent,))\n"
            "child.call(Path(sys.argv[1]), {'pid': sys.argv[2]}, what='x', timeout=600, confinement=held)",
            str(path),
            str(noted),
        ],
        stderr=subprocess.PIPE,
    )
    try:
        wait_for(noted.exists)
        parent.send_signal(how)
        _, said = parent.communicate(timeout=60)
    finally:
        parent.kill()
        parent.communicate()
    assert parent.returncode == (-how if how == signal.SIGKILL else -signal.SIGINT)
    assert how == signal.SIGKILL or b"KeyboardInterrupt" in said
    assert ends(int(noted.read_text()))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no /proc here")
def test_no_descriptor_is_left_open(script):
    path = script("def main(request, progress): return {}")
    ask(path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    ask(path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def ends(pid: int) -> bool:
    """Whether the process is gone (or a zombie that nobody has collected) within some seconds."""

    def gone() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        stat = Path(f"/proc/{pid}/stat")
        return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z"

    wait_for(gone)
    return True


def wait_for(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_a_conversation_keeps_what_the_child_loaded_and_survives_its_death(script):
    path = script("""
        import os
        seen = []
        def main(request, progress):
            seen.append(request["x"])
            if request["x"] == "die":
                os.abort()
            return {"seen": seen, "pid": os.getpid()}
    """)
    talk = child.Conversation(path, what="the test")
    first, second = (talk.ask({"x": x}, 60.0) for x in (1, 2))
    assert (first["seen"], second["seen"]) == ([1], [1, 2])
    assert first["pid"] == second["pid"]
    with pytest.raises(ChildError, match="SIGABRT"):
        talk.ask({"x": "die"}, 60.0)
    assert talk.ask({"x": 3}, 60.0)["seen"] == [3]
    pid = talk.ask({"x": 4}, 60.0)["pid"]
    del talk
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize(
    "said", ["OSError(28, 'No space left on device')", "RuntimeError('write failed: No space left on device')"]
)
def test_a_disk_that_is_full_in_the_child_is_a_full_disk(script, said):
    path = script(f"def main(request, progress): raise {said}")
    with pytest.raises(OutputError, match=r"cannot work in .* \(No space left on device\); make room there, or set TMPDIR"):
        ask(path)


def test_temporary_files_of_a_killed_child_lie_among_ours_and_go_at_once(script):
    path = script("""
        import os, signal, sys, tempfile
        def main(request, progress):
            print(tempfile.mkdtemp(prefix="child-"))
            sys.stdout.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    """)
    with pytest.raises(ChildError) as caught:
        ask(path)
    made = Path(str(caught.value.__notes__[0]).split()[-1])
    assert made.name.startswith("child-")
    assert made.is_relative_to(scratch.place())
    assert not made.parent.exists()
