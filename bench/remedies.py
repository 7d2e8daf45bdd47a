"""What each remedy is worth: the drop on CIFAR-10's test images without it and with it, in the real runtime.

python bench/remedies.py [--images 10000] [--networks ResNet8] [--schemes w4a8] [--weights per-tensor] [--columns plain,bias]

Four networks, int8 and w4a8, weights with a scale per channel and per tensor; each column applies its remedies to the network
as planned. 2,000 unlabelled training images of seed 0 teach, 500 of them calibrate. A cell is the drop in points, then the
seconds that the remedies took here.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

import intact
from cifar import HARD, MOBILENET_V2, MOBILENET_V3, RESNET8, Network, calibration_pictures, pictures
from intact.data import Samples, input_specs
from intact.formats import tflite
from intact.network.graph import Graph
from intact.planning.plan import Plan
from intact.planning.quantized import Quantized
from intact.remedies import apply, known
from intact.remedies.base import Context
from intact.run.as_planned import plan_of
from intact.run.prepared import prepare
from intact.run.settings import Settings
from intact.runtime import litert

COLUMNS = (
    ("plain", ()),
    ("equalize", ("equalize",)),
    ("equalize+absorb", ("equalize", "absorb")),
    ("mixed", ("mixed",)),
    ("clip", ("clip",)),
    ("ranges", ("ranges",)),
    ("round", ("round",)),
    ("bias", ("bias",)),
    ("bias-analytic", ("bias-analytic",)),
    ("equalize+bias", ("equalize", "bias")),
    ("equalize+clip+bias", ("equalize", "clip", "bias")),
    ("equalize+bias+finetune", ("equalize", "bias", "finetune")),
)


def right(path: Path, images: np.ndarray, labels: np.ndarray) -> float:
    """Per cent that the file's network gets right, on the target's own kernels."""
    (name,) = tflite.read(path).input_names
    (outputs,) = litert.run(path, {name: images}).values()
    return 100 * float((outputs.reshape(len(labels), -1).argmax(1) == labels).mean())


def start(network: Network, settings: Settings) -> tuple[Quantized, Samples, Context]:
    """The network as planned, and what remedies learn from."""
    settings = replace(settings, ranges="minmax")
    graph = prepare(tflite.read(network.path), settings)
    images = network.images(calibration_pictures(2000, settings.seed))
    learning = intact.data.arrays(images).bind(input_specs(graph), None)
    calibration = learning.drawn(500, settings.seed)  # the pictures come class by class

    def plan(graph: Graph, precise: tuple[int, ...] = (), wide: tuple[int, ...] = ()) -> Plan:
        request = replace(settings.request(), wide_weights=wide)
        return plan_of(graph, calibration, settings, request, precise=precise).plan

    return Quantized(graph, graph, plan(graph)), learning, Context(plan, seed=settings.seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10000)
    parser.add_argument("--networks", default="", help="only those with these titles: ResNet8,MobileNetV2")
    parser.add_argument("--schemes", default="int8,w4a8")
    parser.add_argument("--weights", default="per-channel,per-tensor")
    parser.add_argument("--columns", default=",".join(name for name, _ in COLUMNS))
    options = parser.parse_args()
    columns = [(name, names) for name, names in COLUMNS if name in options.columns.split(",")]
    values, labels = (part[: options.images] for part in pictures("test"))
    print("| network, scheme, weights | " + " | ".join(name for name, _ in columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for network in (MOBILENET_V2, MOBILENET_V3, HARD, RESNET8):
        if options.networks and network.title not in options.networks.split(","):
            continue
        images = network.images(values)
        reference = right(network.path, images, labels)
        for scheme in options.schemes.split(","):
            for weights in options.weights.split(","):
                planned, learning, context = start(network, Settings(scheme=scheme, weights=weights))
                cells = []
                for _, names in columns:
                    began = time.perf_counter()
                    made = apply(known(names), planned, learning, context)
                    seconds = time.perf_counter() - began
                    with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
                        file.write(tflite.write(made.integer()))
                        file.flush()
                        cells.append(f"{reference - right(Path(file.name), images, labels):.2f} ({seconds:.0f} s)")
                print(f"| {network.title}, {scheme}, {weights} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
