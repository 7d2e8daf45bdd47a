"""How many bits the weights of each op have, where ops of one network may differ: what a target runs, and a plan with it.

Worked, for ``mcu``: a CONV_2D may have int8, int4, and tables of 2, 4, 8, 16, 32 or 64 numbers; a DEPTHWISE_CONV_2D no int4,
for which there is no kernel. For ``cpu`` a FULLY_CONNECTED has int8, int4 and int2, a CONV_2D int8 and int4, and a
DEPTHWISE_CONV_2D int8 alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, final

from intact.network.graph import Graph
from intact.network.weighted import Weighted, weighted
from intact.numbers.affine import Affine, bias_format, bits_of
from intact.planning.plan import Entry, Plan
from intact.planning.request import Request
from intact.planning.targets import Target
from intact.planning.weights import integer_weight

#: Bits of an index: fewer than a byte less than what a wider table adds in numbers.
_TABLES: Final = (6, 5, 4, 3, 2, 1)
#: The most of them.
TABLES: Final = max(_TABLES)


@final
@dataclass(frozen=True)
class Width:
    """How a weight is stored: integers of ``dtype``, or with ``clusters`` other than 0 indices of as many bits into a table."""

    dtype: str = "int8"
    clusters: int = 0

    @property
    def bits(self) -> int:
        return self.clusters or int(self.dtype.removeprefix("int"))

    def __str__(self) -> str:
        return f"{self.clusters}-bit tables" if self.clusters else self.dtype


INT8: Final = Width()
INT4: Final = Width("int4")
INT2: Final = Width("int2")


def widths_of(target: Target, kind: str) -> tuple[Width, ...]:
    """What ``target`` runs an op of ``kind`` with beside int8 activations, the widest first."""
    narrow = [width for width, kinds in ((INT4, target.int4), (INT2, target.int2)) if kind in kinds]
    tables = [Width(clusters=bits) for bits in _TABLES] if kind in target.decoded else []
    return tuple(sorted((INT8, *narrow, *tables), key=lambda width: (-width.bits, width.clusters)))


def choosable(graph: Graph, plan: Plan) -> dict[int, Weighted]:
    """By first output, the ops whose weight may have a width of its own: constant, on int8, and no other op's as well."""
    readers, found = graph.consumers(), dict[int, Weighted]()
    for op in graph.ops:
        one = weighted(graph, op)
        if one is None or not one.is_constant or any(reader == op.output for _, reader in plan.edges):
            continue
        own = [t for t in (one.weight, one.bias) if t is not None]
        whole = [isinstance(fmt, Affine) and fmt.dtype == "int8" for fmt in (plan.own(one.data.id), plan.own(op.output))]
        if (
            all(whole)
            and isinstance(plan.own(one.weight.id), Affine)
            and all(len(readers[t.id]) == 1 and t.id not in graph.outputs for t in own)
        ):
            found[op.output] = one
    return found


def width_in(plan: Plan, one: Weighted) -> Width:
    """How ``plan`` stores the weight; int8 for any width that no row of :func:`widths_of` has."""
    fmt = plan.own(one.weight.id)
    if isinstance(fmt, Affine) and fmt.codebook is not None:
        return Width(fmt.dtype, fmt.codebook.bits)
    return next((width for width in (INT4, INT2) if width.bits == bits_of(fmt)), INT8)


def entry_for(one: Weighted, plan: Plan, width: Width, request: Request) -> Entry:
    """How the weight is stored with ``width`` bits between the activations that ``plan`` has."""
    activation, output = plan.own(one.data.id), plan.own(one.op.output)
    if not isinstance(activation, Affine) or not isinstance(output, Affine):
        raise TypeError(f"{one.op.kind.name} has no integer input or output")
    scheme = replace(request.scheme, weights=width.dtype, clusters=width.clusters)
    return integer_weight(one, activation, output, replace(request, scheme=scheme, wide_weights=()))


def with_widths(graph: Graph, plan: Plan, chosen: Mapping[int, Width], request: Request) -> Plan:
    """``plan`` with the weights of the ops ``chosen``, by first output, as wide as that says, and biases that count in them."""
    entries, ops = dict(plan.tensors), choosable(graph, plan)
    for output, width in chosen.items():
        one = ops[output]
        entry, activation = entry_for(one, plan, width, request), plan.own(one.data.id)
        entries[one.weight.id] = replace(entry, why=f"{entry.why}; {width} was chosen for its bytes")
        if one.bias is not None and isinstance(entry.format, Affine) and isinstance(activation, Affine):
            entries[one.bias.id] = replace(entries[one.bias.id], format=bias_format(activation, entry.format))
    return replace(plan, tensors=entries)
