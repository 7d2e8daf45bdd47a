"""A study as rows, a decision, tables and files, from cells alone."""

import csv
import io
import json
import re

import pytest
from rich.console import Console
from run_documents import study

from intact.report.page import html_of
from intact.report.page_study import apart, charts, view
from intact.report.study import files_of, to_csv, to_markdown, to_table
from intact.report.study_columns import COLUMNS, Column, columns, findings, how_taken, matrices
from intact.report.study_rows import study_document

MACHINE = {
    "cpu": "CPU", "cores": 2, "flags": ["avx2"], "governor": None, "system": "Linux",
    "versions": {"intact": "0.1.0"}, "runtimes": {"LiteRT": "2.1", "TFLM": None}, "missing": {"TFLM": "it is not installed"},
}  # fmt: skip
DEFAULTS = {"model": "net", "target": "cpu", "weights": "per-channel", "remedies": "quick", "calibration_samples": 500}
HOSTILE = "<script>alert(1)</script>|`x`\x1b[31m\n\u202e\"'"


def reading(name, value, unit="", of="quantized", *, low=None, high=None, how="as it is"):
    return {"of": of, "name": name, "value": value, "unit": unit, "low": low, "high": high, "how": how, "n": 10}


def cell(scheme, *, drop=0.0, size=1000, ms=1.0, seed=0, threads=1, repeat=0, criteria=(), status="done", **more):
    of = DEFAULTS | more
    return {
        "name": f"{of['model']} {scheme} {of['target']}",
        "row": f"{of['model']} {scheme} {of['target']}",
        **of,
        "scheme": scheme,
        "threads": threads,
        "seed": seed,
        "repeat": repeat,
        "run": None if status != "done" else f"runs/{scheme}",
        "status": status,
        "why": "it broke" if status == "failed" else None,
        "measurements": [
            reading("top-1 accuracy", 90.0, "%", "float"),
            reading("top-1 accuracy", 90.0 - drop, "%", low=85.0, high=95.0),
            reading("accuracy drop", drop, "percentage points", "difference", low=drop - 1, high=drop + 1),
            reading("file size", size, "bytes"),
            reading("latency", ms, "ms", low=0.9 * ms, high=1.1 * ms),
            reading("SQNR", "inf", "dB", low="inf", high="inf"),
        ]
        if status == "done"
        else [],
        "criteria": list(criteria),
    }


def judged(status, text="drop <= 2", why="2.5 points, 2 points allowed"):
    return {"criterion": text, "status": status, "why": why}


def document(*cells, accept=(), references=(), models=("net",)):
    return study_document(models=models, machine=MACHINE, cells=cells, references=references, accepting=accept)


def shown(found):
    console = Console(width=80, file=io.StringIO(), color_system=None)
    console.print(to_table(found))
    return console.file.getvalue().splitlines()


def test_long_names_lose_their_middle_and_figures_nothing():
    models = ("mobilenet_v3_small_224_of_our_own_data_set-1", "mobilenet_v3_small_224_of_our_own_data_set-2")
    cells = [cell("int8", model=m, drop=12.34, size=123_456_789, ms=1.23456) for m in models]
    cells.append(cell("w4a8", model=models[0], status="failed"))
    lines = shown(document(*cells, models=models))
    assert max(map(len, lines)) <= 80
    assert [line.split()[-5:] for line in lines[1:3]] == [["77.66", "12.34", "123", "MB", "1.235"]] * 2
    assert lines[1] != lines[2]
    assert lines[1].startswith("mobilenet_v3")
    assert "int8 cpu" in lines[1]
    assert "failed" in lines[3]
    assert not any("…" in line[-30:] for line in lines[1:])


# ---- rows ---------------------------------------------------------------------------------------------------------------


def test_seeds_are_put_together_with_mean_and_deviation():
    found = document(cell("int8", drop=1.0, seed=0), cell("int8", drop=2.0, seed=1))
    (row,) = found["rows"]
    figure = row["figures"]["accuracy drop"]
    assert figure["mean"] == figure["value"] == 1.5
    assert figure["std"] == pytest.approx(0.5**0.5)
    assert (figure["low"], figure["high"], figure["n"]) == (0.0, 3.0, 2)
    assert figure["how"].startswith("the mean of 2, the interval holds those of all; the first: ")
    assert row["figures"]["file size"]["how"] == "the mean of 2; the first: as it is"  # it has no interval
    assert row["figures"]["latency"]["how"].startswith("the median of 2, ")


