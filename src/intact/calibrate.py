"""What every activation takes on over the calibration samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import numpy as np
import torch

from intact.errors import DataError, located
from intact.graph import Graph, Tensor
from intact.ranges import Observed
from intact.simulate import Program, run_batches

_BINS: Final = 2048

#: Gives the calibration batches anew each time it is called: one pass finds the extremes, another fills the histograms.
Batches = Callable[[], Iterable[Mapping[str, np.ndarray]]]


def observe(graph: Graph, batches: Batches, *, histogram: bool = False, device: str = "cpu") -> dict[int, Observed]:
    """Per-sample extremes of every float activation, by tensor id, and a histogram of 2048 bins when asked for.

    Raises DataError naming the tensor when samples drive an activation to NaN or infinity, or when there are no samples.
    """
    program = Program(graph, device)
    lows: dict[int, list[torch.Tensor]] = {}
    highs: dict[int, list[torch.Tensor]] = {}

    def extremes(tensor: Tensor, y: torch.Tensor) -> None:
        rows = y.reshape(len(y), -1) if tensor.shape[:1] == (None,) else y.reshape(1, -1)
        # Not aminmax(dim=1), which is not vectorized: 5.9 ms against 2.4 ms for [64, 98304] on four cores.
        lows.setdefault(tensor.id, []).append(rows.amin(1))
        highs.setdefault(tensor.id, []).append(rows.amax(1))

    run_batches(program, iter(batches()), extremes)
    seen = {i: Observed(torch.cat(lows[i]).cpu().numpy(), torch.cat(highs[i]).cpu().numpy()) for i in lows}
    if not seen:
        raise DataError("there are no calibration samples; give --data more samples")
    for i, o in seen.items():
        if not (np.isfinite(o.lows).all() and np.isfinite(o.highs).all()):
            with located(f"tensor {graph[i].origin!r}"):
                raise DataError("becomes NaN or infinite on the calibration samples; check --pixels, --mean and --std")
    return _with_histograms(program, batches, seen) if histogram else seen


def _with_histograms(program: Program, batches: Batches, seen: Mapping[int, Observed]) -> dict[int, Observed]:
    counts = {i: np.zeros(_BINS) for i in seen}

    def count(tensor: Tensor, y: torch.Tensor) -> None:
        low, high = seen[tensor.id].extremes
        if high > low:
            counts[tensor.id] += torch.histc(y.reshape(-1).cpu(), _BINS, low, high).numpy()
        else:
            counts[tensor.id][0] += y.numel()

    run_batches(program, iter(batches()), count)
    return {i: Observed(o.lows, o.highs, counts[i]) for i, o in seen.items()}
