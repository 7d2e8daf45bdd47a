"""Page, terminal, Markdown, CSV and JSON say the very same numbers."""

import csv
import io
import json
import re
from html import unescape

import pytest
from run_documents import details, result, write_run
from typer.testing import CliRunner

from intact.cli.app import app
from intact.report import figures
from intact.report.terminal import Output

ROW = re.compile(r'<tr><td>(.*?)</td><th scope="row">(.*?)</th><td class="n" data-value="(.*?)">')


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """The folder of a run, and what each way of reading it says."""
    folder = write_run(tmp_path_factory.mktemp("ways") / "run", result(), details())
    run = CliRunner().invoke
    assert run(app, ["report", str(folder)]).exit_code == 0
    return {
        "json": json.loads((folder / "result.json").read_text()),
        "page": (folder / "report.html").read_text(),
        "markdown": run(app, ["report", str(folder), "--md"]).stdout,
        "csv": run(app, ["report", str(folder), "--csv"]).stdout,
    }


def plain(html):
    return " ".join(unescape(re.sub("<[^>]*>", "", html)).split())


def test_every_figure_is_the_same_in_json_page_and_csv(said):
    section = said["page"].split('id="figures"')[1].split("</table>")[0]
    on_page = [(plain(of), plain(name), value) for of, name, value in ROW.findall(section)]
    in_csv = [row for row in csv.DictReader(io.StringIO(said["csv"])) if row["name"] and not row["criterion"]]
    wanted = [(m["of"], m["name"], m["value"], m["low"], m["high"]) for m in said["json"]["measurements"]]
    assert [(of, name, float(value)) for of, name, value in on_page] == [w[:3] for w in wanted]
    ends = [[None if r[end] == "" else float(r[end]) for end in ("low", "high")] for r in in_csv]
    assert [(r["of"], r["name"], float(r["value"]), *e) for r, e in zip(in_csv, ends, strict=True)] == wanted


def test_headline_and_criteria_are_the_same_on_page_in_markdown_and_in_the_terminal(said, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    Output(quiet=False, json=False).verdict(said["json"], "a run")
    terminal = " ".join(capsys.readouterr().out.split())
    page, markdown = plain(said["page"].split("<section id=")[0]), " ".join(said["markdown"].replace("\\", "").split())
    document = said["json"]
    sentence = figures.sentence(document)
    assert sentence in page
    assert sentence in terminal
    assert sentence.replace("<", "&lt;") in markdown
    for row in figures.five(document):
        for text in filter(None, (row.float, row.integer, row.change_in_full)):
            assert text in page, text
            assert text in terminal, text
            assert text in markdown, text
    for row in figures.criteria(document):
        assert row.measured in page
        assert row.measured in terminal
        assert row.measured in markdown


def test_criteria_are_the_same_in_csv_and_json(said):
    rows = [row for row in csv.DictReader(io.StringIO(said["csv"])) if row["criterion"]]
    wanted = said["json"]["criteria"]
    assert [(r["criterion"], float(r["limit"]), r["status"], float(r["value"])) for r in rows] == [
        (c["criterion"], c["limit"], c["status"], c["value"]) for c in wanted
    ]
