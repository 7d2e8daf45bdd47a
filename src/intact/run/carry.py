"""A study that is carried to a machine without a line to it: one file that measures its variants there, and what comes back.

The same code makes the calls, which are packed, and reads their answers: what a figure is, is said once.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

from intact import files, reading
from intact.errors import ChildError, OptionError, located
from intact.measure import criteria, machine
from intact.measure.condition import felt
from intact.measure.criterion import parse
from intact.measure.figures import Reading, reading_of, speed
from intact.measure.resident import resident
from intact.measure.throughput import throughput
from intact.planning.targets import target as target_named
from intact.progress import StepProgress, silent
from intact.report import checked
from intact.report.study_rows import study_document
from intact.runtime.confinement import Confinement
from intact.runtime.places import replaced
from intact.runtime.runner import packed_scripts

SCHEMA: Final = "intact-measured/1"
_LARGEST: Final = 256 << 20
#: What a worker would answer, for a call that is only noted.
_ONE: Final[Mapping[str, Any]] = {"samples": [1.0]}


@final
@dataclass(eq=False)
class _Noted:
    """A place that notes what is asked of it, with the files that go along by their SHA-256."""

    calls: list[dict[str, Any]] = field(default_factory=list)
    held: dict[str, Path] = field(default_factory=dict)
    name: str = ""
    piece_bytes: int = 1
    at_once: int = 1
    cores: int = 1
    memory: int = 1
    machine: Mapping[str, Any] = field(default_factory=dict)

    def call(  # noqa: PLR0913  # as a place has it
        self,
        script: str,
        request: Mapping[str, Any],
        *,
        what: str,
        timeout: float,
        on_progress: StepProgress | None = None,
        confinement: Confinement | None = None,
    ) -> dict[str, Any]:
        del what, timeout, on_progress, confinement
        self.calls.append({"script": script, "request": replaced(request, self._held)})
        models = request.get("models", {})
        return {
            "samples": {name: [1.0] for name in models},
            "repeats": dict.fromkeys(models, 1),
            "batches": [dict(_ONE) for _ in request.get("batches", ())],
            "peak": 1,
        }

    def _held(self, path: Path) -> str:
        digest = files.sha256(path)
        self.held[digest] = path
        return f"@{digest}.tflite"


@final
@dataclass(eq=False)
class _Answered:
    """The place that the answers are from, which gives them one after the other."""

    answers: Iterator[Any]
    machine: Mapping[str, Any]
    name: str
    piece_bytes: int = 1
    at_once: int = 1
    cores: int = 1
    memory: int = 1

    def call(  # noqa: PLR0913  # as a place has it
        self,
        script: str,
        request: Mapping[str, Any],
        *,
        what: str,
        timeout: float,
        on_progress: StepProgress | None = None,
        confinement: Confinement | None = None,
    ) -> dict[str, Any]:
        del script, request, timeout, on_progress, confinement
        match next(self.answers, None):
            case {"result": dict() as result}:
                return result
            case {"error": str(said)}:
                raise ChildError(f"{what} on {self.name} failed ({said})")
        raise OptionError("it is not finished; start it again there, and it goes on where it was")


def pack(study: Path, out: Path) -> Path:
    """One file for another machine, which measures the variants of a finished study that LiteRT runs; ``out``.

    OptionError for a folder that is no study, and for one without the float network to compare with.
    """
    with located(str(study)):
        path = study / "study.json"
        if not path.is_file():
            raise OptionError("there is no study; give the folder that intact study --out wrote")
        document = checked.parsed(reading.content(path, OptionError, _LARGEST), "intact-study/1", checked.STUDY)
        noted, calls = _Noted(), []
        for cell in _measurable(document):
            before = len(noted.calls)
            _times(noted, cell, {"float": _within(study, _float(document, cell)), "quantized": _within(study, cell["file"])})
            calls += [{"cell": cell["name"], "title": cell["name"], **call} for call in noted.calls[before:]]
        if not calls:
            raise OptionError("none of its variants is finished and runs in LiteRT on a processor; finish the study")
    told = {"study": document, "calls": calls}
    told["id"] = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
    files.write_bytes(out, _archive(told, noted.held))
    return out


def carried(path: Path) -> dict[str, Any]:
    """The study that a packed file was of, with the times of the machine that it was carried to instead of this one's.

    Raises OptionError for what no packed file wrote, and for one that is not finished.
    """
    with located(str(path)):
        told = checked.parsed(reading.content(path, OptionError, _LARGEST), SCHEMA, checked.MEASURED)
        if not checked.holds(told["study"], checked.STUDY):
            raise OptionError("its study is broken; take what the packed file wrote")
        document, name = told["study"], told["machine"]["node"]
        place = _Answered(iter(told["answers"]), told["machine"], name)
        measured = {cell["name"] for cell in _measurable(document)}
        notes = [f"{name}: {said}" for said in felt(told["machine"], told["after"])]
        cells = [_again(place, cell) if cell["name"] in measured else cell for cell in document["cells"]]
        return study_document(
            models=document["models"],
            machine=machine.document(place) | {"state_after": told["after"], "notes": notes},
            cells=cells,
            references=document["references"],
            accepting=document.get("accept", []),
        )


def _measurable(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The cells that LiteRT runs on a processor."""
    return [
        cell
        for cell in document["cells"]
        if cell["status"] == "done" and cell.get("runtime") in {None, "", "litert"}
        and target_named(cell["target"]).kernels == "default"
    ]  # fmt: skip


