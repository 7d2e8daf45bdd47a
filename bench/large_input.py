"""EfficientNet-Lite0 with ImageNet weights at 224 px: what int8 keeps of it, from 600 unlabelled photos in ten minutes.

make first-try-packages && python bench/large_input.py [--minutes 10] [--agreement 95] [--photos 600] [--others 1000]

The photos are training images of CIFAR-10, scaled up as they are loaded; as many as --others of the test images judge, which
nothing is chosen on. Signal to noise is that of the 1,000 logits, with the mean of each taken out. The agreement is that of
the first class with float's: over all, and where float's first class leads the second by 0.2. Exit code 1: a bound is missed.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

import intact
import runs
from common import CACHE, cifar10, say_machine
from zoo.packaged import ENTRIES

NETWORK = "torch/EfficientNet-Lite0 ImageNet"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: Decibels, per cent where float is sure, per cent over all, and of the plain file's latency.
BOUNDS = (22.0, 97.0, 90.0, 1.1)
SURE = 0.2


def network(folder: Path) -> Path:
    """The network as a .pt2 file in ``folder``."""
    import torch  # noqa: PLC0415

    (entry,) = (entry for entry in ENTRIES if entry.name == NETWORK)
    brought = entry.bring(2, CACHE / "packages")
    path = folder / "efficientnet_lite0.pt2"
    torch.export.save(torch.export.export(brought.model, (torch.from_numpy(brought.samples[:1]),)), path)
    return path


def photos(part: str, count: int, folder: Path) -> Path:
    """``count`` images of CIFAR-10, every class alike, without their labels."""
    found = sorted(cifar10(part).glob("*/*"))
    folder.mkdir()
    for n, path in enumerate(found[:: len(found) // count][:count]):
        shutil.copy(path, folder / f"{n:05}{path.suffix}")
    return folder


def kept(reference: np.ndarray, values: np.ndarray) -> tuple[float, float, float]:
    """Signal to noise in dB, and per cent of samples with float's class: where float is sure, and of all. ``[n, 1000]``."""
    chances = np.exp(reference - reference.max(-1, keepdims=True))
    first, second = np.sort(chances / chances.sum(-1, keepdims=True))[:, :-3:-1].T
    same = reference.argmax(-1) == values.argmax(-1)
    varies = reference - reference.mean(0)
    ratio = 10 * np.log10(np.sum(varies**2) / np.sum((reference - values) ** 2))
    return float(ratio), 100 * float(same[first - second >= SURE].mean()), 100 * float(same.mean())


def images(folder: Path) -> np.ndarray:
    """float32 ``[n, 224, 224, 3]`` as the network reads them."""
    pictures = (
        Image.open(path).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR) for path in sorted(folder.iterdir())
    )
    return np.stack([((np.asarray(picture) / 255 - MEAN) / STD).astype(np.float32) for picture in pictures])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--agreement", type=float, default=95)
    parser.add_argument("--photos", type=int, default=600)
    parser.add_argument("--others", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    say_machine()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = network(folder)
        some = intact.data.folder(photos("train", options.photos, folder / "photos"), mean=MEAN, std=STD)
        others = images(photos("test", options.others, folder / "others"))
        floats = folder / "float.tflite"
        floats.write_bytes(intact.write_tflite(intact.load(source)))
        reference = runs.outputs(floats, others)
        print("| file | dB | same class where float is sure, % | same class, % | bytes | latency / as planned | seconds |")
        print("|---|---|---|---|---|---|---|", flush=True)
        ways: dict[str, dict[str, Any]] = {
            "as planned": {"remedies": ()},
            f"--min-agreement {options.agreement:g}": {"min_agreement": options.agreement, "time_budget": 60 * options.minutes},
        }
        for way, asked in ways.items():
            start = time.perf_counter()
            result = intact.quantize(source, some, seed=options.seed, measure=False, **asked)
            seconds = time.perf_counter() - start
            path = folder / f"{way}.tflite"
            result.save(path)
            found = kept(reference, runs.outputs(path, others))
            _, _, slower = runs.latency_ratio(path, folder / "as planned.tflite", others[:1], rounds=20)
            shown = " | ".join(f"{figure:.1f}" for figure in found)
            print(f"| {way} | {shown} | {len(result.model):,} | {slower.value:.3f} | {seconds:.0f} |", flush=True)
        print("", *(f"- {candidate}" for candidate in result.candidates), sep="\n")
    met = [figure >= bound for figure, bound in zip(found, BOUNDS[:3], strict=True)] + [slower.value <= BOUNDS[3]]
    missed = [f"{bound:g}" for bound, is_met in zip(BOUNDS, met, strict=True) if not is_met]
    sys.exit("missed: " + ", ".join(missed) if missed else 0)


if __name__ == "__main__":
    main()
