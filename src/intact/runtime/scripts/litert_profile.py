"""Child process: what LiteRT makes of .tflite files: partitions, time and memory. Needs numpy and ai_edge_litert only.

``main(request, progress)`` picks the task by ``request["task"]``. A file that LiteRT cannot load is answered as
``{"model_error": text}``; anything worse ends this process.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

Progress: TypeAlias = Callable[[int, int], None]

_sessions: Any = importlib.import_module("sessions")  # beside this file
#: Its classes, which a type checker cannot see through a plain name.
Session: TypeAlias = Any
Port: TypeAlias = Any
Array: TypeAlias = np.ndarray[Any, Any]

#: What is timed at once, so that reading the clock (about a tenth of a microsecond) does not count.
_CLOCK_SECONDS = 50e-6


def main(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Do one task; see the functions of the same names."""
    tasks: dict[str, Callable[..., dict[str, Any]]] = {
        "check": check,
        "describe": describe,
        "latency": latency,
        "throughput": throughput,
        "memory": memory,
    }
    try:
        return tasks[request.pop("task")](progress=progress, **request)
    except _sessions.ModelRefusedError as error:
        return {"model_error": str(error)}
    except _sessions.MissingPackageError as error:
        return {"missing": str(error)}


def check(*, kernels: str, progress: Progress) -> dict[str, Any]:
    """Nothing, where this machine has what the kernels need."""
    del progress
    _sessions.check(kernels)
    return {}


def describe(*, model: str, kernels: str, progress: Progress) -> dict[str, Any]:
    """Inputs and outputs, how many partitions the delegate runs, and the kinds of the ops that it leaves to other kernels."""
    del progress
    session = _sessions.opened(model, kernels)
    listed = session.ops()
    return {
        "inputs": [port.to_json() for port in session.inputs],
        "outputs": [port.to_json() for port in session.outputs],
        "partitions": sum(op["op_name"] == "DELEGATE" for op in listed),
        "outside": [op["op_name"] for op in _sessions.outside(listed)],
        "about": session.about,
    }


