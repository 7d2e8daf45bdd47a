"""Images that come one after the other, once: streams of Hugging Face's library, WebDataset's pipelines, generators."""

from __future__ import annotations

import io
import threading
import weakref
from array import array
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Final, final

import numpy as np
from PIL import Image

from intact import reading, scratch
from intact.data.decoding import LARGEST_FILE, decoded, upright
from intact.data.fields import IMAGES, LABELS, Gathered, Labels
from intact.data.iterables import MOST_BYTES
from intact.data.stored import Stored
from intact.errors import DataError, located

#: What messages call all of it.
_WHERE: Final = "the stream"
#: How pairs' parts are called.
_PAIR: Final = ("image", "label")
#: Modes that a TIFF keeps as they are.
_KEPT: Final = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"})


def image_field(element: Mapping[str, Any], wanted: str | None, where: str) -> str | None:
    """Which field of a sample is its image; None where none is. DataError for several of no usual name."""
    pictures = [str(name) for name, value in element.items() if is_image(value)]
    if wanted is not None:
        if wanted not in element:
            raise DataError(f"{where}: has no field {wanted!r}; it has {', '.join(map(str, element))}")
        return wanted
    usual = {name.lower(): name for name in pictures}
    named = next((usual[name] for name in IMAGES if name in usual), None)
    if named is None and len(pictures) > 1:
        raise DataError(f"{where}: several columns of images ({', '.join(pictures)}); say image= with one of them")
    return named or (pictures[0] if pictures else None)


def is_image(value: object) -> bool:
    """Whether it is a Pillow image, the bytes of a file of one, or what Hugging Face's library has for one undecoded."""
    if isinstance(value, Mapping):
        return {"bytes", "path"} == set(value)
    return isinstance(value, Image.Image) or (isinstance(value, bytes) and _is_encoded(value))


def by_field(element: object) -> Mapping[str, Any] | None:
    """A sample with an image by its fields, also one that is a pair of image and label; None for anything else."""
    if isinstance(element, Mapping):
        return element if any(is_image(value) for value in element.values()) else None
    if isinstance(element, (tuple, list)) and 1 <= len(element) <= 2 and is_image(element[0]):
        return dict(zip(_PAIR, element, strict=False))
    return None


@final
class Copies(Stored):
    """Images as they came, one after the other in a temporary file."""

    def __init__(self) -> None:
        with scratch.typed():
            self._file: IO[bytes] = scratch.file()
        weakref.finalize(self, self._file.close)
        self._ends = array("q", (0,))
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._ends) - 1

    def name(self, index: int) -> str:
        return f"image {index} of {_WHERE}"

    def add(self, value: object) -> None:
        """One more image. DataError for what is none, and for more than any disk is asked for."""
        with located(self.name(len(self))):
            content = encoded(value)
        with scratch.typed():
            self._file.write(content)
        self._ends.append(self._ends[-1] + len(content))
        if self._ends[-1] > MOST_BYTES:
            raise DataError(f"{_WHERE} gave more than {MOST_BYTES >> 30} GiB; if it is endless, give limit=")

    def size(self, index: int) -> int:
        return self._ends[index + 1] - self._ends[index]

    @contextmanager
    def opened(self, index: int) -> Iterator[IO[bytes]]:
        with self._lock:
            self._file.seek(self._ends[index])
            content = self._file.read(self.size(index))
        with located(self.name(index)):
            yield io.BytesIO(content)

    def prepare(self, indices: np.ndarray) -> None:
        pass  # all were copied as they came


def streamed(
    elements: Iterable[Any], image: str | None, label: str | None, known: Mapping[str, tuple[str, ...]]
) -> tuple[Copies, Labels]:
    """The images and labels of samples by field, read once, now; ``known``: the names of the classes that a field numbers."""
    copies, labels, field, label_field = Copies(), Gathered(), None, None
    for number, element in enumerate(elements):
        sample = by_field(element)
        if sample is None:
            raise DataError(f"{_WHERE}: sample {number} has no image, those before it have; give samples of one kind")
        if field is None:
            field, label_field = image_field(sample, image, _WHERE), _label_field(sample, label)
        copies.add(sample.get(str(field)))
        labels.add(None if label_field is None else _label(sample.get(label_field), number), f"sample {number}")
    if not len(copies):
        raise DataError(f"{_WHERE} gave no samples; one that was used up before gives none a second time")
    found = labels.labels(None, f"{_WHERE} ({label_field!r})")
    return copies, found if found.classes else replace(found, classes=known.get(str(label_field), ()))


def encoded(value: object) -> bytes:
    """An image as the bytes of a file: those that it came in, or its pixels in a TIFF."""
    if isinstance(value, Mapping):
        value = value.get("bytes") or _read(value.get("path"))
    if isinstance(value, bytes):
        return value
    if not isinstance(value, Image.Image):
        raise DataError(f"is a {type(value).__name__}, and no image; leave it out")
    with decoded(value):
        image, file = upright(value), io.BytesIO()
        image = image if image.mode in _KEPT else image.convert("RGBA" if "A" in image.mode else "RGB")
        image.save(file, "TIFF")
        return file.getvalue()


def _read(path: object) -> bytes:
    if not isinstance(path, str):
        raise DataError("holds neither bytes nor a path; leave it out")
    with located(path):
        return reading.content(Path(path), DataError, LARGEST_FILE)


def _is_encoded(content: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(content)) as image:
            return bool(image.format)
    except Exception:  # whatever Pillow makes of bytes that are something else
        return False


def _label_field(sample: Mapping[str, Any], wanted: str | None) -> str | None:
    if wanted == "":
        return None
    if wanted is not None and wanted not in sample:
        raise DataError(f"{_WHERE}: has no field {wanted!r}; it has {', '.join(map(str, sample))}")
    return wanted or next((name for name in LABELS if name in sample), None)


def _label(value: Any, number: int) -> float | str | None:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace").strip()
        return int(value) if value.isdecimal() and len(value) < 16 else value
    if value is None or isinstance(value, str):
        return value
    found = np.asarray(value)
    if found.size != 1 or found.dtype.kind not in "biuf":
        raise DataError(f"{_WHERE}: the label of sample {number} is no single number or text; say label= with another field")
    return float(found.item())
