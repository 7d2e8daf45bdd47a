"""Criteria of a whole run: refused before any work where it can be known, steering, judged, written and told."""

import hashlib
import json
import re
from types import MappingProxyType

import numpy as np
import pytest
from nets import images, mobile
from typer.testing import CliRunner

import intact
from intact.cli.app import app
from intact.errors import OptionError
from intact.formats import tflite
from intact.measure.accuracy import Verdict
from intact.measure.criteria import judge, parse
from intact.measure.criterion import base
from intact.measure.criterion_figures import FIGURES
from intact.measure.figures import Reading
from intact.measure.measurement import Measurement
from intact.planning.plan import Plan
from intact.report import figures
from intact.report.markdown import to_markdown
from intact.run import acceptance
from intact.run.folder import job
from intact.run.settings import Settings
from intact.search.goal import Goal

pytestmark = pytest.mark.usefixtures("hasty")
ASKED = ("drop <= 40", "size >= 1.01x", "latency <= 10 s", "peak memory <= 256 KiB", "accuracy >= 99.999")


def call(*args, **env):
    return CliRunner().invoke(app, [str(a) for a in args], env=env)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    path = tmp_path_factory.mktemp("acceptance")
    net, x = mobile(seed=2), images(160, 1)
    (path / "net.tflite").write_bytes(tflite.write(net))
    scores = next(iter(intact.Program(net)({"image": x}).values())).numpy()
    np.savez(path / "labelled.npz", x=x, y=scores.argmax(-1))
    np.save(path / "bare.npy", x)
    return path


