"""Photos in one folder for each class; CIFAR-10's, as the example of MobileNetV2 writes them, where no folder is given."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image


def photos(folder: Path, classes: int, each: int) -> tuple[list[Image.Image], list[int]]:
    """``each`` of the last ``classes`` folders by name, classes taking turns; their labels count from 0."""
    kinds = sorted(path for path in folder.iterdir() if path.is_dir())[-classes:]
    turns = zip(*(sorted(kind.iterdir())[:each] for kind in kinds), strict=False)
    found = [(Image.open(file).convert("RGB"), label) for turn in turns for label, file in enumerate(turn)]
    return [image for image, _ in found], [label for _, label in found]


def pixels(images: list[Image.Image], side: int) -> Iterator[torch.Tensor]:
    """Batches [n, 3, side, side] in [-1, 1]."""
    for start in range(0, len(images), 64):
        resized = [image.resize((side, side), Image.Resampling.BILINEAR) for image in images[start : start + 64]]
        yield torch.from_numpy(np.stack([np.asarray(image) for image in resized]).transpose(0, 3, 1, 2) / np.float32(127.5) - 1)


def cifar10(out: Path, part: str) -> Path:
    """Keras downloads it, and is needed here alone."""
    sys.path.append(str(Path(__file__).parents[1] / "mobilenet_v2_cifar10"))
    import reported  # noqa: PLC0415

    return reported.cifar10(out, part)
