"""Locks on folders that end with the process that holds them, however it ends."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

from intact.errors import OutputError

if TYPE_CHECKING:
    from filelock import FileLock

#: What the file of a lock is called in the folder that it is for.
NAME: Final = ".lock"
#: Seconds that another process has to end, which was just killed or finds that it has nothing to do here.
_PATIENCE: Final = 2.0
#: What file systems say that have no locks.
_NONE: Final = frozenset({errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP})


class NoLocksError(OSError):
    """The file system has no locks, as some network file systems."""


@final
class Lock:
    """A folder that this process holds; make it with :func:`take`."""

    def __init__(self, path: Path, held: FileLock) -> None:
        self._path, self._held = path, held

    def drop(self) -> None:
        """Let the folder go, and take the lock's file away."""
        removed = False
        try:  # while it is held: whoever waits sees that its file has no name any more, and makes another
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
                removed = True
        finally:
            self._held.release()
        if not removed:  # Windows removes no file that is open, and now this one only if nobody else has opened it
            with contextlib.suppress(OSError):
                self._path.unlink()


def take(folder: Path, seconds: float = 0.0) -> Lock | None:
    """The lock of ``folder``, which must exist; None when another process, or another part of this one, holds it for longer.

    The system ends the lock with the process: nothing can be left locked. Raises OSError where the folder cannot be written,
    and NoLocksError where its file system has no locks.
    """
    from filelock import FileLock, Timeout  # noqa: PLC0415  # help and refusals need none

    path = folder / NAME
    held = FileLock(path, thread_local=False, fallback_to_soft=False)
    try:
        held.acquire(timeout=seconds, poll_interval=0.05)
    except Timeout:
        return None
    except OSError as error:
        if error.errno in _NONE:
            raise NoLocksError(error.errno, error.strerror, str(path)) from error
        raise
    return Lock(path, held)


@contextmanager
def waited_for(folder: Path) -> Iterator[None]:
    """Have ``folder``, which must exist, once nobody else has it; at once where its file system has no locks."""
    lock = None
    with contextlib.suppress(NoLocksError):
        while lock is None:
            lock = take(folder, _PATIENCE)
    try:
        yield
    finally:
        if lock is not None:
            lock.drop()


@contextmanager
def held(folder: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Have ``folder`` for this run alone; where its file system has no locks, ``tell`` so and go on.

    Raises OutputError while another run has it, OSError where the folder cannot be written.
    """
    try:
        lock = take(folder, _PATIENCE)
    except NoLocksError:
        tell(f"{folder} is on a file system without locks: let no other run work there meanwhile")
        yield
        return
    if lock is None:
        raise OutputError(f"another run works in {folder}; wait until it has ended, or type --out with another folder")
    try:
        yield
    finally:
        lock.drop()
