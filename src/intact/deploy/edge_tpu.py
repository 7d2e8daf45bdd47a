"""What would run on an Edge TPU, by its documentation alone: nothing is compiled or measured.

Source: Coral, TensorFlow models on the Edge TPU, "Model requirements" and table "All operations supported by the Edge TPU".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Final, final

from intact.network.graph import Graph, Op
from intact.network.shapes import infer
from intact.numbers.affine import Affine, Float
from intact.ops.call import Shape

SOURCE: Final = "Coral, TensorFlow models on the Edge TPU: model requirements and supported operations"
_RESIZED: Final = "three dimensions at most; by its size it may stay on the CPU, to keep precision"
#: Kinds whose fused activation the documentation excludes.
_UNFUSED: Final = frozenset({"AVERAGE_POOL_2D", "MAX_POOL_2D", "CONCATENATION"})
_SOFTMAX: Final = 16_000
_DIMENSIONS: Final = 3
_DTYPES: Final = frozenset({"int8", "uint8"})

_WITHOUT_LIMITS: Final = (
    "ADD EXPAND_DIMS L2_NORMALIZATION LOGISTIC MAXIMUM MINIMUM MUL RELU RELU6 RELU_N1_TO_1 QUANTIZE RSQRT SLICE SOFTMAX "
    "SPACE_TO_DEPTH SQUARED_DIFFERENCE SUB TANH TRANSPOSE TRANSPOSE_CONV AVERAGE_POOL_2D MAX_POOL_2D"
)
#: The documented ops, by kind, each with those limits that are told and not checked here.
OPS: Final[Mapping[str, str]] = MappingProxyType(
    {
        **dict.fromkeys(_WITHOUT_LIMITS.split(), ""),
        "CONCATENATION": "a constant among its inputs must be all zeros, and of two",
        "CONV_2D": "one dilation for both axes",
        "DEPTHWISE_CONV_2D": "one dilation for both axes",
        "FULLY_CONNECTED": "weights in the default layout, an output of one dimension",
        "MEAN": "not over the batch; over channels only where they are a multiple of 4",
        "PACK": "not along the batch",
        "PAD": "not of the batch",
        "PRELU": "one slope a channel",
        "REDUCE_MAX": "not over the batch",
        "REDUCE_MIN": "not over the batch",
        "RESHAPE": "large tensors may stay on the CPU",
        "RESIZE_BILINEAR": _RESIZED,
        "RESIZE_NEAREST_NEIGHBOR": _RESIZED,
        "SPLIT": "not along the batch",
        "SQUEEZE": "only dimensions at the front",
        "STRIDED_SLICE": "strides of 1, no ellipsis and no new axis",
        "SUM": "not over the batch",
        "UNIDIRECTIONAL_SEQUENCE_LSTM": "",
    }
)


@final
@dataclass(frozen=True)
class Fallback:
    """An op that would run on the CPU, and why."""

    op: str
    why: str


@final
@dataclass(frozen=True)
class ByDocument:
    """Ops that would run there and ops that would not, in order; ``limits``: what else is said of the kinds that would."""

    runs: tuple[str, ...]
    cpu: tuple[Fallback, ...]
    limits: Mapping[str, str]


def by_document(graph: Graph) -> ByDocument:
    """Which ops of ``graph`` the documentation lets run on an Edge TPU.

    Its compiler divides a network once: what stands behind the first op that cannot run there stays on the CPU too.
    """
    shapes = infer(graph)
    runs, cpu, limits = list[str](), list[Fallback](), dict[str, str]()
    for op in graph.ops:
        why = _refused(graph, op, shapes)
        if not why and cpu:
            why = f"stands behind {cpu[0].op}, and a network is divided once"
        if why:
            cpu.append(Fallback(graph.label(op), why))
            continue
        runs.append(graph.label(op))
        if OPS[op.kind.name]:
            limits[op.kind.name] = OPS[op.kind.name]
    return ByDocument(tuple(runs), tuple(cpu), MappingProxyType(limits))


def _refused(graph: Graph, op: Op, shapes: Mapping[int, Shape]) -> str:
    """Why an op cannot run there; empty where nothing says so."""
    if op.kind.name not in OPS:
        return f"{op.kind.name} is not in the table"
    tensors = [graph[i] for i in (*op.reads, *op.outputs)]
    for t in tensors:
        is_bias = t.is_constant and t.format.dtype == "int32"
        if isinstance(t.format, Affine | Float) and t.format.dtype not in _DTYPES and not is_bias:
            return f"{t.format.dtype} numbers; all must be int8"
    flowing = [shapes[t.id] for t in tensors if not t.is_constant]
    if any(prod(shape[:-_DIMENSIONS]) > 1 for shape in flowing):
        return f"more than its innermost {_DIMENSIONS} dimensions are larger than 1"
    _, fused = op.kind.unfused()
    if op.kind.name in _UNFUSED and fused != "none":
        return f"a fused {fused}"
    made = shapes[op.output]
    if op.kind.name == "SOFTMAX" and (prod(made[:-1]) > 1 or made[-1] > _SOFTMAX):
        return f"a softmax over more than one dimension or {_SOFTMAX:,} elements"
    return ""
