"""From a float network and its calibration samples to the network as planned, before any remedy."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias, final

import numpy as np

from intact.data import Finding, Samples
from intact.diagnosis.unlike import Mend, find
from intact.measure.held_out import TURNS, clear_gain, folds, gain, mean_gains
from intact.network.graph import Graph
from intact.planning.integer_graph import emit
from intact.planning.plan import Plan
from intact.planning.planner import first_plan, make_plan
from intact.planning.quantized import Quantized
from intact.planning.ranges import Observed, Range, estimator, foreseen
from intact.planning.request import Request
from intact.remedies.base import MakePlan
from intact.rewrite.mending import Step, mended
from intact.run.folder import RunFolder
from intact.run.settings import Settings
from intact.simulate.calibrate import observe
from intact.simulate.engine import Program, run_batches

Progress: TypeAlias = Callable[[str, int, int], None]

_BATCH: Final = 32
#: Columns are looked at on so many samples.
_FEW: Final = 64
#: Two ways to take ranges are compared on at most so many samples in each turn, or not at all with fewer than the least.
_HELD_OUT: Final = 32
_LEAST_HELD_OUT: Final = 8
_BETTER: Final = "dB better at the output than minmax on samples held out"


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


def begin(graph: Graph, settings: Settings, calibration: Samples, folder: RunFolder, progress: Progress) -> Start:
    """``graph`` calibrated, mended where one tensor holds numbers of very different size, and planned as ``settings`` say."""
    request = settings.request()
    if not request.scheme.is_integer:
        return Start(Quantized(graph, graph, make_plan(graph, {}, request)), settings, request)
    seen = _seen(graph, settings, calibration, folder, progress)
    few = [batch for batch, _ in calibration.spread(_FEW).batches(_BATCH)]
    mend = find(graph, _ranges(graph, seen, settings), few, request)
    request = replace(request, float_ops=mend.float_ops, steps=mend.steps)
    if mend.steps:
        graph = mended(graph, mend.steps)
        seen = _seen(graph, settings, calibration, folder, progress, mend.steps)
    chosen = _chosen(graph, seen, settings, request, calibration)
    plan = first_plan(graph, chosen.ranges, chosen.request)
    network = Quantized(graph, graph, plan, mend.log)
    return Start(network, settings, chosen.request, mend, chosen.estimator)


@final
@dataclass(frozen=True, eq=False)
class _Chosen:
    """Every activation's range by the estimator called ``estimator``, and the request that says why."""

    estimator: str
    ranges: dict[int, Range]
    request: Request


def _chosen(graph: Graph, seen: Mapping[int, Observed], settings: Settings, request: Request, calibration: Samples) -> _Chosen:
    """Ranges by the estimator that was asked for, or by the better of two."""
    if settings.ranges != "auto":
        return _Chosen(settings.ranges, _ranges(graph, seen, settings), request)
    clear = clear_gain(_gains_of_moving(graph, seen, request, calibration))
    chosen = replace(settings, ranges="minmax" if clear is None else "moving")
    why, ranges = chosen.request().ranges_from, _ranges(graph, seen, chosen)
    if clear is None:
        return _Chosen(chosen.ranges, ranges, replace(request, ranges_from=why))
    return _Chosen(chosen.ranges, ranges, replace(request, ranges_from=f"{why}, {clear:.1f} {_BETTER}"))


def ranges_taken(plan: Plan) -> tuple[str, ...]:
    """A word where a plan's ranges were chosen and are not the extremes."""
    chosen = (re.search(rf"moving over .*?, (\S+ {_BETTER})", entry.why) for entry in plan.tensors.values())
    found = next((match for match in chosen if match), None)
    return () if found is None else (f"took ranges from moving averages of the samples' extremes: {found[1]}",)


