"""How terminal, Markdown and page say the same: a verdict in a sentence, criteria, and the five figures that matter.

All of it is read off the document that :mod:`intact.report.record` makes, or an older one without criteria.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, final

from intact.errors import OptionError
from intact.measure.criterion import base, parse
from intact.measure.criterion_figures import UNITS
from intact.wording import counted, quantity, span, three

Document: TypeAlias = Mapping[str, Any]
#: A figure as ``measurements`` of a document has it.
Row: TypeAlias = Mapping[str, Any]

#: What figures of a difference are a gain or a loss of, for values above 1 and below.
_TIMES: Final = {
    "speed-up": ("faster", "slower"),
    "size ratio": ("smaller", "larger"),
    "size ratio to the file given": ("smaller", "larger"),
    "weights ratio": ("smaller", "larger"),
    "weights ratio in theory": ("smaller", "larger"),
    "peak memory ratio": ("less", "more"),
}
#: How criteria went, in a word each.
STATUS: Final = {"pass": "met", "fail": "not met", "inconclusive": "open"}
_SMALLER: Final = "size ratio"
#: Bytes of the file for a device that decodes weights.
_PACKED: Final = "packed file size"


@final
@dataclass(frozen=True)
class Headline:
    """One of the five figures that matter. Texts, empty where there is nothing to say.

    ``float`` and ``integer``: what either file has; ``change``: from the one to the other, with ``interval``, its 95 %
    interval in words; ``how`` it was taken.
    """

    name: str
    float: str = ""
    integer: str = ""
    change: str = ""
    interval: str = ""
    how: str = ""

    @property
    def change_in_full(self) -> str:
        """``0.11 points better (0.63 better to 0.31 worse)``."""
        return f"{self.change} ({self.interval})" if self.interval else self.change


@final
@dataclass(frozen=True)
class CriterionRow:
    """A criterion as a table has it. ``measured`` is in the unit that was typed, ``word`` is met, not met or open."""

    criterion: str
    status: str
    word: str
    measured: str
    interval: str
    why: str


# ---- one figure -----------------------------------------------------------------------------------------------------------


def value_of(row: Row) -> str:
    """What a figure is: ``98.67 %``, ``0.11 points better``, ``1.89x faster``, ``112 KB``, ``1 step``."""
    value, name = float(row["value"]), str(row["name"])
    if name in _TIMES and value > 0:
        return _times(value, *_TIMES[name])
    return change(value, row["unit"]) if is_loss(row) else quantity(value, row["unit"])


def interval_of(row: Row) -> str:
    """Its 95 % interval: ``97.68 % to 99.23 %``, ``0.63 better to 0.31 worse``; empty where there is none."""
    low, high = row.get("low"), row.get("high")
    if low is None or high is None or float(low) == float(high) == math.inf:
        return ""
    low, high = float(low), float(high)
    name = str(row["name"])
    if name in _TIMES and low > 0:
        return _times_between(low, high, *_TIMES[name])
    if not is_loss(row):
        return span(low, high, row["unit"])
    sides = ["better" if end < 0 else "worse" for end in (low, high)]
    ends = [_bare(abs(end), row["unit"]) for end in (low, high)]
    if sides[0] == sides[1]:
        order = ends if sides[0] == "worse" else ends[::-1]
        return f"{order[0]} to {order[1]} {sides[0]}"
    return f"{ends[0]} better to {ends[1]} worse"


def is_loss(row: Row) -> bool:
    """Whether a figure is what the integer file loses: above 0 is worse."""
    return str(row["of"]) not in {"float", "quantized"} and str(row["name"]).endswith((" drop", " increase"))


def change(loss: float, unit: str) -> str:
    """``-0.1112, "percentage points" -> "0.11 points better"``."""
    if loss == 0:
        return "no change"
    if math.isnan(loss):
        return "undefined"
    return f"{quantity(abs(loss), unit)} {'worse' if loss > 0 else 'better'}"


def _bare(value: float, unit: str) -> str:
    """Without its unit, where the value beside it has it."""
    return quantity(value, unit).removesuffix(" points").removesuffix(f" {unit}")


def _times(ratio: float, more: str, less: str) -> str:
    return f"{quantity(ratio, 'x')} {more}" if ratio >= 1 else f"{quantity(1 / ratio, 'x')} {less}"


def _times_between(low: float, high: float, more: str, less: str) -> str:
    """``1.88 to 1.90x``; of what is less than one, how many times it is less."""
    if low < 1 < high:
        return f"{_times(low, more, less)} to {_times(high, more, less)}"
    return span(low, high, "x") if low >= 1 else span(1 / high, 1 / low, "x")


# ---- criteria -------------------------------------------------------------------------------------------------------------


def criteria(document: Document) -> tuple[CriterionRow, ...]:
    """The criteria of a run, in the order in which they were given."""
    return tuple(_criterion(row) for row in document.get("criteria") or ())


def _criterion(row: Row) -> CriterionRow:
    unit, typed = str(row["unit"]), _typed(str(row["criterion"]))
    measured, ends = "not measured", ""
    if row["value"] is not None:
        read = {"name": row["figure"], "of": row["of"], "unit": unit, **{key: row[key] for key in ("value", "low", "high")}}
        scale = UNITS.get(unit, {}).get(typed.casefold(), 0) if unit in {"bytes", "ms"} else 0
        measured = f"{three(float(row['value']) / scale)} {typed}" if scale else value_of(read)
        ends = interval_of(read)
        if scale and ends:
            ends = f"{three(float(row['low']) / scale)} to {three(float(row['high']) / scale)} {typed}"
    status = str(row["status"])
    return CriterionRow(str(row["criterion"]), status, STATUS.get(status, status), measured, ends, str(row["why"]))


def _typed(text: str) -> str:
    try:
        return parse(text).typed
    except OptionError:  # by another version
        return ""


# ---- the verdict ----------------------------------------------------------------------------------------------------------


def sentence(document: Document) -> str:
    """The verdict in one sentence: what was asked for and came of it, else what the file costs and gives."""
    rows, verdict = criteria(document), document.get("verdict")
    if rows:
        return _of_criteria(rows, document.get("acceptance"))
    if verdict is not None and verdict.get("loss"):
        return _of_verdict(verdict)
    return _plainly(document)


def _of_criteria(rows: tuple[CriterionRow, ...], acceptance: Row | None) -> str:
    failed, opened = ([r for r in rows if r.status == status] for status in ("fail", "inconclusive"))
    word = (acceptance or {}).get("status") or ("rejected" if failed else "accepted with limitation" if opened else "accepted")
    said = str(word).capitalize()
    if failed:
        which = "; ".join(f"{r.criterion}: {r.measured}" for r in failed)
        return f"{said}: {_share(len(failed), len(rows))} not met ({which})."
    if opened:
        which = "; ".join(f"{r.criterion}: {r.measured}" for r in opened)
        missed = (
            "the criterion is open" if len(rows) == 1 else f"none of {len(rows)} criteria is missed, {_is(len(opened))} open"
        )
        return f"{said}: {missed} ({which})."
    met = {1: "the criterion is met", 2: "both criteria are met"}.get(len(rows), f"all {_criteria(len(rows))} are met")
    limited = (acceptance or {}).get("limitations") or ()
    return (
        f"{said}: {met}, but {counted(len(limited), 'finding')} limit{'s' * (len(limited) == 1)} its use."
        if limited
        else (f"{said}: {met}.")
    )


def _criteria(n: int) -> str:
    return "1 criterion" if n == 1 else f"{n} criteria"


def _share(n: int, of: int) -> str:
    return "the criterion is" if of == 1 else f"{n} of {of} criteria {'is' if n == 1 else 'are'}"


def _is(n: int) -> str:
    return f"{n} {'is' if n == 1 else 'are'}"


def _of_verdict(verdict: Row) -> str:
    loss = {"of": "difference", **verdict["loss"]}
    if loss["name"] == "disagreement with float":
        found = f"{quantity(float(loss['value']), '%')} of the samples get another class"
        allowed = f"{quantity(float(verdict['limit']), '%')} may"
    else:
        what = base(str(loss["name"])).removesuffix(" drop").removesuffix(" increase")
        found = value_of(loss) if what == "accuracy" else f"{what} {value_of(loss)}"
        allowed = f"{quantity(float(verdict['limit']), loss['unit'])} may be lost"
    words = {"pass": "Within the limit", "fail": "The limit is missed", "inconclusive": "Inconclusive"}
    interval = interval_of(loss)
    said = f"{words.get(verdict['status'], verdict['status'])}: {found}{f' ({interval})' if interval else ''}, {allowed}"
    needed = verdict.get("needs_about_n")
    return f"{said}; about {needed:,} samples would settle it." if needed else f"{said}."


def _plainly(document: Document) -> str:
    figures = _Figures(document)
    drop = figures.loss()
    agreed = figures.worst("agreement with float")
    pixels = figures.worst("pixels of the same class")
    true = figures.worst("SQNR without the mean") or figures.worst("SQNR")
    parts = []
    if drop is not None:
        parts.append(_changed(drop))
    elif agreed is not None:
        parts.append(f"the same class as float on {value_of(agreed)} of the samples")
    elif pixels is not None:
        parts.append(f"the same class as float on {value_of(pixels)} of the pixels")
    elif true is not None:
        parts.append(f"{value_of(true)} true to float")
    smaller, faster = figures.smaller(), figures.get("speed-up", "difference")
    parts += [value_of(row) for row in (smaller, faster) if row is not None]
    about = f"{document['settings']['scheme']} for {document['settings']['target']}"
    if not parts:
        return f"{about}: written, and nothing was measured."
    listed = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return f"{about}: {listed}; no limit was given."


def _changed(loss: Row) -> str:
    what = base(str(loss["name"])).removesuffix(" drop").removesuffix(" increase")
    if float(loss["value"]) == 0:
        return f"{what} as that of float"
    return f"{what} {value_of(loss)} than float's"


# ---- the five figures -----------------------------------------------------------------------------------------------------


@final
class _Figures:
    """The measurements of a document by name and whose they are."""

    def __init__(self, document: Document) -> None:
        self.rows: tuple[Row, ...] = tuple(document.get("measurements") or ())

    def get(self, name: str, of: str = "quantized") -> Row | None:
        return next((r for r in self.rows if (r["of"], r["name"]) == (of, name)), None)

    def each(self, name: str) -> list[Row]:
        """A figure of every output."""
        return [r for r in self.rows if r["of"] == "quantized" and base(str(r["name"])) == name]

    def worst(self, name: str) -> Row | None:
        """A figure of that output which does worst, where more is better."""
        return min(self.each(name), key=lambda r: float(r["value"]), default=None)

    def loss(self) -> Row | None:
        """What is lost of accuracy, or of a metric."""
        lost = [r for r in self.rows if is_loss(r) and not str(r["name"]).startswith(("top-5", "cross entropy"))]
        return lost[0] if lost else None

    def scores(self) -> tuple[Row | None, Row | None]:
        """The accuracy of both files, or their metric."""
        loss = self.loss()
        name = None if loss is None else str(loss["name"]).removesuffix(" drop").removesuffix(" increase")
        name = "top-1 accuracy" if name == "accuracy" else name
        return (None, None) if name is None else (self.get(name, "float"), self.get(name))

    def size(self) -> Row | None:
        """Bytes of the file for the device: the packed one, where there is one."""
        return self.get(_PACKED) or self.get("file size")

    def smaller(self) -> Row | None:
        """How many times smaller that file is than float's, measured as such or by the sizes of both."""
        if (packed := self.get(_PACKED)) is not None:
            return _over(_SMALLER, self.get("file size", "float"), packed)
        return self.get(_SMALLER, "difference") or _over(_SMALLER, self.get("file size", "float"), self.get("file size"))

    def less_memory(self) -> Row | None:
        name = "peak live activations"
        return _over("peak memory ratio", self.get(name, "float"), self.get(name))


