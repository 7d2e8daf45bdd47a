"""One candidate's trial: what it loses in the real runtime, what it takes, and what is kept of it."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from remedy_nets import planned

import intact
from intact.data import input_specs
from intact.formats import tflite
from intact.planning.targets import target
from intact.run.folder import RunFolder, Work
from intact.run.trial import Trial
from intact.search.goal import Goal


@pytest.fixture
def given(tmp_path):
    """A planned network, and its trial on samples labelled as the float network sees them."""
    network, samples, context = planned()
    x = samples.batch(np.arange(len(samples)))[0]
    labels = next(iter(intact.Program(network.reference)(x).values())).numpy().argmax(1)
    choosing = intact.data.arrays(next(iter(x.values())), labels).bind(input_specs(network.reference), 4)
    (tmp_path / ".stages").mkdir()
    source, told = tmp_path / "float.tflite", []
    source.write_bytes(tflite.write(network.reference))
    work = Work(RunFolder(tmp_path), tell=told.append)
    trial = Trial(
        goal=Goal("drop", 1.0),
        learning=samples,
        context=context,
        mixes=True,
        source=source,
        reference=network.reference,
        choosing=choosing,
        target=target("cpu"),
        metric=None,
        work=work,
    )
    return network, trial, told


def test_the_float_file_loses_nothing_and_the_integer_file_what_its_classes_say(given):
    network, trial, _ = given
    same = trial.judge("itself", trial.source.read_bytes())
    assert (same.measured.value, same.expected, same.measured.n, same.divergence) == (0.0, 0.0, 96, None)
    found = trial.judge("as planned", tflite.write(network.integer()))
    lost, expected = found.measured, found.expected
    made = trial.work.folder.arrays("choosing as planned", dict)
    share = 100 * float((next(iter(made.values())).argmax(1) != trial.choosing.labels).mean())
    assert (lost.name, lost.value) == ("accuracy drop", pytest.approx(share))
    assert expected >= 0.0


def test_outputs_that_are_there_are_not_made_again(given, monkeypatch):
    _, trial, _ = given
    model = trial.source.read_bytes()
    first = trial.judge("a", model)
    monkeypatch.setattr("intact.run.trial.outputs_of", None)
    assert trial.judge("a", model) == first


def test_a_metric_is_judged_by_itself_and_expects_nothing(given):
    _, trial, _ = given
    trial = replace(trial, metric=lambda outputs, targets: float((outputs.argmax(1) == targets).mean()))
    found = trial.judge("itself", trial.source.read_bytes())
    assert (found.measured.name, found.measured.value, found.expected) == ("metric drop", 0.0, None)


def test_a_candidate_of_an_earlier_run_is_taken_over_with_the_seconds_that_it_took(given):
    network, trial, _ = given
    better = replace(network, log=("better",))
    made, seconds = trial.remember("a", network, lambda: better)
    assert (made.log, seconds) == (("better",), 0.0)
    again, before = trial.remember("a", network, pytest.fail)
    assert again.log == ("better",)
    assert 0.0 < before < 5.0


def test_latency_is_milliseconds(given, monkeypatch):
    _, trial, _ = given
    monkeypatch.setattr("intact.run.trial._TIMED_SECONDS", 0.1)
    assert 0.0 < trial.time(trial.source.read_bytes()) < 100.0


def test_a_candidate_is_timed_where_the_results_are(given):
    _, trial, _ = given
    model = trial.source.read_bytes()

    def timed(request, **_):
        assert [path.read_bytes() for path in request["models"].values()] == [model]
        return {"samples": {"candidate": [7.0, 5.0, 6.0, 5.5, 8.0]}, "repeats": {"candidate": 3}}

    phone = SimpleNamespace(name="phone", machine={}, time=timed)
    assert replace(trial, work=replace(trial.work, timer=phone)).time(model) == 5.0


def test_the_best_so_far_is_on_disk_and_lines_are_passed_on(given):
    _, trial, told = given
    trial.keep(b"model", "how good")
    assert (trial.work.folder.path / "best-so-far.tflite").read_bytes() == b"model"
    trial.tell("a line")
    assert told == ["a line"]
