"""Mutants of .npz and .npy files: of their bytes, and of what headers and directories say, checksums made to fit."""

from __future__ import annotations

import io
import random
import struct
import zipfile
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from harness import Kind
from mutations import HOSTILE, few, other_bytes, seeds_folder, taken

from intact.data.spec import InputSpec

_INPUTS: Final = (InputSpec("x", (None, 4, 4, 3)),)
_SHAPES: Final = (
    *("()", "(2,)", "(-1,)", "(-2, -24)", "(1000000000000,)", "(4294967296, 4294967296)", "(2, 4, 4, 3)", "(0, 4, 4, 3)"),
    *("(True,)", "(2.5,)", "(None,)", "2", "[2]", "((2,),)", "(" * 90 + ")" * 90, "(9" + "9" * 5000 + ",)"),
)
_TYPES: Final = (
    *("'<f4'", "'>f8'", "'|O'", "'|V0'", "'|S0'", "'<U1000000000'", "'<c8'", "'<M8[s]'", "[('a', '<f4'), ('b', '|O')]"),
    *("'<f3'", "''", "'\x1b[2J'", "None", "('<f4', (1000000, 1000000))", "[('a', '<f4', (65536, 65536))]", "{}", "'<f2'"),
)


@cache
def seeds() -> Sequence[Path]:
    """Arrays of both kinds of file as numpy writes them, small ones and some that go to disk."""
    folder, rng = seeds_folder("npz"), np.random.default_rng(0)
    x, y = rng.random((6, 4, 4, 3), np.float32), np.arange(6) % 3
    large = np.zeros((6000, 4, 4, 3), np.float32)
    arrays: dict[str, dict[str, Any]] = {
        "pair": {"x": x, "y": y},
        "named": {"x": x, "labels": y.astype(np.uint8)},
        "images": {"images": (x * 255).astype(np.uint8), "labels": np.eye(3)[y]},
        "alone": {"anything": np.asfortranarray(x.astype(np.float64))},
        "moved": {"x_test": x.transpose(0, 3, 1, 2), "y_test": y, "x_train": x, "other": np.array("text")},
        "large": {"x": large},
    }
    for name, held in arrays.items():
        np.savez(folder / f"{name}.npz", **held)
        np.savez_compressed(folder / f"{name}_packed.npz", **held)
    for name, array in {"c": x, "f": np.asfortranarray(x), "big": x.astype(">f8"), "u1": x.astype(np.uint8)}.items():
        np.save(folder / f"{name}.npy", array)
    return sorted(folder.iterdir())


def mutate(seed: Path, draw: random.Random, folder: Path) -> Path:
    """A mutant of the bytes, or of an array's header in a file that is sound else."""
    content, out = seed.read_bytes(), folder / f"mutant{seed.suffix}"
    match draw.randrange(3):
        case 0:
            made = other_bytes(content, draw, 128 if draw.random() < 0.5 else None)
        case 1 if seed.suffix == ".npz":
            made = _other_directory(content, draw)
        case _:
            made = _another_archive(content, draw) if seed.suffix == ".npz" else _another_array(content, draw)
    out.write_bytes(made)
    return out


def _another_array(content: bytes, draw: random.Random) -> bytes:
    """Another header, or other bytes, of what ``numpy.save`` wrote."""
    if draw.random() < 0.3:
        return other_bytes(content, draw, 128)
    start = io.BytesIO(content)
    np.lib.format.read_magic(start)
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(start)
    said = [repr(dtype.str), str(fortran), str(shape)]
    for _ in range(few(draw)):
        place = draw.randrange(3)
        said[place] = draw.choice((_TYPES, ("True", "1", "None"), _SHAPES)[place])
    header = f"{{'descr': {said[0]}, 'fortran_order': {said[1]}, 'shape': {said[2]}, }}\n".encode()
    version = draw.choice((b"\1\0", b"\1\0", b"\2\0", b"\3\0", b"\7\0"))
    length = struct.pack("<H", len(header) % 2**16) if version == b"\1\0" else struct.pack("<I", len(header))
    return b"\x93NUMPY" + version + length + header + content[start.tell() :]


def _another_archive(content: bytes, draw: random.Random) -> bytes:
    """The same archive with another array in it, more of them, or other names."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w") as new:
        chosen = draw.choice(old.namelist())
        for info in old.infolist():
            name, held = info.filename, old.read(info)
            if name == chosen:
                match draw.randrange(6):
                    case 0:
                        name = draw.choice(("../../out.npy", "\x1b[2J.npy", "x.npy", "y.npy", "/dev/zero.npy", ".npy", "x"))
                    case 1:
                        held = bytes(draw.choice((0, 10, 1 << 21)))
                    case _:
                        held = _another_array(held, draw)
            kind = draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
            new.writestr(zipfile.ZipInfo(name), held, kind)
    return made.getvalue()


def _other_directory(content: bytes, draw: random.Random) -> bytes:
    """Other sizes, offsets and methods in the directory at the end of the archive."""
    made = bytearray(content)
    start = made.find(b"PK\1\2")
    for _ in range(few(draw)):
        at = draw.randrange(start, len(made) - 4)
        layout = draw.choice(("<H", "<I"))
        struct.pack_into(layout, made, at, draw.choice(HOSTILE) % (1 << (8 * struct.calcsize(layout))))
    return bytes(made)


KIND = Kind("npz", seeds, mutate, partial(taken, inputs=_INPUTS))
