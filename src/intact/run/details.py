"""details.json: what lies under the figures of a run, for its page. The schema is described in docs/result.md."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, final

import numpy as np
import torch

from intact import files
from intact.data import Finding, Samples
from intact.data.thumbnails import thumbnail
from intact.diagnosis.counterparts import Counterparts, counterparts_by_id
from intact.diagnosis.histograms import between
from intact.diagnosis.trace import Fidelity, Traced, trace
from intact.errors import IntactError
from intact.measure import cost
from intact.measure.accuracy import threshold
from intact.measure.classes import ByClass, by_class, scores_of, sureness
from intact.measure.op_times import alone_ms
from intact.measure.outputs import Outputs
from intact.measure.size import weights
from intact.measure.split import split
from intact.network.arena import alive, lifetimes
from intact.network.graph import Graph, Op, Tensor
from intact.network.weighted import weighted
from intact.numbers.affine import Affine, Format, bits_of, dequantize_array, limits, steps
from intact.planning.quantized import Quantized
from intact.planning.targets import Target
from intact.progress import Progress
from intact.runtime.places import Clock, Timer
from intact.runtime.runtimes import Kernels
from intact.simulate.noise import sensitivities

SCHEMA: Final = "intact-details/1"
#: Samples on which ops are compared in the runtime, those on which each is tried alone, and the seconds that this may take.
_TRACED: Final = 32
_TRIED: Final = 16
_SECONDS: Final = 20.0
#: Ops that are timed alone: of more, a run would be about them.
_TIMED: Final = 150
#: Samples whose class changed that are shown, each with a picture of some kilobytes.
_SHOWN: Final = 40
_SPAN: Final = ("bytes", "first", "last")


@final
@dataclass(frozen=True, eq=False)
class Made:
    """What a run has made and measured: the network and its integer graph, and the outputs of both files."""

    network: Quantized
    integer: Graph
    written: Path
    outputs: Outputs
    report: Samples
    target: Target


def details(made: Made, progress: Progress) -> tuple[dict[str, Any], tuple[Finding, ...]]:
    """The document without times, in which infinite and undefined numbers are still floats; and what could not be had."""
    few = made.report.spread(_TRACED)
    counterparts = counterparts_by_id(made.integer, made.network.exact)
    traced, said = _traced(counterparts, few, made.target, progress)
    rows = {row.output: row for row in traced.rows}
    buffers = lifetimes(made.integer)
    live = alive(made.integer, buffers)[: len(made.integer.ops)]
    document = {
        "schema": SCHEMA,
        "model_sha256": files.sha256(made.written),
        "ops": list(_ops(made, counterparts, rows, live, progress)),
        "tensors": [*_activations(traced), *_constants(made)],
        "memory": {
            "live": live.tolist(),
            "peak": int(live.max(initial=0)),
            "buffers": [
                {
                    "tensor": b.tensor,
                    "name": _called(counterparts, b.tensor),
                    "bytes": b.bytes,
                    "first": b.first,
                    "last": b.last,
                }
                for b in buffers
            ],
        },
        "latency": {},
        **_classes(made),
        "sizes": dict(split(made.written.read_bytes())),
    }
    return document, said


def with_times(
    document: Mapping[str, Any], graph: Graph, kernels: Kernels, blocks_ms: Mapping[str, tuple[float, ...]], timer: Timer
) -> dict[str, Any]:
    """``document`` of the integer ``graph`` with what each op takes alone, in ms, where there are not too many, and no clock
    would start a process for each block of each; and with the times of both files by block.
    """
    ops = {str(op.output): (graph, op) for op in graph.ops}
    times = {} if len(ops) > _TIMED or isinstance(timer, Clock) else alone_ms(ops, kernels, timer)
    rows = [row | {"ms": times.get(str(row["output"]))} for row in document["ops"]]
    return {**document, "ops": rows, "latency": {name: list(blocks) for name, blocks in blocks_ms.items()}}


def _traced(counterparts: Counterparts, few: Samples, target: Target, progress: Progress) -> tuple[Traced, tuple[Finding, ...]]:
    try:
        return trace(counterparts, few, target.kernels, partial(progress, "look at each op")), ()
    except IntactError as error:  # with every activation shown some files do not run, and the run itself is sound
        why = f"details.json has no SQNR of single ops and no histograms of activations: {error}"
        return Traced(counterparts, {}), (Finding("ops not compared", why),)


def _ops(
    made: Made,
    counterparts: Counterparts,
    rows: Mapping[int, Fidelity],
    live: np.ndarray,
    progress: Progress,
) -> Iterator[dict[str, Any]]:
    graph, until = made.integer, time.monotonic() + _SECONDS
    few = made.report.spread(_TRIED)
    found = sensitivities(made.network, few, progress=progress, out_of_time=lambda: time.monotonic() > until)
    noise = {one.output: one for one in found}
    costs, held = cost.costs(graph), set[int]()
    for op, priced, held_bytes in zip(graph.ops, costs, live.tolist(), strict=True):
        row, alone = rows.get(op.output), noise.get(op.output)
        constants = [i for i in dict.fromkeys(op.reads) if graph[i].is_constant and i not in held]
        held.update(constants)
        yield {
            "op": counterparts.label(op),
            "kind": op.kind.name,
            "output": op.output,
            "reads": list(op.reads),
            "shape": [1 if size is None else size for size in graph[op.output].shape],
            "macs": priced.macs,
            "parameters": priced.parameters,
            "weight_bits": _weight_bits(made, op),
            "bytes": sum(cost.parameter_bytes(graph[i]) for i in constants),
            "noise_share": None if alone is None else alone.share,
            "spared": None if alone is None else alone.spared,
            "sqnr_simulated": None if row is None else row.simulated,
            "sqnr_runtime": None if row is None else row.runtime,
            "sqnr_own": None if row is None else row.own,
            "ms": None,
            "live_bytes": held_bytes,
        }


def _weight_bits(made: Made, op: Op) -> int | None:
    """Bits of one weight of the op as it is planned, its table aside; None where the op has no weight."""
    found, plan = weighted(made.integer, op), made.network.plan
    if found is None or not found.is_constant:
        return None
    return bits_of(plan.own(found.weight.id) if found.weight.id in plan.tensors else found.weight.format)


def _called(counterparts: Counterparts, i: int) -> str:
    graph, own = counterparts.graph, counterparts.tensors.get(i)
    return graph[i].name if own is None else counterparts.reference[own].name


def _stored(fmt: Format) -> dict[str, Any]:
    if not isinstance(fmt, Affine):
        return {"dtype": fmt.dtype, "scale": [], "zero_point": [], "axis": None, "grid_low": None, "grid_high": None}
    first, last = limits(fmt.dtype)
    ends = [s * (end - z) for s, z in zip(fmt.scale, fmt.zero_point, strict=True) for end in (first, last)]
    return {
        "dtype": fmt.dtype,
        "scale": [_short(scale) for scale in fmt.scale],
        "zero_point": list(fmt.zero_point) if any(fmt.zero_point) else [0],
        "axis": fmt.axis,
        "grid_low": min(ends),
        "grid_high": max(ends),
    }


def _short(x: float) -> float:
    """Six digits: as many as anybody reads, and a third of the bytes."""
    return float(f"{x:.6g}")


def _activations(traced: Traced) -> Iterator[dict[str, Any]]:
    counterparts = traced.counterparts
    graph = counterparts.graph
    makers = graph.producers()
    for i, seen in traced.seen.items():
        role = "input" if i in graph.inputs else "output" if i in graph.outputs else "activation"
        yield {
            "id": i,
            "name": _called(counterparts, i),
            "role": role,
            "op": counterparts.label(makers[i]) if i in makers else "",
            "shape": [1 if size is None else size for size in graph[i].shape],
            **_stored(graph[i].format),
            "low": seen.low,
            "high": seen.high,
            "clipped": seen.beyond / max(seen.count, 1),
            "histogram": None if seen.histogram is None else seen.histogram.to_json(),
        }


def _constants(made: Made) -> Iterator[dict[str, Any]]:
    """The weights and biases, as the file stores them beside what they stand for."""
    graph, exact = made.integer, made.network.exact
    are_weights = {t.id for t in weights(graph)}
    readers = graph.consumers()
    for tensor in graph.constants():
        if not cost.is_parameter(tensor) or tensor.data is None:
            continue
        values = _values(tensor)
        own = exact.tensors.get(tensor.id)
        reference = values if own is None or own.data is None or own.data.shape != values.shape else _values(own)
        low, high = (float(f(reference)) for f in (np.min, np.max)) if reference.size else (0.0, 0.0)
        stored = _stored(tensor.format)
        finite = reference.size > 0 and np.isfinite((low, high)).all()
        ends = (min(low, float(values.min())), max(high, float(values.max()))) if finite else None
        yield {
            "id": tensor.id,
            "name": _named(exact, tensor),
            "role": "weight" if tensor.id in are_weights else "bias",
            "op": graph.label(readers[tensor.id][0]) if readers[tensor.id] else "",
            "shape": list(tensor.data.shape),
            **(stored if tensor.id in are_weights else stored | {"scale": [], "zero_point": []}),  # theirs follow from others
            "low": low,
            "high": high,
            "clipped": _clipped(tensor.format, reference),
            "histogram": None
            if ends is None
            else between(*ends, torch.from_numpy(np.array(reference)), torch.from_numpy(np.array(values))).to_json(),
        }


def _named(exact: Graph, tensor: Tensor) -> str:
    own = exact.tensors.get(tensor.id)
    return tensor.name if own is None else own.name


def _values(tensor: Tensor) -> np.ndarray:
    data = np.asarray(tensor.data)
    return dequantize_array(data, tensor.format) if isinstance(tensor.format, Affine) else data.astype(np.float32)


def _clipped(fmt: Format, reference: np.ndarray) -> float:
    """The share of numbers that lie out of what their channel's format holds by more than half a step."""
    if not isinstance(fmt, Affine) or not reference.size:
        return 0.0
    first, last = limits(fmt.dtype)
    wide = [1] if fmt.axis is None else [-1 if axis == fmt.axis else 1 for axis in range(reference.ndim)]
    zero = np.asarray(fmt.zero_point, np.float64).reshape(wide)
    q = reference / steps(fmt, reference.shape).astype(np.float64) + zero
    return float(((q < first - 0.5) | (q > last + 0.5)).mean())


