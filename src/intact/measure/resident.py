"""Resident memory that a file takes in a place, as a figure."""

from __future__ import annotations

import math
from pathlib import Path

from intact.measure.measurement import Measurement
from intact.runtime import litert
from intact.runtime.places import HERE, Place
from intact.runtime.runtimes import KERNEL_NAMES, Kernels


def resident(path: Path, kernels: Kernels, threads: int = 1, place: Place = HERE) -> Measurement:
    """What loading and running the file adds to an idle process that has the runtime; undefined where it cannot be read."""
    found = litert.memory(path, kernels=kernels, threads=threads, place=place)
    name, unit = "resident memory", "bytes"
    if found.peak is None:
        return Measurement(name, math.nan, unit, None, None, found.reason, 0)
    how = (
        "the most that one fresh process took while it loaded and ran the file, above what it took idle with the runtime "
        f"loaded; {KERNEL_NAMES[kernels]}"
    )
    return Measurement(name, found.peak, unit, None, None, how, 1)
