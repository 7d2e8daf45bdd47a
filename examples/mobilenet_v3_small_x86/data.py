"""Ten classes of 32 x 32 images that need no download: five shapes, each with stripes or spots; or your own images."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIZE, CLASSES = 32, 10
GRID = np.stack(np.mgrid[:SIZE, :SIZE])


def stripes(rng: np.random.Generator) -> np.ndarray:
    angle, period = rng.uniform(0, np.pi), rng.uniform(3, 7)
    return 0.5 + 0.5 * np.sin(2 * np.pi / period * (GRID[0] * np.cos(angle) + GRID[1] * np.sin(angle)) + rng.uniform(0, 6))


def spots(rng: np.random.Generator) -> np.ndarray:
    cells = Image.fromarray(rng.uniform(0, 1, (10, 10)).astype(np.float32))
    return np.asarray(cells.resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def coloured(pattern: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    first, second = rng.uniform(0, 255, (2, 3))
    return first + pattern[..., None] * (second - first)


def shape(kind: int, rng: np.random.Generator) -> np.ndarray:
    """Which pixels a disc, ring, triangle, square or cross covers, bool [32, 32]."""
    radius = rng.uniform(8, 14)
    x, y = rng.uniform(radius, SIZE - radius, 2)
    drawn = Image.new("1", (SIZE, SIZE))
    draw = ImageDraw.Draw(drawn)
    if kind < 2:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1)
    elif kind < 4:
        draw.regular_polygon((x, y, radius), kind + 1, rng.uniform(0, 360), fill=1)
    else:
        draw.line((x - radius, y, x + radius, y), fill=1, width=int(radius / 1.5))
        draw.line((x, y - radius, x, y + radius), fill=1, width=int(radius / 1.5))
    if kind == 1:
        draw.ellipse((x - radius / 2, y - radius / 2, x + radius / 2, y + radius / 2), fill=0)
    return np.asarray(drawn)


def drawn(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [n, 32, 32, 3] and class numbers [n]."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    images = np.empty((count, SIZE, SIZE, 3), np.uint8)
    for image, label in zip(images, labels, strict=True):
        ground, where = coloured(spots(rng) * 0.3, rng), shape(int(label) // 2, rng)
        ground[where] = coloured((stripes if label % 2 else spots)(rng), rng)[where]
        image[:] = np.clip(ground + rng.normal(0, 8, ground.shape), 0, 255)
    return images, labels


def loaded(part: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images and class numbers of an .npz with x and y, or of a folder for each class."""
    if part.with_suffix(".npz").is_file():
        with np.load(part.with_suffix(".npz")) as file:
            return file["x"], file["y"]
    files = [(path, i) for i, folder in enumerate(sorted(part.iterdir())) for path in sorted(folder.iterdir())]
    images = [np.asarray(Image.open(path).convert("RGB").resize((SIZE, SIZE))) for path, _ in files]
    return np.stack(images), np.array([label for _, label in files])
