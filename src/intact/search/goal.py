"""The limit that a network has to meet: what is lost, in which unit, and what meets it."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, final

import numpy as np

from intact.data import Samples
from intact.errors import OptionError
from intact.measure import accuracy, metrics
from intact.measure.accuracy import Metric
from intact.measure.measurement import Measurement
from intact.measure.task import Task

#: By name, ``[n, ...]``.
Outputs: TypeAlias = Mapping[str, np.ndarray]

#: An interval that reaches further than so many limits leaves what was measured open.
_WIDE: Final = 2.0
#: The least probability that is told from 0: half a step of an int8 softmax.
_LEAST: Final = 1 / 512


@final
@dataclass(frozen=True)
class Goal:
    """At most ``limit`` points of accuracy lost (``drop``), or per cent of samples with another class (``disagreement``).

    ``by_estimate``: samples that are few may meet it too, where there is more to look for than the network that loses least.
    """

    kind: Literal["drop", "disagreement"]
    limit: float
    by_estimate: bool = False

    def loss(
        self,
        float_outputs: Outputs,
        outputs: Outputs,
        samples: Samples,
        metric: Metric | None = None,
        tasks: Mapping[str, Task] | None = None,
    ) -> Measurement:
        """How much is lost, with its interval: of accuracy in points, or of ``metric`` in its own unit.

        ``tasks`` says what each output is; without it the first one is taken for classes if its numbers can be.
        """
        name = next(iter(float_outputs))
        a, b = float_outputs[name], outputs[name]
        if self.kind == "disagreement":
            return _disagreement(float_outputs, outputs, samples, tasks)
        self.check(samples, metric)
        if metric is not None:
            return metrics.drop(metric, float_outputs, outputs, metrics.targets_of(samples))
        labels, cut = np.asarray(samples.labels), accuracy.threshold(a)
        return accuracy.drop(accuracy.correct(a, labels, cut), accuracy.correct(b, labels, cut))

    def check(self, samples: Samples, metric: Metric | None) -> None:
        """OptionError for samples that lack what a drop is measured by."""
        if self.kind != "drop":
            return
        if metric is not None:
            metrics.targets_of(samples)
        elif samples.labels is None and samples.targets is not None:
            raise OptionError(
                "--max-drop needs labels that are classes of the model, and these are not; leave it out and type --remedies, "
                "or name a --metric that they are for"
            )
        elif samples.labels is None:
            raise OptionError(
                "--max-drop needs labels that fit the model, and the data has none; type --min-agreement 99 instead"
            )

    def expected(self, float_outputs: Outputs, outputs: Outputs) -> float | None:
        """The drop in points that the float network's own confidence expects; None where there are no classes.

        A sample whose class changed from k to m counts ``p[k] - p[m]``, its chances of having been right less those of being
        right now. It needs no labels and varies less than a difference of few right answers: paired labels of 1,250
        samples said -0.5 [-1.7, 0.7] where this said 1.5, and 5,000 others 1.4.
        """
        name = next(iter(float_outputs))
        scores, made = (o[name].reshape(len(o[name]), -1) for o in (float_outputs, outputs))
        if self.kind != "drop" or scores.shape[1] < 2:
            return None
        old, new, row = scores.argmax(1), made.argmax(1), np.arange(len(scores))
        p = accuracy.probabilities(scores)
        return 100 * float((p[row, old] - p[row, new]).mean())

    def divergence(self, float_outputs: Outputs, outputs: Outputs) -> float | None:
        """By how many nats the first output's classes part from float's, ``KL(float || made)`` in the mean; of a drop None.

        It tells networks apart that change the class of as many samples, by all samples instead of those few. None where that
        output is not ``[n, classes]``.
        """
        name = next(iter(float_outputs))
        scores, made = float_outputs[name], outputs[name]
        shape = tuple(size for size in scores.shape[1:] if size != 1)
        if self.kind != "disagreement" or len(shape) != 1 or not np.issubdtype(scores.dtype, np.floating):
            return None
        scores, made = (values.reshape(len(values), -1).astype(np.float64) for values in (scores, made))
        p, q = accuracy.probabilities(scores), accuracy.softmax(made)
        if accuracy.are_probabilities(scores):
            q = np.maximum(made, _LEAST)
            q /= q.sum(1, keepdims=True)
        some = p > 0
        return float((p[some] * np.log(p[some] / np.maximum(q[some], 1e-300))).sum() / len(p))

    def is_met(self, loss: Measurement, score: float) -> bool:
        """Whether nothing better need be looked for: ``score``, the estimate, is within the limit, and not by a hope."""
        nothing_lost = loss.value <= 0 and score <= 0
        return score <= self.limit and (self.by_estimate or nothing_lost or not self.are_few(loss))

    def are_few(self, loss: Measurement) -> bool:
        """Whether the samples behind ``loss`` are too few for it to mean much: its interval reaches two limits further.

        Of classes besides: they could not even show a network that loses nothing to be within the limit. Worked, for a limit of
        1: 0.80 [-2.75, 4.46] on 125 samples are few; -0.48 [-1.72, 0.74] on 1,250 are not.
        """
        if loss.high is None or loss.high - loss.value <= _WIDE * self.limit:
            return False
        of_classes = loss.unit in {"percentage points", "%"}
        return not of_classes or (self.limit > 0 and self.samples_for(loss.n) is not None)

    def samples_for(self, count: int) -> int | None:
        """How many samples it takes to show a network that loses nothing to be within the limit, if ``count`` are too few."""
        if self.limit <= 0:
            return sys.maxsize
        needed = math.ceil(accuracy.around_nothing(self.limit))
        return needed if needed > count else None


def _disagreement(float_outputs: Outputs, outputs: Outputs, samples: Samples, tasks: Mapping[str, Task] | None) -> Measurement:
    """The share of samples that get another class in any output of classes; OptionError where there is none."""
    if tasks is None:
        name = next(iter(float_outputs))
        chosen, why = [name], accuracy.why_no_classes(float_outputs[name], samples)
    else:
        chosen = [name for name, task in tasks.items() if task.are_classes]
        why = "" if chosen else next(iter(tasks.values())).why
    if why:
        raise OptionError(
            f"--min-agreement compares classes, and {why}; leave it out (--remedies need no limit, and the result "
            "gives the SQNR), or give targets and type --metric with --max-drop"
        )
    differ = np.zeros(len(samples), np.bool_)
    for name in chosen:
        cut = accuracy.threshold(float_outputs[name])
        differ |= accuracy.classes(float_outputs[name], cut) != accuracy.classes(outputs[name], cut)
    return accuracy.share(differ, "disagreement with float", "share of samples with another class")
