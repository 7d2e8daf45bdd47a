"""Samples that are images in memory or in a data set that gives them by number: Pillow's, Hugging Face's."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from typing import IO, Any, Final, Protocol, final, runtime_checkable

import numpy as np
from PIL import Image

from intact.data.array import as_array
from intact.data.base import Data, Example
from intact.data.decoding import decoded
from intact.data.fields import LABELS, Gathered, Labels, labelled
from intact.data.iterables import Numbered, iterable
from intact.data.labels import check_targets, class_labels
from intact.data.pictures import converted
from intact.data.preprocessing import DEFAULT, Preprocessing
from intact.data.samples import CACHE_BYTES, Samples, Source
from intact.data.spec import Finding, InputSpec
from intact.data.stored import Stored
from intact.data.streams import by_field, encoded, image_field, streamed
from intact.errors import DataError, located
from intact.spool import Records

#: What Hugging Face calls a column of class numbers.
_CLASS_LABEL: Final = "ClassLabel"
#: What it calls one of images.
_IMAGE: Final = "Image"


@runtime_checkable
class Rows(Protocol):
    """What Hugging Face calls a Dataset: rows by number, each a mapping from column to value."""

    features: Any
    column_names: Any

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Any: ...


@runtime_checkable
class Typed(Protocol):
    """What Hugging Face calls a Dataset or IterableDataset: rows whose columns have types that can be changed."""

    features: Any

    def cast_column(self, column: str, feature: Any, /) -> Any: ...


def pil(  # noqa: PLR0913 - one keyword for each thing that can be said about images
    images: Sequence[Any] | Numbered,
    labels: Any = None,
    *,
    pixels: tuple[float, float] = (0, 1),
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    channels: str | None = None,
    resize: str = "stretch",
    method: str = "bilinear",
) -> Data:
    """Pillow images by number, with their labels ``[n]``; the other arguments are those of :class:`Preprocessing`."""
    preprocessing = Preprocessing(pixels, mean, std, channels, resize, method)
    return _Pictured(images, None if labels is None else as_array(labels, "labels"), (), preprocessing, "the images", ())


def huggingface(  # noqa: PLR0913 - one keyword for each thing that can be said about images
    rows: Rows | Iterable[Any],
    *,
    image: str | None = None,
    label: str | None = None,
    limit: int | None = None,
    pixels: tuple[float, float] = (0, 1),
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    channels: str | None = None,
    resize: str = "stretch",
    method: str = "bilinear",
) -> Data:
    """A data set of Hugging Face's ``datasets``, or one that works so: its column of images, or columns of numbers.

    ``image`` and ``label`` name the columns; else images are found by looking at the first row, and labels by their type or
    name. Columns of numbers go by the model's input names, or to its one input. A stream (``IterableDataset``) is read once,
    into a temporary file, and ``limit`` stops after so many rows. The other arguments are those of :class:`Preprocessing`, for
    images.
    """
    preprocessing = Preprocessing(pixels, mean, std, channels, resize, method)
    if not isinstance(rows, Rows):
        features = dict(rows.features or {}) if isinstance(rows, Typed) else {}
        known = {name: _names(feature) for name, feature in features.items()}
        return _stream(_undecoded(rows), image, label, limit, preprocessing, known)
    if not len(rows):
        raise DataError("the data set holds no rows")
    columns = [str(name) for name in rows.column_names]
    raw = _undecoded(rows)
    first = raw[0]
    for name in (image, label):
        if name and name not in columns:
            raise DataError(f"the data set has no column {name!r}; it has {', '.join(columns)}")
    label = None if label == "" else label or _label_column(rows, columns)
    image = image_field({name: first[name] for name in columns if name != label}, image, "the data set")
    y = Labels(None) if label is None else _labels(rows, label)
    if image is not None and isinstance(first[image], Image.Image):
        return _Pictured(_ColumnOf(rows, image), y.values, y.classes, preprocessing, "the data set", y.findings)
    if image is not None:
        found = (*y.findings, *_assumed(preprocessing))
        return labelled(_Undecoded(raw, image), y, "the data set", preprocessing, found)
    numbers = [name for name in columns if name != label and _is_numeric(first[name])]
    if not numbers:
        raise DataError(f"the data set has no column of images or numbers; it has {', '.join(columns)}")
    given = ({name: np.asarray(row[name]) for name in numbers} for row in (rows[i] for i in range(len(rows))))
    return iterable((next(iter(x.values())) if len(x) == 1 else x for x in given), labels=y.values)


def once(elements: Iterable[Any]) -> Data:
    """What is gone through once: samples with an image each, by field or as pairs with their labels, or whatever else it is."""
    return _stream(elements, None, None, None, DEFAULT, {})


def _stream(  # noqa: PLR0913, PLR0917  # private, called twice
    elements: Iterable[Any],
    image: str | None,
    label: str | None,
    limit: int | None,
    preprocessing: Preprocessing,
    known: Mapping[str, tuple[str, ...]],
) -> Data:
    """Samples with an image each, read once; those of numbers as :func:`iterable` has them."""
    waiting = iter(elements)
    first = list(islice(waiting, 1))
    together = islice(chain(first, waiting), limit)
    if image is None and (not first or by_field(first[0]) is None):
        return iterable(together)
    copies, labels = streamed(together, image, label, known)
    return labelled(copies, labels, "the stream", preprocessing, _assumed(preprocessing))


def _undecoded(rows: Any) -> Any:
    """The same rows with images as they are stored, where their types are known."""
    for name, feature in dict(rows.features or {}).items() if isinstance(rows, Typed) else ():
        if type(feature).__name__ == _IMAGE and isinstance(rows, Typed):
            rows = rows.cast_column(name, type(feature)(decode=False))
    return rows


def _labels(rows: Rows, label: str) -> Labels:
    """Of class numbers with the names of the classes; of texts, by the order of the alphabet."""
    values = list(rows[label])
    if values and all(isinstance(value, str) for value in values):
        gathered = Gathered()
        for number, value in enumerate(values):
            gathered.add(value, f"row {number}")
        return gathered.labels(None, f"column {label!r}")
    return Labels(as_array(values, f"column {label!r}"), _names(rows.features[label]))


def _label_column(rows: Rows, columns: list[str]) -> str | None:
    typed = [name for name in columns if type(rows.features[name]).__name__ == _CLASS_LABEL]
    return next((name for name in (*typed, *LABELS) if name in columns), None)


@runtime_checkable
class _Named(Protocol):
    """What Hugging Face calls a ClassLabel."""

    names: Any


def _names(feature: object) -> tuple[str, ...]:
    return tuple(map(str, feature.names or ())) if isinstance(feature, _Named) else ()


def _is_numeric(value: object) -> bool:
    return np.asarray(value).dtype.kind in "biuf"


@final
@dataclass(frozen=True)
class _ColumnOf:
    """One column of a data set, by number."""

    rows: Rows
    name: str

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return self.rows[index][self.name]


@final
class _Undecoded(Stored):
    """A column of images as they are stored: bytes, or the path of a file."""

    def __init__(self, rows: Any, column: str) -> None:
        self._rows, self._column = rows, column
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._rows)

    def name(self, index: int) -> str:
        return f"image {index} of the data set"

    def size(self, index: int) -> int:
        with self._lock:
            return len((self._rows[index][self._column] or {}).get("bytes") or b"")

    @contextmanager
    def opened(self, index: int) -> Iterator[IO[bytes]]:
        with located(self.name(index)):
            with self._lock:
                value = self._rows[index][self._column]
            yield io.BytesIO(encoded(value))

    def prepare(self, indices: np.ndarray) -> None:
        pass  # any row is there


@final
@dataclass(frozen=True, eq=False, repr=False)
class _Pictured(Data):
    """Images by number, their labels and the names of their classes."""

    images: Any
    labels: np.ndarray | None
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    where: str
    findings: tuple[Finding, ...]

    def bind(self, inputs: tuple[InputSpec, ...], classes: int | None) -> Samples:
        if len(inputs) != 1:
            names = ", ".join(s.name for s in inputs)
            raise DataError(f"images feed one input, the model has {len(inputs)} ({names}); give arrays by these names")
        count = len(self.images)
        if not count:
            raise DataError(f"{self.where}: there are none")
        fitted = self.preprocessing.fit(inputs[0])
        source = _Source(self.images, inputs[0], fitted, self.where)
        targets = None if self.labels is None else check_targets(self.labels, count, source.name)
        labels, found = (None, ()) if targets is None else class_labels(targets, classes, source.name)
        known: tuple[Finding, ...] = (*self.findings, *found, *_assumed(fitted))
        return Samples(source, inputs, fitted, np.arange(count), labels, targets, self.class_names, known)

    def examples(self) -> tuple[Example, ...]:
        return ()  # their size is the model's


def _assumed(given: Preprocessing) -> tuple[Finding, ...]:
    if given.normalizes or given.pixels != (0.0, 1.0):
        return ()
    why = "images are taken as pixels from 0 to 1; if the model was trained otherwise, give intact.data.pil or "
    return (Finding("pixels-assumed", why + "intact.data.huggingface with pixels=, or mean= and std="),)


@final
class _Source(Source):
    """Images that are converted when asked for, and kept on disk as uint8 while there is room."""

    def __init__(self, images: Any, spec: InputSpec, preprocessing: Preprocessing, where: str) -> None:
        self._images, self._spec, self._preprocessing, self._where = images, spec, preprocessing, where
        height, width = preprocessing.size or (0, 0)
        self._shape = (height, width, preprocessing.planes)
        self._done = Records(height * width * preprocessing.planes, CACHE_BYTES)

    def __len__(self) -> int:
        return len(self._images)

    def name(self, index: int) -> str:
        return f"image {index} of {self._where}"

    def digest(self, index: int) -> bytes:
        image = self._image(index)
        with located(self.name(index)), decoded(image):
            return hashlib.sha256(f"{image.mode}{image.size}".encode() + image.tobytes()).digest()

    def prepare(self, indices: np.ndarray) -> None:
        pass  # any image is there

    def fetch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        stack = np.empty((len(indices), *self._shape), np.uint8)
        for row, index in enumerate(indices.tolist()):
            if index not in self._done:
                image = self._image(index)
                with located(self.name(index)), decoded(image):
                    stack[row] = converted(image, self._preprocessing)
                self._done.put(index, stack[row])
            else:
                self._done.get(index, stack[row])
        return {self._spec.name: self._preprocessing.apply(stack, self._spec.dtype)}

    def _image(self, index: int) -> Image.Image:
        image = self._images[index]
        if not isinstance(image, Image.Image):
            raise DataError(f"{self.name(index)} is a {type(image).__name__}, the first one is a Pillow image")
        return image
