"""Mutants of image files of every documented format: of their bytes, and of a PNG's chunks with checksums that fit."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from harness import Kind
from mutations import HOSTILE, few, other_bytes, seeds_folder
from PIL import Image, PngImagePlugin, features

from intact import data
from intact.data.pictures import decode_mask
from intact.data.preprocessing import Preprocessing
from intact.data.spec import InputSpec
from intact.errors import IntactError

_INPUT: Final = InputSpec("x", (None, 8, 8, 3))
_SIDE: Final = 24
_CHUNKS: Final = tuple(b"IHDR PLTE IDAT tRNS iCCP zTXt tEXt iTXt eXIf acTL fcTL fdAT gAMA pHYs IEND".split())


@cache
def seeds() -> Sequence[Path]:
    """Small images of each format, in the modes and with the companions that it can have."""
    folder, rng = seeds_folder("images"), np.random.default_rng(0)
    rgb = Image.fromarray(rng.integers(0, 256, (_SIDE, _SIDE, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a picture"
    text = PngImagePlugin.PngInfo()
    text.add_text("name", "value" * 40, zip=True)
    frames: dict[str, Any] = {"save_all": True, "append_images": [rgb.rotate(90), rgb.rotate(180)]}
    deep = Image.fromarray(rng.integers(0, 65536, (_SIDE, _SIDE), np.uint16))
    several: list[tuple[str, Image.Image, dict[str, Any]]] = [
        ("png", rgb, {"exif": exif, "pnginfo": text, "icc_profile": b"profile" * 30}),
        *(("png", rgb.convert(mode), {}) for mode in ("L", "P", "1", "LA", "RGBA")),
        ("png", rgb.convert("P"), {"transparency": 3}),
        ("png", deep, {}),
        ("png", rgb, frames),
        ("jpg", rgb, {"exif": exif}),
        ("jpg", rgb, {"progressive": True, "dpi": (300, 300)}),
        ("jpg", rgb.convert("CMYK"), {}),
        ("jpg", rgb.convert("L"), {}),
        ("gif", rgb.convert("P"), {}),
        ("gif", rgb.convert("P"), frames),
        ("bmp", rgb, {}),
        ("bmp", rgb.convert("P"), {}),
        ("dib", rgb, {}),
        ("webp", rgb, {"exif": exif}),
        ("webp", rgb.convert("RGBA"), {"lossless": True}),
        ("webp", rgb, frames),
        *(("tiff", rgb, {"compression": f"tiff_{name}"}) for name in ("lzw", "adobe_deflate")),
        ("tiff", rgb, {"compression": "packbits"}),
        ("tiff", rgb, {"compression": "jpeg"}),
        ("tiff", rgb.convert("1"), {"compression": "group4"}),
        ("tiff", deep, {}),
        ("tiff", rgb, frames),
        ("tiff", rgb, {"big_tiff": True}),
        *(("ppm", image, {}) for image in (rgb, rgb.convert("L"), rgb.convert("1"), deep)),
        ("tga", rgb, {}),
        ("tga", rgb.convert("RGBA"), {"compression": "tga_rle"}),
        ("qoi", rgb, {}),
    ]
    several += [("jp2", rgb, {})] if features.check("jpg_2000") else []
    several += [("avif", rgb, {})] if features.check("avif") else []
    for n, (suffix, image, options) in enumerate(several):
        image.save(folder / f"{n}.{suffix}", **options)
    (folder / "plain.ppm").write_bytes(b"P3 4 4 1000\n" + b"1 500 1000 " * 16)
    return sorted(folder.iterdir())


def mutate(seed: Path, draw: random.Random, folder: Path) -> Path:
    """A mutant of the bytes, or of the chunks of a PNG."""
    content, out = seed.read_bytes(), folder / f"mutant{seed.suffix}"
    if seed.suffix == ".png" and draw.random() < 0.6:
        content = _other_chunks(content, draw)
    else:
        content = other_bytes(content, draw, draw.choice((32, 200, None)))
    out.write_bytes(content)
    return out


def _other_chunks(content: bytes, draw: random.Random) -> bytes:
    chunks, at = list[tuple[bytes, bytes]](), 8
    while at < len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += 12 + size
    for _ in range(few(draw)):
        n = draw.randrange(len(chunks))
        kind, held = chunks[n]
        match draw.randrange(6):
            case 0:
                chunks[n] = draw.choice(_CHUNKS), held
            case 1:
                chunks[n:n] = [(kind, held)] * draw.choice((1, 3, 500))
            case 2:
                bomb = zlib.compress(bytes(draw.choice((100, 1 << 20, 1 << 24))))
                kind = draw.choice((b"zTXt", b"iCCP"))
                chunks[n:n] = [(kind, b"a\0\0" + bomb)] * draw.choice((1, 100))
            case 3 if kind == b"IHDR":
                sides = [draw.choice((24, *HOSTILE)) for _ in range(2)]
                chunks[n] = kind, struct.pack(">II", *sides) + held[8:]
            case _:
                chunks[n] = kind, other_bytes(held + bytes(16), draw)[: len(held)]
    return content[:8] + b"".join(
        len(held).to_bytes(4, "big") + kind + held + zlib.crc32(kind + held).to_bytes(4, "big") for kind, held in chunks
    )


def take(path: Path) -> None:
    """Bind the folder, identify and read its image, and read it as a mask."""
    preprocessing = Preprocessing(resize="letterbox")
    samples = data.folder(path.parent, resize="letterbox").bind((_INPUT,), None)
    samples.fingerprint()
    with suppress(IntactError), path.open("rb") as file:
        decode_mask(file, preprocessing.fit(_INPUT))
    samples.batch([0])


KIND = Kind("images", seeds, mutate, take)
