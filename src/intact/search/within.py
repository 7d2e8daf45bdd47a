"""Finds the network that loses least of those a device holds: weights get fewer bits, the least noise for the bytes first."""

from __future__ import annotations

from typing import Final, final

from intact.formats import tflite
from intact.measure.packed import write_packed
from intact.planning.quantized import Quantized
from intact.planning.request import Request
from intact.remedies import apply
from intact.remedies.base import Remedy
from intact.remedies.bias import BiasCorrection
from intact.remedies.compensate import CompensatedRounding
from intact.remedies.finetune import FineTune
from intact.remedies.widths import ChosenWidths, said
from intact.search.candidate import Candidate, fitting
from intact.search.chain import Point
from intact.search.evaluator import Evaluator
from intact.search.ladder import Ladder
from intact.search.points import priced
from intact.search.smallest import Found

#: The part of the time left that training the network may take.
_OF_TIME: Final = 0.8


def within(start: Quantized, evaluator: Evaluator, request: Request) -> Found:
    """Everything tried, in order; the one that meets the goal, else the one that loses least, of those that a device holds; and
    what came of it. ``start`` is beyond its flash.

    Where no widths make it small enough, the narrowest is tried, and none fits. Nor does any where those that the flash holds
    are unpacked into more RAM than there is.
    """
    search = _Within(start, evaluator, request)
    search.run()
    tried = tuple(search.ladder.tried)
    taken = search.ladder.met or min(fitting(tried), key=lambda c: c.score)
    return tried, taken, search.summary(taken)


@final
class _Within:
    def __init__(self, start: Quantized, evaluator: Evaluator, request: Request) -> None:
        self.start, self.evaluator, self.request = start, evaluator, request
        self.ladder = Ladder(start, evaluator)
        self.points: tuple[Point, ...] = ()
        self.at = 0

    def run(self) -> None:
        """From what costs nothing to what takes learning, until the goal is met or time is up."""
        base, self.points = priced(self.start, self.evaluator, self.ladder.context, self.request)
        if not self.points:
            self.ladder.attempt("as planned", "there was no time to look for widths", self.start, ())
            return
        self.at = self._first_that_fits(base)
        point = self.points[self.at]
        widths, why = ChosenWidths(point.widths, self.request), f"{said(point.widths)}: the least noise that fits"
        ways: tuple[tuple[Remedy, ...], ...] = ((widths, BiasCorrection()), (widths, CompensatedRounding()))
        for remedies in ways:
            name = f"weights that fit + {remedies[-1].name}"
            if self.ladder.attempt(name, why, base, remedies) or any(tried.misfit for tried in self.ladder.tried):
                return  # no remedy takes less
        if not self.ladder.tried:  # neither could be had of it
            self.ladder.attempt("weights that fit", why, base, (widths,))
        if self.ladder.tried and not self.ladder.context.out_of_time():
            best = min(self.ladder.tried, key=lambda c: c.score)
            name = f"{best.name} + finetune"
            self.ladder.attempt(name, "what is left takes training", best.network, (FineTune(),), _OF_TIME)

    def summary(self, taken: Candidate) -> str:
        """What came of it, in words."""
        if not self.points:
            return f"the network {taken.misfit}, and time was up before any width was measured"
        if taken.misfit and self.at == len(self.points) - 1:
            return f"the network {taken.misfit} with the fewest bits that there are"
        if taken.misfit:
            return (
                f"the network {taken.misfit} with the widest weights that the flash holds: {said(self.points[self.at].widths)}"
            )
        return f"at 8 bits the network does not fit: {taken.why}"

    def _first_that_fits(self, base: Quantized) -> int:
        """The widest point that the flash holds; the last where it holds none."""
        low, high = 0, len(self.points) - 1
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self._fits(self.points[middle], base) else (middle + 1, high)
        return low

    def _fits(self, point: Point, base: Quantized) -> bool:
        made = apply((ChosenWidths(point.widths, self.request),), base, self.evaluator.learning, self.ladder.context)
        integer = made.integer()
        file = write_packed(integer) if self.evaluator.packs else b""
        return not self.evaluator.is_beyond_flash(integer, file or tflite.write(integer))