def test_a_page_sets_a_spread_below_its_figure_without_a_comma():
    found = document(cell("int8", drop=1.0, seed=0), cell("int8", drop=2.0, seed=1))
    cells = {c["text"]: c["more"] for c in view(found)["rows"][0]["cells"]}
    assert cells["1.50"] == ["mean 1.50 ± 0.7071 of 2"]
    assert all(part[:1] != "," for more in cells.values() for part in more)


def test_criteria_have_a_column_where_there_are_some():
    asked = cell("int8", drop=1.0, criteria=[judged("pass")])
    assert not view(document(cell("int8", drop=1.0)))["has_criteria"]
    assert view(document(asked))["has_criteria"]
    heads = [re.findall("<th>(.*?)</th>", html_of(document(one)))[:2] for one in (cell("int8", drop=1.0), asked)]
    assert heads == [["variant", "top-1, %"], ["variant", "criteria"]]


def test_charts_know_where_nothing_is_lost():
    of = {"accuracy drop": 0, "agreement with float": 100, "SQNR": None}
    for name, perfect in of.items():
        made = cell("int8")
        made["measurements"] = [reading(name, 30.0)]
        assert [(c["figure"], c["perfect"]) for c in charts(document(made))["candidates"]] == [(name, perfect)]


def test_of_times_the_median_counts():
    times = [
        reading("latency", ms, "ms", how="median of 40 blocks (quartiles 1 and 3, all within 1 to 9 ms)") for ms in (1, 2, 9)
    ]
    cells = [{**cell("int8", repeat=n), "measurements": [m]} for n, m in enumerate(times)]
    figure = document(*cells)["rows"][0]["figures"]["latency"]
    assert (figure["value"], figure["mean"], figure["quartiles"]) == (2.0, 4.0, [1.0, 3.0])


def test_one_cell_is_what_it_is_and_has_no_deviation():
    figures = document(cell("int8", drop=1.0))["rows"][0]["figures"]
    assert figures["accuracy drop"] == {
        "value": 1.0, "unit": "percentage points", "low": 0.0, "high": 2.0, "mean": 1.0, "std": None, "n": 1, "how": "as it is",
    }  # fmt: skip
    assert figures["float top-1 accuracy"]["value"] == 90.0
    assert figures["SQNR"]["value"] == "inf"


def test_other_threads_are_figures_of_their_own():
    two = {**cell("int8", threads=2), "measurements": [reading("latency", 0.5, "ms")]}
    figures = document(cell("int8"), two)["rows"][0]["figures"]
    assert (figures["latency"]["value"], figures["latency, 2 threads"]["value"]) == (1.0, 0.5)


def test_a_row_is_as_its_worst_cell():
    found = document(cell("int8", criteria=[judged("pass")]), cell("int8", seed=1, criteria=[judged("fail")]))
    assert [j["status"] for j in found["rows"][0]["criteria"]] == ["fail"]
    assert document(cell("int8"), cell("int8", seed=1, status="failed"))["rows"][0]["status"] == "failed"


# ---- the front and the decision -----------------------------------------------------------------------------------------


def test_the_front_is_what_nothing_beats_in_all_three():
    found = document(
        cell("float32", drop=0.0, size=4000, ms=2.0),
        cell("int8", drop=0.5, size=1000, ms=1.0),
        cell("w4a8", drop=0.5, size=1200, ms=1.01),
        cell("dynamic", drop=0.1, size=1000, ms=3.0),
    )
    assert found["front"] == ["net float32 cpu", "net int8 cpu", "net dynamic cpu"]
    assert found["decision"]["taken"] is None
    (other,) = found["decision"]["others"]
    assert other == {"name": "net w4a8 cpu", "why": "net int8 cpu is smaller, and is nowhere behind"}


