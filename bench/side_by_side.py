"""Recovery side by side: Intact with remedies against LiteRT Quantizer's algorithms and NNCF, on the same images in one run.

python bench/side_by_side.py [--only int8|w4a8] [--networks hard] [--images 2000] [--remedies equalize,bias,finetune]
                             [--nncf-python PATH]

Everyone gets the same training images as samples, without labels, and is measured on the same test images; nothing is chosen on
those. Exit code 1 if Intact is significantly worse than a peer, or not significantly better than one that loses more than 0.5
points.

.tflite files run in LiteRT's default kernels. NNCF (int8 only) has its own interpreter, by --nncf-python or INTACT_NNCF_PYTHON,
with ``pip install nncf openvino torch torchao``; from a .pt2 its accuracy is simulated in torch, a .tflite is run by OpenVINO.
NNCF 3.4.0's channel alignment fails on MobileNetV2 from its .tflite (``KeyError: <class 'numpy.float32'>``).
LiteRT Quantizer's GPTQ is for FULLY_CONNECTED alone, its int4 weights are for CONV_2D and FULLY_CONNECTED. GPTQ collapses in
0.11.0: it spreads errors by rows of the whole inverse Hessian, where the paper (arXiv:2210.17323, algorithm 1) has rows of its
Cholesky factor; ResNet8's int8 weights move by up to 218 steps.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

import intact
import peers
import runs
from cifar import HARD, MOBILENET_V2, MOBILENET_V3, RESNET8, Network, calibration_pictures, model, pictures

ROWS = (MOBILENET_V2, MOBILENET_V3, HARD, RESNET8)
WEIGHTS = {"int8": peers.INT8_WEIGHTS, "w4a8": peers.INT4_WEIGHTS}
#: Names in nncf_peer.py: what NNCF does by default, its slower bias correction, and the most it has.
NNCF_TORCH = ("fast bias", "bias")
NNCF_OPENVINO = (*NNCF_TORCH, "mixed, bias", "mixed, bias, alignment")
#: A peer that loses more points than this must be beaten, not only equalled.
NEGLIGIBLE = 0.5
#: Intact with other remedies, beside those that are judged.
OTHERWISE = {"Intact, by default": "auto", "Intact, plain": "none"}


@dataclass(frozen=True)
class Task:
    """A network and scheme, with the samples everyone gets and the images and labels everyone is measured on."""

    network: Network
    scheme: str
    samples: np.ndarray
    images: np.ndarray
    labels: np.ndarray
    seed: int


def classes(path: Path, images: np.ndarray) -> np.ndarray:
    """Top-1 classes ``[n]`` of a file in LiteRT's default kernels; run once for the same file, images and runtime."""

    def make() -> bytes:
        found = io.BytesIO()
        np.save(found, runs.predictions(path, images))
        return found.getvalue()

    given = path.read_bytes() + images.tobytes() + version("ai-edge-litert").encode()
    return np.load(peers.kept(f"{path.stem}-classes", given, ".npy", make))


def intact_file(task: Task, remedies: str, out: Path) -> Path:
    """Our file by the public API; it is measured here, by the same means as the peers'."""
    result = intact.quantize(
        task.network.path,
        intact.data.arrays(task.samples),
        evaluation=intact.data.arrays(task.images, task.labels),
        scheme=task.scheme,
        remedies=remedies,
        seed=task.seed,
        measure=False,
    )
    return result.save(out / f"{task.network.path.stem}-{task.scheme}-{remedies.replace(',', '-')}.tflite")


