"""LiteRT's side of every op kind, as rows: its options table, and the op version that its number formats need.

An op kind without options needs no row: the builtin operator is the one of the same name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, TypeAlias, final

from ai_edge_litert import schema_py_generated as schema


@final
@dataclass(frozen=True)
class Number:
    """An int, float or bool field of the options table."""

    name: str


@final
@dataclass(frozen=True)
class Pair:
    """A (height, width) pair kept in two fields."""

    height: str
    width: str


@final
@dataclass(frozen=True)
class Triple:
    """A (depth, height, width) triple kept in three fields."""

    depth: str
    height: str
    width: str


@final
@dataclass(frozen=True)
class Choice:
    """A field that holds an enum; ``values`` maps its numbers to our words."""

    name: str
    values: Mapping[int, Any]


@final
@dataclass(frozen=True)
class Ints:
    """A vector of int32."""

    name: str


OptionField: TypeAlias = Number | Pair | Triple | Choice | Ints

DTYPES: Final[Mapping[int, str]] = MappingProxyType(
    {
        schema.TensorType.FLOAT32: "float32",
        schema.TensorType.FLOAT16: "float16",
        schema.TensorType.FLOAT64: "float64",
        schema.TensorType.INT2: "int2",
        schema.TensorType.INT4: "int4",
        schema.TensorType.INT8: "int8",
        schema.TensorType.UINT8: "uint8",
        schema.TensorType.INT16: "int16",
        schema.TensorType.INT32: "int32",
        schema.TensorType.INT64: "int64",
        schema.TensorType.BOOL: "bool",
        schema.TensorType.UINT16: "uint16",
        schema.TensorType.UINT32: "uint32",
        schema.TensorType.UINT64: "uint64",
        schema.TensorType.COMPLEX64: "complex64",
    }
)
#: Element types of tensors that are not read: what they are, and what to do.
UNREAD: Final[Mapping[int, str]] = MappingProxyType(
    {
        schema.TensorType.STRING: "holds text; cut the model behind the op that makes numbers of it, and let it take these",
        schema.TensorType.BFLOAT16: "holds bfloat16 numbers; export the model in float32",
        schema.TensorType.COMPLEX128: "holds complex numbers of 128 bits; export the model in float32 or complex64",
        schema.TensorType.VARIANT: "holds a list or data set of TensorFlow's, not numbers; export the inference alone",
    }
)

_ACTIVATION: Final = Choice("FusedActivationFunction", {0: "none", 1: "relu", 2: "relu_n1_to_1", 3: "relu6", 4: "tanh"})
_PADDING: Final = Choice("Padding", {0: "same", 1: "valid"})
_STRIDE: Final = Pair("StrideH", "StrideW")
_DILATION: Final = Pair("DilationHFactor", "DilationWFactor")
_CONV: Final[Mapping[str, OptionField]] = {"stride": _STRIDE, "padding": _PADDING, "activation": _ACTIVATION}
_POOL: Final[Mapping[str, OptionField]] = {"filter": Pair("FilterHeight", "FilterWidth"), **_CONV}
_RESIZE: Final = {"align_corners": Number("AlignCorners"), "half_pixel_centers": Number("HalfPixelCenters")}
_FUSED: Final = {"activation": _ACTIVATION}
#: Not the kernels for LSTM cells, which the schema's default picks where all scales are powers of two.
_ANY_SCALE: Final = {"PotScaleInt16": False}
_KEEP: Final = {"keep_dims": Number("KeepDims")}
_ASYMMETRIC: Final = {"asymmetric_inputs": Number("AsymmetricQuantizeInputs")}


@final
@dataclass(frozen=True)
class Row:
    """One op kind: the options table and its fields by our option's name; by the key of :func:`version` the op versions, and
    what is ``always`` written into the options."""

    options: str = ""
    fields: Mapping[str, OptionField] = field(default_factory=dict)
    versions: Mapping[str, int] = field(default_factory=dict)
    always: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)
    #: Inputs that are variable tensors, which the kernel overwrites: by position, the output of ours that is their new value.
    #: Outputs from the second on are then none in the file.
    kept: Mapping[int, int] = field(default_factory=dict)


#: Versions of the ops that differ from the rule in ``version``. Source: LiteRT tools/versioning/op_version.cc.
ROWS: Final[Mapping[str, Row]] = MappingProxyType(
    {
        "CONV_2D": Row("Conv2DOptions", {**_CONV, "dilation": _DILATION}, {"int8": 3, "hybrid": 5, "int4": 7, "int16": 4}),
        "DEPTHWISE_CONV_2D": Row(
            "DepthwiseConv2DOptions",
            {**_CONV, "dilation": _DILATION, "depth_multiplier": Number("DepthMultiplier")},
            {"int8": 3, "hybrid": 6, "int4": 7, "int16": 5},
        ),
        "TRANSPOSE_CONV": Row("TransposeConvOptions", _CONV, {"float": 3, "int8": 3, "int16": 4}),
        "FULLY_CONNECTED": Row(
            "FullyConnectedOptions",
            {**_FUSED, "keep_dims": Number("KeepNumDims"), **_ASYMMETRIC},
            {"int8": 4, "hybrid": 9, "int4": 10, "int16": 7},
        ),
        "BATCH_MATMUL": Row("BatchMatMulOptions", {"adj_x": Number("AdjX"), "adj_y": Number("AdjY"), **_ASYMMETRIC}),
        "CONV_3D": Row(
            "Conv3DOptions",
            {
                "stride": Triple("StrideD", "StrideH", "StrideW"),
                "dilation": Triple("DilationDFactor", "DilationHFactor", "DilationWFactor"),
                "padding": _PADDING,
                **_FUSED,
            },
        ),
        "ADD": Row("AddOptions", _FUSED, always={"int16": _ANY_SCALE}),
        "SUB": Row("SubOptions", _FUSED, {"int16": 5}, {"int16": _ANY_SCALE}),
        "MUL": Row("MulOptions", _FUSED, {"int16": 4}),
        "DIV": Row("DivOptions", _FUSED),
        "AVERAGE_POOL_2D": Row("Pool2DOptions", _POOL),
        "MAX_POOL_2D": Row("Pool2DOptions", _POOL),
        "MEAN": Row("ReducerOptions", _KEEP),
        "SUM": Row("ReducerOptions", _KEEP, {"int16": 2}),
        "REDUCE_PROD": Row("ReducerOptions", _KEEP),
        "REDUCE_MAX": Row("ReducerOptions", _KEEP),
        "REDUCE_MIN": Row("ReducerOptions", _KEEP),
        "REDUCE_ANY": Row("ReducerOptions", _KEEP),
        "REDUCE_ALL": Row("ReducerOptions", _KEEP),
        "CUMSUM": Row("CumsumOptions", {"exclusive": Number("Exclusive"), "reverse": Number("Reverse")}),
        "ONE_HOT": Row("OneHotOptions", {"axis": Number("Axis")}),
        "ARG_MIN": Row("ArgMinOptions", {"dtype": Choice("OutputType", DTYPES)}, {"int16": 1}),
        "ARG_MAX": Row("ArgMaxOptions", {"dtype": Choice("OutputType", DTYPES)}, {"int16": 1}),
        "MIRROR_PAD": Row("MirrorPadOptions", {"mode": Choice("Mode", {0: "reflect", 1: "symmetric"})}),
        "CONCATENATION": Row("ConcatenationOptions", {"axis": Number("Axis"), **_FUSED}),
        "PACK": Row("PackOptions", {"axis": Number("Axis"), "count": Number("ValuesCount")}),
        "UNPACK": Row("UnpackOptions", {"axis": Number("Axis"), "count": Number("Num")}, {"int16": 4}),
        "SPLIT": Row("SplitOptions", {"count": Number("NumSplits")}, {"int16": 4}),
        "SPLIT_V": Row("SplitVOptions", {"count": Number("NumSplits")}, {"int16": 1}),
        "STRIDED_SLICE": Row(
            "StridedSliceOptions",
            {
                "begin_mask": Number("BeginMask"),
                "end_mask": Number("EndMask"),
                "ellipsis_mask": Number("EllipsisMask"),
                "new_axis_mask": Number("NewAxisMask"),
                "shrink_axis_mask": Number("ShrinkAxisMask"),
            },
            {"int16": 1},
        ),
        "GATHER": Row("GatherOptions", {"axis": Number("Axis"), "batch_dims": Number("BatchDims")}, {"int16": 4}),
        "RESIZE_BILINEAR": Row("ResizeBilinearOptions", _RESIZE, {"float": 3, "int8": 3, "int16": 4}),
        "RESIZE_NEAREST_NEIGHBOR": Row("ResizeNearestNeighborOptions", _RESIZE, {"float": 3, "int8": 3, "int16": 4}),
        "RESHAPE": Row("ReshapeOptions", {"new_shape": Ints("NewShape")}, {"int8": 1, "int16": 1}),
        # The reference kernels of these four take integers in version 1 and know no other.
        "SQUEEZE": Row("SqueezeOptions", {"axes": Ints("SqueezeDims")}, {"int8": 1, "int16": 1}),
        "RELU_0_TO_1": Row(versions={"int8": 1}),
        "RELU_N1_TO_1": Row(versions={"int8": 1}),
        "RANK": Row(versions={"int8": 1, "int16": 1}),
        "TOPK_V2": Row(versions={"int16": 3}),
        "SHAPE": Row("ShapeOptions", {"dtype": Choice("OutType", DTYPES)}, {"int8": 1, "int16": 1}),
        "CAST": Row("CastOptions", {"dtype": Choice("OutDataType", DTYPES)}, {"int8": 1}),
        "SOFTMAX": Row("SoftmaxOptions", {"beta": Number("Beta")}),
        "LEAKY_RELU": Row("LeakyReluOptions", {"alpha": Number("Alpha")}, {"int16": 2}),
        "GELU": Row("GeluOptions", {"approximate": Number("Approximate")}),
        "DEPTH_TO_SPACE": Row("DepthToSpaceOptions", {"block_size": Number("BlockSize")}, {"int8": 1, "int16": 1}),
        "SPACE_TO_DEPTH": Row("SpaceToDepthOptions", {"block_size": Number("BlockSize")}, {"int16": 1}),
        "L2_NORMALIZATION": Row("L2NormOptions"),
        "MAXIMUM": Row("MaximumMinimumOptions", versions={"int16": 4}),
        "MINIMUM": Row("MaximumMinimumOptions", versions={"int16": 4}),
        "UNIDIRECTIONAL_SEQUENCE_LSTM": Row(
            "UnidirectionalSequenceLSTMOptions",
            {
                **_FUSED,
                **_ASYMMETRIC,
                "cell_clip": Number("CellClip"),
                "proj_clip": Number("ProjClip"),
                "time_major": Number("TimeMajor"),
                "diagonal": Number("DiagonalRecurrentTensors"),
            },
            {"int8": 1},
            kept={18: 1, 19: 2},
        ),
        "HARD_SWISH": Row("HardSwishOptions", versions={"int8": 1}),
        "EXPAND_DIMS": Row("ExpandDimsOptions", versions={"int8": 1, "int16": 1}),
        "PRELU": Row(versions={"int8": 1, "int16": 1}),
        "ELU": Row(versions={"int8": 1}),
        "BROADCAST_TO": Row(versions={"float": 2, "int8": 3, "int16": 3}),
        "QUANTIZE": Row(versions={"int8": 2, "int16": 2}),
        "DEQUANTIZE": Row(versions={"int8": 2, "float16": 3}),
        "TRANSPOSE": Row(versions={"int16": 5}),
        "SLICE": Row(versions={"int16": 4}),
        "TILE": Row(versions={"int16": 1}),
        "SELECT_V2": Row(versions={"int16": 1}),
        "REVERSE_V2": Row(versions={"int16": 1}),
        "SQUARED_DIFFERENCE": Row(versions={"int16": 1}),
        "EXP": Row(versions={"int16": 2}),
        "SPACE_TO_BATCH_ND": Row(versions={"int16": 4}),
        "BATCH_TO_SPACE_ND": Row(versions={"int16": 4}),
    }
)
_DEFAULT: Final = Row()

#: Builtin operator codes by name and back, and the union codes of options tables.
CODES: Final[Mapping[str, int]] = MappingProxyType({n: c for n, c in vars(schema.BuiltinOperator).items() if n[0] != "_"})
NAMES: Final[Mapping[int, str]] = MappingProxyType({code: name for name, code in CODES.items()})
UNIONS: Final[Mapping[str, int]] = MappingProxyType({n: c for n, c in vars(schema.BuiltinOptions).items() if n[0] != "_"})


def row(name: str) -> Row:
    """The row of an op kind; an op without options has an empty one."""
    return ROWS.get(name, _DEFAULT)


def version(name: str, formats: str) -> int:
    """The op version for ``formats``: float 1, float16 3 (DEQUANTIZE), int8 2, int16 3, unless the row says otherwise."""
    rule = {"float": 1, "float16": 1, "int8": 2, "hybrid": 1, "int4": 2, "int16": 3}
    return row(name).versions.get(formats, rule[formats])
