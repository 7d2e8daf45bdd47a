"""Encoded images by number, wherever they lie: decoded on all cores when asked for, and kept on disk while there is room."""

from __future__ import annotations

import abc
import hashlib
from array import array
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, final

import numpy as np

from intact.data.base import Data, Example
from intact.data.labels import check_targets, class_labels
from intact.data.pictures import decode
from intact.data.preprocessing import Preprocessing
from intact.data.samples import CACHE_BYTES, Samples, Source, parallel
from intact.data.spec import Finding, InputSpec
from intact.errors import DataError, located
from intact.spool import Records

#: Size of an image from which threads pay: 10,000 files of 1 KB took 2.8 s in one thread and 4.5 s in four.
_WORTH_A_THREAD: Final = 8 << 10
#: Optional listings of the classes in the model's order, one name a line, beside class folders and shards.
LISTINGS: Final = ("classes.txt", "labels.txt")


class Stored(abc.ABC):
    """Images as somebody encoded them, by number. Safe to use from several threads."""

    @abc.abstractmethod
    def __len__(self) -> int: ...

    @abc.abstractmethod
    def name(self, index: int) -> str:
        """How messages call the image."""

    @abc.abstractmethod
    def size(self, index: int) -> int:
        """Bytes, or 0 where they cannot be told; :meth:`opened` says why."""

    @abc.abstractmethod
    def opened(self, index: int) -> AbstractContextManager[IO[bytes]]:
        """The image for reading. DataError where it is gone or too large."""

    @abc.abstractmethod
    def prepare(self, indices: np.ndarray) -> None:
        """See :meth:`Source.prepare`."""


@final
class Names:
    """Many texts in little memory: one after the other, and where each ends. A million file names of 20 letters take 28 MB."""

    def __init__(self) -> None:
        self._text = bytearray()
        self._ends = array("q", (0,))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> str:
        return self._text[self._ends[index] : self._ends[index + 1]].decode("utf-8", "surrogateescape")

    def add(self, name: str) -> None:
        self._text += name.encode("utf-8", "surrogateescape")
        self._ends.append(len(self._text))


@final
@dataclass(frozen=True, eq=False, repr=False)
class StoredImages(Data):
    """Encoded images, with a label each or none.

    ``labels``, ``[n]``, count ``classes`` where these are named. ``by_name``: by their order in the alphabet or in the file
    ``listed``, if there may be one; else the data number them.
    """

    stored: Stored
    where: str
    preprocessing: Preprocessing
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    by_name: bool = False
    listed: Path | None = None
    findings: tuple[Finding, ...] = ()

    def bind(self, inputs: tuple[InputSpec, ...], classes: int | None) -> Samples:
        if len(inputs) != 1:
            names = ", ".join(s.name for s in inputs)
            raise DataError(
                f"{self.where}: images feed one input, the model has {len(inputs)} ({names}); "
                "give an .npz with arrays of these names"
            )
        with located(self.where):
            fitted = self.preprocessing.fit(inputs[0])
        source = _Decoded(self.stored, inputs[0], fitted)
        targets = None if self.labels is None else check_targets(self.labels, len(self.stored), source.name)
        labels, found = self._labels(targets, classes, source)
        return Samples(
            source,
            inputs,
            fitted,
            np.arange(len(self.stored)),
            labels,
            targets,
            self.classes,
            (*self.findings, *found),
        )

    def examples(self) -> tuple[Example, ...]:
        return ()  # their size is the model's

    def _labels(
        self, targets: np.ndarray | None, classes: int | None, source: Source
    ) -> tuple[np.ndarray | None, tuple[Finding, ...]]:
        if targets is None:
            return None, ()
        expected = 2 if classes == 1 else classes
        if self.by_name and expected is not None and expected != len(self.classes):
            advice = "give labels that are the model's class numbers"
            if self.listed is not None:
                advice = f"list the model's {expected} classes in {self.listed}, one a line"
            why = (
                f"{self.where} has {len(self.classes)} classes, the model {expected}: its images are taken as unlabelled; "
                f"for accuracy, {advice}"
            )
            return None, (Finding("unlabelled", why),)
        return class_labels(targets, classes, source.name)


@final
class _Decoded(Source):
    """Images that are decoded when asked for, and kept as uint8 on disk while there is room."""

    def __init__(self, stored: Stored, spec: InputSpec, preprocessing: Preprocessing) -> None:
        self._stored = stored
        self._spec = spec
        self._preprocessing = preprocessing
        height, width = preprocessing.size or (0, 0)
        self._shape = (height, width, preprocessing.planes)
        self._done = Records(height * width * preprocessing.planes, CACHE_BYTES)

    def __len__(self) -> int:
        return len(self._stored)

    def name(self, index: int) -> str:
        return self._stored.name(index)

    def prepare(self, indices: np.ndarray) -> None:
        self._stored.prepare(indices)

    def digest(self, index: int) -> bytes:
        with self._stored.opened(index) as file:
            return hashlib.file_digest(file, "sha256").digest()  # type: ignore[arg-type]  # it asks for less than IO has

    def fetch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        fresh = [int(i) for i in dict.fromkeys(indices.tolist()) if i not in self._done]
        images = dict(zip(fresh, self._decode_all(fresh), strict=True))
        for i, image in images.items():
            self._done.put(i, image)
        stack = np.empty((len(indices), *self._shape), np.uint8)
        for row, i in enumerate(indices.tolist()):
            if i in images:
                stack[row] = images[i]
            else:
                self._done.get(i, stack[row])
        return {self._spec.name: self._preprocessing.apply(stack, self._spec.dtype)}

    def _decode_all(self, indices: list[int]) -> list[np.ndarray]:
        """On all cores where decoding, which releases the GIL, outweighs Pillow's own Python, which does not."""
        self._stored.prepare(np.asarray(indices, np.int64))
        sample = [self._stored.size(i) for i in indices[:8]]
        if sum(sample) < _WORTH_A_THREAD * len(sample):
            return [self._decode(i) for i in indices]
        return parallel(self._decode, indices)

    def _decode(self, index: int) -> np.ndarray:
        with self._stored.opened(index) as file:
            return decode(file, self._preprocessing)
