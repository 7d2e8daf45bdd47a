"""The search under a limit from the outside: what it tries, what it takes, what it says."""

import importlib
import json
import re

import numpy as np
import pytest
from nets import images, mobile
from typer.testing import CliRunner

import intact
from intact.cli.app import app
from intact.errors import DataError, OptionError
from intact.formats import tflite
from intact.run import findings, options
from intact.run.settings import Settings
from intact.search.goal import Goal

pytestmark = pytest.mark.usefixtures("hasty")

RUN = CliRunner()
SEARCH = importlib.import_module("intact.search.ladder")


@pytest.fixture(autouse=True)
def short_timing(monkeypatch):
    """These tests are about choosing; a few blocks of latency do."""
    monkeypatch.setattr("intact.measure.figures._LATENCY_SECONDS", 0.3)
    monkeypatch.setattr("intact.run.trial._TIMED_SECONDS", 0.1)


def call(*args):
    return RUN.invoke(app, [str(a) for a in args])


def labelled(n=160, seed=1):
    """Samples labelled as the network itself sees most of them, so that there is accuracy to lose."""
    x = images(n, seed)
    net = mobile(seed=2)
    scores = next(iter(intact.Program(net)({"image": x}).values())).numpy()
    return net, x, scores.argmax(-1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("recovery")
    net, x, y = labelled()
    (path / "net.tflite").write_bytes(tflite.write(net))
    np.savez(path / "labelled.npz", x=x, y=y)
    np.save(path / "bare.npy", x)
    return path


def test_what_already_meets_the_limit_is_taken_as_it_is():
    net, x, y = labelled()
    result = intact.quantize(net, intact.data.arrays(x, y), max_drop=30, measure=True)
    assert [c.name for c in result.candidates] == ["as planned"]
    assert result.verdict.status == "pass"
    assert result.model == result.candidates[0].model


def test_the_samples_that_choose_do_not_report_nor_teach():
    _, x, y = labelled()
    bound = intact.data.arrays(x, y).bind(intact.data.input_specs(mobile()), 4)
    parts = intact.data.partition(bound, None, 0)
    learning, choosing, findings = intact.data.for_search(parts)
    sets = [set(part.index.tolist()) for part in (learning, choosing, parts.report)]
    assert not sets[0] & sets[1]
    assert not sets[2] & (sets[0] | sets[1])
    assert findings == ()
    teachers, _ = intact.data.for_learning(parts)
    assert set(teachers.index.tolist()) == set(parts.calibration.index.tolist()) | set(parts.selection.index.tolist())


def test_nothing_left_to_choose_on_is_said():
    _, x, y = labelled()
    data = intact.data.arrays(x, y)
    with pytest.raises(DataError, match="too few samples to choose on"):
        intact.quantize(mobile(seed=2), data, evaluation=data, max_drop=1.0)


def test_the_command_gives_a_verdict_and_writes_what_it_tried(folder):
    out = folder / "run"
    ran = call("quantize", folder / "net.tflite", "--data", folder / "labelled.npz", "--max-drop", "40", "--out", out)
    assert ran.exit_code == 0, ran.stderr
    assert "Within the limit: " in ran.stdout
    assert "as planned: accuracy drop" in ran.stderr
    record = json.loads((out / "result.json").read_text())
    lost = record["verdict"].pop("loss")
    assert record["verdict"] == {"status": "pass", "limit": 40.0, "needs_about_n": None}
    assert lost == {k: v for k, v in record["measurements"][2].items() if k != "of"}
    assert lost["name"] == "accuracy drop"
    assert f"The accuracy drop is {lost['value']:.4g}" in (out / "result.md").read_text()
    assert record["candidates"][0]["name"] == "as planned"
    assert "## Tried" in (out / "result.md").read_text()


def test_a_missed_limit_is_exit_code_1_and_the_model_is_there(folder, monkeypatch):
    monkeypatch.setattr(Goal, "loss", lambda *_: measured(7.0, 6.0, 8.0))
    monkeypatch.setattr("intact.remedies.base.Context.out_of_time", lambda _: True)
    out = folder / "missed"
    ran = call("quantize", folder / "net.tflite", "--data", folder / "labelled.npz", "--max-drop", "1", "--out", out)
    assert ran.exit_code == 1
    assert (out / "model.tflite").exists()
    assert "the limit is not met" in ran.stdout
    assert "% of the noise" in ran.stdout


def test_a_metric_of_ones_own_takes_a_limit():
    """Targets that are no classes: a regression's error, negated, for more has to be better."""
    graph, x = mobile(seed=5, side=8), images(400, 3)
    targets = np.random.default_rng(0).normal(size=(400, 4)).astype(np.float32)

    def closeness(outputs, wanted):
        return -float(np.abs(outputs - wanted).mean())

    data = intact.data.arrays(x, targets)
    result = intact.quantize(graph, data, max_drop=0.5, metric=closeness)
    assert result.verdict.status == "pass"
    assert result.candidates[0].loss.name == "metric drop"
    assert len(repr(result)) < 20_000  # a notebook prints it: no model bytes
    with pytest.raises(OptionError, match="these labels are none; type --min-agreement 99"):
        intact.quantize(graph, data, max_drop=0.5)


def test_a_metric_that_counts_errors_is_refused():
    """RMSE falls as a network gets better: its drop would pass for a gain."""
    graph, x = mobile(seed=5, side=8), images(400, 3)
    exact = next(iter(intact.Program(graph)({"image": x}).values())).detach().numpy()
    targets = exact + np.random.default_rng(0).normal(size=exact.shape, scale=0.01)

    def rmse(outputs, wanted):
        return float(np.sqrt(np.square(outputs - wanted).mean()))

    with pytest.raises(DataError, match=r"metric rmse is 0\.0099\d* for the float network, .* return its negative"):
        intact.quantize(graph, intact.data.arrays(x, targets), max_drop=0.5, metric=rmse)


def test_strict_is_about_a_limit(folder):
    ran = call("quantize", folder / "net.tflite", "--data", folder / "labelled.npz", "--strict", "--out", folder / "no limit")
    assert ran.exit_code == 2
    assert "type --max-drop, --min-agreement or --accept as well" in ran.stderr


def test_only_strict_turns_inconclusive_into_exit_code_1(folder, monkeypatch):
    monkeypatch.setattr(Goal, "loss", lambda *_: measured(0.5, -1.0, 2.0))
    args = ("quantize", folder / "net.tflite", "--data", folder / "labelled.npz", "--max-drop", "1", "--overwrite")
    relaxed = call(*args, "--out", folder / "relaxed")
    assert relaxed.exit_code == 0
    assert re.search(r"^Inconclusive: 0.50 points worse .* samples would settle it\.$", relaxed.stdout, re.MULTILINE)
    assert call(*args, "--out", folder / "strict", "--strict").exit_code == 1


def measured(value, low, high):
    return intact.measure.measurement.Measurement("accuracy drop", value, "percentage points", low, high, "", 80)


def test_an_interrupted_search_goes_on_where_it_was(folder, monkeypatch):
    out = folder / "resumed"
    args = ("quantize", folder / "net.tflite", "--data", folder / "labelled.npz", "--min-agreement", "100", "--out", out)
    args = (*args, "--scheme", "w4a8", "--time-budget", "1s")
    monkeypatch.setattr(Goal, "loss", lambda *_: measured(5.0, 4.0, 6.0))
    monkeypatch.setattr(Goal, "divergence", lambda *_: None)
    real = SEARCH.apply

    def named(remedies):
        return " + ".join(remedy.name for remedy in remedies)

    def stops_at_the_third(remedies, *rest):
        if named(remedies) == "equalize + bias":
            raise KeyboardInterrupt
        return real(remedies, *rest)

    monkeypatch.setattr(SEARCH, "apply", stops_at_the_third)
    monkeypatch.setattr("intact.remedies.base.Context.out_of_time", lambda _: False)
    stopped = call(*args)
    assert stopped.exit_code == 130
    assert f"the best network so far is {out / 'best-so-far.tflite'} (as planned: accuracy drop 5.00" in stopped.stderr
    assert tflite.read(out / "best-so-far.tflite").is_quantized
    assert not (out / "model.tflite").exists()
    done = []
    monkeypatch.setattr(SEARCH, "apply", lambda remedies, *rest: done.append(named(remedies)) or real(remedies, *rest))
    monkeypatch.setattr("intact.remedies.base.Context.out_of_time", lambda _: "equalize + bias" in done)
    assert call(*args).exit_code == 1
    assert done == ["equalize + bias"]
    assert tflite.read(out / "model.tflite").is_quantized
    assert not (out / "best-so-far.tflite").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--max-drop", "1"), "--max-drop needs labels that fit the model, and the data has none; type --min-agreement 99"),
        (("--max-drop", "-1"), "--max-drop -1 must be at least 0"),
        (("--min-agreement", "0.99"), "--min-agreement 0.99 must be a percentage"),
        (("--min-agreement", "101"), "--min-agreement 101 must be a percentage"),
        (("--max-drop", "1", "--min-agreement", "99"), "are two limits; type one of them"),
        (("--max-drop", "1", "--remedies", "bias"), "type one of them"),
        (("--remedies", "magic"), "no remedy is called 'magic'"),
        (("--remedies", "bias", "--scheme", "float16"), "--scheme float16 computes in float"),
        (("--max-drop", "1", "--time-budget", "soon"), "--time-budget 'soon' is no time; type something like 90s, 15m or 1h"),
        (("--max-drop", "1", "--time-budget", "0"), "--time-budget 0 must be above 0"),
    ],
)
def test_bad_options(folder, args, message):
    out = folder / "bad"
    ran = call("quantize", folder / "net.tflite", "--data", folder / "bare.npy", "--out", out, *args)
    assert ran.exit_code == 2
    assert message in ran.stderr.replace("\n", " ")
    assert not out.exists()


