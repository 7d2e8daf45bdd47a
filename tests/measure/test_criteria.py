"""Criteria: what can be typed, what it means, and what an interval makes of it."""

import ast
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

import intact
from intact import choices
from intact.errors import OptionError
from intact.measure.accuracy import agreement, around_nothing
from intact.measure.criteria import criteria, judge, load, overall, parse
from intact.measure.criterion_figures import FIGURES, LOSSES
from intact.measure.figures import Reading
from intact.measure.measurement import Measurement
from intact.measure.metrics import METRICS


def reading(name, value, unit, low=None, high=None, of="quantized", *, n=1000, how="as measured"):  # noqa: PLR0917
    return Reading(of, Measurement(name, value, unit, low, high, how, n))


def named_in_code():
    """Names that the code gives measurements outright, with the unit where it stands beside."""
    for path in sorted(Path(intact.__file__).parent.rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Measurement":
                name, unit = (a.value if isinstance(a, ast.Constant) else None for a in (*call.args[:3:2],))
                if name is not None:
                    yield name, unit


def test_every_figure_that_is_measured_can_be_asked_for():
    known = {figure.name: figure.unit for figure in FIGURES}
    measured = dict(named_in_code())
    assert len(measured) > 15
    assert measured.keys() <= known.keys()
    assert {name: unit for name, unit in measured.items() if unit is not None and unit != known[name]} == {}


#: What is typed, and the figure, whose it is, the sign and the limit in the figure's own unit.
TYPED = {
    "drop <= 2": ("accuracy drop", "difference", "<=", 2.0),
    "drop<=2%": ("accuracy drop", "difference", "<=", 2.0),
    "drop < .5 pp": ("accuracy drop", "difference", "<", 0.5),
    "Accuracy drop =< 0.5 percentage points": ("accuracy drop", "difference", "<=", 0.5),
    "accuracy ≥ 90": ("top-1 accuracy", "quantized", ">=", 90.0),
    "float accuracy > 90 %": ("top-1 accuracy", "float", ">", 90.0),
    "accuracy >= 0.5 %": ("top-1 accuracy", "quantized", ">=", 0.5),
    "top-5 >= 99": ("top-5 accuracy", "quantized", ">=", 99.0),
    "loss <= 0.3": ("cross entropy", "quantized", "<=", 0.3),
    "agreement >= 99": ("agreement with float", "quantized", ">=", 99.0),
    "agreement with float of probs >= 99": ("agreement with float of probs", "quantized", ">=", 99.0),
    "weight SQNR >= 30": ("weight SQNR", "quantized", ">=", 30.0),
    "weight MSE <= 0.5": ("weight MSE", "quantized", "<=", 0.5),
    "packed file size <= 10 KB": ("packed file size", "quantized", "<=", 10_000.0),
    "TFLM arena, packed <= 1 KiB": ("TFLM arena, packed", "quantized", "<=", 1024.0),
    "speed-up over LiteRT >= 1": ("speed-up over LiteRT", "difference", ">=", 1.0),
    "sqnr >= 30 db": ("SQNR", "quantized", ">=", 30.0),
    "SQNR of a of b >= 30": ("SQNR of a of b", "quantized", ">=", 30.0),
    "SQNR of the worst channel >= 12": ("SQNR of the worst channel", "quantized", ">=", 12.0),
    "size <= 1,500 KiB": ("file size", "quantized", "<=", 1500 * 1024.0),
    "size <= 1.5MB": ("file size", "quantized", "<=", 1.5e6),
    "size <= 10 kB": ("file size", "quantized", "<=", 1e4),
    "size >= 4x": ("size ratio", "difference", ">=", 4.0),
    "size ratio >= 3.5": ("size ratio", "difference", ">=", 3.5),
    "latency <= 5 ms": ("latency", "quantized", "<=", 5.0),
    "latency < 250us": ("latency", "quantized", "<", 0.25),
    "latency < 250 µs": ("latency", "quantized", "<", 0.25),
    "float latency <= 1e-2 s": ("latency", "float", "<=", 10.0),
    "latency >= 2x": ("speed-up", "difference", ">=", 2.0),
    "Speed up >= 1.5 times": ("speed-up", "difference", ">=", 1.5),
    "peak memory <= 256 KiB": ("peak live activations", "quantized", "<=", 256 * 1024.0),
    "peak_memory >= 3x": ("peak memory ratio", "difference", ">=", 3.0),
    "flash <= 1 MiB": ("flash", "quantized", "<=", 2.0**20),
    "arena <= 64 KiB": ("TFLM arena", "quantized", "<=", 65536.0),
    "integer only": ("ops in float", "quantized", "=", 0.0),
    "Integer-only = yes": ("ops in float", "quantized", "=", 0.0),
    "ops in float <= 3": ("ops in float", "quantized", "<=", 3.0),
    "simulator = runtime, bit for bit >= 2000": ("simulator = runtime, bit for bit", "quantized", ">=", 2000.0),
    "mae increase <= 0.1": ("mae increase", "difference", "<=", 0.1),
    "metric >= 3": ("metric", "quantized", ">=", 3.0),
    "metric <= -3": ("metric", "quantized", "<=", -3.0),
    "integer size >= 4x": ("size ratio", "difference", ">=", 4.0),
    "drop <= -1": ("accuracy drop", "difference", "<=", -1.0),
    "drop <= 100": ("accuracy drop", "difference", "<=", 100.0),
    "accuracy >= 0": ("top-1 accuracy", "quantized", ">=", 0.0),
    "accuracy >= 100": ("top-1 accuracy", "quantized", ">=", 100.0),
    "speed-up >= 0.25x": ("speed-up", "difference", ">=", 0.25),
    "throughput at batch 32 >= 100": ("throughput at batch 32", "quantized", ">=", 100.0),
    "resident memory <= 20 MB": ("resident memory", "quantized", "<=", 2e7),
}


@pytest.mark.parametrize("text", TYPED)
def test_what_is_typed_is_understood(text):
    found = parse(text)
    assert (found.figure, found.of, found.comparison) == TYPED[text][:3]
    assert found.limit == pytest.approx(TYPED[text][3], rel=1e-12)
    assert parse(found.text) == found  # what is written down means the same


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("acuracy >= 90", r"^no figure is called 'acuracy'; there are: accuracy, .*drop, .*integer only|integer only"),
        ("latancy <= 5 ms", r"there are: latency, "),
        ("siz <= 5 kB", r"there are: size, "),
        ("wibble <= 5", r"there are: integer only, drop, accuracy"),
        ("SQNRR of y >= 3", r"no figure is called 'SQNRR of y'"),
        ("drop of y <= 3", r"no figure is called 'drop of y'"),
        ("size <= 0.25x", r"type size ratio >= 4$"),
        ("latency <= 5", r"type a unit: ms, us or s"),
        ("size <= 5", r"type a unit: KiB, MB or B"),
        ("size >= 4 ms", r"file size is not in ms; type KiB, MB, B or x"),
        ("accuracy >= 0.9", r"top-1 accuracy is in per cent; type 90"),
        ("levels used >= 3 dB", r"leave the unit out"),
        ("drop >= 2", r"^'drop >= 2' asks for more accuracy drop, which is worse; type drop <= 2$"),
        ("drop >= -2 pp", r"type drop <= 2 pp$"),
        ("latency >= 5 ms", r"asks for more latency, which is worse; type latency <= 5 ms$"),
        ("float latency > 5 ms", r"type float latency < 5 ms$"),
        ("accuracy <= 50", r"asks for less top-1 accuracy, which is worse; type accuracy >= 50$"),
        ("SQNR of y <= 20", r"asks for less SQNR of y, which is worse; type SQNR of y >= 20$"),
        ("speed-up <= 2x", r"type speed-up >= 2x$"),
        ("ops in float >= 3", r"type ops in float <= 3$"),
        ("flash >= 1 B", r"type flash <= 1 B$"),
        ("size <= -5 KB", r"file size is more than 0 bytes, so no file passes; type another limit$"),
        ("size <= 0", r"file size is more than 0 bytes, so no file passes"),
        ("latency < 0 ms", r"latency is more than 0 ms, so no file passes"),
        ("loss <= -1", r"cross entropy is at least 0 nats, so no file passes"),
        ("accuracy >= -1", r"top-1 accuracy is from 0 to 100 %, so every file passes"),
        ("size ratio >= 0", r"size ratio is more than 0 x, so every file passes"),
        ("top-5 drop <= 200", r"top-5 drop is from -100 to 100 points, so every file passes"),
        ("auc >= 90", r"auc is from 0 to 1, so no file passes"),
        ("size >= 0.25x", r"takes 4 times the float file's; type size ratio >= 4 for so much less$"),
        ("size <= 4x", r"more times are better; type size ratio >= 4$"),
        ("float size >= 4x", r"^'float size >= 4x' compares both files; type size ratio >= 4x without float$"),
        ("latency <= 5 m", r"latency is not in m; type ms, us, s or x$"),
        ("drop <= 1_000", r"a number is typed without _, as 1000 or 1,000$"),
        ("size <= 1_000 KB", r"a number is typed without _, as 1000 or 1,000$"),
        ("drop = 2", r"= is for integer only"),
        ("integer only = no", r"no criterion|no figure"),
        ("drop <= 0,5", r"is no criterion; type it as"),
        ("drop <= nan", r"is no criterion"),
        ("drop <= inf", r"is no criterion"),
        ("drop <= 1e999", r"has a limit that no number reaches"),
        ("size <= 1e308 MB", r"has a limit that no number reaches"),
        ("accuracy >= 101", r"top-1 accuracy is from 0 to 100 %, so no file passes"),
        ("agreement > 100 %", r"agreement with float is from 0 to 100 %, so no file passes"),
        ("drop", r"is no criterion"),
        ("drop <=", r"is no criterion"),
        ("<= 2", r"is no criterion"),
        ("", r"has 1 to 400 characters"),
        ("x" * 401, r"has 1 to 400 characters"),
        ("float agreement >= 3", r"there is no agreement with float of float; type agreement"),
        ("\x1b[2Jdrop\u202e >= <script>", r"is no criterion"),
    ],
)
def test_what_is_no_criterion_is_said(text, said):
    with pytest.raises(OptionError, match=said) as raised:
        parse(text)
    assert "\x1b" not in str(raised.value)
    assert "\u202e" not in str(raised.value)
    assert len(str(raised.value)) < 1200


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_a_figure_is_asked_to_be_better_and_never_worse(figure):
    unit = {"bytes": "B", "ms": "ms"}.get(figure.unit, "")
    number = 50 if figure.unit == "%" else 1
    texts = {way: f"{figure.name} {sign} {number} {unit}".strip() for way, sign in (("less", "<="), ("more", ">="))}
    for way, text in texts.items():
        if figure.extent.better in {way, ""}:
            assert parse(text).figure == figure.name
        else:
            with pytest.raises(OptionError, match=r"which is worse; type ") as raised:
                parse(text)
            parse(raised.value.message.rpartition("; type ")[2])


