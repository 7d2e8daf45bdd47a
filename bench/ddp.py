"""What two ranks of one thread each are worth: an epoch of fine-tuning by one of them, and by both.

python bench/ddp.py [--network NAME] [--samples 500] [--rounds 7]      exit code 1 if it is below 0.8 of twice the speed

Both ways take turns in the same two processes, which torchrun starts; while one rank works alone the other sleeps. An epoch
is every step of it and the held-out samples at its end, with the reading of samples. The ratio is the median of paired ones.
That needs two cores that nobody else uses: the load is printed, and how much slower one rank is while the other works alone
too, which is what the cores themselves allow.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np

import intact
from cifar import MOBILENET_V2, RESNET8, calibration_pictures
from common import say_machine
from intact.data import input_specs
from intact.formats import tflite
from intact.planning.quantized import Quantized
from intact.remedies import finetune
from intact.remedies.base import Context
from intact.remedies.finetune import FineTune
from intact.run.as_planned import plan_of
from intact.run.prepared import prepare
from intact.run.settings import Settings
from intact.simulate.ranks import Ranks, joined

NETWORKS = {"resnet8": RESNET8, "mobilenet_v2": MOBILENET_V2}
LEAST = 0.8


def epoch(run: finetune._Run) -> float:
    """The seconds that an epoch takes."""
    start = time.perf_counter()
    for at in range(0, len(run.learning), run.how.batch):
        run.learn(run.learning[at : at + run.how.batch])
    run.judge()
    return time.perf_counter() - start


def compared(ranks: Ranks, name: str, count: int, rounds: int) -> None:
    """Print the ratio on rank 0; all ranks end with the same status."""
    network = NETWORKS[name]
    settings = Settings(ranges="minmax")
    graph = prepare(tflite.read(network.path), settings)
    samples = intact.data.arrays(network.images(calibration_pictures(count, 0))).bind(input_specs(graph), None)
    plan = plan_of(graph, samples.spread(100), settings).plan
    context = Context(lambda *_: plan)
    quantized = Quantized(graph, graph, plan)
    alone, together = (finetune._Run(FineTune(), quantized, samples, made) for made in (context, replace(context, ranks=ranks)))
    turns = list[tuple[float, float, float]]()
    for turn in range(rounds + 1):  # the first warms up
        one = epoch(alone) if ranks.rank == 0 else 0.0
        wait_for(ranks, f"one {turn}")
        both_alone = epoch(alone)
        wait_for(ranks, f"beside {turn}")
        turns.append((one, both_alone, epoch(together)))
    ones, besides, shared = np.array(turns[1:]).T
    status = 0
    if ranks.rank == 0:
        ratio = float(np.median(ones / shared)) / 2
        print(f"{network.title}, {count} samples, {rounds} rounds; load {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores")
        print(f"one rank {np.median(ones):.2f} s an epoch, two ranks {np.median(shared):.2f} s")
        print(f"{ratio:.3f} of twice the speed (at least {LEAST})")
        print(f"two that share nothing: {float(np.median(ones / besides)):.2f} of twice the speed is what the cores allow")
        status = int(ratio < LEAST)
    sys.exit(ranks.same_status(status))


def wait_for(ranks: Ranks, what: str) -> None:
    """Let all ranks come here; who waits sleeps."""
    ranks.store.add(what, 1)
    while ranks.store.add(what, 0) < ranks.size:
        time.sleep(0.01)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=NETWORKS, default="resnet8")
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    if "RANK" in os.environ:
        with joined(600) as ranks:
            compared(ranks, options.network, options.samples, options.rounds)
    say_machine()
    started = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *sys.argv]
    ran = subprocess.run(started, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True, check=False)
    if ran.returncode and "exitcode: 1)" not in ran.stderr:
        sys.exit(ran.stderr)
    sys.exit(min(ran.returncode, 1))


if __name__ == "__main__":
    main()
