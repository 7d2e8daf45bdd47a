"""``intact devices`` and ``--on``: what is typed, over a real sshd on loopback."""

import json

import nets
import numpy as np
import pytest
import small_graphs
import sshd
from images import pixels, write_image
from typer.testing import CliRunner

from intact.cli.app import app
from intact.errors import OptionError
from intact.formats import tflite
from intact.measure import criterion, machine
from intact.measure.condition import condition
from intact.runtime import devices
from intact.runtime.devices import Device
from intact.runtime.elsewhere import Elsewhere
from intact.runtime.places import HERE
from intact.runtime.ssh import Ssh

needs_sshd = pytest.mark.skipif(bool(sshd.skip_reason()), reason=sshd.skip_reason() or "there is one")


@pytest.fixture(autouse=True)
def rows(tmp_path, monkeypatch):
    """A file of rows of its own."""
    monkeypatch.setenv(devices.VARIABLE, str(tmp_path / "devices.toml"))
    return tmp_path / "devices.toml"


def typed(*words, code=0):
    found = CliRunner().invoke(app, [str(word) for word in words])
    assert found.exit_code == code, found.output + found.stderr
    return found


# ---- rows -------------------------------------------------------------------------------------------------------------------


def test_rows_are_written_read_and_removed(rows):
    assert devices.read() == {}
    pi = Device("pi", "pi@host", python="/opt/python", found={"cores": 4})
    devices.write(pi)
    devices.write(Device("other", "ssh://me@host:2222"))
    assert devices.read() == {"pi": pi, "other": Device("other", "ssh://me@host:2222")}
    devices.remove("pi")
    assert list(devices.read()) == ["other"]
    assert rows.stat().st_size


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[pi\n", "it is no TOML"),
        ("[pi]\npython = 'x'\n", 'has no ssh = "user@host"'),
        ("[pi]\nssh = 3\n", 'has no ssh = "user@host"'),
        ("[pi]\nssh = 'a'\npython = 3\n", "has a 'python' that cannot be read"),
        ("[pi]\nssh = 'a'\nport = '22'\n", "has a 'port' that cannot be read"),
        ("[pi]\nssh = 'a'\nfound = 'x'\n", "has a 'found' that cannot be read"),
        ("pi = 'a'\n", 'has no ssh = "user@host"'),
        ("[ray]\nssh = 'a'\n", "a device cannot be called 'ray'"),
    ],
)
def test_a_file_that_holds_no_rows_says_what_is_wrong(rows, text, said):
    rows.write_text(text)
    with pytest.raises(OptionError, match=r"devices\.toml") as caught:
        devices.read()
    assert said in str(caught.value)
    assert said in typed("devices", code=2).stderr


def test_a_device_that_nobody_knows_names_those_that_are(tmp_path):
    devices.write(Device("pi", "pi@host"))
    model = tmp_path / "model.tflite"
    model.write_bytes(tflite.write(small_graphs.fully_connected(batch=None)))
    said = typed("benchmark", model, "--on", "pie", code=2).stderr
    assert "no device is called 'pie'; known are pi; type: intact devices add pie --ssh user@host" in said
    assert "known are pi" in typed("devices", "check", "pie", code=2).stderr
    assert "known are pi" in typed("devices", "remove", "pie", code=2).stderr


def test_the_list_says_how_to_begin():
    assert "type: intact devices add pi --ssh user@host" in typed("devices").stdout
    assert json.loads(typed("devices", "--json").stdout) == {}


# ---- criteria on a device ---------------------------------------------------------------------------------------------------


def test_a_criterion_names_the_device_that_it_is_of():
    asked = criterion.parse("latency <= 20 ms on pi")
    assert (asked.figure, asked.limit, asked.on, asked.text) == ("latency", 20.0, "pi", "latency <= 20 ms on pi")
    asked.check_place("pi")
    for elsewhere in (None, "phone"):
        with pytest.raises(OptionError, match="type --on pi"):
            asked.check_place(elsewhere)
    assert criterion.parse("latency <= 20 ms").on == ""
    with pytest.raises(OptionError, match="no figure is called"):
        criterion.parse("latancy <= 20 ms on pi")


def test_a_criterion_on_a_device_is_refused_where_nothing_is_measured_there(tmp_path):
    model = tmp_path / "model.tflite"
    model.write_bytes(tflite.write(small_graphs.fully_connected(batch=None)))
    np.save(tmp_path / "x.npy", np.zeros((20, 6), np.float32))
    said = typed("quantize", model, "--data", tmp_path / "x.npy", "--accept", "latency <= 20 ms on pi", code=2).stderr
    assert "type --on pi" in said


