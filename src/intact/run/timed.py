"""The times of a run, taken last and alone, and the result that they make whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from intact.data import Finding, Parts
from intact.measure import figures, machine
from intact.measure.condition import condition
from intact.measure.figures import Times
from intact.planning.targets import target as target_named
from intact.run import acceptance, findings
from intact.run.about import about
from intact.run.as_planned import ranges_taken
from intact.run.computed import Computed, Looked
from intact.run.details import with_times
from intact.run.folder import Work
from intact.run.result import Result


def timed(made: Computed, source: Path, parts: Parts, work: Work) -> Result:
    """The result of a run: ``made`` of the float file ``source`` and the samples ``parts``, with times taken now by the timer
    of ``work``. What is not measured has none.
    """
    looked, recovery = made.looked or Looked(), made.recovery
    times, details, felt = Times(), dict[str, Any](), tuple[Finding, ...]()
    where = machine.document()
    if made.looked is not None:
        times, details = _times(made, looked, source, work)
        state, felt = condition(work.timer)
        where = machine.document(work.timer) | ({"state_after": state} if state else {})
        if work.place is not work.timer:
            felt = (*felt, Finding("device", f"{work.timer.name} measured times alone; samples ran on this machine"))
            where |= {"samples_on": machine.document(work.place)}
    readings = (*looked.figures.readings, *times.readings, *looked.held)
    steering = made.settings.steering or made.settings.steering_by_accuracy
    judged = () if made.looked is None else acceptance.judged(made.settings.criteria, readings, made.verdict)
    verdict = None if made.looked is None else acceptance.verdict_by(steering, judged, made.verdict)
    return Result(
        model=made.model,
        packed=made.packed,
        samples=looked.samples,
        graph=made.integer,
        float_graph=recovery.network.reference,
        plan=recovery.plan,
        settings=made.settings,
        readings=readings,
        findings=(
            *made.findings,
            *felt,
            *looked.figures.findings,
            *times.findings,
            *looked.findings,
            *made.said,
            *findings.missed(verdict, recovery, parts, work.progress),
        ),
        tasks=looked.tasks,
        details=details,
        candidates=recovery.candidates,
        taken=recovery.taken,
        steps=(*ranges_taken(recovery.plan), *recovery.network.log),
        verdict=verdict,
        criteria=judged,
        about=about(made.given, source, made.model, parts, where),
    )


def _times(made: Computed, looked: Looked, source: Path, work: Work) -> tuple[Times, dict[str, Any]]:
    """How fast both files are; and what lies under the figures, with the times of each op."""
    target, written = target_named(made.settings.target), work.folder.file("model.tflite", lambda: made.model)
    with work.alone():
        times = figures.timed(
            files={"float": source, "quantized": written},
            float_graph=made.recovery.network.reference,
            graph=made.integer,
            target=target,
            progress=work.progress,
            timer=work.timer,
        )
        if not looked.details:
            return times, {}
        return times, with_times(looked.details, made.integer, target.kernels, times.blocks_ms, work.timer)
