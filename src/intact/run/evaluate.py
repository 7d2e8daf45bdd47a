"""How well a model does on samples in the real runtime, alone or beside another: any two models, whoever made them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, final

import numpy as np

from intact import scratch
from intact.data import Data, Finding, Samples, samples_from
from intact.errors import DataError, OptionError
from intact.measure import accuracy, metrics
from intact.measure.accuracy import Metric, NamedOutputs, Rows
from intact.measure.criteria import Criterion, Judged
from intact.measure.criterion import Accept
from intact.measure.figures import Reading, fidelity
from intact.measure.machine import cpu
from intact.measure.metrics import Named
from intact.measure.outputs import look
from intact.measure.pairing import Pairing, pair_inputs, pair_outputs, renamed
from intact.measure.run_outputs import outputs_of
from intact.measure.task import tasks as tasks_of
from intact.network.graph import Graph
from intact.planning.targets import target as target_named
from intact.progress import Progress, silent
from intact.run import acceptance, findings, limits
from intact.run.opened import Opened, opened
from intact.runtime import anywhere, runtimes
from intact.runtime.places import Place
from intact.runtime.runtimes import Kernels
from intact.runtime.scripts.keras_export import InputShape


@final
@dataclass(frozen=True, eq=False)
class Evaluation:
    """What was measured on ``count`` samples, ``how``, and what was noticed; ``readings`` go by the models' names."""

    count: int
    how: str
    readings: tuple[Reading, ...]
    findings: tuple[Finding, ...]
    criteria: tuple[Judged, ...] = ()

    def __str__(self) -> str:
        """Every figure, one a line, then what was asked for and what was noticed."""
        lines = [f"{r.of}: {r.measurement}" for r in self.readings]
        lines += [f"{j.status}: {j.criterion} ({j.why})" for j in self.criteria]
        return "\n".join((f"{self.count:,} samples, {self.how}", *lines, *(f"note: {f.message}" for f in self.findings)))

    def to_json(self) -> dict[str, Any]:
        return {
            "measurements": [r.to_json() for r in self.readings],
            "findings": [vars(f) for f in self.findings],
            "criteria": [j.to_json() for j in self.criteria],
        }


