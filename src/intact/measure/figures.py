"""All figures of one run: how well both files do on the same samples, what they weigh, take and cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, final

from intact.data import Finding, Samples
from intact.formats import tflite
from intact.measure import accuracy, cost, metrics
from intact.measure.arena import arena
from intact.measure.latency import latency, speedup
from intact.measure.machine import cpu
from intact.measure.measurement import Measurement
from intact.measure.memory import peak
from intact.measure.op_times import alone_ms, largest
from intact.measure.outputs import Outputs
from intact.measure.parity import parity
from intact.measure.size import size
from intact.measure.task import Task
from intact.network.graph import Graph
from intact.planning.targets import Target
from intact.progress import Progress
from intact.runtime import litert
from intact.runtime.litert import KERNEL_NAMES, Kernels
from intact.wording import counted

#: Blocks of invocations that both files are timed over, and the most seconds that may take.
_ROUNDS: Final = 40
_LATENCY_SECONDS: Final = 12.0
#: Kinds of ops that are told of a slow file.
_KINDS: Final = 6
#: Ops of it that are timed alone.
_OPS: Final = 3


@final
@dataclass(frozen=True)
class Reading:
    """A figure and whose it is: ``"float"``, ``"quantized"`` or ``"difference"``."""

    of: str
    measurement: Measurement

    def to_json(self) -> dict[str, Any]:
        return {"of": self.of, **self.measurement.to_json()}


def fidelity(outputs: Outputs, report: Samples, metric: accuracy.Metric | None) -> tuple[Reading, ...]:
    """What ``metric`` or the labels say of both files and their difference; agreement of what is a class; and how true each
    output's numbers are.
    """
    readings: list[Reading] = []
    name = next(iter(outputs.exact))
    if metric is not None:
        targets = metrics.targets_of(report)
        readings += [
            Reading("float", metrics.value(metric, outputs.exact, targets)),
            Reading("quantized", metrics.value_if_any(metric, outputs.made, targets)),
            Reading("difference", metrics.drop(metric, outputs.exact, outputs.made, targets)),
        ]
    elif report.labels is not None and len(outputs.exact) == 1 and outputs.tasks[name].are_classes:
        cut = accuracy.threshold(outputs.exact[name])
        a, b = (accuracy.correct(y[name], report.labels, cut) for y in (outputs.exact, outputs.made))
        readings += [
            Reading("float", accuracy.top1(a)),
            Reading("quantized", accuracy.top1(b)),
            Reading("difference", accuracy.drop(a, b)),
        ]
    numbers = {one.name: one.measurements for one in outputs.fidelities}
    for name, reference in outputs.exact.items():
        found = (*_shares(reference, outputs.made[name], outputs.tasks[name]), *numbers.get(name, ()))
        readings += [Reading("quantized", m.named(f"{m.name} of {name}") if len(outputs.exact) > 1 else m) for m in found]
    return tuple(readings)


def _shares(reference: accuracy.Rows, made: accuracy.Rows, task: Task) -> tuple[Measurement, ...]:
    """How often two networks say the same, of what says one thing of many: a class, a pixel's class, a whole number."""
    if task.are_classes:
        cut = accuracy.threshold(reference)
        return (accuracy.agreement(accuracy.classes(reference, cut), accuracy.classes(made, cut)),)
    if reference.shape != made.shape:
        return ()
    if task.kind == "masks":
        a, b = (x if x.dtype.kind in "iu" else x.argmax(-1) for x in (reference, made))
        return (accuracy.same_numbers(a, b, "pixels of the same class"),)
    return (accuracy.same_numbers(reference, made, "equal numbers"),) if reference.dtype.kind in "iub" else ()


def speed(files: Mapping[str, Path], kernels: Kernels, progress: Progress, threads: int = 1) -> tuple[Reading, ...]:
    """Latency of both files, taking turns, and how many times faster the quantized one is."""
    times = litert.latency(
        files,
        kernels=kernels,
        threads=threads,
        rounds=_ROUNDS,
        max_seconds=_LATENCY_SECONDS,
        progress=partial(progress, "time"),
    )
    how = f"{counted(threads, 'thread')}, {KERNEL_NAMES[kernels]}, {cpu()}"
    samples = {name: t.samples_ms for name, t in times.items()}
    return (
        *(Reading(name, latency(ms, how)) for name, ms in samples.items()),
        Reading("difference", speedup(samples["quantized"], samples["float"], how)),
    )


