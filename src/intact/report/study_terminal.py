"""What a terminal shows while a study runs: one table that fills, or, where there is no terminal, a line for what is done."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, final

from rich.console import Console
from rich.live import Live as RichLive
from rich.table import Table
from rich.text import Text

from intact.report.study_columns import COLUMNS, Column
from intact.wording import shown

#: Characters of a variant's name, and of what is done to it.
_NAMED: Final = 30
#: What a row says once it is done.
_SHOWN: Final = ("top-1 accuracy", "accuracy drop", "agreement with float", "file size", "latency")
#: Rows at most: what does not fit a screen flickers.
_ROWS: Final = 20
_PER_SECOND: Final = 4


@final
class Live:
    """Variants by name, in order; told by :meth:`watch` what each does. Safe to be told by several threads."""

    def __init__(self, names: Sequence[str], *, quiet: bool) -> None:
        self._quiet = quiet
        self._doing = dict.fromkeys(names, "")
        self._records: dict[str, Mapping[str, Any]] = {}
        self._lock = threading.Lock()
        console = Console(stderr=True, quiet=quiet)
        self._live = RichLive(console=console, refresh_per_second=_PER_SECOND, transient=True, get_renderable=self._table)
        self._terminal = console.is_terminal and not quiet

    def __enter__(self) -> Live:
        if self._terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._terminal:
            self._live.stop()

    def watch(self, variant: str, doing: str, record: Mapping[str, Any] | None) -> None:
        """What a variant does now; with its ``record``, once it is done."""
        with self._lock:
            self._doing[variant] = doing
            if record is not None:
                self._records[variant] = record
        if not (self._terminal or self._quiet) and (record is not None or doing.startswith("failed")):
            said = ", ".join(_figures(record)) if record is not None else doing
            sys.stderr.write(f"{shown(variant)}: {shown(said)}\n")

    def _table(self) -> Table:
        """The rows around what works now, in at most 80 columns."""
        table = Table(box=None, pad_edge=False, padding=(0, 1))
        table.add_column("variant", no_wrap=True, overflow="ellipsis", max_width=_NAMED)
        table.add_column("", no_wrap=True, overflow="ellipsis", max_width=78 - _NAMED)
        with self._lock:
            names = list(self._doing)
            done = sum(name in self._records or self._doing[name].startswith("failed") for name in names)
            first = max(0, min(done - _ROWS // 2, len(names) - _ROWS))
            for name in names[first : first + _ROWS]:
                record = self._records.get(name)
                said = self._doing[name] if record is None else ", ".join(_figures(record))
                table.add_row(Text(shown(name)), Text(shown(said)))
        if len(names) > _ROWS:
            table.add_row(Text(""), Text(f"{done:,} of {len(names):,} done"))
        return table


def _figures(record: Mapping[str, Any]) -> list[str]:
    """The few figures of a run that fit a line."""
    known = {column.figure: column for column in COLUMNS}
    made = {m["name"]: m for m in record["measurements"] if m["of"] != "float"}
    return [_said(known[name], made[name]) for name in _SHOWN if name in made][:4]


def _said(column: Column, m: Mapping[str, Any]) -> str:
    head, _, unit = column.head.partition(", ")
    return f"{head} {column.cell({'figures': {column.figure: m}})}{f' {unit}' if unit else ''}"
