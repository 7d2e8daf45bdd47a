"""A line to a device that breaks is taken up again for a while, and what was under way is done anew."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import chain, repeat
from typing import Final, TypeVar, final

from intact.errors import LineLostError

#: Seconds for which a broken line is taken up again, unless said otherwise, and between tries.
PATIENCE: Final = 180.0
_PAUSES: Final = (1.0, 2.0, 4.0, 8.0)
#: How often one step is made anew after a line that broke.
_TRIES: Final = 5
_T = TypeVar("_T")


@final
class Patience:
    """``reach`` takes the line up again and gives the name of the device's boot; LineLostError while the device is away.

    ``seconds``: for how long that is tried. ``boot``: the device's name of the boot that it was met in.
    """

    def __init__(self, seconds: float, reach: Callable[[], str]) -> None:
        self._seconds, self._reach = seconds, reach
        self.boot = ""
        #: How often the line broke, and the device started anew, since the first connection.
        self.lost, self.reboots = 0, 0

    def keep(self, work: Callable[[], _T]) -> _T:
        """What ``work`` gives, anew when the line breaks and comes back. LineLostError where it does not, told how long."""
        for left in reversed(range(_TRIES)):
            try:
                return work()
            except LineLostError as error:
                self.lost += 1
                if not left:
                    raise
                self._again(error)
        raise AssertionError

    def _again(self, error: LineLostError) -> None:
        until = time.monotonic() + self._seconds
        for pause in chain(_PAUSES, repeat(_PAUSES[-1])):
            if time.monotonic() + pause > until:
                raise LineLostError(f"{error.message}; it did not come back within {self._seconds:g} seconds") from error
            time.sleep(pause)
            try:
                boot = self._reach()
            except LineLostError:
                continue
            if boot != self.boot:
                self.boot, self.reboots = boot, self.reboots + 1
            return
