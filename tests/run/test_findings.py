"""No bad result without a word: what is measured of an output, from where on it is said, and what is told to do."""

import itertools
import shlex

import numpy as np
import pytest
from drafts import draft, normal

import intact
from intact.data.preprocessing import Preprocessing
from intact.data.samples import Samples
from intact.measure import figures
from intact.measure.figures import Reading
from intact.measure.levels import levels
from intact.measure.measurement import Measurement
from intact.measure.outputs import look
from intact.measure.task import Task
from intact.ops.activation import Logistic
from intact.ops.elementwise import Add, Sub
from intact.ops.matmul import FullyConnected
from intact.run import findings
from intact.run.advice import what_helps
from intact.run.settings import Settings

VALUES = Task("values", "made up")
GRAPH = draft((4,), lambda d, x: d(FullyConnected(), x, normal(4, 4), normal(4)))
NAME = GRAPH.output_names[0]


def fidelity(x, y, task=VALUES):
    (one,) = look({NAME: x}, {NAME: y}, {NAME: task}).fidelities
    return one


def said(x, y, task=VALUES, graph=GRAPH):
    """The finding that outputs ``y`` for the float ``x`` call for, or None."""
    found = findings.poor(look({NAME: x}, {NAME: y}, {NAME: task}).fidelities, graph)
    return found[0][1] if found else None


def noisy(x, decibels, seed=1):
    """``x`` with so many dB of noise in each channel, the mean left out of the signal."""
    draw = np.random.default_rng(seed).normal(size=x.shape)
    return (x + draw * x.std(0) * 10 ** (-decibels / 20)).astype(np.float32)


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# ---- what is measured -------------------------------------------------------------------------------------------------------


def test_the_mean_makes_an_output_look_fine():
    """x is 10 and a little: an error of 0.1 is 40 dB below it, and 0 dB below what varies."""
    x = 10 + 0.1 * drawn(4000, 3)
    one = fidelity(x, x + 0.1 * drawn(4000, 3, seed=2))
    assert one.sqnr.value == pytest.approx(40, abs=0.3)
    assert one.varying.value == pytest.approx(0, abs=0.3)
    assert one.varying.low < one.varying.value < one.varying.high


def test_the_mean_of_few_samples_takes_nothing_away():
    """With n / (n - 1) the signal of three samples is on average that of many."""
    found = [10 ** (fidelity(x, x + 0.1).varying.value / 10) for x in (drawn(3, 50, seed=s) for s in range(60))]
    assert np.mean(found) == pytest.approx(100, rel=0.05)


def test_the_worst_channel_is_found_where_channels_have_units_of_their_own():
    x = drawn(500, 3) * np.float32([700, 0.5, 0.2])
    y = noisy(x, 30)
    y[:, 1] = x[:, 1] + 0.5 * drawn(500, seed=3)
    one = fidelity(x, y)
    assert one.varying.value == pytest.approx(30, abs=0.5)
    assert (one.worst.number, one.worst.of) == (1, 3)
    assert one.worst.decibels.value == pytest.approx(0, abs=0.5)


@pytest.mark.parametrize("shape", [(60, 9, 9, 4), (60, 200, 4), (60, 4, 200), (60, 1, 1, 4)])
def test_channels_are_found_whatever_the_layout(shape):
    x = drawn(*shape)
    axis = 1 if shape == (60, 4, 200) else -1
    y = noisy(x, 30)
    np.moveaxis(y, axis, -1)[..., 2] = 0
    one = fidelity(x, y)
    assert (one.worst.number, one.worst.of, one.worst.constant) == (2, 4, True)


def test_one_dead_channel_of_many_is_no_news():
    x = drawn(60, 64)
    x[:, 5] *= 1e-4
    y = noisy(x, 30)
    y[:, 5] = 0
    assert fidelity(x, y).worst.number != 5
    x[:, 5:] *= 1e-4  # most are so: then it is a matter of units
    assert fidelity(x, np.where(np.arange(64) >= 5, 0, x).astype(np.float32)).worst.constant


