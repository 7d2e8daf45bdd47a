"""What weights of a few numbers lose on CIFAR-10's test images after recovery, and what their packed files take.

python bench/clusters.py [--seeds 5] [--images 10000] [--rows V3]      exit code 1 if a row misses its bound

Each seed draws 2,000 unlabelled training images: 500 calibrate, all teach. Accuracy is LiteRT's, on the expanded integers; the
packed file runs beside the expanded one in TensorFlow Lite Micro on 200 images, and is compared number by number.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import dataclass

import numpy as np

import intact
from cifar import MOBILENET_V2, MOBILENET_V3, RESNET8, Network, calibration_pictures, pictures
from common import say_machine
from intact.measure.split import split

#: Of a file over its indices, tables and biases.
MOST_BESIDE = 1.10
REMEDIES = ("equalize", "bias", "finetune")


@dataclass(frozen=True)
class Row:
    """A network and scheme, the mean drop in points that is allowed (None: a figure only) and the minutes for remedies."""

    network: Network
    scheme: str
    bound: float | None
    minutes: float

    def __str__(self) -> str:
        return f"{self.network.title}, {self.scheme}"


ROWS = (
    Row(MOBILENET_V2, "clusters4", 0.5, 10),
    Row(MOBILENET_V3, "clusters4", 0.5, 10),
    Row(MOBILENET_V2, "clusters2", 3.0, 10),
    Row(RESNET8, "clusters4", None, 5),
    Row(RESNET8, "clusters2", None, 5),
)


def run(row: Row, seed: int, images: int, remedies: tuple[str, ...]) -> tuple[intact.Result, float]:
    """One run through the public API for microcontrollers, and its seconds, measurement and all."""
    values, labels = pictures("test")
    some = np.sort(np.random.default_rng(0).permutation(len(values))[:images])
    data = intact.data.arrays(row.network.images(calibration_pictures(2000, seed)))
    report = intact.data.arrays(row.network.images(values[some]), labels[some])
    start = time.perf_counter()
    result = intact.quantize(
        row.network.path,
        data,
        evaluation=report,
        scheme=row.scheme,
        target="mcu",
        seed=seed,
        remedies=remedies,
        time_budget=60 * row.minutes,
        details=False,
    )
    return result, time.perf_counter() - start


def figure(result: intact.Result, name: str, of: str = "quantized") -> float:
    return result.reading(name, of).measurement.value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rows", default="", help="only rows whose name holds this text")
    parser.add_argument("--remedies", default=",".join(REMEDIES))
    options = parser.parse_args()
    remedies, missed = tuple(options.remedies.split(",")), []
    say_machine()
    columns = "drop with remedies, per seed | mean | allowed | indices, x under float's | weights, x | packed file, bytes"
    columns += " | over indices, tables, biases | equal in TFLM | arena: expanded, packed | seconds"
    print(f"| network, scheme | {columns} |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for row in (row for row in ROWS if options.rows in str(row)):
        made = [run(row, seed, options.images, remedies) for seed in range(options.seeds)]
        drops = [figure(result, "accuracy drop", "difference") for result, _ in made]
        last = made[-1][0]
        parts = split(last.packed)
        beside = len(last.packed) / (parts["weights"] + parts["biases"])
        equal = min(figure(result, "packed equals expanded") for result, _ in made)
        print(
            f"| {row} | {', '.join(f'{d:.2f}' for d in drops)} | {statistics.mean(drops):.2f} | {row.bound} | "
            f"{figure(last, 'packed indices ratio'):.3f} | {figure(last, 'packed weights ratio'):.2f} | {len(last.packed):,} | "
            f"{beside:.3f} | {equal:g} % | {figure(last, 'TFLM arena'):,.0f}, {figure(last, 'TFLM arena, packed'):,.0f} | "
            f"{max(s for _, s in made):.0f} |",
            flush=True,
        )
        if (row.bound is not None and (statistics.mean(drops) > row.bound or beside > MOST_BESIDE)) or equal < 100:
            missed.append(str(row))
    sys.exit("missed: " + "; ".join(missed) if missed else 0)


if __name__ == "__main__":
    main()
