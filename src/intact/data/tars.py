"""Samples in .tar files, as WebDataset has them: files of one name, ``00001.jpg`` and ``00001.cls``, are one sample."""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, TypeAlias, cast, final

import numpy as np

from intact import reading
from intact.data.decoding import LARGEST_FILE
from intact.data.fields import LABELS, Gathered, Labels
from intact.data.images import some
from intact.data.spec import Finding
from intact.data.stored import Names, Stored
from intact.data.suffixes import IMAGES
from intact.errors import DataError, located
from intact.wording import counted

#: WebDataset's rule: what comes before the first dot of the last name is the sample, the rest is the field.
_NAME: Final = re.compile(r"((?:.*/|)[^./]+)\.([^/]+)", re.DOTALL)
_JSON: Final = "json"
_NUMBER: Final = re.compile(r"[+-]?\d+(\.\d*)?", re.ASCII)
#: Bytes of a file with a label, and of a .json.
_LARGEST_LABEL: Final = 1 << 20
_ZIPPED: Final = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
#: Bytes of a header with what goes on in the next blocks: a long name, or pax records.
_LARGEST_HEADER: Final = 1 << 20
_BLOCK: Final = 1 << 20

#: The fields of one sample: where each begins, and its size.
_Sample: TypeAlias = dict[str, tuple[int, int]]


@final
class Members(Stored):
    """The images of samples in .tar files: where each begins in which file."""

    def __init__(self, shards: tuple[Path, ...]) -> None:
        self._shards = shards
        self._starts: list[int] = []
        self._names = Names()
        self._offsets, self._sizes = array("q"), array("q")

    def __len__(self) -> int:
        return len(self._names)

    def begin(self) -> None:
        """What is added from now on lies in the next file."""
        self._starts.append(len(self))

    def add(self, name: str, offset: int, size: int) -> None:
        self._names.add(name)
        self._offsets.append(offset)
        self._sizes.append(size)

    def name(self, index: int) -> str:
        return f"{self._shard(index)}: {self._names[index]}"

    def size(self, index: int) -> int:
        return self._sizes[index]

    @contextmanager
    def opened(self, index: int) -> Iterator[IO[bytes]]:
        with located(str(self._shard(index))), located(self._names[index]):
            yield io.BytesIO(self._content(index))

    def prepare(self, indices: np.ndarray) -> None:
        pass  # any place in a file can be read

    def _shard(self, index: int) -> Path:
        return self._shards[bisect_right(self._starts, index) - 1]

    def _content(self, index: int) -> bytes:
        size = self._sizes[index]
        if size > LARGEST_FILE:
            raise DataError(f"is {size:,} bytes, and an image has at most {LARGEST_FILE:,}; give a smaller one")
        with reading.opened(self._shard(index), DataError) as file:
            file.seek(self._offsets[index])
            content = file.read(size)
        if len(content) < size:
            raise DataError("ends early; the file was whole when its samples were listed")
        return content


def members(shards: tuple[Path, ...], image: str | None, label: str | None) -> tuple[Members, Labels, tuple[Finding, ...]]:
    """The images and labels of all samples, in order.

    ``image`` and ``label`` name fields: ``jpg``, ``cls``, or for labels a key in the .json; ``label`` "" for none. Else any
    field that is called as an image file is the image. Raises DataError that names the file and the sample.
    """
    found, labels, findings = Members(shards), Gathered(), list[Finding]()
    met, passed = set[str](), 0
    for shard in shards:
        found.begin()
        with located(str(shard)), reading.opened(shard, DataError) as file:
            for key, sample in _samples(file):
                met.update(sample)
                chosen = _image(sample, image, key)
                if chosen is None:
                    passed += 1
                    continue
                found.add(f"{key}.{chosen}", *sample[chosen])
                labels.add(_label(file, sample, label, key), f"sample {key!r}")
            if not _is_whole(file):
                why = f"{shard.name} ends without the mark that .tar files end with; if it was cut, copy it again"
                findings.append(Finding("no-end-mark", why))
    if not len(found):
        what = f"samples with {some(sorted(met), 6)}" if met else "no samples"
        raise DataError(
            f"{shards[0]}: holds {what}, and no images; a sample is 00001.jpg with 00001.cls beside it, "
            "and --image names another field than jpg, png and the like"
        )
    if passed:
        findings.append(Finding("ignored-samples", f"{shards[0].parent}: ignored {counted(passed, 'sample')} without an image"))
    return found, labels.labels(shards[0].parent, "the samples" if label is None else f"{label!r}"), tuple(findings)


