"""The cheap remedies that a run takes by itself: those whose network is clearly better on samples that made none of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias, final

import numpy as np

from intact.data import Samples
from intact.errors import ResourceError, UnsupportedError
from intact.measure import cost
from intact.measure.held_out import CLEAR, TURNS, clear_gain, folds, gain, mean_gains
from intact.measure.outputs import without_mean
from intact.network.graph import Graph
from intact.planning.quantized import Quantized
from intact.progress import Progress
from intact.remedies import apply, known
from intact.run.as_planned import Start, context_of, float_outputs, plan_of
from intact.simulate.engine import Program, run_batches

Outputs: TypeAlias = dict[str, np.ndarray]
#: Remedies by name, each applied to what the one before made.
Way: TypeAlias = tuple[str, ...]

#: Samples that are looked at: at most, and at least; with fewer there is nothing to hold out.
_MOST: Final = 128
_LEAST: Final = 16
#: Samples that are held out in all turns together, where there are as many.
_VOICES: Final = 16
#: Multiply-accumulates of one pass over all: a network of 0.3 billion, as MobileNetV2, is looked at with 67 samples.
_MACS: Final = 2e10
#: Multiply-accumulates of one sample from which nothing is tried: what takes that long is asked for.
_TOO_LARGE: Final = 2e10
#: dB from which an output, its mean left out, is true enough.
_ENOUGH: Final = 40.0
#: dB below which the quickest remedies have not helped, and one that takes longer is tried.
_POOR: Final = 20.0


@final
@dataclass(frozen=True)
class Taken:
    """Remedies by name, in their order, and the dB by which the outputs are better with them on samples held out."""

    names: Way = ()
    gain: float = 0.0

    def __str__(self) -> str:
        return f"took {', '.join(self.names)}: {self.gain:.1f} dB better at the output than without on samples held out"


def samples_for(graph: Graph, calibration: Samples) -> Samples:
    """As many of the samples, evenly spread, as a network of this size is looked at with."""
    each = max(cost.macs(graph).value, 1.0)
    return calibration.spread(int(min(_MOST, max(2 * _LEAST, _MACS / each))))


def choose(start: Start, calibration: Samples, progress: Progress, device: str = "cpu") -> Taken:
    """Which of equalize, clip and bias, or compensate, the network of ``start`` gains by, or none of them.

    In turns a quarter of the samples is held out: the network is made from the others, without and with remedies, and what
    each makes of those held out is compared in simulation. More remedies are taken only for a clear gain over fewer. Nothing
    is tried where samples are few, build on each other or are true as it is.
    """
    graph = start.network.graph
    samples, macs = samples_for(graph, calibration), cost.macs(graph).value
    first = np.unique(samples.digests(), return_index=True)[1]
    samples = samples.take(np.sort(first))  # a copy of what is held out would be no other sample
    count = len(samples)
    if graph.states or count < _LEAST or macs > _TOO_LARGE:
        return Taken()
    turns = min(TURNS, -(-_VOICES * TURNS // count)) if macs * count <= _MACS else 1
    turned: list[Mapping[Way, Mapping[str, float | None]]] = []
    for n, (held, others) in enumerate(folds(count, turns, count)):
        progress("see what remedies gain", n, turns)
        turn = _Turn(start, samples.take(others), samples.take(held), device)
        if not turn.worth_it:
            return Taken()
        turned.append(turn.gains(turned[0] if turned else None))
    return _best({way: mean_gains([gains[way] for gains in turned if way in gains]) for way in turned[0]})


def _best(gains: Mapping[Way, Mapping[str, float]]) -> Taken:
    """The way with the largest gain; one of more remedies has to be clearly better than any of fewer."""
    best = Taken()
    for names in sorted(gains, key=len):
        clear = clear_gain(gains[names])
        if clear is not None and clear > best.gain + (CLEAR if len(names) > len(best.names) else 0.0):
            best = Taken(names, clear)
    return best


class _Turn:
    """The network made from the samples ``fit``, looked at on the samples ``held``."""

    def __init__(self, start: Start, fit: Samples, held: Samples, device: str) -> None:
        self.fit, self.batches = fit, [batch for batch, _ in held.batches()]
        self.context = replace(context_of(start, fit), device=device)
        asked = replace(start.settings, ranges=start.ranges)
        made = plan_of(start.network.graph, fit, asked, start.request, folder=start.folder)
        self.hybrid = start.request.scheme.is_hybrid
        self.base = replace(start.network, plan=made.plan, log=())
        self.exact = float_outputs(start.network.reference, held, start.folder)
        self.made = self._run(self.base)
        self.truest = self._least(self.made)

    @property
    def worth_it(self) -> bool:
        """Whether any output is less true than it need be."""
        return self.truest < _ENOUGH

    def _least(self, made: Outputs) -> float:
        """How true the least true output is, in dB."""
        return min((without_mean(y, made[name])[0] for name, y in self.exact.items()), default=np.inf)

    def gains(self, ways: Iterable[Way] | None) -> dict[Way, dict[str, float | None]]:
        """By how many dB the errors of each output are smaller, for each of ``ways`` that can be gone.

        None: for equalize, where layers scale against each other, and what may follow it; for bias alone where equalize by
        itself gains nothing; and for compensate instead of bias where an output is still poor, or activations are real.
        """
        networks: dict[Way, Quantized | None] = {(): self.base}
        gains: dict[Way, dict[str, float | None]] = {}

        def go(way: Way) -> bool:
            before = networks.get(way[:-1])
            networks[way] = network = None if before is None else self._applied(way[-1], before)
            if network is not None:
                made = self._run(network)
                self.truest = max(self.truest, self._least(made))
                gains[way] = {name: gain(y, self.made[name], made[name]) for name, y in self.exact.items()}
            return network is not None

        if ways is not None:
            for way in sorted(ways, key=len):
                go(way)
            return gains
        first: Way = ("equalize",) if go(("equalize",)) else ()
        if self.hybrid:
            for way in dict.fromkeys((("compensate",), (*first, "compensate"))):
                go(way)
            return gains
        for way in ((*first, "clip"), (*first, "bias"), (*first, "clip", "bias")):
            go(way)
        if first and clear_gain(mean_gains([gains[first]])) is None:
            go(("bias",))
        if self.truest < _POOR:
            for way in ((*first, "compensate"), (*first, "clip", "compensate")):
                go(way)
        return gains

    def _applied(self, name: str, network: Quantized) -> Quantized | None:
        """The network after one more remedy; None where that cannot be applied or changes nothing."""
        try:
            made = apply(known((name,)), network, self.fit, self.context)
        except (UnsupportedError, ResourceError):
            return None
        return made if made.graph is not network.graph or made.plan is not network.plan else None

    def _run(self, network: Quantized) -> Outputs:
        return run_batches(Program(network.integer()), self.batches)
