"""Finds the smallest network that meets a limit: each weight gets its own width, the least noise for the bytes first.

What the weights of each op cost at each width gives a chain of networks (:mod:`intact.search.chain`). The ladder finds one of
8 bits that meets the limit; from there the chain is searched by halving its bytes. Then what only meets the limit once it is
trained is tried; each such network begins as one that was trained before it, so that nothing is learned anew.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, final

from intact.planning.quantized import Quantized
from intact.planning.request import Request
from intact.remedies.base import Remedy
from intact.remedies.bias import BiasCorrection
from intact.remedies.finetune import FineTune
from intact.remedies.widths import ChosenWidths, said
from intact.search.candidate import Candidate
from intact.search.chain import Point
from intact.search.evaluator import Evaluator
from intact.search.ladder import Ladder, Other
from intact.search.points import priced

#: Fewer bytes than this part of the plain file are not worth another candidate.
_WORTH_IT: Final = 0.01
#: How many times the noise that the limit allows without training, training is first asked to take back.
_TRAINED_AWAY: Final = 8.0
#: The same at least, once trained networks have met the limit.
_LEAST_STEP: Final = 1.5
#: The part of the time left that one network may be trained for.
_OF_TIME: Final = 0.45
#: Seconds that are too few to train anything in.
_TOO_FEW: Final = 10.0

#: Everything tried, in order, the one to take, and what there is to say of it.
Found = tuple[tuple[Candidate, ...], Candidate, str]


def smallest(start: Quantized, evaluator: Evaluator, request: Request, others: Sequence[Other] = ()) -> Found:
    """Everything tried, in order; the smallest that meets the goal, else the one that loses least; and what came of it."""
    search = _Smallest(start, evaluator, request, others)
    search.run()
    tried = tuple(search.ladder.tried)
    met = [c for c in tried if evaluator.goal.is_met(c.loss, c.score) and not c.misfit]
    taken = min(met, key=lambda c: (c.bytes, c.score)) if met else search.ladder.best
    return tried, taken, search.summary(taken, bool(met))


@final
class _Smallest:
    def __init__(self, start: Quantized, evaluator: Evaluator, request: Request, others: Sequence[Other]) -> None:
        self.evaluator, self.request = evaluator, request
        self.ladder = Ladder(start, evaluator, others, must_fit=False)
        self.points: tuple[Point, ...] = ()
        self.plain = 0
        self.last: tuple[Remedy, ...] = (BiasCorrection(),)

    def run(self) -> None:
        """All of it, as far as there is time."""
        self.ladder.climb()
        dear = self.ladder.met
        if dear is None:
            return
        self.plain, self.ladder.kept = dear.bytes, dear
        if self._over():
            return
        base, self.points = priced(dear.network, self.evaluator, self.ladder.context, self.request)
        if len(self.points) < 2:
            return
        found = self._halve(base)
        if not self._over():
            self._train(base, found)

    def summary(self, taken: Candidate, met: bool) -> str:
        """What came of it, in words."""
        if not met:
            return "no network of 8-bit weights met the limit, so that nothing narrower was looked for"
        if taken.bytes < self.plain:
            saved = 100 * (1 - taken.bytes / self.plain)
            return f"the smallest that met the limit: {taken.name}, {taken.bytes:,} bytes, {saved:.0f} % less than at 8 bits"
        if not self.points:
            why = "time was up before any width was measured" if self._over() else "no weight is smaller at another width"
            return f"nothing narrower than 8 bits was tried: {why}"
        return "nothing narrower than 8 bits met the limit"

    def _halve(self, base: Quantized) -> int:
        """The last point of the chain that meets the goal without training, found by halving the bytes between."""
        low, high = 0, len(self.points)
        while high - low > 1 and not self._over():
            end = self.points[min(high, len(self.points) - 1)].bytes
            if high < len(self.points) and self.points[low].bytes - end < _WORTH_IT * self.plain:
                break
            wanted = (self.points[low].bytes + end) / 2
            middle = min(range(low + 1, high), key=lambda n: abs(self.points[n].bytes - wanted))
            made = self._cheap(middle, base)
            low, high = (middle, high) if made else (low, middle)
        return low

    def _cheap(self, n: int, base: Quantized) -> bool:
        """Whether point ``n`` meets the goal with biases corrected, or as it is where that cannot be had."""
        name, remedies = self._named(n), (ChosenWidths(self.points[n].widths, self.request), *self.last)
        before = len(self.ladder.tried)
        met = self._attempt(name, self._why(n), base, remedies)
        if len(self.ladder.tried) > before or self._over() or not self.last:
            return met
        self.last = ()
        return self._attempt(name, self._why(n), base, remedies[:1])

    def _attempt(self, name: str, why: str, base: Quantized, remedies: tuple[Remedy, ...], part: float | None = None) -> bool:
        """Whether the candidate meets the goal; if it does, and is smaller than what did before, it is what to have at hand."""
        met, kept = self.ladder.attempt(name, why, base, remedies, part), self.ladder.kept
        if met and (kept is None or self.ladder.tried[-1].bytes < kept.bytes):
            self.ladder.kept = self.ladder.tried[-1]
        return met

    def _train(self, base: Quantized, found: int) -> None:
        """Smaller points once they are trained, nearer and nearer to what is known to meet the goal or not.

        Each begins as the last trained one that met it; until one does, as the last.
        """
        low, high = found, len(self.points)
        network, trained, any_met = base, False, False
        n = self._beyond(low, high, _TRAINED_AWAY)
        while n is not None and self.ladder.context.deadline - time.monotonic() > _TOO_FEW:
            point, count = self.points[n], len(self.ladder.tried)
            widths = ChosenWidths(point.widths, self.request, base)
            remedies: tuple[Remedy, ...] = (widths, FineTune()) if trained else (widths, *self.last, FineTune())
            name = f"{self._named(n)} + finetune"
            met = self._attempt(name, f"{self._why(n)}, once trained", network, remedies, _OF_TIME)
            if len(self.ladder.tried) == count:
                return
            if met or not any_met:
                network, trained = self.ladder.tried[-1].network, True
            any_met = any_met or met
            low, high = (n, high) if met else (low, n)
            n = self._beyond(low, high, self._room() if met else _TRAINED_AWAY)

    def _room(self) -> float:
        """How many times the noise to ask for next, where the last network met the goal: as many as it lost less."""
        limit, score = self.evaluator.goal.limit, self.ladder.tried[-1].score
        return min(_TRAINED_AWAY, max(_LEAST_STEP, limit / max(score, limit / _TRAINED_AWAY, 1e-12)))

    def _beyond(self, low: int, high: int, times: float) -> int | None:
        """The point between with at most so many ``times`` the noise of ``low``, or half way to ``high`` in ratios of noise.

        None where nothing between saves enough.
        """
        points = self.points
        floor = max(points[low].noise, 1e-12)
        if high < len(points):
            times = min(times, (max(points[high].noise, floor) / floor) ** 0.5)
        between = range(low + 1, high)
        if not between:
            return None
        quiet = [n for n in between if points[n].noise <= times * floor]
        n = quiet[-1] if quiet else between[0]
        saved = points[low].bytes - points[n].bytes
        if saved < _WORTH_IT * self.plain:  # a step further, if there is one that is worth it
            further = (k for k in between if points[low].bytes - points[k].bytes >= _WORTH_IT * self.plain)
            return next(further, None)
        return n

    def _named(self, n: int) -> str:
        return f"weights {self.points[0].bytes - self.points[n].bytes:,} bytes smaller"

    def _why(self, n: int) -> str:
        return f"{said(self.points[n].widths)}: the least noise for these bytes"

    def _over(self) -> bool:
        return self.ladder.context.out_of_time()
