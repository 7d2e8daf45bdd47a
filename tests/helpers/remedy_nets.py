"""Small planned networks that remedies are tried on, and what is asked of their outputs."""

from dataclasses import replace

import numpy as np
import torch
from nets import images, mobile

import intact
from intact.data import input_specs
from intact.planning.quantized import Quantized
from intact.remedies.base import Context
from intact.rewrite.lowerings import lower
from intact.run.as_planned import plan_of
from intact.run.settings import Settings
from intact.simulate.engine import Program

SIDE = 16


def samples_of(graph, n=96, seed=3):
    return intact.data.arrays(images(n, seed, SIDE)).bind(input_specs(graph), None)


def planner(settings, samples):
    by_extremes = replace(settings, ranges="minmax")

    def plan(graph, precise=(), wide=()):
        request = replace(by_extremes.request(), wide_weights=wide)
        return plan_of(graph, samples, by_extremes, request, precise=precise).plan

    return plan


def planned(graph=None, **options):
    """A small network as the planner makes it, its samples and a context."""
    graph = lower(graph or mobile(seed=5, side=SIDE), "cpu", "int8")
    samples = samples_of(graph)
    make = planner(Settings(**options), samples)
    return Quantized(graph, graph, make(graph)), samples, Context(make)


def rescaled_channels(graph, factors):
    """The same function with the channels of the first convolution scaled by ``factors`` and read back by the next two ops."""
    first, depthwise = graph.ops[:2]
    tensors = dict(graph.tensors)
    w, b, dw = (graph[i] for i in (first.inputs[1], first.inputs[2], depthwise.inputs[1]))
    tensors[w.id] = replace(w, data=(w.data * factors[:, None, None, None]).astype(np.float32))
    tensors[b.id] = replace(b, data=(b.data * factors).astype(np.float32))
    tensors[dw.id] = replace(dw, data=(dw.data / factors).astype(np.float32))
    return replace(graph, tensors=tensors)


def chain(activation="relu"):
    """``mobile`` without its residual: conv, depthwise, mean, classifier scale against each other."""
    graph = mobile(seed=5, side=SIDE)
    ops = tuple(op for op in graph.ops if op.kind.name != "ADD")
    first = replace(ops[0], kind=replace(ops[0].kind, activation=activation))
    mean = next(op for op in ops if op.kind.name == "MEAN")
    ops = tuple(first if op is ops[0] else replace(op, inputs=(6, 8)) if op is mean else op for op in ops)
    used = {i for op in ops for i in (*op.reads, *op.outputs)}
    return replace(graph, ops=ops, tensors={i: t for i, t in graph.tensors.items() if i in used})


def float_outputs(graph, samples):
    batch, _ = samples.batch(np.arange(len(samples)))
    with torch.inference_mode():
        return next(iter(Program(graph)(batch).values())).numpy()


def noise(network, samples):
    """Squared error at the output, simulated."""
    return float(np.square(float_outputs(network.integer(), samples) - float_outputs(network.reference, samples)).mean())


def mean_of_logits(graph, batch):
    """The mean over samples of what the last SOFTMAX reads."""
    seen = {}
    with torch.inference_mode():
        Program(graph)(batch, lambda tensor, y: seen.update({tensor.id: y}))
    return seen[12].mean(0).numpy()
