"""How states are spelled in a .tflite file: a variable tensor where the op that reads one overwrites it, else a resource
variable, started by CALL_ONCE before the first call.

The main subgraph begins with CALL_ONCE, VAR_HANDLE and READ_VARIABLE and ends with ASSIGN_VARIABLE; a second one assigns what
the variables hold at first. The kernels copy bytes, whatever the number format. Source: LiteRT and TensorFlow Lite Micro
kernels/var_handle.cc, read_variable.cc, assign_variable.cc, call_once.cc.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, final

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from intact.errors import ModelError, UnsupportedError
from intact.formats.tflite.control import Block
from intact.formats.tflite.op_rows import UNIONS, row
from intact.network.graph import Graph, Op, State, Tensor
from intact.numbers.affine import Affine, quantize_array
from intact.ops.recurrent import CELL, HIDDEN, UnidirectionalSequenceLstm

#: The second subgraph.
_INIT: Final = 1
#: The inputs that the kernels of an LSTM insist on, given or not.
_LSTM_INPUTS: Final = 24


class Tables(abc.ABC):
    """What a writer of .tflite files does for whoever writes part of one: each gives an offset or an index."""

    graph: Graph
    index: dict[int, int]

    @abc.abstractmethod
    def table(self, name: str, **slots: int | float | bool) -> int:
        """A table of the schema."""

    @abc.abstractmethod
    def vector(self, array: np.ndarray) -> int:
        """A vector of numbers."""

    @abc.abstractmethod
    def tables(self, offsets: list[int]) -> int:
        """A vector of offsets."""

    @abc.abstractmethod
    def string(self, text: str) -> int:
        """A string."""

    @abc.abstractmethod
    def code(self, name: str) -> int:
        """The index of an operator code of version 1."""

    @abc.abstractmethod
    def buffer(self, tensor: Tensor) -> int:
        """The index of the buffer that holds what a constant stores."""

    @abc.abstractmethod
    def tensor(self, tensor: Tensor, buffer: int, *, variable: bool = False) -> int:
        """A tensor's table; a ``variable`` one is kept between calls."""

    @abc.abstractmethod
    def more(self, table: int) -> int:
        """The index of a tensor that follows the graph's own, by its table."""


@final
class Variables:
    """The variables of the states of ``out.graph``. Make it before the buffers are written."""

    def __init__(self, out: Tables) -> None:
        self.out = out
        variable = variable_tensors(out.graph)
        self.states = tuple(state for state in out.graph.states if state.read not in variable)
        self._firsts = [_first(out.graph[state.read], state) for state in self.states]
        self._buffers = [out.buffer(t) for t in self._firsts]
        self._handles: list[int] = []

    def before(self) -> list[int]:
        """The ops that begin a call."""
        if not self.states:
            return []
        self._handles = [self.out.more(self._handle(n)) for n in range(len(self.states))]
        options = self.out.table("CallOnceOptions", InitSubgraphIndex=_INIT)
        reads = (
            self._op("READ_VARIABLE", (handle,), (self.out.index[state.read],))
            for handle, state in zip(self._handles, self.states, strict=True)
        )
        return [
            self._op("CALL_ONCE", (), (), "CallOnceOptions", options),
            *(self._name(n, handle) for n, handle in enumerate(self._handles)),
            *reads,
        ]

    def after(self) -> list[int]:
        """The ops that end a call."""
        return [
            self._op("ASSIGN_VARIABLE", (handle, self.out.index[state.write]), ())
            for handle, state in zip(self._handles, self.states, strict=True)
        ]

    def subgraphs(self) -> list[int]:
        """The subgraph that runs once."""
        if not self.states:
            return []
        count = len(self.states)
        tensors = [self._handle(n) for n in range(count)]
        tensors += [self.out.tensor(t, buffer) for t, buffer in zip(self._firsts, self._buffers, strict=True)]
        ops = [self._name(n, n) for n in range(count)]
        ops += [self._op("ASSIGN_VARIABLE", (n, count + n), ()) for n in range(count)]
        none = self.out.vector(np.zeros(0, np.int32))
        made = self.out.tables(tensors), self.out.tables(ops), self.out.string("init")
        return [self.out.table("SubGraph", Tensors=made[0], Inputs=none, Outputs=none, Operators=made[1], Name=made[2])]

    def _handle(self, n: int) -> int:
        shape, name = self.out.vector(np.zeros(0, np.int32)), self.out.string(f"variable{n}")
        return self.out.table("Tensor", Shape=shape, Type=schema.TensorType.RESOURCE, Name=name, HasRank=True)

    def _name(self, n: int, output: int) -> int:
        name = self.states[n].name
        same = [s.name for s in self.states[:n]].count(name)
        options = self.out.table("VarHandleOptions", SharedName=self.out.string(f"{name}_{same}" if same else name))
        return self._op("VAR_HANDLE", (), (output,), "VarHandleOptions", options)

    def _op(self, name: str, inputs: tuple[int, ...], outputs: tuple[int, ...], union: str = "", options: int = 0) -> int:
        reads, writes = (self.out.vector(np.asarray(ids, np.int32)) for ids in (inputs, outputs))
        chosen = {"BuiltinOptionsType": UNIONS[union], "BuiltinOptions": options} if union else {}
        return self.out.table("Operator", OpcodeIndex=self.out.code(name), Inputs=reads, Outputs=writes, **chosen)


