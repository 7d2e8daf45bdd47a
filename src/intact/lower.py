"""How a target likes an op spelled: float-preserving rewrites before calibration, by (target, activations, op kind)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, TypeAlias

import numpy as np

from intact.graph import Graph, Op, Tensor, constant, rebuild
from intact.ops.activation import HardSwish
from intact.ops.elementwise import Add, Mul
from intact.verify import verify

#: Given the graph, an op and a free tensor id: the ops in its place, and the tensors they need.
Lowering: TypeAlias = Callable[[Graph, Op, int], tuple[list[Op], list[Tensor]]]


def _hard_swish(graph: Graph, op: Op, free: int) -> tuple[list[Op], list[Tensor]]:
    """``x * relu6(x + 3) / 6`` as ADD with a fused RELU6, MUL by 1/6, MUL by x."""
    out, x = graph[op.output], op.inputs[0]
    three = constant(free, np.asarray(3.0, np.float32), like=out, name=f"three{free}", made_by="lower")
    sixth = constant(free + 1, np.asarray(1 / 6, np.float32), like=out, name=f"sixth{free}", made_by="lower")
    shifted = replace(out, id=free + 2, name=f"{out.name}/relu6", made_by="lower")
    gate = replace(out, id=free + 3, name=f"{out.name}/gate", made_by="lower")
    ops = [
        Op(Add("relu6"), (x, three.id), (shifted.id,)),
        Op(Mul(), (shifted.id, sixth.id), (gate.id,)),
        Op(Mul(), (x, gate.id), op.outputs),
    ]
    return ops, [three, sixth, shifted, gate]


LOWERINGS: Final[Mapping[tuple[str, str, str], Lowering]] = {
    # XNNPACK has no int8 HARD_SWISH: each one ends a delegate partition. Three ops inside it were 3.3 x faster as a whole.
    ("cpu", "int8", HardSwish.name): _hard_swish,
}


def lower(graph: Graph, target: str, activations: str) -> Graph:
    """``graph`` as ``target`` likes it for activations stored as ``activations`` (``"int8"``, ``"float32"``)."""
    ops: list[Op] = []
    made: list[Tensor] = []
    for op in graph.ops:
        lowering = LOWERINGS.get((target, activations, op.kind.name))
        if lowering is None:
            ops.append(op)
            continue
        new_ops, tensors = lowering(graph, op, graph.next_id + len(made))
        ops += new_ops
        made += tensors
    return verify(rebuild(graph, ops, made))
