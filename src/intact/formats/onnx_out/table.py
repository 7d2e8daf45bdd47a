"""Which op of ours is what in ONNX: a row for every kind, and what has none."""

from __future__ import annotations

from typing import Final

from intact.errors import IntactError, UnsupportedError
from intact.formats.onnx_out import elementwise, reducing, shaping, weighted
from intact.formats.onnx_out.call import Row
from intact.network.graph import Graph
from intact.wording import counted

ROWS: Final[dict[str, Row]] = {**elementwise.ROWS, **weighted.ROWS, **reducing.ROWS, **shaping.ROWS}
#: Ops that take images channels first.
IMAGES: Final = frozenset(
    {
        "AVERAGE_POOL_2D", "CONV_2D", "DEPTHWISE_CONV_2D", "DEPTH_TO_SPACE", "MAX_POOL_2D", "RESIZE_BILINEAR",
        "RESIZE_NEAREST_NEIGHBOR", "SPACE_TO_DEPTH", "TRANSPOSE_CONV",
    }
)  # fmt: skip
#: Ops that leave axes where they are.
PASSING: Final = frozenset(
    {*elementwise.ROWS, "CONCATENATION", "MIRROR_PAD", "PAD", "PADV2", "SLICE", "SPLIT", "SPLIT_V", "TILE"}
)
#: Op kinds named in one sentence.
_NAMED: Final = 8


def check(graph: Graph) -> None:
    """UnsupportedError that names, in one sentence, all that ONNX cannot say of ``graph``."""
    if graph.states:
        raise UnsupportedError(
            f"{counted(len(graph.states), 'state')} that it keeps from call to call cannot be exported to ONNX; the .tflite "
            "keeps them in LiteRT"
        )
    kinds = dict.fromkeys(op.kind.name for op in graph.ops if op.kind.name not in ROWS)
    types = dict.fromkeys(t.format.dtype for t in graph.tensors.values() if t.format.dtype.startswith("complex"))
    if kinds or types:
        named = ", ".join([*list(kinds)[:_NAMED], *([f"{len(kinds) - _NAMED} more"] if len(kinds) > _NAMED else [])])
        what = " and ".join([*([f"the ops {named}"] if kinds else []), *(["complex numbers"] if types else [])])
        raise UnsupportedError(f"ONNX has no form of {what}; the .tflite runs them in LiteRT")


def collected(errors: list[IntactError]) -> UnsupportedError:
    """What several ops cannot, in one sentence."""
    said = "; ".join(dict.fromkeys(": ".join((*error.where, error.message)) for error in errors))
    return UnsupportedError(f"cannot be exported to ONNX: {said}; the .tflite runs in LiteRT")
