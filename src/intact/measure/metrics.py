"""Metrics by name, for whoever types a command: each a function of outputs and targets, errors counted as what they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, final

import numpy as np
import scipy

from intact import choices
from intact.annotations import Bools, Floats
from intact.data import Data, Finding, InputSpec, Samples, class_count, input_specs
from intact.errors import DataError, OptionError
from intact.measure import accuracy
from intact.measure.accuracy import Metric, NamedOutputs, Rows
from intact.measure.measurement import Measurement
from intact.measure.task import copied_input
from intact.network.graph import Graph

#: Names that are the same on both sides.
UNCHANGED: Final[Mapping[str, str]] = MappingProxyType({})


@final
@dataclass(frozen=True)
class Named:
    """A metric with a name. Called, it is larger for the better network; ``error``: what it shows is larger for the worse.

    ``each``: what it shows of every sample ``[n]``, where it is the mean of that.
    """

    name: str
    compute: Callable[[Floats[np.ndarray, "n ..."], Rows], float]
    error: bool = False
    each: Callable[[Floats[np.ndarray, "n ..."], Rows], Floats[np.ndarray, "n"]] | None = None

    @property
    def __name__(self) -> str:
        return self.name

    def __call__(self, outputs: object, targets: Rows) -> float:
        if not isinstance(outputs, np.ndarray):
            raise DataError(f"--metric {self.name} is of one output, and the model has several")
        value = self.compute(outputs.astype(np.float64), targets)
        return -value if self.error else value

    def shown(self, value: Measurement) -> Measurement:
        """A figure of this metric under its own name and sign."""
        if not self.error:
            return value.named(self.name)
        low, high = (None if end is None else -end for end in (value.high, value.low))
        return Measurement(self.name, -value.value, value.unit, low, high, value.how, value.n)

    def by_sample(self, outputs: NamedOutputs, targets: Rows) -> Floats[np.ndarray, "n"] | None:
        """What it shows of every sample; None where it is of all together. DataError where it cannot be had."""
        return None if self.each is None else self.each(next(iter(outputs.values())).astype(np.float64), targets)


def metric_of(metric: Metric | str | None) -> Metric | None:
    """The metric that is called so, or the user's own. OptionError for a name that there is not."""
    return METRICS[choices.metric(metric)] if isinstance(metric, str) else metric


def bound(data: Data, graph: Graph, metric: Metric | None, called: Mapping[str, str] = UNCHANGED) -> Samples:
    """``data`` as the samples of ``graph``. A metric says what labels are for, so that they need be no classes.

    ``called``: what the data call an input that has another name in the graph.
    """
    samples = data.bind(specs(graph, called), None if metric is not None else class_count(graph))
    if metric is None:
        return without_anomalies(samples, graph)
    return replace(samples, findings=tuple(f for f in samples.findings if f.kind != "unlabelled"))


def without_anomalies(samples: Samples, graph: Graph) -> Samples:
    """``samples`` without labels that are no classes of an autoencoder, but say which samples are anomalies, 0 or 1."""
    if samples.labels is None or copied_input(graph) is None or not np.isin(samples.labels, (0, 1)).all():
        return samples
    said = "labels 0 and 1 are not classes of a model whose output is a copy of its input: they are kept for a metric"
    return replace(samples, labels=None, findings=(*samples.findings, Finding("unlabelled", said)))


def specs(graph: Graph, called: Mapping[str, str] = UNCHANGED) -> tuple[InputSpec, ...]:
    """What the samples of ``graph`` look like, its inputs ``called`` as the data do."""
    return tuple(replace(spec, name=called.get(spec.name, spec.name)) for spec in input_specs(graph))


def targets_of(samples: Samples) -> Rows:
    """What a metric compares outputs with; OptionError where the data has none."""
    if samples.targets is None:
        raise OptionError("a metric needs targets; give the data some, as an .npz with x and y does, or arrays(x, y)")
    return samples.targets


def value(metric: Metric, outputs: NamedOutputs, targets: Rows) -> Measurement:
    """``metric`` of one network's outputs, called by its name if it has one here, else "metric"."""
    found = accuracy.metric_value(metric, outputs, targets)
    return replace(metric.shown(found), each=metric.by_sample(outputs, targets)) if isinstance(metric, Named) else found


def value_if_any(metric: Metric, outputs: NamedOutputs, targets: Rows) -> Measurement:
    """:func:`value` of an integer network, or an undefined one and why: what was finished is not lost for a metric."""
    try:
        return value(metric, outputs, targets)
    except DataError as error:
        name = metric.name if isinstance(metric, Named) else "metric"
        return Measurement(name, math.nan, "", None, None, str(error), len(targets))


def drop(metric: Metric, float_outputs: NamedOutputs, outputs: NamedOutputs, targets: Rows) -> Measurement:
    """What the integer network loses of ``metric``: how much it falls, or an error grows."""
    if not isinstance(metric, Named):
        accuracy.check_direction(metric, float_outputs, targets)
        return accuracy.metric_drop(metric, float_outputs, outputs, targets)
    name = f"{metric.name} {'increase' if metric.error else 'drop'}"
    lost = accuracy.metric_drop(metric, float_outputs, outputs, targets, name)
    if metric.each is None or not math.isfinite(lost.value):
        return lost
    exact, made = (metric.by_sample(y, targets) for y in (float_outputs, outputs))
    return lost if exact is None or made is None else replace(lost, each=made - exact)


