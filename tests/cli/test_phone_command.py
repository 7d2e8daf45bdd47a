"""``intact devices add phone --adb`` and ``--on phone``: what is typed, at a stand-in for a device and for adb."""

import json
from functools import partial

import nets
import numpy as np
import phones
import pytest
import small_graphs
from images import pixels, write_image
from typer.testing import CliRunner

from intact.cli.app import app
from intact.errors import OptionError
from intact.formats import tflite
from intact.measure.condition import condition
from intact.runtime import devices, litert
from intact.runtime.devices import Android, Device
from intact.runtime.phone import Phone


@pytest.fixture
def there(tmp_path, monkeypatch):
    monkeypatch.setenv(devices.VARIABLE, str(tmp_path / "devices.toml"))
    return phones.handset(tmp_path, monkeypatch)


def typed(*words, code=0):
    found = CliRunner().invoke(app, [str(word) for word in words])
    assert found.exit_code == code, found.output + found.stderr
    return found


def added(tmp_path, how="fixed"):
    """A device that is known as ``phone``."""
    tool = phones.program(tmp_path / "benchmark_model", how)
    return typed("devices", "add", "phone", "--adb", "--benchmark-model", tool), tool


# ---- rows -------------------------------------------------------------------------------------------------------------------


def test_a_device_is_added_listed_checked_and_removed(there, tmp_path):
    said, tool = added(tmp_path)
    assert (
        f"phone: {phones.SERIAL} over adb\n  Google Pixel 8 (Google Tensor G3) (I8MM), 9 cores, 7.8 GB, arm64-v8a\n"
        in said.stdout
    )
    assert "governor sched_pixel, throttling none, 41.5 degrees Celsius, battery 87 %, charging, seen " in said.stdout
    row = devices.read()["phone"]
    assert (row.adb, row.benchmark_model, row.found["cores"]) == (phones.SERIAL, str(tool), 9)
    assert "over adb" in typed("devices").stdout
    there.hold(status=2)
    checked = json.loads(typed("devices", "check", "phone", "--json").stdout)
    assert checked["state"]["thermal"] == 2
    assert devices.read()["phone"].found["thermal"] == "moderate"
    assert "BIG 41.5 degrees Celsius" in typed("devices", "check", "phone").stdout
    assert there.files() == []
    typed("devices", "remove", "phone")
    assert devices.read() == {}


def test_rows_of_both_kinds_stand_side_by_side(there):
    phone = Android("phone", "serial", "/tools/benchmark_model", found={"cores": 8})
    devices.write(phone)
    devices.write(Device("pi", "pi@host"))
    assert devices.read() == {"phone": phone, "pi": Device("pi", "pi@host")}
    assert there.files() == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[phone]\nadb = 'x'\n", "[phone] has no benchmark_model = "),
        ("[phone]\nadb = ''\nbenchmark_model = 'x'\n", 'has no adb = "its serial number"'),
        ("[phone]\nadb = 'x'\nbenchmark_model = 'x'\nssh = 'y'\n", "has a 'ssh' that cannot be read"),
        ("[phone]\nadb = 'x'\nbenchmark_model = 'x'\nfolder = '/a b'\n", "'/a b' is no folder for phone"),
    ],
)
def test_a_row_that_is_none_says_what_is_wrong(tmp_path, monkeypatch, text, said):
    monkeypatch.setenv(devices.VARIABLE, str(tmp_path / "devices.toml"))
    (tmp_path / "devices.toml").write_text(text)
    with pytest.raises(OptionError) as caught:
        devices.read()
    assert said in str(caught.value)


def test_options_that_do_not_go_together(there, tmp_path):
    tool = phones.program(tmp_path / "benchmark_model")
    add = ("devices", "add", "phone")
    assert "type --benchmark-model" in typed(*add, "--adb", code=2).stderr
    assert "--ssh is for a machine over ssh" in typed(*add, "--adb", "--benchmark-model", tool, "--ssh", "a@b", code=2).stderr
    assert "--install is for a machine over ssh" in typed(*add, "--adb", "--benchmark-model", tool, "--install", code=2).stderr
    assert "intact devices add phone --adb" in typed(*add, code=2).stderr
    assert "there is no" in typed(*add, "--adb", "--benchmark-model", tmp_path / "absent", code=2).stderr
    assert devices.read() == {}
    assert there.pushed() == []


# ---- measuring --------------------------------------------------------------------------------------------------------------


