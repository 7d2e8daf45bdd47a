"""The first screen of a run or a study where there is no page: in a notebook, and in a pull request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from intact import notebook
from intact.report import advice, figures
from intact.report.markdown import rendered
from intact.report.page_run import percent
from intact.report.page_study import cells_of, sentence_of
from intact.report.study import to_markdown as study_to_markdown
from intact.report.study_columns import columns


def to_html(document: Mapping[str, Any], details: Mapping[str, Any] | None = None) -> str:
    """What a notebook shows of a run's or a study's document."""
    if _is_study(document):
        wide = columns(document["rows"])
        rows = [(row["name"], *cells_of(row, wide)) for row in document["rows"]]
        return notebook.sentence(sentence_of(document), strong=True) + notebook.table(
            ("variant", *(c.head for c in wide)), rows
        )
    five = [(row.name, row.float, row.integer, row.change_in_full) for row in figures.five(document)]
    criteria = [(row.criterion, row.word, row.measured, row.why) for row in figures.criteria(document)]
    blamed = [(op["op"], percent(op["noise_share"])) for op in advice.worst(details)]
    return "".join(
        (
            notebook.sentence(figures.sentence(document), strong=True),
            notebook.table(("", "float", str(document["settings"]["scheme"]), "change"), five),
            notebook.table(("asked for", "", "measured", "why"), criteria),
            notebook.table(("most of the noise", "share"), blamed),
            notebook.bullets(advice.next_steps(document, details)),
            notebook.sentence("intact.report(result, 'report.html') writes the whole page."),
        )
    )


def to_markdown(document: Mapping[str, Any], details: Mapping[str, Any] | None = None) -> str:
    """What a pull request shows: the first screen, and all figures folded."""
    if _is_study(document):
        return study_to_markdown(document)
    said = {
        "sentence": figures.sentence(document),
        "five": figures.five(document),
        "rows": figures.criteria(document),
        "worst": [(op["op"], percent(op["noise_share"])) for op in advice.worst(details)],
        "next": advice.next_steps(document, details),
    }
    return rendered("brief.md.j2", {**document, **said})


def _is_study(document: Mapping[str, Any]) -> bool:
    return str(document["schema"]).startswith("intact-study/")
