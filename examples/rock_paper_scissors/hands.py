"""Pictures of hands that show rock, paper or scissors, drawn; and the loader of the data set that the report used."""

import math
import urllib.request
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

CLASSES = ("paper", "rock", "scissors")
#: How much of each finger is stretched out, from the thumb to the little one.
STRETCHED = {"paper": (1, 1, 1, 1, 1), "rock": (0, 0, 0, 0, 0), "scissors": (0, 1, 1, 0, 0)}
#: Angles in degrees from the middle of the hand, lengths in widths of the palm.
ANGLES, LENGTHS = (-62, -24, -7, 10, 27), (0.75, 1.0, 1.1, 1.0, 0.8)
#: Laurence Moroney's Rock-Paper-Scissors, CC BY 2.0: 2,520 photos to train on and 372 to judge on.
ADDRESS = "https://storage.googleapis.com/download.tensorflow.org/data/{}.zip"
ARCHIVES = {"train": "rps", "test": "rps-test-set"}


def drawn(count: int, side: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """``count`` pictures [n, 3, side, side] in [-1, 1] and their labels [n]."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, len(CLASSES), count)
    pictures = np.stack([np.asarray(hand(CLASSES[label], draw).resize((side, side))) for label in labels])
    return prepared(pictures), labels


def hand(shown: str, draw: np.random.Generator, side: int = 128) -> Image.Image:
    """One hand before a light wall, turned, up to cropped, in any light, at times behind something or out of focus."""
    image = Image.fromarray(background(side, draw))
    pen, width = ImageDraw.Draw(image), side * draw.uniform(0.17, 0.26)
    middle, turn, spread = side * draw.uniform(0.4, 0.6, 2), draw.uniform(-60, 60), draw.uniform(0.6, 1.15)
    skin = np.array((224, 172, 140)) * draw.uniform(0.3, 0.9) + draw.normal(0, 10, 3)
    mirrored = draw.choice((-1, 1))

    def place(x: float, y: float) -> tuple[float, float]:
        a = math.radians(turn)
        x *= mirrored
        return middle[0] + width * (x * math.cos(a) - y * math.sin(a)), middle[1] + width * (x * math.sin(a) + y * math.cos(a))

    def limb(start: tuple[float, float], end: tuple[float, float], thick: float, shade: float) -> None:
        color, radius = tuple(int(c) for c in np.clip(skin * shade, 0, 255)), thick * width / 2
        ends = [place(*start), place(*end)]
        pen.line(ends, fill=color, width=round(2 * radius))
        for x, y in ends:
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)

    limb((0, 0.9), (0, 2.2), 0.75, 0.9)
    limb((-0.12, 0.1), (0.12, 0.1), 1.15, 0.97)
    limb((0, -0.1), (0, 0.5), 1.0, 1.0)
    for n, (angle, length, out) in enumerate(zip(ANGLES, LENGTHS, STRETCHED[shown], strict=True)):
        a = math.radians(angle * spread + draw.normal(0, 4))
        x, y = 0.55 * math.sin(math.radians(1.6 * angle)), 0.25 if n == 0 else -0.4
        reach = length * (draw.uniform(0.55, 1.05) if out else draw.uniform(0.1, 0.4))
        limb((x, y), (x + reach * math.sin(a), y - reach * math.cos(a)), 0.26, draw.uniform(0.85, 1.05))
    for _ in range(draw.integers(0, 3)):
        (x, y), size = side * draw.uniform(0, 1, 2), side * draw.uniform(0.05, 0.2)
        pen.rectangle((x, y, x + size, y + size), fill=tuple(int(c) for c in draw.integers(0, 256, 3)))
    pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(draw.uniform(0.3, 2))), np.float32)
    light = pixels * draw.uniform(0.5, 1.2) + draw.normal(0, draw.uniform(2, 16), pixels.shape)
    return Image.fromarray(np.clip(light, 0, 255).astype(np.uint8))


def background(side: int, draw: np.random.Generator) -> np.ndarray:
    """A light wall with shadows, uint8 [side, side, 3]."""
    blots = Image.fromarray((draw.uniform(170, 250) + draw.integers(-40, 6, (draw.integers(1, 5), 3, 3))).astype(np.uint8))
    return np.asarray(blots.resize((side, side), Image.Resampling.BICUBIC))


def photographed(folder: Path, part: str, side: int) -> tuple[np.ndarray, np.ndarray]:
    """The same of the report's photos, ``part`` "train" or "test", downloaded into ``folder`` if they are not there."""
    root = folder / ARCHIVES[part]
    if not root.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        archive, _ = urllib.request.urlretrieve(ADDRESS.format(ARCHIVES[part]), folder / f"{ARCHIVES[part]}.zip")
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(folder)
    paths = [(path, n) for n, name in enumerate(CLASSES) for path in sorted((root / name).glob("*.png"))]
    pictures = np.stack([np.asarray(Image.open(path).convert("RGB").resize((side, side))) for path, _ in paths])
    return prepared(pictures), np.array([n for _, n in paths])


def prepared(pictures: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray((pictures / np.float32(127.5) - 1).transpose(0, 3, 1, 2), np.float32)
