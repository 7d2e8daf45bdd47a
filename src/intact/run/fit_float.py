"""What integers buy: an integer network in C beside the same network in float32, from the same generator.

On a core whose floats are a library's, and on one that computes them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import numpy as np

from intact.deploy.c.network import CNetwork, Text, rows_for, write
from intact.deploy.cores import CORES, Core
from intact.deploy.emulate import run, sizes
from intact.deploy.project import Budget, Vectors
from intact.errors import ChildError, UnsupportedError
from intact.network.graph import Graph
from intact.network.real import in_real_numbers
from intact.network.shapes import macs
from intact.progress import Progress
from intact.run.vectors import real_vectors

#: What is measured on: without floating point, and with it.
_CORES: Final = ("cortex-m3", "cortex-m4")
#: What a real output may be off by, of the largest number in it: sums in another order differ in their last bits.
TOLERANCE: Final = 1e-4
#: Seconds for one sample: a product and a sum in floats of a library take sixty instructions.
_PATIENCE: Final = 240.0
#: Figures of which float32 takes so many times as much.
_RATIOS: Final = ("code", "constants", "ram", "instructions")
_RAN: Final = ("instructions", "instructions_per_mac", "stack", "right", "error")

#: Whether the bytes of all outputs of a sample are right, and by how much real numbers are off.
Judge: TypeAlias = Callable[[np.ndarray], tuple[bool, float]]


def comparison(graph: Graph, text: Text, net: CNetwork, given: Vectors, progress: Progress) -> dict[str, Any]:
    """Of each core what ``net``, the C of ``graph``, takes for the one sample ``given``, and what float32 takes for it.

    A part of fit's document. ``cores`` is a list of ``core``, ``has_floats``, ``integer``, ``float`` and ``ratios``: float32
    over integers. Of each of the two: bytes of ``code``, ``constants`` and ``ram`` (arena and scratch), ``instructions``, bytes
    of ``stack``, whether the outputs are ``right``, and their ``error`` of the largest number. What cannot be had is None, and
    ``lacking`` says why, a sentence.
    """
    floats, rows = in_real_numbers(graph), list[dict[str, Any]]()
    lacking = [f"{floats.label(op)}: there is no kernel for it" for op in floats.ops if op.kind.name not in rows_for(floats)]
    if not lacking:
        try:
            in_float, real = write(floats, text), real_vectors(graph, floats, given.inputs)
        except UnsupportedError as error:
            lacking = [str(error)]
        else:
            runs = ((net, given, _exactly(given)), (in_float, real, _closely(real)))
            for n, name in enumerate(_CORES):
                progress("emulate", n, len(_CORES))
                integer, other = (_figures(CORES[name], macs(graph), *ran) for ran in runs)
                ratios = {key: _ratio(other[key], integer[key]) for key in _RATIOS}
                both = {"integer": integer, "float": other, "ratios": ratios}
                rows.append({"core": name, "has_floats": CORES[name].has_floats, **both})
    return {"tolerance": TOLERANCE, "lacking": lacking, "cores": rows}


def _figures(core: Core, products: int, net: CNetwork, given: Vectors, judge: Judge) -> dict[str, Any]:
    made = sizes(net, core)
    taken = {"code": made.code, "constants": made.constants, "ram": net.ram}
    try:
        ran = run(net, core, Budget(core.ram, core.flash), given.inputs, seconds=_PATIENCE)
    except (UnsupportedError, ChildError) as error:
        return {**taken, **dict.fromkeys(_RAN), "lacking": str(error)}
    right, off = judge(ran.outputs.reshape(-1))
    figures = (ran.instructions, ran.instructions / max(products, 1), ran.stack, right, off)
    return {**taken, **dict(zip(_RAN, figures, strict=True)), "lacking": ""}


def _ratio(of: int | None, over: int | None) -> float | None:
    return of / over if of is not None and over else None


def _exactly(given: Vectors) -> Judge:
    wanted = np.concatenate([y.reshape(-1).view(np.uint8) for y in given.outputs])
    return lambda made: (np.array_equal(made, wanted), 0.0)


def _closely(given: Vectors) -> Judge:
    """Real numbers to :data:`TOLERANCE`, whole ones exactly."""

    def judge(made: np.ndarray) -> tuple[bool, float]:
        ends = np.cumsum([y.nbytes for y in given.outputs])
        parts = zip(given.outputs, np.split(made, ends[:-1]), strict=True)
        off = [_off(part.view(y.dtype), y.reshape(-1)) for y, part in parts]
        return max(off) <= TOLERANCE, max(off)

    return judge


def _off(made: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference, of the largest number that is wanted; infinite where whole or infinite numbers differ."""
    unlike = (made != wanted) & ~(np.isnan(made) & np.isnan(wanted))
    if wanted.dtype.kind != "f" or not np.isfinite(wanted[unlike]).all() or not np.isfinite(made[unlike]).all():
        return float("inf") if unlike.any() else 0.0
    largest = np.abs(wanted[np.isfinite(wanted)]).max(initial=float(np.finfo(np.float32).tiny))
    return float(np.abs(made[unlike] - wanted[unlike]).max(initial=0) / largest)
