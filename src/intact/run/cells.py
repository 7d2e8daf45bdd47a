"""The runs of a study computed side by side: in processes of this machine, or on the nodes of a cluster; timed here.

What they have in common comes first, here and once: the float file, what it gives for the samples that report, calibration,
and the samples themselves, read and decoded. Each run goes out with that and comes back as
:class:`~intact.run.computed.Computed`.
"""

from __future__ import annotations

import contextlib
import pickle
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, final

import numpy as np
import torch

from intact import files, scratch
from intact.data import Parts, Samples
from intact.data.held import HeldData, files_of, held, nbytes
from intact.data.held import opened as held_there
from intact.data.spec import InputSpec
from intact.measure.accuracy import Metric
from intact.measure.criteria import Criterion
from intact.measure.metrics import METRICS, Named
from intact.network.graph import Graph
from intact.progress import Progress
from intact.run.computed import Computed, packed, unpacked
from intact.run.folder import Common, RunFolder, Work
from intact.run.given import Given
from intact.run.job import Job
from intact.run.result import Result
from intact.run.settings import Settings
from intact.run.timed import timed
from intact.run.turns import Turns, cores
from intact.runtime.places import Place, Pool
from intact.runtime.workers import Asked, Computer, Workers
from intact.simulate import freed

#: Bytes that a process takes before it has a network, and for each byte of the float file. Seen (`bench/cells.py`): 0.5 GB for
#: one of 0.3 MB, 1.4 GB for one of 9 MB.
_PROCESS: Final = 1 << 30
_EACH: Final = 60
#: The part of the free disk space that samples may take.
_OF_DISK: Final = 0.5
_HERE: Final = "cells are computed in this process: {why}"
_SAMPLES: Final = "samples"
_COMMON: Final = "common/"


@final
@dataclass(frozen=True, eq=False)
class Task:
    """One run for another process. ``folder`` and ``common``: of the run and of what runs have in common, where the disk is
    the same; ``study``: what is there instead of ``common`` where it is not, by a name of its own. ``place``: the name of where
    the process is; ``workers`` of it share samples, and it has so many ``threads``. ``judging``: criteria of the study.
    """

    given: Given
    settings: Settings
    metric: Metric | None
    judging: tuple[Criterion, ...]
    folder: Path | None
    common: Path | None
    study: str
    place: str
    workers: int
    threads: int


@freed.kept()
def compute(request: bytes, there: Mapping[str, Path], progress: Progress) -> bytes:
    """What a run comes to before anything is timed: of a packed :class:`Task`, with its files as they lie ``there``."""
    task = unpacked(request, Task)
    torch.set_num_threads(task.threads)
    data, evaluation = unpacked(there[_SAMPLES].read_bytes(), tuple)
    reporting = None if evaluation is None else HeldData(held_there(evaluation, there))
    with _folder(task, there) as folder:
        work = Work(folder, progress, timer=Pool(task.workers, task.place))
        given, asked = (task.given, HeldData(held_there(data, there)), reporting), (task.settings, None, task.metric)
        job = Job(*given, *asked, work, judging=task.judging)
        return packed(job.computed()[-1])


@contextlib.contextmanager
def _folder(task: Task, there: Mapping[str, Path]) -> Iterator[RunFolder]:
    """Where a run works: in its own folder, or on another machine in one of this process."""
    if task.folder is not None and task.common is not None:
        yield RunFolder(task.folder, common=Common(task.common))
        return
    common = scratch.place() / task.study
    for name in (name for name in there if name.startswith(_COMMON)):
        path = common / name.removeprefix(_COMMON)
        if not path.exists():
            with there[name].open("rb") as source, files.writing(path) as file:
                shutil.copyfileobj(source, file)
    with scratch.folder() as folder:
        yield RunFolder(folder, common=Common(common))


