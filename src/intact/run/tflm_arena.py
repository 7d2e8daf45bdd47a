"""How large an arena TensorFlow Lite Micro needs for a file: found by trying it, or estimated where it is not installed."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from intact.deploy.tflm.project import Arena
from intact.errors import ChildError, ModelError, UnsupportedError
from intact.formats import tflite
from intact.formats.tflite.op_codes import operators
from intact.formats.tflite.packing import DECODE
from intact.measure.arena import persistent
from intact.network.arena import ALIGNMENT, activation_memory
from intact.network.graph import Graph
from intact.network.schedule import reordered
from intact.network.shapes import infer
from intact.network.weighted import weighted
from intact.runtime import tflm

#: What TFLM may take beyond a plan of activations and what we count of its own: 14 and 16 % were seen, and some for a moment
#: while it allocates. Kernels of these kinds keep copies of what they read or make in the arena, in up to 32 bits.
_MARGIN: Final = 1.25
_MOMENT: Final = 2048
_COPYING: Final = frozenset({"BATCH_MATMUL", "TRANSPOSE_CONV", "UNIDIRECTIONAL_SEQUENCE_LSTM", "SOFTMAX", "SVDF"})


@final
@dataclass(frozen=True, eq=False)
class Tried:
    """A file's bytes, its least arena, and the outputs that it gave there.

    ``unplanned``: bytes that the arena took before a plan of it was written into the file; None where none was.
    """

    data: bytes = field(repr=False)
    found: tflm.Arena
    outputs: tuple[np.ndarray, ...] = field(repr=False)
    unplanned: int | None = None

    @property
    def arena(self) -> Arena:
        """Its size, and how that was found."""
        found, words = self.found, ""
        if found.activations is not None and found.persistent is not None:
            words = f": {found.activations:,} of activations and {found.persistent:,} that it keeps"
        about = (
            f"The least arena, by bisection: TensorFlow Lite Micro {found.version} allocates in it, and not in {ALIGNMENT} "
            f"bytes less{words}. What it keeps was counted with this machine's 64-bit pointers; with 32 bits it is less"
        )
        if self.unplanned is not None:
            about += f". The model holds a plan of its arena (OfflineMemoryAllocation); without, it takes {self.unplanned:,}"
        return Arena(found.bytes, about)

    @property
    def record(self) -> dict[str, Any]:
        """What deploy.json says."""
        found = self.found
        parts = {"activations": found.activations, "persistent": found.persistent, "unplanned": self.unplanned}
        return {"found": "bisection", "runtime": found.version, **parts}


def least(content: bytes, graph: Graph, inputs: tuple[np.ndarray, ...], folder: Path) -> Tried:
    """The file ``content``, or ``graph`` written with a plan of the arena where that takes less and gives the same.

    ``inputs`` [n, ...] as stored are run in either. What is written is larger by less than it saves. ModelError or ChildError
    if TensorFlow Lite Micro does not take ``content``.
    """
    own = _tried(content, graph, inputs, folder / "model.tflite")
    other = _planned(own, graph, inputs, folder / "planned.tflite")
    return own if other is None else other


def _tried(data: bytes, graph: Graph, inputs: tuple[np.ndarray, ...], path: Path) -> Tried:
    path.write_bytes(data)
    found = tflm.arena(path, activation_memory(graph).arena_bytes + persistent(graph))
    return Tried(data, found, tflm.run(path, inputs, len(graph.outputs), found.bytes))


def _planned(own: Tried, graph: Graph, inputs: tuple[np.ndarray, ...], path: Path) -> Tried | None:
    """None where it would take more, or cannot be."""
    if _is_packed(own.data):
        return None  # the graph has its weights unpacked
    try:
        found = _tried(tflite.write_planned(reordered(graph)), graph, inputs, path)
    except (UnsupportedError, ModelError, ChildError):
        return None
    saved = own.found.bytes - found.found.bytes
    same = all(np.array_equal(a, b, equal_nan=True) for a, b in zip(own.outputs, found.outputs, strict=True))
    better = saved > 0 and len(found.data) - len(own.data) < saved
    return Tried(found.data, found.found, found.outputs, own.found.bytes) if same and better else None


def _is_packed(data: bytes) -> bool:
    return DECODE.decode() in operators(data)


def estimated(content: bytes, graph: Graph) -> Arena:
    """More than TensorFlow Lite Micro was seen to take of any file ``content`` here, which ``graph`` was read from."""
    shapes = infer(graph)
    copied = (sum(4 * prod(shapes[i]) for i in (*op.reads, *op.outputs)) for op in graph.ops if op.kind.name in _COPYING)
    kept = persistent(graph) + sum(ALIGNMENT + state.initial.nbytes for state in graph.states)
    if _is_packed(content):  # a weight lies in the arena while its op runs
        weights = (found.weight for op in graph.ops if (found := weighted(graph, op)) is not None)
        kept += max((t.data.nbytes for t in weights if t.data is not None), default=0)
    whole = int(_MARGIN * (activation_memory(graph).arena_bytes + kept)) + max(copied, default=0) + _MOMENT
    return Arena(
        -(-whole // ALIGNMENT) * ALIGNMENT,
        "An upper estimate of the arena and no measurement, since tflite-micro is not installed here: a quarter more than the "
        "plan of the activations and what TensorFlow Lite Micro keeps with 64-bit pointers, and what kernels may copy. With "
        "tflite-micro, intact deploy finds the least",
    )
