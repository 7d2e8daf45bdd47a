"""ONNX models of a few nodes, and what the reader, ONNX's own evaluator and LiteRT make of them."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from ai_edge_litert.interpreter import Interpreter
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from intact.errors import ModelError, UnsupportedError
from intact.formats import tflite
from intact.formats.onnx import document
from intact.formats.onnx.read import graph_of
from intact.network.graph import Graph
from intact.runtime.scripts import read_onnx

FLOAT = TensorProto.FLOAT
_TYPES = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64, "int32": TensorProto.INT32, "bool": TensorProto.BOOL}
_NARROW = {"int64": "int32", "float64": "float32"}


def model(nodes, inputs, outputs, constants=None, *, opset=17, functions=(), domains=(), sizes=None, ranks=None):
    """``inputs``: arrays or shapes by name; ``outputs``: names; ``constants``: arrays; ``sizes``: shapes as the file says;
    ``ranks``: shapes of outputs that ONNX does not infer."""
    sizes = sizes or {}

    def port(name, given):
        dtype = str(given.dtype) if isinstance(given, np.ndarray) else "float32"
        shape = sizes.get(name, list(given.shape) if isinstance(given, np.ndarray) else list(given))
        return helper.make_tensor_value_info(name, _TYPES[dtype], shape)

    graph = helper.make_graph(
        list(nodes),
        "net",
        [port(name, given) for name, given in inputs.items()],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(np.asarray(data), name) for name, data in (constants or {}).items()],
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    made = helper.make_model(graph, opset_imports=imports, functions=list(functions), ir_version=8 if opset < 21 else 10)
    try:
        inferred = onnx.shape_inference.infer_shapes(made)
    except (ValueError, RuntimeError):  # of a model that is meant to be wrong
        inferred = made
    for n, (name, found) in enumerate(zip(outputs, inferred.graph.output, strict=True)):
        if found.type.tensor_type.HasField("shape"):
            made.graph.output[n].CopyFrom(found)
        else:
            shape = (ranks or {}).get(name, [None] * 4)
            dtype = TensorProto.INT64 if len(shape) == 1 else FLOAT  # classes, of a classifier
            made.graph.output[n].CopyFrom(helper.make_tensor_value_info(name, dtype, shape))
    return made


def node(op, inputs, outputs, name="", domain="", **attributes):
    return helper.make_node(op, list(inputs), list(outputs), name, domain=domain, **attributes)


def graph(made, input_shape=None) -> tuple[Graph, dict]:
    """What the reader makes of a model, in this process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(made.SerializeToString())
        said = {"network": f"{folder}/network.json", "constants": f"{folder}/constants.bin"}
        answer = read_onnx.main({"source": str(path), **said}, None)
        if answer:
            raise UnsupportedError(answer["refused"]) if "refused" in answer else ModelError(answer["corrupt"])
        network = document.read(Path(said["network"]), Path(said["constants"]))
    return graph_of(network, input_shape)


def laid(x: np.ndarray, order: Sequence[int]) -> np.ndarray:
    """An array as the .tflite takes or gives it."""
    return np.array(x.transpose(order), order="C").astype(_NARROW.get(str(x.dtype), x.dtype))


def run(made_graph: Graph, ports: Mapping, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What LiteRT makes of the written graph."""
    given = {name: laid(x, ports["inputs"][name]["order"]) for name, x in inputs.items()}
    return litert(tflite.write(made_graph, named=True), given)


def litert(data: bytes, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What LiteRT makes of a .tflite."""
    return Interpreter(model_content=data).get_signature_runner()(**inputs)


def wanted(made, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    names = [port.name for port in made.graph.output]
    return dict(zip(names, ReferenceEvaluator(made).run(None, dict(inputs)), strict=True))


def runtime(made, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What ONNX Runtime makes of a model."""
    onnxruntime = importlib.import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [port.name for port in made.graph.output]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def gap(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, of the expected numbers' spread, or of a fiftieth of the largest where they are nearly alike."""
    if expected.dtype.kind in "bi":
        return float((found != expected).sum())
    finite = np.isfinite(expected)
    spread = float(np.ptp(expected[finite])) if finite.any() else 0.0
    size = max(spread, float(np.abs(expected[finite]).max(initial=0.0)) / 50) or 1.0
    return float(np.abs(np.where(finite, found - expected, 0)).max(initial=0.0)) / size


def compare(made, inputs: Mapping[str, np.ndarray], *, oracle=wanted, tolerance=1e-5, input_shape=None) -> Graph:
    """The reader's graph, after its outputs in LiteRT were found equal to the oracle's."""
    found_graph, ports = graph(made, input_shape)
    found, expected = run(found_graph, ports, inputs), oracle(made, inputs)
    for name, given in expected.items():
        y = laid(np.asarray(given), ports["outputs"][name])
        assert found[name].shape == y.shape, (name, found[name].shape, y.shape)
        assert found[name].dtype == y.dtype, (name, found[name].dtype, y.dtype)
        assert gap(found[name], y) <= tolerance, (name, gap(found[name], y))
    return found_graph
