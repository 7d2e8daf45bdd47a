"""What is wrong with an integer network beside its float one: constants, ranges, ops that compute something else."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final, final

from intact.diagnosis.rescaling import Channels, find_rescaling
from intact.diagnosis.symptom import Symptom
from intact.diagnosis.trace import Own, Seen, Traced, decibels
from intact.diagnosis.weights import OTHER_WEIGHTS, constants_of, weight_faults
from intact.network.graph import Graph
from intact.numbers.affine import Affine
from intact.ops.base import Free

#: Signal over what a range cuts off, in dB, below which the range is too narrow; a consumer this true is not hurt by it. Sound
#: ranges have 23 dB at least, 18 on other samples; calibrated on a third of the values: 12 (median).
_NARROW: Final = 20.0
#: A range this many times as wide as the values wastes 3 bits, an input's 2. Sound inputs have 1.0; sound activations 0.96 in
#: the median, but up to 14: so those that are true all the same are not told.
_WIDE: Final = 8.0
_WIDE_INPUT: Final = 4.0
#: An op's own dB below which something is wrong with it: sound ones have 14.4 at least; of a scale twice too large: 6 (median).
_POOR: Final = 10.0
#: One gain and offset are told below this many dB, if they leave at most this part of the error: both a choice. Sound ops are
#: down to 14.4 dB too, but their error is rounding, which no gain explains.
_DISTORTED: Final = 25.0
_UNEXPLAINED: Final = 0.1
#: A difference between simulator and runtime, in dB, and how true both must be for it not to matter: one bit, a choice.
#: Sound activations below 30 dB differ by at most 0.4 dB, above by up to 3.
_GAP: Final = 6.0
_TRUE: Final = 30.0
#: Usual ranges of pixels; a quarter of their width apart a range still counts as one of them, which is a choice.
_PIXELS: Final = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))


def faults(traced: Traced) -> tuple[tuple[Symptom, ...], frozenset[int]]:
    """Causes before consequences: an input of another range, wrong constants, ranges that do not fit, ops that compute
    something else, and where the runtime departs from the simulator; each in the network's order.

    Constants are compared with the float file's, ranges with the float network's values, and each op with its float
    counterpart on its own inputs: so a fault is told where it is, not at its successors. Beside the symptoms: the float
    network's tensors whose channels the integer network rescales on purpose.
    """
    constants = constants_of(traced.counterparts)
    rescaling = find_rescaling(traced.counterparts.graph, constants)
    wrong = tuple(weight_faults(traced, constants, rescaling.gains, rescaling.channels.keys()))
    others = sum(s.what == OTHER_WEIGHTS for s in wrong)
    weighted = sum(found.op.kind.weight is not None for found in traced.counterparts.ops.values())
    if others > max(1, weighted / 2):
        what = f"the weights of {others} of {weighted} ops are not the float file's"
        advice = "it was made from another model: give --against the file that it was made from"
        return (Symptom("the file", what, advice),), frozenset()
    search = _Search(traced, rescaling.channels)
    ranges = search.ranges()
    entry = [s for s in ranges if s.where == "input"]
    found = [*entry, *wrong, *([] if entry else ranges)]
    found += search.distortions({s.where for s in found})
    found += search.departures()
    tensors = traced.counterparts.tensors
    return tuple(dict.fromkeys(found)), frozenset(tensors[i] for i in rescaling.channels if i in tensors)


@final
@dataclass
class _Search:
    traced: Traced
    rescaled: Channels
    graph: Graph = field(init=False)

    def __post_init__(self) -> None:
        self.graph = self.traced.counterparts.graph
        self.makers = self.graph.producers()
        self.readers = self.graph.consumers()
        self.rows = {row.output: row for row in self.traced.rows}

    def _where(self, i: int) -> str:
        return self.traced.counterparts.label(self.makers[i]) if i in self.makers else "input"

    def _runtime(self, i: int) -> float:
        """The dB of an activation in the runtime; infinite where it is not known."""
        row = self.rows.get(i)
        return math.inf if row is None or row.runtime is None else row.runtime

    # ---- ranges ---------------------------------------------------------------------------------------------------------

    def ranges(self) -> list[Symptom]:
        """Formats that the float network's values overflow, or hardly use, the worst first; one for the input where that
        explains all.
        """
        found, asked = list[tuple[float, Symptom]](), 0
        for i, seen in self.traced.seen.items():
            fmt, op = self.graph[i].format, self.makers.get(i)
            entry = self.traced.counterparts.tensors[i] in self.traced.counterparts.reference.inputs
            free = entry or (op is not None and isinstance(op.kind.range_rule, Free) and not op.kind.converts)
            if not isinstance(fmt, Affine) or fmt.axis is not None or not free or i in self.rescaled:
                continue
            asked += 1
            left, misfit = self._misfit(i, seen, fmt, _WIDE_INPUT if entry else _WIDE)
            if misfit and entry:
                return [Symptom("input", f"{misfit}{_pixels(fmt)}", "the file was calibrated on other preprocessing than this")]
            if misfit:
                advice = "calibrate on samples like these, with the same preprocessing, or use --ranges minmax"
                found.append((left, Symptom(self._where(i), misfit, advice)))
        if len(found) >= max(3, asked / 2):
            first = found[0][1]
            what = (
                f"the ranges of {len(found)} of {asked} activations do not fit these samples, first {first.where}: {first.what}"
            )
            return [Symptom("input", what, "the file was calibrated on other samples or preprocessing than this")]
        return [symptom for _, symptom in sorted(found, key=lambda one: one[0])]

    def _misfit(self, i: int, seen: Seen, fmt: Affine, wide: float) -> tuple[float, str]:
        """How many dB a range leaves at most, and what is wrong with it; nothing where nothing is."""
        low, high = fmt.range
        held = f"its range [{low:.4g}, {high:.4g}]"
        spans = f"the float network's values go from {seen.low:.4g} to {seen.high:.4g}"
        extent = max(seen.high, 0.0) - min(seen.low, 0.0)
        if extent > 0 and high - low > wide * extent and self._runtime(i) < _TRUE:
            unused = f"{math.log2((high - low) / extent):.1f} bits are never used"
            return 20 * math.log10(extent / fmt.scale[0]), f"{held} is too wide: {spans}, and {unused}"
        cut = decibels(seen.signal, seen.excess)
        hurt = [self._runtime(op.output) for op in self.readers[i]] or [-math.inf]
        if cut is None or cut >= _NARROW or min(hurt) >= _NARROW:
            return math.inf, ""
        ends = seen.lowest * (seen.low < low) + seen.highest * (seen.high > high)  # a RELU's zeros are at home at its end
        beyond, clipped = (f"{100 * n / seen.count:.2g} %" for n in (seen.beyond, ends))
        at_end = f"{clipped} of its integers are at that end of the type"
        return cut, f"{held} is too narrow: {spans}, {beyond} of them beyond it, and {at_end}"

    # ---- ops by themselves ----------------------------------------------------------------------------------------------

    def distortions(self, known: set[str]) -> list[Symptom]:
        """Ops whose result is not what their counterparts make of the same inputs, beyond rounding and what ranges cut off."""
        found = []
        for i, seen in self.traced.seen.items():
            fmt, where = self.graph[i].format, self._where(i)
            step = fmt.scale[0] if isinstance(fmt, Affine) else 0.0
            if seen.own is None or where in known or _error(seen.own) <= seen.own.moments[0].sum() * step**2 / 4:
                continue
            what = _distortion(seen.own)
            if what is not None and self.rescaled.keys().isdisjoint((i, *self.makers[i].reads)):
                advice = (
                    "its scales contradict its kernel, or its constants the float file: quantize it anew or keep it in float"
                )
                found.append(Symptom(where, what, advice))
        return found

    def departures(self) -> list[Symptom]:
        """The first ops at which the runtime is no longer what the simulator expects."""
        found, apart = list[Symptom](), set[int]()
        for i, row in self.rows.items():
            if row.simulated is None or row.runtime is None or min(row.simulated, row.runtime) > _TRUE:
                continue
            if abs(row.simulated - row.runtime) > _GAP:
                op = self.makers.get(i)
                if op is None or apart.isdisjoint(op.reads):
                    what = f"the simulator expects {row.simulated:.1f} dB, and the runtime gives {row.runtime:.1f} dB"
                    advice = (
                        "the kernel computes otherwise than the file's scales say: try the other --target, or keep it in float"
                    )
                    found.append(Symptom(self._where(i), what, advice))
                apart.add(i)
        return found


def _error(own: Own) -> float:
    _, _, _, rr, gg, rg = own.moments.sum(1)
    return float(rr - 2 * rg + gg)


def _distortion(own: Own) -> str | None:
    """In words, how an op's result departs from its counterpart's; None where it is true enough."""
    n, r, g, rr, gg, rg = own.moments.sum(1)
    error, reached = _error(own), decibels(float(rr), _error(own))
    if reached is None or reached >= _DISTORTED:
        return None
    vr, vg, cov = rr - r * r / n, gg - g * g / n, rg - r * g / n
    expected = "what its float counterpart makes of the same inputs"
    if vr > 0 and vg - cov * cov / vr < _UNEXPLAINED * error:
        gain = cov / vr
        offset = (g - gain * r) / n
        more = f", plus {offset:.3g}" if offset**2 * n > _UNEXPLAINED * error else ""
        return f"it gives {gain:.3g} times {expected}{more}"
    if reached >= _POOR:
        return None
    channels = own.moments[3] - 2 * own.moments[5] + own.moments[4]
    worst = int(channels.argmax())
    share = f", {100 * channels[worst] / error:.0f} % of it in channel {worst}" if channels[worst] > error / 2 else ""
    return f"it is {reached:.1f} dB from {expected}{share}"


def _pixels(fmt: Affine) -> str:
    """Which usual pixel range a format was made for, if one."""
    low, high = fmt.range
    for a, b in _PIXELS:
        if abs(low - a) + abs(high - b) < 0.25 * (b - a):
            return f"; it fits pixels mapped to {a:g},{b:g}"
    return ""
