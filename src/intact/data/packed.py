"""Samples in Parquet files, TFRecords and saved data sets of Hugging Face, read in a child process by their own libraries."""

from __future__ import annotations

import io
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Final, final

import numpy as np

from intact import reading, scratch
from intact.data.archives import NamedData
from intact.data.base import Data
from intact.data.decoding import LARGEST_FILE
from intact.data.fields import IMAGES, LABELS, Labels, named
from intact.data.shard_files import Kind, Shards
from intact.data.stored import Stored
from intact.data.tables import Table
from intact.errors import DataError, MissingExtraError, located
from intact.runtime.child import Conversation
from intact.runtime.confinement import Confinement

_SCRIPT: Final = "packed_rows.py"
#: Seconds of silence: a row group of large images is read at once.
_SILENCE: Final = 600.0
#: A data set's images, which lie in one file while they are used.
_LARGEST_COPY: Final = 1 << 42
#: What each kind is called, the library that reads it, and the extra with it.
_ABOUT: Final[Mapping[Kind, tuple[str, str, str]]] = MappingProxyType(
    {
        "parquet": ("Reading .parquet files", "pyarrow", "data"),
        "saved": ("Reading a data set that Hugging Face's library saved", "datasets", "data"),
        "tfrecord": ("Reading .tfrecord files", "TensorFlow", "keras"),
    }
)


@final
@dataclass(frozen=True, eq=False)
class Listed:
    """What a data set holds: images and their labels, or columns of numbers."""

    images: Rows | None
    labels: Labels
    numbers: Data | None


def listed(shards: Shards, image: str | None, label: str | None) -> Listed:
    """The rows of ``shards``, without their images. ``image`` and ``label`` name columns; ``label`` "" for none.

    Raises DataError, or MissingExtraError for a library that is not installed.
    """
    for file in _files(shards):
        with located(str(file)):
            reading.check(file, DataError)
    library = _Library(shards)
    with library.asked({"task": "index", "image": image, "label": label, "images": IMAGES, "labels": LABELS}) as answer:
        labels = _labels(answer, shards)
        columns = {about["name"]: _mapped(about) for about in answer.get("columns", ())}
    if answer["image"] is None:
        library.close()
        found = answer["label"] or (-1 if label == "" else None)
        return Listed(None, labels, _numbers(columns, found, labels, shards.where))
    return Listed(Rows(library, answer["image"], answer["counts"]), labels, None)


def _files(shards: Shards) -> Iterable[Path]:
    """All that the library will open: of a saved data set what lies in its folder."""
    if shards.kind != "saved":
        return shards.files
    return (entry for entry in sorted(shards.files[0].iterdir()) if not entry.is_dir())


@final
class _Library:
    """The library that reads ``shards``, in a child process that goes on until nothing more is asked."""

    def __init__(self, shards: Shards) -> None:
        self.shards = shards
        self._talk = Conversation(_SCRIPT, what=_ABOUT[shards.kind][1], confinement=Confinement(file_bytes=_LARGEST_COPY))

    @contextmanager
    def asked(self, request: Mapping[str, Any], rows: np.ndarray | None = None) -> Iterator[dict[str, Any]]:
        """The answer; files that it names are there meanwhile, and beyond for who has opened them."""
        what, _, extra = _ABOUT[self.shards.kind]
        with scratch.folder(self._talk.scratch) as folder, located(self.shards.where):
            files = [str(file.resolve()) for file in self.shards.files]
            if rows is not None:
                np.save(folder / "rows.npy", rows)
            about = {"kind": self.shards.kind, "files": files, "folder": str(folder), "rows": str(folder / "rows.npy")}
            answer = self._talk.ask({**about, **request}, _SILENCE)
            if "missing" in answer:
                raise MissingExtraError(what, extra)
            if "data_error" in answer:
                raise DataError(answer["data_error"])
            yield answer

    def close(self) -> None:
        self._talk.close()


@final
class Rows(Stored):
    """The images of a data set by row. Those that are wanted are copied to a file first, in one pass over the data set."""

    def __init__(self, library: _Library, image: str, counts: list[int]) -> None:
        self._library, self._image = library, image
        self._ends = np.cumsum(counts)
        count = int(self._ends[-1])
        self._copies: list[IO[bytes]] = []
        self._copy = np.full(count, -1, np.int32)
        self._offsets, self._sizes = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._copy)

    def name(self, index: int) -> str:
        file = int(np.searchsorted(self._ends, index, "right"))
        first = int(self._ends[file - 1]) if file else 0
        return f"{self._library.shards.files[file]}: row {index - first}"

    def size(self, index: int) -> int:
        return int(self._sizes[index])

    @contextmanager
    def opened(self, index: int) -> Iterator[IO[bytes]]:
        self.prepare(np.array([index]))
        with located(self.name(index)):
            with self._lock:
                copy = self._copies[self._copy[index]]
                copy.seek(int(self._offsets[index]))
                content = copy.read(int(self._sizes[index]))
            yield io.BytesIO(content)

    def prepare(self, indices: np.ndarray) -> None:
        with self._lock:
            fresh = np.unique(indices[self._copy[indices] < 0]).astype(np.int64)
            if not len(fresh):
                return
            request = {"task": "images", "image": self._image, "most": LARGEST_FILE}
            with self._library.asked(request, fresh) as answer:
                sizes = np.fromfile(answer["sizes"], np.int64)
                copy = Path(answer["images"]).open("rb")  # noqa: SIM115  # it lasts beyond its name
            weakref.finalize(self, copy.close)
            self._copies.append(copy)
            self._sizes[fresh] = sizes
            self._offsets[fresh] = np.cumsum(sizes) - sizes
            self._copy[fresh] = len(self._copies) - 1


def _labels(answer: Mapping[str, Any], shards: Shards) -> Labels:
    """Labels as the child wrote them: numbers, or numbers of texts."""
    if answer["labels"] is None:
        return Labels(None)
    values = np.fromfile(answer["labels"], np.float64)
    whole = values.astype(np.int64) if np.isfinite(values).all() and (values == np.floor(values)).all() else values
    if answer["texts"] is None:
        return Labels(whole, tuple(answer["classes"]))
    beside = shards.files[0] if shards.kind == "saved" else shards.files[0].parent
    return named(whole, tuple(answer["texts"]), beside, f"column {answer['label']!r}")


def _mapped(about: Mapping[str, Any]) -> np.ndarray:
    """A column of numbers, ``[n, ...]``; the pages outlive the file's name."""
    rows = np.memmap(about["path"], about["dtype"], "r")
    return rows.reshape(-1, *about["shape"]).view(np.ndarray)


def _numbers(columns: dict[str, np.ndarray], label: int | str | None, labels: Labels, where: str) -> Data:
    """Columns of numbers as a table's, or arrays by name where some hold lists. ``label``: -1 for none that is wanted."""
    if isinstance(label, str) and labels.values is not None:
        texts = np.array(labels.classes, object)[labels.values] if labels.by_name else labels.values
        columns, label = {**columns, label: texts}, len(columns)
    if any(column.ndim > 1 for column in columns.values()):
        return NamedData(columns)
    assert not isinstance(label, str)
    return Table(tuple(columns), tuple(columns.values()), label, where, None, ())
