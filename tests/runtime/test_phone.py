"""An Android device over adb, as a stand-in for it behaves: what is timed there, what may go wrong, and what is left behind."""

import os
import shutil
import signal
import subprocess
import sys
import time

import phones
import pytest
import small_graphs

from intact.errors import ChildError, LineLostError, MissingToolError, ModelError, OptionError, OutputError, PlaceError
from intact.formats import tflite
from intact.runtime import adb, anywhere, benchmark_model, devices, litert, patience
from intact.runtime.devices import Android
from intact.runtime.phone import Phone
from intact.runtime.places import Clock, Place

QUICK = {"rounds": 5, "warmup_seconds": 0.01, "block_seconds": 0.01}


@pytest.fixture
def there(tmp_path, monkeypatch):
    monkeypatch.setenv(devices.VARIABLE, str(tmp_path / "devices.toml"))
    return phones.handset(tmp_path, monkeypatch)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(tflite.write(small_graphs.fully_connected(batch=None)))
    return path


def larger(path, times):
    """A file that the stand-in for the program finds ``times`` as slow."""
    made = path.with_name(f"larger{times}.tflite")
    made.write_bytes(path.read_bytes().ljust(times * path.stat().st_size, b"\0"))
    return made


def row(tmp_path, how="fixed", **changed):
    tool = phones.program(tmp_path / "benchmark_model", how)
    return Android("phone", **{"adb": phones.SERIAL, "benchmark_model": str(tool)} | changed)


# ---- timing -----------------------------------------------------------------------------------------------------------------


def test_files_take_turns_in_fresh_processes_and_nothing_stays(there, tmp_path, model):
    twice = larger(model, 2)
    told = []
    with Phone(row(tmp_path)) as place:
        assert isinstance(place, Clock)
        assert not isinstance(place, Place)
        times = litert.latency(
            {"a": model, "b": twice}, place=place, progress=lambda done, total: told.append((done, total)), **QUICK
        )
        assert len(there.files()) == 5  # folder and session, program and two files
    size = model.stat().st_size
    assert times["a"].samples_ms == (size // 10 / 1e3,) * 5
    assert times["b"].samples_ms == (2 * size // 10 / 1e3,) * 5
    assert times["a"].repeats >= 1
    assert told[-1] == (5, 5)
    assert sorted(there.pushed()) == ["benchmark_model", "larger2.tflite", "model.tflite"]
    assert there.files() == []
    assert there.processes() == []


def test_rounds_end_when_time_is_over_and_five_are_made_whatever_they_take(there, tmp_path, model):
    with Phone(row(tmp_path)) as place:
        times = litert.latency({"a": model}, place=place, **QUICK | {"rounds": 50, "max_seconds": 0.0})
    assert len(times["a"].samples_ms) == 5
    assert there.files() == []


def test_the_shortest_time_is_known_for_what_whole_microseconds_tell(there, tmp_path, model):
    with Phone(row(tmp_path)) as place:
        litert.latency({"b": larger(model, 3), "a": model}, place=place, **QUICK)
        assert place.least_us == model.stat().st_size // 10
    assert there.files() == []


def test_other_kernels_are_refused(there, tmp_path, model):
    with Phone(row(tmp_path)) as place, pytest.raises(OptionError, match=r"phone times \.tflite files .* reference was asked"):
        litert.latency({"a": model}, kernels="reference", place=place)
    assert there.files() == []


def test_no_samples_run_there(there, tmp_path):
    devices.write(row(tmp_path))
    with pytest.raises(PlaceError, match=r"intact benchmark model\.tflite --on phone"), anywhere.opened("phone"):
        pass
    with anywhere.timing("phone") as timer:
        assert timer.name == "phone"
    assert there.files() == []


# ---- what it says of itself -------------------------------------------------------------------------------------------------


def test_what_the_device_says_of_itself(there, tmp_path):
    with Phone(row(tmp_path)) as place:
        told = place.machine
    assert told["board"] == "Google Pixel 8 (Google Tensor G3)"
    assert (told["abis"], told["cores"], told["memory"]) == (["arm64-v8a"], 9, 1024 * 7654321)
    assert told["system"].startswith("Android 14 (API 34), Linux ")
    state = told["state"]
    assert state["celsius"] == {"BIG": 41.5, "VIRTUAL-SKIN": 36.25}
    assert (state["governor"], state["mhz"][0], state["cap_mhz"][0], state["top_mhz"][0]) == (["sched_pixel"], 1800, 2900, 2900)
    assert (state["thermal"], state["battery"], state["charging"], state["saver"]) == (0, 87, True, False)
    assert (state["boot"], state["load"]) == ("first", 9.81)
    assert there.files() == []


def test_what_it_does_not_say_is_not_known(there, tmp_path):
    for path in ("bin/dumpsys", "bin/settings", "bin/getprop", "proc/meminfo", "proc/loadavg"):
        (there.root / path).unlink()
    with Phone(row(tmp_path)) as place:
        told = place.machine
    assert told["board"] == "Android device"
    assert told["memory"] == 0
    state = told["state"]
    assert state["celsius"] == {"cpu": 40.0}  # the kernel's own
    assert [state[name] for name in ("thermal", "battery", "charging", "saver", "load")] == [None] * 5


# ---- what may be wrong with it ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("unauthorized", "does not trust this computer yet; unlock it and allow USB debugging"),
        ("offline", "is offline; unlock it"),
        ("no permissions", "may not use USB"),
        ("recovery", "is in recovery; start Android"),
        ("rescue", "adb calls it 'rescue'"),
    ],
)
def test_a_device_that_cannot_be_used_says_why(there, tmp_path, state, said):
    there.be(state)
    with pytest.raises(PlaceError, match=said), Phone(row(tmp_path)):
        pass


