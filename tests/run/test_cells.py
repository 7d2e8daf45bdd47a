"""A study whose runs are computed by processes side by side: the same files, and what is left after an end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import computing
import numpy as np
import pytest
from nets import images, mobile

import intact
from intact.formats import tflite
from intact.measure.measurement import Measurement
from intact.run import cells
from intact.runtime import workers

SCHEMES = "int8,float16"
TIMED = {"latency", "speed-up", "resident memory"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("cells")
    (path / "net.tflite").write_bytes(tflite.write(mobile()))
    np.savez(path / "val.npz", x=images(80), y=np.arange(80) % 4)
    return path


@pytest.fixture(scope="module", autouse=True)
def quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("intact.measure.figures._LATENCY_SECONDS", 0.2)
        patch.setattr("intact.measure.figures._ROUNDS", 6)
        patch.setattr("intact.run.conduct.throughput", lambda *_: ())
        patch.setattr("intact.run.conduct.resident", lambda *_: Measurement("resident memory", 1, "bytes", None, None, "", 1))
        yield


def study(folder, **options):
    return intact.study(folder / "net.tflite", folder / "val.npz", **({"schemes": SCHEMES} | options))


@pytest.fixture(scope="module")
def here(folder):
    return study(folder, jobs=1)


def untimed(path):
    """What is in the folder of a run, by name, but for times."""
    record, details = (json.loads((path / name).read_bytes()) for name in ("result.json", "details.json"))
    record["measurements"] = [m for m in record["measurements"] if m["name"] not in TIMED]
    record["findings"] = [f for f in record["findings"] if f["kind"] not in {"slower than float", "what helps"}]
    details["latency"] = None
    for op in details["ops"]:
        op["ms"] = None
    same = {name: (path / name).read_bytes() for name in ("model.tflite", "plan.json", "samples.npz")}
    return {**same, "result.json": record, "details.json": details}


def test_processes_give_the_same_files(folder, here):
    asked = []

    class Counted(workers._Worker):
        def ask(self, *what):
            asked.append(self._process.pid)
            return super().ask(*what)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "_Worker", Counted)
        there = study(folder, workers=2)
    assert len(set(asked)) == len(asked) == 2
    for ours, theirs in zip(there.rows, here.rows, strict=True):
        assert ours["status"] == "done"
        assert untimed(there.folder / ours["runs"][0]) == untimed(here.folder / theirs["runs"][0])
        assert ours["figures"]["latency"]["value"] > 0


def test_a_process_that_dies_is_a_row_and_the_others_go_on(folder, here, tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "compute", computing.dies_of_int8)
    found = study(folder, workers=2, out=tmp_path / "out")
    assert [row["status"] for row in found.rows] == ["failed", "done"]
    assert found.rows[0]["why"] == "the cell's computation died of SIGKILL (Killed, often for want of memory)"
    monkeypatch.undo()
    again = study(folder, workers=2, out=tmp_path / "out")
    assert [row["status"] for row in again.rows] == ["done", "done"]
    assert untimed(again.folder / again.rows[0]["runs"][0]) == untimed(here.folder / here.rows[0]["runs"][0])


def test_a_metric_that_cannot_leave_is_said_and_runs_are_computed_here(folder, monkeypatch):
    monkeypatch.setattr(workers.Workers, "compute", None)
    said = []
    found = study(folder, workers=2, metric=lambda y, t: float(-np.square(y[:, 0] - t).mean()), tell=said.append)
    assert [row["status"] for row in found.rows] == ["done", "done"]
    assert said == [
        "cells are computed in this process: no other process has the metric; write it into a module, and import it from there"
    ]


def test_samples_that_the_disk_has_no_room_for_are_not_handed_out(folder, monkeypatch):
    monkeypatch.setattr(cells, "_OF_DISK", 0.0)
    monkeypatch.setattr(workers.Workers, "compute", None)
    said = []
    found = study(folder, workers=2, schemes="float32,float16", tell=said.append)
    assert [row["status"] for row in found.rows] == ["done", "done"]
    assert len(said) == 1
    assert said[0].startswith("cells are computed in this process: the samples take 4.61e-05 GB, for which ")  # 60 x 192 floats


def descendants(pid):
    """Those of a process, by what they were started with."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            found[int(path.name)] = parent, (path / "cmdline").read_text()
        except OSError:
            continue
    below, more = {pid}, True
    while more:
        more = {one for one, (parent, _) in found.items() if parent in below} - below
        below |= more
    return {one: found[one][1] for one in below - {pid}}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_interruption_ends_all_processes_and_the_same_command_goes_on(folder, here, tmp_path):
    typed = [sys.executable, "-m", "intact", "study", str(folder / "net.tflite"), "--data", str(folder / "val.npz")]
    typed += ["--schemes", "int8,float16", "--workers", "2", "--out", str(tmp_path / "out"), "--quiet"]
    environment = os.environ | {"PYTHONPATH": str(Path(intact.__file__).parents[1])}
    with subprocess.Popen(typed, env=environment, start_new_session=True) as process:
        begun, deadline = {}, time.monotonic() + 60
        while not any("intact.runtime.workers" in what for what in begun.values()) and time.monotonic() < deadline:
            time.sleep(0.05)
            begun = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    while (left := [pid for pid in begun if Path(f"/proc/{pid}").exists()]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert begun
    assert not left
    subprocess.run(typed, env=environment, check=True, timeout=120)
    runs = sorted((tmp_path / "out" / "runs").iterdir())
    assert [path.name for path in runs] == ["net-float16-cpu", "net-int8-cpu-per-channel"]
    for path in runs:
        theirs = here.folder / "runs" / path.name
        assert (path / "model.tflite").read_bytes() == (theirs / "model.tflite").read_bytes()
