"""How far a piece of work has come, for whoever watches it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

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
