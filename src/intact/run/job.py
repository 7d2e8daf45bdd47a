"""The main job as its list of steps: load, clean, lower, split, calibrate, plan, emit, write, measure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import prod
from pathlib import Path
from typing import Final, final

import numpy as np

from intact import data as samples_of
from intact import files, scratch
from intact.data import Data, Finding, Parts, Samples
from intact.data.spec import classes_of
from intact.deploy import micro
from intact.errors import located
from intact.formats import tflite
from intact.formats.load import example_for, to_float_tflite
from intact.measure.accuracy import Metric, Verdict
from intact.measure.accuracy import verdict as judge
from intact.measure.by_sample import BySample
from intact.measure.contradiction import contradiction, near_chance
from intact.measure.criteria import Criterion
from intact.measure.figures import Reading, compare
from intact.measure.metrics import bound
from intact.measure.outputs import OutputFidelity, look
from intact.measure.run_outputs import outputs_of
from intact.measure.task import Task
from intact.measure.task import tasks as tasks_of
from intact.network.graph import Graph
from intact.network.shapes import infer
from intact.planning.plan import Plan
from intact.planning.quantized import Quantized
from intact.planning.schemes import scheme as scheme_named
from intact.planning.targets import target as target_named
from intact.rewrite.formerly import named_as
from intact.run import acceptance, findings, firmware, limits, packing
from intact.run.advice import what_helps
from intact.run.as_planned import Start, calibrated, context_of, mend_and_plan, replayed
from intact.run.computed import Computed, Looked
from intact.run.details import Made
from intact.run.details import details as details_of
from intact.run.folder import Work
from intact.run.given import Given
from intact.run.prepared import prepare
from intact.run.recover import Recovery, recover, remedied, replayed_network
from intact.run.result import Result
from intact.run.settings import Settings
from intact.run.timed import timed
from intact.run.training import Training, gathered, trained
from intact.run.what_fits import Compared, Narrower, too_large
from intact.simulate import freed

#: Calls of a network with states that count as one sample: neighbours are alike, and states go slowly to their extremes.
_CALLS: Final = 10
#: Numbers that all activations of all those calls may come to: they are looked at together.
_HELD: Final = 1 << 27


@final
@dataclass(frozen=True, eq=False)
class Job:
    """One run: what goes in, and the folder whose finished steps it takes over. ``training``: of the network of ``plan``.

    ``judging``: criteria that a study judges the run by, besides those of its settings.
    """

    model: object
    data: Data
    evaluation: Data | None
    settings: Settings
    plan: Plan | None
    metric: Metric | None
    work: Work
    training: Training | None = None
    judging: tuple[Criterion, ...] = ()

    def __post_init__(self) -> None:
        if self.plan is not None:
            object.__setattr__(self, "settings", self.settings.replaying(self.plan.scheme, self.plan.target))

    @cached_property
    def given(self) -> Given:
        """What is told of the model, as it was when first asked."""
        return Given.of(self.model)

    @freed.kept()
    def run(self, *, measure: bool = True, details: bool = True) -> Result:
        """All steps. What the folder holds already is not done again. ``details``: what lies under the figures as well."""
        if measure:
            acceptance.check_timer(self.settings, self.work.timer)
        source, parts, made = self.computed(measure=measure, details=details)
        return timed(made, source, parts, self.work)

    def computed(self, *, measure: bool = True, details: bool = True) -> tuple[Path, Parts, Computed]:
        """The float file, the samples by what they are for, and all that comes of them but times."""
        given = self.given  # before the work, as the file may change, or go, meanwhile
        source, start, parts = self.start(measure=measure)
        recovery = self._recover(start, parts, source)
        graph = recovery.network.reference
        integer = recovery.network.integer()
        device = micro.check(integer, self.settings.target)
        written = self.work.folder.file("model.tflite", lambda: tflite.write(integer))
        packed = packing.packed_file(integer, recovery.plan, self.settings, self.work.folder)
        looked = self._look(source, written, recovery.network, integer, parts, details=details) if measure else None
        readings, seen = ((), ()) if looked is None else (looked.readings, looked.seen)
        made = Computed(
            given=given,
            settings=self.settings,
            recovery=recovery,
            integer=integer,
            model=written.read_bytes(),
            packed=b"" if packed is None else packed.read_bytes(),
            findings=(
                *parts.calibration.findings,
                *parts.findings,
                *(findings.decided_by(self.settings) if self.plan is not None else ()),
                *(start.findings if graph is start.network.reference else ()),  # else the search began with other types
                *recovery.findings,
                *device,
                *findings.float_islands(integer, self.settings),
                *(findings.kept_alone(integer, graph, self.settings) if self.plan is None else ()),
            ),
            looked=looked,
            verdict=None if looked is None else self._verdict(source, written, parts, looked.tasks),
            said=(
                *findings.great_loss(readings, self.settings),
                *self._too_large(start, recovery, integer, source, looked, parts),
                *self._doubts(graph, readings, parts),
                *self._poor(source, recovery.network, seen, parts),
            ),
        )
        return source, parts, made

    def start(self, *, measure: bool = False) -> tuple[Path, Start, Parts]:
        """The float file, the network as planned before any remedy, and the samples by what they are for.

        A limit, and a metric that is to ``measure`` something, are checked before any work.
        """
        source = self.converted()
        with located(self.given.where):
            graph = self._prepared(source, self.settings)
        parts = self.split(graph)
        goal = self.settings.goal if self.settings.steering is None else None
        metric, criteria = self.metric, (*self.settings.criteria, *self.judging) if measure else ()
        if goal is not None or (measure and metric is not None) or any(c.is_of_outputs for c in criteria):
            exact = self.outputs("float", source, parts.report)
            limits.check(goal, metric, graph, exact, parts.report, criteria)
            object.__setattr__(self, "settings", acceptance.steered(self.settings, exact, parts.report))
        if self.plan is None:
            start = mend_and_plan(graph, self.settings, parts.calibration, self.work.folder, self.work.progress)
        else:
            start = replayed(graph, self.plan, self.settings)
        # What is refused is better refused before an hour of remedies.
        integer = start.network.integer()
        micro.check(integer, self.settings.target)
        return source, replace(start, lacking=firmware.shortage(self.settings, integer)), parts

    def _prepared(self, source: Path, settings: Settings) -> Graph:
        read, named = tflite.read(source.read_bytes()), self.given.graph
        return prepare(read if named is None else named_as(named, read), settings)

    def converted(self) -> Path:
        """The float .tflite that the model is, or becomes."""
        self.work.progress("convert", 0, 0)

        def make() -> bytes:
            with scratch.folder() as folder:
                out = folder / "float.tflite"
                sample = example_for(self.model, self.data.examples)
                return to_float_tflite(self.model, out, sample, input_shape=self.settings.input_shape).read_bytes()

        return self.work.folder.file("float.tflite", make, lambda: (self.given.sha256, self.settings.input_shape))

    def in_common(self) -> tuple[Path, Graph, Parts]:
        """The float file, its graph, and the samples by what they are for; what the float network gives and what calibration
        sees lies with what runs have in common now.
        """
        source = self.converted()
        with located(self.given.where):
            graph = self._prepared(source, self.settings)
        parts = self.split(graph)
        self.outputs("float", source, parts.report)
        if scheme_named(self.settings.scheme).is_integer:
            calibrated(graph, self.settings, parts.calibration, self.work.folder, self.work.progress)
        return source, graph, parts

    def split(self, graph: Graph) -> Parts:
        """The samples by what they are for, as the float network takes them, noted in the folder."""
        self.work.progress("read samples", 0, 0)
        parts = self.parts(graph)
        self.work.folder.claim("data", f"{parts.calibration.fingerprint()} {parts.report.fingerprint()}", "float.tflite")
        return parts

    def samples(self, graph: Graph) -> tuple[Samples, Samples | None]:
        """All samples, and those that report where these are others, as the float network takes them."""
        evaluation = None if self.evaluation is None else bound(self.evaluation, graph, self.metric)
        return bound(self.data, graph, self.metric), evaluation

    def parts(self, graph: Graph) -> Parts:
        """The samples by what they are for."""
        if self.given.is_module:
            samples_of.check_channels(samples_of.input_specs(graph))
        data, evaluation = self.samples(graph)
        if evaluation is not None:
            data = replace(data, findings=(*data.findings, *(f for f in evaluation.findings if f not in data.findings)))
        wanted, in_order = self.settings.calibration_samples, bool(graph.states)
        if in_order:
            held = sum(prod(shape) for i, shape in infer(graph).items() if not graph[i].is_constant)
            wanted *= min(_CALLS, max(1, _HELD // (wanted * held)))
        parts = samples_of.partition(data, evaluation, self.settings.seed, wanted, in_order=in_order)
        return parts if self.training is None else gathered(parts, self.training.samples)

    def _recover(self, start: Start, parts: Parts, source: Path) -> Recovery:
        goal, names = self.settings.goal, self.settings.remedies
        if self.plan is not None:
            made = replayed_network(start, parts, self.plan, self.work)
            return made if self.training is None else trained(made, start, parts, self.training, self.work)
        if goal is not None:
            ram, flash = start.lacking
            if not ram and (not flash or self.settings.may_narrow):
                begun = partial(self._begun, parts=parts)
                return recover(start, begun, parts, goal, source, self.metric, self.work, must_shrink=flash > 0)
            return remedied(start, parts, None, self.work)  # no search among what fits no device
        if not (scheme_named(self.settings.scheme).learns if names is None else names):
            return Recovery(start.network)
        return remedied(start, parts, names, self.work)

    def _begun(self, settings: Settings, parts: Parts) -> Start:
        """The network as planned by other settings."""
        graph = self._prepared(self.converted(), settings)
        return mend_and_plan(graph, settings, parts.calibration, self.work.folder, self.work.progress)

    def _verdict(self, source: Path, written: Path, parts: Parts, tasks: Mapping[str, Task]) -> Verdict | None:
        goal = self.settings.goal
        if goal is None:
            return None
        outputs = self.outputs("float", source, parts.report), self.outputs("quantized", written, parts.report)
        return judge(goal.loss(*outputs, parts.report, self.metric, tasks), goal.limit)

    def _doubts(self, graph: Graph, readings: tuple[Reading, ...], parts: Parts) -> tuple[Finding, ...]:
        """What may be wrong with the samples, if anything is measured."""
        top = next((r.measurement for r in readings if (r.of, r.measurement.name) == ("float", "top-1 accuracy")), None)
        # Only then is the float network run again, by the simulator: to say what would fit better.
        if top is None or self.metric is not None or not near_chance(top, classes_of(samples_of.class_count(graph))):
            return ()
        found = contradiction(graph, parts.report)
        return () if found is None else (Finding("contradiction", f"{found.what}: {found.advice}"),)

    def _poor(self, source: Path, network: Quantized, seen: tuple[OutputFidelity, ...], parts: Parts) -> tuple[Finding, ...]:
        """The outputs that came out badly, in words, and what would mend them."""
        found = findings.poor(seen, network.reference)
        if not found:
            return ()
        self.work.progress("look for what helps", 0, 0)

        named, said = {name for name, _ in found}, tuple(finding for _, finding in found)
        poor = [one for one in seen if one.name in named and one.varying is not None]
        if not poor or self.plan is not None:  # infinite numbers, or none that vary; or a plan, which leaves nothing to try
            return said
        tried = replace(self.settings, minimize=None)
        return (*said, Finding("what helps", what_helps(network, tried, parts, poor, partial(self._prepared, source))))

    def _too_large(  # noqa: PLR0913, PLR0917  # what was made, and on what
        self, start: Start, recovery: Recovery, integer: Graph, source: Path, looked: Looked | None, parts: Parts
    ) -> tuple[Finding, ...]:
        """By how much the firmware is beyond its limits, and what would fit, in words."""
        built, need = firmware.firmware(self.settings), None if looked is None else looked.need
        if built is None or looked is None or need is None or not any(built.lacks(need)):
            return ()
        kernels = target_named(self.settings.target).kernels
        exact = self.outputs("float", source, parts.report)
        compared = Compared(parts.report, exact, looked.tasks, self.metric, kernels)
        searched, planned = bool(recovery.candidates), self.plan is not None
        narrower = Narrower(
            recovery.network, built, start.request, parts.calibration, context_of(start, parts.calibration, self.work.progress)
        )
        said = too_large(integer, built, need, narrower, compared, self.settings, searched=searched, planned=planned)
        return (Finding("does not fit", said),)

    def _look(  # noqa: PLR0913  # what was made, and on what
        self, source: Path, written: Path, network: Quantized, integer: Graph, parts: Parts, *, details: bool
    ) -> Looked:
        target, goal, graph = target_named(self.settings.target), self.settings.goal, network.reference
        float_outputs = self.outputs("float", source, parts.report)
        int_outputs = self.outputs("quantized", written, parts.report)
        asked = goal is not None and goal.kind == "disagreement"
        asked = asked or any(c.group == "classes" for c in (*self.settings.criteria, *self.judging))
        tasks = tasks_of(graph, float_outputs, parts.report, asked=asked, metric=self.metric is not None)
        outputs = look(float_outputs, int_outputs, tasks)
        figures = compare(
            outputs=outputs,
            report=parts.report,
            metric=self.metric,
            files={"float": source, "quantized": written},
            float_graph=graph,
            graph=integer,
            target=target,
            scheme=scheme_named(self.settings.scheme),
            given=self.given.size,
            progress=self.work.progress,
        )
        made = Made(network, integer, written, outputs, parts.report, target)
        under, said = details_of(made, self.work.progress) if details else ({}, ())
        packed = packing.packed_file(integer, network.plan, self.settings, self.work.folder)
        held = packing.stored(network, integer, written, packed, parts.report, self.settings)
        on_device = (written if packed is None else packed).read_bytes()
        built = firmware.told(integer, on_device, self.settings, details=details)
        return Looked(
            figures,
            (*held.readings, *built.readings),
            (*held.findings, *built.findings, *said, *findings.lost_classes(outputs, parts.report)),
            tasks,
            outputs.fidelities,
            {**under, **held.details, **built.details} if details else under,
            built.need,
            BySample.of(figures.readings, files.sha256(written), parts.report.fingerprint()).to_bytes() if details else b"",
        )

    def outputs(self, name: str, path: Path, report: Samples) -> dict[str, np.ndarray]:
        """What LiteRT gives for the file, by output; ``name``: "float" for the network that runs have in common."""

        def make() -> dict[str, np.ndarray]:
            target = target_named(self.settings.target)
            return outputs_of(
                path, report, target.kernels, partial(self.work.progress, f"run {name} model"), place=self.work.place
            )

        def content() -> tuple[str, str, str, str]:
            return files.sha256(path), report.fingerprint(), target_named(self.settings.target).kernels, self.work.place.name

        return self.work.folder.arrays(f"outputs of {name}", make, content if name == "float" else None)
