"""Samples that are rows of a table: .csv files and data frames. Columns are numbers, but for labels, which may be texts."""

from __future__ import annotations

import csv as csv_files
import io
import os
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count, islice
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias, final, runtime_checkable

import numpy as np

from intact import reading
from intact.data.array import ArrayData, as_array
from intact.data.base import Data, Example
from intact.data.samples import Samples
from intact.data.spec import Finding, InputSpec, classes_of
from intact.errors import DataError, OptionError, located

#: Columns that are labels by their name, case aside.
LABELS: Final = ("y", "label", "labels", "target", "targets", "class")
_DELIMITERS: Final = ",;\t|"
_NAMED: Final = 6
#: Characters of a line, and columns: genes are the widest tables that people have, 60,000 of 20 characters.
_LONGEST_LINE: Final = 1 << 22
_MOST_COLUMNS: Final = 1 << 17

#: One column, [n]: numbers, or texts.
Column: TypeAlias = np.ndarray


@runtime_checkable
class Frame(Protocol):
    """What pandas and polars call a DataFrame."""

    columns: Any
    dtypes: Any

    def __len__(self) -> int: ...

    def __getitem__(self, column: Any, /) -> Any: ...

    def to_numpy(self) -> np.ndarray: ...


def csv(path: str | os.PathLike[str], label: str | None = None) -> Table:
    """Rows of a ``.csv``, one sample each; commas, semicolons, tabs or bars; with or without a line of names.

    ``label`` is the column of labels, by name or by number from 1; "" for none. Without it, a column called y, label, target
    or class is, or else the last one when there is one more than the model takes. Texts in it are classes in alphabetical
    order. Raises DataError that names the column and line of a text among numbers.
    """
    file = Path(path)
    with located(str(file)):
        names, columns, lines = _read(file, label)
        found: tuple[Finding, ...] = ()
        if names[0] == "":
            names, columns = names[1:], columns[1:]
            found = (Finding("unused-column", f"{file.name}: left the first column, which has no name, as an index"),)
        return Table(tuple(names), tuple(columns), _chosen(label, names), file.name, lines, found)


def frame(table: Frame, label: str | None = None) -> Table:
    """Rows of a data frame of pandas or polars; ``label`` as in :func:`csv`."""
    names = [str(name) for name in table.columns]
    columns = [_values(table[name], str(name)) for name in table.columns]
    return Table(tuple(names), tuple(columns), _chosen(label, names), "the data frame", None, ())


@final
@dataclass(frozen=True, eq=False, repr=False)
class Table(Data):
    """Named columns. ``label``: the position of the labels, -1 for none, None where that is to be found out."""

    names: tuple[str, ...]
    columns: tuple[Column, ...]
    label: int | None
    where: str
    #: The line of each row in its file; None where it has no file.
    lines: np.ndarray | None
    findings: tuple[Finding, ...]

    def bind(self, inputs: tuple[InputSpec, ...], classes: int | None) -> Samples:
        with located(self.where):
            label, found = self._label(inputs)
            rest = [i for i in range(len(self.names)) if i != label]
            by_name = {self.names[i]: i for i in rest}
            if len(inputs) > 1 or (inputs[0].name in by_name and inputs[0].sample in ((), (1,))):
                missing = next((s.name for s in inputs if s.name not in by_name), None)
                if missing is not None:
                    raise DataError(f"has no column called {missing!r}, an input of the model; it has {self._some()}")
                x = {s.name: self._numbers(by_name[s.name]) for s in inputs}
            else:
                x = {inputs[0].name: self._stacked(rest)}
            y, names, more = (None, (), ()) if label < 0 else self._targets(label, classes)
        samples = ArrayData(x, y, self.where, (*self.findings, *found, *more)).bind(inputs, classes)
        return replace(samples, class_names=names)

    def examples(self) -> tuple[Example, ...]:
        label = (
            next((i for i, name in enumerate(self.names) if name.lower() in LABELS), -1) if self.label is None else self.label
        )
        with located(self.where):
            return (self._stacked([i for i in range(len(self.names)) if i != label])[:1].astype(np.float32),)

    def matrix(self) -> np.ndarray:
        """All columns but the labels, [n, k]."""
        return self._stacked([i for i in range(len(self.names)) if i != self.label])

    def _stacked(self, places: list[int]) -> np.ndarray:
        if not places:
            raise DataError("has no column besides the labels; give one for each number that the model takes")
        return np.stack([self._numbers(i) for i in places], 1)

    def _label(self, inputs: tuple[InputSpec, ...]) -> tuple[int, tuple[Finding, ...]]:
        if self.label is not None:
            return self.label, ()
        named = next((i for i, name in enumerate(self.names) if name.lower() in LABELS), None)
        if named is not None:
            return named, (Finding("labels-column", f"{self.where}: took labels from column {self.names[named]!r}"),)
        if len(inputs) == 1 and len(self.names) == int(np.prod(inputs[0].sample)) + 1:
            what = f"{self.where}: took labels from the last column, {self.names[-1]!r}; --label says otherwise"
            return len(self.names) - 1, (Finding("labels-column", what),)
        return -1, ()

    def _numbers(self, i: int) -> np.ndarray:
        values = self.columns[i]
        if values.dtype.kind in "biuf":
            return values
        row = next(n for n, value in enumerate(values) if not _is_number(value))
        what = f"{str(values[row])[:40]!r}" if str(values[row]).strip() else "an empty cell"
        at = f"row {row}" if self.lines is None else f"line {self.lines[row]}"
        raise DataError(
            f"column {self.names[i]!r} holds {what} in {at}, where the model takes numbers; encode it as the model was "
            "trained, or leave the column out"
        )

    def _targets(self, label: int, classes: int | None) -> tuple[np.ndarray, tuple[str, ...], tuple[Finding, ...]]:
        values = self.columns[label]
        if values.dtype.kind in "biuf":
            return values, (), ()
        names, numbers = np.unique(values.astype(str), return_inverse=True)
        if classes is not None and len(names) > classes_of(classes):
            raise DataError(f"column {self.names[label]!r} holds {len(names)} classes, the model has {classes_of(classes)}")
        some = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
        what = f"{self.where}: the classes of column {self.names[label]!r} count in alphabetical order: {some}"
        return numbers.reshape(-1).astype(np.int64), tuple(map(str, names)), (Finding("class-order", what),)

    def _some(self) -> str:
        return ", ".join(self.names[:_NAMED]) + (", …" if len(self.names) > _NAMED else "")


