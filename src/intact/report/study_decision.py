"""Which variant of a study to take on each device, and why none of the others.

Of those that pass every criterion: on a device that is timed here the fastest, where times within 5 % are alike, then the
smallest file, then the least lost; on a device that no time here speaks for, the smallest file, then the least memory, then
the least lost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from intact.measure.criterion import base
from intact.wording import quantity

Row: TypeAlias = Mapping[str, Any]
#: Times within this part of each other are alike.
_ALIKE: Final = 0.05
#: Figures of what is lost, the first that is there; those of which more is better count the other way.
_LOSSES: Final = (("drop", 1), ("increase", 1), ("agreement with float", -1), ("SQNR", -1))
#: Devices that this machine's times speak for.
_TIMED_HERE: Final = frozenset({"cpu", "gpu"})


def device(row: Row) -> str:
    """What a row's file runs on; its target where no runtime is named."""
    return str(row.get("device") or row["target"])


def value(row: Row, name: str) -> float:
    """A figure of a row; undefined where it has none."""
    figure = row["figures"].get(name)
    return math.nan if figure is None else float(figure["value"])


def loss_name(rows: Sequence[Row]) -> tuple[str, int] | None:
    """The figure that says what a variant loses, and whether more of it is worse (1) or better (-1). Where every output has one
    of its own, it is named without them.
    """
    names = dict.fromkeys(base(name) for row in rows for name in row["figures"] if not name.startswith(("float ", "top-5")))
    for wanted, sign in _LOSSES:
        for name in names:
            if name.startswith(wanted) or (sign == 1 and name.endswith(wanted)):
                return name, sign
    return None


def worst(row: Row, name: str, sign: int) -> str | None:
    """The name of a row's figure ``name``; where every output has one, of that of which ``sign`` times the value is most."""
    own = [one for one in row["figures"] if base(one) == name and not math.isnan(value(row, one))]
    return max(own, key=lambda one: sign * value(row, one), default=None)


def _lost(rows: Sequence[Row]) -> Callable[[Row], float]:
    """What a variant loses, in the figure that says so of its model; infinite where it has none that others of it have."""
    by_model = {model: loss_name([r for r in rows if r["model"] == model]) for model in {row["model"] for row in rows}}

    def lost(row: Row) -> float:
        found = by_model[row["model"]]
        if found is None:
            return 0.0
        figure = worst(row, *found)
        return math.inf if figure is None else found[1] * value(row, figure)

    return lost


def front(rows: Sequence[Row]) -> list[str]:
    """Names of the rows that no other of the same model and device beats in loss, bytes and time at once."""
    done = [row for row in rows if row["status"] == "done"]
    lost = _lost(done)
    return [row["name"] for row in done if not any(_beats(other, row, lost) for other in _beside(row, done))]


def _beside(row: Row, rows: Sequence[Row]) -> list[Row]:
    return [r for r in rows if r is not row and (r["model"], device(r)) == (row["model"], device(row))]


def _beats(a: Row, b: Row, lost: Callable[[Row], float]) -> bool:
    """Whether ``a`` is nowhere behind ``b``, and somewhere ahead."""
    size, time = (tuple(value(row, name) for row in (a, b)) for name in ("file size", "latency"))
    ahead = (lost(a) < lost(b), size[0] < size[1], time[0] < (1 - _ALIKE) * time[1])
    behind = (lost(a) > lost(b), size[0] > size[1], (1 - _ALIKE) * time[0] > time[1])
    return any(ahead) and not any(behind)


def decide(rows: Sequence[Row], ahead: Sequence[str], accepting: bool) -> dict[str, Any]:
    """The decision for the first device; ``targets`` holds that of each."""
    devices = list(dict.fromkeys(map(device, rows)))
    found = {d: _decide([row for row in rows if device(row) == d], ahead, accepting) for d in devices}
    none: dict[str, Any] = {"taken": None, "why": "there is no variant", "others": []}
    return {**next(iter(found.values()), none), "targets": found}


