"""Compensated rounding: each weight of a sum is rounded so that it makes up for what rounding the others did to the output."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar, Final, final

import numpy as np
import torch
from torch import Tensor

from intact.data import Samples
from intact.network.graph import Graph
from intact.network.shapes import concrete, macs
from intact.network.weighted import Weighted, columns
from intact.numbers.affine import Affine, bits_of, weight_limits
from intact.planning.plan import Plan
from intact.planning.quantized import Quantized
from intact.planning.steps import own_biases, stored_as_integers, with_bias_formats
from intact.planning.weights import LARGEST_MULTIPLIER
from intact.remedies.base import Context, Remedy
from intact.remedies.bias import corrected
from intact.remedies.moments import Moments, Nearest, by_table, compensated
from intact.remedies.side_by_side import ById, Held, SideBySide
from intact.remedies.student import Student
from intact.simulate.engine import one_per_core
from intact.wording import counted

#: An op's second moments are of at least so many samples, if there are, and of so many sums for each number in a sum, but take
#: no more than so many multiplications. So many numbers are held at a time.
_LEAST: Final = 64
_ROWS: Final = 128
_WORK: Final = 1 << 34
_HELD: Final = 1 << 23
#: One sample in so many judges what the others chose.
_JUDGES: Final = 4
#: Steps of weights of so few bits are tried so many times as wide: those that lose least of the weights, whatever they are
#: multiplied with, make them smaller than they are, by a fifth at 2 bits.
_FEW_BITS: Final = 3
_WIDER: Final = (1.0, 1.2, 1.4, 1.6, 1.8)


@final
@dataclass(frozen=True)
class CompensatedRounding(Remedy):
    """Each output channel's weights ``q`` lower ``E[(W x - q x_q)^2]``, what its sums are off in the integer network.

    That takes no more than second moments, ``H = E[x_q x_q^T]`` and, with float's sums, ``c = E[W x x_q^T]``. Weights
    are rounded in turn, each time with the best real numbers for those that are left; or to the nearest, where that is better.
    Then one after the other becomes the number that may be stored nearest to ``q_j - (q H - c)_j / H_jj``, until none changes.
    The mean is left to the bias, which is corrected along with it where the op has one of its own. A channel keeps its rounding
    to nearest where samples that had no part in this lose by it; for the others these join in, and all is done once more.
    Where weights have 3 bits or fewer, these samples choose each channel's step besides.
    Source: in turn, Frantar et al. 2023, GPTQ (arXiv 2210.17323); one after the other, Behdin et al. 2023, QuantEase
    (arXiv 2309.01885).
    """

    name: ClassVar[str] = "compensate"
    order: ClassVar[int] = 28
    needs_single_samples: ClassVar[bool] = True
    #: At most, as far as the network's multiply-accumulates of all of them stay below ``work``, and always ``least``.
    samples: int = 2000
    work: int = 1 << 38
    least: int = 512

    def apply(self, network: Quantized, samples: Samples, context: Context) -> Quantized:
        run = _Run(self, network, samples, context)
        with torch.inference_mode():
            run.through()
        graph = network.graph
        tensors = {i: replace(graph[i], data=np.asarray(data, np.float32)) for i, data in run.changed.items()}
        left = 100 * np.median(run.left or [1.0])
        said = (
            f"rounded {counted(run.moved, 'number')} in the weights of {counted(len(run.left), 'op')} otherwise than to the "
            f"nearest, on {counted(run.count, 'sample')}: {left:.0f} % of the error of a sum is left"
        )
        if run.widened:
            said += f"; the steps of {counted(run.widened, 'channel')} are wider"
        made = replace(graph, tensors={**graph.tensors, **tensors})
        return replace(network, graph=made, plan=run.planned(), log=(*network.log, said))

    def count(self, graph: Graph) -> int:
        """Of how many samples a network is made to learn."""
        return min(self.samples, max(self.least, self.work // max(macs(graph), 1)))


@final
class _Run:
    def __init__(self, how: CompensatedRounding, network: Quantized, samples: Samples, context: Context) -> None:
        graph, plan = network.graph, network.plan
        self.graph, self.plan, self.context = graph, plan, context
        self.student = Student(graph, plan, context.device)
        self.both = SideBySide(self.student, network.exact, samples.drawn(how.count(graph), context.seed), context)
        readers = graph.consumers()
        self.found = {
            one.op.output: one
            for one in stored_as_integers(graph, plan)
            if len(readers[one.weight.id]) == 1 and one.weight.id not in graph.outputs
        }
        self.biases = {one.op.output: (one, bias) for one, bias in own_biases(graph, plan)}
        self.changed: dict[int, np.ndarray] = {}
        #: By op, the part of the squared error of its sums that is left.
        self.left: list[float] = []
        #: By weight, how many times as wide as planned its steps are, [c].
        self.wider: dict[int, np.ndarray] = {}
        self.moved = self.count = 0

    @property
    def widened(self) -> int:
        """In how many channels steps are wider than planned."""
        return sum(int((times != 1).sum()) for times in self.wider.values())

    def planned(self) -> Plan:
        """The plan with the steps that were chosen."""
        entries = dict(self.plan.tensors)
        for i, times in self.wider.items():
            entry = entries[i]
            if isinstance(entry.format, Affine):
                scale = tuple((np.asarray(entry.format.scale) * times).tolist())
                why = f"{entry.why}; wider where compensated rounding gains"
                entries[i] = replace(entry, format=replace(entry.format, scale=scale), why=why)
        return with_bias_formats(self.graph, replace(self.plan, tensors=entries)) if self.wider else self.plan

    def through(self) -> None:
        """All ops in order, each with what came before it changed already."""
        for op, held in self.both.through("compensate rounding"):
            self.count = held.count
            one = self.found.get(op.output)
            if one is not None and not self.context.out_of_time():
                self._weight(one, held)
            if op.output in self.biases:
                one, bias = self.biases[op.output]
                self.changed[bias.id] = np.asarray(bias.data) + corrected(self.student, self.both.program, one, bias, held)

    def _weight(self, one: Weighted, held: Held) -> None:
        sums = _Sums(one, self.graph)
        nearest = self._nearest(one)
        if nearest is None or held.count < _JUDGES:
            return
        count = min(held.count, max(_LEAST, _ROWS * sums.count // sums.positions), max(_JUDGES, _WORK // sums.work))
        judges = list(range(_JUDGES - 1, count, _JUDGES))
        learners = sorted({*range(count)} - {*judges})
        learning, judging = (self._moments(one, sums, held, rows) for rows in (learners, judges))
        fmt = self.plan.at(one.weight.id, one.op.output)
        if not isinstance(fmt, Affine):
            raise TypeError(f"the weight of {one.kind.name} is not quantized")
        scale = sums.steps(fmt)
        weight = sums.rows(self.student.real(one.weight.id).double().cpu())
        before = sums.rows(self._read(one).double().cpu())

        def learned(moments: Moments, times: Tensor) -> Tensor:
            steps = scale * times
            one_thread = one_per_core(lambda m: compensated(m, weight, steps, nearest), [moments], self.context.device)
            return next(iter(one_thread))

        ways = torch.tensor(_WIDER if self._may_widen(one, fmt) else _WIDER[:1], dtype=torch.float64)
        errors = torch.stack([judging.error(learned(learning, times)) for times in ways])
        nearby, (least, way) = judging.error(before), errors.min(0)
        better, times = (least < nearby)[..., None], ways[way][..., None]
        made = learned(learning.with_more(judging, len(judges) / count), times) if bool(better.any()) else before
        kept, times = torch.where(better, made, before), torch.where(better, times, 1.0)
        if (off := nearby.sum()) > 0:
            self.left.append(float(torch.minimum(nearby, least).sum() / off))
        self.moved += int(((kept - before).abs() > scale / 2).sum())
        if (times != 1).any():
            self.wider[one.weight.id] = times.reshape(-1).numpy()
            self.student.widen((one.weight.id, one.op.output), times.reshape(-1))
        data = sums.weight(kept).float()
        self.student.assign(one.weight.id, data.to(self.context.device))
        self.changed[one.weight.id] = data.numpy()

    def _may_widen(self, one: Weighted, fmt: Affine) -> bool:
        """Whether the weight counts in steps of its own, so few of them that others may do better, and kernels take those."""
        i, output, x, y = one.weight.id, one.op.output, self.plan.own(one.data.id), self.plan.own(one.op.output)
        plain = fmt.axis is not None and fmt.codebook is None and fmt.blocks is None and fmt.block_scales is None
        if not plain or bits_of(fmt) > _FEW_BITS or (i, output) in self.plan.edges or self.student.slot(i, output) is None:
            return False
        if not isinstance(x, Affine) or not isinstance(y, Affine):
            return True
        return x.scale[0] * max(fmt.scale) * max(_WIDER) <= LARGEST_MULTIPLIER * y.scale[0]

    def _read(self, one: Weighted) -> Tensor:
        read = self.student.read(one.weight.id, one.op, {})
        if read is None:
            raise TypeError(f"no weight of {one.op.kind.name}")
        return read

    def _nearest(self, one: Weighted) -> Nearest | None:
        """How weights in steps are stored; None where that does not go by output channels alone."""
        fmt = self.plan.at(one.weight.id, one.op.output)
        table = self.student.table(one.weight.id, one.op.output)
        if not isinstance(fmt, Affine) or fmt.axis not in (None, one.axis) or fmt.blocks is not None:
            return None
        if table is None or fmt.codebook is None:
            low, high = weight_limits(fmt.dtype)
            return lambda x: np.minimum(np.maximum(np.rint(x), low), high)
        if fmt.codebook.axis not in (None, one.axis):
            return None
        return by_table(table.double().cpu())

    def _moments(self, one: Weighted, sums: _Sums, held: Held, rows: Sequence[int]) -> Moments:
        centred = one.op.output in self.biases
        step = max(1, _HELD // sums.held)
        chunks = [rows[at : at + step] for at in range(0, len(rows), step)]

        def of(chunk: Sequence[int]) -> tuple[Tensor, ...]:
            with torch.inference_mode():
                real, stored = ({i: v[i][chunk] for i in one.op.reads if i in v} for v in (held.real, held.stored))
                return self._added(one, sums, real, stored)

        h, c, power, x, y, n = functools.reduce(_sum, one_per_core(of, chunks, self.context.device))
        if centred:
            h, c, power = h - x[..., :, None] * x[..., None, :] / n, c - y[..., None] * x[:, None] / n, power - y**2 / n
        return Moments(h / n, c / n, power / n)

    def _added(self, one: Weighted, sums: _Sums, real: ById, stored: ById) -> tuple[Tensor, ...]:
        """The sums over positions of x x^T, y x^T, y^2, x and y, and their number."""
        op, student = one.op, self.student
        known = self.both.program.constants | real
        exact, inputs = [None if i is None else known[i] for i in op.inputs], [student.read(i, op, stored) for i in op.inputs]
        if any(i is not None for i in op.inputs[one.kind.weight.bias :]):  # it is no part of what the weights make up for
            exact[one.kind.weight.bias] = torch.zeros(sums.outputs, device=self.context.device)
            inputs[one.kind.weight.bias] = torch.zeros(sums.groups * sums.at_once, device=self.context.device)
        (y,) = student.lanes.compute(op, one.kind.plain, tuple(exact))

        def summed(weight: Tensor) -> Tensor:
            inputs[one.kind.weight.input] = weight.to(self.context.device)
            return student.lanes.compute(op, one.kind.plain, tuple(inputs))[0]

        x = torch.stack([summed(weight).reshape(-1, sums.groups, sums.at_once) for weight in sums.each], -1)
        x = x.reshape(-1, sums.groups, sums.count).transpose(0, 1).contiguous()
        y = y.reshape(-1, sums.groups, sums.outputs // sums.groups).transpose(0, 1).contiguous()
        return _moments(x, y)


def _moments(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
    """The sums over n of x x^T, y x^T, y^2, x and y, and n, of ``x`` [g, n, k] and ``y`` [g, n, m], in float64.

    Products are taken about the mean, which is put back in float64: of numbers that hardly vary beside their mean float32 keeps
    no more than the mean.
    """
    n = x.shape[1]
    around, beside = x.mean(1, keepdim=True), y.mean(1, keepdim=True)
    x, y = x - around, y - beside
    xx, yx, yy, dx, dy = (part.double().cpu() for part in (x.mT @ x, y.mT @ x, y.square().sum(1), x.sum(1), y.sum(1)))
    a, b = around[:, 0].double().cpu(), beside[:, 0].double().cpu()

    def back(product: Tensor, mean: Tensor, off: Tensor) -> Tensor:
        left = mean[..., :, None] * dx[..., None, :] + off[..., :, None] * a[..., None, :]
        return product + left + n * mean[..., :, None] * a[..., None, :]

    power = yy + 2 * b * dy + n * b.square()
    return back(xx, a, dx), back(yx, b, dy), power, dx + n * a, dy + n * b, torch.tensor(float(n))


@final
class _Sums:
    """How an op sums: every output channel, in ``groups``, sums ``count`` numbers at a time."""

    def __init__(self, one: Weighted, graph: Graph) -> None:
        shape, axis = concrete(one.weight), one.axis
        self.axis, self.outputs = axis, shape[axis]
        met = np.broadcast_to(columns(one.op, one.count, shape), shape)
        self.groups = one.count // len(np.unique(np.moveaxis(met, axis, 0)[0]))
        self.rest = tuple(np.delete(shape, axis))
        self.count = prod(self.rest)
        made = concrete(graph[one.op.output])
        self.positions = prod(made[1:]) // self.outputs
        #: Multiplications, and numbers that are read, of a sample.
        self.work = self.positions * self.groups * self.count**2
        self.held = self.positions * self.groups * self.count
        eye = torch.eye(self.count)
        #: Weights by which the op gives the numbers that it sums: all of them from one, or the like of every group from each.
        self.each = [self._of(eye)] if self.groups == 1 else [self._of(one.expand(self.groups, -1)) for one in eye]
        self.at_once = self.count if self.groups == 1 else 1

    def _of(self, rows: Tensor) -> Tensor:
        return rows.reshape(-1, *self.rest).movedim(0, self.axis)

    def rows(self, weight: Tensor) -> Tensor:
        return weight.movedim(self.axis, 0).reshape(self.groups, -1, self.count)

    def steps(self, fmt: Affine) -> Tensor:
        """What the weights [g, m, k] count in, float64: [g, m, 1], or [g, m, k] where blocks have scales of their own."""
        if fmt.block_scales is not None:
            return self.rows(torch.from_numpy(fmt.block_scales.steps()).double())
        return torch.tensor(fmt.scale, dtype=torch.float64).expand(self.outputs).reshape(self.groups, -1, 1)

    def weight(self, rows: Tensor) -> Tensor:
        return rows.reshape(self.outputs, *self.rest).movedim(0, self.axis).contiguous()


def _sum(all_: tuple[Tensor, ...], part: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(a.add_(b) for a, b in zip(all_, part, strict=True))
