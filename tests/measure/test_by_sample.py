"""What figures are of every single sample: kept, read back from anyone's file, and compared in pairs."""

import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest

from intact.errors import OptionError
from intact.measure import accuracy, metrics
from intact.measure.by_sample import BySample, change
from intact.measure.classes import Labelled
from intact.measure.figures import Reading

RNG = np.random.default_rng(3)


def packed(about, **arrays):
    """An archive like ours with other things in it."""
    file = io.BytesIO()
    np.savez_compressed(file, about=np.frombuffer(json.dumps(about).encode(), np.uint8), **arrays)
    return file.getvalue()


def about(**other):
    return {
        "schema": "intact-samples/1",
        "model_sha256": "m",
        "samples": "s",
        "columns": [{"of": "quantized", "name": "x"}],
    } | other


def test_every_kind_of_column_adds_up_to_its_figure():
    x, y = RNG.normal(size=(40, 7)), RNG.normal(size=(40, 7))
    labels = RNG.integers(0, 7, 40)
    right = [accuracy.correct(each, labels) for each in (x, y)]
    shares = [accuracy.top1(right[0]), accuracy.drop(*right), *Labelled(x, y, labels).top5()]
    for m in shares:
        assert m.each.dtype.kind in "bi"
        assert m.value == pytest.approx(100 * m.each.mean())
    named = metrics.METRICS["mae"]
    means = [
        *Labelled(x, y, labels).cross_entropy(),
        accuracy.same_numbers(x.round(), y.round(), "equal numbers"),
        accuracy.same_numbers(x, x, "equal numbers"),
        metrics.value(named, {"o": y}, x),
        metrics.drop(named, {"o": x}, {"o": y}, x),
    ]
    for m in means:
        assert m.each.shape == (40,)
        assert m.value == pytest.approx(m.each.mean())
    noise = accuracy.sqnr(x, y)
    assert noise.value == pytest.approx(10 * math.log10(noise.each[:, 0].sum() / noise.each[:, 1].sum()))
    assert metrics.value(metrics.METRICS["auc"], {"o": x[:, :1]}, labels % 2).each is None  # is of all samples together


def test_a_file_gives_back_what_was_kept_in_the_same_bytes_each_time():
    readings = [
        Reading("quantized", accuracy.top1(np.array([True, False, True]))),
        Reading("quantized", accuracy.sqnr(np.ones((3, 2)), np.zeros((3, 2)), 'SQNR of "\n<b>')),
        Reading("float", accuracy.top1(np.array([True, True, True]))),
    ]
    kept = BySample.of(readings, "m", "s")
    data = kept.to_bytes()
    found = BySample.from_bytes(data, 3)
    assert (found.model_sha256, found.samples) == ("m", "s")
    assert list(found.columns) == [(r.of, r.measurement.name) for r in readings]
    assert found.columns["quantized", "top-1 accuracy"].tolist() == [True, False, True]
    powers = found.columns["quantized", 'SQNR of "\n<b>']
    assert (powers.dtype, powers.tolist()) == (np.float32, [[2, 2]] * 3)
    assert found.to_bytes() == data


def test_what_32_bits_do_not_hold_is_left_out(monkeypatch):
    sizes = [1.0, 1e-60, 1e60, math.inf]
    readings = [
        Reading("quantized", replace(accuracy.top1(np.ones(2, bool)), name=str(s), each=np.array([s, 1.0]))) for s in sizes
    ]
    assert [name for _, name in BySample.of(readings, "m", "s").columns] == ["1.0"]
    monkeypatch.setattr("intact.measure.by_sample.MOST", 7)
    assert not BySample.of(readings, "m", "s").columns


def test_a_change_of_shares_has_the_paired_score_interval():
    a = np.array([True] * 16 + [False] * 6 + [True] * 139)
    b = np.array([False] * 16 + [True] * 6 + [True] * 139)
    found = change(b, a, "top-1 accuracy", "%")  # Tango (1998): 16 and 6 of 161
    assert (found.value, found.low, found.high) == pytest.approx((100 * 10 / 161, 0.54, 12.40), abs=0.005)
    assert found.unit == "percentage points"
    assert "16 samples more and 6 less of 161" in found.how
    back = change(a, b, "top-1 accuracy", "%")
    assert (back.value, back.high) == pytest.approx((-found.value, -found.low))
    drops = change(np.array([1, 0, -1, 0] * 30, np.int8), np.array([-1, 0, -1, 0] * 30, np.int8), "accuracy drop", "points")
    assert drops.value == pytest.approx(-50)  # of samples that differ by two
    assert drops.low < -50 < drops.high


def test_a_change_of_means_is_as_sure_as_the_pairs_are():
    a = RNG.exponential(size=300).astype(np.float32)
    shift = RNG.normal(0.05, 0.01, 300).astype(np.float32)
    found = change(a, a + shift, "cross entropy", "nats")
    half = 1.96 * shift.std() / math.sqrt(300)
    assert found.value == pytest.approx(shift.mean(), rel=1e-4)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.2)
    assert found.unit == "nats"
    assert change(a, a + shift, "equal numbers", "%").unit == "percentage points"


def test_a_change_of_decibels_pairs_signal_and_noise():
    powers = RNG.exponential(size=(200, 2)).astype(np.float32)
    halved = powers * np.array([1, 0.5], np.float32)
    found = change(powers, halved, "SQNR", "dB")
    assert (found.value, found.low, found.high) == pytest.approx((10 * math.log10(2),) * 3, abs=1e-4)
    assert change(powers, powers * np.array([1, 0], np.float32), "SQNR", "dB") is None  # infinite


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.ones(3, bool), np.ones(3, bool)),
        (np.ones(3, bool), np.ones(4, bool)),
        (np.ones(3, bool), np.zeros(3, np.float32)),
        (np.ones((0,), bool), np.ones((0,), bool)),
    ],
)
def test_there_is_no_change_of_what_is_the_same_or_not_alike(a, b):
    assert change(a, b, "x", "%") is None


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is not what Intact writes; make the run again"),
        (b"PK\x03\x04" + bytes(40), "is not what Intact writes"),
        (packed(about(schema="intact-samples/9")), "is of schema intact-samples/9, and this version of Intact reads"),
        (packed(about(schema="another/1")), "is not what Intact writes"),
        (packed([]), "is not what Intact writes"),
        (packed(about()), "is not what Intact writes"),
        (packed(about(columns=3)), "is not what Intact writes"),
        (packed(about(columns=[{"of": 1, "name": "x"}]), **{"column 0": np.ones(3, bool)}), "is not what Intact writes"),
        (packed(about(), **{"column 0": np.ones(4, bool)}), "is not what Intact writes"),
        (packed(about(), **{"column 0": np.ones((3, 3), np.float32)}), "is not what Intact writes"),
        (packed(about(), **{"column 0": np.full(3, np.nan, np.float32)}), "is not what Intact writes"),
        (packed(about(), **{"column 0": np.full((3, 2), -1, np.float32)}), "is not what Intact writes"),
        (packed(about(), **{"column 0": np.array([{}] * 3)}), "is not what Intact writes"),
        (packed(about(), **{"column 0": np.zeros(40 << 20, np.int8)}), "is not what Intact writes"),
        (packed(about(), **{"column 0": np.ones(3, bool)})[:-40], "is not what Intact writes"),
    ],
)
def test_what_is_damaged_or_foreign_is_refused(data, said):
    with pytest.raises(OptionError, match=said):
        BySample.from_bytes(data, 3)
    assert BySample.from_bytes(packed(about(), **{"column 0": np.ones(3, bool)}), 3).columns
