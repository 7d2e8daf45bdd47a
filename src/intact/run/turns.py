"""Work side by side, and time alone: who takes times waits until nobody else works, and nobody begins meanwhile."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import final


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@final
class StoppedError(BaseException):
    """The work ends because something else has ended all of it."""


@final
class Turns:
    """For several threads of one process: :meth:`working` around all work, :meth:`alone` inside it around what is timed."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._working = 0
        self._waiting = 0
        self._timing = False
        self._stopped = False

    @contextmanager
    def working(self) -> Iterator[None]:
        self._begin()
        try:
            yield
        finally:
            with self._changed:
                self._working -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._changed:
            self._working -= 1
            self._waiting += 1
            self._changed.notify_all()
            try:
                self._until(lambda: not (self._working or self._timing))
                self._timing = True
            finally:
                self._waiting -= 1
                if not self._timing:
                    self._working += 1  # as whoever is inside `working` will take it away
        try:
            yield
        finally:
            with self._changed:
                self._timing = False
                self._working += 1
                self._changed.notify_all()
        self.check()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Inside :meth:`working`, around waiting for work that disturbs nobody here."""
        with self._changed:
            self._working -= 1
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                try:
                    self._until(lambda: not (self._waiting or self._timing))
                finally:
                    self._working += 1  # as whoever is inside `working` will take it away

    def stop(self) -> None:
        """Let nobody go on: whoever waits, or asks :meth:`check`, meets a StoppedError."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def check(self) -> None:
        if self._stopped:
            raise StoppedError

    def _begin(self) -> None:
        with self._changed:
            self._until(lambda: not (self._waiting or self._timing))
            self._working += 1

    def _until(self, ready: Callable[[], bool]) -> None:
        self._changed.wait_for(lambda: self._stopped or ready())
        self.check()
