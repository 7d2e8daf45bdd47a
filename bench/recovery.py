"""What int8 and w4a8 lose on CIFAR-10's 10,000 test images after recovery, seed by seed.

python bench/recovery.py [--seeds 5] [--rows int8]      exit code 1 if the mean of a row misses its bound

Each seed draws 2,000 unlabelled training images: 500 calibrate, all teach. Nothing is chosen on the test images.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import dataclass

import intact
from cifar import HARD, MOBILENET_V2, MOBILENET_V3, RESNET8, Network, figure, quantized
from common import say_machine

#: The part of a row's minutes that remedies may take; the rest is for measuring on 10,000 images.
OF_TIME = 0.7
CHEAP = ("equalize", "clip", "bias")
TRAINED = ("equalize", "bias", "finetune")


@dataclass(frozen=True)
class Row:
    """A network and scheme, how it is recovered, the mean drop in points that is allowed, and the minutes for it."""

    network: Network
    scheme: str
    weights: str
    remedies: tuple[str, ...]
    bound: float
    minutes: float

    def __str__(self) -> str:
        return f"{self.network.title}, {self.scheme}" + (", per-tensor weights" if self.weights == "per-tensor" else "")


ROWS = (
    Row(MOBILENET_V2, "int8", "per-channel", CHEAP, 0.1, 10),
    Row(MOBILENET_V3, "int8", "per-channel", CHEAP, 0.1, 10),
    Row(HARD, "int8", "per-channel", CHEAP, 0.2, 10),
    Row(RESNET8, "int8", "per-channel", CHEAP, 0.1, 3),
    Row(MOBILENET_V3, "int8", "per-tensor", CHEAP, 0.3, 15),
    Row(RESNET8, "int8", "per-tensor", CHEAP, 0.2, 5),
    Row(MOBILENET_V2, "w4a8", "per-channel", TRAINED, 0.5, 20),
    Row(MOBILENET_V3, "w4a8", "per-channel", TRAINED, 0.5, 20),
    Row(HARD, "w4a8", "per-channel", TRAINED, 0.7, 20),
)


def drop(row: Row, seed: int, remedies: tuple[str, ...]) -> tuple[intact.Result, float]:
    budget = 60 * row.minutes * OF_TIME
    options = {"scheme": row.scheme, "weights": row.weights, "remedies": remedies, "time_budget": budget}
    return quantized(row.network, seed, **options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
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
        plain, _ = drop(row, 0, ())
        runs = []
        for seed in range(options.seeds):
            runs.append(drop(row, seed, row.remedies))
            lost, seconds = figure(runs[-1][0], "accuracy drop", "difference"), runs[-1][1]
            print(f"{row}, seed {seed}: {lost:.2f} points, {seconds:.0f} s", file=sys.stderr, flush=True)
        drops = [figure(result, "accuracy drop", "difference") for result, _ in runs]
        mean = statistics.mean(drops)
        last = runs[-1][0]
        print(
            f"| {row} | {figure(plain, 'accuracy drop', 'difference'):.2f} | "
            f"{', '.join(f'{d:.2f}' for d in drops)} | {mean:.2f} | {row.bound} | {len(last.model):,} | "
            f"{1 / figure(last, 'speed-up', 'difference'):.2f} | {max(s for _, s in runs):.0f} |",
            flush=True,
        )
        if mean > row.bound:
            missed.append(str(row))
    sys.exit("missed: " + "; ".join(missed) if missed else 0)


if __name__ == "__main__":
    main()