def test_a_drop_has_limits_where_it_is_one_of_accuracy():
    for text in ("drop <= 200", "drop <= 101 %", "drop < -100"):
        with pytest.raises(OptionError, match=r"accuracy drop is from -100 to 100 points, so (no|every) file passes"):
            parse(text).under(None)
    with pytest.raises(OptionError, match=r"drop is in percentage points; type drop <= 2, or 0.02 points for so little$"):
        parse("drop <= 0.02").under(None)
    assert parse("drop <= 0.02 points").under(None).limit == 0.02
    assert parse("drop <= 200").under("mse").limit == 200
    with pytest.raises(OptionError, match=r"auc drop is from -1 to 1, so every file passes"):
        parse("drop <= 2").under("auc")


def test_a_path_is_no_figure_that_is_misspelt(tmp_path):
    (tmp_path / "limits.txt").write_text("drop <= 2")
    with pytest.raises(OptionError, match=r"is a folder; give the path of an accept.toml, or a criterion"):
        parse(str(tmp_path))
    with pytest.raises(OptionError, match=r"is a file that does not end in .toml; give"):
        parse(str(tmp_path / "limits.txt"))
    with pytest.raises(OptionError, match=r"is a folder, not a file"):
        criteria(tmp_path)


def test_metrics_lose_what_they_are_said_to():
    assert set(LOSSES) == set(METRICS) == set(choices.METRICS)
    assert {name: f"{name} {'increase' if METRICS[name].error else 'drop'}" for name in METRICS} == dict(LOSSES)