# ---- what a device's times suffer from --------------------------------------------------------------------------------------

COOL = {"governor": ["performance"], "mhz": [1500] * 4, "top_mhz": [1500] * 4, "celsius": {"cpu": 50.0}, "throttled": 0,
        "load": 0.1, "boot": "a"}  # fmt: skip


def felt(before=COOL, after=COOL, litert=None, **counts):
    place = Elsewhere(Device("pi", "pi@host"), Ssh("pi@host"))
    place.machine = {
        "state": before,
        "cores": 4,
        "versions": {"ai-edge-litert": litert or machine.document()["runtimes"]["LiteRT"]},
    }
    place.cores = 4
    place.look = lambda: {"state": after}
    for name, value in counts.items():
        setattr(place.patience, name, value)
    state, findings = condition(place)
    assert state == after
    return [finding.message for finding in findings]


def test_a_cool_device_with_a_steady_clock_says_nothing():
    assert felt() == []
    assert condition(HERE) == ({}, ())


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"throttled": 0b100}, "throttling"),
        ({"throttled": 0x50000}, "under-voltage and throttling"),
        ({"celsius": {"cpu": 84.6}}, "85 degrees Celsius at the end (50 at the start)"),
        ({"governor": ["ondemand"], "mhz": [600] * 4}, "ondemand, which changes the clock with the load (600 of 1500 MHz at"),
    ],
)  # fmt: skip
def test_what_slows_a_device_down_is_told(changed, said):
    (message,) = felt(after=COOL | changed)
    assert message.startswith("pi: ")
    assert said in message


def test_throttling_that_was_before_the_run_is_not_the_runs():
    assert felt(before=COOL | {"throttled": 0x40000}, after=COOL | {"throttled": 0x40000}) == []


def test_other_work_another_version_and_a_line_that_broke_are_told():
    assert "busy with other work before (load 2.5 on 4 cores)" in felt(before=COOL | {"load": 2.5})[0]
    assert "it runs LiteRT 1.0.0" in felt(litert="1.0.0")[0]
    assert "the line broke 2 times" in felt(lost=2)[0]
    assert "it started anew 1 time during the run" in felt(lost=1, reboots=1)[0]


PI = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU part\t: 0xd08

Revision\t: c03112
Model\t\t: Raspberry Pi 4 Model B Rev 1.2
"""


def test_a_raspberry_pi_is_called_by_its_name():
    found = machine.parse(PI, "aarch64")
    assert (found.name, found.vectors, found.dot_products) == ("Raspberry Pi 4 Model B Rev 1.2", "NEON", False)
    assert machine.parse("processor : 0\n", "Some Board").name == "Some Board"


# ---- over ssh ---------------------------------------------------------------------------------------------------------------


@needs_sshd
@pytest.mark.xdist_group("sshd")
def test_four_lines_against_any_ssh_host(tmp_path, rows):
    for n in range(40):
        write_image(tmp_path / "photos" / "ab"[n % 2] / f"{n}.png", pixels(n))
    model = tmp_path / "model.tflite"
    model.write_bytes(tflite.write(nets.mobile()))
    with sshd.running(tmp_path / "there") as server:
        where = ("--config", server.config, "--python", server.python, "--folder", server.home / "intact")
        assert "LiteRT" in typed("devices", "add", "pi", "--ssh", "device", *where).stdout
        assert devices.read()["pi"].found["cores"] >= 1
        told = json.loads(typed("benchmark", model, "--on", "pi", "--json").stdout)
        assert "on pi, LiteRT" in told["measurements"][0]["how"]
        out = tmp_path / "run"
        typed("quantize", model, "--data", tmp_path / "photos", "--on", "pi", "--accept", "latency <= 10 s on pi", "--out", out)
        document = json.loads((out / "result.json").read_text())
        assert document["machine"]["place"] == "pi"
        assert document["criteria"][0]["status"] == "pass"
        words = ("evaluate", out / "model.tflite", "--against", model, "--data", tmp_path / "photos", "--json")
        here, there = (json.loads(typed(*words, *more).stdout) for more in ((), ("--on", "pi")))
        assert there["measurements"] == here["measurements"]
        checked = json.loads(typed("devices", "check", "pi", "--json").stdout)
        assert set(checked["state"]) >= {"governor", "celsius", "load", "boot"}
        assert server.files() == []
        typed("devices", "remove", "pi")
        assert devices.read() == {}
    assert rows.exists()
