"""Scenes of textured shapes on textured ground, with the class of each pixel: a segmentation set that needs no download."""

import numpy as np
from PIL import Image, ImageDraw

CLASSES = ("ground", "disc", "ring", "square", "triangle")
SIZE = 64
GRID = np.stack(np.mgrid[:SIZE, :SIZE])


def texture(rng: np.random.Generator) -> np.ndarray:
    """A grating or blurred noise between two random colours, float32 [64, 64, 3]."""
    if rng.random() < 0.5:
        angle, period = rng.uniform(0, np.pi), rng.uniform(4, 12)
        wave = np.sin(2 * np.pi / period * (GRID[0] * np.cos(angle) + GRID[1] * np.sin(angle)) + rng.uniform(0, 6))
    else:
        cells = int(rng.choice((8, 16, 32)))
        wave = np.asarray(Image.fromarray(rng.normal(0, 0.8, (cells, cells)).astype(np.float32)).resize((SIZE, SIZE)))
    first, second = rng.uniform(0, 1, (2, 3))
    return (first + np.clip(0.5 + 0.3 * wave, 0, 1)[..., None] * (second - first)).astype(np.float32)


def shape(kind: int, rng: np.random.Generator) -> np.ndarray:
    """Which pixels a shape of class ``kind`` covers, bool [64, 64]; it lies anywhere, turned, 16 to 36 pixels across."""
    radius = rng.uniform(8, 18)
    x, y = rng.uniform(radius, SIZE - radius, 2)
    drawn = Image.new("1", (SIZE, SIZE))
    draw = ImageDraw.Draw(drawn)
    if kind <= 2:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1)
        if kind == 2:
            inner = 0.55 * radius
            draw.ellipse((x - inner, y - inner, x + inner, y + inner), fill=0)
    else:
        draw.regular_polygon((x, y, radius), 4 if kind == 3 else 3, rng.uniform(0, 360), fill=1)
    return np.asarray(drawn)


def scenes(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images float32 [n, 64, 64, 3] from 0 to 1, darker and brighter ones, and class numbers uint8 [n, 64, 64]."""
    rng = np.random.default_rng(seed)
    images, masks = np.empty((count, SIZE, SIZE, 3), np.float32), np.zeros((count, SIZE, SIZE), np.uint8)
    for image, mask in zip(images, masks, strict=True):
        image[:] = texture(rng)
        for kind in rng.integers(1, len(CLASSES), rng.integers(1, 4)):
            where = shape(kind, rng)
            image[where], mask[where] = texture(rng)[where], kind
        image[:] = image * rng.uniform(0.4, 1) + rng.normal(0, 0.02, image.shape)
    return images.clip(0, 1), masks
