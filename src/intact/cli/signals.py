"""Signals that end the command: it unwinds as at Ctrl-C, and takes its scratch files with it."""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, final

#: By name: not every system has each. SIGBREAK is what closes a console on Windows.
_SIGNALS: Final = ("SIGTERM", "SIGHUP", "SIGBREAK")
#: Seconds in which a second one is the same wish: timeout(1) sends two, and a terminal that closes may.
_SAME: Final = 1.0


@final
class Terminated(BaseException):
    """The command was told to end; ``code`` is its exit code, 128 and the signal's number as shells have it. No
    KeyboardInterrupt either: typer, which ends with 130 at those that come while it reads options, must let it through.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


@contextmanager
def outside() -> Iterator[None]:
    """Around all of the command: what ends it before, or after, a command is at work ends it as quietly."""
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(130)
    except Terminated as stopped:
        sys.exit(stopped.code)


def unwind() -> None:
    """From now on SIGTERM and SIGHUP raise :class:`Terminated`, unless they are ignored already, as ``nohup`` does."""
    last = -math.inf

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _SAME:
            last = now
            raise Terminated(number)

    for number in (one for one in signal.valid_signals() if isinstance(one, signal.Signals) and one.name in _SIGNALS):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, stop)
