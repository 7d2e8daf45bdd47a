"""From a path on the command line to data."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from intact.data import paths, shard_files
from intact.data.archives import npy, npz
from intact.data.base import Data
from intact.data.images import image_files, image_folder
from intact.data.layouts import yolo_images
from intact.data.preprocessing import DEFAULT, Preprocessing
from intact.data.shard_files import Use
from intact.data.sharded import sharded
from intact.data.spec import Finding
from intact.data.tables import csv
from intact.data.unused import as_they_are
from intact.errors import OptionError

READERS: Final[Mapping[str, Callable[[Path], Data]]] = MappingProxyType({".npz": npz, ".npy": npy})
_IMAGES_OF: Final = (".yaml", ".yml")


def load(
    source: str | os.PathLike[str],
    preprocessing: Preprocessing = DEFAULT,
    *,
    image: str | None = None,
    label: str | None = None,
    use: Use = "data",
) -> Data:
    """A folder of images, an ``.npz``, an ``.npy`` (with its labels beside it), a ``.csv``, a YOLO ``data.yaml`` or shards.

    ``preprocessing`` is for images; arrays go in as they are, and a preprocessing given for them becomes a finding. ``label``
    is the column of labels of a ``.csv``, ``image`` and ``label`` are those of :func:`shards`; ``use`` says which part of a
    ``data.yaml`` or of shards is meant: ``train`` for ``data``, ``val`` for ``eval``. Raises DataError for anything else.
    """
    path = Path(source)
    found = shard_files.at(paths.check(path), use)
    if found is not None:
        return sharded(found, preprocessing, image, label)
    if image is not None:
        raise OptionError(f"--image names the images of shards (.tar, .parquet, .tfrecord), and {path} is none; leave it out")
    suffix = "" if path.is_dir() else path.suffix.lower()
    if label is not None and suffix not in paths.TABLES:
        raise OptionError(f"--label names a column of a .csv or a field of shards, and {path} is neither; leave it out")
    if not suffix:
        return image_folder(path, preprocessing)
    if suffix in _IMAGES_OF:
        return yolo(path, preprocessing, use=use)
    data = csv(path, label) if suffix in paths.TABLES else READERS[suffix](path)
    return as_they_are(data, preprocessing)


def yolo(path: str | os.PathLike[str], preprocessing: Preprocessing = DEFAULT, *, use: Use = "data") -> Data:
    """The images that a YOLO ``data.yaml`` names, without labels: of ``train``, or of ``val`` for the use ``"eval"``."""
    file = Path(path)
    root, files = yolo_images(file, use)
    found: tuple[Finding, ...] = ()
    if preprocessing.resize == "stretch":
        why = (
            f"the images of {file.name} are stretched to the model's size; detectors are mostly trained with --resize letterbox"
        )
        found = (Finding("stretched", why),)
    return image_files(root, files, preprocessing, found)