def test_which_device_is_meant(there):
    assert adb.chosen("") == phones.SERIAL
    with pytest.raises(PlaceError, match=rf"OTHER is not connected; connected are {phones.SERIAL} \(Pixel 8\)"):
        adb.chosen("OTHER")
    with pytest.raises(PlaceError, match=r"10\.0\.0\.7:5555 is not connected; .* type: adb connect 10\.0\.0\.7:5555"):
        adb.chosen("10.0.0.7:5555")
    two = [{"serial": serial, "state": "device", "model": "Pixel 8"} for serial in ("one", "two")]
    there.tell(devices=two)
    assert adb.chosen("two") == "two"
    with pytest.raises(PlaceError, match=r"one \(Pixel 8\), two \(Pixel 8\); type --serial"):
        adb.chosen("")
    there.tell(devices=[*two[:1], {"serial": "two", "state": "unauthorized", "model": ""}])
    assert adb.chosen("") == "one"
    there.tell(devices=[])
    with pytest.raises(PlaceError, match="no Android device is connected; plug it in"):
        adb.chosen("")


def test_no_adb_and_no_server(there, monkeypatch):
    there.tell(no_server=True)
    with pytest.raises(PlaceError, match=r"adb start-server failed .* type: adb kill-server"):
        adb.connected()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingToolError, match="type: sudo apt install adb"):
        adb.connected()


def test_no_room_and_no_folder(there, tmp_path):
    there.tell(full=True)
    with pytest.raises(OutputError, match="no room is left on phone"), Phone(row(tmp_path)):
        pass
    there.tell(full=False)
    (there.root / "data/local/readonly").write_text("")
    with pytest.raises(PlaceError, match="takes no files in /data/local/readonly/intact"), \
            Phone(row(tmp_path, folder="/data/local/readonly/intact")):  # fmt: skip
        pass
    with pytest.raises(OptionError, match="is no folder for phone"):
        row(tmp_path, folder="/data/local/$(reboot)")


def test_a_file_that_arrives_in_part_is_sent_again_and_at_last_refused(there, tmp_path, monkeypatch):
    monkeypatch.setattr(patience, "_PAUSES", (0.01,))
    there.tell(short=True)
    with pytest.raises(LineLostError, match="benchmark_model did not come to phone as it was sent"), Phone(row(tmp_path)):
        pass
    assert there.pushed() == ["benchmark_model"] * 5
    assert there.files() == []


