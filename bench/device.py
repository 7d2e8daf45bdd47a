"""What it costs to measure on a device: a cell of a study there against the same cell here, for a device that is this machine.

    intact devices add loop --ssh localhost
    python bench/device.py loop [--rounds 5] [--images 1000] [--calls]

ResNet8 on CIFAR-10 as int8; both take turns, in a fresh process each. What travels is sent once more by itself and timed. Aim:
the cell there takes at most 1.05 times its time here, plus the transfer (medians); exit code 1 where it takes more. With
--calls only what the cell asks of a place, in this process: outputs of two files, both timed, and 15 single ops.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from cifar import RESNET8
from common import say_machine
from intact.runtime import anywhere, devices, litert
from intact.runtime.elsewhere import Elsewhere
from intact.runtime.places import HERE, Place
from intact.runtime.ssh import Ssh
from study import some

MOST = 1.05


def transfer(name: str, images: int, model: Path) -> float:
    """Seconds to send what one cell does: the samples in float32 and both models, connecting included."""
    device = devices.named(name)
    began = time.perf_counter()
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        file.write(np.random.default_rng(0).bytes(images * 32 * 32 * 3 * 4))
        file.flush()
        with Elsewhere(device, Ssh(device.ssh, Path(device.config) if device.config else None)) as place:
            for path in (Path(file.name), model):
                place.sent(path)
    return time.perf_counter() - began


def calls(place: Place, images: int, folder: Path) -> float:
    """Seconds for what one cell asks of a place, with timings as short as they can be."""
    model = RESNET8.path.read_bytes()
    files = {str(number): folder / f"{number}.tflite" for number in range(15)}
    for number, path in enumerate(files.values()):
        path.write_bytes(model + bytes([number]))  # files of different content
    x = {litert.describe(RESNET8.path).inputs[0].name: np.random.default_rng(0).random((images, 32, 32, 3), np.float32)}
    short: dict[str, Any] = {"rounds": 2, "warmup_seconds": 0.01, "block_seconds": 0.001, "place": place}
    began = time.perf_counter()
    for path in (files["0"], files["1"]):
        litert.run(path, x, place=place)
    litert.latency({name: files[name] for name in ("0", "1")}, **short)
    litert.latency(files, **short)
    return time.perf_counter() - began


def calls_there(device: str, images: int, folder: Path) -> float:
    """The same on a device, connecting included."""
    began = time.perf_counter()
    with anywhere.opened(device) as place:
        return time.perf_counter() - began + calls(place, images, folder)


def cell(data: Path, evaluation: Path, *where: str) -> float:
    """Seconds for a whole cell, in a process of its own."""
    run = data.parent / "run"
    shutil.rmtree(run, ignore_errors=True)
    asked = ["--data", str(data), "--eval", str(evaluation), "--pixels=0,255", "--out", str(run), *where]
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "intact", "quantize", str(RESNET8.path), *asked], check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("device", help="A device that is this machine.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--calls", action="store_true")
    options = parser.parse_args()
    say_machine()
    here, there, sent = [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.calls:
            asked = (options.images, folder)
            both = [(here, lambda: calls(HERE, *asked)), (there, lambda: calls_there(options.device, *asked))]
        else:
            data = some("train", 200, folder), some("test", options.images, folder)
            both = [(here, lambda: cell(*data)), (there, lambda: cell(*data, "--on", options.device))]
        for round_ in range(options.rounds):
            for times, timed in both if round_ % 2 == 0 else reversed(both):
                times.append(timed())
            sent.append(transfer(options.device, options.images, RESNET8.path))
            print(f"round {round_ + 1}: {here[-1]:.2f} s here, {there[-1]:.2f} s there, {sent[-1]:.2f} s sending", flush=True)
    local, away, moved = map(statistics.median, (here, there, sent))
    ratio = (away - moved) / local
    print(f"median {local:.2f} s here, {away:.2f} s there, of which {moved:.2f} s sending: {ratio:.3f} of {MOST} allowed")
    sys.exit(int(ratio > MOST))


if __name__ == "__main__":
    main()
