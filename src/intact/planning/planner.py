"""Makes a Plan from a float graph, its calibrated ranges and what was asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from intact.errors import ModelError, OptionError
from intact.network.graph import Graph, Op
from intact.network.weighted import Weighted, weighted
from intact.numbers.affine import (
    Affine,
    Float,
    Format,
    affine_from_range,
    bias_format,
    limits,
    symmetric,
    weight_limits,
)
from intact.ops.base import SameAsInput
from intact.planning.codebooks import float_codebook
from intact.planning.common_steps import with_common_steps
from intact.planning.exactness import exact
from intact.planning.integer_ops import AS_INT32, bytes_as_stored, integer_ops_of, kept_float
from intact.planning.masks import Masks, is_bounded
from intact.planning.mixed_widths import accumulators, mixed, wide_ops, wider
from intact.planning.plan import Edge, Entry, Plan
from intact.planning.ranges import Range
from intact.planning.request import Request
from intact.planning.shared_scales import Groups, share_scales
from intact.planning.weights import LARGEST_MULTIPLIER, hybrid_weight, integer_weight

#: Weights and constants with fewer elements stay float32 in ``float16`` and ``dynamic…``: the extra op would cost more bytes.
WORTH_IT: Final = 256

_FLOAT: Final = Entry(Float(), "stays float32")


def make_plan(graph: Graph, ranges: Mapping[int, Range], request: Request) -> Plan:
    """The plan for the float ``graph``. ``ranges`` holds (low, high) for every activation when the scheme is an integer one.

    Raises UnsupportedError when an op has no integer kernel and the target forbids float islands, OptionError when
    ``keep_float`` matches nothing.
    """
    draft = _Draft(graph, request, ranges, kept_float(graph, request))
    if request.scheme.is_integer:
        draft.plan_integers()
    else:
        draft.plan_weights_only()
    named = {*draft.tensors, *draft.boundary, *(i for edge in draft.edges for i in edge)}
    plan = Plan(
        scheme=request.scheme.name,
        target=request.target.name,
        tensors=dict(sorted(draft.tensors.items())),
        edges=dict(sorted(draft.edges.items())),
        boundary=dict(sorted(draft.boundary.items())),
        names={i: graph[i].origin for i in sorted(named)},
        steps=request.steps,
    )
    return with_common_steps(graph, plan)


def mixed_plan(graph: Graph, ranges: Mapping[int, Range], request: Request, outputs: Iterable[int]) -> Plan:
    """The plan for ``request`` with the activations ``outputs`` (ids that ops make) stored as int16.

    An op computes on int16 when it makes or reads one of them. Left at 8 bits is what an op without an int16 kernel makes or
    reads.
    """
    narrow, ops = make_plan(graph, ranges, request), wide_ops(graph, request.target, outputs)
    return mixed(graph, narrow, make_plan(graph, ranges, wider(request)), ops) if ops else narrow


def first_plan(graph: Graph, ranges: Mapping[int, Range], request: Request, outputs: Iterable[int] = ()) -> Plan:
    """The plan for ``request`` with ``outputs`` as int16, and in an int8 plan the states which add up (:func:`accumulators`)
    too: at 8 bits an increment below half a step is lost in every call.
    """
    sums = accumulators(graph) if request.scheme.activations == "int8" else ()
    return mixed_plan(graph, ranges, request, (*outputs, *sums))


@dataclass
class _Draft:
    """The plan while it is being made."""

    graph: Graph
    request: Request
    ranges: Mapping[int, Range]
    kept: set[int]
    tensors: dict[int, Entry] = field(default_factory=dict)
    edges: dict[Edge, Entry] = field(default_factory=dict)
    #: Activations that whole numbers are read from: they stay float32.
    exact: frozenset[int] = frozenset()
    boundary: dict[int, Entry] = field(default_factory=dict)
    #: Ranges that the type of what is read sets: no byte is outside 0 to 255, whatever was seen.
    whole: dict[int, Range] = field(default_factory=dict)
    #: Ranges of masks, constants too, which end where their sums saturate.
    masks: Mapping[int, Range] = field(default_factory=dict)

    def plan_weights_only(self) -> None:
        """float32, float16, dynamic and the like: activations stay float32; large constants are stored smaller."""
        for op in self.graph.ops:
            if op.output in self.kept or op.kind.unknown:
                continue
            for i in dict.fromkeys(op.reads):
                if self.graph[i].is_constant and self.graph[i].is_float and self._values(i).size >= WORTH_IT:
                    self._plan_small_constant(i, op)

    def _plan_small_constant(self, i: int, op: Op) -> None:
        if self.request.scheme.weights == "float16":
            self._halve(i, op, "weights in half precision")
            return
        found = weighted(self.graph, op)
        if found is None or i != found.weight.id:
            return
        if self.request.scheme.clusters:
            fmt = float_codebook(found.values, self.request.scheme.clusters)
            self.tensors[i] = Entry(fmt, "k-means of its numbers")
        elif not self.request.scheme.is_hybrid:
            return
        elif op.kind.name in self.request.target.hybrid:
            self._require(i, op, hybrid_weight(found, self.request))
        elif op.kind.name in self.request.target.halved:
            self._halve(i, op, "half precision: the kernel for int8 beside float32 is many times slower")

    def _halve(self, i: int, op: Op, why: str) -> None:
        if np.abs(self._values(i)).max() > np.finfo(np.float16).max:
            self.tensors[i] = Entry(Float(), "holds values beyond float16's 65504")
            return
        self.tensors[i] = Entry(Float("float16"), why)
        self.edges[i, op.output] = Entry(Float(), "kernels compute in float32")

    def plan_integers(self) -> None:
        """Activations, weights and biases as integers wherever the target has a kernel for it."""
        self.exact = exact(self.graph)
        integer_ops = integer_ops_of(self.graph, self.request, self.kept, self.exact)
        for op in self.graph.ops:
            if op.output in integer_ops and (bytes_ := bytes_as_stored(self.graph, op, self.kept)) is not None:
                low, high = limits(bytes_.dtype)
                self.whole[op.output] = (float(low), float(high))
        self.masks = Masks(self.graph).bounded(self.ranges)
        ranges = {i: self._range(i) for i, t in self.graph.tensors.items() if t.is_float}
        dtype = self.request.scheme.activations
        groups = share_scales(self.graph, ranges, integer_ops, dtype, self.exact)
        for op in self.graph.ops:
            if op.output in groups and not groups.is_fixed(op.output):
                self._coarsen(op, groups)
                self._coarsen_operands(op, groups)
        for i in groups if self._is_symmetric else ():
            groups.widen(i, symmetric(groups.range(i)))
        self.tensors.update(groups.entries(dtype, self.request.ranges_from))
        self._plan_results(integer_ops)
        for op in self.graph.ops:
            if op.output in integer_ops:
                self._plan_integer_op(op)
                if (whole := bytes_as_stored(self.graph, op, self.kept)) is not None:
                    self.tensors[op.reads[0]] = Entry(whole, "whole numbers that stand for themselves")
        for op in self.graph.ops:  # once it is known which constants the integer ops store
            if op.output not in integer_ops:
                self._plan_float_op(op)
        self._plan_boundary()

    def _plan_results(self, integer_ops: set[int]) -> None:
        """Outputs whose formats their op says itself, and the states that they are."""
        for op in self.graph.ops:
            first = self._own(op.output).format
            if op.output not in integer_ops or not isinstance(first, Affine) or len(op.outputs) == 1:
                continue
            said = op.kind.results(first, [self.ranges.get(i, (0.0, 0.0)) for i in op.outputs])
            for n, fmt in said.items():
                self.tensors[op.outputs[n]] = Entry(
                    fmt, f"as the kernel of {op.kind.name} takes it", self.ranges[op.outputs[n]]
                )
        for state in self.graph.states:
            if state.read in self.tensors and state.write in self.tensors:
                self.tensors[state.read] = self.tensors[state.write]

    def _coarsen(self, op: Op, groups: Groups) -> None:
        """A step for the output that kernels take: too fine a one comes of calibration that saw nothing but zeros."""
        (weight, bias), dtype = self._weight_and_bias(op), self.request.scheme.activations
        steps = []
        for i in op.reads:
            if not self.graph[i].is_float or i == bias:
                continue
            low, high = groups.range(i) if i in groups else self._range(i)
            qmax = weight_limits(self.request.scheme.weights)[1]
            steps.append(max(-low, high) / qmax if i == weight else affine_from_range(low, high, dtype).scale[0])
        least = op.kind.unit(steps) / LARGEST_MULTIPLIER
        if affine_from_range(*groups.range(op.output), dtype).scale[0] < least:
            groups.widen(op.output, (0.0, least * (limits(dtype)[1] - limits(dtype)[0])))

    def _coarsen_operands(self, op: Op, groups: Groups) -> None:
        """A step for what the op reads that kernels take beside the output's."""
        dtype = self.request.scheme.activations
        least = affine_from_range(*groups.range(op.output), dtype).scale[0] * op.kind.least_operand
        for i in op.reads if dtype == "int8" else ():
            free = i in groups and not groups.is_fixed(i)
            if free and affine_from_range(*groups.range(i), dtype).scale[0] < least / 2:
                groups.widen(i, (0.0, least * (limits(dtype)[1] - limits(dtype)[0])))

    def _weight_and_bias(self, op: Op) -> tuple[int | None, int | None]:
        """Their ids; None for what the op does not have."""
        found = weighted(self.graph, op)
        return (None, None) if found is None else (found.weight.id, None if found.bias is None else found.bias.id)

    def _plan_float_op(self, op: Op) -> None:
        for i in dict.fromkeys(op.reads):
            if isinstance(self._own(i).format, Affine):
                self.edges[i, op.output] = Entry(Float(), f"{op.kind.name} runs in float here")

    def _plan_integer_op(self, op: Op) -> None:
        found = weighted(self.graph, op)
        special = (*self._weight_and_bias(op), *self._plan_operands(op))
        for i in dict.fromkeys(op.reads):
            if i in special or not self.graph[i].is_float:
                continue
            needed = self._needed(i, op)
            if self.graph[i].is_constant:
                self._require(i, op, needed)
            elif self._own(i).format != needed.format:
                self.edges[i, op.output] = needed
        if found is not None:
            self._plan_weight(found)

    def _plan_operands(self, op: Op) -> tuple[int, ...]:
        """Constants whose formats the op says itself."""
        formats = {n: fmt for n, i in enumerate(op.inputs) if i is not None and isinstance(fmt := self._own(i).format, Affine)}
        constants = {
            n: self._values(i)
            for n, i in enumerate(op.inputs)
            if i is not None and self.graph[i].is_constant and self.graph[i].is_float
        }
        said = op.kind.operands(formats, constants) if constants else {}
        planned = []
        for n, fmt in said.items():
            i = op.inputs[n]
            if i is not None:
                self._require(i, op, Entry(fmt, f"as the kernel of {op.kind.name} takes it"))
                planned.append(i)
        return tuple(planned)

    def _needed(self, i: int, op: Op) -> Entry:
        """The format in which the integer op ``op`` must read the activation or constant operand ``i``."""
        output, dtype = self._own(op.output), self.request.scheme.activations
        if isinstance(op.kind.range_rule, SameAsInput) and isinstance(output.format, Affine):
            return Entry(output.format, f"{op.kind.name} needs one scale for inputs and output", output.range)
        if isinstance(self._own(i).format, Affine) and not self.graph[i].is_constant:
            return self._own(i)
        seen = self._range(i)
        if self.graph[i].is_constant and seen == (0.0, 0.0) and isinstance(output.format, Affine):
            return Entry(Affine(output.format.scale, (0,), dtype), "all zeros: any scale holds them", seen)
        why = "lowest and highest value of the constant" if self.graph[i].is_constant else self.request.ranges_from
        why = "a mask, down to where its sum saturates" if i in self.masks else why
        fmt = affine_from_range(*seen, dtype)
        least = output.format.scale[0] * op.kind.least_operand if isinstance(output.format, Affine) else 0.0
        if dtype == "int8" and fmt.scale[0] < least / 2:
            fmt = affine_from_range(min(seen[0], 0.0), max(seen[1], least * (limits(dtype)[1] - limits(dtype)[0])), dtype)
        return Entry(fmt, why, seen)

    def _plan_weight(self, found: Weighted) -> None:
        """The weight, and the bias in units of the sums that it is added to."""
        op = found.op
        activation, output = self._at(found.data.id, op).format, self._own(op.output).format
        if not isinstance(activation, Affine) or not isinstance(output, Affine):
            raise TypeError(f"{self.graph.label(op)} has no integer input or output")
        entry = integer_weight(found, activation, output, self.request)
        self._require(found.weight.id, op, entry)
        if found.bias is not None and isinstance(entry.format, Affine):
            unit = bias_format(activation, entry.format)
            self._require(found.bias.id, op, Entry(unit, "scale of the input times scale of the weight"))

    def _plan_boundary(self) -> None:
        """Inputs and outputs exactly as asked for; a conversion op sits between where that differs from the inside."""
        default = self.request.scheme.io[0]
        sides = (
            (self.graph.inputs, self.request.input_type or default),
            (self.graph.outputs, self.request.output_type or default),
        )
        for ids, wanted in sides:
            for i in ids:
                if self.graph[i].is_float and not self.graph[i].is_constant:
                    inside = self._own(i)
                    if i in self.exact and i in self.graph.inputs:
                        self._check_exact_input(i)
                        continue
                    outside = _outside(inside.format, wanted, self._range(i))
                    if outside != inside.format:
                        self.boundary[i] = Entry(outside, f"{wanted} was asked for", inside.range)

    def _check_exact_input(self, i: int) -> None:
        wanted = self.request.input_type
        if wanted not in (None, "float32"):
            name = self.graph.input_names[self.graph.inputs.index(i)]
            raise OptionError(
                f"--input-type {wanted} would round input {name!r}, from which whole numbers are read (ids, or a mask); "
                f"leave it out, or {AS_INT32}"
            )

    def _require(self, tensor: int, op: Op, entry: Entry) -> None:
        """``op`` reads the constant ``tensor`` in this format: its own if it is the first to ask, else an edge."""
        own = self.tensors.setdefault(tensor, entry)
        if own.format != entry.format:
            self.edges[tensor, op.output] = entry

    def _own(self, tensor: int) -> Entry:
        return self.tensors.get(tensor, _FLOAT)

    def _at(self, tensor: int, op: Op) -> Entry:
        return self.edges.get((tensor, op.output), self._own(tensor))

    def _values(self, i: int) -> np.ndarray:
        data = self.graph[i].data
        if data is None:
            raise TypeError(f"tensor {i} is no constant")
        return data

    @property
    def _is_symmetric(self) -> bool:
        return self.request.target.symmetric and self.request.scheme.activations == "int8"

    def _range(self, i: int) -> Range:
        seen = self._seen(i)
        return symmetric(seen) if self._is_symmetric else seen

    def _seen(self, i: int) -> Range:
        if i in self.masks:
            return self.masks[i]
        if self.graph[i].is_constant:
            data = self._values(i)
            finite = data[is_bounded(data)]  # a pad value of -inf becomes the lowest integer there is
            return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        if i in self.whole:
            return self.whole[i]
        if i not in self.ranges:
            raise ModelError(f"no range was calibrated for {self.graph[i].origin!r}")
        return self.ranges[i]


def _outside(inside: Format, wanted: str, seen: Range) -> Format:
    """What the caller sees of a tensor stored as ``inside``: uint8 is int8 with the zero point moved by 128."""
    if wanted == "float32":
        return Float()
    fmt = inside if isinstance(inside, Affine) else affine_from_range(*seen, "int8" if wanted == "uint8" else wanted)
    shift = limits(wanted)[0] - limits(fmt.dtype)[0]
    return fmt if shift == 0 else Affine(fmt.scale, tuple(z + shift for z in fmt.zero_point), wanted)
