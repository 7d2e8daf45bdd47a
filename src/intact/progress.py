"""How far a piece of work has come, for whoever watches it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeAlias, final

#: Told the step, how much of it is done and how much there is (0: not known).
Progress: TypeAlias = Callable[[str, int, int], None]
#: The same of one step, as ``partial(progress, "calibrate")`` is: how much is done and how much there is.
StepProgress: TypeAlias = Callable[[int, int], None]


def silent(step: str, done: int, total: int) -> None:
    """The progress of what nobody watches."""
    del step, done, total


def unheard(line: str) -> None:
    """Says a line to nobody."""
    del line


def onward(progress: StepProgress, start: int, total: int) -> StepProgress:
    """The progress of a piece of a step that begins where ``start`` of ``total`` are done."""
    return lambda done, _: progress(start + done, total)


@final
class Summed:
    """The progress of a step of ``total`` that is done in parts, one after the other or side by side in threads."""

    def __init__(self, progress: StepProgress, total: int) -> None:
        self._progress, self._total = progress, total
        self._lock = threading.Lock()
        self._done: list[int] = []

    def part(self) -> StepProgress:
        """The progress of one more part."""
        with self._lock:
            number = len(self._done)
            self._done.append(0)

        def tell(done: int, _: int) -> None:
            with self._lock:
                self._done[number] = done
                self._progress(sum(self._done), self._total)

        return tell
