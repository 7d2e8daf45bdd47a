"""High-bias absorption: what a channel never falls below moves into the biases that read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, final

import numpy as np
import torch

from intact.data import Samples
from intact.network.channels import Channels, free_channels
from intact.network.graph import Graph, Op, Tensor
from intact.network.shapes import concrete
from intact.network.verify import verify
from intact.network.weighted import weighted
from intact.ops.scales import ONE
from intact.planning.quantized import Quantized
from intact.remedies.base import Context, Remedy, changed_output, look_at


@final
@dataclass(frozen=True)
class Absorb(Remedy):
    """``b1 <- b1 - c`` and ``b2 <- b2 + W2 c``, c[i] being the least value that channel i takes after a RELU, if above 0.

    ``relu(x - c) = relu(x) - c`` wherever ``x >= c``, so the float output stays as it is on the samples, and the tensor
    between the two needs a smaller range. The paper takes c from a batch norm's mean and deviation, which folded networks no
    longer have; here the samples say it. Only readers to which every position looks alike can take c up: those without
    padding.
    Source: Nagel et al. 2019 (arXiv 1906.04721), section 4.1.3.
    """

    name: ClassVar[str] = "absorb"
    order: ClassVar[int] = 11

    def apply(self, network: Quantized, samples: Samples, context: Context) -> Quantized:
        graph = network.graph
        channels = free_channels(graph)
        movable = _movable(channels)
        lowest = _channel_minima(graph, set(movable), samples, context)
        shifts = np.zeros(channels.count)
        for i in movable:
            shifts[channels.made[i]] = np.maximum(lowest[i], 0.0)
        if not shifts.any():
            return replace(network, log=(*network.log, "absorbed nothing: no channel stays above 0 on the samples"))
        changed, exact = verify(_absorbed(channels, graph, shifts)), _absorbed(channels, network.exact, shifts)
        undone = changed_output(graph, changed, samples, context)
        if undone is not None:
            return replace(network, log=(*network.log, f"left undone: absorb, {undone}"))
        layers = sum(bool(shifts[channels.made[i]].any()) for i in movable)
        said = f"absorbed the least value of {np.count_nonzero(shifts)} channels of {layers} layers into the biases after them"
        return replace(
            network, graph=changed, plan=context.make_plan(changed, (), ()), log=(*network.log, said), rescaled=exact
        )


def _movable(channels: Channels) -> tuple[int, ...]:
    """Outputs of RELUs that reach their readers directly, all of which have a bias and no padding that would not move too."""
    graph, readers = channels.graph, channels.graph.consumers()
    return tuple(
        op.output
        for op in channels.ops()
        if op.output in channels.made
        and op.kind.unfused()[1] == "relu"
        and (channels.made[op.output] > ONE).all()
        and _own_bias(graph, op, readers)
        and all(_takes_up(channels, op.output, reader) and _own_bias(graph, reader, readers) for reader in readers[op.output])
    )


def _takes_up(channels: Channels, i: int, reader: Op) -> bool:
    """Whether ``reader`` adds the same to every position of its output when a channel of ``i``, which it reads, is shifted."""
    graph = channels.graph
    found = weighted(graph, reader)
    if reader.output not in channels.taken or found is None or found.data.id != i:
        return False
    return found.kind.is_uniform(found.values.shape)


def _own_bias(graph: Graph, op: Op, readers: Mapping[int, list[Op]]) -> bool:
    found = weighted(graph, op)
    b = None if found is None else found.bias
    return b is not None and b.is_constant and len(readers[b.id]) == 1


def _absorbed(channels: Channels, graph: Graph, shifts: np.ndarray) -> Graph:
    """``graph`` with every mark's channels lowered by its shift, and ``W2 c`` added to the biases of what reads them."""
    held = replace(channels, graph=graph)
    tensors: dict[int, Tensor] = dict(graph.tensors)

    def add(bias: Tensor | None, shift: np.ndarray) -> None:
        if bias is None:
            raise TypeError("a channel that is shifted has no bias to take the shift")
        t = tensors[bias.id]
        tensors[t.id] = replace(t, data=(np.asarray(t.data, np.float64) + shift.reshape(concrete(t))).astype(np.float32))

    for op in held.ops():
        found, made, met = weighted(graph, op), channels.made.get(op.output), held.entering(op)
        if found is None:
            continue
        if made is not None and shifts[made].any():
            add(found.bias, -shifts[made])
        if met is not None and shifts[met].any():
            read = np.moveaxis(found.values.astype(np.float64) * shifts[met], found.axis, 0)
            add(found.bias, read.reshape(len(read), -1).sum(1))
    return replace(graph, tensors=tensors)


def _channel_minima(graph: Graph, wanted: set[int], samples: Samples, context: Context) -> dict[int, np.ndarray]:
    """The least value of every channel of the tensors ``wanted`` on the samples."""
    lowest = look_at(
        graph, wanted, samples, context, lambda y: y.reshape(-1, y.shape[-1]).amin(0).double().cpu(), torch.minimum
    )
    return {i: least.numpy() for i, least in lowest.items()}
