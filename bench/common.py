"""What the benchmarks share: where the real models and images lie."""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Literal

from intact.measure.machine import cpu

#: The folder with real models and data; developers have it beside the repository.
SHARED = Path(os.environ.get("INTACT_SHARED", Path(__file__).resolve().parents[2] / "shared"))
#: Unpacked data; safe to delete.
CACHE = Path(os.environ.get("INTACT_BENCH_CACHE", Path(__file__).resolve().parent / ".cache"))


def say_machine() -> None:
    """The processor that the times below are of; int8 without dot products is another story than with them."""
    print(f"times on {cpu()}\n", flush=True)


def model(name: str) -> Path:
    """``model("resnet8_cifar10.tflite")``: the path of one of the shared models."""
    path = SHARED / "models" / name
    if not path.is_file():
        raise SystemExit(f"no {path}; set INTACT_SHARED to the folder with models/ and data/")
    return path


def cifar10(part: Literal["train", "test"]) -> Path:
    """The class folders of CIFAR-10's 50,000 training or 10,000 test images (JPEG), unpacked once into the cache.

    The folder appears whole or not at all, so that benchmarks may start at once beside each other.
    """
    folder = CACHE / "cifar10" / part
    if folder.is_dir():
        return folder
    archive = SHARED / "data" / f"cifar10-{part}.tar.xz"
    if not archive.is_file():
        raise SystemExit(f"no {archive}; set INTACT_SHARED to the folder with models/ and data/")
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{part}-"))
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(beside, filter="data")
        try:
            (beside / part).rename(folder)
        except OSError:  # another process was first
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder
