"""What a model asks of its samples, and remarks about data that are values, not exceptions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from intact.affine import Affine
from intact.graph import Dim, Graph


@final
@dataclass(frozen=True)
class InputSpec:
    """One model input: its name, its shape with the batch on axis 0 (any size), and the dtype that samples arrive in."""

    name: str
    shape: tuple[Dim, ...]
    dtype: str = "float32"

    @property
    def sample(self) -> tuple[int, ...]:
        """The shape of one sample: ``[n, 32, 32, 3] -> (32, 32, 3)``."""
        return tuple(-1 if d is None else d for d in self.shape[1:])

    def __str__(self) -> str:
        dims = ", ".join(("n", *map(str, self.sample)))
        return f"input {self.name!r} of shape [{dims}]"


@final
@dataclass(frozen=True)
class Finding:
    """A remark for the report: ``kind`` is a short stable word for machines, ``message`` a sentence for people."""

    kind: str
    message: str


def input_specs(graph: Graph) -> tuple[InputSpec, ...]:
    """What the samples of ``graph`` look like, in the order of its inputs.

    Quantized inputs take real numbers too: whoever runs the file quantizes them with the file's own scale.
    """
    tensors = (graph[i] for i in graph.inputs)
    return tuple(
        InputSpec(name, t.shape, "float32" if isinstance(t.format, Affine) else t.format.dtype)
        for name, t in zip(graph.input_names, tensors, strict=True)
    )


def class_count(graph: Graph) -> int | None:
    """The number of classes when the only output is one vector per sample, ``[n, classes]``; else None."""
    if len(graph.outputs) != 1:
        return None
    shape = graph[graph.outputs[0]].shape
    return shape[1] if len(shape) == 2 else None
