"""Finds the cheapest network that meets a limit: a ladder from cheap to dear, judged on the real runtime."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Literal, final

import numpy as np

from intact.data import Samples
from intact.errors import OptionError, ResourceError, UnsupportedError
from intact.formats import tflite
from intact.measure import accuracy, metrics
from intact.measure.accuracy import Metric
from intact.measure.measurement import Measurement
from intact.measure.task import Task
from intact.planning.quantized import Quantized
from intact.remedies import apply
from intact.remedies.base import Context, MakePlan, Remedy
from intact.remedies.bias import BiasCorrection
from intact.remedies.clip import Clip
from intact.remedies.equalize import Equalize
from intact.remedies.finetune import FineTune
from intact.remedies.mixed import MixedPrecision
from intact.remedies.ranges import RangeRefinement
from intact.remedies.rounding import LearnedRounding
from intact.simulate.noise import narrow_weights, sensitivities, weight_share
from intact.wording import counted

#: Below this part of the noise, a cause is not worth a remedy of its own.
_WORTH_IT: Final = 0.25
#: From this part of the noise on, what weights make comes first: learned rounding is quicker than fine-tuning.
_MOST: Final = 0.5
#: Standard deviations from end to end of a 95 % interval.
_INTERVAL: Final = 2 * 1.96
#: The standard deviation of an expected loss, as a part of itself.
_TRUST: Final = 0.5
#: An interval that reaches further than so many limits leaves what was measured open.
_WIDE: Final = 2.0
#: The part of the time left that one remedy that learns may take, so that there is some for what comes after it.
_OF_TIME: Final = 0.6


@final
@dataclass(frozen=True)
class Goal:
    """At most ``limit`` points of accuracy lost (``drop``), or per cent of samples with another class (``disagreement``)."""

    kind: Literal["drop", "disagreement"]
    limit: float

    def loss(
        self,
        float_outputs: Mapping[str, np.ndarray],
        outputs: Mapping[str, np.ndarray],
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
        if metric is not None and samples.targets is not None:
            return metrics.drop(metric, float_outputs, outputs, samples.targets)
        labels, cut = np.asarray(samples.labels), accuracy.threshold(a)
        return accuracy.drop(accuracy.correct(a, labels, cut), accuracy.correct(b, labels, cut))

    def check(self, samples: Samples, metric: Metric | None) -> None:
        """OptionError for samples that lack what a drop is measured by."""
        if self.kind != "drop":
            return
        if metric is not None and samples.targets is None:
            raise OptionError("a metric needs targets; give the data some, as an .npz with x and y does, or arrays(x, y)")
        if metric is None and samples.labels is None and samples.targets is not None:
            raise OptionError(
                "--max-drop needs labels that are classes of the model, and these are not; leave it out and type --remedies, "
                "or name a --metric that they are for"
            )
        if metric is None and samples.labels is None:
            raise OptionError(
                "--max-drop needs labels that fit the model, and the data has none; type --min-agreement 99 instead"
            )

    def expected(self, float_outputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> float | None:
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
        same = np.ones(count, np.bool_)
        loss = accuracy.drop(same, same) if self.kind == "drop" else accuracy.share(~same, "", "")
        if loss.high is None or loss.high <= self.limit:
            return None
        # The upper end of an interval around nothing goes with 1 / n.
        return math.ceil(count * loss.high / self.limit) if self.limit > 0 else sys.maxsize


def _disagreement(
    float_outputs: Mapping[str, np.ndarray],
    outputs: Mapping[str, np.ndarray],
    samples: Samples,
    tasks: Mapping[str, Task] | None,
) -> Measurement:
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


@final
@dataclass(frozen=True, eq=False)
class Candidate:
    """One network that was tried and why: its file, what it loses on the selection samples, and what it costs.

    ``expected`` is :meth:`Goal.expected`. The search goes by ``score``, which weighs the two.
    """

    name: str
    why: str
    network: Quantized
    model: bytes
    loss: Measurement
    expected: float | None
    latency_ms: float
    seconds: float

    @property
    def score(self) -> float:
        """What the search goes by: measured and expected loss, each weighed by how sure it is.

        The measured one by its interval; the expected one, which trusts the float network's confidence, to half of itself, and
        never more than the measured one: a network that is sure of its mistakes expects to lose nothing. And no less than what
        the measured interval allows. Worked: -0.48 [-1.72, 0.74] measured and 1.5 expected give 0.34; -0.32 [-2.14, 1.50] and
        5.0 give 0.32; 27.46 [26.2, 28.7] and 0.19 give 26.2; 0.80 [-2.75, 4.46] and 0.1 give 0.45.
        """
        if self.expected is None or self.loss.low is None or self.loss.high is None or self.loss.high <= self.loss.low:
            return self.loss.value
        measured = (self.loss.high - self.loss.low) / _INTERVAL
        deviations = np.array([measured, max(_TRUST * abs(self.expected), measured)])
        weighed = float(np.average([self.loss.value, self.expected], weights=deviations**-2.0))
        return max(weighed, self.loss.low)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "why": self.why,
            "steps": list(self.network.log),
            "loss": self.loss.to_json(),
            "expected": self.expected,
            "score": self.score,
            "bytes": len(self.model),
            "latency_ms": self.latency_ms,
            "seconds": round(self.seconds, 1),
        }

    def __str__(self) -> str:
        expected = "" if self.expected is None else f" ({self.expected:.2f} expected, {self.score:.2f} together)"
        return f"{self.name}: {self.loss}{expected}, {len(self.model):,} bytes, {self.latency_ms:.3g} ms, {self.seconds:.0f} s"


def front(candidates: Sequence[Candidate]) -> tuple[str, ...]:
    """Names of the candidates that no other beats in loss, bytes and latency at once (latency to 5 %, which is noise)."""

    def beats(a: Candidate, b: Candidate) -> bool:
        ahead = (a.score < b.score, len(a.model) < len(b.model), a.latency_ms < 0.95 * b.latency_ms)
        behind = (a.score > b.score, len(a.model) > len(b.model), 0.95 * a.latency_ms > b.latency_ms)
        return any(ahead) and not any(behind)

    return tuple(c.name for c in candidates if not any(beats(other, c) for other in candidates))


@final
@dataclass(frozen=True)
class Tools:
    """What the search is given: how to judge a file, time it, remember a step and keep the best file so far, with what to
    say of it; the samples that remedies learn from.

    ``remember`` gives back the network and the seconds that it took before an interruption, 0 if it was made just now.
    ``mixes``: whether the target takes a mixture of precisions.
    """

    goal: Goal
    judge: Callable[[str, bytes], tuple[Measurement, float | None]]
    time: Callable[[bytes], float]
    remember: Callable[[str, Quantized, Callable[[], Quantized]], tuple[Quantized, float]]
    tell: Callable[[str], None]
    keep: Callable[[bytes, str], None]
    learning: Samples
    context: Context
    mixes: bool


@final
@dataclass(frozen=True)
class Other:
    """Another network to start from, what tells it apart, and what plans it anew."""

    name: str
    network: Quantized
    make_plan: MakePlan


def search(start: Quantized, tools: Tools, others: Sequence[Other] = ()) -> tuple[tuple[Candidate, ...], Candidate]:
    """Everything tried, in order, and the one to take: the cheapest that meets the goal, else the one that loses least.

    The ladder is climbed from that one of ``start`` and ``others`` which loses least by itself.
    Where the selection samples are few (:meth:`Goal.are_few`), to meet the goal by the estimate ends nothing: the search goes
    on until nothing measurable is lost, nothing is left to try or time is up, and the one that loses least is taken.
    """
    ladder = _Ladder(start, tools, others)
    ladder.climb()
    return tuple(ladder.tried), ladder.met or ladder.best


class _Ladder:
    def __init__(self, start: Quantized, tools: Tools, others: Sequence[Other]) -> None:
        self.start, self.tools, self.context, self.others = start, tools, tools.context, others
        self.prefix = ""
        self.tried: list[Candidate] = []
        self.remedies: dict[str, tuple[Remedy, ...]] = {}
        self.met: Candidate | None = None

    @property
    def best(self) -> Candidate:
        """The candidate that loses least so far; the earlier of two that lose as much."""
        return min(self.tried, key=lambda c: c.score)

    def climb(self) -> None:
        """Rung by rung until one meets the goal or time is up."""
        for name, why, base, remedies in self._rungs():
            if self._try(name, why, base, remedies):
                return
        self._mix()
        self._keep_best()
        if self.met is None:
            self.tools.tell("time is up" if self._over() else "nothing is left to try")

    def _rungs(self) -> Iterator[tuple[str, str, Quantized, tuple[Remedy, ...]]]:
        """Name, reason, network to start from and what to do to it; each rung sees what came of those before."""
        yield "as planned", "nothing costs less", self.start, ()
        for other in self.others:
            yield other.name, "it keeps numbers of different size apart", other.network, ()
            if self.best.name == other.name:
                self.start, self.prefix = other.network, f"{other.name}: "
                self.context = replace(self.context, make_plan=other.make_plan)
        for remedies in ((BiasCorrection(),), (Equalize(), BiasCorrection()), (Equalize(), Clip(), BiasCorrection())):
            yield self._flat("it costs seconds", remedies)
        if self._over():
            return
        flat = self.remedies[self.best.name]
        share = weight_share(self.best.network, self.tools.learning, self.context.device)
        if 1 - share > _WORTH_IT:
            yield self._flat(f"activations make {100 * (1 - share):.0f} % of the noise", (*flat, RangeRefinement()))
        if share > _MOST:
            yield self._rounded(flat, share)
        best = self.best
        yield f"{best.name} + finetune", "what is left takes training", best.network, (FineTune(),)
        if _WORTH_IT < share <= _MOST:
            yield self._rounded(flat, share)

    def _rounded(self, flat: tuple[Remedy, ...], share: float) -> tuple[str, str, Quantized, tuple[Remedy, ...]]:
        return self._flat(f"weights make {100 * share:.0f} % of the noise", (*flat, LearnedRounding()), (BiasCorrection(),))

    def _flat(
        self, why: str, remedies: Iterable[Remedy], last: tuple[Remedy, ...] = ()
    ) -> tuple[str, str, Quantized, tuple[Remedy, ...]]:
        chosen = (*sorted(remedies, key=lambda r: r.order), *last)
        return self.prefix + " + ".join(r.name for r in chosen), why, self.start, chosen

    def _mix(self) -> None:
        """The fewest ops kept precise: first with weights of 8 bits, if others have 4, then with precise outputs as well."""
        if self._over() or not self.tried:
            return
        flat = min((c for c in self.tried if "finetune" not in c.name), key=lambda c: c.score)
        ranked, narrow = partial(self._ranked, flat.network), set(narrow_weights(flat.network))
        wide = tuple(i for i in ranked(activations=False) if i in narrow) if narrow else ()

        def wider(some: tuple[int, ...]) -> bool:
            return self._keep(flat, MixedPrecision(wide_weights=some), some, "with 8-bit weights")

        def precise(some: tuple[int, ...]) -> bool:
            return self._keep(flat, MixedPrecision(some, wide), some, self.context.precise)

        if not self._fewest(wide, wider) and self.tools.mixes and not self._over():
            self._fewest(ranked(), precise)

    def _ranked(self, network: Quantized, *, activations: bool = True) -> tuple[int, ...]:
        """First outputs of the ops, those that make most noise first; none without time."""
        context = self.context
        rows = sensitivities(
            network,
            self.tools.learning,
            context.device,
            context.progress,
            activations=activations,
            out_of_time=context.out_of_time,
        )
        return tuple(row.output for row in rows)

    def _fewest(self, outputs: Sequence[int], meets: Callable[[tuple[int, ...]], bool]) -> bool:
        """Whether some of the first ``outputs`` meet the goal: their number is doubled until they do, then halved back."""
        low, high = 0, 1
        while outputs and not meets(tuple(outputs[:high])):
            if high >= len(outputs) or self._over():
                return False
            low, high = high, min(2 * high, len(outputs))
        while high - low > 1 and not self._over():
            middle = (low + high) // 2
            low, high = (low, middle) if meets(tuple(outputs[:middle])) else (middle, high)
        return bool(outputs)

    def _keep(self, flat: Candidate, mixed: MixedPrecision, outputs: Sequence[int], how: str) -> bool:
        others = self.remedies[flat.name]
        at = sum(r.order < mixed.order for r in others)
        remedies = (*others[:at], mixed, *others[at:])
        name = f"{flat.name}, {counted(len(outputs), 'op')} {how}"
        return self._try(name, "these make most of the noise", self.start, remedies)

    def _try(self, name: str, why: str, base: Quantized, remedies: tuple[Remedy, ...]) -> bool:
        """Whether the candidate meets the goal. Without time, and where a remedy cannot be applied, there is none."""
        if self.tried and self._over():
            return False
        tools, began = self.tools, time.monotonic()
        context = replace(self.context, deadline=began + _OF_TIME * (self.context.deadline - began))

        def made() -> Quantized:
            self._keep_best()  # only here: what an earlier run tried is not made again, and must not replace what that found
            return apply(remedies, base, tools.learning, context)

        try:
            network, earlier = tools.remember(name, base, made)
        except (UnsupportedError, ResourceError) as error:
            tools.tell(f"{name}: left out, {error}")
            return False
        model = tflite.write(network.integer())
        loss, expected = tools.judge(name, model)
        latency = tools.time(model)
        candidate = Candidate(name, why, network, model, loss, expected, latency, earlier + time.monotonic() - began)
        self.context = replace(self.context, deadline=self.context.deadline - earlier)
        self.tried.append(candidate)
        self.remedies[name] = remedies
        tools.tell(f"{candidate}, before the interruption" if earlier else str(candidate))
        met = self._meets(candidate)
        if met:
            self.met = candidate
        return met

    def _meets(self, candidate: Candidate) -> bool:
        """Whether nothing better need be looked for: the goal is met, and not by a hope."""
        loss, goal = candidate.loss, self.tools.goal
        nothing_lost = loss.value <= 0 and candidate.score <= 0
        return candidate.score <= goal.limit and (nothing_lost or not goal.are_few(loss))

    def _keep_best(self) -> None:
        if self.tried:
            self.tools.keep(self.best.model, str(self.best))

    def _over(self) -> bool:
        return self.context.out_of_time()
