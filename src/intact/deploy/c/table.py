"""The C of every op kind, as rows: what writes its call. What has no row is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from intact.deploy.c import elementwise, moves, reductions, weighted
from intact.deploy.c.site import Site

#: Writes the C of one op into its site's source.
Row: TypeAlias = Callable[[Site, Any], None]


def _rows(row: Row, kinds: str) -> dict[str, Row]:
    return dict.fromkeys(kinds.split(), row)


ROWS: Final[Mapping[str, Row]] = MappingProxyType(
    {
        "CONV_2D": weighted.conv,
        "DEPTHWISE_CONV_2D": weighted.depthwise,
        "FULLY_CONNECTED": weighted.dense,
        "TRANSPOSE_CONV": weighted.transposed,
        "BATCH_MATMUL": weighted.matmul,
        "GATHER": moves.gather,
        "EMBEDDING_LOOKUP": moves.embedding_lookup,
        "GATHER_ND": moves.gather_nd,
        **_rows(
            moves.move, "BATCH_TO_SPACE_ND BROADCAST_TO CONCATENATION DEPTH_TO_SPACE EXPAND_DIMS MIRROR_PAD PACK PAD PADV2"
        ),
        **_rows(moves.move, "RESHAPE RESIZE_NEAREST_NEIGHBOR REVERSE_V2 SLICE SPACE_TO_DEPTH SPLIT SPLIT_V SQUEEZE"),
        **_rows(moves.move, "STRIDED_SLICE TILE TRANSPOSE UNPACK"),
        **_rows(elementwise.look_up, "ABS ELU EXP GELU HARD_SWISH LEAKY_RELU LOG LOGISTIC QUANTIZE RELU RELU6"),
        **_rows(elementwise.look_up, "RELU_0_TO_1 RELU_N1_TO_1 RSQRT TANH"),
        **_rows(elementwise.add, "ADD SUB"),
        "MUL": elementwise.mul,
        "SQUARED_DIFFERENCE": elementwise.squared_difference,
        **_rows(elementwise.extreme, "MAXIMUM MINIMUM"),
        "PRELU": elementwise.prelu,
        "SELECT_V2": elementwise.select,
        "MEAN": reductions.mean,
        "SUM": reductions.total,
        **_rows(reductions.extreme, "REDUCE_MAX REDUCE_MIN"),
        **_rows(reductions.arg, "ARG_MAX ARG_MIN"),
        **_rows(reductions.pool, "AVERAGE_POOL_2D MAX_POOL_2D"),
        "SOFTMAX": reductions.softmax,
        "LOG_SOFTMAX": reductions.log_softmax,
        "L2_NORMALIZATION": reductions.l2_normalization,
        "RESIZE_BILINEAR": reductions.resize_bilinear,
    }
)
