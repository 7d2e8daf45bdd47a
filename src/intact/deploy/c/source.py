"""C being written: constants, kernels that are needed, and the statements of one call of the network."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Final, final

import numpy as np

from intact.deploy.c.positions import PARTS

_INCLUDE: Final = re.compile(r'^#include "(\w+)\.h"\n', re.MULTILINE)
_C_TYPES: Final[Mapping[str, str]] = {
    "int8": "int8_t",
    "uint8": "uint8_t",
    "int16": "int16_t",
    "uint16": "uint16_t",
    "int32": "int32_t",
    "int64": "int64_t",
    "bool": "bool",
    "float32": "float",
}
#: Characters of a line of numbers.
_WIDTH: Final = 128


@final
@dataclass
class Source:
    """What a network's C file is made of, in the order in which it was asked for.

    ``packs``: weights of few numbers are packed, to be unpacked each time that they are needed.
    """

    packs: bool = True
    constants: list[str] = field(default_factory=list)
    statements: list[str] = field(default_factory=list)
    kernels: list[str] = field(default_factory=list)
    #: Sizes of what kernels keep for themselves, by the name that they have in C.
    sizes: dict[str, int] = field(default_factory=dict)
    #: Bytes of the constants, and of what an op may use while it runs.
    size: int = 0
    scratch_bytes: int = 0
    _named: dict[tuple[str, bytes], str] = field(default_factory=dict)

    def array(self, values: np.ndarray, about: str) -> str:
        """The name of a constant array that holds ``values`` in their order; equal ones are one. All are aligned to words."""
        ctype, key = c_type(str(values.dtype)), (str(values.dtype), values.tobytes())
        if key not in self._named:
            name = self._name()
            self._named[key] = name
            self.size += values.nbytes
            comment = f" /* {commented(about)} */"
            self.constants.append(
                f"INTACT_ALIGNED static const {ctype} {name}[{values.size}] = {{{comment}\n{listed(values)}}};\n"
            )
        return self._named[key]

    def struct(self, kind: str, fields: Mapping[str, object], about: str) -> str:
        """The address of a constant struct."""
        name = self._name()
        lines = "".join(f"    .{key} = {value},\n" for key, value in fields.items())
        self.constants.append(f"static const {kind} {name} = {{ /* {commented(about)} */\n{lines}}};\n")
        return f"&{name}"

    def loops(self, loops: Iterable[tuple[int, tuple[int, ...]]], about: str) -> str:
        """The name of an array of the loops around a run; equal ones are one."""
        rows = [f"{{{count}, {braced((*steps, *(0,) * (PARTS - len(steps))))}}}" for count, steps in (*loops, (0, ()))]
        key = ("loop", "".join(rows).encode())
        if key not in self._named:
            self._named[key] = self.table("loop", rows, about)
        return self._named[key]

    def window(self, numbers: Sequence[int]) -> str:
        """An initializer of a window."""
        self.at_least("INTACT_EXTENT", max(numbers))
        return braced(numbers)

    def table(self, kind: str, rows: Sequence[str], about: str) -> str:
        """The name of a constant array of structs."""
        name, lines = self._name(), "".join(f"    {row},\n" for row in rows)
        self.constants.append(f"static const {kind} {name}[{len(rows)}] = {{ /* {commented(about)} */\n{lines}}};\n")
        return name

    def need(self, *kernels: str) -> None:
        """That the file includes these kernels, and what they include."""
        for kernel in kernels:
            for other in _INCLUDE.findall(kernel_text(kernel)):
                self.need(other)
            if kernel not in self.kernels:
                self.kernels.append(kernel)

    def at_least(self, name: str, value: int) -> None:
        """Define ``name`` for the kernels, as large as any op asks for."""
        self.sizes[name] = max(value, self.sizes.get(name, 0))

    def scratch(self, size: int) -> None:
        """Have ``size`` bytes at least that an op may use while it runs."""
        self.scratch_bytes = max(self.scratch_bytes, size)

    def do(self, statement: str) -> None:
        self.statements.append(statement)

    @property
    def kernel_texts(self) -> str:
        """The kernels one after the other, each after those that it calls."""
        defines = "".join(f"#define {name} {value}\n" for name, value in sorted(self.sizes.items()))
        return f"{defines}\n" + "\n".join(
            _INCLUDE.sub("", kernel_text(kernel)).replace("\n\n\n", "\n\n") for kernel in self.kernels
        )

    def _name(self) -> str:
        return f"c{len(self.constants)}"


def kernel_text(name: str) -> str:
    """The C of a kernel, as it is kept beside this module."""
    return (files(__package__) / "kernels" / f"{name}.h").read_text()


def c_type(dtype: str) -> str:
    return _C_TYPES[dtype]


def listed(values: np.ndarray) -> str:
    """Numbers in lines of C."""
    if values.dtype.kind == "f":
        spelled: Callable[[Any], str] = real_literal
    else:
        spelled = str if values.itemsize < 4 else literal
    texts = [f"{spelled(value)}," for value in values.reshape(-1).tolist()]
    each = _WIDTH // max(map(len, texts), default=1)
    return "\n".join("".join(texts[n : n + each]) for n in range(0, len(texts), each)) + "\n"


def real_literal(value: float) -> str:
    """A finite real number in C, in float32."""
    text = f"{value:.9g}"
    return f"{text}f" if {".", "e"} & set(text) else f"{text}.0f"


def literal(value: int) -> str:
    """A whole number in C: the lowest ones have no literal of their own."""
    if value == -(1 << 31):
        return "INT32_MIN"
    if value == -(1 << 63):
        return "INT64_MIN"
    return f"INT64_C({value})" if abs(value) > 1 << 31 else str(int(value))


def bounds(low: float, high: float) -> str:
    """The ends of an activation as an initializer; infinite ones are left out."""
    ends = [(math.isfinite(end), end if math.isfinite(end) else 0.0) for end in (low, high)]
    there, numbers = zip(*ends, strict=True)
    return "{" + ", ".join([*("true" if is_there else "false" for is_there in there), *map(real_literal, numbers)]) + "}"


def designated(fields: Mapping[str, object]) -> str:
    """The fields of a struct as an initializer."""
    return "{" + ", ".join(f".{key} = {value}" for key, value in fields.items()) + "}"


def braced(numbers: Iterable[int]) -> str:
    """Numbers as an initializer."""
    return "{" + ", ".join(map(str, numbers)) + "}"


def quoted(text: str) -> str:
    """``text`` as a string of C, printable ASCII as it is and the rest as the bytes of UTF-8."""
    made = "".join(chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}" for b in text.encode())
    return f'"{made}"'


def commented(text: str) -> str:
    """``text`` as it may stand within a comment: printable, on one line, without the comment's end."""
    plain = "".join(c if c.isprintable() and c.isascii() and c != "\\" else "?" for c in text)
    return plain.replace("*/", "* /").replace("/*", "/ *")
