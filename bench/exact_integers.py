"""The simulator's integers against the runtime's, to the last bit: every tensor of int8 networks, on real samples.

python bench/exact_integers.py [--samples 2000] [--only NAME]      prints one table per network and one over all op kinds

The runtime runs a copy of each file in which every activation is an output. Every op is then simulated on the integers that
the runtime itself gave as its inputs, so that no op's difference hides behind an earlier one's; where all are the same, whole
networks are. Outputs of the file as it is (kernels fuse what nobody looks at) are compared as well. TensorFlow Lite Micro,
where it is installed, runs only the files that are for it, as they are, on fewer samples: its portable kernels are slow.
CIFAR-10's test images; where a network reads something else (VWW: the same images, larger; keyword and machine sounds: random
features over the input's range) that is said in the table.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import intact
from cifar import calibration_pictures, pictures
from common import model
from intact.formats import tflite
from intact.network.graph import Graph
from intact.numbers.affine import Affine
from intact.runtime.litert import run
from intact.runtime.runtimes import KERNEL_NAMES, Kernels
from intact.simulate.exact import IntegerProgram, exposed

CALIBRATION = 100
KERNELS: tuple[Kernels, ...] = ("reference", "default")
TFLM_SAMPLES = 200
TFLM_ARENA = 1 << 24


@dataclass(frozen=True)
class Network:
    """A shared model: float (Intact quantizes it) or int8 as published. ``pixels`` is what 0..255 maps to; None: no images."""

    file: str
    pixels: tuple[float, float] | None
    integer: bool = False

    def inputs(self, graph: Graph, values: np.ndarray, seed: int = 0) -> np.ndarray:
        """Real inputs, as many as there are pictures."""
        shape = graph[graph.inputs[0]].shape[1:]
        if self.pixels is None:
            fmt = graph[graph.inputs[0]].format
            low, high = fmt.range if isinstance(fmt, Affine) else (-4.0, 4.0)
            return np.random.default_rng(seed).uniform(low, high, (len(values), *shape)).astype(np.float32)
        if shape[:2] != values.shape[1:3]:
            values = np.stack(
                [np.asarray(Image.fromarray(v).resize((shape[1], shape[0]), Image.Resampling.BILINEAR)) for v in values]
            )
        low, high = self.pixels
        return (low + values.astype(np.float32) * np.float32((high - low) / 255)).astype(np.float32)


NETWORKS = (
    Network("resnet8_cifar10_int8.tflite", (0, 255), integer=True),
    Network("vww_96_int8.tflite", (0, 1), integer=True),
    Network("kws_int8.tflite", None, integer=True),
    Network("ad01_int8.tflite", None, integer=True),
    Network("resnet8_cifar10.tflite", (0, 255)),
    Network("vww_96_float.tflite", (0, 1)),
    Network("ad01_float.tflite", None),
    Network("mobilenet_v2_cifar10.tflite", (-1, 1)),
    Network("mobilenet_v3_small_cifar10.tflite", (-1, 1)),
    Network("mobilenet_v3_small_hard.tflite", (-1, 1)),
)


def files(network: Network, folder: Path) -> Iterator[tuple[str, Path]]:
    """The int8 files of a network by who made them."""
    path = model(network.file)
    if network.integer:
        yield "as published", path
        return
    samples = network.inputs(intact.load(path), calibration_pictures(CALIBRATION), seed=1)
    for target in ("cpu", "mcu"):
        made = intact.quantize(path, intact.data.arrays(samples), target=target, measure=False)
        yield f"Intact, {target}", made.save(folder / f"{path.stem}.{target}.tflite")


@dataclass
class Tally:
    """Elements compared, those that differ, and the largest difference."""

    elements: int = 0
    different: int = 0
    largest: int = 0

    def add(self, ours: np.ndarray, theirs: np.ndarray) -> None:
        self.elements += ours.size
        if not np.array_equal(ours, theirs):
            gap = np.abs(ours.astype(np.float64) - theirs)
            self.different += int((gap > 0).sum())
            self.largest = max(self.largest, int(gap.max()))

    def __str__(self) -> str:
        share = 100 * (1 - self.different / max(self.elements, 1))
        shown = "100" if not self.different else f"{share:.6f}"
        return f"{self.elements:,} | {shown} | {self.different:,} | {self.largest}"


def compare(path: Path, x: np.ndarray, kernels: Kernels, kinds: dict[str, Tally]) -> tuple[Tally, Tally]:
    """Every activation, and the outputs of the file as it is. Adds to ``kinds`` by op kind."""
    graph = intact.load(path)
    shown = exposed(graph)
    program, tensors, outputs = IntegerProgram(shown, kernels), Tally(), Tally()
    size = sum(int(np.prod([1 if n is None else n for n in shown[i].shape])) for i in shown.outputs)
    step = max(min(64, (64 << 20) // size), 1)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        copy = Path(folder) / "shown.tflite"
        copy.write_bytes(tflite.write(shown))
        for start in range(0, len(x), 4 * step):
            piece = x[start : start + 4 * step]
            wanted = run(copy, {shown.input_names[0]: piece}, kernels=kernels, raw=True)
            whole = run(path, {graph.input_names[0]: piece}, kernels=kernels, raw=True)
            for name, i in zip(graph.output_names, graph.outputs, strict=True):
                outputs.add(wanted[f"t{i}"], whole[name])
            for at in range(0, len(piece), step):
                part = slice(at, at + step)
                values = {i: torch.from_numpy(wanted[f"t{i}"][part].copy()) for i in shown.outputs}
                values[shown.inputs[0]] = program.stored(shown.inputs[0], piece[part])
                for op in shown.ops:
                    for i, y in zip(op.outputs, program.compute(op, values), strict=True):
                        tensors.add(y.numpy(), values[i].numpy())
                        kinds[op.kind.name].add(y.numpy(), values[i].numpy())
    return tensors, outputs


def compare_tflm(path: Path, x: np.ndarray) -> Tally:
    """The outputs of the file as it is in TensorFlow Lite Micro."""
    from tflite_micro import runtime  # noqa: PLC0415  # only where it is installed

    graph = intact.load(path)
    program, outputs = IntegerProgram(graph, "tflm"), Tally()
    network = runtime.Interpreter.from_file(str(path), arena_size=TFLM_ARENA)
    with torch.inference_mode():
        for sample in np.split(x, len(x)):
            given = program.stored(graph.inputs[0], sample)
            network.set_input(given.numpy(), 0)
            network.invoke()
            for number, y in enumerate(program({graph.input_names[0]: given}).values()):
                outputs.add(y.numpy(), network.get_output(number))
    return outputs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--only", default="", help="networks whose file name holds this")
    options = parser.parse_args()
    torch.set_num_threads(1)
    values = pictures("test")[0]
    values = values[np.sort(np.random.default_rng(0).choice(len(values), options.samples, replace=False))]
    kinds: dict[Kernels, dict[str, Tally]] = {kernels: defaultdict(Tally) for kernels in KERNELS}
    print("| file | made by | samples | kernels | elements | % identical | different | by at most | outputs as it is |")
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for network in (n for n in NETWORKS if options.only in n.file):
            for maker, path in files(network, Path(folder)):
                x = network.inputs(intact.load(path), values)
                what = f"{len(x)} {'images' if network.pixels else 'random'}"
                for kernels in KERNELS:
                    tensors, outputs = compare(path, x, kernels, kinds[kernels])
                    same = "same" if not outputs.different else f"{outputs.different:,} differ"
                    print(f"| {network.file} | {maker} | {what} | {kernels} | {tensors} | {same} |", flush=True)
                if maker != "Intact, cpu" and importlib.util.find_spec("tflite_micro") is not None:
                    outputs = compare_tflm(path, x[:TFLM_SAMPLES])
                    what = f"{min(len(x), TFLM_SAMPLES)} {what.split()[1]}"
                    print(f"| {network.file} | {maker} | {what} | tflm | {outputs} | the row itself |", flush=True)
    print("\n| op kind | kernels | elements | % identical | different | by at most |")
    print("|---|---|---|---|---|---|")
    for kernels in KERNELS:
        for name, tally in sorted(kinds[kernels].items()):
            print(f"| {name} | {KERNEL_NAMES[kernels]} | {tally} |")


if __name__ == "__main__":
    main()
