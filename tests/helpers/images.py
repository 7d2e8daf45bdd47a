"""Small folders of images for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def pixels(seed: int, size: tuple[int, int] = (8, 8), planes: int = 3) -> np.ndarray:
    """Seeded uint8 ``[h, w, 3]``, or ``[h, w]`` for one plane."""
    shape = size if planes == 1 else (*size, planes)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def write_image(path: Path, values: np.ndarray) -> Path:
    """An image file by its suffix; folders are made as needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


def image_folder(
    root: Path,
    classes: Sequence[str] = ("cat", "dog"),
    per_class: int = 4,
    size: tuple[int, int] = (8, 8),
    suffix: str = ".png",
) -> Path:
    """Class folders of noise: ``root/cat/0.png``. Every image is another one, and the same in every run."""
    for c, name in enumerate(classes):
        for i in range(per_class):
            write_image(root / name / f"{i}{suffix}", pixels(1000 * c + i, size))
    return root
