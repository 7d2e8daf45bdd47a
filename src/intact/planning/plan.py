"""The plan: for every tensor its format, its range and why. Printable, diffable, JSON both ways, replayable."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeAlias, final

from intact import choices, files
from intact.errors import OptionError
from intact.network.graph import Graph
from intact.numbers.affine import Affine, Float, Format, Index, limits
from intact.numbers.block_scales import BlockScales
from intact.numbers.blocks import Blocks
from intact.numbers.codebook import Codebook
from intact.planning import schemes, targets
from intact.planning.adjusted_constants import Adjusted
from intact.planning.ranges import Range
from intact.rewrite.mending import Step
from intact.wording import brief

#: (tensor id, id of the first output of the op that reads it)
Edge: TypeAlias = tuple[int, int]

VERSION: Final = 1
#: More samples than this no run learned from.
_MOST: Final = 1 << 31


@final
@dataclass(frozen=True)
class Entry:
    """How one tensor is stored, the calibrated range behind it (None for weights, biases, fixed scales) and why."""

    format: Format
    why: str
    range: Range | None = None

    def __str__(self) -> str:
        seen = "" if self.range is None else f" for [{self.range[0]:.6g}, {self.range[1]:.6g}]"
        return f"{describe(self.format)}{seen}: {self.why}"


@final
@dataclass(frozen=True)
class Remedied:
    """The remedies, by name and in their order, after which a plan was made, and the samples that they learned from.

    ``samples`` of those that calibrate, evenly spread; where that is more than there are, all of them and, after the first
    ``skipped``, as many of those for selection as make it up. ``digest``: SHA-256 of their contents, in order.
    """

    names: tuple[str, ...] = ()
    samples: int = 0
    skipped: int = 0
    digest: str = ""


@final
@dataclass(frozen=True, eq=False)
class Plan:
    """Formats by tensor id; ``edges`` where one consumer needs another format than the tensor's own, ``boundary`` where the
    outside world does (an input or output type), and ``names`` of the tensors in the file that was read.

    ``steps``: rewrites of the network, made before anything else, of which its tensor ids are. ``remedied``: what changed the
    constants that it was made for; ``adjusted``: these constants, None where nothing is known of them. ``network``: the digest
    (:func:`~intact.planning.adjusted_constants.digest`) of the float network before that, empty where it is not known.
    """

    scheme: str
    target: str
    tensors: Mapping[int, Entry]
    edges: Mapping[Edge, Entry] = field(default_factory=dict)
    boundary: Mapping[int, Entry] = field(default_factory=dict)
    names: Mapping[int, str] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    remedied: Remedied = Remedied()
    adjusted: Adjusted | None = None
    network: str = ""

    __repr__ = brief

    def __post_init__(self) -> None:
        for name in ("tensors", "edges", "boundary", "names"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def own(self, tensor: int) -> Format:
        """The format that ``tensor`` is produced in; float32 when the plan does not name it."""
        return self.tensors[tensor].format if tensor in self.tensors else Float()

    def at(self, tensor: int, reader: int) -> Format:
        """The format in which the op with first output ``reader`` reads ``tensor``."""
        edge = self.edges.get((tensor, reader))
        return self.own(tensor) if edge is None else edge.format

    def entry(self, tensor: int, reader: int | None = None) -> Entry | None:
        """What the plan says of ``tensor``, or of it as ``reader`` reads it; None where it stays float32."""
        edge = None if reader is None else self.edges.get((tensor, reader))
        return self.tensors.get(tensor) if edge is None else edge

    def outside(self, tensor: int) -> Format:
        """The format of a graph input or output as the caller sees it."""
        return self.boundary[tensor].format if tensor in self.boundary else self.own(tensor)

    def __str__(self) -> str:
        return "\n".join(f"{where}: {entry}" for where, entry in self._lines())

    def _lines(self) -> Iterator[tuple[str, Entry]]:
        for i, entry in self.tensors.items():
            yield f"{i} {self.names.get(i, '')!r}", entry
        for (i, reader), entry in self.edges.items():
            yield f"{i} {self.names.get(i, '')!r} as read by {reader} {self.names.get(reader, '')!r}", entry
        for i, entry in self.boundary.items():
            yield f"{i} {self.names.get(i, '')!r} seen from outside", entry

    def diff(self, other: Plan) -> tuple[str, ...]:
        """One line for every tensor, edge or boundary that is stored otherwise in ``other``; empty when none is."""
        mine, theirs = dict(self._lines()), dict(other._lines())
        return tuple(
            f"{where}: {mine.get(where, 'not there')} -> {theirs.get(where, 'not there')}"
            for where in dict.fromkeys((*mine, *theirs))
            if where not in mine or where not in theirs or mine[where].format != theirs[where].format
        )

    def to_json(self) -> str:
        """The whole plan as text; ``from_json`` gives it back exactly (scales are float32, written with all their digits)."""
        rows = [{"id": i, "name": self.names.get(i, ""), **_entry_to_json(e)} for i, e in self.tensors.items()]
        edges = [
            {"id": i, "name": self.names.get(i, ""), "reader": r, "reader_name": self.names.get(r, ""), **_entry_to_json(e)}
            for (i, r), e in self.edges.items()
        ]
        boundary = [{"id": i, "name": self.names.get(i, ""), **_entry_to_json(e)} for i, e in self.boundary.items()]
        document: dict[str, Any] = {"version": VERSION, "scheme": self.scheme, "target": self.target}
        if self.steps:
            document["steps"] = [{**vars(step), "exponents": list(step.exponents)} for step in self.steps]
        if self.network:
            document["network"] = self.network
        if self.remedied.names:
            document["remedied"] = {**vars(self.remedied), "names": list(self.remedied.names)}
        if self.adjusted is not None:
            held = {"file": self.adjusted.file, "sha256": self.adjusted.sha256}
            document["adjusted"] = held if self.adjusted.file else None
        return json.dumps(document | {"tensors": rows, "edges": edges, "boundary": boundary}, indent=1) + "\n"

    @staticmethod
    def from_json(text: str) -> Plan:
        """Raises OptionError when ``text`` is not a plan of this version."""
        try:
            document = json.loads(text)
            version = document["version"]
            if version != VERSION:
                raise OptionError(f"the plan is of version {version}, this is version {VERSION}; make it anew without --plan")
            rows = document["tensors"] + document["edges"] + document["boundary"]
            remedied = _remedied_from_json(document["remedied"]) if "remedied" in document else Remedied()
            adjusted = _adjusted_from_json(document["adjusted"]) if "adjusted" in document else None
            if adjusted is not None and adjusted.file and not remedied.names:
                raise ValueError("adjusted: constants that no remedy is said to have changed")
            return Plan(
                scheme=schemes.scheme(document["scheme"]).name,
                target=targets.target(document["target"]).name,
                tensors={int(row["id"]): _entry_from_json(row) for row in document["tensors"]},
                edges={(int(row["id"]), int(row["reader"])): _entry_from_json(row) for row in document["edges"]},
                boundary={int(row["id"]): _entry_from_json(row) for row in document["boundary"]},
                names={int(row["id"]): str(row["name"]) for row in rows}
                | {int(row["reader"]): str(row["reader_name"]) for row in document["edges"]},
                steps=tuple(
                    Step(row["kind"], int(row["tensor"]), tuple(int(k) for k in row["exponents"]))
                    for row in document.get("steps", ())
                ),
                remedied=remedied,
                adjusted=adjusted,
                network=str(document.get("network", "")),
            )
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            raise OptionError(f"not a plan that Intact wrote ({error!r}); give --plan a plan.json from a run folder") from error

    @staticmethod
    def load(path: str | Path) -> Plan:
        """The plan.json at ``path`` with the constants in the file beside it, which it names.

        Raises OptionError where the one is no plan or the other is not of it; :attr:`is_whole` says whether it is there.
        """
        path = Path(path)
        plan = Plan.from_json(choices.plan(path))
        return plan if plan.adjusted is None else replace(plan, adjusted=plan.adjusted.beside(path, plan.instead))

    def save(self, path: str | Path) -> Path:
        """Write this as JSON and, where remedies adjusted constants, these beside it: ``a/p.json`` and ``a/p.npz``."""
        path, plan = Path(path), self
        if not path.name or path.suffix == ".npz":
            raise OptionError(f"a plan cannot be called {str(path)!r}; plan.npz lies beside it: give a name such as plan.json")
        if self.adjusted is not None and self.adjusted.data:
            plan = replace(self, adjusted=replace(self.adjusted, file=path.with_suffix(".npz").name))
            files.write_bytes(path.with_suffix(".npz"), self.adjusted.data)
        files.write_text(path, plan.to_json())
        return path

    @property
    def is_whole(self) -> bool:
        """Whether it holds all constants that it was made for, so that nothing is looked for or learned to replay it."""
        return self.adjusted is not None and self.adjusted.data is not None

    @property
    def instead(self) -> str:
        """What to type where it cannot be replayed."""
        names = ",".join(dict.fromkeys(self.remedied.names))
        return f"leave out --plan{f' and type --remedies {names}' if names else ''}"

    def check(self, graph: Graph) -> Plan:
        """This plan, if it was made for ``graph``; OptionError names the first tensor that says otherwise."""
        known = {*self.tensors, *self.boundary, *(i for edge in self.edges for i in edge)}
        missing = sorted(known - graph.tensors.keys())
        if missing:
            raise OptionError(f"the plan is for another model: it names tensor {missing[0]}, which this one lacks")
        for i, name in self.names.items():
            if i in graph.tensors and name not in {graph[i].origin, graph[i].name}:  # the file's: as plans had it before
                raise OptionError(f"the plan is for another model: tensor {i} is {name!r} there and {graph[i].origin!r} here")
        for i, entry in self.tensors.items():
            fmt, shape = entry.format, graph[i].shape
            if isinstance(fmt, Affine) and fmt.axis is not None:
                fits = fmt.axis < len(shape) and shape[fmt.axis] == len(fmt.scale)
                if not fits:
                    raise OptionError(f"the plan is for another model: {len(fmt.scale)} scales for {graph[i].origin!r} {shape}")
            table = None if isinstance(fmt, Index) else fmt.codebook
            if table is not None and table.axis is not None:
                fits = 0 <= table.axis < len(shape) and shape[table.axis] == len(table.values)
                if not fits:
                    raise OptionError(
                        f"the plan is for another model: {len(table.values)} tables for {graph[i].origin!r} {shape}"
                    )
            if isinstance(fmt, Affine) and fmt.blocks is not None and not fmt.blocks.fits(shape):
                raise OptionError(f"the plan is for another model: its blocks are not those of {graph[i].origin!r} {shape}")
            if isinstance(fmt, Affine) and fmt.block_scales is not None and not fmt.block_scales.fits(shape):
                raise OptionError(
                    f"the plan is for another model: its scales of blocks are not those of {graph[i].origin!r} {shape}"
                )
        return self


def describe(fmt: Format) -> str:
    """A format in a few words: ``int8 scale 0.0149 zero point -27``."""
    coded = "" if isinstance(fmt, Index) or fmt.codebook is None else _of_tables(fmt.codebook)
    if not isinstance(fmt, Affine):
        return f"{fmt.dtype}{coded}"
    if fmt.blocks is not None:
        coded = f" in {fmt.blocks.bits}-bit multiples for each {fmt.blocks.size}"
    if (own := fmt.block_scales) is not None:
        smallest = min(min(row) for row in own.scales)
        return f"{fmt.dtype} {own.count} scales {smallest:.3g}..{max(fmt.scale):.3g}, one for each {own.size} along axis 1"
    if fmt.axis is None:
        return f"{fmt.dtype} scale {fmt.scale[0]:.6g} zero point {fmt.zero_point[0]}{coded}"
    return f"{fmt.dtype} {len(fmt.scale)} scales {min(fmt.scale):.3g}..{max(fmt.scale):.3g} along axis {fmt.axis}{coded}"


def _of_tables(codebook: Codebook) -> str:
    tables = f"{len(codebook.values)} tables" if codebook.axis is not None else "a table"
    return f" in {codebook.bits}-bit indices of {tables} of {len(codebook.values[0])}"


def _remedied_from_json(row: Mapping[str, Any]) -> Remedied:
    names, samples, skipped, digest = row["names"], row["samples"], row["skipped"], row["digest"]
    counts = (samples, skipped)
    if not isinstance(names, list) or not all(isinstance(n, int) and 0 <= n < _MOST for n in counts) or not samples:
        raise ValueError(f"remedied: {dict(row)}")
    return Remedied(choices.remedies(str(name) for name in names), samples, skipped, str(digest))


def _adjusted_from_json(row: Mapping[str, Any] | None) -> Adjusted:
    if row is None:
        return Adjusted("", "", b"")
    file, sha256 = row["file"], row["sha256"]
    texts = isinstance(file, str) and isinstance(sha256, str)
    if not texts or not file or Path(file).name != file or not file.isprintable():
        raise ValueError(f"adjusted: {dict(row)}")
    return Adjusted(file, sha256)


def _entry_to_json(entry: Entry) -> dict[str, Any]:
    row: dict[str, Any] = {"dtype": entry.format.dtype}
    if isinstance(entry.format, Affine):
        fmt = entry.format
        zeros = not any(fmt.zero_point)
        row |= {"scale": list(fmt.scale), "zero_point": 0 if zeros else list(fmt.zero_point), "axis": fmt.axis}
    if isinstance(entry.format, Affine) and (blocks := entry.format.blocks) is not None:
        row["blocks"] = {
            "bits": blocks.bits,
            "size": blocks.size,
            "axis": blocks.axis,
            "multiples": [list(m) for m in blocks.multiples],
        }
    if isinstance(entry.format, Affine) and (own := entry.format.block_scales) is not None:
        row["block_scales"] = {"size": own.size, "scales": [list(scales) for scales in own.scales]}
    if not isinstance(entry.format, Index) and (table := entry.format.codebook) is not None:
        row["codebook"] = {"bits": table.bits, "axis": table.axis, "values": [list(v) for v in table.values]}
    return row | {"range": None if entry.range is None else list(entry.range), "why": entry.why}


def _codebook_from_json(row: Mapping[str, Any]) -> Codebook:
    if type(row["bits"]) is not int or not (row["axis"] is None or type(row["axis"]) is int):
        raise ValueError(f"codebook: bits {row['bits']!r}, axis {row['axis']!r}")
    return Codebook(tuple(tuple(float(x) for x in table) for table in row["values"]), row["bits"], row["axis"])


def _blocks_from_json(row: Mapping[str, Any]) -> Blocks:
    whole = [row["bits"], row["size"], *(m for multiples in row["multiples"] for m in multiples)]
    if any(type(n) is not int for n in whole) or not (row["axis"] is None or type(row["axis"]) is int):
        raise ValueError(f"blocks: bits {row['bits']!r}, size {row['size']!r}, axis {row['axis']!r}")
    return Blocks(tuple(tuple(m) for m in row["multiples"]), row["bits"], row["size"], row["axis"])


def _block_scales_from_json(row: Mapping[str, Any]) -> BlockScales:
    if type(row["size"]) is not int:
        raise ValueError(f"scales of blocks: size {row['size']!r}")
    return BlockScales(tuple(tuple(float(s) for s in scales) for scales in row["scales"]), row["size"])


def _entry_from_json(row: Mapping[str, Any]) -> Entry:
    dtype, coded = str(row["dtype"]), _codebook_from_json(row["codebook"]) if "codebook" in row else None
    blocks = _blocks_from_json(row["blocks"]) if "blocks" in row else None
    own = _block_scales_from_json(row["block_scales"]) if "block_scales" in row else None
    fmt: Format
    if "scale" in row:
        limits(dtype)  # KeyError for a type that there is not
        if row["axis"] is not None and type(row["axis"]) is not int:
            raise ValueError(f"axis: {row['axis']!r}")
        scale = tuple(float(s) for s in row["scale"])
        zero = row["zero_point"]
        zeros = (0,) * len(scale) if zero == 0 else tuple(int(z) for z in zero)
        fmt = Affine(scale, zeros, dtype, row["axis"], coded, blocks, own)
    else:
        fmt = Float(dtype, coded) if dtype.startswith("float") else Index(dtype)
    seen = row["range"]
    return Entry(fmt, str(row["why"]), None if seen is None else (float(seen[0]), float(seen[1])))
