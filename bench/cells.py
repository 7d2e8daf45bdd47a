"""What a study gains by processes that compute its cells side by side, and the memory that such a process takes.

A network on CIFAR-10, a few schemes, three ways that take turns: in one process, in one whose samples two workers share
(--jobs 1), and with two workers, a cell each. Seconds of the clock, and of the processor with all child processes. Every model
that comes of it must be the same, byte for byte.

    python bench/cells.py [--network ResNet8] [--images 1000] [--rounds 3] [--schemes int8,w4a8]
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from cifar import NETWORKS, pictures
from common import say_machine
from intact.run.cells import memory_of

WAYS = {"one process": (), "2 workers, --jobs 1": ("--workers", "2", "--jobs", "1"), "2 workers": ("--workers", "2")}


def spent() -> float:
    """Seconds of the processor that children have taken which are no more."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def most_of_workers() -> int:
    """The most bytes that a process which computes cells has taken so far, of those that are there (Linux)."""
    most = 0
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if "intact.runtime.workers" in (path / "cmdline").read_text():
                status = (path / "status").read_text()
                most = max(most, 1024 * int(status.partition("VmHWM:")[2].split()[0]))
        except (OSError, IndexError):
            continue
    return most


def models(out: Path) -> dict[str, bytes]:
    """What a study made, by the folder of the run."""
    return {path.parent.name: path.read_bytes() for path in sorted(out.glob("runs/*/model.tflite"))}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--network", choices=[network.title for network in NETWORKS], default="ResNet8")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--schemes", default="int8,w4a8")
    asked = parser.parse_args()
    network = next(network for network in NETWORKS if network.title == asked.network)
    say_machine()
    taken: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    made: list[dict[str, bytes]] = []
    largest = 0
    with tempfile.TemporaryDirectory() as name:
        data = Path(name) / "val.npz"
        x, y = pictures("test")
        some = np.linspace(0, len(x) - 1, asked.images).astype(int)  # of every class
        np.savez(data, x=network.images(x[some]), y=y[some])
        for turn in range(asked.rounds):
            for way in WAYS if turn % 2 == 0 else reversed(WAYS):
                out = Path(name) / f"{way}-{turn}"
                typed = [sys.executable, "-m", "intact", "study", str(network.path), "--data", str(data)]
                typed += ["--schemes", asked.schemes, "--out", str(out), "--quiet", *WAYS[way]]
                began, before = time.perf_counter(), spent()
                with subprocess.Popen(typed, stdout=subprocess.DEVNULL) as process:
                    while process.poll() is None:
                        largest = max(largest, most_of_workers())
                        time.sleep(0.5)
                if process.returncode:
                    sys.exit(f"{way} failed")
                taken[way].append((time.perf_counter() - began, spent() - before))
                made.append(models(out))
                clock, processor = taken[way][-1]
                print(f"  {way}: {clock:.1f} s, processor {processor:.1f} s (load {os.getloadavg()[0]:.1f})", flush=True)
    medians = {way: [statistics.median(values) for values in zip(*taken[way], strict=True)] for way in WAYS}
    one = medians[next(iter(WAYS))][0]
    for way, (clock, processor) in medians.items():
        print(f"{way}: {clock:.1f} s, {one / clock:.2f} times the speed of one process; processor {processor:.1f} s")
    counted = memory_of(network.path.stat().st_size)
    print(f"a process that computes takes at most {largest / 1e6:,.0f} MB, and a cell is counted as {counted / 1e6:,.0f}")
    same = all(each == made[0] for each in made)
    print(f"{len(made[0])} models, {'the same' if same else 'not the same'} in all {len(made)} studies")
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
