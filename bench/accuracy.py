"""Accuracy of int8 files on CIFAR-10's 10,000 test images, ours against the peers', all in one run on the same images.

python bench/accuracy.py            prints the table of the README; exit code 1 if ours is worse than a peer's
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

import intact
import peers
import runs
from cifar import NETWORKS, Network, calibration_pictures, model, pictures

PEERS = ("LiteRT Quantizer", "TFLite converter")


def ours(network: Network, calibration: np.ndarray, out: Path) -> Path:
    """Our int8 file by the public API, everything at its default; it is measured here, by the same means as the peers'."""
    values, labels = pictures("test")
    data, evaluation = intact.data.arrays(network.images(calibration)), intact.data.arrays(network.images(values), labels)
    result = intact.quantize(network.path, data, evaluation=evaluation, scheme="int8", measure=False)
    return result.save(out / f"{network.path.stem}.tflite")


def compare(network: Network, calibration: np.ndarray, out: Path) -> tuple[list[str], bool]:
    """Rows of the table for one network, and whether ours is worse than any peer's."""
    values, labels = pictures("test")
    images, samples = network.images(values), network.images(calibration)
    files = {"float": network.path, "Intact": ours(network, calibration, out)}
    files[PEERS[0]] = peers.litert_quantizer(network.path, samples)
    if network.keras:
        files[PEERS[1]] = peers.tflite_converter(model(network.keras), samples)
    right = {name: runs.predictions(path, images) == labels for name, path in files.items()}
    rows, worse = [], False
    for name, hits in right.items():
        drop = runs.paired_difference(right["float"], hits)
        gain = runs.paired_difference(right["Intact"], hits)
        peer = name in PEERS
        worse |= peer and gain.high < 0
        rows.append(
            f"| {network.title} | {name} | {100 * hits.mean():.2f} | "
            + ("" if name == "float" else f"{drop.value:.2f} [{drop.low:.2f}, {drop.high:.2f}]")
            + " | "
            + (f"{gain.value:+.2f} [{gain.low:+.2f}, {gain.high:+.2f}]" if peer else "")
            + " |"
        )
    return rows, worse


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="draws the 500 calibration images")
    options = parser.parse_args()
    calibration = calibration_pictures(500, options.seed)
    print("| network | file | top-1 % | drop from float | Intact's lead on the same images |")
    print("|---|---|---|---|---|")
    failed = False
    with tempfile.TemporaryDirectory() as out:
        for network in NETWORKS:
            rows, worse = compare(network, calibration, Path(out))
            print("\n".join(rows), flush=True)
            failed |= worse
    sys.exit("worse than a peer" if failed else 0)


if __name__ == "__main__":
    main()
