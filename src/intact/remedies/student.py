"""A planned network that learns: weights and step sizes are parameters, and rounding lets gradients through.

Source of the gradient of a step size: Esser et al. 2020, Learned Step Size Quantization (arXiv 1902.08153), equation 3.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, final

import numpy as np
import torch
from torch import Tensor

from intact.network.graph import Graph, Op
from intact.network.lanes import Lanes
from intact.numbers.affine import Affine, Format, bias_format, limits, weight_limits
from intact.ops.base import Moves, OpKind, SameAsInput, Weight
from intact.ops.call import CLAMPS
from intact.planning.plan import Edge, Entry, Plan
from intact.simulate.engine import one_per_core, run_ops

_LEARNED: Final = "step size learned"
#: Steps in a range from which on rounding errors are small beside the numbers: 16 bits.
_FINE: Final = 1 << 10


@final
@dataclass(frozen=True)
class _Made:
    """How a tensor was made, so that less of it is kept for the way back.

    ``clamp``: the ends of a fused activation that is still to be done; ``remake``, if given, makes the tensor again of
    ``operands``, which are kept anyway.
    """

    clamp: tuple[float, float] | None = None
    remake: Callable[..., Tensor] | None = None
    operands: tuple[Tensor | None, ...] = ()


_KEPT: Final = _Made()


@final
class _FakeQuantize(torch.autograd.Function):
    """``s * clamp(round(x / s), low, high)``, with integers counted from the zero point, of x clamped as ``made`` says.

    Gradients: to x, 1 inside the range and 0 outside; to s, ``y/s - x/s`` inside (the rounding error) and the bound outside.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, s: Tensor, ends: tuple[float, float], made: _Made, *operands: Tensor) -> Tensor:
        y = torch.div(x, s) if made.clamp is None else x.clamp(*made.clamp).div_(s)
        y.round_().clamp_(*ends).mul_(s)
        ctx.save_for_backward(s, y, *(operands if made.remake else (x,)))
        ctx.ends, ctx.clamp, ctx.remake = (ends[0] - 0.5, ends[1] + 0.5), made.clamp, made.remake
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        s, y, *kept = ctx.saved_tensors
        x = ctx.remake(*kept) if ctx.remake else kept[0]
        if s.dim() == 0:
            # Few passes over memory: this is done to every activation, and costs as much as the convolutions.
            low, high = (float(s) * end for end in ctx.ends)
            clamp = ctx.clamp
            if clamp is not None and clamp[0] == 0 and low < 0 and clamp[1] > high:
                low, clamp = 0.0, None  # RELU: what it stops is 0, and has no part in any sum
            elif clamp is not None:
                unclamped, x = x, x.clamp(*clamp)
            through = torch.ops.aten.hardtanh_backward(grad, x, low, high)
            if high - low > _FINE * float(s):
                # y and x are nearly alike: two sums of them would cancel.
                to_scale = torch.addcmul(grad * y, through, x, value=-1).sum()
            else:
                to_scale = torch.dot(grad.reshape(-1), y.reshape(-1)) - torch.dot(through.reshape(-1), x.reshape(-1))
            if clamp is not None:
                through = torch.ops.aten.hardtanh_backward(through, unclamped, *clamp)
        else:
            ratio, axes = x / s, [axis for axis in range(x.dim()) if s.shape[axis] == 1]
            through = grad * ((ratio > ctx.ends[0]) & (ratio < ctx.ends[1]))
            to_scale = (grad * y - through * x).sum(axes, keepdim=True)
        return through, to_scale / s, *[None] * (len(ctx.needs_input_grad) - 2)


