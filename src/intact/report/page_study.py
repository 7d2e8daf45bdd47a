"""What the page of a study shows: every variant side by side, matrices of device and precision, and the decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from intact.report.figures import interval_of, value_of
from intact.report.numbers import number

#: Columns of the table of rows, those that any row has: the figure, and what it is called there.
_COLUMNS: Final = (
    ("top-1 accuracy", "accuracy"), ("top-5 accuracy", "top-5"), ("cross entropy", "loss"), ("accuracy drop", "drop"),
    ("agreement with float", "agreement"), ("SQNR", "SQNR"), ("file size", "size"), ("size ratio", "smaller"),
    ("size ratio to the file given", "than the file given"), ("bytes of weights", "weights"), ("weights ratio", "weights smaller"),
    ("weights ratio in theory", "in theory"), ("latency", "latency"), ("speed-up", "speed-up"),
    ("throughput at batch 1", "samples/s"), ("throughput at batch 32", "samples/s, batch 32"), ("peak live activations", "peak memory"),
    ("resident memory", "resident"), ("parameters", "parameters"), ("multiply-accumulates", "MACs"),
)  # fmt: skip
#: Matrices of device and precision: title, the figure, and whether more of it is better.
_MATRICES: Final = (
    ("Accuracy", "top-1 accuracy", True),
    ("Time", "latency", False),
    ("Memory", "peak live activations", False),
    ("Throughput", "throughput at batch 32", True),
)


def view(document: Mapping[str, Any]) -> dict[str, Any]:
    """What the template shows."""
    decision = document["decision"] or {"taken": None, "why": "Nothing was decided.", "others": []}
    names = [column for column in _COLUMNS if any(column[0] in row["figures"] for row in document["rows"])]
    return {
        "title": f"Study of {', '.join(document['models'])}",
        "sentence": f"{decision['taken']}: {decision['why']}" if decision["taken"] else decision["why"],
        "status": "not judged" if decision["taken"] is None else "accepted",
        "decision": decision,
        "columns": [title for _, title in names],
        "rows": [_row(row, [name for name, _ in names], document) for row in document["rows"]],
        "failed": [cell for cell in document["cells"] if cell["status"] == "failed"],
        "pending": sum(cell["status"] == "pending" for cell in document["cells"]),
        "matrices": [m for m in (_matrix(document["rows"], *each) for each in _MATRICES) if m is not None],
        "references": [_reference(each) for each in document["references"]],
        "machine": document["machine"],
        "cells": len(document["cells"]),
    }


def charts(document: Mapping[str, Any]) -> dict[str, Any]:
    """What the scripts draw."""
    points = []
    for row in document["rows"]:
        figures = row["figures"]
        lost = next((figures[name] for name in ("accuracy drop", "cross entropy increase") if name in figures), None)
        if lost is None or "file size" not in figures:
            continue
        points.append(
            {
                "name": row["name"],
                "figure": "accuracy drop",
                "taken": row["name"] == (document["decision"] or {}).get("taken"),
                "front": row["name"] in document["front"],
                **{key: lost.get(key) for key in ("value", "low", "high", "unit")},
                "bytes": figures["file size"]["value"],
                "ms": figures.get("latency", {}).get("value"),
            }
        )
    return {"candidates": points}


def _row(row: Mapping[str, Any], names: Sequence[str], document: Mapping[str, Any]) -> dict[str, Any]:
    decision = document["decision"] or {}
    return {
        "name": row["name"],
        "taken": row["name"] == decision.get("taken"),
        "front": row["name"] in document["front"],
        "cells": [cell(name, row["figures"].get(name)) for name in names],
        "criteria": row.get("criteria") or (),
    }


def cell(name: str, figure: Mapping[str, Any] | None) -> dict[str, Any]:
    """A figure as a table has it: what is seen, its interval or spread, and what it is sorted by."""
    if figure is None or figure["value"] is None:
        return {"text": "", "more": "", "value": ""}
    read = {"of": "difference" if name.endswith((" drop", " increase", "speed-up")) else "quantized", "name": name, **figure}
    std = figure.get("std")
    more = interval_of(read) or (f"± {number(std)}" if std else "")
    return {"text": value_of(read), "more": more, "value": figure["value"]}


def _matrix(rows: Sequence[Mapping[str, Any]], title: str, figure: str, more: bool) -> dict[str, Any] | None:
    """Devices by precision; where several rows are of one place, the best of them."""
    held: dict[tuple[str, str], Mapping[str, Any]] = {}
    for row in rows:
        found, place = row["figures"].get(figure), (row["target"], row["scheme"])
        if found is None or not isinstance(found["value"], (int, float)):
            continue
        if place not in held or (found["value"] > held[place]["value"]) == more:
            held[place] = found
    if not held:
        return None
    schemes = list(dict.fromkeys(scheme for _, scheme in held))
    best = (max if more else min)(figure["value"] for figure in held.values())
    return {
        "title": title,
        "schemes": schemes,
        "rows": [
            {
                "target": target,
                "cells": [
                    {**cell(figure, held.get((target, scheme))), "best": (held.get((target, scheme)) or {}).get("value") == best}
                    for scheme in schemes
                ],
            }
            for target in dict.fromkeys(target for target, _ in held)
        ],
    }


def _reference(reference: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, number(value) if isinstance(value, (int, float)) else str(value)) for name, value in reference.items() if value is not None]
