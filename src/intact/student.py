"""A planned network that learns: weights and step sizes are parameters, and rounding lets gradients through.

Source of the gradient of a step size: Esser et al. 2020, Learned Step Size Quantization (arXiv 1902.08153), equation 3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from intact.affine import Affine, Format, bias_format, limits
from intact.graph import Graph, Op
from intact.ops.base import Weight, as_tuple
from intact.plan import Entry, Plan


@final
class _FakeQuantize(torch.autograd.Function):
    """``s * clamp(round(x / s), low, high)``, with integers counted from the zero point.

    Gradients: to x, 1 inside the range and 0 outside; to s, ``y/s - x/s`` inside (the rounding error) and the bound outside.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, s: Tensor, low: float, high: float) -> Tensor:
        y = torch.div(x, s).round_().clamp_(low, high).mul_(s)
        ctx.save_for_backward(x, s, y)
        ctx.ends = low - 0.5, high + 0.5
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, s, y = ctx.saved_tensors
        if s.dim() == 0:
            # Few passes over memory: this is done to every activation, and costs as much as the convolutions.
            low, high = (float(s) * end for end in ctx.ends)
            through = torch.ops.aten.hardtanh_backward(grad, x, low, high)
            to_scale = torch.dot(grad.reshape(-1), y.reshape(-1)) - torch.dot(through.reshape(-1), x.reshape(-1))
        else:
            ratio, axes = x / s, [axis for axis in range(x.dim()) if s.shape[axis] == 1]
            through = grad * ((ratio > ctx.ends[0]) & (ratio < ctx.ends[1]))
            to_scale = (grad * y - through * x).sum(axes, keepdim=True)
        return through, to_scale / s, None, None


@final
class Student(torch.nn.Module):
    """``graph`` computed as ``plan`` stores it.

    Parameters: the weights of integer ops in steps of their first scale and the biases in steps of the op's output, so that one
    learning rate suits every channel and every number of bits; and the logarithm of how much each step size grew, one for every
    format that calibration chose and one per channel of every weight. Zero points stay. Biases are read as whole numbers of the
    sums they are added to.
    """

    def __init__(self, graph: Graph, plan: Plan, device: str | torch.device = "cpu") -> None:
        super().__init__()
        self.graph = graph
        self.plan = plan
        weights, biases = _weights(graph, plan)
        self._sums = _sums(graph, plan)
        chosen = {
            e.format
            for i, e in plan.tensors.items()
            if isinstance(e.format, Affine) and (i in weights or (not graph[i].is_constant and e.range is not None))
        }
        # A kernel's own format may equal a calibrated one by chance: pixels over 256 have SOFTMAX's. It must not grow.
        chosen -= {
            e.format for i, e in plan.tensors.items() if not graph[i].is_constant and e.range is None and graph[i].is_float
        }
        self._slots: dict[Format, str] = {fmt: str(n) for n, fmt in enumerate(sorted(chosen, key=repr))}
        self._scales: dict[Affine, Tensor] = {}
        #: Weights that are read as they are, instead of the learned ones rounded.
        self.given: dict[int, Tensor] = {}
        self.growth = torch.nn.ParameterDict(
            {slot: torch.zeros(len(fmt.scale) if fmt.axis is not None else (), device=device) for fmt, slot in self._formats()}
        )
        self._units = {i: torch.tensor(unit, dtype=torch.float32, device=device) for i, unit in _units(graph, plan).items()}
        self.weights = torch.nn.ParameterDict(
            {str(i): torch.tensor(graph[i].data, device=device) / self._units[i] for i in sorted({*weights, *biases})}
        )
        self._constants = {
            t.id: torch.from_numpy(np.array(t.data)).to(device if t.is_float else "cpu")
            for t in graph.constants()
            if str(t.id) not in self.weights
        }

    def _formats(self) -> Iterable[tuple[Affine, str]]:
        return ((fmt, slot) for fmt, slot in self._slots.items() if isinstance(fmt, Affine))

    def forward(self, inputs: Mapping[int, Tensor], wanted: Iterable[int]) -> dict[int, Tensor]:
        """The tensors ``wanted``, by id, for graph inputs by id, [n, ...] each."""
        return self.run(self.graph.ops, {i: self.store(x, self.plan.own(i)) for i, x in inputs.items()}, wanted)

    def run(self, ops: Sequence[Op], stored: Mapping[int, Tensor], wanted: Iterable[int]) -> dict[int, Tensor]:
        """The tensors ``wanted`` that ``ops`` make of tensors by id, as they are stored; no more ops than that takes."""
        wanted, values = set(wanted), dict(stored)
        last = {i: n for n, op in enumerate(ops) for i in op.reads}
        for n, op in enumerate(ops):
            if wanted <= values.keys():
                break
            for i, y in zip(op.outputs, as_tuple(op.kind.compute(*(self.read(i, op, values) for i in op.inputs))), strict=True):
                values[i] = self.store(y, self.plan.own(i)) if y.is_floating_point() else y
            for i in op.reads:
                if last[i] == n and i not in wanted:
                    values.pop(i, None)
        return {i: values[i] for i in wanted}

    def read(self, i: int | None, op: Op, values: Mapping[int, Tensor]) -> Tensor | None:
        """Tensor ``i`` as the op reads it."""
        if i is None:
            return None
        if i in self.given:
            return self.given[i]
        if str(i) in self.weights:
            data = self.real(i)
            if (i, op.output) in self._sums:
                return self._counted(data, *self._sums[i, op.output])
            return self.store(data, self.plan.at(i, op.output), symmetric=True)
        if i in self._constants:
            data = self._constants[i]
            return self.store(data, self.plan.at(i, op.output)) if data.is_floating_point() else data
        x, fmt = values[i], self.plan.at(i, op.output)
        return x if fmt == self.plan.own(i) else self.store(x, fmt)

    def real(self, i: int) -> Tensor:
        """The weight or bias ``i`` before it is rounded."""
        weight: Tensor = self.weights[str(i)] * self._units[i]
        return weight

    def assign(self, i: int, real: Tensor) -> None:
        """Let the weight or bias ``i`` be ``real``, of its own shape."""
        self.weights[str(i)].data = real / self._units[i]

    def learns(self, fmt: Format) -> bool:
        """Whether the step size of ``fmt`` is a parameter."""
        return fmt in self._slots

    def grow(self, fmt: Format, log_growth: float) -> None:
        """Let the step sizes of ``fmt`` be ``exp(log_growth)`` times those in the plan."""
        self.growth[self._slots[fmt]].data.fill_(log_growth)

    def store(self, x: Tensor, fmt: Format, *, symmetric: bool = False) -> Tensor:
        """``x`` rounded to ``fmt`` at the step size learned so far; as it is where ``fmt`` is no Affine."""
        if not isinstance(fmt, Affine):
            return x
        low, high = limits(fmt.dtype)
        low, zero = max(low, -high) if symmetric else low, fmt.zero_point[0]
        rounded: Tensor = _FakeQuantize.apply(x, self._scale(fmt, x), float(low - zero), float(high - zero))  # type: ignore[no-untyped-call]
        return rounded

    def _counted(self, bias: Tensor, activation: Affine, weight: Affine) -> Tensor:
        """``bias`` in whole units of ``scale_in * scale_weight[c]``; gradients pass to the bias, and none to the scales."""
        unit = (self._steps(activation, bias) * self._steps(weight, bias)).detach()
        return bias + (torch.round(bias / unit) * unit - bias).detach()

    def _steps(self, fmt: Affine, like: Tensor) -> Tensor:
        """The step sizes learned so far: [c], or [1]."""
        if fmt not in self._scales:
            self._scales[fmt] = torch.tensor(fmt.scale, device=like.device)
        scale = self._scales[fmt]
        return scale * self.growth[self._slots[fmt]].exp() if fmt in self._slots else scale

    def _scale(self, fmt: Affine, like: Tensor) -> Tensor:
        scale = self._steps(fmt, like)
        if fmt.axis is None:
            return scale.reshape(())
        return scale.reshape([-1 if axis == fmt.axis else 1 for axis in range(like.dim())])

    def learned(self) -> tuple[Graph, Plan]:
        """The graph with the learned weights, and the plan with the learned step sizes."""
        learned = {int(i): self.real(int(i)).detach().cpu().numpy() for i in self.weights}
        tensors = {i: replace(self.graph[i], data=data) for i, data in learned.items()}
        graph = replace(self.graph, tensors={**self.graph.tensors, **tensors})
        grown = {fmt: self._learned(fmt, slot) for fmt, slot in self._formats()}
        plan = replace(
            self.plan,
            tensors={i: _regrown(e, grown) for i, e in self.plan.tensors.items()},
            edges={edge: _regrown(e, grown) for edge, e in self.plan.edges.items()},
            boundary={i: _reseen(e, self.plan.own(i), grown) for i, e in self.plan.boundary.items()},
        )
        return graph, _with_bias_formats(graph, plan)

    def _learned(self, fmt: Affine, slot: str) -> Affine:
        growth = np.atleast_1d(self.growth[slot].detach().cpu().double().exp().numpy())
        return replace(fmt, scale=tuple((np.asarray(fmt.scale, np.float64) * growth).tolist()))


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