@final
class Student(torch.nn.Module):
    """``graph`` computed as ``plan`` stores it.

    Parameters: the weights of integer ops in steps of their first scale and the biases in steps of the op's output, so that one
    learning rate suits every channel and every number of bits; and the logarithm of how much each step size grew, one for every
    activation whose range calibration chose (those that must share a scale share it) and one per channel of every weight. Zero
    points stay. Biases are read as whole numbers of the sums they are added to.
    """

    def __init__(self, graph: Graph, plan: Plan, device: str | torch.device = "cpu") -> None:
        super().__init__()
        self.graph = graph
        self.plan = plan
        self.device = device
        self.lanes = Lanes(graph)
        weights, biases = _weights(graph, plan)
        self._sums = _sums(graph, plan)
        self._slots = slots(graph, plan)
        self._scales: dict[Affine, Tensor] = {}
        #: What is read as it is instead of what was learned: weights and biases by themselves and their reader, steps by slot.
        self.given: dict[Edge | str, Tensor] = {}
        sizes = {slot: _growths(plan.at(*edge)) for edge, slot in self._slots.items()}
        self.growth = torch.nn.ParameterDict({slot: torch.zeros(size, device=device) for slot, size in sizes.items()})
        self._units = {i: torch.tensor(unit, dtype=torch.float32, device=device) for i, unit in _units(graph, plan).items()}
        self.weights = torch.nn.ParameterDict(
            {str(i): torch.tensor(graph[i].data, device=device) / self._units[i] for i in sorted({*weights, *biases})}
        )
        self._constants = {
            t.id: torch.from_numpy(np.array(t.data)).to(device if t.is_float else "cpu")
            for t in graph.constants()
            if str(t.id) not in self.weights
        }
        self._kinds = {op.output: _unclamped(op, plan) for op in graph.ops}
        self._moved = {op.output for op in graph.ops if _only_moves(op, graph, plan)}
        edges = ((i, op.output) for op in graph.ops for i in op.reads if i in self._constants)
        self._fixed = {edge: self._constant(*edge) for edge in edges if self.slot(*edge) is None}

    def forward(self, inputs: Mapping[int, Tensor], wanted: Iterable[int]) -> dict[int, Tensor]:
        """The tensors ``wanted``, by id, for graph inputs by id as a Program's ``entered`` gives them."""
        return self.run(self.graph.ops, {i: self.store(x, i) for i, x in inputs.items()}, wanted)

    def run(self, ops: Sequence[Op], stored: Mapping[int, Tensor], wanted: Iterable[int]) -> dict[int, Tensor]:
        """The tensors ``wanted`` that ``ops`` make of tensors by id, as they are stored; no more ops than that takes."""
        return run_ops(ops, stored, wanted, self._compute)

    def _compute(self, op: Op, values: Mapping[int, Tensor]) -> tuple[Tensor, ...]:
        kind, clamp = self._kinds[op.output]
        read = [self.read(i, op, values) for i in op.inputs]
        made = self.lanes.compute(op, kind, tuple(read))
        if op.output in self._moved:
            return made
        how = _Made(clamp, functools.partial(self._again, op, kind), tuple(read)) if kind.cheap else _Made(clamp)
        stored = zip(op.outputs, made, strict=True)
        return tuple(self.store(y, i, made=how) if y.is_floating_point() else y for i, y in stored)

    def _again(self, op: Op, kind: OpKind, *read: Tensor | None) -> Tensor:
        """The one output of a cheap op."""
        return self.lanes.compute(op, kind, read)[0]

    def read(self, i: int | None, op: Op, values: Mapping[int, Tensor]) -> Tensor | None:
        """Tensor ``i`` as the op reads it."""
        if i is None:
            return None
        if (i, op.output) in self.given:
            return self.given[i, op.output]
        if str(i) in self.weights:
            return self._rounded(i, op.output)
        if i in self._constants:
            return self._fixed[i, op.output] if (i, op.output) in self._fixed else self._constant(i, op.output)
        x, fmt = values[i], self.plan.at(i, op.output)
        return x if fmt == self.plan.own(i) else self.store(x, i, op.output)

    def _constant(self, i: int, reader: int) -> Tensor:
        data = self._constants[i]
        return self.store(data, i, reader) if data.is_floating_point() else data

    def learned_once(self) -> dict[Edge | str, Tensor]:
        """What no sample changes, and may be ``given`` to many passes: weights and biases as read, and steps of activations."""
        edges = [(i, op.output) for op in self.graph.ops for i in op.reads if str(i) in self.weights]
        made = one_per_core(lambda edge: self._rounded(*edge), edges, self.device)
        of_weights = {self.slot(*edge) for edge in edges}
        steps = {slot: self._steps(*edge) for edge, slot in self._slots.items() if slot not in of_weights}
        return dict([*zip(edges, made, strict=True), *steps.items()])

    def _rounded(self, i: int, reader: int) -> Tensor:
        data = self.real(i)
        if (i, reader) in self._sums:
            return self._counted(data, reader, *self._sums[i, reader])
        return self.store(data, i, reader, symmetric=True)

    def real(self, i: int) -> Tensor:
        """The weight or bias ``i`` before it is rounded."""
        weight: Tensor = self.weights[str(i)] * self._units[i]
        return weight

    def assign(self, i: int, real: Tensor) -> None:
        """Let the weight or bias ``i`` be ``real``, of its own shape."""
        self.weights[str(i)].data = real / self._units[i]

    def slot(self, i: int, reader: int | None = None) -> str | None:
        """The parameter of the step size of ``i``, as it is produced or as ``reader`` gets it; None where that is fixed."""
        return self._slots.get(_place(self.plan, i, reader))

    def grow(self, slot: str, log_growth: float) -> None:
        """Let the step sizes of ``slot`` be ``exp(log_growth)`` times those in the plan."""
        self.growth[slot].data.fill_(log_growth)

    def store(self, x: Tensor, i: int, reader: int | None = None, *, symmetric: bool = False, made: _Made = _KEPT) -> Tensor:
        """``x`` as tensor ``i`` is produced, or as ``reader`` gets it, at the step size learned so far; real where that is."""
        fmt = self.plan.own(i) if reader is None else self.plan.at(i, reader)
        if not isinstance(fmt, Affine):
            return x
        (low, high), zero = weight_limits(fmt.dtype) if symmetric else limits(fmt.dtype), fmt.zero_point[0]
        scale = self._steps(i, reader)
        scale = scale.reshape([-1 if axis == fmt.axis else 1 for axis in range(x.dim())] if fmt.axis is not None else ())
        ends = float(low - zero), float(high - zero)
        rounded: Tensor = _FakeQuantize.apply(x, scale, ends, made, *made.operands)  # type: ignore[no-untyped-call]
        return rounded

    def _counted(self, bias: Tensor, reader: int, activation: int, weight: int) -> Tensor:
        """``bias`` in whole units of ``scale_in * scale_weight[c]``; gradients pass to the bias, and none to the scales."""
        steps = [self._steps(i, reader) for i in (activation, weight)]
        unit = (steps[0] * steps[1]).detach()
        return bias + (torch.round(bias / unit) * unit - bias).detach()

    def _steps(self, i: int, reader: int | None) -> Tensor:
        """The step sizes learned so far: [c], or [1]."""
        slot = self.slot(i, reader)
        if slot is not None and slot in self.given:
            return self.given[slot]
        fmt = self.plan.own(i) if reader is None else self.plan.at(i, reader)
        if not isinstance(fmt, Affine):
            raise TypeError(f"tensor {i} has no step size")
        if fmt not in self._scales:
            self._scales[fmt] = torch.tensor(fmt.scale, device=self.device)
        return self._scales[fmt] if slot is None else self._scales[fmt] * self.growth[slot].exp()

    def learned(self) -> tuple[Graph, Plan]:
        """The graph with the learned weights, and the plan with the learned step sizes."""
        learned = {int(i): self.real(int(i)).detach().cpu().numpy() for i in self.weights}
        tensors = {i: replace(self.graph[i], data=data) for i, data in learned.items()}
        graph = replace(self.graph, tensors={**self.graph.tensors, **tensors})
        plan = replace(
            self.plan,
            tensors={i: self._regrown(e, i) for i, e in self.plan.tensors.items()},
            edges={edge: self._regrown(e, *edge) for edge, e in self.plan.edges.items()},
            boundary={i: self._reseen(e, i) for i, e in self.plan.boundary.items()},
        )
        return graph, with_bias_formats(graph, plan)

    def _regrown(self, entry: Entry, i: int, reader: int | None = None) -> Entry:
        slot, fmt = self.slot(i, reader), entry.format
        if slot is None or not isinstance(fmt, Affine):
            return entry
        log_growth = np.atleast_1d(self.growth[slot].detach().cpu().double().numpy())
        if not log_growth.any():
            return entry
        growth = np.exp(log_growth)
        grown = replace(fmt, scale=tuple((np.asarray(fmt.scale, np.float64) * growth).tolist()))
        seen = None if fmt.axis is not None or entry.range is None else grown.range
        return Entry(grown, entry.why if entry.why.startswith(_LEARNED) else f"{_LEARNED}, from {entry.why}", seen)

    def _reseen(self, entry: Entry, i: int) -> Entry:
        """What the caller sees of a tensor follows the tensor's own scale."""
        own = self.plan.tensors.get(i)
        if own is None or not isinstance(own.format, Affine) or not isinstance(entry.format, Affine):
            return entry
        grown = self._regrown(own, i).format
        if entry.format.scale != own.format.scale or not isinstance(grown, Affine):
            return entry
        return replace(entry, format=replace(entry.format, scale=grown.scale))


