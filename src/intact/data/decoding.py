"""Image files of the formats that are documented, opened within bounds: what one costs is known before it is decoded."""

from __future__ import annotations

import io
import math
import re
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import IO, Final, final

from PIL import Image, UnidentifiedImageError

from intact.errors import DataError, IntactError

#: Formats by Pillow's names, and how many pixels of each are decoded: with what is made of them, they take at most about 800 MB
#: at 4 to 12 bytes a pixel, and WEBP 16, JPEG 2000 20 and 0.3 microseconds. Others start programs (EPS), or nobody has them.
_MOST_PIXELS: Final = 64_000_000
_FORMATS: Final = {
    **dict.fromkeys(("PNG", "JPEG", "BMP", "DIB", "GIF", "TIFF", "PPM", "TGA", "QOI"), _MOST_PIXELS),
    "WEBP": 40_000_000,
    "AVIF": 40_000_000,
    "JPEG2000": 20_000_000,
}
#: Bytes of a file.
LARGEST_FILE: Final = 128 << 20
#: Seconds of computing after which no more of a file is read: some formats are decoded in Python, others are made to be slow.
_MOST_SECONDS: Final = 8.0
#: A progressive JPEG goes over all of its pixels once for each scan, at 2 to 4 nanoseconds; ten scans are usual.
_MOST_SCANNED: Final = 1 << 31
_SCAN: Final = b"\xff\xda"
#: Bytes of EXIF, of which a camera writes at most 65,536. Its entries may all point at the same bytes, and each is a copy.
_MOST_EXIF: Final = 3 << 16
_EXIF: Final = re.compile(rb"\xff\xe1(..)Exif\0\0", re.DOTALL)
#: Numbers in the first directory of a TIFF, strips' offsets above all, each of which is a Python object.
_MOST_NUMBERS: Final = 1 << 20
#: What TIFFs begin with: the layout of the offset of the first directory and of its length, that of an entry (tag, type, count,
#: value), and how bytes are ordered. Classic, and BigTIFF.
_TIFFS: Final = {
    b"II*\0": ("<4xI", "<H", "<HHII"),
    b"MM\0*": (">4xI", ">H", ">HHII"),
    b"II+\0": ("<8xQ", "<Q", "<HHQQ"),
    b"MM\0+": (">8xQ", ">Q", ">HHQQ"),
}
_TEXTS: Final = (1, 2, 6, 7)  # types of which Pillow makes bytes
_TILE_SIDES: Final = (322, 323)
_ORIENTATION: Final = 0x0112
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@contextmanager
def opened(file: IO[bytes]) -> Iterator[Image.Image]:
    """The first image in a file, decoded. Whatever goes wrong, here or with what is done with it, is a DataError."""
    with _refusing():
        metered = _Metered(_checked(file))
        image = Image.open(metered, formats=_formats())  # type: ignore[arg-type]  # it has all that Pillow asks for
        with image, decoded(image):
            yield image


