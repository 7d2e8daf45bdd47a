"""Runtimes in child processes: run a written file on samples, time it, weigh it. A crash of the runtime is a ChildError.

LiteRT where ``kernels`` name no other (:mod:`intact.runtime.runtimes`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, final

import numpy as np

from intact import scratch, spool
from intact.errors import DataError, MissingExtraError, ModelError, PlaceError, located
from intact.progress import StepProgress
from intact.runtime import runtimes
from intact.runtime.confinement import Confinement
from intact.runtime.places import HERE, Clock, Place, Timer
from intact.runtime.runtimes import Kernels

#: Seconds without a finished sample after which the runtime is taken for hung.
SILENCE: Final = 600.0
#: What an interpreter takes at most, in file sizes: weights repacked, and float16 or sparse ones unpacked.
_COPIES: Final = 4
#: The largest file of outputs: every pixel's class of a whole data set.
_LARGEST_OUTPUT: Final = 1 << 40
#: Writing here resets what the system remembers as a process's most memory.
_CLEAR_REFS: Final = Path("/proc/self/clear_refs")


@final
@dataclass(frozen=True)
class Port:
    """An input or output as the file declares it; -1 in ``shape`` is a free dimension, ``scale`` is empty for real numbers."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    scale: tuple[float, ...]
    zero_point: tuple[int, ...]


