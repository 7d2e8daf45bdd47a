"""What evaluating 10,000 CIFAR-10 test images on all cores costs against the naive loop.

Naive: one image at a time, one thread, as a script with LiteRT's own API would do it. Both run in child processes on the same
float32 images, alternating, and the CPU time is all of it: starting Python, handing the images over, loading, quantizing,
inference, results. The naive loop finds its images in a file. Aim: CPU time per image at most 1.1 times the naive loop's.

    python bench/evaluate_cost.py [--images 10000] [--rounds 5] [--model mobilenet_v3_small_cifar10.tflite ...]
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from common import CACHE, cifar10, model
from intact.runtime import child, litert
from intact.runtime.confinement import Confinement

MODELS = ("resnet8_cifar10_int8.tflite", "mobilenet_v3_small_cifar10.tflite")
AIM = 1.1
NAIVE = """
import numpy as np
from ai_edge_litert.interpreter import Interpreter

def main(request, progress):
    images = np.load(request["images"])
    net = Interpreter(request["model"], num_threads=1)
    net.allocate_tensors()
    x, y = net.get_input_details()[0], net.get_output_details()[0]
    (scale, zero_point), integer = x["quantization"], x["dtype"] != np.float32
    outputs = []
    for i in range(len(images)):
        image = images[i : i + 1]
        if integer:
            image = np.clip(np.rint(image / scale) + zero_point, -128, 127).astype(x["dtype"])
        net.set_tensor(x["index"], image)
        net.invoke()
        outputs.append(net.get_tensor(y["index"])[0])
    np.save(request["out"], np.stack(outputs))
    return {}
"""


def images(count: int) -> np.ndarray:
    """The first ``count`` test images of every class in turn, float32 [n, 32, 32, 3], 0 to 255."""
    cached = CACHE / "cifar10-test-rgb.npy"
    if not cached.is_file():
        files = sorted(cifar10("test").rglob("*.jp*g"), key=lambda p: (p.stem, p.parent.name))
        beside = cached.with_suffix(f".{os.getpid()}.npy")
        np.save(beside, np.stack([np.asarray(Image.open(f).convert("RGB")) for f in files]))
        beside.replace(cached)
    return np.load(cached)[:count].astype(np.float32)


def cost(work: Callable[[], object]) -> tuple[float, float]:
    """CPU seconds of this process and of the children that ``work`` starts, and wall-clock seconds."""
    before, started = _cpu_seconds(), time.perf_counter()
    work()
    return _cpu_seconds() - before, time.perf_counter() - started


def _cpu_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def compare(name: str, x: np.ndarray, rounds: int, folder: Path) -> float:
    """Print the ratios of one model; the median CPU ratio."""
    path = model(name)
    port = litert.describe(path).inputs[0]
    np.save(folder / "images.npy", x)
    script = folder / "naive.py"
    script.write_text(NAIVE)
    request = {"images": str(folder / "images.npy"), "model": str(path), "out": str(folder / "naive_out.npy")}
    found: dict[str, np.ndarray] = {}

    def naive() -> None:
        child.call(script, request, what="the naive loop", timeout=3600, confinement=Confinement(writes=(folder,)))

    def intact() -> None:
        found.update(litert.run(path, {port.name: x}, raw=True))

    cpu, wall = [], []
    for i in range(rounds):
        costs = {work: cost(work) for work in ((naive, intact) if i % 2 else (intact, naive))}
        (naive_cpu, naive_wall), (intact_cpu, intact_wall) = costs[naive], costs[intact]
        cpu.append(intact_cpu / naive_cpu)
        wall.append(naive_wall / intact_wall)
        ms = 1e3 / len(x)
        cpu_ms, wall_s = (
            f"{naive_cpu * ms:.3f} -> {intact_cpu * ms:.3f} ms",
            f"{naive_wall:.1f} -> {intact_wall:.1f} s",
        )
        print(f"  round {i + 1}: CPU per image {cpu_ms}, wall-clock {wall_s}")
    same = np.array_equal(np.load(folder / "naive_out.npy"), next(iter(found.values())))
    print(
        f"{name}: {len(x):,} images, CPU time per image {statistics.median(cpu):.3f} x the naive loop "
        f"({min(cpu):.3f} to {max(cpu):.3f}), wall-clock {statistics.median(wall):.2f} x faster, "
        f"outputs {'identical' if same else 'DIFFERENT'}"
    )
    return statistics.median(cpu)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", nargs="+", default=MODELS)
    options = parser.parse_args()
    x = images(options.images)
    with tempfile.TemporaryDirectory() as folder:
        ratios = [
            compare(name, x if "resnet8" in name else x / 127.5 - 1, options.rounds, Path(folder)) for name in options.model
        ]
    print(f"aim: at most {AIM} x: {'reached' if max(ratios) <= AIM else 'MISSED'}; {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
