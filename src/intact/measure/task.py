"""What the numbers of an output stand for: classes, boxes, masks or plain values. Only classes are right or wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, Literal, final

import numpy as np

from intact.annotations import Floats, Numbers
from intact.data import Samples, units
from intact.measure import accuracy
from intact.measure.accuracy import NamedOutputs, Rows
from intact.network.graph import Graph

#: Ops that leave each number what it is: what makes an output is looked for behind them.
_SEE_THROUGH: Final = frozenset({"DEQUANTIZE", "EXPAND_DIMS", "QUANTIZE", "RESHAPE", "SQUEEZE", "TRANSPOSE"})
_NORMALIZED: Final = frozenset({"LOG_SOFTMAX", "SOFTMAX"})
#: Vectors longer than this are embeddings or reconstructions, not classes.
_MOST_CLASSES: Final = 100_000
#: How far the norm of an embedding is from 1: float16 weights leave 1e-3.
_UNIT: Final = 2e-3
#: The part of the samples that may have several scores above one half, if only one is meant to be.
_SEVERAL: Final = 0.05
#: What logits look like: trained ones are within 100 of 0; what tells classes apart is more than what their averages differ by
#: (corner points of a face: 0.9 of all variance is that of the averages; three trained classifiers: 0.02 to 0.2); one of
#: them stands out, which gives it a probability (0.99 in the median of these classifiers, 0.07 for 128 standard normal
#: numbers); and no class takes nearly all.
_LARGEST_LOGIT: Final = 100.0
_AVERAGES: Final = 0.5
_CONFIDENT: Final = 0.6
_ALWAYS: Final = 0.95
#: Fewer numbers without labels are a regression (poses, corners, coordinates) as often as classes.
_FEW: Final = 8
#: The largest of c logits must be further from the others, in their standard deviations, than that of c normal numbers is:
#: sqrt(2 ln c) and this (2.3 for ten, 3.3 for 128; three trained classifiers of ten: 2.4, 5.7 and 5.9).
_FURTHER: Final = 0.2


@final
@dataclass(frozen=True)
class Task:
    """What an output is taken for, and why, as the end of "taken for classes: …"."""

    kind: Literal["classes", "boxes", "masks", "values"]
    why: str

    @property
    def are_classes(self) -> bool:
        return self.kind == "classes"

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "why": self.why}


def tasks(
    graph: Graph, outputs: NamedOutputs, samples: Samples, *, asked: bool = False, metric: bool = False
) -> dict[str, Task]:
    """What each of a float network's ``outputs`` ``[n, ...]`` is, by name.

    From the op that makes it, its shape, the labels of ``samples`` and, where these leave it open, its numbers: in doubt they
    are values. ``asked``: a limit on classes was asked for, which settles a doubt. ``metric``: the user says what counts,
    and labels are no sign of classes.
    """
    makers = {name: maker(graph, i) for name, i in zip(graph.output_names, graph.outputs, strict=True)}
    labelled = len(outputs) == 1 and samples.labels is not None and not metric
    found = {name: _task(y, makers.get(name, ""), samples, labelled=labelled, asked=asked) for name, y in outputs.items()}
    return {name: _beside(task, name, outputs) for name, task in found.items()}


def maker(graph: Graph, output: int) -> str:
    """The kind of op that makes a tensor's numbers, behind ops that only reorder or convert them; empty for an input."""
    makers = graph.producers()
    op = makers.get(output)
    while op is not None and op.kind.name in _SEE_THROUGH and op.inputs[0] is not None:
        op = makers.get(op.inputs[0])
    return "" if op is None else op.kind.name


def copied_input(graph: Graph) -> str | None:
    """The input that the only output may be a copy of, as an autoencoder's is: of its shape, and no probabilities."""
    if len(graph.outputs) != 1 or maker(graph, graph.outputs[0]) in {*_NORMALIZED, "ARG_MAX"}:
        return None
    shape = graph[graph.outputs[0]].shape[1:]
    alike = (name for name, i in zip(graph.input_names, graph.inputs, strict=True) if graph[i].shape[1:] == shape)
    return next(alike, None) if math.prod(size or 0 for size in shape) > 2 else None


