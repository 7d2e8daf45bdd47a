"""Class folders of images."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Final, final

import numpy as np

from intact import reading
from intact.data.base import Data, Example
from intact.data.decoding import LARGEST_FILE
from intact.data.labels import class_labels
from intact.data.layouts import Masked, beside
from intact.data.paths import listing
from intact.data.pictures import decode
from intact.data.preprocessing import Preprocessing
from intact.data.samples import CACHE_BYTES, Samples, Source, parallel
from intact.data.spec import Finding, InputSpec
from intact.errors import DataError, located
from intact.spool import Records

#: Optional listings of the classes in the model's order, one name a line, beside the class folders.
LISTINGS: Final = ("classes.txt", "labels.txt")
#: Bytes of a list of classes.
_LARGEST_LISTING: Final = 1 << 24
#: File size from which threads pay: 10,000 files of 1 KB took 2.8 s in one thread and 4.5 s in four.
_WORTH_A_THREAD: Final = 8 << 10


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
@dataclass(frozen=True, eq=False, repr=False)
class _Folder(Data):
    """A scanned folder: files in order, and for each its class, unless the folder is flat."""

    root: Path
    files: tuple[Path, ...]
    classes: tuple[str, ...]
    labels: np.ndarray | None
    preprocessing: Preprocessing
    findings: tuple[Finding, ...]

    def bind(self, inputs: tuple[InputSpec, ...], classes: int | None) -> Samples:
        if len(inputs) != 1:
            names = ", ".join(s.name for s in inputs)
            raise DataError(
                f"{self.root}: images feed one input, the model has {len(inputs)} ({names}); "
                "give an .npz with arrays of these names"
            )
        with located(str(self.root)):
            fitted = self.preprocessing.fit(inputs[0])
        source = _Images(self.files, inputs[0], fitted)
        labels, found = self._labels(classes, source)
        return Samples(
            source,
            inputs,
            fitted,
            np.arange(len(self.files)),
            labels,
            self.labels,
            self.classes,
            (*self.findings, *found),
        )

    def examples(self) -> tuple[Example, ...]:
        return ()  # their size is the model's

    def _labels(self, classes: int | None, source: Source) -> tuple[np.ndarray | None, tuple[Finding, ...]]:
        if self.labels is None:
            return None, ()
        expected = 2 if classes == 1 else classes
        if expected is not None and expected != len(self.classes):
            why = (
                f"{self.root} has {len(self.classes)} classes, the model {expected}: its images are taken as unlabelled; "
                f"for accuracy, list the model's {expected} classes in {self.root / LISTINGS[0]}, one a line"
            )
            return None, (Finding("unlabelled", why),)
        return class_labels(self.labels, classes, source.name)


@final
class _Images(Source):
    """Files that are decoded when asked for, and kept as uint8 on disk while there is room."""

    def __init__(self, files: tuple[Path, ...], spec: InputSpec, preprocessing: Preprocessing) -> None:
        self._files = files
        self._spec = spec
        self._preprocessing = preprocessing
        height, width = preprocessing.size or (0, 0)
        self._decoded = Records(height * width * preprocessing.planes, CACHE_BYTES)

    def __len__(self) -> int:
        return len(self._files)

    def name(self, index: int) -> str:
        return str(self._files[index])

    def digest(self, index: int) -> bytes:
        with _opened(self._files[index]) as file:
            return hashlib.file_digest(file, "sha256").digest()

    def fetch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        fresh = [int(i) for i in dict.fromkeys(indices.tolist()) if i not in self._decoded]
        images = dict(zip(fresh, self._decode_all(fresh), strict=True))
        for i, image in images.items():
            self._decoded.put(i, image)
        height, width = self._preprocessing.size or (0, 0)
        stack = np.empty((len(indices), height, width, self._preprocessing.planes), np.uint8)
        for row, i in enumerate(indices.tolist()):
            if i in images:
                stack[row] = images[i]
            else:
                self._decoded.get(i, stack[row])
        return {self._spec.name: self._preprocessing.apply(stack, self._spec.dtype)}

    def _decode_all(self, indices: list[int]) -> list[np.ndarray]:
        """On all cores where decoding, which releases the GIL, outweighs Pillow's own Python, which does not."""
        sample = [_size(self._files[i]) for i in indices[:8]]
        if sum(sample) < _WORTH_A_THREAD * len(sample):
            return [self._decode(i) for i in indices]
        return parallel(self._decode, indices)

    def _decode(self, index: int) -> np.ndarray:
        with _opened(self._files[index]) as file:
            return decode(file, self._preprocessing)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return 0  # _opened says what is wrong


@contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    """The file of an image, located by its path."""
    with located(str(path)):
        if not os.path.lexists(path):
            raise DataError("no such file; it was there when the folder was listed")
        with reading.opened(path, DataError, LARGEST_FILE) as file:
            yield file


def image_files(root: Path, files: tuple[Path, ...], preprocessing: Preprocessing, findings: tuple[Finding, ...] = ()) -> Data:
    """Image files without labels; ``root`` is how messages call them together."""
    return _Folder(root, files, (), None, preprocessing, findings)


def _scan(root: Path, preprocessing: Preprocessing) -> Data:
    folders, images, others = listing(root)
    found = None if images else beside(root, folders)
    if found is not None:
        flat = image_files(root, found.images, preprocessing, _ignored(others))
        return Masked(flat, found.masks, preprocessing) if found.masks else flat
    if not folders:
        if not images:
            raise DataError(f"holds no images{_instead(others)}; give a folder with one folder of images for each class")
        return _Folder(root, tuple(images), (), None, preprocessing, _ignored(others))
    if images:
        raise DataError(
            f"holds both class folders ({_some([f.name for f in folders])}) and images ({_some([f.name for f in images])}); "
            "move the images into class folders, or give a folder of images only"
        )
    order = next((root / name for name in LISTINGS if os.path.lexists(root / name)), None)
    others = [path for path in others if path.name not in LISTINGS]
    names = tuple(f.name for f in folders) if order is None else _listed(order, folders)
    number = {name: i for i, name in enumerate(names)}
    files: list[Path] = []
    labels: list[int] = []
    for each in folders:
        with located(each.name):
            inner, pictures, rest = listing(each)
        if inner and not pictures:
            raise DataError(
                f"{each.name} holds folders ({_some([f.name for f in inner])}), not images; "
                f"give {each} instead, or move the images up"
            )
        if not pictures:
            raise DataError(f"class folder {each.name} holds no images{_instead(rest)}; put images in it or delete it")
        others += inner + rest
        files += pictures
        labels += [number[each.name]] * len(pictures)
    findings = _ignored(others) + (_numeric_order(names) if order is None else ())
    return _Folder(root, tuple(files), names, np.asarray(labels, np.int64), preprocessing, findings)


def _listed(order: Path, folders: list[Path]) -> tuple[str, ...]:
    """The class names in ``order``, which must cover the folders."""
    with located(order.name):
        try:
            lines = reading.content(order, DataError, _LARGEST_LISTING).decode("utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise DataError(f"is not readable as text ({error}); save it as UTF-8") from error
    names = [line.strip() for line in lines if line.strip()]
    twice = next((name for name, times in Counter(names).items() if times > 1), None)
    if twice is not None:
        raise DataError(f"{order.name} lists {twice!r} twice; give each class one line")
    missing = [f.name for f in folders if f.name not in set(names)]
    if missing:
        raise DataError(
            f"{order.name} does not list the class folder {missing[0]!r}; "
            f"add a line, or delete {order.name} for alphabetical order"
        )
    return tuple(names)


def _numeric_order(names: tuple[str, ...]) -> tuple[Finding, ...]:
    if not all(name.isdecimal() for name in names) or list(names) == sorted(names, key=int):
        return ()
    return (
        Finding(
            "class-order",
            f"class folders are numbers, counted in alphabetical order ({_some(list(names), 4)}), as in Keras and torchvision; "
            f"if the model counts otherwise, list its order in {LISTINGS[0]}",
        ),
    )


def _ignored(others: list[Path]) -> tuple[Finding, ...]:
    if not others:
        return ()
    return (Finding("ignored-files", f"ignored {len(others)} that are not images: {_some([str(p) for p in others])}"),)


def _instead(others: list[Path]) -> str:
    return f" (only {_some([p.name for p in others])})" if others else ""


def _some(names: list[str], most: int = 3) -> str:
    """``a, b, c and 7 more``."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
