"""How often fine-tuning's float32 arithmetic gives the very integer that a target's kernels give, by op kind.

python bench/training_rounding.py [--samples 200] [--only NAME] [--target cpu]

Every op reads the integers that the runtime itself gave as its inputs, so that no op's difference hides behind another's.
``integers`` is Intact's exact mode; ``simulator`` and ``student`` (fine-tuning) compute in float32. ``half even``, ``half up``
and ``half away`` are the real result, in float64, rounded once with that rule for ties. What parts the simulator from ``half
even`` is float32; what parts the best of the three from the runtime is the kernel's own arithmetic. Figures are elements that
differ from the runtime, per million.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import intact
from cifar import NETWORKS, Network, calibration_pictures, pictures
from exact_integers import Tally
from intact.formats import tflite
from intact.network.graph import Op
from intact.numbers.affine import Affine, dequantize, limits, quantize
from intact.ops.call import as_tuple
from intact.planning.targets import TARGETS, Target
from intact.remedies.student import Student
from intact.runtime.litert import run
from intact.runtime.runtimes import Kernels
from intact.simulate.engine import Program
from intact.simulate.exact import IntegerProgram, exposed

TIES: dict[str, Callable[[Tensor], Tensor]] = {
    "half even": torch.round,
    "half up": lambda x: torch.floor(x + 0.5),
    "half away": lambda x: torch.copysign(torch.floor(x.abs() + 0.5), x),
}
WAYS = ("integers", "simulator", "student", *TIES)
CALIBRATION, BATCH = 200, 20


def real(q: Tensor, fmt: Affine) -> Tensor:
    """Stored integers as float64, without a rounding."""
    shape = [-1 if axis == fmt.axis else 1 for axis in range(q.dim())]
    scale, zero = (torch.tensor(v, dtype=torch.float64).reshape(shape) for v in (fmt.scale, fmt.zero_point))
    return (q.to(torch.float64) - zero) * scale


def stored(y: Tensor, fmt: Affine, rounded: Callable[[Tensor], Tensor]) -> Tensor:
    """Integers of ``fmt``; a result within 2**-30 of a tie is one."""
    steps = torch.round(y.to(torch.float64) / fmt.scale[0] * 2.0**30) / 2.0**30
    return (rounded(steps) + fmt.zero_point[0]).clamp(*limits(fmt.dtype))


class Ways:
    """One network, op by op, by every way of computing it."""

    def __init__(self, made: intact.Result, kernels: Kernels) -> None:
        self.graph = exposed(made.graph)
        self.program = Program(self.graph)
        self.kernels = IntegerProgram(self.graph, kernels)
        self.student = Student(made.float_graph, made.plan)
        self.trained = {op.output: op for op in made.float_graph.ops}
        self.exact = {t.id: self.real(t.id, torch.from_numpy(np.array(t.data))) for t in self.graph.constants()}

    def real(self, i: int, x: Tensor) -> Tensor:
        fmt = self.graph[i].format
        return real(x, fmt) if isinstance(fmt, Affine) else x.to(torch.float64) if x.is_floating_point() else x

    def __call__(self, op: Op, seen: Mapping[int, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """Each way's integers for the op's first output, by name."""
        fmt = self.graph[op.output].format
        values = {i: dequantize(seen[i], self.graph[i].format) for i in op.reads if i in seen}
        yield "integers", self.kernels.compute(op, seen)[0]
        yield "simulator", quantize(self.program.compute(op, values)[0], fmt)
        if op.output in self.trained and all(i in values or i not in seen for i in self.trained[op.output].reads):
            op_trained = self.trained[op.output]
            y = as_tuple(op_trained.kind.compute(*(self.student.read(i, op_trained, values) for i in op_trained.inputs)))[0]
            yield "student", quantize(self.student.store(y, op.output), fmt)
        given = (self.exact[i] if i in self.exact else None if i is None else self.real(i, seen[i]) for i in op.inputs)
        y = as_tuple(op.kind.compute(*given))[0]
        for name, rounded in TIES.items():
            yield name, stored(y, fmt, rounded)


def compare(network: Network, pixels: np.ndarray, target: Target, tallies: dict[str, dict[str, Tally]]) -> None:
    """Adds to ``tallies``, by op kind and way."""
    calibration = intact.data.arrays(network.images(calibration_pictures(CALIBRATION)))
    made = intact.quantize(network.path, calibration, target=target.name, measure=False)
    ways, x = Ways(made, target.kernels), network.images(pixels)
    graph, entry = ways.graph, ways.graph.inputs[0]
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        copy = Path(folder) / "shown.tflite"
        copy.write_bytes(tflite.write(graph))
        for start in range(0, len(x), BATCH):
            piece = x[start : start + BATCH]
            wanted = run(copy, {graph.input_names[0]: piece}, kernels=target.kernels, raw=True)
            seen = {i: torch.from_numpy(wanted[f"t{i}"]) for i in graph.outputs}
            seen[entry] = ways.kernels.stored(entry, piece)
            for op in graph.ops:
                if isinstance(graph[op.output].format, Affine):
                    for name, y in ways(op, seen):
                        tallies[op.kind.name][name].add(y.numpy(), wanted[f"t{op.output}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--only", default="", help="networks whose title holds this")
    parser.add_argument("--target", default="cpu", choices=TARGETS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    pixels = pictures("test")[0][: options.samples]
    for network in (n for n in NETWORKS if options.only in n.title):
        tallies: dict[str, dict[str, Tally]] = defaultdict(lambda: defaultdict(Tally))
        compare(network, pixels, TARGETS[options.target], tallies)
        print(f"\n{network.title} for {options.target}, {len(pixels)} images\n")
        print(f"| op kind | elements | {' | '.join(WAYS)} | simulator off by at most |")
        print("|---" * (len(WAYS) + 3) + "|")
        for kind, by_way in sorted(tallies.items()):
            shown = (f"{1e6 * t.different / t.elements:,.1f}" if (t := by_way[w]).elements else "-" for w in WAYS)
            simulator = by_way["simulator"]
            print(f"| {kind} | {simulator.elements:,} | {' | '.join(shown)} | {simulator.largest} |", flush=True)


if __name__ == "__main__":
    main()