def _samples(file: IO[bytes]) -> Iterator[tuple[str, _Sample]]:
    """The name and fields of each sample: files that follow each other and share a name. Whatever else there is, is passed."""
    key, sample = "", _Sample()
    for name, offset, size in _files(file):
        parts = _NAME.fullmatch(name)
        if parts is None or parts[1].rpartition("/")[2].startswith("__"):
            continue
        if parts[1] != key:
            if sample:
                yield key, sample
            key, sample = parts[1], {}
        field = parts[2].lower()
        if field in sample:
            raise DataError(f"holds {name} twice; give each sample another name")
        sample[field] = offset, size
    if sample:
        yield key, sample


def _files(file: IO[bytes]) -> Iterator[tuple[str, int, int]]:
    """Name, place and size of the plain files in an archive; ``file`` is left where it ends.

    Nothing is unpacked, so that names which lead elsewhere do no harm.
    """
    start = file.read(4)
    file.seek(0)
    if start.startswith(_ZIPPED):
        raise DataError("is a compressed .tar, of which no single sample can be read; unpack it once: gunzip, or xz -d")
    end = os.fstat(file.fileno()).st_size
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", _Headers(file)), mode="r:") as archive:
            while (member := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # it keeps all of them
                if member.offset_data + member.size > end:
                    raise DataError(f"ends in the middle of {member.name}; copy it again")
                if member.isreg() and not member.issparse():
                    yield member.name, member.offset_data, member.size
            file.seek(min(archive.offset, end))
    except (tarfile.TarError, EOFError, OverflowError, ValueError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"cannot be read as a .tar ({why}); copy or make it again") from error


@final
class _Headers:
    """What ``tarfile`` sees of an archive whose headers it reads: no single one that says it is larger than any is."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if size > _LARGEST_HEADER:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return self._file.read(size)


def _is_whole(file: IO[bytes]) -> bool:
    """Whether nothing but zeros follows, and some do. DataError where something else does: it would go unread."""
    at, some_zeros = file.tell(), False
    while block := file.read(_BLOCK):
        some_zeros = True
        if block.strip(b"\0"):
            raise DataError(f"holds something that is no .tar from byte {at:,} on; copy or make it again")
    return some_zeros


def _image(sample: _Sample, wanted: str | None, key: str) -> str | None:
    if wanted is not None:
        return wanted.lower() if wanted.lower() in sample else None
    pictures = [field for field in sample if f".{field.rpartition('.')[2]}" in IMAGES]
    plain = [field for field in pictures if "." not in field] or pictures
    if len(plain) > 1:
        raise DataError(f"sample {key!r} has several images ({some(plain)}); type --image with one of them")
    return plain[0] if plain else None


def _label(file: IO[bytes], sample: _Sample, wanted: str | None, key: str) -> float | str | None:
    """A field's text, or what the .json calls so."""
    if wanted == "":
        return None
    field = next((name for name in ((wanted.lower(),) if wanted else LABELS) if name in sample), None)
    if field is not None and field != _JSON:
        text = _text(file, sample[field], f"{key}.{field}").strip()
        return _number(text)
    if _JSON not in sample:
        return None
    with located(f"{key}.{_JSON}"):
        try:
            found = json.loads(_text(file, sample[_JSON], f"{key}.{_JSON}"))
        except (ValueError, RecursionError) as error:
            raise DataError(f"is not JSON ({error}); correct it, or leave labels out with --label=") from error
        value = found
        if isinstance(found, dict):
            name = next((name for name in ((wanted,) if wanted else LABELS) if name in found), None)
            value = None if name is None else found[name]
        if not (value is None or isinstance(value, (int, float, str))):
            raise DataError("holds a label that is neither a number nor a text; type --label with another key, or --label=")
        return value


def _text(file: IO[bytes], place: tuple[int, int], name: str) -> str:
    offset, size = place
    if size > _LARGEST_LABEL:
        raise DataError(f"{name} is {size:,} bytes, which is no label; type --label with another field, or --label=")
    try:
        file.seek(offset)
        return file.read(size).decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is no text ({error}); type --label with another field, or --label=") from error


def _number(text: str) -> float | str:
    return float(text) if _NUMBER.fullmatch(text) else text
