"""Arrays that live on disk, so that memory does not grow with the number of samples."""

from __future__ import annotations

import io
import math
import mmap
import os
import shutil
import struct
import sys
import threading
import weakref
import zipfile
from array import array
from collections.abc import Container, Iterable
from pathlib import Path
from typing import IO, Any, Final, Literal, TypeAlias, final

import numpy as np

from intact import scratch

#: Bytes that are copied or read at a time.
BLOCK: Final = 8 << 20
#: The part of the free disk space that a cache may take.
_OF_DISK: Final = 4
#: Of an .npz, arrays of fewer bytes are simply read.
_SMALL: Final = 1 << 20
_LOCAL_HEADER: Final = 30
#: The header of an .npy by version: the layout of its length, and what reads both.
_HEADERS: Final = {
    (1, 0): ("<H", np.lib.format.read_array_header_1_0),
    (2, 0): ("<I", np.lib.format.read_array_header_2_0),
}
_LONGEST_HEADER: Final = 10_000
#: "r": read only; "c": may be changed, in memory alone.
Mode: TypeAlias = Literal["r", "c"]


@final
class Records:
    """A cache on disk of records of ``size`` bytes by number, of at most ``most`` bytes and a quarter of what is free there.

    Records are read and written, not mapped, so that the pages belong to the system and not to this process. Where nothing
    can be written nothing is kept. Safe to use from several threads.
    """

    def __init__(self, size: int, most: int) -> None:
        self._size = size
        self._slots = array("q")  # by number; -1 for what is not kept
        self._kept = 0
        self._lock = threading.Lock()
        try:
            self._file: IO[bytes] = scratch.file()
            weakref.finalize(self, self._file.close)
            free = shutil.disk_usage(scratch.place()).free
        except OSError:
            most = free = 0
        self._room = min(most, free // _OF_DISK) // max(size, 1)

    def __contains__(self, number: int) -> bool:
        return number < len(self._slots) and self._slots[number] >= 0

    def put(self, number: int, record: np.ndarray) -> None:
        """Keep a record while there is room."""
        with self._lock:
            slot = self._kept
            if number in self or slot >= self._room:
                return
            try:
                self._file.seek(slot * self._size)
                self._file.write(record.tobytes())
                self._file.flush()
            except OSError:  # the disk is full after all
                self._room = slot
                return
            self._slots.extend([-1] * (number + 1 - len(self._slots)))
            self._slots[number] = slot
            self._kept += 1

    def get(self, number: int, into: np.ndarray) -> None:
        """Fill ``into``, contiguous, with a record that is kept."""
        with self._lock:
            self._file.seek(self._slots[number] * self._size)
            data = self._file.read(self._size)
        into[...] = np.frombuffer(data, into.dtype).reshape(into.shape)


@final
class Column:
    """Arrays ``[k, ...]`` of one dtype and sample shape, one after the other in a temporary file that has no name."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape, self.dtype = shape, dtype
        with scratch.typed():
            self._file: IO[bytes] = scratch.file()
        weakref.finalize(self, self._file.close)
        self._count = 0

    @property
    def nbytes(self) -> int:
        return self._file.tell()

    def add(self, rows: np.ndarray) -> None:
        """Append ``rows``, a block at a time; OutputError when the disk is full."""
        with scratch.typed():
            for block in blocks(rows):
                self._file.write(np.ascontiguousarray(block).data if block.size else b"")
        self._count += len(rows)

    def joined(self, mode: Mode = "r") -> np.ndarray:
        """All rows, ``[n, ...]``, mapped. The file goes when the array does."""
        with scratch.typed():
            self._file.flush()
        total = (self._count, *self.shape)
        if not self.nbytes:
            return np.empty(total, self.dtype)
        return np.memmap(self._file, self.dtype, mode, shape=total).view(np.ndarray)


def blocks(array: np.ndarray) -> Iterable[np.ndarray]:
    """``array`` in pieces of about BLOCK bytes along axis 0; of a mapped one, pages are given back as it goes."""
    step = max(1, BLOCK * len(array) // max(array.nbytes, 1)) if array.ndim else 1
    for start in range(0, len(array), step):
        yield array[start : start + step]
        forget(array)


def forget(array: np.ndarray) -> None:
    """Let the pages of a read-only mapped array go, which the disk has too; nothing for others."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    # Of a private mapping that can be written to, changes would be lost. Only Linux drops pages at once.
    if isinstance(base, mmap.mmap) and not array.flags.writeable and sys.platform == "linux":
        base.madvise(mmap.MADV_DONTNEED)


def npz(path: Path, mode: Mode = "r", names: Container[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz``, all or those called ``names``.

    Large ones are mapped where they lie in the file, or unpacked to disk if they are compressed.
    Every byte is checked against the archive's checksums. Raises what zipfile and numpy raise for files that are not whole
    or hold objects.
    """
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        return {
            info.filename.removesuffix(".npy"): _member(path, file, archive, info, mode)
            for info in archive.infolist()
            if info.filename.endswith(".npy") and (names is None or info.filename.removesuffix(".npy") in names)
        }


def _member(path: Path, file: IO[bytes], archive: zipfile.ZipFile, info: zipfile.ZipInfo, mode: Mode) -> np.ndarray:
    with archive.open(info) as member:
        shape, fortran, dtype = _header(member)
        start = member.tell()
        if info.file_size - start != _bytes(shape, dtype):
            raise ValueError(f"{info.filename} does not hold as many numbers as it says")
        if info.file_size < _SMALL:
            whole = np.frombuffer(bytearray(member.read()), dtype)
            return whole.reshape(shape, order="F" if fortran else "C")
        if info.compress_type != zipfile.ZIP_STORED or fortran:
            whole = _unpacked(member, dtype, math.prod(shape), mode)
            return whole.reshape(shape[::-1]).T if fortran else whole.reshape(shape)
        while member.read(BLOCK):
            pass  # to the end, where zipfile compares the checksum
    file.seek(info.header_offset)
    name, extra = struct.unpack("<HH", file.read(_LOCAL_HEADER)[-4:])
    offset = info.header_offset + _LOCAL_HEADER + name + extra + start
    return np.memmap(path, dtype, mode, offset, shape).view(np.ndarray)


def npy(path: Path) -> np.ndarray:
    """The array of an ``.npy``, mapped. Raises what numpy raises for a file that is not whole or holds objects."""
    with path.open("rb") as file:
        shape, fortran, dtype = _header(file)
        start, end = file.tell(), file.seek(0, os.SEEK_END)
        if end - start < _bytes(shape, dtype):
            raise ValueError("it does not hold as many numbers as it says")
        return np.memmap(file, dtype, "r", start, shape, "F" if fortran else "C")


def _bytes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """The size of such an array. ValueError for one that there cannot be: numpy itself dies of some."""
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded: they hold Python objects")
    if not dtype.itemsize or min(shape, default=0) < 0:
        raise ValueError(f"{dtype} of shape {list(shape)} is no array of numbers")
    return dtype.itemsize * math.prod(shape)


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(member)
    layout, read = _HEADERS.get(version, _HEADERS[2, 0])
    length = member.read(struct.calcsize(layout))
    (size,) = struct.unpack(layout, length)
    if size > _LONGEST_HEADER:  # numpy says so too, but makes room for it first
        raise ValueError(f"its header has {size:,} bytes")
    shape, fortran, dtype = read(io.BytesIO(length + member.read(size)))
    return tuple(shape), bool(fortran), dtype


def _unpacked(member: IO[bytes], dtype: np.dtype[Any], count: int, mode: Mode) -> np.ndarray:
    step = max(BLOCK // dtype.itemsize, 1) * dtype.itemsize
    column = Column((), dtype)
    while data := _exactly(member, step):
        column.add(np.frombuffer(data, dtype))
    whole = column.joined(mode)
    if len(whole) != count:
        raise ValueError("it ends early")
    return whole


def _exactly(member: IO[bytes], size: int) -> bytes:
    """``size`` bytes, or what is left of them: one read of a member may give fewer."""
    parts: list[bytes] = []
    while size and (part := member.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def write_header(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """What an ``.npy`` begins with; its rows follow in C order."""
    about = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, about)
