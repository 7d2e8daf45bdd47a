"""All figures of one run: how well both files do on the same samples, what they weigh, take and cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from intact.data import Finding, Samples
from intact.formats import tflite
from intact.measure import accuracy, cost, metrics
from intact.measure.arena import arena
from intact.measure.classes import Labelled, scores_of
from intact.measure.latency import latency, speedup
from intact.measure.machine import cpu
from intact.measure.measurement import Measurement
from intact.measure.memory import peak
from intact.measure.op_times import alone_ms, largest
from intact.measure.outputs import Outputs
from intact.measure.parity import parity
from intact.measure.size import ratios, size, weight_bytes
from intact.measure.task import Task
from intact.network.graph import Graph
from intact.planning.schemes import Scheme
from intact.planning.targets import Target
from intact.progress import Progress
from intact.runtime import litert, runtimes
from intact.runtime.places import HERE, Clock, Place, Timer
from intact.runtime.runtimes import Kernels
from intact.wording import counted

#: Blocks of invocations that both files are timed over, the seconds of one, of warming up, and the most that may take.
_ROUNDS: Final = 40
_BLOCK_SECONDS: Final = 0.025
_WARMUP_SECONDS: Final = 0.25
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


def reading_of(told: Mapping[str, Any]) -> Reading:
    """The reading that :meth:`Reading.to_json` made a dict of."""
    low, high = (None if told[end] is None else float(told[end]) for end in ("low", "high"))
    figure = Measurement(told["name"], float(told["value"]), told["unit"], low, high, told["how"], told["n"])
    return Reading(told["of"], figure)


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
            *_beyond_the_first(outputs.exact[name], outputs.made[name], report.labels, cut),
        ]
    numbers = {one.name: one.measurements for one in outputs.fidelities}
    for name, reference in outputs.exact.items():
        found = (*_shares(reference, outputs.made[name], outputs.tasks[name]), *numbers.get(name, ()))
        readings += [Reading("quantized", m.named(f"{m.name} of {name}") if len(outputs.exact) > 1 else m) for m in found]
    return tuple(readings)


def _beyond_the_first(exact: accuracy.Rows, made: accuracy.Rows, labels: np.ndarray, cut: float) -> Iterator[Reading]:
    """The five best and the loss, of outputs that say how sure they are."""
    if exact.dtype.kind != "f" or not all(np.isfinite(y).all() for y in (exact, made)):
        return
    scores = Labelled(scores_of(exact, cut), scores_of(made, cut), labels)
    whose = ("float", "quantized", "difference")
    yield from map(Reading, whose, scores.top5() or ())
    yield from map(Reading, whose, scores.cross_entropy())


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


def sizes(files: Mapping[str, Path], given: int | None, scheme: Scheme) -> list[Reading]:
    """What both files and their weights take, and by how much that is less."""
    read = {name: (tflite.read(path), path.stat().st_size) for name, path in files.items()}
    weights = {name: weight_bytes(graph) for name, (graph, _) in read.items()}
    return [
        *(Reading(name, size(graph, total)) for name, (graph, total) in read.items()),
        *(Reading(name, m) for name, m in weights.items()),
        *(Reading("difference", m) for m in ratios(read["float"], read["quantized"], given, scheme)),
    ]


def speed(
    files: Mapping[str, Path],
    kernels: Kernels | Mapping[str, Kernels],
    progress: Progress,
    threads: int = 1,
    timer: Timer = HERE,
) -> tuple[tuple[Reading, ...], dict[str, tuple[float, ...]]]:
    """Latency of both files, taking turns, and how many times faster the quantized one is; and the ms of each block.

    ``kernels`` may be others for each. A third file, called "litert", takes its turns too, and is compared with.
    """
    times = litert.latency(
        files,
        kernels=kernels,
        threads=threads,
        rounds=_ROUNDS,
        block_seconds=_BLOCK_SECONDS,
        warmup_seconds=_WARMUP_SECONDS,
        max_seconds=_LATENCY_SECONDS,
        progress=partial(progress, "time"),
        place=timer,
    )

    def how(*names: str) -> str:
        ran = " against ".join(dict.fromkeys(runtimes.named(times[name].kernels) for name in names))
        return f"{counted(threads, 'thread')}, {ran}, {cpu(timer)}"

    samples = {name: tuple(map(float, t.samples_ms)) for name, t in times.items()}
    made, exact, beside = samples["quantized"], samples["float"], samples.get("litert")
    readings = [Reading(name, latency(samples[name], how(name))) for name in ("float", "quantized")]
    readings.append(Reading("difference", speedup(made, exact, how("quantized", "float"))))
    if beside is not None:
        over = speedup(made, beside, how("quantized", "litert"), "speed-up over LiteRT")
        readings.append(Reading("difference", over))
    return tuple(readings), samples


@final
@dataclass(frozen=True)
class Figures:
    """Figures of a run, and what they say by themselves."""

    readings: tuple[Reading, ...]
    findings: tuple[Finding, ...]


@final
@dataclass(frozen=True)
class Times:
    """How fast both files are, what that says by itself, and the milliseconds of each block that was timed, by file."""

    readings: tuple[Reading, ...] = ()
    findings: tuple[Finding, ...] = ()
    blocks_ms: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


def compare(  # noqa: PLR0913  # all by keyword
    *,
    outputs: Outputs,
    report: Samples,
    metric: accuracy.Metric | None,
    files: Mapping[str, Path],
    float_graph: Graph,
    graph: Graph,
    target: Target,
    scheme: Scheme,
    given: int | None = None,
    progress: Progress,
) -> Figures:
    """Every figure but times, the float model's own first: it shows whether preprocessing is right; and what they say by
    themselves.

    ``given``: the bytes of the file, or files, that the user gave.
    """
    readings = [*fidelity(outputs, report, metric)]
    progress("simulate", 0, 0)
    same = parity(graph, outputs.made, report, target.kernels)
    readings += [Reading("quantized", m) for m in same.measurements]
    graphs = {"float": float_graph, "quantized": graph}
    readings += sizes(files, given, scheme)
    readings += [Reading(name, peak(graphs[name])) for name in graphs]
    if not target.float_islands:
        readings += [Reading("quantized", m) for m in arena(files["quantized"], graph)]
    in_float = Measurement("ops in float", len(cost.in_float(graph)), "ops", None, None, "counted", len(graph.ops))
    readings += [
        Reading("quantized", in_float),
        Reading("float", cost.parameters(float_graph)),
        Reading("float", cost.macs(float_graph)),
    ]
    return Figures(tuple(readings), (Finding("simulator differs", same.said),) if same.said else ())


def timed(  # noqa: PLR0913  # all by keyword
    *, files: Mapping[str, Path], float_graph: Graph, graph: Graph, target: Target, progress: Progress, timer: Timer = HERE
) -> Times:
    """How fast both files are, and why where the integer file is surely the slower one."""
    readings, by_block = speed(files, target.kernels, progress, timer=timer)
    return Times(readings, slower(readings, files, target, float_graph, graph, timer), by_block)


def slower(  # noqa: PLR0913, PLR0917  # what was timed, and where
    times: tuple[Reading, ...],
    files: Mapping[str, Path],
    target: Target,
    float_graph: Graph,
    graph: Graph,
    timer: Timer = HERE,
) -> tuple[Finding, ...]:
    """An integer file that is surely slower than float on the device's own kernels, with the reason and the ops it is."""
    gained = next(r.measurement for r in times if r.of == "difference")
    if gained.high is None or gained.high >= 1 or target.kernels != "default" or not graph.is_quantized:
        return ()
    place, seen = (HERE, " in LiteRT on this machine") if isinstance(timer, Clock) else (timer, "")
    exact, made = (litert.describe(files[name], place=place) for name in ("float", "quantized"))
    kinds = Counter(made.outside)
    reasons = []
    if kinds:
        left = ", ".join(f"{n} {kind}" for kind, n in kinds.most_common(_KINDS))
        split = made.partitions != exact.partitions
        parts = f": {counted(made.partitions, 'part')} instead of {exact.partitions:,}" if split else ""
        reasons.append(f"XNNPACK leaves {left} to slower kernels{parts}{seen}")
    if cpu(timer).dot_products is False:
        reasons.append(
            "this processor has no instructions for dot products of bytes, which others have; float does not need them"
        )
    little = f"XNNPACK runs every op of it{seen}; at so little work per op, what surrounds an op counts more"
    why = "; ".join(reasons) or little
    took = "" if isinstance(timer, Clock) else ", ".join(_op_times(float_graph, graph, kinds, timer))
    said = f"the integer file takes {1 / gained.value:.2f} times as long as float on {cpu(timer)}: {why}"
    return (Finding("slower than float", f"{said}; each timed alone: {took}" if took else said),)


def _op_times(float_graph: Graph, graph: Graph, outside: Iterable[str], place: Place) -> tuple[str, ...]:
    """What the costliest ops of the kinds that left the delegate, or of all, take by themselves, beside the float ones that
    they stand for.
    """
    ops = {graph.label(op): op for op in largest(graph, outside, _OPS)}
    makers = float_graph.producers()
    stood_for = {name: makers.get(op.output) for name, op in ops.items()}
    twins = {n: twin for n, twin in stood_for.items() if twin is not None and twin.kind.name == ops[n].kind.name}
    made = alone_ms({name: (graph, op) for name, op in ops.items()}, place=place)
    exact = alone_ms({name: (float_graph, twin) for name, twin in twins.items()}, place=place)
    return tuple(
        f"{name} {ms:.3g} ms" + (f" (float {exact[name]:.3g})" if name in exact else "")
        for name, ms in sorted(made.items(), key=lambda item: -item[1])
    )
