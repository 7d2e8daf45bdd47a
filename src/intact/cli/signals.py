"""Signals that end the command: it unwinds as at Ctrl-C, and takes its scratch files with it."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, final

#: By name: not every system has each. SIGBREAK is what closes a console on Windows.
_SIGNALS: Final = ("SIGTERM", "SIGHUP", "SIGBREAK")
#: Seconds in which a second one is the same wish: timeout(1) sends two, and a terminal that closes may.
_SAME: Final = 1.0
#: Seconds until one comes again that came where it could not be heard.
_SOON: Final = 0.01


@final
class Terminated(BaseException):
    """The command was told to end; ``code`` is its exit code, 128 and the signal's number as shells have it. No
    KeyboardInterrupt either: typer, which ends with 130 at those that come while it reads options, must let it through.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number, self.code = number, 128 + number


@contextmanager
def outside() -> Iterator[None]:
    """Around all of the command: what ends it before, or after, a command is at work ends it as quietly."""
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(130)
    except Terminated as stopped:
        sys.exit(stopped.code)


def _send(number: int) -> None:
    """To this process; one that waits for something is woken where the system can."""
    if os.name == "posix":
        os.kill(os.getpid(), number)
    else:
        signal.raise_signal(number)


def unwind() -> None:
    """From now on SIGTERM and SIGHUP raise :class:`Terminated`, unless they are ignored already, as ``nohup`` does. One that
    comes while Python does what it lets nobody interrupt (a ``__del__``) comes again as soon as that is over.
    """
    last, unraisable = -math.inf, sys.unraisablehook

    def again(what: sys.UnraisableHookArgs) -> None:
        nonlocal last
        if isinstance(what.exc_value, KeyboardInterrupt | Terminated):
            last = -math.inf
            number = what.exc_value.number if isinstance(what.exc_value, Terminated) else signal.SIGINT
            soon = threading.Timer(_SOON, _send, (number,))
            soon.daemon = True
            soon.start()
        else:
            unraisable(what)

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _SAME:
            last = now
            raise Terminated(number)

    for number in (one for one in signal.valid_signals() if isinstance(one, signal.Signals) and one.name in _SIGNALS):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, stop)
    sys.unraisablehook = again
