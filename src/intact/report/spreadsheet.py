"""The figures and criteria of a run as CSV: a line each, numbers in full, and no text that a spreadsheet would compute."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any, Final

from intact.report.csv_cells import cell
from intact.report.study import to_csv as study_to_csv

_FIGURE: Final = ("of", "name", "value", "unit", "low", "high", "n", "how")
_CRITERION: Final = ("of", "figure", "value", "unit", "low", "high")
#: What stands after the columns of a figure for a criterion.
_ASKED: Final = ("criterion", "limit", "status", "needs_about_n", "why")


def to_csv(document: Mapping[str, Any]) -> str:
    """The figures of a run, then its criteria with what each came to; of a study, a line for each variant."""
    if str(document["schema"]).startswith("intact-study/"):
        return study_to_csv(document)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow((*_FIGURE, *_ASKED))
    for m in document["measurements"]:
        writer.writerow([*(cell(m[key]) for key in _FIGURE), *("" for _ in _ASKED)])
    for c in document.get("criteria") or ():
        writer.writerow([*(cell(c.get(key)) for key in _CRITERION), "", "", *(cell(c.get(key)) for key in _ASKED)])
    return out.getvalue()
