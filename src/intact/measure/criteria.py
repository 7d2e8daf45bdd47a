"""Whether figures are what was asked of them: each criterion passes, fails, or is inconclusive, by the figure's interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, final

from intact.measure.accuracy import to_settle
from intact.measure.criterion import Criterion, base, criteria, load, parse
from intact.measure.criterion_figures import ARENA, FLASH, FLASH_WITHOUT_CODE, PEAK_RATIO, RAM, RAM_ESTIMATE
from intact.measure.measurement import Measurement
from intact.wording import counted, quantity
from intact.wording import span as between

if TYPE_CHECKING:
    from intact.measure.figures import Reading

__all__ = ["Criterion", "Judged", "Status", "criteria", "judge", "load", "overall", "parse"]

Status: TypeAlias = Literal["pass", "fail", "inconclusive"]
#: From good to bad.
_ORDER: Final[tuple[Status, ...]] = ("pass", "inconclusive", "fail")
#: Ratios that are the float file's reading over the quantized one's where no reading is of the ratio itself.
_OVER: Final[Mapping[str, str]] = MappingProxyType(
    {
        "size ratio": "file size",
        "weights ratio": "bytes of weights",
        PEAK_RATIO: "peak live activations",
    }
)


@final
@dataclass(frozen=True)
class Judged:
    """What a criterion came to, and why, in a sentence. ``value`` is None where nothing was measured.

    ``needs_about_n``: with how many samples (of time: timed blocks) an inconclusive one may be decided, if any number does.
    """

    criterion: Criterion
    status: Status
    why: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    needs_about_n: int | None = None

    def to_json(self) -> dict[str, Any]:
        c = self.criterion
        return {
            "criterion": c.text,
            "figure": c.figure,
            "of": c.of,
            "comparison": c.comparison,
            "limit": c.limit,
            "unit": c.unit,
            "value": _plain(self.value),
            "low": _plain(self.low),
            "high": _plain(self.high),
            "status": self.status,
            "needs_about_n": self.needs_about_n,
            "why": self.why,
        }


def _plain(x: float | None) -> float | str | None:
    return x if x is None else float(x) if math.isfinite(x) else str(float(x))


def judge(criterion: Criterion, readings: Iterable[Reading]) -> Judged:
    """``criterion`` on the figures of a run; where several outputs have the figure, on the one that does worst.

    ``pass`` if the whole interval satisfies it, ``fail`` if the whole violates it, else ``inconclusive``; what has no
    uncertainty passes or fails. What was not measured is inconclusive, and ``why`` says what is missing.
    """
    read = tuple(readings)
    found = [r.measurement for r in read if r.of == criterion.of and _is_meant(criterion, r.measurement.name)]
    found = found or _ratio(criterion, read)
    if not found:
        return _unmeasured(criterion, read)
    judged = [_judge(criterion, m, named=len(found) > 1) for m in found]
    return max(judged, key=lambda j: _ORDER.index(j.status))


def overall(judged: Iterable[Judged]) -> Status:
    """The worst of all: ``fail`` where one fails, ``pass`` where all pass."""
    return max((j.status for j in judged), key=_ORDER.index, default="pass")


def _is_meant(criterion: Criterion, name: str) -> bool:
    return name == criterion.figure or (criterion.each and base(name) == criterion.figure)


def _ratio(criterion: Criterion, readings: tuple[Reading, ...]) -> list[Measurement]:
    name = _OVER.get(criterion.figure)
    sizes = {r.of: r.measurement for r in readings if r.measurement.name == name}
    if name is None or not {"float", "quantized"} <= sizes.keys() or not sizes["quantized"].value:
        return []
    ratio = sizes["float"].value / sizes["quantized"].value
    return [Measurement(criterion.figure, ratio, "x", None, None, f"{name} of float over that of quantized", 1)]


def _judge(criterion: Criterion, m: Measurement, named: bool) -> Judged:
    value, what = m.value, f"{m.name}: " if named else ""
    said = quantity(value, m.unit)
    if math.isnan(value):
        return Judged(criterion, "fail", f"{what}the figure is undefined ({m.how})", value, m.low, m.high)
    limit = quantity(criterion.limit, criterion.unit)
    if m.low is None or m.high is None or math.isnan(m.low) or math.isnan(m.high):
        if "no interval" in m.how:
            return Judged(criterion, "inconclusive", f"{what}{said}, and how sure that is is not known ({m.how})", value)
        holds = criterion.holds(value)
        return Judged(criterion, "pass" if holds else "fail", f"{what}{said}, {_against(criterion, limit)}", value)
    ends = (m.low, m.high)
    best, worst = ends if criterion.is_upper else ends[::-1]
    span = f"{what}{said} [{between(m.low, m.high, m.unit)}], {_against(criterion, limit)}"
    span += f"; {_how_sure(criterion, m)}"
    if criterion.holds(worst):
        return Judged(criterion, "pass", f"{span}, all of the interval within it", value, *ends)
    if not criterion.holds(best):
        return Judged(criterion, "fail", f"{span}, all of the interval beyond it", value, *ends)
    holds = criterion.holds(value)
    needed = to_settle(m.n, value, worst if holds else best, criterion.limit)
    noun = "timed block" if criterion.group == "time" else "sample"
    settle = "no number of samples decides" if needed is None else f"about {counted(needed, noun)} would settle it"
    side = "the estimate is within it, the interval is not" if holds else "the estimate is beyond it, the interval is not"
    return Judged(criterion, "inconclusive", f"{span}, {side}: {settle}", value, *ends, needed)


def _against(criterion: Criterion, limit: str) -> str:
    if criterion.comparison in {"<", ">"}:
        return f"{'less' if criterion.is_upper else 'more'} than {limit} asked for"
    return f"{limit} allowed" if criterion.is_upper else f"{limit} asked for"


def _how_sure(criterion: Criterion, m: Measurement) -> str:
    """What the interval is of: time has one of its median, from blocks of one machine."""
    return f"of the median of {m.n:,} timed blocks" if criterion.group == "time" else f"on {counted(m.n, 'sample')}"


def _unmeasured(criterion: Criterion, readings: tuple[Reading, ...]) -> Judged:
    """What a figure that no reading has comes to."""
    by_name = {(r.of, r.measurement.name): r.measurement for r in readings}
    least = by_name.get(("quantized", FLASH_WITHOUT_CODE)) or by_name.get(("quantized", "file size"))
    if criterion.figure == FLASH and least is not None:
        alone = quantity(least.value, "bytes")
        what = "the file" if least.name != FLASH_WITHOUT_CODE else least.how
        if criterion.is_upper and not criterion.holds(least.value):
            limit = quantity(criterion.limit, criterion.unit)
            return Judged(criterion, "fail", f"{alone} without code ({what}), {_against(criterion, limit)}", least.value)
        return Judged(criterion, "inconclusive", f"{alone} without code ({what}); what the code takes was not measured")
    estimate = by_name.get(("quantized", RAM_ESTIMATE))
    if criterion.figure == RAM and estimate is not None:
        return Judged(criterion, "inconclusive", f"not measured, about {quantity(estimate.value, 'bytes')} ({estimate.how})")
    parts = [by_name.get(("quantized", f"{part} (estimate)")) for part in ("activations", "persistent part")]
    known = [m for m in parts if m is not None]
    if criterion.figure == ARENA and known:
        about = quantity(sum(m.value for m in known), "bytes")
        why = f"not measured, about {about} by estimate; pip install 'intact[mcu]' brings the runtime that measures it"
        return Judged(criterion, "inconclusive", why)
    return Judged(criterion, "inconclusive", f"{criterion.figure} of {criterion.of} was not measured in this run")