def _alike(outputs: Floats[np.ndarray, "n *s"], targets: Rows, name: str) -> Floats[np.ndarray, "n *s"]:
    """The targets in the outputs' shape: axes of length 1 may differ."""
    kept = [tuple(size for size in x.shape[1:] if size != 1) for x in (outputs, targets)]
    if kept[0] != kept[1]:
        raise DataError(
            f"--metric {name} compares numbers one by one, and outputs of shape {['n', *outputs.shape[1:]]} have targets of "
            f"shape {['n', *targets.shape[1:]]}"
        )
    return targets.reshape(outputs.shape).astype(np.float64)


def _squares(outputs: Floats[np.ndarray, "n ..."], targets: Rows) -> Floats[np.ndarray, "n"]:
    return np.asarray(np.square(outputs - _alike(outputs, targets, "mse")).reshape(len(outputs), -1).mean(1))


def _mse(outputs: Floats[np.ndarray, "n ..."], targets: Rows) -> float:
    """``mean (y - t)^2``."""
    return float(_squares(outputs, targets).mean())


def _sizes(outputs: Floats[np.ndarray, "n ..."], targets: Rows) -> Floats[np.ndarray, "n"]:
    return np.asarray(np.abs(outputs - _alike(outputs, targets, "mae")).reshape(len(outputs), -1).mean(1))


def _mae(outputs: Floats[np.ndarray, "n ..."], targets: Rows) -> float:
    """``mean |y - t|``."""
    return float(_sizes(outputs, targets).mean())


def _auc(outputs: Floats[np.ndarray, "n ..."], targets: Rows) -> float:
    """The area under the ROC curve: how often a positive sample scores higher than a negative one, ties counting half.

    One score, or the second of two less the first, with targets 0 and 1; scores of several classes with class numbers, or of
    several labels with rows of 0 and 1: the mean over those that have both. Source: Hanley and McNeil (1982), Radiology 143.
    """
    scores = outputs.reshape(len(outputs), -1)
    wanted = targets.reshape(len(targets), -1)
    if scores.shape[1] == 2 and wanted.shape[1] == 1:
        scores = scores[:, 1:] - scores[:, :1]
    if wanted.shape[1] == 1 and scores.shape[1] > 1:
        wanted = wanted == np.arange(scores.shape[1])
    if wanted.shape != scores.shape or not np.isin(wanted, (0, 1)).all():
        raise DataError(f"--metric auc takes targets 0 and 1, or class numbers, and got {list(targets.shape)} of other numbers")
    areas = [_area(s, w > 0) for s, w in zip(scores.T, wanted.T, strict=True) if 0 < w.sum() < len(w)]
    if not areas:
        raise DataError("--metric auc needs samples that are positive and samples that are not")
    return float(np.mean(areas))


def _area(scores: Floats[np.ndarray, "n"], positive: Bools[np.ndarray, "n"]) -> float:
    """The rank sum of the positive samples, from 0 to 1 (Mann and Whitney)."""
    p, n = int(positive.sum()), int((~positive).sum())
    return float((scipy.stats.rankdata(scores)[positive].sum() - p * (p + 1) / 2) / (p * n))


def _iou(outputs: Floats[np.ndarray, "n ..."], targets: Rows) -> float:
    """Mean over classes of ``|A and B| / |A or B|`` of the pixels that are said to be one and that are.

    Outputs [n, ..., c] are scores whose largest counts, [n, ...] or [n, ..., 1] yes where they exceed their threshold, whose
    two classes count both; targets [n, ...] are class numbers, others are left out. Classes that neither has do not
    count.
    """
    wanted = targets.reshape(targets.shape[:-1]) if targets.shape[-1] == 1 and targets.ndim > 2 else targets
    if not np.array_equal(wanted, np.floor(wanted)):
        raise DataError("--metric iou takes class numbers, and the targets are not whole")
    if outputs.ndim == wanted.ndim + 1 and outputs.shape[-1] > 1:
        made, count = outputs.argmax(-1), outputs.shape[-1]
    else:
        made, count = (outputs > accuracy.threshold(outputs)).astype(np.int64).reshape(outputs.shape[: wanted.ndim]), 2
    if made.shape != wanted.shape:
        raise DataError(
            f"--metric iou takes a class number for each place of an output, and outputs {['n', *outputs.shape[1:]]} have "
            f"targets {['n', *targets.shape[1:]]}"
        )
    known = (wanted >= 0) & (wanted < count)  # 255 of a mask is no class: borders, what nobody looked at
    pairs = ((made[known] == c, wanted[known] == c) for c in range(count))
    found = [float((a & b).sum() / either) for a, b in pairs if (either := int((a | b).sum()))]
    if not found:
        raise DataError(f"--metric iou found no target between 0 and {count - 1}, the classes of the output")
    return float(np.mean(found))


#: By the name that :data:`intact.choices.METRICS` lists.
METRICS: Final[Mapping[str, Named]] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            Named("mse", _mse, error=True, each=_squares),
            Named("mae", _mae, error=True, each=_sizes),
            Named("auc", _auc),
            Named("iou", _iou),
        )
    }
)
