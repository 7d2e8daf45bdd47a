"""The cells of a study put together: a row for each variant with every figure's mean and spread, the front, and who is taken.

Reads documents and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np

from intact.measure.latency import quartiles
from intact.report.study_decision import decide, front

SCHEMA: Final = "intact-study/1"
Document: TypeAlias = Mapping[str, Any]
#: What all cells of a row have in common.
_SHARED: Final = ("model", "scheme", "target", "runtime", "device", "weights", "remedies", "calibration_samples")
#: From good to bad.
_STATUS: Final = ("pass", "inconclusive", "fail")


def study_document(
    *,
    models: Sequence[str],
    machine: Document,
    cells: Sequence[Document],
    references: Sequence[Document],
    accepting: Sequence[str],
) -> dict[str, Any]:
    """study.json; the schema is described in docs/study.md."""
    rows = _rows(cells)
    ahead = front(rows)
    return {
        "schema": SCHEMA,
        "models": list(models),
        "machine": dict(machine),
        "accept": list(accepting),
        "cells": [dict(cell) for cell in cells],
        "rows": rows,
        "front": ahead,
        "decision": decide(rows, ahead, bool(accepting)),
        "references": [dict(reference) for reference in references],
    }


def _rows(cells: Sequence[Document]) -> list[dict[str, Any]]:
    grouped: dict[str, list[Document]] = {}
    for cell in cells:
        grouped.setdefault(str(cell["row"]), []).append(cell)
    both = {m["name"] for cell in cells for m in cell["measurements"] if m["of"] != "float"}
    first = next((cell["threads"] for cell in cells), 1)
    return [_row(name, group, both, first) for name, group in grouped.items()]


def _row(name: str, cells: Sequence[Document], both: set[str], first: int) -> dict[str, Any]:
    done = [cell for cell in cells if cell["status"] == "done"]
    statuses = [cell["status"] for cell in cells]
    return {
        "name": name,
        **{key: cells[0].get(key) for key in _SHARED},
        "status": next((s for s in ("failed", "pending") if s in statuses), "done"),
        "why": next((cell["why"] for cell in cells if cell["why"]), None),
        "files": list(dict.fromkeys(cell["file"] for cell in done if cell.get("file"))),
        "runs": list(dict.fromkeys(cell["run"] for cell in done)),
        "figures": _figures(done, both, first),
        "criteria": _criteria(done),
        "findings": list({f["message"]: f for cell in done for f in cell.get("findings") or ()}.values()),
    }


def _figures(cells: Sequence[Document], both: set[str], first: int) -> dict[str, dict[str, Any]]:
    """Every figure by its name; of the float network as ``float latency`` where another has it too."""
    found: dict[str, list[Document]] = {}
    for cell in cells:
        for m in cell["measurements"]:
            name = f"float {m['name']}" if m["of"] == "float" and m["name"] in both else str(m["name"])
            name = name if cell["threads"] == first else f"{name}, {cell['threads']} threads"
            found.setdefault(name, []).append(m)
    return {name: _figure(several) for name, several in found.items()}


def _figure(several: Sequence[Document]) -> dict[str, Any]:
    """One reading as it is; of several their mean (of times, which have outliers, their median), standard deviation, and an
    interval that holds those of all.
    """
    one, values = several[0], [float(m["value"]) for m in several]
    n = len(values)
    known = all(math.isfinite(v) for v in values)
    mean = float(np.mean(values)) if known else values[0] if len(set(values)) == 1 else math.nan
    spread = float(np.std(values, ddof=1)) if n > 1 and known else None
    is_timed = one["unit"] in {"ms", "x", "samples/s"}
    middle = float(np.median(values)) if is_timed and known else mean
    ends = [(float(m["low"]), float(m["high"])) for m in several if m["low"] is not None and m["high"] is not None]
    of_all = f"the {'median' if is_timed else 'mean'} of {n}{', the interval holds those of all' if ends else ''}"
    figure = {
        "value": plain(values[0] if n == 1 else middle),
        "unit": one["unit"],
        "low": plain(min(low for low, _ in ends)) if ends else None,
        "high": plain(max(high for _, high in ends)) if ends else None,
        "mean": plain(mean),
        "std": plain(spread),
        "n": n,
        "how": one["how"] if n == 1 else f"{of_all}; the first: {one['how']}",
    }
    parts = [part for part in (quartiles(str(m["how"])) for m in several) if part is not None]
    return figure | ({"quartiles": [float(np.median(side)) for side in zip(*parts, strict=True)]} if parts else {})


def plain(x: float | None) -> float | str | None:
    """A number as JSON has it."""
    return x if x is None or math.isfinite(x) else str(float(x))


def _criteria(cells: Iterable[Document]) -> list[Document]:
    """What each criterion came to in the cell of the row that does worst."""
    worst: dict[str, Document] = {}
    for cell in cells:
        for judged in cell["criteria"]:
            held = worst.get(judged["criterion"])
            if held is None or _STATUS.index(judged["status"]) > _STATUS.index(held["status"]):
                worst[judged["criterion"]] = judged
    return list(worst.values())
