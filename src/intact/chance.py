"""Labels that contradict the float network: the pixels or the order of the classes must be wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from intact.data import Samples
from intact.graph import Graph
from intact.measure import accuracy
from intact.simulate import Batch, Program, run_batches
from intact.verify import concrete

#: A network that learned anything is right on more samples than chance and this part of the rest.
_LEARNED: Final = 0.1
#: The pixel ranges that networks are trained with.
_USUAL: Final = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
_SAMPLES: Final = 512
_BATCH: Final = 32


@final
@dataclass(frozen=True)
class Contradiction:
    """What was found and what to do about it."""

    what: str
    advice: str


def contradiction(graph: Graph, samples: Samples) -> Contradiction | None:
    """The contradiction between the float ``graph`` and the labels of the first 512 ``samples``; None where they fit.

    Near chance is an accuracy whose interval begins below ``c + (100 - c) / 10`` per cent, c being 100 over the classes.
    """
    if samples.labels is None or samples.labels.ndim != 1 or len(graph.outputs) != 1:
        return None
    fixed = _fixed_batch(graph)
    samples = samples.take(np.arange(min(_SAMPLES, len(samples)) // fixed * fixed))
    if not len(samples):
        return None
    outputs = _outputs(graph, samples)
    top = accuracy.top1(accuracy.correct(outputs, _labels(samples), accuracy.threshold(outputs)))
    classes = max(outputs.reshape(len(outputs), -1).shape[1], 2)
    chance = 100 / classes
    if top.low is None or top.low > chance + _LEARNED * (100 - chance):
        return None
    return Contradiction(
        f"the float model itself is right on {top.value:.1f} % of the samples, near chance for {classes} classes",
        f"--pixels, --mean and --std, or the order of the classes, are wrong{_other(graph, samples, top.value)}",
    )


def _outputs(graph: Graph, samples: Samples, low: float = 0.0, gain: float = 1.0, to: float = 0.0) -> np.ndarray:
    """The first output for samples whose values are moved to ``(x - low) * gain + to``."""

    def moved(batch: Mapping[str, np.ndarray]) -> Batch:
        return {name: ((x - low) * gain + to).astype(x.dtype) for name, x in batch.items()}

    fixed = _fixed_batch(graph)
    batches = samples.batches(max(fixed, _BATCH // fixed * fixed))  # whole ones: what is left over of one is not computed
    return next(iter(run_batches(Program(graph), (moved(batch) for batch, _ in batches)).values()))


def _fixed_batch(graph: Graph) -> int:
    """The number of samples that the graph takes at a time; 1 where it takes any."""
    return concrete(graph[graph.inputs[0]])[0]


def _labels(samples: Samples) -> np.ndarray:
    if samples.labels is None:
        raise TypeError("there are no labels")
    return samples.labels


def _other(graph: Graph, samples: Samples, now: float) -> str:
    """Which of the usual pixel ranges would fit better."""
    found: dict[tuple[float, float], float] = {}
    low, high = samples.preprocessing.pixels
    pixels_are_scaled = all(graph[i].is_float for i in graph.inputs) and not samples.preprocessing.normalizes
    for pixels in _USUAL if pixels_are_scaled else ():
        if pixels == (low, high):
            continue
        outputs = _outputs(graph, samples, low, (pixels[1] - pixels[0]) / (high - low), pixels[0])
        right = accuracy.correct(outputs, _labels(samples), accuracy.threshold(outputs))
        found[pixels] = accuracy.top1(right).value
    best = max(found, key=lambda pixels: found[pixels], default=None)
    if best is None or found[best] <= now:
        return ""
    return f"; with --pixels {best[0]:g},{best[1]:g} it is right on {found[best]:.1f} %"
