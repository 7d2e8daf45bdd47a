"""Samples bound to a model: any subset of them as arrays that the model reads, with labels, names and identities."""

from __future__ import annotations

import abc
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias, TypeVar, final

import numpy as np

from intact.data.preprocessing import Preprocessing
from intact.data.spec import Finding, InputSpec
from intact.wording import brief

Indices: TypeAlias = Sequence[int] | np.ndarray
T = TypeVar("T")

#: Samples that one thread takes at a time: enough to hide the cost of handing over, few enough to share a batch.
_CHUNK: Final = 16
#: Samples that are identified at a time.
_DIGESTS: Final = 4096
#: Samples that are run at a time. More take more memory, and sums of floats would come out otherwise in their last bits.
BATCH: Final = 32
#: The same where every op is run by itself, or compared with the runtime: as many batches as keep a laptop's cores busy.
SMALL_BATCH: Final = 16
#: The same where a few samples are run many times over.
SMALLEST_BATCH: Final = 8
#: Decoded images are kept on disk up to this many bytes, so that calibration and several models decode each image once.
CACHE_BYTES: Final = 8 << 30


class Source(abc.ABC):
    """Where bound samples come from. Safe to use from several threads; the same index always gives the same sample."""

    @abc.abstractmethod
    def __len__(self) -> int: ...

    @abc.abstractmethod
    def prepare(self, indices: np.ndarray) -> None:
        """These samples are wanted soon: what can only be read from one end to the other is gone through once for all."""

    @abc.abstractmethod
    def fetch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Input name to ``[n, ...]`` in the input's shape and dtype. Raises DataError naming the sample that cannot be read."""

    @abc.abstractmethod
    def name(self, index: int) -> str:
        """How messages call the sample: a file's path, or ``sample 7 of val.npz``."""

    @abc.abstractmethod
    def digest(self, index: int) -> bytes:
        """SHA-256 of the sample as stored, without its label: 32 bytes."""


@final
class _Digests:
    """The SHA-256 of samples of one source, as far as they were asked for."""

    def __init__(self) -> None:
        self._values: np.ndarray = np.empty(0, "V32")
        self._known: np.ndarray = np.zeros(0, bool)

    def of(self, source: Source, index: np.ndarray) -> np.ndarray:
        """V32 ``[n]`` of the samples at ``index``."""
        if len(self._known) < len(source):
            self._values, self._known = np.zeros(len(source), "V32"), np.zeros(len(source), bool)
        fresh = np.unique(index[~self._known[index]])
        source.prepare(fresh)
        for start in range(0, len(fresh), _DIGESTS):
            at = fresh[start : start + _DIGESTS]
            self._values[at] = np.frombuffer(b"".join(parallel(source.digest, at)), "V32")
        self._known[fresh] = True
        found: np.ndarray = self._values[index]
        return found


