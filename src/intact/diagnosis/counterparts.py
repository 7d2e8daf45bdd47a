"""Which tensor of a float network each tensor of an integer network stands for, whoever made the integer one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias, final

from intact.errors import IntactError, OptionError
from intact.network.graph import Graph, Op, short_name
from intact.ops.quantization import Dequantize, Quantize
from intact.rewrite.clean import clean
from intact.rewrite.lowerings import lower

#: What only changes how a number is stored.
CONVERSIONS: Final = (Quantize, Dequantize)
#: Names that writers make up, this one's too: ``t12`` of one file is not ``t12`` of another.
_MADE_UP: Final = re.compile(r"\W*[a-z]?\d*")
#: An op's kind and the shapes of its outputs without the batch: ops that differ in these are not counterparts.
_Look: TypeAlias = tuple[str, tuple[tuple[int | None, ...], ...]]


@final
@dataclass(frozen=True, eq=False)
class Pair:
    """An integer op, the float op that it stands for, and which of its inputs takes the place of each of the float op's."""

    op: Op
    like: Op
    inputs: Mapping[int, int]


@final
@dataclass(frozen=True, eq=False)
class Match:
    """``same``: from tensors of ``graph`` to those of ``reference``; ``pairs``: ops by the first output of the integer one.

    ``reference`` computes what the float file computes, spelled as ``graph`` is: see :func:`match`.
    """

    graph: Graph
    reference: Graph
    same: Mapping[int, int]
    pairs: Mapping[int, Pair]

    def label(self, op: Op) -> str:
        """How messages name an op: by its tensor's name, or by that in the float file where it has none of its own."""
        like = self.same.get(op.output)
        if like is None or not _MADE_UP.fullmatch(self.graph[op.output].name):
            return self.graph.label(op)
        return f"{op.kind.name} {short_name(self.reference[like].origin)!r}"

    @property
    def score(self) -> int:
        """How well the spelling fits: ops that have a counterpart, more if with equal options, less those without."""
        twins = sum(pair.op.kind == pair.like.kind for pair in self.pairs.values())
        ops = sum(not isinstance(op.kind, CONVERSIONS) for op in self.graph.ops)
        return twins + len(self.pairs) - (ops - len(self.pairs)) - (len(self.reference.ops) - len(self.pairs))


def match(graph: Graph, reference: Graph) -> Match:
    """The best match of an integer ``graph`` and the float network that it was made from.

    Converters fuse activations, fold paddings and replace ops; so the float network is tried as it is, cleaned, and
    lowered for each target. Raises OptionError when the two do not take the same inputs.
    """
    _check_inputs(graph, reference)
    return max((_Matcher(graph, spelled).match() for spelled in _spellings(reference)), key=lambda found: found.score)


def identical(graph: Graph, reference: Graph) -> Match:
    """The match of a network that was emitted from ``reference``: tensors have kept their ids."""
    same = {i: i for i in graph.tensors if i in reference.tensors and not graph[i].is_constant}
    twins = reference.producers()
    for op in graph.ops:
        if isinstance(op.kind, CONVERSIONS) and op.inputs[0] in same:
            same.setdefault(op.output, same[op.inputs[0]])
        elif isinstance(op.kind, CONVERSIONS) and op.output in same and op.inputs[0] is not None:
            same.setdefault(op.inputs[0], same[op.output])
    pairs = {op.output: pair for op in graph.ops if (pair := _pair(graph, reference, op, twins.get(op.output), same))}
    return Match(graph, reference, same, pairs)


def _spellings(reference: Graph) -> Iterator[Graph]:
    yield reference
    try:
        plain = clean(reference)
    except IntactError:  # what cannot be cleaned is matched as it is
        return
    yield plain
    for target in ("cpu", "mcu"):
        yield lower(plain, target, "int8")


def _check_inputs(graph: Graph, reference: Graph) -> None:
    shapes = [[list(g[i].shape[1:]) for i in g.inputs] for g in (graph, reference)]
    if shapes[0] != shapes[1]:
        raise OptionError(
            f"the two files are of different networks: one takes samples of {shapes[0]}, the other of {shapes[1]}; "
            "give --against the float file that the model was made from"
        )


