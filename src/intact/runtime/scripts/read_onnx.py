"""Child process: an ONNX file -> its network as JSON and its constants as raw numbers, checked.

The request: ``{"source", "known", "network", "constants"}``: the model, the ops that need no taking apart, and the two files to
write. The answer is ``{}``, or one of ``{"corrupt": text}``, ``{"refused": text}`` and ``{"missing": module}``. ONNX's parser
and checker are native code that a stranger's file may crash: so they run here. Functions of the model's own are inlined,
versions before 11 converted, numbers of 16 and 64 bits that stand for real ones made float32. Run by path; imports nothing of
Intact.
"""

from __future__ import annotations

import ast
import json
import os
import warnings
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

#: What onnx makes: without types here, as it is imported only when called.
Foreign: TypeAlias = Any

#: Nodes of a network with all that its branches hold, and bytes of its constants; protobuf itself ends at 2 GiB.
_MOST_NODES: Final = 50_000
_MOST_BYTES: Final = 2_000_000_000
#: Versions that the rows know; older ones are converted to the first.
_OLDEST: Final = 11
_STANDARD: Final = ("", "ai.onnx")
#: Characters of a name; and of what stands between names.
_LONGEST: Final = 4096
_SCOPES: Final = "pkg.torch.onnx.name_scopes"
_ALIGNED: Final = 64
#: ONNX's types of elements, by the types that they become.
_TYPES: Final = {
    "FLOAT": "float32", "FLOAT16": "float32", "BFLOAT16": "float32", "DOUBLE": "float32", "BOOL": "bool", "INT64": "int64",
    "INT32": "int32", "INT16": "int32", "UINT16": "int32", "UINT32": "int64", "UINT64": "int64", "INT8": "int8",
    "UINT8": "uint8",
}  # fmt: skip


class _RefusedError(Exception):
    """The model cannot be read as it is; the text is fit for a user."""


class _CorruptError(Exception):
    """The file is not what its name says; the text is fit for a user."""


def main(request: dict[str, Any], _progress: object) -> dict[str, Any]:
    """Read, or say in one sentence why not."""
    warnings.simplefilter("ignore")
    try:
        import onnx  # noqa: F401, PLC0415
    except ModuleNotFoundError as error:
        return {"missing": error.name}
    try:
        network, constants = _read(Path(request["source"]), frozenset(request["known"]))
    except _RefusedError as error:
        return {"refused": str(error)}
    except _CorruptError as error:
        return {"corrupt": str(error)}
    Path(request["network"]).write_text(json.dumps(network))
    with Path(request["constants"]).open("wb") as file:
        for data in constants:
            file.write(data)
            file.write(b"\0" * (-len(data) % _ALIGNED))
    return {}


def _read(source: Path, known: frozenset[str]) -> tuple[dict[str, Any], list[bytes]]:
    import onnx  # noqa: PLC0415

    if source.stat().st_size > _MOST_BYTES:
        raise _RefusedError(f"it is larger than {_MOST_BYTES / 1e9:g} GB, which no small device holds")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(source.read_bytes())
    except Exception as error:  # protobuf's own, whichever of its implementations is installed
        raise _CorruptError("the file is truncated, corrupt or no ONNX model: it is no protobuf message of one") from error
    if not model.ir_version or not model.opset_import or not model.graph.node:
        raise _CorruptError("the file is truncated or no ONNX model: it holds no version or no network")
    if _inlined_nodes(model) > _MOST_NODES:
        raise _RefusedError(f"it has more than {_MOST_NODES:,} nodes, which no small device runs")
    _take_in(model, source.parent)
    model = _taken_apart(_prepared(model), known)
    writer = _Writer()
    version = next((entry.version for entry in model.opset_import if entry.domain in _STANDARD), _OLDEST)
    said = {"opset": version, "producer": model.producer_name[:_LONGEST], "graph": writer.graph(model.graph)}
    return said, writer.parts


