"""Another machine as a place to measure, over a real sshd on loopback, as another user."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small_graphs
import sshd

from intact import files
from intact.errors import ChildError, LineLostError, OptionError, OutputError, PlaceError
from intact.formats import tflite
from intact.runtime import channel, lacking, litert, places
from intact.runtime.devices import Device
from intact.runtime.elsewhere import Elsewhere
from intact.runtime.ssh import Ssh

pytestmark = [
    pytest.mark.skipif(bool(sshd.skip_reason()), reason=sshd.skip_reason() or "there is one"),
    pytest.mark.xdist_group("sshd"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with sshd.running(tmp_path_factory.mktemp("device")) as running:
        yield running


def over(server, patience=20, **changed):
    device = server.device(**changed)
    return Elsewhere(device, Ssh(device.ssh, Path(device.config)), patience=patience)


@pytest.fixture
def place(server):
    with over(server) as found:
        yield found


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(tflite.write(small_graphs.fully_connected(batch=None)))
    return path


def until(true, seconds=15.0):
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.1)
    return true()


def noise(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


# ---- the same figures -------------------------------------------------------------------------------------------------------


def test_outputs_there_are_those_here_and_nothing_is_left(server, model):
    x = noise(50, 6)
    with over(server) as place:
        there = litert.run(model, {"x": x}, place=place)
        again = litert.run(model, {"x": x}, place=place)
        kept = [path for path in server.files() if "/files/" in path]
    here = litert.run(model, {"x": x})
    assert there.keys() == here.keys()
    for name, values in here.items():
        np.testing.assert_array_equal(there[name], values)
        np.testing.assert_array_equal(again[name], values)
    assert len(kept) == 2  # the model and the samples, once each
    assert server.files() == []
    assert until(lambda: server.processes() == [])


def test_all_that_is_measured_here_is_measured_there(place, model):
    assert litert.describe(model, place=place).inputs == litert.describe(model).inputs
    times = litert.latency({"a": model, "b": model}, rounds=5, warmup_seconds=0.01, block_seconds=0.001, place=place)
    assert {name: len(time.samples_ms) for name, time in times.items()} == {"a": 5, "b": 5}
    assert litert.throughput(model, (1,), seconds=0.01, place=place)[1].samples
    found = litert.memory(model, place=place)
    assert (found.peak is None) == bool(found.reason)


def test_what_a_worker_says_of_bad_files_comes_back(place, tmp_path):
    bad = tmp_path / "bad.tflite"
    bad.write_bytes(b"TFL3" * 100)
    with pytest.raises((litert.ModelError, ChildError), match=r"bad\.tflite"):
        litert.describe(bad, place=place)


def test_the_runner_is_copied_once(server):
    with over(server):
        (runner,) = (server.home / "intact").glob("runner-*")
    made = (runner / "serve.py").stat().st_mtime_ns
    with over(server) as place:
        assert place.machine["has_runner"]
        assert (runner / "serve.py").stat().st_mtime_ns == made


def test_a_session_that_a_lost_line_left_behind_is_swept_away(server):
    with over(server):
        pass  # the folder is the other user's then
    stale, own = (server.home / "intact" / "sessions" / name for name in (uuid.uuid4().hex, "photos"))
    for folder in (stale, own):
        folder.mkdir(parents=True)
        (folder / "file").write_text("x")
        for path in (folder.parent, folder):
            shutil.chown(path, server.user)
        for path in (folder / "file", folder):
            os.utime(path, (1, 1))
    with over(server):
        pass
    assert not stale.exists()
    assert (own / "file").read_text() == "x"
    shutil.rmtree(own)


def test_a_runner_that_nobody_asked_for_in_a_month_is_swept_away(server):
    with over(server) as place:
        own = Path(place._scripts)
    old, other, users = (server.home / "intact" / name for name in (f"runner-{16 * '0'}", f"runner-{16 * '1'}", "runner-mine"))
    for folder in (old, other, users):
        folder.mkdir()
        (folder / "serve.py").write_text("x")
        for path in (folder / "serve.py", folder):
            shutil.chown(path, server.user)
    for folder in (old, own, users):
        for path in (*folder.rglob("*"), folder):
            os.utime(path, (1, 1))
    week = time.time() - 7 * 86400
    for path in (other / "serve.py", other):
        os.utime(path, (week, week))
    with over(server):
        pass
    assert not old.exists()
    assert (own / "serve.py").exists()
    for kept in (other, users):
        assert (kept / "serve.py").read_text() == "x"
        shutil.rmtree(kept)


def test_a_session_that_was_interrupted_leaves_its_files_to_the_next(server, tmp_path, monkeypatch):
    file = tmp_path / "samples"
    file.write_bytes(np.random.default_rng(4).bytes(100_000))
    dead = over(server).__enter__()
    dead.sent(file)
    dead._hang_up()
    uploads = []
    with over(server) as place:
        monkeypatch.setattr(channel, "_poured", lambda *_: uploads.append("samples"))
        there = place.sent(file)
        assert Path(there).read_bytes() == file.read_bytes()
        assert place._session in there
    assert uploads == []
    assert [path for path in server.files() if dead._session not in path] == []
    shutil.rmtree(server.home / "intact" / dead._session)


def test_two_sessions_at_once(server, model):
    x, here = noise(50, 6), litert.run(model, {"x": noise(50, 6)})
    with over(server) as first:
        with over(server) as second:
            found = {}
            sessions = [
                threading.Thread(target=lambda place=place: found.update({place: litert.run(model, {"x": x}, place=place)}))
                for place in (first, second)
            ]
            for session in sessions:
                session.start()
            for session in sessions:
                session.join()
        found["after the other ended"] = litert.run(model, {"x": x}, place=first)
        assert (first.patience.lost, second.patience.lost) == (0, 0)
    assert len(found) == 3
    for there in found.values():
        for name, values in here.items():
            np.testing.assert_array_equal(there[name], values)


def test_an_older_runner_there_is_not_used(server, model):
    older = server.home / "intact" / "runner-0123456789abcdef"
    older.mkdir(parents=True, exist_ok=True)
    for name in ("remote.py", "serve.py"):
        (older / name).write_text("raise SystemExit(7)")
    with over(server) as place:
        assert litert.describe(model, place=place).inputs == litert.describe(model).inputs
    shutil.rmtree(older)


def test_what_a_login_shell_prints_is_passed_by(server, model):
    profile = server.home / ".bashrc"
    profile.write_text("echo Welcome to this board\necho 27 packages can be updated >&2\nprintf '\\e[0m'\n")
    try:
        greeting = subprocess.run(["ssh", "-F", str(server.config), "device", "true"], capture_output=True, check=True).stdout
        assert greeting.startswith(b"Welcome")
        with over(server) as place:
            assert litert.describe(model, place=place).inputs == litert.describe(model).inputs
    finally:
        profile.unlink()


# ---- a line that breaks -----------------------------------------------------------------------------------------------------


def long_latency(model, place, seconds=3.0):
    return litert.latency({"a": model}, rounds=10_000, block_seconds=0.01, max_seconds=seconds, place=place)


def test_a_line_that_breaks_during_a_call_is_taken_up_again(server, place, model):
    cutter = threading.Timer(1.5, server.cut)
    cutter.start()
    assert long_latency(model, place)["a"].samples_ms
    cutter.join()
    assert (place.patience.lost, place.patience.reboots) == (1, 0)
    assert until(lambda: len(server.processes()) == 1)  # what does the steps; that of the first try and its worker are gone


def steps_of(server):
    """The process that does the steps."""
    return next(number for number, words in server.running().items() if "serve.py" not in words)


def test_what_does_the_steps_is_killed_during_a_call_and_between_two(server, place, model):
    killer = threading.Timer(1.5, lambda: os.kill(steps_of(server), signal.SIGKILL))
    killer.start()
    assert long_latency(model, place)["a"].samples_ms
    killer.join()
    assert (place.patience.lost, place.patience.reboots) == (1, 0)
    os.kill(steps_of(server), signal.SIGKILL)
    assert litert.describe(model, place=place).inputs == litert.describe(model).inputs
    assert until(lambda: len(server.processes()) == 1)


def test_a_device_that_started_anew_is_told_of(server, place, model):
    place.patience.boot = "another"
    server.cut()
    assert place.call("litert_profile.py", {"task": "check", "kernels": "default"}, what="LiteRT", timeout=30) == {}
    assert place.patience.reboots <= 1
    cutter = threading.Timer(1.0, server.cut)
    cutter.start()
    long_latency(model, place, 2.0)
    cutter.join()
    assert place.patience.reboots == 1


def test_a_line_that_does_not_come_back_is_an_error_that_says_how_long(server, model):
    with over(server, patience=0.5) as place:
        cutter = threading.Timer(1.0, server.cut)
        cutter.start()
        with pytest.raises(LineLostError, match=r"did not come back within 0\.5 seconds"):
            long_latency(model, place)


def test_a_file_goes_on_where_it_broke_off(server, place, tmp_path, monkeypatch):
    data = np.random.default_rng(1).bytes(3_000_000)
    file = tmp_path / "large"
    file.write_bytes(data)
    digest = files.sha256(file)
    folder = Path(place._folder) / place._session / "files"
    folder.mkdir(parents=True)
    (folder / f"{digest}.part").write_bytes(data[:2_000_000])
    for path in (folder.parent, folder, folder / f"{digest}.part"):
        shutil.chown(path, server.user)
    sent = []
    monkeypatch.setattr(channel, "_poured", lambda source, into, _: sent.append(source.tell()) or 0 * into.write(source.read()))
    there = place.sent(file)
    assert 2_000_000 in sent
    assert Path(there).read_bytes() == data


def test_a_part_that_was_spoilt_is_sent_anew(server, place, tmp_path):
    file = tmp_path / "large"
    file.write_bytes(np.random.default_rng(2).bytes(100_000))
    digest = files.sha256(file)
    folder = Path(place._folder) / place._session / "files"
    folder.mkdir(parents=True)
    (folder / f"{digest}.part").write_bytes(bytes(50_000))
    for path in (folder.parent, folder, folder / f"{digest}.part"):
        shutil.chown(path, server.user)
    with pytest.raises(PlaceError, match="what arrived is not what was sent"):
        place.sent(file)
    assert Path(place.sent(file)).read_bytes() == file.read_bytes()


CHILD = """
import sys
from pathlib import Path
from intact.runtime import litert
from intact.runtime.devices import Device
from intact.runtime.elsewhere import Elsewhere
from intact.runtime.ssh import Ssh
model, config, python, folder = sys.argv[1:]
with Elsewhere(Device("pi", "device", python=python, folder=folder), Ssh("device", Path(config))) as place:
    print("up", flush=True)
    litert.latency({"a": Path(model)}, rounds=10**6, max_seconds=60, place=place)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_running_there_after_we_end(server, model, number):
    device = server.device()
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(model), device.config, device.python, device.folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as ours:
        assert ours.stdout.readline() == b"up\n"
        began = until(lambda: any("serve.py" in line for line in server.processes()))
        ours.send_signal(number)
    assert began
    assert until(lambda: server.processes() == [])
    if number == signal.SIGINT:
        assert server.files() == []


