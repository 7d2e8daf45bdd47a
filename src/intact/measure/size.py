"""How large a file is, and what it spends on anything but its parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from intact.measure.cost import is_parameter, parameter_bytes
from intact.measure.measurement import Measurement
from intact.network.graph import Graph
from intact.numbers.affine import Affine


@final
@dataclass(frozen=True)
class FileSize:
    """Bytes of a file: ``parameters``, and what the rest goes to. The parts add up to ``file``.

    ``scales``: distinct scale vectors, 4 bytes each entry, and zero points, 8 bytes each; ``names`` of tensors and
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
    formats = [t.format for t in graph.tensors.values() if isinstance(t.format, Affine)]
    scales = {f.scale for f in formats}
    zero_points = {f.zero_point for f in formats}
    ports = [name for s in graph.signatures for name, _ in (*s.inputs, *s.outputs)]
    return FileSize(
        file=file_bytes,
        parameters=sum(parameter_bytes(t) for t in graph.constants() if is_parameter(t)),
        scales=sum(4 * len(s) for s in scales) + sum(8 * len(z) for z in zero_points),
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
