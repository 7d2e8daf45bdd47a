"""Scenes of textured shapes on textured ground, with the box and the class of each: a detection set that needs no download."""

import numpy as np
from PIL import Image, ImageDraw

CLASSES = ("disc", "triangle", "square", "hexagon")
SIZE = 64
#: Corners of each class; a disc has none.
SIDES = (0, 3, 4, 6)
MOST = 4


def texture(rng: np.random.Generator) -> np.ndarray:
    """Blurred noise between two random colours, float32 [64, 64, 3]."""
    cells = int(rng.choice((8, 16, 32)))
    noise = Image.fromarray(rng.normal(0.5, 0.25, (cells, cells)).astype(np.float32)).resize((SIZE, SIZE))
    first, second = rng.uniform(0, 1, (2, 3))
    return (first + np.clip(np.asarray(noise), 0, 1)[..., None] * (second - first)).astype(np.float32)


def shape(kind: int, x: float, y: float, rng: np.random.Generator) -> np.ndarray:
    """Which pixels a shape of class ``kind`` around x, y covers, bool [64, 64]: 12 to 36 pixels across, turned."""
    radius = min(rng.uniform(6, 18), x, y, SIZE - x, SIZE - y)
    drawn = Image.new("1", (SIZE, SIZE))
    draw = ImageDraw.Draw(drawn)
    if SIDES[kind]:
        draw.regular_polygon((x, y, radius), SIDES[kind], rng.uniform(0, 360), fill=1)
    else:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1)
    return np.asarray(drawn)


def scenes(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images float32 [n, 3, 64, 64] from 0 to 1; objects float32 [n, 4, 5]: x1, y1, x2, y2 in pixels and class, -1 for none."""
    rng = np.random.default_rng(seed)
    images, objects = np.empty((count, SIZE, SIZE, 3), np.float32), np.full((count, MOST, 5), -1, np.float32)
    for image, found in zip(images, objects, strict=True):
        image[:] = texture(rng)
        centres = rng.uniform(8, SIZE - 8, (rng.integers(1, MOST + 1), 2))
        apart = [c for i, c in enumerate(centres) if (np.abs(centres[:i] - c).max(1) > 14).all()]
        for i, (x, y) in enumerate(apart):
            kind = int(rng.integers(len(CLASSES)))
            where = shape(kind, x, y, rng)
            image[where] = texture(rng)[where]
            rows, columns = np.nonzero(where)
            found[i] = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1, kind
        image[:] = image * rng.uniform(0.4, 1) + rng.normal(0, 0.02, image.shape)
    return np.ascontiguousarray(images.clip(0, 1).transpose(0, 3, 1, 2)), objects
