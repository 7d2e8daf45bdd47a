"""From a float network and its calibration samples to the network as planned, before any remedy."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, final

import numpy as np

from intact.data import Finding, Samples
from intact.data.samples import BATCH
from intact.diagnosis.unlike_sizes import Mend, find
from intact.errors import OptionError
from intact.measure.held_out import TURNS, clear_gain, folds, gain, mean_gains
from intact.network.graph import Graph
from intact.planning.adjusted_constants import digest
from intact.planning.integer_graph import emit
from intact.planning.plan import Plan
from intact.planning.planner import first_plan, make_plan
from intact.planning.quantized import Quantized
from intact.planning.ranges import Observed, Range, estimator, foreseen
from intact.planning.request import Request
from intact.progress import Progress, silent
from intact.remedies.base import Context, MakePlan
from intact.rewrite.mending import Step, mended
from intact.run.folder import RunFolder
from intact.run.settings import Settings
from intact.simulate.calibrate import Batches, from_arrays, observe, to_arrays
from intact.simulate.engine import Program, run_batches

#: Two ways to take ranges are compared on at most so many samples in each turn, or not at all with fewer than the least.
_HELD_OUT: Final = 32
_LEAST_HELD_OUT: Final = 8
_BETTER: Final = "dB better at the output than minmax on samples held out"
_OTHER_WEIGHTS: Final = (
    "the plan was made for other weights than this model's, which are stored in the scales of those; leave out --plan to have "
    "scales of their own"
)
#: Columns are looked at on so many samples.
_FEW: Final = 64


@final
@dataclass(frozen=True, eq=False)
class Start:
    """The network as planned, with what it was planned by: ``settings`` and, made from them and from ``mend``, ``request``.

    ``ranges`` names the estimator that was asked for, or chosen where that was left open. ``folder``: where runs find what
    they have in common. ``lacking``: by how many bytes of RAM and of flash it is beyond the limits of the run.
    """

    network: Quantized
    settings: Settings
    request: Request
    mend: Mend = Mend()
    ranges: str = "minmax"
    folder: RunFolder | None = None
    lacking: tuple[int, int] = (0, 0)

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
    seen = calibrated(graph, settings, calibration, folder, progress)
    few = [batch for batch, _ in calibration.spread(_FEW).batches()]
    mend = find(graph, estimated(graph, seen, settings), few, request)
    request = replace(request, float_ops=mend.float_ops, steps=mend.steps)
    if mend.steps:
        graph = mended(graph, mend.steps)
        seen = calibrated(graph, settings, calibration, folder, progress, mend.steps)
    made = plan_of(graph, calibration, settings, request, seen=seen, folder=folder)
    return Start(Quantized(graph, graph, made.plan, mend.log), settings, made.request, mend, made.ranges, folder)


def replayed(graph: Graph, plan: Plan, settings: Settings) -> Start:
    """``graph`` as a plan made before says, with the constants that it holds."""
    changed = mended(graph, plan.steps)
    plan.check(changed)
    other = plan.network not in ("", digest(changed))
    if other and plan.remedied.names and not plan.is_whole:
        raise OptionError(f"the plan is for other weights than these, which remedies changed as well; {plan.instead}")
    adjusted, names = changed if plan.adjusted is None else plan.adjusted.on(changed, plan.instead), plan.remedied.names
    log = () if adjusted is changed else (f"took the constants that {', '.join(dict.fromkeys(names))} adjusted from the plan",)
    network = Quantized(changed, adjusted, plan, log, remedies=names if plan.is_whole else ())
    findings = (Finding("plan of other weights", _OTHER_WEIGHTS),) if other else ()
    return Start(network, settings, replace(settings.request(), steps=plan.steps), Mend(findings=findings))


def context_of(start: Start, samples: Samples, progress: Progress = silent) -> Context:
    """What remedies need to calibrate a graph anew on ``samples`` and plan it as that of ``start`` was."""
    settings = start.settings

    def planner(ranges: str) -> MakePlan:
        def plan(graph: Graph, precise: tuple[int, ...], wide_weights: tuple[int, ...]) -> Plan:
            progress("calibrate again", 0, 0)
            request = replace(start.request, wide_weights=wide_weights)
            asked = replace(settings, ranges=ranges)
            return plan_of(graph, samples, asked, request, precise=precise, folder=start.folder).plan

        return plan

    return Context(
        make_plan=planner(settings.ranges),
        by_extremes=planner("minmax") if settings.ranges == "auto" else None,
        precise="in float" if start.request.target.float_islands else "at 16 bits",
        seed=settings.seed,
        progress=progress,
        shared=partial(shared, start.folder),
    )


def shared(
    folder: RunFolder | None, name: str, graph: Graph, samples: Samples, make: Callable[[], Mapping[str, np.ndarray]]
) -> Mapping[str, np.ndarray]:
    """Arrays that the float ``graph`` and ``samples`` alone decide: those that a run beside this one made, else made now."""
    if folder is None or folder.common is None:
        return make()
    return folder.arrays(name, make, lambda: (digest(graph), graph.output_names, samples.fingerprint()))


def calibrated(  # noqa: PLR0913, PLR0917  # a run's own parts
    graph: Graph, settings: Settings, calibration: Samples, folder: RunFolder, progress: Progress, steps: tuple[Step, ...] = ()
) -> dict[int, Observed]:
    """What every activation takes on over the samples, or took on when an earlier run of the folder looked."""
    name = "calibration" if not steps else f"calibration {hashlib.sha256(repr(steps).encode()).hexdigest()[:12]}"

    def batches() -> Iterator[Mapping[str, np.ndarray]]:
        for n, (batch, _) in enumerate(calibration.batches()):
            progress("calibrate", min(n * BATCH, len(calibration)), len(calibration))
            yield batch
        progress("calibrate", len(calibration), len(calibration))

    return _kept(name, graph, calibration, settings, folder, batches)


def _kept(  # noqa: PLR0913, PLR0917  # a run's own parts
    name: str, graph: Graph, samples: Samples, settings: Settings, folder: RunFolder, batches: Batches
) -> dict[int, Observed]:
    """What was seen, from the folder where it is there."""

    def make() -> dict[str, np.ndarray]:
        return to_arrays(observed(graph, batches, settings))

    return from_arrays(folder.arrays(name, make, lambda: (digest(graph), samples.fingerprint(), _with_histogram(settings))))


@final
@dataclass(frozen=True, eq=False)
class Planned:
    """A plan, what it was made for, and the estimator of its ranges that was asked for, or chosen where that was left open."""

    plan: Plan
    request: Request
    ranges: str = "minmax"


def plan_of(  # noqa: PLR0913  # all but three have defaults
    graph: Graph,
    samples: Samples,
    settings: Settings,
    request: Request | None = None,
    *,
    seen: Mapping[int, Observed] | None = None,
    precise: tuple[int, ...] = (),
    folder: RunFolder | None = None,
) -> Planned:
    """The plan of ``graph`` by what its activations take on over the calibration samples.

    ``request``: what ``settings`` ask for and what was found out since, such as the rewrites behind ``graph``. ``seen``: what
    the activations took on, where that was looked at before. ``precise``: first outputs of ops that stay in float, or on
    targets without floats at 16 bits. ``folder``: where runs beside this one may have looked already.
    """
    request = settings.request() if request is None else request
    if not request.scheme.is_integer:
        return Planned(make_plan(graph, {}, request), request)
    if seen is None:

        def batches() -> Iterator[Mapping[str, np.ndarray]]:
            return (batch for batch, _ in samples.batches())

        if folder is None or folder.common is None:
            seen = observed(graph, batches, settings)
        else:
            seen = _kept("calibration", graph, samples, settings, folder, batches)
    ranges, chosen, request = _ranges(graph, seen, settings, request, samples, folder)
    if request.target.float_islands or request.scheme.activations == "int16":
        return Planned(first_plan(graph, ranges, replace(request, float_ops=(*request.float_ops, *precise))), request, chosen)
    return Planned(first_plan(graph, ranges, request, precise), request, chosen)


def observed(graph: Graph, batches: Batches, settings: Settings) -> dict[int, Observed]:
    """What every activation takes on, as far as the estimator of ranges needs it."""
    return observe(graph, batches, histogram=_with_histogram(settings))


def _with_histogram(settings: Settings) -> bool:
    return estimator(settings.ranges).needs_histogram


def _ranges(  # noqa: PLR0913, PLR0917  # a run's own parts
    graph: Graph,
    seen: Mapping[int, Observed],
    settings: Settings,
    request: Request,
    samples: Samples,
    folder: RunFolder | None,
) -> tuple[dict[int, Range], str, Request]:
    """Ranges by the estimator that was asked for, or by the better of two; its name, and the request that says why."""
    if settings.ranges != "auto":
        return estimated(graph, seen, settings), settings.ranges, request
    clear = clear_gain(_gains_of_moving(graph, samples, settings, request, seen, folder))
    chosen = replace(settings, ranges="minmax" if clear is None else "moving")
    why = chosen.request().ranges_from if clear is None else f"{chosen.request().ranges_from}, {clear:.1f} {_BETTER}"
    return estimated(graph, seen, chosen), chosen.ranges, replace(request, ranges_from=why)


def ranges_taken(plan: Plan) -> tuple[str, ...]:
    """A word where a plan's ranges were chosen and are not the extremes."""
    chosen = (re.search(rf"moving over .*?, (\S+ {_BETTER})", entry.why) for entry in plan.tensors.values())
    found = next((match for match in chosen if match), None)
    return () if found is None else (f"took ranges from moving averages of the samples' extremes: {found[1]}",)


