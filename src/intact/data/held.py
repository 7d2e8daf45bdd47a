"""Samples that were read once and lie in files, for processes that have neither the images nor what reads them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import numpy as np

from intact import scratch, spool
from intact.data.base import Data, Example
from intact.data.samples import Samples, Source
from intact.data.spec import InputSpec

#: Samples that are read at a time.
_BATCH: Final = 256


@final
@dataclass(frozen=True, eq=False)
class Held(Source):
    """Of a source of ``count`` samples those at ``index``, int64 ``[m]`` in order.

    ``files``: an .npy ``[m, ...]`` for each input; ``digests``: V32 ``[m]``.
    """

    count: int
    index: np.ndarray
    files: Mapping[str, Path]
    digests: np.ndarray
    names: tuple[str, ...]

    def __len__(self) -> int:
        return self.count

    def prepare(self, indices: np.ndarray) -> None:
        del indices  # all are read already

    def fetch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        at = self._at(indices)
        return {name: np.asarray(spool.npy(path))[at] for name, path in self.files.items()}

    def name(self, index: int) -> str:
        return self.names[int(self._at(np.array([index]))[0])]

    def digest(self, index: int) -> bytes:
        found: bytes = self.digests[self._at(np.array([index]))[0]].tobytes()
        return found

    def _at(self, indices: np.ndarray) -> np.ndarray:
        at = np.searchsorted(self.index, indices)
        if not np.array_equal(self.index[np.minimum(at, len(self.index) - 1)], indices):
            raise ValueError("a sample is asked for that is not held")
        return at


@final
@dataclass(frozen=True, eq=False, repr=False)
class HeldData(Data):
    """Samples that are bound already, to the one model that they are for."""

    samples: Samples

    def bind(self, inputs: tuple[InputSpec, ...], classes: int | None) -> Samples:
        del inputs, classes
        return self.samples

    def examples(self) -> tuple[Example, ...]:
        return ()


def held(samples: Samples, index: np.ndarray, folder: Path, called: str) -> Samples:
    """``samples``, of whose source those at ``index`` are read now and lie in files ``called`` so in ``folder``.

    OutputError where the disk is full, DataError for a sample that cannot be read.
    """
    source, wanted = samples.source, np.unique(index)
    source.prepare(wanted)
    files = {spec.name: folder / f"{called}-{n}.npy" for n, spec in enumerate(samples.inputs)}
    for start in range(0, len(wanted), _BATCH):
        for name, values in source.fetch(wanted[start : start + _BATCH]).items():
            with scratch.typed(), files[name].open("ab" if start else "wb") as file:
                if not start:
                    spool.write_header(file, (len(wanted), *values.shape[1:]), values.dtype)
                file.write(np.ascontiguousarray(values).data)
    about = samples.of_source(wanted)
    names = tuple(source.name(int(i)) for i in wanted)
    return samples.moved(Held(len(source), wanted, files, about, names))


def nbytes(samples: Samples, count: int) -> int:
    """Bytes of the files for ``count`` of ``samples``."""
    return count * sum(math.prod(spec.sample) * np.dtype(spec.dtype).itemsize for spec in samples.inputs)


def opened(samples: Samples, files: Mapping[str, Path]) -> Samples:
    """What :func:`held` gave, elsewhere: its files by name as they lie there."""
    source = samples.source
    assert isinstance(source, Held)
    here = {name: files[path.name] for name, path in source.files.items()}
    return samples.moved(Held(source.count, source.index, here, source.digests, source.names))


def files_of(samples: Samples) -> dict[str, Path]:
    """The files of what :func:`held` gave, by name."""
    source = samples.source
    assert isinstance(source, Held)
    return {path.name: path for path in source.files.values()}
