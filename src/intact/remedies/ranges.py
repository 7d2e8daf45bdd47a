"""Range refinement: every activation's range shrunk as far as the network's output, not the tensor, gains from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar, Final, final

import numpy as np
import torch
from torch import Tensor

from intact.data import Samples
from intact.network.shapes import concrete
from intact.planning.quantized import Quantized
from intact.remedies.base import Context, Remedy
from intact.remedies.student import Student
from intact.simulate.engine import Program, one_per_core
from intact.simulate.noise import divergence, without_softmax

#: All activations that are alive at once are held for all samples; this many numbers in the largest of them.
_LARGEST: Final = 32 << 20
#: Into how many parts each half of the samples is split, whatever the number of cores.
_PARTS: Final = 4
#: A change has to lower the error by this part, or it may be chance.
_LEAST_GAIN: Final = 0.01


@final
@dataclass(frozen=True)
class RangeRefinement(Remedy):
    """One scale after the other, in the order of the ops, is made ``narrower`` and narrower for as long as that gains, or
    else ``nearer`` what it was; the best stays.

    The error is that of the outputs, all other tensors rounded as planned: ``KL(float || integer)`` of the classes before a
    SOFTMAX, else the squared error over the power. It has to fall on each half of the samples, or a range would be fitted to
    the outliers of a few. A range that clips what matters least to the output is worth its finer steps elsewhere; the least
    squared error of the tensor itself does not know what matters.
    Source: the layer-output objective of Nagel et al. 2021, A White Paper on Neural Network Quantization (arXiv 2106.08295),
    section 3.1, taken to the network's output as in Wu et al. 2020, EasyQuant (arXiv 2006.16669).
    """

    name: ClassVar[str] = "ranges"
    order: ClassVar[int] = 15
    needs_single_samples: ClassVar[bool] = True
    samples: int = 256
    narrower: float = 0.75
    nearer: float = 0.87

    def apply(self, network: Quantized, samples: Samples, context: Context) -> Quantized:
        with torch.inference_mode():
            return _Run(self, network, samples, context).refined()


class _Run:
    def __init__(self, how: RangeRefinement, network: Quantized, samples: Samples, context: Context) -> None:
        self.how, self.network, self.context = how, network, context
        graph = network.graph
        self.ends = without_softmax(graph).outputs
        self.classes = {i for i, output in zip(self.ends, graph.outputs, strict=True) if i != output}
        largest = max(prod(concrete(t)) for t in graph.tensors.values() if not t.is_constant)
        self.count = max(2 * _PARTS, min(how.samples, len(samples), _LARGEST // largest))
        batch, _ = samples.drawn(len(samples), context.seed).batch(np.arange(self.count) % len(samples))
        self.student = Student(graph, network.plan, context.device)
        program = Program(network.exact, context.device)
        self.inputs = program.entered(batch)
        self.exact: dict[int, Tensor] = program.look(batch, lambda t, y: y.clone() if t.id in self.ends else None)
        self.power = {i: float(y.square().mean().clamp(min=1e-12)) for i, y in self.exact.items()}

    def refined(self) -> Quantized:
        graph, student = self.network.graph, self.student
        stored = student.entered(self.inputs)
        last = {i: n for n, op in enumerate(graph.ops) for i in op.reads} | dict.fromkeys(self.ends, len(graph.ops))
        first = best = self._errors(0, stored)
        # The inputs' own scales stay: they were rounded with them above.
        kept = {student.slot(i) for i in graph.inputs}
        done, changed = set[str](), 0
        for n, op in enumerate(graph.ops):
            self.context.progress("refine ranges", n, len(graph.ops))
            for slot in map(student.slot, op.outputs):
                if slot is None or slot in done or slot in kept or self.context.out_of_time():
                    continue
                done.add(slot)
                # A scale that an earlier tensor shares was settled there; the values so far were rounded with it.
                best, moved = self._settle(n, slot, stored, best)
                changed += moved
            stored |= student.run([op], stored, op.outputs)
            for i in [i for i in stored if last.get(i, -1) <= n]:
                del stored[i]
        _, learned = student.learned()
        said = f"refined {changed} of {len(done)} ranges on {self.count} samples: "
        said += f"error of the output {first.mean():.3g} -> {best.mean():.3g}"
        return replace(self.network, plan=learned, log=(*self.network.log, said))

    def _settle(self, n: int, slot: str, stored: Mapping[int, Tensor], best: np.ndarray) -> tuple[np.ndarray, bool]:
        """Give ``slot`` its best factor; the errors with it, and whether it changed."""
        chosen = 1.0

        def better(factor: float) -> bool:
            nonlocal best, chosen
            self.student.grow(slot, math.log(factor))
            errors = self._errors(n, stored)
            gained = bool((errors < best * (1 - _LEAST_GAIN)).all())
            if gained:
                best, chosen = errors, factor
            return gained

        if better(self.how.narrower):
            while better(chosen * self.how.narrower):
                pass
        else:
            better(self.how.nearer)
        self.student.grow(slot, math.log(chosen))
        return best, chosen != 1.0

    def _errors(self, n: int, stored: Mapping[int, Tensor]) -> np.ndarray:
        """The error on each half of the samples, op ``n`` and all after it computed anew: [2]."""
        halves = np.array_split(np.arange(self.count), 2)

        def of_part(part: np.ndarray) -> float:
            with torch.inference_mode():
                made = self.student.run(self.network.graph.ops[n:], {i: x[part] for i, x in stored.items()}, self.ends)
                return sum(self._error(i, made[i], y[part]) for i, y in self.exact.items()) * len(part)

        parts = [part for half in halves for part in np.array_split(half, _PARTS)]
        found = np.array(list(one_per_core(of_part, parts, self.context.device)))
        mean: np.ndarray = found.reshape(2, _PARTS).sum(1) / np.array([len(half) for half in halves])
        return mean

    def _error(self, i: int, made: Tensor, exact: Tensor) -> float:
        if i in self.classes:
            return float(divergence(exact, made))
        return float((made - exact).square().mean()) / self.power[i]
