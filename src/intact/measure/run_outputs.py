"""What a written file gives for samples, in the real runtime."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np

from intact import spool
from intact.data import Samples
from intact.data.samples import BATCH
from intact.errors import DataError
from intact.measure.accuracy import Rows
from intact.measure.metrics import UNCHANGED
from intact.progress import StepProgress, Summed
from intact.runtime.litert import Batches, run
from intact.runtime.places import HERE, Place
from intact.runtime.runtimes import Kernels

_T = TypeVar("_T")


def outputs_of(  # noqa: PLR0913, PLR0917  # two have defaults
    path: Path,
    samples: Samples,
    kernels: Kernels,
    progress: StepProgress,
    called: Mapping[str, str] = UNCHANGED,
    place: Place = HERE,
) -> dict[str, Rows]:
    """Outputs ``[n, ...]`` by name of a file in the real runtime, on disk and mapped, so that any number of samples fits.

    Samples go to ``place`` in pieces, which lie on disk meanwhile; where it takes several at once, they are worked on side by
    side and joined in order.

    ``called``: what the samples call an input that has another name in the file.
    """
    names = {name: own for own, name in called.items()}
    size = sum(int(np.prod(spec.sample)) * 4 for spec in samples.inputs)
    step = max(place.piece_bytes // max(size, 1), 1)
    if samples.in_order:  # a network's states go from one call to the next
        step = len(samples)
    elif place.at_once > 1:
        step = min(step, -(-len(samples) // place.at_once))
    pieces = _pieces(len(samples), step)
    told, reading = Summed(progress, len(samples)), threading.Lock()

    def made_of(piece: range) -> dict[str, Rows]:
        batches = Batches(len(piece), _inputs(samples, piece, names, reading))
        return run(path, batches, kernels=kernels, progress=told.part(), place=place)

    columns: dict[str, spool.Column] = {}
    for made in _side_by_side(made_of, pieces, place.at_once):
        for name, values in made.items():
            if name not in columns:
                columns[name] = spool.Column(values.shape[1:], values.dtype)
            columns[name].add(values)
    if not columns:
        raise DataError("there are no samples to evaluate on; give --eval or --data more samples")
    return {name: column.joined("c") for name, column in columns.items()}


def _pieces(count: int, step: int) -> list[range]:
    """Pieces of about ``step`` of ``count`` samples: whole batches, so that every sample has the same neighbours in a batch,
    and the same outputs to the last bit, however many pieces there are.
    """
    step = -(-step // BATCH) * BATCH
    starts = [start for start in range(0, count, step) if start == 0 or count - start >= BATCH]
    return [range(start, stop) for start, stop in pairwise([*starts, count])]


def _side_by_side(work: Callable[[range], _T], pieces: Sequence[range], at_once: int) -> Iterator[_T]:
    """``work(piece)`` of each, in order, ``at_once`` of them at a time and as many more made before they are asked for."""
    if at_once == 1:
        yield from map(work, pieces)
        return
    with ThreadPoolExecutor(at_once) as pool:
        ahead: deque[Future[_T]] = deque()
        try:
            for piece in pieces:
                ahead.append(pool.submit(work, piece))
                if len(ahead) > 2 * at_once:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


def _inputs(samples: Samples, piece: range, names: Mapping[str, str], reading: threading.Lock) -> Iterator[Mapping[str, Rows]]:
    for at in range(piece.start, piece.stop, BATCH):
        with reading:  # which is on all cores already
            batch, _ = samples.batch(np.arange(at, min(at + BATCH, piece.stop)))
        yield {names.get(name, name): x for name, x in batch.items()}
