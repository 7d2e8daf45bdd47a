"""How small CIFAR-10 networks become within a limit: int8, w4a8 and --minimize size, on cpu and mcu.

python bench/minimize_size.py [--minutes 10] [--rows ResNet8,cpu] [--drops 1,0.5]

4,000 training images with labels calibrate, teach and choose; 10,000 test images report. Files are what the device gets: on mcu
the packed one.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np

import intact
from cifar import MOBILENET_V3, RESNET8, Network, pictures
from common import say_machine
from intact.errors import IntactError

NETWORKS = (RESNET8, MOBILENET_V3)
TARGETS = ("cpu", "mcu")
#: Training images: 500 calibrate, and of the others half chooses.
SAMPLES = 4000


def run(  # noqa: PLR0913, PLR0917  # what a row is of
    network: Network, target: str, scheme: str, drop: float, minutes: float, seed: int, **how: str
) -> tuple[str, ...]:
    """One run through the public API, as a row."""
    x, y = pictures("train")
    chosen = np.sort(np.random.default_rng(seed).choice(len(x), SAMPLES, replace=False))
    values, labels = pictures("test")
    data = intact.data.arrays(network.images(x[chosen]), y[chosen])
    report = intact.data.arrays(network.images(values), labels)
    began = time.perf_counter()
    try:
        made = intact.quantize(
            network.path,
            data,
            evaluation=report,
            scheme=scheme,
            target=target,
            max_drop=drop,
            time_budget=60 * minutes,
            seed=seed,
            details=False,
            **how,
        )
    except IntactError as error:
        return str(error), "", "", "", ""
    seconds = time.perf_counter() - began
    for candidate in made.candidates:
        print(f"  {candidate.why}: {candidate}", file=sys.stderr, flush=True)
    for step in made.steps:
        print(f"    {step}", file=sys.stderr, flush=True)
    lost = made.reading("accuracy drop", "difference").measurement
    assert made.verdict is not None
    size, speed = len(made.packed or made.model), made.reading("speed-up", "difference").measurement.value
    return (
        f"{size:,}",
        f"{lost.value:.2f} [{lost.low:.2f}, {lost.high:.2f}]",
        f"{made.verdict.status}, {made.taken}",
        f"{speed:.2f}",
        f"{seconds:.0f}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rows", default="", help="only rows whose name holds each of these, with commas")
    parser.add_argument("--drops", default="1,0.5")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    say_machine()
    print("| network, target, limit | how | bytes | drop on 10,000 others | verdict, network taken | speed-up | seconds |")
    print("|---|---|---|---|---|---|---|", flush=True)
    ways = (("int8", {}), ("w4a8", {}), ("int8", {"minimize": "size"}))
    for network in NETWORKS:
        for target in TARGETS:
            for drop in map(float, options.drops.split(",")):
                for scheme, how in ways:
                    name = f"{network.title}, {target}, {drop:g}", "minimize size" if how else scheme
                    if all(part in ", ".join(name) for part in options.rows.split(",")):
                        row = run(network, target, scheme, drop, options.minutes, options.seed, **how)
                        print(f"| {' | '.join((*name, *row))} |", flush=True)


if __name__ == "__main__":
    main()