def test_on_a_cpu_the_fastest_that_passes_is_taken_and_of_alike_ones_the_smallest():
    good = [judged("pass")]
    found = document(
        cell("float32", size=4000, ms=2.0, criteria=good),
        cell("int8", size=1000, ms=1.02, criteria=good),
        cell("int16x8", size=1100, ms=1.0, criteria=good),
        cell("w4a8", size=500, ms=0.5, criteria=[judged("fail")]),
        cell("dynamic", size=900, ms=0.9, criteria=[judged("inconclusive", why="needs about 900 samples")]),
        accept=["drop <= 2"],
    )
    decision = found["decision"]
    assert decision["taken"] == "net int8 cpu"
    assert decision["why"] == (
        "of 3 that pass every criterion it is the fastest, the smallest of 2 that are as fast to 5 %: 1.02 ms, 1.00 KB"
    )
    assert {other["name"]: other["why"] for other in decision["others"]} == {
        "net float32 cpu": "passes, but is 1.96 times as slow and 4.00 times as large as net int8 cpu",
        "net int16x8 cpu": "passes, but is 1.10 times as large as net int8 cpu",
        "net w4a8 cpu": "fails drop <= 2: 2.5 points, 2 points allowed",
        "net dynamic cpu": "inconclusive: drop <= 2: needs about 900 samples",
    }


def test_a_decision_says_its_figures_as_people_do():
    row = cell("int8", size=112_448, ms=0.04002, criteria=[judged("pass")])
    why = document(row, accept=["drop <= 2"])["decision"]["why"]
    assert why == "nothing else passes every criterion: 40.0 µs, 112 KB"


def test_names_in_a_chart_are_told_apart_by_what_differs():
    assert apart(["a long net int8 cpu", "a long net w4a8 cpu"]) == ["int8 cpu", "w4a8 cpu"]
    assert apart(["net int8 cpu", "net int8 mcu"]) == ["cpu", "mcu"]
    assert apart(["a int8", "b int8"]) == ["a int8", "b int8"]
    assert apart(["net int8", "net int8"]) == ["int8", "int8"]
    assert apart(["net int8 cpu"]) == ["net int8 cpu"]
    assert apart([]) == []


def test_on_a_microcontroller_no_time_of_this_machine_counts():
    good = [judged("pass")]
    cells = [cell("float32", size=4000, ms=0.1, criteria=good), cell("int8", size=1000, ms=9.0, criteria=good)]
    found = document(
        *({**c, "target": "mcu"} for c in cells), {**cell("int8", criteria=good), "row": "b"}, accept=["drop <= 2"]
    )
    assert found["decision"]["targets"]["mcu"]["taken"] == "net int8 cpu"  # as the cells above are called
    assert "no time here speaks for the device" in found["decision"]["targets"]["mcu"]["why"]
    assert list(found["decision"]["targets"]) == ["mcu", "cpu"]


def test_where_none_passes_none_is_taken():
    found = document(cell("int8", criteria=[judged("inconclusive")]), cell("w4a8", criteria=[judged("fail")]), accept=["x"])
    assert found["decision"]["taken"] is None
    assert found["decision"]["why"] == "none passes every criterion; inconclusive: net int8 cpu"


def test_a_study_of_which_nothing_is_finished_says_so():
    found = document(cell("int8", status="pending"), cell("w4a8", status="failed"))
    assert found["decision"]["why"] == "nothing is finished"
    assert [other["why"] for other in found["decision"]["others"]] == ["it is not finished", "it broke"]
    for data in files_of(found).values():
        assert data


# ---- files and tables ---------------------------------------------------------------------------------------------------


def test_all_four_show_the_same_numbers():
    found = document(cell("int8", drop=0.25, size=28208, ms=0.3273), cell("w4a8", drop=1.5, size=14104, ms=0.6))
    row = found["rows"][0]
    (line,) = [line for line in shown(found) if line.startswith("int8")]
    markdown = next(line for line in to_markdown(found).splitlines() if line.startswith("| net int8"))
    for name in ("top-1 accuracy", "accuracy drop", "file size", "latency"):
        column = next(c for c in COLUMNS if c.figure == name)
        assert column.cell(row) in line
        assert f"| {column.cell(row)}" in markdown
    held = next(csv.DictReader(io.StringIO(to_csv(found))))
    assert float(held["latency [ms]"]) == row["figures"]["latency"]["value"] == 0.3273
    assert float(held["file size [bytes]"]) == 28208
    assert held["latency [ms] low"] == str(row["figures"]["latency"]["low"])
    assert json.loads(files_of(found)["study.json"]) == found