def _chosen(label: str | None, names: Sequence[str]) -> int | None:
    """The position that ``label`` means; -1 for none, None where nothing is said."""
    if label is None:
        return None
    if label == "":
        return -1
    if label in names:
        return list(names).index(label)
    if label.isdecimal() and len(label) < 10 and 1 <= int(label) <= len(names):
        return int(label) - 1
    raise OptionError(
        f"no column is called {label!r}; type --label with one of: {', '.join(names[:_NAMED])}, or its number from 1"
    )


def _read(file: Path, label: str | None) -> tuple[list[str], list[Column], np.ndarray]:
    """Names, columns and the line of each row. Only numbers are kept on the way, and of texts those that can be labels.

    Of any other column with texts the rows up to the first one are kept, which are enough to name it.
    """
    rows = _rows(file)
    start = list(islice(rows, 2))
    if not start:
        raise DataError("holds no rows")
    (first, names), width = start[0], len(start[0][1])
    if width > _MOST_COLUMNS:
        raise DataError(f"has {width:,} columns, and at most {_MOST_COLUMNS:,} are read; give the samples as an .npz")
    head = _is_header(*(cells for _, cells in start))
    numbers, texts, lines = [array("d") for _ in range(width)], dict[int, tuple[int, str]](), array("q")
    for line, cells in chain(start[head:], rows):
        if len(cells) != width:
            raise DataError(f"line {line} has {len(cells)} cells, line {first} has {width}; every row must have the same")
        for i, cell in enumerate(cells):
            if i not in texts and not _added(numbers[i], cell):
                texts[i] = len(lines), cell
        lines.append(line)
    if not lines:
        raise DataError("holds a line of names and no rows")
    names = names if head else [f"column {i + 1}" for i in range(width)]
    columns: list[Column] = [np.frombuffer(column) for column in numbers]
    for i, (row, cell) in texts.items():
        columns[i] = np.array([*numbers[i][:row], cell], object)
    known = dict[str, str]()  # labels say the same over and over
    for i in texts.keys() & _labels(label, names):
        columns[i] = np.array([known.setdefault(cells[i], cells[i]) for _, cells in _rows(file)][head:], object)
    return names, columns, np.frombuffer(lines, np.int64)


def _labels(label: str | None, names: list[str]) -> set[int]:
    """The positions of the columns that may turn out to be the labels."""
    named = names[1:] if names[0] == "" else names  # the first one may be an index
    chosen = _chosen(label, named)
    if chosen is not None:
        return {chosen + len(names) - len(named)}
    return {len(names) - 1} | {i for i, name in enumerate(names) if name.lower() in LABELS}


def _rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """The line and the cells of each row that is not blank."""
    with reading.opened(file, DataError) as binary, io.TextIOWrapper(binary, "utf-8-sig", newline="") as opened:
        try:
            start = opened.readline(_LONGEST_LINE)
            opened.seek(0)
            reader = csv_files.reader(_lines(opened), delimiter=max(_DELIMITERS, key=start.count), strict=True)
            for row in reader:
                cells = [cell.strip() for cell in row]
                if any(cells):
                    yield reader.line_num, cells
        except (UnicodeDecodeError, csv_files.Error) as error:
            hint = ", with every quote closed" if isinstance(error, csv_files.Error) else ""
            raise DataError(f"is not a table as UTF-8 text ({error}); save it again as CSV{hint}") from error


def _lines(opened: io.TextIOWrapper) -> Iterator[str]:
    for number in count(1):
        line = opened.readline(_LONGEST_LINE)
        if len(line) == _LONGEST_LINE:
            raise DataError(f"line {number} has more than {_LONGEST_LINE:,} characters, which is no row of a table")
        if not line:
            return
        yield line


def _added(numbers: array[float], cell: str) -> bool:
    try:
        numbers.append(float(cell))
    except ValueError:
        return False
    return True


def _is_header(first: list[str], second: list[str] | None = None) -> bool:
    """Names: where no cell is a number, or one is a text above a number."""
    if not any(map(_is_number, first)):
        return True
    return second is not None and any(not _is_number(a) and _is_number(b) for a, b in zip(first, second, strict=False))


def _column(cells: list[str]) -> Column:
    try:
        return np.array([float(cell) for cell in cells])
    except ValueError:
        return np.array(cells, object)


def _is_number(cell: Any) -> bool:
    try:
        float(cell)
    except (ValueError, TypeError):
        return False
    return True


def _values(series: Any, name: str) -> Column:
    values = np.asarray(series.to_numpy())
    if values.ndim != 1:
        raise DataError(f"the data frame has several columns called {name!r}")
    if values.dtype.kind in "biuf":
        return as_array(values, name)
    return _column([str(value) for value in values])
