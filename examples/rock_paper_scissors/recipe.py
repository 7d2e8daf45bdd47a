"""Rock, paper, scissors: MobileNetV2 in PyTorch as int8, k-means clusters and evenly spaced weights, and what each takes.

python examples/rock_paper_scissors/recipe.py [--budget test|small|full] [--out FOLDER] [--photos FOLDER] [--weights FILE]
"""

import argparse
from pathlib import Path

import numpy as np
import torch

import hands
import intact
import network
import reported
from intact.measure.accuracy import drop
from judge import efficiency, hits, hits_in_torch, layers

FLOOR = 80.0  # per cent right of the float network
#: Pictures to train and to judge on, their side in pixels, that of each epoch, seconds that Intact may learn for a format.
BUDGETS = {
    "test": (60, 60, 64, (32,), 5),
    "small": (5000, 5000, 128, (64,) * 8 + (128,) * 2, 60),
    "full": (20_000, 5000, 128, (128,) * 30, 600),
}
FORMATS = {  # the report's name; its rounding of weights; Intact's scheme, and where its file runs
    "linear int8": (reported.line(8), "dynamic", "cpu"),
    "linear int16": (reported.line(16), "w16a8", "cpu"),
    "k-means 8 bits": (reported.k_means(8), "clusters8", "cpu"),
    "k-means 4 bits": (reported.k_means(4), "clusters4", "mcu"),
    "k-means 2 bits": (reported.k_means(2), "clusters2", "mcu"),
}


def trained(x: np.ndarray, y: np.ndarray, sides: tuple[int, ...], weights: Path | None) -> network.MobileNetV2:
    """From ``weights``; or ImageNet's with the top ten layers tuned, as reported; or from scratch where those are missing."""
    model = network.MobileNetV2(len(hands.CLASSES))
    if weights:
        model.load_state_dict(torch.load(weights))
        return model.eval()
    try:
        model = network.from_hub(len(hands.CLASSES))
        weighted = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
        for layer in weighted[:-10]:
            layer.requires_grad_(False)
    except Exception as missing:
        print(f"no weights of ImageNet ({type(missing).__name__}): from scratch")
    network.train(model, x, y, sides, rate=1e-3)
    return model


def main(budget: str, out: Path, photos: Path | None, weights: Path | None) -> None:
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    train, test, side, sides, seconds = BUDGETS[budget]
    if photos:
        (x, y), (tx, ty) = (hands.photographed(photos, part, side) for part in ("train", "test"))
    else:
        (x, y), (tx, ty) = hands.drawn(train, side, seed=0), hands.drawn(test, side, seed=1)
    model = trained(x, y, sides, weights)
    torch.save(model.state_dict(), out / "float.pt")
    graph = intact.load(torch.export.export(model, (torch.from_numpy(x[:1]),)))
    exact, samples = intact.write_tflite(graph), x[:500]
    right = hits(exact, tx, ty)

    def cell(found: np.ndarray, size: int) -> str:
        lost = drop(right, found)
        return f"{100 * found.mean():.2f} | {lost.value:.2f} [{lost.low:.2f}, {lost.high:.2f}] | {len(exact) / size:.2f}x"

    rows = [
        "| format | reported: right, % | its recipe, right, % | lost | size | Intact, right, % | lost | size |",
        "|---" * 8 + "|",
    ]
    rows += [f"| float | {reported.SAID['float']} | {100 * right.mean():.2f} | | 1.00x | {100 * right.mean():.2f} | | 1.00x |"]
    theirs = reported.int8(model, torch.from_numpy(samples), out / "reported.tflite").read_bytes()
    int8 = intact.quantize(graph, samples, evaluation=intact.data.arrays(tx, ty))
    int8.save(out / "model.tflite")
    ours = cell(hits(int8.model, tx, ty), len(int8.model))
    rows += [f"| int8 | {reported.SAID['int8']} | {cell(hits(theirs, tx, ty), len(theirs))} | {ours} |"]
    for name, (rounding, scheme, target) in FORMATS.items():
        rounded, size = reported.with_weights(model, rounding)
        learned = {"remedies": "equalize,compensate", "time_budget": seconds} if target == "mcu" else {}
        made = intact.quantize(graph, samples, scheme=scheme, target=target, measure=False, **learned)
        ours = cell(hits(made.model, tx, ty), len(made.packed or made.model))
        rows += [f"| {name}; {scheme} | {reported.SAID[name]} | {cell(hits_in_torch(rounded, tx, ty), size)} | {ours} |"]
    reached = "reached" if 100 * right.mean() >= FLOOR else "not reproduced: missed, so what was lost means little"
    rows += ["", f"Floor of the float network, {FLOOR} % of {len(right):,} pictures: {reached}."]
    (out / "layers.md").write_text("\n".join(costs := layers(int8)) + "\n")
    rows += ["", *efficiency(int8), "", *costs[:8], "", f"All {len(costs) - 2} layers are in layers.md."]
    (out / "table.md").write_text("\n".join(rows) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", choices=BUDGETS, default="small")
    parser.add_argument("--out", type=Path, default=Path("rock_paper_scissors"))
    parser.add_argument("--photos", type=Path, help="a folder to download the report's photos into, instead of drawn hands")
    parser.add_argument("--weights", type=Path, help="a float.pt of this recipe, instead of training")
    main(**vars(parser.parse_args()))
