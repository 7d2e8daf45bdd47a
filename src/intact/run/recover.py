"""Remedies and the search among them, with the samples, runtime and folder of a run."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, final

import numpy as np

from intact.data import Finding, Parts, Samples, for_learning, for_learning_again, for_search
from intact.errors import DataError, OptionError
from intact.formats import tflite
from intact.measure.accuracy import Metric
from intact.measure.contradiction import contradiction
from intact.network.graph import Graph
from intact.planning.adjusted_constants import Adjusted, digest
from intact.planning.plan import Plan, Remedied
from intact.planning.quantized import Quantized
from intact.planning.schemes import scheme as scheme_named
from intact.planning.targets import target as target_named
from intact.planning.widths import TABLES
from intact.remedies import apply, known
from intact.remedies.base import Context
from intact.run.as_planned import Start, context_of
from intact.run.defaults import Taken, choose, samples_for
from intact.run.firmware import firmware
from intact.run.folder import RunFolder, Work
from intact.run.settings import Settings
from intact.run.trial import Trial
from intact.search.candidate import Candidate
from intact.search.goal import Goal
from intact.search.ladder import Other, search
from intact.search.smallest import smallest
from intact.search.within import within
from intact.simulate.engine import device_named
from intact.wording import counted

#: Remedies that change constants and can do so again for a plan that is there already, and those that learned them.
_OF_CONSTANTS: Final = ("equalize", "absorb", "compensate", "bias", "bias-analytic")
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
        return replace(self.network.plan, remedied=self.remedied, adjusted=adjusted, network=digest(self.network.reference))


def remedied(start: Start, parts: Parts, names: tuple[str, ...] | None, work: Work) -> Recovery:
    """The network after the remedies called ``names``, or with None after the cheap ones that it clearly gains by."""
    network, context, folder = start.network, learning_context(start, parts, work), work.folder
    if names is None:
        taken = _taken(start, parts, folder, context)
        if not taken.names:
            return Recovery(network)
        network = replace(network, log=(*network.log, str(taken)))
        remedies, findings = known(taken.names), tuple[Finding, ...]()
        learning = parts.calibration.spread(_LEARN_FROM * len(samples_for(network.graph, parts.calibration)))
    else:
        remedies = known(names)
        learning, findings = for_learning(parts, start.settings.learning_samples)

    context = replace(context, keep=partial(keep, folder))
    if not folder.keeps:
        keep(folder, network)
    arrays = folder.arrays("remedies", lambda: apply(remedies, network, learning, context).to_arrays())
    made = Quantized.from_arrays(network, arrays)
    for step in made.log:
        work.tell(step)
    return Recovery(made, findings=findings, remedied=noted(made, learning, 0))


def replayed_network(start: Start, parts: Parts, plan: Plan, work: Work) -> Recovery:
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
    context = replace(learning_context(start, parts, work), make_plan=lambda *_: plan, by_extremes=None)
    made = apply(known(name for name in names if name in _OF_CONSTANTS), network, learning, context)
    return Recovery(replace(made, remedies=names), remedied=plan.remedied)


def _taken(start: Start, parts: Parts, folder: RunFolder, context: Context) -> Taken:
    """What a run takes by itself, or took when an earlier run of the folder looked."""

    def make() -> dict[str, np.ndarray]:
        taken = choose(start, parts.calibration, context.progress, context.device)
        return {"names": np.array(taken.names, np.str_), "gain": np.asarray(taken.gain)}

    arrays = folder.arrays("what gains", make)
    return Taken(tuple(str(name) for name in arrays["names"]), float(arrays["gain"]))


def noted(network: Quantized, learning: Samples, skipped: int) -> Remedied:
    """The remedies behind ``network`` and the samples that they learned from, as a plan notes them."""
    names = network.remedies
    return Remedied(names, len(learning), skipped, _digest(learning)) if names else Remedied()


def _digest(samples: Samples) -> str:
    """SHA-256 in hex of the contents of samples, without labels, and of how they are read."""
    about = json.dumps(samples.preprocessing.to_json(), sort_keys=True)
    return hashlib.sha256(about.encode() + samples.digests().tobytes()).hexdigest()


def keep(folder: RunFolder, network: Quantized) -> None:
    """Let ``network`` be what is there to use should the run be interrupted."""
    folder.keep(tflite.write(network.integer()), "; ".join(network.log) or "as planned")


def learning_context(start: Start, parts: Parts, work: Work) -> Context:
    """What remedies need to learn in the folder of a run."""
    device, deadline = device_named(start.settings.device), time.monotonic() + start.settings.time_budget
    context = context_of(start, parts.calibration, work.progress)
    return replace(
        context, device=device, deadline=deadline, folder=work.folder.unfinished(), label_weight=start.settings.label_weight
    )


def recover(  # noqa: PLR0913, PLR0917  # a run's own parts, from one caller
    begun: Start,
    otherwise: Callable[[Settings], Start],
    parts: Parts,
    goal: Goal,
    source: Path,
    metric: Metric | None,
    work: Work,
    *,
    must_shrink: bool = False,
) -> Recovery:
    """The network that a search from ``begun`` found for the limit ``goal``; ``must_shrink``: no flash holds it at 8 bits.

    ``otherwise`` begins with other types of inputs and outputs, where these were left open. ``source`` is the float file.
    Finished candidates are taken over from the folder of ``work``.
    """
    start, settings = begun.network, begun.settings
    target, context, built = target_named(settings.target), learning_context(begun, parts, work), firmware(settings)
    learning, choosing, findings = for_search(parts, settings.learning_samples)
    goal.check(choosing, metric)
    if goal.kind == "drop" and metric is None:
        _check_labels(start.reference, choosing)
    findings += _too_few(goal, len(parts.report), work.tell) if metric is None else ()
    work.tell(f"candidates are compared on {counted(len(choosing), 'selection sample')}; {len(parts.report):,} others report")
    trial = Trial(
        goal=goal,
        learning=learning,
        context=context,
        mixes=target.float_islands or start.plan.scheme != "int16x8",
        packs=target.micro and (settings.minimize is not None or must_shrink or scheme_named(settings.scheme).packs),
        tables=TABLES if built is None else built.tables,
        firmware=built,
        source=source,
        reference=start.reference,
        choosing=choosing,
        target=target,
        metric=metric,
        work=work,
    )

    def other(chosen: Settings) -> Other:
        made = otherwise(chosen)
        return Other(_called(chosen, settings), made.network, context_of(made, parts.calibration, work.progress))

    mends = begun.otherwise()
    others = () if mends is None else (other(mends),)
    is_open = settings.input_type is None and target.float_islands
    float_input = partial(other, replace(settings, input_type="float32")) if is_open else None
    if settings.minimize is not None:
        candidates, best, said = smallest(start, trial, begun.request, others)
        findings += (Finding("minimized", said),)
    elif must_shrink:
        candidates, best, said = within(start, trial, begun.request)
        findings += (Finding("made to fit", said),)
    else:
        candidates, best = search(start, trial, others, float_input)
    return Recovery(best.network, candidates, findings, best.name, noted(best.network, learning, len(choosing)))


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
