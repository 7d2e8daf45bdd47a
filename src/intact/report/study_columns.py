"""Which figures of a study stand in its tables, under which heads, and how each is written.

Reads study.json, the same for the terminal and for Markdown.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, final

from intact.report.numbers import number
from intact.wording import quantity

Row: TypeAlias = Mapping[str, Any]


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
    shown there.
    """

    figure: str
    head: str
    write: Callable[[float], str] = _plain
    short: str = ""

    def cell(self, row: Row) -> str:
        """The value; nothing where a row has none."""
        figure = row["figures"].get(self.figure)
        if figure is None:
            return ""
        x = float(figure["value"])
        return "" if math.isnan(x) else number(x) if math.isinf(x) else self.write(x)

    def spread(self, row: Row) -> str:
        """The value with its standard deviation, where there is one, else with its interval."""
        figure, told = row["figures"].get(self.figure), self.cell(row)
        if not told:
            return ""
        if figure.get("quartiles"):
            told += " (quartiles {}, {})".format(*map(number, figure["quartiles"]))
        if figure["std"] is not None and figure["mean"] is not None:
            return f"{told}, mean {self.write(float(figure['mean']))} ± {number(figure['std'])} of {figure['n']}"
        low, high = figure["low"], figure["high"]
        if low is None or high is None or not math.isfinite(float(low)) or not math.isfinite(float(high)) or low == high:
            return told
        return f"{told} [{self.write(float(low))}, {self.write(float(high))}]"


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
#: What stands in a narrow table where there are no classes: the figures of the outputs.
_WITHOUT_CLASSES: Final = ("agreement with float", "SQNR")


def columns(rows: Sequence[Row], *, narrow: bool = False) -> list[Column]:
    """The columns that any of the rows has a figure for: all of them, or those that fit 80 characters.

    A figure of one of several outputs, or of other threads, has a column of its own in wide tables.
    """
    names = list(dict.fromkeys(name for row in rows for name in row["figures"]))
    found = [column for column in COLUMNS if column.figure in names and any(column.cell(row) for row in rows)]
    if narrow:
        plain = [Column(name, name, _plain, name) for name in names if name.endswith((" drop", " increase"))][:1]
        lost = () if "accuracy drop" in names else plain or [c for c in found if c.figure in _WITHOUT_CLASSES]
        return [*lost, *(c for c in found if c.short and c.figure not in _WITHOUT_CLASSES)]
    known = {column.figure: column for column in COLUMNS}
    for name in names:
        base = next((known[k] for k in known if name.startswith((f"{k}, ", f"{k} of "))), None)
        if base is not None:
            found.append(Column(name, f"{base.head} {name.removeprefix(base.figure).strip(' ,')}", base.write))
        elif name.endswith((" drop", " increase")) and name not in known:
            found.append(Column(name, name))
    return found


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


def matrices(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Tables of target against scheme, one for each model and figure: the best of the variants in a cell comes first there."""
    made = []
    known = {column.figure: column for column in COLUMNS}
    for model in dict.fromkeys(row["model"] for row in rows):
        own = [row for row in rows if row["model"] == model]
        targets, schemes = (list(dict.fromkeys(of(row) for row in own)) for of in (place, lambda row: row["scheme"]))
        for title, figures in MATRICES:
            column = next((known[f] for f in figures if any(known[f].cell(row) for row in own)), None)
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


def _in_cell(column: Column, rows: Sequence[Row]) -> str:
    told = [column.cell(row) for row in rows]
    return " / ".join(dict.fromkeys(text for text in told if text))
