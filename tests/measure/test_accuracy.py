"""Statistics against published numbers, by hand, and by simulation of what they promise."""

import json

import numpy as np
import pytest

import intact
from intact.data.spec import InputSpec
from intact.errors import DataError
from intact.measure import accuracy
from intact.measure.bootstrap import paired
from intact.measure.measurement import Measurement


def right(both, only_float, only_int, neither):
    """Float's and integer's hits for the four counts of a paired table."""
    counts = (both, only_float, only_int, neither)
    return tuple(np.repeat(np.array(hit, bool), counts) for hit in ((1, 1, 0, 0), (1, 0, 1, 0)))


# ---- classes ----------------------------------------------------------------------------------------------------------------


def test_classes_of_scores():
    scores = np.array([[0.1, 0.7, 0.2], [0.4, 0.4, 0.2]], np.float32)
    assert accuracy.classes(scores).tolist() == [1, 0]  # a tie goes to the lower class
    assert accuracy.classes(scores.reshape(2, 1, 1, 3)).tolist() == [1, 0]
    assert accuracy.classes(np.array([[3], [-1]], np.int8)).tolist() == [1, 0]


def test_a_single_unit_is_cut_at_a_half_or_at_zero():
    sigmoid, logit = np.array([[0.4], [0.6]], np.float32), np.array([[-2.0], [0.2]], np.float32)
    assert accuracy.threshold(sigmoid) == 0.5
    assert accuracy.threshold(logit) == 0.0
    assert accuracy.correct(sigmoid, np.array([0, 1])).tolist() == [True, True]
    assert accuracy.correct(logit[:, 0], np.array([[0], [1]]), accuracy.threshold(logit)).tolist() == [True, True]


@pytest.mark.parametrize("labels", [[0, 2, 1], [[0], [2], [1]], [0.0, 2.0, 1.0], np.eye(3)[[0, 2, 1]].tolist()])
def test_labels_may_be_numbers_or_one_hot(labels):
    scores = np.eye(3, dtype=np.float32)[[0, 2, 2]]
    assert accuracy.correct(scores, np.array(labels)).tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([0, 3, 1], "label 3 of sample 1 is outside the model's classes, 0 to 2"),
        ([0, 1, -1], "label -1 of sample 2"),
        ([0, 1], "2 labels for 3 samples"),
        ([0.5, 1, 1], "not whole numbers"),
        (np.zeros((3, 7)), "neither class numbers nor one-hot rows of 3 classes"),
    ],
)
def test_labels_that_do_not_fit_are_explained(labels, says):
    with pytest.raises(DataError, match=says):
        accuracy.correct(np.eye(3, dtype=np.float32), np.array(labels))


def test_an_output_that_is_no_row_of_scores_asks_for_a_metric():
    with pytest.raises(DataError, match=r"\['n', 8, 8, 3\] is not one score per class; leave out .* or pass metric= in Python"):
        accuracy.classes(np.zeros((2, 8, 8, 3), np.float32))


# ---- published numbers ------------------------------------------------------------------------------------------------------


def test_wilson_interval_of_newcombe_1998():
    """Newcombe (1998), Statistics in Medicine 17:857-872, table I: 81 of 263 is [0.2553, 0.3662], 0 of 20 ends at 0.1611."""
    m = accuracy.top1(np.arange(263) < 81)
    assert (m.value, m.low, m.high) == pytest.approx((30.80, 25.53, 36.62), abs=0.005)
    assert m.n == 263
    assert accuracy.top1(np.zeros(20, bool)).high == pytest.approx(16.11, abs=0.005)


def test_tango_interval_of_a_published_table():
    """Cavo et al. (2012), the example of Fagerland, Lydersen and Laake (2014), Statistics in Medicine 33:2850-2875."""
    hits = right(59, 6, 16, 80)
    m = accuracy.drop(*hits)
    assert (m.value, m.low, m.high) == pytest.approx((-6.21, -12.40, -0.54), abs=0.005)


def test_tango_interval_at_its_ends_by_hand():
    """Without discordant pairs q = 0 for d > 0, so T(d)^2 = n d / (1 - d) = z^2, which is d = z^2 / (n + z^2)."""
    z2 = 1.959964**2
    assert accuracy.tango(0, 0, 10_000) == pytest.approx((-z2 / (10_000 + z2), z2 / (10_000 + z2)), rel=1e-5)
    assert accuracy.tango(0, 0, 10) == pytest.approx((-z2 / (10 + z2), z2 / (10 + z2)), rel=1e-5)
    # all pairs lost: (1 - d) / (1 + d) = z^2 / n
    assert accuracy.tango(10, 0, 10) == pytest.approx(((10 - z2) / (10 + z2), 1.0), rel=1e-5)
    assert accuracy.tango(0, 10, 10) == pytest.approx((-1.0, (z2 - 10) / (10 + z2)), rel=1e-5)


def test_tango_is_the_normal_interval_for_many_pairs():
    b, c, n = 60_000, 50_000, 1_000_000
    low, high = accuracy.tango(b, c, n)
    half = 1.959964 * np.sqrt(b + c - (b - c) ** 2 / n) / n
    assert (low, high) == pytest.approx(((b - c) / n - half, (b - c) / n + half), abs=2e-6)


