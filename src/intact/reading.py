"""Files that strangers wrote, opened so that none of them hangs or fills memory: regular files within a bound, nothing else."""

from __future__ import annotations

import errno
import os
import stat
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any, Final

from intact.errors import IntactError

_KINDS: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
#: Reading a pipe that nobody writes to would wait for ever, were it opened after all.
_AT_ONCE: Final = getattr(os, "O_NONBLOCK", 0)


@contextmanager
def opened(path: Path, refused: type[IntactError], most: int | None = None) -> Iterator[BufferedReader]:
    """``path`` open for reading, if it is a regular file of at most ``most`` bytes, or a link to one.

    Raises ``refused`` with a sentence that does not name the path: whoever calls says where. An error of the system inside
    becomes one too.
    """
    check(path, refused)
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | _AT_ONCE)) as file:
            about = os.fstat(file.fileno())
            _check_kind(about.st_mode, refused)  # it may be another one by now
            if most is not None and about.st_size > most:
                raise refused(f"is {about.st_size:,} bytes, and such a file has at most {most:,}; give a smaller one")
            yield file
    except OSError as error:
        raise refused(why(error)) from error


def check(path: Path, refused: type[IntactError]) -> None:
    """Raises ``refused`` for what is no regular file, without opening it: a device may do something then."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise refused(why(error)) from error
    _check_kind(mode, refused)


def _check_kind(mode: int, refused: type[IntactError]) -> None:
    if not stat.S_ISREG(mode):
        kind = next((name for is_it, name in _KINDS if is_it(mode)), "something else")
        raise refused(f"is {kind}, not a file; give a file in its place, or delete it")


def content(path: Path, refused: type[IntactError], most: int) -> bytes:
    """All of a file that :func:`opened` opens; one that grows meanwhile is cut at ``most``."""
    with opened(path, refused, most) as file:
        return file.read(most)


class NoTomlError(ValueError):
    """What a file holds is no TOML."""


def toml(path: Path, refused: type[IntactError], most: int) -> dict[str, Any]:
    """What a TOML file says, in UTF-8 with or without the mark that some editors put before it. NoTomlError for another."""
    try:
        return tomllib.loads(content(path, refused, most).decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise NoTomlError(f"not UTF-8 from byte {error.start} on") from error
    except RecursionError as error:
        raise NoTomlError("nested too deeply") from error
    except ValueError as error:
        said = isinstance(error, tomllib.TOMLDecodeError)
        raise NoTomlError(str(error) if said else "a number has thousands of digits") from error


def why(error: OSError | ValueError) -> str:
    """What keeps a file or folder from being read, and what to do."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, PermissionError):
        return "cannot be read (Permission denied); type chmod u+r for a file, chmod u+rx for a folder, or leave it out"
    if isinstance(error, OSError) and error.errno == errno.ELOOP:
        return "is a link that leads back to itself; delete it, or link to the file that is meant"
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"cannot be read ({reason})"
