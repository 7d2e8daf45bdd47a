"""What the command prints: tables and progress for people, JSON for machines, or nothing."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, final

from rich import progress as rich_progress
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from intact.measure.figures import Reading
from intact.progress import Progress
from intact.report import figures
from intact.report.figures import Document, Row
from intact.report.record import to_json
from intact.wording import shown

#: Columns that a row with a long name takes.
_WIDE: Final = 150
#: More than any row of a table takes.
_ANY: Final = 1 << 14
#: Columns that a row of a criterion takes besides its texts.
_BESIDE: Final = 16
#: Columns before and between a figure's name and its value.
_INDENT: Final = 4
#: Blanks at the end of a line, among what begins and ends colours.
_BLANKS: Final = re.compile(r"(?: |\x1b\[[0-9;]*m)+$", re.MULTILINE)
_COLOURS: Final = {"pass": "green", "fail": "red", "inconclusive": "yellow"}


@final
class _Plain(Console):
    """A console that shows every text as it is: no markup and no emoji by name, and nothing in it that moves the cursor.

    Whatever is printed, a table's cells included, becomes a rich text here and nowhere else.
    """

    def render_str(self, text: str, **said: Any) -> Text:
        return super().render_str(shown(text), **{**said, "markup": False, "emoji": False, "highlight": False})

    def print(self, *objects: Any, **said: Any) -> None:
        """As it is printed, without the blanks that fill the last column of a table."""
        if self.legacy_windows:  # which is told of colours by other means than text
            super().print(*objects, **said)
            return
        with self.capture() as held:
            super().print(*objects, **said)
        self.file.write(_BLANKS.sub(lambda found: found[0].replace(" ", ""), held.get()))


@final
@dataclass(frozen=True)
class Output:
    """How the user wants to be told: a table and progress, nothing (``quiet``), or JSON alone."""

    quiet: bool
    json: bool

    def __post_init__(self) -> None:
        if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal that lacks a letter gets its number, not a traceback
            sys.stdout.reconfigure(errors="backslashreplace")

    @property
    def console(self) -> Console:
        """For texts and tables, one line each text: names in them may hold anything, and need no escaping."""
        return _Plain(quiet=self.quiet or self.json)

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """A bar for each step, on standard error, so that standard output stays for results."""
        bars = rich_progress.Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True, quiet=self.quiet or self.json),
            transient=True,
        )
        tasks: dict[str, Any] = {}

        def show(step: str, done: int, total: int) -> None:
            if step not in tasks:
                for task in tasks.values():
                    bars.update(task, visible=False)
                tasks[step] = bars.add_task(shown(step), total=total or None)
            bars.update(tasks[step], completed=done, total=total or None)

        with bars:
            yield show

    def line(self, text: str) -> None:
        """A line for people while the work goes on, above the progress bars."""
        if not (self.quiet or self.json):
            sys.stderr.write(f"{shown(text)}\n")

    def say(self, text: str) -> None:
        """A sentence among the results, on one line however long."""
        self.console.print(text, soft_wrap=True)

    def notes(self, messages: Iterable[str]) -> None:
        """What was noticed, a line each."""
        for message in messages:
            self.say(f"note: {message}")

    def verdict(self, document: Document, title: str) -> None:
        """The sentence, the criteria, and the figures that matter, of a result's document."""
        self.say(title)
        self.console.print(Text(shown(figures.sentence(document)), style="bold"), soft_wrap=True)
        self.criteria(document)
        five = figures.five(document)
        if five:
            self.say("")
            table = _table("", "float", str(document["settings"]["scheme"]), "change", right=(1, 2))
            for row in five:
                table.add_row(row.name, row.float, row.integer, row.change_in_full)
            self.console.print(table)

    def criteria(self, document: Document) -> None:
        """What each criterion came to; below the table, why one is not met or open."""
        rows = figures.criteria(document)
        if not rows:
            return
        self.say("")
        wide = max(len(row.criterion) + len(row.measured) + len(row.interval) for row in rows) + _BESIDE > self.console.width
        table = _table("", "criterion", "measured")
        for row in rows:
            measured = row.measured if wide or not row.interval else f"{row.measured} ({row.interval})"
            table.add_row(Text(row.word, style=_COLOURS.get(row.status, "")), row.criterion, measured)
        self.console.print(table)
        for row in rows:
            if row.status != "pass":
                self.say(f"{row.criterion}: {row.why}")

    def front(self, document: Document) -> None:
        """The networks that were tried and that no other beats, the smallest first, with a star at the one that was taken."""
        tried = [c for c in document["candidates"] if c["name"] in document["front"]]
        table = _table("", "on the front of what was tried", "bytes", "loses", "95 % interval", right=(2,))
        for row in sorted(tried, key=lambda c: int(c["bytes"])):
            loss = {"of": "difference", **row["loss"]}
            star = "*" if row["name"] == document["taken"] else ""
            table.add_row(star, row["name"], f"{row['bytes']:,}", figures.value_of(loss), figures.interval_of(loss))
        self.say("")
        self.console.print(table)

    def readings(self, title: str, readings: tuple[Reading, ...]) -> None:
        """All figures, below whose they are."""
        if title:
            self.say(title)  # above the table: as its own title it would wrap to the table's width
        groups: dict[str, list[Row]] = {}
        for reading in readings:
            groups.setdefault(reading.of, []).append(reading.to_json())
        names = max((len(row["name"]) for rows in groups.values() for row in rows), default=0)
        table = _table("figure", "value (95 % interval)")
        for of, rows in groups.items():
            table.add_row(Text(shown(of), style="bold"), "")
            for row in rows:
                value, interval = figures.value_of(row), figures.interval_of(row)
                together = f"{value} ({interval})" if interval else value
                if not interval or names + len(together) + _INDENT <= self.console.width:
                    table.add_row(f"  {row['name']}", together)
                else:  # a row of its own is read more easily than one that wraps
                    table.add_row(f"  {row['name']}", value)
                    table.add_row("", f"({interval})")
        self.console.print(table)

    def wide(self, table: Table) -> None:
        """A table whose rows end in long names: a terminal wraps them, a file keeps them whole."""
        width = max(self.console.width, _WIDE)
        _Plain(quiet=self.quiet or self.json, width=width).print(table)

    def rows(self, made: Callable[[int | None], Table]) -> None:
        """A table below an empty line: for the width of a terminal, or for None, with whole rows, where there is none."""
        console = self.console
        limit = console.width if console.is_terminal else None
        wide = _Plain(quiet=self.quiet or self.json, width=limit or _ANY)
        wide.print()
        wide.print(made(limit))

    def document(self, document: dict[str, Any]) -> None:
        """The record itself, when JSON was asked for."""
        if self.json:
            sys.stdout.write(to_json(document))


def _table(*columns: str, right: tuple[int, ...] = ()) -> Table:
    """A plain table; ``right``: the columns that end at the right."""
    table = Table(box=None, pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i in right else "left", overflow="fold")
    return table
