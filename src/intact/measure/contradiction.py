"""Labels that contradict the float network: the pixels or the order of the classes must be wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np
import scipy

from intact.annotations import Values
from intact.data import Samples, units
from intact.data.samples import BATCH
from intact.data.spec import classes_of
from intact.measure import accuracy
from intact.measure.measurement import Measurement
from intact.network.graph import Graph
from intact.network.shapes import concrete
from intact.simulate.engine import Batch, Program, run_batches

#: A network that learned anything is right on more samples than chance and this part of the rest.
_LEARNED: Final = 0.1
#: The pixel ranges that networks are trained with.
_USUAL: Final = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
#: The part of what chance leaves, and the samples for each class, from which on an order of the classes explains the labels.
_MOSTLY: Final = 0.5
_EACH: Final = 8
#: Classes of another place that are told.
_SHOWN: Final = 12
_SAMPLES: Final = 512


@final
@dataclass(frozen=True)
class Contradiction:
    """What was found and what to do about it."""

    what: str
    advice: str


def contradiction(graph: Graph, samples: Samples) -> Contradiction | None:
    """The contradiction between the float ``graph`` and the labels of the first 512 ``samples``; None where they fit.

    They do not where its accuracy is :func:`near_chance`.
    """
    if samples.labels is None or samples.labels.ndim != 1 or len(graph.outputs) != 1:
        return None
    fixed = _fixed_batch(graph)
    samples = samples.take(np.arange(min(_SAMPLES, len(samples)) // fixed * fixed))
    if not len(samples):
        return None
    outputs = _outputs(graph, samples)
    top = accuracy.top1(accuracy.correct(outputs, _labels(samples), accuracy.threshold(outputs)))
    classes = classes_of(units(outputs.shape))
    chance = 100 / classes
    if not near_chance(top, classes):
        return None
    than = "near" if top.value > chance / 2 else "below"
    what = f"the float model itself is right on {top.value:.1f} % of the samples, {than} chance for {classes} classes"
    pixels, order = _other_pixels(graph, samples), _other_order(outputs, samples, classes)
    if order[0] > max(pixels[0], chance + _MOSTLY * (100 - chance)):
        return Contradiction(what, f"the classes have another order: {order[1]}")
    causes = "how the arrays are scaled" if _are_arrays(samples) else "--pixels, --mean and --std"
    if pixels[0] > max(top.value, chance + _LEARNED * (100 - chance)):
        return Contradiction(what, f"{causes}, or the order of the classes, are wrong; {pixels[1]}")
    return Contradiction(what, f"{causes}, the order of the classes, or which label belongs to which sample, are wrong")


def near_chance(top: Measurement, classes: int) -> bool:
    """Whether an accuracy's interval begins below ``c + (100 - c) / 10`` per cent, c being 100 over the classes."""
    chance = 100 / classes
    return top.low is not None and bool(top.low <= chance + _LEARNED * (100 - chance))


def _other_order(outputs: accuracy.Rows, samples: Samples, classes: int) -> tuple[float, str]:
    """On how many per cent the network is right with the classes in the best order, and which that is."""
    made, labels = accuracy.classes(outputs, accuracy.threshold(outputs)), _labels(samples)
    if classes * _EACH > len(labels):  # so few find an order for anything
        return 0.0, ""
    together = np.zeros((classes, classes), np.int64)
    np.add.at(together, (labels, made), 1)
    order = scipy.optimize.linear_sum_assignment(together, maximize=True)[1]
    right = 100 * float(together[np.arange(classes), order].sum()) / len(labels)
    moved = [f"{label} is the model's {own}" for label, own in enumerate(order) if label != own and together[label].any()]
    return right, f"right on {right:.1f} % if label {', '.join(moved[:_SHOWN])}{', and so on' if len(moved) > _SHOWN else ''}"


def _outputs(graph: Graph, samples: Samples, low: float = 0.0, gain: float = 1.0, to: float = 0.0) -> accuracy.Rows:
    """The first output for samples whose values are moved to ``(x - low) * gain + to``."""

    def moved(batch: Batch) -> Batch:
        return {name: ((x - low) * gain + to).astype(x.dtype) for name, x in batch.items()}

    fixed = _fixed_batch(graph)
    batches = samples.batches(max(fixed, BATCH // fixed * fixed))  # whole ones: what is left over of one is not computed
    return next(iter(run_batches(Program(graph), (moved(batch) for batch, _ in batches)).values()))


def _fixed_batch(graph: Graph) -> int:
    """The number of samples that the graph takes at a time; 1 where it takes any."""
    return concrete(graph[graph.inputs[0]])[0]


def _labels(samples: Samples) -> Values[np.ndarray, "n"]:
    if samples.labels is None:
        raise TypeError("there are no labels")
    return samples.labels


def _are_arrays(samples: Samples) -> bool:
    return samples.preprocessing.source == "arrays"


def _held(samples: Samples) -> tuple[float, float] | None:
    """The range that 0 to 255 was mapped to; of arrays the usual one that their values lie in."""
    if not _are_arrays(samples):
        return samples.preprocessing.pixels
    values, _ = samples.batch(np.arange(min(BATCH, len(samples))))
    low, high = (float(end) for end in (min(x.min() for x in values.values()), max(x.max() for x in values.values())))
    return next((usual for usual in _USUAL if usual[0] <= low < high <= usual[1]), None)


def _other_pixels(graph: Graph, samples: Samples) -> tuple[float, str]:
    """On how many per cent the network is right with the best of the other usual ranges of values, and which that is."""
    found: dict[tuple[float, float], float] = {}
    held = _held(samples)
    if held is None or samples.preprocessing.normalizes or not all(graph[i].is_float for i in graph.inputs):
        return 0.0, ""
    low, high = held
    for pixels in _USUAL:
        if pixels == held:
            continue
        outputs = _outputs(graph, samples, low, (pixels[1] - pixels[0]) / (high - low), pixels[0])
        right = accuracy.correct(outputs, _labels(samples), accuracy.threshold(outputs))
        found[pixels] = accuracy.top1(right).value
    best = max(found, key=lambda pixels: found[pixels])
    if _are_arrays(samples):
        how = f"scaled from {low:g}..{high:g} to {best[0]:g}..{best[1]:g}"
    else:
        how = f"with --pixels={best[0]:g},{best[1]:g}"
    return found[best], f"{how} it is right on {found[best]:.1f} %"
