"""MobileNetV2 on CIFAR-10 in int8: the converter's file beside Intact's, calibrated on 100, 200 and 1,000 photos.

python examples/mobilenet_v2_cifar10/recipe.py [--budget test|small|full] [--out FOLDER] [--train FOLDER] [--test FOLDER]
"""

import argparse
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

import intact
import reported
import training
from intact.measure.accuracy import drop

FLOOR = 80.0  # per cent right of the float network
SECONDS = {"test": 20, "small": 120, "full": 3600}  # to fine-tune
#: The acceptance table of the reports, as criteria. Of the first, 9.08x was said, of a .keras file with its optimizer.
ACCEPT = ["size >= 4x", "integer only", "drop <= 2"]


def hits(file: bytes, photos: tf.data.Dataset) -> np.ndarray:
    """Which photos LiteRT gets right with ``file``, bool [n]."""
    runtime = Interpreter(model_content=file)
    runtime.allocate_tensors()
    (port,), (out,) = runtime.get_input_details(), runtime.get_output_details()
    (scale, zero), found = port["quantization"], []
    for photo, label in photos.as_numpy_iterator():
        stored = np.clip(np.round(photo / np.float32(scale)) + zero, -128, 127).astype(np.int8) if scale else photo
        runtime.set_tensor(port["index"], stored[None])
        runtime.invoke()
        found.append(runtime.get_tensor(out["index"]).argmax() == label)
    return np.array(found)


def main(budget: str, out: Path, train: Path | None, test: Path | None, network: Path | None) -> None:
    out.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(0)
    train, test = train or reported.cifar10(out, "train"), test or reported.cifar10(out, "test")
    model = keras.models.load_model(network) if network else training.trained(train, budget)
    model.save(out / "float.keras")
    exact, side = intact.write_tflite(intact.load(model)), model.input_shape[1]
    photos = training.read(test, side)
    pool = np.stack([x for x, _ in training.read(train, side, 1000).as_numpy_iterator()])
    right = hits(exact, photos)

    def row(name: str, said: str, file: bytes) -> str:
        """How many ``file`` has right, what it lost on the same photos with 95 % interval, its ratio."""
        found = hits(file, photos)
        lost = drop(right, found)
        cells = f"{100 * found.mean():.2f} | {lost.value:.2f} [{lost.low:.2f}, {lost.high:.2f}] | {len(exact) / len(file):.2f}x"
        return f"| {name} | {said} | {cells} |"

    rows = ["| network | reported | right, % | lost, points | size |", "|---|---|---|---|---|"]
    rows += [f"| float | 81.00; 79.20 | {100 * right.mean():.2f} | | 1.00x |"]
    counts = [n for n in (100, 200, 1000) if n <= len(pool)]
    for name, samples in {**{f"{n} photos": pool[:n] for n in counts}, **reported.others(side)}.items():
        rows += [row(f"converter, {name}", reported.SAID.get(name, ""), reported.int8(model, samples))]
        made = intact.quantize(model, samples, calibration_samples=len(samples), measure=False)
        made.save(out / "model.tflite")
        rows += [row(f"Intact, {name}", "", made.model)]

    samples, held = (intact.data.folder(folder, pixels=(-1, 1)) for folder in (train, test))
    tuning = {"remedies": "equalize,finetune", "time_budget": SECONDS[budget]}
    result = intact.quantize(model, samples, evaluation=held, accept=ACCEPT, **tuning)
    result.save_run(out / "run", overwrite=True)
    intact.report(result, out / "report.html")
    rows += [row("Intact, fine-tuned without labels", "impossible on Keras 3", result.model)]
    reached = "reached" if 100 * right.mean() >= FLOOR else "not reproduced: missed, so what was lost means little"
    rows += ["", f"Floor of the float network, {FLOOR} % of {len(right):,} photos: {reached}."]
    kept, smaller = (out / "float.keras").stat().st_size, len(made.model)
    rows += [
        "",
        f'"9.08x": {kept / smaller:.2f}x of the .keras file with its optimizer, {len(exact) / smaller:.2f}x of the float file.',
    ]
    rows += ["", "| acceptance, of the fine-tuned file | | why |", "|---|---|---|"]
    rows += [f"| {judged.criterion.text} | {judged.status} | {judged.why} |" for judged in result.criteria]
    (out / "table.md").write_text("\n".join(rows) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", choices=training.BUDGETS, default="small")
    parser.add_argument("--out", type=Path, default=Path("mobilenet_v2_cifar10"))
    parser.add_argument("--train", type=Path, help="a folder of photos per class; CIFAR-10 without")
    parser.add_argument("--test", type=Path, help="the same, to judge on")
    parser.add_argument("--network", type=Path, help="a .keras file that is trained already, for pixels in -1..1")
    main(**vars(parser.parse_args()))