def _over(called: str, a: Row | None, b: Row | None) -> Row | None:
    """How many times as large as ``b`` the figure ``a`` is."""
    if a is None or b is None or not float(b["value"]):
        return None
    value = float(a["value"]) / float(b["value"])
    return {"of": "difference", "name": called, "value": value, "unit": "x", "low": None, "high": None, "how": b["how"]}


def five(document: Document) -> tuple[Headline, ...]:
    """The figures that matter, five where all were measured: what the outputs are worth in two of them, then size, latency and
    peak memory. Of classes with labels the accuracy and its drop, with a metric that and what is lost of it; of classes
    without labels the agreement; else how true the outputs are.
    """
    figures = _Figures(document)
    packed, live = figures.get(_PACKED) is not None, "peak live activations"
    sized = (
        ("packed size" if packed else "size", figures.get("file size", "float"), figures.size(), figures.smaller()),
        ("latency", figures.get("latency", "float"), figures.get("latency"), figures.get("speed-up", "difference")),
        ("peak memory", figures.get(live, "float"), figures.get(live), figures.less_memory()),
    )
    rows = (_beside(called, a, b, ratio) for called, a, b, ratio in sized if b is not None)
    return (*_worth(figures), *rows)


def _worth(figures: _Figures) -> Iterable[Headline]:
    loss, (exact, made) = figures.loss(), figures.scores()
    if loss is not None:
        if made is not None:
            name = "accuracy" if made["name"] == "top-1 accuracy" else str(made["name"])
            yield _beside(name, exact, made, None)
        lost = "drop" if loss["name"] == "accuracy drop" else str(loss["name"])
        yield Headline(lost, change=value_of(loss), interval=interval_of(loss), how=str(loss["how"]))
        return
    named = (
        ("agreement", "agreement with float"), ("same pixels", "pixels of the same class"), ("equal numbers", "equal numbers"),
        ("SQNR", "SQNR"), ("without mean", "SQNR without the mean"),
    )  # fmt: skip
    found = [(called, figures.each(name)) for called, name in named]
    for called, rows in [(called, rows) for called, rows in found if rows][:2]:
        worst = min(rows, key=lambda r: float(r["value"]))
        least = f"the least of {counted(len(rows), 'output')}" if len(rows) > 1 else ""
        yield Headline(called, "", value_of(worst), least, interval_of(worst), str(worst["how"]))


def _beside(called: str, a: Row | None, b: Row | None, ratio: Row | None) -> Headline:
    exact, made, changed = ("" if row is None else value_of(row) for row in (a, b, ratio))
    told = ratio if ratio is not None and ratio["name"] == "speed-up" else b
    interval = "" if ratio is None else interval_of(ratio)
    return Headline(called, exact, made, changed, interval, "" if told is None else str(told["how"]))
