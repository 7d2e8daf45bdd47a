"""Which limit and metric a network can have is said before any work, and what the sentence says to type works."""

import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
from drafts import draft, normal
from nets import images, mobile

import intact
from intact.data import samples_from
from intact.errors import DataError, OptionError
from intact.measure.metrics import metric_of
from intact.ops.activation import Logistic, Softmax
from intact.ops.convolution import Conv2D
from intact.ops.matmul import FullyConnected
from intact.ops.shaping import Reshape
from intact.progress import silent
from intact.run.folder import RunFolder, Work
from intact.run.job import Job
from intact.run.settings import Settings

N = 80
DRAW = np.random.default_rng(0)
ROWS = DRAW.normal(size=(N, 8)).astype(np.float32)
PHOTOS = images(N)


def head(width, *after):
    def build(d, x):
        y = d(FullyConnected(), x, normal(width, 8), normal(width))
        for kind in after:
            y = d(kind, y)
        return y

    return draft((8,), build)


def detector():
    def build(d, x):
        y = d(FullyConnected(), x, normal(24, 8), normal(24))
        return d(Reshape((-1, 6, 4)), y, np.int32([-1, 6, 4])), d(Logistic(), d(FullyConnected(), x, normal(6, 8), normal(6)))

    return draft((8,), build)


def segmenter():
    return draft((8, 8, 3), lambda d, x: d(Softmax(), d(Conv2D(padding="same"), x, normal(3, 1, 1, 3), normal(3))))


def made_by(graph, x):
    (y,) = intact.Program(graph)({graph.input_names[0]: x}).values()
    return y.numpy()


ANOMALIES = np.arange(N) % 2
SEVERAL = (made_by(head(5, Logistic()), ROWS) > 0.4).astype(np.int64)
PIXELS = made_by(segmenter(), PHOTOS).argmax(-1)

#: A network, its samples, and what works for it.
CASES = {
    "classifier": (mobile, (PHOTOS, np.arange(N) % 4), "type --max-drop 1"),
    "classifier without labels": (mobile, PHOTOS, "type --min-agreement 99"),
    "autoencoder": (lambda: head(8), ROWS, r"give them as y beside x .* type --metric mse --max-drop"),
    "autoencoder with targets": (lambda: head(8), (ROWS, ROWS), "type --metric mse --max-drop"),
    "autoencoder with anomalies": (
        lambda: head(8),
        (ROWS, ANOMALIES),
        r"give them as y beside x .* type --metric mse --max-drop",
    ),
    "regression": (lambda: head(1), (ROWS, ROWS[:, 0]), "type --metric mse --max-drop"),
    "regression without targets": (lambda: head(1), ROWS, "leave limits and metrics out"),
    "binary": (lambda: head(1, Logistic()), (ROWS, ANOMALIES), "type --max-drop 1"),
    "binary without labels": (lambda: head(1, Logistic()), ROWS, "type --min-agreement 99"),
    "several labels": (lambda: head(5, Logistic()), (ROWS, SEVERAL), "type --metric auc --max-drop 0.01"),
    "several labels without": (lambda: head(5, Logistic()), ROWS, "leave limits and metrics out"),
    "segmentation": (segmenter, (PHOTOS, PIXELS), "type --metric iou --max-drop 0.01"),
    "segmentation without targets": (segmenter, PHOTOS, "leave limits and metrics out"),
    "detector": (detector, ROWS, "leave limits and metrics out"),
    "detector with targets": (detector, (ROWS, ROWS), r"in Python give intact\.quantize metric=, a function of all outputs"),
}
ASKED = ({"max_drop": 1.0}, {"min_agreement": 99.0}, *({"metric": m, "max_drop": 0.1} for m in ("mse", "mae", "auc", "iou")))


def start(graph, data, **asked):
    """The job up to its plan: the limit and the metric are checked before."""
    with tempfile.TemporaryDirectory() as folder:
        work = Work(RunFolder(Path(folder)), silent)
        settings = Settings(calibration_samples=8, **asked)
        Job(graph, samples_from(data), None, settings, None, metric_of(settings.metric), work).start(measure=True)


def refusals(graph, data):
    """What is said to each limit and metric that the network cannot have."""
    for asked in ASKED:
        try:
            start(graph, data, **asked)
        except OptionError as error:
            yield str(error)


@pytest.mark.parametrize("case", CASES)
def test_every_refusal_says_the_one_thing_that_works_and_it_does(case):
    make, data, works = CASES[case]
    said = list(refusals(make(), data))
    assert bool(said) == (case != "binary")  # which can have all of them
    assert [one for one in said if not re.search(works, one)] == []
    for one in {one.partition("; ")[2]: one for one in said}.values():
        typed(make(), data, one)


def typed(graph, data, said):
    """What a sentence says to type is taken."""
    x = data[0] if isinstance(data, tuple) else data
    given = (x, x) if "y beside x" in said else data
    if found := re.search(r"type --metric (\w+) --max-drop (\S+)", said):
        start(graph, given, metric=found[1], max_drop=float(found[2]))
    elif found := re.search(r"type --(max-drop|min-agreement) (\d+)", said):
        start(graph, given, **{found[1].replace("-", "_"): float(found[2])})
    else:
        start(graph, given)


def test_a_limit_that_can_be_had_is_no_trouble():
    start(mobile(), (PHOTOS, np.arange(N) % 4), max_drop=1.0)
    start(mobile(), PHOTOS, min_agreement=99.0)
    start(head(8), (ROWS, ROWS), metric="mae", max_drop=0.1)
    start(segmenter(), (PHOTOS, PIXELS), metric="iou", max_drop=0.1)


def test_nothing_is_calibrated_before_it_is_said(monkeypatch):
    def never(*_, **__):
        raise AssertionError("work has begun")

    monkeypatch.setattr("intact.run.job.mend_and_plan", never)
    with pytest.raises(OptionError, match="an autoencoder's targets are its inputs"):
        intact.quantize(head(8), ROWS, max_drop=1.0)
    with pytest.raises(DataError, match="larger ones have to be better"):
        intact.quantize(
            head(1),
            (ROWS, ROWS[:, 0]),
            metric=lambda y, t: float(np.abs(y[:, 0] - made_by(head(1), ROWS)[0]).mean() + np.corrcoef(y[:, 0], t)[0, 1] * -1),
            max_drop=1.0,
        )


def test_anomalies_are_no_classes_of_an_autoencoder():
    result = intact.quantize(head(8), (ROWS, ANOMALIES), remedies=())
    assert "top-1 accuracy" not in {r.measurement.name for r in result.readings}
    assert "labels 0 and 1 are not classes of a model whose output is a copy" in " ".join(f.message for f in result.findings)
    classes = (ROWS, np.arange(N) % 8)
    assert "top-1 accuracy" in {r.measurement.name for r in intact.evaluate(head(8), classes).readings}


def test_targets_that_are_not_whole_are_no_classes_of_pixels():
    with pytest.raises(DataError, match="--metric iou takes class numbers, and the targets are not whole"):
        metric_of("iou")(ROWS, ROWS)


def test_evaluate_names_a_metric_that_can_be_taken():
    with pytest.raises(DataError, match=r"--metric auc takes targets 0 and 1.*; type --metric mse$"):
        intact.evaluate(head(8), (ROWS, ROWS), metric="auc")
    with pytest.raises(OptionError, match="the data has no labels; type --against"):
        intact.evaluate(head(8), ROWS)
    with pytest.raises(OptionError, match="the labels are no classes of the model; type --metric mse"):
        intact.evaluate(head(8), (ROWS, ROWS))
