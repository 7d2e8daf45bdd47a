"""Zip archives of strangers: opened only where their names are plain and what they unpack to is in proportion.

Used in child processes by plain name and by the readers of formats; standard library only.
"""

from __future__ import annotations

import errno
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Final

#: Bytes that any archive may unpack to, and how many times its own size comes on top: pruned weights shrink to a twelfth.
_FREE: Final = 64 << 20
_RATIO: Final = 20
#: What torch and Keras write. Others (LZMA) take memory by what their headers say.
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_PIECE: Final = 1 << 20
_MOST_ENTRIES: Final = 200_000
#: What Python's reader raises for archives that are not whole.
_NOT_WHOLE: Final = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError,
    OverflowError, IndexError, KeyError,
)  # fmt: skip

#: Of who writes what is read here: no fault of the archive.
_FULL: Final = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


class UnsoundError(Exception):
    """The archive is not whole or not to be trusted; the text is fit for a user, within brackets."""


@contextmanager
def opened(source: Path | IO[bytes], *, ratio: int = _RATIO) -> Iterator[zipfile.ZipFile]:
    """The archive, for reading; what is wrong with it, now or while it is read, is an :class:`UnsoundError`.

    A full disk stays an OSError. What an archive unpacks to is the sum of what its entries say, and that is true where they are
    read piece by piece, as :func:`read` does: of one that says too little, no more is unpacked.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            size = source.stat().st_size if isinstance(source, Path) else source.seek(0, 2)
            _check(archive.infolist(), in_proportion(size, ratio))
            yield archive
    except _NOT_WHOLE as error:
        if isinstance(error, OSError) and error.errno in _FULL:
            raise
        raise UnsoundError(" ".join(str(error).split())[:200] or type(error).__name__) from error


def in_proportion(size: int, ratio: int = _RATIO) -> int:
    """The most bytes that a file of ``size`` bytes may unpack to."""
    return _FREE + ratio * size


def read(archive: zipfile.ZipFile, name: str) -> bytes:
    """An entry; ``ZipFile.read`` would unpack all that is there, and then cut it to the size that the entry says."""
    with archive.open(name) as entry:
        return b"".join(iter(lambda: entry.read(_PIECE), b""))


def _check(entries: list[zipfile.ZipInfo], most: int) -> None:
    if len(entries) > _MOST_ENTRIES:
        raise UnsoundError(f"it holds {len(entries):,} files")
    total = sum(entry.file_size for entry in entries)
    if total > most:
        raise UnsoundError(f"it unpacks to {total / 1e9:,.1f} GB, out of all proportion to its size")
    names = [entry.filename for entry in entries]
    if len(names) != len(set(names)):
        raise UnsoundError("it holds one name twice")
    for entry in entries:
        if entry.compress_type not in _METHODS or entry.flag_bits & 1:
            raise UnsoundError("it is encrypted, or compressed in a way that no framework uses")
        path = PurePosixPath(entry.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in entry.filename or ":" in entry.filename.partition("/")[0]:
            raise UnsoundError(f"it holds the name {ascii(entry.filename)[:80]}, which leads out of it")