@pytest.mark.parametrize("scheme", ["int8", "x" * 200])
def test_no_row_is_wrapped_at_80_columns(scheme):
    found = document(cell(scheme, criteria=[judged("fail")]), cell("w4a8", status="failed"), accept=["drop <= 2"])
    lines = shown(found)
    assert len(lines) == 3
    assert max(map(len, lines)) <= 80
    assert "fail" in lines[1]
    assert "failed" in lines[2]


def test_what_tells_variants_apart_outlasts_the_names_of_models():
    names = ("a_network_with_a_long_name", "a_network_with_another_name")
    lines = shown(document(*(cell(s, model=m) for m in names for s in ("int8", "int16x8")), models=names))
    assert [line.split("  ")[0].split(" ", 1)[1] for line in lines[1:]] == ["int8 cpu", "int16x8 cpu"] * 2
    assert max(map(len, lines)) <= 80


def of_two_outputs(scheme, a, b, **more):
    made = cell(scheme, **more)
    made["measurements"] = [m for m in made["measurements"] if m["name"] in {"file size", "latency"}]
    made["measurements"] += [reading("SQNR of a", a, "dB"), reading("SQNR of b", b, "dB")]
    return made


def test_of_several_outputs_the_worst_says_what_is_lost():
    """The second output is lost for the same bytes and time: the front is without it, and every table says so."""
    found = document(of_two_outputs("int8", 30.0, 25.0), of_two_outputs("ruined", 30.5, 3.0))
    assert found["front"] == ["net int8 cpu"]
    assert found["decision"]["others"] == [{"name": "net ruined cpu", "why": "net int8 cpu loses less, and is nowhere behind"}]
    head, *lines = shown(found)
    assert head.split()[1] == "dB"
    assert [line.split()[2] for line in lines] == ["25.0", "3.0"]
    accuracy = next(m for m in matrices(found["rows"]) if m["title"] == "Accuracy")
    assert (accuracy["head"], accuracy["cells"]) == ("SQNR of the output that has least, dB", [["25.0", "3.0"]])
    assert [(p["figure"], p["value"]) for p in charts(found)["candidates"]] == [("SQNR", 25.0), ("SQNR", 3.0)]


def test_each_model_loses_in_a_figure_of_its_own():
    """Beside a classifier a detector has no drop: its ruined variant is behind all the same."""
    detector = [of_two_outputs(s, dB, dB, model="det") for s, dB in (("int8", 25.0), ("ruined", 3.0))]
    found = document(cell("int8"), *detector, models=("net", "det"))
    assert found["front"] == ["net int8 cpu", "det int8 cpu"]


def test_a_strangers_name_is_shown_and_does_nothing():
    of = {**cell("int8"), "model": HOSTILE, "name": HOSTILE, "row": HOSTILE, "why": HOSTILE}
    reference = {"source": HOSTILE, "method": "m", "data_set": None, "drop": 1.0, "size": None, "note": HOSTILE}
    found = document(of, {**of, "row": "failed", "status": "failed"}, models=(HOSTILE,), references=(reference,))
    markdown = to_markdown(found)
    for text in (markdown, to_csv(found)):
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert "<script>" not in markdown
    assert len({line.count("|") for line in markdown.splitlines() if line.startswith(("| **", "| &lt;"))}) == 1


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@x", "  =1+1", "\uff1d1+1", '=HYPERLINK("http://x")'])
def test_a_spreadsheet_computes_nothing_from_a_name(name):
    of = {**cell("int8"), "model": name, "name": name, "row": name}
    held = next(csv.DictReader(io.StringIO(to_csv(document(of, models=(name,))))))
    assert held["name"] == held["model"] == f"'{name}"


def test_columns_of_outputs_and_threads_are_headed_as_figures_are():
    names = ["SQNR of logits", "SQNR of the worst channel", "SQNR of the worst channel of logits", "latency, 2 threads"]
    names += ["speed-up, 2 threads", "agreement with LiteRT of logits", "SQNR of runtime against simulator (float simulator)"]
    made = cell("int8")
    made["measurements"] = [reading(name, 1.0, "") for name in names]
    assert [column.head for column in columns(document(made)["rows"])] == [
        "as LiteRT of logits, %",
        "SQNR of logits, dB",
        "SQNR of the worst channel, dB",
        "SQNR of the worst channel of logits, dB",
        "latency 2 threads, ms",
        "speed-up 2 threads",
    ]