def test_a_drop_beside_a_metric_is_in_its_unit():
    assert parse("drop <= 0.01").under("auc").figure == "auc drop"
    assert parse("drop <= 0.01").under("mine").figure == "metric drop"
    assert parse("drop <= 2").under(None) == parse("drop <= 2")
    with pytest.raises(OptionError, match="beside a metric the drop is in its own unit; leave % out"):
        parse("drop <= 2%").under("auc")
    with pytest.raises(OptionError, match="no metric is measured; type --metric"):
        parse("mse <= 2").under(None)


# ---- files ----------------------------------------------------------------------------------------------------------------


def test_a_file_of_criteria(tmp_path):
    path = tmp_path / "accept.toml"
    path.write_text(
        'criteria = ["drop <= 2", "size >= 4x"]\n"integer only" = true\n'
        '[latency]\nat_most = "5 ms"\nbelow = "10 ms"\n["peak memory"]\nbelow = "256 KiB"\n[accuracy]\nat_least = 90\n'
    )
    texts = ["drop <= 2", "size >= 4x", "integer only", "latency <= 5 ms", "latency < 10 ms"]
    texts += ["peak memory < 256 KiB", "accuracy >= 90"]
    assert load(path) == tuple(map(parse, texts))
    assert criteria([str(path), "drop <= 2", "drop <= 3"]) == tuple(map(parse, [*texts, "drop <= 3"]))
    assert criteria(path) == load(path)
    assert criteria("drop <= 2") == (parse("drop <= 2"),)
    assert criteria(None) == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "asks for nothing"),
        ("criteria = []", "asks for nothing"),
        ("criteria = 3", "'criteria' says nothing here"),
        ("criteria = [3]", "a criterion is a text, not int"),
        ('criteria = ["acuracy >= 9"]', "no figure is called"),
        ("[latency]\nat_mots = 3", "'latency' has a 'at_mots'; a table of a figure takes at_most, at_least, below, above"),
        ("[latency]\nat_most = [3]", "at_most of 'latency' takes a number or a text"),
        ("[latency]\nat_most = nan", "is no criterion"),
        ("[latency]", "says nothing here"),
        ("drop <= 2", "is no TOML"),
        ("a = " + "[" * 5000, "is no TOML"),
    ],
)
def test_a_file_that_says_nothing_of_use(tmp_path, text, said):
    path = tmp_path / "accept.toml"
    path.write_text(text)
    with pytest.raises(OptionError, match=said) as raised:
        load(path)
    assert str(raised.value).startswith(f"{path}: ")


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(OptionError, match="no such file"):
        criteria(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(OptionError, match="is no TOML"):
        criteria(str(tmp_path / "bytes.toml"))
    (tmp_path / "large.toml").write_text("#" * 70_000)
    with pytest.raises(OptionError, match="give a smaller one"):
        criteria(str(tmp_path / "large.toml"))
    with pytest.raises(OptionError, match="takes criteria such as"):
        criteria(3)
    with pytest.raises(OptionError, match="a criterion is a text, not int"):
        criteria(["drop <= 2", 3])


def test_what_the_documentation_types_is_understood(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "criteria.md").read_text()
    (block,) = re.findall(r"^```text\n(# accept\.toml\n.*?)^```$", page, re.DOTALL | re.MULTILINE)
    (tmp_path / "accept.toml").write_text(block)
    assert len(load(tmp_path / "accept.toml")) == 6
    typed = {text for text in re.findall(r"[`\"]([^`\"\n]+ (?:<=|>=) [^`\"\n]+)[`\"]", page) if text not in WRONG}
    assert len(typed) >= 10
    for text in WRONG:
        assert f"`{text}`" in page
        with pytest.raises(OptionError):
            parse(text)
    for text in typed:
        parse(text)
    figures = page.split("| figure | what it is | units |")[1].split("\n\n")[0]
    for name in re.findall(r"^\| (`[^|]+`) \|", figures, re.MULTILINE):
        for one in re.findall("`([^`]+)`", name):
            unit = "B" if one in BYTES else "ms" if one == "latency" else ""
            sign = "<=" if unit or one in {"drop", "loss"} else ">="
            parse(one if one == "integer only" else f"{one} {sign} 2 {unit}")


#: What the documentation says is refused.
WRONG = {
    "accuracy >= 0.9", "drop >= 2", "accuracy <= 50", "latency >= 5 ms", "size <= 0 B", "accuracy >= 101", "size >= 0.25x",
    "float size >= 4x",
}  # fmt: skip
BYTES = {"size", "peak memory", "arena", "RAM", "flash"}


# ---- what an interval makes of it -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "low", "high", "status"),
    [
        (0.3, 0.1, 2.0, "pass"),
        (0.3, 0.1, 2.1, "inconclusive"),
        (2.5, 1.9, 3.0, "inconclusive"),
        (2.5, 2.1, 3.0, "fail"),
        (-1.0, -2.0, 0.0, "pass"),
        (math.inf, math.inf, math.inf, "fail"),
        (math.nan, None, None, "fail"),
        (-math.inf, -math.inf, -math.inf, "pass"),
        (1.0, -math.inf, math.inf, "inconclusive"),
    ],
)
def test_a_drop_is_judged_by_all_of_its_interval(value, low, high, status):
    judged = judge(parse("drop <= 2"), [reading("accuracy drop", value, "percentage points", low, high, "difference")])
    assert judged.status == status
    json.dumps(judged.to_json(), allow_nan=False)


