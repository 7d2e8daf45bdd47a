"""What terminal, Markdown and page say of a document: units that read well, one sentence, five figures."""

import copy

import pytest

from intact.measure.criteria import judge, parse
from intact.measure.criterion_figures import LOSSES
from intact.measure.figures import Reading
from intact.measure.measurement import Measurement
from intact.report import advice, figures
from intact.report.numbers import number
from intact.wording import quantity


def row(name, value, unit="", low=None, high=None, *, of="quantized"):
    return {"of": of, "name": name, "value": value, "unit": unit, "low": low, "high": high, "how": f"how {name}", "n": 100}


SIZES = [
    row("file size", 347_200, "bytes", of="float"), row("file size", 112_464, "bytes"),
    row("peak live activations", 222_720, "bytes", of="float"), row("peak live activations", 55_680, "bytes"),
    row("latency", 0.07553, "ms", 0.0754, 0.07565, of="float"), row("latency", 0.0399, "ms", 0.03988, 0.03993),
    row("speed-up", 1.892, "x", 1.887, 1.895, of="difference"),
]  # fmt: skip
LABELLED = [
    row("top-1 accuracy", 98.67, "%", 97.68, 99.23, of="float"), row("top-1 accuracy", 98.78, "%", 97.7, 99.3),
    row("accuracy drop", -0.1112, "percentage points", -0.63, 0.31, of="difference"),
    row("top-5 drop", 3.0, "percentage points", 1, 4, of="difference"),
]  # fmt: skip


def document(measurements=(*LABELLED, *SIZES), **others):
    return {
        "settings": {"scheme": "int8", "target": "cpu"}, "measurements": list(measurements), "verdict": None, "findings": [],
        **others,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (112_464, "bytes", "112 KB"), (999, "bytes", "999 bytes"), (1, "bytes", "1 byte"), (999_900, "bytes", "1.00 MB"),
        (3_500_000, "bytes", "3.50 MB"), (2.5e9, "bytes", "2.50 GB"), (0, "bytes", "0 bytes"),
        (0.0754, "ms", "75.4 µs"), (5.213, "ms", "5.21 ms"), (1234, "ms", "1.23 s"), (0, "ms", "0 µs"),
        (0.1112, "percentage points", "0.11 points"), (0.002, "percentage points", "0.002 points"), (100, "%", "100.00 %"),
        (1, "steps", "1 step"), (2, "steps", "2 steps"), (1, "ops", "1 op"), (0, "ops", "0 ops"),
        (1.892, "x", "1.89x"), (38.85, "dB", "38.9 dB"), (40, "dB", "40.0 dB"), (float("inf"), "dB", "infinite"),
        (float("-inf"), "dB", "-infinite"), (float("nan"), "%", "undefined"), (83_498, "", "83,498"),
        (0.48571, "nats", "0.486 nats"),
        (2000, "of 2,000 stored numbers", "2,000 of 2,000 stored numbers"), (1e-12, "", "1e-12"),
        (-28_208, "bytes", "-28.2 KB"),
    ],
)  # fmt: skip
def test_units_read_well(value, unit, said):
    assert quantity(value, unit) == said


@pytest.mark.parametrize(
    ("low", "value", "high", "said", "interval"),
    [
        (-0.63, -0.1112, 0.31, "0.11 points better", "0.63 better to 0.31 worse"),
        (1.2, 2, 3, "2.00 points worse", "1.20 to 3.00 worse"),
        (-3, -2, -1.2, "2.00 points better", "1.20 to 3.00 better"),
        (-0.4, 0, 0.4, "no change", "0.40 better to 0.40 worse"),
        (0, 1, 2, "1.00 points worse", "0.00 to 2.00 worse"),
        (None, 1, None, "1.00 points worse", ""),
        ("-inf", "inf", "inf", "infinite worse", "infinite better to infinite worse"),
        (None, "nan", None, "undefined", ""),
    ],
)
def test_what_is_lost_says_which_way(low, value, high, said, interval):
    loss = row("accuracy drop", value, "percentage points", low, high, of="difference")
    assert (figures.value_of(loss), figures.interval_of(loss)) == (said, interval)


def test_an_interval_has_its_unit_once():
    loss = row("cross entropy increase", -0.000105, "nats", -0.000778, 0.000568, of="difference")
    assert figures.value_of(loss) == "0.000105 nats better"
    assert figures.interval_of(loss) == "0.000778 better to 0.000568 worse"


def test_ratios_say_which_way():
    assert figures.value_of(row("speed-up", 1.892, "x", of="difference")) == "1.89x faster"
    assert figures.value_of(row("speed-up", 0.5, "x", of="difference")) == "2.00x slower"
    assert figures.value_of(row("size ratio", 0.8, "x", of="difference")) == "1.25x larger"
    assert figures.interval_of(row("speed-up", 1.892, "x", 1.88, 1.9, of="difference")) == "1.88 to 1.90x"
    assert figures.interval_of(row("latency", 1, "ms", 0.9, 1.1)) == "900 µs to 1.10 ms"
    assert figures.interval_of(row("speed-up", 0.8759, "x", 0.8743, 0.8776, of="difference")) == "1.14 to 1.14x"
    assert figures.interval_of(row("speed-up", 1, "x", 0.8, 1.1, of="difference")) == "1.25x slower to 1.10x faster"


