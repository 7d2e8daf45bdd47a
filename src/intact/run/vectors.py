"""An integer network from its file, and samples as it stores them, call by call, with what must come of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from intact.data import Samples, input_specs, samples_from
from intact.deploy.project import Vectors
from intact.errors import ModelError, UnsupportedError
from intact.formats import recognize, tflite
from intact.formats.tflite.op_codes import sums_in_32_bits
from intact.network.graph import Graph, Tensor
from intact.network.lanes import Lanes
from intact.network.shapes import infer
from intact.numbers.affine import Affine, dequantize_array, limits
from intact.simulate.engine import Engine, Program
from intact.simulate.exact import IntegerProgram


def integer_network(path: Path, use: str) -> tuple[bytes, Graph]:
    """The bytes of an integer .tflite, and the network in them; ModelError for a float one says what to ``use`` instead.

    UnsupportedError for layers that sum otherwise than what is read of them says.
    """
    content = recognize.check_tflite(path).read_bytes()
    graph = tflite.read(content)
    if sums_in_32_bits(content):
        raise UnsupportedError(
            "it has a layer of 16-bit activations without a bias that asks for sums of 32 bits, which Intact does not read; "
            "give the layer a bias, or export with biases of int64"
        )
    if not graph.is_quantized:
        raise ModelError(f"it is a float network; type intact quantize with --target mcu, and {use} the model.tflite it writes")
    return content, graph


def vectors(graph: Graph, data: object, count: int) -> Vectors:
    """``count`` calls with samples of ``data``, random ones for None, and what must come of them.

    UnsupportedError where that is not known to the last bit.
    """
    inputs, about = calls(graph, data, count)
    return Vectors(inputs, simulated(graph, inputs), about)


def calls(graph: Graph, data: object, count: int) -> tuple[tuple[np.ndarray, ...], str]:
    """What ``count`` calls at most are given, [n, *shape] as stored, by input; and where it is from."""
    shapes = infer(graph)
    if data is None:
        draw = np.random.default_rng(0)
        drawn = tuple(_drawn(graph[i], (count, *shapes[i]), draw) for i in graph.inputs)
        return drawn, "Drawn at random from what the inputs can hold."
    program = IntegerProgram(graph, "tflm")
    samples: Samples = samples_from(data).bind(input_specs(graph), None).spread(count * Lanes(graph).size)
    batch, _ = samples.batch(np.arange(len(samples)))
    stored = (program.stored(i, batch[n]).numpy() for i, n in zip(graph.inputs, graph.input_names, strict=True))
    given = tuple(x.reshape(-1, *shapes[i]) for i, x in zip(graph.inputs, stored, strict=True))
    return given, "From the samples that were given."


def simulated(graph: Graph, inputs: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """What the arithmetic of TensorFlow Lite Micro makes of ``inputs``, call by call as they are.

    UnsupportedError where that is not known to the last bit.
    """
    return _called(IntegerProgram(graph, "tflm"), inputs)


def real_vectors(graph: Graph, floats: Graph, inputs: tuple[np.ndarray, ...]) -> Vectors:
    """What stored ``inputs`` of ``graph`` stand for, and what the same network in float32, ``floats``, makes of that."""
    formats = [graph[i].format for i in graph.inputs]
    given = (dequantize_array(x, fmt) if isinstance(fmt, Affine) else x for x, fmt in zip(inputs, formats, strict=True))
    real = tuple(given)
    return Vectors(real, _called(Program(floats), real), "What stored integers stand for.")


def _called(engine: Engine, inputs: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """Outputs call by call."""
    graph = engine.graph
    given = {n: x.reshape(-1, *x.shape[2:]) for n, x in zip(graph.input_names, inputs, strict=True)}  # samples, not calls
    made, shapes = engine(given), infer(graph)
    return tuple(np.asarray(made[n]).reshape(-1, *shapes[i]) for i, n in zip(graph.outputs, graph.output_names, strict=True))


def _drawn(t: Tensor, shape: tuple[int, ...], draw: np.random.Generator) -> np.ndarray:
    if isinstance(t.format, Affine):
        low, high = limits(t.format.dtype)
        return draw.integers(low, high + 1, shape, t.format.dtype)
    return draw.normal(size=shape).astype(np.float32) if t.is_float else np.zeros(shape, t.format.dtype)
