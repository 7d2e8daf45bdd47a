"""The folder that a run writes into: what it was started with, what it has finished so far, and its results.

``job.json`` says what the run is; ``.stages/`` holds finished steps, so that the same command goes on after an interruption;
``best-so-far.tflite`` is there while better networks are searched for; ``result.json`` appears last, goes first, and means that
the run is finished. ``.lock`` is there while a run works in the folder. Whatever a run is killed at, the folder is one of:
empty, another's, a job with the steps that it finished, or finished.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn, TypeAlias, final

import numpy as np

from intact import files, locks, reading, spool
from intact.errors import DataError, MissingExtraError, ModelError, OptionError, OutputError, UnsupportedError, located
from intact.formats import recognize
from intact.installed import __version__ as version
from intact.planning.plan import Plan
from intact.progress import Progress, silent, unheard
from intact.run.settings import Settings
from intact.runtime.places import HERE, Clock, Place, Timer

#: What a finished run leaves besides ``job.json``.
RESULTS: Final = (
    "report.html",
    "model.tflite",
    "packed.tflite",
    "plan.npz",
    "plan.json",
    "samples.npz",
    "details.json",
    "result.md",
    "result.json",
)
#: The best network while better ones are searched for, whole at any time.
SO_FAR: Final = "best-so-far.tflite"
_JOB: Final = "job.json"
_STAGES: Final = ".stages"
_ABOUT: Final = "best-so-far.txt"
_FINISHED: Final = "result.json"
#: Bytes of a job.json without a plan in it.
_LONG_JOB: Final = 1 << 20
#: Errors that are the user's to mend, and not the machine's. Whoever mends them types another command.
_BAD_INPUT: Final = (ModelError, UnsupportedError, DataError, OptionError, MissingExtraError)


@final
@dataclass(frozen=True, eq=False)
class Common:
    """Steps that several runs have in common, each made once, by what it is made of; for several threads and processes.

    ``taken``: the folders of the steps that were asked for, by name.
    """

    path: Path
    taken: set[str] = field(default_factory=set, repr=False)

    @contextmanager
    def of(self, name: str, content: object) -> Iterator[RunFolder]:
        """The folder of the step called ``name``, for one run at a time."""
        key = hashlib.sha256(repr((name, content)).encode()).hexdigest()[:32]
        folder = self.path / key
        folder.mkdir(parents=True, exist_ok=True)
        with locks.waited_for(folder):
            self.taken.add(key)
            yield RunFolder(folder)

    def steps(self) -> dict[str, Path]:
        """The files of the steps that were asked for, by their place in this folder."""
        found = (path for key in sorted(self.taken) for path in sorted((self.path / key / _STAGES).iterdir()))
        return {path.relative_to(self.path).as_posix(): path for path in found}


#: What a step is made of, as far as that differs between runs that have their other steps in common.
Content: TypeAlias = Callable[[], object]


@final
@dataclass(frozen=True)
class RunFolder:
    """One run's folder; :func:`open_run` gives it. ``overwrites``: what an earlier run left may go when it does not fit.

    ``common``: where runs beside it find the steps for which they say what they are made of.
    """

    path: Path
    overwrites: bool = False
    common: Common | None = None

    def file(self, name: str, make: Callable[[], bytes], of: Content | None = None) -> Path:
        """The file of a finished step, made now if it is not there yet, or not whole."""
        if self.common is not None and of is not None:
            with self.common.of(name, of()) as folder:
                return folder.file(name, make)
        path = self.path / _STAGES / name
        digest = path.with_name(f"{name}.sha256")
        if not (path.exists() and digest.exists() and digest.read_bytes() == files.sha256(path).encode()):
            data = make()
            files.write_text(digest, hashlib.sha256(data).hexdigest())  # first: whoever has the file has this
            files.write_bytes(path, data)
        return path

    def arrays(
        self, name: str, make: Callable[[], Mapping[str, np.ndarray]], of: Content | None = None
    ) -> dict[str, np.ndarray]:
        """The arrays of a finished step by name, made now if they are not there yet, or not whole. Large ones are mapped."""
        if self.common is not None and of is not None:
            with self.common.of(name, of()) as folder:
                return folder.arrays(name, make)
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
        said = self.path / _STAGES / _ABOUT
        said.unlink(missing_ok=True)  # what is said is of the model that is there, at any time
        files.write_bytes(self.path / SO_FAR, model)
        files.write_text(said, about)

    @property
    def keeps(self) -> bool:
        """Whether there is such a model already, from before an interruption."""
        return (self.path / SO_FAR).exists()

    def claim(self, what: str, value: str, made_before: str) -> None:
        """Note ``value``, which all steps but the one called ``made_before`` are made from.

        OutputError when the same command meets another value as it goes on; where it ``overwrites``, it does those steps again.
        """
        path = self.path / _STAGES / f"{what}.txt"
        if path.exists() and path.read_bytes() != value.encode():
            if not self.overwrites:
                raise OutputError(f"{self.path} holds an unfinished run, and its {what} has changed since; type --overwrite")
            for step in path.parent.iterdir():  # the old value goes last: it is what steps that are still there were made from
                if step != path and not step.name.startswith(made_before):
                    step.unlink()
            (self.path / SO_FAR).unlink(missing_ok=True)
        if not path.exists() or path.read_bytes() != value.encode():
            files.write_text(path, value)

    def finish(self, results: Mapping[str, bytes]) -> None:
        """Write the results, ``result.json`` last, and remove the steps."""
        for name in RESULTS:
            if name in results:
                files.write_bytes(self.path / name, results[name])
        with contextlib.suppress(OSError):  # a disk that fails now has the results; the next run tidies
            self._clear()

    @contextmanager
    def while_working(self, tell: Callable[[str], None]) -> Iterator[None]:
        """Whatever ends the run, the steps that it finished stay, to go on from. Where there are none, and where the input
        turns out bad before there is a network that is worth keeping, nothing is left behind.
        """
        try:
            yield
        except BaseException as error:
            if not (self.path / _FINISHED).exists():
                with contextlib.suppress(OSError):  # the error itself is what has to be told
                    self._ended(bad_input=isinstance(error, _BAD_INPUT), tell=tell)
            raise

    def _ended(self, *, bad_input: bool, tell: Callable[[str], None]) -> None:
        stages = self.path / _STAGES
        steps = list(stages.iterdir()) if stages.exists() else []
        if not steps or (bad_input and not self.keeps):
            self._clear()
            (self.path / _JOB).unlink(missing_ok=True)  # after the steps, which belong to it
        elif self.keeps:
            about = stages / _ABOUT
            said = f" ({about.read_bytes().decode(errors='replace')})" if about.exists() else ""
            another = "; for another job, type --overwrite or --out with another folder" if bad_input else ""
            tell(f"the best network so far is {self.path / SO_FAR}{said}{another}")

    def tidy(self) -> None:
        """Remove what a run left that was killed while it wrote or removed something."""
        for draft in files.drafts(self.path, (*RESULTS, SO_FAR, _JOB, _STAGES)):
            _remove(draft)
        stages = self.path / _STAGES
        for draft in files.drafts(stages) if stages.is_dir() and not stages.is_symlink() else ():
            _remove(draft)
        if (self.path / _FINISHED).exists():
            self._clear()

    def keep_plain_steps(self) -> None:
        """Remove what no run leaves among its steps: links, folders, pipes. What a link leads to stays as it is."""
        stages = self.path / _STAGES
        if stages.is_symlink() or not stages.is_dir():
            stages.unlink(missing_ok=True)
            return
        for step in [p for p in stages.iterdir() if p.is_symlink() or not p.is_file()]:
            _remove(step)

    def _clear(self) -> None:
        (self.path / SO_FAR).unlink(missing_ok=True)
        if (self.path / _STAGES).exists():
            _remove(files.set_aside(self.path / _STAGES))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@final
@dataclass(frozen=True, eq=False)
class Work:
    """One run's folder, and who is told how far it has come (``progress``) and what was done (``tell``).

    ``alone``: around what is timed, so that nothing else of this process works meanwhile. ``timer``: where the results are
    measured, or timed where it does nothing else.
    """

    folder: RunFolder
    progress: Progress = silent
    tell: Callable[[str], None] = unheard
    alone: Callable[[], AbstractContextManager[None]] = nullcontext
    timer: Timer = HERE

    @property
    def place(self) -> Place:
        """Where samples run: where the results are timed, if samples run there."""
        return HERE if isinstance(self.timer, Clock) else self.timer


def _unpacked(path: Path) -> dict[str, np.ndarray]:
    held = spool.npz(path, "c")
    return {str(name): held[f"arr_{n}"] for n, name in enumerate(held["arr_0"], 1)}


def job(  # noqa: PLR0913  # all by keyword
    *,
    model: object,
    data: object,
    evaluation: object,
    settings: Settings,
    preprocessing: dict[str, Any],
    image: str | None,
    label: str | None,
    plan: Plan | None,
    training: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What a run is started with, as JSON has it: all that decides what comes out. What is no path is not told apart."""
    return {
        "version": version,
        "model": sha256_of(model),
        "data": _place(data),
        "eval": _place(evaluation),
        "settings": _deciding(settings),
        "preprocessing": preprocessing,
        "image": image,
        "label": label,
        "plan": None if plan is None else plan.to_json(),
    } | ({} if training is None else {"training": dict(training)})


