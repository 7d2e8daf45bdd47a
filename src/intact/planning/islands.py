"""Which ops of an integer network stay in float, by wish or because that is faster and no less exact, and how islands grow."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import final

from intact.errors import OptionError
from intact.network.graph import Graph, Op, short_name
from intact.ops.base import SameAsInput
from intact.planning.request import Request
from intact.planning.targets import Target
from intact.rewrite.view import View


def float_islands(graph: Graph, target: Target, integer: Set[int], kept: Set[int]) -> set[int]:
    """First outputs of those ops among ``integer`` that compute in float all the same; ``kept`` are in float by wish.

    Every kind of ``target.float_inside`` whose result another op reads; from these, and from ops without an integer kernel,
    islands grow: over a light op that reads an island or that only islands read, as a conversion is dearer and less exact
    than the op, and over a move between two islands. Worked: layer norm between two convolutions is one island, not three.
    """
    if not target.float_inside:
        return set()
    ops = [op for op in graph.ops if any(graph[i].is_float for i in (*op.reads, *op.outputs))]
    sea = _Sea(View(graph), target)
    lacking = {op.output for op in ops if op.output not in integer and op.output not in kept}
    island = lacking | {op.output for op in ops if op.kind.name in target.float_inside and sea.is_read(op)} - kept
    while True:
        grown = {op.output for op in ops if op.output in integer and op.output not in island and sea.joins(op, island)}
        if not grown:
            return island & integer
        island |= grown


@final
@dataclass(frozen=True, eq=False)
class _Sea:
    """The graph around islands."""

    view: View
    target: Target

    def is_read(self, op: Op) -> bool:
        """Whether other ops alone read it: a network's last op gains nothing, as no partition comes after it."""
        return not set(self.view.graph.ends).intersection(op.outputs)

    def joins(self, op: Op, island: Set[int]) -> bool:
        flows = [i for i in op.reads if self.view.graph[i].is_float and not self.view.graph[i].is_constant]
        before = [i in self.view.made_by and self.view.made_by[i].output in island for i in flows]
        after = [reader.output in island for i in op.outputs for reader in self.view.read_by[i]]
        if not before or not after or not self.is_read(op):
            return False
        if op.kind.name in self.target.light:
            return any(before) or all(after)
        return isinstance(op.kind.range_rule, SameAsInput) and all(before) and all(after)


def kept_float(graph: Graph, request: Request) -> set[int]:
    """First outputs of the ops in float. ``keep_float`` holds op kinds, names of output tensors as they are or as messages
    show them, or patterns of these.
    """
    kept = set(request.float_ops)
    for pattern in request.keep_float:
        hits = {
            op.output for op in graph.ops if any(name == pattern or fnmatchcase(name, pattern) for name in _names(graph, op))
        }
        if not hits:
            some = ", ".join(repr(short_name(graph[op.output].origin)) for op in graph.ops[:3])
            raise OptionError(f"--keep-float {pattern!r} matches no op; names are op kinds or output tensors such as {some}")
        kept |= hits
    return kept


def _names(graph: Graph, op: Op) -> tuple[str, ...]:
    t = graph[op.output]
    return op.kind.name, t.origin, t.name, short_name(t.origin), graph.label(op)