@pytest.mark.parametrize("seed", range(20))
def test_tango_mirrors_and_holds_the_estimate(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 300))
    b = int(rng.integers(0, n + 1))
    c = int(rng.integers(0, n - b + 1))
    low, high = accuracy.tango(b, c, n)
    assert -1 <= low <= (b - c) / n <= high <= 1
    assert low < high
    assert accuracy.tango(c, b, n) == pytest.approx((-high, -low), abs=1e-9)


@pytest.mark.parametrize(
    ("n", "lost", "gained"),
    [(200, 0.01, 0.01), (500, 0.004, 0.001), (1000, 0.02, 0.01), (5000, 0.001, 0.001), (100, 0.1, 0.05)],
)
def test_the_drops_interval_covers_the_truth(n, lost, gained):
    """At least 94 % of 3,000 simulated evaluations (binomial error 0.4 %) hold the true drop, few discordant pairs or many."""
    rng = np.random.default_rng(0)
    tables = rng.multinomial(n, (lost, gained, 1 - lost - gained), size=3000)
    distinct, counts = np.unique(tables[:, :2], axis=0, return_counts=True)
    intervals = np.array([accuracy.tango(int(b), int(c), n) for b, c in distinct])
    covers = (intervals[:, 0] <= lost - gained) & (lost - gained <= intervals[:, 1])
    assert (covers * counts).sum() / 3000 >= 0.94


def test_unpaired_or_empty_samples_are_refused():
    with pytest.raises(DataError, match="not paired"):
        accuracy.drop(np.ones(3, bool), np.ones(4, bool))
    with pytest.raises(DataError, match="no samples"):
        accuracy.drop(np.ones(0, bool), np.ones(0, bool))


# ---- verdicts ---------------------------------------------------------------------------------------------------------------


def loss(value, low, high, n=1000):
    return Measurement("drop", value, "percentage points", low, high, "", n)


@pytest.mark.parametrize(
    ("measured", "status", "n"),
    [
        (loss(0.1, -0.2, 0.4), "pass", None),
        (loss(0.1, -0.2, 0.5), "pass", None),
        (loss(0.8, 0.6, 1.1), "fail", None),
        (loss(0.3, 0.1, 0.6), "inconclusive", 2300),
        (loss(0.7, 0.4, 1.0), "fail", None),  # the estimate is above, whatever the interval
        (loss(0.5, 0.1, 0.9), "inconclusive", None),
        (loss(0.3, None, None), "inconclusive", None),
    ],
)
def test_verdict(measured, status, n):
    verdict = accuracy.verdict(measured, 0.5)
    assert (verdict.status, verdict.needs_about_n) == (status, n)


def test_verdict_reads_well():
    assert str(accuracy.verdict(loss(0.3, 0.1, 0.6, 4000), 0.5)) == "inconclusive (needs about 9,000 samples)"
    assert str(accuracy.verdict(loss(0.5, 0.1, 0.9), 0.5)).startswith("inconclusive (the drop is at the limit")


@pytest.mark.parametrize("n", [180, 600])
def test_where_nothing_came_out_otherwise_no_more_samples_are_asked_for_than_it_takes(n):
    asked = accuracy.verdict(accuracy.drop(*right(n, 0, 0, 0)), 0.5).needs_about_n
    assert asked == 770
    assert accuracy.verdict(accuracy.drop(*right(765, 0, 0, 0)), 0.5).status == "pass"
    assert accuracy.verdict(accuracy.drop(*right(764, 0, 0, 0)), 0.5).status == "inconclusive"


def test_the_number_of_samples_that_is_asked_for_decides():
    """With a true drop of 0.2 points and limit 0.5, the verdict on about as many samples as asked for is mostly pass."""
    rng = np.random.default_rng(1)
    small = accuracy.drop(*right(900, 7, 5, 88))
    asked = accuracy.verdict(small, 0.5).needs_about_n
    passed = 0
    for _ in range(100):
        b, c, rest = rng.multinomial(asked * 2, (0.007, 0.005, 0.988))
        passed += accuracy.verdict(accuracy.drop(*right(rest, b, c, 0)), 0.5).status == "pass"
    assert 1000 < asked < 20_000
    assert passed >= 70


# ---- without classes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [1, 7, 40, 1 << 22])
def test_sqnr_is_the_same_in_pieces(monkeypatch, piece):
    monkeypatch.setattr(accuracy, "_PIECE", piece)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 9, 4)).astype(np.float32)
    expected = 10 * np.log10((x.astype(float) ** 2).sum() / ((x.astype(float) - y) ** 2).sum())
    assert accuracy.sqnr(x, y).value == pytest.approx(expected, abs=1e-9)


