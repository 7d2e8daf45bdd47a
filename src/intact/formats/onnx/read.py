"""An ONNX file -> float .tflite, channels last: unpacked and checked in a child process, given in our ops here.

What comes out is compared with ONNX Runtime on a random sample, where that is installed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, final

from intact import scratch
from intact.errors import ChildError, ModelError, UnsupportedError, located
from intact.formats import tflite
from intact.formats.conversion import asked
from intact.formats.onnx import document, inputs, names, patterns
from intact.formats.onnx.build import Builder, Order, Value
from intact.formats.onnx.call import Call
from intact.formats.onnx.constants import known
from intact.formats.onnx.control import FLOWS
from intact.formats.onnx.document import Network, Node
from intact.formats.onnx.table import ROWS, refusal
from intact.formats.tflite.loops import LIMIT
from intact.network.graph import Graph

_WHAT: Final = "Reading an ONNX model"
_EXTRA: Final = "onnx"
_READ, _CHECK = "read_onnx.py", "check_onnx.py"
#: What Python, numpy and torch raise for operands that do not fit.
_UNFIT: Final = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
#: Networks in networks; and nodes that are read, each as often as a loop runs it.
_DEEPEST: Final = 32
_MOST_RUNS: Final = 200_000


def file_to_tflite(source: Path, input_shape: inputs.InputShape | None) -> bytes:
    """A ``.onnx`` file, with weights in files beside it if it has such; ``input_shape`` as the model orders its axes."""
    with scratch.folder() as folder:
        said = {"network": str(folder / "network.json"), "constants": str(folder / "constants.bin")}
        request = {"source": str(source.resolve()), "known": sorted(ROWS), **said}
        asked(_READ, request, _WHAT, _EXTRA, folder)
        try:
            network = document.read(Path(said["network"]), Path(said["constants"]))
        except Exception as error:  # it was near a stranger's file, and so its answer is not trusted either
            raise ChildError(f"{_WHAT} failed: the reader wrote no sound network") from error
        graph, ports = graph_of(network, input_shape)
        data = tflite.write(graph, named=True)
        converted = folder / "model.tflite"
        converted.write_bytes(data)
        wanted = {"source": str(source.resolve()), "converted": str(converted), **ports}
        asked(_CHECK, wanted, _WHAT, _EXTRA, folder)
    return data


def graph_of(network: Network, input_shape: inputs.InputShape | None) -> tuple[Graph, dict[str, Any]]:
    """The network in our ops, and how its inputs and outputs lie there, by name."""
    reading = _Reading(network, input_shape)
    return reading.graph(), reading.ports


@final
@dataclass(eq=False)
class _Scope:
    """Values by name, and those of what is around a branch."""

    values: dict[str, Value] = field(default_factory=dict)
    around: _Scope | None = None
    depth: int = 0

    def __getitem__(self, name: str) -> Value:
        if name in self.values:
            return self.values[name]
        if self.around is None:
            raise ModelError(f"reads {name!r}, which nothing before it makes")
        return self.around[name]


@final
class _Reading:
    """One network on its way into a graph."""

    def __init__(self, network: Network, given: inputs.InputShape | None) -> None:
        self._network = _needed(patterns.fused(network))
        if (error := refusal(self._network.nodes)) is not None:
            raise error
        self._shapes = inputs.shapes(network, given)
        self._orders, self._first = inputs.orders(self._network)
        self._build = Builder()
        self._held: dict[int, Mapping[str, Value]] = {}
        self._ran = 0
        self.ports: dict[str, Any] = {}

    def graph(self) -> Graph:
        network, taken = self._network, dict[str, Value]()
        for port in network.inputs:
            shape = self._shapes[port.name]
            order: Order = self._orders.get(port.name, tuple(range(len(shape))))
            taken[port.name] = self._build.input(port.name, shape, port.dtype, order)
        scope = _Scope(dict(taken))
        self._run(network, scope)
        given = list[tuple[str, Value]]()
        for name in network.outputs:
            self._build.called = name
            given.append((name, self._given(scope[name])))
        self.ports = {
            "inputs": {name: {"shape": list(v.shape), "order": list(v.order)} for name, v in taken.items()},
            "outputs": {name: list(v.order) for name, v in given},
        }
        return self._build.graph(list(taken.items()), given)

    def _given(self, v: Value) -> Value:
        """An output as users get it: images channels last, all others as the model has them."""
        plain = tuple(range(v.rank))
        return self._build.arranged(v, (0, 2, 3, 1) if v.rank == 4 and self._first else plain)

    def _run(self, network: Network, scope: _Scope) -> None:
        scope.values |= self._constants(network)
        for node in network.nodes:
            self._ran += 1
            if self._ran > _MOST_RUNS or self._build.count > LIMIT:
                raise UnsupportedError(f"its loops come to more than {LIMIT:,} ops; export the model on a shorter sequence")
            self._build.called, self._build.word = names.called(node, network.constants)
            with located(f"node {node.op} {(node.name or next(iter(node.outputs), ''))[:80]!r}"):
                made = self._made(node, scope)
            for name, v in zip(node.outputs, made, strict=False):
                scope.values[name] = v
        self._build.called, self._build.word = "", ""

    def _constants(self, network: Network) -> Mapping[str, Value]:
        """The constants of a network, the same for each time that it runs."""
        if id(network) not in self._held:
            self._held[id(network)] = {name: known(data) for name, data in network.constants.items()}
        return self._held[id(network)]

    def _made(self, node: Node, scope: _Scope) -> list[Value]:
        operands = tuple(scope[name] if name else None for name in node.inputs)
        call = Call(node, operands, self._network.opset, self._build)
        try:
            flow = FLOWS.get(node.op)
            made = ROWS[node.op](call) if flow is None else flow(call, partial(self._inside, scope))
        except _UNFIT as error:
            shapes = ", ".join("-" if v is None else str(list(v.shape)) for v in operands)
            raise ModelError(f"inputs of shape {shapes} do not fit ({str(error)[:200] or type(error).__name__})") from error
        values = [made] if isinstance(made, Value) else list(made)
        if any(node.outputs[len(values) :]):
            raise UnsupportedError(f"gives {len(node.outputs)} values, of which {len(values)} can be read")
        return values

    def _inside(self, around: _Scope, network: Network, given: Sequence[Value]) -> list[Value]:
        """What a node's own network gives, which may read what is ``around``."""
        if around.depth > _DEEPEST:
            raise ModelError(f"holds networks in networks, {_DEEPEST} deep")
        if len(given) != len(network.inputs):
            raise ModelError(f"its network takes {len(network.inputs)} values, and is given {len(given)}")
        if (error := refusal(network.nodes)) is not None:
            raise error
        inside = _Scope({port.name: v for port, v in zip(network.inputs, given, strict=True)}, around, around.depth + 1)
        self._run(network, inside)
        return [inside[name] for name in network.outputs]


def _needed(network: Network) -> Network:
    """``network`` without nodes that no output follows from, and inputs without a reader as they are."""
    wanted, nodes = set(network.outputs), list[Node]()
    for node in reversed(network.nodes):
        if wanted.intersection(filter(None, node.outputs)):
            nodes.append(node)
            wanted.update(node.inputs)
            wanted.update(_outer(node))
    return replace(network, nodes=tuple(reversed(nodes)))


def _outer(node: Node) -> set[str]:
    """What the branches of a node may read from around."""
    branches = [value for value in node.attributes.values() if isinstance(value, Network)]
    return {name for branch in branches for inner in branch.all_nodes() for name in inner.inputs} | {
        name for branch in branches for name in branch.outputs
    }
