"""What would mend outputs that an integer file gives badly: options that are tried in simulation before they are told."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, final

import numpy as np

from intact import scratch
from intact.data import Parts, Samples
from intact.data.samples import SMALLEST_BATCH
from intact.errors import OptionError, ResourceError, UnsupportedError
from intact.measure.outputs import OutputFidelity, without_mean
from intact.network.graph import Graph, Op, short_name
from intact.numbers.affine import Affine
from intact.ops.base import SameAsInput
from intact.planning.integer_graph import emit
from intact.planning.plan import Plan
from intact.planning.quantized import Quantized
from intact.planning.schemes import scheme as scheme_named
from intact.planning.targets import target as target_named
from intact.progress import silent
from intact.remedies import apply, known
from intact.run.as_planned import Start, context_of, mend_and_plan
from intact.run.findings import LOW, LOW_CHANNEL, wider
from intact.run.folder import RunFolder
from intact.run.settings import Settings
from intact.simulate.engine import Batch, Program, run_batches
from intact.simulate.noise import only
from intact.simulate.partly import Partly
from intact.wording import counted

#: Seconds for everything that is tried, and for one run of the float network: as many samples as fit, 8 to 64.
_SECONDS: Final = 40.0
_RUN_SECONDS: Final = 1.0
_FIRST: Final = 2
_LEAST: Final = 8
_MOST: Final = 64
#: Ops that are kept in float at most, and ways that are told.
_KEPT: Final = 8
_TOLD: Final = 3
#: dB that a way must gain to be told though it is not enough.
_GAIN: Final = 3.0
#: dB by which simulator and runtime must differ for that to be the cause.
_APART: Final = 6.0
_REMEDIES: Final = ("equalize", "clip", "bias")


@final
@dataclass(frozen=True)
class _Way:
    """What to type, and how true the worst of the outputs would be: ``margin`` dB above what calls for a word."""

    typed: str
    decibels: float
    margin: float


def what_helps(
    network: Quantized,
    settings: Settings,
    parts: Parts,
    seen: Sequence[OutputFidelity],
    prepared: Callable[[Settings], Graph],
) -> str:
    """What to do about the poor outputs ``seen`` of ``network``: only what exists for its target and scheme.

    ``prepared`` gives the float graph for other settings. What learns, or needs labels, is not tried.
    """
    if not scheme_named(settings.scheme).is_integer:
        return wider(settings.scheme)
    found = _Ways(network, settings, parts.calibration, tuple(one.name for one in seen), prepared)
    base = found.of_plan(network.graph, network.plan)
    if base[1] >= 0 and base[1] >= _margin(seen) + _APART:
        return found.elsewhere(base[0], _margin(seen), parts)
    ways: list[_Way] = []
    for way in filter(None, found.ways()):
        ways.append(way)
        if len(_good(ways, base)) == _TOLD:
            break
    return _said(ways, base, found.blame, found.count)


def _margin(seen: Sequence[OutputFidelity]) -> float:
    """How far the worst of the outputs is above what calls for a word, as measured."""
    found = [one.varying.value - LOW for one in seen if one.varying is not None]
    return min([*found, *(one.worst.decibels.value - LOW_CHANNEL for one in seen if one.worst is not None)], default=0.0)


def _good(ways: Sequence[_Way], base: tuple[float, float]) -> list[_Way]:
    return [way for way in ways if way.margin >= max(0.0, base[1] + _GAIN)]


def _said(ways: Sequence[_Way], base: tuple[float, float], blame: str, count: int) -> str:
    good = _good(ways, base)
    better = sorted((way for way in ways if way.margin >= base[1] + _GAIN), key=lambda way: -way.margin)[:1]
    told = "; ".join(f"{way.typed} gives {way.decibels:.1f} dB" for way in good or better)
    cause = f"most of it comes from {blame}. " if blame else ""
    on = f"in simulation on {counted(count, 'sample')}, where the file has {base[0]:.1f} dB"
    if good:
        return f"{cause}What mends it, {on}: {told}"
    if better:
        return f"{cause}Nothing mends it, {on}; the best: {told}"
    tried = ", ".join(f"{way.typed} ({way.decibels:.1f} dB)" for way in ways) or "nothing was left to try in time"
    return f"{cause}Nothing mends it, {on}: {tried}. intact diagnose says what each op loses"


class _Ways:
    """The ways in turn, cheap ones first, as long as there is time."""

    def __init__(
        self,
        network: Quantized,
        settings: Settings,
        calibration: Samples,
        outputs: tuple[str, ...],
        prepared: Callable[[Settings], Graph],
    ) -> None:
        self.written = network
        self.settings, self.outputs, self.prepared = settings, outputs, prepared
        self.deadline = time.monotonic() + _SECONDS
        #: What the run took by itself it takes with other options as well.
        self.taken = network.remedies if settings.remedies is None and not settings.goal else ()
        self.blame = ""
        program = Program(network.reference)
        began = time.monotonic()
        run_batches(program, self._cut(calibration.spread(_FIRST)))
        each = (time.monotonic() - began) / _FIRST
        self.samples = calibration.spread(min(max(int(_RUN_SECONDS / max(each, 1e-6)), _LEAST), _MOST))
        self.seconds = each * len(self.samples)
        self.count = len(self.samples)
        self.batches = list(self._cut(self.samples))
        self.exact = run_batches(program, self.batches)
        # Constants that remedies fitted to one plan fit no other: with other options they are fitted anew.
        self.start = self._begun(settings)
        self.network = self.start.network

    @staticmethod
    def _cut(samples: Samples) -> Iterator[Batch]:
        return (batch for batch, _ in samples.batches(SMALLEST_BATCH))

    def over(self) -> bool:
        return time.monotonic() >= self.deadline

    def ways(self) -> Iterator[_Way | None]:
        """None for what cannot be tried."""
        other = self.start.otherwise()
        way = None if other is None else self._tried(_typed(other, self.settings), other)
        yield way
        if (way is None or way.margin < 0) and target_named(self.settings.target).float_islands:
            yield from self._in_float()
        scheme = self.settings.scheme
        if scheme == "w4a8":
            yield self._tried("--scheme int8", replace(self.settings, scheme="int8"))
        if not (self.settings.remedies or self.settings.goal):
            if not self.taken:
                yield self._remedies(_REMEDIES)
            if not target_named(self.settings.target).float_islands:
                yield self._remedies(("mixed",))
        if scheme != "int16x8" and "int16x8" not in target_named(self.settings.target).refuses:
            plain = replace(self.settings, scheme="int16x8", input_type=None, output_type=None)
            yield self._tried("--scheme int16x8", plain)

    # ---- how true -------------------------------------------------------------------------------------------------------

    def of_graph(self, graph: Graph) -> tuple[float, float]:
        """The dB of the worst of the outputs of a graph, and how far they are above what calls for a word."""
        return self._judged(run_batches(Program(graph), self.batches))

    def _judged(self, made: Mapping[str, np.ndarray]) -> tuple[float, float]:
        pairs = (zip(without_mean(self.exact[name], made[name]), (LOW, LOW_CHANNEL), strict=True) for name in self.outputs)
        return min(((db, db - least) for pair in pairs for db, least in pair), key=lambda found: found[1])

    def of_plan(self, graph: Graph, plan: Plan) -> tuple[float, float]:
        return self.of_graph(emit(graph, plan))

    def elsewhere(self, decibels: float, measured: float, parts: Parts) -> str:
        """What to do where the samples that calibrated come out well: others do not, or the kernels differ."""
        network = self.written
        self.batches = list(self._cut(parts.report.spread(self.count)))
        self.exact = run_batches(Program(network.reference), self.batches)
        made = self.of_plan(network.graph, network.plan)
        if made[1] >= measured + _APART:
            said = f"the simulator expects {made[0]:.1f} dB on the samples that report: it is the kernels; intact diagnose "
            return said + "compares simulator and runtime op by op"
        said = f"the samples that calibrated come out at {decibels:.1f} dB, and those that report go beyond the ranges that "
        said += f"{counted(len(parts.calibration), 'sample')} showed: give more samples under --data, and such as those of use"
        return said

    # ---- ways -----------------------------------------------------------------------------------------------------------

    def _tried(self, typed: str, settings: Settings) -> _Way | None:
        """The network planned anew as ``settings`` say."""
        return self._way(typed, lambda: self._applied(self.taken, self._begun(settings)))

    def _remedies(self, more: tuple[str, ...]) -> _Way | None:
        names = tuple(r.name for r in known((*self.taken, *more)))
        return self._way(f"--remedies {','.join(names)}", lambda: self._applied(names, self.start))

    def _way(self, typed: str, make: Callable[[], Quantized]) -> _Way | None:
        """None where the target cannot, or time is over."""
        if self.over():
            return None
        try:
            made = make()
        except (UnsupportedError, OptionError, ResourceError):  # an op that mending made cannot be named
            return None
        return _Way(typed, *self.of_plan(made.graph, made.plan))

    def _begun(self, settings: Settings) -> Start:
        with scratch.folder() as folder:
            return mend_and_plan(self.prepared(settings), settings, self.samples, RunFolder(folder), silent)

    def _applied(self, names: tuple[str, ...], start: Start) -> Quantized:
        context = replace(context_of(start, self.samples), deadline=self.deadline)
        return apply(known(names), start.network, self.samples, context)

    def _in_float(self) -> Iterator[_Way | None]:
        """The ops that make most of it kept in float: those that ruin the outputs by themselves, then more of them."""
        ranked = self._ranked()
        if not ranked:
            return
        margins = [margin for margin, _, _ in ranked]
        self.blame = ranked[0][1]
        alone = sum(margin < 0 for margin in margins)
        for count in dict.fromkeys(min(n, len(ranked)) for n in (alone or 1, 2 * (alone or 1), _KEPT) if n <= _KEPT):
            ops = [op for _, _, group in ranked[:count] for op in group]
            settings = self._keeping(ops)
            way = self._tried(_typed(settings, self.settings), settings)
            yield way
            if way is None or way.margin >= 0:
                return

    def _ranked(self) -> list[tuple[float, str, tuple[Op, ...]]]:
        """Margin when only this is rounded, what it is, and the ops to keep in float for it: the worst first."""
        graph, plan = self.network.graph, self.network.plan
        if time.monotonic() + self.seconds * len(graph.ops) > self.deadline:
            return []
        found: list[tuple[float, str, tuple[Op, ...]]] = []
        partly = Partly(graph, self.batches)
        for name, i in zip(graph.input_names, graph.inputs, strict=True):
            if isinstance(plan.own(i), Affine):
                rounded = replace(graph, tensors={**graph.tensors, i: replace(graph[i], format=plan.own(i))})
                found.append((self._judged(partly.outputs(rounded))[1], f"input {name!r}", _readers(graph, i)))
        for op in graph.ops:
            if self.over():
                return []
            if isinstance(plan.own(op.output), Affine):
                margin = self._judged(partly.outputs(only(graph, self.network, [op])))[1]
                found.append((margin, graph.label(op), (op, *_behind(graph, op))))
        return sorted(found, key=lambda row: row[0])

    def _keeping(self, ops: Sequence[Op]) -> Settings:
        graph = self.network.graph
        names = tuple(dict.fromkeys(short_name(graph[op.output].origin) for op in ops))
        kept = {op.output for op in ops}
        settings = replace(self.settings, keep_float=(*self.settings.keep_float, *names))
        if any(op.output in kept and i in op.reads for i in graph.inputs for op in graph.ops):
            settings = replace(settings, input_type="float32")
        if kept & set(graph.outputs):
            settings = replace(settings, output_type="float32")
        return settings


def _readers(graph: Graph, tensor: int) -> tuple[Op, ...]:
    """The ops that compute with a tensor, and those before them that only move its numbers."""
    found: list[Op] = []
    for op in graph.consumers()[tensor]:
        found.append(op)
        if isinstance(op.kind.range_rule, SameAsInput):
            found += [other for i in op.outputs for other in _readers(graph, i)]
    return tuple(dict.fromkeys(found))


def _behind(graph: Graph, op: Op) -> tuple[Op, ...]:
    """The ops after ``op`` up to a graph output, as long as each only moves its numbers there; else none."""
    found: list[Op] = []
    while op.output not in graph.outputs:
        readers = graph.consumers()[op.output]
        if len(readers) != 1 or not isinstance(readers[0].kind.range_rule, SameAsInput):
            return ()
        op = readers[0]
        found.append(op)
    return tuple(found)


def _typed(settings: Settings, before: Settings) -> str:
    words = [f"--keep-float {shlex.quote(name)}" for name in settings.keep_float if name not in before.keep_float]
    for option, now, was in (
        ("--input-type", settings.input_type, before.input_type),
        ("--output-type", settings.output_type, before.output_type),
    ):
        words += [f"{option} {now}"] if now != was else []
    return " ".join(words)