def _task(output: Rows, made_by: str, samples: Samples, *, labelled: bool, asked: bool) -> Task:
    if output.dtype.kind in "iub":
        return _whole_numbers(output, made_by)
    count = units(output.shape)
    if count is None:
        return _map(output, made_by)
    if labelled:
        return Task("classes", "the data has labels that are its classes")
    if count == 1:
        return _one_number(output, made_by, samples, asked=asked)
    scores = output.reshape(len(output), count)
    if made_by in _NORMALIZED:
        return Task("classes", f"a {made_by} makes it")
    if accuracy.are_probabilities(scores):
        return Task("classes", "its numbers are probabilities that add up to 1")
    why_not = _no_scores(scores, made_by, samples)
    if why_not:
        return Task("values", why_not)
    if asked:
        return Task("classes", "agreement on classes was asked for")
    if made_by == "LOGISTIC":
        return Task("values", f"{count} scores of a LOGISTIC that do not add up to 1 are independent of each other")
    doubt = _unlike_logits(scores)
    return Task("values", doubt) if doubt else Task("classes", f"its {count} numbers look like logits")


def _whole_numbers(output: Rows, made_by: str) -> Task:
    if made_by != "ARG_MAX":
        return Task("values", "it holds whole numbers")
    one = units(output.shape) == 1
    return Task("classes" if one else "masks", "an ARG_MAX makes it")


def _map(output: Rows, made_by: str) -> Task:
    shape = ["n", *output.shape[1:]]
    probable = output.ndim > 3 and output.shape[-1] > 1 and made_by == "SOFTMAX"
    if probable:
        return Task("masks", f"a SOFTMAX makes {output.shape[-1]} scores for each place of {shape}")
    if output.ndim == 3 and output.shape[-1] == 4:
        return Task("boxes", f"it has four numbers for each of {output.shape[1]:,} places")
    return Task("values", f"an output of shape {shape} is not one vector of scores")


def _beside(task: Task, name: str, outputs: NamedOutputs) -> Task:
    """``task``, or boxes where another output has scores for as many places."""
    y = outputs[name]
    others = [x for other, x in outputs.items() if other != name and x.ndim == 3 and x.shape[1] == y.shape[1]]
    if task.kind == "values" and y.ndim == 3 and y.shape[-1] > 4 and any(x.shape[-1] == 1 for x in others):
        return Task("boxes", f"another output has one score for each of its {y.shape[1]:,} places")
    return task


def _one_number(output: Rows, made_by: str, samples: Samples, *, asked: bool) -> Task:
    if not (asked or made_by == "LOGISTIC"):
        return Task("values", "one number that no LOGISTIC makes, without labels 0 and 1, is a regression")
    why_not = accuracy.why_no_classes(output, samples)
    return Task("values", why_not) if why_not else Task("classes", "the one number is on both sides of its threshold")


def _no_scores(scores: Numbers[np.ndarray, "n c"], made_by: str, samples: Samples) -> str:
    """Why numbers ``[n, c]`` cannot be the scores of classes, whatever was asked for; empty where they can."""
    count = scores.shape[1]
    if count > _MOST_CLASSES:
        return f"vectors of {count:,} numbers are too long for classes"
    if made_by == "L2_NORMALIZATION":
        return "an L2_NORMALIZATION makes it, as of embeddings"
    norms = np.sqrt(np.square(scores.astype(np.float64)).sum(1))
    if len(scores) > 1 and np.abs(norms - 1).max() < _UNIT:
        return "its vectors have length 1, as embeddings have"
    if made_by == "LOGISTIC" and float(((scores > 0.5).sum(1) > 1).mean()) > _SEVERAL:
        return "several of its scores are above one half at once: labels that exclude each other they are not"
    return accuracy.why_no_classes(scores, samples)


def _unlike_logits(scores: Numbers[np.ndarray, "n c"]) -> str:
    """Why numbers ``[n, c]`` do not look like the logits of a trained classifier; empty where they do."""
    x, count = scores.astype(np.float64), scores.shape[1]
    said = f"{count} numbers that are no probabilities, without labels, and"
    if count < _FEW:
        return f"{said} so few that they may as well be a regression"
    if not np.isfinite(x).all() or np.abs(x).max() > _LARGEST_LOGIT:
        return f"{said} larger than logits are"
    winners = np.bincount(x.argmax(1), minlength=count)
    if winners.max() > _ALWAYS * len(x):
        return f"{said} the same one is nearly always the largest"
    averages, within = float(x.mean(0).var()), float(x.var(0).mean())
    if averages > _AVERAGES * (averages + within):
        return f"{said} each varies around a place of its own"
    if float(np.median(accuracy.probabilities(x).max(1))) < _CONFIDENT:
        return f"{said} none of them stands out as a class does"
    if _distance(x) < math.sqrt(2 * math.log(count)) + _FURTHER:
        return f"{said} the largest is no further from the others than chance puts it"
    return ""


def _distance(x: Floats[np.ndarray, "n c"]) -> float:
    """How far the largest number of a row is from the mean of the others, in their standard deviations: the median."""
    others = np.sort(x, 1)[:, :-1]
    return float(np.median((x.max(1) - others.mean(1)) / np.maximum(others.std(1), 1e-12)))
