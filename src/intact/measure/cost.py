"""Parameters and multiply-accumulates per op, counted on a Graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from intact.measure.measurement import Measurement
from intact.network import shapes
from intact.network.graph import Graph, Op, Tensor
from intact.network.shapes import infer
from intact.numbers.affine import PACKED, Affine


@final
@dataclass(frozen=True)
class OpCost:
    """What one op costs for one sample; ``parameters`` that several ops share count at the first."""

    op: str
    kind: str
    macs: int
    parameters: int
    parameter_bytes: int


def costs(graph: Graph) -> tuple[OpCost, ...]:
    """One row per op, in order."""
    shape_of = infer(graph, 1)
    counted: set[int] = set()
    rows = []
    for op in graph.ops:
        own = [graph[i] for i in dict.fromkeys(op.reads) if is_parameter(graph[i]) and i not in counted]
        counted.update(t.id for t in own)
        macs = op.kind.macs([() if i is None else shape_of[i] for i in op.inputs], shape_of[op.output])
        rows.append(
            OpCost(graph.label(op), op.kind.name, macs, sum(_count(t) for t in own), sum(parameter_bytes(t) for t in own))
        )
    return tuple(rows)


def is_parameter(tensor: Tensor) -> bool:
    """Whether a tensor holds weights or biases: a constant of real numbers, however they are stored."""
    return tensor.is_constant and (tensor.is_float or isinstance(tensor.format, Affine))


def parameter_bytes(tensor: Tensor) -> int:
    """Bytes that a file stores for a constant; integers of fewer than 8 bits are packed."""
    bits = PACKED.get(tensor.format.dtype) or 8 * np.dtype(tensor.format.dtype).itemsize
    return -(-_count(tensor) * bits // 8)


def _count(tensor: Tensor) -> int:
    return 0 if tensor.data is None else int(tensor.data.size)


def in_float(graph: Graph) -> tuple[Op, ...]:
    """The ops that compute on real numbers; what only converts to integers and back is none of them."""
    return tuple(op for op in graph.ops if not op.kind.converts and any(graph[i].is_float for i in (*op.reads, *op.outputs)))


def parameters(graph: Graph) -> Measurement:
    """How many weights and biases the network has."""
    n = sum(row.parameters for row in costs(graph))
    return Measurement("parameters", n, "", None, None, "constants of real numbers, each counted once", len(graph.ops))


def macs(graph: Graph) -> Measurement:
    """How many multiply-accumulates one sample takes."""
    n = shapes.macs(graph)
    return Measurement("multiply-accumulates", n, "", None, None, "convolutions and matrix products, batch 1", len(graph.ops))
