"""From a path on the command line to data."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final, final

from intact.data import paths
from intact.data.archives import npy, npz
from intact.data.base import Data, Example
from intact.data.images import image_files, image_folder
from intact.data.layouts import Use, yolo_images
from intact.data.preprocessing import Preprocessing
from intact.data.samples import Samples
from intact.data.spec import Finding, InputSpec
from intact.data.tables import csv
from intact.errors import OptionError

READERS: Final[Mapping[str, Callable[[Path], Data]]] = MappingProxyType({".npz": npz, ".npy": npy})
_IMAGES_OF: Final = (".yaml", ".yml")
#: Stretched to the model's size, 0..255 to 0..1.
DEFAULT: Final = Preprocessing()


def load(
    source: str | os.PathLike[str], preprocessing: Preprocessing = DEFAULT, *, label: str | None = None, use: Use = "data"
) -> Data:
    """A folder of images, an ``.npz``, an ``.npy`` (with its labels beside it), a ``.csv`` or a YOLO ``data.yaml``.

    ``preprocessing`` is for images; arrays go in as they are, and a preprocessing given for them becomes a finding. ``label``
    is the column of labels of a ``.csv``; ``use`` says which part of a ``data.yaml`` is meant: ``train`` for ``data``, ``val``
    for ``eval``. Raises DataError for anything else.
    """
    path = Path(source)
    suffix = "" if paths.check(path).is_dir() else path.suffix.lower()
    if label is not None and suffix not in paths.TABLES:
        raise OptionError(f"--label names a column of a .csv, and {path} is none; leave it out")
    if not suffix:
        return image_folder(path, preprocessing)
    if suffix in _IMAGES_OF:
        return yolo(path, preprocessing, use=use)
    data = csv(path, label) if suffix in paths.TABLES else READERS[suffix](path)
    return data if preprocessing == DEFAULT else _Unused(data, preprocessing)


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


@final
@dataclass(frozen=True, eq=False, repr=False)
class _Unused(Data):
    """Arrays for which an image preprocessing was given."""

    data: Data
    preprocessing: Preprocessing

    def bind(self, inputs: tuple[InputSpec, ...], classes: int | None) -> Samples:
        samples = self.data.bind(inputs, classes)
        default = DEFAULT.to_json()
        given = ", ".join(k for k, v in self.preprocessing.to_json().items() if v != default[k])
        why = f"{given} was given but not used: it is for images, and arrays go to the model as they are"
        return replace(samples, findings=(*samples.findings, Finding("unused-preprocessing", why)))

    def examples(self) -> tuple[Example, ...]:
        return self.data.examples()
