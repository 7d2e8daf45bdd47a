"""The file with packed weights beside the one that was measured: what it takes, and that it computes the same."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from intact import scratch
from intact.data import Samples
from intact.errors import ChildError, ModelError
from intact.formats import tflite
from intact.formats.tflite.packing import packed_weights
from intact.measure.arena import persistent
from intact.measure.cost import parameter_bytes
from intact.measure.measurement import Measurement
from intact.measure.size import weights
from intact.measure.split import split
from intact.network.arena import activation_memory
from intact.network.graph import Graph
from intact.network.shapes import concrete
from intact.numbers.affine import Affine, quantize_array
from intact.runtime import tflm

#: Samples on which both files run in TensorFlow Lite Micro.
SAMPLES: Final = 200
_ROOM: Final = 1 << 22


def packed_size(exact: Graph, written: Path, packed: Path, integer: Graph) -> tuple[Measurement, ...]:
    """Bytes of the ``packed`` file and of its weights, and how many times smaller they are than those of the float network."""
    before = sum(map(parameter_bytes, weights(exact)))
    held, total, n = packed_weights(integer), packed.stat().st_size, len(weights(integer))
    parts = split(packed.read_bytes())
    indices = sum(len(one.indices) for one in held.values())
    count = sum(int(np.prod(concrete(integer[i]))) for i in held)
    how = f"{indices:,} bytes of indices of {len(held)} of {n} weights, their tables, and the other weights"
    bits = f"32 bits over {8 * indices / max(count, 1):.3g} an index"
    made = [
        Measurement("packed file size", total, "bytes", None, None, f"{written.stat().st_size:,} where it is expanded", n),
        Measurement("bytes of packed weights", parts["weights"], "bytes", None, None, how, n),
    ]
    if before and parts["weights"] and indices:
        of = f"{before:,} bytes of weights in the float .tflite over {parts['weights']:,}"
        ratio = before / parts["weights"]
        made.append(Measurement("packed weights ratio", ratio, "x", None, None, f"{of}, tables and all", n))
        made.append(Measurement("packed indices ratio", 4 * count / indices, "x", None, None, bits, len(held)))
    return tuple(made)


def same_as_expanded(written: Path, packed: Path, integer: Graph, report: Samples) -> tuple[tuple[Measurement, ...], str]:
    """The share of output elements that both files give alike in TensorFlow Lite Micro, and the packed one's arena.

    Nothing, and why, where it is not installed or cannot run them.
    """
    if not tflm.available():
        return (), "the packed file was not run: TensorFlow Lite Micro is not installed here; type: pip install tflite-micro"
    most = sum(map(parameter_bytes, weights(integer))) + activation_memory(integer).arena_bytes + persistent(integer)
    try:
        with scratch.folder() as folder:
            few = report.take(np.arange(min(SAMPLES, len(report))))
            batch, _ = few.batch(np.arange(len(few)))
            fed = {name: _stored(integer, name, x) for name, x in batch.items()}
            inputs = folder / "inputs.npz"
            np.savez(inputs, allow_pickle=False, **{str(n): fed[name] for n, name in enumerate(integer.input_names)})
            equal, elements = tflm.compare(written, packed, inputs, len(integer.outputs), 2 * most + _ROOM)
        found = tflm.arena(packed, most)
    except (ModelError, ChildError) as error:
        return (), f"the packed file could not be compared with the expanded one: {error}"
    how = f"of {elements:,} stored numbers that both files give in TensorFlow Lite Micro {found.version}"
    arena = "the least that the packed file allocates in on this machine, by bisection, decoded weights and all"
    made = (
        Measurement("packed equals expanded", 100 * equal / max(elements, 1), "%", None, None, how, len(few)),
        Measurement("TFLM arena, packed", found.bytes, "bytes", None, None, arena, len(integer.ops)),
    )
    differs = f"the packed file gives {elements - equal:,} of {elements:,} numbers otherwise than the expanded one: use that"
    return made, "" if equal == elements else differs


def write_packed(integer: Graph) -> bytes:
    """The file with packed weights; empty where no weight is smaller so."""
    return tflite.write(integer, packed=True) if packed_weights(integer) else b""


def _stored(graph: Graph, name: str, x: np.ndarray) -> np.ndarray:
    fmt = graph[graph.inputs[graph.input_names.index(name)]].format
    return quantize_array(x, fmt) if isinstance(fmt, Affine) and x.dtype.kind == "f" else x
