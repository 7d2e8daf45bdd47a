"""From a path on the command line to data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final, final

from intact.data import paths
from intact.data.archives import npy, npz
from intact.data.base import Data
from intact.data.images import image_folder
from intact.data.preprocessing import Preprocessing
from intact.data.samples import Samples
from intact.data.spec import Finding, InputSpec

READERS: Final[Mapping[str, Callable[[Path], Data]]] = MappingProxyType({".npz": npz, ".npy": npy})
#: Stretched to the model's size, 0..255 to 0..1.
DEFAULT: Final = Preprocessing()


def load(path: Path, preprocessing: Preprocessing = DEFAULT) -> Data:
    """A folder of images, an ``.npz`` or an ``.npy`` (with its labels beside it). Raises DataError for anything else.

    ``preprocessing`` is for images; arrays go in as they are, and a preprocessing given for them becomes a finding.
    """
    if paths.check(path).is_dir():
        return image_folder(path, preprocessing)
    data = READERS[path.suffix.lower()](path)
    return data if preprocessing == DEFAULT else _Unused(data, preprocessing)


@final
@dataclass(frozen=True, eq=False)
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
