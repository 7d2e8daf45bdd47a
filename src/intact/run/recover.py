"""Remedies and the search among them, with the samples, runtime and folder of a run."""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias, final

import numpy as np

from intact import files
from intact.data import Finding, Parts, Samples, for_learning, for_learning_again, for_search
from intact.errors import DataError, OptionError
from intact.formats import tflite
from intact.measure.accuracy import Metric
from intact.measure.contradiction import contradiction
from intact.measure.measurement import Measurement
from intact.measure.run_outputs import outputs_of
from intact.measure.task import tasks as tasks_of
from intact.network.graph import Graph
from intact.planning.adjusted import Adjusted
from intact.planning.plan import Plan, Remedied
from intact.planning.quantized import Quantized
from intact.planning.targets import target as target_named
from intact.remedies import apply, known
from intact.remedies.base import Context
from intact.run.begin import Start, by_extremes, planner
from intact.run.defaults import Taken, choose, samples_for
from intact.run.folder import RunFolder
from intact.run.settings import Settings
from intact.runtime import litert
from intact.search.ladder import Candidate, Goal, Other, Tools, search
from intact.simulate.engine import device_named
from intact.wording import counted

Progress: TypeAlias = Callable[[str, int, int], None]

_BATCH: Final = 32
#: For the latency of one candidate.
_TIMED_SECONDS: Final = 1.5
#: Remedies that change constants and can do so again for a plan that is there already, and those that learned them.
_OF_CONSTANTS: Final = ("equalize", "absorb", "bias", "bias-analytic")
_LEARNED: Final = ("round", "finetune")
#: Cheap remedies that a run takes by itself learn from so many times the samples that chose them.
_LEARN_FROM: Final = 4


@final
@dataclass(frozen=True, eq=False)
class Recovery:
    """The network to write, everything that was tried, what was noticed, and the name of the candidate taken.

    ``remedied``: the remedies behind ``network`` and the samples that they learned from, as a plan notes them.
    """

    network: Quantized
    candidates: tuple[Candidate, ...] = ()
    findings: tuple[Finding, ...] = ()
    taken: str | None = None
    remedied: Remedied = Remedied()

    @property
    def plan(self) -> Plan:
        """The plan of ``network``, with the constants that it is for."""
        adjusted = Adjusted.between(self.network.reference, self.network.graph) if self.remedied.names else None
        return replace(self.network.plan, remedied=self.remedied, adjusted=adjusted)


def remedied(  # noqa: PLR0913  # a run's own parts, from one caller
    start: Start,
    parts: Parts,
    names: tuple[str, ...] | None,
    *,
    folder: RunFolder,
    progress: Progress,
    tell: Callable[[str], None],
) -> Recovery:
    """The network after the remedies called ``names``, or with None after the cheap ones that it clearly gains by."""
    network, context = start.network, _context(start, parts, folder, progress)
    if names is None:
        taken = _taken(start, parts, folder, context)
        if not taken.names:
            return Recovery(network)
        network = replace(network, log=(*network.log, str(taken)))
        remedies, findings = known(taken.names), tuple[Finding, ...]()
        learning = parts.calibration.spread(_LEARN_FROM * len(samples_for(network.graph, parts.calibration)))
    else:
        remedies = known(names)
        learning, findings = for_learning(parts)

    def keep(made: Quantized) -> None:
        folder.keep(tflite.write(made.integer()), "; ".join(made.log) or "as planned")

    context = replace(context, keep=keep)
    if not folder.keeps:
        keep(network)
    arrays = folder.arrays("remedies", lambda: apply(remedies, network, learning, context).to_arrays())
    made = Quantized.from_arrays(network, arrays)
    for step in made.log:
        tell(step)
    return Recovery(made, findings=findings, remedied=_noted(made, learning, 0))


def replayed_network(start: Start, parts: Parts, plan: Plan, folder: RunFolder, progress: Progress) -> Recovery:
    """The network of ``plan``, made before. ``start`` is the network before any remedy, or with all that the plan holds.

    Where the plan comes without its constants, they are changed again as they were for it; OptionError where they were learned,
    which takes as long again, or fitted to other samples.
    """
    names, network = plan.remedied.names, start.network
    if plan.is_whole or not names:
        return Recovery(network, remedied=plan.remedied)
    missing = f"; {plan.adjusted.file}, which holds them, is not beside the plan: put it there" if plan.adjusted else ""
    learned = [name for name in names if name in _LEARNED]
    if learned:
        raise OptionError(f"the plan is for weights that {' and '.join(learned)} made{missing}; or {plan.instead}")
    learning = for_learning_again(parts, plan.remedied.samples, plan.remedied.skipped)
    if any(name in _OF_CONSTANTS for name in names) and _digest(learning) != plan.remedied.digest:
        raise OptionError(
            f"the plan is for constants that {' and '.join(names)} fitted to other samples than these{missing}; "
            f"give the --data, --eval and --seed of that run, or {plan.instead}"
        )
    context = replace(_context(start, parts, folder, progress), make_plan=lambda *_: plan, by_extremes=None)
    made = apply(known(name for name in names if name in _OF_CONSTANTS), network, learning, context)
    return Recovery(replace(made, remedies=names), remedied=plan.remedied)


def _taken(start: Start, parts: Parts, folder: RunFolder, context: Context) -> Taken:
    """What a run takes by itself, or took when an earlier run of the folder looked."""

    def make() -> dict[str, np.ndarray]:
        taken = choose(start, parts.calibration, context.progress, context.device)
        return {"names": np.array(taken.names, np.str_), "gain": np.asarray(taken.gain)}

    arrays = folder.arrays("what gains", make)
    return Taken(tuple(str(name) for name in arrays["names"]), float(arrays["gain"]))


def _noted(network: Quantized, learning: Samples, skipped: int) -> Remedied:
    names = network.remedies
    return Remedied(names, len(learning), skipped, _digest(learning)) if names else Remedied()


def _digest(samples: Samples) -> str:
    """SHA-256 in hex of the contents of samples, without labels, and of how they are read."""
    about = json.dumps(samples.preprocessing.to_json(), sort_keys=True)
    return hashlib.sha256(b"".join((about.encode(), *samples.digests()))).hexdigest()


def _context(start: Start, parts: Parts, folder: RunFolder, progress: Progress) -> Context:
    settings = start.settings
    return Context(
        make_plan=planner(start, parts.calibration, progress),
        by_extremes=by_extremes(start, parts.calibration, progress),
        precise="in float" if target_named(settings.target).float_islands else "at 16 bits",
        seed=settings.seed,
        device=device_named(settings.device),
        deadline=time.monotonic() + settings.time_budget,
        progress=progress,
        folder=folder.unfinished(),
    )


def recover(  # noqa: PLR0913  # likewise
    starts: Sequence[Start],
    parts: Parts,
    goal: Goal,
    *,
    source: Path,
    metric: Metric | None,
    folder: RunFolder,
    progress: Progress,
    tell: Callable[[str], None],
) -> Recovery:
    """The network that a search from all of ``starts`` found for the limit ``goal``.

    ``source`` is the float file. Finished candidates are taken over from ``folder``.
    """
    start, settings = starts[0].network, starts[0].settings
    target = target_named(settings.target)
    context = _context(starts[0], parts, folder, progress)
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
    return Recovery(best.network, candidates, findings, best.name, _noted(best.network, learning, len(choosing)))


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
