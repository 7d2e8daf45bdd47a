"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from intact import scratch
from intact.errors import OutputError

#: What the name of a file ends in while it is written, and of a folder while it goes.
_DRAFT: Final = ".draft"
#: Characters of the final name that a draft's name begins with: both must fit in what a file system takes.
_NAMED: Final = 40


@contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """A file beside ``path`` that is flushed to disk and renamed into place at the end. OutputError where that cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=_prefix(path.name), suffix=_DRAFT)
        draft = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            draft.chmod(0o644)
            draft.replace(path)
            settle(path.parent)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        why = error.strerror or str(error)
        if scratch.holds(path):
            raise scratch.no_room(why) from error
        room = ", or make room and type the same command again" if scratch.is_full(error) else ""
        raise OutputError(f"{path} cannot be written ({why}); type --out with a folder that can{room}") from error


def write_bytes(path: Path, data: bytes) -> None:
    """Write beside ``path``, flush to disk, then rename into place. OutputError when the folder cannot be written."""
    with writing(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """:func:`write_bytes` in UTF-8."""
    write_bytes(path, text.encode())


def settle(folder: Path) -> None:
    """Flush to disk which names a folder holds, where the system can: a crash takes back none of them then."""
    if os.name == "nt":
        return
    with contextlib.suppress(OSError):  # some network file systems cannot, and the file itself is safe
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def set_aside(path: Path) -> Path:
    """Give a file or folder the name of a draft, at one stroke; whoever is killed before it is removed leaves a draft."""
    return path.rename(path.with_name(f"{_prefix(path.name)}{secrets.token_hex(4)}{_DRAFT}"))


def drafts(folder: Path, of: Iterable[str] | None = None) -> tuple[Path, ...]:
    """What processes left in ``folder`` that were killed while they wrote or removed anything, or what ``of`` names."""
    prefixes = (".",) if of is None else tuple(_prefix(name) for name in of)
    return tuple(path for path in folder.iterdir() if path.name.startswith(prefixes) and path.name.endswith(_DRAFT))


def _prefix(name: str) -> str:
    return f".{name[:_NAMED]}."


def sha256(path: Path) -> str:
    """SHA-256 in hex of a file's bytes, or of a folder's: of the names and bytes of all files in it."""
    if path.is_dir():
        digest = hashlib.sha256()
        for held in sorted(p for p in path.rglob("*") if p.is_file()):
            digest.update(f"{held.relative_to(path).as_posix()}\0{sha256(held)}\n".encode())
        return digest.hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    if path.is_dir():
        return sum(held.stat().st_size for held in path.rglob("*") if held.is_file())
    return path.stat().st_size
