"""How many steps of training there is time for."""

from __future__ import annotations

import math
import sys
import time
from typing import Final, final

import numpy as np

#: Steps after which the time that one takes is known.
_TIMED: Final = 6
#: The part of the time left that steps may take; judging and writing take the rest.
_OF_TIME: Final = 0.85


@final
class Clock:
    """How many steps a deadline (on the clock of ``time.monotonic``) leaves time for, once a few were timed."""

    def __init__(self, deadline: float) -> None:
        self.deadline, self.seconds, self.before = deadline, list[float](), time.monotonic()

    def steps_that_fit(self, step: int) -> int:
        """The number of steps to stop at, ``step`` of which are done."""
        now = time.monotonic()
        self.seconds.append(now - self.before)
        self.before = now
        if math.isinf(self.deadline) or len(self.seconds) < _TIMED:
            return step if now >= self.deadline else sys.maxsize
        return step + max(0, int(_OF_TIME * (self.deadline - now) / float(np.median(self.seconds[1:]))))
