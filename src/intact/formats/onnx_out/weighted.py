"""Convolutions and matrix products as ONNX spells them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from intact.formats.onnx_out.build import FIRST, Value
from intact.formats.onnx_out.call import Call, Row, plain
from intact.ops.base import same_padding
from intact.ops.convolution import Conv2D, DepthwiseConv2D, TransposeConv
from intact.ops.matmul import BatchMatMul, FullyConnected


def pads_of(
    padding: str, sizes: Sequence[int], filters: Sequence[int], strides: Sequence[int], steps: Sequence[int]
) -> Sequence[int]:
    """What is padded before each axis, then behind each."""
    if padding == "valid":
        return [0] * (2 * len(sizes))
    ends = [same_padding(*four) for four in zip(sizes, filters, strides, steps, strict=True)]
    return [before for before, _ in ends] + [behind for _, behind in ends]


#: What no sum is below.
_LEAST: Final = float(np.finfo(np.float32).min)


def _biased(call: Call, op: str, n: int, *operands: str, places: int = 0, **attributes: Any) -> str:
    """The op with its bias. Beside integers a weight of real numbers is kept so by a Max behind the op, which changes nothing:
    ONNX Runtime 1.32 makes int8 with one scale of every such weight between a DequantizeLinear and a QuantizeLinear.
    """
    made = _with_bias(call, op, n, *operands, places=places, **attributes)
    return call.node("Max", made, call.build.real(_LEAST)) if call.values.is_real_beside_integers(call.id(1)) else made


def _with_bias(call: Call, op: str, n: int, *operands: str, places: int = 0, **attributes: Any) -> str:
    """The op with its bias, the ``n``-th input of ours. What int32 does not hold is added behind it: ONNX Runtime 1.32 makes
    int32 of every bias beside integers, and such a one saturates (optimizer/qdq_transformer/weight_bias_quantization.cc).
    """
    if not call.has(n):
        return call.node(op, *operands, **attributes)
    if call.values.is_beyond_int32(call.id(n)):
        return call.node("Add", call.node(op, *operands, **attributes), call.values.bias(call.id(n), *(1,) * places))
    return call.node(op, *operands, call.values.bias(call.id(n)), **attributes)


def _convolution(call: Call) -> list[Value]:
    kind = call.op.kind
    assert isinstance(kind, (Conv2D, DepthwiseConv2D))
    depthwise = isinstance(kind, DepthwiseConv2D)
    w, shape, channels = call.id(1), call.shape(1), call.shape(0)[3]
    own = pads_of(kind.padding, call.shape(0)[1:3], shape[1:3], kind.stride, kind.dilation)
    x, pads = call.values.padded.get(call.id(0), (call.id(0), own))
    # [1, kh, kw, c m] and [c_out, kh, kw, c_in / groups] -> [c_out, c_in / groups, kh, kw]
    weight = call.values.weight(w, (3, 0, 1, 2) if depthwise else FIRST)
    made = _biased(
        call,
        "Conv",
        2,
        call.values.name(x, FIRST),
        weight,
        places=2,
        kernel_shape=shape[1:3],
        strides=kind.stride,
        dilations=kind.dilation,
        pads=pads,
        group=channels if depthwise else max(channels // max(shape[3], 1), 1),
    )
    return [Value(call.activated(made, kind.activation), FIRST)]


def _transposed(call: Call) -> list[Value]:
    kind = call.kind(TransposeConv)
    w, size, out = call.shape(1), call.shape(2), call.out_shape
    cut = [same_padding(out[1 + i], w[1 + i], kind.stride[i], 1)[0] if kind.padding == "same" else 0 for i in (0, 1)]
    full = [(size[1 + i] - 1) * kind.stride[i] + w[1 + i] for i in (0, 1)]
    behind = [full[i] - cut[i] - out[1 + i] for i in (0, 1)]  # cut off, or below zero filled
    made = _biased(
        call,
        "ConvTranspose",
        3,
        call.first(2),
        call.values.weight(call.id(1), (3, 0, 1, 2)),  # [c_in, c_out, kh, kw]
        places=2,
        kernel_shape=w[1:3],
        strides=kind.stride,
        pads=[*cut, *(max(n, 0) for n in behind)],
        output_padding=[max(-n, 0) for n in behind],
    )
    return [Value(call.activated(made, kind.activation), FIRST)]


def _dense(call: Call) -> list[Value]:
    kind = call.kind(FullyConnected)
    x, shape, out = call.plain(0), call.shape(0), call.out_shape
    if len(shape) != 2 or shape[1] != call.shape(1)[1]:
        x = call.settled(call.reshaped(x, (-1, call.shape(1)[1])), 0)
    made = _biased(call, "Gemm", 2, x, call.values.dense(call.id(1), call.values.rows.get(call.id(0))), transB=1)
    made = call.activated(made, kind.activation)
    if len(out) != 2:
        made = call.reshaped(call.settled(made), out)
    return [Value(made, plain(len(out)))]


def _product(call: Call) -> list[Value]:
    kind, names = call.kind(BatchMatMul), []
    for n, turned in ((0, kind.adj_x), (1, kind.adj_y)):
        rank = len(call.shape(n))
        order = (*range(rank - 2), rank - 1, rank - 2) if turned else plain(rank)
        names.append(call.values.name(call.id(n), order))
    return [Value(call.node("MatMul", *names), plain(len(call.out_shape)))]


ROWS: Final[dict[str, Row]] = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _convolution,
    "TRANSPOSE_CONV": _transposed,
    "FULLY_CONNECTED": _dense,
    "BATCH_MATMUL": _product,
}
