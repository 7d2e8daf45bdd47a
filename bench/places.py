"""What it takes to measure in several processes: a pool on this machine, and Ray's tasks.

Workers: MobileNetV2 on CIFAR-10's test images, in a pool of one process and of as many as there are cores, taking turns. Ray: a
cluster of this machine's cores, tasks of 32 images of ResNet8 one after the other, and every eighth time the same call without
Ray; the overhead is the difference of the medians. From what was measured comes a model of a cluster, on paper: as many tasks
side by side as it has cores, each with its start and overhead, and one process that hands all samples out.

    python bench/places.py [--images 10000] [--rounds 5] [--tasks 1000]

Aims: n workers at 0.9 n of the speed of one; Ray's overhead at most 20 ms a task. Exit code 1 where one is missed.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cifar import MOBILENET_V2, RESNET8, pictures
from common import say_machine
from intact import data as samples_of
from intact import files
from intact.data import Samples
from intact.formats import tflite
from intact.measure.run_outputs import outputs_of
from intact.runtime import anywhere, litert
from intact.runtime.places import HERE, Place, Pool

AIM, OVERHEAD = 0.9, 0.020
#: Images of a task, and how many tasks there are for each call without Ray.
EACH, EVERY = 32, 8
#: What the issue at hand is about: images, formats and seeds.
STUDY = (50_000, 7, 5)
NODES, CORES = 64, 16


@dataclass(frozen=True)
class Costs:
    """Seconds: of a task without its images, of an image, of Ray for a task, and of handing out an image."""

    start: float
    image: float
    overhead: float
    handing: float

    def evaluation(self, images: int, workers: int) -> float:
        """Seconds for ``images`` that ``workers`` share: the slower of them and of whoever hands the images out."""
        each = EACH * math.ceil(images / workers / EACH)
        rounds = math.ceil(math.ceil(images / each) / workers)
        work = rounds * (self.start + self.overhead + each * self.image)
        return max(work, images * self.handing) + self.overhead


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def unheard(done: int, total: int) -> None:
    """The progress of what nobody watches."""
    del done, total


def scaling(path: Path, samples: Samples, rounds: int) -> tuple[float, float]:
    """How much of n times the speed of one worker n have, and the seconds of one worker."""
    n = HERE.cores
    taken: dict[int, list[float]] = {1: [], n: []}
    for turn in range(rounds):
        for workers in (1, n) if turn % 2 == 0 else (n, 1):
            place = Pool(workers)
            taken[workers].append(seconds(lambda place=place: outputs_of(path, samples, "default", unheard, place=place)))
            print(f"  {workers} workers: {taken[workers][-1]:.1f} s (load {os.getloadavg()[0]:.1f})", flush=True)
    one, many = (statistics.median(taken[workers]) for workers in (1, n))
    share = one / many / n
    print(f"{n} workers: {one / many:.2f} times the speed of one, {share:.2f} of {n} (aim {AIM}); medians of {rounds}\n")
    return share, one


def tasks(path: Path, x: dict[str, np.ndarray], place: Place, count: int) -> tuple[float, float]:
    """Seconds that Ray adds to a task, and those of a task without it."""
    there, here = list[float](), list[float]()
    litert.run(path, x, threads=1, place=place)
    for number in range(count):
        there.append(seconds(lambda: litert.run(path, x, threads=1, place=place)))
        if number % EVERY == 0:
            here.append(seconds(lambda: litert.run(path, x, threads=1)))
        if (number + 1) % 100 == 0:
            _say(there, here)
    return _say(there, here)


def _say(there: list[float], here: list[float]) -> tuple[float, float]:
    with_ray, without = statistics.median(there), statistics.median(here)
    low, high = np.quantile(there, (0.25, 0.75)) * 1000
    print(
        f"  Ray: {len(there):,} tasks, {with_ray * 1000:.1f} ms (quartiles {low:.1f} to {high:.1f}), without {len(here):,} of "
        f"{without * 1000:.1f} ms: {(with_ray - without) * 1000:.1f} ms a task (aim {OVERHEAD * 1000:.0f}; load "
        f"{os.getloadavg()[0]:.1f})",
        flush=True,
    )
    return with_ray - without, without


def handing_out(piece: np.ndarray) -> float:
    """Seconds for an image that is written, hashed and put into Ray's store."""
    import ray  # noqa: PLC0415  # whoever measures without it gets the first half

    taken = list[float]()
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(5):
            path = Path(folder) / f"{turn}.npy"

            def once(path: Path = path) -> None:
                np.save(path, piece)
                files.sha256(path)
                ray.put(np.fromfile(path, np.uint8))

            taken.append(seconds(once))
    return statistics.median(taken) / len(piece)


def on_paper(costs: Costs) -> None:
    """The study that is too large for a laptop, on a cluster."""
    images, formats, seeds = STUDY
    print(f"\non paper: {images:,} images x {formats} formats x {seeds} seeds")
    print(f"  a task takes {costs.start * 1000:.0f} ms and Ray's {costs.overhead * 1000:.1f} ms")
    print(f"  an image takes {costs.image * 1000:.3f} ms, and {costs.handing * 1e6:.0f} us to be handed out")
    one = costs.evaluation(images, 1) * formats * seeds
    for workers in (1, HERE.cores, NODES, NODES * CORES):
        total = costs.evaluation(images, workers) * formats * seeds
        bound = images * costs.handing * formats * seeds
        why = "handing out" if total <= bound + formats * seeds * costs.overhead * 1.001 and workers > 1 else "work"
        print(f"  {workers:5} cores: {total / 60:8.1f} min, {one / total / workers:4.0%} of their speed; bound by {why}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tasks", type=int, default=1000)
    asked = parser.parse_args()
    say_machine()
    path = MOBILENET_V2.path
    graph = tflite.read(path)
    x = MOBILENET_V2.images(pictures("test")[0][: asked.images])
    samples = samples_of.samples_from(x).bind(samples_of.input_specs(graph), None)
    share, one = scaling(path, samples, asked.rounds)
    with anywhere.opened("ray") as place:
        (name,) = (port.name for port in litert.describe(RESNET8.path).inputs)
        few = RESNET8.images(pictures("test")[0][:EACH])
        added, start = tasks(RESNET8.path, {name: few}, place, asked.tasks)
        handing = handing_out(x[:2048])
    on_paper(Costs(start, max(one - start, 0.0) / len(x), max(added, 0.0), handing))
    return int(share < AIM or added > OVERHEAD)


if __name__ == "__main__":
    sys.exit(main())
