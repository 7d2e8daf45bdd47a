"""Samples as an integer network stores them, with what must come of them."""

from __future__ import annotations

import numpy as np

from intact.data import Samples, input_specs, samples_from
from intact.deploy.project import Vectors
from intact.network.graph import Graph
from intact.network.shapes import infer
from intact.numbers.affine import Affine, limits
from intact.simulate.exact import IntegerProgram


def vectors(graph: Graph, data: object, count: int) -> Vectors:
    """``count`` samples of ``data``, random ones for None, as the network stores them; and what TensorFlow Lite Micro's
    arithmetic makes of them.
    """
    program = IntegerProgram(graph, "tflm")
    if data is None:
        draw, shapes = np.random.default_rng(0), infer(graph, count)
        given = [_drawn(graph, i, shapes[i], draw) for i in graph.inputs]
        about = "Drawn at random from what the inputs can hold."
    else:
        samples: Samples = samples_from(data).bind(input_specs(graph), None).spread(count)
        batch, _ = samples.batch(np.arange(len(samples)))
        given = [program.stored(i, batch[n]).numpy() for i, n in zip(graph.inputs, graph.input_names, strict=True)]
        about = "From the samples that were given."
    made = program(dict(zip(graph.input_names, given, strict=True)))
    return Vectors(tuple(given), tuple(np.asarray(made[n]) for n in graph.output_names), about)


def _drawn(graph: Graph, i: int, shape: tuple[int, ...], draw: np.random.Generator) -> np.ndarray:
    dtype = graph[i].format.dtype
    if not isinstance(graph[i].format, Affine):
        return np.zeros(shape, dtype)
    low, high = limits(dtype)
    return draw.integers(low, high + 1, shape, dtype)
