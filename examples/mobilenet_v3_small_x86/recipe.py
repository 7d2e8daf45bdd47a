"""MobileNetV3-Small in int8 on x86: Intact's program for PyTorch's compiler beside FX graph mode with FBGEMM, in five runs.

python examples/mobilenet_v3_small_x86/recipe.py [--budget test|small|full] [--out FOLDER] [--data FOLDER] [--weights FILE]
"""

import argparse
from pathlib import Path

import numpy as np
import torch

import intact
import judge
import measure
from data import drawn, loaded
from intact.measure.accuracy import drop
from network import MobileNetV3Small, with_weights
from reported import FX, PER_TENSOR, SAID, graph_mode

FLOOR = 85.0  # the accuracy in per cent that the float network has to reach
#: Training images, epochs, test images, runs, and how often time and memory are taken.
BUDGETS = {"test": (1024, 4, 128, 2, 0), "small": (6000, 6, 5000, 5, 5), "full": (50000, 30, 10000, 5, 5)}
CALIBRATION = 512


def trained(images: torch.Tensor, labels: torch.Tensor, epochs: int) -> torch.nn.Module:
    network = MobileNetV3Small(int(labels.max()) + 1)
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, labels), 32, shuffle=True)
    optimizer = torch.optim.AdamW(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, epochs * len(data))
    for _ in range(epochs):
        for x, y in data:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(x), y).backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def main(budget: str, out: Path, data: Path | None, weights: Path | None) -> None:
    count, epochs, tests, runs, times = BUDGETS[budget]
    torch.manual_seed(0)
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    parts = [loaded(data / part) for part in ("train", "test")] if data else [drawn(count, seed=0), drawn(tests, seed=1)]
    order = np.random.default_rng(0).permutation(len(parts[1][0]))[:tests]
    x, y, x_test, y_test = (torch.from_numpy(a) for a in (*parts[0], parts[1][0][order], parts[1][1][order]))
    x, x_test = ((a.permute(0, 3, 1, 2) / 127.5 - 1).contiguous() for a in (x, x_test))
    network = with_weights(weights) if weights else trained(x[:count], y[:count], epochs)
    exact, graph = judge.right(network, x_test, y_test), intact.load(network, x[:1])
    hits = {"float": [exact] * runs}

    def judged(name: str, made: torch.nn.Module) -> torch.nn.Module:
        hits.setdefault(name, []).append(judge.right(made, x_test, y_test))
        return made

    for run in range(runs):
        samples = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(run))[:CALIBRATION]]
        fx = judged(FX, graph_mode(network, samples))
        result = intact.quantize(graph, samples, target="pytorch", measure=run == runs - 1)
        judged("Intact, int8", measure.loaded(intact.export(result, "pytorch", out / "model.pt2")))

    mixed = torch.cat([samples[: CALIBRATION // 2], x_test[: CALIBRATION // 2]])
    judged(f"{FX}, half calibrated on test images", graph_mode(network, mixed))
    judged(f"{FX}, one scale a weight", graph_mode(network, samples, PER_TENSOR))
    judged(f"{FX}, calibrated on bytes", graph_mode(network, 127.5 * (samples + 1)))

    rows = ["| network | reported | top-1 %, mean ± std | drop in the last run |", "|---|---|---|---|"]
    for name, each in hits.items():
        lost, said = drop(exact, each[-1]), SAID.get(name, "")
        cells = "" if name == "float" else f"{lost.value:z.2f} [{lost.low:z.2f}, {lost.high:z.2f}]"
        rows.append(f"| {name} | {said} | {judge.spread([100 * hit.mean() for hit in each])} | {cells} |")
    reached = "reached" if exact.mean() >= FLOOR / 100 else "not reproduced: missed, so what was lost means little"
    rows += ["", f"{tests:,} test images, {runs} runs. Floor of float, {FLOOR:g} %: {reached}.", ""]

    np.save(out / "images.npy", x_test.numpy())
    fx.save(out / "fx.pt")
    batch = ({0: torch.export.Dim("batch")},)
    torch.export.save(torch.export.export(network, (x_test[:2],), dynamic_shapes=batch), out / "float.pt2")
    files = {"float": ("as it is", "float.pt2"), "float, compiled": ("compiled", "float.pt2")}
    files |= {"int8, FX": ("as it is", "fx.pt"), "int8, Intact": ("compiled", "model.pt2")}
    found = measure.turns({name: (how, out / file) for name, (how, file) in files.items()}, out / "images.npy", times)
    right = dict(zip(files, (hits[name] for name in ("float", "float", FX, "Intact, int8")), strict=True))
    rows += judge.matrix("top-1, %", {name: [100 * hit.mean() for hit in each] for name, each in right.items()})
    for title, key in (("seconds", "seconds"), ("MB at most", "megabytes"), ("images a second", "rate")):
        rows += judge.matrix(title, {name: each[key] for name, each in found.items()})
    rows += [*judge.kinds(network, fx, result), "", *judge.noise(intact.diagnose(graph, samples, target="pytorch"))]
    (out / "table.md").write_text("\n".join(rows) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", choices=BUDGETS, default="small")
    parser.add_argument("--out", type=Path, default=Path("mobilenet_v3_small_x86"))
    parser.add_argument("--data", type=Path, help="a folder with train and test: .npz files of x and y, or folders of classes")
    parser.add_argument("--weights", type=Path, help="a torch.export program (.pt2) of the float network")
    main(**vars(parser.parse_args()))
