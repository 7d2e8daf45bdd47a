"""The criteria of a run: which of them it can be judged by, said before any work, and how it was judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from intact.data import Samples, units
from intact.errors import OptionError
from intact.measure.accuracy import Metric, NamedOutputs, Verdict, called, correct, threshold, top1
from intact.measure.criteria import Criterion, Judged, criteria, judge
from intact.measure.criterion import Accept, base
from intact.measure.figures import Reading
from intact.measure.task import Task
from intact.planning.schemes import scheme
from intact.planning.targets import target
from intact.run.settings import Settings
from intact.run.study_cells import Axes
from intact.runtime.places import Clock, Timer

#: The five likeliest classes are fewer than all.
_MORE_THAN_FIVE: Final = 6
#: Points that a limit may be.
_MOST: Final = 99.0


def judged(asked: Sequence[Criterion], readings: Sequence[Reading], verdict: Verdict | None) -> tuple[Judged, ...]:
    """Each criterion on the ``readings`` of a run; on the ``verdict`` of a search where no reading is of what it went by."""
    names = {(r.of, r.measurement.name) for r in readings}
    loss = None if verdict is None else verdict.loss
    extra = (Reading("difference", loss),) if loss is not None and ("difference", loss.name) not in names else ()
    return tuple(judge(criterion, (*readings, *extra)) for criterion in asked)


def verdict_by(steering: Criterion | None, found: Sequence[Judged], verdict: Verdict | None) -> Verdict | None:
    """The verdict of a search that a criterion steered is what that criterion came to."""
    by = next((j for j in found if j.criterion == steering), None)
    if by is None or verdict is None:
        return verdict
    return Verdict(by.status, verdict.limit, by.needs_about_n, verdict.loss)


def steered(settings: Settings, outputs: NamedOutputs, samples: Samples) -> Settings:
    """``settings`` with the drop that a criterion on accuracy leaves of what the float network's ``outputs`` have on
    ``samples``; as they are where there is none, or where float is no better itself.
    """
    asked = settings.steering_by_accuracy
    if asked is None:
        return settings
    first = next(iter(outputs.values()))
    right = top1(correct(first, np.asarray(samples.labels), threshold(first)))
    room = round(float(right.value) - asked.limit, 9)
    if room <= 0 and settings.minimize is not None:
        raise OptionError(
            f"{asked}: the float network itself has {right.value:.4g} %, which leaves nothing to lose; type a lower limit"
        )
    return settings if room <= 0 else replace(settings, max_drop=min(room, _MOST))


def check_measured(asked: Sequence[Criterion], *, measure: bool) -> None:
    """OptionError for criteria of a run that measures nothing."""
    if asked and not measure:
        raise OptionError(f"{asked[0]} is judged by a figure, and measure=False leaves all figures out; leave one out")


def check_timer(settings: Settings, timer: Timer) -> None:
    """OptionError for what a clock does not measure: figures that are no times, and other kernels than LiteRT's default."""
    if not isinstance(timer, Clock):
        return
    for one in settings.criteria:
        if one.on and one.group != "time":
            raise OptionError(f"{one}: {timer.name} measures times alone; leave 'on {one.on}' out, for it is measured here")
    if target(settings.target).kernels != "default":
        raise OptionError(f"{timer.name} times what runs in LiteRT's default kernels; type --target cpu, or leave --on out")


def of_outputs(accept: Accept, metric: Metric | str | None, *, paired: bool) -> tuple[Criterion, ...]:
    """The criteria of an evaluation, which measures outputs alone; OptionError for others, and for those that compare two
    models where there is one.
    """
    name = metric if isinstance(metric, str) or metric is None else called(metric)
    found = tuple(criterion.under(name) for criterion in criteria(accept))
    for one in found:
        if one.group not in {"labels", "classes", "outputs", "metric"}:
            raise OptionError(f"{one} is not about outputs, and evaluate measures these alone; intact quantize judges it")
        if not paired and (one.of != "quantized" or one.group in {"classes", "outputs"}):
            raise OptionError(f"{one} compares two models; type --against with the other one")
    return found


def of_study(accept: Accept, metric: Metric | str | None, axes: Axes) -> tuple[Criterion, ...]:
    """The criteria of a study; OptionError for one whose figure none of its variants can have."""
    name = metric if isinstance(metric, str) or metric is None else called(metric)
    found = tuple(criterion.under(name) for criterion in criteria(accept))
    for one in found:
        if why := _none_has(one, axes):
            raise OptionError(f"{one}: {why}, or leave it out")
    return found


def _none_has(one: Criterion, axes: Axes) -> str:
    """Why no variant has the figure of a criterion, and what to type; empty where one may have it."""
    targets = axes.planned_for
    if one.group == "device" and all(target(each).float_islands for each in targets):
        return f"{' and '.join(targets)} has no {one.figure}; type --targets mcu"
    if one.group in {"weights", "packed"} and all(scheme(each).usual for each in axes.schemes):
        return f"{one.figure} is measured of weights of few numbers; type --schemes with such as w3a8"
    if one.group == "packed" and not any(target(each).micro for each in targets):
        return f"{' and '.join(targets)} has no packed file; type --targets mcu"
    if one.figure.endswith("LiteRT") and not set(axes.runtimes) - {"litert"}:
        return f"{one.figure} is of another runtime; type --runtimes with such as onnxruntime"
    return ""


def check_labels(asked: Sequence[Criterion], samples: Samples) -> None:
    """OptionError for a criterion that needs labels, for samples that have none."""
    check(tuple(c for c in asked if c.group == "labels"), samples, {}, {}, metric=False)


def check(
    asked: Sequence[Criterion], samples: Samples, tasks: Mapping[str, Task], outputs: NamedOutputs, *, metric: bool
) -> None:
    """OptionError for a criterion whose figure cannot be had, with what to type."""
    for criterion in asked:
        if why := _why_not(criterion, samples, tasks, outputs, metric=metric):
            raise OptionError(why)


def _why_not(criterion: Criterion, samples: Samples, tasks: Mapping[str, Task], outputs: NamedOutputs, *, metric: bool) -> str:
    """Why the figure of ``criterion`` cannot be had of these float ``outputs`` ``[n, ...]`` and samples, and what to type;
    empty where it can. ``metric``: whether one is measured, in place of an accuracy.
    """
    output = criterion.figure.partition(f"{base(criterion.figure)} of ")[2]
    if output and len(outputs) == 1:
        return f"{criterion} names an output, and the model has one; type {base(criterion.figure)} without it"
    if output and output not in outputs:
        return f"{criterion}: no output is called {output!r}; type one of: {', '.join(outputs)}"
    classes = [name for name, task in tasks.items() if task.are_classes]
    if criterion.group == "classes" and not classes:
        others = "; ".join(dict.fromkeys(task.why for task in tasks.values()))
        return f"{criterion} compares classes, and there are none ({others}); leave it out, or type SQNR >= 20"
    return _no_labels(criterion, samples, classes, outputs, metric) if criterion.group == "labels" else ""


def _no_labels(criterion: Criterion, samples: Samples, classes: Sequence[str], outputs: NamedOutputs, metric: bool) -> str:
    if metric:
        return f"{criterion} is of classes, and a metric is measured in their place; leave one of the two out"
    others = "agreement >= 99" if classes else "SQNR >= 20"
    if samples.labels is None or not classes:
        kind = "has none" if samples.targets is None else "has others"
        return f"{criterion} needs labels that are classes of the model, and the data {kind}; type {others} instead"
    if len(outputs) > 1:
        return f"{criterion} is of a single output, and the model has {len(outputs)}; type {others} instead"
    count = units(outputs[classes[0]].shape) or 0
    if criterion.figure.startswith("top-5") and count < _MORE_THAN_FIVE:
        return f"{criterion} is for more than 5 classes, and the model has {count}; type accuracy instead of top-5"
    return ""