def compare(  # noqa: PLR0913  # all by keyword
    *,
    outputs: Outputs,
    report: Samples,
    metric: accuracy.Metric | None,
    files: Mapping[str, Path],
    float_graph: Graph,
    graph: Graph,
    target: Target,
    progress: Progress,
    alone: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> tuple[tuple[Reading, ...], tuple[Finding, ...]]:
    """Every figure, the float model's own first: it shows whether preprocessing is right; and what they say by themselves.

    ``alone`` is around what is timed.
    """
    readings = [*fidelity(outputs, report, metric)]
    progress("simulate", 0, 0)
    same = parity(graph, outputs.made, report, target.kernels)
    readings += [Reading("quantized", m) for m in same.measurements]
    graphs = {"float": float_graph, "quantized": graph}
    readings += [Reading(name, size(tflite.read(path), path.stat().st_size)) for name, path in files.items()]
    readings += [Reading(name, peak(graphs[name])) for name in graphs]
    if not target.float_islands:
        readings += [Reading("quantized", m) for m in arena(files["quantized"], graph)]
    readings += [Reading("float", cost.parameters(float_graph)), Reading("float", cost.macs(float_graph))]
    said = (Finding("simulator differs", same.said),) if same.said else ()
    with alone():
        times = speed(files, target.kernels, progress)
        said = (*said, *slower(times, files, target, float_graph, graph))
    return (*readings, *times), said


def slower(
    times: tuple[Reading, ...], files: Mapping[str, Path], target: Target, float_graph: Graph, graph: Graph
) -> tuple[Finding, ...]:
    """An integer file that is surely slower than float on the device's own kernels, with the reason and the ops it is."""
    gained = next(r.measurement for r in times if r.of == "difference")
    if gained.high is None or gained.high >= 1 or target.kernels != "default" or not graph.is_quantized:
        return ()
    exact, made = (litert.describe(files[name]) for name in ("float", "quantized"))
    kinds = Counter(made.outside)
    reasons = []
    if kinds:
        left = ", ".join(f"{n} {kind}" for kind, n in kinds.most_common(_KINDS))
        parts = counted(made.partitions, "part")
        reasons.append(f"XNNPACK leaves {left} to slower kernels: {parts} instead of {exact.partitions:,}")
    if cpu().dot_products is False:
        reasons.append(
            "this processor has no instructions for dot products of bytes, which others have; float does not need them"
        )
    why = "; ".join(reasons) or "XNNPACK runs every op of it; at so little work per op, what surrounds an op counts more"
    took = ", ".join(_op_times(float_graph, graph, kinds))
    said = f"the integer file takes {1 / gained.value:.2f} times as long as float on {cpu()}: {why}"
    return (Finding("slower than float", f"{said}; each timed alone: {took}" if took else said),)


def _op_times(float_graph: Graph, graph: Graph, outside: Iterable[str]) -> tuple[str, ...]:
    """What the costliest ops of the kinds that left the delegate, or of all, take by themselves, beside the float ones that
    they stand for.
    """
    ops = {graph.label(op): op for op in largest(graph, outside, _OPS)}
    makers = float_graph.producers()
    stood_for = {name: makers.get(op.output) for name, op in ops.items()}
    twins = {n: twin for n, twin in stood_for.items() if twin is not None and twin.kind.name == ops[n].kind.name}
    made = alone_ms({name: (graph, op) for name, op in ops.items()})
    exact = alone_ms({name: (float_graph, twin) for name, twin in twins.items()})
    return tuple(
        f"{name} {ms:.3g} ms" + (f" (float {exact[name]:.3g})" if name in exact else "")
        for name, ms in sorted(made.items(), key=lambda item: -item[1])
    )
