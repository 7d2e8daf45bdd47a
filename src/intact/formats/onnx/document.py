"""An ONNX network as plain values, as the child process gives it: nothing of ONNX's own library is used from here on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, Final, TypeAlias, final

import numpy as np

#: A size, or the name of one that the model leaves open.
Size: TypeAlias = int | str

#: Bytes of what a child says of a network besides its constants.
_LARGEST: Final = 1 << 26
_DTYPES: Final = frozenset({"float32", "int64", "int32", "bool", "int8", "uint8"})


@final
@dataclass(frozen=True)
class Port:
    """An input of a network. Of a node's own network the name alone is said: the node's inputs say the rest."""

    name: str
    shape: tuple[Size, ...] = ()
    dtype: str = ""


@final
@dataclass(frozen=True)
class Node:
    """One op of ONNX. ``op`` has its domain before it where that is not ONNX's own; an input that is left out is ``""``."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    scopes: tuple[str, ...] = ()


@final
@dataclass(frozen=True)
class Network:
    """A network or the branch of one: what it is given, what it holds and gives, and its nodes in order.

    ``opset`` is the version of what its ops mean, ``producer`` the exporter.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[str, ...]
    constants: Mapping[str, np.ndarray]
    nodes: tuple[Node, ...]
    opset: int
    producer: str = ""

    def all_nodes(self) -> Iterator[Node]:
        """The nodes, and those of all branches."""
        for node in self.nodes:
            yield node
            for value in node.attributes.values():
                if isinstance(value, Network):
                    yield from value.all_nodes()


def read(network: Path, constants: Path) -> Network:
    """What the child wrote. Raises ValueError, KeyError or TypeError where it is not what a child writes."""
    if network.stat().st_size > _LARGEST:
        raise ValueError("a network that takes too long to read")
    said = json.loads(network.read_text())
    data = np.memmap(constants, np.uint8, "r") if constants.stat().st_size else np.empty(0, np.uint8)
    return _network(said["graph"], data, int(said["opset"]), str(said["producer"]), _port)


def _network(
    said: Mapping[str, Any], data: np.ndarray, opset: int, producer: str, port: Callable[[Mapping[str, Any]], Port]
) -> Network:
    return Network(
        tuple(map(port, said["inputs"])),
        tuple(str(name) for name in said["outputs"]),
        {str(name): _array(entry, data) for name, entry in said["constants"].items() if "text" not in entry},
        tuple(_node(node, data, opset, producer) for node in said["nodes"]),
        opset,
        producer,
    )


def _port(said: Mapping[str, Any]) -> Port:
    if said["dtype"] not in _DTYPES:
        raise ValueError(said["dtype"])
    return Port(str(said["name"]), tuple(n if isinstance(n, int) else str(n) for n in said["shape"]), said["dtype"])


def _node(said: Mapping[str, Any], data: np.ndarray, opset: int, producer: str) -> Node:
    def value(given: Any) -> Any:
        match given:
            case {"constant": entry}:
                return None if "text" in entry else _array(entry, data)
            case {"graph": graph}:
                return _network(graph, data, opset, producer, lambda port: Port(str(port["name"])))
            case list():
                return tuple(given)
        return given

    return Node(
        str(said["op"]),
        str(said["name"]),
        tuple(map(str, said["inputs"])),
        tuple(map(str, said["outputs"])),
        {str(key): value(given) for key, given in said["attributes"].items()},
        tuple(map(str, said["scopes"])),
    )


def _array(said: Mapping[str, Any], data: np.ndarray) -> np.ndarray:
    shape, at = tuple(map(int, said["shape"])), int(said["at"])
    if said["dtype"] not in _DTYPES or min(shape, default=0) < 0 or at < 0:
        raise ValueError("an impossible constant")
    dtype = np.dtype(said["dtype"])
    raw = data[at : at + prod(shape) * dtype.itemsize]
    return np.frombuffer(raw.tobytes(), dtype).reshape(shape)