def _inlined_nodes(model: Foreign) -> int:
    """How many nodes ``model`` has with its own functions inlined, which may be billions: counted before that."""
    inner = {
        (f.domain, f.name, f.overload): [(node.domain, node.op_type, node.overload) for node in _nodes(f)]
        for f in model.functions
    }
    try:
        order = tuple(TopologicalSorter({key: inner.keys() & called for key, called in inner.items()}).static_order())
    except CycleError as error:
        raise _CorruptError("its functions call themselves") from error
    counts: dict[tuple[str, str, str], int] = {}
    for key in order:
        counts[key] = sum(counts.get(name, 1) for name in inner[key])
    return sum(counts.get((node.domain, node.op_type, node.overload), 1) for node in _nodes(model.graph))


def _prepared(model: Foreign) -> Foreign:
    """``model`` with its own functions inlined, of a version that is known, and found sound by ONNX's checker."""
    import onnx  # noqa: PLC0415
    from onnx import inliner, version_converter  # noqa: PLC0415

    version = next((entry.version for entry in model.opset_import if entry.domain in _STANDARD), 0)
    newest = onnx.defs.onnx_opset_version()
    if version > newest:
        raise _RefusedError(
            f"it is of opset {version}, and the installed onnx knows those up to {newest}; install a newer onnx"
        )
    try:
        if model.functions:
            model = inliner.inline_local_functions(model)
    except Exception as error:  # whatever native code raises
        raise _CorruptError(f"onnx cannot inline its functions ({_short(error)})") from error
    try:
        if 0 < version < _OLDEST:
            model = version_converter.convert_version(model, _OLDEST)
    except Exception as error:  # whatever native code raises
        raise _RefusedError(
            f"onnx cannot convert it from opset {version} to {_OLDEST} ({_short(error)}); export it with opset 17"
        ) from error
    try:
        _check(model)
    except Exception as error:
        if not _is_only_unknown(error):
            raise _CorruptError(f"onnx's checker finds it unsound ({_short(error)})") from error
    return model


def _check(model: Foreign) -> None:
    """Let ONNX's checker look, which asks for the type and shape of each output: runtimes infer those that are not said."""
    from onnx import TensorProto, ValueInfoProto, checker  # noqa: PLC0415

    said = [ValueInfoProto.FromString(port.SerializeToString()) for port in model.graph.output]
    for port in model.graph.output:
        if port.type.WhichOneof("value") is None:
            port.type.tensor_type.elem_type = TensorProto.FLOAT
        if port.type.HasField("tensor_type"):
            port.type.tensor_type.shape.SetInParent()
    try:
        checker.check_model(model)
    finally:
        for port, own in zip(model.graph.output, said, strict=True):
            port.CopyFrom(own)


def _taken_apart(model: Foreign, known: frozenset[str]) -> Foreign:
    """``model`` with the ops that are not ``known`` in the parts that ONNX itself says they are made of, where it says so."""
    from onnx import defs, inliner  # noqa: PLC0415

    whole = set()
    for node in _nodes(model.graph):
        if node.domain in _STANDARD and node.op_type not in known and defs.has(node.op_type):
            schema = defs.get_schema(node.op_type)
            if schema.has_function or schema.has_context_dependent_function:
                whole.add(("", node.op_type))
                _say_defaults(node, schema)
    if not whole:
        return model
    _say_types(model.graph)
    try:
        return inliner.inline_selected_functions(model, sorted(whole), inline_schema_functions=True)
    except Exception:  # the reader lists them among those that it does not know
        return model


def _say_defaults(node: Foreign, schema: Foreign) -> None:
    """Give ``node`` the attributes that it leaves out: its parts read them, and the inliner fills in none."""
    said = {attribute.name for attribute in node.attribute}
    for name, attribute in schema.attributes.items():
        if name not in said and attribute.default_value.name:
            node.attribute.append(attribute.default_value)


def _say_types(graph: Foreign) -> None:
    """Give each constant a type beside it, by which the inliner decides what an op is made of."""
    from onnx import helper  # noqa: PLC0415

    said = {port.name for port in (*graph.input, *graph.value_info)}
    graph.value_info.extend(
        helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in graph.initializer
        if tensor.name not in said
    )


