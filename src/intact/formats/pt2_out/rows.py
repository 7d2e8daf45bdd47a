"""Which op of ours is what in torch: a row for what runs on stored numbers, or in a form that torch's compiler looks for."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from torch.nn import functional as F

from intact.formats.pt2_out.network import FIRST, Call, Row, Value, computed, plain
from intact.network.shapes import concrete
from intact.ops import KINDS
from intact.ops.base import same_padding
from intact.ops.call import as_tuple, present
from intact.ops.convolution import Conv2D, DepthwiseConv2D
from intact.ops.matmul import FullyConnected


def _convolution(call: Call) -> tuple[Value, ...]:
    kind = call.op.kind
    assert isinstance(kind, (Conv2D, DepthwiseConv2D))
    depthwise = isinstance(kind, DepthwiseConv2D)
    (x, around), shape = call.image(0), concrete(call.tensor(1))
    # [1, kh, kw, c m] and [c_out, kh, kw, c_in / groups] -> [c_out, c_in / groups, kh, kw]
    weight = call.weight(1, (3, 0, 1, 2) if depthwise else FIRST)
    ends = ((around[0], around[2]), (around[1], around[3]))
    if kind.padding == "same":
        sizes = concrete(call.tensor(0))[1:3]
        (top, bottom), (left, right) = (
            same_padding(*four) for four in zip(sizes, shape[1:3], kind.stride, kind.dilation, strict=True)
        )
        ends = ((top, bottom), (left, right))
    pads = (ends[0][0], ends[1][0])
    if any(before != behind for before, behind in ends):  # stored zeros, so that the convolution reads what is stored
        x, pads = F.pad(x, (*ends[1], *ends[0]), value=call.zero(0)), (0, 0)
    groups = int(x.shape[1]) if depthwise else max(int(x.shape[1]) // max(shape[3], 1), 1)
    y = F.conv2d(call.as_real(0, x), weight, call.bias(2), kind.stride, pads, kind.dilation, groups)
    return (Value(call.settled(y), FIRST),)


def _dense(call: Call) -> tuple[Value, ...]:
    kind = call.op.kind
    assert isinstance(kind, FullyConnected)
    x, weight = call.stored(0), call.weight(1, (0, 1))
    if not kind.keep_dims:
        x = x.reshape(-1, weight.shape[1])
    y = call.settled(F.linear(call.as_real(0, x), weight, call.bias(2)))
    return (Value(y, plain(y.dim())),)


def _moved(call: Call) -> tuple[Value, ...]:
    """On stored numbers, where all that move are stored alike."""
    if not call.is_uniform:
        return computed(call)
    inputs = (call.real(n) if call.is_whole(n) else call.stored(n) for n in range(len(call.op.inputs)))
    return tuple(Value(y, plain(y.dim())) for y in as_tuple(call.op.kind.unfused()[0].compute(*inputs)))


def _padded(call: Call) -> tuple[Value, ...]:
    pads = call.tensor(1).data
    if not call.is_uniform or pads is None:
        return computed(call)
    order = call.order(0)
    ends = [int(n) for axis in order[::-1] for n in pads[axis]]
    return (Value(F.pad(call.stored(0, order), ends, value=call.zero(0)), order),)


def _each(call: Call) -> tuple[Value, ...]:
    """Element by element: images whose channels come first keep them there, so that the compiler sees one op after another."""
    ranks = {len(call.graph[i].shape) for i in call.op.reads if not call.graph[i].is_constant}
    is_first = ranks == {4} and any(call.order(n) == FIRST for n in range(len(call.op.inputs)))
    return computed(call, FIRST if is_first else None)


def _same(call: Call) -> tuple[Value, ...]:
    order = call.order(0) or plain(len(call.tensor(0).shape))
    real = call.real(0, order if call.order(0) else None)
    return (Value(call.settled(present(real, "x")), order),)


_OWN: Final[dict[str, Row]] = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _convolution,
    "FULLY_CONNECTED": _dense,
    "PAD": _padded,
    "QUANTIZE": _same,
    "DEQUANTIZE": _same,
}
#: Kinds that put no numbers of their own between those that they move.
_MOVING: Final = (
    "BROADCAST_TO", "CONCATENATION", "DEPTH_TO_SPACE", "EXPAND_DIMS", "GATHER", "GATHER_ND", "MIRROR_PAD", "PACK", "RESHAPE",
    "REVERSE_V2", "SLICE", "SPACE_TO_DEPTH", "SPLIT", "SPLIT_V", "SQUEEZE", "STRIDED_SLICE", "TILE", "TRANSPOSE", "UNPACK",
)  # fmt: skip
#: Kinds that make each number of the same numbers of what they read.
_EACH: Final = (
    "ABS", "ADD", "DIV", "ELU", "EXP", "GELU", "HARD_SWISH", "LEAKY_RELU", "LOGISTIC", "MAXIMUM", "MINIMUM", "MUL",
    "NEG", "RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "RSQRT", "SQRT", "SQUARE", "SQUARED_DIFFERENCE", "SUB",
    "TANH",
)  # fmt: skip
#: Every kind whose meaning is known.
ROWS: Final[MappingProxyType[str, Row]] = MappingProxyType(
    {name: computed for name, kind in KINDS.items() if not kind.unknown}
    | dict.fromkeys(_EACH, _each)
    | dict.fromkeys(_MOVING, _moved)
    | _OWN
)