def own_biases(graph: Graph, plan: Plan) -> list[tuple[Op, int, int]]:
    """Those of :func:`integer_weights` with a bias that no other op reads, so that it may be corrected for this op alone."""
    readers = graph.consumers()
    return [(op, w, b) for op, w, b in integer_weights(graph, plan) if b is not None and len(readers[b]) == 1]


def _sums(graph: Graph, plan: Plan) -> dict[tuple[int, int], tuple[Affine, Affine]]:
    """By the ids of an integer bias and its op's output: the formats of activation and weight, whose product it counts in."""
    found = {}
    for op, w, b in integer_weights(graph, plan):
        if b is not None:
            data_id = next(i for i in op.reads if i not in (w, b) and graph[i].is_float)
            activation, weight = plan.at(data_id, op.output), plan.at(w, op.output)
            if isinstance(activation, Affine) and isinstance(weight, Affine):
                found[b, op.output] = activation, weight
    return found


def _regrown(entry: Entry, grown: Mapping[Affine, Affine]) -> Entry:
    if not isinstance(entry.format, Affine) or entry.format not in grown:
        return entry
    fmt = grown[entry.format]
    return Entry(
        fmt, f"step size learned, from {entry.why}", None if fmt.axis is not None or entry.range is None else fmt.range
    )


def _reseen(entry: Entry, inside: Format, grown: Mapping[Affine, Affine]) -> Entry:
    """What the caller sees of a tensor follows the tensor's own scale."""
    if isinstance(entry.format, Affine) and isinstance(inside, Affine) and inside in grown:
        return replace(entry, format=replace(entry.format, scale=grown[inside].scale))
    return entry


def _with_bias_formats(graph: Graph, plan: Plan) -> Plan:
    """Biases count in the learned scale of the input times that of the weight."""
    tensors, edges = dict(plan.tensors), dict(plan.edges)
    for (b, output), (activation, weight) in _sums(graph, plan).items():
        fmt = bias_format(activation, weight)
        if (b, output) in edges:
            edges[b, output] = replace(edges[b, output], format=fmt)
        else:
            tensors[b] = replace(tensors[b], format=fmt)
    return replace(plan, tensors=tensors, edges=edges)
