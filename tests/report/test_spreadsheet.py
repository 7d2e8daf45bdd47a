"""CSV of a run: numbers in full, and no text that computes."""

import csv
import io

import pytest
from run_documents import result, study

from intact.report.spreadsheet import to_csv


@pytest.mark.parametrize("name", ["=1+1", "+A1", "-A1", "@SUM(A1)", "\t=1", "\n=1", "  =1", "\uff1d1"])
def test_a_name_is_no_formula(name):
    document = result()
    document["measurements"][0] |= {"name": name, "how": name, "unit": name}
    document["criteria"][0] |= {"criterion": name, "why": name}
    text = to_csv(document)
    for row in csv.reader(io.StringIO(text)):
        for cell in row:
            try:
                float(cell)
            except ValueError:
                assert not cell.strip().startswith(("=", "+", "-", "@", "\uff1d")), cell
    assert text.count("\n") == 1 + len(document["measurements"]) + len(document["criteria"])


def test_negative_and_infinite_numbers_stay_numbers():
    document = result()
    document["measurements"][2]["value"] = -1.25
    document["measurements"][3] |= {"value": "-inf", "low": "nan"}
    rows = list(csv.DictReader(io.StringIO(to_csv(document))))
    assert rows[2]["value"] == "-1.25"
    assert (rows[3]["value"], rows[3]["low"]) == ("-inf", "nan")
    assert rows[2]["low"] == "-0.7756346735359773"  # in full


def test_a_study_has_a_line_for_each_variant():
    assert len(list(csv.DictReader(io.StringIO(to_csv(study()))))) == 6
