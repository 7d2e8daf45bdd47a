"""What kind of data a path is, by what the file system says alone: a wrong one is refused before anything is loaded."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from intact import reading
from intact.data import shard_files
from intact.data.suffixes import IMAGES
from intact.errors import DataError, located

#: Files with named columns.
TABLES: Final = (".csv", ".tsv")
#: Files that hold samples, or say where they are; :mod:`intact.data.loading` reads them.
FILES: Final = (".npz", ".npy", *TABLES, ".yaml", ".yml")
ACCEPTED: Final = (
    "a folder with one folder of images for each class, a folder of images, an .npz with x and y, an .npy, a .csv, the "
    "data.yaml of a detector, or .tar, .parquet or .tfrecord files: one, a folder of them or 'train-{000..099}.tar'"
)


#: What systems leave in folders.
_IGNORED: Final = ("__MACOSX", "Thumbs.db", "desktop.ini")


def check(path: Path) -> Path:
    """``path``, when it is a folder, a file of a kind that can be read or a pattern for such. Raises DataError."""
    if shard_files.is_pattern(path):
        shard_files.at(path)
        return path
    try:
        if stat.S_ISDIR(path.stat().st_mode):
            return path
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path}: no such file or folder; give {ACCEPTED}") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: {reading.why(error)}") from error
    suffix = path.suffix.lower()
    if suffix not in FILES and shard_files.kind_of(path.name) is None:
        more = f"a single image is not enough: give its folder, {path.parent}, or " if suffix in IMAGES else "give "
        raise DataError(f"{path}: not data that can be read; {more}{ACCEPTED}")
    with located(str(path)):
        reading.check(path, DataError)
    return path


def is_sharded(path: Path) -> bool:
    """Whether ``path`` means shards, as far as its name or a look into the folder tells."""
    try:
        return shard_files.at(path) is not None
    except DataError:
        return True  # of several kinds, or not all there


@final
@dataclass(frozen=True)
class Listing:
    """What ``folder`` holds: the names of folders, images and other files, each sorted."""

    folder: Path
    folders: list[str]
    images: list[str]
    others: list[str]


def listing(path: Path) -> Listing:
    """What a folder holds; hidden things left out, links followed. A million files take 80 MB meanwhile.

    Raises DataError that names what is called as an image and is none: a pipe, a device, a link to nothing or to itself.
    """
    found, unsound, links = Listing(path, [], [], []), dict[str, OSError | None](), list[os.DirEntry[str]]()

    def add(entry: os.DirEntry[str]) -> None:
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file()
        except OSError as error:
            unsound[entry.name] = error
            return
        is_image = os.path.splitext(entry.name)[1].lower() in IMAGES  # noqa: PTH122  # a Path for each takes 5 s a million
        if is_image and not (is_folder or is_file):
            unsound[entry.name] = None
        (found.folders if is_folder else found.images if is_image else found.others).append(entry.name)

    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and entry.name not in _IGNORED:
                    links.append(entry) if entry.is_symlink() else add(entry)
        for link in links:  # afterwards: one may lead to what is open while the folder is read
            add(link)
    except FileNotFoundError:
        raise DataError("no such folder") from None
    except (OSError, ValueError) as error:
        raise DataError(reading.why(error)) from error
    for name, why in sorted(unsound.items()):
        with located(name):
            if why is not None:
                raise DataError(reading.why(why)) from why
            reading.check(path / name, DataError)
    for names in (found.folders, found.images, found.others):
        names.sort()
    return found


def below(folder: Path) -> list[Path]:
    """The images in a folder and the folders in it, sorted; hidden ones left out, links followed.

    Raises DataError for a folder that is met twice: of links that lead up again there is no end.
    """
    found, waiting, met = list[Path](), [folder], dict[tuple[int, int], Path]()
    while waiting:
        place = waiting.pop()
        with located(str(place)):
            held = listing(place)
            about = place.stat()
            before = met.setdefault((about.st_dev, about.st_ino), place)
            if before != place:
                raise DataError(f"is the same folder as {before}; delete the link that leads there")
        waiting += [place / name for name in held.folders]
        found += [place / name for name in held.images]
    return sorted(found)
