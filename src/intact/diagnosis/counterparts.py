"""Which tensor of a float network each tensor of an integer network stands for, whoever made the integer one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias, final

from intact.errors import IntactError, OptionError
from intact.measure.pairing import pair_inputs, pair_outputs, renamed
from intact.network.graph import Graph, Op, short_name
from intact.rewrite.clean import clean
from intact.rewrite.lowerings import lower

#: Names that writers make up, this one's too: ``t12`` of one file is not ``t12`` of another.
_MADE_UP: Final = re.compile(r"\W*[a-z]?\d*")
#: An op's kind and the shapes of its outputs without the batch: ops that differ in these are not counterparts.
_Look: TypeAlias = tuple[str, tuple[tuple[int | None, ...], ...]]


@final
@dataclass(frozen=True, eq=False)
class Counterpart:
    """The float op ``op`` that the integer op ``of`` stands for; ``inputs``: those of ``of`` in the place of its own."""

    op: Op
    of: Op
    inputs: Mapping[int, int]


@final
@dataclass(frozen=True, eq=False)
class Counterparts:
    """``tensors``: of ``graph`` in ``reference``, by id; ``ops``: by the first output of the integer op.

    ``reference`` computes what the float file computes, spelled as ``graph`` is: see :func:`find_counterparts`.
    """

    graph: Graph
    reference: Graph
    tensors: Mapping[int, int]
    ops: Mapping[int, Counterpart]

    def label(self, op: Op) -> str:
        """How messages name an op: by its tensor's name, or by that in the float file where it has none of its own."""
        i = self.tensors.get(op.output)
        if i is None or not _MADE_UP.fullmatch(self.graph[op.output].name):
            return self.graph.label(op)
        return f"{op.kind.name} {short_name(self.reference[i].origin)!r}"

    @property
    def score(self) -> int:
        """How well the spelling fits: ops that have a counterpart, more if with equal options, less those without."""
        equal = sum(found.op.kind == found.of.kind for found in self.ops.values())
        ops = sum(not op.kind.converts for op in self.graph.ops)
        return equal + len(self.ops) - (ops - len(self.ops)) - (len(self.reference.ops) - len(self.ops))


def find_counterparts(graph: Graph, reference: Graph) -> Counterparts:
    """The best counterparts of an integer ``graph`` and the float network that it was made from.

    Converters fuse activations, fold paddings and replace ops; so the float network is tried as it is, cleaned, and
    lowered for each target. Raises OptionError when the two do not take the same inputs.
    """
    aligned = _aligned(graph, reference)
    return max((_Walk(graph, spelled).find() for spelled in _spellings(aligned)), key=lambda found: found.score)


def counterparts_by_id(graph: Graph, reference: Graph) -> Counterparts:
    """Those of a network that was emitted from ``reference``: tensors have kept their ids."""
    tensors = {i: i for i in graph.tensors if i in reference.tensors and not graph[i].is_constant}
    makers = reference.producers()
    for op in graph.ops:
        if op.kind.converts and op.inputs[0] in tensors:
            tensors.setdefault(op.output, tensors[op.inputs[0]])
        elif op.kind.converts and op.output in tensors and op.inputs[0] is not None:
            tensors.setdefault(op.inputs[0], tensors[op.output])
    found = {op.output: _counterpart(graph, reference, op, makers.get(op.output), tensors) for op in graph.ops}
    return Counterparts(graph, reference, tensors, {i: op for i, op in found.items() if op is not None})


def _spellings(reference: Graph) -> Iterator[Graph]:
    yield reference
    try:
        plain = clean(reference)
    except IntactError:  # what cannot be cleaned is matched as it is
        return
    yield plain
    for target in ("cpu", "mcu"):
        yield lower(plain, target, "int8")


def _aligned(graph: Graph, reference: Graph) -> Graph:
    """``reference`` with its inputs, and where they can be told its outputs, called as those of ``graph`` are."""
    shapes = [sorted(str(list(g[i].shape[1:])) for i in g.inputs) for g in (graph, reference)]
    if shapes[0] != shapes[1]:
        taken = [", ".join(found) for found in shapes]
        raise OptionError(
            f"the two files are of different networks: one takes samples of {taken[0]}, the other of {taken[1]}; "
            "give --against the float file that the model was made from"
        )
    files = ("the integer file", "the float one")
    inputs = pair_inputs(graph, reference, files).names
    try:
        outputs = pair_outputs(graph, reference, files).names
    except OptionError:  # a part of a network, or more of it: what the ops say is enough
        outputs = {}
    return renamed(reference, inputs, outputs)


