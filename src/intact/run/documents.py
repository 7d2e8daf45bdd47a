"""The documents in the folder of a run or a study, which anyone may have sent: read within bounds, and held to their shape."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

from intact import choices, files, reading
from intact.errors import IntactError, OptionError, located
from intact.measure import by_sample
from intact.measure.by_sample import BySample
from intact.planning.plan import Plan
from intact.report import checked
from intact.report.comparison import Side
from intact.run import carry
from intact.run.details import SCHEMA as DETAILS_SCHEMA
from intact.wording import brief

#: Bytes of a document: result.json of MobileNetV2 is 30 thousand, details.json a megabyte.
_LARGEST: Final = 64 << 20
#: Bytes of a file that is handed on: a .tflite has at most 2 GiB. A sparse one claims to be as large as it likes.
_LARGEST_FILE: Final = 2 << 30
_RESULT: Final = "result.json"
_STUDY: Final = "study.json"
_DETAILS: Final = "details.json"
_MODEL: Final = "model.tflite"
#: What is handed on of a run, with a hash of each.
_DELIVERED: Final = (
    _MODEL, "packed.tflite", "plan.json", "plan.npz", "result.json", "details.json", by_sample.FILE
)  # fmt: skip


@final
@dataclass(frozen=True, eq=False)
class Documents:
    """What a folder says: ``document`` of its run or study, ``details`` of a run that kept them, ``files`` with their hashes.

    ``notes``: what could not be read beside it, a sentence each.
    """

    path: Path
    document: Mapping[str, Any] = field(repr=False)
    details: Mapping[str, Any] | None = field(default=None, repr=False)
    files: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    notes: tuple[str, ...] = ()

    __repr__ = brief

    @property
    def is_study(self) -> bool:
        """Whether it is one of many runs."""
        return str(self.document["schema"]).startswith("intact-study/")


def read(path: Path) -> Documents:
    """The documents of ``path``: the folder of a finished run or of a study, or its result.json or study.json.

    Raises OptionError, which says what to type, for a folder that is no run or not finished, and for a document that is broken,
    another's, of another version or too large.
    """
    with located(str(path)):
        if not path.exists():
            raise OptionError(
                "there is no such folder, or it is a link to none; give the folder that intact quantize --out or intact study "
                "--out wrote"
            )
        if not path.is_dir():
            if path.name not in {_RESULT, _STUDY}:
                return _carried(path)
            return _in(path.parent, path)
        found = next((path / name for name in (_RESULT, _STUDY) if (path / name).exists()), None)
        if found is None:
            unfinished = (path / "job.json").exists()
            kind = "study" if (path / "runs").exists() else "run"
            what = f"holds a {kind} that is not finished; the same intact command goes on" if unfinished else "holds no run"
            raise OptionError(f"{what}; give the folder that intact quantize --out or intact study --out wrote")
        return _in(path, found)


def _carried(path: Path) -> Documents:
    """What a file that was carried to another machine measured there: a study with its times."""
    try:
        is_ours = json.loads(reading.content(path, OptionError, _LARGEST)).get("schema") == carry.SCHEMA
    except (ValueError, AttributeError, RecursionError, OptionError):
        is_ours = False
    if not is_ours:
        raise OptionError("is no folder of a run; give the folder that intact quantize --out or intact study --out wrote")
    document = carry.carried(path)
    return Documents(path.parent, document, notes=tuple(document["machine"]["notes"]))


def _in(folder: Path, path: Path) -> Documents:
    with located(path.name):
        data = reading.content(path, OptionError, _LARGEST)
        if path.name == _STUDY:
            return Documents(folder, checked.parsed(data, "intact-study/1", checked.STUDY))
        document = checked.parsed(data, "intact-result/1", checked.RESULT)
    details, notes = _details(folder, document)
    held = _delivered(folder)
    model = next((file for file in held if file["file"] == _MODEL), None)
    if model is not None and model["sha256"] != document["model"]["sha256"]:
        held = tuple(file for file in held if file is not model)
        notes = (*notes, f"{_MODEL} is another model than that of {_RESULT}, whose figures are not of it; left out")
    return Documents(folder, document, details, held, notes)


def _details(folder: Path, document: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, tuple[str, ...]]:
    """What details.json holds of this very model; the figures are worth a page without it too."""
    path = folder / _DETAILS
    if not path.exists():
        return None, ()
    try:
        with located(_DETAILS):
            found = checked.parsed(reading.content(path, OptionError, _LARGEST), DETAILS_SCHEMA, checked.DETAILS)
    except OptionError as error:
        return None, (f"{error}; left out",)
    if found.get("model_sha256") != document["model"]["sha256"]:
        return None, (f"{_DETAILS} is of another model than {_RESULT}; left out",)
    return found, ()


def _delivered(folder: Path) -> tuple[Mapping[str, Any], ...]:
    held = [path for path in map(folder.joinpath, _DELIVERED) if path.is_file() and path.stat().st_size <= _LARGEST_FILE]
    return tuple({"file": path.name, "bytes": path.stat().st_size, "sha256": files.sha256(path)} for path in held)


def sides(first: Path, second: Path) -> tuple[Side, Side]:
    """Two runs to compare, called by their folders; OptionError where one is a study."""
    both = read(first), read(second)
    for path, found in zip((first, second), both, strict=True):
        if found.is_study:
            raise OptionError(f"{path} is a study; compare two of its runs, which lie in {path / 'runs'}")
    short = tuple(found.path.resolve().name for found in both)
    names = short if short[0] != short[1] else (str(first), str(second))
    if names[0] == names[1]:
        raise OptionError(f"{first} is given twice; give another run to compare it with")
    a, b = (_side(name, found) for name, found in zip(names, both, strict=True))
    return a, b


def _side(name: str, found: Documents) -> Side:
    samples, said = _samples(found.path, found.document)
    notes = tuple(f"{name}: {note}" for note in (*found.notes, *said))
    return Side(name, found.document, found.details, _plan(found.path), samples, notes)


def _samples(folder: Path, document: Mapping[str, Any]) -> tuple[BySample | None, tuple[str, ...]]:
    """What the figures of this very model are of every sample, and why that is not known where the file is there."""
    path, about = folder / by_sample.FILE, document["samples"]["report"]
    if not path.exists():
        return None, ()
    try:
        with located(path.name):
            found = BySample.from_bytes(reading.content(path, OptionError, by_sample.LARGEST), about["n"])
    except OptionError as error:
        return None, (f"{error}; left out",)
    if (found.model_sha256, found.samples) != (document["model"]["sha256"], about["fingerprint"]):
        return None, (f"{path.name} is of another model or other samples than {_RESULT}; left out",)
    return found, ()


def _plan(folder: Path) -> Mapping[str, Any] | None:
    """What plan.json says of tensors, if it is there and what Intact wrote."""
    path = folder / "plan.json"
    try:
        return json.loads(Plan.from_json(choices.plan(path)).to_json()) if path.exists() else None
    except IntactError:
        return None