def _unclamped(op: Op, plan: Plan) -> tuple[OpKind, tuple[float, float] | None]:
    """The op without its fused activation, and the ends that clamp its output instead where that is stored as integers."""
    clamp = CLAMPS[op.kind.unfused()[1]]
    if clamp is None or clamp == CLAMPS["none"] or not isinstance(plan.own(op.output), Affine):
        return op.kind, None
    return replace(op.kind, activation="none"), clamp  # type: ignore[type-var]


def _only_moves(op: Op, graph: Graph, plan: Plan) -> bool:
    """Whether all that the op makes is on the grid of its outputs already."""
    formats = {plan.at(i, op.output) for i in op.reads if graph[i].is_float} | {plan.own(i) for i in op.outputs}
    return isinstance(op.kind, Moves) and len(formats) == 1


def _place(plan: Plan, i: int, reader: int | None) -> Edge:
    """What has a format of its own: a tensor read in another format than it was produced in, or the tensor (as its reader)."""
    return (i, reader) if reader is not None and (i, reader) in plan.edges else (i, i)


def slots(graph: Graph, plan: Plan) -> dict[Edge, str]:
    """The places whose step size may be learned, each with the name of its parameter.

    Those have one parameter that an op ties because it only moves numbers, and all copies of a tensor in one format. Where a
    kernel fixes the format of one of them, none learns.
    """
    weights, _ = _weights(graph, plan)
    places = [*((i, i) for i in plan.tensors), *plan.edges]
    above = {place: place for place in places}

    def root(place: Edge) -> Edge:
        while above[place] != place:
            place = above[place]
        return place

    def tie(one: Edge, other: Edge) -> None:
        if one in above and other in above and plan.at(*one) == plan.at(*other):
            above[root(one)] = root(other)

    copies: dict[tuple[int, Format], Edge] = {}
    for place in places:
        tie(place, copies.setdefault((place[0], plan.at(*place)), place))
    for op in graph.ops:
        if isinstance(op.kind.range_rule, SameAsInput):
            for other in (*((i, i) for i in op.outputs), *(_place(plan, i, op.output) for i in op.reads)):
                tie((op.output, op.output), other)
    entries = {(i, i): e for i, e in plan.tensors.items()} | dict(plan.edges)
    learned, fixed = set[Edge](), set[Edge]()
    for place, entry in entries.items():
        i = place[0]
        if i in weights:
            learned |= {root(place)} if isinstance(entry.format, Affine) else set()
        elif graph[i].is_float and not graph[i].is_constant:
            (fixed if entry.range is None else learned).add(root(place))
    names = {place: str(n) for n, place in enumerate(sorted(learned - fixed))}
    return {place: names[root(place)] for place in places if root(place) in names}


