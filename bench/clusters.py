"""What weights of a few numbers lose on CIFAR-10's test images after recovery, and what their packed files take.

python bench/clusters.py [--seeds 5] [--jobs 1] [--images 10000] [--rows V3]      exit code 1 if a row misses its bound

Each seed draws 2,000 unlabelled training images: 500 calibrate, all teach. Accuracy is LiteRT's, on the expanded integers; of
a network that mcu and cpu plan alike in its quick kernels. Once a row the packed file runs beside the expanded one in
TensorFlow Lite Micro on 200 images, and is compared number by number.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import dataclass

from cifar import MOBILENET_V2, MOBILENET_V3, RESNET8, Network, seeds
from common import say_machine
from intact.measure.split import split

#: Of a file over its indices, tables and biases.
MOST_BESIDE = 1.10
#: Images that a packed file runs on.
ON_DEVICE = 200
REMEDIES = ("equalize", "compensate")


@dataclass(frozen=True)
class Row:
    """A network and scheme, the mean drop in points that is allowed (None: a figure only) and the minutes for remedies.

    ``target`` of what accuracy is measured on: ``cpu`` where that plans the same integers as ``mcu``.
    """

    network: Network
    scheme: str
    bound: float | None
    minutes: float
    target: str = "cpu"

    def __str__(self) -> str:
        return f"{self.network.title}, {self.scheme}"


ROWS = (
    Row(MOBILENET_V3, "clusters4", 0.5, 10, target="mcu"),
    Row(MOBILENET_V2, "clusters2", 3.0, 10),
    Row(MOBILENET_V2, "clusters4", 0.5, 10),
    Row(RESNET8, "clusters4", None, 5),
    Row(RESNET8, "clusters2", None, 5),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1, help="so many seeds side by side, which share the cores")
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
        asked = {"scheme": row.scheme, "remedies": remedies, "time_budget": 60 * row.minutes}
        made, of_seeds = [], range(options.seeds)
        (last,) = seeds(row.network, [0], 1, ON_DEVICE, target="mcu", **asked)
        for seed, run in enumerate(seeds(row.network, of_seeds, options.jobs, options.images, target=row.target, **asked)):
            made.append(run)
            lost = run.figure("accuracy drop", "difference")
            print(f"{row}, seed {seed}: {lost:.2f} points, {run.seconds:.0f} s", file=sys.stderr, flush=True)
        drops = [run.figure("accuracy drop", "difference") for run in made]
        parts = split(last.packed)
        beside = len(last.packed) / (parts["weights"] + parts["biases"])
        equal = last.figure("packed equals expanded")
        print(
            f"| {row} | {', '.join(f'{d:.2f}' for d in drops)} | {statistics.mean(drops):.2f} | {row.bound} | "
            f"{last.figure('packed indices ratio'):.3f} | {last.figure('packed weights ratio'):.2f} | {len(last.packed):,} | "
            f"{beside:.3f} | {equal:g} % | {last.figure('TFLM arena'):,.0f}, {last.figure('TFLM arena, packed'):,.0f} | "
            f"{max(run.seconds for run in made):.0f} |",
            flush=True,
        )
        if (row.bound is not None and (statistics.mean(drops) > row.bound or beside > MOST_BESIDE)) or equal < 100:
            missed.append(str(row))
    sys.exit("missed: " + "; ".join(missed) if missed else 0)


if __name__ == "__main__":
    main()