def _is_only_unknown(error: Exception) -> bool:
    """Whether the checker met an op that it does not know, which the reader lists with all others of that sort."""
    return "No Op registered" in str(error) or "No opset import for domain" in str(error)


# ---- weights in files beside ---------------------------------------------------------------------------------------------


def _take_in(model: Foreign, folder: Path) -> None:
    """Tensors whose data lie in other files, which must be below the model's folder, hold it themselves afterwards."""
    import onnx  # noqa: PLC0415

    root, total = Path(os.path.realpath(folder)), 0
    for tensor in _tensors(model):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            total += len(tensor.raw_data)
            continue
        said = {entry.key: entry.value for entry in tensor.external_data}
        data = _external(root, said, _MOST_BYTES - total)
        total += len(data)
        tensor.raw_data = data
        del tensor.external_data[:]
        tensor.data_location = onnx.TensorProto.DEFAULT
    if total > _MOST_BYTES:
        raise _RefusedError(f"its weights take more than {_MOST_BYTES / 1e9:g} GB, which no small device holds")


def _external(root: Path, said: dict[str, str], room: int) -> bytes:
    location = said.get("location", "")
    path = Path(location)
    shown = location[:200]
    if not location or "\0" in location or path.is_absolute() or ".." in path.parts or "\\" in location or ":" in location:
        raise _CorruptError(f"its weights are said to lie in {shown!r}, and may only lie in the model's own folder")
    real = Path(os.path.realpath(root / path))
    if root not in real.parents:
        raise _CorruptError(f"its weights lie in {shown!r}, which leads out of the model's own folder")
    if not real.is_file():
        raise _CorruptError(
            f"its weights lie in the file {shown!r}, which is not beside it; copy it into the model's folder too"
        )
    try:
        offset, size = int(said.get("offset") or 0), real.stat().st_size
        length = int(said.get("length") or size - offset)
    except ValueError as error:
        raise _CorruptError(f"its weights in {shown!r} are said to begin or end at what is no number") from error
    if offset < 0 or length < 0 or offset + length > size:
        raise _CorruptError(f"the file {shown!r} with its weights is truncated or another model's; copy it again")
    if length > room:
        raise _RefusedError(f"its weights take more than {_MOST_BYTES / 1e9:g} GB, which no small device holds")
    with real.open("rb") as file:
        file.seek(offset)
        return file.read(length)


def _graphs(graph: Foreign) -> Iterator[Foreign]:
    """A graph and all that its branches are."""
    waiting = [graph]
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                waiting += [attribute.g] if attribute.HasField("g") else []
                waiting += attribute.graphs


def _nodes(graph: Foreign) -> Iterator[Foreign]:
    return (node for part in _graphs(graph) for node in part.node)


def _tensors(model: Foreign) -> Iterator[Foreign]:
    for top in (model.graph, *model.functions):
        for graph in _graphs(top):
            yield from getattr(graph, "initializer", ())
            for node in graph.node:
                for attribute in node.attribute:
                    if attribute.HasField("t"):
                        yield attribute.t
                    yield from attribute.tensors


# ---- what is written -------------------------------------------------------------------------------------------------


