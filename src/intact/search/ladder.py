"""Finds the cheapest network that meets a limit: a ladder from cheap to dear, judged on the real runtime."""

from __future__ import annotations

import abc
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeAlias, final

from intact.data import Samples
from intact.errors import ResourceError, UnsupportedError
from intact.formats import tflite
from intact.measure.measurement import Measurement
from intact.planning.quantized import Quantized
from intact.remedies import apply
from intact.remedies.base import Context, Remedy
from intact.remedies.bias import BiasCorrection
from intact.remedies.clip import Clip
from intact.remedies.equalize import Equalize
from intact.remedies.finetune import FineTune
from intact.remedies.mixed import MixedPrecision
from intact.remedies.ranges import RangeRefinement
from intact.remedies.rounding import LearnedRounding
from intact.search.candidate import Candidate
from intact.search.goal import Goal
from intact.simulate.noise import narrow_weights, sensitivities, weight_share
from intact.wording import counted

#: Below this part of the noise, a cause is not worth a remedy of its own.
_WORTH_IT: Final = 0.25
#: From this part of the noise on, what weights make comes first: learned rounding is quicker than fine-tuning.
_MOST: Final = 0.5
#: The part of the time left that one remedy that learns may take, so that there is some for what comes after it.
_OF_TIME: Final = 0.6

#: Name, reason, network to start from and what to do to it.
Rung: TypeAlias = tuple[str, str, Quantized, tuple[Remedy, ...]]


class Evaluator(abc.ABC):
    """What candidates are put through, and where the search keeps them: the run that it is a part of.

    ``learning`` are the samples that remedies learn from, ``mixes`` whether the target takes a mixture of precisions.
    """

    goal: Goal
    learning: Samples
    context: Context
    mixes: bool

    @abc.abstractmethod
    def judge(self, name: str, model: bytes) -> tuple[Measurement, float | None]:
        """What the file loses on the selection samples, and the loss that the float network's confidence expects."""

    @abc.abstractmethod
    def time(self, model: bytes) -> float:
        """The file's latency in milliseconds."""

    @abc.abstractmethod
    def remember(self, name: str, base: Quantized, make: Callable[[], Quantized]) -> tuple[Quantized, float]:
        """What ``make`` makes of ``base``, and 0; or what it made before an interruption, and the seconds that it took then."""

    @abc.abstractmethod
    def keep(self, model: bytes, about: str) -> None:
        """Have ``model`` at hand should the run be interrupted; ``about`` says how good it is."""

    @abc.abstractmethod
    def tell(self, line: str) -> None:
        """Say a line to whoever waits."""


@final
@dataclass(frozen=True)
class Other:
    """Another network to start from, what tells it apart, and what plans it anew, both ways, as its ``context`` says."""

    name: str
    network: Quantized
    context: Context


def search(start: Quantized, evaluator: Evaluator, others: Sequence[Other] = ()) -> tuple[tuple[Candidate, ...], Candidate]:
    """Everything tried, in order, and the one to take: the cheapest that meets the goal, else the one that loses least.

    The ladder is climbed from that one of ``start`` and ``others`` which loses least by itself.
    Where the selection samples are few (:meth:`Goal.are_few`), to meet the goal by the estimate ends nothing: the search goes
    on until nothing measurable is lost, nothing is left to try or time is up, and the one that loses least is taken.
    """
    ladder = _Ladder(start, evaluator, others)
    ladder.climb()
    return tuple(ladder.tried), ladder.met or ladder.best


class _Ladder:
    def __init__(self, start: Quantized, evaluator: Evaluator, others: Sequence[Other]) -> None:
        self.start, self.evaluator, self.context, self.others = start, evaluator, evaluator.context, others
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
            self.evaluator.tell("time is up" if self._over() else "nothing is left to try")

    def _rungs(self) -> Iterator[Rung]:
        """The rungs from cheap to dear; each sees what came of those before."""
        yield "as planned", "nothing costs less", self.start, ()
        for other in self.others:
            yield other.name, "it keeps numbers of different size apart", other.network, ()
            if self.best.name == other.name:
                self.start, self.prefix = other.network, f"{other.name}: "
                made = other.context
                self.context = replace(self.context, make_plan=made.make_plan, by_extremes=made.by_extremes)
        for remedies in ((BiasCorrection(),), (Equalize(), BiasCorrection()), (Equalize(), Clip(), BiasCorrection())):
            yield self._flat("it costs seconds", remedies)
        if self._over():
            return
        flat = self.remedies[self.best.name]
        share = weight_share(self.best.network, self.evaluator.learning, self.context.device)
        if 1 - share > _WORTH_IT:
            yield self._flat(f"activations make {100 * (1 - share):.0f} % of the noise", (*flat, RangeRefinement()))
        if share > _MOST:
            yield self._rounded(flat, share)
        best = self.best
        yield f"{best.name} + finetune", "what is left takes training", best.network, (FineTune(),)
        if _WORTH_IT < share <= _MOST:
            yield self._rounded(flat, share)

    def _rounded(self, flat: tuple[Remedy, ...], share: float) -> Rung:
        return self._flat(f"weights make {100 * share:.0f} % of the noise", (*flat, LearnedRounding()), (BiasCorrection(),))

    def _flat(self, why: str, remedies: Iterable[Remedy], last: tuple[Remedy, ...] = ()) -> Rung:
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

        if not self._fewest(wide, wider) and self.evaluator.mixes and not self._over():
            self._fewest(ranked(), precise)

    def _ranked(self, network: Quantized, *, activations: bool = True) -> tuple[int, ...]:
        """First outputs of the ops, those that make most noise first; none without time."""
        context = self.context
        rows = sensitivities(
            network,
            self.evaluator.learning,
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
        evaluator, began = self.evaluator, time.monotonic()
        context = replace(self.context, deadline=began + _OF_TIME * (self.context.deadline - began))

        def made() -> Quantized:
            self._keep_best()  # only here: what an earlier run tried is not made again, and must not replace what that found
            return apply(remedies, base, evaluator.learning, context)

        try:
            network, earlier = evaluator.remember(name, base, made)
        except (UnsupportedError, ResourceError) as error:
            evaluator.tell(f"{name}: left out, {error}")
            return False
        model = tflite.write(network.integer())
        loss, expected = evaluator.judge(name, model)
        latency = evaluator.time(model)
        candidate = Candidate(name, why, network, model, loss, expected, latency, earlier + time.monotonic() - began)
        self.context = replace(self.context, deadline=self.context.deadline - earlier)
        self.tried.append(candidate)
        self.remedies[name] = remedies
        evaluator.tell(f"{candidate}, before the interruption" if earlier else str(candidate))
        met = evaluator.goal.is_met(loss, candidate.score)
        if met:
            self.met = candidate
        return met

    def _keep_best(self) -> None:
        if self.tried:
            self.evaluator.keep(self.best.model, str(self.best))

    def _over(self) -> bool:
        return self.context.out_of_time()
