"""From a float network and its calibration samples to the network as planned, before any remedy."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, final

import numpy as np

from intact.data import Finding, Samples
from intact.data.samples import BATCH
from intact.diagnosis.unlike import Mend, find
from intact.network.graph import Graph
from intact.planning.plan import Plan
from intact.planning.quantized import Quantized
from intact.planning.ranges import Observed
from intact.planning.request import Request
from intact.progress import Progress, silent
from intact.remedies.base import Context, MakePlan
from intact.rewrite.mending import Step, mended
from intact.run.calibration import estimated, observed, plan_of
from intact.run.folder import RunFolder
from intact.run.settings import Settings

#: Columns are looked at on so many samples.
_FEW: Final = 64


@final
@dataclass(frozen=True, eq=False)
class Start:
    """The network as planned, with what it was planned by: ``settings`` and, made from them and from ``mend``, ``request``.

    ``ranges`` names the estimator that was asked for, or chosen where that was left open.
    """

    network: Quantized
    settings: Settings
    request: Request
    mend: Mend = Mend()
    ranges: str = "minmax"

    @property
    def findings(self) -> tuple[Finding, ...]:
        return self.mend.findings

    def otherwise(self) -> Settings | None:
        """Settings that would mend more, if the types of inputs and outputs that were left open may be chosen."""
        types = {"input_type": self.mend.input_type, "output_type": self.mend.output_type}
        chosen = {name: kind for name, kind in types.items() if kind is not None}
        return replace(self.settings, **chosen) if chosen else None  # type: ignore[arg-type]


def mend_and_plan(graph: Graph, settings: Settings, calibration: Samples, folder: RunFolder, progress: Progress) -> Start:
    """``graph`` calibrated, mended where one tensor holds numbers of very different size, and planned as ``settings`` say."""
    request = settings.request()
    if not request.scheme.is_integer:
        return Start(Quantized(graph, graph, plan_of(graph, calibration, settings).plan), settings, request)
    seen = _seen(graph, settings, calibration, folder, progress)
    few = [batch for batch, _ in calibration.spread(_FEW).batches()]
    mend = find(graph, estimated(graph, seen, settings), few, request)
    request = replace(request, float_ops=mend.float_ops, steps=mend.steps)
    if mend.steps:
        graph = mended(graph, mend.steps)
        seen = _seen(graph, settings, calibration, folder, progress, mend.steps)
    made = plan_of(graph, calibration, settings, request, seen=seen)
    return Start(Quantized(graph, graph, made.plan, mend.log), settings, made.request, mend, made.ranges)


def replayed(graph: Graph, plan: Plan, settings: Settings) -> Start:
    """``graph`` as a plan made before says, with the constants that it holds."""
    changed = mended(graph, plan.steps)
    plan.check(changed)
    adjusted, names = changed if plan.adjusted is None else plan.adjusted.on(changed, plan.instead), plan.remedied.names
    log = () if adjusted is changed else (f"took the constants that {', '.join(dict.fromkeys(names))} adjusted from the plan",)
    network = Quantized(changed, adjusted, plan, log, remedies=names if plan.is_whole else ())
    return Start(network, settings, replace(settings.request(), steps=plan.steps))


def context_of(start: Start, samples: Samples, progress: Progress = silent) -> Context:
    """What remedies need to calibrate a graph anew on ``samples`` and plan it as that of ``start`` was."""
    settings = start.settings

    def planner(ranges: str) -> MakePlan:
        def plan(graph: Graph, precise: tuple[int, ...], wide_weights: tuple[int, ...]) -> Plan:
            progress("calibrate again", 0, 0)
            request = replace(start.request, wide_weights=wide_weights)
            return plan_of(graph, samples, replace(settings, ranges=ranges), request, precise=precise).plan

        return plan

    return Context(
        make_plan=planner(settings.ranges),
        by_extremes=planner("minmax") if settings.ranges == "auto" else None,
        precise="in float" if start.request.target.float_islands else "at 16 bits",
        seed=settings.seed,
        progress=progress,
    )


def _seen(  # noqa: PLR0913, PLR0917  # a run's own parts
    graph: Graph, settings: Settings, calibration: Samples, folder: RunFolder, progress: Progress, steps: tuple[Step, ...] = ()
) -> dict[int, Observed]:
    """What every activation takes on over the samples, or took on when an earlier run of the folder looked."""
    name = "calibration" if not steps else f"calibration {hashlib.sha256(repr(steps).encode()).hexdigest()[:12]}"

    def batches() -> Iterator[Mapping[str, np.ndarray]]:
        for n, (batch, _) in enumerate(calibration.batches()):
            progress("calibrate", min(n * BATCH, len(calibration)), len(calibration))
            yield batch
        progress("calibrate", len(calibration), len(calibration))

    def make() -> dict[str, np.ndarray]:
        stored: dict[str, np.ndarray] = {}
        for i, o in observed(graph, batches, settings).items():
            stored |= {f"{i} lows": o.lows, f"{i} highs": o.highs}
            if o.counts is not None:
                stored[f"{i} counts"] = o.counts
        return stored

    stored = folder.arrays(name, make)
    ids = [int(key.split()[0]) for key in stored if key.endswith(" lows")]
    return {i: Observed(stored[f"{i} lows"], stored[f"{i} highs"], stored.get(f"{i} counts")) for i in ids}
