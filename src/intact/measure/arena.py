"""The arena that a file takes in TensorFlow Lite Micro: found by bisection where it is installed, else its two parts apart."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from intact.errors import ChildError, ModelError
from intact.measure.measurement import Measurement
from intact.network.arena import activation_memory
from intact.network.graph import Graph
from intact.network.weighted import weighted
from intact.numbers.affine import Affine
from intact.runtime import tflm

#: Bytes of the persistent part on a 64-bit machine, read off what TFLM prints for four MLPerf Tiny models (which this gives
#: to 3 %): for each tensor (TfLiteEvalTensor), op (NodeAndRegistration and the kernel's data), channel with a multiplier and
#: a shift of its own, input or output, and once.
_TENSOR: Final = 24
_OP: Final = 64 + 72
_CHANNEL: Final = 8
_PORT: Final = 96
_ONCE: Final = 850


def arena(path: Path, graph: Graph) -> tuple[Measurement, ...]:
    """The arena of the file at ``path`` that ``graph`` was written to, or what is known of it without the runtime."""
    activations = activation_memory(graph).arena_bytes
    why = "the tflite-micro package is not installed"
    if tflm.available():
        try:
            found = tflm.arena(path, activations + persistent(graph))
        except (ModelError, ChildError) as error:
            why = str(error)
        else:
            how = f"the least that TensorFlow Lite Micro {found.version} allocates in on this machine, by bisection"
            if found.activations is not None and found.persistent is not None:
                how += (
                    f"; activations {found.activations:,} and persistent part {found.persistent:,}, less with 32-bit pointers"
                )
            return (Measurement("TFLM arena", found.bytes, "bytes", None, None, how, len(graph.ops)),)
    how = "from tensor lifetimes, greedy by size; TensorFlow Lite Micro was seen to take 14 % more of one model (73,728 bytes "
    how += "for 64,512), and the arena holds the persistent part besides"
    estimated = f"tensors, ops and channels as TensorFlow Lite Micro keeps them on 64-bit machines: not measured, since {why}"
    return (
        Measurement("activations (estimate)", activations, "bytes", None, None, how, len(graph.ops)),
        Measurement("persistent part (estimate)", persistent(graph), "bytes", None, None, estimated, len(graph.ops)),
    )


def persistent(graph: Graph) -> int:
    """About how many bytes TensorFlow Lite Micro keeps besides activations, with pointers of 64 bits."""
    formats = (found.weight.format for op in graph.ops if (found := weighted(graph, op)) is not None)
    channels = sum(len(fmt.scale) for fmt in formats if isinstance(fmt, Affine))
    ports = len(graph.inputs) + len(graph.outputs)
    return _ONCE + _TENSOR * len(graph.tensors) + _OP * len(graph.ops) + _CHANNEL * channels + _PORT * ports
