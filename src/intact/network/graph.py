"""The network as data: frozen tensors, ops and one graph. Passes take a Graph and return a Graph."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Final, TypeAlias, final

import numpy as np

from intact.errors import ModelError
from intact.numbers.affine import Affine, Float, Format, Index
from intact.ops.base import OpKind
from intact.wording import counted

#: What tells ops of one kind and one layer apart, behind the layer's name: ``gate (mul)``, ``gate #2``.
_APART: Final = re.compile(r"( \([^()]*\))?( #\d+)?$")
#: Names up to this long are shown whole.
_LONG_NAME: Final = 64
#: Inputs and outputs that stand in a graph's description.
_PORTS: Final = 3

#: The metadata entry of a network whose inputs have names, and an order that a converter made up.
BY_NAME: Final = "intact_inputs_by_name"
#: The metadata entry with a place in TensorFlow Lite Micro's arena for each tensor of one file, which holds for no other file.
ARENA_PLAN: Final = "OfflineMemoryAllocation"

#: None only on axis 0: a symbolic batch.
Dim: TypeAlias = int | None


@final
@dataclass(frozen=True, eq=False)
class Tensor:
    """A value that flows through the graph, or a constant (``data``).

    ``data`` holds what is stored: real numbers for Float, integers for Affine (int4 and int2 one per int8 element) and Index.
    ``name`` is that in the file that was read; ``origin`` what users call it: the layer of their network that this tensor, or
    the one that it stems from, was made in. ``made_by`` is the pass that made it.
    """

    id: int
    name: str
    shape: tuple[Dim, ...]
    format: Format = Float()
    data: np.ndarray | None = field(default=None, repr=False)
    origin: str = ""
    made_by: str = "read"

    def __post_init__(self) -> None:
        if not self.origin:
            object.__setattr__(self, "origin", self.name)
        if self.data is not None:
            frozen = self.data.view()
            frozen.flags.writeable = False
            object.__setattr__(self, "data", frozen)

    @property
    def is_constant(self) -> bool:
        return self.data is not None

    @property
    def is_float(self) -> bool:
        return isinstance(self.format, Float)


@final
@dataclass(frozen=True, eq=False)
class Op:
    """One operation: its kind with options, the ids it reads (None: optional input left out) and the ids it writes."""

    kind: OpKind
    inputs: tuple[int | None, ...]
    outputs: tuple[int, ...]

    @property
    def reads(self) -> tuple[int, ...]:
        """The ids of the inputs that are there."""
        return tuple(i for i in self.inputs if i is not None)

    @property
    def output(self) -> int:
        """The first output: what identifies this op in messages and plans."""
        return self.outputs[0]


@final
@dataclass(frozen=True)
class Signature:
    """A named way to call the graph: (argument name, tensor id) pairs."""

    key: str
    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[tuple[str, int], ...]


@final
@dataclass(frozen=True, eq=False)
class State:
    """A value that a network keeps from call to call: ``read`` is, in one call, what ``write`` was in the call before.

    In the first call it is ``initial``, real numbers. Nothing makes ``read``; ``write`` may have any maker.
    """

    name: str
    read: int
    write: int
    initial: np.ndarray = field(repr=False)


@final
@dataclass(frozen=True, eq=False)
class Graph:
    """Tensors by id, ops in an order in which every op comes after the ops it reads from, inputs and outputs by id.

    A graph with ``states`` is called once per sample, in order: samples that follow each other are calls that do.
    """

    tensors: Mapping[int, Tensor]
    ops: tuple[Op, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    signatures: tuple[Signature, ...] = ()
    metadata: tuple[tuple[str, bytes], ...] = ()
    description: str = ""
    states: tuple[State, ...] = ()
    #: A zip archive that stands behind the network in its file, with the files of its metadata; offsets from its own start.
    archive: bytes = field(default=b"", repr=False)
    #: Kinds and names of the ops of the user's model that an op, by its first output, stands for.
    formerly: Mapping[int, tuple[str, ...]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tensors", MappingProxyType(dict(self.tensors)))

    def __repr__(self) -> str:
        """One line; a graph that is about to be refused has one too."""

        def ports(ids: tuple[int, ...]) -> str:
            known = [self.tensors[i] for i in ids if i in self.tensors]
            more = [f"{len(known) - _PORTS} more"] if len(known) > _PORTS else []
            return ", ".join([f"{short_name(t.name)!r} {list(t.shape)}".replace("None", "n") for t in known[:_PORTS]] + more)

        size = f"{counted(len(self.ops), 'op')}, {counted(len(self.tensors), 'tensor')}"
        return f"<Graph of {size}: {ports(self.inputs)} -> {ports(self.outputs)}>"

    def __getitem__(self, tensor_id: int) -> Tensor:
        return self.tensors[tensor_id]

    @property
    def starts(self) -> tuple[int, ...]:
        """What a call begins with: inputs, and what states hold."""
        return (*self.inputs, *(state.read for state in self.states))

    @property
    def ends(self) -> tuple[int, ...]:
        """What a call leaves behind: outputs, and what states hold from then on."""
        return (*self.outputs, *(state.write for state in self.states))

    @property
    def input_names(self) -> tuple[str, ...]:
        """What users call the inputs: the first signature's argument names, else the tensors' names."""
        names = {i: n for n, i in self.signatures[0].inputs} if self.signatures else {}
        return tuple(names.get(i, self[i].name) for i in self.inputs)

    @property
    def output_names(self) -> tuple[str, ...]:
        """What users call the outputs: the first signature's names, else the tensors' names."""
        names = {i: n for n, i in self.signatures[0].outputs} if self.signatures else {}
        return tuple(names.get(i, self[i].name) for i in self.outputs)

    @property
    def order_is_known(self) -> bool:
        """Whether the inputs are in the order of the model that they come from; else their names alone tell them apart."""
        return len(self.inputs) < 2 or all(name != BY_NAME for name, _ in self.metadata)

    @property
    def is_quantized(self) -> bool:
        """True when any tensor is stored as Affine integers."""
        return any(isinstance(t.format, Affine) for t in self.tensors.values())

    @property
    def next_id(self) -> int:
        return max(self.tensors, default=-1) + 1

    def producers(self) -> dict[int, Op]:
        """The op that writes each tensor."""
        return {out: op for op in self.ops for out in op.outputs}

    @property
    def takes_batches(self) -> bool:
        """Whether every input leaves the number of samples open, and no sample depends on the one before."""
        return not self.states and all(self[i].shape[:1] == (None,) for i in self.inputs)

    def consumers(self) -> dict[int, list[Op]]:
        """The ops that read each tensor, once per op; every tensor has an entry."""
        readers: dict[int, list[Op]] = {i: [] for i in self.tensors}
        for op in self.ops:
            for i in dict.fromkeys(op.reads):
                readers[i].append(op)
        return readers

    def constants(self) -> Iterator[Tensor]:
        return (t for t in self.tensors.values() if t.is_constant)

    def operand(self, op: Op, n: int) -> Tensor:
        """The tensor that the op reads as its input ``n``. ModelError where that is left out."""
        i = op.inputs[n] if n < len(op.inputs) else None
        if i is None:
            raise ModelError(f"op {self.label(op)} needs its input {n}, which is left out")
        return self[i]

    def label(self, op: Op) -> str:
        """How messages name an op: ``CONV_2D 'stem/relu'``, and ``CONV_2D 'stem/relu' #2`` for the second of that name."""
        return self._labels.get(op.output) or self._named(op)

    def called(self, op: Op) -> str:
        """What tables call an op of a known kind: all of its layer's name, numbered as in :meth:`label`."""
        number = self.label(op).removeprefix(self._named(op))
        return f"{self[op.output].origin}{number}"

    def names(self, op: Op) -> tuple[str, ...]:
        """What users may call an op: its kind, its layer, its output's name in the file or in messages, all of its label, or
        what tables call it.
        """
        t = self[op.output]
        short = short_name(t.origin)
        return op.kind.name, t.origin, _APART.sub("", t.origin), t.name, short, self.label(op), self.called(op)

    def _named(self, op: Op) -> str:
        return f"{op.kind.name} {short_name(self[op.output].origin)!r}"

    @cached_property
    def _labels(self) -> dict[int, str]:
        labels: dict[int, str] = {}
        seen = Counter[str]()
        for op in self.ops:
            if op.output in labels:
                continue  # a graph that is about to be refused may write a tensor twice
            name = self._named(op)
            seen[name] += 1
            labels[op.output] = name if seen[name] == 1 else f"{name} #{seen[name]}"
        return labels


def short_name(name: str) -> str:
    """A name that fits a line of a table or a message: a long one keeps its end, behind …"""
    return name if len(name) <= _LONG_NAME else "…" + name[-_LONG_NAME:]


def rebuild(graph: Graph, ops: Iterable[Op], tensors: Iterable[Tensor] = ()) -> Graph:
    """``graph`` with other ops and added or replaced tensors, less every tensor that nothing uses any more."""
    ops = tuple(ops)
    known = dict(graph.tensors) | {t.id: t for t in tensors}
    used = {*graph.starts, *graph.ends}
    used.update(i for op in ops for i in (*op.reads, *op.outputs))
    return replace(graph, tensors={i: t for i, t in known.items() if i in used}, ops=ops)


def constant(tensor_id: int, data: np.ndarray, *, like: Tensor, name: str, made_by: str) -> Tensor:
    """A new constant that a pass makes, stemming from ``like``. Floats become Float, whole numbers Index."""
    kind: Format = Float(str(data.dtype)) if data.dtype.kind == "f" else Index(str(data.dtype))
    return Tensor(tensor_id, name, tuple(data.shape), kind, data, like.origin, made_by)