def latency(  # noqa: PLR0913  # one request, spelled out
    *,
    models: dict[str, str],
    kernels: dict[str, str],
    threads: int,
    rounds: int,
    warmup_seconds: float,
    block_seconds: float,
    max_seconds: float,
    progress: Progress,
) -> dict[str, Any]:
    """Milliseconds per invocation: the median of each block, per model.

    All models take turns in this one process, in the order A B, B A, A B, ..., so that drift of the machine hits all alike.
    Each round loads them afresh in its order: where a model's buffers happen to lie makes some per cent, for as long as it
    is loaded (the same file against itself gave 1.03 with an interval of 1.01 to 1.07 when loaded once). A block is as
    many invocations as fill ``block_seconds``, at least one, after a tenth as many that do not count. The blocks end after
    ``rounds`` rounds, or after ``max_seconds`` once there are five. Inputs are seeded random numbers; only ``invoke`` is timed.
    """
    progress(0, rounds)
    seconds = {name: _warm_up(_load(path, kernels[name], threads), warmup_seconds) for name, path in models.items()}
    repeats = {name: max(1, round(block_seconds / each)) for name, each in seconds.items()}
    together = {name: max(1, round(_CLOCK_SECONDS / each)) for name, each in seconds.items()}
    samples: dict[str, list[float]] = {name: [] for name in models}
    started = time.monotonic()
    for done in range(rounds):
        if done >= 5 and time.monotonic() - started > max_seconds:
            break
        order = list(models) if done % 2 == 0 else list(models)[::-1]
        sessions = {name: _load(models[name], kernels[name], threads) for name in order}
        for name in order:
            _block(sessions[name], max(repeats[name] // 10, 1))
            samples[name].append(_block(sessions[name], repeats[name], together[name]) * 1e3)
            progress(done, rounds)
    progress(rounds, rounds)
    return {"samples": samples, "repeats": repeats}


def _load(model: str, kernels: str, threads: int) -> Session:
    session = _sessions.opened(model, kernels, threads)
    session.feed({port.name: _noise(port) for port in session.inputs})
    return session


def _noise(port: Port) -> Array:
    """Random numbers: floats in [-1, 1); 8-bit and scaled integers over all of their range; other whole numbers zero."""
    rng = np.random.default_rng(0)
    values: Array = np.zeros(port.shape, port.dtype)  # an index must exist; so must false
    if port.dtype.kind == "f":
        values[...] = rng.uniform(-1.0, 1.0, port.shape)
    elif port.dtype.kind in "iu" and (port.dtype.itemsize == 1 or port.is_affine):
        limits = np.iinfo(port.dtype)
        values = rng.integers(limits.min, limits.max, port.shape, dtype=port.dtype, endpoint=True)
    return values


def _block(session: Session, repeats: int, together: int = 1) -> float:
    """Seconds per invocation: the median of ``repeats``, timed ``together`` at a time.

    The median, as another process that takes the core for some milliseconds would move a mean.
    """
    taken = [_together(session, together) for _ in range(-(-repeats // together))]
    return float(np.median(taken)) / together


def _warm_up(session: Session, seconds: float) -> float:
    """Invoke for ``seconds``, at least twice; seconds per invocation, the median of the blocks after the first few.

    Blocks grow until they are a tenth of ``seconds``: a clock read around each call of a small network would take longer than
    the call.
    """
    count, taken, total = 1, [_together(session, 1)], 0.0
    while total < seconds:
        took = _together(session, count)
        total += took
        if took < seconds / 10 and total < seconds / 2:
            count *= 2
        else:
            taken.append(took / count)
    return float(np.median(taken[1:] or taken))


def _together(session: Session, count: int) -> float:
    """Seconds that ``count`` invocations take."""
    invoke = session.invoke
    started = time.perf_counter()
    for _ in range(count):
        invoke()
    return time.perf_counter() - started


def throughput(  # noqa: PLR0913  # one request, spelled out
    *, model: str, batches: list[int], kernels: str, threads: int, seconds: float, progress: Progress
) -> dict[str, Any]:
    """Samples a second for each of ``batches``, how many samples one call takes."""
    del progress
    return {"batches": [_per_second(_sessions.opened(model, kernels, threads), batch, seconds) for batch in batches]}


def _per_second(session: Session, batch: int, seconds: float) -> dict[str, Any]:
    """``samples``, one for each block of calls: as many blocks as fit ``seconds``, at least five.

    A file of another batch is resized. One that cannot be, or that does not give a row for each sample then, is answered with
    the ``reason``.
    """
    declared = {port.name: port.shape for port in session.inputs}
    states = session.keeps_state and batch > 1
    if states or any(not shape for shape in declared.values()):
        why = "every call depends on the one before" if states else "an input has no batch axis"
        return {"reason": f"the file takes no batch of {batch}: {why}"}
    try:
        session.resize({name: (batch, *shape[1:]) for name, shape in declared.items()})
        given = {port.name: np.resize(_noise(port), (batch, *port.shape[1:])) for port in session.inputs}
        made = session(given)
        session.feed(given)
    except (ValueError, RuntimeError) as error:
        return {"reason": f"the file cannot be resized to a batch of {batch} ({_sessions.one_line(error)})"}
    if any(values.shape[:1] != (batch,) for values in made.values()):
        return {"reason": f"the file cannot be resized to a batch of {batch}: it does not give a row for each sample"}
    each = _warm_up(session, seconds / 5)
    repeats = max(1, round(seconds / 20 / each))
    samples: list[float] = []
    started = time.monotonic()
    while len(samples) < 5 or (time.monotonic() - started < seconds and len(samples) < 40):
        samples.append(batch / _block(session, repeats, max(1, round(_CLOCK_SECONDS / each))))
    return {"samples": samples}


def memory(*, model: str, kernels: str, threads: int, progress: Progress) -> dict[str, Any]:
    """Bytes that loading the file and running one sample add to this fresh process, at the peak and at the end.

    ``peak`` is VmHWM, reset before loading by writing 5 to /proc/self/clear_refs, less the resident memory then; it holds the
    pages of the file that were touched. ``anonymous`` is what RssAnon grew by: memory that is not the file's.
    """
    del progress
    if not Path("/proc/self/status").exists():
        return {"reason": "this system has no /proc to read resident memory from"}
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError as error:
        return {"reason": f"the peak of resident memory cannot be reset here ({error})"}
    before = _status()
    session = _load(model, kernels, threads)
    for _ in range(2):
        session.invoke()
    after = _status()
    return {"peak": after["VmHWM"] - before["VmRSS"], "anonymous": after["RssAnon"] - before["RssAnon"]}


def _status() -> dict[str, int]:
    """The memory lines of /proc/self/status in bytes."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if words[-1] == "kB"}
