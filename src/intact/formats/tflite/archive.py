"""A zip archive behind a .tflite: where TensorFlow Lite's metadata keeps its files (labels.txt). Carried, never unpacked.

Source of the layout: PKWARE's APPNOTE.TXT, 4.3.12 (central directory) and 4.3.16 (its end).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

#: mark, disks and counts of entries, the directory's size [5] and offset [6], the comment's length [7].
_END: Final = struct.Struct("<4sHHHHIIH")
#: mark, …, lengths of name, extra field and comment [10:13], …, the entry's offset [16].
_ENTRY: Final = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END_MARK, _ENTRY_MARK, _FILE_MARK = b"PK\x05\x06", b"PK\x01\x02", b"PK\x03\x04"
#: Entries may be mapped where they lie: they keep their place within this many bytes.
_ALIGNMENT: Final = 64
_LONGEST_COMMENT: Final = 0xFFFF


def split(data: bytes) -> bytes:
    """The archive at the end of ``data``, its offsets counted from its own start; empty where there is none that is sound."""
    found = _found(data)
    if found is None:
        return b""
    first, directory, shift = found
    lead = first % _ALIGNMENT
    return _moved(bytes(lead) + data[first:], directory - first + lead, shift - first + lead)


def start(data: bytes) -> int:
    """Where the archive at the end of ``data`` begins: at its end where there is none that is sound."""
    found = _found(data)
    return len(data) if found is None else found[0]


def _found(data: bytes) -> tuple[int, int, int] | None:
    """Where the first entry and the central directory are, and what to add to the offsets in it; None where none is sound."""
    at = data.rfind(_END_MARK, max(0, len(data) - _END.size - _LONGEST_COMMENT))
    if at < 0 or at + _END.size > len(data):
        return None
    end = _END.unpack_from(data, at)
    directory = at - end[5]
    if directory < 0 or at + _END.size + end[7] != len(data):
        return None
    shift = directory - end[6]  # not 0 where offsets count from the archive's start
    starts = [_ENTRY.unpack_from(data, entry)[16] + shift for entry in _entries(data, directory, at)]
    if not starts or len(starts) != end[4] or not all(0 <= s < directory and data[s : s + 4] == _FILE_MARK for s in starts):
        return None
    return min(starts), directory, shift


def join(model: bytes, archive: bytes) -> bytes:
    """``model`` with the archive, as :func:`split` gives it, behind it."""
    if not archive:
        return model
    start = len(model) + -len(model) % _ALIGNMENT
    at = archive.rfind(_END_MARK)
    return model + bytes(start - len(model)) + _moved(archive, at - _END.unpack_from(archive, at)[5], start)


def _entries(data: bytes | bytearray, directory: int, end: int) -> Iterator[int]:
    """Where the entries of the central directory are, as far as they are sound."""
    at = directory
    while at + _ENTRY.size <= end and data[at : at + 4] == _ENTRY_MARK:
        yield at
        at += _ENTRY.size + sum(_ENTRY.unpack_from(data, at)[10:13])


def _moved(archive: bytes, directory: int, by: int) -> bytes:
    """``archive``, whose central directory starts at that byte, with ``by`` added to every offset in it."""
    moved, end = bytearray(archive), archive.rfind(_END_MARK)
    for at in _entries(archive, directory, end):
        _shift(moved, at, _ENTRY, 16, by)
    _shift(moved, end, _END, 6, by)
    return bytes(moved)


def _shift(data: bytearray, at: int, layout: struct.Struct, field: int, by: int) -> None:
    values = list(layout.unpack_from(data, at))
    values[field] += by
    layout.pack_into(data, at, *values)
