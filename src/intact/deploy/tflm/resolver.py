"""What registers each operator with TensorFlow Lite Micro: the methods of its ``MicroMutableOpResolver``."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from intact.errors import UnsupportedError
from intact.formats.tflite.op_codes import operators
from intact.network.graph import Graph
from intact.numbers.affine import Affine

_ALIKE: Final = (
    "ABS ADD ADD_N ARG_MAX ARG_MIN ASSIGN_VARIABLE BATCH_TO_SPACE_ND BROADCAST_ARGS BROADCAST_TO CALL_ONCE CAST CEIL "
    "CONCATENATION COS DEPTH_TO_SPACE DEQUANTIZE DIV DYNAMIC_UPDATE_SLICE ELU EMBEDDING_LOOKUP EQUAL EXP EXPAND_DIMS FILL "
    "FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED GATHER GATHER_ND GREATER GREATER_EQUAL HARD_SWISH IF L2_NORMALIZATION "
    "LEAKY_RELU LESS LESS_EQUAL LOG LOGICAL_AND LOGICAL_NOT LOGICAL_OR LOGISTIC LOG_SOFTMAX MAXIMUM MEAN MINIMUM MIRROR_PAD "
    "MUL NEG NOT_EQUAL PACK PAD PRELU QUANTIZE READ_VARIABLE REDUCE_ALL REDUCE_MAX REDUCE_MIN RELU RELU6 RESHAPE "
    "RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR REVERSE_V2 ROUND RSQRT SELECT_V2 SHAPE SIN SLICE SOFTMAX SPACE_TO_BATCH_ND "
    "SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM SVDF TANH TRANSPOSE "
    "TRANSPOSE_CONV UNPACK VAR_HANDLE WHILE ZEROS_LIKE"
)

#: By operator, the method that adds its kernel. Most are spelled like the operator: ``AddBatchToSpaceNd``.
#: Source: tensorflow/lite/micro/micro_mutable_op_resolver.h at 90b983c (2026-08-20).
METHODS: Final[Mapping[str, str]] = MappingProxyType(
    {
        **{name: "Add" + "".join(part.capitalize() for part in name.split("_")) for name in _ALIKE.split()},
        "AVERAGE_POOL_2D": "AddAveragePool2D",
        "BATCH_MATMUL": "AddBatchMatMul",
        "CONV_2D": "AddConv2D",
        "CUMSUM": "AddCumSum",
        "DEPTHWISE_CONV_2D": "AddDepthwiseConv2D",
        "L2_POOL_2D": "AddL2Pool2D",
        "MAX_POOL_2D": "AddMaxPool2D",
        "PADV2": "AddPadV2",
        "UNIDIRECTIONAL_SEQUENCE_LSTM": "AddUnidirectionalSequenceLSTM",
        # custom operators, by their own names
        "CIRCULAR_BUFFER": "AddCircularBuffer",
        "TFLM_DECODE": "AddDecode",
        "TFLite_Detection_PostProcess": "AddDetectionPostprocess",
    }
)


#: At which scale of its input and below the int8 SOFTMAX ends the program: its multiplier, scale · beta · 2^26, is not above 1.
#: Source: tensorflow/lite/kernels/internal/quantization_util.cc, QuantizeMultiplierGreaterThanOne.
_COLLAPSED: Final = 2.0**-26


def check_softmax(graph: Graph) -> None:
    """UnsupportedError names the first SOFTMAX that would abort TensorFlow Lite Micro, and with it the firmware."""
    for op in graph.ops:
        factor, fmt = op.kind.softmax_factor(), graph.operand(op, 0).format if op.inputs else None
        if factor is None or not isinstance(fmt, Affine) or fmt.dtype != "int8":
            continue
        if factor * fmt.scale[0] <= _COLLAPSED:
            raise UnsupportedError(
                f"{graph.label(op)} aborts TensorFlow Lite Micro: the scale of its input is {fmt.scale[0]:.3g}, and has to be "
                "above 2^-26 (1.49e-08); what it reads is all but constant: look at the layers before it"
            )


def resolved(graph: Graph, data: bytes) -> tuple[str, ...]:
    """The operators of the file ``data``, which ``graph`` was read from. UnsupportedError names the first without a method."""
    used = operators(data)
    for name in used:
        if name not in METHODS:
            found = next((graph.label(op) for op in graph.ops if op.kind.name.removeprefix("CUSTOM ") == name), name)
            raise UnsupportedError(
                f"{found} has no kernel that MicroMutableOpResolver could add; change the model, or type --runtime c"
            )
    return used