@contextmanager
def decoded(image: Image.Image) -> Iterator[None]:
    """Pillow's ``image``, from wherever, has its pixels and what is made of them has room. DataError as of :func:`opened`."""
    with _refusing(), _ROOM.held(_pixels(image)):
        _check_exif(len(image.info.get("exif", b"")) + len(image.info.get("Raw profile type exif", "")) // 2)
        image.load()
        yield


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except IntactError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:  # the latter where warnings are errors
        raise DataError(f"holds more than {_MOST_PIXELS:,} pixels; make it smaller") from error
    except (Exception, MemoryError) as error:  # of Pillow's decoders anything can come, warnings that are errors included
        not_one = isinstance(error, UnidentifiedImageError)
        why = "not an image" if not_one else (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"does not decode as an image ({why}); replace or delete the file") from error


@cache
def _formats() -> tuple[str, ...]:
    """Those of _FORMATS that the installed Pillow has: AVIF came late."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def upright(image: Image.Image) -> Image.Image:
    """``image`` turned as its EXIF says."""
    turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    return image if turn is None else image.transpose(turn)


def _checked(file: IO[bytes]) -> IO[bytes]:
    """``file``, or its bytes, when it is none of those that take minutes or gigabytes whatever size their image has."""
    start = file.read(4)
    if not start:
        raise DataError("does not decode as an image (it is empty); replace or delete the file")
    if start in _TIFFS:
        _check_tiff(file, *_TIFFS[start])
    file.seek(0)
    if start[:2] != b"\xff\xd8":
        return file
    data = file.read()
    _check_exif(sum(int.from_bytes(length, "big") for length in _EXIF.findall(data)))
    made = io.BytesIO(data)
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        scanned = image.width * image.height * data.count(_SCAN)
    if scanned > _MOST_SCANNED:
        raise DataError(f"is a JPEG in {data.count(_SCAN):,} scans, which take minutes to decode; save it again")
    return made


def _check_tiff(file: IO[bytes], where: str, length: str, entry: str) -> None:
    """Refuses more numbers than an image needs, and tiles larger than any image: the decoder makes room for a whole one."""

    def read(layout: str) -> tuple[int, ...]:
        return struct.unpack(layout, file.read(struct.calcsize(layout)))

    file.seek(0)
    file.seek(read(where)[0])
    sides, numbers = [1], 0
    for _ in range(min(read(length)[0], _MOST_NUMBERS)):
        tag, kind, count, value = read(entry)
        numbers += 0 if kind in _TEXTS else count
        if tag in _TILE_SIDES:  # of two bytes in big-endian order, the first of the field
            sides.append(value >> 16 if entry[0] == ">" and kind == 3 and entry.endswith("I") else value)
    if numbers > _MOST_NUMBERS or math.prod(sides) > _MOST_PIXELS:
        raise DataError("is a TIFF in more or larger pieces than an image has; save it again")


def _check_exif(size: int) -> None:
    if size > _MOST_EXIF:
        raise DataError(f"holds {size:,} bytes of EXIF, and at most {_MOST_EXIF:,} are read; save it without")


def _pixels(image: Image.Image) -> int:
    """How many pixels ``image`` is decoded to, by the measure of ``_MOST_PIXELS``. DataError for too many."""
    most = _FORMATS.get(image.format or "", _MOST_PIXELS)  # Pillow calls a JPEG of several images MPO
    count = image.width * image.height
    if count > most:
        raise DataError(
            f"is {image.width:,} x {image.height:,} pixels, and at most {most:,} are decoded of such a file; make it smaller"
        )
    return count * _MOST_PIXELS // most


@final
class _Metered:
    """What Pillow asks of a file. It may be read about three times: entries that point at the same bytes are a bomb."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._size = file.seek(0, io.SEEK_END)
        self._left = 3 * self._size + (1 << 20)
        self._until = time.thread_time() + _MOST_SECONDS
        file.seek(0)

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(min(size, self._size))  # room is made for what is asked for, not for what there is
        self._left -= len(data)
        if self._left < 0:
            raise DataError("refers to the same bytes over and over, as no camera or program writes it; save it again")
        if time.thread_time() > self._until:
            raise DataError(f"takes more than {_MOST_SECONDS:g} seconds to decode; save it as PNG or JPEG")
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


@final
class _Room:
    """Threads decode so many images at a time as have the pixels of the largest one together."""

    def __init__(self) -> None:
        self._taken = 0
        self._left = threading.Condition()

    @contextmanager
    def held(self, pixels: int) -> Iterator[None]:
        with self._left:
            self._left.wait_for(lambda: not self._taken or self._taken + pixels <= _MOST_PIXELS)
            self._taken += pixels
        try:
            yield
        finally:
            with self._left:
                self._taken -= pixels
                self._left.notify_all()


_ROOM: Final = _Room()
