"""Whether a file may be used, as plain data: accepted, accepted with limitation or rejected, why, and what else there was."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from intact.report import figures
from intact.report.figures import Document, Row
from intact.wording import counted, quantity

#: What limits nothing where a criterion says how fast is fast enough.
_SLOW: Final = "slower than float"
#: Findings by kind that limit what a file is good for, and for which uses.
LIMITING: Final[Mapping[str, str]] = MappingProxyType(
    {
        "not finite": "not for any use that reads this output",
        "constant output": "not for any use that reads this output",
        "constant channel": "not for uses that read this channel",
        "few levels": "not for uses that need more than so many different values",
        "low fidelity": "not for uses that need this output to follow the float network's",
        "low channel": "not for uses that need this channel to follow the float network's",
        "class lost": "not for uses where this class counts",
        "great-loss": "not where the float network's accuracy is needed",
        "contradiction": "not until labels and preprocessing are right: figures of accuracy mean nothing before",
        "constant in float": "not until the samples are right: nothing can be told of this output",
        "simulator differs": "figures of the simulator do not hold; those of the runtime do",
        "not run on device": "not on the device before it ran there",
        _SLOW: "not where speed is the reason",
        "float ops": "not on devices that compute in integers only",
        "plan of other weights": "not before it is planned anew: the plan was for other weights",
    }
)
#: For which uses a criterion that stays open matters.
_OPEN_USES: Final = "not where this has to be sure"
_WORDS: Final = MappingProxyType({"pass": "accepted", "inconclusive": "accepted with limitation", "fail": "rejected"})
#: Latencies that differ by less than this part are alike.
_ALIKE_MS: Final = 0.05


def acceptance(document: Document, deliverables: Iterable[Row]) -> dict[str, Any] | None:
    """What criteria and findings of a document come to; None where nothing was asked for.

    ``rejected`` where a criterion fails; ``accepted with limitation`` where one is open or a finding limits the use;
    else ``accepted``. ``deliverables``: a row for each file with ``file``, ``sha256`` and ``bytes``.
    """
    rows = figures.criteria(document)
    if not rows:
        return None
    limitations = [f"{r.criterion} is open ({r.why}): {_OPEN_USES}" for r in rows if r.status == "inconclusive"]
    fast = any(c["unit"] == "ms" or c["figure"] == "speed-up" for c in document["criteria"] if c["status"] == "pass")
    found = [f for f in document.get("findings") or () if f["kind"] in LIMITING and not (fast and f["kind"] == _SLOW)]
    limitations += [f"{f['message']}: {LIMITING[f['kind']]}" for f in found]
    failed = any(r.status == "fail" for r in rows)
    status = _WORDS["fail" if failed else "inconclusive" if limitations else "pass"]
    about = {"status": status, "limitations": limitations}
    return {
        "status": status,
        "why": figures.sentence({**document, "acceptance": about}),
        "limitations": limitations,
        "alternatives": _alternatives(document),
        "deliverables": [dict(row) for row in deliverables],
    }


def _alternatives(document: Document) -> list[dict[str, str]]:
    """Each network that was tried and not taken, and what it would cost beside the one that was."""
    candidates = list(document.get("candidates") or ())
    taken = next((c for c in candidates if c["name"] == document.get("taken")), None)
    if taken is None:
        return []
    return [{"what": _what(c), "would cost": _cost(c, taken)} for c in candidates if c is not taken]


def _what(candidate: Row) -> str:
    return f"{candidate['name']}, tried as {candidate['why']}"


def _cost(candidate: Row, taken: Row) -> str:
    loss, other = (float(c["loss"]["value"]) for c in (candidate, taken))
    unit, n = candidate["loss"]["unit"], candidate["loss"]["n"]
    unit = "percentage points" if unit == "%" else unit  # a share of samples, beside another
    parts = [] if loss == other else [f"{quantity(abs(loss - other), unit)} {'more' if loss > other else 'less'} lost"]
    size = int(candidate["bytes"]) - int(taken["bytes"])
    if size:
        parts.append(f"{quantity(abs(size), 'bytes')} {'more' if size > 0 else 'less'}")
    ms, taken_ms = float(candidate["latency_ms"]), float(taken["latency_ms"])
    if taken_ms > 0 and abs(ms / taken_ms - 1) > _ALIKE_MS:
        parts.append(f"{quantity(abs(ms - taken_ms), 'ms')} {'slower' if ms > taken_ms else 'faster'}")
    on = f" on {counted(n, 'selection sample')}"
    return f"{', '.join(parts)}{on}" if parts else f"nothing that was measured{on}"