def test_two_files_are_timed_there_by_the_real_runtime(there, tmp_path, monkeypatch):
    monkeypatch.setattr(litert, "latency", partial(litert.latency, rounds=5, warmup_seconds=0.02))
    model = tmp_path / "model.tflite"
    model.write_bytes(tflite.write(nets.mobile()))
    other = tmp_path / "other.tflite"
    other.write_bytes(tflite.write(nets.mobile()))
    _, tool = added(tmp_path, "litert")
    found = devices.read()["phone"].found["benchmark_model"]
    told = json.loads(typed("benchmark", model, "--against", other, "--on", "phone", "--json").stdout)
    figures = {m["of"]: m for m in told["measurements"]}
    assert [m["name"] for m in told["measurements"]] == ["latency", "latency", "speed-up"]
    ratio = next(m for m in told["measurements"] if m["name"] == "speed-up")
    assert "interleaved rounds" in ratio["how"]
    assert f"Google Pixel 8 (Google Tensor G3) on phone, benchmark_model {found[:8]} (I8MM)" in ratio["how"]
    assert all(m["value"] > 0 for m in figures.values())
    assert there.files() == []
    assert tool.exists()


def test_a_run_measures_accuracy_here_and_time_there(there, tmp_path):
    for n in range(40):
        write_image(tmp_path / "photos" / "ab"[n % 2] / f"{n}.png", pixels(n))
    model, out = tmp_path / "model.tflite", tmp_path / "run"
    model.write_bytes(tflite.write(nets.mobile()))
    added(tmp_path)
    words = ("quantize", model, "--data", tmp_path / "photos", "--on", "phone", "--out", out)
    said = typed(*words, "--accept", "drop <= 5 on phone", code=2).stderr
    assert "phone measures times alone; leave 'on phone' out" in said
    assert "type --target cpu" in typed(*words, "--target", "mcu", code=2).stderr
    typed(*words, "--accept", "latency <= 20 s on phone")
    document = json.loads((out / "result.json").read_text())
    assert document["criteria"][0]["status"] == "pass"
    assert document["machine"]["place"] == "phone"
    assert "phone" not in document["machine"]["samples_on"]["cpu"]
    by_name = {(m["of"], m["name"]): m for m in document["measurements"]}
    latency = by_name["quantized", "latency"]
    assert latency["value"] == max(1, (out / "model.tflite").stat().st_size // 10) / 1e3
    assert "on phone, benchmark_model" in latency["how"]
    assert ("quantized", "agreement with float") in by_name
    assert any("phone measured times alone; samples ran on this machine" in f["message"] for f in document["findings"])
    assert document["machine"]["state_after"]["boot"] == "first"
    assert json.loads((out / "details.json").read_text())["latency"]["quantized"]
    assert there.files() == []
    typed("report", out)
    assert "Google Pixel 8" in (out / "report.html").read_text()


def test_what_needs_numbers_from_there_says_what_to_do(there, tmp_path):
    added(tmp_path)
    model = tmp_path / "model.tflite"
    model.write_bytes(tflite.write(small_graphs.fully_connected(batch=None)))
    np.savez(tmp_path / "data.npz", x=np.zeros((20, 6), np.float32), y=np.zeros(20, np.int64))
    for words in (
        ("evaluate", model, "--data", tmp_path / "data.npz", "--on", "phone"),
        ("study", model, "--data", tmp_path / "data.npz", "--on", "phone", "--out", tmp_path / "study"),
    ):
        said = typed(*words, code=2).stderr
        assert "phone times files and runs no samples" in said
        assert "intact benchmark model.tflite --on phone" in said
    assert there.files() == []


# ---- what its times suffer from ---------------------------------------------------------------------------------------------


def felt(there, tmp_path, **changed):
    with Phone(Android("phone", phones.SERIAL, str(phones.program(tmp_path / "benchmark_model")))) as place:
        there.hold(**changed)
        state, findings = condition(place)
    assert state["boot"] == "first"
    return [finding.message for finding in findings]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, None),
        ({"status": 3}, "phone: Android reported throttling for heat (none at the start, severe at the end)"),
        ({"saver": "1"}, "turn battery saver off"),
        ({"level": 9, "powered": False}, "its battery is at 9 %"),
        ({"level": 9}, None),
    ],
)
def test_what_slows_a_phone_down_is_told(there, tmp_path, changed, said):
    messages = felt(there, tmp_path, **changed)
    assert [said in message for message in messages] == [True] * (said is not None)


def test_clocks_that_are_held_down_are_told(there, tmp_path):
    with Phone(Android("phone", phones.SERIAL, str(phones.program(tmp_path / "benchmark_model")))) as place:
        there.clocks(cap=1400)
        _, (finding,) = condition(place)
        place.least_us = 20
        _, findings = condition(place)
    assert "its clocks were held at 1400 of 2900 MHz at the end, not so at the start" in finding.message
    assert any("the shortest time was 20: it is known to 5 %" in each.message for each in findings)
