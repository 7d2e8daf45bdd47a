"""The C of op kinds in float32, as rows: what only moves numbers is written as for integers. What has no row is refused."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from intact.deploy.c import elementwise, moves, real_ops, real_weighted, reductions, table, weighted
from intact.deploy.c.table import Row

_MOVING: Final = (moves.move, moves.pad, moves.gather, moves.embedding_lookup, moves.gather_nd, elementwise.select)
_MAPPED: Final = ("ABS", "ELU", "EXP", "HARD_SWISH", "LOG", "LOGISTIC", "RSQRT", "TANH")
_CLIPS: Final = ("RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1")
_PAIRS: Final = ("SQUARED_DIFFERENCE", "MAXIMUM", "MINIMUM", "PRELU")

ROWS: Final[Mapping[str, Row]] = MappingProxyType(
    {
        **{kind: row for kind, row in table.ROWS.items() if row.write in _MOVING},
        # Those are left that make an output, or what a state holds.
        **dict.fromkeys(("QUANTIZE", "DEQUANTIZE"), Row(moves.move)),
        "CONV_2D": Row(real_weighted.conv, weighted.of_windows),
        "DEPTHWISE_CONV_2D": Row(real_weighted.depthwise, weighted.of_windows),
        "FULLY_CONNECTED": Row(real_weighted.dense),
        "TRANSPOSE_CONV": Row(real_weighted.transposed),
        "BATCH_MATMUL": Row(real_weighted.matmul),
        **dict.fromkeys(_MAPPED, Row(real_ops.mapped, elementwise.row_by_row)),
        "GELU": Row(real_ops.gelu, elementwise.row_by_row),
        "LEAKY_RELU": Row(real_ops.leaky_relu, elementwise.row_by_row),
        **dict.fromkeys(_CLIPS, Row(real_ops.clip, elementwise.row_by_row)),
        **dict.fromkeys(("ADD", "SUB", "MUL"), Row(real_ops.activated_pairs, elementwise.row_by_row)),
        **dict.fromkeys(_PAIRS, Row(real_ops.pairs, elementwise.row_by_row)),
        "MEAN": Row(real_ops.mean),
        "SUM": Row(real_ops.total),
        **dict.fromkeys(("REDUCE_MAX", "REDUCE_MIN"), Row(real_ops.extreme)),
        **dict.fromkeys(("ARG_MAX", "ARG_MIN"), Row(real_ops.arg)),
        **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D"), Row(real_ops.pool, reductions.of_windows)),
        "SOFTMAX": Row(real_ops.softmax),
        "LOG_SOFTMAX": Row(real_ops.log_softmax),
        "L2_NORMALIZATION": Row(real_ops.l2_normalization),
        "RESIZE_BILINEAR": Row(real_ops.resize_bilinear),
    }
)