def _float(document: Mapping[str, Any], cell: Mapping[str, Any]) -> str:
    """The file of the float network that a cell is compared with."""
    for other in _measurable(document):
        if (other["model"], other["target"], other["scheme"]) == (cell["model"], cell["target"], "float32"):
            return str(other["file"])
    raise OptionError(f"it has no float32 variant of {cell['model']} to compare with; type: intact study … --schemes float32,…")


def _within(study: Path, file: str) -> Path:
    """A file of the study; OptionError for one that is not in its folder, as what anyone may have sent can name any."""
    path = study / file
    if not path.resolve().is_relative_to(study.resolve()) or not path.is_file():
        raise OptionError(f"there is no {file} in it; finish the study")
    return path


def _times(place: Any, cell: Mapping[str, Any], of: Mapping[str, Path]) -> list[Reading]:
    """What is timed and weighed of a cell, as a study does it."""
    kernels, threads = target_named(cell["target"]).kernels, cell["threads"]
    readings = [*speed(of, kernels, silent, threads, place)[0]]
    if cell["repeat"] == 0:
        readings += [Reading("quantized", m) for m in throughput(of["quantized"], kernels, threads, place)]
        readings.append(Reading("quantized", resident(of["quantized"], kernels, threads, place)))
    return readings


def _again(place: _Answered, cell: Mapping[str, Any]) -> dict[str, Any]:
    """A cell with the times from there, or failed with the reason."""
    here = Path(__file__)  # any file: what is asked was answered there
    try:
        own = [reading.to_json() for reading in _times(place, cell, {"float": here, "quantized": here})]
    except ChildError as error:
        return {**cell, "status": "failed", "why": str(error), "measurements": [], "criteria": []}
    again = {(m["of"], m["name"]) for m in own}
    measurements = [*(m for m in cell["measurements"] if (m["of"], m["name"]) not in again), *own]
    return {**cell, "measurements": measurements, "criteria": _judged(place.name, cell["criteria"], measurements)}


def _judged(place: str, former: Sequence[Mapping[str, Any]], measurements: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The criteria of a cell judged anew, but for those that are of another place by name."""
    readings = [reading_of(m) for m in measurements]
    made = []
    for judged in former:
        criterion = parse(judged["criterion"])
        again = criterion.on in {"", place}
        made.append(criteria.judge(criterion, readings).to_json() if again else dict(judged))
    return made


def _archive(told: Mapping[str, Any], held: Mapping[str, Path]) -> bytes:
    """An archive that Python runs."""
    made = io.BytesIO()
    made.write(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(made, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, source in packed_scripts().items():
            archive.writestr("__main__.py" if name == "carried.py" else name, source)
        archive.writestr("calls.json", json.dumps(told))
        for digest, path in held.items():
            archive.write(path, f"{digest}.tflite")
    return made.getvalue()
