"""What a model is made of: its ports, its ops with their cost, sums by kind, and what the bytes of its file are for."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, Final, final

from intact import reading, scratch
from intact.errors import OptionError, located
from intact.formats import recognize, tflite
from intact.formats.load import to_float_tflite
from intact.measure import cost
from intact.measure.figures import Reading
from intact.measure.memory import peak
from intact.measure.size import size
from intact.measure.split import split
from intact.network.graph import Dim, Graph
from intact.planning.plan import describe
from intact.report import checked
from intact.runtime.scripts.keras_export import InputShape
from intact.wording import shown

#: Which details.json is read, of at most so many bytes. Not by ``run.documents``, which brings what makes pages.
_SCHEMA: Final = "intact-details/1"
_LARGEST: Final = 64 << 20
_LARGEST_FILE: Final = 2 << 30
#: Characters of a name in a copy that is looked at.
_LONGEST: Final = 250
#: ``CONV_2D 'stem' #2``: how messages name an op.
_LABEL: Final = re.compile(r"[^ ]+ (?P<quote>['\"])(?P<name>.{1,250})(?P=quote)( #\d+)?", re.DOTALL)


@final
@dataclass(frozen=True)
class Port:
    """An input or an output: ``side`` says which; None in ``shape`` is the open batch."""

    side: str
    name: str
    shape: tuple[Dim, ...]
    format: str


@final
@dataclass(frozen=True)
class OpRow:
    """An op: ``op`` as messages call it, ``name`` its layer's whole name; what it costs for one sample.

    ``parameters``, and the ``parameter_bytes`` that they take, count at the first op that reads them.
    """

    op: str
    kind: str
    name: str
    shape: tuple[Dim, ...]
    macs: int
    parameters: int
    parameter_bytes: int


@final
@dataclass(frozen=True)
class KindSum:
    """All ops of one kind together."""

    kind: str
    count: int
    macs: int
    parameters: int
    parameter_bytes: int


@final
@dataclass(frozen=True, eq=False)
class Contents:
    """A model by its parts. ``sizes`` are those of its .tflite of ``bytes`` bytes, made of it where it ``is_converted``."""

    ports: tuple[Port, ...]
    ops: tuple[OpRow, ...]
    kinds: tuple[KindSum, ...]
    bytes: int
    sizes: Mapping[str, int]
    is_converted: bool
    is_quantized: bool
    readings: tuple[Reading, ...]

    def to_json(self) -> dict[str, Any]:
        parts = {name: [asdict(row) for row in rows] for name, rows in (("ports", self.ports), ("ops", self.ops))}
        return {
            **parts,
            "kinds": [asdict(row) for row in self.kinds],
            "bytes": self.bytes,
            "sizes": dict(self.sizes),
            "converted": self.is_converted,
            "quantized": self.is_quantized,
            "measurements": [r.to_json() for r in self.readings],
        }


def contents(source: Path, input_shape: InputShape | None = None) -> Contents:
    """What the model file ``source`` is made of; ``input_shape`` as in :func:`intact.load`. Raises IntactError."""
    converted = not recognize.is_tflite(source)
    with scratch.folder() as folder:
        data = to_float_tflite(source, folder / "model.tflite", input_shape=input_shape).read_bytes()
    with located(str(source)):
        graph, sizes = tflite.read(data), split(data)
    graph = graph if converted else _as_its_run_calls_it(source, data, graph)
    rows = _ops(graph)
    measured = (
        *(() if converted else (size(graph, len(data)),)),
        *(cost.parameters(graph), cost.macs(graph), peak(graph)),
    )
    return Contents(
        ports=_ports(graph),
        ops=rows,
        kinds=_sums(rows),
        bytes=len(data),
        sizes=sizes,
        is_converted=converted,
        is_quantized=graph.is_quantized,
        readings=tuple(Reading("model", m) for m in measured),
    )


def named_copy(source: Path) -> bytes:
    """The .tflite file ``source`` again, whose ops make tensors called as in the user's network: for programs that show graphs.

    A second tensor of a name is ``stem #2``. Ports keep their names, and constants those that they have. Raises OptionError for
    a file of another kind.
    """
    with located(str(source)):
        if not recognize.is_tflite(source):
            raise OptionError("has its own names already; --named is for a .tflite file")
        data = reading.content(source, OptionError, _LARGEST_FILE)
        graph = _as_its_run_calls_it(source, data, tflite.read(data))
        return tflite.write(_with_names(graph), named=True)


def _with_names(graph: Graph) -> Graph:
    kept = {*graph.inputs, *graph.outputs}
    made = {i: shown(graph.called(op), _LONGEST) for op in graph.ops for i in op.outputs if i not in kept}
    taken = {t.name for i, t in graph.tensors.items() if i not in made}
    tensors = dict(graph.tensors)
    for i, name in made.items():
        free = next(each for n in count(1) if (each := name if n == 1 else f"{name} #{n}") not in taken)
        taken.add(free)
        tensors[i] = replace(graph[i], name=free)
    return replace(graph, tensors=tensors)


def _as_its_run_calls_it(source: Path, data: bytes, graph: Graph) -> Graph:
    """``graph`` with the names of the user's network, where a run left details.json beside the file that it wrote."""
    try:
        details = checked.parsed(
            reading.content(source.with_name("details.json"), OptionError, _LARGEST), _SCHEMA, checked.DETAILS
        )
    except OptionError:  # there is none, or it is none
        return graph
    if details.get("model_sha256") != hashlib.sha256(data).hexdigest():
        return graph
    rows = details["ops"]
    if [row.get("kind") for row in rows] != [op.kind.name for op in graph.ops]:
        return graph
    said = [_LABEL.fullmatch(str(row.get("op"))) for row in rows]
    names = {op.output: found["name"] for op, found in zip(graph.ops, said, strict=True) if found is not None}
    return replace(graph, tensors={i: replace(t, origin=names.get(i, t.origin)) for i, t in graph.tensors.items()})


def _ports(graph: Graph) -> tuple[Port, ...]:
    sides = (("input", graph.input_names, graph.inputs), ("output", graph.output_names, graph.outputs))
    return tuple(
        Port(side, name, graph[i].shape, describe(graph[i].format))
        for side, names, ids in sides
        for name, i in zip(names, ids, strict=True)
    )


def _ops(graph: Graph) -> tuple[OpRow, ...]:
    return tuple(
        OpRow(row.op, row.kind, graph.called(op), graph[op.output].shape, row.macs, row.parameters, row.parameter_bytes)
        for op, row in zip(graph.ops, cost.costs(graph), strict=True)
    )


def _sums(rows: tuple[OpRow, ...]) -> tuple[KindSum, ...]:
    """By kind, those that cost most first."""
    groups: dict[str, list[OpRow]] = {}
    for row in rows:
        groups.setdefault(row.kind, []).append(row)
    sums = (
        KindSum(
            kind,
            len(group),
            sum(row.macs for row in group),
            sum(row.parameters for row in group),
            sum(row.parameter_bytes for row in group),
        )
        for kind, group in groups.items()
    )
    return tuple(sorted(sums, key=lambda row: (-row.macs, -row.parameter_bytes, -row.count, row.kind)))