def peer_classes(task: Task, nncf_python: str) -> Iterator[tuple[str, np.ndarray]]:
    """Each peer's name and predictions; says which are left out, and why."""
    for weights in WEIGHTS[task.scheme]:
        path = peers.litert_quantizer(task.network.path, task.samples, weights)
        yield f"LiteRT Quantizer, {weights.name}", classes(path, task.images)
    if task.scheme != "int8":
        return
    sources = {}
    if task.network.torch:
        sources = {f"NNCF in torch (simulated), {mode}": (model(task.network.torch), mode) for mode in NNCF_TORCH}
    sources |= {f"NNCF in OpenVINO, {mode}": (task.network.path, mode) for mode in NNCF_OPENVINO}
    for name, (path, mode) in sources.items():
        try:
            yield name, peers.nncf_predictions(nncf_python, path, task.samples, task.images, mode)
        except peers.MissingPeerError as reason:
            print(f"left out: {task.network.title}, {name}: {reason}", file=sys.stderr, flush=True)


def verdict(lead: runs.Estimate) -> str:
    """Whether the 95 % interval of our lead is on one side of zero."""
    if lead.low > 0:
        return "significantly better"
    return "worse" if lead.high < 0 else "not significantly different"


def compare(task: Task, remedies: str, nncf_python: str, out: Path) -> list[str]:
    """Print the rows of one network and scheme; what fails is returned."""
    known = classes(task.network.path, task.images)
    ours = classes(intact_file(task, remedies, out), task.images)
    others = {name: classes(intact_file(task, how, out), task.images) for name, how in OTHERWISE.items()}
    failed = []

    def row(name: str, found: np.ndarray, *, judged: bool) -> None:
        right = found == task.labels
        drop = runs.paired_difference(known == task.labels, right)
        lead = runs.paired_difference(ours == task.labels, right)
        said = verdict(lead) if judged else ""
        if said == "worse" or (said == "not significantly different" and drop.value > NEGLIGIBLE):
            failed.append(f"{task.network.title} {task.scheme} against {name}")
        print(
            f"| {task.network.title}, {task.scheme} | {name} | {100 * (found == known).mean():.2f} | {interval(drop, '')} | "
            f"{'' if found is ours else interval(lead, '+')} | {said} |",
            flush=True,
        )

    row(f"Intact, {remedies.replace(',', '+')}", ours, judged=False)
    for name, found in others.items():
        row(name, found, judged=False)
    for name, found in peer_classes(task, nncf_python):
        row(name, found, judged=True)
    return failed


def interval(estimate: runs.Estimate, sign: str) -> str:
    return f"{estimate.value:{sign}.2f} [{estimate.low:{sign}.2f}, {estimate.high:{sign}.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000, help="how many of the test images, drawn by the seed")
    parser.add_argument("--samples", type=int, default=500, help="training images given to everyone")
    parser.add_argument("--networks", default="", help="only networks whose title holds this text")
    parser.add_argument("--only", choices=tuple(WEIGHTS), help="only this scheme")
    parser.add_argument("--remedies", default="equalize,clip,bias", help="Intact's remedies, with commas")
    parser.add_argument("--nncf-python", default=os.environ.get("INTACT_NNCF_PYTHON", ""), help="interpreter that has NNCF")
    parser.add_argument("--seed", type=int, default=0, help="draws the samples")
    options = parser.parse_args()
    values, labels = pictures("test")
    chosen = np.sort(np.random.default_rng(options.seed).choice(len(values), options.images, replace=False))
    calibration = calibration_pictures(options.samples, options.seed)
    print(
        "| network, scheme | quantizer | float's class, % | drop from float, points | Intact's lead, same images | Intact is |"
    )
    print("|---|---|---|---|---|---|")
    failed = []
    with tempfile.TemporaryDirectory() as out:
        for scheme in (options.only,) if options.only else WEIGHTS:
            for network in (network for network in ROWS if options.networks in network.title):
                task = Task(
                    network, scheme, network.images(calibration), network.images(values[chosen]), labels[chosen], options.seed
                )
                failed += compare(task, options.remedies, options.nncf_python, Path(out))
    sys.exit("failed: " + "; ".join(failed) if failed else 0)


if __name__ == "__main__":
    main()
