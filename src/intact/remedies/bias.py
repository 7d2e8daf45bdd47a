"""Bias correction: rounded weights and clipped activations shift the mean of every output; the bias takes it back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, final

import numpy as np
import torch

from intact.data import Samples
from intact.network.graph import Tensor
from intact.network.shapes import concrete
from intact.network.weighted import Weighted
from intact.planning.quantized import Quantized
from intact.planning.steps import own_biases
from intact.remedies.base import Context, Remedy
from intact.remedies.side_by_side import Held, SideBySide
from intact.remedies.student import Student
from intact.simulate.engine import Program
from intact.wording import counted


@final
@dataclass(frozen=True)
class BiasCorrection(Remedy):
    """``b <- b + E[W x] - E[W_q x_q]`` per output channel, before the activation, op by op with what came before corrected.

    After it the mean shift of every integer convolution and matrix product with a bias of its own on the samples is zero.
    Source: Nagel et al. 2019 (arXiv 1906.04721), section 4.2, empirical.
    """

    name: ClassVar[str] = "bias"
    order: ClassVar[int] = 30
    needs_single_samples: ClassVar[bool] = True
    samples: int = 512

    def apply(self, network: Quantized, samples: Samples, context: Context) -> Quantized:
        graph = network.graph
        with torch.inference_mode():
            shifts, count = _mean_shifts(network, samples, self.samples, context)
        tensors = {i: replace(graph[i], data=np.asarray(graph[i].data + shift, np.float32)) for i, shift in shifts.items()}
        largest_shift = max((float(np.abs(s).max()) for s in shifts.values()), default=0.0)
        said = f"corrected the bias of {counted(len(shifts), 'op')} on {counted(count, 'sample')}, by up to {largest_shift:.3g}"
        corrected = replace(graph, tensors={**graph.tensors, **tensors})
        return replace(network, graph=corrected, log=(*network.log, said))


def _mean_shifts(network: Quantized, samples: Samples, most: int, context: Context) -> tuple[dict[int, np.ndarray], int]:
    """What to add to each bias, by tensor id, every correction in effect for the ops after it; and the number of samples."""
    graph, plan = network.graph, network.plan
    student = Student(graph, plan, context.device)
    both = SideBySide(student, network.exact, samples.drawn(most, context.seed), context)
    biases = {one.op.output: (one, bias) for one, bias in own_biases(graph, plan)}
    shifts: dict[int, np.ndarray] = {}
    count = 0
    for op, held in both.through("correct biases"):
        count = held.count
        if op.output in biases:
            one, bias = biases[op.output]
            shifts[bias.id] = corrected(student, both.program, one, bias, held)
    return shifts, count


def corrected(student: Student, program: Program, one: Weighted, bias: Tensor, held: Held) -> np.ndarray:
    """What the op needs added to its ``bias``, of its shape, for the mean of its sums to be that of ``program``; the student
    has it from now on.
    """
    op, plain, known = one.op, one.kind.plain, program.constants | held.real  # means are compared where the bias is added
    (exact,) = student.lanes.compute(op, plain, tuple(None if i is None else known[i] for i in op.inputs))
    (rounded,) = student.lanes.compute(op, plain, tuple(student.read(i, op, held.stored) for i in op.inputs))
    shift = (exact - rounded).reshape(-1, exact.shape[-1]).mean(0).reshape(concrete(bias))
    student.assign(bias.id, student.real(bias.id) + shift)
    return np.asarray(shift.cpu().numpy())