def test_what_would_settle_it_is_said():
    within = judge(parse("drop <= 0.5"), [reading("accuracy drop", 0.3, "percentage points", 0.1, 0.6, "difference")])
    assert within.needs_about_n == 2300
    assert "about 2,300 samples would settle it" in within.why
    beyond = judge(parse("drop <= 0.5"), [reading("accuracy drop", 0.7, "percentage points", 0.4, 1.0, "difference")])
    assert (beyond.status, beyond.needs_about_n) == ("inconclusive", 2300)
    assert "the estimate is beyond it" in beyond.why
    on = judge(parse("drop <= 0.5"), [reading("accuracy drop", 0.5, "percentage points", 0.4, 1.0, "difference")])
    assert (on.status, on.needs_about_n) == ("inconclusive", None)
    assert "no number of samples decides" in on.why
    same = np.zeros(188, np.int64)
    alike = judge(parse("agreement >= 99"), [Reading("quantized", agreement(same, same))])
    assert alike.needs_about_n == math.ceil(around_nothing(1.0) / 10) * 10 == 390


def test_what_must_be_large_is_judged_from_below():
    def status(value, low, high):
        return judge(parse("accuracy >= 90"), [reading("top-1 accuracy", value, "%", low, high)]).status

    assert status(95, 90, 97) == "pass"
    assert status(95, 89.9, 97) == "inconclusive"
    assert status(89, 85, 91) == "inconclusive"
    assert status(80, 75, 89.9) == "fail"


