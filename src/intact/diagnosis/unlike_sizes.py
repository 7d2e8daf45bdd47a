"""Numbers of very different size in one tensor: found from calibration, mended where that is exact, told where it is not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias, final

import numpy as np
import torch

from intact.data import Finding
from intact.network.channels import Channels, free_channels
from intact.network.graph import Graph, Op, Tensor
from intact.network.shapes import concrete
from intact.network.weighted import columns, data_of, weight_of, weighted
from intact.numbers.affine import limits
from intact.ops.base import Fixed
from intact.ops.scales import ONE
from intact.planning.ranges import Range, width
from intact.planning.request import Request
from intact.rewrite.mending import Step, can_enter, can_leave, mended, parts
from intact.simulate.engine import Batch, Program

#: A part of a tensor that is left with fewer steps of the tensor's scale is lost in it. A choice: 4 of 8 bits.
_STEPS: Final = 16
#: A rewrite has to make the predicted squared error so many times smaller, or the steps of the least part more: a choice.
_CLEAR: Final = 4.0
#: Powers of two beyond this are left alone: a choice; with 2^20 and 8 bits on each side, float32 is at its end.
_MOST: Final = 20
#: What a layer's output is known to be like without rounding: a uniform distribution's power over its largest value's.
_POWER: Final = 1 / 3
#: How an op combines its operands where a scale of one of them shows in what it makes.
_ARITHMETIC: Final = ("sum", "difference", "product", "quotient")

#: Lowest and highest value of each column, the last axis: [c] each.
Extremes: TypeAlias = tuple[np.ndarray, np.ndarray]


@final
@dataclass(frozen=True)
class Mend:
    """What to do about numbers of different size: exact rewrites, ops (by first output) to keep in float, and what to say."""

    steps: tuple[Step, ...] = ()
    float_ops: tuple[int, ...] = ()
    findings: tuple[Finding, ...] = ()
    log: tuple[str, ...] = ()
    input_type: str | None = None
    output_type: str | None = None


def find(graph: Graph, ranges: Mapping[int, Range], batches: Iterable[Batch], request: Request) -> Mend:
    """What ``graph`` calls for, given the range of every activation and some samples to look at columns with."""
    wanted = _wanted(graph)
    seen = column_extremes(graph, wanted, batches) if wanted else {}
    look = _Look(graph, ranges, seen, request)
    if request.target.float_islands or request.scheme.activations == "int8":
        look.parts()
        look.concatenations()
        for i in graph.inputs:
            look.input(i)
        for i in graph.outputs:
            look.output(i)
    return look.mend()


def column_extremes(graph: Graph, wanted: set[int], batches: Iterable[Batch]) -> dict[int, Extremes]:
    """The extremes along the last axis of the tensors ``wanted``."""
    program, found = Program(graph), dict[int, Extremes]()

    def note(tensor: Tensor, y: torch.Tensor) -> None:
        if tensor.id in wanted:
            rows = y.reshape(-1, y.shape[-1])
            low, high = rows.amin(0).double().numpy(), rows.amax(0).double().numpy()
            before = found.get(tensor.id, (low, high))
            found[tensor.id] = np.minimum(low, before[0]), np.maximum(high, before[1])

    with torch.inference_mode():
        for batch in batches:
            program(batch, note)
    return found


def _wanted(graph: Graph) -> set[int]:
    """Tensors whose columns are looked at: rows of a table and what is made of them first, what meets in a CONCATENATION,
    and what outputs are made of.
    """
    wanted = {i for x in graph.inputs if _is_table(graph, x) for i, _ in _first(graph, x)}
    channels = free_channels(graph) if _meetings(graph) else None
    if channels is not None:
        wanted |= {x for op in channels.ops() if op.output in channels.taken and (x := data_of(graph, op)) is not None}
    makers = graph.producers()
    waiting = [i for i in graph.outputs if graph[i].is_float]
    while waiting:
        i = waiting.pop()
        op = makers.get(i)
        if op is None:
            continue
        if op.kind.weight is not None:
            wanted.add(i)
        elif op.kind.joins or _flow(graph, op) is not None:
            waiting += [j for j in op.reads if graph[j].is_float and not graph[j].is_constant]
    return wanted


def _is_table(graph: Graph, i: int) -> bool:
    """Whether an input has columns with a meaning each: rows of numbers, or a series of them, but no image."""
    return graph[i].is_float and len(graph[i].shape) in (2, 3) and concrete(graph[i])[-1] > 1


def _meetings(graph: Graph) -> bool:
    return any(op.kind.joins == "along" for op in graph.ops)


def _flow(graph: Graph, op: Op) -> int | None:
    """The one activation that an op reads which only moves numbers or calculates with constants."""
    flows = [i for i in dict.fromkeys(op.reads) if not graph[i].is_constant]
    simple = (op.kind.moves or op.kind.combines in _ARITHMETIC) and len(op.outputs) == 1
    return flows[0] if simple and len(flows) == 1 and graph[flows[0]].is_float else None


def _first(graph: Graph, i: int) -> list[tuple[int, Op | None]]:
    """The input and what is made of it by itself, one after the other, each with the op that makes it."""
    readers = graph.consumers()
    chain: list[tuple[int, Op | None]] = [(i, None)]
    while len(readers[i]) == 1 and i not in graph.ends and _flow(graph, readers[i][0]) == i:
        op = readers[i][0]
        i = op.output
        chain.append((i, op))
    return chain


def _least_steps(low: np.ndarray, high: np.ndarray, steps: int) -> tuple[float, int, int]:
    """How many steps of their common scale the narrowest column takes; it, and the column of the largest values."""
    spread = high - low
    whole = max(float(high.max()), 0.0) - min(float(low.min()), 0.0)
    alive = np.where(spread > 0, spread, np.inf)
    least = int(alive.argmin())
    if not np.isfinite(alive[least]) or whole <= 0:
        return float("inf"), least, least
    return float(steps * spread[least] / whole), least, int(np.maximum(-low, high).argmax())


@dataclass
class _Look:
    graph: Graph
    ranges: Mapping[int, Range]
    seen: Mapping[int, Extremes]
    request: Request
    steps: list[Step] = field(default_factory=list)
    float_ops: list[int] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    input_type: str | None = None
    output_type: str | None = None

    def __post_init__(self) -> None:
        low, high = limits(self.request.scheme.activations)
        self.count = high - low
        self.islands = self.request.target.float_islands
        self.makers = self.graph.producers()

    def mend(self) -> Mend:
        return Mend(
            tuple(self.steps), tuple(self.float_ops), tuple(self.findings), tuple(self.log), self.input_type, self.output_type
        )

    def _size(self, i: int) -> float:
        """How large a tensor's values get, as it is stored."""
        op = self.makers.get(i)
        if op is not None and isinstance(op.kind.range_rule, Fixed):
            scale, _ = op.kind.range_rule.by_dtype.get(self.request.scheme.activations, (0.0, 0))
            return scale * self.count if scale else width(self.ranges[i])
        return width(self.ranges[i])

    def _unlike(self, sizes: Iterable[float]) -> bool:
        alive = [size for size in sizes if size > 0]
        return bool(alive) and self.count * min(alive) < _STEPS * max(alive)

    def _apply(self, step: Step, said: str) -> None:
        self.graph = mended(self.graph, [step])
        self.makers = self.graph.producers()
        self.steps.append(step)
        self.log.append(said)

    # ---- inside -----------------------------------------------------------------------------------------------------

    def parts(self) -> None:
        """Weights whose output is taken apart into channels of different size become several, each with a scale of its own."""
        for op in self.graph.ops:
            found = parts(self.graph, op)
            if found and self._unlike(self._size(i) for i in found):
                label = self.graph.label(op)
                self._apply(Step("part", op.output), f"cut {label} into {len(found)}, whose outputs differ in size")

    def concatenations(self) -> None:
        """Branches that meet in one tensor are scaled by their own weights until what reads them loses least."""
        if not _meetings(self.graph):
            return
        channels = free_channels(self.graph)
        whole = {
            op.output
            for op in channels.ops()
            if op.output in channels.made and (channels.made[op.output] > ONE).all() and _passes_scales(self.graph, op)
        }
        readers = [reader for op in channels.ops() if (reader := self._reader(channels, op, whole)) is not None]
        exponents = dict.fromkeys(sorted({m for r in readers for m in r.makers}), 0)
        if not readers:
            return
        before = sum(r.noise(exponents) for r in readers)
        for _ in range(2):
            for maker in exponents:
                tried = {k: sum(r.noise({**exponents, maker: k}) for r in readers) for k in range(-_MOST, _MOST + 1)}
                exponents[maker] = min(tried, key=lambda k: (tried[k], abs(k)))
        if _CLEAR * sum(r.noise(exponents) for r in readers) > before:
            return
        for maker, k in exponents.items():
            if k:
                label = self.graph.label(self.makers[maker])
                self._apply(Step("scale", maker, (k,)), f"scaled {label} by 2^{-k}: it shares a tensor with others in size")

    def _reader(self, channels: Channels, op: Op, whole: set[int]) -> _Reader | None:
        """Weights that read several branches of different size, at least one of which can be scaled as a whole."""
        marks, x = channels.taken.get(op.output), data_of(self.graph, op)
        if marks is None or x is None or x not in self.seen or len(self.seen[x][0]) != len(marks):
            return None
        low, high = self.seen[x]
        sources = {m: np.isin(marks, channels.made[m]) for m in whole}
        sources = {m: here for m, here in sources.items() if here.any()}
        rest = ~np.logical_or.reduce([*sources.values(), np.zeros(len(marks), np.bool_)])
        sizes = [float(np.maximum(-low, high)[here].max()) for here in (*sources.values(), rest) if here.any()]
        if not sources or not self._unlike(sizes):
            return None
        w = weight_of(self.graph, op).astype(np.float64)
        axis = 0 if op.kind.weight is None else op.kind.weight.axis
        met = np.broadcast_to(columns(op, len(marks), w.shape), w.shape)
        rows, met = (np.moveaxis(a, axis, 0).reshape(w.shape[axis], -1) for a in (w, met))
        return _Reader(sources, low, high, rows, met, self.count)

    # ---- what the outside sees --------------------------------------------------------------------------------------

    def input(self, i: int) -> None:
        """Columns of an input: what scales them first stays in float where the input is, else it is said."""
        chain = [(t, op) for t, op in _first(self.graph, i) if t in self.seen] if _is_table(self.graph, i) else []
        if not chain:
            return
        steps, least, largest = _least_steps(*self.seen[i], self.count)
        if steps >= _STEPS:
            return
        options: list[tuple[float, int, tuple[int, ...]]] = [
            (_least_steps(*self.seen[t], self.count)[0], n, ()) for n, (t, _) in enumerate(chain)
        ]
        last = chain[-1][0]
        if can_enter(self.graph, last):
            low, high = self.seen[last]
            exponents = _exponents(np.maximum(-low, high))
            scaled = _least_steps(low / 2.0**exponents, high / 2.0**exponents, self.count)[0]
            options.append((scaled, len(chain), tuple(int(k) for k in exponents)))
        best, n, powers = max(options, key=lambda option: (option[0], -option[1]))
        mends = best >= _CLEAR * steps
        name = dict(zip(self.graph.inputs, self.graph.input_names, strict=True))[i]
        if mends and self.islands and self.request.input_type == "float32":
            self.float_ops += [op.output for _, op in chain[1 : n + 1] if op is not None]
            if powers:
                self.float_ops.append(self.graph.next_id)
                self._apply(Step("enter", last, powers), f"scaled the columns of input {name!r} in float, to one size")
            else:
                self.log.append(f"kept {n} ops at input {name!r} in float, behind which its columns are of one size")
            return
        low, high = self.seen[i]
        what = f"input {name!r} holds columns of very different ranges: column {largest} reaches "
        what += f"{max(-low[largest], high[largest]):.3g} and column {least} spans {high[least] - low[least]:.3g}, "
        what += f"which leaves it {steps:.2g} of {self.count} steps; "
        if mends and self.islands:
            if self.request.input_type is None:
                self.input_type = "float32"
            what += "--input-type float32 brings them to one size before they are rounded"
        else:
            what += "scale them to one size before the network"
            what += "" if self.count > limits("int8")[1] * 4 else ", or type --scheme int16x8"
        self.findings.append(Finding("unlike columns", what))

    def output(self, i: int) -> None:
        """What an output puts together: it stays apart, in float, until the end, else it is said."""
        tail = self._tail(i, last=True) if self.graph[i].is_float and i in self.makers else None
        if tail is None:
            return
        name = dict(zip(self.graph.outputs, self.graph.output_names, strict=True))[i]
        if self.islands and self.request.output_type == "float32":
            for t, powers in tail.leave:
                self._apply(Step("leave", t, powers), f"columns of output {name!r} get their sizes in float")
            self.float_ops += tail.ops
            self.log.append(f"kept {len(tail.ops)} ops at output {name!r} in float: it holds numbers of very different size")
            return
        what = f"output {name!r} holds numbers of very different size, up to {tail.largest:.3g} beside up to {tail.least:.3g}, "
        what += f"for which one scale leaves {self.count * tail.least / tail.largest:.2g} of {self.count} steps; "
        if self.islands:
            if self.request.output_type is None:
                self.output_type = "float32"
            what += "--output-type float32 keeps their scales apart until the end"
        else:
            what += "give the model an output for each, or type --scheme int16x8"
        self.findings.append(Finding("unlike outputs", what))

    def _tail(self, i: int, *, last: bool = False) -> _Tail | None:
        """The ops at the end of the network that have to be in float for what they put together to keep its own scale."""
        readers = self.graph.consumers()[i]
        op = self.makers.get(i)
        if op is None or (readers if last else len(readers) != 1 or i in self.graph.ends):
            return None
        if op.kind.weight is not None:
            low, high = self.seen.get(i, (np.zeros(1), np.zeros(1)))
            columns_of = np.maximum(-low, high)
            if not self._unlike(columns_of) or not can_leave(self.graph, op):
                return None
            powers = tuple(int(k) for k in _exponents(columns_of / columns_of.max()))
            return _Tail((i,), ((i, powers),), float(columns_of[columns_of > 0].min()), float(columns_of.max()))
        flow = _flow(self.graph, op)
        if flow is not None:
            before = self._tail(flow)
            return None if before is None else replace(before, ops=(*before.ops, i))
        if not op.kind.joins:
            return None
        branches = [j for j in dict.fromkeys(op.reads) if not self.graph[j].is_constant]
        tails = [tail for j in branches if (tail := self._tail(j)) is not None]
        sizes = [size for j in branches if (size := self._size(j)) > 0]
        if not tails and not self._unlike(sizes):
            return None
        sizes += [size for tail in tails for size in (tail.least, tail.largest)]
        return _Tail(
            (*(j for tail in tails for j in tail.ops), i),
            tuple(leave for tail in tails for leave in tail.leave),
            min(sizes),
            max(sizes),
        )


