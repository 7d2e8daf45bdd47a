"""What a model asks of its samples, and remarks about data that are values, not exceptions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from intact.errors import DataError
from intact.network.graph import Dim, Graph
from intact.numbers.affine import Affine, Index


@final
@dataclass(frozen=True)
class InputSpec:
    """One model input: its name, its shape with the batch on axis 0 (any size), and the dtype that samples arrive in.

    ``placed``: whether its place among the inputs is the model's own; else it goes by its name alone.
    """

    name: str
    shape: tuple[Dim, ...]
    dtype: str = "float32"
    placed: bool = True

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
        InputSpec(name, t.shape, "float32" if isinstance(t.format, Affine) else t.format.dtype, graph.order_is_known)
        for name, t in zip(graph.input_names, tensors, strict=True)
    )


def units(shape: Sequence[Dim]) -> int | None:
    """The length of the one vector that an output ``[n, ...]`` is for each sample; None where it is none.

    Axes of length 1 do not count, and what has no other is one number: ``[n, 1, 1, 10] -> 10``, ``[n, 1] -> 1``,
    ``[n, 8, 8, 2] -> None``.
    """
    kept = [size for size in shape[1:] if size != 1] or [1]
    return kept[0] if len(kept) == 1 else None


def names_by_position(inputs: tuple[InputSpec, ...], count: int) -> tuple[str, ...]:
    """The names of ``count`` inputs that were given without names, in the model's order. DataError where it has none."""
    names = tuple(spec.name for spec in inputs)
    if count != len(names):
        raise DataError(f"{count} inputs are given, but the model takes {len(names)}: {', '.join(names)}")
    if not all(spec.placed for spec in inputs):
        some = ", ".join(f"{name!r}: ..." for name in names)
        raise DataError(
            "inputs are given in an order, but this model's file knows them by name alone (a SavedModel signature has no "
            f"order); give a dictionary: {{{some}}}"
        )
    return names


def classes_of(count: int | None) -> int:
    """How many classes ``count`` numbers for each sample tell apart: a single one, or none that is known, says yes or no."""
    return max(count or 0, 2)


def class_count(graph: Graph) -> int | None:
    """The numbers that the only output has for each sample, if it is one vector of real numbers; else None."""
    if len(graph.outputs) != 1 or isinstance(graph[graph.outputs[0]].format, Index):
        return None
    shape = graph[graph.outputs[0]].shape
    return (
        units(shape) if len(shape) > 1 or shape in {(None,), (1,)} else None
    )  # [7] are seven numbers of no sample in particular
