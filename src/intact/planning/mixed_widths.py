"""Two plans in one: int8 as a whole, with int16 activations where the noise comes from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from intact.network.graph import Graph, Op
from intact.numbers.affine import Affine
from intact.ops.base import SameAsInput
from intact.planning.plan import Edge, Entry, Plan
from intact.planning.request import Request
from intact.planning.targets import Target

#: What keeps something of a state where it is: ops that combine each element with the same elements of others.
_KEEPING: Final = ("sum", "difference", "product", "extreme", "choice")


def mixed(graph: Graph, narrow: Plan, wide: Plan, ops: Iterable[int]) -> Plan:
    """``narrow`` with the ops ``ops``, by first output, as in ``wide``; what meets the other type passes through a QUANTIZE."""
    ops = {i for i in ops if isinstance(narrow.own(i), Affine) and isinstance(wide.own(i), Affine)}  # not what is kept float
    plans = {op.output: wide if op.output in ops else narrow for op in graph.ops}
    # A tensor is stored as its maker wants it, a constant as its first reader does.
    makers = dict.fromkeys(graph.inputs, narrow)
    makers |= {state.read: plans.get(state.write, narrow) for state in graph.states}
    for op in graph.ops:
        makers |= dict.fromkeys(op.outputs, plans[op.output])
        makers |= {i: plans[op.output] for i in op.reads if i not in makers}
    tensors = {i: entry for i, plan in sorted(makers.items()) if (entry := plan.entry(i)) is not None}
    edges: dict[Edge, Entry] = {}
    for op in graph.ops:
        for i in dict.fromkeys(op.reads):
            needed = plans[op.output].entry(i, op.output)
            if needed is not None and (i not in tensors or needed.format != tensors[i].format):
                edges[i, op.output] = needed
    boundary = dict(narrow.boundary)
    for i in graph.outputs:
        if makers[i] is wide and i not in boundary and graph[i].is_float:
            boundary[i] = replace(narrow.tensors[i], why="the rest of the network is int8")
    named = {*tensors, *boundary, *(i for edge in edges for i in edge)}
    names = {i: graph[i].origin for i in sorted(named)}
    return replace(narrow, tensors=tensors, edges=dict(sorted(edges.items())), boundary=boundary, names=names)


def accumulators(graph: Graph) -> tuple[int, ...]:
    """What is written to states whose new value comes element by element from the old one: an LSTM's cell, a GRU's state."""
    found = []
    for state in graph.states:
        reached = {state.read}
        for op in graph.ops:
            if op.kind.combines in _KEEPING and reached.intersection(op.reads):
                reached.update(op.outputs)
        if state.write in reached and state.write != state.read:
            found.append(state.write)
    return tuple(found)


def wide_ops(graph: Graph, target: Target, outputs: Iterable[int]) -> set[int]:
    """First outputs of the ops that make or read one of ``outputs``, where all of them have int16 kernels.

    An op that only moves numbers takes them along: at 8 bits after it, nothing would be gained.
    """
    makers, readers, kinds = graph.producers(), graph.consumers(), target.kinds("int16")
    ops = set[int]()
    for output in outputs:
        around: dict[int, Op] = {}
        waiting = [output] if output in makers else []
        waiting += [state.read for state in graph.states if state.write == output]
        while waiting:
            i = waiting.pop()
            for op in (makers[i], *readers[i]) if i in makers else readers[i]:
                if op.output in around:
                    continue
                around[op.output] = op
                if isinstance(op.kind.range_rule, SameAsInput):
                    waiting += [j for j in (*op.reads, *op.outputs) if graph[j].is_float and not graph[j].is_constant]
        if all(op.kind.name in kinds for op in around.values()):
            ops |= around.keys()
    return ops


def wider(request: Request) -> Request:
    """With int16 activations. What has no int16 kernel is not taken from such a plan, so it may be anything there."""
    scheme = replace(request.scheme, activations="int16", io=("int16", "float32"))
    target = replace(request.target, float_islands=True)
    return replace(request, scheme=scheme, target=target, input_type=None, output_type=None)
