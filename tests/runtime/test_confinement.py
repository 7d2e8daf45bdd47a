"""What a child process cannot do, tried by scripts that try it."""

import os
import socket
import sys
import textwrap
import warnings
from pathlib import Path

import pytest

from intact.errors import ChildError
from intact.runtime import child
from intact.runtime.confinement import Confinement, changed, listing, machine_memory
from intact.runtime.scripts import confine

HELD = """
import json, sys
def main(request, progress):
    sys.path.append(request["scripts"])
    import confine
    return {"holds": confine.confine(json.loads(sys.argv[2]))}
"""


@pytest.fixture
def run(tmp_path):
    """Run a script, confined."""

    def call(body: str, request=None, **limits):
        path = tmp_path / "script.py"
        path.write_text(textwrap.dedent(body))
        return child.call(path, request or {}, what="the test", timeout=60, confinement=Confinement(**limits))

    return call


@pytest.fixture
def holds(run):
    """Skip where the system does not have one of the means."""
    found = run(HELD, {"scripts": str(Path(confine.__file__).parent)})["holds"]

    def need(what: str) -> None:
        if what not in found:
            pytest.skip(f"this system cannot hold a child to its limit of {what}")

    return need


def test_this_system_has_all_of_them_or_is_not_a_recent_linux(run):
    found = run(HELD, {"scripts": str(Path(confine.__file__).parent)})["holds"]
    if sys.platform == "linux" and Path("/sys/kernel/security/landlock").exists():
        assert set(found) == {"memory", "cpu", "files", "writes", "network"}


#: Everything that changes a file system, at a path that is not the child's.
CHANGES = {
    "a new file": "open(there / 'new', 'w')",
    "an old file": "open(there / 'old', 'a')",
    "truncation": "os.truncate(there / 'old', 0)",
    "opened to truncate": "os.open(there / 'old', os.O_RDONLY | os.O_TRUNC)",
    "removal": "os.remove(there / 'old')",
    "a folder": "os.mkdir(there / 'folder')",
    "removal of a folder": "os.rmdir(there / 'empty')",
    "a link": "os.symlink('/', there / 'link')",
    "a hard link out of it": "os.link(there / 'old', 'own')",
    "a hard link into it": "(open('own', 'w').close(), os.link('own', there / 'new'))",
    "a move into it": "(open('own', 'w').close(), os.rename('own', there / 'new'))",
    "a move out of it": "os.rename(there / 'old', 'own')",
    "a pipe": "os.mkfifo(there / 'pipe')",
    "a detour": "(os.symlink(there, 'detour'), open('detour/new', 'w'))",
    "another process": "subprocess.run(['touch', there / 'new'], check=True)",
}


@pytest.mark.parametrize("how", CHANGES.values(), ids=CHANGES)
def test_nothing_is_written_outside(run, holds, tmp_path, how):
    holds("writes")
    there = tmp_path / "there"
    (there / "empty").mkdir(parents=True)
    (there / "old").write_text("as it was")
    before = listing((there, tmp_path))
    body = f"""
        import os, subprocess
        from pathlib import Path
        def main(request, progress):
            there = Path(request["there"])
            assert (there / "old").read_text() == "as it was"
            {how}
            return {{}}
    """
    (tmp_path / "script.py").touch()
    with pytest.raises(ChildError, match=r"PermissionError|OSError: \[Errno 18\]|CalledProcessError"):
        run(body, {"there": str(there)})
    assert changed(before, listing((there, tmp_path))) == [tmp_path / "script.py"]
    assert (there / "old").read_text() == "as it was"


