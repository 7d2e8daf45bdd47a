"""What a remedy is: a published method that gives back accuracy which quantization took."""

from __future__ import annotations

import abc
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

from intact.data import Samples
from intact.graph import Graph
from intact.plan import Plan
from intact.quantized import Quantized


def _silent(step: str, done: int, total: int) -> None:
    del step, done, total


@final
@dataclass(frozen=True)
class Context:
    """What remedies need besides network and samples.

    ``make_plan`` calibrates a float graph and plans it anew, with the outputs of the ops that it is given the first outputs of
    kept ``precise``: in float, or as int16 on targets without floats.
    ``deadline`` is on the clock of ``time.monotonic``. ``folder``: where a remedy that takes long keeps its unfinished state.
    """

    make_plan: Callable[[Graph, tuple[int, ...]], Plan]
    precise: str = "in float"
    seed: int = 0
    device: str = "cpu"
    deadline: float = float("inf")
    progress: Callable[[str, int, int], None] = _silent
    folder: Path | None = None

    def out_of_time(self) -> bool:
        return time.monotonic() >= self.deadline


class Remedy(abc.ABC):
    """``apply`` maps a Quantized to a better one and mutates nothing. ``name`` is what ``--remedies`` calls it.

    ``order``: lower ones run first. A remedy that calibrates anew has to run before those whose result that would undo.
    """

    name: ClassVar[str]
    order: ClassVar[int]
    paper: ClassVar[str]

    @abc.abstractmethod
    def apply(self, network: Quantized, samples: Samples, context: Context) -> Quantized:
        """``samples`` are the calibration samples. Raises IntactError when they do not do."""
