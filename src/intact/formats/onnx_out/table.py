"""Which op of ours is what in ONNX: a row for every kind, and what has none."""

from __future__ import annotations

from typing import Final

from intact.formats.onnx_out import elementwise, reducing, shaping, weighted
from intact.formats.onnx_out.call import Row

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
