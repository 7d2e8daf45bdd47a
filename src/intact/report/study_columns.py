"""Which figures of a study stand in its tables, under which heads, and how each is written.

Reads study.json, the same for the terminal and for Markdown.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, TypeAlias, final

from intact.measure.criterion import base
from intact.report.numbers import number
from intact.report.study_decision import worst
from intact.wording import quantity

Row: TypeAlias = Mapping[str, Any]
#: Who says what each of several runs says.
ALL: Final = "all"


def _plain(x: float) -> str:
    return number(x)


def _share(x: float) -> str:
    return f"{x:.2f}"


def _bytes(x: float) -> str:
    """``28208 -> 28.2 KB``, as everywhere."""
    return quantity(x, "bytes")


def _times(x: float) -> str:
    return f"{x:.2f} x"


@final
@dataclass(frozen=True)
class Column:
    """One figure: its name in the rows, its head, and how its value is written. ``short``: its head in a terminal, if it is
    shown there. ``least``: of the output that has the least, where each has one of its own.
    """

    figure: str
    head: str
    write: Callable[[float], str] = _plain
    short: str = ""
    least: bool = False

    def cell(self, row: Row) -> str:
        """The value; nothing where a row has none."""
        name = worst(row, self.figure, -1) if self.least else self.figure
        figure = row["figures"].get(name)
        if figure is None:
            return ""
        x = float(figure["value"])
        return "" if math.isnan(x) else number(x) if math.isinf(x) else self.write(x)

    def spread(self, row: Row) -> str:
        """The value with its quartiles, and with its standard deviation where there is one, else with its interval."""
        return "".join([self.cell(row), *(f", {part}" if part.startswith("mean") else f" {part}" for part in self.beside(row))])

    def beside(self, row: Row) -> list[str]:
        """What :meth:`spread` says after the value."""
        figure, told = row["figures"].get(self.figure), []
        if not self.cell(row):
            return []
        if figure.get("quartiles"):
            told.append("(quartiles {}, {})".format(*map(number, figure["quartiles"])))
        low, high = figure["low"], figure["high"]
        if figure["std"] is not None and figure["mean"] is not None:
            told.append(f"mean {self.write(float(figure['mean']))} ± {number(figure['std'])} of {figure['n']}")
        elif None not in (low, high) and math.isfinite(float(low)) and math.isfinite(float(high)) and low != high:
            told.append(f"[{self.write(float(low))}, {self.write(float(high))}]")
        return told


COLUMNS: Final = (
    Column("top-1 accuracy", "top-1, %", _share, "top-1 %"),
    Column("top-5 accuracy", "top-5, %", _share),
    Column("cross entropy", "cross entropy, nats"),
    Column("accuracy drop", "drop, points", _share, "drop"),
    Column("cross entropy increase", "cross entropy more, nats"),
    Column("agreement with float", "agreement, %", _share, "agree %"),
    Column("agreement with LiteRT", "as LiteRT, %", _share),
    Column("SQNR beside LiteRT", "SQNR beside LiteRT, dB", lambda x: f"{x:.1f}"),
    Column("SQNR", "SQNR, dB", lambda x: f"{x:.1f}", "dB"),
    Column("SQNR of the worst channel", "SQNR of the worst channel, dB", lambda x: f"{x:.1f}"),
    Column("file size", "file", _bytes, "file"),
    Column("size ratio", "float .tflite / file", _times),
    Column("size ratio to the file given", "file given / file", _times),
    Column("bytes of weights", "weights", _bytes),
    Column("weights ratio", "weights ratio", _times),
    Column("weights ratio in theory", "in theory", _times),
    Column("latency", "latency, ms", _plain, "ms"),
    Column("speed-up", "speed-up", _times, "speed-up"),
    Column("speed-up over LiteRT", "over LiteRT", _times),
    Column("throughput at batch 1", "samples/s at batch 1"),
    Column("throughput at batch 32", "at batch 32"),
    Column("peak live activations", "peak activations", _bytes),
    Column("TFLM arena", "TFLM arena", _bytes),
    Column("resident memory", "resident memory", _bytes),
    Column("ops in float", "ops in float"),
    Column("parameters", "parameters"),
    Column("multiply-accumulates", "multiply-accumulates"),
)
_PLACES: Final = MappingProxyType({column.figure: n for n, column in enumerate(COLUMNS)})
#: What stands in a narrow table where there are no classes: the figures of the outputs.
_WITHOUT_CLASSES: Final = ("agreement with float", "SQNR")


def columns(rows: Sequence[Row], *, narrow: bool = False) -> list[Column]:
    """The columns that any of the rows has a figure for: all of them, or those that fit 80 characters.

    A figure of one of several outputs, or of other threads, has a column of its own in wide tables, beside those of its kind.
    """
    names = list(dict.fromkeys(name for row in rows for name in row["figures"]))
    if narrow:
        found = [column for column in COLUMNS if column.figure in names and any(column.cell(row) for row in rows)]
        plain = [Column(name, name, _plain, name) for name in names if name.endswith((" drop", " increase"))][:1]
        true = [replace(c, least=True) for c in COLUMNS if c.figure in _WITHOUT_CLASSES]
        lost = () if "accuracy drop" in names else plain or [c for c in true if any(c.cell(row) for row in rows)]
        return [*lost, *(c for c in found if c.short and c.figure not in _WITHOUT_CLASSES)]
    placed = sorted(filter(None, map(_placed, names)), key=lambda each: each[0])
    return [column for _, column in placed if any(column.cell(row) for row in rows)]


def _placed(name: str) -> tuple[int, Column] | None:
    """The column of a figure and its place among :data:`COLUMNS`; None for a figure that a table does not show."""
    kind = next((k for k in (name, base(name)) if k in _PLACES), None)
    kind = kind or next((k for k in _PLACES if name.startswith(f"{k}, ")), None)
    if kind is None:
        return (_PLACES["accuracy drop"], Column(name, name)) if name.endswith((" drop", " increase")) else None
    column = COLUMNS[_PLACES[kind]]
    if kind == name:
        return _PLACES[kind], column
    head, _, unit = column.head.partition(", ")
    called = f"{head} {name.removeprefix(kind).strip(' ,')}"
    return _PLACES[kind], replace(column, figure=name, head=f"{called}, {unit}" if unit else called)


def how_taken(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """How each figure was taken, once where it is the same for all rows, else with the names of the rows it holds for."""
    found: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        for name, figure in row["figures"].items():
            found.setdefault(name, {}).setdefault(figure["how"], []).append(row["name"])
    return [
        (name if len(hows) == 1 else f"{name} ({', '.join(of)})", how)
        for name, hows in found.items()
        for how, of in hows.items()
    ]


#: What a matrix of device and precision is of.
MATRICES: Final = (
    ("Accuracy", ("top-1 accuracy", "agreement with float", "SQNR")),
    ("Size", ("file size",)),
    ("Time", ("latency",)),
    ("Memory", ("peak live activations",)),
    ("Throughput", ("throughput at batch 1",)),
    ("Throughput in batches", ("throughput at batch 32",)),
)


def place(row: Row) -> str:
    """Where a row's file runs: a target; or a runtime, with the target that it was planned for where there are several."""
    runtime, target = row.get("runtime"), row["target"]
    return target if runtime is None else runtime if runtime == target else f"{runtime}, for {target}"


