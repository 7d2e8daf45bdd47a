"""One network of the matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

#: What a user holds: one array, several in the order of the model's arguments, or several by input name.
Samples = np.ndarray | tuple[np.ndarray, ...] | Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Brought:
    """A network and samples ``[n, ...]`` as its owner has them: images NCHW for PyTorch, NHWC for everything else."""

    model: Any
    samples: Samples


@dataclass(frozen=True)
class Entry:
    """``bring(count, packages)`` makes the network and ``count`` samples; ``packages`` holds the packages of first_try.txt.

    ``trained``: its weights are, so that its fidelity means something. ``refused``: words of the message that says why Intact
    does not take it; empty where it has to work. The reason is held by the test that ``held_by`` names.
    """

    name: str
    bring: Callable[[int, Path], Brought]
    trained: bool = False
    refused: str = ""
    held_by: str = ""