def evaluate(  # noqa: PLR0913  # all but two have defaults
    model: object,
    data: object,
    *,
    against: object = None,
    metric: Metric | str | None = None,
    accept: Accept = (),
    target: str = "cpu",
    input_shape: InputShape | None = None,
    runtime: str | None = None,
    on: str | None = None,
    workers: int | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Measure ``model``, anything that :func:`intact.load` takes and any .tflite, on samples in whatever form they come.

    Alone: its accuracy, or ``metric`` of its outputs and the samples' targets. ``against`` another model: of both, with their
    difference, how often their classes agree, and how true each output is to the other's. Each gets the same samples, as its
    own inputs take them. Inputs and outputs are matched by name, else by shape and order. ``target`` names LiteRT's kernels;
    ``runtime`` what .onnx files run in: "onnxruntime" unless "openvino" or "tensorrt" is said, or "litert", for which they are
    converted; .tflite files: "litert", or "tflm", TensorFlow Lite Micro; and .pt2 files: "pytorch", its compiler, which is
    taken of a file that Intact exported, or "pytorch-eager".
    ``on``: a device of the user's that runs the files, or a Ray cluster ("ray", "ray://head:10001"), instead of this machine;
    ``workers``: processes of one thread each that share the samples on this machine.
    ``accept``: criteria on these figures, as for :func:`intact.quantize`; ``model`` stands for the quantized file in them.
    """
    criteria = acceptance.of_outputs(accept, metric, paired=against is not None)
    for criterion in criteria:
        criterion.check_place(on)
    device, measured_by, source = target_named(target), metrics.metric_of(metric), samples_from(data)
    with anywhere.opened(on, workers) as place, scratch.folder() as folder:
        progress("convert", 0, 0)
        models = opened((model, *(() if against is None else (against,))), folder, input_shape, source, runtime)
        bound, noticed = _bound(source, models, measured_by)
        samples = bound[-1].samples
        if measured_by is not None:
            metrics.targets_of(samples)
        elif against is None and samples.labels is None:
            raise OptionError(_no_labels(samples))
        if samples.labels is None:
            acceptance.check_labels(criteria, samples)
        outputs = tuple(
            outputs_of(m.path, one.samples, m.kernels or device.kernels, partial(progress, f"run {m.name}"), one.called, place)
            for m, one in zip(models, bound, strict=True)
        )
        if against is None:
            readings, seen = _alone(models, outputs, samples, measured_by)
            judged = acceptance.judged(criteria, [Reading("quantized", r.measurement) for r in readings], None)
        else:
            readings, seen, judged = _beside(models, outputs, samples, measured_by, criteria)
    return Evaluation(len(samples), _how(models, device.kernels, place), readings, (*noticed, *seen), judged)


def _how(models: tuple[Opened, ...], kernels: Kernels, place: Place) -> str:
    """Which kernels ran, and where: of each model, where they are not the same."""
    ran = {m.name: runtimes.named(m.kernels or kernels) for m in models}
    if len(set(ran.values())) == 1:
        said = next(iter(ran.values()))
    else:
        said = "; ".join(f"{name} in {each}" for name, each in ran.items())
    return f"{said}, {cpu(place)}" if place.name else said


@final
@dataclass(frozen=True, eq=False)
class _Bound:
    """The samples as one model takes them. ``called``: what they call an input that has another name in the file."""

    samples: Samples
    called: Mapping[str, str]


def _bound(data: Data, models: tuple[Opened, ...], metric: Metric | None) -> tuple[tuple[_Bound, ...], tuple[Finding, ...]]:
    """The same samples for each model; what goes by name may use the names of either."""
    first, others = models[0], models[1:]
    if not others:
        samples = metrics.bound(data, first.graph, metric)
        return (_Bound(samples, {}),), samples.findings
    (other,) = others
    names = first.name, other.name
    pairing = pair_inputs(first.graph, other.graph, names)
    pair_outputs(first.graph, other.graph, names)  # what cannot be compared is refused before it runs
    samples, ours, theirs = _named(data, first.graph, metric, pairing)
    said = (Finding("matched inputs", pairing.said),) if pairing.said else ()
    if metrics.specs(first.graph, ours) == metrics.specs(other.graph, theirs):
        return (_Bound(samples, ours), _Bound(samples, theirs)), (*said, *samples.findings)
    again = metrics.bound(data, other.graph, metric, theirs)
    found = (*samples.findings, *(f for f in again.findings if f not in samples.findings))
    return (_Bound(samples, ours), _Bound(again, theirs)), (*said, *found)


def _named(
    data: Data, graph: Graph, metric: Metric | None, pairing: Pairing
) -> tuple[Samples, Mapping[str, str], Mapping[str, str]]:
    """The samples as ``graph`` takes them, and what they call its inputs and the other's: as it does, or as the other does."""
    try:
        return metrics.bound(data, graph, metric), {}, pairing.names
    except DataError as error:
        if not pairing.renames:
            raise
        try:
            return metrics.bound(data, graph, metric, pairing.back), pairing.back, {}
        except DataError:
            raise error from None


def _alone(
    models: tuple[Opened, ...], outputs: tuple[NamedOutputs, ...], samples: Samples, metric: Metric | None
) -> tuple[tuple[Reading, ...], tuple[Finding, ...]]:
    (model,), (made,) = models, outputs
    if metric is not None:
        return (Reading(model.name, metrics.value(metric, made, _fitting(metric, made, samples))),), ()
    first = next(iter(made.values()))
    right = accuracy.correct(first, np.asarray(samples.labels), accuracy.threshold(first))
    return (Reading(model.name, accuracy.top1(right)),), ()


def _fitting(metric: Metric, outputs: NamedOutputs, samples: Samples) -> Rows:
    """The targets, when a metric can be taken of them; else DataError that names one that can."""
    targets = metrics.targets_of(samples)
    if not isinstance(metric, Named):
        return targets
    try:
        metric(next(iter(outputs.values())) if len(outputs) == 1 else outputs, targets)
    except DataError as error:
        others = limits.metrics_that_work(outputs, targets)
        advice = f"type --metric {next(iter(others))}" if others else "give targets that fit the model, or leave --metric out"
        raise DataError(f"{error.message}; {advice}") from error
    return targets


def _no_labels(samples: Samples) -> str:
    """What to do about data that says of no sample which class it is."""
    if samples.targets is None:
        return "the data has no labels; type --against with another model to compare with, such as the float one"
    return (
        "the labels are no classes of the model; type --metric mse, mae, auc or iou for what they are, or --against with "
        "another model to compare with"
    )


def _beside(
    models: tuple[Opened, ...],
    outputs: tuple[NamedOutputs, ...],
    samples: Samples,
    metric: Metric | None,
    criteria: tuple[Criterion, ...],
) -> tuple[tuple[Reading, ...], tuple[Finding, ...], tuple[Judged, ...]]:
    """What ``models[0]`` makes, beside what ``models[1]`` does."""
    model, other = models
    pairing = pair_outputs(model.graph, other.graph, (model.name, other.name), (outputs[0], outputs[1]))
    if metric is not None:
        _fitting(metric, outputs[1], samples)
    told = pairing.told
    exact = {told[name]: outputs[1][name] for name in told}
    made = {told[name]: outputs[0][own].reshape(outputs[1][name].shape) for name, own in pairing.names.items()}
    graph = renamed(other.graph, {}, told)
    asked = any(c.group == "classes" for c in criteria)
    tasks = tasks_of(graph, exact, samples, asked=asked, metric=metric is not None)
    acceptance.check(criteria, samples, tasks, exact, metric=metric is not None)
    compared = look(exact, made, tasks)
    found = fidelity(compared, samples, metric)
    names = {"float": other.name, "quantized": model.name, "difference": f"{model.name} against {other.name}"}
    beside = other.name if other.is_quantized else "float"
    readings = tuple(
        Reading(names[r.of], r.measurement.named(r.measurement.name.replace("with float", f"with {beside}"))) for r in found
    )
    said = (Finding("matched outputs", pairing.said),) if pairing.said else ()
    noticed = (*said, *(finding for _, finding in findings.poor(compared.fidelities, graph)))
    return readings, noticed, acceptance.judged(criteria, found, None)
