"""A whole network in C: constants, one arena, one statement for each op."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Final, final

import numpy as np

from intact.deploy.c.real_table import ROWS as REAL_ROWS
from intact.deploy.c.site import Site
from intact.deploy.c.source import Source, c_type, commented, quoted
from intact.deploy.c.stripes import Reach, Striped, striped
from intact.deploy.c.table import ROWS, Row, unread
from intact.deploy.micro import KERNELS, types
from intact.deploy.templates import render
from intact.errors import OptionError, UnsupportedError
from intact.installed import __version__
from intact.network.graph import Graph, State, Tensor
from intact.network.in_place import IN_PLACE
from intact.network.placement import placement
from intact.network.shapes import infer
from intact.numbers.affine import Affine, quantize_array

#: What tensors are aligned to in the arena, in bytes: what the widest of their numbers needs.
ALIGNMENT: Final = 8
#: The part of all constants that packed ones take at most.
_SPARED: Final = 0.75
#: Axes of what may be computed row by row: one image.
_IMAGE: Final = 4
#: Activations that an op of a chain reads at most.
_READS: Final = 2

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
#: Words of C and C++ that are no names, and the names that the project's own files have.
_C: Final = (
    "auto break case char const continue default do double else enum extern float for goto if inline int long register "
    "restrict return short signed sizeof static struct switch typedef union unsigned void volatile while bool true false main"
)
_CPP: Final = (
    "alignas alignof and asm catch class delete explicit export friend mutable namespace new not operator or private protected "
    "public template this throw try typename using virtual xor"
)
#: Words of C and C++ that are no names, and what the project's own files are called.
_TAKEN: Final = frozenset(f"{_C} {_CPP} arena memory port vectors".split())


@final
@dataclass(frozen=True)
class Port:
    """An input or output: ``about`` it in words, its C type, how many numbers it has and where they lie in the arena.

    ``scale`` is empty, and ``zero_point`` 0, where its numbers mean themselves.
    """

    side: str
    n: int
    about: str
    type: str
    count: int
    offset: int
    scale: str = ""
    zero_point: int = 0


@final
@dataclass(frozen=True)
class Text:
    """What is written of a network besides its integers: ``prefix`` begins every name that others see, ``title`` is the
    network's file, ``sha256`` of it in hex, ``labels`` the names of its classes.
    """

    prefix: str
    title: str
    sha256: str = ""
    labels: tuple[str, ...] = ()

    @property
    def values(self) -> dict[str, object]:
        """For templates."""
        return {
            "prefix": self.prefix,
            "upper": self.prefix.upper(),
            "title": commented(self.title),
            "sha256": self.sha256,
            "labels": [quoted(label) for label in self.labels],
            "version": __version__,
        }


@final
@dataclass(frozen=True)
class CNetwork:
    """A network in C: the texts of its header and of its source.

    ``arena``: bytes of all activations, inputs and outputs among them; ``constants``: bytes of weights and other tables.
    """

    text: Text
    header: str
    body: str
    ports: tuple[Port, ...]
    arena: int
    constants: int
    #: The first and last ops of chains that run row by row.
    by_row: tuple[tuple[str, str], ...] = ()
    #: Bytes besides the arena into which packed weights are unpacked.
    scratch: int = 0

    @property
    def prefix(self) -> str:
        return self.text.prefix

    @property
    def ram(self) -> int:
        """Bytes of arena and scratch."""
        return self.arena + self.scratch

    @property
    def values(self) -> dict[str, object]:
        """What templates of files around it are filled with."""
        return self.text.values | {"ports": self.ports, "arena": self.arena}


def checked_prefix(prefix: str) -> str:
    """``prefix``, which must be a name in C that nothing else has. OptionError."""
    if not _NAME.fullmatch(prefix) or prefix in _TAKEN:
        raise OptionError(
            f"--name {prefix!r} is no name in C: letters, digits and _, a letter first, and no word of the language"
        )
    return prefix


def rows_for(graph: Graph) -> Mapping[str, Row]:
    """The C of op kinds in a network: of integers, or in float32."""
    return ROWS if graph.is_quantized else REAL_ROWS


def write(graph: Graph, text: Text, ram: int | None = None, flash: int | None = None) -> CNetwork:
    """``graph`` as C, which takes at most ``ram`` bytes where that can be, its stack aside: an integer network in whole numbers
    alone, one without any integers that stand for real numbers in float32.

    Where it cannot hold the activations at once, the fewest ops run row by row; with 0 those that give the least arena. Weights
    of few numbers are packed where they would take more than ``flash``, or that spares a quarter of all constants and ``ram``
    has the room: unpacking takes time, and a buffer. UnsupportedError names an op that C lacks, and what to do.
    """
    packed = _within(graph, text, ram, packs=True)
    if not packed.scratch:
        return packed
    plain = _within(graph, text, ram, packs=False)
    if flash is not None and plain.constants > flash:
        return packed
    has_room = ram is None or packed.ram <= ram
    return packed if has_room and packed.constants <= _SPARED * plain.constants else plain


def _within(graph: Graph, text: Text, ram: int | None, *, packs: bool) -> CNetwork:
    """The network in at most ``ram`` bytes, a buffer for packed weights among them, where that can be."""
    made = _written(graph, text, ram, packs=packs)
    if ram is not None and made.scratch and made.ram > ram:
        return _written(graph, text, max(ram - made.scratch, 0), packs=packs)
    return made


def _written(graph: Graph, text: Text, ram: int | None, *, packs: bool) -> CNetwork:
    """The same with an arena of at most ``ram`` bytes."""
    shapes, source = infer(graph), Source(packs)
    sites = [Site(graph, op, source, shapes, {}) for op in graph.ops]
    for site in sites:
        if site.op.kind.name not in rows_for(graph):
            raise site.refused("there is no kernel for it")
        _check_width(site)
    images = (site for site in sites if len(site.made_shape()) == _IMAGE and site.made_shape()[0] == 1)
    reaches = {site.op.output: by(site, site.op.kind) for site in images if (by := rows_for(graph)[site.op.kind.name].by_rows)}
    plain = placement(graph, ALIGNMENT, in_place=IN_PLACE, overwrite_inputs=True, elsewhere=unread(graph))
    found = Striped((), plain)
    if ram is not None and plain.arena_bytes > ram:
        by_rows = striped(graph, shapes, lambda op: reaches.get(op.output), ALIGNMENT, ram)
        found = by_rows if by_rows.plan.arena_bytes < plain.arena_bytes else found
    chains, made = found.chains, found.plan
    for n, site in enumerate(sites):
        chain = next((c for c in chains if c.holds(n)), None)
        if chain is None:
            _put(replace(site, offsets=made.offsets))
        elif chain.first == n:
            parts = [replace(s, offsets=made.offsets, rings=chain.rings) for s in sites[chain.first : chain.end]]
            _run_chain(source, parts, [r for s in parts if (r := reaches[s.op.output]) is not None])
    sides = (("input", graph.inputs, graph.input_names), ("output", graph.outputs, graph.output_names))
    for i in (*graph.inputs, *graph.outputs):
        if i not in made.offsets:
            raise UnsupportedError(f"{graph[i].name!r} is a constant, and the C gives what it computes; leave that output out")
    ports = tuple(
        _port(graph, graph[i], Port(side, n, name, "", prod(shapes[i]), made.offsets[i]))
        for side, ids, names in sides
        for n, (i, name) in enumerate(zip(ids, names, strict=True))
    )
    states = [_held(graph, state, source, made.offsets) for state in graph.states]
    values = text.values | {"ports": ports, "arena": made.arena_bytes, "states": states, "scratch": source.scratch_bytes}
    values |= {"numbers": "an integer network" if graph.is_quantized else "a network in float32"}
    body = {"kernels": source.kernel_texts, "constants": "".join(source.constants), "statements": source.statements}
    header, whole = render("network.h", values), render("network.c", values | body)
    by_row = tuple((graph.label(graph.ops[c.first]), graph.label(graph.ops[c.end - 1])) for c in chains)
    return CNetwork(text, header, whole, ports, made.arena_bytes, source.size, by_row, source.scratch_bytes)


def _check_width(site: Site) -> None:
    """Refuse an op of 16-bit activations that TensorFlow Lite Micro has no kernel for, whose arithmetic there would be."""
    flows = (site.graph[i] for i in (*site.op.reads, *site.op.outputs))
    is_wide = any(t.format.dtype == "int16" and not t.is_constant for t in flows)
    if is_wide and types(site.graph, site.op) not in KERNELS[site.op.kind.name].types:
        raise UnsupportedError(
            f"{site.about} has no int16 kernel in TensorFlow Lite Micro, whose arithmetic the C has; change the model, or type "
            "--scheme int8 to intact quantize"
        )


def _held(graph: Graph, state: State, source: Source, offsets: Mapping[int, int]) -> dict[str, object]:
    """A state from call to call: its C type, how many numbers, what it begins as, and where a call reads and writes it."""
    t = graph[state.read]
    if isinstance(t.format, Affine):
        first = quantize_array(np.asarray(state.initial, np.float32), t.format)
    elif t.is_float and graph.is_quantized:
        raise UnsupportedError(f"state {state.name!r} is {t.format.dtype}, and the C computes on integers")
    else:
        first = np.asarray(state.initial, t.format.dtype)
    about = f"what {state.name} begins as"
    return {
        "type": c_type(t.format.dtype),
        "count": first.size,
        "initial": source.array(first, about),
        "read": offsets[state.read],
        "write": offsets[state.write],
    }


def _put(site: Site) -> None:
    """Write an op's statements, below a comment that says which op it is."""
    site.source.do(f"/* {commented(site.about)} */")
    rows_for(site.graph)[site.op.kind.name].write(site, site.op.kind)


