"""What the thresholds of a diagnosis have to tell apart: figures of sound integer networks beside those of planted faults.

python bench/diagnosis_thresholds.py [--seeds N]     one line per figure: how many, least, 1 %, median, 99 %, largest

Networks are small and random (two nets of the tests, and one without a residual), quantized to int8 and w4a8 for both targets
without remedies. The comments beside the thresholds in intact/diagnosis name the row that they come from.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))

from drafts import draft
from nets import images, mobile, varied
from remedy_nets import chain, rescaled_channels

import intact
from common import say_machine
from intact.data import Samples, input_specs
from intact.diagnosis.counterparts import find_counterparts
from intact.diagnosis.diagnose import _magnitudes
from intact.diagnosis.rescaling import find_rescaling
from intact.diagnosis.trace import Traced, decibels, trace
from intact.diagnosis.weights import Constants, constants_of
from intact.network.graph import Graph
from intact.numbers.affine import Affine, bias_format
from intact.ops.base import Free
from intact.ops.convolution import Conv2D
from intact.ops.matmul import FullyConnected
from intact.ops.reduction import Mean
from intact.planning.targets import target as target_named

COUNT = 64  #: samples, as many as a diagnosis runs
FIGURES: dict[str, list[float]] = defaultdict(list)


def plain(seed: int) -> Graph:
    """Three convolutions and a classifier, whose weights are drawn with another spread for each channel."""
    draw = np.random.default_rng(seed)

    def weight(c_out: int, *shape: int) -> np.ndarray:
        spread = np.exp(draw.normal(0, 0.5, (c_out, *[1] * len(shape))))
        return (spread * draw.normal(0, 1 / np.sqrt(np.prod(shape)), (c_out, *shape))).astype(np.float32)

    def build(d, x):  # noqa: ANN001, ANN202  # as the helpers' networks
        for c_in in (3, 8, 8):
            kind = Conv2D(padding="same", activation="relu")
            x = d(kind, x, weight(8, 3, 3, c_in), draw.normal(0, 0.1, 8).astype(np.float32))
        return d(FullyConnected(), d(Mean(), x, [1, 2]), weight(5, 8), draw.normal(0, 0.1, 5).astype(np.float32))

    return draft((8, 8, 3), build)


def nets(seed: int) -> Iterator[tuple[str, Graph]]:
    yield "mobile", mobile(seed, 8)
    yield "varied", varied(seed)
    yield "plain", plain(seed)


def quantized(net: Graph, x: np.ndarray, **options: str) -> Graph:
    found = intact.quantize(net, intact.data.arrays(x), measure=False, **{"remedies": "none", **options})
    return found.graph


def traced(graph: Graph, net: Graph, x: np.ndarray, target: str = "cpu") -> Traced:
    samples: Samples = intact.data.arrays(x).bind(input_specs(net), None)
    return trace(find_counterparts(graph, net), samples, target_named(target).kernels, lambda _done, _total: None)


def off(gain: np.ndarray) -> np.ndarray:
    """Gains as factors of at least 1."""
    return np.exp(np.abs(np.log(np.where(gain > 0, gain, 1))))


def gap(one: Constants) -> float:
    """The power of what weights differ by, over the float weights'."""
    return float(np.square(one.weight.real - one.weight.wanted).sum() / np.square(one.weight.wanted).sum())


def note(name: str, *values: float) -> None:
    FIGURES[name] += [float(v) for v in values]


def weights(label: str, seen: Traced) -> None:
    for i, one in constants_of(seen.counterparts).items():
        gain, rest = one.gains(None)
        note(f"{label}: gain of a channel's weights", *off(gain))
        note(f"{label}: part of a channel's power that its gain leaves over", *rest)
        note(f"{label}: power of the difference of weights, over theirs", gap(one))
        note(f"{label}: scale of a bias over its unit", *off(np.array([one.contradiction])))
        if one.bias is None or one.bias.stored.data is None or not one.bias.wanted.any():
            continue
        error = np.square(one.bias.stored.data * one.unit - one.bias.wanted.reshape(-1)).mean()
        note(f"{label}: bias error over the bias's power", error / np.square(one.bias.wanted).mean())
        note(f"{label}: bias error over the output's power", error / (seen.seen[i].signal / seen.seen[i].count))


