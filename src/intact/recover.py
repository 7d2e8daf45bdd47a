"""Remedies and the search among them, with the samples, runtime and folder of a run."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias, final

import numpy as np

from intact import files
from intact.begin import Start, planner
from intact.chance import contradiction
from intact.data import Finding, Parts, Samples, for_learning, for_search
from intact.errors import DataError
from intact.formats import tflite
from intact.graph import Graph
from intact.measure.accuracy import Metric
from intact.measure.measurement import Measurement
from intact.measure.run_outputs import outputs_of
from intact.measure.task import tasks as tasks_of
from intact.quantized import Quantized
from intact.remedies import apply, known
from intact.remedies.base import Context
from intact.run_folder import RunFolder
from intact.runtime import litert
from intact.search import Candidate, Goal, Other, Tools, search
from intact.settings import Settings
from intact.simulate import device_named
from intact.targets import target as target_named
from intact.wording import counted

Progress: TypeAlias = Callable[[str, int, int], None]

_BATCH: Final = 32
#: For the latency of one candidate.
_TIMED_SECONDS: Final = 1.5


@final
@dataclass(frozen=True, eq=False)
class Recovery:
    """The network to write, everything that was tried, what was noticed, and the name of the candidate taken."""

    network: Quantized
    candidates: tuple[Candidate, ...] = ()
    findings: tuple[Finding, ...] = ()
    taken: str | None = None


def recover(  # noqa: PLR0913  # a run's own parts, from one caller
    starts: Sequence[Start],
    parts: Parts,
    *,
    source: Path,
    metric: Metric | None,
    folder: RunFolder,
    progress: Progress,
    tell: Callable[[str], None],
) -> Recovery:
    """The first of ``starts`` after the remedies that were asked for, or after a search from all for the limit that was set.

    ``source`` is the float file. Finished candidates are taken over from ``folder``.
    """
    start, settings = starts[0].network, starts[0].settings
    target = target_named(settings.target)
    context = Context(
        make_plan=planner(starts[0], parts.calibration, progress),
        precise="in float" if target.float_islands else "at 16 bits",
        seed=settings.seed,
        device=device_named(settings.device),
        deadline=time.monotonic() + settings.time_budget,
        progress=progress,
        folder=folder.unfinished(),
    )
    goal = settings.goal
    if goal is None:
        learning, findings = for_learning(parts)

        def keep(network: Quantized) -> None:
            folder.keep(tflite.write(network.integer()), "; ".join(network.log) or "as planned")

        context = replace(context, keep=keep)
        if not folder.keeps:
            keep(start)
        arrays = folder.arrays("remedies", lambda: apply(known(settings.remedies), start, learning, context).to_arrays())
        network = Quantized.from_arrays(start, arrays)
        for step in network.log:
            tell(step)
        return Recovery(network, findings=findings)
    learning, choosing, findings = for_search(parts)
    goal.check(choosing, metric)
    if goal.kind == "drop" and metric is None:
        _check_labels(start.reference, choosing)
    findings += _too_few(goal, len(parts.report), tell) if metric is None else ()
    tell(f"candidates are compared on {counted(len(choosing), 'selection sample')}; {len(parts.report):,} others report")

    def outputs(name: str, path: Path) -> dict[str, np.ndarray]:
        def make() -> Mapping[str, np.ndarray]:
            return outputs_of(path, choosing, target, lambda done: progress(f"try {name}", done, len(choosing)))

        return folder.arrays(f"choosing {name}", make)

    with tempfile.TemporaryDirectory(prefix="intact-") as scratch:

        def written(model: bytes) -> Path:
            path = Path(scratch) / "candidate.tflite"
            files.write_bytes(path, model)
            return path

        def judge(name: str, model: bytes) -> tuple[Measurement, float | None]:
            exact, made = outputs("float", source), outputs(name, written(model))
            expected = None if metric is not None else goal.expected(exact, made)
            tasks = tasks_of(start.reference, exact, choosing, asked=goal.kind == "disagreement", metric=metric is not None)
            return goal.loss(exact, made, choosing, metric, tasks), expected

        def latency(model: bytes) -> float:
            file = {"candidate": written(model)}
            times = litert.latency(file, kernels=target.kernels, threads=1, rounds=8, max_seconds=_TIMED_SECONDS)
            return float(np.min(times["candidate"].samples_ms))  # beside other jobs the least is the steadiest

        def remember(name: str, base: Quantized, make: Callable[[], Quantized]) -> tuple[Quantized, float]:
            began, now = time.monotonic(), list[bool]()

            def made() -> dict[str, np.ndarray]:
                now.append(True)
                return {**make().to_arrays(), "seconds": np.asarray(time.monotonic() - began)}

            arrays = folder.arrays(f"candidate {name}", made)
            return Quantized.from_arrays(base, arrays), 0.0 if now else float(arrays.get("seconds", 0.0))

        tools = Tools(
            goal=goal,
            judge=judge,
            time=latency,
            remember=remember,
            tell=tell,
            keep=folder.keep,
            learning=learning,
            context=context,
            mixes=target.float_islands or start.plan.scheme != "int16x8",
        )
        others = [
            Other(_called(other.settings, settings), other.network, planner(other, parts.calibration, progress))
            for other in starts[1:]
        ]
        candidates, best = search(start, tools, others)
    return Recovery(best.network, candidates, findings, best.name)


def _called(chosen: Settings, asked: Settings) -> str:
    """The types of inputs and outputs that were chosen, in words."""
    sides = (("input", chosen.input_type, asked.input_type), ("output", chosen.output_type, asked.output_type))
    return ", ".join(f"{kind} {side}" for side, kind, was in sides if kind != was and kind is not None)


def _too_few(goal: Goal, count: int, tell: Callable[[str], None]) -> tuple[Finding, ...]:
    """Said at once, not after a quarter of an hour: samples that can show no network to be within the limit."""
    needed = goal.samples_for(count)
    if needed is None:
        return ()
    if needed == sys.maxsize:
        said = "a limit of 0 leaves no room for an interval: no number of samples can show a network to be within it"
    else:
        said = f"{count:,} samples report, and cannot show even a network that loses nothing to be within the limit: "
        said += f"that takes about {needed:,}"
    tell(said)
    return (Finding("few-samples", said),)


def _check_labels(graph: Graph, choosing: Samples) -> None:
    """DataError when the labels contradict the float network: no limit on its accuracy means anything then."""
    found = contradiction(graph, choosing)
    if found is not None:
        raise DataError(f"{found.what}: {found.advice}. If the network is no better than that, type --min-agreement instead")
