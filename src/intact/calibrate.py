"""What every activation takes on over the calibration samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import numpy as np
import torch

from intact.errors import DataError, located
from intact.graph import Graph, Tensor
from intact.ranges import Observed
from intact.simulate import Batch, Program, map_batches

_BINS: Final = 2048

#: Gives the calibration batches anew each time it is called: one pass finds the extremes, another fills the histograms.
Batches = Callable[[], Iterable[Batch]]


def observe(graph: Graph, batches: Batches, *, histogram: bool = False, device: str = "cpu") -> dict[int, Observed]:
    """Per-sample extremes of every float activation, by tensor id, and a histogram of 2048 bins when asked for.

    Raises DataError naming the tensor when samples drive an activation to NaN or infinity, or when there are no samples.
    """
    program = Program(graph, device)

    def extremes(batch: Batch) -> dict[int, tuple[torch.Tensor, torch.Tensor]]:
        found: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

        def note(tensor: Tensor, y: torch.Tensor) -> None:
            rows = y.reshape(len(y), -1) if tensor.shape[:1] == (None,) else y.reshape(1, -1)
            # Not aminmax(dim=1), which is not vectorized: 5.9 ms against 2.4 ms for [64, 98304] on four cores.
            found[tensor.id] = (rows.amin(1).cpu(), rows.amax(1).cpu())

        program(batch, note)
        return found

    parts = list(map_batches(extremes, batches(), device))
    seen = {
        i: Observed(*(torch.cat([part[i][end] for part in parts]).numpy() for end in (0, 1)))
        for i in (parts[0] if parts else ())
    }
    if not seen:
        raise DataError("there are no calibration samples; give --data more samples")
    for i, o in seen.items():
        if not (np.isfinite(o.lows).all() and np.isfinite(o.highs).all()):
            with located(f"tensor {graph[i].origin!r}"):
                raise DataError("becomes NaN or infinite on the calibration samples; check --pixels, --mean and --std")
    return _with_histograms(program, batches, seen) if histogram else seen


def _with_histograms(program: Program, batches: Batches, seen: Mapping[int, Observed]) -> dict[int, Observed]:
    def histograms(batch: Batch) -> dict[int, np.ndarray]:
        found: dict[int, np.ndarray] = {}

        def count(tensor: Tensor, y: torch.Tensor) -> None:
            low, high = seen[tensor.id].extremes
            if high > low:
                found[tensor.id] = torch.histc(y.reshape(-1).cpu(), _BINS, low, high).numpy()
            else:
                found[tensor.id] = np.eye(1, _BINS)[0] * y.numel()

        program(batch, count)
        return found

    counts = {i: np.zeros(_BINS) for i in seen}
    for part in map_batches(histograms, batches(), program.device):
        for i, found in part.items():
            counts[i] += found
    return {i: Observed(o.lows, o.highs, counts[i]) for i, o in seen.items()}