def activations(label: str, seen: Traced) -> None:
    graph, makers = seen.counterparts.graph, seen.counterparts.graph.producers()
    for row in seen.rows:
        if row.simulated is not None and row.runtime is not None:
            worse = min(row.simulated, row.runtime)
            part = "below" if worse <= 30 else "above"
            if np.isfinite(worse):
                note(f"{label}: dB between simulator and runtime, {part} 30 dB", abs(row.simulated - row.runtime))
        if row.own is not None and np.isfinite(row.own):
            note(f"{label}: dB of an op alone", row.own)
        if row.runtime is not None and np.isfinite(row.runtime):
            note(f"{label}: dB of an activation", row.runtime)
    for i, one in seen.seen.items():
        fmt, op = graph[i].format, makers.get(i)
        free = op is None or (isinstance(op.kind.range_rule, Free) and not op.kind.converts)
        if not isinstance(fmt, Affine) or fmt.axis is not None or not free:
            continue
        what = "an input's range" if op is None else "a range"
        extent = max(one.high, 0) - min(one.low, 0)
        if extent > 0:
            note(f"{label}: {what}, over its values'", (fmt.range[1] - fmt.range[0]) / extent)
        cut = decibels(one.signal, one.excess)
        if cut is not None and np.isfinite(cut):
            note(f"{label}: dB of a signal over what its range cuts off", cut)


def scaled(graph: Graph, one: Constants, factor: float) -> Graph:
    """The scale of a weight times ``factor``, and the bias's format with it."""
    w = one.weight.stored
    assert isinstance(w.format, Affine)
    fmt = replace(w.format, scale=tuple(factor * s for s in w.format.scale))
    changed = {w.id: replace(w, format=fmt)}
    fx = one.weighted.data.format
    if one.bias is not None and isinstance(fx, Affine):
        changed[one.bias.stored.id] = replace(one.bias.stored, format=bias_format(fx, fmt))
    return replace(graph, tensors={**graph.tensors, **changed})


def faults(net: Graph, graph: Graph, x: np.ndarray) -> None:
    """One weight's scale at a time twice what it should be; one range at a time half of what it should be."""
    counterparts = find_counterparts(graph, net)
    for i, one in constants_of(counterparts).items():
        wrong = constants_of(find_counterparts(scaled(graph, one, 2.0), net))[i]
        gain, rest = wrong.gains(None)
        note("scale x 2: gain of a channel's weights", *off(gain))
        note("scale x 2: part of a channel's power that its gain leaves over", *rest)
    seen = traced(scaled(graph, one, 2.0), net, x)
    note("scale x 2: dB of the op alone", *(row.own for row in seen.rows if row.output == i and row.own is not None))


def equalized(seed: int, x: np.ndarray) -> None:
    """What weights leave over for channels that they were made for, and for others."""
    draw = np.random.default_rng(seed)
    net = chain()
    made = rescaled_channels(net, np.exp(draw.normal(0, 0.7, 8)).astype(np.float32))
    graph = quantized(made, x)
    constants = constants_of(find_counterparts(graph, net))
    found = find_rescaling(graph, constants)
    for one in constants.values():
        entering = one.entering(found.channels)
        (_, left), (_, before) = one.gains(entering), one.gains(None)
        if entering is not None and not one.is_depthwise:
            note("equalized: left over by weights for these channels, over that for others", left.mean() / before.mean())
        if entering is not None and one.is_depthwise:
            gone = (off(one.gains(entering)[0]) > 1.25).sum() / max((off(entering) > 1.25).sum(), 1)
            note("equalized: part of rescaled channels that remains behind a depthwise op", gone)


