"""Ways to damage bytes, JSON documents and zip archives; each takes the random numbers that decide."""

from __future__ import annotations

import io
import json
import random
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

#: Numbers at which programs err.
NUMBERS: Final = (0, 1, -1, 2, 127, 128, 255, 256, 32767, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
_TEXTS: Final = (
    "",
    "a",
    "../x",
    "/etc/passwd",
    "\x1b[31m",
    "\0",
    "é" * 300,
    "Lambda",
    "__import__('os')",
    "1e999",
    "None",
    "x\ny",
)
_NAMES: Final = ("../x", "/x", "a\\b", "config.json", "x" * 300, "é", "data.pkl", "a/b/c/d")


def data(found: bytes, draw: random.Random) -> bytes:
    """One to four changes anywhere: bits, bytes, runs, numbers, cuts."""
    mutant = bytearray(found)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        if not mutant:
            break
        at = draw.randrange(len(mutant))
        match draw.randrange(7):
            case 0:
                mutant[at] ^= 1 << draw.randrange(8)
            case 1:
                mutant[at] = draw.randrange(256)
            case 2:
                size = draw.choice((1, 2, 4, 8))
                number = draw.choice(NUMBERS) % (1 << (8 * size))
                mutant[at : at + size] = number.to_bytes(size, draw.choice(("little", "big")))
            case 3:
                del mutant[at : at + draw.randrange(1, 64)]
            case 4:
                mutant[at:at] = mutant[at : at + draw.randrange(1, 64)]
            case 5:
                other = draw.randrange(len(mutant))
                mutant[at : at + 16] = mutant[other : other + 16]
            case 6:
                del mutant[draw.randrange(len(mutant)) :]
    return bytes(mutant)


def value(node: Any, draw: random.Random) -> Any:
    """What may stand instead of ``node`` in a JSON document."""
    odd: list[Callable[[], Any]] = [
        lambda: draw.choice(NUMBERS),
        lambda: draw.choice(_TEXTS),
        lambda: draw.choice((None, True, False, [], {}, 0.5, -1e308, [None], [[]], {"class_name": "x"})),
        lambda: [node, node],
        lambda: {"class_name": "function", "module": draw.choice(("os", "keras.utils", "builtins")), "config": "system"},
        lambda: -node if isinstance(node, (int, float)) else said(node),
        lambda: node * 1000 if isinstance(node, (int, str)) and len(said(node)) < 50 else [],
        lambda: nested(draw.choice((3, 100, 2000, 20_000))),
    ]
    return draw.choice(odd)()


def said(node: Any) -> str:
    """``str(node)``; of what an earlier change has nested too deep for that, its beginning."""
    try:
        return str(node)
    except RecursionError:
        return "[" * 1000


def nested(depth: int) -> Any:
    """``[[[...]]]``."""
    found: Any = []
    for _ in range(depth):
        found = [found]
    return found


def places(node: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a document."""
    found: list[tuple[Any, Any]] = []
    pending = [node]
    while pending:
        part = pending.pop()
        keys = list(part) if isinstance(part, dict) else list(range(len(part))) if isinstance(part, list) else []
        found += [(part, key) for key in keys]
        pending += [part[key] for key in keys]
    return found


def document(found: bytes, draw: random.Random) -> bytes:
    """A JSON document with one to three of its values replaced, taken out, or put elsewhere."""
    try:
        whole = json.loads(found)
    except (ValueError, RecursionError):  # damaged already
        return data(found, draw)
    for _ in range(draw.choice((1, 1, 2, 3))):
        at = places(whole)
        if not at:
            break
        part, key = draw.choice(at)
        match draw.randrange(4):
            case 0:
                del part[key]
            case 1:
                other, name = draw.choice(at)
                try:
                    part[key] = json.loads(json.dumps(other[name]))
                except (KeyError, IndexError, RecursionError):
                    continue
            case _:
                part[key] = value(part[key], draw)
    try:
        return json.dumps(whole).encode()
    except RecursionError:
        return b"[" * 50_000


def archive(path: Path, draw: random.Random, parts: Callable[[str, bytes, random.Random], bytes]) -> bytes:
    """A zip archive with one of its entries damaged by ``parts``, or its list of entries, or its bytes."""
    if draw.random() < 0.3:
        return data(path.read_bytes(), draw)
    with zipfile.ZipFile(path) as source:
        entries = [(name, source.read(name)) for name in source.namelist()]
    for _ in range(draw.choice((1, 1, 1, 2))):
        at = draw.randrange(len(entries))
        name, found = entries[at]
        match draw.randrange(16):
            case 0:
                del entries[at]
            case 1:
                root = name.rpartition("/")[0]
                entries[at] = (draw.choice((draw.choice(_NAMES), f"{root}/{draw.choice(_NAMES)}")), found)
            case 2:
                entries.insert(draw.randrange(len(entries) + 1), (name, data(found, draw)))
            case 3:
                entries[at] = (name, bytes(draw.choice((0, 1 << 16, 1 << 16, 80 << 20))))
            case _:
                entries[at] = (name, parts(name, found, draw))
        if not entries:
            break
    method = draw.choice((*(zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) * 10, zipfile.ZIP_LZMA))
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", method, compresslevel=1) as made:
        warnings.simplefilter("ignore")  # of names that are there already
        for name, found in entries:
            made.writestr(name, found)
    whole = out.getvalue()
    return data(whole, draw) if draw.random() < 0.1 else whole