def test_five_figures_of_classes():
    assert [(h.name, h.float, h.integer, h.change_in_full) for h in figures.five(document())] == [
        ("accuracy", "98.67 %", "98.78 %", ""),
        ("drop", "", "", "0.11 points better (0.63 better to 0.31 worse)"),
        ("size", "347 KB", "112 KB", "3.09x smaller"),
        ("latency", "75.5 µs", "39.9 µs", "1.89x faster (1.89 to 1.90x)"),
        ("peak memory", "223 KB", "55.7 KB", "4.00x less"),
    ]


def test_five_figures_of_other_outputs():
    unlabelled = document([row("agreement with float", 99.5, "%", 99, 99.8), row("SQNR", 30, "dB", 29, 31), *SIZES])
    assert [h.name for h in figures.five(unlabelled)] == ["agreement", "SQNR", "size", "latency", "peak memory"]
    kinds = [(name, db, kind) for name, db in (("a", 30), ("b", 12)) for kind in ("SQNR", "SQNR without the mean")]
    several = [row(f"{kind} of {name}", db, "dB", db - 1, db + 1) for name, db, kind in kinds]
    several += [row("SQNR of the worst channel of a", 1, "dB", 0, 2)]
    found = figures.five(document([*several, *SIZES]))
    assert [(h.name, h.integer, h.change) for h in found[:2]] == [
        ("SQNR", "12.0 dB", "the least of 2 outputs"), ("without mean", "12.0 dB", "the least of 2 outputs"),
    ]  # fmt: skip
    metric = [row("mae", 0.5, of="float"), row("mae", 0.52), row("mae increase", 0.02, "", 0.01, 0.03, of="difference")]
    found = figures.five(document([*metric, *SIZES]))
    assert (found[0].float, found[0].integer) == ("0.500", "0.520")
    assert found[1].change_in_full == "0.0200 worse (0.0100 to 0.0300 worse)"


def test_a_measured_ratio_is_taken_before_one_of_two_sizes():
    found = figures.five(document([*SIZES, row("size ratio", 2.5, "x", of="difference")]))
    assert found[0].change == "2.50x smaller"


def test_what_was_not_measured_is_no_trouble():
    assert figures.five(document([])) == ()
    assert figures.sentence(document([])) == "int8 for cpu: written, and nothing was measured."
    old = document()
    del old["verdict"], old["findings"]
    assert figures.criteria(old) == ()
    assert figures.sentence(old).startswith("int8 for cpu: accuracy 0.11 points better than float's, 3.09x smaller")


def read(rows):
    for r in rows:
        yield Reading(r["of"], Measurement(r["name"], float(r["value"]), r["unit"], r["low"], r["high"], r["how"], r["n"]))


def asked(*texts, **others):
    made = document(**others)
    judged = [judge(parse(text), read(made["measurements"])).to_json() for text in texts]
    return copy.deepcopy(made | {"criteria": judged})


def test_criteria_are_said_in_the_unit_that_was_typed():
    made = asked("drop <= 0.2", "peak memory <= 64 KiB", "latency <= 1 us", "size >= 4x", "arena <= 1 KiB")
    assert [(r.criterion, r.word, r.measured, r.interval) for r in figures.criteria(made)] == [
        ("drop <= 0.2", "open", "0.11 points better", "0.63 better to 0.31 worse"),
        ("peak memory <= 64 KiB", "met", "54.4 KiB", ""),
        ("latency <= 1 us", "not met", "39.9 us", "39.9 to 39.9 us"),
        ("size >= 4x", "not met", "3.09x smaller", ""),
        ("arena <= 1 KiB", "open", "not measured", ""),
    ]


def test_the_verdict_is_one_sentence():
    assert figures.sentence(asked("drop <= 1", "size >= 3x")) == "Accepted: both criteria are met."
    assert figures.sentence(asked("drop <= 1")) == "Accepted: the criterion is met."
    assert figures.sentence(asked("drop <= 0.2", "size >= 3x")) == (
        "Accepted with limitation: none of 2 criteria is missed, 1 is open (drop <= 0.2: 0.11 points better)."
    )
    assert figures.sentence(asked("drop <= 0.2")) == (
        "Accepted with limitation: the criterion is open (drop <= 0.2: 0.11 points better)."
    )
    assert figures.sentence(asked("size >= 4x", "size >= 3x")) == (
        "Rejected: 1 of 2 criteria is not met (size >= 4x: 3.09x smaller)."
    )
    assert figures.sentence(asked("size >= 4x")) == "Rejected: the criterion is not met (size >= 4x: 3.09x smaller)."
    limited = asked("size >= 3x") | {"acceptance": {"status": "accepted with limitation", "limitations": ["a"]}}
    assert figures.sentence(limited) == ("Accepted with limitation: the criterion is met, but 1 finding limits its use.")