def _gains_of_moving(  # noqa: PLR0913, PLR0917  # a run's own parts
    graph: Graph,
    samples: Samples,
    settings: Settings,
    request: Request,
    seen: Mapping[int, Observed],
    folder: RunFolder | None,
) -> dict[str, float]:
    """The dB that ranges of moving averages gain over the extremes, by output; nothing where there are too few samples, or
    where they are calls that build on each other.

    In turns every sample is held out: ranges are taken from the others, and what both plans make of it is compared in
    simulation.
    """
    count = len(samples)
    if graph.states or count < TURNS * _LEAST_HELD_OUT or any(len(o.lows) != count for o in seen.values()):
        return {}
    turns = list[dict[str, float | None]]()
    for held, others in folds(count, TURNS, _HELD_OUT):
        rest = {i: Observed(o.lows[others], o.highs[others]) for i, o in seen.items()}
        batches = [batch for batch, _ in samples.take(held).batches()]
        exact = float_outputs(graph, samples.take(held), folder)
        made = []
        for name in ("minmax", "moving"):
            planned = plan_of(graph, samples, replace(settings, ranges=name), request, seen=rest)
            made.append(run_batches(Program(emit(graph, planned.plan)), batches))
        turns.append({name: gain(y, *(outputs[name] for outputs in made)) for name, y in exact.items()})
    return mean_gains(turns)


def float_outputs(graph: Graph, samples: Samples, folder: RunFolder | None) -> dict[str, np.ndarray]:
    """The outputs of real numbers ``[n, ...]`` that the float ``graph`` gives in simulation."""

    def make() -> dict[str, np.ndarray]:
        return run_batches(Program(graph), (batch for batch, _ in samples.batches()))

    made = shared(folder, "outputs in simulation", graph, samples, make)
    return {name: y for name, y in made.items() if y.dtype.kind == "f"}


def estimated(graph: Graph, seen: Mapping[int, Observed], settings: Settings) -> dict[int, Range]:
    """Ranges from what was seen; of calls that follow each other, with what a longer stretch of them would show."""
    estimate = estimator(settings.ranges, settings.request().scheme.activations)
    found = {i: estimate.estimate(o) for i, o in seen.items()}
    return {i: foreseen(seen[i], r) for i, r in found.items()} if graph.states else found
