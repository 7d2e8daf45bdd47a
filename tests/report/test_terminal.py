"""What reaches a terminal: names as they are, whatever they hold."""

import io
import json
import re
import sys

import pytest
from rich.table import Table
from rich.text import Text

from intact.measure.figures import Reading
from intact.measure.measurement import Measurement
from intact.report.terminal import Output

NAMES = {
    "[red]x[/red]": "[red]x[/red]",
    ":bomb: [/]": ":bomb: [/]",
    "a\x1b[2Jb": r"a\x1b[2Jb",
    "a\nb\rc": r"a\nb\rc",
    "a\u202eb\udc80": r"a\u202eb\udc80",
    "é漢字": "é漢字",
    "\\[x] \\": "\\[x] \\",
}


def printed(capsys):
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    return said.out


@pytest.mark.parametrize("name", NAMES)
def test_names_are_said_as_they_are(capsys, name):
    output = Output(quiet=False, json=False)
    output.say(f"of {name}")
    output.notes([name])
    output.console.print(f"input {name}")
    assert printed(capsys).splitlines() == [f"of {NAMES[name]}", f"note: {NAMES[name]}", f"input {NAMES[name]}"]
    output.line(name)
    assert capsys.readouterr().err == NAMES[name] + "\n"


@pytest.mark.parametrize("name", NAMES)
def test_names_stand_in_tables_as_they_are(capsys, name):
    output = Output(quiet=False, json=False)
    table = Table(title=name, box=None)
    table.add_column(name)
    table.add_row(name)
    output.wide(table)
    assert printed(capsys).count(NAMES[name]) == 3
    output.readings(name, (Reading(name, Measurement("accuracy", 1.0, "%", None, None, "", 1)),))
    assert printed(capsys).count(NAMES[name]) == 2


@pytest.mark.parametrize("name", NAMES)
def test_names_stand_beside_the_bars_as_they_are(monkeypatch, name):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "150")
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with Output(quiet=False, json=False).progress() as progress:
        progress(f"run {name}", 1, 2)
        progress(f"run {name}", 2, 2)
    seen = screen.getvalue()
    assert f"run {NAMES[name]}" in seen
    assert "\x1b[2Jb" not in seen
    assert "\udc80" not in seen


def test_a_terminal_without_the_letters_gets_their_numbers(monkeypatch):
    data = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(data, "ascii"))
    output = Output(quiet=False, json=False)
    output.say("é 漢 …")
    sys.stdout.flush()
    assert data.getvalue() == rb"\xe9 \u6f22 \u2026" + b"\n"


def test_json_is_ascii_and_whole(capsys):
    document = {name: name for name in NAMES}
    Output(quiet=False, json=True).document(document)
    said = capsys.readouterr().out
    assert said.isascii()
    assert all(c.isprintable() or c == "\n" for c in said)
    assert json.loads(said) == document


@pytest.mark.parametrize("colour", [False, True])
def test_rows_end_where_their_text_ends(capsys, monkeypatch, colour):
    monkeypatch.setenv("FORCE_COLOR" if colour else "NO_COLOR", "1")
    table = Table(box=None, pad_edge=False)
    for name in ("name", ""):
        table.add_column(name)
    for said in ("", "failed", "[/x] red"):
        table.add_row("net", Text(said, style="red"))
    output = Output(quiet=False, json=False)
    output.console.print(table)
    output.say("ends in blanks   ")
    printed = capsys.readouterr().out
    assert ("\x1b[31m" in printed) == colour
    plain = re.sub(r"\x1b\[[0-9;]*m", "", printed).splitlines()
    assert [line.split() for line in plain] == [
        ["name"], ["net"], ["net", "failed"], ["net", "[/x]", "red"], ["ends", "in", "blanks"],
    ]  # fmt: skip
    assert plain == [line.rstrip() for line in plain]