def test_times_are_read():
    assert [options.seconds(text) for text in ("90s", "15m", "1h", "7")] == [90.0, 900.0, 3600.0, 7.0]


def test_input_shapes_are_read():
    assert options.input_shape([]) is None
    assert options.input_shape(["96,96,3"]) == (96, 96, 3)
    assert options.input_shape(["a=8", "b=4,4"]) == {"a": (8,), "b": (4, 4)}
    for bad in (["96,x"], ["0,3"], ["1", "2"], ["1", "a=2"]):
        with pytest.raises(OptionError, match="--input-shape"):
            options.input_shape(bad)


def test_replaying_a_plan_leaves_no_room_for_remedies():
    net, x, _ = labelled(60)
    plan = intact.quantize(net, intact.data.arrays(x), measure=False).plan
    with pytest.raises(OptionError, match="--plan replays what was decided before"):
        intact.quantize(net, intact.data.arrays(x), plan=plan, remedies=["bias"], measure=False)


def test_goals_come_from_settings():
    assert Settings(max_drop=0.5).goal == Goal("drop", 0.5)
    assert Settings(min_agreement=99.0).goal == Goal("disagreement", 1.0)
    assert Settings().goal is None


def test_remedies_by_name_leave_an_account(folder):
    out = folder / "account"
    ran = call("quantize", folder / "net.tflite", "--data", folder / "labelled.npz", "--remedies", "bias", "--out", out)
    assert ran.exit_code == 0, ran.stderr
    assert "corrected the bias of 3 ops" in ran.stderr
    assert json.loads((out / "result.json").read_text())["steps"][0].startswith("corrected the bias of 3 ops")
    assert "## Done to the network" in (out / "result.md").read_text()


def test_python_takes_what_the_command_takes():
    net, x, y = labelled(120)
    data = intact.data.arrays(x, y)
    asked = intact.quantize(net, data, remedies="equalize, bias", time_budget="20s", measure=False).settings
    assert (asked.remedies, asked.time_budget) == (("equalize", "bias"), 20.0)
    assert (
        intact.quantize(net, x, measure=False).settings == intact.quantize(net, intact.data.arrays(x), measure=False).settings
    )
    with pytest.raises(DataError, match=r"intact\.data\.iterable"):
        intact.quantize(net, object())


def test_a_great_loss_is_not_passed_over(monkeypatch):
    monkeypatch.setattr(findings, "GREAT", -100.0)
    net, x, y = labelled(120)
    labelled_too = intact.quantize(net, intact.data.arrays(x, y)).findings
    assert any("--max-drop 1 searches for a network that keeps them" in f.message for f in labelled_too)
    alone = intact.quantize(net, intact.data.arrays(x)).findings
    assert any("--min-agreement 99 searches" in f.message for f in alone)
