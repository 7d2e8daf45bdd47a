"""What the graph of a SavedModel may hold, on its parsed ``saved_model.pb``: TensorFlow has loaded nothing of it yet.

Loading a SavedModel runs what it holds: it restores variables with an operation that the file names, and runs its
initializers; converting computes what depends on constants alone. So every node of every graph and function must be of the
closed list in ``graph_ops.py``. Every SavedModel can save itself, too: that part, which no inference needs, is cut out first,
and a file in which anything else depends on it is refused. ``RestoreV2`` may read the variables of the folder, and no file
that the graph itself names.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

#: Protocol buffers of TensorFlow, which is imported only when called.
Foreign: TypeAlias = Any

#: What saving is made of.
_SAVING: Final = frozenset({"SaveV2", "SaveSlices", "Save", "MergeV2Checkpoints", "ShardedFilename"})
_RESTORING: Final = "RestoreV2"
#: Bytes of constants that stand in the file as one repeated value.
_MOST_REPEATED: Final = 512 << 20
_ADVICE: Final = "save the inference alone, as in tf.saved_model.save(module, folder, signatures=function)"


def inference_only(saved: Foreign) -> None:
    """Cut out of a parsed SavedModel what saves it; raise ``keras2.RefusedError`` if what is left does more than compute."""
    for graph in saved.meta_graphs:
        _cut_saving(graph)
        _check(graph)


def _refused(text: str) -> Exception:
    refused: Exception = importlib.import_module("keras2").RefusedError(text)
    return refused


def _called(node: Foreign) -> Iterator[str]:
    """The functions that a node may call: by its attributes, or as its own operation."""
    yield node.op
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        yield from (function.name for function in value.list.func)


def _reached(names: Iterable[str], calls: Mapping[str, set[str]]) -> set[str]:
    """Functions called from ``names``, and those themselves."""
    found: set[str] = set()
    pending = [name for name in names if name in calls]
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += [other for other in calls[name] if other in calls]
    return found


def _source(tensor: str) -> str:
    """The node that an input comes from: ``a`` of ``a``, ``a:0`` and ``^a``."""
    return tensor.removeprefix("^").partition(":")[0]


def _cut_saving(graph: Foreign) -> None:
    """Take out every node that saves and all that depends on one, and the functions that nobody calls then."""
    library = graph.graph_def.library
    calls = {function.signature.name: {f for node in function.node_def for f in _called(node)} for function in library.function}
    saving = {name for name in calls if any(_SAVING & calls[other] for other in _reached([name], calls))}
    nodes = graph.graph_def.node
    readers: dict[str, list[str]] = {}
    for node in nodes:
        for tensor in node.input:
            readers.setdefault(_source(tensor), []).append(node.name)
    gone: set[str] = set()
    pending = [node.name for node in nodes if (_SAVING | saving) & set(_called(node))]
    while pending:
        name = pending.pop()
        if name not in gone:
            gone.add(name)
            pending += readers.get(name, [])
    if needed := gone & _needed(graph):
        raise _refused(
            f"it saves files where it is loaded or run: {min(needed)[:80]!r} depends on SaveV2 or its like; {_ADVICE}"
        )
    kept = [node for node in nodes if node.name not in gone]
    del nodes[:]
    nodes.extend(kept)
    wanted = _reached({*(f for node in kept for f in _called(node)), *_traced(graph)}, calls)
    functions = [function for function in library.function if function.signature.name in wanted]
    del library.function[:]
    library.function.extend(functions)


def _needed(graph: Foreign) -> set[str]:
    """The nodes that are run or fed by name: signatures, what restores variables, initializers."""
    infos = [info for s in graph.signature_def.values() for info in (*s.inputs.values(), *s.outputs.values())]
    listed = [name for collection in graph.collection_def.values() for name in collection.node_list.value]
    return {_source(name) for name in (*(info.name for info in infos), *listed, graph.saver_def.restore_op_name)}


def _traced(graph: Foreign) -> Iterator[str]:
    """The functions that Python objects of the model hold."""
    objects = graph.object_graph_def
    yield from objects.concrete_functions
    for node in objects.nodes:
        yield from node.function.concrete_functions
        yield node.bare_concrete_function.concrete_function_name


def _check(graph: Foreign) -> None:
    allowed = importlib.import_module("graph_ops").INFERENCE
    functions = {function.signature.name: function for function in graph.graph_def.library.function}
    restoring = _restoring(functions)
    outside = set(_traced(graph)) | {f for function in functions.values() for node in function.node_def for f in _called(node)}
    if found := outside & restoring.keys():
        raise _refused(f"its function {min(found)!r} reads files where no variables are restored; {_ADVICE}")
    variables = graph.saver_def.filename_tensor_name
    repeated = 0
    for node in graph.graph_def.node:
        places = [restoring[name] for name in _called(node) if name in restoring] + [0] * (node.op == _RESTORING)
        if any(place >= len(node.input) or not _same(node.input[place], variables) for place in places):
            raise _refused(f"its operation {node.name[:80]!r} reads files other than its variables; {_ADVICE}")
    for node in (*graph.graph_def.node, *(node for function in functions.values() for node in function.node_def)):
        if node.op not in allowed and node.op not in functions and node.op != _RESTORING:
            raise _refused(
                f"it uses the TensorFlow operation {node.op[:80]}, which is none of those that inference is made of: it may "
                f"reach files, Python, other processes or the network; {_ADVICE}"
            )
        repeated += sum(_repeated(value.tensor) for value in node.attr.values() if value.HasField("tensor"))
    if repeated > _MOST_REPEATED:
        raise _refused(f"its constants unpack to {repeated / 1e9:,.1f} GB that the file does not hold; save them as variables")


def _restoring(functions: Mapping[str, Foreign]) -> dict[str, int]:
    """Functions that restore variables, with the position of the argument that names the files."""
    found: dict[str, int] = {}
    for name, function in functions.items():
        arguments = [argument.name for argument in function.signature.input_arg]
        for node in function.node_def:
            if node.op == _RESTORING:
                place = node.input[0] if node.input else ""
                if place not in arguments or found.get(name, arguments.index(place)) != arguments.index(place):
                    raise _refused(f"its function {name[:80]!r} reads files other than its variables; {_ADVICE}")
                found[name] = arguments.index(place)
    return found


def _same(tensor: str, other: str) -> bool:
    return bool(other) and not tensor.startswith("^") and tensor.removesuffix(":0") == other.removesuffix(":0")


def _repeated(tensor: Foreign) -> int:
    """Bytes that a constant takes beyond those that stand in the file."""
    from tensorflow.python.framework import dtypes  # noqa: PLC0415

    count = 1
    for dim in tensor.tensor_shape.dim:
        if dim.size < 0:
            raise _refused("it holds a constant of a negative size")
        count *= dim.size
    try:
        size = dtypes.as_dtype(tensor.dtype).size or 1
    except (TypeError, KeyError):
        raise _refused(f"it holds a constant of the unknown type {tensor.dtype}") from None
    return max(0, int(count * size) - int(tensor.ByteSize()))
