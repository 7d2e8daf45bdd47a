"""The weights, biases and scales of an integer network against those of the float network that it was made from."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from intact.diagnosis.counterparts import Counterparts
from intact.diagnosis.symptom import Symptom
from intact.diagnosis.trace import Traced
from intact.network.graph import Tensor
from intact.network.weighted import Weighted, weighted
from intact.numbers.affine import Affine, bias_format, dequantize_array

#: What is said of weights that come from another network.
OTHER_WEIGHTS: Final = "its weights are not the float file's"
#: Weights that differ by this part of their power are other weights. Sound: at most 0.0001 (int8) or 0.015 (w4a8); of another
#: training: 1.95 (median). Where a channel has few different numbers, as those of 2 bits, rounding that makes up for itself
#: alone comes to 0.6.
_OTHER: Final = 0.25
_OTHER_OF_FEW: Final = 1.0
_FEW: Final = 4
#: A bias error is told when it is this part of the bias's power, and this part of its op's. Sound: at most 3e-5 of the bias's;
#: of another training at least 0.18 (median 2.6), and 0.5 of the op's (median).
_BIAS_PART: Final = 0.25
_BIAS_MATTERS: Final = 1e-2
#: The error of an op's output against that of the op by itself, below which its bias mends what came before. A choice: it is no
#: chance where a fifth is gone. Corrected w4a8 ops have 0.53 at least, and most more, by the noise that they inherit.
_CLOSER: Final = 0.8
#: Scales that contradict each other by more than this factor. In 228 sound ops they agree to float32's rounding; a choice.
_CONTRADICTION: Final = 1.05


@final
@dataclass(frozen=True, eq=False)
class Constant:
    """A constant of the integer network with its real numbers, and those of its counterpart; of one shape."""

    stored: Tensor
    real: np.ndarray
    wanted: np.ndarray


@final
@dataclass(frozen=True, eq=False)
class Gains:
    """What an op's weights are times the float file's, [c_out], and of which channels that is a fault."""

    values: np.ndarray
    off: np.ndarray


@final
@dataclass(frozen=True, eq=False)
class Constants:
    """An integer op with a weight whose counterpart has constants of the same shapes; ``bias`` where both have one."""

    weighted: Weighted
    weight: Constant
    bias: Constant | None

    @property
    def is_depthwise(self) -> bool:
        """Whether each channel is weighted by itself: then any factor can be its own."""
        return self.weighted.axis == 3

    @property
    def unit(self) -> np.ndarray:
        """What a kernel takes one step of the bias for, whatever the file says: [1] or [c_out]."""
        fx, fw = self.weighted.data.format, self.weight.stored.format
        if self.bias is None or not isinstance(self.bias.stored.format, Affine) or not isinstance(fw, Affine):
            return np.ones(1)
        return np.asarray(bias_format(fx, fw).scale if isinstance(fx, Affine) else self.bias.stored.format.scale)

    @property
    def contradiction(self) -> float:
        """The bias's scale in the file over what the kernel counts in; 1 where they agree."""
        if self.bias is None or not isinstance(self.bias.stored.format, Affine):
            return 1.0
        ratio = float(np.median(np.asarray(self.bias.stored.format.scale) / self.unit))
        return ratio if max(ratio, 1 / ratio) > _CONTRADICTION else 1.0

    def rows(self, x: np.ndarray) -> np.ndarray:
        """A weight with one row for each output channel."""
        return np.moveaxis(x, self.weighted.axis, 0).reshape(x.shape[self.weighted.axis], -1)

    def entering(self, channels: Mapping[int, np.ndarray]) -> np.ndarray | None:
        """The factors ``channels`` of the op's input along the last axis of its weight, which counts input channels."""
        factors = channels.get(self.weighted.data.id)
        return None if factors is None or len(factors) != self.weight.real.shape[-1] else factors

    def gains(self, entering: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """``<w e, w_float> / <w_float, w_float>`` of each output channel for inputs ``e`` times too large, and the part of
        each channel's power that this gain leaves over; a gain of 1 where the float weights are zero.
        """
        ours = self.rows(self.weight.real if entering is None else self.weight.real * entering)
        wanted = self.rows(self.weight.wanted)
        power, own = np.square(wanted).sum(1), np.square(ours).sum(1)
        gain = np.where(power > 0, (ours * wanted).sum(1) / np.where(power > 0, power, 1), 1.0)
        return gain, np.square(ours - gain[:, None] * wanted).sum(1) / np.where(own > 0, own, 1)


def constants_of(counterparts: Counterparts) -> dict[int, Constants]:
    """The constants that can be compared, by the first output of their op, in the network's order."""
    found: dict[int, Constants] = {}
    for i, other in counterparts.ops.items():
        ours, theirs = weighted(counterparts.graph, other.of), weighted(counterparts.reference, other.op)
        weight = None if ours is None or theirs is None else _constant(ours.weight, theirs.weight)
        if ours is not None and theirs is not None and weight is not None:
            found[i] = Constants(ours, weight, _constant(ours.bias, theirs.bias))
    return found


def _constant(stored: Tensor | None, wanted: Tensor | None) -> Constant | None:
    if stored is None or wanted is None or stored.data is None or wanted.data is None:
        return None
    if stored.data.shape != wanted.data.shape:
        return None
    real = dequantize_array(stored.data, stored.format) if isinstance(stored.format, Affine) else stored.data
    return Constant(stored, np.asarray(real, np.float64), np.asarray(wanted.data, np.float64))


def weight_faults(
    traced: Traced, constants: Mapping[int, Constants], gains: Mapping[int, Gains], rescaled: Collection[int]
) -> Iterator[Symptom]:
    """Weights, biases and scales that are not what the float file makes of them, in the network's order.

    ``gains``: of each op's weights, beyond what was ``rescaled`` on purpose (tensors by id).
    """
    faults = _Faults(traced, rescaled)
    for i, one in constants.items():
        found = faults.weights(one, gains[i])
        if found is not None:
            yield found
        yield from faults.bias(one, gains[i].values, blamed=found is not None)


@final
@dataclass(frozen=True, eq=False)
class _Faults:
    traced: Traced
    rescaled: Collection[int]

    def weights(self, one: Constants, gains: Gains) -> Symptom | None:
        gain, off = gains.values, gains.off
        where = self.traced.counterparts.label(one.weighted.op)
        ours, wanted = one.rows(one.weight.real), one.rows(one.weight.wanted)
        lost, fmt = np.asarray(~ours.any(1) & wanted.any(1)), one.weight.stored.format
        if lost.any() and isinstance(fmt, Affine) and fmt.axis is None:
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
        touched = any(i in self.rescaled for i in (*one.weighted.op.outputs, *one.weighted.op.reads))
        part = np.square(ours - wanted).sum() / max(np.square(wanted).sum(), np.finfo(float).tiny)
        if part > _OTHER and not touched and (part > _OTHER_OF_FEW or any(len(np.unique(row)) > _FEW for row in ours)):
            return Symptom(where, OTHER_WEIGHTS, "give --against the file that the model was made from")
        return None

    def bias(self, one: Constants, gain: np.ndarray, *, blamed: bool) -> Iterator[Symptom]:
        if one.bias is None or one.bias.stored.data is None:
            return
        if one.contradiction != 1:
            if not blamed:
                yield self._other_scale(one)
            return
        where, unit = self.traced.counterparts.label(one.weighted.op), one.unit
        wanted, q = one.bias.wanted.reshape(-1), one.bias.stored.data.reshape(-1)
        gone = (q == 0) & (np.abs(wanted) >= unit) & (wanted != 0)
        if gone.any() and (gone.all() or gone.sum() >= np.count_nonzero(wanted) / 2):
            yield Symptom(where, "its bias is zero, and not in the float file", "the bias was lost: quantize it anew")
            return
        error = np.square(q * unit / np.where(gain > 0, gain, 1) - wanted)
        seen = self.traced.seen.get(one.weighted.op.output)
        if seen is not None and seen.own is not None and seen.runtime < _CLOSER * seen.own.error:
            return  # a correction: it brings the op nearer to the float network than the float file's bias would
        power = math.inf if seen is None else seen.signal / max(seen.count, 1)
        if not blamed and error.mean() > max(_BIAS_MATTERS * power, _BIAS_PART * np.square(wanted).mean()):
            worst = int(error.argmax())
            what = f"its bias is not the float file's: {(q * unit)[worst]:.4g} for {wanted[worst]:.4g} in channel {worst}"
            yield Symptom(where, what, "quantize it anew, in units of input scale times weight scale")

    def _other_scale(self, one: Constants) -> Symptom:
        counterparts, x = self.traced.counterparts, one.weighted.data
        maker = counterparts.graph.producers().get(x.id)
        scale = x.format.scale[0] if isinstance(x.format, Affine) else 1.0
        made_for = f"{counterparts.label(one.weighted.op)} behind it was made for {one.contradiction * scale:.4g}"
        advice = "one of its scales is wrong: take it from the calibration that made the rest of the file"
        where = "input" if maker is None else counterparts.label(maker)
        return Symptom(where, f"its scale is {scale:.4g}, and {made_for}", advice)
