"""Metrics by name: what they compute, how errors are shown, and limits in their own unit."""

import json

import numpy as np
import pytest
from drafts import draft, normal
from typer.testing import CliRunner

import intact
from intact import choices
from intact.cli.app import app
from intact.errors import DataError, OptionError
from intact.formats import tflite
from intact.measure import metrics
from intact.measure.metrics import METRICS
from intact.ops.matmul import FullyConnected
from intact.run.settings import Settings
from intact.search.goal import Goal

pytestmark = pytest.mark.usefixtures("hasty")


def test_the_names_are_those_that_may_be_typed():
    assert tuple(METRICS) == choices.METRICS


@pytest.mark.parametrize(
    ("name", "outputs", "targets", "value"),
    [
        ("mse", [[1.0], [3.0]], [0, 1], 2.5),
        ("mae", [[1.0], [3.0]], [0, 1], 1.5),
        ("mae", [[1.0, 2.0]], [[0, 4]], 1.5),
        ("auc", [[0.1], [0.4], [0.35], [0.8]], [0, 0, 1, 1], 0.75),  # the example of scikit-learn's documentation
        ("auc", [[0.5], [0.5], [0.5]], [0, 1, 1], 0.5),  # ties count half
        ("auc", [[0.9, 0.1], [0.2, 0.8]], [0, 1], 1.0),
        ("auc", [[0.9, 0.1], [0.2, 0.8]], [[1, 0], [0, 1]], 1.0),
        ("auc", [[2, 1, 0], [0, 2, 1], [0, 1, 2]], [0, 1, 2], 1.0),
        ("iou", [[[0.9, 0.2], [0.8, 0.1]]], [[[1, 0], [0, 0]]], (1 / 2 + 2 / 3) / 2),
        ("iou", [[[[0, 1], [1, 0]]]], [[[1, 0]]], 1.0),
        ("iou", [[[[0, 1, 0], [1, 0, 0]]]], [[[1, 1]]], (0 + 1 / 2) / 2),  # the third class is nowhere
        ("iou", [[[[0.9], [0.2]]]], [[[[1], [0]]]], 1.0),
    ],
)
def test_values(name, outputs, targets, value):
    found = metrics.value(METRICS[name], {"y": np.float32(outputs)}, np.asarray(targets))
    assert found.name == name
    assert found.value == pytest.approx(value)


def test_auc_is_how_often_a_positive_scores_higher():
    draw = np.random.default_rng(0)
    scores, wanted = draw.normal(size=80).round(1), draw.integers(0, 2, 80)
    pairs = np.sign(scores[wanted == 1][:, None] - scores[wanted == 0])
    found = METRICS["auc"](scores[:, None], wanted)
    assert found == pytest.approx(((pairs + 1) / 2).mean())


def test_errors_are_shown_as_errors_and_lost_when_they_grow():
    exact, made = {"y": np.float32([[1], [2], [3]])}, {"y": np.float32([[2], [3], [4]])}
    wanted = np.array([1, 2, 3])
    lost = metrics.drop(METRICS["mae"], exact, made, wanted)
    assert (lost.name, lost.value) == ("mae increase", 1.0)
    back = metrics.drop(METRICS["mae"], made, exact, wanted)
    assert back.value == -1.0
    shown = metrics.value(METRICS["mse"], made, wanted)
    assert shown.low <= shown.value <= shown.high
    assert METRICS["mse"](made["y"], wanted) == -1.0  # called, more is better


@pytest.mark.parametrize(
    ("name", "outputs", "targets", "says"),
    [
        ("mse", np.zeros((4, 3)), np.zeros((4, 2)), r"outputs of shape \['n', 3\] have targets of shape \['n', 2\]"),
        ("auc", np.zeros((4, 1)), np.full(4, 7), "takes targets 0 and 1"),
        ("auc", np.zeros((4, 1)), np.ones(4), "needs samples that are positive and samples that are not"),
        ("iou", np.zeros((4, 2, 2, 3)), np.zeros((4, 3, 3)), "takes a class number for each place"),
    ],
)
def test_what_does_not_fit_is_said(name, outputs, targets, says):
    with pytest.raises(DataError, match=says):
        METRICS[name](outputs, targets)


def test_several_outputs_are_refused():
    with pytest.raises(DataError, match="--metric mse is of one output"):
        metrics.value(METRICS["mse"], {"a": np.zeros((3, 1)), "b": np.zeros((3, 1))}, np.zeros(3))


def test_a_limit_is_in_the_metrics_unit():
    assert Settings(max_drop=500, metric="mae").goal == Goal("drop", 500)
    with pytest.raises(OptionError, match="must be percentage points from 0 to 100"):
        Settings(max_drop=500)
    with pytest.raises(OptionError, match="must be at least 0"):
        Settings(max_drop=-1, metric="mae")


@pytest.fixture(scope="module")
def houses(tmp_path_factory):
    """A regression in dollars: the float network is 700 off on average."""
    path = tmp_path_factory.mktemp("houses")
    graph = draft((6,), lambda d, x: d(FullyConnected(), x, 40_000 * normal(1, 6), np.float32([250_000])))
    x = np.random.default_rng(0).normal(size=(400, 6)).astype(np.float32)
    y = next(iter(intact.Program(graph)({graph.input_names[0]: x}).values())).numpy()[:, 0]
    (path / "net.tflite").write_bytes(tflite.write(graph))
    np.savez(path / "val.npz", x=x, y=y + np.random.default_rng(1).normal(0, 900, 400))
    np.save(path / "bare.npy", x)
    return path


