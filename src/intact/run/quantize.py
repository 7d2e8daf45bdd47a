"""The main job, as one function and as its list of steps: load, clean, lower, split, calibrate, plan, emit, write, measure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from intact import data as samples_of
from intact import files, scratch
from intact.choices import Granularity
from intact.data import Data, Finding, Parts, Samples
from intact.data.spec import classes_of
from intact.deploy import bytes as sizes
from intact.deploy import micro
from intact.errors import OptionError, UnsupportedError, located
from intact.formats import tflite
from intact.formats.load import example_for, is_module, to_float_tflite
from intact.measure import accuracy
from intact.measure.accuracy import Metric, Verdict
from intact.measure.accuracy import verdict as judge
from intact.measure.contradiction import contradiction, near_chance
from intact.measure.criteria import Judged
from intact.measure.criterion import Accept
from intact.measure.criterion import criteria as criteria_of
from intact.measure.figures import Reading, compare
from intact.measure.metrics import bound, metric_of
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
from intact.progress import Progress, silent
from intact.rewrite.clean import clean
from intact.rewrite.formerly import named_as, remembering
from intact.rewrite.lowerings import lower
from intact.run import acceptance, findings, firmware, limits, options, packing
from intact.run.about import about
from intact.run.advice import what_helps
from intact.run.as_planned import Start, context_of, mend_and_plan, ranges_taken, replayed
from intact.run.details import Made
from intact.run.details import details as details_of
from intact.run.folder import RunFolder, Work, sha256_of
from intact.run.folder import job as described
from intact.run.recover import Recovery, recover, remedied, replayed_network
from intact.run.result import Result
from intact.run.settings import Settings
from intact.run.what_fits import Compared, Narrower, too_large
from intact.runtime.scripts.keras_export import InputShape
from intact.simulate import freed

#: Calls of a network with states that count as one sample: neighbours are alike, and states go slowly to their extremes.
_CALLS: Final = 10
#: Numbers that all activations of all those calls may come to: they are looked at together.
_HELD: Final = 1 << 27


def quantize(  # noqa: PLR0913  # all but two have defaults
    model: object,
    data: object,
    *,
    evaluation: object = None,
    scheme: str = "int8",
    target: str = "cpu",
    ranges: str = "auto",
    weights: Granularity = "per-channel",
    keep_float: Iterable[str] | str = (),
    input_type: str | None = None,
    output_type: str | None = None,
    seed: int = 0,
    calibration_samples: int = 500,
    input_shape: InputShape | None = None,
    remedies: Iterable[str] | str = "auto",
    max_drop: float | None = None,
    min_agreement: float | None = None,
    time_budget: float | str = 900.0,
    device: str = "auto",
    learning_samples: int = 2000,
    label_weight: float = 0.1,
    plan: Plan | str | Path | None = None,
    metric: Metric | str | None = None,
    accept: Accept = (),
    minimize: str | None = None,
    ram: int | str | None = None,
    flash: int | str | None = None,
    board: str | None = None,
    runtime: str = "c",
    measure: bool = True,
    details: bool = True,
    progress: Progress | None = None,
) -> Result:
    """Quantize ``model`` (anything that :func:`intact.load` takes) and measure what it costs, on the written file.

    ``data`` and ``evaluation`` are samples in whatever form they come: see :func:`intact.data.samples_from`; a torch module is
    traced on the first of them. ``data`` is split by ``seed`` into calibration and evaluation samples, unless ``evaluation``
    is given. ``metric`` is any function of outputs and labels, larger being better, or one of "mse", "mae", "auc" and "iou".
    ``input_shape`` is for models that leave sizes open: (96, 96, 3), or by input name. ``remedies`` are applied as named,
    none of them for ``()`` or "none"; "auto": equalize, clip and bias or compensate where the output clearly gains.
    ``max_drop`` (percentage points, or in the unit of ``metric``) or ``min_agreement`` (per cent) lets a search of at most
    ``time_budget`` (seconds, or "15m") choose; they learn on ``device``: "cpu", "cuda", or "auto", from ``learning_samples``
    at most, and "finetune" from their labels by ``label_weight``, from 0 to 1. ``plan`` replays a plan
    made before: a Plan, or the path of a plan.json with its plan.npz beside it. ``accept``: criteria that the result is judged
    by, such as ["drop <= 2", "size >= 4x"], or the path of an accept.toml; one on what is lost steers as a limit does.
    ``minimize="size"``: not the first network within the limit but the smallest, with a width for the weights of each op.
    ``ram`` and ``flash`` (bytes, or "256K"), or those of ``board``, are what firmware may take with ``target="mcu"``, as C or
    in TensorFlow Lite Micro (``runtime="tflm"``): what takes more is no candidate, and weights get fewer bits until they fit.
    ``measure=False`` leaves out all figures, ``details=False`` what lies under them: each op, tensor, class and changed sample,
    which a report shows.
    ``save`` of the result writes the model, ``save_run`` the folder that the command ``intact quantize`` writes.
    Raises IntactError with one sentence that says what to do.
    """
    settings = Settings(
        scheme=scheme,
        target=target,
        ranges=ranges,
        weights=weights,
        keep_float=(keep_float,) if isinstance(keep_float, str) else tuple(keep_float),
        input_type=input_type,
        output_type=output_type,
        seed=seed,
        calibration_samples=calibration_samples,
        input_shape=input_shape,
        remedies=options.remedies(remedies) if isinstance(remedies, str) else tuple(remedies),
        max_drop=max_drop,
        min_agreement=min_agreement,
        time_budget=options.seconds(time_budget) if isinstance(time_budget, str) else time_budget,
        device=device,
        learning_samples=learning_samples,
        label_weight=label_weight,
        metric=None if metric is None else metric if isinstance(metric, str) else accuracy.called(metric),
        accept=tuple(c.text for c in criteria_of(accept)),
        minimize=minimize,
        ram=sizes.parsed(ram, "--ram") if isinstance(ram, str) else ram,
        flash=sizes.parsed(flash, "--flash") if isinstance(flash, str) else flash,
        board=board,
        runtime=runtime,
    )
    acceptance.check_measured(settings.criteria, measure=measure)
    measured_by = metric_of(metric)
    replaying = Plan.load(plan) if isinstance(plan, (str, Path)) else plan
    if not isinstance(replaying, Plan | None):
        raise OptionError(f"plan= takes a Plan or the path of a plan.json, not {type(plan).__name__}; a Result has its .plan")
    with scratch.folder() as folder:
        samples = samples_of.samples_from(data)
        reporting = None if evaluation is None else samples_of.samples_from(evaluation, "evaluation")
        work = Work(RunFolder(folder), progress or silent)
        job = Job(model, samples, reporting, settings, replaying, measured_by, work)
        started_with = described(  # before the work: the files may change, or go, meanwhile
            model=model,
            data=data,
            evaluation=evaluation,
            settings=settings,
            preprocessing=samples_of.Preprocessing().to_json(),  # as load takes a path
            label=None,
            plan=replaying,
        )
        result = job.run(measure=measure, details=details)
        if not isinstance(data, (str, Path)):
            started_with["preprocessing"] = result.about["samples"]["preprocessing"]
        return replace(result, job=started_with)


@final
@dataclass(frozen=True, eq=False)
class _Measured:
    """All figures, what they say by themselves, what each output is and how true it is, and what lies under the figures."""

    readings: tuple[Reading, ...] = ()
    findings: tuple[Finding, ...] = ()
    tasks: Mapping[str, Task] = field(default_factory=dict)
    seen: tuple[OutputFidelity, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


@final
@dataclass(frozen=True, eq=False)
class Job:
    """One run: what goes in, and the folder whose finished steps it takes over."""

    model: object
    data: Data
    evaluation: Data | None
    settings: Settings
    plan: Plan | None
    metric: Metric | None
    work: Work

    def __post_init__(self) -> None:
        if self.plan is not None:
            object.__setattr__(self, "settings", self.settings.replaying(self.plan.scheme, self.plan.target))

    @freed.kept()
    def run(self, *, measure: bool = True, details: bool = True) -> Result:
        """All steps. What the folder holds already is not done again. ``details``: what lies under the figures as well."""
        given = sha256_of(self.model)  # before the work, as the file may change, or go, meanwhile
        steering = self.settings.steering or self.settings.steering_by_accuracy
        source, start, parts = self.start(measure=measure)
        recovery = self._recover(start, parts, source)
        graph = recovery.network.reference
        plan, integer = recovery.plan, recovery.network.integer()
        device = micro.check(integer, self.settings.target)
        written = self.work.folder.file("model.tflite", lambda: tflite.write(integer))
        packed = packing.packed_file(integer, plan, self.settings, self.work.folder)
        measured = _Measured()
        verdict: Verdict | None = None
        judged: tuple[Judged, ...] = ()
        if measure:
            measured = self._measure(source, written, recovery.network, integer, parts, details=details)
            verdict = self._verdict(source, written, parts, measured.tasks)
            judged = acceptance.judged(self.settings.criteria, measured.readings, verdict)
            verdict = acceptance.verdict_by(steering, judged, verdict)
        return Result(
            model=written.read_bytes(),
            packed=b"" if packed is None else packed.read_bytes(),
            graph=integer,
            float_graph=graph,
            plan=plan,
            settings=self.settings,
            readings=measured.readings,
            findings=(
                *parts.calibration.findings,
                *parts.findings,
                *self._unused(),
                *(start.findings if graph is start.network.reference else ()),  # else the search began with other types
                *recovery.findings,
                *device,
                *findings.float_islands(integer, self.settings),
                *(findings.kept_alone(integer, graph, self.settings) if self.plan is None else ()),
                *measured.findings,
                *findings.great_loss(measured.readings, self.settings),
                *self._too_large(start, recovery, source, measured, parts),
                *self._doubts(graph, measured.readings, parts),
                *self._poor(source, recovery.network, measured.seen, parts),
                *findings.missed(verdict, recovery, parts, self.work.progress),
            ),
            tasks=measured.tasks,
            details=measured.details,
            candidates=recovery.candidates,
            taken=recovery.taken,
            steps=(*ranges_taken(plan), *recovery.network.log),
            verdict=verdict,
            criteria=judged,
            about=about(self.model, given, source, written, parts),
        )

    def start(self, *, measure: bool = False) -> tuple[Path, Start, Parts]:
        """The float file, the network as planned before any remedy, and the samples by what they are for.

        A limit, and a metric that is to ``measure`` something, are checked before any work.
        """
        source = self.converted()
        with located(str(self.model) if isinstance(self.model, (str, Path)) else "the model"):
            graph = self._prepared(source, self.settings)
        parts = self.split(graph)
        goal = self.settings.goal if self.settings.steering is None else None
        metric, criteria = self.metric, self.settings.criteria if measure else ()
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
        firmware.shortage(self.settings, integer)
        return source, start, parts

    def _prepared(self, source: Path, settings: Settings) -> Graph:
        read = tflite.read(source.read_bytes())
        return prepare(named_as(self.model, read) if isinstance(self.model, Graph) else read, settings)

    def converted(self) -> Path:
        """The float .tflite that the model is, or becomes."""
        self.work.progress("convert", 0, 0)

        def make() -> bytes:
            with scratch.folder() as folder:
                out = folder / "float.tflite"
                sample = example_for(self.model, self.data.examples)
                return to_float_tflite(self.model, out, sample, input_shape=self.settings.input_shape).read_bytes()

        return self.work.folder.file("float.tflite", make, lambda: (sha256_of(self.model), self.settings.input_shape))

    def split(self, graph: Graph) -> Parts:
        """The samples by what they are for, as the float network takes them."""
        self.work.progress("read samples", 0, 0)
        if is_module(self.model):
            samples_of.check_channels(samples_of.input_specs(graph))
        data = bound(self.data, graph, self.metric)
        evaluation = None if self.evaluation is None else bound(self.evaluation, graph, self.metric)
        if evaluation is not None:
            data = replace(data, findings=(*data.findings, *(f for f in evaluation.findings if f not in data.findings)))
        wanted, in_order = self.settings.calibration_samples, bool(graph.states)
        if in_order:
            held = sum(prod(shape) for i, shape in infer(graph).items() if not graph[i].is_constant)
            wanted *= min(_CALLS, max(1, _HELD // (wanted * held)))
        parts = samples_of.partition(data, evaluation, self.settings.seed, wanted, in_order=in_order)
        self.work.folder.claim("data", f"{parts.calibration.fingerprint()} {parts.report.fingerprint()}", "float.tflite")
        return parts

    def _recover(self, start: Start, parts: Parts, source: Path) -> Recovery:
        goal, names = self.settings.goal, self.settings.remedies
        if self.plan is not None:
            return replayed_network(start, parts, self.plan, self.work)
        if goal is not None:
            ram, flash = firmware.shortage(self.settings, start.network.integer())
            if not ram and (not flash or self.settings.may_narrow):
                begun = partial(self._begun, parts=parts)
                return recover(start, begun, parts, goal, source, self.metric, self.work, must_shrink=flash > 0)
            return remedied(start, parts, None, self.work)  # no search among what fits no device
        if names == () or not scheme_named(self.settings.scheme).is_integer:
            return Recovery(start.network)
        return remedied(start, parts, names, self.work)

    def _unused(self) -> tuple[Finding, ...]:
        """Options that a plan decides."""
        given = self.settings.decided_by_a_plan if self.plan is not None else ()
        said = f"--plan holds what {', '.join(given)} would decide, which changed nothing"
        return (Finding("plan decides", said),) if given else ()

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

    def _too_large(
        self, start: Start, recovery: Recovery, source: Path, measured: _Measured, parts: Parts
    ) -> tuple[Finding, ...]:
        """By how much the firmware is beyond its limits, and what would fit, in words."""
        if not measured.readings:
            return ()
        network, narrower, work = recovery.network, None, self.work
        if self.settings.may_narrow and self.plan is None and not recovery.candidates:
            built, context = firmware.firmware(self.settings), context_of(start, parts.calibration, work.progress)
            narrower = (
                None
                if built is None
                else Narrower(network, replace(built, ram=None), start.request, parts.calibration, context)
            )
        exact, kernels = self.outputs("float", source, parts.report), target_named(self.settings.target).kernels
        compared = Compared(parts.report, exact, measured.tasks, self.metric, kernels)
        integer, folder = network.integer(), work.folder
        packed = packing.packed_file(integer, recovery.plan, self.settings, folder)
        said = too_large(integer, b"" if packed is None else packed.read_bytes(), self.settings, narrower, compared)
        return (Finding("does not fit", said),) if said else ()

    def _measure(  # noqa: PLR0913  # what was made, and on what
        self, source: Path, written: Path, network: Quantized, integer: Graph, parts: Parts, *, details: bool
    ) -> _Measured:
        target, goal, graph = target_named(self.settings.target), self.settings.goal, network.reference
        float_outputs = self.outputs("float", source, parts.report)
        int_outputs = self.outputs("quantized", written, parts.report)
        asked = goal is not None and goal.kind == "disagreement"
        asked = asked or any(c.group == "classes" for c in self.settings.criteria)
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
            given=self._given_bytes(),
            progress=self.work.progress,
            alone=self.work.alone,
        )
        made = Made(network, integer, written, outputs, figures.times_ms, parts.report, target)
        under, said = details_of(made, self.work.progress, self.work.alone) if details else ({}, ())
        packed = packing.packed_file(integer, network.plan, self.settings, self.work.folder)
        held = packing.stored(network, integer, written, packed, parts.report, self.settings)
        on_device = (written if packed is None else packed).read_bytes()
        built = firmware.told(integer, on_device, self.settings, details=details)
        return _Measured(
            (*figures.readings, *held.readings, *built.readings),
            (*figures.findings, *held.findings, *built.findings, *said, *findings.lost_classes(outputs, parts.report)),
            tasks,
            outputs.fidelities,
            {**under, **held.details, **built.details} if details else under,
        )

    def _given_bytes(self) -> int | None:
        """What the files that the user gave take, if they are there still."""
        path = Path(self.model) if isinstance(self.model, (str, Path)) else None
        return files.size(path) if path is not None and path.exists() else None

    def outputs(self, name: str, path: Path, report: Samples) -> dict[str, np.ndarray]:
        """What LiteRT gives for the file, by output; ``name``: "float" for the network that runs have in common."""

        def make() -> dict[str, np.ndarray]:
            target = target_named(self.settings.target)
            return outputs_of(path, report, target.kernels, partial(self.work.progress, f"run {name} model"))

        def content() -> tuple[str, str, str]:
            return files.sha256(path), report.fingerprint(), target_named(self.settings.target).kernels

        return self.work.folder.arrays(f"outputs of {name}", make, content if name == "float" else None)


def prepare(graph: Graph, settings: Settings) -> Graph:
    """The float graph cleaned and spelled as the target likes it: what calibration sees and what the plan is for.

    Raises UnsupportedError for a model that is quantized already.
    """
    if graph.is_quantized:
        raise UnsupportedError(
            "this model is quantized already; give the float model it was made from. "
            "intact evaluate, intact benchmark, intact inspect and intact diagnose --against FLOAT_MODEL work on it as it is"
        )
    return remembering(graph, lower(clean(graph), settings.target, scheme_named(settings.scheme).activations))
