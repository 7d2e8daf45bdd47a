"""How true each activation of an integer network is to the float one: in simulation, in the real runtime, and op by op."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, final

import numpy as np
import torch

from intact import scratch
from intact.data import Samples
from intact.diagnosis.counterparts import Counterparts
from intact.diagnosis.histograms import Histogram, on_grid
from intact.formats import tflite
from intact.formats.tflite.states import unseen_outputs
from intact.network.graph import Tensor
from intact.numbers.affine import Affine, dequantize, limits, quantize
from intact.progress import StepProgress, onward
from intact.runtime.litert import run
from intact.runtime.runtimes import Kernels
from intact.simulate.engine import Batch, Program, map_batches
from intact.simulate.exact import exposed

#: Bytes that the runtime writes for one piece of the samples, and samples that are compared at a time.
_PIECE: Final = 256 << 20
_ROWS: Final = 8


@final
@dataclass(frozen=True)
class Fidelity:
    """Signal to quantization noise of an activation in dB, against its counterpart, a tensor's name.

    ``10 log10(sum x^2 / sum (x - y)^2)`` over all samples and elements; infinite where nothing differs, None where it cannot
    be had. ``simulated``, ``runtime``: what y is. ``own``: the runtime's y against what the float op with the float
    file's weights makes of the runtime's own inputs: the noise of this op alone. ``rescaled``: its channels are, on purpose, so
    that there are no dB.
    """

    op: str
    output: int
    counterpart: str | None
    simulated: float | None
    runtime: float | None
    own: float | None
    rescaled: bool = False

    def to_json(self) -> dict[str, Any]:
        """In documents the counterpart is called ``like``."""
        shown = {k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in vars(self).items()}
        return {"like" if k == "counterpart" else k: v for k, v in shown.items()}


@final
@dataclass(frozen=True, eq=False)
class Own:
    """An op by itself: r is what its float counterpart makes of its inputs, g what it gave.

    ``moments``: n and the sums of r, g, r^2, g^2, r g per channel, [6, c], where r lies in the range of g's format.
    """

    signal: float
    error: float
    moments: np.ndarray

    def __add__(self, other: Own) -> Own:
        return Own(self.signal + other.signal, self.error + other.error, self.moments + other.moments)


@final
@dataclass(frozen=True, eq=False)
class Seen:
    """Sums over an activation: powers of the float values and of both errors, and how the values fit the format.

    ``low`` and ``high`` bound the float values; ``beyond`` counts those out of the format's range by more than half a step and
    ``excess`` is their power out of it; ``lowest`` and ``highest`` count stored integers at the ends of the type;
    ``histogram``: how the values lie in a per-tensor format.
    """

    count: int
    signal: float
    simulated: float
    runtime: float
    low: float
    high: float
    beyond: int
    excess: float
    lowest: int
    highest: int
    own: Own | None = None
    histogram: Histogram | None = None

    def __add__(self, other: Seen) -> Seen:
        apart = {"low", "high", "own", "histogram"}
        added = {name: value + getattr(other, name) for name, value in vars(self).items() if name not in apart}
        return Seen(
            **added,
            low=min(self.low, other.low),
            high=max(self.high, other.high),
            own=None if self.own is None or other.own is None else self.own + other.own,
            histogram=None if self.histogram is None or other.histogram is None else self.histogram + other.histogram,
        )


@final
@dataclass(frozen=True, eq=False)
class Traced:
    """What was seen of each activation of an integer network that has a counterpart."""

    counterparts: Counterparts
    seen: Mapping[int, Seen]

    @property
    def rows(self) -> tuple[Fidelity, ...]:
        """One for each input and each output of an op that stands for real numbers, in the network's order."""
        graph, makers = self.counterparts.graph, self.counterparts.graph.producers()
        ids = (*graph.inputs, *(i for op in graph.ops for i in op.outputs))
        return tuple(
            self._row(i, self.counterparts.label(makers[i]) if i in makers else f"input {graph[i].name!r}")
            for i in ids
            if i in self.seen or isinstance(graph[i].format, Affine)
        )

    def _row(self, i: int, label: str) -> Fidelity:
        seen = self.seen.get(i)
        if seen is None:
            return Fidelity(label, i, None, None, None, None)
        own = None if seen.own is None else decibels(seen.own.signal, seen.own.error)
        counterpart = self.counterparts.reference[self.counterparts.tensors[i]].name
        return Fidelity(label, i, counterpart, decibels(seen.signal, seen.simulated), decibels(seen.signal, seen.runtime), own)