def _pair(graph: Graph, reference: Graph, op: Op, like: Op | None, same: Mapping[int, int]) -> Pair | None:
    """The pair, where both are of one kind and every float input has its counterpart; else None."""
    if like is None or type(op.kind) is not type(like.kind):
        return None
    flows = [i for i in op.reads if not graph[i].is_constant]
    wanted = [i for i in like.reads if not reference[i].is_constant]
    known = {same[i]: i for i in flows if i in same}
    if set(wanted) <= known.keys():
        return Pair(op, like, {i: known[i] for i in wanted})
    by_place = dict(zip(like.inputs, op.inputs, strict=False))
    inputs = {i: by_place.get(i) for i in wanted}
    given = {i: j for i, j in inputs.items() if j is not None and graph[j].shape[1:] == reference[i].shape[1:]}
    return Pair(op, like, given) if len(given) == len(wanted) else None


@final
@dataclass
class _Matcher:
    """One walk over the integer network in order; mutable, alive within :func:`match` only."""

    graph: Graph
    reference: Graph
    same: dict[int, int] = field(default_factory=dict)
    pairs: dict[int, Pair] = field(default_factory=dict)

    def match(self) -> Match:
        self._ports(self.graph.inputs, self.graph.input_names, self.reference.inputs, self.reference.input_names)
        outputs = [self.reference[i] for op in self.reference.ops for i in op.outputs]
        self._names = {t.name: t.id for t in outputs if not _MADE_UP.fullmatch(t.name)}
        self._free = {op.output: op for op in self.reference.ops}
        self._alike = [_by_look(g) for g in (self.graph, self.reference)]
        for op in self.graph.ops:
            if isinstance(op.kind, CONVERSIONS) and op.inputs[0] in self.same:
                self.same[op.output] = self.same[op.inputs[0]]
            elif not isinstance(op.kind, CONVERSIONS):
                self._find(op)
        ends = self.graph.outputs
        self._ports(ends, self.graph.output_names, self.reference.outputs, self.reference.output_names)
        return Match(self.graph, self.reference, self.same, self.pairs)

    def _find(self, op: Op) -> None:
        like, named = self._counterpart(op), self._names.get(self.graph[op.output].name)
        fits = named is not None and self.graph[op.output].shape[1:] == self.reference[named].shape[1:]
        if named is not None and fits and (like is None or (like.kind != op.kind and like.output != named)):
            self.same[op.output] = named  # another op makes the same tensor: fused or replaced
            return
        pair = _pair(self.graph, self.reference, op, like, self.same)
        if like is not None and pair is not None:
            self.pairs[op.output] = pair
            self.same.update(zip(op.outputs, like.outputs, strict=False))
            del self._free[like.output]

    def _counterpart(self, op: Op) -> Op | None:
        """The free op of the same look that reads the same, best of the same name; else the one in the same place."""
        look = _look(self.graph, op)
        ours, theirs = (alike.get(look, []) for alike in self._alike)
        known = {self.same.get(i) for i in op.reads if not self.graph[i].is_constant}
        free = [like for like in theirs if like.output in self._free]
        readers = [like for like in free if {i for i in like.reads if not self.reference[i].is_constant} == known]
        named = self._names.get(self.graph[op.output].name)
        if readers and None not in known:
            return max(readers, key=lambda like: (like.kind == op.kind, like.output == named))
        if len(ours) == len(theirs) and (place := theirs[ours.index(op)]).output in self._free:
            return place
        return next((like for like in free if like.output == named), None)

    def _ports(
        self, ours: tuple[int, ...], names: tuple[str, ...], theirs: tuple[int, ...], their_names: tuple[str, ...]
    ) -> None:
        """Inputs or outputs by name where the names are the same, else in order; what is matched already stays."""
        by_name = dict(zip(their_names, theirs, strict=True))
        for n, (i, name) in enumerate(zip(ours, names, strict=True)):
            other = by_name[name] if set(names) == set(their_names) else theirs[n] if n < len(theirs) else None
            if other is not None and self.graph[i].shape[1:] == self.reference[other].shape[1:]:
                self.same.setdefault(i, other)


def _look(graph: Graph, op: Op) -> _Look:
    return op.kind.name, tuple(graph[i].shape[1:] for i in op.outputs)


def _by_look(graph: Graph) -> dict[_Look, list[Op]]:
    alike: dict[_Look, list[Op]] = {}
    for op in graph.ops:
        alike.setdefault(_look(graph, op), []).append(op)
    return alike
