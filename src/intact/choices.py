"""What may be typed for options, by name alone: a wrong one is refused before anything heavy is loaded.

The things themselves are elsewhere and bring torch or numpy; a test holds these names to theirs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, TypeAlias

from intact.errors import OptionError

Granularity: TypeAlias = Literal["per-channel", "per-tensor"]

GRANULARITIES: Final[tuple[Granularity, ...]] = ("per-channel", "per-tensor")
#: Range estimators, :data:`intact.planning.ranges.ESTIMATORS`.
RANGES: Final = ("auto", "minmax", "moving", "percentile", "mse")
#: :data:`intact.remedies.REMEDIES`.
REMEDIES: Final = ("equalize", "absorb", "mixed", "clip", "ranges", "bias", "bias-analytic", "round", "finetune")
#: What outputs and targets are compared by, :data:`intact.measure.metrics.METRICS`.
METRICS: Final = ("mse", "mae", "auc", "iou")
#: Where remedies learn.
DEVICES: Final = ("auto", "cpu", "cuda")


def granularity(name: str) -> Granularity:
    """``name``, when it is one of :data:`GRANULARITIES`."""
    for known in GRANULARITIES:
        if name == known:
            return known
    raise OptionError(f"no weight granularity is called {name!r}; type --weights {' or '.join(GRANULARITIES)}")


def estimator(name: str) -> str:
    """``name``, when a range estimator is called so."""
    if name not in RANGES:
        raise OptionError(f"no range estimator is called {name!r}; type --ranges with one of: {', '.join(RANGES)}")
    return name


def remedies(names: Iterable[str]) -> tuple[str, ...]:
    """``names``, each once, when remedies are called so."""
    wanted = tuple(dict.fromkeys(names))
    for name in wanted:
        if name not in REMEDIES:
            raise OptionError(f"no remedy is called {name!r}; type --remedies with auto, none or some of: {','.join(REMEDIES)}")
    return wanted


def device(name: str) -> str:
    """``name``, when it is one of :data:`DEVICES`; whether the machine has it is another matter."""
    if name not in DEVICES:
        raise OptionError(f"no device is called {name!r}; type --device with one of: {', '.join(DEVICES)}")
    return name


def metric(name: str) -> str:
    """``name``, when a metric is called so."""
    if name not in METRICS:
        raise OptionError(
            f"no metric is called {name!r}; type --metric with one of: {', '.join(METRICS)}, or pass a function in Python"
        )
    return name
