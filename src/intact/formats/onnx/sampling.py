"""ONNX's GridSample: an image read at places between its elements, which a grid says, known or computed."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

from intact.errors import UnsupportedError
from intact.formats.onnx.activations import cast
from intact.formats.onnx.arithmetic import combined, scalar
from intact.formats.onnx.build import Builder, Stored, Value
from intact.formats.onnx.call import Call, Row
from intact.formats.onnx.shaping import part, reshaped
from intact.formats.onnx.windows import LAST
from intact.ops.activation import Abs
from intact.ops.base import OpKind
from intact.ops.elementwise import Add, Maximum, Minimum, Mul, Sub
from intact.ops.logic import GreaterEqual, LessEqual, LogicalAnd
from intact.ops.rounding import Floor, FloorMod, Round
from intact.ops.shaping import Gather

#: What ``mode`` may be; since opset 20 the first is called as the second.
_MODES: Final = ("bilinear", "linear", "nearest")
_PADDINGS: Final = ("zeros", "border", "reflection")


@final
@dataclass(frozen=True)
class _Axis:
    """Places along one dimension of ``size`` elements, [1, places], counted in elements from the first."""

    build: Builder
    size: int
    aligned: bool
    is_nearest: bool

    def by(self, kind: OpKind, v: Value, number: float) -> Value:
        return combined(self.build, kind, v, scalar(number))

    def places(self, grid: Value, padding: str) -> Value:
        """What the grid has from -1 to 1, in elements: the middle of the outermost ones where ``aligned``, else their edges.

        The nearest element is found before reflection, as ONNX Runtime finds it: of two as near it would be the other.
        """
        gain, shift = ((self.size - 1) / 2,) * 2 if self.aligned else (self.size / 2, (self.size - 1) / 2)
        found = self.by(Add(), self.by(Mul(), grid, gain), shift)
        found = self._one(Round(), found) if self.is_nearest else found
        if padding == "reflection":
            found = self._reflected(found)
        return found if padding == "zeros" else self.within(found)

    def _reflected(self, v: Value) -> Value:
        """``low + span - |(v - low) mod (2 span) - span|``: there and back between the outermost places."""
        low, span = (0.0, self.size - 1.0) if self.aligned else (-0.5, float(self.size))
        if not span:
            return self.by(Mul(), v, 0.0)
        round_trip = self.by(FloorMod(), self.by(Sub(), v, low), 2 * span)
        back = self._one(Abs(), self.by(Sub(), round_trip, span))
        return combined(self.build, Sub(), scalar(low + span), back)

    def within(self, v: Value) -> Value:
        return self.by(Minimum(), self.by(Maximum(), v, 0.0), self.size - 1.0)

    def _one(self, kind: OpKind, v: Value) -> Value:
        return Value(self.build.one(kind, v.stored), v.shape, v.order)

    def taps(self, v: Value) -> list[tuple[Value, Value | None]]:
        """The elements that a place is between, and their weights; None stands for 1."""
        if self.is_nearest:
            return [(v, None)]
        low = self._one(Floor(), v)
        behind = combined(self.build, Sub(), v, low)
        before = combined(self.build, Sub(), scalar(1.0), behind)
        return [(low, before), (self.by(Add(), low, 1.0), behind)]

    def is_there(self, v: Value) -> Value:
        """1.0 where an element is, 0.0 outside."""
        inside = combined(self.build, LogicalAnd(), self.by(GreaterEqual(), v, 0.0), self.by(LessEqual(), v, self.size - 1.0))
        return cast(self.build, inside, "float32")


def _product(build: Builder, a: Value | None, b: Value | None) -> Value | None:
    """The product of weights, of which None stands for 1."""
    if a is None or b is None:
        return b if a is None else a
    return combined(build, Mul(), a, b)


def _grid_sample(call: Call) -> Value:
    """The sum of the elements around each place by how near they are, [n, c, h, w] at [n, h', w', (x, y)]."""
    x, grid, build = call.value(0), call.value(1), call.build
    mode, padding = call.text("mode", "bilinear"), call.text("padding_mode", "zeros")
    if mode not in _MODES or padding not in _PADDINGS:
        raise UnsupportedError(f"it samples by {mode!r} with {padding!r} around, and only 'bilinear' and 'nearest' can be read")
    if x.rank != 4 or grid.rank != 4 or grid.shape[-1] != 2 or grid.shape[0] != x.shape[0]:
        raise UnsupportedError(f"it samples {list(x.shape)} at {list(grid.shape)}, and only images of one sample can be read")
    n, channels, height, width = x.shape
    count = grid.shape[1] * grid.shape[2]
    flat = reshaped(build, grid, (n, count, 2))
    aligned = bool(call.integer("align_corners", 0))
    axes = [_Axis(build, size, aligned, mode == "nearest") for size in (height, width)]
    taps = list[list[tuple[Value, Value | None]]]()
    for axis, at in zip(axes, (1, 0), strict=True):
        coordinate = reshaped(build, part(build, flat, {2: range(at, at + 1)}), (n, count))
        taps.append([_held(axis, *tap, padding) for tap in axis.taps(axis.places(coordinate, padding))])
    pixels = build.reshaped(build.arranged(x, LAST[2]).stored, (n, height * width, channels))
    terms = list[Value]()
    for (row, by_row), (column, by_column) in itertools.product(*taps):
        place = combined(build, Add(), combined(build, Mul(), row, scalar(float(width))), column)
        found = _picked(build, pixels, build.as_onnx(cast(build, place, "int32")).stored)
        weight = _product(build, by_row, by_column)
        terms.append(found if weight is None else combined(build, Mul(), found, reshaped(build, weight, (n, count, 1))))
    total = functools.reduce(lambda a, b: combined(build, Add(), a, b), terms)
    stored = build.reshaped(build.as_onnx(total).stored, (n, *grid.shape[1:3], channels))
    return call.resized(stored, LAST[2])


def _picked(build: Builder, pixels: Stored, place: Stored) -> Value:
    """The pixels [n, c] of each sample at its places, or of every sample at places that are known."""
    if place.data is not None:
        return Value.plain(build.one(Gather(1), pixels, place.data.reshape(-1)))
    return Value.plain(build.one(Gather(1, 1), pixels, place))


def _held(axis: _Axis, at: Value, weight: Value | None, padding: str) -> tuple[Value, Value | None]:
    """An element that is there, and its weight: none where it stands for one outside of which zeros are taken."""
    there = axis.is_there(at) if padding == "zeros" else None
    return axis.within(at), _product(axis.build, weight, there)


ROWS: Final[Mapping[str, Row]] = {"GridSample": _grid_sample}
