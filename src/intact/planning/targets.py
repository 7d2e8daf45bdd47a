"""Devices as rows of data: which ops, formats and granularities a runtime takes, and how it likes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, Literal, final

from intact.errors import OptionError
from intact.planning.schemes import WIDE
from intact.planning.schemes import scheme as named

# fmt: off
#: No int8 kernel in LiteRT's default kernels, or none that counts: RELU_N1_TO_1 is lowered, and QUANTIZE and DEQUANTIZE stand
#: between formats.
_NOT_8: Final = frozenset({"CONV_3D", "DEQUANTIZE", "ONE_HOT", "QUANTIZE", "RELU_N1_TO_1"})
#: No int16 kernel among LiteRT's default or reference kernels, or a bad one: the tables of EXP, GELU and RSQRT are 26 to 109
#: steps off, PRELU gives nonsense, and so does SUM in the reference kernels.
_NOT_16: Final = frozenset(
    {
        "ARG_MAX", "ARG_MIN", "DEPTH_TO_SPACE", "ELU", "EXP", "GELU", "HARD_SWISH", "L2_NORMALIZATION", "LOG", "LOG_SOFTMAX",
        "PRELU", "RELU_0_TO_1", "RSQRT", "SPACE_TO_DEPTH", "SQUARED_DIFFERENCE", "SUM", "UNIDIRECTIONAL_SEQUENCE_LSTM",
    }
)
#: No int8 kernel in TensorFlow Lite Micro, or one that differs: its RELU6 clamps without requantizing, its SPACE_TO_BATCH_ND
#: pads with the stored 0. ELU and SUM it has, but LiteRT's reference kernels, which stand for it in measurements, have no ELU
#: and read SUM's int8 as uint8.
_NOT_ON_MCU: Final = frozenset(
    {
        "ELU", "EXP", "FILL", "GELU", "LOG", "RANK", "RELU6", "RELU_0_TO_1", "SELECT", "SPACE_TO_BATCH_ND", "SUM", "TILE",
        "TOPK_V2",
    }
)
#: The same for int16.
_NOT_ON_MCU_16: Final = frozenset(
    {
        "BATCH_TO_SPACE_ND", "EMBEDDING_LOOKUP", "FILL", "GATHER", "GATHER_ND", "MIRROR_PAD", "RANK", "REDUCE_MAX",
        "REDUCE_MIN", "RELU6", "RESIZE_BILINEAR", "SELECT", "SPACE_TO_BATCH_ND", "TILE", "TOPK_V2",
    }
)
#: int8 kernels that lie outside XNNPACK and are slower than a float island inside it, which is as exact or more so; how much
#: slower: bench/lowerings.py. AVERAGE_POOL_2D: what is no depthwise convolution, as windows over the border are not whole.
_FLOAT_INSIDE: Final = frozenset(
    {"AVERAGE_POOL_2D", "BATCH_MATMUL", "L2_NORMALIZATION", "RSQRT", "SOFTMAX", "SQUARED_DIFFERENCE"}
)
#: Kinds that TensorRT and OpenVINO compute in real numbers, whatever stands around them.
_NOT_IN_ONNX: Final = frozenset(
    {
        "ELU", "EXP", "GELU", "L2_NORMALIZATION", "LOG", "LOG_SOFTMAX", "LOGISTIC", "RSQRT", "SOFTMAX", "SQUARED_DIFFERENCE",
        "TANH", "UNIDIRECTIONAL_SEQUENCE_LSTM",
    }
)
_WEIGHTED: Final = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED"})
#: Kinds that cost about what a conversion to and from integers costs.
_LIGHT: Final = frozenset({"ABS", "ADD", "MAXIMUM", "MEAN", "MINIMUM", "MUL", "RSQRT", "SQUARED_DIFFERENCE", "SUB", "SUM"})
#: What PyTorch's compiler lowers to int8 kernels on x86, and what only moves integers; it makes one loop of other ops in float.
_IN_TORCH: Final = frozenset(
    {
        "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "EXPAND_DIMS", "FULLY_CONNECTED", "MAX_POOL_2D", "PAD", "RESHAPE",
        "SQUEEZE", "TRANSPOSE",
    }
)
# fmt: on


@final
@dataclass(frozen=True)
class Target:
    """One device class.

    ``lacks``: op kinds without a good int8 kernel; ``lacks16``: without an int16 kernel that takes int8 weights. ``hybrid``:
    kinds that take int8 weights with float activations; ``halved``: kinds that do so many times slower than in float32, and
    whose weights are float16 there. ``per_channel``: kinds whose weights may have a scale per output channel.
    ``int4``: kinds whose weights may be int4; depthwise weights stay int8, as they are few and lose most. ``int2``: kinds
    whose weights may be int2, four to a byte. ``hybrid4``, ``hybrid2``: kinds that take int4 or int2 weights with float
    activations, and ``hybrid4_biased`` those that take int4 with a bias only. ``decoded``: kinds
    whose weights may come of tables, which the runtime decodes as it runs.
    ``float_islands``: whether an op without an integer kernel may stay in float between DEQUANTIZE and QUANTIZE.
    ``float_inside``: kinds that stay in float though they have an int8 kernel, as it is slower; ``light``: kinds that an
    island of float takes in rather than convert before or after them (:mod:`intact.planning.islands`).
    ``kernels``: which LiteRT kernel set stands for the device in measurements. ``micro``: TensorFlow Lite Micro runs its
    files, and is asked about each before it is written. ``symmetric``: int8 activations have zero point 0. ``has``: the kinds
    that have int8 kernels, where they are few; empty: all but what it lacks. ``unrounded``: whether its sums need not be
    rounded where real numbers are read (:mod:`intact.planning.unrounded`). ``onnx_activations`` and ``onnx_bias``: how
    it likes the same integers in ONNX. ``exported``: what of ``intact export`` its runtime reads; empty: the .tflite
    itself. ``refuses``: schemes that its runtime has no kernels for, and why.
    """

    name: str
    summary: str
    kernels: Literal["default", "reference"]
    lacks: frozenset[str]
    lacks16: frozenset[str]
    hybrid: frozenset[str]
    per_channel: frozenset[str]
    int4: frozenset[str]
    float_islands: bool
    int2: frozenset[str] = frozenset()
    halved: frozenset[str] = frozenset()
    hybrid2: frozenset[str] = frozenset()
    hybrid4: frozenset[str] = frozenset()
    hybrid4_biased: frozenset[str] = frozenset()
    decoded: frozenset[str] = frozenset()
    float_inside: frozenset[str] = frozenset()
    light: frozenset[str] = frozenset()
    micro: bool = False
    symmetric: bool = False
    has: frozenset[str] = frozenset()
    unrounded: bool = False
    onnx_activations: Literal["int8", "uint8"] = "uint8"
    onnx_bias: Literal["int32", "float32"] = "int32"
    exported: Literal["", "onnx", "pytorch"] = ""
    refuses: Mapping[str, str] = field(default_factory=dict)

    def check(self, scheme: str) -> None:
        """OptionError where the runtime cannot run what ``scheme`` makes."""
        if named(scheme).weights in WIDE and not self.float_islands:
            raise OptionError(
                f"--scheme {scheme} is study only: no runtime has kernels for such weights beside 8-bit activations, and "
                f"--target {self.name} computes in integers alone; type --target cpu, where it is computed in float"
            )
        few = {"int4": self.hybrid4, "int2": self.hybrid2}
        if named(scheme).is_hybrid and not few.get(named(scheme).weights, True):
            raise OptionError(
                f"--scheme {scheme} cannot be had with --target {self.name}, which has no kernels for "
                f"{named(scheme).bits}-bit weights beside "
                f"real activations; type --scheme int8 for {self.name}, or --target cpu for {scheme}"
            )
        if scheme in self.refuses:
            raise OptionError(
                f"--scheme {scheme} cannot be had with --target {self.name}: {self.refuses[scheme]}; "
                f"type --scheme int8 for {self.name}, or --target cpu for {scheme}"
            )

    def kinds(self, activations: str) -> frozenset[str]:
        """The op kinds that compute on activations stored as ``activations``: those whose exact arithmetic is written down,
        which it is of kernels that are right (of the LSTM in TensorFlow Lite Micro alone), less those that the runtime lacks.
        """
        from intact.ops import INTEGER  # noqa: PLC0415  # loads torch, which options are understood without

        return (INTEGER & (self.has or INTEGER)) - {"int8": self.lacks, "int16": self.lacks16}[activations]


#: What ONNX's QDQ form comes to in runtimes that make integer kernels of it.
_BY_ONNX: Final = Target(
    name="openvino",
    summary="Intel's and other processors: OpenVINO, by way of ONNX",
    kernels="default",
    lacks=_NOT_8 | _NOT_IN_ONNX,
    lacks16=_NOT_8 | _NOT_16,
    hybrid=_WEIGHTED - {"TRANSPOSE_CONV"},
    per_channel=_WEIGHTED,
    int4=frozenset(),
    float_islands=True,
    light=_LIGHT,
    exported="onnx",
    refuses={
        "w4a8": "OpenVINO takes 4-bit weights beside real activations only",
        "int16x8": "OpenVINO has no kernels for 16-bit activations",
    },
)

TARGETS: Final[Mapping[str, Target]] = MappingProxyType(
    {
        target.name: target
        for target in (
            Target(
                name="cpu",
                summary="phones, boards and desktops: LiteRT with XNNPACK kernels",
                kernels="default",
                lacks=_NOT_8,
                lacks16=_NOT_8 | _NOT_16,
                hybrid=frozenset({"CONV_2D", "FULLY_CONNECTED"}),
                per_channel=frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED"}),
                int4=frozenset({"CONV_2D", "FULLY_CONNECTED"}),
                int2=frozenset({"FULLY_CONNECTED"}),
                float_islands=True,
                halved=frozenset({"DEPTHWISE_CONV_2D"}),
                hybrid2=frozenset({"FULLY_CONNECTED"}),
                hybrid4=frozenset({"CONV_2D", "FULLY_CONNECTED"}),
                hybrid4_biased=frozenset({"CONV_2D"}),
                float_inside=_FLOAT_INSIDE,
                light=_LIGHT,
            ),
            Target(
                name="mcu",
                summary="microcontrollers: TensorFlow Lite Micro, all in integers or all in float32",
                kernels="reference",
                lacks=_NOT_8 | _NOT_ON_MCU,
                lacks16=_NOT_8 | _NOT_16 | _NOT_ON_MCU_16,
                hybrid=frozenset(),
                # The newest kernels take int8 FULLY_CONNECTED per channel too (not int4); older ones in the field read the
                # first scale for all.
                per_channel=frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"}),
                int4=frozenset({"CONV_2D", "FULLY_CONNECTED"}),
                decoded=_WEIGHTED,
                float_islands=False,
                micro=True,
                # float32 it runs, as it is: the float network beside which an integer one is judged on the device.
                refuses={
                    "float16": "TensorFlow Lite Micro has no DEQUANTIZE of float16",
                    "dynamic": "TensorFlow Lite Micro has no kernels for int8 weights with float32 activations",
                    **dict.fromkeys(
                        ("clusters8", "clusters8-float"), "TensorFlow Lite Micro decodes indices of at most 7 bits"
                    ),
                },
            ),
            # These three read what intact export writes; the run's own figures are of the same integers in LiteRT.
            replace(
                _BY_ONNX,
                name="tensorrt",
                summary="NVIDIA's GPUs: TensorRT, by way of ONNX; int8 activations have zero point 0",
                symmetric=True,
                onnx_activations="int8",
                onnx_bias="float32",
                refuses={
                    "w4a8": "TensorRT takes 4-bit weights beside real activations only",
                    "int16x8": "TensorRT has no 16-bit integers",
                },
            ),
            _BY_ONNX,
            Target(
                name="pytorch",
                summary="x86 processors: PyTorch's compiler, by way of a .pt2",
                kernels="default",
                lacks=_NOT_8,
                lacks16=_NOT_8 | _NOT_16,
                has=_IN_TORCH,
                hybrid=_WEIGHTED - {"TRANSPOSE_CONV"},
                per_channel=_WEIGHTED,
                int4=frozenset(),
                float_islands=True,
                float_inside=frozenset({"SOFTMAX"}),
                unrounded=True,
                exported="pytorch",
                refuses={
                    "w4a8": "PyTorch's compiler has no kernels for 4-bit weights beside 8-bit activations",
                    "int16x8": "PyTorch's compiler has no kernels for 16-bit activations",
                },
            ),
        )
    }
)


def target(name: str) -> Target:
    """The target called ``name``; OptionError lists the names there are."""
    if name not in TARGETS:
        raise OptionError(f"no target is called {name!r}; type --target with one of: {', '.join(TARGETS)}")
    return TARGETS[name]