def _growths(fmt: Format) -> tuple[int, ...]:
    """The shape of what is learned of a format: [c], or []."""
    return (len(fmt.scale),) if isinstance(fmt, Affine) and fmt.axis is not None else ()


def _weights(graph: Graph, plan: Plan) -> tuple[set[int], set[int]]:
    """Ids of the weights and of the biases that the plan stores as integers."""
    weights, biases = set[int](), set[int]()
    for _, w, b in integer_weights(graph, plan):
        weights.add(w)
        biases |= set() if b is None else {b}
    return weights, biases


def _units(graph: Graph, plan: Plan) -> dict[int, np.ndarray]:
    """What each weight and bias counts in: powers of two, so that nothing is rounded, near the step size."""
    units: dict[int, np.ndarray] = {}
    for op, w, b in integer_weights(graph, plan):
        weight, output = plan.at(w, op.output), plan.own(op.output)
        if isinstance(weight, Affine):
            shape = [-1 if axis == weight.axis else 1 for axis in range(len(graph[w].shape))]
            units[w] = _power_of_two(np.asarray(weight.scale)).reshape(shape)
        if b is not None and isinstance(output, Affine):
            units[b] = _power_of_two(np.asarray(output.scale[0]))
    return units


def _power_of_two(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp2(np.round(np.log2(x))))


