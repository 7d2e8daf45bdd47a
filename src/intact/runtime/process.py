"""Child processes as :class:`~intact.runtime.talk.Talk` has them: those of this machine, and what others must do."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Callable
from typing import IO, Final, Protocol, TypeAlias, final

from intact.runtime import ending

_CHUNK: Final = 1 << 16
#: Where what a child prints goes, piece by piece, and an empty piece at the end of it.
Taking: TypeAlias = Callable[[bytes], object]


class Process(Protocol):
    """One child; ``poll`` and ``wait`` as :class:`subprocess.Popen` has them."""

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def say(self, data: bytes) -> None:
        """Write to its stdin; OSError or ValueError where it takes nothing any more."""
        ...

    def listen(self, out: Taking, err: Taking) -> tuple[threading.Thread, threading.Thread]:
        """Hand on what comes out of stdout and stderr until both end; the threads that do."""
        ...

    def end(self) -> None:
        """Kill it with everything that it started; twice is once."""
        ...

    def close(self) -> None:
        """Leave no pipe open; after :meth:`end`."""
        ...


@final
class Local:
    """A child of this machine, started :data:`~intact.runtime.ending.APART` with a pipe for each of its streams: a thread for
    each, as no system has less and Windows cannot wait for several.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def poll(self) -> int | None:
        return self._process.poll()

    def wait(self, timeout: float | None = None) -> int:
        return self._process.wait(timeout)

    def say(self, data: bytes) -> None:
        assert self._process.stdin is not None
        while data:
            data = data[os.write(self._process.stdin.fileno(), data[:_CHUNK]) :]

    def listen(self, out: Taking, err: Taking) -> tuple[threading.Thread, threading.Thread]:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        return started(_read, self._process.stdout, out), started(_read, self._process.stderr, err)

    def end(self) -> None:
        ending.end(self._process)

    def close(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()


def started(work: Callable[..., None], *arguments: object) -> threading.Thread:
    """A thread that does ``work`` and keeps no process from ending."""
    thread = threading.Thread(target=work, args=arguments, daemon=True)
    thread.start()
    return thread


def _read(pipe: IO[bytes], take: Taking) -> None:
    """Hand on what comes out of a pipe."""
    with pipe:
        while chunk := os.read(pipe.fileno(), _CHUNK):
            take(chunk)
    take(b"")
