"""A page from Python, and what a notebook shows."""

import re
from html import unescape

import pytest
from nets import images, mobile
from run_documents import HOSTILE, details, hostile, result, study, write_run

import intact
from intact import notebook
from intact.diagnosis.diagnose import Diagnosis
from intact.diagnosis.symptom import Symptom
from intact.errors import OptionError
from intact.report import brief
from intact.run.report import Page
from intact.simulate.noise import Sensitivity
from intact.wording import shown


def plain(html):
    """Whatever means something is taken out; the words stay."""
    return unescape(re.sub("<[^>]*>", " ", html))


def test_a_page_is_given_or_written(tmp_path):
    folder = write_run(tmp_path / "run", result(), details())
    page = intact.report(folder)
    assert isinstance(page, Page)
    assert page.startswith("<!doctype html>")
    assert "data-explorer" in page
    assert intact.report(str(folder), tmp_path / "page.html") == tmp_path / "page.html"
    assert (tmp_path / "page.html").read_text() == page


def test_a_page_in_a_notebook_stands_in_a_frame_that_reaches_nothing():
    shown_there = Page('<p class="a">\'&</p>')._repr_html_()
    assert 'sandbox="allow-scripts"' in shown_there
    (held,) = re.findall('srcdoc="([^"]*)"', shown_there)
    assert unescape(held) == '<p class="a">\'&</p>'


def test_the_explorer_is_left_out_where_a_page_would_be_too_large(tmp_path, monkeypatch):
    folder = write_run(tmp_path / "run", result(), details())
    monkeypatch.setattr("intact.run.report._LARGEST", 500_000)
    page = intact.report(folder)
    assert "data-explorer" not in page.split("<script")[0]
    assert len(page) < 500_000


@pytest.mark.parametrize("what", [3, None, b"run"])
def test_what_is_no_result_is_refused(what):
    with pytest.raises(OptionError, match="a report is of a Result, a Study, a Fit or the path of a run's folder, and not of"):
        intact.report(what)


@pytest.mark.usefixtures("hasty")
def test_a_result_in_memory_has_a_page_and_shows_itself():
    made = intact.quantize(mobile(), images(40), remedies=())
    page = intact.report(made)
    assert made.about["model"]["sha256"] in page
    assert "is not the file that was measured" not in page
    in_notebook = made._repr_html_()
    assert "<script" not in in_notebook
    assert "<table>" in in_notebook


def test_a_notebook_shows_the_first_screen_of_a_run_and_of_a_study():
    shown_there = brief.to_html(result(), details())
    assert "Rejected: 1 of 4 criteria is not met" in plain(shown_there)
    assert "classifier" in shown_there
    assert shown_there.count("<table>") == 3
    of_study = brief.to_html(study())
    assert "Take mobilenet int8 cpu" in plain(of_study)
    assert "no kernel for 4-bit CONV_2D" in plain(of_study)


def test_names_mean_nothing_in_a_notebook():
    shown_there = brief.to_html(*hostile())
    assert not re.search("<(?:script|img)", shown_there)
    assert shown(HOSTILE) in plain(shown_there)


def test_a_diagnosis_shows_itself():
    op = Sensitivity(op=f"CONV_2D '{HOSTILE}'", output=1, noise=0.1, share=0.5)
    found = Diagnosis((op,), (Symptom("dead", f"channel of {HOSTILE}", "advice"),), ())._repr_html_()
    assert "50.0 %" in found
    assert not re.search("<(?:script|img)", found)
    assert "nothing looks wrong" in Diagnosis((), (), ())._repr_html_()


def test_an_empty_table_is_none():
    assert notebook.table(("a",), ()) == ""
    assert notebook.bullets(()) == ""
