"""Child process: run samples through a file in its runtime. Needs numpy and that runtime only.

A file that the runtime cannot load is answered as ``{"model_error": text}`` and samples that do not fit as
``{"data_error": text}``; anything worse ends this process.
"""

from __future__ import annotations

import importlib
import itertools
import math
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, final

import numpy as np

Progress: TypeAlias = Callable[[int, int], None]
Array: TypeAlias = np.ndarray[Any, Any]
_sessions: Any = importlib.import_module("sessions")  # beside this file
_RefusedError: Any = _sessions.DataRefusedError
#: Its classes, which a type checker cannot see through a plain name.
Session: TypeAlias = Any
Port: TypeAlias = Any
#: Which samples: neighbours, or by number.
Pick: TypeAlias = slice | Array

_PROGRESS_SECONDS = 0.1
#: Bytes of one batch of inputs at most: batches pay for small networks, and cost memory in every thread for large ones.
_BATCH_BYTES = 1 << 20
#: Relative to the largest output: what float32 sums in another order may differ by.
_ROUNDING = 1e-5


def main(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """See :func:`run`."""
    try:
        return run(progress=progress, **request)
    except _sessions.ModelRefusedError as error:
        return {"model_error": str(error)}
    except _sessions.DataRefusedError as error:
        return {"data_error": str(error)}
    except _sessions.MissingPackageError as error:
        return {"missing": str(error)}


@final
@dataclass(frozen=True)
class Feed:
    """How samples become invocations: ``rows`` samples each, in tensors of ``shapes``. ``batched``: along axis 0."""

    rows: int
    shapes: Mapping[str, tuple[int, ...]]
    batched: bool


def run(  # noqa: PLR0913  # one request, spelled out
    *,
    model: str,
    inputs: dict[str, str],
    folder: str,
    kernels: str,
    threads: int,
    batch: int,
    raw: bool,
    progress: Progress,
) -> dict[str, Any]:
    """Run every sample; outputs are written to ``folder`` as .npy files of ``[n, ...]``.

    ``threads`` threads with one single-threaded interpreter each pull chunks of ``batch`` samples: ``invoke`` releases the
    interpreter lock, and nothing is shared. Batches are used only where they are proven to give what single samples give.
    """
    samples = {name: np.load(path, mmap_mode="r") for name, path in inputs.items()}
    first = _sessions.opened(model, kernels)
    single = _feed(first.inputs, samples)
    count = len(next(iter(samples.values())))
    started = time.process_time()
    _prepare(first, single)
    feed = single if first.keeps_state or first.begins_anew else _proven(model, kernels, first, single, samples, batch)
    chunks = -(-count // feed.rows)
    threads = 1 if first.keeps_state else threads  # samples are calls that follow each other
    sessions = [first if feed is single else _session(model, kernels, feed)]
    sessions += [_session(model, kernels, feed) for _ in range(min(threads, chunks) - 1)]
    outputs = _Outputs(Path(folder), first.outputs, count, raw)
    done = _Counter(progress, count)
    taken = itertools.count()

    def work(session: Session) -> None:
        while (start := next(taken) * feed.rows) < count:
            stop = min(start + feed.rows, count)
            result = session(_stored(session.inputs, feed, samples, _rows(start, stop, feed.rows)))
            outputs.put(start, stop, result, feed.rows)
            done.add(stop - start)

    set_up = time.process_time() - started
    started = time.process_time()
    with ThreadPoolExecutor(len(sessions)) as pool:
        for future in [pool.submit(work, session) for session in sessions]:
            future.result()
    spent = time.process_time() - started
    return {
        "outputs": outputs.close(),
        "count": count,
        "cpu_seconds": spent,
        "setup_cpu_seconds": set_up,
        "batch": feed.rows,
        "threads": len(sessions),
    }


def _feed(ports: list[Port], samples: Mapping[str, Array]) -> Feed:
    """One invocation as the file declares it, checked against the samples.

    A sample is what follows axis 0 of its array. It fills a row of an input of shape ``[b, ...]`` (usually b = 1), or the whole
    of an input that has no batch axis.
    """
    if {port.name for port in ports} != set(samples):
        named = ", ".join(repr(port.name) for port in ports)
        raise _RefusedError(f"its inputs are {named}, and the samples are for {', '.join(map(repr, samples))}")
    for port in ports:
        _check(port, samples[port.name])
    rows = {_declared_rows(port, samples[port.name]) for port in ports}
    if len(rows) == 1 and 0 not in rows:
        (b,) = rows
        return Feed(b, {p.name: (b, *samples[p.name].shape[1:]) for p in ports}, batched=True)
    if any(b > 1 for b in rows):
        raise _RefusedError(f"inputs of different batch sizes ({_shapes(ports)}) cannot be run sample by sample")
    return Feed(
        1,
        {p.name: p.shape if not _declared_rows(p, samples[p.name]) else (1, *samples[p.name].shape[1:]) for p in ports},
        False,
    )


def _declared_rows(port: Port, values: Array) -> int:
    """How many samples one invocation takes; 0 when the input has no batch axis (one whole sample)."""
    shape = port.signature or port.shape
    if _fits(values.shape[1:], shape[1:]) and shape:
        return max(int(shape[0]), 1)
    return 0


def _fits(sample: tuple[int, ...], declared: tuple[int, ...]) -> bool:
    return len(sample) == len(declared) and all(d in (-1, s) for s, d in zip(sample, declared, strict=True))


def _check(port: Port, values: Array) -> None:
    shape = port.signature or port.shape
    if not (shape and _fits(values.shape[1:], shape[1:])) and not _fits(values.shape[1:], shape):
        wanted = ["any" if d < 0 else d for d in shape[1:]]
        raise _RefusedError(f"input {port.name!r} takes samples of shape {wanted}, and got {list(values.shape[1:])}")
    if values.dtype == port.dtype or port.dtype.kind == "f":
        return
    if values.dtype.kind != "f":
        raise _RefusedError(f"input {port.name!r} takes {port.dtype} or real numbers as float32, and got {values.dtype}")
    if not port.is_affine or port.dtype.name not in _sessions.LIMITS:
        raise _RefusedError(f"input {port.name!r} takes whole numbers ({port.dtype}), and got {values.dtype}")


def _shapes(ports: list[Port]) -> str:
    return ", ".join(f"{p.name!r} {list(p.shape)}" for p in ports)


def _rows(start: int, stop: int, rows: int) -> Pick:
    """The samples of one invocation; the last one is repeated to fill it."""
    return slice(start, stop) if stop - start == rows else np.minimum(np.arange(start, start + rows), stop - 1)


def _stored(ports: list[Port], feed: Feed, samples: Mapping[str, Array], pick: Pick) -> dict[str, Array]:
    stored = {}
    for port in ports:
        values = np.asarray(samples[port.name][pick])
        if values.dtype.kind == "f" and port.dtype.kind != "f" and not np.isfinite(values).all():
            numbers = np.arange(len(samples[port.name]))[pick]
            bad = numbers[~np.isfinite(values).reshape(len(values), -1).all(axis=1)][0]
            where = f"sample {bad} of input {port.name!r}"
            raise _RefusedError(f"{where} holds NaN or infinity, which {port.dtype} cannot store")
        stored[port.name] = np.ascontiguousarray(port.store(values)).reshape(feed.shapes[port.name])
    return stored


def _prepare(session: Session, feed: Feed) -> None:
    try:
        session.resize(feed.shapes)
    except (ValueError, RuntimeError) as error:
        raise _RefusedError(f"the runtime cannot run it on samples of this shape ({_sessions.one_line(error)})") from error


def _session(model: str, kernels: str, feed: Feed) -> Session:
    session = _sessions.opened(model, kernels)
    session.resize(feed.shapes)
    return session


def _proven(  # noqa: PLR0913, PLR0917  # private, called once
    model: str, kernels: str, one: Session, single: Feed, samples: Mapping[str, Array], batch: int
) -> Feed:
    """A feed of ``batch`` rows if it gives what the declared batch gives; else ``single``.

    Graphs with a baked-in batch (a RESHAPE to a constant shape, a mean over the batch) fail to resize or mix their samples.
    The samples compared are spread over the data, as neighbours may be equal.
    """
    count = len(next(iter(samples.values())))
    size = sum(p.dtype.itemsize * math.prod(single.shapes[p.name]) for p in one.inputs)  # of what one invocation takes
    batch = min(batch // single.rows, _BATCH_BYTES // max(size, 1)) * single.rows
    if not single.batched or batch <= single.rows or count < 2 * single.rows:
        return single
    many = Feed(batch, {name: (batch, *shape[1:]) for name, shape in single.shapes.items()}, batched=True)
    numbers = np.unique(np.linspace(0, count - 1, batch).round().astype(np.int64))
    numbers = np.concatenate([numbers, np.full(batch - len(numbers), numbers[-1])])
    try:
        together = _session(model, kernels, many)(_stored(one.inputs, many, samples, numbers))
    except (ValueError, RuntimeError):
        return single
    for start in range(0, batch, single.rows):
        part = slice(start, start + single.rows)
        alone = one(_stored(one.inputs, single, samples, numbers[part]))
        for name, values in alone.items():
            both = together[name]
            if both.shape != (batch, *values.shape[1:]) or values.shape[:1] != (single.rows,):
                return single
            if not _equal(both[part], values):
                return single
    return many


def _equal(a: Array, b: Array) -> bool:
    """Integers exactly; floats to the rounding of sums in another order, which batched kernels may use."""
    if b.dtype.kind != "f":
        return np.array_equal(a, b)
    largest = float(np.abs(b[np.isfinite(b)]).max(initial=0.0))
    return np.allclose(a, b, rtol=0.0, atol=_ROUNDING * largest, equal_nan=True)


@final
class _Outputs:
    """Output arrays ``[n, ...]`` in memory-mapped files, made when the first result tells their shapes."""

    def __init__(self, folder: Path, ports: list[Port], count: int, raw: bool) -> None:
        self._folder, self._ports, self._count, self._raw = folder, ports, count, raw
        self._files: dict[str, Array] = {}
        self._lock = threading.Lock()

    def put(self, start: int, stop: int, result: Mapping[str, Array], rows: int) -> None:
        for number, port in enumerate(self._ports):
            values = result[port.name]
            if values.shape[:1] != (rows,):
                if rows != 1:
                    raise _RefusedError(
                        f"output {port.name!r} of shape {list(values.shape)} does not tell {rows} samples apart"
                    )
                values = values[None]
            values = values if self._raw else port.real(values)
            with self._lock:
                if port.name not in self._files:
                    self._files[port.name] = np.lib.format.open_memmap(
                        self._folder / f"output{number}.npy", "w+", values.dtype, (self._count, *values.shape[1:])
                    )
            file = self._files[port.name]
            if values.shape[1:] != file.shape[1:]:
                shapes = f"{list(file.shape[1:])} and {list(values.shape[1:])}"
                raise _RefusedError(
                    f"output {port.name!r} has another shape for some samples ({shapes}), so that it cannot be measured; "
                    "cut the model before the op that makes it, or quantize without figures (measure=False in Python)"
                )
            file[start:stop] = values[: stop - start]

    def close(self) -> dict[str, str]:
        for file in self._files.values():
            if isinstance(file, np.memmap):
                file.flush()
        return {port.name: str(self._folder / f"output{i}.npy") for i, port in enumerate(self._ports)}


@final
class _Counter:
    """Progress from several threads, a few times a second."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total = progress, total
        self._done, self._told = 0, 0.0
        self._lock = threading.Lock()

    def add(self, n: int) -> None:
        with self._lock:
            self._done += n
            now = time.monotonic()
            if now - self._told >= _PROGRESS_SECONDS or self._done == self._total:
                self._told = now
                self._progress(self._done, self._total)
