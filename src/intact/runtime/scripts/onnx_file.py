"""An ONNX file before a runtime may have it: checked, with its weights in it, and how its inputs and outputs lie.

Needs numpy and onnx. Imported by plain name by its neighbours.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, final

import numpy as np
import onnx
from onnx import checker, helper

_reader: Any = importlib.import_module("read_onnx")  # beside this file
_sessions: Any = importlib.import_module("sessions")
#: A sessions.Port, and what onnx makes, without types here.
Port: TypeAlias = Any
Foreign: TypeAlias = Any
Order: TypeAlias = tuple[int, ...]

#: The entry of the metadata in which Intact says how inputs and outputs lie; written by intact/formats/onnx_out/write.py.
_ORDERS = "intact_orders"
_FIRST: Order = (0, 3, 1, 2)
#: Ops that take images channels first, and those that leave axes where they are.
_IMAGES = {
    "Conv", "QLinearConv", "ConvInteger", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool",
    "BatchNormalization", "InstanceNormalization", "Resize", "DepthToSpace", "SpaceToDepth",
}  # fmt: skip
_PASSING = {
    "QuantizeLinear", "DequantizeLinear", "Identity", "Cast", "Add", "Sub", "Mul", "Div", "Pad", "Relu", "Clip", "Sigmoid",
    "HardSwish", "LeakyRelu", "PRelu", "Concat", "Slice", "Dropout",
}  # fmt: skip
#: Behind these stands the op that makes an output's numbers.
_SEEN_THROUGH = {"QuantizeLinear", "DequantizeLinear", "Identity", "Cast", "Reshape", "Transpose", "Squeeze", "Flatten"}


@final
@dataclass(frozen=True)
class Checked:
    """A model's bytes, how each input and output lies (our axis at each of its axes), and what is said of it."""

    data: bytes
    orders: dict[str, Order]
    inputs: list[Port]
    outputs: list[Port]
    about: dict[str, Any]


def read(path: str) -> Checked:
    """The file at ``path``; ModelRefusedError says what is unsound."""
    model = onnx.ModelProto()
    try:
        model.ParseFromString(Path(path).read_bytes())
        _reader._take_in(model, Path(path).parent)
        data = model.SerializeToString()
        checker.check_model(model)
    except Exception as error:  # protobuf's, the checker's and our own: all say what is wrong with the file
        raise _sessions.ModelRefusedError(f"the file is corrupt or no ONNX model ({_short(error)})") from error
    given = {tensor.name for tensor in model.graph.initializer}
    inputs = [port for port in model.graph.input if port.name not in given]
    orders = _orders(model, inputs)
    about = {
        "makers": {port.name: _maker(model.graph, port.name) for port in model.graph.output},
        "quantized": any(node.op_type == "DequantizeLinear" for node in model.graph.node),
    }
    return Checked(
        data,
        orders,
        [_port(n, port, orders) for n, port in enumerate(inputs)],
        [_port(n, port, orders) for n, port in enumerate(model.graph.output)],
        about,
    )


def theirs(x: np.ndarray[Any, Any], order: Order) -> np.ndarray[Any, Any]:
    """An array in our order as the model takes it."""
    return np.ascontiguousarray(x.transpose(order) if len(order) == x.ndim else x)


def ours(x: np.ndarray[Any, Any], order: Order) -> np.ndarray[Any, Any]:
    """What the model gives, in our order."""
    return x.transpose([order.index(axis) for axis in range(x.ndim)]) if len(order) == x.ndim else x


def resized(ports: Iterable[Port], shapes: dict[str, tuple[int, ...]]) -> None:
    """ValueError where an input does not leave open what ``shapes`` say."""
    for port in ports:
        wanted = shapes[port.name]
        fits = len(wanted) == len(port.signature)
        if not (fits and all(n in (-1, m) for n, m in zip(port.signature, wanted, strict=True))):
            raise ValueError(f"input {port.name!r} takes {list(port.signature)}, and not {list(wanted)}")


def _port(number: int, port: Foreign, orders: dict[str, Order]) -> Port:
    tensor = port.type.tensor_type
    if port.type.WhichOneof("value") != "tensor_type" or not tensor.HasField("shape"):
        raise _sessions.ModelRefusedError(f"its input or output {port.name[:80]!r} is no tensor that says its shape")
    try:
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    except (KeyError, TypeError) as error:
        raise _sessions.ModelRefusedError(f"{port.name[:80]!r} holds numbers that cannot be measured") from error
    sizes = [d.dim_value if d.WhichOneof("value") == "dim_value" else -1 for d in tensor.shape.dim]
    signature = tuple(sizes[orders[port.name].index(axis)] for axis in range(len(sizes)))
    shape = tuple(max(n, 1) if n < 0 else n for n in signature)
    return _sessions.Port(port.name, number, dtype, shape, signature, (), (), 0)


def _orders(model: Foreign, inputs: list[Foreign]) -> dict[str, Order]:
    ports = [*inputs, *model.graph.output]
    ranks = {port.name: len(port.type.tensor_type.shape.dim) for port in ports}
    said = next((entry.value for entry in model.metadata_props if entry.key == _ORDERS), "")
    try:
        found = {str(name): tuple(map(int, order)) for name, order in dict(json.loads(said)).items()} if said else {}
    except (ValueError, TypeError) as error:
        raise _sessions.ModelRefusedError(f"its metadata {_ORDERS} is broken; export it again") from error
    if said and any(sorted(found.get(name, ())) != list(range(rank)) for name, rank in ranks.items()):
        raise _sessions.ModelRefusedError(f"its metadata {_ORDERS} does not fit its inputs and outputs; export it again")
    if said:
        return found
    images = {port.name for port in inputs if ranks[port.name] == 4 and _is_image(model.graph, port.name)}
    if images:
        images |= {port.name for port in model.graph.output}
    return {name: _FIRST if rank == 4 and name in images else tuple(range(rank)) for name, rank in ranks.items()}


def _is_image(graph: Foreign, name: str) -> bool:
    """Whether an input reaches an op that takes images channels first; nodes come after what they read."""
    reached = {name}
    for node in graph.node:
        if reached.intersection(node.input[:1] if node.op_type in _IMAGES else node.input):
            if node.op_type in _IMAGES:
                return True
            if node.op_type in _PASSING:
                reached.update(node.output)
    return False


def _maker(graph: Foreign, name: str) -> str:
    makers = {out: node for node in graph.node for out in node.output}
    node = makers.get(name)
    while node is not None and node.op_type in _SEEN_THROUGH and node.input:
        node = makers.get(node.input[0])
    return "" if node is None else str(node.op_type)[:80]


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split("==> Context")[0].split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:297]}..."
