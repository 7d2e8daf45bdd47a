"""A whole network in C: constants, one arena, one statement for each op."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from math import prod
from typing import Final, final

import numpy as np

from intact.deploy.c.site import Site
from intact.deploy.c.source import Source, c_type, commented, quoted
from intact.deploy.c.table import ROWS
from intact.deploy.templates import render
from intact.errors import OptionError, UnsupportedError
from intact.installed import __version__
from intact.network.arena import activation_memory
from intact.network.graph import Graph, Tensor
from intact.network.shapes import infer
from intact.numbers.affine import Affine

#: What tensors are aligned to in the arena, in bytes: what the widest of their numbers needs.
ALIGNMENT: Final = 8

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

    @property
    def prefix(self) -> str:
        return self.text.prefix

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


def write(graph: Graph, text: Text) -> CNetwork:
    """``graph``, an integer network, as C. UnsupportedError names an op that C lacks, and what to do."""
    shapes, source = infer(graph), Source()
    memory = activation_memory(graph, alignment=ALIGNMENT)
    for op in graph.ops:
        site = Site(graph, op, source, shapes, memory.offsets)
        if op.kind.name not in ROWS:
            raise site.refused("there is no kernel for it")
        source.do(f"/* {commented(site.about)} */")
        ROWS[op.kind.name](site, op.kind)
    sides = (("input", graph.inputs, graph.input_names), ("output", graph.outputs, graph.output_names))
    ports = tuple(
        _port(graph[i], Port(side, n, name, "", prod(shapes[i]), memory.offsets[i]))
        for side, ids, names in sides
        for n, (i, name) in enumerate(zip(ids, names, strict=True))
    )
    values = text.values | {"ports": ports, "arena": memory.arena_bytes}
    body = {"kernels": source.kernel_texts, "constants": "".join(source.constants), "statements": source.statements}
    header, whole = render("network.h", values), render("network.c", values | body)
    return CNetwork(text, header, whole, ports, memory.arena_bytes, source.size)


def _port(t: Tensor, port: Port) -> Port:
    """The port of ``t`` with its type and scale."""
    if t.is_float:
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
