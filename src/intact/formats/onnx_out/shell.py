"""The inputs and outputs of a file that another runtime has, as a graph: what samples are bound to and outputs paired by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from intact.network.graph import Graph, Op, Tensor
from intact.numbers.affine import Float, Format, Index
from intact.ops import KINDS
from intact.runtime.litert import Description, Port

#: Ops whose outputs are told by them: probabilities.
_TOLD: Final[Mapping[str, str]] = {
    "Softmax": "SOFTMAX",
    "LogSoftmax": "LOG_SOFTMAX",
    "Sigmoid": "LOGISTIC",
    "ArgMax": "ARG_MAX",
}


def shell(found: Description) -> Graph:
    """No network, but its inputs and outputs, and the ops that make these where they tell what these are."""
    ports = [*found.inputs, *found.outputs]
    tensors = {n: _tensor(n, port) for n, port in enumerate(ports)}
    inputs = tuple(range(len(found.inputs)))
    outputs = tuple(range(len(found.inputs), len(ports)))
    makers = {n: _TOLD.get(found.about.get("makers", {}).get(ports[n].name, "")) for n in outputs}
    ops = tuple(Op(KINDS[kind](), inputs[:1], (n,)) for n, kind in makers.items() if kind is not None)
    return Graph(tensors, ops, inputs, outputs)


def _tensor(n: int, port: Port) -> Tensor:
    shape = tuple(None if size < 0 and axis == 0 else max(size, 1) for axis, size in enumerate(port.shape))
    fmt: Format = Float() if port.dtype.startswith("float") else Index(port.dtype)
    return Tensor(n, port.name, shape, fmt)
