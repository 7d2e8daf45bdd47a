"""The files around a .tflite with which TensorFlow Lite Micro runs it: plain C++, Arduino, ESP-IDF, Zephyr."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from math import isfinite, isnan, prod
from typing import Final, final

import numpy as np

from intact.deploy.c.network import Text
from intact.deploy.c.source import c_type, commented, listed
from intact.deploy.project import Vectors
from intact.deploy.templates import render
from intact.deploy.tflm.resolver import METHODS
from intact.errors import UnsupportedError
from intact.network.graph import Graph, Tensor
from intact.network.shapes import infer
from intact.numbers.affine import Affine

#: Bytes, or real numbers, in a line of C++.
_BYTES: Final = 20
_REALS: Final = 8
_INTEGERS: Final = frozenset({"int8", "uint8", "int16", "int32", "int64", "bool"})


@final
@dataclass(frozen=True)
class Arena:
    """How large the arena is in bytes, and ``about``: a sentence on how that is known."""

    bytes: int
    about: str


@final
@dataclass(frozen=True)
class Port:
    """An input or output in C++: ``about`` it in words, its element type and count; ``scale`` is empty for real numbers."""

    side: str
    n: int
    about: str
    type: str
    count: int
    scale: str = ""
    zero_point: int = 0

    @property
    def id(self) -> str:
        return f"{self.side}{self.n}"


@final
@dataclass(frozen=True, eq=False)
class Project:
    """What is written: the file ``data`` itself, which ``text`` may know by another spelling; ``ops`` as
    :func:`~intact.deploy.tflm.resolver.resolved` names them.

    ``tolerance``: steps by which stored integers may differ on another core, 0 where no op computes in float. ``notes`` and
    ``check`` are what its README says besides, a sentence each without its full stop.
    """

    text: Text
    data: bytes = field(repr=False)
    ports: tuple[Port, ...]
    ops: tuple[str, ...]
    arena: Arena
    vectors: Vectors
    variables: int = 0
    tolerance: int = 0
    notes: tuple[str, ...] = ()
    check: str = ""

    @property
    def values(self) -> dict[str, object]:
        """What templates are filled with."""
        return self.text.values | {
            "bytes": len(self.data),
            "data_sha256": sha256(self.data).hexdigest(),
            "ports": self.ports,
            "methods": [METHODS[name] for name in self.ops],
            "arena": self.arena,
            "variables": self.variables,
            "tolerance": self.tolerance,
            "right": "right" if self.tolerance else "exact",
            "notes": self.notes,
            "check": self.check,
        }


def ports(graph: Graph) -> tuple[Port, ...]:
    """Inputs, then outputs. UnsupportedError for numbers that C++ has no type for."""
    shapes = infer(graph)
    sides = (("Input", graph.inputs, graph.input_names), ("Output", graph.outputs, graph.output_names))
    return tuple(
        _port(graph[i], side, n, name, shapes[i])
        for side, ids, names in sides
        for n, (i, name) in enumerate(zip(ids, names, strict=True))
    )


def _port(t: Tensor, side: str, n: int, name: str, shape: tuple[int, ...]) -> Port:
    dtype = t.format.dtype
    if dtype not in _INTEGERS and dtype != "float32":
        raise UnsupportedError(f"{side.lower()} {name!r} is {dtype}, and the C++ takes and gives integers and float32")
    about = commented(f"{name}, {' x '.join(map(str, shape)) or '1'}")
    kind = "float" if dtype == "float32" else c_type(dtype)
    port = Port(side, n, about, kind, prod(shape))
    if not isinstance(t.format, Affine):
        return port
    return replace(port, scale=real(t.format.scale[0]), zero_point=t.format.zero_point[0])


def files_of(project: Project) -> dict[str, str]:
    """The project, text by path within its folder."""
    return dict(_files(project))


def _files(project: Project) -> Iterator[tuple[str, str]]:
    values, name = project.values, project.text.prefix

    def made(template: str, **more: object) -> str:
        return render(f"tflm/{template}", values | more)

    vectors = {"about": project.vectors.about, "count": len(project.vectors), "ports": _rows(project)}
    shared = {
        "model_data.h": made("model_data.h"),
        "model_data.cc": made("model_data.cc", data=_hex(project.data)),
        "model_settings.h": made("model_settings.h"),
        "model_ops.h": made("model_ops.h"),
        "model_runner.h": made("model_runner.h"),
        "model_runner.cc": made("model_runner.cc"),
        "vectors.h": made("vectors.h", **vectors),
    }
    yield from shared.items()
    yield "main.cc", made("main.cc", where="", entry="main")
    yield "Makefile", made("Makefile")
    yield "README.md", made("README.md")
    for path, text in shared.items():  # a sketch is compiled with what lies in its own folder, whose sources end so
        yield f"arduino/{name}/{path.replace('.cc', '.cpp')}", text
    yield f"arduino/{name}/{name}.ino", made("sketch.ino")
    yield "esp-idf/CMakeLists.txt", made("esp_project.cmake")
    yield "esp-idf/main/CMakeLists.txt", made("esp_component.cmake")
    yield "esp-idf/main/idf_component.yml", made("idf_component.yml")
    yield "esp-idf/main/main.cc", made("main.cc", where=", under ESP-IDF", entry="app_main")
    yield "zephyr/CMakeLists.txt", made("zephyr.cmake")
    yield "zephyr/prj.conf", made("prj.conf")
    yield "zephyr/src/main.cc", made("main.cc", where=", under Zephyr", entry="main")


def _rows(project: Project) -> list[Mapping[str, object]]:
    arrays = (*project.vectors.inputs, *project.vectors.outputs)
    return [{"id": p.id, "rows": [_listed(row) for row in x]} for p, x in zip(project.ports, arrays, strict=True)]


def _listed(row: np.ndarray) -> str:
    if row.dtype.kind != "f":
        return listed(row)
    numbers = [real(x) for x in row.reshape(-1).tolist()]
    return "".join(",".join(numbers[n : n + _REALS]) + ",\n" for n in range(0, len(numbers), _REALS))


def _hex(data: bytes) -> str:
    texts = [f"0x{byte:02x}," for byte in range(256)]
    return "".join("".join(texts[b] for b in data[n : n + _BYTES]) + "\n" for n in range(0, len(data), _BYTES))


def real(value: float) -> str:
    """A float32 in C++, such that reading it gives the same: ``0.0156862754f``."""
    if isnan(value):
        return "NAN"
    if not isfinite(value):
        return "INFINITY" if value > 0 else "-INFINITY"
    text = f"{np.float32(value):.9g}"
    return f"{text}f" if set(text) & set(".e") else f"{text}.0f"
