"""ONNX's Pad: numbers around a tensor, its own edge or mirror image, or less of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import numpy as np

from intact.errors import ModelError, UnsupportedError
from intact.formats.onnx.build import Value
from intact.formats.onnx.call import Call, Row
from intact.formats.onnx.shaping import part, picked
from intact.ops.call import bounded
from intact.ops.shaping import MirrorPad, Pad, PadV2

_MODES: Final[Mapping[str, Literal["edge", "wrap", "reflect"]]] = {"edge": "edge", "wrap": "wrap", "reflect": "reflect"}


def _ends(call: Call, rank: int) -> dict[int, tuple[int, int]]:
    """What stands before and after, by axis."""
    pads = call.axes(1, "pads")
    given = call.whole(3, "axes")
    axes = tuple(range(rank)) if given is None else tuple(call.counted(a, rank) for a in given)
    if pads is None or len(pads) != 2 * len(axes):
        raise ModelError(f"margins {pads} around {len(axes)} axes")
    return {a: (pads[n], pads[n + len(axes)]) for n, a in enumerate(axes)}


def _pad(call: Call) -> Value:
    v = call.build.complete(call.value(0))
    ends = _ends(call, v.rank)
    cut = {a: range(max(-b, 0), v.shape[a] - max(-e, 0)) for a, (b, e) in ends.items() if min(b, e) < 0}
    v = part(call.build, v, cut)
    more = {a: (max(b, 0), max(e, 0)) for a, (b, e) in ends.items() if max(b, e) > 0}
    if not more:
        return v
    mode = call.text("mode", "constant")
    pads = np.asarray(call.lists(v, more, (0, 0)), np.int32)
    if mode == "constant":
        value = np.asarray(call.real("value", 0.0), np.float32)
        if call.has(2):
            value = call.constant(2, "value").reshape(())
        value = value.astype(v.stored.dtype)
        plain = (Pad(), v.stored, pads) if not value else (PadV2(), v.stored, pads, value)
        return call.resized(call.build.one(*plain), v.order)
    if mode == "reflect" and all(max(pair) < v.shape[a] for a, pair in more.items()):
        return call.resized(call.build.one(MirrorPad("reflect"), v.stored, pads), v.order)
    if mode not in _MODES:
        raise UnsupportedError(f"its mode {mode!r} is none that can be read")
    bounded(tuple(n + sum(more.get(a, (0, 0))) for a, n in enumerate(v.shape)))
    for a, pair in more.items():  # which of its own elements stands where
        places = np.pad(np.arange(v.shape[a]), pair, _MODES[mode]).astype(np.int32)
        v = picked(call.build, v, a, places)
    return v


ROWS: Final[Mapping[str, Row]] = {"Pad": _pad}
