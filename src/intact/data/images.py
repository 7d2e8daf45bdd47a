"""Class folders of images."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import IO, Final, final

import numpy as np

from intact import reading
from intact.data.base import Data
from intact.data.decoding import LARGEST_FILE
from intact.data.layouts import Masked, beside
from intact.data.paths import listing
from intact.data.preprocessing import Preprocessing
from intact.data.spec import Finding
from intact.data.stored import LISTINGS, Names, Stored, StoredImages
from intact.errors import DataError, located

#: Bytes of a list of classes.
_LARGEST_LISTING: Final = 1 << 24
#: Names that a message holds.
NAMED: Final = 3


def folder(  # noqa: PLR0913 - one keyword for each thing that can be said about images
    path: str | os.PathLike[str],
    *,
    pixels: tuple[float, float] = (0, 1),
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    channels: str | None = None,
    resize: str = "stretch",
    method: str = "bilinear",
) -> Data:
    """Images in one folder for each class, ``photos/cat/1.jpg``; or images directly in ``photos/``, which are unlabelled.

    Classes count from 0 in alphabetical order of their folders (as in Keras and torchvision: 0, 1, 10, 2), unless a
    ``classes.txt`` or ``labels.txt`` beside them lists the model's order, one name a line. Hidden files are ignored.
    The other arguments are those of :class:`Preprocessing`. Raises DataError for no images, or an empty class.
    """
    return image_folder(Path(path), Preprocessing(pixels, mean, std, channels, resize, method))


def image_folder(path: Path, preprocessing: Preprocessing) -> Data:
    """:func:`folder` with a preprocessing value."""
    with located(str(path)):
        return _scan(path, preprocessing)


@final
class Files(Stored):
    """Image files by number: the names of each folder in it, one folder after the other."""

    def __init__(self) -> None:
        self._folders: list[Path] = []
        self._starts: list[int] = []
        self._names = Names()

    def __len__(self) -> int:
        return len(self._names)

    def add(self, folder: Path, names: Iterable[str]) -> None:
        """The images called ``names`` in one more folder."""
        self._folders.append(folder)
        self._starts.append(len(self._names))
        for name in names:
            self._names.add(name)

    def path(self, index: int) -> Path:
        """Where image ``index`` lies."""
        return self._folders[bisect_right(self._starts, index) - 1] / self._names[index]

    def name(self, index: int) -> str:
        return str(self.path(index))

    def size(self, index: int) -> int:
        try:
            return self.path(index).stat().st_size
        except (OSError, ValueError):
            return 0

    @contextmanager
    def opened(self, index: int) -> Iterator[IO[bytes]]:
        path = self.path(index)
        with located(str(path)):
            if not os.path.lexists(path):
                raise DataError("no such file; it was there when the folder was listed")
            with reading.opened(path, DataError, LARGEST_FILE) as file:
                yield file

    def prepare(self, indices: np.ndarray) -> None:
        pass  # files are there


def image_files(
    root: Path, files: Iterable[Path], preprocessing: Preprocessing, findings: tuple[Finding, ...] = ()
) -> StoredImages:
    """Image files without labels; ``root`` is how messages call them together."""
    found = Files()
    for folder, inside in groupby(files, key=lambda file: file.parent):
        found.add(folder, (file.name for file in inside))
    return StoredImages(found, str(root), preprocessing, findings=findings)


def _scan(root: Path, preprocessing: Preprocessing) -> Data:
    held, files = listing(root), Files()
    found = None if held.images else beside(root, held.folders)
    ignored = _Ignored().and_(root, held.others)
    if found is not None:
        flat = image_files(root, found.images, preprocessing, ignored.findings)
        return Masked(flat, found.masks, preprocessing) if found.masks else flat
    if not held.folders:
        if not held.images:
            raise DataError(f"holds no images{_instead(held.others)}; give a folder with one folder of images for each class")
        files.add(root, held.images)
        return StoredImages(files, str(root), preprocessing, findings=ignored.findings)
    if held.images:
        raise DataError(
            f"holds both class folders ({some(held.folders)}) and images ({some(held.images)}); "
            "move the images into class folders, or give a folder of images only"
        )
    order = class_order(root)
    ignored = _Ignored().and_(root, [name for name in held.others if name not in LISTINGS])
    names = tuple(held.folders) if order is None else listed(order, held.folders, "the class folder")
    number, counts = {name: i for i, name in enumerate(names)}, list[int]()
    for name in held.folders:
        with located(name):
            inside = listing(root / name)
        if inside.folders and not inside.images:
            raise DataError(
                f"{name} holds folders ({some(inside.folders)}), not images; give {root / name} instead, or move the images up"
            )
        if not inside.images:
            raise DataError(f"class folder {name} holds no images{_instead(inside.others)}; put images in it or delete it")
        ignored = ignored.and_(root / name, inside.folders + inside.others)
        files.add(root / name, inside.images)
        counts.append(len(inside.images))
    labels = np.repeat(np.array([number[name] for name in held.folders], np.int64), counts)
    findings = ignored.findings + (_numeric_order(names) if order is None else ())
    return StoredImages(files, str(root), preprocessing, labels, names, True, root / LISTINGS[0], findings)


def class_order(folder: Path) -> Path | None:
    """The file in ``folder`` that lists the model's classes, if there is one."""
    return next((folder / name for name in LISTINGS if os.path.lexists(folder / name)), None)


def listed(order: Path, found: Iterable[str], what: str) -> tuple[str, ...]:
    """The class names in the file ``order``, which must cover those ``found``; ``what`` is how messages call one of these."""
    with located(order.name):
        try:
            lines = reading.content(order, DataError, _LARGEST_LISTING).decode("utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise DataError(f"is not readable as text ({error}); save it as UTF-8") from error
    names = [line.strip() for line in lines if line.strip()]
    twice = next((name for name, times in Counter(names).items() if times > 1), None)
    if twice is not None:
        raise DataError(f"{order.name} lists {twice!r} twice; give each class one line")
    known = set(names)
    missing = next((name for name in found if name not in known), None)
    if missing is not None:
        raise DataError(
            f"{order.name} does not list {what} {missing!r}; add a line, or delete {order.name} for alphabetical order"
        )
    return tuple(names)


def _numeric_order(names: tuple[str, ...]) -> tuple[Finding, ...]:
    if not all(name.isdecimal() for name in names) or list(names) == sorted(names, key=int):
        return ()
    return (
        Finding(
            "class-order",
            f"class folders are numbers, counted in alphabetical order ({some(names, 4)}), as in Keras and torchvision; "
            f"if the model counts otherwise, list its order in {LISTINGS[0]}",
        ),
    )


@final
@dataclass(frozen=True)
class _Ignored:
    """How many things in folders are no images, and the first of them."""

    count: int = 0
    first: tuple[str, ...] = ()

    def and_(self, folder: Path, names: list[str]) -> _Ignored:
        more = names[: max(NAMED - len(self.first), 0)]
        return _Ignored(self.count + len(names), (*self.first, *(str(folder / name) for name in more)))

    @property
    def findings(self) -> tuple[Finding, ...]:
        if not self.count:
            return ()
        what = f"ignored {self.count} that are not images: {some(self.first, count=self.count)}"
        return (Finding("ignored-files", what),)


def _instead(others: list[str]) -> str:
    return f" (only {some(others)})" if others else ""


def some(names: Sequence[str], most: int = NAMED, count: int | None = None) -> str:
    """``a, b, c and 7 more``: the first of ``count`` names."""
    more = (len(names) if count is None else count) - min(most, len(names))
    return ", ".join(names[:most]) + (f" and {more} more" if more else "")
