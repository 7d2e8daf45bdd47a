"""Small files under the names that the how-to pages use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from images import image_folder, pixels, write_image
from nets import mobile

import intact


def make(folder: Path) -> None:
    """Class folders of photographs, photographs with masks and with a detector's list, and a float network."""
    for name in ("photos", "test"):
        image_folder(folder / name, ("a", "b", "c", "d"), 16, (9, 12) if name == "photos" else (8, 8))
    for n in range(64):
        write_image(folder / "set" / "images" / f"{n}.png", pixels(n))
        write_image(folder / "set" / "masks" / f"{n}.png", np.uint8(pixels(n).max(axis=2) > 200))
    for n in range(32):
        write_image(folder / "images" / "train" / f"{n}.jpg", pixels(n, (12, 16)))
        write_image(folder / "images" / "val" / f"{n}.jpg", pixels(100 + n, (12, 16)))
    (folder / "data.yaml").write_text("train: images/train\nval: images/val\n")
    (folder / "model.tflite").write_bytes(intact.write_tflite(mobile()))
