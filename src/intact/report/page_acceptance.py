"""What somebody who has to sign reads: accepted, with which limits, what else there was, and which files it is about."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from intact.report import figures
from intact.report.acceptance import acceptance

#: What a sentence about a decision begins with: the page has set it in bold before.
_SAID: Final = re.compile(r"^(?:(?:accepted with limitation|accepted|rejected|not judged)[:.] *)*", re.IGNORECASE)
_OF_A_LIMIT: Final = {"pass": "accepted", "inconclusive": "accepted with limitation", "fail": "rejected"}


def view(document: Mapping[str, Any], files: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the template shows; without criteria the limit of a search decides, and without one nothing does."""
    judged, verdict = document.get("acceptance") or acceptance(document, ()), document.get("verdict")
    if judged is None:
        status = "not judged" if verdict is None else _OF_A_LIMIT.get(verdict["status"], "not judged")
        why = "No criterion was given, so nothing was decided." if verdict is None else figures.sentence(document)
        judged = {"status": status, "why": why, "limitations": [], "alternatives": [], "deliverables": []}
    model = {"file": "model.tflite", **document["model"]}
    return {
        **judged,
        "why": _begun(_SAID.sub("", judged["why"])),
        "deliverables": files or judged["deliverables"] or [model],
        "mismatch": _mismatch(document, files),
    }


def _begun(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def _mismatch(document: Mapping[str, Any], files: Sequence[Mapping[str, Any]]) -> str:
    """A sentence where the model that lies there is not the one that was measured."""
    held = next((f for f in files if f["file"] == "model.tflite"), None)
    if held is None or held["sha256"] == document["model"]["sha256"]:
        return ""
    return (
        "model.tflite is not the file that was measured: its SHA-256 is another. Type intact quantize again before it is used."
    )
