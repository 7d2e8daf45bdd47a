"""All figures of one run: how well both files do on the same samples, what they weigh, take and cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias, final

import numpy as np

from intact.data import Samples
from intact.formats import tflite
from intact.graph import Graph
from intact.measure import accuracy, cost
from intact.measure.latency import latency, speedup
from intact.measure.measurement import Measurement
from intact.measure.memory import peak
from intact.measure.parity import SAME_CLASS, parity
from intact.measure.size import size
from intact.runtime import litert
from intact.runtime.litert import KERNEL_NAMES, Kernels
from intact.simulate import Program, run_batches

Progress: TypeAlias = Callable[[str, int, int], None]

#: Report samples that the simulator runs too, to say how far it agrees with the runtime.
_SIMULATED: Final = 200
#: Blocks of invocations that both files are timed over, and the most seconds that may take.
_ROUNDS: Final = 40
_LATENCY_SECONDS: Final = 12.0
#: Vectors longer than this are embeddings or reconstructions, not classes.
_MOST_CLASSES: Final = 100_000


@final
@dataclass(frozen=True)
class Reading:
    """A figure and whose it is: ``"float"``, ``"quantized"`` or ``"difference"``."""

    of: str
    measurement: Measurement

    def to_json(self) -> dict[str, Any]:
        return {"of": self.of, **self.measurement.to_json()}


def fidelity(
    float_outputs: Mapping[str, np.ndarray],
    int_outputs: Mapping[str, np.ndarray],
    report: Samples,
    metric: accuracy.Metric | None,
) -> tuple[Reading, ...]:
    """Accuracy and its drop where there are labels, the metric's where there is one; agreement and SQNR in any case."""
    name = next(iter(float_outputs))
    a, b = float_outputs[name], int_outputs[name]
    readings: list[Reading] = []
    one_score_each = len(float_outputs) == 1 and _are_classes(a, report)
    cut = accuracy.threshold(a)
    if metric is not None and report.targets is not None:
        readings += [
            Reading("float", accuracy.metric_value(metric, float_outputs, report.targets)),
            Reading("quantized", accuracy.metric_value(metric, int_outputs, report.targets)),
            Reading("difference", accuracy.metric_drop(metric, float_outputs, int_outputs, report.targets)),
        ]
    elif report.labels is not None and one_score_each:
        right = accuracy.correct(a, report.labels, cut), accuracy.correct(b, report.labels, cut)
        readings += [
            Reading("float", accuracy.top1(right[0])),
            Reading("quantized", accuracy.top1(right[1])),
            Reading("difference", accuracy.drop(*right)),
        ]
    if one_score_each and metric is None:
        readings.append(Reading("quantized", accuracy.agreement(accuracy.classes(a, cut), accuracy.classes(b, cut))))
    for output, reference in float_outputs.items():
        label = "SQNR" if len(float_outputs) == 1 else f"SQNR of {output}"
        readings.append(Reading("quantized", accuracy.sqnr(reference, int_outputs[output], label)))
    return tuple(readings)


def _are_classes(output: np.ndarray, report: Samples) -> bool:
    return output.size // len(output) <= _MOST_CLASSES and not accuracy.why_no_classes(output, report)


def simulated(graph: Graph, int_outputs: Mapping[str, np.ndarray], report: Samples, kernels: Kernels) -> tuple[Reading, ...]:
    """How far the simulator of ``graph`` and the runtime agree, on the first samples of the report."""
    count = min(_SIMULATED, len(report))
    batches = (report.batch(np.arange(at, min(at + 50, count)))[0] for at in range(0, count, 50))
    outputs = run_batches(Program(graph), batches)
    ran = {name: values[:count] for name, values in int_outputs.items()}
    formats = {name: graph[i].format for name, i in zip(graph.output_names, graph.outputs, strict=True)}
    several = len(ran) > 1
    return tuple(
        Reading("quantized", m.named(f"{m.name} of {p.output}") if several else m)
        for p in parity(outputs, ran, formats, KERNEL_NAMES[kernels])
        for m in p.measurements
        if m.name != SAME_CLASS or _are_classes(ran[p.output], report)
    )


def speed(files: Mapping[str, Path], kernels: Kernels, progress: Progress, threads: int = 1) -> tuple[Reading, ...]:
    """Latency of both files, taking turns, and how many times faster the quantized one is."""
    times = litert.latency(
        files,
        kernels=kernels,
        threads=threads,
        rounds=_ROUNDS,
        max_seconds=_LATENCY_SECONDS,
        progress=lambda done, total: progress("time", done, total),
    )
    how = f"{threads} thread{'s' if threads > 1 else ''}, {KERNEL_NAMES[kernels]}"
    samples = {name: t.samples_ms for name, t in times.items()}
    return (
        *(Reading(name, latency(ms, how)) for name, ms in samples.items()),
        Reading("difference", speedup(samples["quantized"], samples["float"], how)),
    )


def compare(  # noqa: PLR0913  # all by keyword
    *,
    float_outputs: Mapping[str, np.ndarray],
    int_outputs: Mapping[str, np.ndarray],
    report: Samples,
    metric: accuracy.Metric | None,
    files: Mapping[str, Path],
    float_graph: Graph,
    graph: Graph,
    kernels: Kernels,
    progress: Progress,
) -> tuple[Reading, ...]:
    """Every figure, the float model's own first: it shows whether preprocessing is right."""
    readings = [*fidelity(float_outputs, int_outputs, report, metric)]
    progress("simulate", 0, 0)
    readings += simulated(graph, int_outputs, report, kernels)
    graphs = {"float": float_graph, "quantized": graph}
    readings += [Reading(name, size(tflite.read(path), path.stat().st_size)) for name, path in files.items()]
    readings += [Reading(name, peak(graphs[name])) for name in graphs]
    readings += [Reading("float", cost.parameters(float_graph)), Reading("float", cost.macs(float_graph))]
    return (*readings, *speed(files, kernels, progress))