@pytest.fixture(scope="module")
def ran(files):
    """One run of the command with criteria, one of which steers: what it printed, its exit code and its folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("intact.measure.figures._LATENCY_SECONDS", 0.3)
        patch.setattr("intact.run.trial._TIMED_SECONDS", 0.1)
        asked = [word for text in ASKED for word in ("--accept", text)]
        out = files / "run"
        done = call("quantize", files / "net.tflite", "--data", files / "labelled.npz", *asked, "--verbose", "--out", out)
    return done, out, json.loads((out / "result.json").read_text())


# ---- what a run is told ---------------------------------------------------------------------------------------------------


def test_what_is_lost_steers_as_a_limit_does():
    assert Settings(accept=("drop <= 2",)).goal == Settings(max_drop=2.0).goal == Goal("drop", 2.0)
    assert Settings(accept=("agreement >= 99.5",)).goal == Settings(min_agreement=99.5).goal
    assert Settings(accept=("agreement >= 99", "drop <= 2", "drop < 1 %")).goal == Goal("drop", 1.0)
    assert Settings(accept=("drop <= 0.01",), metric="auc").goal == Goal("drop", 0.01)
    assert Settings(accept=("mse increase <= 0.01",), metric="mse").goal == Goal("drop", 0.01)


@pytest.mark.parametrize(
    "settings",
    [
        {"accept": ("size >= 4x", "accuracy >= 90")},
        {"accept": ("drop <= 2",), "remedies": ("bias",)},
        {"accept": ("drop <= 2",), "remedies": ()},
        {"accept": ("drop <= 2",), "scheme": "float16"},
    ],
)
def test_what_else_is_asked_for_only_judges(settings):
    assert Settings(**settings).goal is None
    assert Settings(**settings).accept == settings["accept"]


def test_a_criterion_on_accuracy_steers_by_the_drop_that_it_leaves():
    y = np.arange(10) % 2
    outputs = {"y": np.eye(2, dtype=np.float32)[np.where(np.arange(10) < 8, y, 1 - y)]}  # 80 % right
    samples = intact.data.arrays(images(10), y).bind(intact.data.input_specs(mobile()), 4)

    def limit(*accept, **others):
        return acceptance.steered(Settings(accept=accept, **others), outputs, samples).max_drop

    assert limit("accuracy >= 75") == 5.0
    assert limit("accuracy >= 75", "accuracy > 79") == 1.0
    assert limit("accuracy >= 80") is None  # nothing may be lost, and nothing need be looked for
    assert limit("accuracy >= 95") is None
    assert limit("accuracy >= 75", "drop <= 2") is None  # which steers
    assert limit("accuracy >= 75", remedies=("bias",)) is None
    assert limit("float accuracy >= 75") is None
    assert limit("accuracy >= 75", max_drop=3.0) == 3.0
    assert Settings(accept=("accuracy >= 75", "drop <= 2")).steering_by_accuracy is None


def test_accuracy_steers_a_run(monkeypatch):
    monkeypatch.setattr("intact.measure.figures._LATENCY_SECONDS", 0.3)
    monkeypatch.setattr("intact.run.trial._TIMED_SECONDS", 0.1)
    net, x = mobile(seed=2), images(160, 1)
    y = next(iter(intact.Program(net)({"image": x}).values())).numpy().argmax(-1)
    result = intact.quantize(net, (x, y), accept="accuracy >= 40")
    assert [c.name for c in result.candidates] == ["as planned"]
    assert result.settings.max_drop == 60
    assert (result.verdict.status, result.criteria[0].status) == ("pass", "pass")


@pytest.mark.parametrize(
    ("accept", "settings", "advice"),
    [
        ("weight SQNR >= 9", {}, "type --scheme with such as w3a8"),
        ("packed file size <= 9 KB", {"scheme": "w3a8"}, "cpu has no packed file; type --target mcu"),
        ("agreement with LiteRT >= 99", {}, "is measured by intact study"),
    ],
)
def test_criteria_on_figures_of_another_kind_of_run_are_refused(accept, settings, advice):
    with pytest.raises(OptionError, match=f"{advice}, or leave it out|{advice}; leave it out"):
        Settings(accept=(accept,), **settings)


def test_weights_of_few_numbers_are_judged():
    asked = ("weight SQNR >= 9", "bytes of weights in theory <= 9 KB")
    assert Settings(scheme="w3a8", accept=asked).accept == asked
    assert Settings(max_drop=1, minimize="size", accept=asked[:1]).accept == asked[:1]


def test_a_plan_is_not_searched_beside():
    assert Settings(accept=("drop <= 2",)).replaying("int8", "cpu").goal is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"accept": ("drop <= 2",), "max_drop": 5.0}, r"--max-drop 5 ends the search before drop <= 2 is met"),
        ({"accept": ("agreement >= 99.9",), "min_agreement": 99.0}, r"--min-agreement 99 ends the search before agreement"),
        ({"accept": ("arena <= 64 KiB",)}, r"cpu has no TFLM arena; type --target mcu"),
        ({"accept": ("flash <= 1 MiB",)}, r"cpu has no flash; type --target mcu"),
        ({"accept": ("mae <= 1",)}, r"no metric is measured; type --metric"),
        ({"accept": ("drop <= 2 points",), "metric": "auc"}, r"in its own unit; leave points out"),
        ({"accept": ("acuracy >= 9",)}, r"no figure is called 'acuracy'; there are: accuracy"),
    ],
)
def test_what_contradicts_itself_is_refused(settings, said):
    with pytest.raises(OptionError, match=said):
        Settings(**settings)
    if "arena" in said:
        assert Settings(**settings, target="mcu").accept


def test_a_limit_beside_a_laxer_criterion_steers():
    assert Settings(accept=("drop <= 2",), max_drop=1.0).goal == Goal("drop", 1.0)
    assert Settings(accept=("drop <= 2",), max_drop=1.0).steering is None


def test_only_what_steers_makes_another_job():
    def of(**settings):
        nothing = dict.fromkeys(("model", "data", "evaluation", "image", "label", "plan"))
        about = {**nothing, "preprocessing": {}}
        return json.dumps(job(settings=Settings(**settings), **about))

    assert of() == of(accept=("size >= 4x",)) == of(accept=("size >= 4x", "latency <= 1 ms"))
    assert of(accept=("drop <= 2",)) == of(accept=("drop <= 2", "size >= 4x")) != of()
    assert of(accept=("drop <= 2",)) != of(accept=("drop <= 3",))
    assert of(accept=("accuracy >= 90",)) != of()


@pytest.mark.parametrize(
    ("labels", "accept", "said"),
    [
        (False, "drop <= 2", r"drop <= 2 needs labels that are classes of the model, and the data has none; type agreement"),
        (False, "accuracy >= 90", r"accuracy >= 90 needs labels"),
        (False, "loss <= 1", r"loss <= 1 needs labels"),
        (False, "SQNR of nothing >= 9", r"names an output, and the model has one; type SQNR without it"),
        (True, "top-5 >= 9", r"is for more than 5 classes, and the model has 4; type accuracy"),
    ],
)
def test_what_a_run_cannot_have_is_said_before_any_work(monkeypatch, labels, accept, said):
    def never(*_, **__):
        raise AssertionError("work has begun")

    monkeypatch.setattr("intact.run.job.mend_and_plan", never)
    x = images(80)
    with pytest.raises(OptionError, match=said):
        intact.quantize(mobile(), (x, np.arange(80) % 4) if labels else x, accept=accept)


def test_criteria_without_figures_are_refused():
    with pytest.raises(OptionError, match="measure=False leaves all figures out"):
        intact.quantize(mobile(), images(16), accept="size >= 4x", measure=False)


def test_a_command_is_refused_in_one_sentence_before_it_reads_anything(tmp_path):
    for given, said in (("acuracy >= 9", "no figure is called"), (tmp_path / "no.toml", "no such file")):
        done = call("quantize", "none.tflite", "--data", "none.npz", "--accept", given, "--out", tmp_path / "run")
        assert done.exit_code == 2
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
        assert not (tmp_path / "run").exists()


# ---- what comes of it -----------------------------------------------------------------------------------------------------


def test_a_criterion_that_is_not_met_is_exit_code_1_and_all_is_written(ran):
    done, out, record = ran
    assert {c["criterion"]: c["status"] for c in record["criteria"]} | {"accuracy >= 99.999": ""} == (
        dict.fromkeys(ASKED, "pass") | {"accuracy >= 99.999": ""}
    )
    open_or_missed = record["criteria"][-1]["status"]
    assert open_or_missed in {"fail", "inconclusive"}
    assert done.exit_code == (1 if open_or_missed == "fail" else 0), done.stderr
    assert record["acceptance"]["status"] == {"fail": "rejected", "inconclusive": "accepted with limitation"}[open_or_missed]
    assert record["settings"]["accept"] == list(ASKED)
    assert json.loads((out / "job.json").read_text())["settings"]["accept"] == ["drop <= 40"]


def test_the_criterion_that_steers_is_the_verdict(ran):
    *_, record = ran
    assert record["candidates"][0]["name"] == "as planned"
    assert record["verdict"]["status"] == "pass"
    assert record["verdict"]["limit"] == 40
    assert record["verdict"]["loss"]["value"] == record["criteria"][0]["value"]


def test_deliverables_are_the_files_of_the_folder(ran):
    _, out, record = ran
    rows = record["acceptance"]["deliverables"]
    assert {"model.tflite", "plan.json"} <= {row["file"] for row in rows}
    for row in rows:
        data = (out / row["file"]).read_bytes()
        assert (row["sha256"], row["bytes"]) == (hashlib.sha256(data).hexdigest(), len(data))


def test_terminal_markdown_and_json_say_the_same(ran):
    done, out, record = ran
    markdown = (out / "result.md").read_text()
    assert figures.sentence(record) in done.stdout
    assert figures.sentence(record).replace("<=", "&lt;=").replace(">=", "&gt;=") in markdown
    five, told = figures.five(record), [line.split() for line in done.stdout.splitlines()]
    assert [h.name for h in five] == ["accuracy", "drop", "size", "latency", "peak memory"]
    for h in five:
        assert " ".join((h.name, h.float, h.integer, h.change_in_full)).split() in told
        assert f"| {h.name} | {h.float} | {h.integer} | {h.change_in_full} |" in markdown
    for c in figures.criteria(record):
        assert re.search(rf"^{c.word} +{re.escape(c.criterion)} +{re.escape(c.measured)}", done.stdout, re.MULTILINE)
    assert to_markdown(record) == markdown


def test_every_figure_can_be_asked_for_by_its_name(ran):
    *_, record = ran
    for m in record["measurements"]:
        unit = {"bytes": "B", "ms": "ms", "%": "%"}.get(m["unit"], "")
        sign = "<=" if next(f for f in FIGURES if f.name == base(m["name"])).extent.better == "less" else ">="
        asked = parse(f"{m['of']} {m['name']} {sign} 1 {unit}")
        assert (asked.figure, asked.of) == (m["name"], m["of"])
        assert asked.unit == (m["unit"] if "stored numbers" not in m["unit"] else "")


def test_all_figures_are_told_on_demand(ran):
    done, _, record = ran
    for m in record["measurements"]:
        row = next(line for line in done.stdout.splitlines() if line.startswith(f"  {m['name']} "))
        assert row


def test_no_row_wraps_in_80_columns(ran):
    done, _, record = ran
    sentences = [figures.sentence(record), *(c["why"] for c in record["criteria"]), *(f["message"] for f in record["findings"])]
    rows = [line for line in done.stdout.splitlines() if not any(said in line for said in sentences)]
    assert max(len(row.rstrip()) for row in rows if "result.md is the account" not in row) <= 80
    rest = [row for row in rows if re.match(r" {20,}\S", row) and "float" not in row]  # of a row above
    assert [row for row in rest if not re.fullmatch(r" +\(\S.* (to|worse|better) .*\) *", row)] == []  # but whole intervals
    assert "\x1b" not in done.stdout


def test_colour_is_for_terminals_that_want_it(monkeypatch, ran):
    *_, record = ran
    from io import StringIO  # noqa: PLC0415

    from intact.report import terminal  # noqa: PLC0415

    def told(**env):
        for name in ("NO_COLOR", "FORCE_COLOR", "TERM", "COLORTERM"):
            monkeypatch.delenv(name, raising=False)
        for name, value in env.items():
            monkeypatch.setenv(name, value)

        class Screen(StringIO):
            def isatty(self):
                return True

        screen = Screen()
        monkeypatch.setattr("sys.stdout", screen)
        terminal.Output(quiet=False, json=False).verdict(record, "x")
        return screen.getvalue()

    assert "\x1b[32mmet" in told(TERM="xterm-256color")
    assert "\x1b[3" not in told(TERM="xterm-256color", NO_COLOR="1")


def test_json_and_quiet_say_no_more_than_they_did(ran, files, monkeypatch):
    monkeypatch.setattr("intact.measure.figures._LATENCY_SECONDS", 0.3)
    args = ("quantize", files / "net.tflite", "--data", files / "bare.npy", "--accept", "size >= 900x", "--remedies", "none")
    plain = call(*args, "--json", "--out", files / "json")
    assert json.loads(plain.stdout) == json.loads((files / "json" / "result.json").read_text())
    assert plain.exit_code == 1  # alone it fails
    silent = call(*args, "--quiet", "--out", files / "quiet")
    assert (silent.stdout, silent.exit_code) == ("", 1)
    del ran


def test_strict_takes_no_open_criterion(files, monkeypatch):
    monkeypatch.setattr("intact.measure.figures._LATENCY_SECONDS", 0.3)
    args = ("quantize", files / "net.tflite", "--data", files / "bare.npy", "--accept", "arena <= 1 GiB", "--target", "mcu")
    args = (
        *args,
        "--accept",
        "flash <= 1 GiB",
        "--runtime",
        "tflm",
        "--remedies",
        "none",
        "--overwrite",
        "--out",
        files / "mcu",
    )
    done = call(*args)
    assert done.exit_code == 0, done.stderr
    assert "Accepted with limitation" in done.stdout
    assert "without code (the model; TensorFlow Lite Micro's own code besides is not known)" in done.stdout
    assert call(*args, "--strict").exit_code == 1


def test_python_has_it_too(files):
    asked = files / "accept.toml"
    asked.write_text('criteria = ["size >= 1.01x"]\n')
    result = intact.quantize(mobile(seed=2), images(80), accept=[asked, "SQNR >= 200"], remedies=())
    assert [(j.criterion.text, j.status) for j in result.criteria] == [("size >= 1.01x", "pass"), ("SQNR >= 200", "fail")]
    assert result.acceptance["status"] == "rejected"
    assert "fail: SQNR >= 200 (" in result.summary()
    assert result.verdict is None
    assert isinstance(result.plan, Plan)


# ---- judged and told ------------------------------------------------------------------------------------------------------


def drop(value, low, high):
    return Measurement("accuracy drop", value, "percentage points", low, high, "paired", 1000)


def test_what_a_search_went_by_is_judged_without_a_reading_of_it():
    loss = drop(1.0, 0.5, 1.5)
    verdict = Verdict("pass", 2.0, None, loss)
    (found,) = acceptance.judged([parse("drop <= 2")], [], verdict)
    assert (found.status, found.value) == ("pass", 1.0)
    (twice,) = acceptance.judged([parse("drop <= 2")], [Reading("difference", drop(9.0, 8.0, 10.0))], verdict)
    assert twice.status == "fail"


def test_the_verdict_follows_the_criterion_that_steered():
    asked, loss = parse("drop <= 2"), drop(2.5, 1.5, 3.5)
    judged = (judge(asked, [Reading("difference", loss)]),)
    failed = Verdict("fail", 2.0, None, loss)
    assert acceptance.verdict_by(asked, judged, failed) == Verdict("inconclusive", 2.0, judged[0].needs_about_n)
    assert acceptance.verdict_by(None, judged, failed) is failed
    assert acceptance.verdict_by(asked, judged, None) is None


# ---- evaluate -------------------------------------------------------------------------------------------------------------


def test_evaluate_judges_what_it_measures(ran, files):
    _, out, _ = ran
    args = ("evaluate", out / "model.tflite", "--against", files / "net.tflite", "--data", files / "labelled.npz")
    done = call(*args, "--accept", "drop <= 40", "--accept", "agreement >= 50", "--accept", "SQNR >= 200")
    assert done.exit_code == 1
    assert re.search(r"^met +drop <= 40 ", done.stdout, re.MULTILINE)
    assert re.search(r"^not met +SQNR >= 200 ", done.stdout, re.MULTILINE)
    good = call(*args, "--accept", "drop <= 40", "--json")
    assert good.exit_code == 0
    assert [c["status"] for c in json.loads(good.stdout)["criteria"]] == ["pass"]
    alone = intact.evaluate(out / "model.tflite", files / "labelled.npz", accept="accuracy >= 10")
    assert [j.status for j in alone.criteria] == ["pass"]
    assert "pass: accuracy >= 10 (" in str(alone)


REFUSED = MappingProxyType(
    {
        "latency <= 5 ms": "is not about outputs",
        "size >= 4x": "is not about outputs",
        "integer only": "is not about outputs",
        "mse <= 3": "no metric is measured",
    }
)


@pytest.mark.parametrize("text", REFUSED)
def test_evaluate_refuses_what_it_does_not_measure(text):
    with pytest.raises(OptionError, match=REFUSED[text]):
        intact.evaluate(mobile(), images(8), against=mobile(), accept=text)


def test_evaluate_refuses_what_takes_two_models_or_labels():
    labels = np.arange(8) % 4
    for text in ("drop <= 2", "agreement >= 9", "float accuracy >= 9"):
        with pytest.raises(OptionError, match="compares two models; type --against"):
            intact.evaluate(mobile(), (images(8), labels), accept=text)
    with pytest.raises(OptionError, match=r"drop <= 2 needs labels .* has none; type"):
        intact.evaluate(mobile(), images(8), against=mobile(seed=1), accept="drop <= 2")