def _classes(made: Made) -> dict[str, Any]:
    """What the first output says of each class, and whose class changed, where it is one of classes."""
    name = next(iter(made.outputs.exact))
    exact, given = made.outputs.exact[name], made.outputs.made[name]
    if not made.outputs.tasks[name].are_classes or not all(np.isfinite(y).all() for y in (exact, given)):
        return {"classes": None, "changed": None}
    found = by_class(exact, given, made.report)
    table = found.to_json(made.report.class_names)
    return {
        "classes": None if table is None else {"output": name, **table},
        "changed": {
            "n": len(found.changed),
            "of": len(exact),
            "shown": list(_changed(made, found, exact, given)),
        },
    }


def _changed(made: Made, found: ByClass, exact: np.ndarray, given: np.ndarray) -> Iterator[dict[str, Any]]:
    scores = None
    if exact.dtype.kind == "f":
        cut = threshold(exact)
        scores = sureness(scores_of(exact, cut), scores_of(given, cut))
    for i in found.changed[:_SHOWN].tolist():
        said = int(found.exact[i]), int(found.made[i])
        sure = (None, None) if scores is None else tuple(float(p[i, c]) for p, c in zip(scores, said, strict=True))
        yield {
            "sample": made.report.name(i),
            "label": None if found.labels is None else int(found.labels[i]),
            "float": said[0],
            "quantized": said[1],
            "float_score": sure[0],
            "quantized_score": sure[1],
            "thumbnail": thumbnail(made.report, i),
        }
