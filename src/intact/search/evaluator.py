"""What a search asks of the run that it is a part of: what a candidate loses, what it takes, and where it is kept."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from intact.data import Samples
from intact.measure.measurement import Measurement
from intact.network.graph import Graph
from intact.planning.quantized import Quantized
from intact.planning.widths import TABLES
from intact.remedies.base import Context
from intact.search.goal import Goal


@final
@dataclass(frozen=True)
class Loss:
    """What a file loses: as measured, :meth:`Goal.expected` and :meth:`Goal.divergence`."""

    measured: Measurement
    expected: float | None = None
    divergence: float | None = None


class Evaluator(abc.ABC):
    """What candidates are put through, and where the search keeps them: the run that it is a part of.

    ``learning`` are the samples that remedies learn from, ``mixes`` whether the target takes a mixture of precisions, ``packs``
    whether it decodes packed weights, ``tables`` the most bits of an index into numbers that it packs.
    """

    goal: Goal
    learning: Samples
    context: Context
    mixes: bool
    packs: bool = False
    tables: int = TABLES

    def misfit(self, integer: Graph, file: bytes) -> str:
        """Why a device cannot hold the network, of which it has ``file``; empty where it can."""
        del integer, file
        return ""

    def is_beyond_flash(self, integer: Graph, file: bytes) -> bool:
        """Whether that is for its flash, of which fewer bits take less; of RAM they take more where they are unpacked."""
        del integer, file
        return False

    @abc.abstractmethod
    def judge(self, name: str, model: bytes) -> Loss:
        """What the file loses on the selection samples."""

    @abc.abstractmethod
    def time(self, model: bytes) -> float:
        """The file's latency in milliseconds."""

    @abc.abstractmethod
    def remember(self, name: str, base: Quantized, make: Callable[[], Quantized]) -> tuple[Quantized, float]:
        """What ``make`` makes of ``base``, and 0; or what it made before an interruption, and the seconds that it took then."""

    @abc.abstractmethod
    def keep(self, model: bytes, about: str) -> None:
        """Have ``model`` at hand should the run be interrupted; ``about`` says how good it is."""

    @abc.abstractmethod
    def tell(self, line: str) -> None:
        """Say a line to whoever waits."""
