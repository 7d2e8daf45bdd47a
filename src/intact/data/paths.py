"""What kind of data a path is, by what the file system says alone: a wrong one is refused before anything is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from intact.errors import DataError

#: File names that are taken for images. Formats that Pillow reads, less those that are mostly something else (PDF, video).
IMAGES: Final = frozenset(
    f".{name}"
    for name in (
        *("png", "jpg", "jpeg", "jpe", "jfif", "bmp", "dib", "webp", "gif", "tif", "tiff"),
        *("ppm", "pgm", "pbm", "pnm", "tga", "jp2", "avif", "qoi"),
    )
)
#: Files with named columns.
TABLES: Final = (".csv", ".tsv")
#: Files that hold samples, or say where they are; :mod:`intact.data.loading` reads them.
FILES: Final = (".npz", ".npy", *TABLES, ".yaml", ".yml")
ACCEPTED: Final = (
    "a folder with one folder of images for each class, a folder of images, an .npz with x and y, an .npy, a .csv, or the "
    "data.yaml of a detector"
)


def check(path: Path) -> Path:
    """``path``, when it is a folder or a file of a kind that can be read. Raises DataError."""
    if path.is_dir():
        return path
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; give {ACCEPTED}")
    suffix = path.suffix.lower()
    if suffix not in FILES:
        more = f"a single image is not enough: give its folder, {path.parent}, or " if suffix in IMAGES else "give "
        raise DataError(f"{path}: not data that can be read; {more}{ACCEPTED}")
    return path
