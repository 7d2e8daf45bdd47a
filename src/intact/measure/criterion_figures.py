"""The figures that criteria are on: how each is called, in which unit it is typed, which way is better, what it can be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, final

Of: TypeAlias = Literal["float", "quantized", "difference"]
#: What a figure takes to be measured: labels that are classes, outputs that are classes, any outputs, a metric, a file alone,
#: weights of few numbers, a packed file, time, the target's memory, a study, runtimes that a study names; or it is of two
#: computations of the same integers, such as the simulator's and the runtime's.
Group: TypeAlias = Literal[
    "labels", "classes", "outputs", "metric", "file", "weights", "packed", "time", "device", "study", "runtimes", "simulator"
]
#: What is of a file or of a machine; all else is of the samples that it was measured on.
_WITHOUT_SAMPLES: Final[frozenset[Group]] = frozenset({"file", "weights", "packed", "time", "device", "study"})


@final
@dataclass(frozen=True)
class Extent:
    """Which way a figure is ``better``, if that is known, and the ``low`` and ``high`` that it can be; ``is_above``: more than
    ``low``.
    """

    better: Literal["less", "more", ""] = ""
    low: float = -math.inf
    high: float = math.inf
    is_above: bool = False

    def said(self, unit: str) -> str:
        """``from 0 to 100 %``, ``more than 0 ms``, ``at least 0 nats``."""
        called = f" {'points' if unit == 'percentage points' else unit}".rstrip()
        if math.isfinite(self.high):
            return f"from {self.low:g} to {self.high:g}{called}"
        return f"{'more than' if self.is_above else 'at least'} {self.low:g}{called}"

    def beyond(self, sign: str, limit: float) -> Literal["never", "always", ""]:
        """Whether no value there satisfies ``sign limit``, or whether that lies outside, where each does."""
        if sign in {"<=", "<"}:
            never = limit < self.low or (limit == self.low and (self.is_above or sign == "<"))
            return "never" if never else "always" if limit > self.high else ""
        never = limit > self.high or (limit == self.high and sign == ">" and math.isfinite(limit))
        return "never" if never else "always" if limit < self.low or (limit == self.low and self.is_above) else ""


#: Of what is as it is: unknown; a share; points lost; what there is some of, the less the better; so many times as good;
#: how true, in dB; an error; what an error grew by; a count of what is right.
_ANY: Final = Extent()
_SHARE: Final = Extent("more", 0, 100)
_POINTS: Final = Extent("less", -100, 100)
_SOME: Final = Extent("less", 0, is_above=True)
_TIMES: Final = Extent("more", 0, is_above=True)
_TRUE: Final = Extent("more")
_ERROR: Final = Extent("less", 0)
_GROWN: Final = Extent("less")
_RIGHT: Final = Extent("more", 0)
_PART: Final = Extent("more", 0, 1)
_OF_ONE: Final = Extent("less", -1, 1)


@final
@dataclass(frozen=True)
class Figure:
    """A figure that runs measure, as readings name it. ``of``: whose it is, the first where nothing is said.

    ``unit``: that of its value. ``handy``: what else it is called. ``times``: the figure that it becomes where it is compared
    with so many ``x``. ``each``: whether every output has one of its own where there are several.
    """

    name: str
    of: tuple[Of, ...]
    unit: str
    group: Group
    extent: Extent
    handy: tuple[str, ...] = ()
    times: str = ""
    each: bool = False

    @property
    def is_of_samples(self) -> bool:
        """Whether it depends on the samples that it was measured on."""
        return self.group not in _WITHOUT_SAMPLES


_BOTH: Final[tuple[Of, ...]] = ("quantized", "float")
_MADE: Final[tuple[Of, ...]] = ("quantized",)
_GIVEN: Final[tuple[Of, ...]] = ("float",)
_GAP: Final[tuple[Of, ...]] = ("difference",)
#: No reading, but two of them: the float file's over the quantized one's.
PEAK_RATIO: Final = "peak memory ratio"
FLASH: Final = "flash"
FLASH_WITHOUT_CODE: Final = "flash without code"
RAM: Final = "RAM"
RAM_ESTIMATE: Final = "RAM (estimate)"
ARENA: Final = "TFLM arena"
DROP: Final = "accuracy drop"
ACCURACY: Final = "top-1 accuracy"
AGREEMENT: Final = "agreement with float"
IN_FLOAT: Final = "ops in float"
INTEGER_ONLY: Final = "integer only"

FIGURES: Final = (
    Figure(DROP, _GAP, "percentage points", "labels", _POINTS, ("drop",)),
    Figure(ACCURACY, _BOTH, "%", "labels", _SHARE, ("accuracy", "top-1")),
    Figure("top-5 accuracy", _BOTH, "%", "labels", _SHARE, ("top-5",)),
    Figure("top-5 drop", _GAP, "percentage points", "labels", _POINTS),
    Figure("cross entropy", _BOTH, "nats", "labels", _ERROR, ("loss",)),
    Figure("cross entropy increase", _GAP, "nats", "labels", _GROWN, ("loss increase",)),
    Figure(AGREEMENT, _MADE, "%", "classes", _SHARE, ("agreement",), each=True),
    Figure("SQNR", _MADE, "dB", "outputs", _TRUE, each=True),
    Figure("SQNR without the mean", _MADE, "dB", "outputs", _TRUE, each=True),
    Figure("SQNR of the worst channel", _MADE, "dB", "outputs", _TRUE, each=True),
    Figure("levels used", _MADE, "", "outputs", _RIGHT, ("levels",), each=True),
    Figure("pixels of the same class", _MADE, "%", "outputs", _SHARE, ("pixels",), each=True),
    Figure("equal numbers", _MADE, "%", "outputs", _SHARE, each=True),
    *(Figure(name, _BOTH, "", "metric", _ERROR) for name in ("mse", "mae")),
    *(Figure(name, _BOTH, "", "metric", _PART) for name in ("auc", "iou")),
    Figure("metric", _BOTH, "", "metric", _ANY),
    *(Figure(f"{name} increase", _GAP, "", "metric", _GROWN) for name in ("mse", "mae")),
    *(Figure(f"{name} drop", _GAP, "", "metric", _OF_ONE) for name in ("auc", "iou")),
    Figure("metric drop", _GAP, "", "metric", _GROWN),
    Figure("file size", _BOTH, "bytes", "file", _SOME, ("size",), times="size ratio"),
    Figure("size ratio", _GAP, "x", "file", _TIMES),
    Figure("size ratio to the file given", _GAP, "x", "file", _TIMES),
    Figure("bytes of weights", _BOTH, "bytes", "file", _SOME, ("weights",), times="weights ratio"),
    Figure("weights ratio", _GAP, "x", "file", _TIMES),
    Figure("weights ratio in theory", _GAP, "x", "file", _TIMES),
    Figure("latency", _BOTH, "ms", "time", _SOME, times="speed-up"),
    Figure("speed-up", _GAP, "x", "time", _TIMES),
    Figure("peak live activations", _BOTH, "bytes", "file", _SOME, ("peak memory", "memory"), times=PEAK_RATIO),
    Figure(PEAK_RATIO, _GAP, "x", "file", _TIMES),
    *(Figure(name, _MADE, "bytes", "device", _SOME) for name in (RAM, RAM_ESTIMATE, FLASH, FLASH_WITHOUT_CODE)),
    Figure(ARENA, _MADE, "bytes", "device", _SOME, ("arena",)),
    Figure("activations (estimate)", _MADE, "bytes", "device", _ERROR),
    Figure("persistent part (estimate)", _MADE, "bytes", "device", _ERROR),
    Figure(IN_FLOAT, _MADE, "ops", "file", _ERROR),
    Figure("parameters", _GIVEN, "", "file", _SOME),
    Figure("multiply-accumulates", _GIVEN, "", "file", _SOME, ("MACs",)),
    Figure("weight SQNR", _MADE, "dB", "weights", _TRUE),
    Figure("weight MSE", _MADE, "squared units of the weights", "weights", _ERROR),
    Figure("worst weight error", _MADE, "units of the weight", "weights", _ERROR),
    Figure("bytes of weights in theory", _MADE, "bytes", "weights", _SOME),
    Figure("packed file size", _MADE, "bytes", "packed", _SOME),
    Figure("bytes of packed weights", _MADE, "bytes", "packed", _SOME),
    Figure("packed weights ratio", _MADE, "x", "packed", _TIMES),
    Figure("packed indices ratio", _MADE, "x", "packed", _TIMES),
    Figure("TFLM arena, packed", _MADE, "bytes", "packed", _SOME),
    *(Figure(f"throughput at batch {n}", _MADE, "samples/s", "study", _TIMES) for n in (1, 32)),
    Figure("resident memory", _MADE, "bytes", "study", _SOME),
    Figure("speed-up over LiteRT", _GAP, "x", "study", _TIMES),
    Figure("agreement with LiteRT", _GAP, "%", "runtimes", _SHARE, each=True),
    Figure("SQNR beside LiteRT", _GAP, "dB", "runtimes", _TRUE, each=True),
    Figure("packed equals expanded", _MADE, "%", "simulator", _SHARE),
    Figure("simulator = runtime, bit for bit", _MADE, "", "simulator", _RIGHT),
    Figure("simulator = runtime, to float32's rounding", _MADE, "", "simulator", _RIGHT),
    Figure("largest difference", _MADE, "steps", "simulator", _ERROR),
    Figure("largest difference (float simulator)", _MADE, "steps", "simulator", _ERROR, each=True),
    Figure("identical stored integers (float simulator)", _MADE, "%", "simulator", _SHARE, each=True),
    Figure("SQNR of runtime against simulator (float simulator)", _MADE, "dB", "simulator", _TRUE, each=True),
)
#: What a metric loses is called, for metrics by name; "metric drop" for a function of the user's.
LOSSES: Final[Mapping[str, str]] = MappingProxyType(
    {"mse": "mse increase", "mae": "mae increase", "auc": "auc drop", "iou": "iou drop"}
)
#: Units by what they measure, each with what one of it is of the figure's own.
_BYTES: Final = {
    "b": 1, "byte": 1, "bytes": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30,
}  # fmt: skip
_X: Final = {"x": 1, "\N{MULTIPLICATION SIGN}": 1, "times": 1}
UNITS: Final[Mapping[str, Mapping[str, float]]] = MappingProxyType(
    {
        "bytes": _BYTES,
        "ms": {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "μs": 1e-3, "ms": 1, "s": 1e3},
        "percentage points": {"%": 1, "percent": 1, "pp": 1, "point": 1, "points": 1, "percentage points": 1},
        "%": {"%": 1, "percent": 1, "per cent": 1},
        "dB": {"db": 1},
        "x": _X,
        "nats": {"nat": 1, "nats": 1},
        "ops": {"op": 1, "ops": 1},
        "steps": {"step": 1, "steps": 1},
        "samples/s": {"samples/s": 1, "/s": 1, "per second": 1},
        **{unit: {unit: 1} for unit in ("squared units of the weights", "units of the weight")},
        "": {},
    }
)
