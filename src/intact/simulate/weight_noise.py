"""What storing the weight of one op otherwise does to the network's output, and what of it no corrected bias takes back."""

from __future__ import annotations

from dataclasses import replace
from typing import final

import numpy as np

from intact.data import Samples
from intact.network.graph import Graph, Tensor
from intact.numbers.affine import Affine, Float, dequantize_array, quantize_weight
from intact.simulate.noise import batches_of, without_softmax
from intact.simulate.partly import Partly


@final
class WeightNoise:
    """The float ``graph`` on some of ``samples``, spread evenly; classes are compared before a SOFTMAX."""

    def __init__(self, graph: Graph, samples: Samples, count: int, device: str = "cpu") -> None:
        self.graph = without_softmax(graph)
        self.partly = Partly(self.graph, batches_of(self.graph, samples, count), device)
        self.power = sum(float(np.square(y.astype(np.float64)).sum()) for y in self.partly.exact.values())

    def of(self, weights: dict[int, Affine]) -> float:
        """The squared error at the output over its power where ``weights``, by tensor id, are stored so and nothing else is.

        Of each element of the output the mean error over the samples is left out: that is what a corrected bias takes back.
        """
        tensors = {i: as_stored(self.graph[i], fmt) for i, fmt in weights.items()}
        made = self.partly.outputs(replace(self.graph, tensors={**self.graph.tensors, **tensors}))
        return sum(_spread(made[name], y) for name, y in self.partly.exact.items()) / max(self.power, 1e-300)


def as_stored(t: Tensor, fmt: Affine) -> Tensor:
    """The float weight with the numbers that it has once it is stored as ``fmt``."""
    data = np.asarray(t.data)
    return replace(t, data=dequantize_array(quantize_weight(data, fmt), fmt), format=Float())


def squared_error(t: Tensor, fmt: Affine) -> float:
    """Of the weight itself, summed."""
    return float(np.square(np.asarray(as_stored(t, fmt).data, np.float64) - np.asarray(t.data, np.float64)).sum())


def _spread(made: np.ndarray, exact: np.ndarray) -> float:
    error = made.astype(np.float64) - exact
    return float(np.square(error - error.mean(0)).sum()) if len(error) > 1 else float(np.square(error).sum())
