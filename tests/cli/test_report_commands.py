"""The commands ``report`` and ``compare``."""

import json

import pytest
from run_documents import HOSTILE, details, hostile, result, study, write_run
from typer.testing import CliRunner

from intact.cli.app import app


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path / "run", result(), details())


def test_a_page_is_written_beside_the_run_or_where_it_is_wanted(folder, tmp_path):
    done = run("report", folder)
    assert done.exit_code == 0
    assert f"{folder / 'report.html'} is the page" in done.output.replace("\n", "")
    assert (folder / "report.html").read_text().startswith("<!doctype html>")
    assert run("report", folder, "--out", tmp_path / "x" / "page.html").exit_code == 0
    assert (tmp_path / "x" / "page.html").read_text() == (folder / "report.html").read_text()


def test_markdown_and_csv_are_printed_or_written(folder, tmp_path):
    assert "**Rejected: 1 of 4 criteria is not met" in run("report", folder, "--md").stdout
    assert run("report", folder, "--csv").stdout.startswith("of,name,value,unit,")
    assert run("report", folder, "--csv", "--out", tmp_path / "a.csv").exit_code == 0
    assert (tmp_path / "a.csv").read_text() == run("report", folder, "--csv").stdout
    assert not (folder / "report.html").exists()


def test_a_study_has_a_page_markdown_and_csv_too(tmp_path):
    (tmp_path / "study.json").write_text(json.dumps(study()))
    assert run("report", tmp_path).exit_code == 0
    assert "Take mobilenet int8 cpu" in (tmp_path / "report.html").read_text()
    assert "mobilenet w4a8 cpu" in run("report", tmp_path, "--md").stdout
    assert "mobilenet w4a8 cpu" in run("report", tmp_path, "--csv").stdout


def test_the_browser_is_opened_when_asked(folder, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda url: bool(opened.append(url)))
    done = run("report", folder, "--open")
    assert opened == [(folder / "report.html").resolve().as_uri()]
    assert "no browser could be started" in done.output


@pytest.mark.parametrize("words", [("--md", "--csv"), ("--md", "--open")])
def test_what_excludes_one_another_is_refused(folder, words):
    done = run("report", folder, *words)
    assert (done.exit_code, "exclude one another" in done.output) == (2, True)


def test_a_folder_that_is_no_run_is_bad_input(tmp_path):
    for words in (("report", tmp_path), ("compare", tmp_path, tmp_path)):
        done = run(*words)
        assert done.exit_code == 2
        assert "holds no run; give the folder" in done.output
        assert done.output.count("\n") == 1


def test_broken_details_are_told_and_the_page_is_made(folder):
    (folder / "details.json").write_text("{")
    done = run("report", folder)
    assert done.exit_code == 0
    assert "left out" in done.stderr


def test_names_mean_nothing_in_a_terminal(tmp_path):
    document, more = hostile()
    folder = write_run(tmp_path / "run", document, more)
    other = write_run(tmp_path / "other", result(), details())
    both = ("compare", folder, other)
    for words in (("report", folder, "--md"), ("report", folder, "--csv"), both, (*both, "--md")):
        done = run(*words)
        assert done.exit_code == 0, done.output
        assert not set("\x1b\u202e\u2028\x00") & set(done.output)
        assert HOSTILE not in done.output


def test_two_runs_are_compared(folder, tmp_path):
    other = result()
    other["settings"]["scheme"] = "int8"
    other["measurements"][12]["value"] = 1_700_000
    second = write_run(tmp_path / "second", other, details())
    done = run("compare", folder, second)
    assert done.exit_code == 0
    words = " ".join(done.output.split())
    assert "scheme w4a8 int8" in words
    assert "file size of quantized 960 KB 1.70 MB 1.77 times" in words
    assert "latency of float" not in words  # it has not changed
    assert "latency of float" in run("compare", folder, second, "--verbose").output
    said = json.loads(run("compare", folder, second, "--json").stdout)
    assert said["names"] == ["run", "second"]
    assert {"what": "scheme", "a": "w4a8", "b": "int8", "means": "", "paired": None} in said["settings"]
    assert "## Figures" in run("compare", folder, second, "--md").stdout
    assert run("compare", folder, second, "--out", tmp_path / "c.md").exit_code == 0
    assert (tmp_path / "c.md").read_text().startswith("# From run to second")
    assert run("compare", folder, second, "--json", "--md").exit_code == 2
