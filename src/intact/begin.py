"""From a float network and its calibration samples to the network as planned, before any remedy."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias, final

import numpy as np

from intact.calibrate import observe
from intact.data import Finding, Samples
from intact.graph import Graph
from intact.mending import Step, mended
from intact.mixing import first_plan
from intact.plan import Plan
from intact.planner import make_plan
from intact.quantized import Quantized
from intact.ranges import Estimator, Observed, Range, estimator, foreseen
from intact.remedies.base import MakePlan
from intact.request import Request
from intact.run_folder import RunFolder
from intact.settings import Settings
from intact.unlike import Mend, find

Progress: TypeAlias = Callable[[str, int, int], None]

_BATCH: Final = 32
#: Columns are looked at on so many samples.
_FEW: Final = 64


@final
@dataclass(frozen=True, eq=False)
class Start:
    """The network as planned, with what it was planned by: ``settings`` and, made from them and from ``mend``, ``request``."""

    network: Quantized
    settings: Settings
    request: Request
    mend: Mend = Mend()

    @property
    def findings(self) -> tuple[Finding, ...]:
        return self.mend.findings

    def otherwise(self) -> Settings | None:
        """Settings that would mend more, if the types of inputs and outputs that were left open may be chosen."""
        types = {"input_type": self.mend.input_type, "output_type": self.mend.output_type}
        chosen = {name: kind for name, kind in types.items() if kind is not None}
        return replace(self.settings, **chosen) if chosen else None  # type: ignore[arg-type]


def begin(graph: Graph, settings: Settings, calibration: Samples, folder: RunFolder, progress: Progress) -> Start:
    """``graph`` calibrated, mended where one tensor holds numbers of very different size, and planned as ``settings`` say."""
    request = settings.request()
    if not request.scheme.is_integer:
        return Start(Quantized(graph, graph, make_plan(graph, {}, request)), settings, request)
    ranges = _ranges(graph, settings, calibration, folder, progress)
    mend = find(graph, ranges, (batch for batch, _ in calibration.spread(_FEW).batches(_BATCH)), request)
    request = replace(request, float_ops=mend.float_ops, steps=mend.steps)
    if mend.steps:
        graph = mended(graph, mend.steps)
        ranges = _ranges(graph, settings, calibration, folder, progress, mend.steps)
    return Start(Quantized(graph, graph, first_plan(graph, ranges, request), mend.log), settings, request, mend)


def replayed(graph: Graph, plan: Plan, settings: Settings) -> Start:
    """``graph`` as a plan made before says."""
    changed = mended(graph, plan.steps)
    return Start(Quantized(changed, changed, plan.check(changed)), settings, replace(settings.request(), steps=plan.steps))


def planner(start: Start, calibration: Samples, progress: Progress) -> MakePlan:
    """Calibrates a graph anew and plans it as that of ``start`` was."""

    def batches() -> Iterator[Mapping[str, np.ndarray]]:
        progress("calibrate again", 0, 0)
        return (batch for batch, _ in calibration.batches(_BATCH))

    def plan(graph: Graph, precise: tuple[int, ...], wide_weights: tuple[int, ...]) -> Plan:
        request = replace(start.request, wide_weights=wide_weights)
        estimate = estimator(start.settings.ranges, request.scheme.activations)
        seen = observe(graph, batches, histogram=estimate.needs_histogram)
        found = _estimated(graph, estimate, seen)
        if request.target.float_islands or request.scheme.activations == "int16":
            return first_plan(graph, found, replace(request, float_ops=(*request.float_ops, *precise)))
        return first_plan(graph, found, request, precise)

    return plan


def _ranges(  # noqa: PLR0913, PLR0917  # a run's own parts
    graph: Graph, settings: Settings, calibration: Samples, folder: RunFolder, progress: Progress, steps: tuple[Step, ...] = ()
) -> dict[int, Range]:
    """The range of every activation, from what an earlier run of the folder saw if it did."""
    estimate = estimator(settings.ranges, settings.request().scheme.activations)
    name = "calibration" if not steps else f"calibration {hashlib.sha256(repr(steps).encode()).hexdigest()[:12]}"

    def batches() -> Iterator[Mapping[str, np.ndarray]]:
        for n, (batch, _) in enumerate(calibration.batches(_BATCH)):
            progress("calibrate", min(n * _BATCH, len(calibration)), len(calibration))
            yield batch
        progress("calibrate", len(calibration), len(calibration))

    def make() -> dict[str, np.ndarray]:
        stored: dict[str, np.ndarray] = {}
        for i, o in observe(graph, batches, histogram=estimate.needs_histogram).items():
            stored |= {f"{i} lows": o.lows, f"{i} highs": o.highs}
            if o.counts is not None:
                stored[f"{i} counts"] = o.counts
        return stored

    stored = folder.arrays(name, make)
    ids = [int(key.split()[0]) for key in stored if key.endswith(" lows")]
    seen = {i: Observed(stored[f"{i} lows"], stored[f"{i} highs"], stored.get(f"{i} counts")) for i in ids}
    return _estimated(graph, estimate, seen)


def _estimated(graph: Graph, estimate: Estimator, seen: Mapping[int, Observed]) -> dict[int, Range]:
    """Ranges from what was seen; of calls that follow each other, with what a longer stretch of them would show."""
    found = {i: estimate.estimate(o) for i, o in seen.items()}
    return {i: foreseen(seen[i], r) for i, r in found.items()} if graph.states else found
