"""What a run's documents say of where the loss comes from and what to try, in the order in which one looks for a fault."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from intact.measure.criterion_figures import FLASH, LOSSES, RAM

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
    (
        "Does the file compute what was planned?",
        "Simulator and runtime are compared bit for bit.",
        frozenset({"simulator differs"}),
    ),
    (
        "Is an output damaged?",
        "A network may keep its class and lose its numbers.",
        frozenset(
            {"low fidelity", "low channel", "few levels", "constant output", "constant channel", "not finite", "great-loss",
             "class lost"}
        ),
    ),
    ("What would mend it?", "Each was tried in simulation, as it would be typed.", frozenset({"what helps"})),
    (
        "Is it as fast and small as it could be?",
        "What a runtime leaves to slower kernels costs time.",
        frozenset({"slower than float", "float ops", "kept alone", "not run on device", "does not fit", "made to fit"}),
    ),
)  # fmt: skip
#: What is said of a question of which nothing was found, where it is not that nothing was noticed.
_NONE: Final = {"What would mend it?": "nothing had to be tried"}
#: Ops that are named on the first screen, and the share of the noise from which one is worth an option of its own.
_WORST: Final = 3
_MUCH: Final = 0.1
#: Times the noise of what it reads up to which an op adds none of its own.
_ALIKE: Final = 1.01
#: By how much a metric may get worse in a criterion to begin with: a part of an error, and of what a score is a part of.
_OF_ERROR: Final = 0.05
_OF_SCORE: Final = 0.01

#: Figures of which a finding says what would fit.
_FIRMWARE: Final = frozenset({RAM, FLASH})
#: What a candidate has of a criterion's figure, and which of an op's figures makes it up.
_COLUMNS: Final[Mapping[str, Callable[[Mapping[str, Any]], float]]] = {
    "latency": lambda c: float(c["latency_ms"]),
    "file size": lambda c: float(c["bytes"]),
    "accuracy drop": lambda c: float(c["loss"]["value"]),
}
_TAKES: Final = {"latency": "ms", "peak live activations": "live_bytes", "file size": "bytes", "accuracy drop": "noise_share"}
_MENDS: Final = {
    "ms": "most time goes to {op}, where fewer channels or a smaller input help",
    "live_bytes": "most is alive during {op}, where fewer channels or a smaller input help, and narrower weights do not",
    "bytes": "most bytes are those of {op}, where fewer channels help",
    "noise_share": "most of the noise comes from {op}; --max-drop keeps bits where they count",
}
#: Schemes that store int8's weights in fewer bits, the widest first: the targets that run them, and the share that is left.
_NARROWER: Final = (
    ("w4a8", frozenset({"cpu", "mcu"}), 1 / 2),
    ("clusters4", frozenset({"mcu"}), 1 / 2),
    ("clusters2", frozenset({"mcu"}), 1 / 4),
)
#: Criteria on the bytes of a file, by what a file of so many bytes comes to beside the float one's.
_BYTES: Final[Mapping[str, Callable[[float, float], float]]] = {
    "file size": lambda made, _: made,
    "flash": lambda made, _: made,
    "size ratio": lambda made, of_float: of_float / made,
}
#: Which criterion to begin with, by the first figure that a run has, and what looks for a network that meets it.
_EXAMPLES: Final = (
    ("accuracy drop", ("drop <= 1", "; --max-drop 1 looks for a network that is")),
    ("agreement with float", ("agreement >= 99", "; --min-agreement 99 looks for a network that is")),
    ("SQNR", ("SQNR >= 20", "")),
    ("", ("size <= 1 MB", "")),
)


def path(document: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """The questions in order, each with what was found; what fits none of them comes last."""
    known = frozenset().union(*(kinds for *_, kinds in _QUESTIONS))
    steps = [
        (question, about, [f for f in document["findings"] if f["kind"] in kinds]) for question, about, kinds in _QUESTIONS
    ]
    rest = [f for f in document["findings"] if f["kind"] not in known]
    if rest:
        steps.append(("Anything else?", "", rest))
    return tuple(
        {"question": q, "about": a, "found": [f["message"] for f in found], "none": _NONE.get(q, "nothing was noticed")}
        for q, a, found in steps
    )


def worst(details: Mapping[str, Any] | None) -> tuple[Mapping[str, Any], ...]:
    """The ops that make most of the noise, the worst first, without those that only pass on another's."""
    if details is None:
        return ()
    ops = [op for op in details["ops"] if isinstance(op["noise_share"], float)]
    makers = {op["output"]: op for op in ops if op.get("output") is not None}
    formats = {t["id"]: (t["dtype"], t["scale"]) for t in details.get("tensors", ())}
    own = [op for op in ops if not _passes_on(op, makers, formats)]
    return tuple(sorted(own, key=lambda op: -op["noise_share"])[:_WORST])


def _passes_on(op: Mapping[str, Any], makers: Mapping[int, Mapping[str, Any]], formats: Mapping[Any, object]) -> bool:
    """Whether an op computes nothing, in the format of what it reads, which another op rounds no less: a RESHAPE."""
    before = next((makers[i] for i in op.get("reads") or () if i in makers), None)
    if before is None or op["macs"] or op["parameters"]:
        return False
    made, read = (formats.get(each.get("output")) for each in (op, before))
    return made is not None and made == read and bool(op["noise_share"] <= _ALIKE * before["noise_share"])


