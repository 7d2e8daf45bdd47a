"""The float and the integer network side by side, op by op, on as many samples as fit in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Final, TypeAlias, final

import numpy as np
import torch
from torch import Tensor

from intact.data import Samples
from intact.data.samples import BATCH
from intact.network.graph import Graph, Op
from intact.network.shapes import concrete
from intact.remedies.base import Context
from intact.remedies.student import Student
from intact.simulate.engine import Program, one_per_core

#: Both networks' live activations are held for all samples at once; this many numbers in the largest of them.
_ROOM: Final = 48 << 20

ById: TypeAlias = dict[int, Tensor]


@final
@dataclass(frozen=True, eq=False)
class Held:
    """Activations of ``count`` samples by id, [count, ...] each: ``real`` of the float network, ``stored`` of the other."""

    real: ById
    stored: ById
    count: int


@final
class SideBySide:
    """What the ``exact`` network and the student make of samples, for remedies that go op by op and change what follows.

    Held are the activations that the ops from the present one on read. The first tensors of a network are its largest: few
    samples may fit there, and the others join where tensors are smaller, so that late ops, whose tensors have few positions,
    see as many samples as there are.
    """

    def __init__(self, student: Student, exact: Graph, samples: Samples, context: Context, room: int = _ROOM) -> None:
        self.student, self.samples, self.context = student, samples, context
        self.program = Program(exact, context.device)
        graph = student.graph
        self._last = {i: n for n, op in enumerate(graph.ops) for i in op.reads}
        largest, fits = 1, list[int]()
        for op in reversed(graph.ops):
            alive = [graph[i] for i in (*op.reads, *op.outputs) if not graph[i].is_constant]
            largest = max(largest, *(prod(concrete(t)) for t in alive))
            fits.append(max(1, min(len(self.samples), room // largest)))
        #: By op, how many samples may be held from there on.
        self._fits = fits[::-1]

    def start(self) -> Held:
        """What the first op and those after it read."""
        return self.before(0, Held({}, {}, 0))

    def through(self, doing: str) -> Iterator[tuple[Op, Held]]:
        """Each op in order with what it reads. Then both networks compute it, the student as it is by then."""
        held, ops = self.start(), self.student.graph.ops
        for n, op in enumerate(ops):
            self.context.progress(doing, n, len(ops))
            held = self.before(n, held)
            yield op, held
            real = self.program.run([op], held.real, op.outputs)
            held = self.after(n, held, real, self.student.run([op], held.stored, op.outputs))

    def before(self, n: int, held: Held) -> Held:
        """``held``, and the samples that fit as well now that op ``n`` is the present one."""
        fits = self._fits[n]
        if fits < 2 * held.count and not held.count < fits == self._fits[-1]:
            return held
        step = max(1, min(BATCH, self._fits[0] // 4))
        starts = range(held.count, fits, step)
        parts = list(one_per_core(lambda at: self._entering(n, range(at, min(at + step, fits))), starts, self.context.device))
        parts = [*([(held.real, held.stored)] if held.count else []), *parts]
        real, stored = ({i: torch.cat([part[which][i] for part in parts]) for i in parts[-1][which]} for which in (0, 1))
        return Held(real, stored, fits)

    def after(self, n: int, held: Held, real: ById, stored: ById) -> Held:
        """``held`` once op ``n`` is done and these were made by then, without what only it and others before it read."""

        def still_read(values: ById) -> ById:
            return {i: x for i, x in values.items() if self._last.get(i, -1) > n}

        return Held(still_read(held.real | real), still_read(held.stored | stored), held.count)

    def _entering(self, n: int, index: range) -> tuple[ById, ById]:
        """What op ``n`` and those after it read of these samples, from both networks."""
        graph = self.student.graph
        batch, _ = self.samples.batch(np.asarray(index))
        inputs = self.program.entered(batch)
        made = {i for op in graph.ops[:n] for i in op.outputs}
        wanted = {i for i in (*inputs, *made) if self._last.get(i, -1) >= n}
        with torch.no_grad():
            real = self.program.run(graph.ops[:n], inputs, wanted)
            stored = self.student.run(graph.ops[:n], self.student.entered(inputs), wanted)
        return real, stored
