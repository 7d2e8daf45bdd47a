"""The C of every op kind, as rows: what writes its call, and what it reads to make one row. What has no row is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, TypeAlias, final

from intact.deploy.c import elementwise, moves, recurrent, reductions, weighted, wide
from intact.deploy.c.site import Site
from intact.deploy.c.stripes import Reach
from intact.network.graph import Graph

#: Writes the C of one op into its site's source.
Write: TypeAlias = Callable[[Site, Any], None]
#: What an op reads to make one row of its output; None where its C makes all of them at once.
ByRows: TypeAlias = Callable[[Site, Any], Reach | None]


@final
@dataclass(frozen=True)
class Row:
    """The C of one op kind. ``spare``: outputs, by position, that need no place where nothing reads them."""

    write: Write
    by_rows: ByRows | None = None
    spare: tuple[int, ...] = ()


def _rows(write: Write, kinds: str, by_rows: ByRows | None = None) -> dict[str, Row]:
    return dict.fromkeys(kinds.split(), Row(write, by_rows))


def _by_width(narrow: Write, sixteen: Write) -> Write:
    """Writes an op of 8-bit activations in one way, and one where an activation has 16 bits in another."""

    def write(site: Site, kind: Any) -> None:
        flows = (site.graph[i] for i in (*site.op.reads, *site.op.outputs))
        is_wide = any(t.format.dtype == "int16" and not t.is_constant for t in flows)
        (sixteen if is_wide else narrow)(site, kind)

    return write


_TABLED: Final = "ELU EXP GELU HARD_SWISH LOG RELU6 RELU_0_TO_1 RELU_N1_TO_1 RSQRT"
_MOVING: Final = (
    "BATCH_TO_SPACE_ND BROADCAST_TO CONCATENATION DEPTH_TO_SPACE EXPAND_DIMS MIRROR_PAD PACK PADV2 RESHAPE "
    "RESIZE_NEAREST_NEIGHBOR REVERSE_V2 SLICE SPACE_TO_DEPTH SPLIT SPLIT_V SQUEEZE STRIDED_SLICE TILE TRANSPOSE UNPACK"
)

ROWS: Final[Mapping[str, Row]] = MappingProxyType(
    {
        "CONV_2D": Row(_by_width(weighted.conv, wide.conv), weighted.of_windows),
        "DEPTHWISE_CONV_2D": Row(_by_width(weighted.depthwise, wide.depthwise), weighted.of_windows),
        "FULLY_CONNECTED": Row(_by_width(weighted.dense, wide.dense)),
        "TRANSPOSE_CONV": Row(_by_width(weighted.transposed, wide.transposed)),
        "BATCH_MATMUL": Row(_by_width(weighted.matmul, wide.matmul)),
        "GATHER": Row(moves.gather),
        "EMBEDDING_LOOKUP": Row(moves.embedding_lookup),
        "GATHER_ND": Row(moves.gather_nd),
        **_rows(moves.move, _MOVING),
        "PAD": Row(moves.pad, moves.padded_rows),
        **_rows(elementwise.look_up, _TABLED, elementwise.row_by_row),
        **_rows(_by_width(elementwise.look_up, wide.scaled), "ABS LEAKY_RELU RELU", elementwise.row_by_row),
        **_rows(_by_width(elementwise.look_up, wide.sigmoid), "LOGISTIC TANH", elementwise.row_by_row),
        "QUANTIZE": Row(_by_width(elementwise.look_up, wide.convert), elementwise.row_by_row),
        **_rows(elementwise.add, "ADD SUB", elementwise.row_by_row),
        "MUL": Row(elementwise.mul, elementwise.row_by_row),
        "SQUARED_DIFFERENCE": Row(elementwise.squared_difference, elementwise.row_by_row),
        **_rows(elementwise.extreme, "MAXIMUM MINIMUM", elementwise.row_by_row),
        "PRELU": Row(elementwise.prelu, elementwise.row_by_row),
        "SELECT_V2": Row(elementwise.select),
        "MEAN": Row(reductions.mean),
        "SUM": Row(reductions.total),
        **_rows(reductions.extreme, "REDUCE_MAX REDUCE_MIN"),
        **_rows(reductions.arg, "ARG_MAX ARG_MIN"),
        **_rows(reductions.pool, "AVERAGE_POOL_2D MAX_POOL_2D", reductions.of_windows),
        "SOFTMAX": Row(_by_width(reductions.softmax, wide.softmax)),
        "LOG_SOFTMAX": Row(reductions.log_softmax),
        "L2_NORMALIZATION": Row(reductions.l2_normalization),
        "UNIDIRECTIONAL_SEQUENCE_LSTM": Row(recurrent.lstm, spare=recurrent.SPARE),
        "RESIZE_BILINEAR": Row(reductions.resize_bilinear),
    }
)


def unread(graph: Graph) -> frozenset[int]:
    """What ops make that nothing reads, and that their C does without."""
    spare = (op.outputs[n] for op in graph.ops if op.kind.name in ROWS for n in ROWS[op.kind.name].spare if n < len(op.outputs))
    return frozenset(spare) - {i for op in graph.ops for i in op.reads} - set(graph.ends)
