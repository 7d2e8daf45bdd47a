"""Memory of freed tensors that is used again at once, instead of going back to the system and coming anew, page by page."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

#: glibc's names in malloc.h for the free memory at the heap's end, and the size of a block, that go back to the system.
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_NEVER: Final = 2**31 - 1
#: The most that glibc takes by itself for a block, in bytes; it trims at twice as much.
_AT_MOST: Final = 2**25


class _Users:
    """How many are at work in this process."""

    def __init__(self) -> None:
        self.guard, self.count = threading.Lock(), 0


_USERS: Final = _Users()


@contextmanager
def kept() -> Iterator[None]:
    """Hold freed memory until the end, also that of others in this process, and then give back what is free.

    Large tensors come and go with every op, and the system clears each of their pages anew. Nothing changes but with glibc.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    with _USERS.guard:
        _USERS.count += 1
        _hold(libc, _NEVER, _NEVER)
    try:
        yield
    finally:
        with _USERS.guard:
            _USERS.count -= 1
            if not _USERS.count:
                _hold(libc, _AT_MOST, 2 * _AT_MOST)
                libc.malloc_trim(0)


def _hold(libc: Any, block: int, end: int) -> None:
    libc.mallopt(_MMAP_THRESHOLD, block)
    libc.mallopt(_TRIM_THRESHOLD, end)


@cache
def _glibc() -> Any:
    """The C library of this process where it is glibc."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    return libc if getattr(libc, "gnu_get_libc_version", None) else None