# ---- the program ------------------------------------------------------------------------------------------------------------


def test_a_program_for_another_processor_is_told_before_it_is_sent(there, tmp_path):
    desktop = phones.program(tmp_path / "desktop", machine=62)
    with pytest.raises(PlaceError, match=r"desktop is built for x86_64, and phone runs arm64-v8a; take android_aarch64"), \
            Phone(Android("phone", phones.SERIAL, str(desktop))):  # fmt: skip
        pass
    assert there.pushed() == []


def test_a_program_that_the_device_cannot_start_is_told(there, tmp_path):
    (there.root / "bin/getprop").unlink()  # so that nobody knows its ABI
    tool = phones.program(tmp_path / "benchmark_model", machine=40)
    with pytest.raises(PlaceError, match=r"does not start on phone .*not executable: 64-bit ELF"), \
            Phone(Android("phone", phones.SERIAL, str(tool))):  # fmt: skip
        pass
    assert there.files() == []


@pytest.mark.parametrize(
    ("content", "said"), [(b"<!DOCTYPE html>" * 9, "it begins with b'<!DOCTYPE ht'"), (b"", "is no program")]
)
def test_what_is_no_program_is_told(tmp_path, content, said):
    (tmp_path / "page").write_bytes(content)
    with pytest.raises(OptionError, match=said):
        benchmark_model.program(tmp_path / "page")
    with pytest.raises(OptionError, match=r"there is no .*absent"):
        benchmark_model.program(tmp_path / "absent")


@pytest.mark.parametrize(
    ("how", "error", "said"),
    [
        ("abort", ChildError, "model.tflite on phone: benchmark_model died of signal 6"),
        ("refuse", ModelError, r"benchmark_model refuses it \(Didn't find op for builtin opcode 'CONV_2D' version '99'.\)"),
        ("chatty", ChildError, "printed no times"),
        ("old", ChildError, "tells no median .*; download a newer one"),
        ("ancient", ChildError, "does not know --use_xnnpack=true; download a newer one"),
    ],
)
def test_a_program_that_fails_says_how(there, tmp_path, model, how, error, said):  # noqa: PLR0917  # a row each
    with Phone(row(tmp_path, how)) as place, pytest.raises(error, match=said):
        litert.latency({"a": model}, place=place, **QUICK)
    assert there.files() == []


def test_a_program_that_says_nothing_of_itself_is_no_benchmark_model(there, tmp_path):
    with pytest.raises(PlaceError, match="says nothing of --graph"), Phone(row(tmp_path, "mute")):
        pass
    assert there.files() == []


def test_what_is_no_model_is_refused(there, tmp_path):
    wrong = tmp_path / "wrong.tflite"
    wrong.write_bytes(b"nothing of the kind")
    with Phone(row(tmp_path)) as place, pytest.raises(ModelError, match=r"wrong\.tflite on phone"):
        litert.latency({"a": wrong}, place=place, **QUICK)
    assert there.files() == []


COUNTED = "INFO: count=3 first=9 curr=7 min=7 max=9 avg=8 std=1 p5=7 median=8 p95=9\n"


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        ("", "printed no times"),
        (COUNTED, "printed no times of a warm-up and of what follows"),
        (3 * COUNTED, "printed no times"),
        (COUNTED + "INFO: count=1 curr=9\n", "tells no median"),
        (COUNTED + COUNTED.replace("median=8", "median=0"), "one invocation took less"),
    ],
)
def test_output_that_is_not_understood_is_no_time(printed, said):
    with pytest.raises(ChildError, match=said):
        benchmark_model.timed(0, printed)
    with pytest.raises(ChildError, match="died of signal 9, often for want of memory"):
        benchmark_model.timed(137, printed)
    assert benchmark_model.timed(0, COUNTED + "INFO: count=1 curr=5 p5=5 median=5 p95=5\n").median_us == 5


