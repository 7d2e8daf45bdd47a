"""From a float graph and a plan to the graph that is written: integers for weights, conversions where formats meet."""

from __future__ import annotations

from dataclasses import replace
from typing import final

import numpy as np

from intact.network.graph import Graph, Op, Tensor
from intact.network.verify import verify
from intact.network.weighted import Weighted, weighted
from intact.numbers.affine import (
    Affine,
    Float,
    Format,
    as_held,
    dequantize_array,
    has_kernels,
    limits,
    quantize_array,
    quantize_weight,
)
from intact.ops.base import OpKind
from intact.ops.quantization import Dequantize, Quantize
from intact.planning.plan import Plan
from intact.planning.steps import stored_as_integers
from intact.planning.targets import TARGETS


def emit(graph: Graph, plan: Plan) -> Graph:
    """The network as the device runs it, tensor for tensor; the same graph and plan give the same result.

    A constant is stored in each format that a reader needs. An activation whose reader needs another format passes through
    one QUANTIZE or DEQUANTIZE, shared by all readers that need the same. Inputs and outputs keep the names callers know.
    """
    return verify(_Emitter(graph, plan.check(graph)).graph())


@final
class _Emitter:
    def __init__(self, graph: Graph, plan: Plan) -> None:
        self.source = graph
        self.plan = plan
        self.tensors: dict[int, Tensor] = {}
        self.ops: list[Op] = []
        self.next_id = graph.next_id
        self._converted: dict[tuple[int, Format], int] = {}
        self._weights = weights_of(graph)
        self._packed = _packed(graph, TARGETS[plan.target].int2 if plan.target in TARGETS else frozenset())
        self._in_float = {one.op.output: one for one in stored_as_integers(graph, plan) if not _has_kernel(one, plan)}

    def graph(self) -> Graph:
        inputs = {i: self._enter(i) for i in self.source.inputs}
        for state in self.source.states:
            self.tensors[state.read] = replace(self.source[state.read], format=self._own(state.read))
        for op in self.source.ops:
            if op.output in self._in_float:
                self._compute_in_float(self._in_float[op.output])
                continue
            reads = tuple(None if i is None else self._as(i, self._at(i, op)) for i in op.inputs)
            self.ops.append(replace(op, kind=self._kind(op), inputs=reads))
            for i in op.outputs:
                self.tensors[i] = replace(self.source[i], format=self._own(i))
        outputs = {i: self._leave(i) for i in self.source.outputs}
        states = tuple(replace(state, write=self._as(state.write, self._own(state.read))) for state in self.source.states)
        return replace(
            self.source,
            tensors=self.tensors,
            ops=tuple(self.ops),
            inputs=tuple(inputs.values()),
            outputs=tuple(outputs[i] for i in self.source.outputs),
            states=states,
            signatures=tuple(
                replace(
                    s,
                    inputs=tuple((name, inputs[i]) for name, i in s.inputs),
                    outputs=tuple((name, outputs[i]) for name, i in s.outputs),
                )
                for s in self.source.signatures
            ),
        )

    def _compute_in_float(self, one: Weighted) -> None:
        """The op between DEQUANTIZE and QUANTIZE: its weight and bias are the real numbers of their integers."""
        op, output = one.op, self.source[one.op.output]
        reads = []
        for i in op.inputs:
            if i is None or not self.source[i].is_float:
                reads.append(i if i is None else self._as(i, self._at(i, op)))
            elif self.source[i].is_constant:
                made = real_of(self.source[i], self._at(i, op), self._weights)
                new = i if i not in self.tensors else self._new(made)
                self.tensors[new] = replace(made, id=new)
                reads.append(new)
            else:
                reads.append(self._real(self._as(i, self._at(i, op))))
        real = self._new(replace(output, name=f"{output.name}_real", made_by="emit"))
        self.ops += [replace(op, inputs=tuple(reads), outputs=(real,)), Op(Quantize(), (real,), (output.id,))]
        self.tensors[output.id] = replace(output, format=self._own(output.id))

    def _real(self, i: int) -> int:
        """What the integers of tensor ``i`` stand for, made at the first need."""
        if (i, Float()) not in self._converted:
            new = self._new(replace(self.tensors[i], name=f"{self.tensors[i].name}_as", format=Float(), made_by="emit"))
            self.ops.append(Op(Dequantize(), (i,), (new,)))
            self._converted[i, Float()] = new
        return self._converted[i, Float()]

    def _enter(self, i: int) -> int:
        """A graph input: as the caller sees it, and converted when the network wants it otherwise. Gives the caller's id."""
        own, outside = self._own(i), self._outside(i)
        if own == outside:
            self.tensors[i] = replace(self.source[i], format=own)
            return i
        entry = self._new(replace(self.source[i], format=outside, made_by="emit"))
        self.tensors[i] = replace(self.source[i], format=own, name=f"{self.source[i].name}_inside")
        self.ops.append(Op(_conversion(own), (entry,), (i,)))
        return entry

    def _leave(self, i: int) -> int:
        """A graph output in the format that the caller asked for. Gives the caller's id."""
        exit_id = self._as(i, self._outside(i))
        if exit_id != i:
            self.tensors[exit_id] = replace(self.tensors[exit_id], name=self.source[i].name)
            self.tensors[i] = replace(self.tensors[i], name=f"{self.source[i].name}_inside")
        return exit_id

    def _as(self, i: int, wanted: Format) -> int:
        """The id of tensor ``i`` in the format ``wanted``, made at the first need."""
        source = self.source[i]
        own = self._own(i)
        # Floats beside integers are stored too: no kernel takes an int32 bias back to them.
        constant = source.is_constant and (wanted == own or isinstance(wanted, Affine) or isinstance(own, Affine))
        key = i, wanted
        if key in self._converted:
            return self._converted[key]
        if constant:
            made = stored(source, wanted, self._weights, packed=i in self._packed)
            new = i if i not in self.tensors else self._new(made)
            self.tensors[new] = replace(made, id=new)
        else:
            if source.is_constant:
                self._as(i, self._own(i))
            if wanted == self.tensors[i].format:
                return i
            between = _between(self.tensors[i].format, wanted)
            if between is not None:
                i = self._as(i, between)
            new = self._new(replace(source, name=f"{source.name}_as", format=wanted, data=None, made_by="emit"))
            self.ops.append(Op(_conversion(wanted), (i,), (new,)))
        self._converted[key] = new
        return new

    def _new(self, tensor: Tensor) -> int:
        new, self.next_id = self.next_id, self.next_id + 1
        self.tensors[new] = replace(tensor, id=new)
        return new

    def _own(self, i: int) -> Format:
        return self.plan.own(i) if self._planned(i) else self.source[i].format

    def _outside(self, i: int) -> Format:
        return self.plan.outside(i) if self._planned(i) else self.source[i].format

    def _at(self, i: int, op: Op) -> Format:
        return self.plan.at(i, op.output) if self._planned(i) else self.source[i].format

    def _planned(self, i: int) -> bool:
        """Whether the plan says how ``i`` is stored: real numbers, and whole ones that stand for such."""
        return self.source[i].is_float or i in self.plan.tensors

    def _kind(self, op: Op) -> OpKind:
        """The op as it runs on what the plan stores."""
        stored = [
            op.kind.as_stored(self.source[i].format) for i in op.reads if not self.source[i].is_float and self._planned(i)
        ]
        return next((kind for kind, _ in filter(None, stored)), op.kind)