def next_steps(document: Mapping[str, Any], details: Mapping[str, Any] | None) -> tuple[str, ...]:
    """What to try next, a sentence each: first for what failed, then for what is open."""
    criteria = document.get("criteria") or ()
    fits = [f["message"] for f in document["findings"] if f["kind"] == "does not fit"]
    failed = [c for c in criteria if c["status"] == "fail" and not (fits and c["figure"] in _FIRMWARE)]
    steps = fits + [_instead(c, document, details) for c in failed]
    steps += [f["message"] for f in document["findings"] if f["kind"] == "what helps"]
    for op in worst(details)[:1]:
        spared = op["spared"]
        if isinstance(spared, float) and spared >= _MUCH and document["settings"]["target"] == "cpu":
            steps.append(
                f"--keep-float {_name(op)} leaves the worst op in float, which takes {100 * spared:.0f} % off the noise."
            )
    verdict = document.get("verdict")
    judged = criteria or ([] if verdict is None else [{"criterion": "the limit", **verdict}])
    steps += [_settle(c) for c in judged if c["status"] == "inconclusive" and c["needs_about_n"]]
    if not judged:
        criterion, search = example(document)
        steps.append(f'--accept "{criterion}" says what is good enough{search}.')
    return tuple(steps) or ("Nothing: whatever was asked for is met.",)


def example(document: Mapping[str, Any]) -> tuple[str, str]:
    """A criterion on a figure that the run has, and which option looks for a network that meets it."""
    names = {str(m["name"]) for m in document["measurements"]}
    metric = next((name for name in LOSSES if LOSSES[name] in names), None)
    if metric is not None:
        limit = _little(metric, document)
        return f"{LOSSES[metric]} <= {limit:g}", f"; --max-drop {limit:g} looks for a network that is"
    return next((asked for start, asked in _EXAMPLES if any(name.startswith(start) for name in names)), _EXAMPLES[-1][1])


def _little(metric: str, document: Mapping[str, Any]) -> float:
    """By how much a metric may get worse, to begin with: a twentieth of float's error, or a hundredth of a score."""
    values = [float(m["value"]) for m in document["measurements"] if (m["of"], m["name"]) == ("float", metric)]
    grows = LOSSES[metric].endswith("increase") and all(value and math.isfinite(value) for value in values)
    return float(f"{_OF_ERROR * abs(values[0]):.1g}") if grows and values else _OF_SCORE


def _settle(criterion: Mapping[str, Any]) -> str:
    return f"--eval with about {criterion['needs_about_n']:,} samples would settle {criterion['criterion']}."


def _name(op: Mapping[str, Any]) -> str:
    """The op's own name, out of its label: ``CONV_2D 'features.3' -> features.3``."""
    return str(op["op"]).partition(" ")[2].strip("'") or str(op["op"])


def _instead(criterion: Mapping[str, Any], document: Mapping[str, Any], details: Mapping[str, Any] | None) -> str:
    """What would meet a criterion that fails: another network that was tried, else what it is that takes so much."""
    column = _COLUMNS.get(criterion["figure"])
    better = [c for c in _others(document) if column is not None and _is_within(column(c), criterion)]
    if better:
        best = min(better, key=lambda c: float(c["score"]))
        return f"{criterion['criterion']} fails; {best['name']}, which was tried too, meets it on the selection samples."
    if criterion["figure"] in _BYTES and (told := _in_fewer_bits(criterion, document)):
        return f"{criterion['criterion']} fails: {told}."
    key = _TAKES.get(criterion["figure"], "")
    ops = [op for op in (details or {}).get("ops", ()) if isinstance(op.get(key), (int, float))]
    if not ops:
        return f"{criterion['criterion']} fails, and nothing that was tried meets it."
    most = max(ops, key=lambda op: op[key])
    return f"{criterion['criterion']} fails: {_MENDS[key].format(op=most['op'])}."


def _in_fewer_bits(criterion: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    """The widest weights with which an int8 file would meet a criterion, by the bytes that it has; empty where none would."""
    sizes = {(m["of"], m["name"]): m["value"] for m in document["measurements"]}
    wanted = (("quantized", "file size"), ("quantized", "bytes of weights"), ("float", "file size"))
    file, weights, of_float = (sizes.get(key) for key in wanted)
    if document["settings"]["scheme"] != "int8" or not file or not weights or not of_float:
        return ""
    for scheme, targets, left in _NARROWER:
        made = file - weights * (1 - left)
        if document["settings"]["target"] in targets and _is_within(_BYTES[criterion["figure"]](made, of_float), criterion):
            return (
                f"{weights:,.0f} of the file's {file:,.0f} bytes are weights, and --scheme {scheme} stores them in "
                f"{100 * left:.0f} % of that at best; its run says what that loses and how fast it is"
            )
    return ""


def _others(document: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return [c for c in document["candidates"] if c["name"] != document["taken"]]


def _is_within(value: float, criterion: Mapping[str, Any]) -> bool:
    limit = float(criterion["limit"])
    return value <= limit if criterion["comparison"] in {"<=", "<"} else value >= limit