def test_edges_count_as_the_sign_says():
    exact = [reading("file size", 1000, "bytes"), reading("levels used", 9, "")]
    assert judge(parse("size <= 1 kB"), exact).status == "pass"
    assert judge(parse("size < 1 kB"), exact).status == "fail"
    assert judge(parse("levels >= 9"), exact).status == "pass"
    assert judge(parse("levels > 9"), exact).status == "fail"
    assert judge(parse("size <= 1 KiB"), [reading("file size", 1024, "bytes")]).status == "pass"


def test_no_interval_where_one_is_due_is_not_certainty():
    unsure = [reading("mse", 0.1, "", how="mse, no interval: undefined on 90 of 100 resamples")]
    judged = judge(parse("mse <= 0.2").under("mse"), unsure)
    assert judged.status == "inconclusive"
    assert "no interval" in judged.why


def test_time_is_settled_by_blocks():
    judged = judge(parse("latency <= 5 ms"), [reading("latency", 4.9, "ms", 4.7, 5.1, n=40)])
    assert judged.status == "inconclusive"
    assert "of the median of 40 timed blocks" in judged.why
    assert "about 160 timed blocks would settle it" in judged.why
    assert judge(parse("latency >= 2x"), [reading("speed-up", 2.5, "x", 2.4, 2.6, "difference")]).status == "pass"