def test_what_is_allowed_can_be_written(run, tmp_path):
    folder, file = tmp_path / "folder", tmp_path / "file"
    folder.mkdir()
    file.touch()
    body = """
        import os, tempfile
        from pathlib import Path
        def main(request, progress):
            (Path(request["folder"]) / "below").mkdir()
            (Path(request["folder"]) / "below" / "new").write_text("x")
            os.rename(Path(request["folder"]) / "below" / "new", Path(request["folder"]) / "moved")
            Path(request["file"]).write_text("y")
            open(os.devnull, "w").write("z")
            with tempfile.NamedTemporaryFile() as own:
                return {"own": own.name, "cwd": os.getcwd()}
    """
    answer = run(body, {"folder": str(folder), "file": str(file)}, writes=(folder, file))
    assert (folder / "moved").read_text() == "x"
    assert file.read_text() == "y"
    assert Path(answer["own"]).parent == Path(answer["cwd"])
    assert not Path(answer["cwd"]).exists()


SOCKETS = {
    "tcp": "socket.create_connection(('127.0.0.1', request['port']), 5)",
    "udp": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', request['port']))",
    "a service of this machine": "socket.socket(socket.AF_UNIX).connect(request['path'])",
    "a listener": "socket.create_server(('127.0.0.1', 0))",
    "another process": "subprocess.run([sys.executable, '-c', 'import socket; socket.socket()'], check=True)",
}


@pytest.mark.parametrize("how", SOCKETS.values(), ids=SOCKETS)
def test_no_network(run, holds, tmp_path, how):
    holds("network")
    body = f"""
        import socket, subprocess, sys
        def main(request, progress):
            a, b = socket.socketpair()
            a.sendall(b"libraries talk to themselves")
            assert b.recv(99)
            {how}
            return {{}}
    """
    path = os.path.relpath(tmp_path / "service")  # the whole path may be longer than such a name can be
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as service:
        service.bind(path)
        service.listen()
        server.setblocking(False)
        with pytest.raises(ChildError, match=r"PermissionError|CalledProcessError"):
            run(body, {"port": server.getsockname()[1], "path": str(tmp_path / "service")})
        with pytest.raises(BlockingIOError):
            server.accept()


def test_no_signal_reaches_others(run, holds):
    holds("writes")
    body = "import os, signal\ndef main(request, progress): os.kill(os.getppid(), 0)"
    with pytest.raises(ChildError, match="PermissionError"):
        run(body)


@pytest.mark.parametrize("name", ["environ", "cmdline", "maps"])
def test_nothing_is_read_of_the_process_that_started_it(run, holds, name):
    """Its environment variables are the ones that are kept from the child."""
    holds("writes")
    body = f"""
        import os
        from pathlib import Path
        def main(request, progress):
            for own in ("/proc/self/{name}", "/proc/cpuinfo", "/proc/meminfo", os.__file__):
                assert Path(own).read_bytes()
            return {{"read": len(Path(f"/proc/{{os.getppid()}}/{name}").read_bytes())}}
    """
    with pytest.raises(ChildError, match="PermissionError"):
        run(body)


LEAVING = {
    "a session": "os.setsid()",
    "a group": "os.setpgid(0, 0)",
    "a session of a grandchild": "subprocess.run(['sleep', '0'], start_new_session=True, check=True)",
    "a limit of the parent's": "resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (9, 9))",
}


@pytest.mark.parametrize("how", LEAVING.values(), ids=LEAVING)
def test_nothing_leaves_the_group_that_is_ended_as_a_whole(run, holds, how):
    holds("network")
    body = f"""
        import os, resource, subprocess
        def main(request, progress):
            if os.fork() == 0:
                try:
                    {how}
                except PermissionError:
                    os._exit(7)
                os._exit(0)
            return {{"status": os.waitstatus_to_exitcode(os.wait()[1])}}
    """
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert run(body) == {"status": 7}
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before