@final
@dataclass(frozen=True)
class _Tail:
    """First outputs of ops to keep in float, the tensors whose columns leave it scaled, and the sizes that differ."""

    ops: tuple[int, ...]
    leave: tuple[tuple[int, tuple[int, ...]], ...]
    least: float
    largest: float


@final
@dataclass(frozen=True, eq=False)
class _Reader:
    """Weights [c_out, n] and the input channel that each element reads, [c_out, n]; where each maker's channels are, [c_in]."""

    makers: Mapping[int, np.ndarray]
    low: np.ndarray
    high: np.ndarray
    weights: np.ndarray
    met: np.ndarray
    steps: int

    def noise(self, exponents: Mapping[int, int]) -> float:
        """The squared error expected at the output, over its power: of rounding the input, and of rounding the weights."""
        factors = np.ones(len(self.low))
        for maker, here in self.makers.items():
            factors[here] = 2.0 ** exponents[maker]
        low, high = self.low / factors, self.high / factors
        power = _POWER * np.square(np.maximum(-low, high))
        w = self.weights * factors[self.met]
        step = (max(high.max(), 0.0) - min(low.min(), 0.0)) / self.steps
        weight_step = np.abs(w).max(1) / limits("int8")[1]
        rounding = step**2 / 12 * np.square(w).sum() + (np.square(weight_step) / 12 * power[self.met].sum(1)).sum()
        return float(rounding / max((np.square(w) * power[self.met]).sum(), 1e-300))


def _passes_scales(graph: Graph, op: Op) -> bool:
    found = weighted(graph, op)
    return found is not None and found.kind.is_homogeneous


def _exponents(size: np.ndarray) -> np.ndarray:
    """The power of two at or above each size, which is between 2^-20 and 2^20; 0 for nothing."""
    return np.where(size > 0, np.ceil(np.log2(np.where(size > 0, size, 1.0))), 0).clip(-_MOST, _MOST)
