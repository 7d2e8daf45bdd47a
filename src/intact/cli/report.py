"""The commands that read what runs wrote: ``report`` and ``compare``."""

from __future__ import annotations

import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from intact import files
from intact.cli import shared
from intact.errors import OptionError

if TYPE_CHECKING:
    from intact.report.comparison import Comparison
    from intact.report.terminal import Output

#: Rows of a part that a terminal shows.
_ROWS = 25

Folder = Annotated[Path, typer.Argument(help="The folder of a finished run or of a study.")]


def report(
    run: Folder,
    out: Annotated[Path | None, typer.Option(help="File to write. Default: report.html in the folder, or printed.")] = None,
    markdown: Annotated[bool, typer.Option("--md", help="Markdown for a pull request instead of a page.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Every figure for a spreadsheet instead of a page.")] = False,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    quiet: shared.Quiet = False,
    debug: shared.Debug = False,
) -> None:
    """Make one page of a run or a study: verdict, criteria, figures, layers, samples. It opens from disk, offline."""
    with shared.reported(debug):
        if sum((markdown, csv, show)) > 1:
            raise OptionError("--md, --csv and --open exclude one another; type one of them")
        with shared.loading():
            from intact.report import brief, spreadsheet
            from intact.report.terminal import Output
            from intact.run.documents import read
            from intact.run.report import page_of

        output, documents = Output(quiet, False), read(run)
        if markdown or csv:
            made = (
                brief.to_markdown(documents.document, documents.details) if markdown else spreadsheet.to_csv(documents.document)
            )
            _give(made, out, output)
        else:
            path = out or documents.path / "report.html"
            files.write_text(path, page_of(documents))
            output.say(f"{path} is the page; it opens in any browser, without a network.")
            if show and not webbrowser.open(path.resolve().as_uri()):
                output.say("no browser could be started here; open the file in one")
        for note in documents.notes:
            output.line(f"note: {note}")


def compare(
    first: Annotated[Path, typer.Argument(metavar="RUN_A", help="The folder of a finished run.")],
    second: Annotated[Path, typer.Argument(metavar="RUN_B", help="The folder of another, or of the same one made later.")],
    markdown: Annotated[bool, typer.Option("--md", help="Print Markdown for a pull request.")] = False,
    out: Annotated[Path | None, typer.Option(help="File to write Markdown to.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Also what is the same, and every row.")] = False,
    quiet: shared.Quiet = False,
    as_json: shared.AsJson = False,
    debug: shared.Debug = False,
) -> None:
    """Say what changed between two runs: settings, plan, figures on the same samples, criteria, layers."""
    with shared.reported(debug):
        if as_json and (markdown or out is not None):
            raise OptionError("--json prints the record alone; leave out --md and --out, or --json")
        with shared.loading():
            from intact.report.comparison import compare as what_changed
            from intact.report.terminal import Output
            from intact.run.documents import sides

        output = Output(quiet, as_json)
        found = what_changed(*sides(first, second))
        if markdown or out is not None:
            _give(found.to_markdown(), out, output)
        else:
            _tell(found, output, verbose=verbose)
        output.document(found.to_json())


def _give(text: str, out: Path | None, output: Output) -> None:
    """Text on standard output, whole and alone, or in a file."""
    if out is None:
        sys.stdout.write(text)
    else:
        files.write_text(out, text)
        output.say(f"{out} is written.")


def _tell(found: Comparison, output: Output, *, verbose: bool) -> None:
    from rich.table import Table

    from intact.report.comparison import NOTICED, moved

    output.notes(found.notes)
    for title, changes in found.parts:
        rows = changes if verbose else moved(changes)
        if not rows:
            continue
        output.say("")
        output.say(title)
        if title == NOTICED:
            for row in rows:
                output.say(f"{found.names[0] if row.a else found.names[1]} only: {row.what}")
            continue
        table = Table(box=None, pad_edge=False)
        for column in ("", *found.names, ""):
            table.add_column(column, overflow="fold")
        for row in rows if verbose else rows[:_ROWS]:
            table.add_row(row.what, row.a, row.b, row.means)
        output.console.print(table)
        if not verbose and len(rows) > _ROWS:
            output.say(f"… and {len(rows) - _ROWS} more (--verbose)")
    if not any(moved(changes) for _, changes in found.parts):
        output.say("nothing changed")
