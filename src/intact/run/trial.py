"""How a run puts the candidates of its search to the test: in the real runtime, on the selection samples."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, final

import numpy as np

from intact import scratch
from intact.data import Samples
from intact.measure.accuracy import Metric
from intact.measure.run_outputs import outputs_of
from intact.measure.task import tasks as tasks_of
from intact.network.graph import Graph
from intact.planning.quantized import Quantized
from intact.planning.targets import Target
from intact.planning.widths import TABLES
from intact.remedies.base import Context
from intact.run.firmware import Firmware
from intact.run.folder import Work
from intact.runtime import litert
from intact.search.evaluator import Evaluator, Loss
from intact.search.goal import Goal

#: For the latency of one candidate.
_TIMED_SECONDS: Final = 1.5


@final
@dataclass(frozen=True, eq=False)
class Trial(Evaluator):
    """Candidates against the float file ``source``, whose network is ``reference``, on the samples ``choosing``.

    What is finished is kept in the folder of ``work`` and not done again. ``firmware``: what a device must hold them as.
    """

    goal: Goal
    learning: Samples
    context: Context
    mixes: bool
    source: Path
    reference: Graph
    choosing: Samples
    target: Target
    metric: Metric | None
    work: Work
    packs: bool = False
    tables: int = TABLES
    firmware: Firmware | None = None

    def misfit(self, integer: Graph, file: bytes) -> str:
        return "" if self.firmware is None else self.firmware.misfit(integer, file)

    def is_beyond_flash(self, integer: Graph, file: bytes) -> bool:
        return self.firmware is not None and self.firmware.lacks(self.firmware.need(integer, file))[1] > 0

    def judge(self, name: str, model: bytes) -> Loss:
        exact = self._outputs("float", self.source)
        with _written(model) as path:
            made = self._outputs(name, path)
        asked, metric = self.goal.kind == "disagreement", self.metric
        tasks = tasks_of(self.reference, exact, self.choosing, asked=asked, metric=metric is not None)
        expected = None if metric is not None else self.goal.expected(exact, made)
        lost = self.goal.loss(exact, made, self.choosing, metric, tasks)
        return Loss(lost, expected, self.goal.divergence(exact, made))

    def time(self, model: bytes) -> float:
        with _written(model) as path:
            file = {"candidate": path}
            times = litert.latency(
                file, kernels=self.target.kernels, rounds=8, max_seconds=_TIMED_SECONDS, place=self.work.timer
            )
        return float(np.min(times["candidate"].samples_ms))  # beside other jobs the least is the steadiest

    def remember(self, name: str, base: Quantized, make: Callable[[], Quantized]) -> tuple[Quantized, float]:
        began, now = time.monotonic(), list[bool]()

        def made() -> dict[str, np.ndarray]:
            now.append(True)
            return {**make().to_arrays(), "seconds": np.asarray(time.monotonic() - began)}

        arrays = self.work.folder.arrays(f"candidate {name}", made)
        return Quantized.from_arrays(base, arrays), 0.0 if now else float(arrays.get("seconds", 0.0))

    def keep(self, model: bytes, about: str) -> None:
        self.work.folder.keep(model, about)

    def tell(self, line: str) -> None:
        self.work.tell(line)

    def _outputs(self, name: str, path: Path) -> dict[str, np.ndarray]:
        """What a file gives for the selection samples."""

        def make() -> Mapping[str, np.ndarray]:
            return outputs_of(path, self.choosing, self.target.kernels, partial(self.work.progress, f"try {name}"))

        return self.work.folder.arrays(f"choosing {name}", make)


@contextmanager
def _written(model: bytes) -> Iterator[Path]:
    with scratch.folder() as folder:
        path = folder / "candidate.tflite"
        path.write_bytes(model)
        yield path
