"""Folders as detectors and segmentation networks have them: a data.yaml of YOLO, images/ beside masks/."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Literal, TypeAlias, final

import numpy as np

from intact.data.base import Data, Example
from intact.data.paths import IMAGES
from intact.data.pictures import NO_CLASS, decode_mask, mask_values
from intact.data.preprocessing import Preprocessing
from intact.data.samples import Samples
from intact.data.spec import Finding, InputSpec
from intact.errors import DataError, MissingExtraError, located
from intact.spool import Column

#: What samples are for: ``data`` calibrates, ``eval`` reports.
Use: TypeAlias = Literal["data", "eval"]

#: The parts of a data.yaml, the best first.
_SPLITS: Final[dict[Use, tuple[str, ...]]] = {"data": ("train", "val", "test"), "eval": ("val", "test", "train")}
#: A folder of this name beside one of MASKS, or of others that hold no images, is no class.
_IMAGES: Final = "images"
_MASKS: Final = ("masks", "mask", "labels", "annotations", "segmentations")
_LARGEST_YAML: Final = 1 << 20
#: Masks that are looked at to tell whether 255 is a class.
_LOOKED_AT: Final = 16


def yolo_images(path: Path, use: Use) -> tuple[Path, tuple[Path, ...]]:
    """The folder and image files of a YOLO ``data.yaml``: of its ``train`` part for ``data``, its ``val`` part for ``eval``.

    Raises DataError that names the entry.
    """
    with located(str(path)):
        entries = _yaml(path)
        part = next((name for name in _SPLITS[use] if entries.get(name)), None)
        if part is None:
            raise DataError(f"names no images; it needs a line such as {_SPLITS[use][0]}: images/{_SPLITS[use][0]}")
        wanted = entries[part] if isinstance(entries[part], list) else [entries[part]]
        files = tuple(file for entry in wanted for file in _entry(path, entries, part, entry))
        if not files:
            raise DataError(f"the images of {part!r} are missing: there are none in {wanted[0]}")
        return path.parent, files


def _yaml(path: Path) -> dict[str, Any]:
    try:
        yaml: ModuleType
        import yaml  # type: ignore[import-untyped,no-redef]  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise MissingExtraError("Reading a data.yaml", "yaml") from error
    try:
        if path.stat().st_size > _LARGEST_YAML:
            raise DataError(f"is larger than {_LARGEST_YAML:,} bytes, which no list of folders is")
        entries = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, RecursionError, ValueError, yaml.YAMLError) as error:
        raise DataError(f"cannot be read as YAML ({(str(error).splitlines() or ['?'])[0]})") from error
    if not isinstance(entries, dict):
        raise DataError("is no data.yaml: it needs lines such as train: images/train")
    return entries


def _entry(path: Path, entries: dict[str, Any], part: str, entry: object) -> Iterator[Path]:
    """The images of one folder or list of files, relative to ``path:`` or to the file itself."""
    if not isinstance(entry, str):
        raise DataError(f"the entry {part!r} is {entry!r}; give a folder of images")
    root = entries.get("path")
    roots = [path.parent / root] if isinstance(root, str) else []
    # Roboflow writes ../train/images where train/ stands beside the file.
    tries = [base / entry for base in (*roots, path.parent)] + [path.parent / entry.removeprefix("../")]
    found = next((place for place in tries if place.exists()), None)
    if found is None:
        raise DataError(f"the images of {part!r} are missing: there is no {tries[0]}; correct the entry, or move them there")
    if found.is_dir():
        return iter(below(found))
    if found.suffix.lower() != ".txt":
        raise DataError(f"the entry {part!r} is {entry!r}; give a folder of images, or a .txt that lists them")
    lines = (line.strip() for line in found.read_text("utf-8", "replace").splitlines())
    return (found.parent / line for line in lines if line)


def below(folder: Path) -> list[Path]:
    """The images in a folder and the folders in it, sorted; hidden ones left out."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(place) / name for name in names if Path(name).suffix.lower() in IMAGES and not name.startswith(".")]
    return sorted(found)


@final
@dataclass(frozen=True)
class Beside:
    """What an ``images`` folder has beside it: its files, and their masks if there are any."""

    images: tuple[Path, ...]
    masks: tuple[Path, ...]


def beside(root: Path, folders: list[Path]) -> Beside | None:
    """The images and masks of ``root``, when ``folders`` are those of no classes: ``images``, alone or beside its annotations.

    Raises DataError for an image without a mask.
    """
    by_name = {folder.name.lower(): folder for folder in folders}
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
@dataclass(frozen=True, eq=False)
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
            column.add(self._read(mask, lambda data: decode_mask(data, fitted, binary=binary))[None])
        what = f"targets are the masks in {self.masks[0].parent}, for a metric" + ("; 255 is class 1" if binary else "")
        return replace(samples, targets=column.joined(), findings=(*samples.findings, Finding("masks", what)))

    def examples(self) -> tuple[Example, ...]:
        return ()

    @staticmethod
    def _read(mask: Path, what: Any) -> Any:
        with located(str(mask)):
            try:
                data = mask.read_bytes()
            except OSError as error:
                raise DataError(f"cannot be read ({error.strerror or error})") from error
            return what(data)