def _counterpart(graph: Graph, reference: Graph, of: Op, op: Op | None, tensors: Mapping[int, int]) -> Counterpart | None:
    """``op`` as the counterpart of ``of``, where both are of one kind and every float input has its counterpart."""
    if op is None or type(op.kind) is not type(of.kind):
        return None
    flows = [i for i in of.reads if not graph[i].is_constant]
    wanted = [i for i in op.reads if not reference[i].is_constant]
    known = {tensors[i]: i for i in flows if i in tensors}
    if set(wanted) <= known.keys():
        return Counterpart(op, of, {i: known[i] for i in wanted})
    by_place = dict(zip(op.inputs, of.inputs, strict=False))
    inputs = {i: by_place.get(i) for i in wanted}
    given = {i: j for i, j in inputs.items() if j is not None and graph[j].shape[1:] == reference[i].shape[1:]}
    return Counterpart(op, of, given) if len(given) == len(wanted) else None


@final
@dataclass
class _Walk:
    """One walk over the integer network in order; mutable, alive within :func:`find_counterparts` only."""

    graph: Graph
    reference: Graph
    tensors: dict[int, int] = field(default_factory=dict)
    ops: dict[int, Counterpart] = field(default_factory=dict)

    def find(self) -> Counterparts:
        self._ports(self.graph.inputs, self.graph.input_names, self.reference.inputs, self.reference.input_names)
        outputs = [self.reference[i] for op in self.reference.ops for i in op.outputs]
        self._names = {t.name: t.id for t in outputs if not _MADE_UP.fullmatch(t.name)}
        self._free = {op.output: op for op in self.reference.ops}
        self._of_look = [_by_look(g) for g in (self.graph, self.reference)]
        for op in self.graph.ops:
            if op.kind.converts and op.inputs[0] in self.tensors:
                self.tensors[op.output] = self.tensors[op.inputs[0]]
            elif not op.kind.converts:
                self._note(op)
        ends = self.graph.outputs
        self._ports(ends, self.graph.output_names, self.reference.outputs, self.reference.output_names)
        return Counterparts(self.graph, self.reference, self.tensors, self.ops)

    def _note(self, op: Op) -> None:
        best, named = self._best(op), self._names.get(self.graph[op.output].name)
        fits = named is not None and self.graph[op.output].shape[1:] == self.reference[named].shape[1:]
        if named is not None and fits and (best is None or (best.kind != op.kind and best.output != named)):
            self.tensors[op.output] = named  # another op makes the same tensor: fused or replaced
            return
        found = _counterpart(self.graph, self.reference, op, best, self.tensors)
        if found is not None:
            self.ops[op.output] = found
            self.tensors.update(zip(op.outputs, found.op.outputs, strict=False))
            del self._free[found.op.output]

    def _best(self, op: Op) -> Op | None:
        """The free float op of this look that reads the counterparts, best of this name; else the one in this place."""
        look = _look(self.graph, op)
        ours, theirs = (of_look.get(look, []) for of_look in self._of_look)
        known = {self.tensors.get(i) for i in op.reads if not self.graph[i].is_constant}
        free = [other for other in theirs if other.output in self._free]
        readers = [other for other in free if {i for i in other.reads if not self.reference[i].is_constant} == known]
        named = self._names.get(self.graph[op.output].name)
        if readers and None not in known:
            return max(readers, key=lambda other: (other.kind == op.kind, other.output == named))
        if len(ours) == len(theirs) and (place := theirs[ours.index(op)]).output in self._free:
            return place
        return next((other for other in free if other.output == named), None)

    def _ports(
        self, ours: tuple[int, ...], names: tuple[str, ...], theirs: tuple[int, ...], their_names: tuple[str, ...]
    ) -> None:
        """Inputs or outputs by name where the names are the same, else in order; what is matched already stays."""
        by_name = dict(zip(their_names, theirs, strict=True))
        for n, (i, name) in enumerate(zip(ours, names, strict=True)):
            other = by_name[name] if set(names) == set(their_names) else theirs[n] if n < len(theirs) else None
            if other is not None and self.graph[i].shape[1:] == self.reference[other].shape[1:]:
                self.tensors.setdefault(i, other)


def _look(graph: Graph, op: Op) -> _Look:
    return op.kind.name, tuple(graph[i].shape[1:] for i in op.outputs)


def _by_look(graph: Graph) -> dict[_Look, list[Op]]:
    of_look: dict[_Look, list[Op]] = {}
    for op in graph.ops:
        of_look.setdefault(_look(graph, op), []).append(op)
    return of_look
