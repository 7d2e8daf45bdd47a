"""How many samples a second a file computes, one after the other and in batches, as figures."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

from intact.measure.machine import cpu
from intact.measure.measurement import Measurement
from intact.runtime import litert
from intact.runtime.places import HERE, Place
from intact.runtime.runtimes import KERNEL_NAMES, Kernels
from intact.wording import counted

#: Samples that one call takes.
BATCHES: Final = (1, 32)


def throughput(path: Path, kernels: Kernels, threads: int = 1, place: Place = HERE) -> tuple[Measurement, ...]:
    """Samples a second with calls of 1 and of 32 samples; undefined, with the reason, where a file takes no such batch."""
    found = litert.throughput(path, BATCHES, kernels=kernels, threads=threads, place=place)
    return tuple(
        _figure(batch, found[batch], f"{counted(threads, 'thread')}, {KERNEL_NAMES[kernels]}, {cpu(place)}")
        for batch in BATCHES
    )


def _figure(batch: int, found: litert.Throughput, how: str) -> Measurement:
    name = f"throughput at batch {batch}"
    if found.reason:
        return Measurement(name, math.nan, "samples/s", None, None, found.reason, 0)
    taken = f"median of {counted(len(found.samples), 'block')} of calls with {counted(batch, 'sample')} each, quartiles; {how}"
    low, middle, high = found.quartiles
    return Measurement(name, middle, "samples/s", low, high, taken, len(found.samples))
