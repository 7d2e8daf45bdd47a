"""What the page of a study shows: every variant side by side, matrices of device and precision, and the decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from intact.report.numbers import number
from intact.report.study import decisions, taken
from intact.report.study_columns import Column, columns, failures, findings, how_taken, matrices, runtimes
from intact.report.study_decision import loss_name, worst
from intact.wording import quantity

#: What the numbers of a published figure are in.
_REFERENCE_UNITS: Final = {"drop": "percentage points", "size": "bytes"}
#: The value of a figure of which more is better where nothing is lost.
_PERFECT: Final = {"agreement with float": 100}
Document: TypeAlias = Mapping[str, Any]


def view(document: Document) -> dict[str, Any]:
    """What the template shows."""
    rows, wide = document["rows"], columns(document["rows"])
    chosen, had = taken(document), [row for row in rows if row["status"] != "failed"]
    return {
        "any_taken": bool(chosen),
        "side": "lower" if (loss_name(had) or ("", 1))[1] > 0 else "upper",
        "title": f"Study of {', '.join(document['models'])}",
        "sentence": sentence_of(document),
        "decisions": list(decisions(document).items()),
        "columns": [column.head for column in wide],
        "has_criteria": any(row["criteria"] or row["status"] != "done" for row in had),
        "rows": [_row(row, wide, chosen, document["front"]) for row in had],
        "failed": failures(rows),
        "findings": findings(rows),
        "pending": sum(cell["status"] == "pending" for cell in document["cells"]),
        "matrices": matrices(rows),
        "runtimes": runtimes(rows),
        "references": [_reference(each) for each in document["references"]],
        "measured": how_taken(rows),
        "machine": document["machine"],
        "models": document["models"],
        "cells": len(document["cells"]),
    }


def charts(document: Document) -> dict[str, Any]:
    """What the scripts draw: each variant with what it loses, its size and time."""
    rows = [row for row in document["rows"] if row["status"] != "failed"]
    found, chosen = loss_name(rows), taken(document)
    if found is None:
        return {"candidates": []}
    told = [(row, name) for row in rows if (name := worst(row, *found)) is not None]
    return {
        "candidates": [
            {
                "name": called,
                "figure": found[0],
                "taken": row["name"] in chosen,
                "front": row["name"] in document["front"],
                "perfect": _PERFECT.get(found[0], 0 if found[1] > 0 else None),
                **{key: row["figures"][name].get(key) for key in ("value", "low", "high", "unit")},
                "bytes": row["figures"].get("file size", {}).get("value"),
                "ms": row["figures"].get("latency", {}).get("value"),
            }
            for (row, name), called in zip(told, apart(_without_granularity([row for row, _ in told])), strict=True)
        ]
    }


def _without_granularity(rows: Sequence[Document]) -> list[str]:
    """Names of rows, without their weights' granularity where it is the same of all."""
    same = {f" {row.get('weights')}" for row in rows}
    return [row["name"].replace(*same, "") if len(same) == 1 else row["name"] for row in rows]


def apart(names: Sequence[str]) -> list[str]:
    """``["net int8 cpu", "net w4a8 cpu"] -> ["int8 cpu", "w4a8 cpu"]``: names without the words that all begin with."""
    words = [name.split(" ") for name in names]
    least = min((len(each) for each in words), default=1) - 1
    same = next((n for n in range(least) if len({each[n] for each in words}) > 1), least) if len(names) > 1 else 0
    return [" ".join(each[same:]) for each in words]


def sentence_of(document: Document) -> str:
    """The decision in one sentence."""
    decision = document["decision"]
    why = decision["why"].rstrip(".")
    return f"Take {decision['taken']}: {why}." if decision["taken"] is not None else f"{why[:1].upper()}{why[1:]}."


def cells_of(row: Document, wide: Sequence[Column]) -> list[str]:
    """What a row has in each column, as it is seen; why it could not be had, if it could not."""
    return [str(row["why"] or row["status"])] if row["status"] != "done" else [column.cell(row) for column in wide]


def _row(row: Document, wide: Sequence[Column], chosen: set[str], front: Sequence[str]) -> dict[str, Any]:
    return {
        **{key: row[key] for key in ("name", "status", "criteria")},
        "taken": row["name"] in chosen,
        "front": row["name"] in front,
        "cells": [_cell(column, row) for column in wide],
    }


def _cell(column: Column, row: Document) -> dict[str, Any]:
    """A figure as a table has it: what is seen, its spread or interval, and what it is sorted by."""
    figure, told = row["figures"].get(column.figure), column.cell(row)
    value = "" if figure is None or not told else str(float(figure["value"])).replace("inf", "Infinity")
    return {"text": told, "more": column.beside(row), "value": value}


def _reference(reference: Document) -> list[tuple[str, str]]:
    held = {name: value for name, value in reference.items() if value is not None}
    return [(name.replace("_", " "), _said(value, _REFERENCE_UNITS.get(name, ""))) for name, value in held.items()]


def _said(value: Any, unit: str) -> str:
    if not isinstance(value, (int, float)):
        return str(value)
    return quantity(value, unit) if unit else number(value)