def equalized_dense(seed: int, x: np.ndarray) -> None:
    """Likewise where each weight of an output channel meets another input channel; and weights that were not made for them."""
    draw, net = np.random.default_rng(seed), plain(seed)
    factors = np.exp(draw.normal(0, 0.7, 8)).astype(np.float32)
    first, second = net.ops[0], net.ops[1]
    tensors = dict(net.tensors)
    w, b, v = net[first.inputs[1]], net[first.inputs[2]], net[second.inputs[1]]
    tensors[w.id] = replace(w, data=w.data * factors[:, None, None, None])
    tensors[b.id] = replace(b, data=b.data * factors)
    without = quantized(replace(net, tensors=tensors), x)
    tensors[v.id] = replace(v, data=v.data / factors)
    graph = quantized(replace(net, tensors=tensors), x)
    for name, made in (("equalized", graph), ("not taken back", without)):
        one = list(constants_of(find_counterparts(made, net)).values())[1]
        (_, left), (_, before) = one.gains(factors.astype(np.float64)), one.gains(None)
        note(f"{name}: left over by weights for these channels, over that for others", left.mean() / before.mean())


def corrected(net: Graph, x: np.ndarray) -> None:
    """What a bias correction makes of the error of an op."""
    seen = traced(quantized(net, x, scheme="w4a8", weights="per-tensor", remedies="bias"), net, x)
    for i, one in constants_of(seen.counterparts).items():
        here = seen.seen[i]
        if one.bias is not None and here.own is not None and here.own.error > 0:
            note("corrected: error of an output over the op's error with the float bias", here.runtime / here.own.error)


def floats(net: Graph, x: np.ndarray) -> None:
    """Channels and samples of the float network."""
    highest, extremes = _magnitudes(net, intact.data.arrays(x).bind(input_specs(net), None))
    for i, channels in highest.items():
        alive = channels[channels > 0]
        if not isinstance(net.producers()[i].kind.range_rule, Free) or len(channels) < 2:
            continue
        note("float: part of the channels that are always zero", 1 - len(alive) / len(channels))
        if not len(alive):
            continue
        note("float: largest channel over the median channel", alive.max() / np.median(alive))
        note("float: largest sample over 99 % of them", extremes[i].max() / np.quantile(extremes[i], 0.99))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    arguments = parser.parse_args()
    say_machine()
    for seed in range(arguments.seeds):
        x = images(COUNT, 1000 + seed)
        for name, net in nets(seed):
            floats(net, images(512, 2000 + seed))
            for scheme in ("int8", "w4a8"):
                for target in ("cpu", "mcu") if scheme == "int8" else ("cpu",):
                    graph = quantized(net, x, scheme=scheme, target=target)
                    seen = traced(graph, net, x, target)
                    weights(f"sound {scheme}", seen)
                    activations(f"sound {scheme}", seen)
                    fresh = traced(graph, net, images(COUNT, 3000 + seed), target)
                    activations(f"sound {scheme} on other samples", fresh)
                    if scheme == "int8" and target == "cpu":
                        other = dict(nets(seed + 100))[name]
                        weights("another training", traced(graph, other, x))
                        faults(net, graph, x)
                        activations("calibrated on a third of the values", traced(quantized(net, x / 3), net, x))
                        activations("calibrated on ten times the values", traced(quantized(net, x * 10), net, x))
            corrected(net, x)
        equalized(seed, images(COUNT, 1000 + seed, 16))
        equalized_dense(seed, x)
    print(f"{'n':>6} {'least':>9} {'1 %':>9} {'median':>9} {'99 %':>9} {'largest':>9}  figure")
    for name, values in sorted(FIGURES.items()):
        shown = " ".join(f"{v:9.3g}" for v in np.quantile(values, [0, 0.01, 0.5, 0.99, 1]))
        print(f"{len(values):6} {shown}  {name}")


if __name__ == "__main__":
    main()
