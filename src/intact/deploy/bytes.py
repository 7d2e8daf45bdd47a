"""Sizes of memory as users type them."""

from __future__ import annotations

import re
from typing import Final

from intact.errors import OptionError

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kKmM]?)(?:i?[bB])?")
_UNITS: Final = {"": 1, "k": 1 << 10, "m": 1 << 20}


#: What stands for as little as can be.
LEAST: Final = "least"


def parsed(text: str | None, option: str) -> int | None:
    """``256K``, ``1M``, ``1.5 MiB`` or ``262144`` in bytes; K is 1,024. None stays, and ``--ram least`` is 0.

    OptionError says what to type.
    """
    if text is None:
        return None
    if text == LEAST and option == "--ram":
        return 0
    found = _SIZE.fullmatch(text.strip())
    size = 0 if found is None else int(float(found[1]) * _UNITS[found[2].lower()])
    if not 0 < size < 1 << 31:
        raise OptionError(f"{option} {text!r} is no size of a memory; type {option} 256K, {option} 1M or a number of bytes")
    return size


def spelled(size: int) -> str:
    """A number of bytes for people: ``262,144 bytes``."""
    return f"{size:,} bytes"
