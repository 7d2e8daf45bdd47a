"""A study as files and as a table: study.json, study.md, study.csv, and what the terminal shows. Reads study.json alone."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from rich.table import Table

from intact.report.csv_cells import cell
from intact.report.markdown import rendered
from intact.report.study_columns import columns, failures, findings, how_taken, matrices, runtimes
from intact.wording import shown

Document: TypeAlias = Mapping[str, Any]
_ABOUT: Final = ("name", "model", "scheme", "target", "runtime", "weights", "remedies", "calibration_samples", "status", "why")
_OF_A_FIGURE: Final = ("value", "low", "high", "mean", "std", "n")
#: Characters of a name in a terminal at least, and blanks before a figure.
_SHORTEST: Final = 12
#: Characters of a model's name of several at least.
_FEWEST: Final = 5
_BETWEEN: Final = 2
_MARKS: Final = {"pass": "pass", "fail": "fail", "inconclusive": "open"}


def files_of(document: Document) -> dict[str, bytes]:
    """What a study's folder holds of it, by name."""
    return {
        "study.json": to_json(document).encode(),
        "study.md": to_markdown(document).encode(),
        "study.csv": to_csv(document).encode(),
    }


def to_json(document: Document) -> str:
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def to_markdown(document: Document) -> str:
    """The decision, all variants side by side, matrices of device and precision, and what others published."""
    rows = document["rows"]
    wide = columns(rows)
    groups = [
        {
            "model": model,
            "heads": [column.head for column in wide],
            "rows": [
                {"row": row, "cells": [column.spread(row) for column in wide]}
                for row in rows
                if row["model"] == model and row["status"] != "failed"
            ],
        }
        for model in document["models"]
    ]
    seen = {column.figure for column in wide}
    kept = [{**row, "figures": {name: f for name, f in row["figures"].items() if name in seen}} for row in rows]
    about = {"groups": groups, "matrices": matrices(rows), "failed": failures(rows), "findings": findings(rows)}
    told = {
        "lost": {row["name"] for row in rows if row["status"] == "failed"},
        "decisions": decisions(document),
        "taken": taken(document),
        "judged": bool(document.get("accept")),
        "runtimes": runtimes(rows),
    }
    return rendered("study.md.j2", {**document, **about, **told, "measured": how_taken(kept)})


def decisions(document: Document) -> dict[str, Any]:
    """The decision for each target; for the study as a whole where it names no targets."""
    return document["decision"].get("targets") or {"": document["decision"]}


def taken(document: Document) -> set[str]:
    """Names of the variants that are taken for any target."""
    return {d["taken"] for d in (document["decision"], *decisions(document).values())} - {None}


def to_csv(document: Document) -> str:
    """One line for each variant: what it is, then five columns for every figure that any has."""
    names = list(dict.fromkeys(name for row in document["rows"] for name in row["figures"]))
    units = {name: f["unit"] for row in document["rows"] for name, f in row["figures"].items()}
    heads = [
        f"{name}{f' [{units[name]}]' if units[name] else ''}{'' if k == 'value' else f' {k}'}"
        for name in names
        for k in _OF_A_FIGURE
    ]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([cell(head) for head in (*_ABOUT, *heads)])
    for row in document["rows"]:
        figures = [(row["figures"].get(name) or {}).get(k) for name in names for k in _OF_A_FIGURE]
        writer.writerow([cell(row.get(key)) for key in _ABOUT] + ["" if x is None else x for x in figures])
    return out.getvalue()


def to_table(document: Document, width: int = 80) -> Table:
    """The variants in ``width`` columns: name, what is lost, size and time. A name is cut short where it does not fit."""
    rows = document["rows"]
    narrow, one, chosen = columns(rows, narrow=True), len(document["models"]) == 1, taken(document)
    judged = bool(document["accept"]) or any(row["status"] != "done" for row in rows)
    heads, cells = [column.short for column in narrow], [[column.cell(row) for column in narrow] for row in rows]
    if judged:
        heads.append("")
        for row, line in zip(rows, cells, strict=True):
            line.append(row["status"] if row["status"] != "done" else _status(row) if document["accept"] else "")
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    table.add_column("variant", no_wrap=True)
    for head in heads:
        table.add_column(head, justify="right" if head else "left", no_wrap=True)
    figures = sum(max(map(len, column)) + _BETWEEN for column in zip(heads, *cells, strict=True))
    room = max(width - figures, _SHORTEST)
    for row, line in zip(rows, cells, strict=True):
        mark = "* " if row["name"] in chosen else ""
        table.add_row(mark + _named(row, room - len(mark), alone=one), *line)
    return table


def _named(row: Mapping[str, Any], room: int, *, alone: bool) -> str:
    """A variant in so many characters: its model's name gives way before what tells it from the others of that model."""
    how = row["name"].removeprefix(f"{row['model']} ")
    left = room - len(how) - 1
    return shown(how if alone else f"{shown(row['model'], left)} {how}" if left >= _FEWEST else row["name"], room)


def _status(row: Mapping[str, Any]) -> str:
    statuses = [judged["status"] for judged in row["criteria"]]
    return _MARKS[next((s for s in ("fail", "inconclusive") if s in statuses), "pass")]
