"""What integer networks take in TensorFlow Lite Micro, by its own plan and by ours, and what the planner finds.

python bench/arena.py [--rows MobileNet] [--samples 20]

Arenas are the least that the runtime allocates in, by bisection. "equal": output elements that both files give alike on random
inputs. Peaks and plans count each tensor rounded up to 16 bytes. The float networks become int8 for `mcu` on random inputs
first: memory does not depend on ranges.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

import intact
from common import model, say_machine
from intact.formats import tflite
from intact.network.graph import Graph
from intact.network.in_place import IN_PLACE
from intact.network.placement import placement
from intact.network.schedule import reordered
from intact.network.shapes import concrete
from intact.runtime import tflm

#: The networks by their files; those that are float are quantized here.
ROWS = {
    "ResNet8": "resnet8_cifar10_int8",
    "VWW": "vww_96_int8",
    "KWS": "kws_int8",
    "AD": "ad01_int8",
    "ResNet8, by Intact": "resnet8_cifar10",
    "VWW, by Intact": "vww_96_float",
    "AD, by Intact": "ad01_float",
    "MobileNetV2, by Intact": "mobilenet_v2_cifar10",
    "MobileNetV3-Small, by Intact": "mobilenet_v3_small_cifar10",
    "MobileNetV3-Small hard, by Intact": "mobilenet_v3_small_hard",
}
CALIBRATION = 16
T = TypeVar("T")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="", help="only rows whose name holds this text")
    parser.add_argument("--samples", type=int, default=20, help="random inputs on which outputs are compared")
    args = parser.parse_args()
    say_machine()
    print(
        "| network | ops | arena | with the plan | activations | with the plan | equal | peak | plan | in place | over inputs",
        end="",
    )
    print(" | other order, peak | seconds: plan, in place, order |")
    print("|---" * 13 + "|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, file in ROWS.items():
            if args.rows in name:
                print(row(name, integers(file), args.samples, Path(folder)), flush=True)


def integers(file: str) -> Graph:
    graph = tflite.read(model(f"{file}.tflite"))
    if graph.is_quantized:
        return graph
    shape = concrete(graph[graph.inputs[0]])[1:]
    data = np.random.default_rng(0).uniform(-1, 1, (CALIBRATION, *shape)).astype(np.float32)
    made = intact.quantize(model(f"{file}.tflite"), data, target="mcu", remedies="none", measure=False, details=False)
    return made.graph


def row(name: str, graph: Graph, samples: int, folder: Path) -> str:
    plain, planned, inputs = folder / "plain.tflite", folder / "planned.tflite", folder / "inputs.npz"
    plain.write_bytes(tflite.write(graph))
    planned.write_bytes(tflite.write_planned(graph))
    draw = np.random.default_rng(0)
    shapes = [concrete(graph[i]) for i in graph.inputs]
    np.savez(inputs, **{str(n): draw.integers(-128, 128, (samples, *s)).astype(np.int8) for n, s in enumerate(shapes)})
    before, after = (tflm.arena(path, 1 << 17) for path in (plain, planned))
    equal, elements = tflm.compare(plain, planned, inputs, len(graph.outputs), 2 * before.bytes + (1 << 20))
    alone, first = timed(lambda: placement(graph))
    joined, second = timed(lambda: placement(graph, in_place=IN_PLACE))
    over = placement(graph, in_place=IN_PLACE, overwrite_inputs=True)
    other, third = timed(lambda: reordered(graph))
    cells = [
        name,
        f"{len(graph.ops)}",
        *(f"{found.bytes:,}" for found in (before, after)),
        *(f"{found.activations:,}" for found in (before, after)),
        f"{equal:,} of {elements:,}",
        f"{alone.bound_bytes:,}",
        *(f"{found.arena_bytes:,}" for found in (alone, joined, over)),
        f"{placement(other).bound_bytes:,}",
        f"{first:.3f}, {second:.3f}, {third:.3f}",
    ]
    return f"| {' | '.join(cells)} |"


def timed(work: Callable[[], T]) -> tuple[T, float]:
    started = time.perf_counter()
    return work(), time.perf_counter() - started


if __name__ == "__main__":
    main()