@final
@dataclass(eq=False)
class Cells:
    """Runs that go to a ``computer``, ``at_once`` of them at a time, and are timed in ``place``, in ``turns``.

    ``workers``: processes that share the samples of one run.
    """

    computer: Computer
    place: Place
    turns: Turns
    at_once: int
    workers: int
    folder: Path
    tell: Callable[[str], None]
    _held: dict[tuple[int, tuple[InputSpec, ...]], Mapping[str, Path] | None] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def result(self, job: Job, number: int, others: Iterable[Settings]) -> Result:
        """What ``job.run()`` gives. ``number``: of its model; ``others``: the settings of all runs of that model."""
        source, graph, parts = job.in_common()
        samples = self._samples(job, graph, number, others)
        if samples is None:
            return job.run()
        common = job.work.folder.common
        assert common is not None
        is_here = self.computer.is_here
        task = Task(
            given=job.given,
            settings=job.settings,
            metric=job.metric,
            judging=job.judging,
            folder=job.work.folder.path if is_here else None,
            common=common.path if is_here else None,
            study=f"{self.folder.name}-{number}",
            place=self.place.name,
            workers=self.workers,
            threads=max(1, cores() // self.at_once) if is_here else 1,
        )
        shared = {} if is_here else {f"{_COMMON}{name}": path for name, path in common.steps().items()}
        if not is_here:
            job.work.progress(f"compute on {self.place.name}", 0, 0)
        with contextlib.nullcontext() if is_here else self.turns.away():
            asked = Asked(
                function=compute,
                request=packed(task),
                files={**samples, **shared},
                what="the cell's computation",
                memory=memory_of(source.stat().st_size),
                progress=job.work.progress,
                check=self.turns.check,
            )
            answer = self.computer.compute(asked)
        return timed(unpacked(answer, Computed), source, parts, job.work)

    def _samples(self, job: Job, graph: Graph, number: int, others: Iterable[Settings]) -> Mapping[str, Path] | None:
        """All samples that runs of the model take, read once, as files by name; None where the disk has no room for them."""
        data, evaluation = job.samples(graph)
        key = number, data.inputs
        with self._guard:
            if key not in self._held:
                job.work.progress("hand out samples", 0, 0)
                self._held[key] = self._read(job, graph, data, evaluation, others)
            return self._held[key]

    def _read(
        self, job: Job, graph: Graph, data: Samples, evaluation: Samples | None, others: Iterable[Settings]
    ) -> Mapping[str, Path] | None:
        drawn = {(s.seed, s.calibration_samples, s.learning_samples if s.remedies else 0): s for s in others}
        parts = [replace(job, model=job.given, settings=settings).parts(graph) for settings in drawn.values()]
        wanted = [_taken(each, settings) for each, settings in zip(parts, drawn.values(), strict=True)]
        if evaluation is None:
            wanted += [each.report.index for each in parts]
        index = np.unique(np.concatenate(wanted))
        size = nbytes(data, len(index)) + (0 if evaluation is None else nbytes(evaluation, len(evaluation)))
        if size > shutil.disk_usage(self.folder).free * _OF_DISK:
            self.tell(_HERE.format(why=f"the samples take {size / 1e9:.3g} GB, for which {self.folder.parent} has no room"))
            return None
        folder = self.folder / str(len(self._held))
        folder.mkdir()
        read = held(data, index, folder, "data")
        reporting = None if evaluation is None else held(evaluation, evaluation.index, folder, "eval")
        path = folder / _SAMPLES
        path.write_bytes(packed((read, reporting)))
        return {_SAMPLES: path, **files_of(read), **({} if reporting is None else files_of(reporting))}


@contextlib.contextmanager
def opened(  # noqa: PLR0913, PLR0917  # a study's own parts
    place: Place, turns: Turns, jobs: int | None, runs: int, metric: Metric | None, tell: Callable[[str], None]
) -> Iterator[Cells | None]:
    """Where ``runs`` are computed, ``jobs`` of them at a time at most; None where that is here, one by one or in threads.

    Where other processes cannot compute what this one would, ``tell`` hears why.
    """
    with contextlib.ExitStack() as stack:
        if jobs == 1 or runs <= 1:
            yield None
            return
        if isinstance(place, Computer):
            computer: Computer = place
        elif isinstance(place, Pool) and place.at_once > 1:
            computer = Workers(min(runs, place.at_once if jobs is None else jobs), ready=compute)
        else:
            yield None
            return
        if why := _without(metric, computer) or computer.lacking():
            tell(_HERE.format(why=why))
            yield None
            return
        if isinstance(computer, Workers):
            stack.enter_context(computer)
        at_once = min(runs, computer.at_once if jobs is None else jobs)
        workers = max(1, place.at_once // at_once) if computer.is_here else 1
        yield Cells(computer, place, turns, at_once, workers, stack.enter_context(scratch.folder()), tell)


def _without(metric: Metric | None, computer: Computer) -> str:
    """Why ``computer`` has no such ``metric``; empty where it has."""
    if not computer.is_here and not isinstance(metric, Named | None):
        return f"no node has the metric; the nodes know {', '.join(METRICS)}"
    try:
        leaves = b"__main__" not in packed(metric)
    except (pickle.PicklingError, AttributeError, TypeError):
        leaves = False
    return "" if leaves else "no other process has the metric; write it into a module, and import it from there"


def _taken(parts: Parts, settings: Settings) -> np.ndarray:
    """The samples of the data that calibrate, and those that remedies learn from."""
    more = max(0, settings.learning_samples - len(parts.calibration)) if settings.remedies else 0
    return np.concatenate([parts.calibration.index, parts.selection.index[:more]])


def memory_of(size: int) -> int:
    """Bytes that a process takes for a run of a float file of ``size`` bytes, about."""
    return _PROCESS + _EACH * size
