"""result.json: every figure with unit, interval and how it was taken. The schema is described in docs/result.md."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, Final

from intact.measure.accuracy import Verdict
from intact.run.result import Result
from intact.search.candidate import front

SCHEMA: Final = "intact-result/1"


def record(result: Result) -> dict[str, Any]:
    """The whole record as what JSON has."""
    return {
        "schema": SCHEMA,
        "settings": asdict(result.settings),
        **result.about,
        "tasks": {name: task.to_json() for name, task in result.tasks.items()},
        "measurements": [reading.to_json() for reading in result.readings],
        "verdict": None if result.verdict is None else _verdict(result.verdict),
        "candidates": [candidate.to_json() for candidate in result.candidates],
        "taken": result.taken,
        "steps": list(result.steps),
        "front": list(front(result.candidates)),
        "findings": [vars(f) for f in result.findings],
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return asdict(verdict) | {"loss": None if verdict.loss is None else verdict.loss.to_json()}


def to_json(document: dict[str, Any]) -> str:
    """The record as text, two spaces deep, NaN-free."""
    return json.dumps(document, indent=2, allow_nan=False) + "\n"
