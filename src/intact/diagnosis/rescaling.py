"""The weights, biases and scales of an integer network against the float network that it was made from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias, final

import numpy as np

from intact.diagnosis.counterparts import Pair
from intact.diagnosis.symptom import Symptom
from intact.diagnosis.trace import Traced
from intact.network.graph import Op, Tensor
from intact.numbers.affine import Affine, bias_format, dequantize_array
from intact.ops.base import Weight

#: What is said of weights that come from another network.
OTHER_WEIGHTS: Final = "its weights are not the float file's"
#: A weight's gain against the float file's that is more than rounding, and the part of its power that may stay unexplained.
_GAIN: Final = 1.25
_UNEXPLAINED: Final = 0.1
#: How much less weights leave over for rescaled channels than for others when they were made for them.
_FITS: Final = 0.5
#: The part of rescaled channels that may remain behind an op that takes them back.
_REMAIN: Final = 0.25
#: Weights that differ by this part of their power are other weights.
_OTHER: Final = 0.25
#: A bias error is told when it is this part of the bias's power, and this part of its op's.
_BIAS_PART: Final = 0.25
_BIAS_MATTERS: Final = 1e-2
#: The error of an op's output against that of the op by itself, below which its bias mends what came before.
_CLOSER: Final = 0.8
#: Scales that contradict each other by more than this factor.
_CONTRADICTION: Final = 1.05

#: By tensor: what its channels are times the float network's, [c].
Channels: TypeAlias = dict[int, np.ndarray]


@final
@dataclass(frozen=True, eq=False)
class _Held:
    """A constant with its real numbers, and those of its counterpart in the float file; of one shape."""

    stored: Tensor
    real: np.ndarray
    wanted: np.ndarray

    def gains(self, axis: int, entering: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """``<w e, w_float> / <w_float, w_float>`` of each channel along ``axis`` for inputs ``e`` times too large, and the
        part of each channel's power that this gain leaves over; a gain of 1 where the float weights are zero.
        """
        ours = _rows(self.real if entering is None else self.real * entering, axis)
        wanted = _rows(self.wanted, axis)
        power, own = np.square(wanted).sum(1), np.square(ours).sum(1)
        gain = np.where(power > 0, (ours * wanted).sum(1) / np.where(power > 0, power, 1), 1.0)
        return gain, np.square(ours - gain[:, None] * wanted).sum(1) / np.where(own > 0, own, 1)


@final
@dataclass(frozen=True, eq=False)
class _TakenBack:
    """The tensors whose channels are rescaled, and the sum of the mean ``|log gain|`` of the weights that take it back."""

    channels: Channels
    left: float


@final
@dataclass
class Constants:
    """The walk over the ops in order. After :meth:`symptoms`, ``rescaled`` has what was rescaled on purpose."""

    traced: Traced
    rescaled: Channels = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.match = self.traced.match
        self.graph = self.match.graph
        self.makers = self.graph.producers()
        self.readers = self.graph.consumers()
        self.supposed = self._supposed()

    def symptoms(self) -> tuple[Symptom, ...]:
        """Weights, biases and scales that are not what the float file makes of them.

        Channels that one op makes larger and the next weights make smaller again are an equalization, not a fault.
        """
        return tuple(self._walk())

    def _walk(self) -> Iterator[Symptom]:
        for pair in self.match.pairs.values():
            weight = pair.op.kind.weight
            w = None if weight is None else self._held(pair, weight.input)
            if weight is None or w is None:
                continue
            gain, rest = w.gains(weight.axis, self._entering(pair.op, w, self.rescaled))
            off = (rest <= _UNEXPLAINED) & _is_off(gain)
            if off.any():
                gain, off = self._meant(pair, w, gain, off)
            found = self._weights(pair, w, weight, gain, off)
            if found is not None:
                yield found
            yield from self._bias(pair, w, weight, gain, blamed=found is not None)

    def _meant(self, pair: Pair, w: _Held, gain: np.ndarray, off: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The gains that are a fault, and of which channels, once a rescaling on purpose is told from them.

        Where the bias counts in other units, the weights may be both: rescaled on purpose, and all wrong by that factor.
        """
        ratio = self._contradiction(pair, w)
        ways = {k: self._taken_back(pair.op.output, gain * k) for k in dict.fromkeys((1.0, ratio))}
        possible = {k: way for k, way in ways.items() if way is not None}
        if not possible:
            return gain, off
        right = min(possible, key=lambda k: possible[k].left)
        self.rescaled |= possible[right].channels
        if right == 1:
            return gain, np.zeros_like(off)
        return np.full_like(gain, 1 / right), np.ones_like(off)

    def _supposed(self) -> Channels:
        """What channels are times the float network's if every weight is as it was meant."""
        found: Channels = {}
        for op in self.graph.ops:
            after = self._after(op, found)
            if after is not None:
                found[op.output] = after
        return found

    def _after(self, op: Op, channels: Channels) -> np.ndarray | None:
        """What an op makes of rescaled channels; None where it does not hand them on as such."""
        weight, pair = op.kind.weight, self.match.pairs.get(op.output)
        w = None if weight is None or pair is None else self._held(pair, weight.input)
        if weight is not None:
            return None if w is None else w.gains(weight.axis, self._entering(op, w, channels))[0]
        flows = {i for i in op.reads if not self.graph[i].is_constant}
        linear = not op.kind.probabilities if len(flows) == 1 else op.kind.combines == "product"
        factors = [channels[i] for i in flows if i in channels]
        if not linear or any(f.shape != self.graph[op.output].shape[-1:] for f in factors):
            return None
        return np.prod(factors, axis=0) if factors else None

    def _entering(self, op: Op, w: _Held, channels: Channels) -> np.ndarray | None:
        """The factors of an op's input along the last axis of its weight, which counts input channels; None for none."""
        x = self._flow(op)
        factors = None if x is None else channels.get(x)
        return None if factors is None or len(factors) != w.real.shape[-1] else factors

    def _taken_back(self, i: int, factors: np.ndarray) -> _TakenBack | None:
        """How weights take ``factors`` of the channels of tensor ``i`` back, if they do so everywhere."""
        found, left = {i: factors}, 0.0
        if i in self.graph.ends:
            return None
        for op in self.readers[i]:
            channels = {**self.supposed, **self.rescaled, **found}
            here = self._takes_back(op, channels)
            if here is not None:
                left += here
                continue
            after, depthwise = self._after(op, channels), self._is_depthwise(op)
            if after is None or (op.kind.weight is not None and not depthwise):
                return None
            # a depthwise op's own weights may be wrong beside
            ways = [self._taken_back(op.output, after * k) for k in dict.fromkeys((1.0, self._ratio(op)))]
            further = min((way for way in ways if way is not None), key=lambda way: way.left, default=None)
            if further is None:
                return None
            found |= further.channels
            left += further.left
        return _TakenBack(found, left)

    def _takes_back(self, op: Op, channels: Channels) -> float | None:
        """The mean ``|log gain|`` that is left where an op's weights were made for these channels, else None.

        They fit them much better than channels as they were. Where each channel is weighted by itself any factor fits; then
        most factors must be gone behind it.
        """
        weight, pair = op.kind.weight, self.match.pairs.get(op.output)
        w = None if weight is None or pair is None else self._held(pair, weight.input)
        entering = None if w is None else self._entering(op, w, channels)
        if weight is None or pair is None or w is None or entering is None:
            return None
        (gain, left), (_, before) = w.gains(weight.axis, entering), w.gains(weight.axis, None)
        rest = min((gain * k for k in (1.0, self._contradiction(pair, w))), key=_unrest)
        if self._is_depthwise(op):
            return _unrest(rest) if _is_off(rest).sum() <= _REMAIN * _is_off(entering).sum() else None
        return _unrest(rest) if left.mean() < _FITS * before.mean() else None

    def _is_depthwise(self, op: Op) -> bool:
        """Whether each channel is weighted by itself: then any factor can be its own."""
        return op.kind.weight is not None and op.kind.weight.axis == 3

    # ---- weights and biases ---------------------------------------------------------------------------------------------

    def _weights(self, pair: Pair, w: _Held, weight: Weight, gain: np.ndarray, off: np.ndarray) -> Symptom | None:
        where = self.match.label(pair.op)
        ours, wanted = _rows(w.real, weight.axis), _rows(w.wanted, weight.axis)
        lost = np.asarray(~ours.any(1) & wanted.any(1))
        if lost.any() and isinstance(w.stored.format, Affine) and w.stored.format.axis is None:
            what = f"the weights of {lost.sum()} of {len(lost)} channels are all rounded to zero"
            return Symptom(where, what, "--weights per-channel gives each channel its own scale")
        advice = "its scale or its integers are wrong: quantize that weight anew from the float file"
        if 2 * off.sum() > len(off):
            return Symptom(where, f"its weights are {np.median(gain[off]):.3g} times the float file's", advice)
        if off.any():
            worst = int(np.abs(np.log(np.where(off, gain, 1))).argmax())
            others = f", and {off.sum() - 1} more channels are off" if off.sum() > 1 else ""
            what = f"the weights of channel {worst} are {gain[worst]:.3g} times the float file's{others}"
            return Symptom(where, what, advice)
        gap = np.square(ours - wanted).sum()
        if gap > _OTHER * np.square(wanted).sum() and not self._is_rescaled(pair.op):
            return Symptom(where, OTHER_WEIGHTS, "give --against the file that the model was made from")
        return None

    def _is_rescaled(self, op: Op) -> bool:
        return op.output in self.rescaled or any(i in self.rescaled for i in op.reads)

    def _bias(self, pair: Pair, w: _Held, weight: Weight, gain: np.ndarray, *, blamed: bool) -> Iterator[Symptom]:
        b = self._held(pair, weight.bias)
        if b is None or b.stored.data is None:
            return
        where, wanted, q = self.match.label(pair.op), b.wanted.reshape(-1), b.stored.data.reshape(-1)
        unit, x, ratio = self._unit(pair.op, w.stored, b.stored), self._flow(pair.op), self._contradiction(pair, w)
        if ratio != 1 and x is not None:
            if not blamed:
                yield self._other_scale(pair.op, x, ratio)
            return
        gone = (q == 0) & (np.abs(wanted) >= unit) & (wanted != 0)
        if gone.any() and (gone.all() or gone.sum() >= np.count_nonzero(wanted) / 2):
            yield Symptom(where, "its bias is zero, and not in the float file", "the bias was lost: quantize it anew")
            return
        error = np.square(q * unit / np.where(gain > 0, gain, 1) - wanted)
        seen = self.traced.seen.get(pair.op.output)
        if seen is not None and seen.own is not None and seen.runtime < _CLOSER * seen.own.error:
            return  # a correction: it brings the op nearer to the float network than the float file's bias would
        power = math.inf if seen is None else seen.signal / max(seen.count, 1)
        if not blamed and error.mean() > max(_BIAS_MATTERS * power, _BIAS_PART * np.square(wanted).mean()):
            worst = int(error.argmax())
            what = f"its bias is not the float file's: {(q * unit)[worst]:.4g} for {wanted[worst]:.4g} in channel {worst}"
            yield Symptom(where, what, "quantize it anew, in units of input scale times weight scale")

    def _unit(self, op: Op, w: Tensor, b: Tensor) -> np.ndarray:
        """What a kernel takes one step of the bias for, whatever the file says."""
        x = self._flow(op)
        fx = None if x is None else self.graph[x].format
        if not isinstance(b.format, Affine) or not isinstance(w.format, Affine):
            return np.ones(1)
        return np.asarray(bias_format(fx, w.format).scale if isinstance(fx, Affine) else b.format.scale)

    def _contradiction(self, pair: Pair, w: _Held) -> float:
        """The bias's scale in the file over what the kernel counts in; 1 where they agree."""
        weight = pair.op.kind.weight
        b = None if weight is None else self._held(pair, weight.bias)
        if b is None or not isinstance(b.stored.format, Affine):
            return 1.0
        ratio = float(np.median(np.asarray(b.stored.format.scale) / self._unit(pair.op, w.stored, b.stored)))
        return ratio if max(ratio, 1 / ratio) > _CONTRADICTION else 1.0

    def _ratio(self, op: Op) -> float:
        weight, pair = op.kind.weight, self.match.pairs.get(op.output)
        w = None if weight is None or pair is None else self._held(pair, weight.input)
        return 1.0 if pair is None or w is None else self._contradiction(pair, w)

    def _other_scale(self, op: Op, x: int, ratio: float) -> Symptom:
        where, fmt = self.match.label(self.makers[x]) if x in self.makers else "input", self.graph[x].format
        scale = fmt.scale[0] if isinstance(fmt, Affine) else 1.0
        made_for = f"{self.match.label(op)} behind it was made for {ratio * scale:.4g}"
        advice = "one of its scales is wrong: take it from the calibration that made the rest of the file"
        return Symptom(where, f"its scale is {scale:.4g}, and {made_for}", advice)

    def _held(self, pair: Pair, place: int) -> _Held | None:
        """The constant in this place of both ops, where both have one."""
        ids = [op.inputs[place] if place < len(op.inputs) else None for op in (pair.op, pair.like)]
        if ids[0] is None or ids[1] is None:
            return None
        mine, theirs = self.graph[ids[0]], self.match.reference[ids[1]]
        if mine.data is None or theirs.data is None or mine.data.shape != theirs.data.shape:
            return None
        real = dequantize_array(mine.data, mine.format) if isinstance(mine.format, Affine) else mine.data
        return _Held(mine, np.asarray(real, np.float64), np.asarray(theirs.data, np.float64))

    def _flow(self, op: Op) -> int | None:
        return next((i for i in op.reads if not self.graph[i].is_constant), None)


def _is_off(gain: np.ndarray) -> np.ndarray:
    return np.asarray(np.abs(np.log(np.where(gain > 0, gain, 1))) > math.log(_GAIN))


def _unrest(gain: np.ndarray) -> float:
    return float(np.abs(np.log(np.where(gain > 0, gain, 1))).mean())


def _rows(x: np.ndarray, axis: int) -> np.ndarray:
    """One row for each output channel."""
    return np.moveaxis(x, axis, 0).reshape(x.shape[axis], -1)