#: What a device is in words.
_DEVICES: Final[Mapping[str, str]] = {"mcu": "microcontroller", "gpu": "GPU"}


def runtimes(rows: Sequence[Row]) -> list[tuple[str, str, str, str]]:
    """Each runtime that was named, with what it was planned for, what it runs on, and what its files are called; where nothing
    ran in it, why most of its rows did not.
    """
    found: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if row.get("runtime") is not None:
            device = str(row.get("device") or "")
            found.setdefault((row["runtime"], row["target"], _DEVICES.get(device, device)), []).append(row)
    return [(*where, _files(own)) for where, own in found.items()]


def _files(rows: Sequence[Row]) -> str:
    named = dict.fromkeys(str(path).rpartition("/")[2] for row in rows for path in row.get("files") or ())
    reasons = Counter(str(row["why"]) for row in rows if row["status"] == "failed")
    return ", ".join(named) or (reasons.most_common(1)[0][0] if len(rows) == reasons.total() else "not finished")


def failures(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Each reason why rows could not be had, after their names."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row["status"] == "failed":
            found.setdefault(str(row["why"]), []).append(str(row["name"]))
    return [(", ".join(names), why) for why, names in found.items()]


def findings(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """What runs found out, each after the names of the rows that say it; first, after "all", what each of several does."""
    done = [row for row in rows if row["status"] != "failed"]
    found: dict[str, list[str]] = {}
    for row in done:
        for finding in row.get("findings") or ():
            found.setdefault(str(finding["message"]), []).append(str(row["name"]))
    told = [(ALL if 1 < len(names) == len(done) else ", ".join(names), message) for message, names in found.items()]
    return sorted(told, key=lambda each: each[0] != ALL)


def matrices(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Tables of target against scheme, one for each model and figure: the best of the variants in a cell comes first there."""
    made = []
    known = {column.figure: column for column in COLUMNS}
    for model in dict.fromkeys(row["model"] for row in rows):
        own = [row for row in rows if row["model"] == model]
        targets, schemes = (list(dict.fromkeys(of(row) for row in own)) for of in (place, lambda row: row["scheme"]))
        for title, figures in MATRICES:
            column = next((known[f] for f in figures if any(known[f].cell(row) for row in own)), None)
            column = column or next((c for c in map(_least, figures) if any(c.cell(row) for row in own)), None)
            if column is None:
                continue
            cells = [
                [_in_cell(column, [r for r in own if (place(r), r["scheme"]) == (target, scheme)]) for scheme in schemes]
                for target in targets
            ]
            told = [(target, line) for target, line in zip(targets, cells, strict=True) if any(line)]
            made.append({"model": model, "title": title, "head": column.head, "schemes": schemes})
            made[-1] |= {"targets": [target for target, _ in told], "cells": [line for _, line in told]}
    return made


def _least(figure: str) -> Column:
    """The figure of the output that has the least of it."""
    column = next(c for c in COLUMNS if c.figure == figure)
    head, _, unit = column.head.partition(", ")
    return replace(column, head=f"{head} of the output that has least, {unit}", least=True)


def _in_cell(column: Column, rows: Sequence[Row]) -> str:
    told = [column.cell(row) for row in rows]
    return " / ".join(dict.fromkeys(text for text in told if text))
