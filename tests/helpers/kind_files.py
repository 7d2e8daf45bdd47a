"""Integer files of one op each, and how far what runtimes make of them is from what the simulator makes."""

import numpy as np
import torch
from op_cases import CASES, graph_of, samples

from intact.numbers.affine import Affine, Float, dequantize_array, quantize_array
from intact.planning.integer_graph import emit
from intact.planning.planner import make_plan
from intact.planning.targets import TARGETS
from intact.rewrite.lowerings import LOWERINGS, lower
from intact.simulate.calibrate import observe
from intact.simulate.engine import Program


def simulated(graph, case):
    with torch.inference_mode():
        made = Program(graph)(samples(case))
    # What has no axis comes with one, so that samples can be told apart.
    return [made[name].numpy().reshape(graph[i].shape) for name, i in zip(graph.output_names, graph.outputs, strict=True)]


def integer_graph(case, request):
    """The case as the target has it, with ranges from the samples that it is run on."""
    graph = lower(graph_of(case), request.target.name, request.scheme.activations)
    if not any(t.is_float for t in graph.tensors.values()):
        return graph
    seen = observe(graph, lambda: [samples(case)])
    return emit(graph, make_plan(graph, {i: o.extremes for i, o in seen.items()}, request))


def stored(graph, case):
    """The samples as the integers that the graph's inputs take."""
    formats = [graph[i].format for i in graph.inputs]
    pairs = zip(samples(case).values(), formats, strict=True)
    return [quantize_array(x, fmt) if isinstance(fmt, Affine) else x for x, fmt in pairs]


def real(stored, fmt):
    """Stored numbers as real ones."""
    return dequantize_array(stored, fmt) if isinstance(fmt, Affine) else stored


def step(graph, i):
    """The scale in which an output was computed, before a DEQUANTIZE; 1 for whole numbers."""
    makers = {made: op for op in graph.ops for made in op.outputs}
    fmt = graph[i].format
    if isinstance(fmt, Float) and makers[i].kind.name == "DEQUANTIZE":
        fmt = graph[makers[i].inputs[0]].format
    return fmt.scale[0] if isinstance(fmt, Affine) else 1.0


def gap(graph, case, results):
    """How many steps of its scale each output is off the simulator's, at most."""
    worst = 0.0
    for i, made, expected in zip(graph.outputs, results, simulated(graph, case), strict=True):
        assert made.shape == expected.shape
        far = np.abs(real(made, graph[i].format).astype(np.float64) - expected)
        worst = max(worst, float(far.max()) / step(graph, i))
    return worst


def lowered(target, activations="int8"):
    return {name for device, stored, name in LOWERINGS if (device, stored) == (target, activations)}


def integer_cases(target, activations="int8"):
    """What the target computes in integers, as it is or lowered."""
    known = TARGETS[target].kinds(activations) | lowered(target, activations)
    return [case for case in CASES if case.kind.name in known]
