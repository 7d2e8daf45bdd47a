"""Samples per second of calibrating on 500 images: ours against LiteRT Quantizer's calibrator as it comes, in the same run.

python bench/calibration_speed.py   exit code 1 below 10 x; best of three each, alternating
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np

import intact
import peers
from cifar import NETWORKS, Network, calibration_pictures
from common import say_machine
from intact.planning import ranges
from intact.simulate import calibrate

BOUND = 10.0
ROUNDS = 3
BATCH = 32


def peer_calibration(network: Network, samples: np.ndarray) -> Callable[[], object]:
    """The peer's calibration of an already loaded model; its samples are ready in memory."""
    inputs = peers.signature_inputs(network.path, samples)

    def run() -> object:
        with peers.quiet():
            return peers.quantizer_for(network.path).calibrate(inputs)

    return run


def our_calibration(network: Network, samples: np.ndarray) -> Callable[[], object]:
    """Ours from the same start, a loaded model and samples in memory, to a range for every tensor."""
    graph = intact.load(network.path)
    (name,) = graph.input_names
    estimator = ranges.estimator("minmax")

    def run() -> object:
        batches = ({name: samples[i : i + BATCH]} for i in range(0, len(samples), BATCH))
        return {i: estimator.estimate(seen) for i, seen in calibrate.observe(graph, lambda: batches).items()}

    return run


def main() -> None:
    calibration = calibration_pictures()
    missed = False
    say_machine()
    print("| network | Intact, samples/s | LiteRT Quantizer, samples/s | ratio |")
    print("|---|---|---|---|")
    for network in NETWORKS:
        samples = network.images(calibration)
        work = {"ours": our_calibration(network, samples), "peer": peer_calibration(network, samples)}
        best = dict.fromkeys(work, 0.0)
        for _ in range(ROUNDS):
            for name, run in work.items():
                start = time.perf_counter()
                run()
                best[name] = max(best[name], len(samples) / (time.perf_counter() - start))
        ratio = best["ours"] / best["peer"]
        missed |= ratio < BOUND
        print(f"| {network.title} | {best['ours']:,.0f} | {best['peer']:,.0f} | {ratio:.1f} x |", flush=True)
    sys.exit(f"missed: at least {BOUND:.0f} x" if missed else 0)


if __name__ == "__main__":
    main()
