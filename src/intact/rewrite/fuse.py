"""Recurrent cells that are called step by step, as the one op that runtimes have for them.

Float-preserving. The integer kernels of UNIDIRECTIONAL_SEQUENCE_LSTM hold gates and cell in 16 bits, so that a fused cell is
both smaller and nearer to the float network than its parts in int8.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from intact.network.graph import Graph, Op, State, Tensor, constant, rebuild
from intact.network.verify import verify
from intact.ops.activation import Logistic, Tanh
from intact.ops.base import OpKind
from intact.ops.elementwise import Add, Mul
from intact.ops.matmul import FullyConnected
from intact.ops.recurrent import BIASES, CELL, HIDDEN, INPUT_WEIGHTS, RECURRENT_WEIGHTS, UnidirectionalSequenceLstm
from intact.ops.shaping import Reshape, Split
from intact.rewrite.view import View


def fuse_cells(graph: Graph) -> Graph:
    """``graph`` with every LSTM cell between two states as one op."""
    while (cell := next(_cells(graph), None)) is not None:
        graph = _fused(graph, cell)
    return verify(graph)


@final
@dataclass(frozen=True)
class _Cell:
    """``c' = s(f) c + s(i) tanh(g)``, ``h' = s(o) tanh(c')`` with i, f, g, o = the parts of ``W x + R h + b``."""

    inward: Op
    recurrent: Op
    hidden: State
    cell: State
    inner: tuple[Op, ...]


def _cells(graph: Graph) -> Iterator[_Cell]:
    view = View(graph)
    for hidden in graph.states:
        found = _cell(view, hidden)
        if found is not None:
            yield found


def _cell(view: View, hidden: State) -> _Cell | None:
    out = _made(view, hidden.write, Mul())
    gate_o, squashed = _pair(view, out, Logistic, Tanh)
    summed = _made(view, None if squashed is None else squashed.inputs[0], Add())
    products = [_made(view, i, Mul()) for i in summed.inputs] if summed is not None else []
    cell = next((s for s in view.graph.states if summed is not None and s.write == summed.output), None)
    if out is None or gate_o is None or squashed is None or summed is None or cell is None or None in products:
        return None
    kept, new = sorted((p for p in products if p is not None), key=lambda p: cell.read not in p.inputs)
    gate_f = next((op for i in kept.inputs if (op := _made(view, i, Logistic())) is not None), None)
    gate_i, gate_g = _pair(view, new, Logistic, Tanh)
    if gate_f is None or gate_i is None or gate_g is None or cell.read not in kept.inputs:
        return None
    split = view.producer(gate_i.inputs[0])
    parts = tuple(gate.inputs[0] for gate in (gate_i, gate_f, gate_g, gate_o))
    if split is None or split.kind != Split(4) or split.outputs != parts:
        return None
    total = _made(view, split.inputs[1], Add())
    rows = [_made(view, i, FullyConnected) for i in total.inputs] if total is not None else []
    if total is None or len(rows) != 2 or any(row is None for row in rows):
        return None
    recurrent, inward = sorted((row for row in rows if row is not None), key=lambda row: row.inputs[0] != hidden.read)
    inner = (recurrent, inward, total, split, gate_i, gate_f, gate_g, gate_o, kept, new, summed, squashed, out)
    whole = _Cell(inward, recurrent, hidden, cell, inner)
    return whole if recurrent.inputs[0] == hidden.read and _is_closed(view, whole) else None


def _made(view: View, i: int | None, kind: OpKind | type[OpKind]) -> Op | None:
    op = view.producer(i)
    if op is None:
        return None
    return op if op.kind == kind or (isinstance(kind, type) and isinstance(op.kind, kind)) else None


def _pair(view: View, product: Op | None, a: type[OpKind], b: type[OpKind]) -> tuple[Op | None, Op | None]:
    """The two factors of a product, by their kinds."""
    makers = [_made(view, i, a) or _made(view, i, b) for i in product.inputs] if product is not None else [None, None]
    first, second = sorted(makers, key=lambda op: op is None or not isinstance(op.kind, a))
    fits = first is not None and second is not None and isinstance(first.kind, a) and isinstance(second.kind, b)
    return (first, second) if fits else (None, None)


def _is_closed(view: View, cell: _Cell) -> bool:
    """Whether nothing else reads what is inside, and the sizes and constants are an LSTM's of one sample."""
    inside = {op.output for op in cell.inner}
    for op in cell.inner[:-1]:
        for i in op.outputs:
            if i in view.graph.outputs or any(reader.output not in inside for reader in view.read_by[i]):
                return False
    if any(reader.output not in inside for s in (cell.hidden, cell.cell) for reader in view.read_by[s.read]):
        return False
    units, w, r = view.shape(cell.hidden.read)[-1], *(view.data(op.inputs[1]) for op in (cell.inward, cell.recurrent))
    rows = (1, units)
    return (
        w is not None
        and r is not None
        and w.shape[0] == 4 * units
        and r.shape == (4 * units, units)
        and view.shape(cell.hidden.read) == view.shape(cell.cell.read) == rows
        and view.shape(cell.inward.inputs[0]) == (1, w.shape[1])
        and all(view.data(i) is not None for op in (cell.inward, cell.recurrent) for i in op.reads[1:])
        and cell.inward.kind == cell.recurrent.kind == FullyConnected()
    )


def _fused(graph: Graph, cell: _Cell) -> Graph:
    view, out = View(graph), graph[cell.hidden.write]
    units, made = view.shape(cell.hidden.read)[-1], list[Tensor]()

    def held(data: np.ndarray, name: str) -> int:
        t = constant(graph.next_id + len(made), np.ascontiguousarray(data), like=out, name=f"{out.name}/{name}", made_by="fuse")
        made.append(t)
        return t.id

    def flow(shape: tuple[int, ...], name: str) -> int:
        t = replace(out, id=graph.next_id + len(made), shape=shape, name=f"{out.name}/{name}", made_by="fuse")
        made.append(t)
        return t.id

    def bias(op: Op) -> np.ndarray:
        data = view.data(op.inputs[2]) if len(op.inputs) > 2 else None
        return np.zeros(4 * units, np.float32) if data is None else data.reshape(-1)

    x = graph.operand(cell.inward, 0).id
    inputs: list[int | None] = [None] * 24
    inputs[0] = step = flow((1, 1, view.shape(x)[1]), "step")
    for positions, values in (
        (INPUT_WEIGHTS, view.data(cell.inward.inputs[1])),
        (RECURRENT_WEIGHTS, view.data(cell.recurrent.inputs[1])),
        (BIASES, bias(cell.inward) + bias(cell.recurrent)),
    ):
        for position, part in zip(positions, np.split(np.asarray(values), 4), strict=True):
            inputs[position] = held(part, f"operand{position}")
    inputs[HIDDEN], inputs[CELL] = cell.hidden.read, cell.cell.read
    y, hidden, all_cells = flow((1, 1, units), "y"), flow((1, units), "hidden"), flow((1, 1, units), "cells")
    steps = held(np.asarray([1, 1, view.shape(x)[1]], np.int32), "steps")
    row = held(np.asarray([1, units], np.int32), "row")
    new = [
        Op(Reshape(), (x, steps), (step,)),
        Op(UnidirectionalSequenceLstm(), tuple(inputs), (y, hidden, cell.cell.write, all_cells)),
        Op(Reshape(), (y, row), (cell.hidden.write,)),
    ]
    gone = {op.output for op in cell.inner}
    last = max(n for n, op in enumerate(graph.ops) if op.output in gone)
    ops = [op for op in graph.ops[:last] if op.output not in gone]
    states = tuple(replace(s, write=hidden) if s is cell.hidden else s for s in graph.states)
    return rebuild(replace(graph, states=states), (*ops, *new, *graph.ops[last + 1 :]), made)