def test_matrices_have_a_row_for_each_device_and_a_column_for_each_format():
    on_mcu = {**cell("int8", ms=7.0), "target": "mcu", "row": "net int8 mcu"}
    lines = to_markdown(document(cell("float32"), cell("int8", ms=0.5), on_mcu)).splitlines()
    at = lines.index("## Time of net: latency, ms")
    assert lines[at + 2 : at + 6] == ["| device | float32 | int8 |", "|---|---|---|", "| cpu | 1 | 0.5 |", "| mcu |  | 7 |"]


def test_what_others_published_is_named_as_theirs():
    theirs = {"source": "A paper, 2020", "method": "QAT", "data_set": "CIFAR-10", "drop": 0.3, "size": 28208, "note": None}
    markdown = to_markdown(document(cell("int8"), references=[theirs]))
    assert "## Published by others" in markdown
    assert "| A paper, 2020 | QAT | CIFAR-10 | 0.3 points | 28,208 bytes |  |" in markdown
    assert "Published by others" not in to_markdown(document(cell("int8")))


def test_without_classes_the_narrow_table_shows_how_true_outputs_are():
    of = cell("int8")
    of["measurements"] = [reading("SQNR", 30.25, "dB"), reading("file size", 10, "bytes"), reading("latency", 1, "ms")]
    assert shown(document(of))[0].split() == ["variant", "dB", "file", "ms"]
    of["measurements"].append(reading("iou drop", 0.01, "", "difference"))
    assert "iou drop" in shown(document(of))[0]


def test_an_undefined_figure_is_an_empty_cell():
    row = {"figures": {"latency": {"value": "nan", "std": None, "low": None, "high": None}}}
    assert Column("latency", "ms").cell(row) == ""
    assert Column("latency", "ms").spread(row) == ""


def test_how_a_figure_was_taken_is_told_for_each_way_with_the_rows_that_it_holds_for():
    rows = [
        {"name": name, "figures": {"SQNR": {"how": "power"}, "latency": {"how": how}}}
        for name, how in (("a", "XNNPACK"), ("b", "XNNPACK"), ("c", "reference kernels"))
    ]
    assert how_taken(rows) == [("SQNR", "power"), ("latency (a, b)", "XNNPACK"), ("latency (c)", "reference kernels")]


def test_the_star_of_a_chart_is_told_where_there_is_one():
    document = study()
    assert "The star was taken." in html_of(document)
    document["decision"] = {"taken": None, "why": "nothing passes", "others": []}
    assert "The star was taken." not in html_of(document)
    document["decision"]["targets"] = {"mcu": {"taken": document["rows"][3]["name"], "why": "it passes", "others": []}}
    assert [each["taken"] for each in charts(document)["candidates"]] == [n == 3 for n in range(5)]


def test_what_runs_found_is_told_with_whose_it_is():
    document = study()
    assert "What the runs found" not in html_of(document) + to_markdown(document)
    everyone, one = ({"kind": "unlabelled", "message": text} for text in ("samples have no labels", "<b>a class is lost</b>"))
    for row in document["rows"]:
        row["findings"] = [] if row["status"] == "failed" else [everyone]
    document["rows"][2]["findings"].insert(0, one)
    name = document["rows"][2]["name"]
    assert findings(document["rows"]) == [("all", everyone["message"]), (name, one["message"])]
    assert f"- all: samples have no labels\n- {name}: " in to_markdown(document)
    page = html_of(document)
    assert "<li><strong>all</strong>: samples have no labels</li>" in page
    assert f"<li><strong>{name}</strong>: &lt;b&gt;a class is lost&lt;/b&gt;</li>" in page
    assert findings(document["rows"][:1]) == [(document["rows"][0]["name"], everyone["message"])]


def test_what_is_taken_for_a_second_target_is_marked_too():
    accepted = [{"criterion": "drop <= 2", "status": "pass", "why": "within", "figure": "accuracy drop"}]
    two = document(cell("int8", criteria=accepted), cell("int8", target="mcu", criteria=accepted), accept=("drop <= 2",))
    assert [d["taken"] for d in two["decision"]["targets"].values()] == ["net int8 cpu", "net int8 mcu"]
    assert sum(line.strip().startswith("* ") for line in shown(two)) == 2
    text = to_markdown(two)
    assert "| **net int8 cpu**" in text
    assert "| **net int8 mcu**" in text
