"""What kind of data a path is, by what the file system says alone: a wrong one is refused before anything is loaded."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from intact import reading
from intact.errors import DataError, located

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


#: What systems leave in folders.
_IGNORED: Final = ("__MACOSX", "Thumbs.db", "desktop.ini")


def check(path: Path) -> Path:
    """``path``, when it is a folder or a file of a kind that can be read. Raises DataError."""
    try:
        if stat.S_ISDIR(path.stat().st_mode):
            return path
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path}: no such file or folder; give {ACCEPTED}") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: {reading.why(error)}") from error
    suffix = path.suffix.lower()
    if suffix not in FILES:
        more = f"a single image is not enough: give its folder, {path.parent}, or " if suffix in IMAGES else "give "
        raise DataError(f"{path}: not data that can be read; {more}{ACCEPTED}")
    with located(str(path)):
        reading.check(path, DataError)
    return path


def listing(path: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """Folders, images and other files in ``path``, each sorted by name; hidden ones left out, links followed.

    Raises DataError that names what is called as an image is and is none: a pipe, a device, a link to nothing or to itself.
    """
    try:
        with os.scandir(path) as entries:
            found = sorted((e.name, e) for e in entries if not e.name.startswith(".") and e.name not in _IGNORED)
    except FileNotFoundError:
        raise DataError("no such folder") from None
    except (OSError, ValueError) as error:
        raise DataError(reading.why(error)) from error
    folders, images, others = list[Path](), list[Path](), list[Path]()
    for name, entry in found:
        with located(name):
            try:
                is_folder, is_file = entry.is_dir(), entry.is_file()
            except OSError as error:
                raise DataError(reading.why(error)) from error
            is_image = Path(name).suffix.lower() in IMAGES
            if is_image and not (is_folder or is_file):
                reading.check(path / name, DataError)
        (folders if is_folder else images if is_image else others).append(path / name)
    return folders, images, others


def below(folder: Path) -> list[Path]:
    """The images in a folder and the folders in it, sorted; hidden ones left out, links followed.

    Raises DataError for a folder that is met twice: of links that lead up again there is no end.
    """
    found, waiting, met = list[Path](), [folder], dict[tuple[int, int], Path]()
    while waiting:
        place = waiting.pop()
        with located(str(place)):
            folders, images, _ = listing(place)
            about = place.stat()
            before = met.setdefault((about.st_dev, about.st_ino), place)
            if before != place:
                raise DataError(f"is the same folder as {before}; delete the link that leads there")
        waiting += folders
        found += images
    return sorted(found)
