"""What a format that a network is exported to cannot say of it, all in one sentence."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import Final

from intact.errors import IntactError, UnsupportedError
from intact.network.graph import Graph
from intact.numbers.affine import Affine
from intact.wording import counted

#: Op kinds named in one sentence.
_NAMED: Final = 8


def check(graph: Graph, rows: Container[str], name: str, others: Sequence[str] = ()) -> None:
    """UnsupportedError where ``graph`` keeps states, has ops without one of ``rows``, weights in blocks, or ``others``.

    ``name`` is the format's; ``others`` are words for what else it has no form of.
    """
    if graph.states:
        raise UnsupportedError(
            f"{counted(len(graph.states), 'state')} that it keeps from call to call cannot be exported to {name}; the .tflite "
            "keeps them in LiteRT"
        )
    kinds = list(dict.fromkeys(op.kind.name for op in graph.ops if op.kind.name not in rows))
    named = ", ".join([*kinds[:_NAMED], *([f"{len(kinds) - _NAMED} more"] if len(kinds) > _NAMED else [])])
    in_blocks = any(isinstance(t.format, Affine) and t.format.block_scales is not None for t in graph.constants())
    blocks = ["weights with a scale for each block (--scheme dynamic-w4 has none)"] if in_blocks else []
    if said := [*([f"the ops {named}"] if kinds else []), *blocks, *others]:
        raise UnsupportedError(f"{name} has no form of {' and '.join(said)}; the .tflite runs them in LiteRT")


def collected(errors: Iterable[IntactError], name: str) -> UnsupportedError:
    """What several ops cannot be in the format ``name``."""
    said = "; ".join(dict.fromkeys(": ".join((*error.where, error.message)) for error in errors))
    return UnsupportedError(f"cannot be exported to {name}: {said}; the .tflite runs in LiteRT")
