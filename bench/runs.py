"""Files in the real runtime, measured the plain way and apart from Intact's own measuring: predictions, latency, intervals."""

from __future__ import annotations

import math
import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

BATCH = 8


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float


def quantized_input(values: np.ndarray, details: dict) -> np.ndarray:
    """float32 values as the model's input type."""
    dtype = np.dtype(details["dtype"])
    if dtype == np.float32:
        return values
    scale, zero_point = details["quantization"]
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values / np.float32(scale)) + zero_point, limits.min, limits.max).astype(dtype)


def _real(values: np.ndarray, details: dict) -> np.ndarray:
    if values.dtype == np.float32:
        return values
    scale, zero_point = details["quantization"]
    return np.float32(scale) * (values.astype(np.float32) - zero_point)


def predictions(path: Path, images: np.ndarray) -> np.ndarray:
    """Top-1 class of each image, ``[n]``."""
    return outputs(path, images).argmax(1)


def outputs(path: Path, images: np.ndarray) -> np.ndarray:
    """The first output as real numbers, ``[n, -1]``; one single-thread interpreter per core, default kernels, batches of 8."""

    def part(rows: np.ndarray) -> np.ndarray:
        interpreter = Interpreter(str(path), num_threads=1)
        (details,) = interpreter.get_input_details()
        out = interpreter.get_output_details()[0]
        found = []
        size = 0
        for start in range(0, len(rows), BATCH):
            batch = images[rows[start : start + BATCH]]
            if len(batch) != size:
                size = len(batch)
                interpreter.resize_tensor_input(details["index"], (size, *images.shape[1:]))
                interpreter.allocate_tensors()
            interpreter.set_tensor(details["index"], quantized_input(batch, details))
            interpreter.invoke()
            found.append(_real(interpreter.get_tensor(out["index"]).reshape(size, -1), out))
        return np.concatenate(found)

    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        return np.concatenate(list(pool.map(part, np.array_split(np.arange(len(images)), workers))))


def paired_difference(first: np.ndarray, second: np.ndarray) -> Estimate:
    """Mean of ``first - second`` over the same samples in percentage points, with its normal 95 % interval (10,000 samples)."""
    difference = 100 * (first.astype(float) - second.astype(float))
    half = 1.96 * difference.std(ddof=1) / math.sqrt(len(difference))
    mean = float(difference.mean())
    return Estimate(mean, mean - half, mean + half)


def latency_ratio(first: Path, second: Path, sample: np.ndarray, rounds: int = 60) -> tuple[float, float, Estimate]:
    """Medians in ms of both files at batch 1 on one thread, and the median of the paired ratio first / second.

    Each round times both, in alternating order, over blocks of about 20 ms; the interval is a bootstrap over rounds.
    """
    runners = [_prepared(path, sample) for path in (first, second)]
    repeats = [max(1, round(0.02 / _seconds(runner, 5))) for runner in runners]
    times: list[tuple[float, float]] = []
    for i in range(rounds):
        pair = {which: _seconds(runners[which], repeats[which]) for which in ((0, 1) if i % 2 else (1, 0))}
        times.append((pair[0], pair[1]))
    ratios = np.array([a / b for a, b in times])
    drawn = np.median(np.random.default_rng(0).choice(ratios, (2000, rounds)), axis=1)
    estimate = Estimate(float(np.median(ratios)), *map(float, np.percentile(drawn, (2.5, 97.5))))
    return 1e3 * statistics.median(a for a, _ in times), 1e3 * statistics.median(b for _, b in times), estimate


def _prepared(path: Path, sample: np.ndarray) -> Interpreter:
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    (details,) = interpreter.get_input_details()
    interpreter.set_tensor(details["index"], quantized_input(sample, details))
    for _ in range(20):
        interpreter.invoke()
    return interpreter


def _seconds(interpreter: Interpreter, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        interpreter.invoke()
    return (time.perf_counter() - start) / repeats


def parameter_bytes(path: Path) -> int:
    """Bytes of a full-integer file's int8 weights and int32 biases: quantized constants of these types, each buffer once."""
    from ai_edge_litert import schema_py_generated as schema  # noqa: PLC0415

    data = path.read_bytes()
    model = schema.Model.GetRootAs(data, 0)
    graph = model.Subgraphs(0)
    wanted = {schema.TensorType.INT8: 1, schema.TensorType.INT32: 4}
    sizes: dict[int, int] = {}
    for i in range(graph.TensorsLength()):
        tensor = graph.Tensors(i)
        buffer = model.Buffers(tensor.Buffer())
        if tensor.Type() in wanted and (buffer.DataLength() or buffer.Size()) and tensor.Quantization() is not None:
            sizes[tensor.Buffer()] = buffer.DataLength() or buffer.Size()
    return sum(sizes.values())
