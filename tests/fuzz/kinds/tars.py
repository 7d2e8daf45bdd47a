"""Mutants of WebDataset's .tar files: of their bytes, of headers with checksums that fit, and of what lies in them."""

from __future__ import annotations

import io
import json
import random
import tarfile
from collections.abc import Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Final

import damage
from harness import Kind
from mutations import HOSTILE, few, other_bytes, seeds_folder, taken
from PIL import Image

from intact.data.spec import InputSpec

_INPUTS: Final = (InputSpec("x", (None, 8, 8, 3)),)
_FORMATS: Final = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
_BLOCK: Final = 512
#: Where a header says what: name, mode, size, checksum, type, linked name, magic, the name's beginning.
_FIELDS: Final = {
    "name": (0, 100),
    "mode": (100, 8),
    "size": (124, 12),
    "time": (136, 12),
    "kind": (156, 1),
    "link": (157, 100),
    "magic": (257, 8),
    "prefix": (345, 155),
}
_CHECKSUM: Final = (148, 8)
_TEXTS: Final = (
    *(b"../../out.png", b"/etc/passwd", b"\x1b[2J.png", b"00000.png", b"a.b.c.png", b".png", b"png", b"__key__.png"),
    *(
        b"\xff\xfe.png",
        b"",
        b" ",
        b"0",
        b"77777777777",
        b"-1",
        b"\x80" + b"\xff" * 11,
        b"\x80" + b"\0" * 10 + b"\1",
        b"\xff" * 12,
        b"9" * 11,
    ),
    *(b"L", b"K", b"x", b"g", b"S", b"1", b"2", b"5", b"6", b"V", b"\0", b"GNU.sparse.map=0,1\n", b"a" * 400),
)
_PAX: Final = ("GNU.sparse.major", "GNU.sparse.map", "size", "path", "linkpath", "hdrcharset", "GNU.sparse.realsize", "mtime")
_HELD: Final = (b"", b"-1", b"1e999", b"nan", b"99999999999999999999", b"\xff", b"\x1b[31mcat", b"a" * 5000, b"[" * 50_000)


@cache
def seeds() -> Sequence[Path]:
    """Each format of header, labels as text, number and JSON, names that are long, and folders in between."""
    folder = seeds_folder("tars")
    picture = io.BytesIO()
    Image.new("RGB", (8, 8), (9, 99, 199)).save(picture, "PNG")
    labels = {
        "cls": lambda n: str(n % 3).encode(),
        "txt": lambda n: ("cat", "dog", "cow")[n % 3].encode(),
        "json": lambda n: json.dumps({"label": n % 3, "caption": "words"}).encode(),
    }
    for name, kind in _FORMATS.items():
        for suffix, label in labels.items():
            with tarfile.open(folder / f"{name}-{suffix}.tar", "w", format=kind) as archive:
                for n in range(6):
                    start = "set/" if name == "ustar" else "é" * 120 + "/"
                    for field, content in (("png", picture.getvalue()), (suffix, label(n))):
                        about = tarfile.TarInfo(f"{start}{n:05}.{field}")
                        about.size = len(content)
                        archive.addfile(about, io.BytesIO(content))
    return sorted(folder.iterdir())


def mutate(seed: Path, draw: random.Random, folder: Path) -> Path:
    """A mutant of the bytes, of headers, or of members."""
    content, out = seed.read_bytes(), folder / "mutant.tar"
    match draw.randrange(4):
        case 0:
            made = other_bytes(content, draw)
        case 1:
            made = _other_members(content, draw)
        case _:
            made = _other_headers(content, draw)
    out.write_bytes(made)
    return out


def _other_headers(content: bytes, draw: random.Random) -> bytes:
    """Other fields in some of the headers."""
    made = bytearray(content)
    places = [at for at in range(0, len(made), _BLOCK) if made[at + 257 : at + 262] == b"ustar"]
    for _ in range(few(draw)):
        at = draw.choice(places)
        start, size = _FIELDS[draw.choice(list(_FIELDS))]
        value = draw.choice(_TEXTS) if draw.random() < 0.7 else b"%o" % (draw.choice(HOSTILE) % 8**11)
        made[at + start : at + start + size] = value[:size].ljust(size, b"\0")
        _sum(made, at)
    return bytes(made)


def _sum(made: bytearray, at: int) -> None:
    """The checksum that fits a header."""
    start, size = _CHECKSUM
    made[at + start : at + start + size] = b" " * size
    made[at + start : at + start + size] = b"%06o\0 " % sum(made[at : at + _BLOCK])


def _other_members(content: bytes, draw: random.Random) -> bytes:
    """The same samples with another content, name, kind or header of its own, some of them twice or not at all."""
    made = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(content)) as old:
        entries = [(member.name, b"" if (file := old.extractfile(member)) is None else file.read()) for member in old]
    chosen = {draw.randrange(len(entries)) for _ in range(few(draw))}
    with tarfile.open(fileobj=made, mode="w", format=draw.choice(list(_FORMATS.values()))) as new:
        for n, (name, given) in enumerate(entries):
            about, held = tarfile.TarInfo(name), given
            if n in chosen:
                match draw.randrange(6):
                    case 0:
                        continue
                    case 1:
                        about.name = draw.choice(_TEXTS).decode("latin-1").replace("\0", "") or "x"
                    case 2:
                        about.type = draw.choice((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE))
                        about.linkname = draw.choice(("/dev/zero", "../..", name))
                    case 3:
                        about.pax_headers = {draw.choice(_PAX): draw.choice(("-1", "1e9", "0,1", "a" * 2000, "\x1b[2J", ""))}
                    case 4:
                        held = draw.choice(_HELD)
                    case _:
                        held = damage.data(held, draw)
            about.size = len(held) if about.isreg() else 0
            with suppress(ValueError):  # a name that this format does not hold
                new.addfile(about, io.BytesIO(held))
    return made.getvalue()


KIND = Kind("tars", seeds, mutate, partial(taken, inputs=_INPUTS))