def decibels(signal: float, error: float) -> float | None:
    """``10 log10(signal / error)``; None for no signal, infinite for no error. Worked: 1 over 0.001 is 30 dB."""
    if signal == 0:
        return None
    return math.inf if error == 0 else 10 * math.log10(signal / error)


def trace(counterparts: Counterparts, samples: Samples, kernels: Kernels, progress: StepProgress) -> Traced:
    """Run ``samples`` through the float network, the simulator, and the real runtime with every activation shown."""
    shown = exposed(counterparts.graph, unseen_outputs(counterparts.graph))
    step = max(_PIECE // max(sum(4 * math.prod(n or 1 for n in shown[i].shape) for i in shown.outputs), 1), 1)
    if shown.states:  # a piece would begin with states of its own
        step = max(len(samples), 1)
    seen: dict[int, Seen] = {}
    look = _Comparison(counterparts)
    with scratch.folder() as folder:
        path = folder / "shown.tflite"
        path.write_bytes(tflite.write(shown, kernels=False))
        for start in range(0, len(samples), step):
            piece, _ = samples.batch(np.arange(start, min(start + step, len(samples))))
            given = {
                f"t{i}": piece[name] for name, i in zip(counterparts.graph.input_names, counterparts.graph.inputs, strict=True)
            }
            made = run(path, given, kernels=kernels, raw=True, progress=onward(progress, start, len(samples)))
            for part in map_batches(look, _cut({**made, **given}, step if shown.states else look.rows)):
                for i, one in part.items():
                    seen[i] = seen[i] + one if i in seen else one
    return Traced(counterparts, seen)


def _cut(values: Mapping[str, np.ndarray], rows: int) -> Iterator[Batch]:
    count = len(next(iter(values.values())))
    return ({name: x[at : at + rows] for name, x in values.items()} for at in range(0, count, rows))


@final
class _Comparison:
    """What is seen of a few samples: inputs and the runtime's stored activations by ``t<id>`` in, sums by id out."""

    def __init__(self, counterparts: Counterparts) -> None:
        self.counterparts = counterparts
        self.exact, self.simulator = Program(counterparts.reference), Program(counterparts.graph)
        together = max(self.exact.lanes.size, self.simulator.lanes.size)
        self.rows = max(together, _ROWS // together * together)

    def __call__(self, batch: Batch) -> dict[int, Seen]:
        counterparts, graph = self.counterparts, self.counterparts.graph
        inputs = {i: torch.from_numpy(np.array(batch[f"t{i}"])) for i in graph.inputs}
        stored = {int(name[1:]): torch.from_numpy(np.array(x)) for name, x in batch.items()}
        stored |= {i: _entered(graph[i], x) for i, x in inputs.items()}
        gave = {i: _real(graph[i], q) for i, q in stored.items()}
        exact = _activations(self.exact, {self.counterparts.tensors[i]: x for i, x in inputs.items()})
        simulated = _activations(self.simulator, inputs)
        found: dict[int, Seen] = {}
        own = self._own(gave)
        for i, j in counterparts.tensors.items():
            if i in gave and i in simulated and j in exact and gave[i].shape == exact[j].shape:
                one = _seen(graph[i], stored[i], gave[i], simulated[i], exact[j])
                found[i] = replace(one, own=_alone(graph[i], own.get(i), gave[i]))
        return found

    def _own(self, gave: Mapping[int, torch.Tensor]) -> dict[int, torch.Tensor]:
        """What each op's float counterpart makes of the inputs that the op had."""
        made: dict[int, torch.Tensor] = {}
        if self.counterparts.graph.states:  # calls follow each other, and what an op reads of the one before is not shown
            return made
        for op in self.counterparts.graph.ops:
            found = self.counterparts.ops.get(op.output)
            if op.kind.converts and op.reads[0] in gave:
                made[op.output] = gave[op.reads[0]]
            elif found is not None and all(i in gave for i in found.inputs.values()):
                exact, count = self.exact, len(next(iter(gave.values())))
                values = {j: exact.lanes.enter(exact.graph[j], gave[i]) for j, i in found.inputs.items()}
                outputs = zip(found.op.outputs, exact.compute(found.op, values), strict=True)
                made |= zip(op.outputs, (exact.lanes.leave(exact.graph[j], y, count) for j, y in outputs), strict=True)
        return made


def _entered(t: Tensor, x: torch.Tensor) -> torch.Tensor:
    return quantize(x.to(torch.float32), t.format) if isinstance(t.format, Affine) and x.is_floating_point() else x


def _real(t: Tensor, stored: torch.Tensor) -> torch.Tensor:
    return dequantize(stored, t.format) if isinstance(t.format, Affine) else stored


def _activations(program: Program, inputs: Mapping[int, torch.Tensor]) -> dict[int, torch.Tensor]:
    """Every activation of real numbers by id, as the runtime gives it, for inputs by id."""
    graph, count = program.graph, len(next(iter(inputs.values())))
    names = dict(zip(graph.inputs, graph.input_names, strict=True))

    def look(t: Tensor, y: torch.Tensor) -> torch.Tensor:
        # a fused activation or a reshape may share memory
        return (program.lanes.leave(t, y, count) if program.lanes.size == 1 else y).clone()

    return program.look({names[i]: x for i, x in inputs.items()}, look)


def _seen(t: Tensor, stored: torch.Tensor, gave: torch.Tensor, simulated: torch.Tensor, exact: torch.Tensor) -> Seen:
    low, high, step = _range(t)
    outside, ends = exact - exact.clamp(low, high), (0, 0)
    if isinstance(t.format, Affine):
        first, last = limits(t.format.dtype)
        ends = int((stored == first).sum()), int((stored == last).sum())
    return Seen(
        count=exact.numel(),
        signal=_power(exact),
        simulated=_power(simulated.double() - exact),
        runtime=_power(gave.double() - exact),
        low=float(exact.min()),
        high=float(exact.max()),
        beyond=int((outside.abs() > step / 2).sum()),
        excess=_power(outside),
        lowest=ends[0],
        highest=ends[1],
        histogram=on_grid(t.format, exact, gave) if isinstance(t.format, Affine) and t.format.axis is None else None,
    )


def _alone(t: Tensor, expected: torch.Tensor | None, gave: torch.Tensor) -> Own | None:
    if expected is None or expected.shape != gave.shape:
        return None
    low, high, step = _range(t)
    inside = (expected >= low - step / 2) & (expected <= high + step / 2)
    r, g, n = (x.reshape(-1, x.shape[-1] if x.dim() > 1 else 1) for x in (expected.double() * inside, gave * inside, inside))
    moments = torch.stack([x.sum(0, dtype=torch.float64) for x in (n, r, g, r * r, g.double() ** 2, r * g)])
    return Own(_power(expected), _power(gave.double() - expected), moments.numpy())


def _range(t: Tensor) -> tuple[float, float, float]:
    """What a per-tensor format holds, and its step; anything else holds everything."""
    if not isinstance(t.format, Affine) or t.format.axis is not None:
        return -math.inf, math.inf, 0.0
    return *t.format.range, t.format.scale[0]


def _power(x: torch.Tensor) -> float:
    return float(x.double().square().sum())