class _Writer:
    """The network as plain values, and the constants that they name by where they begin."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self._at = 0

    def graph(self, graph: Foreign, *, is_inner: bool = False) -> dict[str, Any]:
        """A network; of what a node's own network is given, the names alone, as the node's inputs say the rest."""
        if graph.sparse_initializer:
            raise _RefusedError("it holds sparse tensors; export it with dense weights")
        constants = {_name(tensor.name): self._constant(tensor) for tensor in graph.initializer}
        free = [port for port in graph.input if port.name not in constants]
        inputs = [{"name": _name(port.name)} if is_inner else self._input(port) for port in free]
        return {
            "constants": constants,
            "inputs": inputs,
            "outputs": [_name(port.name) for port in graph.output],
            "nodes": [self._node(node) for node in graph.node],
        }

    def _input(self, port: Foreign) -> dict[str, Any]:
        name, kind = _name(port.name), port.type.WhichOneof("value")
        if kind != "tensor_type":
            what = (kind or "nothing").removesuffix("_type").replace("_", " ")
            raise _RefusedError(f"its input {name!r} is a {what}, and only plain tensors can be read")
        tensor = port.type.tensor_type
        if not tensor.HasField("shape"):
            raise _RefusedError(f"its input {name!r} says no shape; export it with the shapes of its inputs")
        sizes = [d.dim_value if d.WhichOneof("value") == "dim_value" else d.dim_param[:80] for d in tensor.shape.dim]
        return {"name": name, "dtype": _dtype(tensor.elem_type, f"its input {name!r}"), "shape": sizes}

    def _node(self, node: Foreign) -> dict[str, Any]:
        domain = "" if node.domain in _STANDARD else f"{node.domain}."
        scopes = next((entry.value for entry in node.metadata_props if entry.key == _SCOPES), "")
        return {
            "op": _name(domain + node.op_type),
            "name": node.name[:_LONGEST],
            "scopes": _scopes(scopes),
            "inputs": [_name(name) for name in node.input],
            "outputs": [_name(name) for name in node.output],
            "attributes": {_name(attribute.name): self._attribute(attribute) for attribute in node.attribute},
        }

    def _attribute(self, attribute: Foreign) -> Any:
        from onnx import AttributeProto, helper  # noqa: PLC0415

        if attribute.type == AttributeProto.TENSOR:
            return {"constant": self._constant(attribute.t)}
        if attribute.type == AttributeProto.GRAPH:
            return {"graph": self.graph(attribute.g, is_inner=True)}
        if attribute.type == AttributeProto.STRING:
            return attribute.s.decode(errors="replace")
        if attribute.type == AttributeProto.STRINGS:
            return [text.decode(errors="replace") for text in attribute.strings]
        if attribute.type in (AttributeProto.INT, AttributeProto.FLOAT):
            return helper.get_attribute_value(attribute)
        if attribute.type in (AttributeProto.INTS, AttributeProto.FLOATS):
            return list(helper.get_attribute_value(attribute))
        return {"other": AttributeProto.AttributeType.Name(attribute.type).lower()}

    def _constant(self, tensor: Foreign) -> dict[str, Any]:
        from onnx import TensorProto, numpy_helper  # noqa: PLC0415

        if tensor.data_type == TensorProto.STRING:
            return {"text": True}
        dtype = _dtype(tensor.data_type, f"its constant {tensor.name[:200]!r}")
        try:
            array = numpy_helper.to_array(tensor)
        except Exception as error:  # sizes and data that contradict each other, in as many ways
            raise _CorruptError(f"its constant {tensor.name[:200]!r} is unsound ({_short(error)})") from error
        data = np.ascontiguousarray(array.astype(dtype)).tobytes()
        at = self._at
        self.parts.append(data)
        self._at += len(data) + -len(data) % _ALIGNED
        return {"dtype": dtype, "shape": list(array.shape), "at": at}


def _dtype(code: int, what: str) -> str:
    from onnx import TensorProto  # noqa: PLC0415

    name = TensorProto.DataType.Name(code) if code in TensorProto.DataType.values() else str(code)
    if name not in _TYPES:
        raise _RefusedError(f"{what} holds {name.lower()}, and only float, whole and boolean numbers can be read")
    return _TYPES[name]


def _name(text: str) -> str:
    if len(text) > _LONGEST:
        raise _CorruptError(f"it holds a name of {len(text):,} characters")
    return text


def _scopes(text: str) -> list[str]:
    """What torch's exporter writes, the text of a Python list of texts: ``['', 'features.0.0', 'conv2d']``."""
    if not text or len(text) > _LONGEST:
        return []
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return []
    return [str(scope) for scope in found] if isinstance(found, list) else []


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split("==> Context")[0].split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:297]}..."
