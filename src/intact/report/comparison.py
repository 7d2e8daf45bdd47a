"""What changed from one run to another, read off their documents: settings, the plan, figures, criteria, what was noticed.

Figures of accuracy and fidelity are compared only where both runs reported on the same samples; sizes, memory and time always.
Where both runs kept what a figure is of every sample, its change is taken in pairs and has an interval; elsewhere intervals
that do not meet are told from those that do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, TypeAlias, final

from intact.measure.by_sample import FILE, BySample, change
from intact.measure.criterion import is_of_samples
from intact.measure.measurement import Measurement
from intact.report.figures import is_loss, value_of
from intact.report.markdown import rendered
from intact.wording import counted, quantity, span

Document: TypeAlias = Mapping[str, Any]
SCHEMA: Final = "intact-comparison/1"
#: The title of what only one of the runs noticed.
NOTICED: Final = "Noticed"
#: Ops of which the share of the noise is told, those that moved most; a share that moved by less is not worth a row.
_MOVED: Final = 10
_LEAST: Final = 0.01
#: Which samples the integer file gives the class that float gives.
_AS_FLOAT: Final = ("quantized", "agreement with float")


@final
@dataclass(frozen=True)
class Change:
    """One thing that is in both runs or in one: ``what``, ``a`` and ``b`` as they are said, and what that ``means``.

    ``paired``: by how much the figure is larger in ``b``, sample by sample, as a measurement in JSON.
    """

    what: str
    a: str
    b: str
    means: str = ""
    paired: Mapping[str, Any] | None = None


@final
@dataclass(frozen=True)
class Comparison:
    """What changed. ``notes``: what cannot be compared and why, a sentence each; ``names``: what the runs are called."""

    names: tuple[str, str]
    notes: tuple[str, ...]
    settings: tuple[Change, ...]
    figures: tuple[Change, ...]
    criteria: tuple[Change, ...]
    plan: tuple[Change, ...]
    ops: tuple[Change, ...]
    samples: tuple[Change, ...]
    findings: tuple[Change, ...]

    @property
    def parts(self) -> tuple[tuple[str, tuple[Change, ...]], ...]:
        """The parts in the order in which they are told, with their titles, those that hold anything."""
        titled = (
            ("Figures", self.figures),
            ("Criteria", self.criteria),
            ("Settings", self.settings),
            ("Plan", self.plan),
            ("Share of the noise", self.ops),
            ("Samples of another class than float's", self.samples),
            (NOTICED, self.findings),
        )
        return tuple((title, changes) for title, changes in titled if changes)

    def to_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **asdict(self)}

    def to_markdown(self) -> str:
        return rendered("comparison.md.j2", {"names": self.names, "notes": self.notes, "parts": self.parts})


@final
@dataclass(frozen=True, eq=False)
class Side:
    """A run to compare: what it is called, its result.json, its details.json, plan.json and samples.npz, None where there is
    none, and what could not be read, a sentence each.
    """

    name: str
    result: Document
    details: Document | None
    plan: Document | None
    samples: BySample | None = None
    notes: tuple[str, ...] = field(default=())


def compare(a: Side, b: Side) -> Comparison:
    """What changed from ``a`` to ``b``."""
    same = a.result["samples"]["report"]["fingerprint"] == b.result["samples"]["report"]["fingerprint"]
    return Comparison(
        (a.name, b.name),
        tuple(_notes(a, b, same)),
        tuple(_settings(a, b)),
        tuple(_figures(a, b, same)),
        tuple(_criteria(a, b)),
        tuple(_plan(a, b)),
        tuple(_ops(a, b)),
        tuple(_samples(a, b)) if same else (),
        tuple(_findings(a, b)),
    )


def _notes(a: Side, b: Side, same: bool) -> Iterator[str]:
    if not same:
        n, m = (counted(side.result["samples"]["report"]["n"], "sample") for side in (a, b))
        yield (
            f"the runs report on different samples ({n} and {m}): accuracy and fidelity are not compared, only what is of the "
            "files; type the same --eval for both to compare all"
        )
    if a.result["source"]["float_tflite_sha256"] != b.result["source"]["float_tflite_sha256"]:
        yield "the runs are of different float networks: a change may come from there"
    if a.result["model"]["sha256"] == b.result["model"]["sha256"]:
        yield "both runs wrote the very same model.tflite: what differs is noise of measuring"
    if (x := a.result["versions"].get("cpu")) != (y := b.result["versions"].get("cpu")):
        yield f"times are of different machines ({x} and {y})"
    yield from (
        f"{side.name} has no {name}.json, so that {what} are not compared"
        for name, what in (("details", "ops and samples"), ("plan", "formats of tensors"))
        for side in (a, b)
        if (side.details if name == "details" else side.plan) is None
    )
    if same:
        yield from (
            f"{side.name} has no {FILE}, so that figures are compared by their intervals and not in pairs; make the run again "
            "with intact quantize --overwrite"
            for side in (a, b)
            if side.samples is None
        )
    yield from (*a.notes, *b.notes)


def _settings(a: Side, b: Side) -> Iterator[Change]:
    x, y = a.result["settings"], b.result["settings"]
    for name in dict.fromkeys((*x, *y)):
        if x.get(name) != y.get(name):
            yield Change(name, _said(x.get(name)), _said(y.get(name)))
    for what, key in (("float network", "source"), ("calibration samples", "calibration"), ("report samples", "report")):
        parts = [
            side.result[key]["sha256"] if key == "source" else side.result["samples"][key]["fingerprint"] for side in (a, b)
        ]
        if parts[0] != parts[1]:
            yield Change(what, f"{parts[0][:12]}…", f"{parts[1][:12]}…")


def _said(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return "default" if value is None else str(value)


def _figures(a: Side, b: Side, same: bool) -> Iterator[Change]:
    x, y = ({(m["of"], m["name"]): m for m in side.result["measurements"]} for side in (a, b))
    for of, name in dict.fromkeys((*x, *y)):
        first, second = x.get((of, name)), y.get((of, name))
        if not same and is_of_samples(name):
            continue
        what = name if of == "difference" else f"{name} of {of}"
        paired = _paired(a, b, first, second) if same else None
        if first is None or second is None:
            means = ""
        else:
            means = _means(first, second) if paired is None else _means_in_pairs(paired, second)
        yield Change(what, _said_of(first), _said_of(second), means, None if paired is None else paired.to_json())


def _paired(a: Side, b: Side, first: Document | None, second: Document | None) -> Measurement | None:
    """By how much a figure of both is larger in ``b``, where both runs kept what it is of every sample."""
    if first is None or second is None or first["unit"] != second["unit"]:
        return None
    x, y = (None if side.samples is None else side.samples.columns.get((first["of"], first["name"])) for side in (a, b))
    if x is None or y is None:
        return None
    return change(x, y, str(second["name"]), str(second["unit"]))


def _means_in_pairs(paired: Measurement, m: Document) -> str:
    """``more: +0.60 points (0.12 to 1.10)``."""
    value = f"{'+' if paired.value > 0 else ''}{quantity(paired.value, paired.unit)}"
    if paired.low is None or paired.high is None:
        return f"{value} ({paired.how})"
    said = "no clear change" if paired.low <= 0 <= paired.high else _by(0.0, paired.value, m)
    ends = span(paired.low, paired.high, paired.unit).removesuffix(value.lstrip("+-0123456789.,"))
    return f"{said}: {value} ({ends})"


def _said_of(m: Document | None) -> str:
    return "" if m is None else value_of(m)


def _means(a: Document, b: Document) -> str:
    """Whether two figures differ, by their intervals where they have some."""
    x, y = float(a["value"]), float(b["value"])
    if x == y:
        return "the same"
    if a["unit"] != b["unit"]:
        return "of different units"
    ends = [m[end] for m in (a, b) for end in ("low", "high")]
    if any(end is None for end in ends):
        return f"{y / x:.3g} times" if x and a["unit"] in {"bytes", "ms", "ops", "x"} else _by(x, y, a)
    low_a, high_a, low_b, high_b = map(float, ends)
    if low_a <= high_b and low_b <= high_a:
        return "within both intervals"
    return _by(x, y, a)


def _by(x: float, y: float, m: Document) -> str:
    if is_loss(m):
        return "more is lost" if y > x else "less is lost"
    return "more" if y > x else "less"


def _criteria(a: Side, b: Side) -> Iterator[Change]:
    x, y = ({c["criterion"]: c["status"] for c in side.result.get("criteria") or ()} for side in (a, b))
    for name in dict.fromkeys((*x, *y)):
        yield Change(name, x.get(name, "not asked"), y.get(name, "not asked"), "" if x.get(name) == y.get(name) else "changed")


def _plan(a: Side, b: Side) -> Iterator[Change]:
    """How many tensors went from which format to which, then those of the same format whose range moved most."""
    if a.plan is None or b.plan is None:
        return
    x, y = ({t["id"]: t for t in side.plan["tensors"]} for side in (a, b) if side.plan is not None)
    both = [(x[i], y[i]) for i in x if i in y]
    moved = Counter((_format(p), _format(q)) for p, q in both if _format(p) != _format(q))
    for (before, after), n in moved.most_common():
        yield Change(counted(n, "tensor"), before, after)
    scaled = sum(p["scale"] != q["scale"] or p["zero_point"] != q["zero_point"] for p, q in both if _format(p) == _format(q))
    if scaled:
        yield Change(counted(scaled, "tensor"), "another scale", "another scale", "of the same format")
    for side, other, where in ((x, y, "first"), (y, x, "second")):
        if alone := len(side.keys() - other.keys()):
            yield Change(counted(alone, "tensor"), "there" if where == "first" else "", "" if where == "first" else "there")


def _format(tensor: Document) -> str:
    if own := tensor.get("block_scales"):
        return f"{tensor['dtype']} per block of {own['size']}"
    return f"{tensor['dtype']}{'' if tensor.get('axis') is None else ' per channel'}"


def _ops(a: Side, b: Side) -> Iterator[Change]:
    if a.details is None or b.details is None:
        return
    x, y = ({op["op"]: op["noise_share"] for op in side["ops"]} for side in (a.details, b.details))
    both = [(op, x[op], y[op]) for op in x if isinstance(x[op], float) and isinstance(y.get(op), float)]
    for op, before, after in sorted(both, key=lambda row: -abs(row[1] - row[2]))[:_MOVED]:
        if abs(before - after) >= _LEAST:
            yield Change(op, f"{100 * before:.1f} %", f"{100 * after:.1f} %")


def _samples(a: Side, b: Side) -> Iterator[Change]:
    """Who changed class in one run and not in the other where both details name all that did; else how many."""
    held = [side.details["changed"] for side in (a, b) if side.details is not None and side.details.get("changed") is not None]
    if len(held) < 2 or any(len(changed["shown"]) < changed["n"] for changed in held):
        yield from _sample_counts(a, b)
        return
    x, y = ({s["sample"] for s in changed["shown"]} for changed in held)
    yield Change("in both", f"{len(x & y):,}", f"{len(x & y):,}")
    for name in sorted(x - y):
        yield Change(name, "another class", "as float")
    for name in sorted(y - x):
        yield Change(name, "as float", "another class")


def _sample_counts(a: Side, b: Side) -> Iterator[Change]:
    same = [side.samples.columns.get(_AS_FLOAT) for side in (a, b) if side.samples is not None]
    x, y = same if len(same) == 2 else (None, None)
    if x is None or y is None or x.shape != y.shape:
        return
    first, second = x == 0, y == 0
    both, only_a, only_b = (int(which.sum()) for which in (first & second, first & ~second, ~first & second))
    yield Change("in both", f"{both:,}", f"{both:,}")
    yield Change("in one alone", f"{only_a:,}", f"{only_b:,}")


def _findings(a: Side, b: Side) -> Iterator[Change]:
    x, y = ([f["message"] for f in side.result["findings"]] for side in (a, b))
    yield from (Change(message, "noticed", "") for message in x if message not in y)
    yield from (Change(message, "", "noticed") for message in y if message not in x)


def moved(changes: Sequence[Change]) -> tuple[Change, ...]:
    """The changes that are some: what is the same in both left out."""
    return tuple(c for c in changes if c.a != c.b and c.means != "the same")
