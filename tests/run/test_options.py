"""Numbers that are none are refused before any work, from the shell and from Python, and those of numpy are taken."""

import json

import numpy as np
import pytest
from nets import images, mobile
from typer.testing import CliRunner

import intact
from intact.cli.app import app
from intact.errors import DataError, OptionError
from intact.formats import tflite
from intact.run.settings import Settings


def never(*_, **__):
    raise AssertionError("no work before options are found good")


BAD = [
    ("seed", -1), ("seed", 2**63), ("seed", 1.5), ("seed", True), ("seed", "1"), ("seed", None), ("seed", np.float32(1)),
    ("calibration_samples", 0), ("calibration_samples", -5), ("calibration_samples", 2.0), ("calibration_samples", 10**30),
    ("calibration_samples", "all"), ("calibration_samples", False),
    ("time_budget", float("inf")), ("time_budget", float("nan")), ("time_budget", -1), ("time_budget", 0),
    ("time_budget", None), ("time_budget", "inf"), ("time_budget", "nan"), ("time_budget", "1e400h"), ("time_budget", ""),
    ("time_budget", True), ("time_budget", 1e300), ("time_budget", "1e10h"),
    ("max_drop", float("nan")), ("max_drop", float("inf")), ("max_drop", -0.1), ("max_drop", "1"), ("max_drop", True),
    ("max_drop", 100), ("max_drop", np.float32("nan")), ("max_drop", np.array([1.0, 2.0])),
    ("min_agreement", float("nan")), ("min_agreement", 101), ("min_agreement", 0.99), ("min_agreement", "99"),
    ("min_agreement", -float("inf")), ("min_agreement", np.float64(1e300)),
    ("input_shape", (0, 3)), ("input_shape", (1.5, 3)), ("input_shape", "8,8"), ("input_shape", 8),
    ("input_shape", {"x": (-1,)}), ("input_shape", (True,)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD, ids=[f"{name}={value!r}" for name, value in BAD])
def test_numbers_that_are_none_are_refused_before_any_work(name, value, monkeypatch):
    monkeypatch.setattr("intact.run.quantize.samples_of.samples_from", never)
    with pytest.raises(OptionError, match=f"--{name.replace('_', '-')}"):
        intact.quantize(mobile(), images(16), **{name: value})


@pytest.mark.parametrize(
    "option",
    [
        "--time-budget=inf", "--time-budget=nan", "--time-budget=-1", "--time-budget=0", "--time-budget=",
        "--time-budget=1e400",
        "--seed=-1", "--seed=99999999999999999999", "--calibration-samples=0", "--calibration-samples=-1", "--max-drop=nan",
        "--max-drop=inf", "--max-drop=-1", "--min-agreement=nan", "--min-agreement=101", "--min-agreement=inf",
    ],
)  # fmt: skip
def test_the_command_says_so_in_one_sentence(tmp_path, option):
    (tmp_path / "net.tflite").write_bytes(tflite.write(mobile()))
    np.savez(tmp_path / "val.npz", x=images(16))
    args = ("quantize", tmp_path / "net.tflite", "--data", tmp_path / "val.npz", "--out", tmp_path / "run", option)
    ended = CliRunner().invoke(app, [str(a) for a in args])
    assert ended.exit_code == 2
    assert ended.stderr.startswith(f"error: {option.partition('=')[0]}")
    assert ended.stderr.strip().count("\n") == 0
    assert not (tmp_path / "run").exists()


def test_numbers_of_numpy_are_taken_and_can_be_written():
    given = Settings(
        seed=np.int64(3),
        calibration_samples=np.uint8(20),
        max_drop=np.float32(0.5),
        time_budget=np.float64(60),
        input_shape=np.array([8, 8, 3]),
    )
    assert given == Settings(seed=3, calibration_samples=20, max_drop=0.5, time_budget=60.0, input_shape=(8, 8, 3))
    assert json.loads(json.dumps(vars(given)))["seed"] == 3


# ---- a metric of the user's -----------------------------------------------------------------------------------------------

METRICS = {
    "nan": lambda _y, _t: float("nan"),
    "inf": lambda _y, _t: float("inf"),
    "none": lambda _y, _t: None,
    "text": lambda _y, _t: "0.5",
    "array": lambda _y, _t: np.abs(_y).mean(1),
    "empty": lambda _y, _t: np.zeros(0),
    "complex": lambda _y, _t: 1j,
    "raises": lambda _y, _t: 1 / 0,
    "own error": lambda _y, _t: (_ for _ in ()).throw(type("OddError", (Exception,), {})("what now")),
    "arguments": lambda _: 1.0,
}


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
@pytest.mark.parametrize("limit", [{}, {"max_drop": 0.5}], ids=["measured", "limit"])
def test_a_metric_that_gives_no_number_is_refused_before_the_remedies(metric, limit, monkeypatch):
    monkeypatch.setattr("intact.run.job.Job._recover", never)
    with pytest.raises(DataError, match=r"metric <lambda> (gives|fails)"):
        intact.quantize(mobile(), intact.data.arrays(images(64), np.arange(64) % 4), metric=metric, **limit)


def test_a_named_metric_that_has_no_value_is_refused_before_the_remedies(monkeypatch):
    monkeypatch.setattr("intact.run.job.Job._recover", never)
    with pytest.raises(OptionError, match=r"--metric auc needs samples that are positive .* --max-drop 1 without --metric"):
        intact.quantize(mobile(), intact.data.arrays(images(64), np.zeros(64, np.int64)), metric="auc")


@pytest.mark.usefixtures("hasty")
def test_a_metric_that_fails_on_the_integer_network_alone_loses_nothing_that_is_finished():
    def odd(outputs, _):
        stored = np.unique(np.round(outputs * 256) / 256 - outputs)
        return float("nan") if np.abs(stored).max() < 1e-6 else 1.0  # the integer outputs are multiples of 1/256

    result = intact.quantize(mobile(), intact.data.arrays(images(64), np.arange(64) % 4), metric=odd, remedies="none")
    assert np.isnan(result.reading("metric").measurement.value)
    assert "metric odd gives nan for" in result.reading("metric").measurement.how
    assert result.reading("metric", "float").measurement.value == 1.0
    assert np.isinf(result.reading("metric drop", "difference").measurement.value)
    files = result.files()
    assert json.loads(files["result.json"])["measurements"]
    assert "infinite" in files["result.md"].decode()


@pytest.mark.parametrize("number", [0.5, np.float32(0.5), np.array(0.5), np.array([0.5]), 1, True, np.int8(1)])
@pytest.mark.usefixtures("hasty")
def test_what_is_a_number_is_taken_for_one(number):
    from intact.measure import accuracy  # noqa: PLC0415

    accuracy.check_metric(lambda *_: number, {"y": np.zeros((3, 2))}, np.zeros(3))
