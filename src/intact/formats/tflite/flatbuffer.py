"""Checks an untrusted .tflite byte by byte against the schema, before any other code follows an offset in it.

The schema is data: per table, what each field slot holds. A slot that is not listed is never read, so it need not be right.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias, final

from intact.errors import ModelError


@final
@dataclass(frozen=True)
class Scalar:
    """A number of ``size`` bytes, in the table itself."""

    size: int


@final
@dataclass(frozen=True)
class Vector:
    """An offset to a vector of numbers of ``size`` bytes (1 also serves for strings)."""

    size: int


@final
@dataclass(frozen=True)
class Table:
    """An offset to a table called ``name``."""

    name: str


@final
@dataclass(frozen=True)
class Tables:
    """An offset to a vector of offsets to tables called ``name``."""

    name: str


@final
@dataclass(frozen=True)
class Union:
    """An offset to the table that the slot before says; any table is checked for being one."""


FieldKind: TypeAlias = Scalar | Vector | Table | Tables | Union

#: Table -> slot -> what it holds. Source: the LiteRT schema, schema.fbs, version 3.
SCHEMA: Final[Mapping[str, Mapping[int, FieldKind]]] = {
    "Model": {
        0: Scalar(4),  # version
        1: Tables("OperatorCode"),
        2: Tables("SubGraph"),
        3: Vector(1),  # description
        4: Tables("Buffer"),
        6: Tables("Metadata"),
        7: Tables("SignatureDef"),
    },
    "OperatorCode": {0: Scalar(1), 1: Vector(1), 2: Scalar(4), 3: Scalar(4)},
    "SubGraph": {0: Tables("Tensor"), 1: Vector(4), 2: Vector(4), 3: Tables("Operator"), 4: Vector(1)},
    "Tensor": {
        0: Vector(4),  # shape
        1: Scalar(1),  # type
        2: Scalar(4),  # buffer
        3: Vector(1),  # name
        4: Table("QuantizationParameters"),
        5: Scalar(1),  # is_variable
        6: Table("Sparsity"),
        7: Vector(4),  # shape_signature
        8: Scalar(1),  # has_rank
    },
    "QuantizationParameters": {2: Vector(4), 3: Vector(8), 4: Scalar(1), 5: Union(), 6: Scalar(4)},
    "Sparsity": {0: Vector(4), 1: Vector(4), 2: Tables("DimensionMetadata")},
    "DimensionMetadata": {0: Scalar(1), 1: Scalar(4), 2: Scalar(1), 3: Union(), 4: Scalar(1), 5: Union()},
    "Operator": {0: Scalar(4), 1: Vector(4), 2: Vector(4), 3: Scalar(1), 4: Union(), 5: Vector(1), 11: Scalar(1), 12: Union()},
    "Buffer": {0: Vector(1), 1: Scalar(8), 2: Scalar(8)},
    "Metadata": {0: Vector(1), 1: Scalar(4)},
    "SignatureDef": {0: Tables("TensorMap"), 1: Tables("TensorMap"), 2: Vector(1), 4: Scalar(4)},
    "TensorMap": {0: Vector(1), 1: Scalar(4)},
    "options": {},
}

#: A table takes at least so many bytes, with the offset that leads to it.
_TABLE: Final = 8
#: Lists may be shared, but what all of them hold together is not many times the file: it is read as often as it is named.
_SHARED: Final = 16
_FEW: Final = 1 << 20
#: Bytes of a .tflite: its offsets reach 2 GiB.
LARGEST: Final = 2 << 30


def check_size(size: int, most: int = LARGEST) -> None:
    """Raises ModelError where a model of ``size`` bytes is none: before it is read, as it may not fit memory."""
    if size > most:
        raise ModelError(f"is {size:,} bytes, and a model has at most {most:,}; give the model alone")


def check_mark(data: bytes) -> None:
    """Raise ModelError unless ``data``, the first bytes of a file, are those of a .tflite."""
    if len(data) < 8:
        raise ModelError(f"holds {len(data)} bytes, too few for a .tflite model; give a trained model file")
    if data[4:8] != b"TFL3":
        raise ModelError(
            "is not a .tflite file (it lacks the mark TFL3); intact quantize --scheme float32 makes one of other kinds of model"
        )


def check(data: bytes) -> None:
    """Raise ModelError unless every table, vector and string that the schema names lies inside ``data``."""
    check_mark(data)
    _Checker(data).table(0, "Model")


class _Checker:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.seen: set[tuple[int, str]] = set()
        self.tables = len(data) // _TABLE
        self.bytes = _SHARED * len(data) + _FEW

    def number(self, fmt: str, at: int) -> int:
        if at < 0 or at + struct.calcsize(fmt) > len(self.data):
            raise ModelError(f"is corrupt or cut off: it points to byte {at} and holds {len(self.data)}")
        return int(struct.unpack_from(fmt, self.data, at)[0])

    def table(self, offset_at: int, name: str) -> None:
        """Check the table that the uoffset at ``offset_at`` points to, and all below it, without recursion."""
        todo = [(offset_at, name)]
        while todo:
            at, name = todo.pop()
            self.tables -= 1
            if self.tables < 0:
                raise ModelError("is corrupt: it names more tables than fit into it")
            start = at + self.number("<I", at)
            if (start, name) in self.seen:
                continue
            self.seen.add((start, name))
            todo += self._fields(start, name)

    def _fields(self, start: int, name: str) -> list[tuple[int, str]]:
        """Check the fields of the table at ``start``; give the offsets to tables that are still to check."""
        vtable = start - self.number("<i", start)
        size, table_size = self.number("<H", vtable), self.number("<H", vtable + 2)
        if size < 4 or size % 2 or vtable + size > len(self.data) or table_size < 4 or start + table_size > len(self.data):
            raise ModelError(f"is corrupt or cut off: its {name} table at byte {start} does not fit")
        below: list[tuple[int, str]] = []
        for slot, kind in SCHEMA[name].items():
            entry = 4 + 2 * slot
            field = self.number("<H", vtable + entry) if entry + 2 <= size else 0
            if field == 0:
                continue
            width = kind.size if isinstance(kind, Scalar) else 4
            if field + width > table_size:
                raise ModelError(f"is corrupt: field {slot} of its {name} table at byte {start} lies outside the table")
            below += self._field(start + field, kind)
        return below

    def _field(self, at: int, kind: FieldKind) -> list[tuple[int, str]]:
        match kind:
            case Scalar():
                return []
            case Vector(size):
                self._vector(at, size)
                return []
            case Table(name):
                return [(at, name)]
            case Union():
                return [(at, "options")]
            case Tables(name):
                first, count = self._vector(at, 4)
                return [(first + 4 * i, name) for i in range(count)]

    def _vector(self, at: int, size: int) -> tuple[int, int]:
        """Where the vector's first element is, and how many there are."""
        start = at + self.number("<I", at)
        count = self.number("<I", start)
        if start + 4 + count * size > len(self.data):
            raise ModelError(f"is corrupt or cut off: a list of {count} elements at byte {start} does not fit")
        self.bytes -= count * size
        if self.bytes < 0:
            raise ModelError(f"is corrupt: its lists come to more than {_SHARED} times the file")
        return start + 4, count