def _deciding(settings: Settings) -> dict[str, Any]:
    """Settings that decide what comes out: of the criteria the one that steers."""
    said = asdict(settings) | {"keep_float": list(settings.keep_float)}
    steering = settings.steering or settings.steering_by_accuracy
    del said["accept"]
    return said if steering is None else said | {"accept": [steering.text]}


def sha256_of(model: object) -> str | None:
    """SHA-256 of a file or folder, if it is one that holds a model: a pipe would be waited for, and a huge file read."""
    if not isinstance(model, (str, Path)):
        return None
    with located(str(model)):
        try:
            found = recognize.check(Path(model))
            parts = [files.sha256(path) for path in (found, *recognize.beside(found))]
            return parts[0] if len(parts) == 1 else hashlib.sha256(" ".join(parts).encode()).hexdigest()
        except OSError as error:
            raise ModelError(f"cannot be read ({error.strerror or error})") from error


def _place(data: object) -> str | None:
    return str(Path(data).resolve()) if isinstance(data, (str, Path)) else None


@contextmanager
def open_run(
    path: Path,
    job: Mapping[str, Any],
    *,
    overwrite: bool = False,
    tell: Callable[[str], None] = unheard,
    common: Common | None = None,
) -> Iterator[RunFolder]:
    """A folder for ``job``, for this run alone: new, empty, or holding an unfinished run of the same job, which then goes on.

    Raises OutputError for a finished run, another job or a folder with other things in it, unless ``overwrite``: then the
    results of the former run are removed, and nothing else. Raises it also while another run works there, whatever is typed.
    """
    wanted = json.dumps(dict(job), indent=1, sort_keys=True) + "\n"
    run = RunFolder(path, overwrite, common)
    with contextlib.ExitStack() as ending:
        ending.callback(_remove_if_empty, path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            ending.enter_context(locks.held(path, tell))
        except OSError as error:
            raise OutputError(
                f"{path} cannot be used as a folder ({error.strerror or error}); type --out with another"
            ) from error
        try:
            run.tidy()
            _begin(run, wanted)
        except OSError as error:
            done, why = "overwritten" if overwrite else "used", error.strerror or error
            raise OutputError(f"{path} cannot be {done} ({why}); type --out with another") from error
        with run.while_working(tell):
            yield run


def _remove_if_empty(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.rmdir()


def _begin(run: RunFolder, wanted: str) -> None:
    """Make the folder that of the job ``wanted``: goes on with what is finished of it, and removes what belongs to another."""
    path, job = run.path, run.path / _JOB
    held = sorted(p.name for p in path.iterdir() if p.name != locks.NAME)
    goes_on = _JOB in held and _FINISHED not in held and _noted(job, wanted) == wanted.encode()
    if held and not goes_on and not run.overwrites:
        _refuse(path, held, wanted)
    # Until result.json is gone it is a finished run, until job.json is replaced an unfinished one of the former job.
    for name in reversed(RESULTS):
        (path / name).unlink(missing_ok=True)
    files.settle(path)
    if goes_on:
        run.keep_plain_steps()
    else:
        (path / SO_FAR).unlink(missing_ok=True)
        stages = path / _STAGES
        aside = files.set_aside(stages) if stages.exists() or stages.is_symlink() else None
        files.write_text(job, wanted)
        if aside is not None:
            _remove(aside)


def _refuse(path: Path, held: list[str], wanted: str) -> NoReturn:
    if _FINISHED in held:
        raise OutputError(f"{path} holds a finished run; type --overwrite to replace it, or --out with another folder")
    if _JOB not in held:
        some = ", ".join(held[:3])
        raise OutputError(f"{path} holds other things ({some}); type --out with another folder, or --overwrite to write there")
    other = difference(_noted(path / _JOB, wanted), wanted)
    raise OutputError(f"{path} holds an unfinished run of another job{other}; type --overwrite, or --out with another folder")


def _noted(job: Path, wanted: str) -> bytes:
    """What a job.json says that may be any file; nothing where it is none, or of another size than a job that is ``wanted``."""
    with contextlib.suppress(OutputError):
        return reading.content(job, OutputError, 2 * len(wanted) + _LONG_JOB)
    return b""


def difference(held: bytes, wanted: str) -> str:
    """What the two jobs do not have in common, in brackets; nothing where that cannot be said."""
    try:
        mine, theirs = (_flat(json.loads(job)) for job in (wanted, held))
        other = [
            f"{name} {theirs.get(name)} there, {mine.get(name)} now"
            for name in {**mine, **theirs}
            if mine.get(name) != theirs.get(name)
        ]
    except (ValueError, AttributeError, RecursionError):
        return ""
    return f" ({'; '.join(other)})"


def _flat(job: dict[str, Any]) -> dict[str, Any]:
    """The entries of a job with its settings among them."""
    return {k: v for k, v in job.items() if not isinstance(v, dict)} | {
        name: value for part in job.values() if isinstance(part, dict) for name, value in part.items()
    }
