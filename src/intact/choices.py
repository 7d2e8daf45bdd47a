"""What may be typed for options, by name alone: a wrong one is refused before anything heavy is loaded.

The things themselves are elsewhere and bring torch or numpy; a test holds these names to theirs.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal, TypeAlias, TypeVar

from intact import reading
from intact.errors import OptionError

Granularity: TypeAlias = Literal["per-channel", "per-tensor"]
Name = TypeVar("Name", bound=str)
#: Whole numbers above do not fit what numpy and torch count with.
_LARGEST: Final = 2**63 - 1
#: Characters of a name that is no path, but the text of a plan.
_LONG_NAME: Final = 200
#: Bytes of a plan: a million tensors.
_LARGEST_PLAN: Final = 256 << 20

GRANULARITIES: Final[tuple[Granularity, ...]] = ("per-channel", "per-tensor")
#: Range estimators, :data:`intact.planning.ranges.ESTIMATORS`.
RANGES: Final = ("auto", "minmax", "moving", "percentile", "mse")
#: :data:`intact.remedies.REMEDIES`.
REMEDIES: Final = ("equalize", "absorb", "mixed", "clip", "ranges", "compensate", "bias", "bias-analytic", "round", "finetune")
#: Those for integers in weights alone.
HYBRID: Final = ("equalize", "compensate", "bias")
#: What outputs and targets are compared by, :data:`intact.measure.metrics.METRICS`.
METRICS: Final = ("mse", "mae", "auc", "iou")
#: What runs a network on a microcontroller: C of its own, TensorFlow Lite Micro, or a project for each.
FIRMWARE: Final = ("c", "tflm", "both")
#: Where remedies learn.
DEVICES: Final = ("auto", "cpu", "cuda")


def granularity(name: str) -> Granularity:
    """``name``, when it is one of :data:`GRANULARITIES`."""
    return _known(name, GRANULARITIES, "weight granularity", "--weights per-channel or per-tensor")


def estimator(name: str) -> str:
    """``name``, when a range estimator is called so."""
    return _known(name, RANGES, "range estimator", f"--ranges with one of: {', '.join(RANGES)}")


def remedies(names: Iterable[str]) -> tuple[str, ...]:
    """``names``, each once, when remedies are called so."""
    how = f"--remedies with auto, none or some of: {','.join(REMEDIES)}"
    return tuple(_known(name, REMEDIES, "remedy", how) for name in dict.fromkeys(names))


def device(name: str) -> str:
    """``name``, when it is one of :data:`DEVICES`; whether the machine has it is another matter."""
    return _known(name, DEVICES, "device", f"--device with one of: {', '.join(DEVICES)}")


def firmware(name: str) -> str:
    """``name``, when it is one of :data:`FIRMWARE`."""
    return _known(name, FIRMWARE, "runtime", f"--runtime with one of: {', '.join(FIRMWARE)}")


def metric(name: str) -> str:
    """``name``, when a metric is called so."""
    return _known(name, METRICS, "metric", f"--metric with one of: {', '.join(METRICS)}, or pass a function in Python")


def whole(option: str, value: object, least: int) -> int:
    """``value`` as an int, when it is a whole number from ``least`` on: of Python or numpy, and no truth value."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or not least <= int(value) <= _LARGEST:
        raise OptionError(f"{option} {value} must be at least {least}, a whole number and below 2**63")
    return int(value)


def real(option: str, value: object, such_as: str) -> float:
    """``value`` as a float, when it is a finite number of Python or numpy, and no truth value."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise OptionError(f"{option} {value} must be a finite number, such as {such_as}")
    return float(value)


def plan(path: Path) -> str:
    """The text of a file that is to be a plan.json; whether it is one is another matter."""
    try:
        return reading.content(path, OptionError, _LARGEST_PLAN).decode()
    except (OptionError, UnicodeDecodeError) as error:
        shown = str(path) if len(str(path)) < _LONG_NAME and str(path).isprintable() else repr(str(path)[:_LONG_NAME])
        raise OptionError(f"{shown} cannot be read as a plan; give --plan a plan.json from a run folder") from error


def _known(name: str, names: tuple[Name, ...], what: str, how: str) -> Name:
    for known in names:
        if name == known:
            return known
    raise OptionError(f"no {what} is called {name!r}; type {how}")
