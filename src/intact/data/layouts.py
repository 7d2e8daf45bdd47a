"""Folders as detectors and segmentation networks have them: a data.yaml of YOLO, images/ beside masks/."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from types import ModuleType
from typing import Any, Final, final

import numpy as np

from intact import reading
from intact.data.base import Data, Example
from intact.data.decoding import LARGEST_FILE
from intact.data.paths import below
from intact.data.pictures import NO_CLASS, decode_mask, mask_values
from intact.data.preprocessing import Preprocessing
from intact.data.samples import Samples
from intact.data.shard_files import Use
from intact.data.spec import Finding, InputSpec
from intact.errors import DataError, MissingExtraError, located
from intact.spool import Column

#: The parts of a data.yaml, the best first.
_SPLITS: Final[dict[Use, tuple[str, ...]]] = {"data": ("train", "val", "test"), "eval": ("val", "test", "train")}
#: A folder of this name beside one of MASKS, or of others that hold no images, is no class.
_IMAGES: Final = "images"
_MASKS: Final = ("masks", "mask", "labels", "annotations", "segmentations")
#: How an entry says that there is none.
_NOTHING: Final[tuple[object, ...]] = (None, "", "~", "null", "Null", "NULL", [])
#: Bytes of a data.yaml, which takes a second to read for every 100,000, and of a list of images.
_LARGEST_YAML: Final = 1 << 18
_LARGEST_LIST: Final = 1 << 26
_MOST_IMAGES: Final = 1_000_000
#: Masks that are looked at to tell whether 255 is a class.
_LOOKED_AT: Final = 16


def yolo_images(path: Path, use: Use) -> tuple[Path, tuple[Path, ...]]:
    """The folder and image files of a YOLO ``data.yaml``: of its ``train`` part for ``data``, its ``val`` part for ``eval``.

    Raises DataError that names the entry.
    """
    with located(str(path)):
        entries = _yaml(path)
        part = next((name for name in _SPLITS[use] if entries.get(name) not in _NOTHING), None)
        if part is None:
            raise DataError(f"names no images; it needs a line such as {_SPLITS[use][0]}: images/{_SPLITS[use][0]}")
        wanted = entries[part] if isinstance(entries[part], list) else [entries[part]]
        if not all(isinstance(entry, str) for entry in wanted):
            raise DataError(f"the entry {part!r} holds something else than names of folders; give a folder of images")
        each = chain.from_iterable(_entry(path, entries, part, entry) for entry in dict.fromkeys(wanted))
        files = tuple(islice(each, _MOST_IMAGES + 1))
        if not files:
            raise DataError(f"the images of {part!r} are missing: there are none in {wanted[0]}")
        if len(files) > _MOST_IMAGES:
            raise DataError(f"the entry {part!r} names more than {_MOST_IMAGES:,} images; give it fewer folders")
        return path.parent, files


def _yaml(path: Path) -> dict[str, Any]:
    try:
        yaml: ModuleType
        import yaml  # type: ignore[import-untyped,no-redef]  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise MissingExtraError("Reading a data.yaml", "yaml") from error
    content = reading.content(path, DataError, _LARGEST_YAML)
    try:
        # Texts, lists and mappings alone, whatever tags say: nothing of Python's is made, a number in base 60 would take
        # minutes, and what is merged again and again (<<) all memory.
        entries = yaml.load(content.decode("utf-8"), yaml.BaseLoader)
    except Exception as error:  # whatever a parser makes of what is no YAML
        raise DataError(f"cannot be read as YAML ({(str(error).splitlines() or ['?'])[0]}); save it as UTF-8 text") from error
    if not isinstance(entries, dict):
        raise DataError("is no data.yaml: it needs lines such as train: images/train")
    return entries


def _entry(path: Path, entries: dict[str, Any], part: str, entry: str) -> Iterable[Path]:
    """The images of one folder or list of files, relative to ``path:`` or to the file itself."""
    root = entries.get("path")
    roots = [path.parent / root] if isinstance(root, str) else []
    # Roboflow writes ../train/images where train/ stands beside the file.
    tries = [base / entry for base in (*roots, path.parent)] + [path.parent / entry.removeprefix("../")]
    found = next((place for place in tries if os.path.lexists(place)), None)
    if found is None:
        raise DataError(f"the images of {part!r} are missing: there is no {tries[0]}; correct the entry, or move them there")
    if os.path.isdir(found):  # noqa: PTH112  # says no where the system lets nobody look
        return below(found)
    if found.suffix.lower() != ".txt":
        raise DataError(f"the entry {part!r} is {entry!r}; give a folder of images, or a .txt that lists them")
    with located(str(found)):
        text = reading.content(found, DataError, _LARGEST_LIST).decode("utf-8", "replace")
    return (found.parent / line for line in map(str.strip, text.splitlines()) if line)


@final
@dataclass(frozen=True)
class Beside:
    """What an ``images`` folder has beside it: its files, and their masks if there are any."""

    images: tuple[Path, ...]
    masks: tuple[Path, ...]


def beside(root: Path, folders: list[str]) -> Beside | None:
    """The images and masks of ``root``, when ``folders`` are those of no classes: ``images``, alone or beside its annotations.

    Raises DataError for an image without a mask.
    """
    by_name = {name.lower(): root / name for name in folders}
    if _IMAGES not in by_name or not by_name.keys() <= {_IMAGES, *_MASKS}:
        return None
    images = below(by_name[_IMAGES])
    if not images:
        return None
    masks = next((files for name in _MASKS if name in by_name and (files := below(by_name[name]))), [])
    by_stem = {_stem(mask): mask for mask in masks}
    lacking = next((image for image in images if _stem(image) not in by_stem), None)
    if masks and lacking is not None:
        raise DataError(f"{lacking.relative_to(root)} has no mask of its name in {masks[0].parent.relative_to(root)}")
    return Beside(tuple(images), tuple(by_stem[_stem(image)] for image in images) if masks else ())


def _stem(file: Path) -> str:
    return file.stem.removesuffix("_mask")


@final
@dataclass(frozen=True, eq=False, repr=False)
class Masked(Data):
    """Images with a mask of class numbers each, which are targets: uint8 ``[n, height, width]`` in the input's size."""

    images: Data
    masks: tuple[Path, ...]
    preprocessing: Preprocessing

    def bind(self, inputs: tuple[InputSpec, ...], classes: int | None) -> Samples:
        samples = self.images.bind(inputs, classes)
        fitted = samples.preprocessing
        assert fitted.size is not None
        with located(str(self.masks[0].parent)):
            values = {value for mask in self.masks[:_LOOKED_AT] for value in self._read(mask, mask_values)}
        binary = NO_CLASS in values and values <= {0, NO_CLASS}
        column = Column(fitted.size, np.dtype(np.uint8))
        for mask in self.masks:
            column.add(self._read(mask, lambda file: decode_mask(file, fitted, binary=binary))[None])
        what = f"targets are the masks in {self.masks[0].parent}, for a metric" + ("; 255 is class 1" if binary else "")
        return replace(samples, targets=column.joined(), findings=(*samples.findings, Finding("masks", what)))

    def examples(self) -> tuple[Example, ...]:
        return ()

    @staticmethod
    def _read(mask: Path, what: Any) -> Any:
        with located(str(mask)), reading.opened(mask, DataError, LARGEST_FILE) as file:
            return what(file)
