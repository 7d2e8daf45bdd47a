"""Which input or output of one network is which of another's: converters name and order them as they like."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias, final

import numpy as np
import scipy

from intact.errors import OptionError
from intact.measure.accuracy import NamedOutputs
from intact.network.graph import Dim, Graph, Signature
from intact.numbers.affine import Index

#: What TensorFlow's converter calls the outputs of a model that has no names for them; the file lists them in any order.
_NUMBERED: Final = re.compile(r"output_(\d+)")
#: The part of the error that another order of outputs must leave to be the right one: two of one network differ by rounding.
_CLEARLY: Final = 0.25

#: From some ports of the other network to as many of one, alike in shape: where in the second each of the first belongs.
Decide: TypeAlias = Callable[[Sequence[str], Sequence[str]], Sequence[int] | None]


@final
@dataclass(frozen=True)
class Port:
    """An input or output as users see it. ``sizes``: of one sample, without axes of length 1."""

    name: str
    shape: tuple[Dim, ...]
    is_whole: bool

    @property
    def sizes(self) -> tuple[Dim, ...]:
        return tuple(size for size in self.shape[1:] if size != 1)

    def is_like(self, other: Port) -> bool:
        """Whether both hold numbers of one kind in one shape."""
        return (self.sizes, self.is_whole) == (other.sizes, other.is_whole)

    def __str__(self) -> str:
        return f"{self.name!r} [{', '.join(('n', *(str(size) for size in self.shape[1:])))}]".replace("None", "?")


#: Whether two ports that are called alike, or have no others beside them, can be the same.
Fits: TypeAlias = Callable[[Port, Port], bool]


@final
@dataclass(frozen=True)
class Pairing:
    """``names``: from the other network's ports, in its order, to those of one. ``said``: how, where it was not by name."""

    names: Mapping[str, str]
    said: str = field(default="", compare=False)

    @property
    def told(self) -> dict[str, str]:
        """What figures call each of the other network's: as the other does, unless it only counts them."""
        return dict(self.names) if all(map(_NUMBERED.fullmatch, self.names)) else {name: name for name in self.names}

    @property
    def back(self) -> dict[str, str]:
        """From those of one network to the other's."""
        return {ours: theirs for theirs, ours in self.names.items()}

    @property
    def renames(self) -> bool:
        """Whether any has another name in the other network."""
        return any(theirs != ours for theirs, ours in self.names.items())


def pair_inputs(graph: Graph, other: Graph, files: tuple[str, str]) -> Pairing:
    """The inputs of ``other`` as those of ``graph``; ``files`` are what messages call the two. OptionError where they differ.

    By name, else by shape, else in order. A single input is the single other one, whatever its size: samples are resized.
    """
    ours, theirs = _ports(graph, "inputs"), _ports(other, "inputs")
    return _paired("input", ours, theirs, files, lambda *_: True)


def pair_outputs(
    graph: Graph, other: Graph, files: tuple[str, str], numbers: tuple[NamedOutputs, NamedOutputs] | None = None
) -> Pairing:
    """The outputs of ``other`` as those of ``graph``, alike in shape: by name, else by shape.

    What neither tells apart goes by the ``numbers`` ``[n, ...]`` that both gave for the same samples, where these clearly fit
    one way, else in order.
    """
    ours, theirs = _ports(graph, "outputs"), _ports(other, "outputs")
    decide = None if numbers is None else _by_numbers(*numbers)
    return _paired("output", ours, theirs, files, Port.is_like, decide)


def renamed(graph: Graph, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> Graph:
    """``graph`` with inputs and outputs called otherwise, by what they are called now."""
    ports = ((graph.input_names, inputs, graph.inputs), (graph.output_names, outputs, graph.outputs))
    taken, given = (tuple((new.get(n, n), i) for n, i in zip(names, ids, strict=True)) for names, new, ids in ports)
    return replace(graph, signatures=(Signature("serving_default", taken, given),))


def _ports(graph: Graph, side: Literal["inputs", "outputs"]) -> tuple[Port, ...]:
    ids, names = (graph.inputs, graph.input_names) if side == "inputs" else (graph.outputs, graph.output_names)
    ports = tuple(Port(n, graph[i].shape, isinstance(graph[i].format, Index)) for i, n in zip(ids, names, strict=True))
    numbered = [_NUMBERED.fullmatch(port.name) for port in ports]
    if not all(numbered):
        return ports
    return tuple(sorted(ports, key=lambda port: int(port.name.removeprefix("output_"))))


def _paired(  # noqa: PLR0913, PLR0917  # private, called twice
    what: str,
    ours: tuple[Port, ...],
    theirs: tuple[Port, ...],
    files: tuple[str, str],
    fits: Fits,
    decide: Decide | None = None,
) -> Pairing:
    named = {port.name: port for port in ours}
    found = {t.name: t.name for t in theirs if t.name in named and fits(t, named[t.name])}
    free, left = [p for p in ours if p.name not in found], [p for p in theirs if p.name not in found]
    if len(ours) == len(theirs) == len(left) == 1 and fits(left[0], free[0]):
        return Pairing({left[0].name: free[0].name})  # no other can be meant
    how: set[str] = set()
    while left and len(free) == len(left):
        group, alike = ([p for p in ports if p.is_like(left[0])] for ports in (left, free))
        if len(group) != len(alike):
            break
        chosen = None if decide is None or len(group) == 1 else decide([p.name for p in group], [p.name for p in alike])
        how.add("by shape" if len(group) == 1 else "in order" if chosen is None else "by their numbers")
        for port, at in zip(group, range(len(group)) if chosen is None else chosen, strict=True):
            found[port.name] = alike[at].name
        free, left = [p for p in free if p not in alike], [p for p in left if p not in group]
    if free or left:
        lists = ", ".join(map(str, ours)), ", ".join(map(str, theirs))
        raise OptionError(
            f"the {what}s of the two cannot be matched: {files[0]} has {lists[0]}, and {files[1]} has {lists[1]}; "
            "give --against a model of the same network"
        )
    names = {port.name: found[port.name] for port in theirs}
    apart = [f"{t!r} of {files[1]} is {o!r} of {files[0]}" for t, o in names.items() if t != o]
    said = f"{what}s have other names and were matched {' and '.join(sorted(how))}: {', '.join(apart)}"
    return Pairing(names, said if apart else "")


def _by_numbers(made: NamedOutputs, exact: NamedOutputs) -> Decide:
    """By what ``made``, one network's outputs by name, and ``exact``, the other's, differ least in."""

    def decide(theirs: Sequence[str], ours: Sequence[str]) -> Sequence[int] | None:
        errors = np.array([[_error(exact[t], made[o]) for o in ours] for t in theirs])
        best = scipy.optimize.linear_sum_assignment(errors)[1]
        in_order = float(np.trace(errors))
        clear = float(errors[np.arange(len(best)), best].sum()) < _CLEARLY * in_order
        return best.tolist() if clear else None

    return decide


def _error(x: np.ndarray, y: np.ndarray) -> float:
    """The squared error of ``[n, ...]`` over the variance of ``x``; finite."""
    x, y = (np.nan_to_num(a.reshape(len(a), -1).astype(np.float64)) for a in (x, y))
    return float(np.square(x - y).mean() / max(float(x.var()), 1e-12))
