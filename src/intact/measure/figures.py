"""All figures of one run: how well both files do on the same samples, what they weigh, take and cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias, final

import numpy as np
import torch

from intact.data import Samples
from intact.graph import Graph
from intact.measure import accuracy
from intact.measure.measurement import Measurement
from intact.runtime.litert import Kernels
from intact.simulate import Program

Progress: TypeAlias = Callable[[str, int, int], None]

#: Report samples that the simulator runs too, to say how far it agrees with the runtime.
_SIMULATED: Final = 200


@final
@dataclass(frozen=True)
class Reading:
    """A figure and whose it is: ``"float"``, ``"quantized"`` or ``"difference"``."""

    of: str
    measurement: Measurement

    def to_json(self) -> dict[str, Any]:
        return {"of": self.of, **self.measurement.to_json()}


def fidelity(
    float_outputs: Mapping[str, np.ndarray],
    int_outputs: Mapping[str, np.ndarray],
    report: Samples,
    metric: accuracy.Metric | None,
) -> tuple[Reading, ...]:
    """Accuracy and its drop where there are labels, the metric's where there is one; agreement and SQNR in any case."""
    name = next(iter(float_outputs))
    a, b = float_outputs[name], int_outputs[name]
    readings: list[Reading] = []
    one_score_each = len(float_outputs) == 1 and sum(n > 1 for n in a.shape[1:]) <= 1 and a.size // len(a) <= _MOST_CLASSES
    cut = accuracy.threshold(a)
    if metric is not None and report.targets is not None:
        readings += [
            Reading("float", accuracy.metric_value(metric, float_outputs, report.targets)),
            Reading("quantized", accuracy.metric_value(metric, int_outputs, report.targets)),
            Reading("difference", accuracy.metric_drop(metric, float_outputs, int_outputs, report.targets)),
        ]
    elif report.labels is not None and one_score_each:
        right = accuracy.correct(a, report.labels, cut), accuracy.correct(b, report.labels, cut)
        readings += [
            Reading("float", accuracy.top1(right[0])),
            Reading("quantized", accuracy.top1(right[1])),
            Reading("difference", accuracy.drop(*right)),
        ]
    if one_score_each and metric is None:
        readings.append(Reading("quantized", accuracy.agreement(accuracy.classes(a, cut), accuracy.classes(b, cut))))
    for output, reference in float_outputs.items():
        label = "SQNR" if len(float_outputs) == 1 else f"SQNR of {output}"
        readings.append(Reading("quantized", accuracy.sqnr(reference, int_outputs[output], label)))
    return tuple(readings)


#: Vectors longer than this are embeddings or reconstructions, not classes, unless labels say otherwise.
_MOST_CLASSES: Final = 100_000


def simulated(graph: Graph, int_outputs: Mapping[str, np.ndarray], report: Samples, kernels: Kernels) -> tuple[Reading, ...]:
    """How far the simulator of ``graph`` and the runtime agree, on the first samples of the report."""
    count = min(_SIMULATED, len(report))
    program = Program(graph)
    parts = []
    with torch.inference_mode():
        for start in range(0, count, 50):
            batch, _ = report.batch(np.arange(start, min(start + 50, count)))
            parts.append({name: y.numpy() for name, y in program(batch).items()})
    outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    name = next(iter(outputs))
    measured = accuracy.sqnr(int_outputs[name][:count], outputs[name], "simulator SQNR against the runtime")
    return (Reading("quantized", Measurement(**{**vars(measured), "how": f"simulator against {kernels} kernels"})),)


def compare(  # noqa: PLR0913  # all by keyword
    *,
    float_outputs: Mapping[str, np.ndarray],
    int_outputs: Mapping[str, np.ndarray],
    report: Samples,
    metric: accuracy.Metric | None,
    files: Mapping[str, Path],
    float_graph: Graph,
    graph: Graph,
    kernels: Kernels,
    progress: Progress,
) -> tuple[Reading, ...]:
    """Every figure, the float model's own first: it shows whether preprocessing is right."""
    readings = [*fidelity(float_outputs, int_outputs, report, metric)]
    progress("simulate", 0, 0)
    readings += simulated(graph, int_outputs, report, kernels)
    del files, float_graph
    return tuple(readings)
