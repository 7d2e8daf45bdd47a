"""What int8 and w4a8 lose on CIFAR-10's 10,000 test images after recovery, seed by seed.

python bench/recovery.py [--seeds 5] [--jobs 1] [--rows int8]      exit code 1 if a row misses its bound

Each seed draws 2,000 unlabelled training images: 500 calibrate, all teach. Nothing is chosen on the test images. With --jobs,
so many seeds run side by side and share the cores. The bounds are of the mean drop, and of the file:
at most 1.05 times the one without remedies.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import dataclass
from typing import Any

from cifar import HARD, MOBILENET_V2, MOBILENET_V3, RESNET8, Network, seeds
from common import say_machine

#: The part of a row's minutes that remedies may take; the rest is for measuring on 10,000 images.
OF_TIME = 0.7
#: Of a file over the one without remedies.
MOST_BYTES = 1.05
CHEAP = ("equalize", "clip", "bias")
TRAINED = ("equalize", "bias", "finetune")


@dataclass(frozen=True)
class Row:
    """A network and scheme, the remedies or the agreement to search for, the mean drop in points that is allowed, and the
    minutes for it.
    """

    network: Network
    scheme: str
    weights: str
    how: tuple[str, ...] | float
    bound: float
    minutes: float

    @property
    def asked(self) -> dict[str, Any]:
        """How :func:`intact.quantize` is to recover it."""
        return {"min_agreement": self.how} if isinstance(self.how, float) else {"remedies": self.how}

    def __str__(self) -> str:
        return f"{self.network.title}, {self.scheme}" + (", per-tensor weights" if self.weights == "per-tensor" else "")


ROWS = (
    Row(MOBILENET_V2, "int8", "per-channel", CHEAP, 0.1, 10),
    Row(MOBILENET_V3, "int8", "per-channel", CHEAP, 0.1, 10),
    Row(HARD, "int8", "per-channel", CHEAP, 0.2, 10),
    Row(RESNET8, "int8", "per-channel", CHEAP, 0.1, 3),
    Row(MOBILENET_V3, "int8", "per-tensor", CHEAP, 0.3, 15),
    Row(RESNET8, "int8", "per-tensor", CHEAP, 0.2, 5),
    Row(RESNET8, "w4a8", "per-channel", 95.0, 0.5, 5),
    Row(MOBILENET_V3, "w4a8", "per-channel", 99.6, 0.2, 3),
    Row(HARD, "w4a8", "per-channel", 99.6, 0.2, 3),
    Row(MOBILENET_V2, "w4a8", "per-channel", TRAINED, 0.2, 20),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--rows", default="", help="only rows whose name holds this text")
    options = parser.parse_args()
    missed = []
    say_machine()
    print(
        "| network, scheme | drop without remedies | drop with remedies, per seed | their mean | mean allowed | file, bytes "
        "| latency / float's | seconds |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for row in (row for row in ROWS if options.rows in str(row)):
        asked = {"scheme": row.scheme, "weights": row.weights, "time_budget": 60 * row.minutes * OF_TIME}
        (plain,) = seeds(row.network, [0], 1, remedies=(), **asked)
        made = []
        for seed, run in enumerate(seeds(row.network, range(options.seeds), options.jobs, **row.asked, **asked)):
            made.append(run)
            lost = run.figure("accuracy drop", "difference")
            print(f"{row}, seed {seed}: {lost:.2f} points, {run.seconds:.0f} s", file=sys.stderr, flush=True)
        drops = [run.figure("accuracy drop", "difference") for run in made]
        mean, size = statistics.mean(drops), max(len(run.model) for run in made)
        print(
            f"| {row} | {plain.figure('accuracy drop', 'difference'):.2f} | "
            f"{', '.join(f'{d:.2f}' for d in drops)} | {mean:.2f} | {row.bound} | {size:,} | "
            f"{1 / made[-1].figure('speed-up', 'difference'):.2f} | {max(run.seconds for run in made):.0f} |",
            flush=True,
        )
        if mean > row.bound or size > MOST_BYTES * len(plain.model):
            missed.append(str(row))
    sys.exit("missed: " + "; ".join(missed) if missed else 0)


if __name__ == "__main__":
    main()
