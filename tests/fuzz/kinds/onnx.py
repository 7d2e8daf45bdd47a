"""``.onnx`` files: bytes that are damaged, and sound protobuf messages whose numbers, names and shapes are others."""

import atexit
import functools
import random
import shutil
import tempfile
from pathlib import Path

import damage
import numpy as np
import onnx as library
from harness import Kind
from onnx import TensorProto, helper, numpy_helper

from intact.errors import ModelError, UnsupportedError
from intact.formats import recognize, tflite
from intact.formats.onnx import document
from intact.formats.onnx.read import graph_of
from intact.runtime.scripts import read_onnx


def _net(nodes, shape, constants):
    values = [numpy_helper.from_array(np.asarray(x), name) for name, x in constants.items()]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name, size in (("x", shape), ("y", [1, 2]))]
    graph = helper.make_graph(nodes, "net", ports[:1], ports[1:], values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _real(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@functools.cache
def seeds() -> tuple[Path, ...]:
    folder = Path(tempfile.mkdtemp(prefix="fuzz-seeds-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    node, whole = helper.make_node, functools.partial(np.asarray, dtype=np.int64)
    image = [
        node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
        node("BatchNormalization", ["c", "b", "b", "b", "v"], ["n"], epsilon=1e-3),
        node("Clip", ["n", "low", "high"], ["r"]),
        node("MaxPool", ["r"], ["m"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1),
        node("ConvTranspose", ["m", "t"], ["u"], strides=[2, 2]),
        node("Resize", ["r", "", "scales"], ["z"], mode="linear"),
        node("AveragePool", ["z"], ["p"], kernel_shape=[2, 2], pads=[0, 0, 1, 1]),
        node("GlobalAveragePool", ["p"], ["g"]),
        node("ReduceMean", ["u"], ["k"], axes=[2, 3]),
        node("Concat", ["g", "k"], ["s"], axis=1),
        node("Flatten", ["s"], ["f"]),
        node("Gemm", ["f", "l"], ["y"], transB=1),
    ]
    shapes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "zero"], ["n"], axis=0),
        node("Unsqueeze", ["n", "axis"], ["d"]),
        node("Concat", ["d", "rest"], ["to"], axis=0),
        node("Reshape", ["x", "to"], ["a"]),
        node("Transpose", ["a"], ["b"], perm=[0, 2, 1]),
        node("Softmax", ["b"], ["e"], axis=1),
        node("MatMul", ["e", "a"], ["q"]),
        node("Slice", ["q", "axis", "end", "axis", "step"], ["h"]),
        node("Pad", ["h", "pads"], ["i"], mode="reflect"),
        node("Split", ["i"], ["j", "o"], axis=2),
        node("Mul", ["j", "o"], ["v"]),
        node("Expand", ["v", "wide"], ["k"]),
        node("ReduceSum", ["k", "axis"], ["r"], keepdims=0),
        node("Tile", ["r", "pair"], ["t"]),
        node("ArgMax", ["t"], ["m"], axis=1),
        node("Cast", ["m"], ["y"], to=1),
    ]
    first = {"w": _real(4, 3, 3, 3), "b": _real(4), "v": np.ones(4, np.float32), "low": np.float32(0), "high": np.float32(6)}
    first |= {"t": _real(4, 4, 2, 2), "l": _real(2, 8), "scales": np.asarray([1, 1, 2, 2], np.float32)}
    second = {"zero": whole(0), "axis": whole([1]), "rest": whole([4, -1]), "end": whole([3]), "step": whole([1])}
    second |= {"pads": whole([0, 0, 1, 0, 0, 1]), "wide": whole([1, 1, 1]), "pair": whole([1, 2])}
    library.save(_net(image, [1, 3, 12, 12], first), folder / "image.onnx")
    library.save(_net(shapes, [1, 3, 8], second), folder / "shapes.onnx")
    return tuple(sorted(folder.iterdir()))


def mutate(seed: Path, draw: random.Random, folder: Path) -> Path:
    path = folder / "model.onnx"
    data = seed.read_bytes()
    path.write_bytes(damage.data(data, draw) if draw.random() < 0.3 else _other(data, draw))
    return path


_NUMBERS = (-(2**63), -(2**31), -2, -1, 0, 1, 2, 3, 5, 7, 64, 1000, 65_537, 2**31 - 1, 2**40, 2**63 - 1)


def _other(data: bytes, draw: random.Random) -> bytes:
    """A model with a few of its parts exchanged for others."""
    model = library.ModelProto.FromString(data)
    graph = model.graph
    for _ in range(draw.randint(1, 4)):
        node = draw.choice(graph.node)
        names = [name for other in graph.node for name in (*other.input, *other.output)]
        match draw.randrange(9):
            case 0 if node.input:
                node.input[draw.randrange(len(node.input))] = draw.choice([*names, ""])
            case 1 if node.input:
                del node.input[draw.randrange(len(node.input))]
            case 2:
                node.op_type = draw.choice(graph.node).op_type
            case 3 if node.attribute:
                _change(draw.choice(node.attribute), draw)
            case 4:
                tensor = draw.choice(graph.initializer)
                if tensor.data_type == TensorProto.INT64:
                    array = np.array(numpy_helper.to_array(tensor))
                    array.reshape(-1)[draw.randrange(array.size)] = draw.choice(_NUMBERS)
                    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
                else:
                    tensor.dims[:] = [draw.choice(_NUMBERS) if draw.random() < 0.3 else n for n in tensor.dims]
            case 5:
                size = draw.choice(graph.input[0].type.tensor_type.shape.dim)
                size.dim_value = draw.choice(_NUMBERS[4:])
            case 6:
                at = draw.randrange(len(graph.node))
                graph.node.insert(draw.randrange(len(graph.node)), graph.node[at])
            case 7:
                del graph.node[draw.randrange(1, len(graph.node))]
            case 8 if node.input:
                node.input.append(draw.choice(names))
    return model.SerializeToString()


def _change(attribute, draw: random.Random) -> None:
    if attribute.ints:
        attribute.ints[draw.randrange(len(attribute.ints))] = draw.choice(_NUMBERS)
    elif attribute.s:
        attribute.s = draw.choice([b"", b"reflect", b"cubic", b"nearest", b"\xff"])
    else:
        attribute.i, attribute.f = draw.choice(_NUMBERS), draw.choice([0.0, -1.0, float("nan"), float("inf"), 1e30])


def take(path: Path) -> None:
    """As :func:`intact.formats.onnx.file_to_tflite`, without processes of their own."""
    recognize.check(path)
    with tempfile.TemporaryDirectory() as folder:
        said = {"network": f"{folder}/network.json", "constants": f"{folder}/constants.bin"}
        answer = read_onnx.main({"source": str(path), **said}, None)
        if "corrupt" in answer:
            raise ModelError(answer["corrupt"])
        if "refused" in answer:
            raise UnsupportedError(answer["refused"])
        network = document.read(Path(said["network"]), Path(said["constants"]))
        tflite.read(tflite.write(graph_of(network, None)[0], named=True))


KIND = Kind("onnx", seeds, mutate, take)
