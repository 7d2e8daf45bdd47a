"""A planned network that learns: weights and step sizes are parameters, and rounding lets gradients through."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final, TypeAlias, final

import numpy as np
import torch
from torch import Tensor

from intact.network.graph import Graph, Op
from intact.network.lanes import Lanes
from intact.numbers.affine import Affine, Format, limits, weight_limits
from intact.numbers.blocks import Blocks
from intact.ops.base import OpKind
from intact.ops.call import CLAMPS
from intact.planning.plan import Edge, Plan
from intact.planning.steps import distance, grown, place_of, retabled, slots, stored_as_integers, sums, units, with_bias_formats
from intact.remedies.straight_through import KEPT, Made, fake_cluster, fake_quantize, in_units, whole
from intact.simulate.engine import one_per_core, run_ops

#: What is read as it is instead of what was learned: weights and biases by themselves and their reader, steps by slot.
Given: TypeAlias = Mapping[Edge | str, Tensor]

NOTHING: Final[Given] = MappingProxyType({})


@final
class Student(torch.nn.Module):
    """``graph`` computed as ``plan`` stores it.

    Parameters: the weights of integer ops in steps of their first scale and the biases in steps of the op's output, so that one
    learning rate suits every channel and every number of bits; and the logarithm of how much each step size grew, one for every
    activation whose range calibration chose (those that must share a scale share it) and one per channel of every weight. Zero
    points stay. Biases are read as whole numbers of the sums they are added to. So are a codebook's numbers, in steps of about
    their distance.
    """

    def __init__(self, graph: Graph, plan: Plan, device: str | torch.device = "cpu", precision: str = "float32") -> None:
        super().__init__()
        self.graph = graph
        self.plan = plan
        self.device = device
        self.precision: torch.dtype = getattr(torch, precision)
        self.lanes = Lanes(graph)
        self._sums = sums(graph, plan)
        self._slots = slots(graph, plan)
        self._scales: dict[Affine, Tensor] = {}
        self._of_blocks: dict[tuple[int, int | None], Tensor] = {}
        sizes = {slot: _growths(plan.at(*edge)) for edge, slot in self._slots.items()}
        self.growth = torch.nn.ParameterDict({slot: torch.zeros(size, device=device) for slot, size in sizes.items()})
        self._tables = {
            slot: fmt.codebook
            for edge, slot in self._slots.items()
            if isinstance(fmt := plan.at(*edge), Affine) and fmt.codebook
        }
        self.tables = torch.nn.ParameterDict(
            {
                slot: torch.tensor(table.values, dtype=torch.float32, device=device) / distance(table)
                for slot, table in self._tables.items()
            }
        )
        self._units = {i: torch.tensor(unit, dtype=torch.float32, device=device) for i, unit in units(graph, plan).items()}
        learning = {t.id for one in stored_as_integers(graph, plan) for t in (one.weight, one.bias) if t is not None}
        self.weights = torch.nn.ParameterDict(
            {str(i): torch.tensor(graph[i].data, device=device) / self._units[i] for i in sorted(learning)}
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

    def forward(self, inputs: Mapping[int, Tensor], wanted: Iterable[int], given: Given = NOTHING) -> dict[int, Tensor]:
        """The tensors ``wanted``, by id, for graph inputs by id as a Program's ``entered`` gives them."""
        return self.run(self.graph.ops, self.entered(inputs, given), wanted, given)

    def entered(self, inputs: Mapping[int, Tensor], given: Given = NOTHING) -> dict[int, Tensor]:
        """Graph inputs as the network gets them: as the caller stores them, and then as the first ops read them."""

        def outside(x: Tensor, i: int) -> Tensor:
            own, fmt = self.plan.own(i), self.plan.outside(i)
            if not isinstance(fmt, Affine) or (isinstance(own, Affine) and own.scale == fmt.scale):
                return x
            (low, high), zero = limits(fmt.dtype), fmt.zero_point[0]
            return fake_quantize(x, torch.tensor(fmt.scale, device=self.device), (low - zero, high - zero))

        return {i: self.store(outside(x, i), i, given=given) for i, x in inputs.items()}

    def run(
        self, ops: Sequence[Op], stored: Mapping[int, Tensor], wanted: Iterable[int], given: Given = NOTHING
    ) -> dict[int, Tensor]:
        """The tensors ``wanted`` that ``ops`` make of tensors by id, as they are stored; no more ops than that takes."""
        return run_ops(ops, stored, wanted, functools.partial(self._compute, given))

    def _compute(self, given: Given, op: Op, values: Mapping[int, Tensor]) -> tuple[Tensor, ...]:
        kind, clamp = self._kinds[op.output]
        read = [self.read(i, op, values, given) for i in op.inputs]
        made = self._computed(op, kind, tuple(read))
        if op.output in self._moved:
            return made
        how = Made(clamp, functools.partial(self._again, op, kind), tuple(read)) if kind.cheap else Made(clamp)
        stored = zip(op.outputs, made, strict=True)
        return tuple(self.store(y, i, made=how, given=given) if y.is_floating_point() else y for i, y in stored)

    def _computed(self, op: Op, kind: OpKind, read: tuple[Tensor | None, ...]) -> tuple[Tensor, ...]:
        """What the op makes, in float32: products at the precision asked for, and stored without its rounding."""
        if self.precision is torch.float32:
            return self.lanes.compute(op, kind, read)
        with torch.autocast(torch.device(self.device).type, self.precision, cache_enabled=False):
            made = self.lanes.compute(op, kind, read)
        return tuple(y.float() if y.is_floating_point() else y for y in made)

    def _again(self, op: Op, kind: OpKind, *read: Tensor | None) -> Tensor:
        """The one output of a cheap op."""
        return self.lanes.compute(op, kind, read)[0]

    def read(self, i: int | None, op: Op, values: Mapping[int, Tensor], given: Given = NOTHING) -> Tensor | None:
        """Tensor ``i`` as the op reads it."""
        if i is None:
            return None
        if (i, op.output) in given:
            return given[i, op.output]
        if str(i) in self.weights:
            return self._rounded(i, op.output, given)
        if i in self._constants:
            return self._fixed[i, op.output] if (i, op.output) in self._fixed else self._constant(i, op.output, given)
        x, fmt = values[i], self.plan.at(i, op.output)
        return x if fmt == self.plan.own(i) else self.store(x, i, op.output, given=given)

    def _constant(self, i: int, reader: int, given: Given = NOTHING) -> Tensor:
        data = self._constants[i]
        return self.store(data, i, reader, given=given) if data.is_floating_point() else data

    def learned_once(self) -> Given:
        """What no sample changes, and may be ``given`` to many passes: weights and biases as read, and steps of activations."""
        edges = [(i, op.output) for op in self.graph.ops for i in op.reads if str(i) in self.weights]
        made = one_per_core(lambda edge: self._rounded(*edge), edges, self.device)
        of_weights = {self.slot(*edge) for edge in edges}
        steps = {slot: self._steps(*edge) for edge, slot in self._slots.items() if slot not in of_weights}
        return dict([*zip(edges, made, strict=True), *steps.items()])

    def _rounded(self, i: int, reader: int, given: Given = NOTHING) -> Tensor:
        data = self.real(i)
        if (i, reader) in self._sums:
            return in_units(data, [self._steps(other, reader, given) for other in self._sums[i, reader]])
        return self.store(data, i, reader, symmetric=True, given=given)

    def real(self, i: int) -> Tensor:
        """The weight or bias ``i`` before it is rounded, if it is."""
        if str(i) not in self.weights:
            return self._constants[i]
        weight: Tensor = self.weights[str(i)] * self._units[i]
        return weight

    def assign(self, i: int, real: Tensor) -> None:
        """Let the weight or bias ``i`` be ``real``, of its own shape."""
        if str(i) in self.weights:
            self.weights[str(i)].data = real / self._units[i]
            return
        self._constants[i] = real
        self._fixed |= {edge: self._constant(*edge) for edge in self._fixed if edge[0] == i}

    def slot(self, i: int, reader: int | None = None) -> str | None:
        """The parameter of the step size of ``i``, as it is produced or as ``reader`` gets it; None where that is fixed."""
        return self._slots.get(place_of(self.plan, i, reader))

    def grow(self, slot: str, log_growth: float) -> None:
        """Let the step sizes of ``slot`` be ``exp(log_growth)`` times those in the plan."""
        self.growth[slot].data.fill_(log_growth)

    def widen(self, edge: Edge, times: Tensor) -> None:
        """Let the steps of a weight, by its id and its reader, be so many ``times`` those in the plan, [c]."""
        slot = self.slot(*edge)
        if slot is None:
            raise TypeError(f"tensor {edge[0]} has no step sizes that may change")
        self.growth[slot].data = times.log().to(self.growth[slot])

    def store(  # noqa: PLR0913  # all but two have defaults
        self,
        x: Tensor,
        i: int,
        reader: int | None = None,
        *,
        symmetric: bool = False,
        made: Made = KEPT,
        given: Given = NOTHING,
    ) -> Tensor:
        """``x`` as tensor ``i`` is produced, or as ``reader`` gets it, at the step size learned so far; real where that is."""
        fmt = self.plan.own(i) if reader is None else self.plan.at(i, reader)
        if not isinstance(fmt, Affine):
            return x
        (low, high), zero = weight_limits(fmt.dtype) if symmetric else limits(fmt.dtype), fmt.zero_point[0]
        scale = self._steps(i, reader, given)
        if fmt.block_scales is not None:  # no remedy that is for such weights learns steps
            return fake_quantize(x, torch.from_numpy(fmt.block_scales.steps()).to(x), (low, high))
        scale = scale.reshape([-1 if axis == fmt.axis else 1 for axis in range(x.dim())] if fmt.axis is not None else ())
        if fmt.codebook is not None:
            return fake_cluster(x, scale, self._table(fmt, self.slot(i, reader)), fmt.codebook.axis)
        if fmt.blocks is not None:
            most = fmt.blocks.highest
            return fake_quantize(x, scale * self._multiples(i, reader, fmt.blocks), (-most, most))
        return fake_quantize(x, scale, (low - zero, high - zero), made)

    def table(self, i: int, reader: int) -> Tensor | None:
        """The numbers learned so far of the codebook of a weight, [t, k] in its steps; None where it has none."""
        fmt = self.plan.at(i, reader)
        return self._table(fmt, self.slot(i, reader)) if isinstance(fmt, Affine) and fmt.codebook is not None else None

    def _table(self, fmt: Affine, slot: str | None) -> Tensor:
        if fmt.codebook is None:
            raise TypeError("no codebook")
        if slot is None:
            return torch.tensor(fmt.codebook.values, dtype=torch.float32, device=self.device)
        return whole(self.tables[slot] * distance(fmt.codebook), weight_limits(fmt.dtype)[1])

    def multiples(self, i: int, reader: int) -> Tensor | None:
        """The multiples of its channel's step that each number of a weight counts in; None where it has no blocks."""
        fmt = self.plan.at(i, reader)
        return self._multiples(i, reader, fmt.blocks) if isinstance(fmt, Affine) and fmt.blocks is not None else None

    def _multiples(self, i: int, reader: int | None, blocks: Blocks) -> Tensor:
        if (i, reader) not in self._of_blocks:
            steps = blocks.steps(tuple(self.weights[str(i)].shape))
            self._of_blocks[i, reader] = torch.tensor(steps, device=self.device)
        return self._of_blocks[i, reader]

    def _steps(self, i: int, reader: int | None, given: Given = NOTHING) -> Tensor:
        """The step sizes learned so far: [c], or [1]."""
        slot = self.slot(i, reader)
        if slot is not None and slot in given:
            return given[slot]
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
        growth = {slot: np.atleast_1d(x.detach().cpu().double().numpy()) for slot, x in self.growth.items()}
        tables = {
            slot: whole(x.detach() * distance(self._tables[slot]), weight_limits("int8")[1]).cpu().numpy()
            for slot, x in self.tables.items()
        }
        return graph, with_bias_formats(graph, retabled(grown(self.plan, self._slots, growth), self._slots, tables))


def _unclamped(op: Op, plan: Plan) -> tuple[OpKind, tuple[float, float] | None]:
    """The op without its fused activation, and the ends that clamp its output instead where that is stored as integers."""
    plain, activation = op.kind.unfused()
    clamp = CLAMPS[activation]
    if clamp is None or clamp == CLAMPS["none"] or not isinstance(plan.own(op.output), Affine):
        return op.kind, None
    return plain, clamp


def _only_moves(op: Op, graph: Graph, plan: Plan) -> bool:
    """Whether all that the op makes is on the grid of its outputs already."""
    formats = {plan.at(i, op.output) for i in op.reads if graph[i].is_float} | {plan.own(i) for i in op.outputs}
    return op.kind.moves and len(formats) == 1


def _growths(fmt: Format) -> tuple[int, ...]:
    """The shape of what is learned of a format: [c], or []."""
    return (len(fmt.scale),) if isinstance(fmt, Affine) and fmt.axis is not None else ()
