"""Standard output and error that may be full, closed or read by nobody any more: never a traceback, and never the work lost."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, TextIO, cast, final

from intact.errors import IntactError, OutputError

#: What Windows says of a pipe that nobody reads.
_UNREAD_THERE: Final = errno.EINVAL


@final
class _Guarded:
    """A standard stream that goes on into nothing once it fails. ``told``: with an OutputError, unless it is merely unread."""

    def __init__(self, stream: TextIO, told: bool) -> None:
        self._stream, self._told = stream, told

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        if text != "":  # which others write to see what it takes; a full device refuses even that
            with self._failing():
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._failing():
            self._stream.flush()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())  # what is buffered goes there too, at the latest when Python ends
            os.close(nowhere)
            unread = isinstance(error, BrokenPipeError) or (os.name == "nt" and error.errno == _UNREAD_THERE)
            if self._told and not unread:
                why = error.strerror or error
                raise OutputError(f"standard output cannot be written ({why}); send it to a place that has room") from error


@contextmanager
def guarded() -> Iterator[None]:
    """Around a whole command. An output that fails is one sentence and exit code 2; one that is closed, or of which the reader
    has enough (``| head``), changes nothing; and that nobody is told on standard error is no failure.
    """
    _open_all()
    sys.stdout = cast(TextIO, _Guarded(sys.stdout, told=True))
    sys.stderr = cast(TextIO, _Guarded(sys.stderr, told=False))
    try:
        with contextlib.ExitStack() as ending:
            ending.callback(sys.stdout.flush)
            yield
    except IntactError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from None


def _open_all() -> None:
    """Descriptors 0, 1 and 2 open: the next file would become one of them else, and be printed into."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free
    sys.stdout = sys.stdout or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    sys.stderr = sys.stderr or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