def _decide(rows: Sequence[Row], ahead: Sequence[str], accepting: bool) -> dict[str, Any]:
    done = [row for row in rows if row["status"] == "done"]
    unfinished = [{"name": row["name"], "why": _unfinished(row)} for row in rows if row["status"] != "done"]
    if not accepting:
        kept = [row["name"] for row in done if row["name"] in ahead]
        why = f"no criterion was given (--accept); no other variant beats {', '.join(kept)} in loss, size and time at once"
        lost = _lost(done)
        others = [{"name": r["name"], "why": _beaten(r, done, lost)} for r in done if r["name"] not in ahead]
        return {"taken": None, "why": why if kept else "nothing is finished", "others": [*others, *unfinished]}
    passing = [row for row in done if _status(row) == "pass"]
    missed = [{"name": row["name"], "why": _missed(row)} for row in done if row not in passing]
    if not passing:
        return {"taken": None, "why": _none(done), "others": [*missed, *unfinished]}
    best, why = _best(passing)
    slower = [{"name": row["name"], "why": _behind(row, best)} for row in passing if row is not best]
    return {"taken": best["name"], "why": why, "others": [*slower, *missed, *unfinished]}


def _unfinished(row: Row) -> str:
    return str(row["why"]) if row["why"] else "it is not finished"


def _status(row: Row) -> str:
    statuses = [judged["status"] for judged in row["criteria"]]
    return next((s for s in ("fail", "inconclusive") if s in statuses), "pass")


def _best(passing: Sequence[Row]) -> tuple[Row, str]:
    lost = _lost(passing)
    if device(passing[0]) in _TIMED_HERE:
        fastest = min(value(row, "latency") for row in passing)
        alike = [row for row in passing if not value(row, "latency") * (1 - _ALIKE) > fastest]
        best = min(alike, key=lambda row: (value(row, "file size"), lost(row)))
        beside = f", the smallest of {len(alike)} that are as fast to 5 %" if len(alike) > 1 else ""
        return best, f"{_counted(passing, f'the fastest{beside}')}: {_told(best)}"
    best = min(passing, key=lambda row: (value(row, "file size"), value(row, "peak live activations"), lost(row)))
    return best, f"{_counted(passing, 'the smallest (no time here speaks for the device)')}: {_told(best)}"


def _counted(passing: Sequence[Row], best: str) -> str:
    return (
        f"of {len(passing)} that pass every criterion it is {best}"
        if len(passing) > 1
        else "nothing else passes every criterion"
    )


def _told(row: Row) -> str:
    figures = (("latency", "ms"),) * (device(row) in _TIMED_HERE) + (("file size", "bytes"),)
    return ", ".join(quantity(value(row, name), unit) for name, unit in figures)


def _missed(row: Row) -> str:
    status = _status(row)
    told = [f"{j['criterion']}: {j['why']}" for j in row["criteria"] if j["status"] == status]
    return f"{'fails' if status == 'fail' else 'inconclusive:'} {'; '.join(told)}"


def _none(done: Sequence[Row]) -> str:
    if not done:
        return "nothing is finished"
    open_ = [row["name"] for row in done if _status(row) == "inconclusive"]
    return f"none passes every criterion; inconclusive: {', '.join(open_)}" if open_ else "none passes every criterion"


def _behind(row: Row, best: Row) -> str:
    """In what a variant that passes is behind the one that was taken."""
    said = []
    if device(row) in _TIMED_HERE and value(row, "latency") > value(best, "latency"):
        said.append(f"{value(row, 'latency') / value(best, 'latency'):.2f} times as slow")
    if value(row, "file size") > value(best, "file size"):
        said.append(f"{value(row, 'file size') / value(best, 'file size'):.2f} times as large")
    return f"passes, but is {' and '.join(said)} as {best['name']}" if said else f"passes, but is no better than {best['name']}"


def _beaten(row: Row, rows: Sequence[Row], lost: Callable[[Row], float]) -> str:
    by = next((other for other in _beside(row, rows) if _beats(other, row, lost)), None)
    if by is None:
        return "it is not on the front"
    better = [
        name
        for name, is_it in (
            ("loses less", lost(by) < lost(row)),
            ("is smaller", value(by, "file size") < value(row, "file size")),
            ("is faster", value(by, "latency") < (1 - _ALIKE) * value(row, "latency")),
        )
        if is_it
    ]
    return f"{by['name']} {' and '.join(better)}, and is nowhere behind"
