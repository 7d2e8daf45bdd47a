"""CIFAR-10 as arrays, the networks trained on it, and the float images each of them reads."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

import intact
from common import CACHE, cifar10, model


@dataclass(frozen=True)
class Network:
    """A shared float model, its Keras file or torch.export program where it was born there, and what pixels 0..255 map to."""

    title: str
    file: str
    pixels: tuple[float, float]
    keras: str | None = None
    torch: str | None = None

    @property
    def path(self) -> Path:
        return model(self.file)

    def images(self, values: np.ndarray) -> np.ndarray:
        """uint8 pictures as the network's float32 input."""
        low, high = self.pixels
        return (low + values.astype(np.float32) * np.float32((high - low) / 255)).astype(np.float32)


MOBILENET_V2 = Network("MobileNetV2", "mobilenet_v2_cifar10.tflite", (-1, 1), torch="mobilenet_v2_cifar10.pt2")
MOBILENET_V3 = Network(
    "MobileNetV3-Small", "mobilenet_v3_small_cifar10.tflite", (-1, 1), torch="mobilenet_v3_small_cifar10.pt2"
)
#: The same function as MOBILENET_V3, with channels rescaled against each other; not trained on its own.
HARD = Network("MobileNetV3-Small hard", "mobilenet_v3_small_hard.tflite", (-1, 1))
RESNET8 = Network("ResNet8", "resnet8_cifar10.tflite", (0, 255), keras="resnet8_cifar10.h5")
NETWORKS = (MOBILENET_V2, MOBILENET_V3, RESNET8)


def pictures(part: Literal["train", "test"]) -> tuple[np.ndarray, np.ndarray]:
    """uint8 ``[n, 32, 32, 3]`` and labels ``[n]``, classes in alphabetical order; decoded once into the cache."""
    kept = CACHE / f"cifar10-{part}.npz"
    if not kept.is_file():
        root = cifar10(part)
        classes = sorted(folder.name for folder in root.iterdir())
        files = [(path, label) for label, name in enumerate(classes) for path in sorted((root / name).iterdir())]
        x = np.stack([np.asarray(Image.open(path).convert("RGB")) for path, _ in files])
        beside = kept.with_suffix(".tmp.npz")
        np.savez(beside, x=x, y=np.array([label for _, label in files]))
        beside.replace(kept)
    with np.load(kept) as data:
        return data["x"], data["y"]


def calibration_pictures(count: int = 500, seed: int = 0) -> np.ndarray:
    """``count`` training images drawn by ``seed``."""
    x, _ = pictures("train")
    return x[np.sort(np.random.default_rng(seed).choice(len(x), count, replace=False))]


@dataclass(frozen=True)
class Made:
    """What a run made: figures by whose they are and what they are called, files, and its seconds, measurement and all."""

    figures: Mapping[tuple[str, str], float]
    model: bytes
    packed: bytes
    seconds: float

    def figure(self, name: str, of: str = "quantized") -> float:
        """The value of a figure; of a drop, ``of`` is "difference"."""
        return self.figures[of, name]


def quantized(network: Network, seed: int, images: int = 10_000, **options: Any) -> Made:
    """One run through the public API.

    ``seed`` draws 2,000 unlabelled training images to calibrate and learn from; so many ``images`` of the test set, always the
    same, report. ``options`` are those of :func:`intact.quantize`.
    """
    values, labels = pictures("test")
    some = np.sort(np.random.default_rng(0).permutation(len(values))[:images])
    data = intact.data.arrays(network.images(calibration_pictures(2000, seed)))
    report = intact.data.arrays(network.images(values[some]), labels[some])
    start = time.perf_counter()
    result = intact.quantize(network.path, data, evaluation=report, seed=seed, details=False, **options)
    seconds = time.perf_counter() - start
    figures = {(reading.of, reading.measurement.name): reading.measurement.value for reading in result.readings}
    return Made(figures, result.model, result.packed, seconds)


def seeds(network: Network, some: Iterable[int], jobs: int, images: int = 10_000, **options: Any) -> Iterator[Made]:
    """:func:`quantized` for ``some`` seeds, in order; so many at once, in processes that share the cores."""
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // jobs))
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        yield from pool.map(partial(quantized, network, images=images, **options), some)
