"""Learned rounding: each weight goes up or down, whichever keeps the output of its block, not to the nearest."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from types import MappingProxyType
from typing import ClassVar, Final, TypeAlias, final

import numpy as np
import torch
from torch import Tensor

from intact.data import Samples
from intact.network.graph import Graph, Op
from intact.network.shapes import concrete
from intact.numbers.affine import Affine, weight_limits
from intact.planning.plan import Edge
from intact.planning.quantized import Quantized
from intact.planning.steps import stored_as_integers
from intact.remedies.base import Context, Remedy
from intact.remedies.clock import Clock
from intact.remedies.distillation import taught
from intact.remedies.side_by_side import Held, SideBySide
from intact.remedies.straight_through import around
from intact.remedies.student import Student
from intact.simulate.engine import one_per_core
from intact.simulate.ranks import Made
from intact.wording import counted

#: Takes tensors by id through a block.
Run: TypeAlias = Callable[[Mapping[int, Tensor]], dict[int, Tensor]]
#: Integers below and above each weight, and the least and the largest there are.
Levels: TypeAlias = tuple[Tensor, Tensor, tuple[int, int]]

#: A batch of this many numbers in a block's largest tensor takes longer to compute than to hand out to several cores.
_WORTH_SPLITTING: Final = 4 << 20
#: Into how many parts a batch is split, whatever the number of cores.
_PARTS: Final = 4
#: The rectified sigmoid reaches 0 and 1: ``h(v) = clamp(1.2 sigmoid(v) - 0.1, 0, 1)``.
_STRETCH: Final = 1.2
_SHIFT: Final = -0.1
#: No weight but as it is in the network.
_AS_STORED: Final[Mapping[Edge, Tensor]] = MappingProxyType({})


@final
@dataclass(frozen=True)
class Block:
    """Consecutive ops that learn together, from number ``start`` on; what they read from before, and what is read later."""

    start: int
    ops: tuple[Op, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@final
@dataclass(frozen=True)
class LearnedRounding(Remedy):
    """``w_q = s (floor(w / s) + h(v))`` with v learned so that the block makes of the integer network's activations what the
    float network makes of its own; a growing penalty drives h to 0 or 1, and the weights end on their grid.

    Loss: the squared error of the block's outputs over that of rounding to nearest, plus
    ``penalty * mean(1 - |2 h - 1|^beta)`` with beta falling from 20 to 2 after a fifth of the steps. Where time is short, every
    block takes fewer steps, in proportion to its work.
    Source: Nagel et al. 2020, AdaRound (arXiv 2004.10568); blocks of several layers: Li et al. 2021, BRECQ (arXiv 2102.05426).
    """

    name: ClassVar[str] = "round"
    order: ClassVar[int] = 40
    needs_single_samples: ClassVar[bool] = True
    learns: ClassVar[bool] = True
    samples: int = 512
    steps: int = 500
    batch: int = 32
    rate: float = 1e-2
    penalty: float = 1.0
    layers: int = 3

    def apply(self, network: Quantized, samples: Samples, context: Context) -> Quantized:
        run = _Run(self, network, samples, context)
        held = run.both.start()
        for n, block in enumerate(run.blocks):
            if context.out_of_time():
                break
            held = run.learn(n, block, held)
        graph = network.graph
        tensors = {i: replace(graph[i], data=w.cpu().numpy()) for i, w in run.rounded.items()}
        log = (
            *network.log,
            f"learned how to round {counted(len(tensors), 'weight')} in {counted(len(run.blocks), 'block')}: {run.summary()}",
        )
        return replace(network, graph=replace(graph, tensors={**graph.tensors, **tensors}), log=log)


def blocks(graph: Graph, weighted: set[int], most: int) -> tuple[Block, ...]:
    """``graph`` cut where few tensors cross, at most ``most`` ops with weights (first outputs in ``weighted``) a block."""
    last = {i: n for n, op in enumerate(graph.ops) for i in op.reads} | dict.fromkeys(graph.outputs, len(graph.ops))
    crossing = [
        sum(1 for op in graph.ops[: n + 1] for i in op.outputs if last.get(i, -1) > n)
        + sum(1 for i in graph.inputs if last.get(i, -1) > n)
        for n in range(len(graph.ops))
    ]
    found, start = [], 0
    while start < len(graph.ops):
        count, ends = 0, list[int]()
        for n in range(start, len(graph.ops)):
            count += graph.ops[n].output in weighted
            if count > most:
                break
            if count or n == len(graph.ops) - 1:
                ends.append(n)
        end = min(ends, key=lambda n: (crossing[n], -n)) if ends[-1] < len(graph.ops) - 1 else ends[-1]
        found.append(_block(graph, start, end + 1, last))
        start = end + 1
    return tuple(found)


def _block(graph: Graph, start: int, end: int, last: Mapping[int, int]) -> Block:
    ops = graph.ops[start:end]
    made = {i for op in ops for i in op.outputs}
    reads = dict.fromkeys(i for op in ops for i in op.reads if i not in made and not graph[i].is_constant)
    return Block(start, ops, tuple(reads), tuple(i for i in sorted(made) if last.get(i, -1) >= end))


class _Run:
    def __init__(self, how: LearnedRounding, network: Quantized, samples: Samples, context: Context) -> None:
        self.how, self.context, self.network = how, context, network
        graph, plan = network.graph, network.plan
        readers = graph.consumers()
        edges = [(one.weight.id, one.op.output) for one in stored_as_integers(graph, plan)]
        alone = [(w, output) for w, output in edges if len(readers[w]) == 1 and w not in graph.outputs]
        self.weights: dict[int, Edge] = {edge[1]: edge for edge in alone}
        self.blocks = blocks(graph, set(self.weights), how.layers)
        self.student = Student(graph, plan, context.device).requires_grad_(requires_grad=False)
        self.draw = np.random.default_rng(context.seed)
        self.rounded: dict[int, Tensor] = {}
        self.errors: list[tuple[float, float]] = []
        self.work = [self._work(block) for block in self.blocks]
        self.both = SideBySide(self.student, network.exact, samples.drawn(how.samples, context.seed), context)

    def learn(self, n: int, block: Block, held: Held) -> Held:
        """Learn one block's rounding; both networks' samples after it."""
        held = self.both.before(block.start, held)
        targets = self._through(
            block, held.real, held.count, lambda part: self.both.program.run(block.ops, part, block.outputs)
        )
        weights = [self.weights[op.output] for op in block.ops if op.output in self.weights]
        if weights:
            for (w, _), hard in self._optimized(n, block, weights, held, targets).items():
                self.rounded[w] = hard
                self.student.assign(w, hard)
        made = self._through(block, held.stored, held.count, lambda part: self._integer(block, part, _AS_STORED))
        return self.both.after(block.start + len(block.ops) - 1, held, targets, made)

    def summary(self) -> str:
        before, after = (sum(e[at] for e in self.errors) / max(1, len(self.errors)) for at in (0, 1))
        return f"mean relative error of a block's output {before:.3g} -> {after:.3g}"

    def _optimized(
        self, n: int, block: Block, weights: Sequence[Edge], held: Held, targets: Mapping[int, Tensor]
    ) -> Mapping[Edge, Tensor]:
        """The weights of the block, rounded so that it is nearer the targets than by the nearest; none where it is not."""
        how = self.how
        soft = {w: _Soft(*self._grid(w)) for w in weights}
        learned = set(taught(block.ops, block.outputs, self.network.graph)).intersection(block.outputs)
        power = {i: float(targets[i].float().var().clamp(min=1e-12)) for i in block.outputs if i in learned}
        if not power:
            return {}
        before = self._error(block, held, targets, power)
        largest = max(prod(concrete(self.network.graph[i])) for op in block.ops for i in op.outputs)
        split = largest * min(how.batch, held.count) > _WORTH_SPLITTING
        optimizer = torch.optim.Adam([s.v for s in soft.values()], lr=how.rate)
        now = time.monotonic()
        clock = Clock(now + (self.context.deadline - now) * self.work[n] / sum(self.work[n:]))
        step, total = 0, how.steps
        while step < total:
            done = round(how.steps * step / total)
            self.context.progress("learn rounding", n * how.steps + done, len(self.blocks) * how.steps)
            index = self.draw.permutation(held.count)[: how.batch]
            given = {w: s.weight().detach().requires_grad_() for w, s in soft.items()}
            parts = np.array_split(index, min(_PARTS, len(index)) if split else 1)
            gradients = self._gradients(block, held, targets, power, given, parts)
            penalty = how.penalty * self._undecided(soft, step / total)
            through = sum((s.weight() * gradients[w]).sum() for w, s in soft.items()) / max(before, 1e-12)
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(through + penalty)
            optimizer.step()
            step += 1
            total = min(total, clock.steps_that_fit(step))
        hard = {w: s.hard() for w, s in soft.items()}
        after = self._error(block, held, targets, power, hard)
        self.errors.append((before, min(before, after)))
        return hard if after < before else {}

    def _gradients(  # noqa: PLR0913, PLR0917  # what a step is about
        self,
        block: Block,
        held: Held,
        targets: Mapping[int, Tensor],
        power: Mapping[int, float],
        given: Mapping[Edge, Tensor],
        parts: Sequence[np.ndarray],
    ) -> dict[Edge, Tensor]:
        """What the block's relative error over the samples of all ``parts`` gives each of the weights ``given``."""
        total = sum(len(part) for part in parts)

        def of_part(part: np.ndarray) -> Made:
            made = self._integer(block, {i: held.stored[i][part] for i in block.inputs}, given)
            error = torch.stack([(made[i] - targets[i][part]).square().mean() / p for i, p in power.items()]).sum()
            # A weight may reach whole numbers only, such as a class.
            share = error * (len(part) / total)
            return 0.0, torch.autograd.grad(share, list(given.values()), allow_unused=True, materialize_grads=True)

        made = self.context.ranks.each(of_part, parts, self.context.device)
        return {w: torch.stack(grads).sum(0) for w, grads in zip(given, zip(*(g for _, g in made), strict=True), strict=True)}

    def _work(self, block: Block) -> int:
        """About what a step of the block takes: the numbers it makes and learns; 0 if there is nothing to learn."""
        graph = self.network.graph
        learned = sum(prod(concrete(graph[self.weights[op.output][0]])) for op in block.ops if op.output in self.weights)
        made = sum(prod(concrete(graph[i])) for op in block.ops for i in op.outputs)
        return learned + self.how.batch * made if learned else 0

    def _undecided(self, soft: Mapping[Edge, _Soft], done: float) -> Tensor:
        if done < 0.2:
            return torch.zeros((), device=self.context.device)
        beta = 2 + 18 * 0.5 * (1 + math.cos(math.pi * (done - 0.2) / 0.8))
        h = torch.cat([s.up().reshape(-1) for s in soft.values()])
        return (1 - (2 * h - 1).abs().pow(beta)).mean()

    def _grid(self, weight: Edge) -> tuple[Tensor, Tensor, Levels]:
        """The float weight, its step size, and the integers below and above what it is in these."""
        fmt = self.network.plan.at(*weight)
        data = self.student.real(weight[0]).detach()
        if not isinstance(fmt, Affine):
            raise TypeError(f"weight {weight[0]} is not quantized")
        scale = torch.tensor(fmt.scale, device=data.device)
        shape = [-1 if axis == fmt.axis else 1 for axis in range(data.dim())]
        scale = scale.reshape(shape)
        if fmt.blocks is not None and (multiples := self.student.multiples(*weight)) is not None:
            below = torch.floor(data / (scale * multiples))
            return data, scale * multiples, (below, below + 1, (-fmt.blocks.highest, fmt.blocks.highest))
        table = self.student.table(*weight)
        if table is None or fmt.codebook is None:
            below = torch.floor(data / scale)
            return data, scale, (below, below + 1, weight_limits(fmt.dtype))
        return data, scale, (*around(data / scale, table, fmt.codebook.axis), weight_limits(fmt.dtype))

    def _error(
        self,
        block: Block,
        held: Held,
        targets: Mapping[int, Tensor],
        power: Mapping[int, float],
        given: Mapping[Edge, Tensor] = _AS_STORED,
    ) -> float:
        made = self._through(block, held.stored, held.count, lambda part: self._integer(block, part, given))
        return sum(float((made[i] - targets[i]).square().mean()) / p for i, p in power.items())

    def _integer(self, block: Block, part: Mapping[int, Tensor], given: Mapping[Edge, Tensor]) -> dict[int, Tensor]:
        return self.student.run(block.ops, part, block.outputs, dict(given.items()))

    def _through(self, block: Block, values: Mapping[int, Tensor], count: int, run: Run) -> dict[int, Tensor]:
        """``run`` on all ``count`` samples, batch by batch."""

        def of_part(at: int) -> dict[int, Tensor]:
            with torch.no_grad():
                return run({i: values[i][at : at + self.how.batch] for i in block.inputs})

        parts = list(one_per_core(of_part, range(0, count, self.how.batch), self.context.device))
        return {i: torch.cat([part[i] for part in parts]) for i in block.outputs}


@final
class _Soft:
    """A weight between the two integers around it, or the two numbers of its codebook, and the parameter that says where."""

    def __init__(self, weight: Tensor, scale: Tensor, levels: Levels) -> None:
        self.scale = scale
        self.below, above, self.ends = levels
        self.step = above - self.below
        rest = ((weight / scale - self.below) / self.step.clamp(min=1)).clamp(0.01, 0.99)
        self.v = torch.logit((rest - _SHIFT) / _STRETCH).requires_grad_()

    def up(self) -> Tensor:
        return (_STRETCH * torch.sigmoid(self.v) + _SHIFT).clamp(0, 1)

    def weight(self) -> Tensor:
        return self._at(self.up())

    def hard(self) -> Tensor:
        with torch.no_grad():
            return self._at((self.up() >= 0.5).to(self.step.dtype))

    def _at(self, up: Tensor) -> Tensor:
        return (self.below + up * self.step).clamp(*self.ends) * self.scale