def integer_weights(graph: Graph, plan: Plan) -> list[tuple[Op, int, int | None]]:
    """The ops whose weight the plan stores as integers, each with the ids of its weight and bias."""
    found = []
    for op in graph.ops:
        weight: Weight | None = op.kind.weight
        w = None if weight is None else op.inputs[weight.input]
        if weight is None or w is None or not graph[w].is_constant or not isinstance(plan.at(w, op.output), Affine):
            continue
        b = op.inputs[weight.bias] if weight.bias < len(op.inputs) else None
        found.append((op, w, b if b is not None and isinstance(plan.at(b, op.output), Affine) else None))
    return found


def taught(ops: Sequence[Op], outputs: Iterable[int], graph: Graph) -> tuple[int, ...]:
    """The tensors by which what comes before them learns: the outputs that gradients pass from, and what ops read that let none
    through."""
    reached, cut = set[int](), list[int]()
    for op in ops:
        if op.kind.differentiable:
            reached.update(i for i in op.outputs if graph[i].is_float)
        else:
            cut += [i for i in op.reads if i in reached]
    return tuple(dict.fromkeys([*(i for i in outputs if i in reached), *cut]))


def own_biases(graph: Graph, plan: Plan) -> list[tuple[Op, int, int]]:
    """Those of :func:`integer_weights` with a bias that no other op reads, so that it may be corrected for this op alone."""
    readers = graph.consumers()
    return [(op, w, b) for op, w, b in integer_weights(graph, plan) if b is not None and len(readers[b]) == 1]


def _sums(graph: Graph, plan: Plan) -> dict[Edge, tuple[int, int]]:
    """By the ids of an integer bias and its op's output: the activation and the weight in whose product's units it counts."""
    found = {}
    for op, w, b in integer_weights(graph, plan):
        if b is not None:
            data_id = next(i for i in op.reads if i not in (w, b) and graph[i].is_float)
            if isinstance(plan.at(data_id, op.output), Affine):
                found[b, op.output] = data_id, w
    return found


def with_bias_formats(graph: Graph, plan: Plan) -> Plan:
    """Biases count in the learned scale of the input times that of the weight."""
    tensors, edges, settled = dict(plan.tensors), dict(plan.edges), set[int]()
    for (b, output), read in _sums(graph, plan).items():
        activation, weight = (plan.at(i, output) for i in read)
        entry = plan.entry(b, output)
        if entry is None or not isinstance(activation, Affine) or not isinstance(weight, Affine):
            continue
        made = replace(entry, format=bias_format(activation, weight))
        if (b, output) not in edges and b not in settled:
            settled.add(b)
            tensors[b] = made
        elif (b, output) in edges or made.format != tensors[b].format:  # another reader's scales may have grown apart
            edges[b, output] = made
    return replace(plan, tensors=tensors, edges=edges)