def test_several_outputs_are_judged_by_the_worst():
    both = [reading("SQNR of a", 40, "dB", 39, 41), reading("SQNR of b", 20, "dB", 19, 21)]
    both += [reading("SQNR of the worst channel of a", 1, "dB", 0, 2)]
    judged = judge(parse("SQNR >= 30"), both)
    assert (judged.status, judged.value) == ("fail", 20)
    assert judged.why.startswith("SQNR of b: ")
    assert judge(parse("SQNR of a >= 30"), both).status == "pass"
    assert judge(parse("SQNR of c >= 30"), both).why == "SQNR of c of quantized was not measured in this run"


def test_ratios_come_from_both_files():
    files = [reading("file size", 400, "bytes", of="float"), reading("file size", 100, "bytes")]
    assert judge(parse("size >= 4x"), files).status == "pass"
    assert judge(parse("size ratio > 4"), files).status == "fail"
    measured = [*files, reading("size ratio", 3.0, "x", of="difference")]
    assert judge(parse("size >= 4x"), measured).value == 3.0
    assert judge(parse("size >= 4x"), files[:1]).status == "inconclusive"
    assert judge(parse("size >= 4x"), [files[0], reading("file size", 0, "bytes")]).status == "inconclusive"


def test_flash_never_passes():
    file = [reading("file size", 900_000, "bytes")]
    assert judge(parse("flash <= 512 KiB"), file).status == "fail"
    open_ = judge(parse("flash <= 1 MiB"), file)
    assert (open_.status, open_.value) == ("inconclusive", None)
    assert open_.why == "900 KB without code (the file); what the code takes was not measured"


def test_an_arena_that_nothing_measured_is_open():
    estimates = [reading("activations (estimate)", 6e4, "bytes"), reading("persistent part (estimate)", 4e3, "bytes")]
    judged = judge(parse("arena <= 64 KiB"), estimates)
    assert judged.status == "inconclusive"
    assert "about 64.0 KB by estimate; pip install 'intact[mcu]'" in judged.why
    assert judge(parse("arena <= 64 KiB"), [reading("TFLM arena", 65_000, "bytes")]).status == "pass"


def test_integer_only_passes_without_an_op_in_float():
    assert judge(parse("integer only"), [reading("ops in float", 0, "ops")]).status == "pass"
    judged = judge(parse("integer only"), [reading("ops in float", 1, "ops")])
    assert (judged.status, judged.why) == ("fail", "1 op, 0 ops allowed")


def test_all_together():
    files = [reading("file size", 400, "bytes", of="float"), reading("file size", 100, "bytes")]
    passed, failed, opened = (judge(parse(t), files) for t in ("size >= 4x", "size >= 5x", "drop <= 2"))
    assert [overall(x) for x in ((), (passed,), (passed, opened), (opened, failed, passed))] == [
        "pass", "pass", "inconclusive", "fail",
    ]  # fmt: skip
    assert passed.to_json() == {
        "criterion": "size >= 4x", "figure": "size ratio", "of": "difference", "comparison": ">=", "limit": 4.0, "unit": "x",
        "value": 4.0, "low": None, "high": None, "status": "pass", "needs_about_n": None, "why": "4.00x, 4.00x asked for",
    }  # fmt: skip
