"""How far the simulator and the runtime agree on the same integer network and the same samples: bit for bit, if they do."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from intact import scratch
from intact.annotations import Floats, Values
from intact.data import Samples
from intact.data.samples import SMALL_BATCH
from intact.errors import ChildError, DataError, ModelError, UnsupportedError
from intact.formats import tflite
from intact.formats.tflite.states import unseen_outputs
from intact.measure.accuracy import NamedOutputs, Rows, same_numbers, sqnr
from intact.measure.measurement import Measurement
from intact.network.graph import Graph
from intact.numbers.affine import Affine, Float, Format
from intact.runtime import litert
from intact.runtime.runtimes import KERNEL_NAMES, Kernels
from intact.simulate.engine import Program, run_batches
from intact.simulate.exact import IntegerProgram, exposed
from intact.wording import counted

BIT_FOR_BIT: Final = "simulator = runtime, bit for bit"
#: Where an op in float makes an output.
NEARLY: Final = "simulator = runtime, to float32's rounding"
#: Report samples that are compared, and the seconds after which those that are done are enough.
_SAMPLES: Final = 200
_SECONDS: Final = 10.0
#: Samples that are compared op by op where an output differs.
_FEW: Final = 4
#: Relative to the largest number: what float32 sums in another order may differ by, where an output is not of integers.
_ROUNDING: Final = 1e-5


@final
@dataclass(frozen=True)
class Parity:
    """The figures of one run against one set of kernels, and what there is to say of a difference (empty: there is none)."""

    measurements: tuple[Measurement, ...]
    said: str = ""


def parity(graph: Graph, ran: NamedOutputs, report: Samples, kernels: Kernels) -> Parity:
    """Compare the exact integer arithmetic of ``graph`` with the outputs ``[n, ...]`` that its file gave, in real numbers.

    On the first 200 samples, or as many as take ten seconds. Where the exact arithmetic of an op is not known, the float
    simulator is compared instead, and says so.
    """
    if not any(isinstance(graph[i].format, Affine) for op in graph.ops for i in op.outputs):
        return _approximate(graph, ran, report, kernels, "nothing that it computes is stored as integers")
    try:
        program = IntegerProgram(graph, kernels)
        outputs, count = _run(program, report)
    except UnsupportedError as error:
        return _approximate(graph, ran, report, kernels, str(error))
    return exact(graph, outputs, {name: y[:count] for name, y in ran.items()}, report, kernels)


def exact(graph: Graph, outputs: NamedOutputs, ran: NamedOutputs, report: Samples, kernels: Kernels) -> Parity:
    """The figures of exactly computed ``outputs``, stored integers, beside those that ``ran``, real numbers, ``[n, ...]``."""
    formats = {name: graph[i].format for name, i in zip(graph.output_names, graph.outputs, strict=True)}
    gaps = {name: _steps(outputs[name], ran[name], formats[name]) for name in ran}
    elements, same = sum(g.size for g in gaps.values()), sum(int((g == 0).sum()) for g in gaps.values())
    n = len(next(iter(gaps.values())))
    unit = f"of {elements:,} stored numbers"
    how = f"{counted(n, 'sample')} by the exact integer arithmetic of {KERNEL_NAMES[kernels]}"
    makers = graph.producers()
    floats = [i for i in graph.outputs if isinstance(graph[i].format, Float) and i in makers]
    name = BIT_FOR_BIT if all(makers[i].kind.converts for i in floats) else NEARLY
    found = (Measurement(name, same, unit, None, None, how, n),)
    if same == elements:
        return Parity(found)
    largest = max(float(g.max()) for g in gaps.values())
    steps = Measurement("largest difference", largest, "steps", None, None, f"of stored numbers; {how}", elements)
    worst = np.flatnonzero(sum((g.reshape(n, -1) != 0).any(1) for g in gaps.values()))[:_FEW]
    said = f"simulator and runtime differ in {elements - same:,} of {elements:,} output numbers, by at most {largest:.3g} steps"
    looked_at = report.spread(int(worst[0]) + 1) if report.in_order else report.take(worst)
    return Parity((*found, steps), f"{said}; {_first_difference(graph, looked_at, kernels)}")


def _run(program: IntegerProgram | Program, report: Samples) -> tuple[dict[str, Rows], int]:
    """Outputs of the first samples, and how many they are."""
    parts: list[dict[str, Values[np.ndarray, "_n ..."]]] = []
    most, at, began = min(_SAMPLES, len(report)), 0, time.monotonic()
    while at < most and (at == 0 or time.monotonic() - began < _SECONDS):
        end = min(most, at + (_FEW if at == 0 else 4 * SMALL_BATCH))
        if report.in_order:  # states begin anew with every batch
            end = most
        starts = range(at, end, end if report.in_order else SMALL_BATCH)
        parts.append(run_batches(program, (report.batch(np.arange(i, min(i + starts.step, end)))[0] for i in starts)))
        at = end
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, at


def _steps(stored: Values[np.ndarray, "*s"], ran: Values[np.ndarray, "..."], fmt: Format) -> Floats[np.ndarray, "*s"]:
    """How many steps each number ``[n, ...]`` is off; numbers that are not stored as steps are equal (0) or not (1)."""
    if stored.shape != ran.shape:
        raise DataError(f"simulator and runtime give shapes {list(stored.shape)} and {list(ran.shape)}")
    x, y = stored.astype(np.float64), ran.astype(np.float64)
    if isinstance(fmt, Affine):
        return np.asarray(np.abs(np.rint(y / fmt.scale[0]) + fmt.zero_point[0] - x))
    largest = float(np.abs(y).max(initial=0.0)) if isinstance(fmt, Float) else 0.0
    return np.asarray(np.abs(x - y) > _ROUNDING * largest, np.float64)


def _first_difference(graph: Graph, samples: Samples, kernels: Kernels) -> str:
    """The first op whose numbers differ, when the runtime is made to show all of them."""
    shown = exposed(graph, unseen_outputs(graph))
    try:
        with scratch.folder() as folder:
            path = folder / "shown.tflite"
            path.write_bytes(tflite.write(shown, kernels=False))
            batch, _ = samples.batch(np.arange(len(samples)))
            given = {f"t{i}": batch[name] for name, i in zip(graph.input_names, graph.inputs, strict=True)}
            ran = litert.run(path, given, kernels=kernels, raw=True)
            made = run_batches(IntegerProgram(shown, kernels), [given])
    except (ModelError, ChildError, DataError, UnsupportedError) as error:
        return f"where it begins cannot be seen ({error})"
    for op in graph.ops:
        for name in (f"t{i}" for i in op.outputs):
            if name in ran and ran[name].shape == made[name].shape and not np.array_equal(ran[name], made[name]):
                gap = np.abs(ran[name].astype(np.float64) - made[name])
                if isinstance(graph[int(name[1:])].format, Float) and gap.max() <= _ROUNDING * np.abs(ran[name]).max():
                    continue
                off = int((gap != 0).sum())
                return f"it begins at {graph.label(op)}: {off:,} of {gap.size:,} numbers, by at most {gap.max():.3g} steps"
    return "with every activation shown, the same file gives equal numbers"


def _approximate(graph: Graph, ran: NamedOutputs, report: Samples, kernels: Kernels, why: str) -> Parity:
    outputs, count = _run(Program(graph), report)
    formats = {name: graph[i].format for name, i in zip(graph.output_names, graph.outputs, strict=True)}
    found: list[Measurement] = []
    for name, y in ran.items():
        of = f" of {name}" if len(ran) > 1 else ""
        for m in approximate(outputs[name], y[:count], formats[name]):
            how = f"{m.how}; by the float simulator, since {why}; {KERNEL_NAMES[kernels]}"
            found.append(Measurement(f"{m.name} (float simulator){of}", m.value, m.unit, m.low, m.high, how, m.n))
    return Parity(tuple(found))


def approximate(simulated: Rows, ran: Rows, fmt: Format) -> tuple[Measurement, ...]:
    """Compare an output ``[n, ...]`` in real numbers with the float simulator's.

    The share of identical stored integers and the most steps between two (Affine outputs only), and the SQNR of the runtime
    against the simulator.
    """
    if simulated.shape != ran.shape:
        raise DataError(f"simulator and runtime give shapes {list(simulated.shape)} and {list(ran.shape)}")
    figures = []
    if isinstance(fmt, Affine):
        steps = np.abs(np.rint((simulated.astype(np.float64) - ran.astype(np.float64)) / fmt.scale[0]))
        figures.append(same_numbers(steps, np.zeros_like(steps), "identical stored integers"))
        how = f"largest difference of stored integers, scale {fmt.scale[0]:.4g}"
        figures.append(Measurement("largest difference", float(steps.max()), "steps", None, None, how, steps.size))
    if ran.dtype.kind == "f":
        figures.append(sqnr(simulated, ran, "SQNR of runtime against simulator"))
    return tuple(figures)