def _first(read: Tensor, state: State) -> Tensor:
    """What the state begins with, stored as it is read."""
    data = state.initial.astype(np.float32)
    stored = quantize_array(data, read.format) if isinstance(read.format, Affine) else state.initial.astype(read.format.dtype)
    return replace(read, data=stored)


# ---- variable tensors ---------------------------------------------------------------------------------------------------


def unseen_outputs(graph: Graph) -> frozenset[int]:
    """What ops make in our words and not in the file's: what a kernel leaves in its variable tensors."""
    return frozenset(i for op in graph.ops if row(op.kind.name).kept for i in op.outputs[1:])


def goes_on(graph: Graph) -> bool:
    """Whether a layer begins anew with every call here, and goes on from the call before where nobody resets the runtime."""
    kept = ((op, n) for op in graph.ops for n in row(op.kind.name).kept)
    return any(n >= len(op.inputs) or op.inputs[n] is None for op, n in kept)


def variable_tensors(graph: Graph) -> frozenset[int]:
    """What states are read from that the kernel which reads it overwrites."""
    states = {(state.read, state.write) for state in graph.states}
    found = set[int]()
    for op in graph.ops:
        for position, output in row(op.kind.name).kept.items():
            i = op.inputs[position] if position < len(op.inputs) else None
            if i is not None and (i, op.outputs[output]) in states:
                found.add(i)
    return frozenset(found)


def stateful_operands(out: Tables, op: Op, reads: list[int]) -> dict[str, int]:
    """Gives ``reads`` a variable tensor wherever the op keeps something; the operator's further fields.

    LiteRT's int8 kernel asks for five intermediates, of which it reads the scale of the hidden state alone; TensorFlow Lite
    Micro takes none but empty ones.
    """
    kept = row(op.kind.name).kept
    reads += [-1] * (max(kept) + 1 - len(reads))
    for position, output in kept.items():
        if reads[position] < 0:
            t = replace(out.graph[op.outputs[output]], name=f"state{position}")
            reads[position] = out.more(out.tensor(t, 0, variable=True))
    reads += [-1] * (_LSTM_INPUTS - len(reads))
    hidden = out.graph[op.outputs[1]]
    if not isinstance(hidden.format, Affine):
        return {}
    gate = replace(hidden, name="gate", shape=(0,), format=Affine((2.0**-12,), (0,), "int16"))
    made = [out.more(out.tensor(t, 0)) for t in (gate, gate, gate, gate, replace(hidden, name="hidden", shape=(0,)))]
    return {"Intermediates": out.vector(np.asarray(made, np.int32))}


def fused_states(block: Block, variables: set[int]) -> Block:
    """``block`` with what kernels leave in ``variables`` as outputs: a state of a layer that is called step by step; of one
    that takes a sequence, zeros at its beginning.

    Runtimes keep variable tensors in either case: whoever runs a sequence resets them before it, as TensorFlow's guide says.
    """
    tensors, ops, states = dict(block.tensors), list[Op](), list[State]()
    next_id = max(tensors, default=-1) + 1
    for op in block.ops:
        kept = row(op.kind.name).kept
        mine = {position: i for position, i in enumerate(op.inputs) if i in variables}
        if mine.keys() - kept.keys():
            name = tensors[next(iter(mine.values()))].name
            raise UnsupportedError(
                f"op {op.kind.name} keeps {name!r} between calls, which Intact does not know; export without it"
            )
        if not kept:
            ops.append(op)
            continue
        made = _outputs(op, tensors, next_id)
        tensors |= {t.id: t for t in made}
        next_id += len(made)
        outputs, inputs = (*op.outputs, *(t.id for t in made)), list(op.inputs)
        for position, i in mine.items():
            if len(tensors[op.output].shape) == 3 and _steps(op, tensors) == 1:
                zeros = np.zeros([n or 1 for n in tensors[i].shape], np.float32)
                states.append(State(tensors[i].name, i, outputs[kept[position]], zeros))
            else:
                inputs[position] = None
        ops.append(replace(op, inputs=tuple(inputs), outputs=outputs))
    return replace(block, tensors=tensors, ops=tuple(ops), states=tuple(states))


def _steps(op: Op, tensors: Mapping[int, Tensor]) -> int | None:
    time_major = isinstance(op.kind, UnidirectionalSequenceLstm) and op.kind.time_major
    return tensors[op.output].shape[0 if time_major else 1]


def _outputs(op: Op, tensors: Mapping[int, Tensor], next_id: int) -> list[Tensor]:
    """The last h, the last c and all c of an LSTM, in the formats of its variable tensors."""
    all_hidden = tensors[op.output]
    states = [tensors[i] for i in op.inputs[HIDDEN : CELL + 1] if i is not None]
    if len(states) != 2:
        raise ModelError(f"op {op.kind.name} {all_hidden.name!r} has no tensors for its states")
    hidden, cell = states
    last = (replace(t, id=next_id + n, name=f"{t.name} afterwards", data=None) for n, t in enumerate((hidden, cell)))
    return [*last, replace(cell, id=next_id + 2, name="cells", shape=(*all_hidden.shape[:2], cell.shape[-1]), data=None)]
