"""Peak memory for activations, as a figure."""

from __future__ import annotations

from typing import Final

from intact.measure.measurement import Measurement
from intact.network.arena import activation_memory
from intact.network.graph import Graph

#: Characters of an op's label in a figure: converters write names of hundreds.
_LABEL: Final = 80


def peak(graph: Graph, name: str = "peak live activations") -> Measurement:
    """The most bytes of activations alive at once for one sample, as a figure that names the op: no runtime takes less."""
    memory = activation_memory(graph)
    at = memory.at if len(memory.at) <= _LABEL else f"{memory.at[:_LABEL]}…"
    how = f"from tensor lifetimes, batch 1, at {at}; laid out greedily by size they take {memory.arena_bytes:,} bytes"
    return Measurement(name, memory.live_bytes, "bytes", None, None, how, len(graph.ops))
