"""Rows of packed data sets, by the library of each kind: pyarrow, Hugging Face's datasets, TensorFlow. Streamed in batches.

Runs in a child process, by plain name, as a damaged file may crash the library that reads it.
"""

from __future__ import annotations

import abc
import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Final, TypeAlias, final

import numpy as np

#: What pyarrow, datasets and TensorFlow make: without types here, as they are imported only when called.
Foreign: TypeAlias = Any
#: Values by column.
Rows: TypeAlias = dict[str, list[Any]]

#: Rows of images, and of labels, that are in memory at a time.
_FEW: Final = 64
_MANY: Final = 16_384
#: What the images begin with that are taken for such whatever their field is called.
_MAGIC: Final = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*")
#: Bytes of a record of a TFRecord; TensorFlow makes room for what its header says.
_LARGEST_RECORD: Final = 1 << 30
_HEADER: Final = 12
_FOOTER: Final = 4


class RefusedError(Exception):
    """The text is fit for a user."""


@final
@dataclass(frozen=True)
class Field:
    """What a column holds: ``image``, ``number``, ``text``, ``list`` or ``other``; the classes that numbers count."""

    kind: str
    classes: tuple[str, ...] = ()


class Table(abc.ABC):
    """Rows of several files one after the other."""

    #: Rows of each file.
    counts: list[int]
    #: How each file is called.
    named: list[str]
    fields: dict[str, Field]
    #: What paths of images are relative to.
    folder: Path

    @abc.abstractmethod
    def batches(self, columns: Sequence[str], wanted: np.ndarray[Any, Any] | None) -> Iterator[tuple[int, Rows]]:
        """The number of the first row, and some rows from it on; of stretches without ``wanted`` rows, ascending, none."""

    @property
    def count(self) -> int:
        return sum(self.counts)

    def place(self, row: int) -> str:
        """How messages call a row: ``row 7 of val.parquet``."""
        ends = list(accumulate(self.counts))
        file = int(np.searchsorted(ends, row, "right"))
        return f"row {row - (ends[file] - self.counts[file])} of {self.named[file]}"


def opened(kind: str, files: Sequence[str]) -> Table:
    """The table in ``files``. RefusedError for files that are not what they say."""
    paths = [Path(file) for file in files]
    if kind == "tfrecord":
        return _Records(paths)
    return _Saved(paths[0]) if kind == "saved" else _Parquet(paths)


@final
class _Parquet(Table):
    """Row groups, of which those without wanted rows are passed over."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths, self.folder = paths, paths[0].parent
        self.named, self.counts, self.fields = [path.name for path in paths], [], {}
        for path in paths:
            with _refusing(path):
                file = self._opened(path)
                fields = _arrow_fields(file.schema_arrow)
                self.counts.append(file.metadata.num_rows)
                file.close()
            if self.fields and fields != self.fields:
                raise RefusedError(f"{path.name} has other columns than {paths[0].name}; give files of one data set")
            self.fields = fields
        if not self.count:
            raise RefusedError("holds no rows")

    def batches(self, columns: Sequence[str], wanted: np.ndarray[Any, Any] | None) -> Iterator[tuple[int, Rows]]:
        size = _MANY if all(self.fields[name].kind != "image" for name in columns) else _FEW
        start = 0
        for path in self._paths:
            with _refusing(path):
                file = self._opened(path)
                for group in range(file.num_row_groups):
                    stop = start + file.metadata.row_group(group).num_rows
                    if _any_in(wanted, start, stop):
                        for batch in file.iter_batches(size, [group], list(columns), use_threads=False):
                            yield start, _columns(batch, columns)
                            start += batch.num_rows
                        if start != stop:
                            raise RefusedError(f"{path.name} has a group of fewer rows than it says")
                    start = stop
                file.close()

    @staticmethod
    def _opened(path: Path) -> Foreign:
        from pyarrow import parquet  # noqa: PLC0415

        return parquet.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)


@final
class _Saved(Table):
    """What ``Dataset.save_to_disk`` of Hugging Face's library wrote: Arrow files, which it maps."""

    def __init__(self, path: Path) -> None:
        with _refusing(path):
            import datasets  # noqa: PLC0415

            self._rows = datasets.load_from_disk(str(path))
        self.folder, self.named = path, [path.name]
        self.counts = [len(self._rows)]
        self.fields = _arrow_fields(self._rows.features.arrow_schema)
        for name, feature in self._rows.features.items():
            if isinstance(feature, datasets.Image):
                self._rows = self._rows.cast_column(name, datasets.Image(decode=False))
        if not self.count:
            raise RefusedError("holds no rows")

    def batches(self, columns: Sequence[str], wanted: np.ndarray[Any, Any] | None) -> Iterator[tuple[int, Rows]]:
        size = _MANY if all(self.fields[name].kind != "image" for name in columns) else _FEW
        with _refusing(self.folder):
            rows = self._rows.select_columns(list(columns)).with_format("arrow")
            for start in range(0, self.count, size):
                stop = min(start + size, self.count)
                if _any_in(wanted, start, stop):
                    yield start, _columns(rows[start:stop], columns)