def test_a_program_that_does_not_end_is_stopped(there, tmp_path, model):
    with Phone(row(tmp_path, "hang")) as place, pytest.raises(ChildError, match="did not end on phone within 1 seconds"):
        litert.latency({"a": model}, place=place, timeout=1.0, **QUICK)
    assert there.files() == []
    assert ended(there)


# ---- a line that breaks -----------------------------------------------------------------------------------------------------


def ended(handset, seconds=10.0):
    """Whether nothing runs on the device any more, or soon."""
    until = time.monotonic() + seconds
    while handset.processes() and time.monotonic() < until:
        time.sleep(0.05)
    return not handset.processes()


@pytest.mark.parametrize("reboots", [False, True])
def test_a_line_that_breaks_is_taken_up_again(there, tmp_path, model, monkeypatch, reboots):
    monkeypatch.setattr(patience, "_PAUSES", (0.1,))
    with Phone(row(tmp_path)) as place:
        there.tell(lose=3, gone_for=0.5, reboots=reboots)
        times = litert.latency({"a": model}, place=place, **QUICK)
        assert (place.patience.lost, place.patience.reboots) == (1, int(reboots))
    assert len(times["a"].samples_ms) == 5
    assert there.files() == []


def test_a_device_that_does_not_come_back_ends_the_run(there, tmp_path, model, monkeypatch):
    monkeypatch.setattr(patience, "_PAUSES", (0.1,))
    with Phone(row(tmp_path), patience=0.5) as place:
        there.tell(lose=1, gone_for=60)
        with pytest.raises(LineLostError, match=r"is not connected; .* it did not come back within 0\.5 seconds"):
            litert.latency({"a": model}, place=place, **QUICK)


def test_what_an_earlier_session_left_is_swept_and_nothing_of_the_users(there, tmp_path):
    old, own = (there.root / "data/local/tmp/intact" / name for name in ("session-left", "photos"))
    for folder in (old, own):
        folder.mkdir(parents=True)
        (folder / "file").write_text("x")
        os.utime(folder, (time.time() - 7200,) * 2)
    with Phone(row(tmp_path)):
        assert not old.exists()
    assert (own / "file").read_text() == "x"


def test_a_session_that_another_swept_away_begins_anew(there, tmp_path, model):
    with Phone(row(tmp_path)) as place:
        litert.latency({"a": model}, place=place, **QUICK)
        shutil.rmtree(there.root / "data/local/tmp/intact")
        litert.latency({"a": model}, place=place, **QUICK)
    assert there.pushed() == ["benchmark_model", "model.tflite"] * 2
    assert there.files() == []


SCRIPT = """
import sys
from pathlib import Path
from intact.runtime import litert
from intact.runtime.devices import Android
from intact.runtime.phone import Phone
with Phone(Android("phone", sys.argv[1], sys.argv[2])) as place:
    print("begins", flush=True)
    litert.latency({"a": Path(sys.argv[3])}, place=place)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_nothing_runs_on_when_we_are_stopped(there, tmp_path, model, how):
    tool = phones.program(tmp_path / "benchmark_model", "hang")
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, phones.SERIAL, str(tool), str(model)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert process.stdout.readline()
        until = time.monotonic() + 20
        while not there.processes() and time.monotonic() < until:
            time.sleep(0.05)
        assert there.processes()
        process.send_signal(how)
        process.wait(20)
    finally:
        process.kill()
        process.stdout.close()
    assert ended(there)
    if how == signal.SIGINT:
        assert there.files() == []


@pytest.mark.usefixtures("there")
def test_the_watch_does_not_end_what_is_not_over():
    """A program there gets no input, and runs to its end while the line stands."""
    line = adb.Adb("phone", phones.SERIAL)
    made = line.watched("sh -c 'read -r x; echo got:$x; sleep 0.3; exit 7'", "/data/local/tmp", seconds=20)
    assert (made.status, made.printed.strip()) == (7, "got:")
    assert line.watched("true", "/data/local/absent", seconds=20).status == 1
