"""Which limit and which metric a model can have: decided once, from its float outputs and the samples' labels, before any work.

Whatever is refused, the same sentence says the one thing that works, and that was tried on these outputs and labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from intact.data import Samples, class_count, units
from intact.data.labels import class_labels
from intact.errors import DataError, OptionError
from intact.measure import accuracy, metrics
from intact.measure.accuracy import Metric, NamedOutputs, Rows
from intact.measure.criterion import Criterion
from intact.measure.metrics import METRICS, Named
from intact.measure.task import Task, copied_input
from intact.measure.task import tasks as tasks_of
from intact.network.graph import Graph
from intact.run import acceptance
from intact.search.goal import Goal

#: The part of an error that a first limit may let it grow by, and what a first limit lets a score fall by.
_OF_ERROR: Final = 0.05
_OF_SCORE: Final = 0.01
#: Samples on which an autoencoder's error is looked at.
_FEW: Final = 64
_NO_LIMIT: Final = (
    "leave limits and metrics out: the result says how true each output is, and --remedies equalize,clip,bias,round,finetune "
    "need no limit"
)


def check(  # noqa: PLR0913, PLR0917  # a run's own parts
    goal: Goal | None,
    metric: Metric | None,
    graph: Graph,
    outputs: NamedOutputs,
    samples: Samples,
    criteria: Sequence[Criterion] = (),
) -> None:
    """OptionError for a limit, metric or criterion that cannot be had of the float ``outputs`` ``[n, ...]`` of ``samples``."""
    why = _why_not(goal, metric, graph, outputs, samples)
    if why:
        raise OptionError(f"{why}; {what_works(graph, outputs, samples)}")
    labelled = _with_labels(graph, samples)
    tasks = tasks_of(graph, outputs, labelled, asked=any(c.group == "classes" for c in criteria))
    acceptance.check(criteria, labelled, tasks, outputs, metric=metric is not None)


def _why_not(goal: Goal | None, metric: Metric | None, graph: Graph, outputs: NamedOutputs, samples: Samples) -> str:
    if metric is not None and (why := _no_metric(metric, graph, outputs, samples)):
        return why
    if goal is None or (goal.kind == "drop" and metric is not None):
        return ""
    labelled = _with_labels(graph, samples)
    tasks = tasks_of(graph, outputs, labelled, asked=True)
    if goal.kind == "disagreement":
        others = "; ".join(dict.fromkeys(task.why for task in tasks.values()))
        return "" if _have_classes(tasks) else f"--min-agreement compares classes, and there are none ({others})"
    if labelled.labels is not None and _have_classes(tasks):
        return ""
    if samples.targets is None:
        return "--max-drop needs labels that fit the model, and the data has none"
    return "--max-drop needs labels that are classes of the model, or a --metric, and these labels are none"


def _no_metric(metric: Metric, graph: Graph, outputs: NamedOutputs, samples: Samples) -> str:
    """Why ``metric`` cannot be taken; empty where it can."""
    if samples.targets is None:
        return "a metric needs targets, and the data has none"
    if isinstance(metric, Named) and not metric.error and copied_input(graph) and _is_one_each(samples.targets):
        return f"--metric {metric.name} takes an output for a score, and this one is a copy of an input"
    if not isinstance(metric, Named):
        accuracy.check_direction(metric, outputs, samples.targets)  # a user's own function is for its user to mend
        return ""
    try:
        accuracy.check_metric(metric, outputs, samples.targets)
    except DataError as error:
        return error.message
    return ""


def what_works(graph: Graph, outputs: NamedOutputs, samples: Samples) -> str:
    """What to type: a limit that these outputs and labels can have, or how to do without one."""
    labelled = _with_labels(graph, samples)
    # Numbers may be classes because these were asked for; a single one that nothing makes a probability is a regression.
    asked = any(units(y.shape) != 1 for y in outputs.values())
    if _have_classes(tasks_of(graph, outputs, labelled, asked=asked)):
        alone = "" if samples.labels is not None or samples.targets is None else " without --metric"
        return f"type --max-drop 1{alone}" if labelled.labels is not None else "type --min-agreement 99"
    targets, copied = samples.targets, copied_input(graph)
    if copied is not None and (targets is None or _is_one_each(targets)):
        error = _error_of_copy(copied, outputs, samples)
        return (
            "an autoencoder's targets are its inputs: give them as y beside x (an .npz with x and y, in Python (x, x)) and "
            f"type {_limited('mse', error)}"
        )
    if targets is None:
        return _NO_LIMIT
    if len(outputs) > 1:
        return (
            "in Python give intact.quantize metric=, a function of all outputs, a dict by name, and the targets, whose larger "
            f"values are better; or {_NO_LIMIT}"
        )
    found = metrics_that_work(outputs, targets)
    return f"type {_limited(*next(iter(found.items())))}" if found else _NO_LIMIT


def metrics_that_work(outputs: NamedOutputs, targets: Rows) -> dict[str, float]:
    """Names of metrics that can be taken, the likeliest first, with what each is."""
    output, found = next(iter(outputs.values())), dict[str, float]()
    binary, whole = bool(np.isin(targets, (0, 1)).all()), np.array_equal(targets, np.floor(targets))
    places = whole and output.ndim > 2 and output.ndim == targets.ndim + 1
    likely = ("iou",) if places else ("auc", "mse") if binary else ("mse",)
    for name in dict.fromkeys((*likely, "mse")):
        try:
            found[name] = abs(METRICS[name](_given(outputs), targets))
        except DataError:
            continue
    return found


def _given(outputs: NamedOutputs) -> NamedOutputs | Rows:
    """What a metric is called with."""
    return next(iter(outputs.values())) if len(outputs) == 1 else outputs


def _limited(name: str, value: float) -> str:
    most = _OF_ERROR * abs(value) if METRICS[name].error else _OF_SCORE
    return (
        f"--metric {name} --max-drop {max(most, 1e-6):.1g} (in the unit of {name}, which is {value:.4g} for the float network)"
    )


def _with_labels(graph: Graph, samples: Samples) -> Samples:
    """``samples`` with their targets as labels where these can be classes: a metric leaves that open."""
    if samples.labels is not None or samples.targets is None:
        return samples
    try:
        labels, _ = class_labels(samples.targets, class_count(graph), samples.name)
    except DataError:
        labels = None
    return metrics.without_anomalies(replace(samples, labels=labels), graph)


def _have_classes(tasks: dict[str, Task]) -> bool:
    return any(task.are_classes for task in tasks.values())


def _is_one_each(targets: Rows) -> bool:
    """Whether there is one number for each sample."""
    return targets.size == len(targets)


def _error_of_copy(copied: str, outputs: NamedOutputs, samples: Samples) -> float:
    """The mean squared error of an autoencoder on a few samples; ``copied`` is the input that it makes again."""
    made = next(iter(outputs.values()))[:_FEW]
    given = samples.batch(np.arange(len(made)))[0][copied]
    return float(np.square(made.reshape(len(made), -1).astype(np.float64) - given.reshape(len(made), -1)).mean())