def test_no_secret_is_passed_on(run, monkeypatch):
    secrets = ("AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "GITHUB_TOKEN", "OPENAI_API_KEY", "SSH_AUTH_SOCK", "PATH_TO_KEY", "MY_PATH")
    for name in secrets:
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    seen = run("import os\ndef main(request, progress): return dict(os.environ)")
    assert not set(secrets) & seen.keys()
    assert "secret" not in seen.values()
    assert seen["PATH"] == os.environ["PATH"]
    assert (seen["OMP_NUM_THREADS"], seen["LC_ALL"]) == ("3", "C.UTF-8")


ALLOCATIONS = {
    "Python": "bytearray(3 << 30)",
    "NumPy": "__import__('numpy').ones(3 << 27)",
    "torch": "__import__('torch').ones(3 << 28)",
    "an abort": '(os.write(2, b"  what():  std::bad_alloc\\n"), os.abort())',
}


@pytest.mark.parametrize("how", ALLOCATIONS.values(), ids=ALLOCATIONS)
def test_memory_ends_in_a_sentence(run, holds, how):
    holds("memory")
    body = f"import os\ndef main(request, progress):\n  x = {how}\n  return {{}}"
    with pytest.raises(ChildError, match=r"^the test ran out of memory: it may take 2 GB on this machine") as caught:
        run(body, memory=2 * 10**9)
    assert "\n" not in str(caught.value)


def test_processor_time_ends_in_a_sentence(run, holds):
    holds("cpu")
    with pytest.raises(ChildError, match=r"^the test used 1 seconds of processor time without progress, and was stopped$"):
        run("def main(request, progress):\n  while True: pass", cpu_seconds=1)


def test_progress_renews_processor_time(run):
    body = """
        import time
        def main(request, progress):
            for i in range(8):
                end = time.process_time() + 0.5
                while time.process_time() < end: pass
                progress(i, 8)
            return {}
    """
    assert run(body, cpu_seconds=1) == {}


@pytest.mark.parametrize("how", ["file.write(b'x' * (1 << 20))", "file.truncate(1 << 20)"])
def test_a_huge_file_ends_in_a_sentence(run, holds, how):
    holds("files")
    body = f"def main(request, progress):\n  with open('file', 'wb') as file: {how}\n  return {{}}"
    with pytest.raises(ChildError, match=r"^the test wrote a file of more than 1e-06 GB, and was stopped$"):
        run(body, file_bytes=1000)


def test_no_core_is_dumped(run, holds):
    holds("cpu")
    body = "import resource\ndef main(request, progress): return {'core': resource.getrlimit(resource.RLIMIT_CORE)}"
    assert run(body) == {"core": [0, 0]}


def test_a_lower_limit_of_the_parent_stays(run, holds):
    holds("files")
    body = """
        import resource, sys
        def main(request, progress):
            sys.path.append(request["scripts"])
            import confine
            confine._lower(resource.RLIMIT_FSIZE, 10**12)
            return {"limit": resource.getrlimit(resource.RLIMIT_FSIZE)}
    """
    answer = run(body, {"scripts": str(Path(confine.__file__).parent)}, file_bytes=10**6)
    assert answer["limit"] == [10**6, 10**6]


def test_the_default_leaves_most_of_the_machine():
    assert 0.5 * machine_memory() < Confinement().memory <= max(machine_memory(), 2 * 10**9)


WITHOUT = """
def main(request, progress):
    (__import__("pathlib").Path(request["there"]) / request["name"]).write_text("x")
    return {}
"""


def test_without_landlock_what_changed_is_said(run, tmp_path, monkeypatch):
    """A kernel without it is one that answers its calls with an error."""
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    for path in Path(confine.__file__).parent.glob("*.py"):
        (scripts / path.name).write_text(path.read_text().replace("_SELF = 444,", "_SELF = 100444,"))
    monkeypatch.setattr(child, "_SCRIPTS", scripts)
    there = tmp_path / "there"
    there.mkdir()
    with pytest.warns(UserWarning, match=r"while the test ran, \S*/there/new changed, and this system cannot keep"):
        run(WITHOUT, {"there": str(there), "name": "new"}, watched=(there,))
    other = tmp_path / "other"
    other.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run("def main(request, progress): return {}", watched=(there,))
        run(WITHOUT, {"there": str(other), "name": "new"}, watched=(there,))