def _gains_of_moving(graph: Graph, seen: Mapping[int, Observed], request: Request, calibration: Samples) -> dict[str, float]:
    """The dB that ranges of moving averages gain over the extremes, by output; nothing where there are too few samples, or
    where they are calls that build on each other.

    In turns every sample is held out: ranges are taken from the others, and what both plans make of it is compared in
    simulation.
    """
    count = len(calibration)
    if graph.states or count < TURNS * _LEAST_HELD_OUT or any(len(o.lows) != count for o in seen.values()):
        return {}
    program, turns = Program(graph), list[dict[str, float | None]]()
    for held, others in folds(count, TURNS, _HELD_OUT):
        rest = {i: Observed(o.lows[others], o.highs[others]) for i, o in seen.items()}
        batches = [batch for batch, _ in calibration.take(held).batches(_BATCH)]
        exact = {name: y for name, y in run_batches(program, batches).items() if y.dtype.kind == "f"}
        made = []
        for name in ("minmax", "moving"):
            estimate = estimator(name, request.scheme.activations)
            plan = first_plan(graph, {i: estimate.estimate(o) for i, o in rest.items()}, request)
            made.append(run_batches(Program(emit(graph, plan)), batches))
        turns.append({name: gain(y, *(outputs[name] for outputs in made)) for name, y in exact.items()})
    return mean_gains(turns)


def replayed(graph: Graph, plan: Plan, settings: Settings) -> Start:
    """``graph`` as a plan made before says, with the constants that it holds."""
    changed = mended(graph, plan.steps)
    plan.check(changed)
    adjusted, names = changed if plan.adjusted is None else plan.adjusted.on(changed, plan.instead), plan.remedied.names
    log = () if adjusted is changed else (f"took the constants that {', '.join(dict.fromkeys(names))} adjusted from the plan",)
    network = Quantized(changed, adjusted, plan, log, remedies=names if plan.is_whole else ())
    return Start(network, settings, replace(settings.request(), steps=plan.steps))


def planner(start: Start, calibration: Samples, progress: Progress) -> MakePlan:
    """Calibrates a graph anew and plans it as that of ``start`` was."""

    def batches() -> Iterator[Mapping[str, np.ndarray]]:
        progress("calibrate again", 0, 0)
        return (batch for batch, _ in calibration.batches(_BATCH))

    def plan(graph: Graph, precise: tuple[int, ...], wide_weights: tuple[int, ...]) -> Plan:
        request = replace(start.request, wide_weights=wide_weights)
        estimate = estimator(start.settings.ranges, request.scheme.activations)
        seen = observe(graph, batches, histogram=estimate.needs_histogram)
        chosen = _chosen(graph, seen, start.settings, request, calibration)
        found, request = chosen.ranges, chosen.request
        if request.target.float_islands or request.scheme.activations == "int16":
            return first_plan(graph, found, replace(request, float_ops=(*request.float_ops, *precise)))
        return first_plan(graph, found, request, precise)

    return plan


def by_extremes(start: Start, calibration: Samples, progress: Progress) -> MakePlan | None:
    """As :func:`planner`, with the samples' extremes for ranges; None where the user said what they are."""
    if start.settings.ranges != "auto":
        return None
    return planner(replace(start, settings=replace(start.settings, ranges="minmax")), calibration, progress)


def _ranges(graph: Graph, seen: Mapping[int, Observed], settings: Settings) -> dict[int, Range]:
    """Ranges from what was seen; of calls that follow each other, with what a longer stretch of them would show."""
    estimate = estimator(settings.ranges, settings.request().scheme.activations)
    found = {i: estimate.estimate(o) for i, o in seen.items()}
    return {i: foreseen(seen[i], r) for i, r in found.items()} if graph.states else found


def _seen(  # noqa: PLR0913, PLR0917  # a run's own parts
    graph: Graph, settings: Settings, calibration: Samples, folder: RunFolder, progress: Progress, steps: tuple[Step, ...] = ()
) -> dict[int, Observed]:
    """What every activation takes on over the samples, or took on when an earlier run of the folder looked."""
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
    return {i: Observed(stored[f"{i} lows"], stored[f"{i} highs"], stored.get(f"{i} counts")) for i in ids}
