"""What a run's documents say of where the loss comes from and what to try, in the order in which one looks for a fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from intact.report.acceptance import judged
from intact.report.numbers import number

#: Questions from the first to ask to the last, with the kinds of findings that answer each badly.
_QUESTIONS: Final = (
    (
        "Do samples, labels and preprocessing fit the float network?",
        "A float figure that is wrong makes all others wrong.",
        frozenset(
            {"contradiction", "constant in float", "class-order", "unlabelled", "few-samples", "pixels-assumed", "transposed",
             "stretched", "labels-column", "labels-file", "unlike columns", "ignored-files", "unused-arrays", "unused-column"}
        ),
    ),
    ("Does the file compute what was planned?", "Simulator and runtime are compared bit for bit.", frozenset({"simulator differs"})),
    (
        "Is an output damaged?",
        "A network may keep its class and lose its numbers.",
        frozenset({"low fidelity", "low channel", "few levels", "constant output", "constant channel", "not finite", "great-loss"}),
    ),
    ("What would mend it?", "Each was tried in simulation, as it would be typed.", frozenset({"what helps"})),
    (
        "Is it as fast and small as it could be?",
        "What a runtime leaves to slower kernels costs time.",
        frozenset({"slower than float", "float ops", "kept alone", "not run on device"}),
    ),
)  # fmt: skip
#: Ops that are named on the first screen, and the share of the noise from which one is worth an option of its own.
_WORST: Final = 3
_MUCH: Final = 0.1


def path(document: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """The questions in order, each with what was found; what fits none of them comes last."""
    known = frozenset().union(*(kinds for *_, kinds in _QUESTIONS))
    steps = [(question, about, [f for f in document["findings"] if f["kind"] in kinds]) for question, about, kinds in _QUESTIONS]
    rest = [f for f in document["findings"] if f["kind"] not in known]
    if rest:
        steps.append(("Anything else?", "", rest))
    return tuple({"question": q, "about": a, "found": [f["message"] for f in found]} for q, a, found in steps)


def worst(details: Mapping[str, Any] | None) -> tuple[Mapping[str, Any], ...]:
    """The ops that make most of the noise, the worst first."""
    ops = [] if details is None else [op for op in details["ops"] if isinstance(op["noise_share"], float)]
    return tuple(sorted(ops, key=lambda op: -op["noise_share"])[:_WORST])


def next_steps(document: Mapping[str, Any], details: Mapping[str, Any] | None) -> tuple[str, ...]:
    """What to try next, a sentence each."""
    criteria = judged(document)
    steps = [f["message"] for f in document["findings"] if f["kind"] == "what helps"]
    steps += [_settle(c) for c in criteria if c["status"] == "inconclusive" and c["needs_about_n"]]
    steps += [_instead(c, document) for c in criteria if c["status"] == "fail"]
    for op in worst(details)[:1]:
        spared = op["spared"]
        if isinstance(spared, float) and spared >= _MUCH and document["settings"]["target"] == "cpu":
            steps.append(f"--keep-float {op['op'].split()[-1]} leaves that op in float, which takes {100 * spared:.0f} % off the noise.")
    if not criteria:
        steps.append("--accept \"drop <= 1\" says what is good enough; --max-drop 1 looks for a network that is.")
    return tuple(step for step in steps if step) or ("Nothing: every criterion passes.",)


def _settle(criterion: Mapping[str, Any]) -> str:
    return f"Give about {number(criterion['needs_about_n'])} samples with --eval: they would settle {criterion['criterion']}."


def _instead(criterion: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    kept = _column(criterion)
    if kept is None:
        return f"{criterion['criterion']} fails; --scheme with another width, or --accept with another limit, are what is left."
    better = [c for c in _others(document) if _is_within(kept(c), criterion)]
    if not better:
        return f"{criterion['criterion']} fails, and nothing that was tried meets it."
    best = min(better, key=lambda c: c["score"])
    return f"{criterion['criterion']} fails; {best['name']}, which was tried too, meets it on the selection samples."


def _column(criterion: Mapping[str, Any]) -> Any:
    """What a candidate has of a criterion's figure, if it has it."""
    columns = {
        "latency": lambda c: c["latency_ms"],
        "file size": lambda c: c["bytes"],
        "accuracy drop": lambda c: c["loss"]["value"],
    }
    return columns.get(criterion["figure"])


def _others(document: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return [c for c in document["candidates"] if c["name"] != document["taken"]]


def _is_within(value: float, criterion: Mapping[str, Any]) -> bool:
    return value <= criterion["limit"] if criterion["comparison"] in {"<=", "<"} else value >= criterion["limit"]
