"""Many runs on the same samples, what they have in common done once, and what they say side by side."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeAlias, final

from intact import scratch
from intact.data import Data, Samples
from intact.data.base import Example
from intact.data.spec import InputSpec
from intact.errors import IntactError, OptionError
from intact.installed import __version__ as version
from intact.measure import criteria, machine
from intact.measure.accuracy import Metric
from intact.measure.criteria import Criterion
from intact.measure.figures import Reading, reading_of, speed
from intact.measure.resident import resident
from intact.measure.throughput import throughput
from intact.planning.targets import target as target_named
from intact.progress import Progress, unheard
from intact.report.study import files_of
from intact.report.study_rows import study_document
from intact.run import cells
from intact.run.cells import Cells
from intact.run.folder import RunFolder, Work, open_run
from intact.run.folder import job as described
from intact.run.job import Job
from intact.run.result import Result
from intact.run.settings import Settings
from intact.run.study_cells import Axes, Variant, names_of, variants
from intact.run.study_folder import StudyFolder, of_models
from intact.run.study_runtimes import Elsewhere, file_in
from intact.run.turns import Turns, cores
from intact.runtime import litert, runtimes
from intact.runtime.places import HERE, Place

#: Told of a variant by its name: what it does, and its record once it is finished.
Watch: TypeAlias = Callable[[str, str, Mapping[str, Any] | None], None]
#: Cores that one run can make use of, and runs side by side at most: each holds its samples and networks in memory.
_CORES_EACH: Final = 4
_SIDE_BY_SIDE: Final = 4
#: Where a study's own figures are timed first: what a run's result holds already.
_OF_A_RUN: Final = (1, 0)
_TIMES: Final = ("latency", "speed-up", "speed-up over LiteRT")
#: Under which name the figures of another runtime than a run's own are noted, beside its times.
_FIGURES: Final = "figures"


def unwatched(variant: str, doing: str, record: Mapping[str, Any] | None) -> None:
    """Hears nothing."""
    del variant, doing, record


@final
class _Bound(Data):
    """Data that is bound once for each kind of input, so that all runs share what is decoded and hashed."""

    def __init__(self, data: Data) -> None:
        self._data = data
        self._lock = threading.Lock()
        self._bound: dict[tuple[tuple[InputSpec, ...], int | None], Samples] = {}

    def bind(self, inputs: tuple[InputSpec, ...], classes: int | None) -> Samples:
        with self._lock:
            if (inputs, classes) not in self._bound:
                self._bound[inputs, classes] = self._data.bind(inputs, classes)
            return self._bound[inputs, classes]

    def examples(self) -> tuple[Example, ...]:
        return self._data.examples()


@final
@dataclass(frozen=True, eq=False)
class Asked:
    """What a study is of: models, samples, and what it goes through.

    ``given``: data and evaluation as they were given, ``preprocessing``, ``image`` and ``label``: for the job of each run.
    ``options``: the settings that all runs have. ``references`` have no part in what is computed, nor has ``accept`` but for
    limits on RAM and flash: a network is written for what there is.
    """

    models: tuple[object, ...]
    data: Data
    evaluation: Data | None
    given: tuple[object, object]
    preprocessing: dict[str, Any]
    image: str | None
    label: str | None
    axes: Axes
    options: Mapping[str, Any]
    metric: Metric | None = None
    accept: tuple[Criterion, ...] = ()
    references: tuple[Mapping[str, Any], ...] = ()
    names: tuple[str, ...] = field(init=False)
    variants: tuple[Variant, ...] = field(init=False)

    def __post_init__(self) -> None:
        on = self.options.get("on")
        for criterion in self.accept:
            criterion.check_place(on)
        if on is not None and set(self.axes.runtimes) - {"", "litert"}:
            raise OptionError(f"--on {on} measures in LiteRT; leave out --runtimes, or --on")
        if not self.models:
            raise OptionError("a study takes at least one model; give a .keras, .h5, .pt2 or float .tflite file")
        object.__setattr__(self, "names", names_of(self.models))
        made = variants(self.names, self.axes, self.options, evaluated=self.evaluation is not None)
        object.__setattr__(self, "variants", made)

    def within(self, settings: Settings) -> Settings:
        """The same with the limits on RAM and flash, where they are for a microcontroller and have none of their own."""
        if not target_named(settings.target).micro:
            return settings
        ram, flash = (self._memory.get(name) for name in ("ram", "flash"))
        return replace(
            settings,
            ram=ram if settings.ram is None else settings.ram,
            flash=flash if settings.flash is None else settings.flash,
        )

    @property
    def _memory(self) -> dict[str, int]:
        """The bytes of RAM and flash that criteria leave, where they do."""
        device = tuple(c.text for c in self.accept if c.group == "device")
        sizes = zip(("ram", "flash"), Settings(target="mcu", accept=device).memory, strict=True)
        return {name: size for name, size in sizes if size is not None}

    def job(self) -> dict[str, Any]:
        """All that decides what comes out, as JSON has it."""
        places = [str(Path(one).resolve()) if isinstance(one, (str, Path)) else None for one in self.given]
        return {
            "study": 1,
            "version": version,
            "models": of_models(self.names, self.models),
            "data": places[0],
            "eval": places[1],
            "axes": {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self.axes).items()},
            "settings": {name: list(v) if isinstance(v, tuple) else v for name, v in self.options.items()},
            "preprocessing": self.preprocessing,
            "image": self.image,
            "label": self.label,
            **self._memory,
        }


@final
class Conductor:
    """Runs a study in its folder: what is finished there is taken over."""

    def __init__(
        self,
        asked: Asked,
        folder: StudyFolder,
        watch: Watch = unwatched,
        tell: Callable[[str], None] = unheard,
        place: Place = HERE,
    ) -> None:
        self.asked, self.folder, self.watch, self.tell, self.place = asked, folder, watch, tell, place
        self.data = _Bound(asked.data)
        self.evaluation = None if asked.evaluation is None else _Bound(asked.evaluation)
        self.turns = Turns()
        self.failed: dict[str, str] = {}
        self._broken: dict[str, IntactError] = {}
        self._missing: dict[str, IntactError | None] = {}
        self._looking = threading.Lock()
        self._apart: Cells | None = None

    def run(self, jobs: int | None = None) -> dict[str, Any]:
        """All variants, ``jobs`` side by side: by default as many as there are workers, or cores of a cluster, and memory for;
        without these one for each four cores, at most four. The study's document.
        """
        runs: dict[str, list[Variant]] = {}
        for variant in self.asked.variants:
            runs.setdefault(variant.folder, []).append(variant)
        try:
            left = sum(self.folder.finished(name) is None for name in runs)
            with cells.opened(self.place, self.turns, jobs, left, self.asked.metric, self.tell) as self._apart:
                few = max(1, min(_SIDE_BY_SIDE, cores() // _CORES_EACH)) if jobs is None else jobs
                most = few if self._apart is None else self._apart.at_once
                if most == 1:
                    for beside in runs.values():
                        self._variants(beside)
                else:
                    self._side_by_side(most, runs.values())
        except BaseException:
            self._finish(complete=False)
            raise
        return self._finish(complete=True)

    def _side_by_side(self, jobs: int, runs: Iterable[Sequence[Variant]]) -> None:
        import torch  # noqa: PLC0415

        threads = torch.get_num_threads()
        # Threads of torch's own are counted by thread; one that begins takes what was last said anywhere.
        pool = ThreadPoolExecutor(jobs, "intact-study", initializer=torch.set_num_threads, initargs=(threads,))
        try:
            pending = [pool.submit(self._variants, beside) for beside in runs]
            for future in wait(pending, return_when=FIRST_EXCEPTION).done:
                future.result()
        except BaseException:
            self.turns.stop()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def _variants(self, beside: Sequence[Variant]) -> None:
        """One run, and all runtimes that it is measured in."""
        self.turns.check()
        with self.turns.working(), scratch.folder() as held:
            for variant in beside:
                try:
                    self.watch(variant.name, "begins", None)
                    self._do(variant, held)
                except IntactError as error:
                    if isinstance(error.__cause__, OSError) and scratch.is_full(error.__cause__):
                        raise  # the others would compute, and not be written either
                    self.failed[variant.name] = str(error)
                    self.watch(variant.name, f"failed: {error}", None)
                else:
                    self.watch(variant.name, "done", self._record(variant))

    def _do(self, variant: Variant, held: Path) -> None:
        """The run where it is not finished, and what is not measured yet; ``held``: a folder for the steps of all runtimes."""
        settings, asked = self.asked.within(variant.settings()), self.asked
        self._check_runtime(variant.runtime)
        model, common = asked.models[variant.number], self.folder.common(variant.number)

        def progress(step: str, done: int, total: int) -> None:
            self.turns.check()
            self.watch(variant.name, f"{step} {done:,}/{total:,}" if total else step, None)

        def working(folder: RunFolder) -> Job:
            work = Work(folder, progress, unheard, self.turns.alone, self.place)
            return Job(model, self.data, self.evaluation, settings, None, asked.metric, work, judging=asked.accept)

        self._run(variant, settings, working)
        path, noted = self.folder.run(variant.folder), _noted(variant)
        left = [each for each in self._timings() if _called(*each) not in self.folder.times(noted)]
        if _is_own(variant):
            if left:
                source = working(RunFolder(path, common=common)).converted()
                for threads, repeat in left:
                    self._time(variant, source, path / "model.tflite", threads, repeat, progress)
            return
        there = Elsewhere(working(RunFolder(held, common=common)), path, runtimes.runtime(variant.runtime))
        record = self.folder.finished(variant.folder)
        if record is not None and _FIGURES not in self.folder.times(noted):
            self.folder.add_times(noted, _FIGURES, there.figures(record))
        for threads, repeat in left:
            with self.turns.alone():
                self.folder.add_times(noted, _called(threads, repeat), there.times(threads, repeat))

    def _run(self, variant: Variant, settings: Settings, working: Callable[[RunFolder], Job]) -> None:
        """What ``intact quantize`` does, once for all that come of it; the error of before where it failed."""
        asked, path = self.asked, self.folder.run(variant.folder)
        if self.folder.finished(variant.folder) is not None:
            return
        if variant.folder in self._broken:
            raise self._broken[variant.folder]
        job = described(
            model=asked.models[variant.number],
            data=asked.given[0],
            evaluation=asked.given[1],
            settings=settings,
            preprocessing=asked.preprocessing,
            image=asked.image,
            label=asked.label,
            plan=None,
        )
        common = self.folder.common(variant.number)
        try:
            self.folder.forget(_noted(v) for v in asked.variants if v.folder == variant.folder)
            with open_run(path, job, overwrite=path.exists(), tell=unheard, common=common) as folder:
                folder.finish(self._result(variant, working(folder)).files())
        except IntactError as error:
            self._broken[variant.folder] = error
            raise

    def _result(self, variant: Variant, job: Job) -> Result:
        if self._apart is None:
            return job.run()
        beside = list[Settings]()
        for other in self.asked.variants:
            if other.number == variant.number:
                with contextlib.suppress(OptionError):  # which its own row says
                    beside.append(other.settings())
        return self._apart.result(job, variant.number, beside)

    def _check_runtime(self, name: str) -> None:
        """The error that says what this machine lacks for a runtime; looked for once."""
        if not name:
            return
        with self._looking:
            if name not in self._missing:
                try:
                    litert.check(next(iter(runtimes.runtime(name).kernels)))
                except IntactError as error:
                    self._missing[name] = error
                else:
                    self._missing[name] = None
        missing = self._missing[name]
        if missing is not None:
            raise missing

    def _timings(self) -> tuple[tuple[int, int], ...]:
        axes = self.asked.axes
        return tuple((threads, repeat) for threads in axes.threads for repeat in range(axes.repeats))

    def _time(  # noqa: PLR0913, PLR0917  # a run's own parts
        self, variant: Variant, source: Path, model: Path, threads: int, repeat: int, progress: Progress
    ) -> None:
        kernels, readings = target_named(variant.target).kernels, list[Reading]()
        with self.turns.alone():
            if (threads, repeat) != _OF_A_RUN:
                readings += speed({"float": source, "quantized": model}, kernels, progress, threads, self.place)[0]
            if repeat == 0:
                progress("count samples a second", 0, 0)
                readings += [Reading("quantized", m) for m in throughput(model, kernels, threads, self.place)]
                readings += [Reading("quantized", resident(model, kernels, threads, self.place))]
        self.folder.add_times(_noted(variant), _called(threads, repeat), [reading.to_json() for reading in readings])

    # ---- what comes of it -------------------------------------------------------------------------------------------------

    def document(self) -> dict[str, Any]:
        """study.json, of what is finished so far."""
        cells = [cell for variant in self.asked.variants for cell in self._cells(variant)]
        return study_document(
            models=self.asked.names,
            machine=machine.document(self.place),
            cells=cells,
            references=self.asked.references,
            accepting=[criterion.text for criterion in self.asked.accept],
        )

    def _record(self, variant: Variant) -> Mapping[str, Any] | None:
        """What is known of a finished variant: what its run says, or what was measured in another runtime."""
        record = self.folder.finished(variant.folder)
        if record is None or _is_own(variant):
            return record
        times = self.folder.times(_noted(variant))
        own = [m for called in (_FIGURES, _called(*self._timings()[0])) for m in times.get(called, ())]
        return {"measurements": own} if _FIGURES in times else None

    def _cells(self, variant: Variant) -> Iterator[dict[str, Any]]:
        record, times = self._record(variant), self.folder.times(_noted(variant))
        axes, why = self.asked.axes, self.failed.get(variant.name)
        run = None if record is None else self.folder.run(variant.folder).relative_to(self.folder.path).as_posix()
        for threads, repeat in self._timings():
            name = " ".join(
                (
                    variant.name,
                    *((f"{threads} threads",) if len(axes.threads) > 1 else ()),
                    *((f"repeat {repeat + 1}",) if axes.repeats > 1 else ()),
                )
            )
            own = times.get(_called(threads, repeat))
            done = record is not None and own is not None and why is None
            measurements = _measured(record, own, first=(threads, repeat) == self._timings()[0]) if record and done else []
            yield {
                "name": name,
                "row": variant.row,
                **variant.to_json(),
                "threads": threads,
                "repeat": repeat,
                "run": run,
                "file": None if run is None else f"{run}/{self._file(variant)}",
                "status": "done" if done else "failed" if why is not None else "pending",
                "why": why,
                "measurements": measurements,
                "findings": record.get("findings", []) if record and done else [],
                "criteria": self._judged(measurements) if threads == axes.threads[0] and repeat == 0 else [],
            }

    def _file(self, variant: Variant) -> str:
        """What runs, in the folder of the run."""
        return file_in(self.folder.run(variant.folder), runtimes.runtime(variant.runtime or "litert")).name

    def _judged(self, measurements: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        readings = [reading_of(m) for m in measurements]
        return [criteria.judge(criterion, readings).to_json() for criterion in self.asked.accept] if readings else []

    def _finish(self, *, complete: bool) -> dict[str, Any]:
        document = self.document()
        self.folder.finish(files_of(document), complete=complete)
        return document


def _measured(record: Mapping[str, Any], own: Any, *, first: bool) -> list[Any]:
    """What a run says, and what was timed besides in its place; of others than the ``first`` the times alone."""
    again = {(m["of"], m["name"]) for m in own}
    of_run = [m for m in record["measurements"] if (first or m["name"] in _TIMES) and (m["of"], m["name"]) not in again]
    return [*of_run, *own]


def _is_own(variant: Variant) -> bool:
    """Whether it is measured where its run is."""
    return not variant.runtime or runtimes.runtime(variant.runtime).is_own


def _noted(variant: Variant) -> str:
    """The name under which times of a variant are noted."""
    return variant.folder if _is_own(variant) else f"{variant.folder} in {variant.runtime}"


def _called(threads: int, repeat: int) -> str:
    return f"{threads} threads, repeat {repeat}"
