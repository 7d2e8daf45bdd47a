"""What a written file gives for samples, in the real runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from intact.data import Samples
from intact.errors import DataError
from intact.runtime.litert import run
from intact.targets import Target

#: Samples go to the runtime in pieces of at most this many bytes.
_PIECE: Final = 256 << 20


def outputs_of(path: Path, samples: Samples, target: Target, progress: Callable[[int], None]) -> dict[str, np.ndarray]:
    """Outputs ``[n, ...]`` by name of a file in the real runtime, piece by piece so that any number of samples fits."""
    size = sum(int(np.prod(spec.sample)) * 4 for spec in samples.inputs)
    step = max(_PIECE // max(size, 1), 1)
    parts = []
    for start in range(0, len(samples), step):
        piece, _ = samples.batch(np.arange(start, min(start + step, len(samples))))
        parts.append(run(path, piece, kernels=target.kernels, progress=_from(start, progress)))
    if not parts:
        raise DataError("there are no samples to evaluate on; give --eval or --data more samples")
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _from(start: int, progress: Callable[[int], None]) -> Callable[[int, int], None]:
    return lambda done, _: progress(start + done)
