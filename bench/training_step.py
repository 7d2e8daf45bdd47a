"""What a fine-tuning step costs, teacher included, over a float training step of the same graph on the same batch.

python bench/training_step.py [--steps 12]      exit code 1 if time is above 2.5 x or memory above 2 x

Both take turns in one process, the same parts of the batch on the same cores; the ratio is the median of paired ratios. The
float step rounds nothing and has no teacher: forward, cross entropy against random classes, backward, Adam. Memory is the
peak of a fresh process over what it held before the first step.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

import intact
from cifar import MOBILENET_V2, MOBILENET_V3, RESNET8, Network, calibration_pictures
from common import say_machine
from intact.data import Samples, input_specs
from intact.formats import tflite
from intact.planning.quantized import Quantized
from intact.remedies import finetune
from intact.remedies.base import Context
from intact.remedies.distillation import Part
from intact.remedies.finetune import FineTune
from intact.remedies.straight_through import KEPT, Made
from intact.remedies.student import NOTHING, Given, Student
from intact.run.as_planned import plan_of
from intact.run.prepared import prepare
from intact.run.settings import Settings

NETWORKS = {network.file: network for network in (MOBILENET_V2, MOBILENET_V3, RESNET8)}
BATCH = 50


class FloatStudent(Student):
    """Rounds nothing."""

    def store(self, x: Tensor, *_: object, made: Made = KEPT, **__: object) -> Tensor:
        return x if made.clamp is None else F.hardtanh(x, *made.clamp)


class FloatRun(finetune._Run):
    """The same training without a teacher."""

    def loss(self, part: Part, given: Given = NOTHING) -> Tensor:
        graph = self.network.reference
        by_id = {i: part.inputs[name].float() for name, i in zip(graph.input_names, graph.inputs, strict=True)}
        made = self.student(by_id, self.objective.targets.values(), given)
        logits = made[self.objective.targets[graph.outputs[0]]]
        return F.cross_entropy(logits.reshape(part.count, -1), torch.arange(part.count) % logits.shape[-1])


def runs(network: Network, scheme: str) -> dict[str, finetune._Run]:
    """Both ways to train, ready for the first step."""
    settings = Settings(scheme=scheme, ranges="minmax")
    graph = prepare(tflite.read(network.path), settings)
    samples: Samples = intact.data.arrays(network.images(calibration_pictures(200, 0))).bind(input_specs(graph), None)
    plan = plan_of(graph, samples, settings).plan
    parts = FineTune(batch=BATCH), Quantized(graph, graph, plan), samples, Context(lambda *_: plan)
    made = {"float": FloatRun(*parts), "fine-tuning": finetune._Run(*parts)}
    made["float"].student.__class__ = FloatStudent
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--memory-of", nargs=3, metavar=("FILE", "SCHEME", "RUN"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    index = np.arange(BATCH)
    if options.memory_of:
        file, scheme, which = options.memory_of
        run = runs(NETWORKS[file], scheme)[which]
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        before = kilobytes("VmRSS")
        for _ in range(3):
            run.learn(index)
        print(kilobytes("VmHWM") - before)
        return
    missed = []
    say_machine()
    print("| network, scheme | time of a float step | memory of a float step |\n|---|---|---|")
    for network in NETWORKS.values():
        for scheme in ("int8", "w4a8"):
            both = runs(network, scheme)
            seconds: dict[str, list[float]] = {name: [] for name in both}
            for _ in range(options.steps + 2):
                for name, run in both.items():
                    start = time.perf_counter()
                    run.learn(index)
                    seconds[name].append(time.perf_counter() - start)
            time_ratio = float(np.median(np.divide(seconds["fine-tuning"][2:], seconds["float"][2:])))
            tuned, plain = (
                int(subprocess.run([*command(network, scheme), which], check=True, capture_output=True, text=True).stdout)
                for which in ("fine-tuning", "float")
            )
            print(f"| {network.title}, {scheme} | {time_ratio:.2f} x | {tuned / plain:.2f} x |", flush=True)
            if time_ratio > 2.5 or tuned > 2 * plain:
                missed.append(f"{network.title}, {scheme}")
    sys.exit("missed: " + "; ".join(missed) if missed else 0)


def kilobytes(field: str) -> int:
    """A figure of this process, such as VmHWM, the most it held."""
    return int(re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def command(network: Network, scheme: str) -> list[str]:
    return [sys.executable, __file__, "--memory-of", network.file, scheme]


if __name__ == "__main__":
    main()
