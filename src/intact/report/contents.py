"""What a model is made of, as tables for people. A row is never longer than the terminal: columns go before names are cut."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, final

from rich.cells import cell_len
from rich.table import Table

from intact.wording import shown

#: A part of the document that ``intact inspect --json`` prints.
Row: TypeAlias = Mapping[str, Any]
_GAP: Final = 2
#: Cells of a name that are shown at least, however narrow the terminal.
_LEAST: Final = 12


def exact(n: int) -> str:
    """``12501632 -> 12,501,632``."""
    return f"{n:,}"


def rounded(n: int) -> str:
    """``12501632 -> 12.5 M``, ``448 -> 448``: three digits."""
    if n < 1000:
        return str(n)
    power = next((p for p, _ in enumerate("kMGT", 1) if float(f"{n / 1000**p:.3g}") < 1000), 4)
    return f"{n / 1000**power:#.3g}".rstrip(".") + f" {'kMGT'[power - 1]}"


def written(shape: Sequence[int | None]) -> str:
    """``[None, 32, 32, 3] -> [n, 32, 32, 3]``."""
    return f"[{', '.join('n' if size is None else str(size) for size in shape)}]"


@final
@dataclass(frozen=True)
class _Column:
    title: str
    text: Callable[[Row], str]
    right: bool = True


_KIND: Final = _Column("kind", lambda row: str(row["kind"]), right=False)
_SHAPE: Final = _Column("shape", lambda row: written(row["shape"]), right=False)
_MACS: Final = _Column("MACs", lambda row: exact(row["macs"]))
_FEW_MACS: Final = _Column("MACs", lambda row: rounded(row["macs"]))
_PARAMETERS: Final = _Column("parameters", lambda row: exact(row["parameters"]))
_BYTES: Final = _Column("bytes", lambda row: exact(row["parameter_bytes"]))
_COUNT: Final = _Column("ops", lambda row: exact(row["count"]))
#: What stands before an op's name, from the widest terminal to the narrowest.
_LAYOUTS: Final[tuple[tuple[_Column, ...], ...]] = (
    (_KIND, _SHAPE, _MACS, _PARAMETERS, _BYTES),
    (_KIND, _SHAPE, _MACS, _PARAMETERS),
    (_KIND, _SHAPE, _FEW_MACS, _PARAMETERS),
    (_KIND, _FEW_MACS, _PARAMETERS),
    (_KIND, _FEW_MACS),
    (_KIND,),
)


def ops_table(rows: Sequence[Row], width: int | None) -> Table:
    """The ops in order, the kind first and the name last: as many columns as leave room for every name in ``width`` cells.

    Where even the kind alone leaves none, a name keeps its end behind …, which ``--keep-float`` takes. None: no limit.
    """
    names = [shown(str(row["name"])) for row in rows]
    longest = max((cell_len(name) for name in [*names, "op"]), default=0)
    columns = next((some for some in _LAYOUTS if width is None or _width(some, rows) + longest <= width), _LAYOUTS[-1])
    room = None if width is None else max(width - _width(columns, rows), _LEAST)
    return _table(columns, rows, ("op", [name if room is None else _end(name, room) for name in names]))


def kinds_table(rows: Sequence[Row]) -> Table:
    """The ops by kind, and all of them together."""
    total = {key: sum(row[key] for row in rows) for key in ("count", "macs", "parameters", "parameter_bytes")}
    return _table((_KIND, _COUNT, _MACS, _PARAMETERS, _BYTES), [*rows, {"kind": "all", **total}])


def sizes_table(sizes: Mapping[str, int], title: str) -> Table:
    """What the bytes of a file are for."""
    whole = sum(sizes.values())
    table = Table(box=None, pad_edge=False)
    table.add_column(title, no_wrap=True)
    table.add_column("bytes", justify="right", no_wrap=True)
    table.add_column("of the file", justify="right", no_wrap=True)
    for part, count in (*sizes.items(), ("all", whole)):
        table.add_row(part, exact(count), f"{100 * count / max(whole, 1):.1f} %")
    return table


def _table(columns: Iterable[_Column], rows: Sequence[Row], last: tuple[str, Sequence[str]] | None = None) -> Table:
    table, columns = Table(box=None, pad_edge=False), tuple(columns)
    for column in columns:
        table.add_column(column.title, justify="right" if column.right else "left", no_wrap=True)
    if last is not None:
        table.add_column(last[0], no_wrap=True, overflow="ignore")
    for n, row in enumerate(rows):
        table.add_row(*(column.text(row) for column in columns), *([] if last is None else [last[1][n]]))
    return table


def _width(columns: Iterable[_Column], rows: Sequence[Row]) -> int:
    """Cells of a line before the name."""
    return sum(max(len(text) for text in (c.title, *(c.text(row) for row in rows))) + _GAP for c in columns)


def _end(name: str, room: int) -> str:
    if cell_len(name) <= room:
        return name
    while cell_len(name) > room - 1:
        name = name[1:]
    return f"…{name}"