# ---- what is wrong with a device --------------------------------------------------------------------------------------------


def config(server, tmp_path, *replaced):
    text = server.config.read_text()
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "config"
    path.write_text(text)
    return str(path)


def refused(server, **changed):
    with pytest.raises(PlaceError) as caught, over(server, **changed):
        pass
    return str(caught.value)


def test_a_key_that_changed_is_not_trusted(server, tmp_path):
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    known = tmp_path / "known"
    known.write_text(f"[127.0.0.1]:{server.port} {' '.join(other.with_suffix('.pub').read_text().split()[:2])}\n")
    said = refused(server, config=config(server, tmp_path, (str(server.folder / "known_hosts"), str(known))))
    assert "is not the one known" in said
    assert "ssh-keygen -R" in said


def test_a_key_that_is_not_known_is_to_be_confirmed_by_the_user(server, tmp_path):
    said = refused(server, config=config(server, tmp_path, (str(server.folder / "known_hosts"), str(tmp_path / "none"))))
    assert "is not known yet" in said
    assert "type: ssh device" in said


def test_a_user_without_a_key_is_told_how_to_copy_one(server, tmp_path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "stranger")], check=True)
    said = refused(server, config=config(server, tmp_path, (str(server.folder / "user"), str(tmp_path / "stranger"))))
    assert "ssh-copy-id device" in said