def test_levels_are_counted():
    x = drawn(200, 2)
    found = levels(x, np.round(x))
    assert (found.used, found.in_float, found.count) == (len(np.unique(np.round(x))), 400, 400)
    assert levels(drawn(300, 300), drawn(300, 300)) is None  # no integers


def test_an_output_that_does_not_vary_in_float_cannot_tell():
    x = np.full((50, 3), 0.7, np.float32)
    assert fidelity(x, x + 0.1).varying is None
    assert fidelity(drawn(1, 3), drawn(1, 3)).varying is None


# ---- what is said -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("decibels", "kind"), [(16.0, None), (14.0, "low fidelity"), (-8.0, "low fidelity")])
@pytest.mark.parametrize("task", [VALUES, Task("classes", ""), Task("boxes", "")])
def test_below_15_decibels_it_is_said(decibels, kind, task):
    x = drawn(800, 10)
    found = said(x, noisy(x, decibels), task)
    assert (None if found is None else found.kind) == kind


def test_a_channel_below_6_decibels_is_said_unless_they_are_classes():
    x = drawn(800, 6) * np.float32([100, 1, 1, 1, 1, 1])
    y = noisy(x, 30)
    y[:, 4] = noisy(x, 5)[:, 4]
    found = said(x, y)
    assert found.kind == "low channel"
    assert "its channel 4 of 6 is 5." in found.message
    assert said(x, y, Task("classes", "")) is None
    y[:, 4] = 0
    assert said(x, y).kind == "constant channel"


def test_a_constant_output_is_said():
    x = drawn(60, 5)
    found = said(x, np.full_like(x, 0.2))
    assert found.kind == "constant output"
    assert "is the same for every sample, where the float network's lies in" in found.message
    assert said(np.ones_like(x), np.ones_like(x)).kind == "constant in float"
    assert said(x[:1], x[:1]) is None  # one sample cannot tell


def test_scores_that_never_answer_ask_for_other_samples():
    graph = draft((4,), lambda d, x: d(Logistic(), x))
    x = np.random.default_rng(0).uniform(0, 1e-3, (60, 4)).astype(np.float32)
    found = findings.poor(
        look({graph.output_names[0]: x}, {graph.output_names[0]: 0 * x}, {graph.output_names[0]: VALUES}).fidelities, graph
    )
    assert "give samples that it answers to" in found[0][1].message


def test_scores_of_two_levels_are_said_and_those_that_have_two_are_not():
    x = np.random.default_rng(0).uniform(0, 1, (500, 3)).astype(np.float32)
    found = said(x, np.round(x))
    assert found.kind == "few levels"
    assert "takes 2 different values" in found.message
    two = np.round(x) + np.float32(1e-3) * drawn(500, 3)
    assert said(two, np.round(two)) is None  # saturated scores


def test_infinite_numbers_are_said():
    x = drawn(50, 3)
    y = x.copy()
    y[3, 1] = np.inf
    assert said(x, y).kind == "not finite"
    assert said(np.where(np.isinf(y), np.inf, x), y) is None  # the float network's own


# ---- what is told to do -----------------------------------------------------------------------------------------------------


def cancelling():
    """What is left of numbers of thousands when they are taken away again: a sum of eight small ones."""

    def build(d, x):
        large = d(FullyConnected(), x, 2000 * normal(8, 8), normal(8))
        small = d(FullyConnected(), x, normal(8, 8, seed=1), normal(8))
        return d(FullyConnected(), d(Sub(), d(Add(), large, small), large), normal(3, 8, seed=3), normal(3))

    return draft((8,), build)


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """Nothing here is about latency."""
    monkeypatch.setattr(figures, "_LATENCY_SECONDS", 0.1)


def ruined(**options):
    return intact.quantize(cancelling(), intact.data.arrays(drawn(300, 8, seed=7)), **{"remedies": "none", **options})


def advice(result):
    return next(f.message for f in result.findings if f.kind == "what helps")