def test_dollars_from_the_shell(houses):
    asked = ["--metric", "mae", "--max-drop", "500", "--time-budget", "20s"]
    args = ["quantize", houses / "net.tflite", "--data", houses / "val.npz", *asked, "--out", houses / "run"]
    done = CliRunner().invoke(app, [str(a) for a in args])
    assert done.exit_code in (0, 1), done.output
    assert "mae increase" in done.stdout
    assert "500 may be lost" in done.stdout
    assert "agreement with float" not in done.stdout


def test_a_metric_of_one_file_and_of_two(houses, tmp_path):
    net, data = houses / "net.tflite", houses / "val.npz"
    graph = tflite.read(net)
    made = tmp_path / "int8.tflite"
    made.write_bytes(intact.quantize(net, data).model)
    with np.load(data) as arrays:
        x, y = arrays["x"], arrays["y"]
    error = float(np.abs(next(iter(intact.Program(graph)({graph.input_names[0]: x}).values())).numpy()[:, 0] - y).mean())

    def measured(*options):
        done = CliRunner().invoke(app, ["evaluate", *map(str, options), "--data", str(data), "--metric", "mae", "--json"])
        assert done.exit_code == 0, done.output
        assert "kept for a metric" not in done.output
        return {(m["of"], m["name"]): m["value"] for m in json.loads(done.stdout)["measurements"]}

    assert measured(net)["net.tflite", "mae"] == pytest.approx(error, rel=1e-5)
    both = measured(made, "--against", net)
    assert both["net.tflite", "mae"] == pytest.approx(error, rel=1e-5)
    grown = both["int8.tflite", "mae"] - both["net.tflite", "mae"]
    assert both["int8.tflite against net.tflite", "mae increase"] == pytest.approx(grown)


def test_files_of_different_outputs_are_not_compared(houses, tmp_path):
    two = draft(
        (6,), lambda d, x: (d(FullyConnected(), x, normal(1, 6), normal(1)), d(FullyConnected(), x, normal(2, 6), normal(2)))
    )
    (tmp_path / "two.tflite").write_bytes(tflite.write(two))
    args = ["evaluate", tmp_path / "two.tflite", "--against", houses / "net.tflite", "--data", houses / "bare.npy"]
    done = CliRunner().invoke(app, [str(a) for a in args])
    assert done.exit_code == 2
    said = "two.tflite has 'x3' [n, 1], 'x6' [n, 2], and net.tflite has 'x3' [n, 1]; give --against a model of the same network"
    assert said in " ".join(done.output.split())


def test_targets_that_are_no_classes_have_no_iou():
    with pytest.raises(DataError, match="--metric iou found no target between 0 and 2"):
        METRICS["iou"](np.zeros((2, 4, 4, 3)), np.full((2, 4, 4), 255))


def test_a_metric_needs_targets(houses):
    args = ["evaluate", houses / "net.tflite", "--data", houses / "bare.npy", "--metric", "mae"]
    done = CliRunner().invoke(app, [str(a) for a in args])
    assert done.exit_code == 2
    assert "a metric needs targets" in done.output


def test_a_metric_goes_by_its_name_or_is_ones_own():
    assert metrics.metric_of("auc") is METRICS["auc"]
    assert metrics.metric_of(max) is max
    assert metrics.metric_of(None) is None
    with pytest.raises(OptionError, match="no metric is called 'rmse'; type --metric with one of: mse, mae, auc, iou"):
        metrics.metric_of("rmse")


def test_labels_that_are_no_classes_are_worth_a_word_unless_a_metric_says_what_they_are(houses):
    graph = tflite.read(houses / "net.tflite")
    with np.load(houses / "val.npz") as z:
        data, bare = intact.data.arrays(z["x"], z["y"]), intact.data.arrays(z["x"])
        prices = z["y"]
    plain, measured = (metrics.bound(data, graph, metric) for metric in (None, METRICS["mae"]))
    assert [f.kind for f in plain.findings] == ["unlabelled"]
    assert measured.findings == ()
    assert metrics.targets_of(measured).tolist() == prices.tolist()
    with pytest.raises(OptionError, match=r"a metric needs targets; give the data some, .*arrays\(x, y\)"):
        metrics.targets_of(metrics.bound(bare, graph, METRICS["mae"]))


def test_dollars_from_python(houses):
    with np.load(houses / "val.npz") as z:
        data = intact.data.arrays(z["x"], z["y"])
    result = intact.quantize(houses / "net.tflite", data, metric="mae", max_drop=5000, time_budget=20)
    assert result.verdict.status == "pass"
    assert 500 < result.reading("mae", "float").measurement.value < 900
    assert result.candidates[0].loss.name == "mae increase"

    def closeness(outputs, wanted):
        return -float(np.abs(outputs[:, 0] - wanted).mean())

    again = intact.quantize(houses / "net.tflite", data, metric=closeness, max_drop=5000, time_budget=20)
    assert again.verdict.loss.value == pytest.approx(result.verdict.loss.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            ("--data", "val.npz", "--metric", "rmse"),
            "no metric is called 'rmse'; type --metric with one of: mse, mae",
        ),
        (("--data", "bare.npy", "--metric", "mae"), "a metric needs targets"),
    ],
)
def test_what_is_missing_is_one_sentence(houses, options, says):
    options = [str(houses / o) if o.endswith((".npz", ".npy")) else o for o in options]
    done = CliRunner().invoke(app, ["quantize", str(houses / "net.tflite"), *options, "--out", str(houses / "bad")])
    assert done.exit_code == 2
    assert says in done.output