def test_sqnr_of_known_noise():
    """Noise of a tenth of the signal is 20 dB; none is infinite; twice the signal off is -6 dB."""
    rng = np.random.default_rng(0)
    x = rng.choice([-1.0, 1.0], (500, 10)).astype(np.float32)
    noisy = accuracy.sqnr(x, x + 0.1 * rng.choice([-1.0, 1.0], x.shape).astype(np.float32))
    assert noisy.value == pytest.approx(20, abs=1e-4)
    assert noisy.low <= noisy.value <= noisy.high
    assert accuracy.sqnr(x, x).value == np.inf
    assert accuracy.sqnr(x, -x).value == pytest.approx(-6.02, abs=0.01)


def test_agreement():
    m = accuracy.agreement(np.array([0, 1, 2, 3]), np.array([0, 1, 2, 0]))
    assert m.value == 75
    assert m.low < 75 < m.high


def mean_error(output, target):
    return float(np.abs(output[:, 0] - target).mean())


def auc(output, labels):
    """Area under the ROC curve by ranks; undefined with one class."""
    scores = output[:, 0]
    yes, no = scores[labels == 1], scores[labels == 0]
    if not (len(yes) and len(no)):
        raise ValueError("one class only")
    return float((yes[:, None] > no[None]).mean())


def test_a_metric_is_bootstrapped_in_pairs():
    """Both networks share the noise of the labels, so the difference is far surer than either figure."""
    rng = np.random.default_rng(0)
    target = rng.normal(size=400)
    output = (target + rng.normal(size=400))[:, None]
    worse = output + 0.05 * np.sign(output - target[:, None])
    one = accuracy.metric_value(mean_error, {"y": output}, target)
    difference = accuracy.metric_drop(mean_error, {"y": output}, {"y": worse}, target)
    assert difference.value == pytest.approx(-0.05)
    assert difference.high - difference.low < 1e-9
    assert one.high - one.low > 0.05
    assert "mean_error" in one.how


def test_a_metric_gets_a_dict_of_several_outputs():
    outputs = {"a": np.zeros((30, 2)), "b": np.ones((30, 3))}
    m = accuracy.metric_value(lambda y, _: float(y["a"].sum() + y["b"].mean()), outputs, np.zeros(30))
    assert (m.value, m.low, m.high) == (1, 1, 1)


def test_a_metric_that_is_sometimes_undefined_has_no_interval():
    labels = np.zeros(30)
    labels[0] = 1
    m = accuracy.metric_value(auc, {"y": np.linspace(1, 0, 30)[:, None]}, labels)
    assert m.value == 1
    assert m.low is None
    assert "undefined on" in m.how


def test_a_metric_that_fails_is_named():
    with pytest.raises(DataError, match=r"metric auc fails on these outputs and labels \(ValueError: one class only\)"):
        accuracy.metric_value(auc, {"y": np.zeros((5, 1))}, np.zeros(5))


def test_the_bootstrap_covers_the_truth():
    """The mean of 60 normal numbers, 60 times: 95 %, within three binomial errors."""
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(60):
        x = rng.normal(size=60)
        interval = paired(lambda pick, x=x: float(x[pick].mean()), len(x), seed=seed)
        hits += interval.low <= 0 <= interval.high
    assert hits / 60 >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 60)


@pytest.mark.parametrize(
    ("output", "targets", "said"),
    [
        (np.linspace(3, 9, 40)[:, None], None, "one side"),  # a regression far from 0
        (np.linspace(-1, 1, 40)[:, None], np.linspace(-1, 1, 40), "one number"),  # and around 0, with its targets
        (np.linspace(-1, 1, 40)[:, None], None, ""),  # logits of two classes
        (np.linspace(0, 1, 40)[:, None], None, ""),  # and probabilities
        (np.random.default_rng(0).normal(size=(40, 6)), None, "copy of it"),  # an autoencoder
        (np.eye(6)[np.arange(40) % 6], None, ""),  # six probabilities from six numbers
        (np.random.default_rng(0).normal(size=(40, 4)), None, ""),
        (np.zeros((40, 8, 8, 2)), None, "not one score"),
    ],
)
def test_outputs_that_are_no_classes_are_told(output, targets, said):
    samples = intact.data.arrays(np.zeros((40, 6), np.float32), targets).bind((InputSpec("x", (None, 6)),), 1)
    assert bool(found := accuracy.why_no_classes(output, samples)) == bool(said)
    assert said in found


def test_a_slow_statistic_is_given_up():
    assert paired(lambda pick: float(pick[0]), 3, seconds=0).low is None


# ---- figures ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "written"), [(1.5, 1.5), (float("inf"), "inf"), (0.0, 0.0)])
def test_measurements_are_written_as_json(value, written):
    m = Measurement("SQNR", value, "dB", None, float("-inf"), "how", 7)
    expected = {"name": "SQNR", "value": written, "unit": "dB", "low": None, "high": "-inf", "how": "how", "n": 7}
    assert json.loads(json.dumps(m.to_json(), allow_nan=False)) == expected


def test_measurements_read_well():
    assert str(loss(0.11, -0.03, 0.25)) == "drop 0.11 percentage points [-0.03, 0.25]"
    assert str(Measurement("file", 333288, "bytes", None, None, "", 1)) == "file 333,288 bytes"
