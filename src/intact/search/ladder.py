"""Finds the cheapest network that meets a limit: a ladder from cheap to dear, judged on the real runtime."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Final, TypeAlias, final

import numpy as np

from intact.errors import ResourceError, UnsupportedError
from intact.formats import tflite
from intact.measure.packed import write_packed
from intact.network.graph import Graph
from intact.planning.quantized import Quantized
from intact.remedies import apply
from intact.remedies.base import Context, Remedy
from intact.remedies.bias import BiasCorrection
from intact.remedies.clip import Clip
from intact.remedies.compensate import CompensatedRounding
from intact.remedies.equalize import Equalize
from intact.remedies.finetune import FineTune
from intact.remedies.mixed import MixedPrecision, WiderWeights
from intact.remedies.ranges import RangeRefinement
from intact.remedies.rounding import LearnedRounding
from intact.search.candidate import Candidate, fitting
from intact.search.evaluator import Evaluator
from intact.simulate.noise import Sensitivity, input_share, narrow_weights, sensitivities, weight_share
from intact.wording import counted

#: Files up to so many times each other's bytes cost as much.
_AS_LARGE: Final = 1.01
#: Below this part of the noise, a cause is not worth a remedy of its own.
_WORTH_IT: Final = 0.25
#: The same for rounding the inputs, which takes one more pass to be rid of: 0.7 dB.
_OF_INPUTS: Final = 0.15
#: From this part of the noise on, what weights make comes first: learned rounding is quicker than fine-tuning.
_MOST: Final = 0.5
#: The part of the time left that one candidate may take, so that there is some for what comes after it: learned rounding is
#: most often followed by fine-tuning, and that by little.
_OF_TIME: Final = 0.6
_OF_TIME_TO_LEARN: Final[Mapping[type[Remedy], float]] = MappingProxyType({FineTune: 0.8, LearnedRounding: 0.4})
#: Ops that are few enough to be kept precise before anything is learned, where that many limits are lost.
_FEW: Final = 4
_FAR: Final = 4.0
#: The part of a file that weights of 8 bits may add where others have fewer, before anything is learned, and the part of the
#: noise of all weights that an op makes to be worth it.
_MAY_ADD: Final = 0.04
_NOISY: Final = 0.01

#: Name, reason, network to start from and what to do to it.
Rung: TypeAlias = tuple[str, str, Quantized, tuple[Remedy, ...]]


_WIDE: Final = "with 8-bit weights"
_MOST_NOISE: Final = "these make most of the noise"
_IN_VAIN: Final = "equalize gained nothing by itself"


@final
@dataclass(frozen=True)
class Other:
    """Another network to start from, what tells it apart, and what plans it anew, both ways, as its ``context`` says."""

    name: str
    network: Quantized
    context: Context


#: What makes the network with float32 inputs, where the types of inputs were left open.
FloatInput: TypeAlias = Callable[[], Other]


def search(
    start: Quantized, evaluator: Evaluator, others: Sequence[Other] = (), float_input: FloatInput | None = None
) -> tuple[tuple[Candidate, ...], Candidate]:
    """Everything tried, in order, and the one to take: the cheapest that meets the goal, else the one that loses least.

    The ladder is climbed from that one of ``start`` and ``others`` which loses least by itself; from that of ``float_input``
    where rounding the inputs is what is lost.
    Where the selection samples are few (:meth:`Goal.are_few`), to meet the goal by the estimate ends nothing: the search goes
    on until nothing measurable is lost, nothing is left to try or time is up, and the one that loses least is taken.
    """
    ladder = Ladder(start, evaluator, others, float_input)
    ladder.climb()
    return tuple(ladder.tried), ladder.met or ladder.best


@final
class Ladder:
    """One search: what it may use, what was tried so far, and the rungs that it climbs.

    ``must_fit``: whether what a device cannot hold is no candidate, rather than one to make smaller.
    """

    def __init__(
        self,
        start: Quantized,
        evaluator: Evaluator,
        others: Sequence[Other] = (),
        float_input: FloatInput | None = None,
        *,
        must_fit: bool = True,
    ) -> None:
        self.evaluator, self.context, self.must_fit = evaluator, evaluator.context, must_fit
        #: What the rungs begin with; as planned it has no name.
        self.begun = Other("", start, evaluator.context)
        self.others, self.float_input = others, float_input
        self.tried: list[Candidate] = []
        self.remedies: dict[str, tuple[Remedy, ...]] = {}
        #: What was there before weights were rounded otherwise than to the nearest, by the name of what came of it.
        self.before: dict[str, Quantized] = {}
        self.met: Candidate | None = None
        #: What to have at hand should the run be interrupted, where that is not what loses least.
        self.kept: Candidate | None = None

    @property
    def best(self) -> Candidate:
        """The candidate that loses least so far; the earlier of two that lose as much.

        Few samples cannot tell candidates apart that lose about as much: of those within the interval of the least that take no
        more bytes, the one whose probabilities are closest to float's.
        """
        tried = fitting(self.tried)
        least = min(tried, key=lambda c: c.score)
        if least.divergence is None or least.loss.high is None:
            return least
        most = _AS_LARGE * least.bytes
        rivals = (c for c in tried if c.score <= least.loss.high and c.bytes <= most)
        return min(rivals, key=lambda c: math.inf if c.divergence is None else c.divergence)

    def climb(self) -> None:
        """Rung by rung until one meets the goal or time is up."""
        for name, why, base, remedies in self._rungs():
            if self.attempt(name, why, base, remedies):
                return
        self._mix()
        self._train_best()
        self._keep_best()
        if self.met is None:
            self.evaluator.tell("time is up" if self._over() else "nothing is left to try")

    def _rungs(self) -> Iterator[Rung]:
        """The rungs from cheap to dear; each sees what came of those before."""
        yield "as planned", "nothing costs less", self.begun.network, ()
        for other in self.others:
            yield other.name, "it keeps numbers of different size apart", other.network, ()
            if self.best.name == other.name:
                self._begin_with(other)
        for remedies in ((BiasCorrection(),), (Equalize(), BiasCorrection())):
            yield self._flat("it costs seconds", remedies)
        equalized = self.tried[-1].network.rescaled is not None
        in_vain = equalized and not _has(self.remedies[self.best.name], Equalize)
        yield self._flat("it costs seconds", (Equalize(), Clip(), BiasCorrection()))
        if in_vain:
            yield self._flat(_IN_VAIN, (Clip(), BiasCorrection()))
        if self._over():
            return
        compensated = partial(self._compensated, equalized_in_vain=in_vain)
        for first in (self._widths_first, compensated, self._from_float_input, self._precise_first):
            yield from first()
            if self._over():
                return
        best = self.best
        flat, before = self.remedies[best.name], self._unrounded(best)
        share = weight_share(best.network, self.evaluator.learning, self.context.device, before=before.graph)
        if 1 - share > _WORTH_IT:
            yield self._flat(f"activations make {100 * (1 - share):.0f} % of the noise", (*flat, RangeRefinement()))
        if share > _MOST:
            yield self._rounded(flat, share)
        best = self.best
        yield f"{best.name} + finetune", "what is left takes training", best.network, (FineTune(),)
        if _WORTH_IT < share <= _MOST:
            yield self._rounded(flat, share)

    def _rounded(self, flat: tuple[Remedy, ...], share: float) -> Rung:
        flat = (*_without(flat, CompensatedRounding, BiasCorrection), BiasCorrection())
        return self._flat(f"weights make {100 * share:.0f} % of the noise", (*flat, LearnedRounding()), (BiasCorrection(),))

    def _compensated(self, *, equalized_in_vain: bool) -> Iterator[Rung]:
        """Weights rounded so that they make up for each other: it takes no learning, and corrects biases as well.

        What equalize does for weights is not needed then, and activations may lose by it: where it gained nothing by itself, it
        is left out.
        """
        flat = _without(self.remedies[self.best.name], BiasCorrection, *([Equalize] if equalized_in_vain else []))
        yield self._flat("it takes one pass over the samples", (*flat, CompensatedRounding()))

    def _begin_with(self, other: Other) -> None:
        made, self.begun = other.context, other
        self.context = replace(self.context, make_plan=made.make_plan, by_extremes=made.by_extremes)

    def _from_float_input(self) -> Iterator[Rung]:
        """Inputs of real numbers, and the ops that read them in float, where rounding them makes much of the noise."""
        best = self.best
        if self.float_input is None or not self.evaluator.mixes:
            return
        if not _are_few(_readers(best.network.graph), best.network.graph):
            return
        share = input_share(best.network, self.evaluator.learning, self.context.device)
        if share < _OF_INPUTS or self._over():
            return
        before, other = self.begun, self.float_input()
        wide = (r.wide_weights for r in self.remedies[best.name] if isinstance(r, MixedPrecision))
        mixed = MixedPrecision(_readers(other.network.graph), next(wide, ()))
        self._begin_with(other)
        rung = self._flat(
            f"rounding the input makes {100 * share:.0f} % of the noise",
            (*_without(self.remedies[best.name], MixedPrecision), mixed),
        )
        yield rung
        if self.best.name != rung[0]:
            self._begin_with(before)

    def _unrounded(self, candidate: Candidate) -> Quantized:
        """The candidate before its weights were rounded otherwise than to the nearest: only there does their noise show."""
        remedies, name = self.remedies[candidate.name], candidate.name
        if not any(isinstance(r, (CompensatedRounding, LearnedRounding)) for r in remedies):
            return candidate.network
        if name not in self.before:
            rounding = (CompensatedRounding, LearnedRounding, BiasCorrection)
            flat = _without(remedies, *rounding)
            alike = (c.network for c in self.tried if _without(self.remedies[c.name], BiasCorrection) == flat)
            self.before[name] = next(alike, None) or apply(flat, self.begun.network, self.evaluator.learning, self.context)
        return self.before[name]

    def _widths_first(self) -> Iterator[Rung]:
        """Weights of 8 bits for the ops that make most noise for what they take, as far as they take little of the file."""
        base = self.best
        adds = narrow_weights(base.network)
        if not adds:
            return
        rows = [row for row in self._noise(base, activations=False) if row.output in adds and row.share >= _NOISY]
        room, chosen = _MAY_ADD * len(base.model), list[Sensitivity]()
        for row in sorted(rows, key=lambda row: row.share / adds[row.output], reverse=True):
            if adds[row.output] <= room:
                room -= adds[row.output]
                chosen.append(row)
        if chosen:
            noise, more = 100 * sum(row.share for row in chosen), sum(adds[row.output] for row in chosen)
            why = f"these make {noise:.0f} % of the noise of weights, for {more:,.0f} bytes more"
            yield self._kept(base, MixedPrecision(wide_weights=tuple(row.output for row in chosen)), why)

    def _flat(self, why: str, remedies: Iterable[Remedy], last: tuple[Remedy, ...] = ()) -> Rung:
        chosen = (*sorted(remedies, key=lambda r: r.order), *last)
        prefix = f"{self.begun.name}: " if self.begun.name else ""
        return prefix + " + ".join(r.name for r in chosen), why, self.begun.network, chosen

    def _precise_first(self) -> Iterator[Rung]:
        """Few ops kept precise, where they make most of the noise and much is lost: what learning would mend all ops for.

        With narrow weights that is for later: wider ones cost no time, and are not tried out yet.
        """
        far = self.best.score > _FAR * self.evaluator.goal.limit
        if not self.evaluator.mixes or not far or narrow_weights(self.best.network):
            return
        rows = self._noise(self.best)
        summed = np.cumsum([row.share for row in rows])
        count = int(np.searchsorted(summed, _MOST)) + 1
        if 0 < count <= _FEW and count < len(rows) / _FEW:
            mixed = MixedPrecision(tuple(row.output for row in rows[:count]))
            yield self._kept(self.best, mixed, f"these make {100 * summed[count - 1]:.0f} % of the noise")

    def _mix(self) -> None:
        """The fewest ops kept precise: first with weights of 8 bits, if others have 4, then with precise outputs as well."""
        if self._over() or not self.tried:
            return
        flat = min((c for c in self.tried if "finetune" not in c.name), key=lambda c: c.score)
        network, learned = flat.network, _has(self.remedies[flat.name], LearnedRounding)
        narrow = narrow_weights(network)
        wide = tuple(row.output for row in self._noise(flat, activations=False) if row.output in narrow) if narrow else ()

        def wider(some: tuple[int, ...]) -> bool:
            if not learned:
                return self.attempt(*self._kept(flat, MixedPrecision(wide_weights=some)))
            name = f"{flat.name}, {counted(len(some), 'op')} {_WIDE}"
            return self.attempt(name, _MOST_NOISE, network, (WiderWeights(some, self._unrounded(flat)), BiasCorrection()))

        def precise(some: tuple[int, ...]) -> bool:
            return self.attempt(*self._kept(flat, MixedPrecision(some, wide)))

        if not self._fewest(wide, wider) and self.evaluator.mixes and not self._over():
            self._fewest(tuple(row.output for row in self._noise(flat)), precise)

    def _train_best(self) -> None:
        """What mixing found trained, where only that may be left to meet the goal."""
        best = self.best if self.tried else None
        if self.met is None and best is not None and "finetune" not in best.name and _WIDE in best.name and not self._over():
            self.attempt(f"{best.name} + finetune", "what is left takes training", best.network, (FineTune(),))

    def _noise(self, candidate: Candidate, *, activations: bool = True) -> tuple[Sensitivity, ...]:
        """The ops, those that make most noise first; none without time."""
        context = self.context
        return sensitivities(
            self._unrounded(candidate),
            self.evaluator.learning,
            context.device,
            context.progress,
            activations=activations,
            out_of_time=context.out_of_time,
        )

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

    def _kept(self, flat: Candidate, mixed: MixedPrecision, why: str = _MOST_NOISE) -> Rung:
        """``flat`` made anew with some ops kept precise, besides those of which it has weights of 8 bits already."""
        others = self.remedies[flat.name]
        if mixed.outputs and mixed.wide_weights:  # all weights have 8 bits then, whose rounding is not worth learning
            others = _without(others, LearnedRounding)
        ops, how = (mixed.outputs, self.context.precise) if mixed.outputs else (mixed.wide_weights, _WIDE)
        name = f"{flat.name}, {counted(len(ops), 'op')} {how}"
        for earlier in (r for r in others if isinstance(r, MixedPrecision)):
            mixed = replace(
                mixed,
                outputs=tuple(dict.fromkeys((*earlier.outputs, *mixed.outputs))),
                wide_weights=tuple(dict.fromkeys((*earlier.wide_weights, *mixed.wide_weights))),
            )
        others = _without(others, MixedPrecision)
        at = sum(r.order < mixed.order for r in others)
        return name, why, self.begun.network, (*others[:at], mixed, *others[at:])

    def attempt(self, name: str, why: str, base: Quantized, remedies: tuple[Remedy, ...], of_time: float | None = None) -> bool:
        """Whether the candidate meets the goal. Without time, and where a remedy cannot be applied, there is none.

        ``of_time``: the part of the time left that it may take, where its remedies do not decide that.
        """
        if self.tried and self._over():
            return False
        evaluator, began = self.evaluator, time.monotonic()
        learns = (_OF_TIME_TO_LEARN[type(remedy)] for remedy in reversed(remedies) if type(remedy) in _OF_TIME_TO_LEARN)
        part = next(learns, _OF_TIME) if of_time is None else of_time
        context = replace(self.context, deadline=began + part * (self.context.deadline - began))

        def made() -> Quantized:
            self._keep_best()  # only here: what an earlier run tried is not made again, and must not replace what that found
            return apply(remedies, base, evaluator.learning, context)

        try:
            network, earlier = evaluator.remember(name, base, made)
        except (UnsupportedError, ResourceError) as error:
            evaluator.tell(f"{name}: left out, {error}")
            return False
        integer = network.integer()
        model, packed = tflite.write(integer), write_packed(integer) if evaluator.packs else b""
        misfit = evaluator.misfit(integer, packed or model)
        lost = evaluator.judge(name, model)
        latency = evaluator.time(model)
        loss, seconds = lost.measured, earlier + time.monotonic() - began
        made_of = (name, why, network, model, loss, lost.expected, latency, seconds)
        candidate = Candidate(*made_of, packed=packed, divergence=lost.divergence, misfit=misfit)
        self.context = replace(self.context, deadline=self.context.deadline - earlier)
        self.tried.append(candidate)
        self.remedies[name] = remedies
        evaluator.tell(f"{candidate}, before the interruption" if earlier else str(candidate))
        met = evaluator.goal.is_met(loss, candidate.score) and not (misfit and self.must_fit)
        if met:
            self.met = candidate
        return met

    def _keep_best(self) -> None:
        if self.tried:
            kept = self.kept or self.best
            self.evaluator.keep(kept.model, str(kept))

    def _over(self) -> bool:
        return self.context.out_of_time()


def _without(remedies: Iterable[Remedy], *kinds: type[Remedy]) -> tuple[Remedy, ...]:
    return tuple(remedy for remedy in remedies if not isinstance(remedy, kinds))


def _has(remedies: Iterable[Remedy], kind: type[Remedy]) -> bool:
    return any(isinstance(remedy, kind) for remedy in remedies)


def _readers(graph: Graph) -> tuple[int, ...]:
    """The first outputs of the ops that read an input of the graph."""
    return tuple(op.output for op in graph.ops if not set(graph.inputs).isdisjoint(op.reads))


def _are_few(ops: Sequence[int], graph: Graph) -> bool:
    """Whether the network stays one of integers with these kept precise."""
    return 0 < len(ops) <= _FEW and len(ops) < len(graph.ops) / _FEW
