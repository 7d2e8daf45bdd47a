"""What a written file gives for samples, in the real runtime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np

from intact import spool
from intact.data import Samples
from intact.data.samples import BATCH
from intact.errors import DataError
from intact.measure.accuracy import Rows
from intact.measure.metrics import UNCHANGED
from intact.progress import StepProgress, onward
from intact.runtime.litert import Batches, run
from intact.runtime.runtimes import Kernels

#: Samples go to the runtime in pieces of at most this many bytes, which lie on disk meanwhile.
_PIECE: Final = 256 << 20


def outputs_of(
    path: Path, samples: Samples, kernels: Kernels, progress: StepProgress, called: Mapping[str, str] = UNCHANGED
) -> dict[str, Rows]:
    """Outputs ``[n, ...]`` by name of a file in the real runtime, on disk and mapped, so that any number of samples fits.

    ``called``: what the samples call an input that has another name in the file.
    """
    names = {name: own for own, name in called.items()}
    size = sum(int(np.prod(spec.sample)) * 4 for spec in samples.inputs)
    step = max(_PIECE // max(size, 1), 1)
    columns: dict[str, spool.Column] = {}
    for start in range(0, len(samples), step):
        stop = min(start + step, len(samples))
        piece = Batches(stop - start, _inputs(samples, start, stop, names))
        made = run(path, piece, kernels=kernels, progress=onward(progress, start, len(samples)))
        for name, values in made.items():
            if name not in columns:
                columns[name] = spool.Column(values.shape[1:], values.dtype)
            columns[name].add(values)
    if not columns:
        raise DataError("there are no samples to evaluate on; give --eval or --data more samples")
    return {name: column.joined("c") for name, column in columns.items()}


def _inputs(samples: Samples, start: int, stop: int, names: Mapping[str, str]) -> Iterator[Mapping[str, Rows]]:
    for at in range(start, stop, BATCH):
        batch, _ = samples.batch(np.arange(at, min(at + BATCH, stop)))
        yield {names.get(name, name): x for name, x in batch.items()}