@pytest.mark.parametrize(
    ("status", "needed", "word", "more"),
    [
        ("pass", None, "Within the limit", ""),
        ("fail", None, "The limit is missed", ""),
        ("inconclusive", 1600, "Inconclusive", "; about 1,600 samples would settle it"),
    ],
)
def test_a_limit_is_said(status, needed, word, more):
    loss = {k: v for k, v in LABELLED[2].items() if k != "of"}
    verdict = {"status": status, "limit": 0.5, "needs_about_n": needed, "loss": loss}
    assert figures.sentence(document(verdict=verdict)) == (
        f"{word}: 0.11 points better (0.63 better to 0.31 worse), 0.50 points may be lost{more}."
    )


def test_a_limit_of_a_metric_says_which():
    loss = row("mae increase", 0.00123, "", 0.000342, 0.00218, of="difference")
    verdict = {"status": "pass", "limit": 0.01, "needs_about_n": None, "loss": loss}
    assert figures.sentence(document(verdict=verdict)) == (
        "Within the limit: mae 0.00123 worse (0.000342 to 0.00218 worse), 0.0100 may be lost."
    )


def op_of(name, share, *, scale=0.1, macs=0):
    """An op of a chain: each reads what the one before it makes."""
    n = int(name[1:])
    row = {"op": name, "output": n, "reads": [n - 1], "macs": macs, "parameters": 0, "noise_share": share}
    return row, {"id": n, "dtype": "int8", "scale": [scale]}


def test_an_op_that_only_passes_noise_on_is_not_to_blame():
    """A RESHAPE and a TRANSPOSE in the scale of what they read, after an op; a pool that rounds anew; one of another scale."""
    chain = [op_of("a1", 0.2), op_of("b2", 0.2), op_of("c3", 0.3, macs=9), op_of("d4", 0.29), op_of("e5", 0.29)]
    chain += [op_of("f6", 0.35), op_of("g7", 0.1, scale=0.2)]
    made = {"ops": [op for op, _ in chain], "tensors": [tensor for _, tensor in chain]}
    assert [op["op"] for op in advice.worst(made)] == ["f6", "c3", "a1"]
    older = {"ops": [{k: v for k, v in op.items() if k not in {"output", "reads"}} for op, _ in chain], "tensors": []}
    assert [op["op"] for op in advice.worst(older)] == ["f6", "c3", "d4"]
    assert advice.worst(None) == ()


def test_a_mask_is_said_by_its_pixels():
    masks = [row("pixels of the same class", 87.5, "%", 87, 88), row("SQNR", 43, "dB"), *SIZES]
    assert figures.sentence(document(masks)).startswith("int8 for cpu: the same class as float on 87.50 % of the pixels, ")


@pytest.mark.parametrize(
    ("measured", "criterion"),
    [
        (LABELLED, "drop <= 1"),
        ([row("agreement with float", 99.5, "%"), row("SQNR", 30, "dB")], "agreement >= 99"),
        ([row("SQNR of boxes", 30, "dB"), *SIZES], "SQNR >= 20"),
        (
            [row("mae", 902.0, "", of="float"), row("mae increase", 3, "", of="difference"), row("SQNR", 30, "dB")],
            "mae increase <= 50",
        ),
        ([row("mse", 0.0, "", of="float"), row("mse increase", 0, "", of="difference")], "mse increase <= 0.01"),
        ([row("auc", 0.93, "", of="float"), row("auc drop", 0.1, "", of="difference")], "auc drop <= 0.01"),
        ([], "size <= 1 MB"),
    ],
)
def test_the_criterion_to_begin_with_is_on_what_the_run_has(measured, criterion):
    found, _ = advice.example(document(measured))
    assert found == criterion
    metric = next((name for name in LOSSES if any(m["name"] == LOSSES[name] for m in measured)), None)
    assert parse(found).under(metric).text == criterion
    assert f'--accept "{criterion}"' in advice.next_steps(document(measured, criteria=[]), None)[-1]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.385e-05, "0.00001385"), (-1.385e-05, "-0.00001385"), (1e-05, "0.00001"), (9.99999e-05, "0.0001"),
        (1.2e-12, "1.2e-12"), (0, "0"), (0.4857, "0.4857"), (28208.3, "28,208"), (1e16, "1e+16"), ("inf", "infinite"),
        ("nan", "undefined"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_they_are_read(value, text):
    assert number(value) == text


def test_disagreement_is_said():
    loss = row("disagreement with float", 0.4, "%", 0.1, 0.9)
    verdict = {"status": "pass", "limit": 1.0, "needs_about_n": None, "loss": loss}
    assert figures.sentence(document(verdict=verdict)) == (
        "Within the limit: 0.40 % of the samples get another class (0.10 to 0.90 %), 1.00 % may."
    )