def _run_chain(source: Source, sites: Sequence[Site], reaches: Sequence[Reach]) -> None:
    """Write the ops of a chain as cases of a loop that makes one row of one of them at a time."""
    source.need("chain")
    made, stages = {site.op.output: n for n, site in enumerate(sites)}, list[str]()
    for site, r in zip(sites, reaches, strict=True):
        reads = [made[i] for i in dict.fromkeys(site.op.reads) if i in made]
        if len(reads) > _READS:
            raise site.refused(f"it reads {len(reads)} activations row by row")
        height = next(site.shapes[i][1] for i in site.op.reads if not site.graph[i].is_constant)
        from_ = ", ".join(str(n) for n in (*reads, *(-1,) * (_READS - len(reads))))
        stages.append(f"{{{site.made_shape()[1]}, {r.stride}, {r.taps - r.before}, {height}, {{{from_}}}}}")
    name = source.table("stage", stages, f"by rows: {sites[0].about} to {sites[-1].about}")
    source.do(f"{{ /* row by row: {commented(sites[0].about)} to {commented(sites[-1].about)} */")
    source.do(f"    int16_t done[{len(sites)}] = {{0}};")
    source.do(
        f"    for (int32_t n = next_stage({name}, {len(sites)}, done); n >= 0; n = next_stage({name}, {len(sites)}, done)) {{"
    )
    source.do("        const int32_t row = done[n]++;")
    source.do("        switch (n) {")
    for n, site in enumerate(sites):
        source.do(f"        case {n}:")
        at = len(source.statements)
        _put(site)
        source.statements[at:] = [f"            {line}" for line in source.statements[at:]]
        source.do("            break;")
    source.do("        default:")
    source.do("            break;")
    source.do("        }")
    source.do("    }")
    source.do("}")


def _port(graph: Graph, t: Tensor, port: Port) -> Port:
    """The port of ``t`` with its type and scale."""
    if t.is_float and graph.is_quantized:
        raise UnsupportedError(
            f"{port.side} {port.about!r} is {t.format.dtype}, and the C takes and gives integers; type --{port.side}-type int8 "
            "to intact quantize"
        )
    shape = " x ".join(str(size) for size in t.shape[1:]) or "1"
    made = replace(port, about=commented(f"{port.about}, {shape}"), type=c_type(t.format.dtype))
    if not isinstance(t.format, Affine):
        return made
    scale = f"{np.float32(t.format.scale[0]):.9g}"
    scale = scale if "." in scale or "e" in scale else f"{scale}.0"
    return replace(made, scale=f"{scale}f", zero_point=t.format.zero_point[0])
