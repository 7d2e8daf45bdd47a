"""TensorFlow SavedModel folders: a graph as protocol buffers, and variables beside it."""

import atexit
import random
import shutil
import tempfile
import warnings
from functools import cache
from pathlib import Path

import damage
from harness import Kind

from intact.errors import ModelError, UnsupportedError
from intact.formats import recognize
from kinds import keras

_OPS = ("WriteFile", "ReadFile", "PyFunc", "SaveV2", "RestoreV2", "NoOp", "Identity", "", "StatefulPartitionedCall")


@cache
def seeds() -> tuple[Path, ...]:
    folder = Path(tempfile.mkdtemp(prefix="fuzz-seeds-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in keras.models("keras"):
            model = keras.keras().models.load_model(path)
            keras.script("keras_export").save(model, str(folder / path.stem), None)
    return tuple(sorted(folder.iterdir()))


def mutate(seed: Path, draw: random.Random, folder: Path) -> Path:
    path = folder / "model"
    shutil.copytree(seed, path)
    graph = path / "saved_model.pb"
    match draw.randrange(4):
        case 0:
            graph.write_bytes(damage.data(graph.read_bytes(), draw))
        case 1:
            part = draw.choice([part for part in path.rglob("*") if part.is_file()])
            part.write_bytes(damage.data(part.read_bytes(), draw))
        case _:
            graph.write_bytes(_edited(graph.read_bytes(), draw))
    return path


def _edited(found: bytes, draw: random.Random) -> bytes:  # noqa: PLR0912  # a list of changes
    """The graph with some nodes, inputs, names or sizes changed."""
    from tensorflow.core.protobuf import saved_model_pb2  # noqa: PLC0415

    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString(found)
    graph = saved.meta_graphs[0]
    functions = graph.graph_def.library.function
    for _ in range(draw.choice((1, 2, 3))):
        nodes = [*graph.graph_def.node, *(node for function in functions for node in function.node_def)]
        if not nodes:
            break
        node = draw.choice(nodes)
        match draw.randrange(9):
            case 0:
                node.op = draw.choice((*_OPS, draw.choice(nodes).op, *(function.signature.name for function in functions)))
            case 1:
                node.name = draw.choice(nodes).name
            case 2 if node.input:
                node.input[draw.randrange(len(node.input))] = draw.choice(
                    (draw.choice(nodes).name, "", "^", "no:such:thing", ":0")
                )
            case 3:
                node.input.append(draw.choice(nodes).name)
            case 4 if functions:
                del functions[draw.randrange(len(functions))]
            case 5:
                graph.saver_def.restore_op_name = draw.choice(nodes).name
            case 6:
                graph.saver_def.filename_tensor_name = draw.choice((draw.choice(nodes).name, ""))
            case 7:
                for value in node.attr.values():
                    if value.HasField("tensor"):
                        value.tensor.tensor_shape.dim.add(size=draw.choice(damage.NUMBERS[:-2]))
            case _:
                info = draw.choice([i for s in graph.signature_def.values() for i in (*s.inputs.values(), *s.outputs.values())])
                info.name = draw.choice((draw.choice(nodes).name, "", "x:0"))
    return saved.SerializeToString()


def take(path: Path) -> None:
    """What the child does before TensorFlow loads the copy."""
    recognize.check(path)
    saved_model = keras.script("saved_model")
    with tempfile.TemporaryDirectory() as scratch:
        try:
            saved_model.checked(path, Path(scratch))
        except keras.script("keras2").RefusedError as error:
            raise UnsupportedError(str(error)) from None
        except saved_model.CorruptError as error:
            raise ModelError(str(error)) from None


KIND = Kind("saved_model", seeds, mutate, take)