@final
@dataclass(frozen=True)
class Description:
    """What LiteRT makes of a file: ``partitions`` run by the delegate (XNNPACK), ``outside`` the kinds of the ops left out.

    ``about``: what is known of a file of another runtime: the ops that make its outputs, and whether it is quantized.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    partitions: int
    outside: tuple[str, ...]
    about: Mapping[str, Any] = field(default_factory=dict)


@final
@dataclass(frozen=True, eq=False)
class Run:
    """Outputs ``[n, ...]`` by name, and what they cost: CPU seconds of all threads per sample, without setting up."""

    outputs: dict[str, np.ndarray]
    cpu_seconds_per_sample: float
    setup_cpu_seconds: float
    batch: int
    threads: int
    kernels: Kernels


@final
@dataclass(frozen=True)
class Latency:
    """Milliseconds per invocation: the median of each block of ``repeats``; block i of every model ran in round i."""

    samples_ms: tuple[float, ...]
    repeats: int
    threads: int
    kernels: Kernels


@final
@dataclass(frozen=True)
class Memory:
    """Bytes that loading a file and running it add to a fresh process; None with the reason where it cannot be read."""

    peak: int | None
    anonymous: int | None
    reason: str = ""


@final
@dataclass(frozen=True)
class Throughput:
    """Samples a second, by block of calls; empty with the reason where the file does not take such a batch."""

    samples: tuple[float, ...]
    reason: str = ""

    @property
    def quartiles(self) -> tuple[float, float, float]:
        low, middle, high = np.quantile(self.samples, (0.25, 0.5, 0.75))
        return float(low), float(middle), float(high)


@final
@dataclass(frozen=True, eq=False)
class Batches:
    """``count`` samples that come in batches by input name, one shape and dtype each; they need not fit memory together."""

    count: int
    batches: Iterable[Mapping[str, np.ndarray]]


def run(  # noqa: PLR0913  # all but two have defaults
    model: Path,
    inputs: Mapping[str, np.ndarray] | Batches,
    *,
    kernels: Kernels = "default",
    threads: int | None = None,
    batch: int = 8,
    raw: bool = False,
    timeout: float = SILENCE,
    progress: StepProgress | None = None,
    place: Place = HERE,
) -> dict[str, np.ndarray]:
    """Outputs ``[n, ...]`` of the file by name for inputs ``[n, ...]`` by name; see :func:`execute`."""
    options: dict[str, Any] = {"kernels": kernels, "threads": threads, "batch": batch, "raw": raw}
    return execute(model, inputs, **options, timeout=timeout, progress=progress, place=place).outputs


def execute(  # noqa: PLR0913  # all but two have defaults
    model: Path,
    inputs: Mapping[str, np.ndarray] | Batches,
    *,
    kernels: Kernels = "default",
    threads: int | None = None,
    batch: int = 8,
    raw: bool = False,
    timeout: float = SILENCE,
    progress: StepProgress | None = None,
    place: Place = HERE,
) -> Run:
    """Run samples through a .tflite file.

    ``inputs`` are real numbers (float arrays are quantized as the file's own input says, round half to even, clamped) or
    already of the file's integer dtype. Outputs are real numbers in float32; ``raw`` returns the stored integers. Names are
    those of the first signature if the file has one, else the tensors'. An input of shape [1, ...] or [-1, ...] takes one
    sample per row; an input without a batch axis takes a whole sample.

    ``threads`` (all cores) interpreters of one thread each work on ``batch`` samples at a time where the file gives the same
    for a batch as for single samples, else on one. ``timeout`` is the silence allowed, in seconds.

    Raises DataError for samples that do not fit, ModelError for a file that LiteRT refuses, ChildError when the runtime dies.
    """
    with scratch.folder() as folder, located(model.name):
        batches = inputs if isinstance(inputs, Batches) else _one(inputs)
        request = {
            "model": _existing(model),
            "inputs": _written(batches, folder),
            "folder": folder,
            "kernels": kernels,
            "threads": _threads(model, place) if threads is None else threads,
            "batch": batch,
            "raw": raw,
        }
        answer = _ask("litert_worker.py", request, timeout, place, progress, (folder,))
        # mapped, so that large outputs need no memory twice; the pages outlive the file's name
        outputs = {n: np.load(p, mmap_mode="c", allow_pickle=False).view(np.ndarray) for n, p in answer["outputs"].items()}
    return Run(
        outputs=outputs,
        cpu_seconds_per_sample=answer["cpu_seconds"] / answer["count"],
        setup_cpu_seconds=answer["setup_cpu_seconds"],
        batch=answer["batch"],
        threads=answer["threads"],
        kernels=kernels,
    )


def check(kernels: Kernels, *, timeout: float = SILENCE, place: Place = HERE) -> None:
    """Whether a place has what the kernels need; MissingExtraError or ModelError says in a sentence what is missing."""
    _ask("litert_profile.py", {"task": "check", "kernels": kernels}, timeout, place)


def describe(model: Path, *, kernels: Kernels = "default", timeout: float = SILENCE, place: Place = HERE) -> Description:
    """Load a file in LiteRT, in a place, and say what it made of it. Raises ModelError or ChildError."""
    with located(model.name):
        request = {"task": "describe", "model": _existing(model), "kernels": kernels}
        answer = _ask("litert_profile.py", request, timeout, place)
    return Description(
        tuple(_port(port) for port in answer["inputs"]),
        tuple(_port(port) for port in answer["outputs"]),
        answer["partitions"],
        tuple(answer["outside"]),
        answer["about"],
    )


def latency(  # noqa: PLR0913  # all but one have defaults
    models: Mapping[str, Path],
    *,
    kernels: Kernels | Mapping[str, Kernels] = "default",
    threads: int = 1,
    rounds: int = 40,
    warmup_seconds: float = 0.5,
    block_seconds: float = 0.05,
    max_seconds: float = 60.0,
    timeout: float = SILENCE,
    progress: StepProgress | None = None,
    place: Timer = HERE,
) -> dict[str, Latency]:
    """Time files against each other in one child process, in a place.

    After a warm-up each, the models are loaded afresh and take turns in blocks (A B, B A, A B, ...), ``rounds`` blocks each or
    as many, at least five, as fit ``max_seconds``. A block repeats the invocation until it takes about ``block_seconds``.
    The input is random numbers; copying it in is not timed. ``kernels`` may be others for each model. On an Android device each
    block has a process and a warm-up of its own.
    """
    by_name = {name: kernels if isinstance(kernels, str) else kernels[name] for name in models}
    with located(", ".join(path.name for path in models.values())):
        request = {
            "models": {name: _existing(path) for name, path in models.items()},
            "kernels": by_name,
            "threads": threads,
            "rounds": rounds,
            "warmup_seconds": warmup_seconds,
            "block_seconds": block_seconds,
            "max_seconds": max_seconds,
        }
        if isinstance(place, Clock):
            answer = place.time(request, timeout=timeout, on_progress=progress)
        else:
            answer = _ask("litert_profile.py", {"task": "latency", **request}, timeout, place, progress)
    return {n: Latency(tuple(answer["samples"][n]), answer["repeats"][n], threads, by_name[n]) for n in models}


def throughput(  # noqa: PLR0913  # all but two have defaults
    model: Path,
    batches: Sequence[int],
    *,
    kernels: Kernels = "default",
    threads: int = 1,
    seconds: float = 0.25,
    timeout: float = SILENCE,
    place: Place = HERE,
) -> dict[int, Throughput]:
    """Samples a second of calls that take so many samples together, by how many; each over about ``seconds``, on random
    numbers.
    """
    with located(model.name):
        request = {"task": "throughput", "model": _existing(model), "batches": list(batches), "kernels": kernels}
        answer = _ask("litert_profile.py", request | {"threads": threads, "seconds": seconds}, timeout, place)
    found = zip(batches, answer["batches"], strict=True)
    return {batch: Throughput(tuple(one.get("samples", ())), one.get("reason", "")) for batch, one in found}


def memory(
    model: Path, *, kernels: Kernels = "default", threads: int = 1, timeout: float = SILENCE, place: Place = HERE
) -> Memory:
    """Resident memory that a file takes in a fresh process: weights that are touched, activations, the runtime's own copies."""
    with located(model.name):
        request = {"task": "memory", "model": _existing(model), "kernels": kernels, "threads": threads}
        answer = _ask("litert_profile.py", request, timeout, place, writes=(_CLEAR_REFS,))
    return Memory(answer.get("peak"), answer.get("anonymous"), answer.get("reason", ""))


def _ask(  # noqa: PLR0913, PLR0917  # what is asked, where, and how long
    script: str,
    request: Mapping[str, Any],
    timeout: float,
    place: Place,
    progress: StepProgress | None = None,
    writes: tuple[Path, ...] = (),
) -> dict[str, Any]:
    held = Confinement(writes, file_bytes=_LARGEST_OUTPUT)
    asked: Kernels | Mapping[str, Kernels] = request["kernels"]
    others = [runtimes.of(kernels) for kernels in (asked.values() if isinstance(asked, Mapping) else [asked])]
    what = " and ".join(dict.fromkeys(each.title for each in others))
    answer = place.call(script, request, what=what, timeout=timeout, on_progress=progress, confinement=held)
    if "missing" in answer and place.name:
        raise PlaceError(f"{answer['missing']} is not installed on {place.name}; type there: pip install {answer['missing']}")
    if "missing" in answer:
        extra = next((each for each in others if each.extra and each.package == answer["missing"]), None)
        first = extra or next(each for each in others if each.extra)
        raise MissingExtraError(f"{first.title} as a runtime", first.extra)
    if "model_error" in answer:
        raise ModelError(answer["model_error"])
    if "data_error" in answer:
        raise DataError(answer["data_error"])
    return answer


def _one(inputs: Mapping[str, np.ndarray]) -> Batches:
    _check_counts(inputs)
    return Batches(len(next(iter(inputs.values()))), [inputs])


def _written(batches: Batches, folder: Path) -> dict[str, Path]:
    """An ``.npy`` file for each input, written batch by batch; by input name."""
    paths: dict[str, Path] = {}
    with contextlib.ExitStack() as stack:
        open_files: dict[str, IO[bytes]] = {}
        for batch in batches.batches:
            for number, (name, values) in enumerate(batch.items()):
                if name not in open_files:
                    paths[name] = folder / f"input{number}.npy"
                    open_files[name] = stack.enter_context(paths[name].open("wb"))
                    spool.write_header(open_files[name], (batches.count, *values.shape[1:]), values.dtype)
                for block in spool.blocks(values):
                    open_files[name].write(np.ascontiguousarray(block).tobytes())
    return paths


def _check_counts(inputs: Mapping[str, np.ndarray]) -> None:
    counts = {name: len(array) if array.ndim else 0 for name, array in inputs.items()}
    if not counts or 0 in counts.values():
        raise DataError("no samples to run")
    if len(set(counts.values())) > 1:
        raise DataError(f"inputs of different numbers of samples: {', '.join(f'{n!r} {c}' for n, c in counts.items())}")


def _existing(model: Path) -> Path:
    if not model.is_file():
        raise ModelError("no such file")
    return model.resolve()


def _port(port: Mapping[str, Any]) -> Port:
    return Port(port["name"], port["dtype"], tuple(port["shape"]), tuple(port["scale"]), tuple(port["zero_point"]))


def _threads(model: Path, place: Place) -> int:
    """One for each core of a place, or as many as have room: each loads the model, with copies of weights."""
    return max(1, min(place.cores, place.memory // 2 // (_COPIES * model.stat().st_size + 1)))