@final
class _Records(Table):
    """Records that are tf.train.Example, through tf.data."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths, self.folder = paths, paths[0].parent
        self.named = [path.name for path in paths]
        self.counts = [self._counted(path) for path in paths]
        if not self.count:
            raise RefusedError("holds no records")
        first = next(iter(self._records()))
        self.fields = {name: _record_field(_value(feature)) for name, feature in first.features.feature.items()}
        if not self.fields:
            raise RefusedError(f"{self.place(0)} is no tf.train.Example; save the samples as such, or as a .tar")

    def batches(self, columns: Sequence[str], wanted: np.ndarray[Any, Any] | None) -> Iterator[tuple[int, Rows]]:
        pending: Rows = {name: [] for name in columns}
        start = 0
        for row, example in enumerate(self._records()):
            for name in columns:
                value = _value(example.features.feature[name]) if name in example.features.feature else None
                is_text = self.fields[name].kind == "text" and isinstance(value, bytes)
                pending[name].append(_text(value, self.place(row)) if is_text else value)
            if row + 1 - start == _FEW:
                if _any_in(wanted, start, row + 1):
                    yield start, pending
                start, pending = row + 1, {name: [] for name in columns}
        if next(iter(pending.values())):
            yield start, pending

    def _records(self) -> Iterator[Foreign]:
        import tensorflow as tf  # noqa: PLC0415

        for path in self._paths:
            with _refusing(path):
                for record in tf.data.TFRecordDataset(str(path), "GZIP" if _is_gzip(path) else ""):
                    yield tf.train.Example.FromString(record.numpy())

    def _counted(self, path: Path) -> int:
        """Records by their headers, without their content; of packed ones, all must be read."""
        if _is_gzip(path):
            import tensorflow as tf  # noqa: PLC0415

            with _refusing(path):
                return sum(1 for _ in tf.data.TFRecordDataset(str(path), "GZIP"))
        count, at, end = 0, 0, path.stat().st_size
        with path.open("rb") as file:
            while at < end:
                file.seek(at)
                length = int.from_bytes(file.read(_HEADER)[:8], "little")
                at += _HEADER + length + _FOOTER
                if at > end or length > _LARGEST_RECORD:
                    what = f"a record of {length:,} bytes" if length > _LARGEST_RECORD else "the middle of a record"
                    raise RefusedError(f"{path.name} ends in {what}, or is no TFRecord: record {count}; copy or make it again")
                count += 1
        return count


@contextlib.contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """What a library raises about a file, as a refusal that names it."""
    try:
        yield
    except (RefusedError, ModuleNotFoundError, MemoryError):
        raise
    except Exception as error:  # of a library that reads what is not what it says, anything can come
        why = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise RefusedError(f"{path.name} cannot be read ({why}); copy or make it again") from error


def _any_in(wanted: np.ndarray[Any, Any] | None, start: int, stop: int) -> bool:
    return wanted is None or bool(np.searchsorted(wanted, start) < np.searchsorted(wanted, stop))


def _columns(batch: Foreign, columns: Sequence[str]) -> Rows:
    return {name: batch.column(name).to_pylist() for name in columns}


def _arrow_fields(schema: Foreign) -> dict[str, Field]:
    """The columns of an Arrow schema; Hugging Face's library keeps its own types in it too."""
    about: Any = {}
    with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):  # another's file
        about = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    told = {name: value for name, value in about.items() if isinstance(value, dict)} if isinstance(about, dict) else {}
    return {field.name: _arrow_field(field.type, told.get(field.name, {})) for field in schema}


def _arrow_field(kind: Foreign, told: dict[str, Any]) -> Field:
    from pyarrow import types  # noqa: PLC0415

    if types.is_dictionary(kind):
        kind = kind.value_type
    if told.get("_type") == "Image" or types.is_binary(kind) or types.is_large_binary(kind):
        return Field("image")
    if types.is_struct(kind):
        return Field("image" if {kind.field(i).name for i in range(kind.num_fields)} == {"bytes", "path"} else "other")
    if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind):
        names = told.get("names") if told.get("_type") == "ClassLabel" else None
        return Field("number", tuple(map(str, names)) if isinstance(names, list) else ())
    if types.is_string(kind) or types.is_large_string(kind):
        return Field("text")
    return Field("list" if types.is_list(kind) or types.is_fixed_size_list(kind) or types.is_large_list(kind) else "other")


def _value(feature: Foreign) -> Any:
    """What a feature of an Example holds: one value, or a list."""
    kind = feature.WhichOneof("kind")
    if kind is None:
        return None
    values = list(getattr(feature, kind).value)
    return values[0] if len(values) == 1 else values


def _record_field(value: Any) -> Field:
    if isinstance(value, bytes):
        return Field("image" if value.startswith(_MAGIC) else "text")
    if isinstance(value, list):
        return Field("list" if value and not isinstance(value[0], bytes) else "other")
    return Field("number" if isinstance(value, (int, float)) else "other")


def _text(value: Any, place: str) -> str:
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError as error:
        raise RefusedError(f"{place} holds a label that is no text ({error}); type --label with another field") from error


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"
