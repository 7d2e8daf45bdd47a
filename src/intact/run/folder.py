"""The folder that a run writes into: what it was started with, what it has finished so far, and its results.

``job.json`` says what the run is; ``.stages/`` holds finished steps, so that the same command goes on after an interruption;
``best-so-far.tflite`` is there while better networks are searched for; ``result.json`` appears last, and means that the run is
finished.
"""

from __future__ import annotations

import json
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from intact import files, spool
from intact.errors import IntactError, OutputError, ResourceError
from intact.progress import Progress, silent

#: What a finished run leaves besides ``job.json``.
RESULTS: Final = ("model.tflite", "plan.npz", "plan.json", "result.md", "result.json")
#: The best network while better ones are searched for, whole at any time.
SO_FAR: Final = "best-so-far.tflite"
_JOB: Final = "job.json"
_STAGES: Final = ".stages"
_ABOUT: Final = "best-so-far.txt"


@final
@dataclass(frozen=True)
class RunFolder:
    """One run's folder; make it with :func:`open_run`."""

    path: Path

    def file(self, name: str, make: Callable[[], bytes]) -> Path:
        """The file of a finished step, made now if it is not there yet."""
        path = self.path / _STAGES / name
        if not path.exists():
            files.write_bytes(path, make())
        return path

    def arrays(self, name: str, make: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """The arrays of a finished step by name, made now if they are not there yet, or not whole. Large ones are mapped."""
        path = self.path / _STAGES / f"{name}.npz"
        if path.exists():
            try:
                return _unpacked(path)
            except (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile, zlib.error, struct.error):
                path.unlink()
        arrays = dict(make())
        with files.writing(path) as file:
            # By position, after their names: savez would take an output called "file" for its own argument.
            np.savez(file, np.array(list(arrays), np.str_), *arrays.values(), allow_pickle=False)
        return _unpacked(path)

    def unfinished(self) -> Path:
        """A folder for the state of a step that is not finished yet; it goes with the steps."""
        path = self.path / _STAGES
        path.mkdir(exist_ok=True)
        return path

    def keep(self, model: bytes, about: str) -> None:
        """Let ``model`` be what is there to use should the run be interrupted; ``about`` says how good it is."""
        files.write_bytes(self.path / SO_FAR, model)
        files.write_text(self.path / _STAGES / _ABOUT, about)

    @property
    def keeps(self) -> bool:
        """Whether there is such a model already, from before an interruption."""
        return (self.path / SO_FAR).exists()

    def claim(self, what: str, value: str) -> None:
        """Note ``value`` the first time; OutputError when the same command meets another value as it goes on."""
        if self.file(f"{what}.txt", value.encode).read_bytes() != value.encode():
            raise OutputError(f"{self.path} holds an unfinished run, and its {what} has changed since; type --overwrite")

    def finish(self, results: Mapping[str, bytes]) -> None:
        """Write the results, ``result.json`` last, and remove the steps."""
        for name in RESULTS:
            if name in results:
                files.write_bytes(self.path / name, results[name])
        self._clear()

    @contextmanager
    def while_working(self, tell: Callable[[str], None]) -> Iterator[None]:
        """Bad input leaves nothing behind; an interruption or a lack of memory leaves the finished steps, to go on from."""
        try:
            yield
        except (KeyboardInterrupt, ResourceError):
            about = self.path / _STAGES / _ABOUT
            if self.keeps:
                said = f" ({about.read_bytes().decode()})" if about.exists() else ""
                tell(f"the best network so far is {self.path / SO_FAR}{said}")
            raise
        except IntactError:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Take back what was written for a job that cannot be done; the folder goes too, if nothing else is in it."""
        self._clear()
        (self.path / _JOB).unlink(missing_ok=True)
        if not any(self.path.iterdir()):
            self.path.rmdir()

    def _clear(self) -> None:
        shutil.rmtree(self.path / _STAGES, ignore_errors=True)
        (self.path / SO_FAR).unlink(missing_ok=True)


def _unheard(line: str) -> None:
    del line


@final
@dataclass(frozen=True, eq=False)
class Work:
    """One run's folder, and who is told how far it has come (``progress``) and what was done (``tell``)."""

    folder: RunFolder
    progress: Progress = silent
    tell: Callable[[str], None] = _unheard


def _unpacked(path: Path) -> dict[str, np.ndarray]:
    held = spool.npz(path, "c")
    return {str(name): held[f"arr_{n}"] for n, name in enumerate(held["arr_0"], 1)}


def open_run(path: Path, job: Mapping[str, Any], *, overwrite: bool = False) -> RunFolder:
    """A folder for ``job``: new, empty, or holding an unfinished run of the same job, which then goes on.

    Raises OutputError for a finished run, another job or a folder with other things in it, unless ``overwrite``: then the
    results of the former run are removed, and nothing else.
    """
    wanted = json.dumps(dict(job), indent=1, sort_keys=True) + "\n"
    try:
        path.mkdir(parents=True, exist_ok=True)
        held = sorted(p.name for p in path.iterdir())
    except OSError as error:
        raise OutputError(f"{path} cannot be used as a folder ({error.strerror or error}); type --out with another") from error
    if held and not overwrite:
        _check_may_go_on(path, held, wanted)
    if overwrite:
        try:
            for name in (*RESULTS, SO_FAR, _JOB):
                (path / name).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{path} cannot be overwritten ({error.strerror or error}); type --out with another") from error
        shutil.rmtree(path / _STAGES, ignore_errors=True)
    files.write_text(path / _JOB, wanted)
    return RunFolder(path)


def _check_may_go_on(path: Path, held: list[str], wanted: str) -> None:
    if "result.json" in held:
        raise OutputError(f"{path} holds a finished run; type --overwrite to replace it, or --out with another folder")
    if _JOB not in held:
        some = ", ".join(held[:3])
        raise OutputError(f"{path} holds other things ({some}); type --out with another folder, or --overwrite to write there")
    held_job = (path / _JOB).read_bytes()
    if held_job != wanted.encode():
        raise OutputError(
            f"{path} holds an unfinished run of another job{_difference(held_job, wanted)}; type --overwrite, or --out with "
            "another folder"
        )


def _difference(held: bytes, wanted: str) -> str:
    """What the two jobs do not have in common, in brackets; nothing where that cannot be said."""
    try:
        mine, theirs = (_flat(json.loads(job)) for job in (wanted, held))
    except (ValueError, AttributeError):
        return ""
    other = [
        f"{name} {theirs.get(name)} there, {mine.get(name)} now"
        for name in {**mine, **theirs}
        if mine.get(name) != theirs.get(name)
    ]
    return f" ({'; '.join(other)})"


def _flat(job: dict[str, Any]) -> dict[str, Any]:
    """The entries of a job with its settings among them."""
    return {k: v for k, v in job.items() if not isinstance(v, dict)} | {
        name: value for part in job.values() if isinstance(part, dict) for name, value in part.items()
    }
