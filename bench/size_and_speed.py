"""Size and single-thread latency of int8 files: ours against LiteRT Quantizer's of the same graph, and against float.

python bench/size_and_speed.py      exit code 1 if a bound is missed; latencies are paired, batch 1, default kernels
Bounds: file <= 1.10 x its int8 weights and int32 biases (MobileNets) and no larger than the peer's; latency <= 1.02 x the
peer's; MobileNetV3-Small at least 3 x faster than the peer's and 1.5 x faster than float.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import peers
import runs
from accuracy import ours
from cifar import MOBILENET_V3, NETWORKS, RESNET8, calibration_pictures, pictures
from common import say_machine


def main() -> None:
    calibration = calibration_pictures()
    values, _ = pictures("test")
    missed: list[str] = []
    say_machine()
    print(
        "| network | file, bytes | file / bytes of its parameters | file / the peer's file | latency, ms "
        "| latency / the peer's | latency / float's |"
    )
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for network in NETWORKS:
            mine = ours(network, calibration, Path(folder))
            peer = peers.litert_quantizer(network.path, network.images(calibration))
            sample = network.images(values[:1])
            size = mine.stat().st_size
            over, of_peer = size / runs.parameter_bytes(mine), size / peer.stat().st_size
            ms, _, against_peer = runs.latency_ratio(mine, peer, sample)
            _, _, against_float = runs.latency_ratio(mine, network.path, sample)
            print(
                f"| {network.title} | {size:,} | {over:.3f} | {of_peer:.3f} | {ms:.3f} | {against_peer.value:.3f} "
                f"[{against_peer.low:.3f}, {against_peer.high:.3f}] | {against_float.value:.3f} "
                f"[{against_float.low:.3f}, {against_float.high:.3f}] |",
                flush=True,
            )
            bounds = {
                "file over its parameters <= 1.10": network is RESNET8 or over <= 1.10,
                "file no larger than the peer's": of_peer <= 1,
                "latency <= 1.02 of the peer's": against_peer.value <= 1.02,
                "latency <= 1/3 of the peer's": network is not MOBILENET_V3 or against_peer.value <= 1 / 3,
                "latency <= 1/1.5 of float's": network is not MOBILENET_V3 or against_float.value <= 1 / 1.5,
            }
            missed += [f"{network.title}: {bound}" for bound, met in bounds.items() if not met]
    sys.exit("missed: " + "; ".join(missed) if missed else 0)


if __name__ == "__main__":
    main()
