"""What the figures of a run say in words, with what to do: a bad result is never passed over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from types import MappingProxyType
from typing import Final

import numpy as np

from intact.data import Finding, Parts, Samples
from intact.formats.tflite.packing import MOST_BITS
from intact.measure.accuracy import Verdict
from intact.measure.classes import by_class
from intact.measure.cost import in_float
from intact.measure.figures import Reading
from intact.measure.outputs import Channel, OutputFidelity, Outputs
from intact.measure.task import maker
from intact.network.graph import Graph
from intact.planning.integer_ops import kept_float
from intact.planning.schemes import SCHEMES, Scheme
from intact.planning.schemes import scheme as scheme_named
from intact.progress import Progress
from intact.run.recover import Recovery
from intact.run.settings import Settings
from intact.simulate.noise import sensitivities
from intact.wording import counted

#: Points of accuracy, or per cent of samples with another class, that call for a word.
GREAT: Final = 5.0
#: dB without the mean below which an output calls for a word: the error is 18 % of what the output varies by. int8 gives 20 to
#: 45 dB on networks whose accuracy it keeps; those that were seen to be useless had 0.04 to 13.5.
LOW: Final = 15.0
#: The same for one channel among others: the error is half of what the channel varies by, one bit is left of it.
LOW_CHANNEL: Final = 6.0
#: Evenly spread values in four levels have 12 dB. Values that lie on so few levels by themselves have more than 30.
FEW_LEVELS: Final = 4
FEW_LEVELS_FIT: Final = 30.0
#: What float has more values of than this, it takes from a continuum.
CONTINUOUS: Final = 32


def _more_numbers(scheme: Scheme) -> str:
    """Twice the bits of an index, as far as every target has them."""
    bits = min(2 * scheme.clusters, MOST_BITS)
    return f"clusters{bits}-float" if bits > scheme.clusters else "float32"


#: The scheme that rounds less, where nothing else can be asked for.
WIDER: Final = MappingProxyType(
    {
        "dynamic": "float16",
        "float16": "float32",
        **{name: "dynamic" for name, made in SCHEMES.items() if made.weights == "int4" and not made.is_integer},
        "dynamic-w2": "dynamic-w4",
        **{name: _more_numbers(made) for name, made in SCHEMES.items() if made.clusters and not made.is_integer},
    }
)
#: Ops that a sentence names.
_SHOWN: Final = 3
#: What moves by less than this is no answer of a LOGISTIC or SOFTMAX, whose step is 1/256.
_NO_ANSWER: Final = 1 / 128
_FIXED: Final = frozenset({"LOGISTIC", "SOFTMAX"})


def poor(seen: Sequence[OutputFidelity], graph: Graph) -> tuple[tuple[str, Finding], ...]:
    """The outputs that the file gives badly, by name, each with what is wrong with it; ``graph`` is the float network."""
    makers = {name: maker(graph, i) for name, i in zip(graph.output_names, graph.outputs, strict=True)}
    found = ((one.name, _poor(one, f"output {one.name!r}", makers.get(one.name, ""))) for one in seen)
    return tuple((name, finding) for name, finding in found if finding is not None)


def _poor(one: OutputFidelity, name: str, made_by: str) -> Finding | None:
    levels, varying, worst = one.levels, one.varying, one.worst
    if not one.finite:
        said = f"{name} holds infinite or undefined numbers where the float network's are finite; --scheme float32 "
        return Finding("not finite", said + "shows whether it is the weights' rounding, and intact diagnose where it begins")
    if one.flat:
        said = (
            f"{name} of the float network is the same for every sample, so that nothing can be told of the file's: look at how "
        )
        return Finding(
            "constant in float", said + "the samples are scaled (--pixels, --mean, --std), and at the network itself"
        )
    if varying is None:
        return None
    if levels is not None and levels.used == 1 and levels.in_float > 1:
        said = f"{name} is the same for every sample, where the float network's lies in {levels.low:.4g} to {levels.high:.4g}"
        if made_by in _FIXED and levels.high - levels.low < _NO_ANSWER:
            said += f", less than the steps of a {made_by}: give samples that it answers to"
        return Finding("constant output", said)
    few = levels is not None and levels.used <= FEW_LEVELS and levels.in_float > CONTINUOUS
    channel = None if one.task.are_classes else _poor_channel(worst)
    if levels is not None and few and varying.value < FEW_LEVELS_FIT:
        said = f"{name} takes {levels.used} different values ({varying.value:.1f} dB), where the float network's takes "
        return Finding("few levels", f"{said}{levels.in_float:,} in {levels.low:.4g} to {levels.high:.4g}")
    if varying.value < LOW:
        said = (
            f"{name} is {varying.value:.1f} dB true to what the float network's varies by, and {LOW:g} are the least that is "
        )
        said += f"usual ({_error(varying.value)})"
        return Finding("low fidelity", said if channel is None else f"{said}; {channel.message}")
    return channel if channel is None else Finding(channel.kind, f"{name}: {channel.message}")


def _poor_channel(worst: Channel | None) -> Finding | None:
    if worst is None:
        return None
    said = f"its channel {worst.number} of {worst.of:,}"
    if worst.constant:
        return Finding("constant channel", f"{said} is the same for every sample, and the float network's is not")
    decibels = worst.decibels.value
    if decibels >= LOW_CHANNEL:
        return None
    return Finding(
        "low channel", f"{said} is {decibels:.1f} dB true to what the float network's varies by ({_error(decibels)})"
    )


def _error(decibels: float) -> str:
    """``15 -> "the error is 18 % of it"``."""
    return f"the error is {100 * 10 ** (-decibels / 20):.0f} % of it"


def wider(scheme: str) -> str:
    """What rounds less than a scheme in float, which takes no limits or remedies."""
    name = WIDER.get(scheme)
    return "the float network as it was read gives the same" if name is None else f"type --scheme {name}"


def great_loss(readings: tuple[Reading, ...], settings: Settings) -> tuple[Finding, ...]:
    """A loss that nobody wants and nobody asked about, said with what to do."""
    lost = next((r.measurement for r in readings if (r.of, r.measurement.name) == ("difference", "accuracy drop")), None)
    agreed = [r.measurement.value for r in readings if r.measurement.name.startswith("agreement with float")]
    points = lost.value if lost is not None else 100 - min(agreed, default=100.0)
    if settings.goal is not None or points < GREAT:
        return ()
    what = f"{points:.1f} points are lost" if lost is not None else f"{points:.1f} % of the samples get another class"
    if not scheme_named(settings.scheme).is_integer:
        return (Finding("great-loss", f"{what}: {wider(settings.scheme)}"),)
    how = "--max-drop 1" if lost is not None else "--min-agreement 99"
    said = f"{what}: {how} searches for a network that keeps them, and intact diagnose says which ops cost them"
    return (Finding("great-loss", said),)


def decided_by(settings: Settings) -> tuple[Finding, ...]:
    """Options that were given and that a plan decides."""
    given = settings.decided_by_a_plan
    said = f"--plan holds what {', '.join(given)} would decide, which changed nothing"
    return (Finding("plan decides", said),) if given else ()


def lost_classes(outputs: Outputs, report: Samples) -> tuple[Finding, ...]:
    """Classes that surely lost, which the accuracy over all of them hides."""
    name, exact = next(iter(outputs.exact.items()))
    made = outputs.made[name]
    finite = all(np.isfinite(y).all() for y in (exact, made))
    if len(outputs.exact) > 1 or not outputs.tasks[name].are_classes or not finite:
        return ()
    found = []
    for c, (n, before, after) in by_class(exact, made, report).lost.items():
        called = report.class_names[c] if c < len(report.class_names) else f"class {c}"
        found.append(f"{called} lost: {before:,} of {n:,} samples were right in float, {after:,} are now")
    return tuple(Finding("class lost", sentence) for sentence in found)


def float_islands(graph: Graph, settings: Settings) -> tuple[Finding, ...]:
    """What stays in float in an integer network, which costs time there and forbids integer-only devices."""
    if not scheme_named(settings.scheme).is_integer:
        return ()
    ops = in_float(graph)
    if not ops:
        return ()
    kinds = ", ".join(f"{n} {kind}" for kind, n in Counter(op.kind.name for op in ops).most_common())
    message = (
        f"{len(ops)} of {counted(len(graph.ops), 'op')} in float ({kinds}): kept so, faster so, or {settings.target} "
        f"has no {settings.scheme} kernel for them; the first is {graph.label(ops[0])}"
    )
    return (Finding("float ops", message),)


def kept_alone(graph: Graph, reference: Graph, settings: Settings) -> tuple[Finding, ...]:
    """Ops that ``--keep-float`` keeps in float while all around them is integers: what they gain is rounded away again."""
    if not (settings.keep_float and scheme_named(settings.scheme).is_integer):
        return ()
    kept, makers, readers = kept_float(reference, settings.request()), graph.producers(), graph.consumers()
    alone = []
    for op in graph.ops:
        before = [makers[i].kind.converts for i in op.reads if i in makers and graph[i].is_float]
        after = [reader.kind.converts for i in op.outputs for reader in readers[i]]
        if op.output in kept and before and after and all(before) and all(after) and op.output not in graph.outputs:
            alone.append(graph.label(op))
    if not alone:
        return ()
    some = ", ".join(alone[:_SHOWN]) + (f" and {len(alone) - _SHOWN} more" if len(alone) > _SHOWN else "")
    said = (
        f"{some} kept in float between integer ops: what is read was rounded before and what is made is rounded after, and two "
        "conversions are added, so that little is gained but exact weights; --keep-float the ops beside as well"
    )
    return (Finding("kept alone", said),)


def missed(verdict: Verdict | None, recovery: Recovery, parts: Parts, progress: Progress) -> tuple[Finding, ...]:
    """What a limit that was not met, or not surely, calls for."""
    if verdict is None or verdict.status == "pass":
        return ()
    if verdict.status == "inconclusive":
        needed = "" if verdict.needs_about_n is None else f" about {verdict.needs_about_n:,} samples would settle it;"
        met = verdict.loss is None or verdict.loss.value <= verdict.limit
        said = f"the limit is {'met' if met else 'missed'} by the estimate, not by all of its interval:{needed} "
        said += f"{len(parts.report):,} reported"
        return (Finding("inconclusive", said),)
    rows = sensitivities(recovery.network, parts.calibration, progress=progress)
    worst = "; ".join(f"{row.op} makes {100 * row.share:.0f} % of the noise" for row in rows[:3])
    taken = next(c for c in recovery.candidates if c.name == recovery.taken)
    if taken.score <= verdict.limit:
        said = f"the limit is not met, though {taken.name} met it on the {taken.loss.n:,} selection samples, where the "
        said += "search stopped. What may help: more samples under --data"
        said += ", or a tighter limit, so that the search goes on" if verdict.limit > 0 else ", or a limit above 0"
    else:
        said = "the limit is not met; the network that loses least of those tried is written. What may help: more samples "
        said += "under --data, a larger --time-budget, or a wider --scheme"
    return (Finding("limit missed", f"{said}. {worst or 'No op stands out'}"),)
