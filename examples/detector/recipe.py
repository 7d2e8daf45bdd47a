"""Detection: a small YOLO-like network in PyTorch, quantized by AI Edge Quantizer and by Intact, judged by mAP in LiteRT.

python examples/detector/recipe.py [--budget test|small|full] [--out FOLDER]
"""

import argparse
from pathlib import Path

import litert_torch
import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import quantizer, recipe

import intact
from data import SIZE, scenes
from judge import Judge, outputs
from network import Detector, loss

FLOOR = 80.0  # the mAP@0.5 in per cent that the float network has to reach
#: Training scenes, epochs, test scenes, calibration samples, resamples for the intervals.
BUDGETS = {"test": (512, 2, 64, 32, 20), "small": (8000, 12, 5000, 500, 200), "full": (40000, 30, 10000, 500, 1000)}


def trained(images: np.ndarray, objects: np.ndarray, epochs: int) -> Detector:
    model = Detector()
    data = torch.utils.data.TensorDataset(torch.from_numpy(images), torch.from_numpy(objects))
    loader = torch.utils.data.DataLoader(data, batch_size=32, shuffle=True)
    optimizer = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, epochs * len(loader))
    for _ in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            loss(model, x, y).backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def converted(model: Detector, calibration: np.ndarray, out: Path) -> tuple[bytes, bytes]:
    """LiteRT's float file, and AI Edge Quantizer's static int8 recipe on it, as its guide has it."""
    litert_torch.convert(model, (torch.from_numpy(calibration[:1]),)).export(str(out / "float.tflite"))
    made = quantizer.Quantizer(str(out / "float.tflite"), recipe.static_wi8_ai8())
    ((signature, ports),) = Interpreter(str(out / "float.tflite")).get_signature_list().items()
    seen = made.calibrate({signature: [{ports["inputs"][0]: image[None]} for image in calibration]})
    return (out / "float.tflite").read_bytes(), bytes(made.quantize(seen).quantized_model)


def main(budget: str, out: Path) -> None:
    count, epochs, tests, samples, resamples = BUDGETS[budget]
    torch.manual_seed(0)
    (images, objects), (x, y) = scenes(count, seed=0), scenes(tests, seed=1)
    model = trained(images, objects, epochs)
    out.mkdir(parents=True, exist_ok=True)
    calibration = images[:samples]
    files = dict(zip(("float", "AI Edge Quantizer, int8"), converted(model, calibration, out), strict=True))
    kinds = {"Intact, int8, default": None, "Intact, int8, float32 out": "float32"}
    made = {n: intact.quantize(model, calibration, evaluation=x, output_type=t, measure=False) for n, t in kinds.items()}
    files |= {name: result.model for name, result in made.items()}
    (out / "model.tflite").write_bytes(files["Intact, int8, float32 out"])
    picks = [np.arange(tests), *np.random.default_rng(0).integers(0, tests, (resamples, tests))]
    judges = {name: Judge(outputs(file, x), y) for name, file in files.items()}
    found = {name: np.array([judge.score(pick) for pick in picks]) for name, judge in judges.items()}
    exact = found["float"]
    lines = ["| network | mAP@0.5 % | drop | mAP@[.5:.95] % | drop | KB |", "|---|---|---|---|---|---|"]
    for name, scores in found.items():
        drops = exact - scores
        low, high = np.quantile(drops[1:], (0.025, 0.975), axis=0)
        lost = ["" if scores is exact else f"{drops[0, k]:z.2f} [{low[k]:z.2f}, {high[k]:z.2f}]" for k in (0, 1)]
        cells = [f"{scores[0, k]:.2f} | {lost[k]}" for k in (0, 1)]
        lines.append(f"| {name} | {' | '.join(cells)} | {len(files[name]) / 1000:.0f} |")
    reached = "reached" if exact[0, 0] >= FLOOR else "not reproduced: missed"
    lines.append(f"\n{tests:,} test scenes of {SIZE} px, {samples} to calibrate. Floor of float, mAP@0.5 {FLOOR:g}: {reached}.")
    said = [f.message for f in made["Intact, int8, default"].findings if f.kind == "unlike outputs"]
    lines += [f"\nIntact, of its default: {message}." for message in said]
    (out / "table.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", choices=BUDGETS, default="small")
    parser.add_argument("--out", type=Path, default=Path("detector"))
    main(**vars(parser.parse_args()))