def _between(made: Format, wanted: Format) -> Affine | None:
    """The format to pass through where no one kernel converts: int16 becomes uint8 by way of int8, which loses nothing more."""
    if not (isinstance(made, Affine) and isinstance(wanted, Affine) and (made.dtype, wanted.dtype) == ("int16", "uint8")):
        return None
    shift = limits("int8")[0] - limits("uint8")[0]
    return Affine(wanted.scale, tuple(z + shift for z in wanted.zero_point), "int8")


def _conversion(wanted: Format) -> OpKind:
    return Dequantize() if isinstance(wanted, Float) else Quantize()


def weights_of(graph: Graph) -> frozenset[int]:
    """The tensors that an op reads as its weight."""
    return frozenset(found.weight.id for op in graph.ops if (found := weighted(graph, op)) is not None)


def _packed(graph: Graph, kinds: frozenset[str]) -> frozenset[int]:
    """The tensors that ops of ``kinds`` alone read, as their weights."""
    readers = graph.consumers()
    return frozenset(
        found.weight.id
        for op in graph.ops
        if op.kind.name in kinds
        and (found := weighted(graph, op)) is not None
        and all(reader.kind.name in kinds for reader in readers[found.weight.id])
    )


def _has_kernel(one: Weighted, plan: Plan) -> bool:
    """Whether integer kernels take the weight as wide as it is planned."""
    return has_kernels(plan.at(one.weight.id, one.op.output).dtype)


def real_of(t: Tensor, wanted: Format, weights: frozenset[int]) -> Tensor:
    """The constant as the real numbers that it is stored as in the format ``wanted``."""
    if t.data is None or not isinstance(wanted, Affine):
        return stored(t, wanted, weights)
    q = quantize_weight(t.data, wanted) if t.id in weights else quantize_array(t.data, wanted)
    return replace(t, format=Float(), data=dequantize_array(q, wanted))


def stored(t: Tensor, wanted: Format, weights: frozenset[int], *, packed: bool = False) -> Tensor:
    """The constant with its data in the format ``wanted``, as the file of a graph with these ``weights`` holds it.

    ``packed``: what reads it has kernels for weights of 2 bits.
    """
    if t.data is None or not t.is_float:
        return t
    if not isinstance(wanted, Affine):
        table = wanted.codebook if isinstance(wanted, Float) else None
        data = t.data if table is None else table.snapped(t.data)
        return replace(t, format=as_held(wanted), data=data.astype(np.dtype(wanted.dtype)))
    data = quantize_weight(t.data, wanted) if t.id in weights else quantize_array(t.data, wanted)
    return replace(t, format=as_held(wanted, packed=packed), data=data)