def test_a_ruined_regression_is_told_with_what_mends_it():
    result = ruined()
    assert result.reading("SQNR without the mean").measurement.value < 15
    assert any(f.kind == "few levels" for f in result.findings)
    assert "most of it comes from ADD" in advice(result)
    words = shlex.split(advice(result))
    kept = [after for word, after in itertools.pairwise(words) if word == "--keep-float"]
    again = ruined(keep_float=kept)
    assert again.reading("SQNR without the mean").measurement.value > 25
    assert not any(f.kind == "what helps" for f in again.findings)


def test_what_a_run_takes_by_itself_hides_no_cause():
    result = ruined(remedies="auto")
    assert result.reading("SQNR without the mean").measurement.value < 15
    assert "most of it comes from ADD" in advice(result)


def test_a_target_of_integers_is_told_what_exists_there():
    told = advice(ruined(target="mcu"))
    assert "--keep-float" not in told
    assert "--scheme int16x8 gives" in told
    wide = ruined(target="mcu", scheme="int16x8")
    assert wide.reading("SQNR without the mean").measurement.value > 15
    assert not any(f.kind == "what helps" for f in wide.findings)


def test_a_target_is_told_of_no_scheme_that_it_refuses():
    assert "int16x8" not in advice(ruined(target="openvino"))


def test_samples_beyond_what_calibrated_are_told_apart_from_bad_options():
    """Those that report are thirty times as large: no option mends that."""
    x = drawn(300, 4, seed=8)
    result = intact.quantize(GRAPH, intact.data.arrays(x), evaluation=intact.data.arrays(30 * drawn(100, 4, seed=9)))
    assert any(f.kind == "low fidelity" for f in result.findings)
    assert "those that report go beyond the ranges that 300 samples showed" in advice(result)


@pytest.mark.parametrize(
    ("scheme", "wider"),
    [("dynamic", "float16"), ("float16", "float32"), ("clusters2-float", "clusters4-float"), ("clusters7-float", "float32")],
)
def test_schemes_in_float_are_told_the_wider_one_and_no_limit(scheme, wider):
    helps = what_helps(None, Settings(scheme=scheme), None, (), None)
    assert helps == f"type --scheme {wider}"
    agreed = Reading("quantized", Measurement("agreement with float", 80.0, "%", 70.0, 90.0, "", 100))
    (found,) = findings.great_loss((agreed,), Settings(scheme=scheme))
    assert found.message == f"20.0 % of the samples get another class: type --scheme {wider}"
    assert "--min-agreement" in findings.great_loss((agreed,), Settings())[0].message
    assert findings.great_loss((agreed,), Settings(min_agreement=99)) == ()
    several = (Reading("quantized", agreed.measurement.named(f"agreement with float of {name}")) for name in "ab")
    assert findings.great_loss(tuple(several), Settings())[0].message.startswith("20.0 % of the samples")


def test_after_remedies_the_cause_is_still_found():
    """What bias correction fitted to a ruined plan must not hide which op ruins it."""
    told = advice(ruined(remedies="bias"))
    assert "most of it comes from ADD" in told
    assert "What mends it" in told
    assert "--remedies" not in told


def test_with_a_metric_and_a_limit_it_is_said_too():
    x = drawn(300, 8, seed=7)
    y = next(iter(intact.Program(cancelling())({"x0": x}).values())).numpy()
    result = intact.quantize(cancelling(), intact.data.arrays(x, y), metric="mse", max_drop=1000, time_budget=5)
    assert result.verdict.status == "pass"
    assert any(f.kind == "few levels" for f in result.findings)
    assert "--keep-float" in advice(result)


def test_a_class_that_is_lost_is_told_by_its_name():
    labels = np.repeat(np.arange(4), 30)
    exact = np.eye(4, dtype=np.float32)[labels]
    made = exact.copy()
    made[30:60] = np.eye(4, dtype=np.float32)[0]
    report = Samples(None, (), Preprocessing(), np.arange(120), labels, class_names=("ant", "bee", "cat", "dog"))
    outputs = look({"y": exact}, {"y": made}, {"y": Task("classes", "")})
    (found,) = findings.lost_classes(outputs, report)
    assert (found.kind, found.message) == ("class lost", "bee lost: 30 of 30 samples were right in float, 0 are now")
