"""A child, its time limit and its death where the system is not Linux: what only POSIX has is hidden from both sides."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src"

#: What Windows does not have, as far as a child could want it.
HIDDEN = """
    os: fork forkpty kill killpg setsid getsid getpgid setpgid getpgrp getuid geteuid getgid set_blocking sched_getaffinity
    os: sysconf mkfifo statvfs posix_fallocate posix_fadvise pipe2 O_PATH O_NONBLOCK O_CLOEXEC uname nice getloadavg chown
    signal: SIGKILL SIGHUP SIGBUS SIGQUIT SIGXCPU SIGXFSZ SIGALRM SIGUSR1 SIGCHLD pthread_sigmask
"""
MODULES = ("resource", "fcntl", "pwd", "grp", "termios", "pty", "select", "selectors", "_posixshmem")

#: Runs at the start of every interpreter that finds it, children too.
SITE = f"""
import os, signal, subprocess, sys, threading
import filelock
class Held:  # instead of a lock of filelock's, whose code for Windows runs there alone
    def __init__(self, path, **options): self.path = path
    def acquire(self, **options): self.file = open(self.path, "w")
    def release(self): self.file.close()
really = (os.kill, int(signal.SIGKILL))
if os.environ["TZ"] == "windows":
    sys.platform = "win32"
    filelock.FileLock = Held
    subprocess.Popen.kill = lambda process: process.poll() is None and really[0](process.pid, really[1])  # TerminateProcess
    for line in {HIDDEN!r}.split("\\n"):
        module, _, names = line.strip().partition(": ")
        for name in names.split():
            vars(sys.modules[module]).pop(name, None)
    for name in {MODULES!r}:
        sys.modules[name] = None
else:
    sys.platform = "darwin"
"""

#: Ends a process and those that it started, as Windows' tool does.
TASKKILL = """#!{python}
import os, sys
from pathlib import Path
assert sys.argv[1:4] == ["/F", "/T", "/PID"], sys.argv
def end(pid):
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        if parent == pid:
            end(int(stat.parent.name))
    os.kill(pid, 9)
end(int(sys.argv[4]))
Path({noted!r}).write_text("ended")
"""

SCRIPT = """
import os, pathlib, subprocess, sys, time
def main(request, progress):
    assert sys.platform in ("win32", "darwin")
    for step in range(3):
        progress(step, 3)
    print("printed")
    match request["do"]:
        case "answer":
            return {"cwd": os.getcwd(), "tmp": os.environ["TMPDIR"], "secret": os.environ.get("HF_TOKEN")}
        case "raise":
            raise ValueError("tensor 7 is bad")
        case "die":
            os.abort()
        case "spin":
            while True: pass
        case "started":
            started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            pathlib.Path(request["pid"]).write_text(str(started.pid))
            time.sleep(600)
"""

PARENT = """
import json, sys, threading, time
from pathlib import Path
from intact.errors import ChildError
from intact.runtime import child
from intact.runtime.confinement import Confinement
seen, script, pid = [], Path(sys.argv[1]), sys.argv[2]
def ask(do, timeout=60.0):
    request, held = {"do": do, "pid": pid}, Confinement((Path(pid).parent,))
    try:
        return child.call(
            script, request, what="the test", timeout=timeout, on_progress=lambda *at: seen.append(at), confinement=held
        )
    except ChildError as error:
        return [str(error), *error.__notes__]
answers = {do: ask(do) for do in ("answer", "raise", "die")} | {do: ask(do, 2.0) for do in ("spin", "started")}
talk = child.Conversation(script, what="the test")
answers["twice"] = [talk.ask({"do": "answer"}, 60.0)["cwd"] for _ in range(2)]
talk.close()
answers["threads"] = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
print(json.dumps(answers | {"seen": seen}))
"""


@pytest.fixture(scope="module", params=["windows", "macos"])
def answers(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "sitecustomize.py").write_text(SITE)
    (folder / "script.py").write_text(SCRIPT)
    (folder / "written").mkdir()
    (folder / "temporary").mkdir()
    for name in ("taskkill", "taskkill.exe"):
        (folder / name).write_text(TASKKILL.format(python=f"{sys.executable} -IS", noted=str(folder / "tool")))
        (folder / name).chmod(0o755)
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(folder), str(SRC)]),
        "TZ": request.param,  # is passed on to children
        "PATH": os.pathsep.join([str(folder), os.environ["PATH"]]),
        "PATHEXT": ".exe",
        "HF_TOKEN": "secret",
        "TMPDIR": str(folder / "temporary"),  # its locks hold nothing, and what nobody holds is swept
    }
    command = [sys.executable, "-c", PARENT, str(folder / "script.py"), str(folder / "written" / "pid")]
    run = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    pid = int((folder / "written" / "pid").read_text())
    return found | {"grandchild": pid, "tool": (folder / "tool").exists(), "system": request.param}


def test_an_answer_comes_with_its_progress(answers):
    assert answers["answer"]["secret"] is None
    assert answers["answer"]["cwd"] == answers["answer"]["tmp"]
    assert answers["seen"] == [[0, 3], [1, 3], [2, 3]] * 5


def test_an_exception_is_a_sentence(answers):
    said, printed = answers["raise"]
    assert said == "the test failed (ValueError: tensor 7 is bad)"
    assert "printed\n" in printed
    assert "Traceback" in printed


def test_a_death_is_a_sentence(answers):
    assert re.match(r"the test died of SIGABRT \(Aborted\); its last words: 'printed'", answers["die"][0])


def test_silence_has_its_limit(answers):
    assert answers["spin"][0] == "the test gave no sign of life for 2 seconds and was stopped"


def test_what_a_child_started_ends_with_it(answers):
    assert answers["started"][0] == "the test gave no sign of life for 2 seconds and was stopped"
    assert answers["tool"] == (answers["system"] == "windows")
    stat = Path(f"/proc/{answers['grandchild']}/stat")
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_conversation_goes_on(answers):
    assert len(set(answers["twice"])) == 1


def test_no_thread_is_left(answers):
    assert answers["threads"] == []


#: Modules that not every system has, and where something else is done without them.
POSIX = {"resource", "fcntl", "pwd", "grp", "termios", "pty", "posix", "syslog"}


@pytest.mark.parametrize("path", sorted(SRC.rglob("*.py")), ids=lambda path: path.stem)
def test_nothing_posix_only_is_imported_or_needed_at_import(path):
    tree = ast.parse(path.read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not names & POSIX
    called = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not called & {"os.killpg", "os.setsid", "os.set_blocking", "os.getuid", "os.mkfifo", "os.statvfs", "signal.SIGHUP"}
    fields = {keyword.arg for node in ast.walk(tree) if isinstance(node, ast.Call) for keyword in node.keywords}
    assert not fields & {"pass_fds", "preexec_fn"}
