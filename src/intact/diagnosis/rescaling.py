"""Which channels of an integer network are larger or smaller on purpose: what one op's weights give, the next ones take back.

That is what cross-layer equalization leaves behind (Nagel et al. 2019, Data-Free Quantization Through Weight Equalization and
Bias Correction, section 4.1), whoever made the file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias, final

import numpy as np
import torch

from intact.diagnosis.weights import Constants, Gains
from intact.network.channels import passed
from intact.network.graph import Graph, Op
from intact.network.shapes import concrete

#: A weight's gain against the float file's that is more than rounding. Sound weights have at most 1.01 (int8) or 1.05 (w4a8)
#: in 1,764 channels, those of a scale twice too large at least 1.99.
_GAIN: Final = 1.25
#: The part of a channel's power that its gain may leave over. Sound: at most 0.0005 or 0.022; another training: 0.94 (median).
_UNEXPLAINED: Final = 0.1
#: How much less weights leave over for rescaled channels than for others when they were made for them: at most 0.0045 times,
#: and at least 3,500 times as much when they were not.
_FITS: Final = 0.5
#: The part of rescaled channels that may remain behind an op that takes them back. Of an equalization none does; a choice,
#: which leaves room for channels that are wrong beside it.
_REMAIN: Final = 0.25

#: The marks before the first of a channel: of zeros, and of numbers that are not rescaled.
_FIRST: Final = 2

#: By tensor: what its channels are times the float network's, [c].
Channels: TypeAlias = Mapping[int, np.ndarray]


@final
@dataclass(frozen=True, eq=False)
class Rescaling:
    """``channels`` that are rescaled on purpose, and by first output of each op the ``gains`` that this does not explain."""

    channels: Channels
    gains: Mapping[int, Gains]


@final
@dataclass(frozen=True, eq=False)
class _TakenBack:
    """The tensors whose channels are rescaled, and the sum of the mean ``|log gain|`` of the weights that take it back."""

    channels: Channels
    left: float


def find_rescaling(graph: Graph, constants: Mapping[int, Constants]) -> Rescaling:
    """What explains most of the difference between the weights of the integer ``graph`` and the float file's.

    Channels that one op makes larger and the next weights make smaller again are an equalization, not a fault.
    """
    walk = _Walk(graph, constants, graph.consumers(), _supposed(graph, constants))
    channels: dict[int, np.ndarray] = {}
    gains: dict[int, Gains] = {}
    for i, one in constants.items():
        gain, rest = one.gains(one.entering(channels))
        gains[i] = Gains(gain, (rest <= _UNEXPLAINED) & _is_off(gain))
        if not gains[i].off.any():
            continue
        # Where the bias counts in other units, the weights may be both: rescaled on purpose, and all wrong by that factor.
        ways = {k: walk.taken_back(i, gain * k, channels) for k in dict.fromkeys((1.0, one.contradiction))}
        possible = {k: way for k, way in ways.items() if way is not None}
        if possible:
            right = min(possible, key=lambda k: possible[k].left)
            channels |= possible[right].channels
            wrong = right != 1
            gains[i] = Gains(np.full_like(gain, 1 / right) if wrong else gain, np.full(gain.shape, wrong))
    return Rescaling(channels, gains)


@final
@dataclass(frozen=True, eq=False)
class _Walk:
    """What follows from rescaled channels further on in the network."""

    graph: Graph
    constants: Mapping[int, Constants]
    readers: Mapping[int, list[Op]]
    supposed: Channels

    def taken_back(self, i: int, factors: np.ndarray, known: Channels) -> _TakenBack | None:
        """How weights take ``factors`` of the channels of tensor ``i`` back, if they do so everywhere."""
        found, left = {i: factors}, 0.0
        if i in self.graph.ends:
            return None
        for op in self.readers[i]:
            channels, one = {**self.supposed, **known, **found}, self.constants.get(op.output)
            here = None if one is None else _takes_back(one, channels)
            if here is not None:
                left += here
                continue
            after = _after(self.graph, self.constants, op, channels)
            if after is None or (op.kind.weight is not None and (one is None or not one.is_depthwise)):
                return None
            # a depthwise op's own weights may be wrong beside
            wrong = 1.0 if one is None else one.contradiction
            ways = [self.taken_back(op.output, after * k, known) for k in dict.fromkeys((1.0, wrong))]
            further = min((way for way in ways if way is not None), key=lambda way: way.left, default=None)
            if further is None:
                return None
            found |= further.channels
            left += further.left
        return _TakenBack(found, left)


def _supposed(graph: Graph, constants: Mapping[int, Constants]) -> Channels:
    """What channels are times the float network's if every weight is as it was meant."""
    found: dict[int, np.ndarray] = {}
    for op in graph.ops:
        after = _after(graph, constants, op, found)
        if after is not None:
            found[op.output] = after
    return found


def _after(graph: Graph, constants: Mapping[int, Constants], op: Op, channels: Channels) -> np.ndarray | None:
    """What an op makes of rescaled channels; None where it does not hand them on as such."""
    if op.kind.weight is not None:
        one = constants.get(op.output)
        return None if one is None else one.gains(one.entering(channels))[0]
    factors, marks = [np.ones(_FIRST)], dict[int, torch.Tensor]()
    for i in op.reads:
        if i in channels and i not in marks:
            first, shape = sum(map(len, factors)), concrete(graph[i])
            factors.append(channels[i])
            marks[i] = torch.arange(first, first + shape[-1], dtype=torch.float64).broadcast_to(shape)
    outputs = passed(graph, op, marks) if marks else None
    if outputs is None or len(outputs) > 1 or not outputs[0].numel() or not outputs[0].dim():
        return None
    rows = outputs[0].reshape(-1, outputs[0].shape[-1])
    return np.concatenate(factors)[rows[0].to(torch.int64).numpy()] if bool((rows == rows[0]).all()) else None


def _takes_back(one: Constants, channels: Channels) -> float | None:
    """The mean ``|log gain|`` that is left where an op's weights were made for these channels, else None.

    They fit them much better than channels as they were. Where each channel is weighted by itself any factor fits; then
    most factors must be gone behind it.
    """
    entering = one.entering(channels)
    if entering is None:
        return None
    (gain, left), (_, before) = one.gains(entering), one.gains(None)
    rest = min((gain * k for k in (1.0, one.contradiction)), key=_unrest)
    if one.is_depthwise:
        return _unrest(rest) if _is_off(rest).sum() <= _REMAIN * _is_off(entering).sum() else None
    return _unrest(rest) if left.mean() < _FITS * before.mean() else None


def _is_off(gain: np.ndarray) -> np.ndarray:
    return np.asarray(np.abs(np.log(np.where(gain > 0, gain, 1))) > math.log(_GAIN))


def _unrest(gain: np.ndarray) -> float:
    return float(np.abs(np.log(np.where(gain > 0, gain, 1))).mean())
