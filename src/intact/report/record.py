"""result.json: every figure with unit, interval and how it was taken. The schema is described in docs/result.md."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final, Protocol

from intact.data import Finding
from intact.measure.accuracy import Verdict
from intact.measure.criteria import Judged
from intact.measure.figures import Reading
from intact.measure.task import Task
from intact.report.acceptance import acceptance
from intact.search.candidate import Candidate, front

SCHEMA: Final = "intact-result/1"


class Recorded(Protocol):
    """What a record is made of: :class:`intact.run.result.Result`, which says what each is."""

    @property
    def settings(self) -> Any: ...
    @property
    def about(self) -> Mapping[str, Any]: ...
    @property
    def tasks(self) -> Mapping[str, Task]: ...
    @property
    def readings(self) -> tuple[Reading, ...]: ...
    @property
    def verdict(self) -> Verdict | None: ...
    @property
    def candidates(self) -> tuple[Candidate, ...]: ...
    @property
    def taken(self) -> str | None: ...
    @property
    def steps(self) -> tuple[str, ...]: ...
    @property
    def findings(self) -> tuple[Finding, ...]: ...
    @property
    def criteria(self) -> tuple[Judged, ...]: ...
    @property
    def deliverables(self) -> Mapping[str, bytes]: ...


def record(result: Recorded) -> dict[str, Any]:
    """The whole record as what JSON has; infinite and undefined numbers are the strings "inf", "-inf" and "nan"."""
    document: dict[str, Any] = plain(_document(result))
    files = [
        {"file": name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        for name, data in (result.deliverables.items() if result.criteria else ())
    ]
    return document | {"acceptance": acceptance(document, files)}


def _document(result: Recorded) -> dict[str, Any]:
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
        "front": list(front(result.candidates, timed=result.settings.minimize is None)),
        "findings": [vars(f) for f in result.findings],
        "criteria": [judged.to_json() for judged in result.criteria],
    }


def plain(value: Any) -> Any:
    """``value`` with numbers that JSON has: one that is infinite is no reason to lose all others."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, (list, tuple)) else value


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return asdict(verdict) | {"loss": None if verdict.loss is None else verdict.loss.to_json()}


def to_json(document: dict[str, Any]) -> str:
    """The record as text, two spaces deep, NaN-free."""
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def compact(document: Mapping[str, Any]) -> bytes:
    """A long document for machines: JSON in one line, NaN-free, as UTF-8."""
    return json.dumps(plain(document), separators=(",", ":"), allow_nan=False).encode()
