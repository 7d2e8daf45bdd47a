"""How large a file is, and what it spends on anything but its parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from intact.measure.cost import is_parameter, parameter_bytes
from intact.measure.measurement import Measurement
from intact.network.graph import Graph, Tensor
from intact.network.weighted import converted, weighted
from intact.numbers import block_scales
from intact.numbers.affine import Affine
from intact.planning.schemes import Scheme


@final
@dataclass(frozen=True)
class FileSize:
    """Bytes of a file: ``parameters``, and what the rest goes to. The parts add up to ``file``.

    ``scales``: distinct scale vectors, 4 bytes each entry, 2 for blocks, and zero points, 8 each; ``names`` of tensors and
    signatures; ``shapes``: integer constants such as axes and paddings; ``metadata``; ``tables``: all that remains, the
    flatbuffer's own structure.
    """

    file: int
    parameters: int
    scales: int
    names: int
    shapes: int
    metadata: int

    @property
    def tables(self) -> int:
        return self.file - self.parameters - self.scales - self.names - self.shapes - self.metadata

    @property
    def ratio(self) -> float:
        """File bytes over parameter bytes; infinite for a network without parameters."""
        return self.file / self.parameters if self.parameters else float("inf")


def file_size(graph: Graph, file_bytes: int) -> FileSize:
    """Account for the bytes of the file that ``graph`` was read from: names and constants are counted as that file has them."""
    every = [t.format for t in graph.tensors.values() if isinstance(t.format, Affine)]
    in_blocks = {f.block_scales for f in every if f.block_scales is not None}
    formats = [f for f in every if f.block_scales is None]
    scales = {f.scale for f in formats}
    zero_points = {f.zero_point for f in formats}
    ports = [name for s in graph.signatures for name, _ in (*s.inputs, *s.outputs)]
    return FileSize(
        file=file_bytes,
        parameters=sum(parameter_bytes(t) for t in graph.constants() if is_parameter(t)),
        scales=sum(4 * len(s) for s in scales)
        + sum(8 * len(z) for z in zero_points)
        + sum(block_scales.BYTES * own.count for own in in_blocks),
        names=sum(len(t.name.encode()) for t in graph.tensors.values()) + sum(len(name.encode()) for name in ports),
        shapes=sum(parameter_bytes(t) for t in graph.constants() if not is_parameter(t)),
        metadata=sum(len(name.encode()) + len(data) for name, data in graph.metadata),
    )


def size(graph: Graph, file_bytes: int, name: str = "file size") -> Measurement:
    """The file's bytes, and how far they are above the bytes of its parameters; ``graph`` as read from the file."""
    s = file_size(graph, file_bytes)
    rest = f"scales {s.scales:,}, names {s.names:,}, shapes {s.shapes:,}, metadata {s.metadata:,}, tables {s.tables:,}"
    how = f"{s.ratio:.3f} times the {s.parameters:,} bytes of its parameters; the rest: {rest}"
    return Measurement(name, file_bytes, "bytes", None, None, how, len(graph.tensors))


def weights(graph: Graph) -> tuple[Tensor, ...]:
    """The parameters of a network that are no biases, in order: what a scheme stores in fewer bits."""
    found, source = (weighted(graph, op) for op in graph.ops), converted(graph)
    biases = {source.get(one.bias.id, one.bias.id) for one in found if one is not None and one.bias is not None}
    return tuple(t for t in graph.constants() if is_parameter(t) and t.id not in biases)


def weight_bytes(graph: Graph) -> Measurement:
    """What the weights take in a file, without biases and scales; ``graph`` as read from the file."""
    held = weights(graph)
    how = "constants of real numbers that are no biases, as the file stores them, without their scales"
    return Measurement("bytes of weights", sum(map(parameter_bytes, held)), "bytes", None, None, how, len(held))


def ratios(exact: tuple[Graph, int], made: tuple[Graph, int], given: int | None, scheme: Scheme) -> tuple[Measurement, ...]:
    """How many times smaller the written file ``made`` is than the float .tflite ``exact``, each a graph and its file's bytes.

    And than the file, or files, of ``given`` bytes that the user has, which may hold an optimizer's state besides; and the same
    of the weights alone, with what would be expected of ``scheme`` if each took its bits and nothing more.
    """
    (float_graph, float_bytes), (graph, total) = exact, made
    before, after = (sum(map(parameter_bytes, weights(g))) for g in (float_graph, graph))

    def ratio(name: str, value: float, how: str) -> Measurement:
        return Measurement(name, value, "x", None, None, how, 1)

    found = [ratio("size ratio", float_bytes / total, f"{float_bytes:,} bytes of the float .tflite over {total:,}")]
    if given is not None:
        how = f"{given:,} bytes of what was given, with all that it holds besides the network, over {total:,}"
        found.append(ratio("size ratio to the file given", given / total, how))
    if before and after:
        how = f"{before:,} bytes of weights in the float .tflite over {after:,}, without biases and scales"
        found.append(ratio("weights ratio", before / after, how))
        bits = scheme.bits
        of = (
            f"an index of {scheme.name}"
            if scheme.clusters
            else f"{scheme.name}, steps aside"
            if scheme.block
            else scheme.weights
        )
        how = f"32 bits over the {bits} of {of}, if every weight took them"
        found.append(ratio("weights ratio in theory", 8 * np.dtype(np.float32).itemsize / bits, how))
    return tuple(found)