@final
@dataclass(frozen=True, eq=False)
class Samples:
    """Samples that fit one model. Nothing is decoded before it is asked for.

    ``index`` picks and orders samples of ``source``; the other arrays are already in that order. ``labels`` are class
    numbers, int64 ``[n]``, or None where there are none or they are not classes of the model; ``targets`` is what came
    with the samples, in any shape ``[n, ...]``, for a ``metric=`` function. ``class_names`` are those of class folders.
    ``in_order``: they are calls that follow each other, of a network that keeps states: one batch, from the first on.
    """

    source: Source
    inputs: tuple[InputSpec, ...]
    preprocessing: Preprocessing
    index: np.ndarray
    labels: np.ndarray | None = None
    targets: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    in_order: bool = False
    # a cache that every subset shares
    _known: _Digests = field(default_factory=_Digests, repr=False)

    __repr__ = brief

    def __len__(self) -> int:
        return len(self.index)

    def batch(self, indices: Indices) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
        """``{input name: [n, ...]}`` and int64 labels ``[n]`` (None when unlabelled) of the samples at ``indices``."""
        at = np.asarray(indices, np.int64)
        return self.source.fetch(self.index[at]), None if self.labels is None else self.labels[at]

    def batches(self, size: int = BATCH) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray | None]]:
        """All samples in order, ``size`` at a time; the last batch may be smaller. Calls are one batch."""
        size = max(len(self), 1) if self.in_order else size
        self.source.prepare(self.index)
        return (self.batch(np.arange(i, min(i + size, len(self)))) for i in range(0, len(self), size))

    def spread(self, most: int) -> Samples:
        """At most so many samples, evenly from all of them: neighbours may be of one class. Of calls, the first."""
        return self.take(self.places(most))

    def places(self, most: int) -> Indices:
        """Which :meth:`spread` takes."""
        if self.in_order:
            return np.arange(min(most, len(self)))
        return np.linspace(0, len(self) - 1, min(most, len(self))).round().astype(np.int64)

    def drawn(self, most: int, seed: int) -> Samples:
        """At most so many samples in an order drawn by ``seed``, so that any number of the first ones is like all of them."""
        if self.in_order:
            return self.spread(most)
        return self.take(np.random.default_rng(seed).permutation(len(self))[:most])

    def take(self, indices: Indices) -> Samples:
        """The samples at ``indices``, in that order, sharing what is already decoded."""
        at = np.asarray(indices, np.int64)
        return replace(
            self,
            index=self.index[at],
            labels=None if self.labels is None else self.labels[at],
            targets=None if self.targets is None else self.targets[at],
        )

    def joined(self, other: Samples) -> Samples:
        """These samples and then those of ``other``, which is a subset of the same source."""
        if other.source is not self.source:
            raise ValueError("samples of another source")

        def both(a: np.ndarray | None, b: np.ndarray | None) -> np.ndarray | None:
            return None if a is None or b is None else np.concatenate([a, b])

        index = np.concatenate([self.index, other.index])
        return replace(self, index=index, labels=both(self.labels, other.labels), targets=both(self.targets, other.targets))

    def name(self, i: int) -> str:
        """How messages call sample ``i``."""
        return self.source.name(int(self.index[i]))

    def digests(self) -> np.ndarray:
        """SHA-256 of each sample as stored (file bytes, or array values with dtype and shape), without its label: V32 ``[n]``.

        Each is computed once for all subsets of one source.
        """
        return self._known.of(self.source, self.index)

    def of_source(self, index: np.ndarray) -> np.ndarray:
        """The same of samples of the source at ``index``, whether they are among these or not."""
        return self._known.of(self.source, index)

    def moved(self, source: Source) -> Samples:
        """These samples, of a source that has the same ones under the same numbers."""
        return replace(self, source=source, _known=_Digests())

    def fingerprint(self) -> str:
        """SHA-256 in hex over the samples, their order, labels, targets, class names, preprocessing and the inputs they fit.

        Reads every sample: fingerprint the parts that are used, not a whole training set.
        """
        about = {
            "preprocessing": self.preprocessing.to_json(),
            "inputs": [(s.name, s.sample, s.dtype) for s in self.inputs],
            "classes": self.class_names,
        }
        total = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
        total.update(self.digests().tobytes())
        for values in (self.labels, self.targets):
            total.update(b"none" if values is None else array_digest(values))
        return total.hexdigest()


def array_digest(values: np.ndarray) -> bytes:
    """SHA-256 of dtype, shape and values."""
    value = np.ascontiguousarray(values)
    total = hashlib.sha256(f"{value.dtype.str}{value.shape}".encode())
    total.update(value.data if value.size else b"")
    return total.digest()


def parallel(work: Callable[[int], T], items: Sequence[int] | np.ndarray) -> list[T]:
    """``[work(i) for i in items]`` on all cores; for work that releases the GIL. The first error in order is raised."""
    plain = [int(i) for i in items]
    if len(plain) < 2 * _CHUNK:
        return [work(i) for i in plain]
    pieces = [plain[i : i + _CHUNK] for i in range(0, len(plain), _CHUNK)]
    pool = ThreadPoolExecutor(min(_cores(), len(pieces)), "intact-data")
    try:
        done = pool.map(lambda piece: [work(i) for i in piece], pieces)
        return [value for piece in done for value in piece]
    finally:  # an error or Ctrl-C does not wait for what has not begun
        pool.shutdown(cancel_futures=True)


def _cores() -> int:
    """The cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows cannot say
        return os.cpu_count() or 1
