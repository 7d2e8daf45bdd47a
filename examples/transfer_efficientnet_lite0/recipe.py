"""EfficientNet-Lite0 with ImageNet's weights, tuned to a few classes on two cores: what int8 costs, by two tools."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import quantizer
from ai_edge_quantizer import recipe as recipes

import intact
from network import pretrained
from photos import cifar10, photos, pixels
from tuning import tune

FLOOR = 85.0  # per cent right of the float network
SAMPLES = 500  # photos to calibrate with
#: Classes; photos of each to train and to judge on; their side in pixels; how many of KINDS; epochs of the last layer, of all
#: that is tuned.
BUDGETS = {"test": (2, 10, 10, 64, 1, 10, 1), "small": (5, 600, 1000, 128, 4, 20, 3), "full": (5, 5000, 1000, 128, 4, 20, 6)}
PLAIN = {"ranges": "minmax", "remedies": "none"}
#: What Intact is told, each time with the same photos to calibrate. The last file is kept.
KINDS: dict[str, dict[str, Any]] = {
    "Intact, least and greatest value": PLAIN,
    "Intact, least and greatest value, a scale per tensor": {**PLAIN, "weights": "per-tensor"},
    "Intact, a scale per tensor": {"weights": "per-tensor"},
    "Intact": {},
}


def quantized(exact: Path, calibration: np.ndarray) -> bytes:
    """AI Edge Quantizer's static int8 recipe, as its guide has it: least and greatest value, a scale per channel."""
    made = quantizer.Quantizer(str(exact), recipes.static_wi8_ai8())
    ((signature, ports),) = Interpreter(str(exact)).get_signature_list().items()
    seen = made.calibrate({signature: [{ports["inputs"][0]: image[None]} for image in calibration]})
    return bytes(made.quantize(seen).quantized_model)


def row(name: str, file: Path, exact: Path, judged: intact.data.Data) -> str:
    """Of one file: how many it has right, what it lost on the same photos with 95 % interval, its size."""
    found = {(r.of, r.measurement.name): r.measurement for r in intact.evaluate(file, judged, against=exact).readings}
    right, drop = found[file.name, "top-1 accuracy"], found[f"{file.name} against {exact.name}", "accuracy drop"]
    lost = f"{drop.value:z.2f} [{drop.low:z.2f}, {drop.high:z.2f}]"
    return f"| {name} | {right.value:.2f} | {lost} | {file.stat().st_size / 1e6:.2f} |"


def main(budget: str, out: Path, weights: Path | None, train: Path | None, test: Path | None) -> None:
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    classes, taught, tested, side, kinds, *epochs = BUDGETS[budget]
    images, labels = photos(train or cifar10(out, "train"), classes, taught)
    judged = intact.data.pil(*photos(test or cifar10(out, "test"), classes, tested), pixels=(-1, 1))
    model = pretrained(weights, classes)
    tune(model, pixels(images, side), labels, epochs)

    calibration = intact.data.pil(images[:SAMPLES], pixels=(-1, 1))
    batches = list(pixels(images[:SAMPLES], side))
    exact, plain, ours = (out / name for name in ("float.tflite", "plain.tflite", "model.tflite"))
    graph = intact.load(model, batches[0][:1])
    exact.write_bytes(intact.write_tflite(graph))
    plain.write_bytes(quantized(exact, torch.cat(batches).permute(0, 2, 3, 1).numpy()))
    rows = ["| network | right, % | lost, points | MB |", "|---|---|---|---|", row("AI Edge Quantizer", plain, exact, judged)]
    for name, options in list(KINDS.items())[:kinds]:
        intact.quantize(graph, calibration, evaluation=judged, measure=False, **options).save(ours)
        rows.append(row(name, ours, exact, judged))
    right = next(r.measurement for r in intact.evaluate(exact, judged).readings if r.measurement.name == "top-1 accuracy")
    rows.insert(2, f"| float | {right.value:.2f} | | {exact.stat().st_size / 1e6:.2f} |")
    reached = "reached" if right.value >= FLOOR else "not reproduced: missed"
    rows += ["", f"Floor of the float network, {FLOOR:g} % of {right.n:,} photos: {reached}. {len(images):,} to train on."]
    (out / "table.md").write_text("\n".join(rows) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", choices=BUDGETS, default="small")
    parser.add_argument("--out", type=Path, default=Path("transfer_efficientnet_lite0"))
    parser.add_argument("--weights", type=Path, help="the package's .pth file, where the package is not installed")
    parser.add_argument("--train", type=Path, help="a folder of photos per class; CIFAR-10 without")
    parser.add_argument("--test", type=Path, help="the same, to judge on")
    main(**vars(parser.parse_args()))
