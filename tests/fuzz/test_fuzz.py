"""A minute of fuzzing with fixed seeds, what the harness must notice, and every file that ever failed."""

import json
import os
import shutil
import sys
import time
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("memory is measured as Linux says it", allow_module_level=True)

import harness
from kinds import tflite

from intact.errors import IntactError, ModelError

FOUND = Path(__file__).parents[1] / "hostile" / "found"
VERDICTS = json.loads((FOUND / "verdicts.json").read_text())
KINDS = harness.kinds()
#: Seconds that all kinds share, a mutant of each counted at what it takes on a busy machine.
SHARED = 60
COST = {"tflite": 0.1}


@pytest.mark.parametrize("name", KINDS)
def test_no_mutant_gets_through(name):
    count = int(SHARED / len(KINDS) / COST.get(name, 0.2))
    report = harness.fuzz(KINDS[name], count, seed=1)
    assert not report.faults, "\n".join(report.lines())
    assert report.count == count
    assert report.refused > count / 10  # they are no longer sound
    assert report.accepted > 0  # nor hopeless


# ---- what ever failed ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VERDICTS)
def test_what_was_found_is_told_in_a_sentence_soon_and_without_much_memory(name, tmp_path):
    path = tmp_path / "found.tflite"
    shutil.copyfile(FOUND / f"{name}.tflite", path)
    began, idle, verdict = time.process_time(), harness.reset_peak(), None
    try:
        tflite.take(path)
    except IntactError as refused:
        verdict = {"error": type(refused).__name__, "says": str(refused).replace(f"{path}: ", "")}
    assert verdict == VERDICTS[name]
    assert time.process_time() - began < harness.SECONDS
    assert (harness.kib("VmHWM") << 10) - idle < harness.BYTES


def test_every_file_that_was_found_has_a_verdict_and_is_small():
    assert {path.stem for path in FOUND.glob("*.tflite")} == VERDICTS.keys()
    assert all(path.stat().st_size <= 1 << 16 for path in FOUND.glob("*.tflite"))


# ---- the harness --------------------------------------------------------------------------------------------------------


def of(take, count=1, **limits):
    """The report on mutants of which ``take`` is what the product does with them; each is a file with its number's digits."""

    def mutate(_seed, draw, folder):
        out = folder / "mutant"
        out.write_text(f"{draw.random()}")
        return out

    return harness.fuzz(harness.Kind("test", lambda: [Path(__file__)], mutate, take), count, **limits)


def refuse(path):
    del path
    raise ModelError("no")


def fail(path):
    return {}[path]


def crash(path):
    del path
    os.abort()


def wait(path):
    del path
    time.sleep(60)


def turn(path):
    del path
    while True:
        pass


def fill(path):
    del path
    return bytearray(harness.BYTES + (1 << 28))


def hide_a_lack_of_memory(path):
    try:
        fill(path)
    except MemoryError as error:
        raise ModelError("it is corrupt") from error


def write_outside(path):
    Path("outside").write_text("here")
    del path


def write_beside(path):
    (path.parents[2] / "beside").write_text("here")


@pytest.mark.parametrize(
    ("take", "what"),
    [
        (fail, "foreign"),
        (crash, "death"),
        (wait, "hang"),
        (turn, "hang"),
        (fill, "memory"),
        (hide_a_lack_of_memory, "memory"),
        (write_outside, "wrote outside"),
        (write_beside, "wrote outside"),
    ],
)
def test_every_fault_is_noticed_and_costs_one_mutant(monkeypatch, tmp_path, take, what):
    monkeypatch.setattr(harness, "SECONDS", 1.0)
    monkeypatch.setattr(harness, "PATIENCE", 2.0)
    report = of(take, 2, keep=tmp_path / "kept")
    assert [fault.what for fault in report.faults] == [what] * 2
    assert (report.count, report.accepted, report.refused) == (2, 0, 0)
    assert len(list((tmp_path / "kept").iterdir())) == 2


def test_refusals_and_sound_mutants_are_no_faults():
    assert (of(refuse, 3).refused, of(len, 0).count) == (3, 0)
    report = of(lambda path: path.read_text() and None, 5, jobs=2)
    assert (report.accepted, report.faults) == (5, [])


def test_a_mutant_is_the_same_every_time(tmp_path):
    made = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        made.append(harness.mutant(KINDS["tflite"], 3, 4, folder).read_bytes())
    assert made[0] == made[1]
