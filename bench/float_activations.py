"""What ``float16`` and ``dynamic`` run as in LiteRT's default kernels: parts, time and memory beside float and int8.

python bench/float_activations.py [--networks MobileNetV2]

A part is a stretch of ops that XNNPACK runs without leaving it. Times are taken in turns in one process; speed-ups are medians
over blocks, with quartiles. Memory is what loading and running a file adds to an idle process.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

import intact
from cifar import MOBILENET_V2, MOBILENET_V3, RESNET8, calibration_pictures
from common import say_machine
from intact.measure.resident import resident
from intact.runtime import litert

SCHEMES = ("float32", "float16", "dynamic", "int8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default="", help="only networks whose title holds this text")
    asked = parser.parse_args()
    say_machine()
    print("| network | scheme | file, bytes | parts | speed-up | memory, MB |\n|---|---|---|---|---|---|")
    for network in (n for n in (MOBILENET_V2, MOBILENET_V3, RESNET8) if asked.networks in n.title):
        samples = network.images(calibration_pictures(200, 0))
        with tempfile.TemporaryDirectory() as folder:
            files = {scheme: Path(folder) / f"{scheme}.tflite" for scheme in SCHEMES}
            for scheme, path in files.items():
                path.write_bytes(intact.quantize(network.path, samples, scheme=scheme, measure=False).model)
            times = litert.latency(files, rounds=40, block_seconds=0.05, max_seconds=30)
            base = np.array(times["float32"].samples_ms)
            for scheme, path in files.items():
                low, middle, high = np.quantile(base / np.array(times[scheme].samples_ms), (0.25, 0.5, 0.75))
                print(
                    f"| {network.title} | {scheme} | {path.stat().st_size:,} | {litert.describe(path).partitions} | "
                    f"{middle:.2f} [{low:.2f}, {high:.2f}] | {resident(path, 'default').value / 1e6:.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
