"""Scratch folders: what a process works on in files, gone when it ends, however it ends.

Each process has one folder of its own among the system's temporary files, ``intact-scratch-…``, which its user alone can enter
and whose lock ends with the process. The first that a process makes sweeps away what others left that were killed.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from intact import locks
from intact.errors import OutputError

_PREFIX: Final = "intact-scratch-"
#: Beside another process that sweeps, a folder may have to be made again.
_ATTEMPTS: Final = 100
_USER: Final = getattr(os, "getuid", None)  # Windows has none
#: What a disk says that is full, and one that fails or takes nothing.
_NO_MORE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NOTHING: Final = frozenset({errno.EIO, errno.EROFS})
#: The same in the words of whoever hides the number: libraries in child processes.
_FULL: Final = ("No space left on device", "Disk quota exceeded", "File too large", "not enough space on the disk")


class _Own:
    """The folder of this process, made at the first need."""

    def __init__(self) -> None:
        self.guard = threading.Lock()
        self.path: Path | None = None
        self.made_for: tuple[int, str] | None = None

    def get(self) -> Path:
        with self.guard:
            wanted = os.getpid(), tempfile.gettempdir()  # a fork has its own, and so has another TMPDIR
            if self.path is None or self.made_for != wanted or not self.path.is_dir():
                self.path, self.made_for = _make(Path(wanted[1])), wanted
            return self.path


_OWN: Final = _Own()


@contextmanager
def folder(parent: Path | None = None) -> Iterator[Path]:
    """A fresh folder, removed at the end; in ``parent``, where that is another one of ours.

    A disk that takes no more there is an OutputError that says so.
    """
    with typed():
        path = lasting() if parent is None else Path(tempfile.mkdtemp(dir=parent))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)  # Windows keeps what is open or mapped until the process ends


def lasting() -> Path:
    """A fresh folder for whoever removes it, at the latest the end of the process."""
    with typed():
        return Path(tempfile.mkdtemp(dir=_OWN.get()))


def file() -> IO[bytes]:
    """A file without a name, as long as it is open. OSError where there can be none."""
    return tempfile.TemporaryFile(dir=_OWN.get())


def place() -> Path:
    """The folder of this process."""
    return _OWN.get()


def holds(path: Path) -> bool:
    """Whether ``path`` is in the folder of this process."""
    return _OWN.path is not None and path.is_relative_to(_OWN.path)


def environment() -> Mapping[str, str]:
    """What makes a child process leave its temporary files here, where they are swept with ours."""
    try:
        path = str(_OWN.get())
    except OSError:
        return {}
    return dict.fromkeys(("TMPDIR", "TEMP", "TMP"), path)


def is_full(error: OSError) -> bool:
    """Whether a disk says that it takes no more."""
    return error.errno in _NO_MORE


def no_room(why: str) -> OutputError:
    """``why`` scratch files cannot be written, with what to do."""
    try:
        where = tempfile.gettempdir()
    except OSError:
        where = "any folder for temporary files"
    return OutputError(f"cannot work in {where} ({why}); make room there, or set TMPDIR to a folder that has some")


def told_of_no_room(said: str) -> OutputError | None:
    """The error for what a child process ``said``, when it is that a disk is full."""
    return next((no_room(words) for words in _FULL if words in said), None)


@contextmanager
def typed() -> Iterator[None]:
    """What goes wrong with files here in a sentence; what goes wrong with others is for their readers."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            # ENOENT: no folder for temporary files at all
            ours = is_full(error) or error.errno in {*_NOTHING, errno.ENOENT}
        else:
            ours = _PREFIX in str(error.filename)
        if ours:
            raise no_room(error.strerror or str(error)) from error
        raise


def _make(parent: Path) -> Path:
    _sweep(parent)
    for _ in range(_ATTEMPTS):
        path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))  # for its user alone
        try:
            lock = locks.take(path)
        except FileNotFoundError:
            continue  # swept before it was locked
        except locks.NoLocksError:  # nobody sweeps what nobody can lock
            atexit.register(_end, path, None, os.getpid())
            return path
        except OSError:
            path.rmdir()
            raise
        if lock is not None and path.is_dir():
            atexit.register(_end, path, lock, os.getpid())
            return path
    raise FileNotFoundError(errno.ENOENT, "folders vanish as soon as they are made", str(parent))


def _end(path: Path, lock: locks.Lock | None, process: int) -> None:
    if os.getpid() == process:  # and no fork of it
        _remove(path, lock)


def _sweep(parent: Path) -> None:
    """Remove the folders of processes that are no more. Those of others, and what only is called so, stay."""
    for path in sorted(parent.glob(f"{_PREFIX}*")):
        with contextlib.suppress(OSError):
            if not _is_ours(path):
                continue
            if not stat.S_ISREG((path / locks.NAME).lstat().st_mode if (path / locks.NAME).exists() else 0):
                path.rmdir()  # its process had no time to lock it, or has not yet: it makes another; only if it is empty
            elif (lock := locks.take(path)) is not None:
                _remove(path, lock)


def _is_ours(path: Path) -> bool:
    """Whether it is a folder that only this user can have made and filled: no link, and closed to everybody else."""
    about = path.lstat()
    if not stat.S_ISDIR(about.st_mode):
        return False
    if _USER is None:  # there the temporary files of a user are in a folder that is the user's own
        return True
    return about.st_uid == _USER() and not stat.S_IMODE(about.st_mode) & 0o077


def _remove(path: Path, lock: locks.Lock | None) -> None:
    """Empty and remove a folder that this process holds; the lock last, so that what is left of it can still be swept."""
    with contextlib.suppress(OSError):
        for entry in path.iterdir():
            if entry.name == locks.NAME:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    entry.unlink()
        if lock is not None and [entry.name for entry in path.iterdir()] == [locks.NAME]:
            lock.drop()
        path.rmdir()
