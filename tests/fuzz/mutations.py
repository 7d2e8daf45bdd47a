"""What kinds do to bytes and texts alike."""

from __future__ import annotations

import random
import struct
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from intact.data import load
from intact.data.spec import InputSpec

#: Numbers that sizes, counts and offsets are hostile with, of up to 32 bits.
HOSTILE: Final = (0, 1, 2, 3, 7, 127, 255, 256, 2**15 - 1, 2**15, 2**16 - 1, 2**16, 2**20, 2**30, 2**31 - 1, 2**31, 2**32 - 1)
_FORMATS: Final = ("<H", ">H", "<I", ">I", "B")


def seeds_folder(kind: str) -> Path:
    """Where the seeds of a kind are made, gone with this process."""
    return Path(_made(kind).name)


@cache
def _made(kind: str) -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix=f"fuzz-seeds-{kind}-")


def few(draw: random.Random) -> int:
    """How many changes a mutant has."""
    return draw.choice((1, 1, 1, 2, 2, 3, 5))


def other_bytes(data: bytes, draw: random.Random, first: int | None = None, *, words: bool = False) -> bytes:
    """``data`` with a few changes anywhere, or among its ``first`` bytes: bits, numbers, stretches gone, doubled or put in.

    ``words``: numbers are put at multiples of four bytes, and have as many, as in flatbuffers.
    """
    made = bytearray(data)
    for _ in range(few(draw)):
        if len(made) < 16:
            break
        at = draw.randrange(min(len(made), first or len(made)))
        match draw.randrange(9):
            case 0 | 1:
                made[at] ^= 1 << draw.randrange(8)
            case 2:
                made[at] = draw.randrange(256)
            case 3:
                del made[at:]
            case 4:
                made[at:at] = draw.randbytes(draw.randrange(1, 9))
            case 5:
                del made[at : at + draw.randrange(1, 9)]
            case 6:
                made[at:at] = made[at : at + draw.randrange(1, 200)] * draw.choice((1, 2, 1000))
            case _:
                layout = "<I" if words else draw.choice(_FORMATS)
                size, place = struct.calcsize(layout), at & ~3 if words else at
                struct.pack_into(layout, made, min(place, len(made) - size), draw.choice(HOSTILE) % (1 << (8 * size)))
    return bytes(made)


def taken(path: Path, inputs: Sequence[InputSpec]) -> None:
    """Load, look at, bind and read samples that are labelled with three classes."""
    found = load(path)
    found.examples()
    samples = found.bind(inputs, 3)
    samples.batch(range(min(len(samples), 4)))
    samples.take(range(min(len(samples), 4))).fingerprint()
    repr(samples)
