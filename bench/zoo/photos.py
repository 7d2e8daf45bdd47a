"""Pieces of the photographs that scikit-image ships, as many and as large as wanted."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

#: Photographs of people, animals, things and places; scikit-image's licence file lists their sources.
_NAMES = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg", "ihc.png", "retina.jpg")


@cache
def _photographs(packages: Path) -> tuple[Image.Image, ...]:
    folder = packages / "skimage" / "data"
    if not folder.is_dir():
        raise SystemExit(f"no {folder}; type: make first-try-packages")
    return tuple(Image.open(folder / name).convert("RGB") for name in _NAMES)


def photos(
    count: int, height: int, width: int, packages: Path, low: float = 0.0, high: float = 1.0, seed: int = 0
) -> np.ndarray:
    """float32 [count, height, width, 3] in [low, high]: squares of 30 to 100 % of a photograph, mirrored every other time.

    Half of them come from the portrait, because many published networks look for people.
    """
    rng = np.random.default_rng(seed)
    pictures = _photographs(packages)
    made = np.empty((count, height, width, 3), np.float32)
    for n in range(count):
        picture = pictures[0 if n % 2 == 0 else int(rng.integers(1, len(pictures)))]
        side = int(min(picture.size) * rng.uniform(0.3, 1.0))
        left, top = (int(rng.integers(0, size - side + 1)) for size in picture.size)
        piece = picture.resize((width, height), Image.Resampling.BILINEAR, (left, top, left + side, top + side))
        pixels = np.asarray(piece, np.float32) * rng.uniform(0.7, 1.1)
        made[n] = np.clip(pixels, 0, 255)[:, ::-1] if rng.random() < 0.5 else np.clip(pixels, 0, 255)
    return made / 255 * (high - low) + low


def nchw(images: np.ndarray) -> np.ndarray:
    """[n, h, w, c] to [n, c, h, w], as PyTorch has images."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
