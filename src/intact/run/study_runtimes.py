"""One run of a study in another runtime than LiteRT: its file exported, and measured on the same samples by the same code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from intact.formats import tflite
from intact.measure import accuracy
from intact.measure.cost import macs
from intact.measure.figures import Reading, fidelity, speed
from intact.measure.measurement import Measurement
from intact.measure.outputs import Outputs, look
from intact.measure.resident import resident
from intact.measure.run_outputs import outputs_of
from intact.measure.task import tasks as tasks_of
from intact.measure.throughput import throughput
from intact.planning.targets import target as target_named
from intact.run import packing
from intact.run.export import export, file_of, of_float
from intact.run.folder import sha256_of
from intact.run.job import Job
from intact.run.prepared import prepare
from intact.run.settings import Settings
from intact.runtime.runtimes import Kernels, Runtime, named

#: Figures of the network, which it has in every runtime.
_OF_THE_NETWORK: Final = frozenset({"ops in float", "parameters", "multiply-accumulates"})
#: And what a run for a microcontroller says of the device already.
_OF_THE_DEVICE: Final = frozenset(
    {
        "bytes of weights", "weights ratio", "weights ratio in theory", "peak live activations", "TFLM arena",
        "TFLM arena, packed", "packed indices ratio", "packed equals expanded",
    }
)  # fmt: skip
#: What stands for a figure where the file is the packed one.
_PACKED: Final[Mapping[str, str]] = {
    "bytes of packed weights": "bytes of weights",
    "packed weights ratio": "weights ratio",
}
#: Multiply-accumulates that plain kernels may take for the samples, some minutes of them; so many samples run at least.
_WORK: Final = 1e11
_LEAST: Final = 200


@final
@dataclass(frozen=True, eq=False)
class Elsewhere:
    """The finished run in the folder ``run``, measured in ``runtime``. ``job``: that of the run, with its steps at hand."""

    job: Job
    run: Path
    runtime: Runtime

    @property
    def file(self) -> Path:
        """What the runtime runs; exported now where it is not there yet."""
        path = file_in(self.run, self.runtime)
        return path if path.exists() else export(self.run, self.runtime.to)

    @property
    def kernels(self) -> Kernels:
        return next(iter(self.runtime.kernels))

    def figures(self, record: Mapping[str, Any]) -> list[dict[str, Any]]:
        """How well it does and what it weighs; of ``record``, that of the run, what counts in any runtime."""
        job, file = self.job, self.file
        source = job.converted()
        graph = prepare(tflite.read(source.read_bytes()), job.settings)
        report, metric = job.split(graph).report, job.metric
        exact = job.outputs("float", source, report)
        beside = job.outputs("quantized", self.run / "model.tflite", report)
        if self.runtime.device == "mcu" and (few := _few(len(report), macs(graph).value)) is not None:
            report = report.take(few)
            exact, beside = ({name: y[few] for name, y in outputs.items()} for outputs in (exact, beside))
        made = outputs_of(file, report, self.kernels, partial(job.work.progress, f"run in {self.runtime.title}"))
        tasks = tasks_of(graph, exact, report, asked=False, metric=metric is not None)
        outputs = look(exact, {name: made[name] for name in exact}, tasks)
        readings = [*fidelity(outputs, report, metric), *self._as_litert(outputs, beside)]
        litert, ran = named(target_named(job.settings.target).kernels), named(self.kernels)
        where = {"float": litert, "quantized": ran, "difference": f"{ran} against {litert}"}
        found = [r.to_json() | {"how": f"{r.measurement.how}; {where[r.of]}"} for r in readings]
        packed = file.name == packing.FILE
        return [*found, *self._size(source), *(dict(m) for m in self._known(record, packed=packed))]

    def _as_litert(self, outputs: Outputs, beside: Mapping[str, np.ndarray]) -> Iterator[Reading]:
        """How much it says what model.tflite says in LiteRT."""
        for name, y in outputs.made.items():
            of = f" of {name}" if len(outputs.made) > 1 else ""
            if outputs.tasks[name].are_classes:
                cut = accuracy.threshold(outputs.exact[name])
                theirs, ours = accuracy.classes(beside[name], cut), accuracy.classes(y, cut)
                yield Reading("difference", accuracy.agreement(theirs, ours, f"agreement with LiteRT{of}"))
            elif y.dtype.kind == "f" and beside[name].shape == y.shape:
                yield Reading("difference", accuracy.sqnr(beside[name], y, f"SQNR beside LiteRT{of}"))

    def _known(self, record: Mapping[str, Any], *, packed: bool) -> Iterator[Mapping[str, Any]]:
        """What the run says that is so in this runtime, of the ``packed`` file where that runs."""
        instead = _PACKED if packed else {}
        names = _OF_THE_NETWORK | (_OF_THE_DEVICE if self.runtime.device == "mcu" else frozenset())
        for m in record["measurements"]:
            if m["name"] in instead:
                yield {**m, "name": instead[m["name"]]}
            elif m["name"] in names and m["name"] not in instead.values():
                yield m

    def _size(self, source: Path) -> Iterator[dict[str, Any]]:
        before, total = source.stat().st_size, self.file.stat().st_size
        how = f"all bytes of {self.file.name}, planned for {self.job.settings.target}"
        size = Measurement("file size", total, "bytes", None, None, how, 1)
        yield Reading("quantized", size).to_json()
        how = f"{before:,} bytes of the float .tflite over {total:,}"
        yield Reading("difference", Measurement("size ratio", before / total, "x", None, None, how, 1)).to_json()

    def times(self, threads: int, repeat: int) -> list[dict[str, Any]]:
        """Latency beside the float network in the same runtime, and model.tflite in LiteRT; once what a second and a process
        take. Nothing of a microcontroller, whose time no time here is.
        """
        if self.runtime.device == "mcu":
            return []
        file, progress = self.file, self.job.work.progress
        files = {"float": self.float_file(), "quantized": file, "litert": self.run / "model.tflite"}
        theirs = target_named(self.job.settings.target).kernels
        by_name: dict[str, Kernels] = {"float": self.kernels, "quantized": self.kernels, "litert": theirs}
        readings = [*speed(files, by_name, progress, threads)[0]]
        if repeat == 0:
            progress("count samples a second", 0, 0)
            readings += [Reading("quantized", m) for m in throughput(file, self.kernels, threads)]
            readings.append(Reading("quantized", resident(file, self.kernels, threads)))
        return [reading.to_json() for reading in readings]

    def float_file(self) -> Path:
        """The float network as the runtime reads it."""
        to, source = self.runtime.to, self.job.converted()

        def make() -> bytes:
            model = source.read_bytes()
            return of_float(prepare(tflite.read(model), Settings(scheme="float32")), to, model)

        return self.job.work.folder.file(f"float-{file_of(to)}", make, lambda: sha256_of(source))


def file_in(run: Path, runtime: Runtime) -> Path:
    """The file in the folder of a run that a runtime runs: the packed one on a microcontroller, where there is one."""
    packed = run / packing.FILE
    if runtime.device == "mcu" and packed.exists():
        return packed
    return run / (file_of(runtime.to) if runtime.to else "model.tflite")


def _few(count: int, work: float) -> np.ndarray | None:
    """Samples spread over all of them where all would take too long in plain kernels."""
    most = max(_LEAST, int(_WORK // max(work, 1)))
    return None if count <= most else np.unique(np.linspace(0, count - 1, most).round().astype(np.int64))
