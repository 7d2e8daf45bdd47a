"""The folder of a study: what it is of, a run's folder for every variant of it, and the times taken besides."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from intact import files, locks, reading
from intact.errors import IntactError, OptionError, OutputError
from intact.progress import unheard
from intact.report import checked
from intact.run.folder import Common, difference, sha256_of

#: What a study leaves besides the runs.
RESULTS: Final = ("study.md", "study.csv", "study.json")
_JOB: Final = "job.json"
_RUNS: Final = "runs"
_TIMES: Final = "times"
_COMMON: Final = ".common"
_OURS: Final = frozenset({*RESULTS, _JOB, _RUNS, _TIMES, _COMMON, locks.NAME})
#: Bytes of a document that is read back.
_LARGEST: Final = 256 << 20


@final
@dataclass(frozen=True)
class StudyFolder:
    """One study's folder; :func:`open_study` gives it."""

    path: Path

    def run(self, name: str) -> Path:
        return self.path / _RUNS / name

    def common(self, model: int) -> Common:
        """What the runs of one model have in common."""
        return Common(self.path / _COMMON / str(model))

    def finished(self, name: str) -> dict[str, Any] | None:
        """The record of a run, if it is finished: whole, and with the model that it is of."""
        run = self.run(name)
        try:
            record = checked.parsed(
                reading.content(run / "result.json", OptionError, _LARGEST), "intact-result/1", checked.RESULT
            )
        except OptionError:
            return None
        return record if (run / "model.tflite").is_file() else None

    def times(self, name: str) -> dict[str, Any]:
        """What was timed of a run besides, by what it is called; empty where nothing was, or where it is none of ours."""
        try:
            found = json.loads(reading.content(self._times(name), OptionError, _LARGEST))
        except (OptionError, ValueError, RecursionError):
            return {}
        return {k: v for k, v in found.items() if checked.holds(v, checked.TIMES)} if isinstance(found, dict) else {}

    def add_times(self, name: str, called: str, readings: Iterable[Mapping[str, Any]]) -> None:
        files.write_text(self._times(name), json.dumps(self.times(name) | {called: list(readings)}, indent=1))

    def forget(self, names: Iterable[str]) -> None:
        """What was timed of a run that is made anew."""
        for name in names:
            self._times(name).unlink(missing_ok=True)

    def _times(self, name: str) -> Path:
        return self.path / _TIMES / f"{name}.json"

    def finish(self, results: Mapping[str, bytes], *, complete: bool) -> None:
        """Write the results, ``study.json`` last; what the runs have in common goes where it is ``complete``."""
        for name in RESULTS:
            files.write_bytes(self.path / name, results[name])
        if complete:
            shutil.rmtree(self.path / _COMMON, ignore_errors=True)


def of_models(names: Sequence[str], models: Sequence[object]) -> list[dict[str, Any]]:
    """What a job says of each model, its ``sha256`` among it: of one that cannot be read, ``why``, for its rows fail with that
    reason and the others go on. Raises IntactError where none can be read.
    """
    made, errors = list[dict[str, Any]](), list[IntactError]()
    for name, model in zip(names, models, strict=True):
        try:
            made.append({"name": name, "sha256": sha256_of(model)})
        except IntactError as error:
            errors.append(error)
            made.append({"name": name, "sha256": None, "why": str(error)})
    if errors and len(errors) == len(models):
        raise errors[0]
    return made


@contextmanager
def open_study(
    path: Path, job: Mapping[str, Any], *, overwrite: bool = False, tell: Callable[[str], None] = unheard
) -> Iterator[StudyFolder]:
    """A folder for the study that ``job`` describes, for this process alone: new, empty, or of the same job, which goes on.

    OutputError for another job's or a folder with other things in it, unless ``overwrite``: then what the former study left is
    removed, and nothing else. Raises it also while another study works there.
    """
    wanted = json.dumps(dict(job), indent=1, sort_keys=True) + "\n"
    study = StudyFolder(path)
    with contextlib.ExitStack() as ending:
        ending.callback(_remove_if_empty, path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            ending.enter_context(locks.held(path, tell))
            _begin(study, wanted, overwrite)
        except OSError as error:
            why = error.strerror or error
            raise OutputError(f"{path} cannot be used as a folder ({why}); type --out with another") from error
        yield study


def _remove_if_empty(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.rmdir()


def _begin(study: StudyFolder, wanted: str, overwrite: bool) -> None:
    path = study.path
    for draft in files.drafts(path, _OURS):
        if draft.is_dir() and not draft.is_symlink():
            shutil.rmtree(draft, ignore_errors=True)
        else:
            draft.unlink(missing_ok=True)
    held = sorted(p.name for p in path.iterdir() if p.name != locks.NAME)
    noted = _text(path / _JOB) if _JOB in held else ""
    if noted and not overwrite and (noted == wanted or _is_mended(noted, wanted)):
        if noted != wanted:
            files.write_text(path / _JOB, wanted)
        return
    if held and not overwrite:
        if _JOB in held and {_RUNS, "study.json"} & set(held):
            raise OutputError(
                f"{path} holds a study of another job{difference(_brief(noted).encode(), _brief(wanted))}; type --overwrite, "
                "or --out with another folder"
            )
        some = ", ".join(held[:3])
        raise OutputError(f"{path} holds other things ({some}); type --out with another folder, or --overwrite to write there")
    for name in ("study.json", "study.csv", "study.md", _JOB):
        (path / name).unlink(missing_ok=True)
    for name in (_RUNS, _TIMES, _COMMON):
        if (path / name).is_dir() and not (path / name).is_symlink():
            shutil.rmtree(files.set_aside(path / name), ignore_errors=True)
    files.write_text(path / _JOB, wanted)


def _brief(job: str) -> str:
    """A job with a word for each of its models."""
    try:
        said = json.loads(job)
        models = [f"{m['name']} {m['sha256'][:8] if m['sha256'] else 'unreadable'}" for m in said["models"]]
        return json.dumps({**said, "models": ", ".join(models)})
    except (ValueError, KeyError, TypeError, RecursionError):
        return job


def _is_mended(noted: str, wanted: str) -> bool:
    """Whether two jobs are the same but for models that could not be read then: nothing came of these yet."""
    try:
        then, now = json.loads(noted), json.loads(wanted)
        told = [new if "why" in old else old for old, new in zip(then["models"], now["models"], strict=True)]
        return bool({**then, "models": told} == now)
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def _text(path: Path) -> str:
    try:
        return reading.content(path, OutputError, _LARGEST).decode(errors="replace")
    except OutputError:
        return ""
