"""Bias correction: rounded weights and clipped activations shift the mean of every output; the bias takes it back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, final

import numpy as np
import torch

from intact.data import Samples
from intact.graph import Op
from intact.ops.base import as_tuple
from intact.quantized import Quantized
from intact.remedies.base import Context, Remedy, samples_that_fit
from intact.simulate import Program
from intact.student import Student, own_biases
from intact.verify import concrete

#: Both networks' live activations are held for all samples at once; this many numbers in the largest of them.
_LARGEST: Final = 32 << 20


@final
@dataclass(frozen=True)
class BiasCorrection(Remedy):
    """``b <- b + E[W x] - E[W_q x_q]`` per output channel, before the activation, op by op with what came before corrected.

    After it the mean shift of every integer convolution and matrix product with a bias of its own on the samples is zero.
    Source: Nagel et al. 2019 (arXiv 1906.04721), section 4.2, empirical.
    """

    name: ClassVar[str] = "bias"
    order: ClassVar[int] = 30
    paper: ClassVar[str] = "Nagel et al. 2019, Data-Free Quantization (arXiv 1906.04721)"
    samples: int = 512

    def apply(self, network: Quantized, samples: Samples, context: Context) -> Quantized:
        graph = network.graph
        count = samples_that_fit(graph, samples, self.samples, _LARGEST)
        batch, _ = samples.batch(np.arange(count))
        with torch.inference_mode():
            shifts = _mean_shifts(network, batch, context)
        tensors = {i: replace(graph[i], data=np.asarray(graph[i].data + shift, np.float32)) for i, shift in shifts.items()}
        largest_shift = max((float(np.abs(s).max()) for s in shifts.values()), default=0.0)
        said = f"corrected {len(shifts)} biases on {count} samples, by up to {largest_shift:.3g}"
        corrected = replace(graph, tensors={**graph.tensors, **tensors})
        return replace(network, graph=corrected, log=(*network.log, said))


def _mean_shifts(network: Quantized, batch: Mapping[str, np.ndarray], context: Context) -> dict[int, np.ndarray]:
    """What to add to each bias, by tensor id; every correction is in effect for the ops after it."""
    graph, plan = network.graph, network.plan
    student = Student(graph, plan, context.device)
    biases = {op.output: b for op, _, b in own_biases(graph, plan)}
    inputs = {
        i: torch.as_tensor(batch[name], device=context.device) for name, i in zip(graph.input_names, graph.inputs, strict=True)
    }
    real = dict(Program(graph, context.device).constants) | inputs
    stored = {i: student.store(x, i) for i, x in inputs.items()}
    last = {i: n for n, op in enumerate(graph.ops) for i in op.reads}
    shifts: dict[int, np.ndarray] = {}
    for n, op in enumerate(graph.ops):
        context.progress("correct biases", n, len(graph.ops))
        exact = [None if i is None else real[i] for i in op.inputs]
        rounded = [student.read(i, op, stored) for i in op.inputs]
        if op.output in biases:
            b, kind = biases[op.output], _linear(op)
            shift = (kind.compute(*exact) - kind.compute(*rounded)).reshape(-1, concrete(graph[op.output])[-1]).mean(0)
            shifts[b] = shift.cpu().numpy().reshape(graph[b].shape)
            student.assign(b, student.real(b) + shift.reshape(graph[b].shape))
            rounded = [student.read(i, op, stored) for i in op.inputs]
        for i, x, y in zip(op.outputs, as_tuple(op.kind.compute(*exact)), as_tuple(op.kind.compute(*rounded)), strict=True):
            real[i], stored[i] = x, student.store(y, i)
        for i in op.reads:
            if last[i] == n and not graph[i].is_constant:
                real.pop(i, None)
                stored.pop(i, None)
    return shifts


def _linear(op: Op) -> Any:
    """The op without its fused activation: means are compared where the bias is added."""
    return replace(op.kind, activation="none")  # type: ignore[type-var]