def test_a_port_where_nothing_listens(server, tmp_path):
    said = refused(server, config=config(server, tmp_path, (f"Port {server.port}", "Port 1")))
    assert "takes no ssh connections" in said


def test_a_name_that_nobody_has(server, tmp_path):
    said = refused(server, config=config(server, tmp_path, ("HostName 127.0.0.1", "HostName no-such-machine.invalid")))
    assert "no machine is called" in said


@pytest.mark.parametrize("host", ["-oProxyCommand=touch /tmp/x", "", "a b", "a\nb"])
def test_a_host_that_is_an_option_or_none_is_refused(host):
    with pytest.raises(OptionError, match="names no machine"):
        Ssh(host)


def test_no_python_there(server):
    assert "there is no /no/python on pi" in refused(server, python="/no/python")


def test_a_python_that_is_too_old(server):
    old = server.home / "old-python"
    fake = 'import sys\nsys.version_info = (3, 7, 3)\nsys.version = "3.7.3 (old)"\nexec(sys.argv[2])\n'
    old.write_text(f"#!/usr/bin/python3\n{fake}")
    old.chmod(0o755)
    said = refused(server, python=str(old))
    assert "is Python 3.7.3; 3.10 or newer is needed" in said


def test_a_python_without_litert(server):
    said = refused(server, python="/usr/bin/python3")
    assert "ai-edge-litert and numpy are not installed" in said
    assert "--install" in said


