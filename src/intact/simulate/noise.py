"""Which ops the loss comes from: the noise at the output when one op alone is quantized, in simulation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Final, final

import numpy as np
import torch
from torch.nn import functional as F

from intact.annotations import Floats
from intact.data import Samples
from intact.data.samples import SMALL_BATCH
from intact.network.graph import Graph, Op, Tensor
from intact.network.shapes import concrete
from intact.numbers.affine import Affine, Float, Format, bits_of, dequantize_array
from intact.planning.integer_graph import stored, weights_of
from intact.planning.quantized import Quantized
from intact.progress import Progress, silent
from intact.simulate.engine import Batch
from intact.simulate.partly import Partly

#: Noise is a sum over all positions of all outputs: a few samples rank the ops.
_SAMPLES: Final = 64


@final
@dataclass(frozen=True)
class Sensitivity:
    """``noise``: the squared error at the network's output over its power when only this op is stored as integers.

    ``share``: of the sum over all ops; errors of different ops add up, roughly. ``spared``: the part of the whole network's
    noise that goes when only this op stays in float; None where that was not asked for.
    """

    op: str
    output: int
    noise: float
    share: float
    spared: float | None = None


def sensitivities(  # noqa: PLR0913  # what to look at, and how to look
    network: Quantized,
    samples: Samples,
    device: str = "cpu",
    progress: Progress = silent,
    *,
    both_ways: bool = False,
    activations: bool = True,
    out_of_time: Callable[[], bool] = lambda: False,
) -> tuple[Sensitivity, ...]:
    """One entry per op that the plan computes on integers, the worst first. Classes are compared before a SOFTMAX.

    ``samples``: those of them that are looked at, 64 at most, spread evenly. ``both_ways`` takes each op out of the integer
    network as well, which takes twice as long. Without ``activations`` only constants are rounded. When ``out_of_time`` before
    all ops are seen, there are no entries.
    """
    graph = without_softmax(network.graph)
    partly = Partly(graph, batches_of(graph, samples), device)
    exact = partly.exact
    power = sum(float(np.square(y.astype(np.float64)).sum()) for y in exact.values())
    found: list[tuple[Op, float, float | None]] = []
    ops = [op for op in graph.ops if isinstance(network.plan.own(op.output), Affine)]

    def noise(rounded: list[Op]) -> float:
        made = partly.outputs(only(graph, network, rounded, activations=activations))
        return _error(made, exact) / max(power, 1e-300)

    whole = noise(ops) if both_ways else 0.0
    for n, op in enumerate(ops):
        if out_of_time():
            return ()
        progress("diagnose", n, len(ops))
        spared = 1 - noise([o for o in ops if o is not op]) / max(whole, 1e-300) if both_ways else None
        found.append((op, noise([op]), spared))
    total = sum(alone for _, alone, _ in found) or 1.0
    rows = (Sensitivity(graph.label(op), op.output, alone, alone / total, spared) for op, alone, spared in found)
    return tuple(sorted(rows, key=lambda row: -row.noise))


def narrow_weights(network: Quantized) -> dict[int, float]:
    """The bytes that weights of 8 bits would take more, by first output of the op, where weights have fewer."""
    graph, plan = network.graph, network.plan
    missing = {op.output: [(graph[i], _missing(plan.at(i, op.output))) for i in op.reads] for op in graph.ops}
    return {
        output: sum(prod(concrete(t)) * bits / 8 for t, bits in read)
        for output, read in missing.items()
        if any(b for _, b in read)
    }


def _missing(fmt: Format) -> int:
    """Bits that a number has fewer than a byte."""
    return max(0, 8 - bits_of(fmt)) if isinstance(fmt, Affine) else 0


def weight_share(network: Quantized, samples: Samples, device: str = "cpu", *, before: Graph | None = None) -> float:
    """The part of the output's noise that comes from rounding constants, the rest being that of activations, from 0 to 1.

    ``before``: the graph with constants as they were until something rounded them otherwise than to the nearest.
    """
    graph = without_softmax(network.graph)
    batches = batches_of(graph, samples)
    partly = Partly(graph, batches, device)
    exact = partly.exact if before is None else Partly(without_softmax(before), batches, device).exact
    ops = [op for op in graph.ops if isinstance(network.plan.own(op.output), Affine)]
    by_constants = _error(partly.outputs(only(graph, network, ops, activations=False)), exact)
    by_activations = _error(partly.outputs(only(graph, network, ops, constants=False)), partly.exact)
    return by_constants / max(by_constants + by_activations, 1e-300)


def input_share(network: Quantized, samples: Samples, device: str = "cpu") -> float:
    """The part of the output's noise that comes from rounding the inputs as the caller gives them, from 0 to 1.

    The rest is what the network makes of inputs that are not rounded, beside its float self.
    """
    graph, plan = without_softmax(network.graph), network.plan
    rounded = {i: replace(graph[i], format=plan.outside(i)) for i in graph.inputs if isinstance(plan.outside(i), Affine)}
    if not rounded:
        return 0.0
    batches = batches_of(graph, samples)
    partly = Partly(graph, batches, device)
    exact = Partly(without_softmax(network.reference), batches, device).exact
    ops = [op for op in graph.ops if isinstance(plan.own(op.output), Affine)]
    by_inputs = _error(partly.outputs(replace(graph, tensors={**graph.tensors, **rounded})), partly.exact)
    by_others = _error(partly.outputs(only(graph, network, ops)), exact)
    return by_inputs / max(by_inputs + by_others, 1e-300)


def only(graph: Graph, network: Quantized, ops: Iterable[Op], *, constants: bool = True, activations: bool = True) -> Graph:
    """The float ``graph`` with nothing but the constants and outputs of ``ops`` rounded as the plan stores them."""
    tensors: dict[int, Tensor] = dict(graph.tensors)
    weights = weights_of(graph)
    for op in ops:
        for i in op.outputs if activations else ():
            if isinstance(network.plan.own(i), Affine):
                tensors[i] = replace(graph[i], format=network.plan.own(i))
        for i in op.reads if constants else ():
            fmt, t = network.plan.at(i, op.output), graph[i]
            if t.data is not None and isinstance(fmt, Affine):
                data = stored(t, fmt, weights).data
                tensors[i] = replace(t, data=dequantize_array(np.asarray(data), fmt), format=Float())
    return replace(graph, tensors=tensors)


def before_softmax(graph: Graph, output: int) -> int:
    """The tensor to compare instead of an output: what a SOFTMAX (of beta 1) that makes it reads; itself where none does."""
    op = graph.producers().get(output)
    if op is None or op.kind.softmax_factor() != 1 or op.inputs[0] is None:
        return output
    return op.inputs[0]


def divergence(exact: Floats[torch.Tensor, "*n c"], made: Floats[torch.Tensor, "*n c"]) -> Floats[torch.Tensor, ""]:
    """``sum_c p_c (log p_c - log q_c)`` of logits [..., c], the mean over samples."""
    p, q = (F.log_softmax(y.reshape(-1, y.shape[-1]), -1) for y in (exact, made))
    return F.kl_div(q, p, reduction="batchmean", log_target=True)


def without_softmax(graph: Graph) -> Graph:
    """``graph`` with each output that a SOFTMAX makes replaced by what the SOFTMAX reads."""
    ends = {i: before for i in graph.outputs if (before := before_softmax(graph, i)) != i}
    if len(set(ends.values())) != len(ends) or set(ends.values()) & set(graph.outputs):
        return graph
    return replace(graph, outputs=tuple(ends.get(i, i) for i in graph.outputs), signatures=())


def _error(made: Mapping[str, np.ndarray], exact: Mapping[str, np.ndarray]) -> float:
    return sum(float(np.square(made[name].astype(np.float64) - y).sum()) for name, y in exact.items())


def batches_of(graph: Graph, samples: Samples, most: int = _SAMPLES) -> list[Batch]:
    """``most`` of the samples, spread evenly. A graph without signatures takes its inputs by tensor name."""
    batches = [batch for batch, _ in samples.spread(most).batches(SMALL_BATCH)]
    names = graph.input_names
    return [batch if set(batch) == set(names) else dict(zip(names, batch.values(), strict=True)) for batch in batches]
