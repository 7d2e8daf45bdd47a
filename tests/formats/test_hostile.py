"""Hostile files: each of tests/hostile is refused with its very sentence, soon, and by no other error."""

import importlib
import json
import sys
import time
from pathlib import Path

import pytest

from intact import errors
from intact.formats import tflite

FOLDER = Path(__file__).parents[1] / "hostile"
VERDICTS = json.loads((FOLDER / "verdicts.json").read_text())
SECONDS = 5.0  # of processor time: the longest (loops, to the 20,000 steps that are unrolled) take 1.4 on an idle machine


@pytest.fixture(scope="module", autouse=True)
def make():
    """The script, once what its files are changes of was read: what is imported for that is not counted as theirs."""
    sys.path.insert(0, str(FOLDER))
    module = importlib.import_module("make")
    sys.path.remove(str(FOLDER))
    for data in (module.dense(), module.quantized(), module.sparsity(), module.loop(3, 1)):
        tflite.read(data)
    return module


@pytest.mark.parametrize("name", VERDICTS)
def test_a_hostile_file_is_refused(name):
    data = (FOLDER / f"{name}.tflite").read_bytes()
    began = time.process_time()
    with pytest.raises(errors.IntactError) as refused:
        tflite.read(data)
    assert time.process_time() - began < SECONDS
    assert {"error": type(refused.value).__name__, "says": str(refused.value)} == VERDICTS[name]


def test_every_file_has_a_verdict_and_every_verdict_a_file():
    assert {path.stem for path in FOLDER.glob("*.tflite")} == VERDICTS.keys()


def test_the_files_are_small_and_those_that_the_script_makes(make):
    assert make.FILES.keys() == VERDICTS.keys()
    for name, data in make.FILES.items():
        assert len(data) < 2048
        assert (FOLDER / f"{name}.tflite").read_bytes() == data, f"{name}: run python tests/hostile/make.py"
