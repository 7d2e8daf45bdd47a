"""What each op of a network costs: its noise, what the runtime makes of it, its time; and what its activations take on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, final

from intact import scratch
from intact.data import Data, Samples
from intact.diagnosis.diagnose import diagnose, diagnose_file
from intact.diagnosis.trace import Fidelity
from intact.errors import IntactError
from intact.measure.metrics import bound
from intact.measure.op_times import alone_ms
from intact.network.graph import Graph
from intact.planning.targets import Target
from intact.progress import Progress
from intact.run.folder import RunFolder, Work
from intact.run.job import Job
from intact.run.opened import Opened
from intact.run.settings import Settings
from intact.simulate.calibrate import observe

#: Samples whose activations are counted, and bins that the page draws them in.
_SAMPLES: Final = 64
_BINS: Final = 128


@final
@dataclass(frozen=True)
class OpFigures:
    """``noise_share``: of the sum over ops when one alone is stored as integers. ``sqnr_…``: dB, as a diagnosis gives them.

    ``ms``: milliseconds of the op alone in the runtime. None where that was not asked for or cannot be had.
    """

    noise_share: float | None = None
    spared: float | None = None
    sqnr_simulated: float | None = None
    sqnr_runtime: float | None = None
    sqnr_own: float | None = None
    ms: float | None = None


@final
@dataclass(frozen=True, eq=False)
class Seen:
    """Figures by an op's first output, histograms of activations by id, and what is to be said of them."""

    ops: Mapping[int, OpFigures]
    histograms: Mapping[int, dict[str, Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def seen_of(models: tuple[Opened, ...], data: Data | None, target: Target, progress: Progress) -> Seen:
    """What can be seen of the first model, with its float model beside it or not, with samples or not."""
    ours = models[0]
    times = _times(ours.graph, target, progress)
    rows: dict[int, dict[str, float | None]] = {op.output: {"ms": times.get(op.output)} for op in ours.graph.ops}
    notes: list[str] = []
    if data is None:
        notes.append("No samples were given, so that ops have no noise: give --data.")
    elif ours.graph.is_quantized and len(models) == 1:
        notes.append("An integer file has noise beside the float model that it was made from: give --against.")
    else:
        try:
            found = (
                _of_file(models, data, target, progress) if ours.graph.is_quantized else _of_float(ours, data, target, progress)
            )
        except IntactError as error:  # what cannot be quantized, or does not run, can be looked into all the same
            found, notes = {}, [f"The noise of ops cannot be had: {error}."]
        for output, figures in found.items():
            rows.setdefault(output, {}).update(figures)
    histograms, said = _histograms(ours.graph, data, progress)
    return Seen({output: OpFigures(**row) for output, row in rows.items()}, histograms, (*notes, *said))


def _times(graph: Graph, target: Target, progress: Progress) -> dict[int, float]:
    progress("time", 0, 0)
    found = alone_ms({str(op.output): (graph, op) for op in graph.ops if not op.kind.unknown}, target.kernels)
    return {int(name): ms for name, ms in found.items()}


def _of_file(models: tuple[Opened, ...], data: Data, target: Target, progress: Progress) -> dict[int, dict[str, float | None]]:
    """Of an integer file beside its float model: the same tensors, by id."""
    found = diagnose_file(models[0].path, data, against=models[1].path, target=target.name, progress=progress)
    return {row.output: _decibels(row) for row in found.activations}


def _of_float(model: Opened, data: Data, target: Target, progress: Progress) -> dict[int, dict[str, float | None]]:
    """Of a float model when it is stored as int8; what was cleaned and lowered is found again by the names of tensors."""
    with scratch.folder() as folder:
        settings = Settings(target=target.name)
        _, start, parts = Job(model.path, data, None, settings, None, None, Work(RunFolder(folder), progress)).start()
        diagnosis = diagnose(start.network, parts.calibration, progress)
    planned = start.network.graph
    names = {t.name: t.origin for t in planned.tensors.values()}
    ids = {model.graph[i].name: op.output for op in model.graph.ops for i in op.outputs}
    rows: dict[int, dict[str, float | None]] = {}
    for op in diagnosis.ops:
        output = ids.get(planned[op.output].origin)
        if output is not None:
            before = rows.setdefault(output, {"noise_share": 0.0, "spared": op.spared})
            before["noise_share"] = (before["noise_share"] or 0.0) + op.share  # several ops may stand for one
    for row in diagnosis.activations:
        output = ids.get(names.get(row.counterpart or "", ""))
        if output is not None:
            rows.setdefault(output, {}).update(_decibels(row))
    return rows


def _decibels(row: Fidelity) -> dict[str, float | None]:
    return {"sqnr_simulated": row.simulated, "sqnr_runtime": row.runtime, "sqnr_own": row.own}


def _histograms(graph: Graph, data: Data | None, progress: Progress) -> tuple[dict[int, dict[str, Any]], tuple[str, ...]]:
    """What each activation takes on over a few samples; nothing of what cannot be run on them."""
    if data is None:
        return {}, ()
    progress("look", 0, 0)
    try:
        samples: Samples = bound(data, graph, None).spread(_SAMPLES)
        batches = partial(_batches, samples)
        seen = observe(graph, batches, histogram=True)
    except IntactError as error:
        return {}, (f"Activations cannot be shown: {error}.",)
    found = {}
    for i, one in seen.items():
        if one.counts is not None:
            low, high = one.extremes
            counts = one.counts.reshape(_BINS, -1).sum(1).astype(int).tolist()
            found[i] = {"low": low, "high": high, "counts": counts, "samples": len(samples)}
    return found, ()


def _batches(samples: Samples) -> Any:
    return [batch for batch, _ in samples.batches()]
