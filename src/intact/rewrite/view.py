"""A graph as rewrites look at it: who makes and who reads a tensor, and how to put other ops in an op's place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias, final

import numpy as np

from intact.network.graph import Dim, Graph, Op, Tensor, constant, rebuild
from intact.network.shapes import concrete
from intact.numbers.affine import Affine
from intact.ops.shaping import Transpose


@final
@dataclass(frozen=True, eq=False)
class View:
    """A graph with the questions that rewrites ask of it."""

    graph: Graph

    @cached_property
    def made_by(self) -> Mapping[int, Op]:
        return self.graph.producers()

    @cached_property
    def read_by(self) -> Mapping[int, list[Op]]:
        return self.graph.consumers()

    def shape(self, i: int | None) -> tuple[int, ...]:
        return () if i is None else concrete(self.graph[i])

    def data(self, i: int | None) -> np.ndarray | None:
        """The values of a constant, else None; stored integers of a quantized weight are not its values."""
        return None if i is None or isinstance(self.graph[i].format, Affine) else self.graph[i].data

    def permutation(self, op: Op | None) -> np.ndarray | None:
        """The constant axes of a TRANSPOSE, counted from the front; None for any other op."""
        p = self.data(op.inputs[1]) if op is not None and isinstance(op.kind, Transpose) else None
        return None if p is None else p.reshape(-1) % p.size

    def sole_reader(self, i: int) -> Op | None:
        """The one op that reads ``i``, when nothing else does and it is no output."""
        readers = self.read_by[i]
        return readers[0] if len(readers) == 1 and i not in self.graph.ends else None

    def producer(self, i: int | None) -> Op | None:
        """The op that makes ``i``."""
        return None if i is None else self.made_by.get(i)

    def sole_producer(self, i: int | None) -> Op | None:
        """The op that makes ``i`` for one reader alone."""
        return self.producer(i) if i is not None and self.sole_reader(i) is not None else None

    def unread_without(self, before: Op, op: Op) -> list[Op]:
        """What goes when ``op`` no longer reads ``before``: both, or ``op`` alone while ``before`` has other readers."""
        return [before, op] if self.sole_reader(before.output) is op else [op]

    def swap(self, old: Iterable[Op], new: Iterable[Op], tensors: Iterable[Tensor] = ()) -> Graph:
        """``new`` in the place of the last of ``old``."""
        gone = {op.output for op in old}
        last = max(n for n, op in enumerate(self.graph.ops) if op.output in gone)
        before = [op for op in self.graph.ops[:last] if op.output not in gone]
        return rebuild(self.graph, (*before, *new, *self.graph.ops[last + 1 :]), tensors)

    def constant(self, data: np.ndarray, like: int, made_by: str, offset: int = 0) -> Tensor:
        return constant(self.graph.next_id + offset, data, like=self.graph[like], name=f"{made_by}{like}", made_by=made_by)

    def sizes(self, shape: tuple[Dim, ...], like: int, made_by: str, offset: int = 0) -> Tensor:
        """The constant that a RESHAPE to ``shape`` reads."""
        return self.constant(np.asarray([-1 if n is None else n for n in shape], np.int32), like, made_by, offset)

    def made(self, like: int, shape: tuple[Dim, ...], made_by: str, offset: int = 0) -> Tensor:
        """A new activation that stems from ``like``."""
        name = f"{made_by}{like}"
        return replace(self.graph[like], id=self.graph.next_id + offset, shape=shape, name=name, made_by=made_by)


Rewrite: TypeAlias = Callable[[View, Op], Graph | None]