def test_a_processor_without_a_wheel_is_named():
    found = {"versions": {"ai-edge-litert": None, "numpy": "2.0"}, "executable": "python3", "processor": "armv7l", "bits": 32}
    with pytest.raises(PlaceError, match="no wheel for armv7l with 32 bits"):
        lacking.check("pi", found)


def test_no_wheel_when_it_is_to_be_installed(server):
    pip = server.home / ".config" / "pip"
    pip.mkdir(parents=True)
    (pip / "pip.conf").write_text(f"[global]\nno-index = true\nfind-links = {server.home}\n")
    place = over(server, python="/usr/bin/python3")
    with pytest.raises(
        PlaceError, match=r"no wheel of ai-edge-litert for pi \(.*64 bits, Python 3|sudo apt install python3-venv"
    ):
        place.prepare()


def test_a_disk_that_is_full(server, tmp_path):
    small = server.home / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(small)], check=True)
    try:
        small.chmod(0o777)
        large = tmp_path / "large"
        large.write_bytes(np.random.default_rng(3).bytes(4 << 20))
        device = replace(server.device(), folder=str(small / "intact"))
        with (
            pytest.raises(OutputError, match="no room is left on pi"),
            Elsewhere(device, Ssh("device", server.config)) as place,
        ):
            place.sent(large)
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_what_a_device_names_outside_of_its_folder_is_not_fetched(tmp_path):
    for name in ("../x", "a/b", "", ".", ".."):
        with pytest.raises(PlaceError, match="nobody asked for"):
            places.below(tmp_path, name, "pi")
    assert places.below(tmp_path, "made.npy", "pi") == tmp_path / "made.npy"


def test_here_is_a_place_too():
    assert places.HERE.name == ""
    assert places.HERE.call("litert_profile.py", {"task": "check", "kernels": "default"}, what="LiteRT", timeout=60) == {}


# ---- through a network ------------------------------------------------------------------------------------------------------


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def network():
    """A network namespace whose link can be taken down; its address and the ends of the link."""
    name, near, far = f"intact{os.getpid()}", f"ia{os.getpid() % 10**6}", f"ib{os.getpid() % 10**6}"
    try:
        ip("netns", "add", name)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs iproute2 and network namespaces")
    try:
        ip("link", "add", near, "type", "veth", "peer", "name", far)
        ip("link", "set", far, "netns", name)
        ip("addr", "add", "10.213.77.1/30", "dev", near)
        ip("link", "set", near, "up")
        for words in (("addr", "add", "10.213.77.2/30", "dev", far), ("link", "set", far, "up"), ("link", "set", "lo", "up")):
            ip("-n", name, *words)
        yield name, near
    finally:
        ip("netns", "del", name)


def test_a_network_that_drops_the_line_half_way(network, tmp_path, model):
    name, near = network
    folder = tmp_path / "there"
    folder.mkdir()
    with sshd.running(folder, "10.213.77.2", ("ip", "netns", "exec", name)) as server, over(server) as place:
        place._patience = 60

        def drop():
            ip("link", "set", near, "down")
            time.sleep(27)  # longer than ssh waits for a sign of life
            ip("link", "set", near, "up")

        dropper = threading.Timer(1.0, drop)
        dropper.start()
        x = noise(40, 6)
        assert long_latency(model, place, 4.0)["a"].samples_ms
        dropper.join()
        assert place.patience.lost >= 1
        np.testing.assert_array_equal(
            next(iter(litert.run(model, {"x": x}, place=place).values())), next(iter(litert.run(model, {"x": x}).values()))
        )


def test_names_of_devices():
    for name in ("", "-x", "ray", "here", "a b", "x" * 65):
        with pytest.raises(OptionError, match="cannot be called"):
            Device(name, "host")
