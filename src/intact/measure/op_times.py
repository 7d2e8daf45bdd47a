"""How long single ops of a network take in LiteRT, each in a file of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import numpy as np

from intact import scratch
from intact.errors import IntactError
from intact.formats import tflite
from intact.formats.tflite.opaque import alone
from intact.formats.tflite.states import unseen_outputs
from intact.measure.cost import costs
from intact.network.graph import Graph, Op
from intact.network.shapes import infer
from intact.runtime import litert
from intact.runtime.places import HERE, Place
from intact.runtime.runtimes import Kernels

#: Blocks of invocations per op, and the seconds of one.
_ROUNDS: Final = 7
_BLOCK_SECONDS: Final = 0.001
_WARMUP_SECONDS: Final = 0.005
_MAX_SECONDS: Final = 5.0


def largest(graph: Graph, kinds: Iterable[str], count: int) -> tuple[Op, ...]:
    """At most ``count`` ops of ``kinds``, or of any kind that multiplies where ``kinds`` is empty, the costliest first.

    By multiply-accumulates, then by the numbers they write.
    """
    shapes, wanted = infer(graph, 1), frozenset(kinds)
    rows = [
        (row.macs, int(np.prod(shapes[op.output])), op)
        for op, row in zip(graph.ops, costs(graph), strict=True)
        if (op.kind.name in wanted if wanted else row.macs)
    ]
    return tuple(op for *_, op in sorted(rows, key=lambda row: row[:2], reverse=True)[:count])


def alone_ms(networks: Mapping[str, tuple[Graph, Op]], kernels: Kernels = "default", place: Place = HERE) -> dict[str, float]:
    """Milliseconds that each op takes by itself on one thread, the median of a few blocks; ops that cannot be cut out are
    left out, and where LiteRT fails on one of those cut, there are no times.
    """
    with scratch.folder() as folder:
        files: dict[str, Path] = {}
        for n, (name, (graph, op)) in enumerate(networks.items()):
            if unseen_outputs(graph).intersection(op.outputs):  # it keeps a state, which a file of its own has no place for
                continue
            try:
                data = tflite.write(alone(graph, op))
            except IntactError:
                continue
            files[name] = folder / f"{n}.tflite"
            files[name].write_bytes(data)
        if not files:
            return {}
        try:
            found = litert.latency(
                files,
                kernels=kernels,
                rounds=_ROUNDS,
                warmup_seconds=_WARMUP_SECONDS,
                block_seconds=_BLOCK_SECONDS,
                max_seconds=_MAX_SECONDS,
                place=place,
            )
        except IntactError:
            return {}
    return {name: float(np.median(time.samples_ms)) for name, time in found.items()}
