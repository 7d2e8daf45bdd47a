"""How a target likes an op spelled: float-preserving rewrites before calibration, by (target, activations, op kind)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from math import prod
from typing import Final, TypeAlias

import numpy as np

from intact.network.graph import Graph, Op, Tensor, constant, rebuild
from intact.network.shapes import concrete
from intact.network.verify import verify
from intact.network.weighted import weighted
from intact.numbers.affine import Index
from intact.ops.activation import Abs, HardSwish, LeakyRelu, Neg, PRelu, Relu, Relu6, ReluN1To1
from intact.ops.base import same_padding
from intact.ops.call import Activation
from intact.ops.convolution import DepthwiseConv2D
from intact.ops.elementwise import Add, Mul, SquaredDifference, Sub
from intact.ops.logic import Select, SelectV2
from intact.ops.pooling import AveragePool2D
from intact.ops.reduction import ArgMax, ArgMin, Mean, Sum
from intact.ops.shaping import Concatenation, MirrorPad, Reshape, StridedSlice, Tile, Transpose
from intact.rewrite.fuse import fuse_cells
from intact.rewrite.move_ops import (
    concatenation_in_parts,
    mirror_as_slices,
    select_as_sum,
    select_as_v2,
    slice_as_pool,
    tile_as_concatenation,
    transpose_within,
)
from intact.rewrite.table import REWRITES
from intact.rewrite.view import View

#: Given the graph, an op and a free tensor id: the ops in its place, and the tensors they need.
Lowering: TypeAlias = Callable[[Graph, Op, int], tuple[list[Op], list[Tensor]]]


def _hard_swish(graph: Graph, op: Op, free: int) -> tuple[list[Op], list[Tensor]]:
    """``x * relu6(x + 3) / 6`` as ADD with a fused RELU6, MUL by 1/6, MUL by x."""
    out, x = graph[op.output], op.inputs[0]
    three = constant(free, np.asarray(3.0, np.float32), like=out, name=f"three{free}", made_by="lower")
    sixth = constant(free + 1, np.asarray(1 / 6, np.float32), like=out, name=f"sixth{free}", made_by="lower")
    shifted = replace(out, id=free + 2, name=f"{out.name}/relu6", made_by="lower")
    gate = replace(out, id=free + 3, name=f"{out.name}/gate", made_by="lower")
    ops = [
        Op(Add("relu6"), (x, three.id), (shifted.id,)),
        Op(Mul(), (shifted.id, sixth.id), (gate.id,)),
        Op(Mul(), (x, gate.id), op.outputs),
    ]
    return ops, [three, sixth, shifted, gate]


def _negate(graph: Graph, op: Op, free: int) -> tuple[list[Op], list[Tensor]]:
    """``-x`` as MUL by -1."""
    minus = constant(free, np.asarray(-1.0, np.float32), like=graph[op.output], name=f"minus{free}", made_by="lower")
    return [Op(Mul(), (op.inputs[0], minus.id), op.outputs)], [minus]


def _squared_difference(graph: Graph, op: Op, free: int) -> tuple[list[Op], list[Tensor]]:
    """``(a - b)^2`` as SUB and MUL of the difference by itself."""
    out = graph[op.output]
    difference = replace(out, id=free, name=f"{out.name}/difference", made_by="lower")
    return [Op(Sub(), op.inputs, (free,)), Op(Mul(), (free, free), op.outputs)], [difference]


def _clamp(activation: Activation) -> Lowering:
    """A clamp by itself as ADD of 0 with the clamp fused."""

    def lowering(graph: Graph, op: Op, free: int) -> tuple[list[Op], list[Tensor]]:
        zero = constant(free, np.asarray(0.0, np.float32), like=graph[op.output], name=f"zero{free}", made_by="lower")
        return [Op(Add(activation), (op.inputs[0], zero.id), op.outputs)], [zero]

    return lowering


def _sum(graph: Graph, op: Op, free: int) -> tuple[list[Op], list[Tensor]]:
    """A sum over k elements as k times their MEAN."""
    out, x = graph[op.output], graph.operand(op, 0)
    if not isinstance(op.kind, Sum):
        raise TypeError(op.kind.name)
    count = prod(concrete(x)) // max(prod(concrete(out)), 1)
    factor = constant(free, np.asarray(count, np.float32), like=out, name=f"count{free}", made_by="lower")
    mean = replace(out, id=free + 1, name=f"{out.name}/mean", made_by="lower")
    ops = [Op(Mean(op.kind.keep_dims), op.inputs, (mean.id,)), Op(Mul(), (mean.id, factor.id), op.outputs)]
    return ops, [factor, mean]


def _short_index(graph: Graph, op: Op, free: int) -> tuple[list[Op], list[Tensor]]:
    """ARG_MAX and ARG_MIN as int32: microcontrollers' kernels give nothing else."""
    del free
    if not isinstance(op.kind, (ArgMax, ArgMin)):
        raise TypeError(op.kind.name)
    if op.kind.dtype == "int32":
        return [op], []
    return [replace(op, kind=replace(op.kind, dtype="int32"))], [replace(graph[op.output], format=Index("int32"))]


def _average_pool(graph: Graph, op: Op, free: int) -> tuple[list[Op], list[Tensor]]:
    """An average pool whose windows are all whole as a depthwise convolution with weights 1/k."""
    kind, x, out = op.kind, graph.operand(op, 0), graph[op.output]
    if not isinstance(kind, AveragePool2D):
        raise TypeError(op.kind.name)
    height, width = kind.filter
    pads = [same_padding(concrete(x)[1 + a], kind.filter[a], kind.stride[a], 1) for a in (0, 1)]
    if kind.padding == "same" and any(before or after for before, after in pads):
        return [op], []  # a window over the border has fewer elements: its weights would differ
    weights = np.full((1, height, width, concrete(x)[3]), 1 / (height * width), np.float32)
    weight = constant(free, weights, like=out, name=f"mean{free}", made_by="lower")
    convolution = DepthwiseConv2D(kind.stride, "valid", activation=kind.activation)
    return [Op(convolution, (x.id, weight.id, None), op.outputs)], [weight]


def _prelu(depthwise: bool, graph: Graph, op: Op, free: int) -> tuple[list[Op], list[Tensor]]:
    """``x + relu((a - 1) x)`` where a < 1, ``x - relu((1 - a) x)`` where a > 1; a LEAKY_RELU where a is one number.

    ``depthwise``: the products are a convolution of one element, whose weights have a scale per channel.
    """
    x, out, alpha = graph.operand(op, 0).id, graph[op.output], graph.operand(op, 1).data
    if alpha is None:
        return [op], []
    if (alpha == alpha.flat[0]).all():
        return [Op(LeakyRelu(float(alpha.flat[0])), (x,), op.outputs)], []
    channels = concrete(out)[-1]
    per_channel = depthwise and len(out.shape) == 4 and alpha.shape[-1] == alpha.size == channels
    steps = [(Add(), np.minimum(alpha - 1, 0)), (Sub(), np.minimum(1 - alpha, 0))]
    ops, tensors, at = list[Op](), list[Tensor](), x
    for kind, factor in ((kind, factor) for kind, factor in steps if factor.any()):
        data = factor.reshape(1, 1, 1, -1) if per_channel else factor
        free_now = free + len(tensors)
        weight = constant(free_now, data.astype(np.float32), like=out, name=f"slope{free_now}", made_by="lower")
        below = replace(out, id=free_now + 1, name=f"{out.name}/below{free_now}", made_by="lower")
        together = replace(out, id=free_now + 2, name=f"{out.name}/sum{free_now}", made_by="lower")
        scale = DepthwiseConv2D(activation="relu") if per_channel else Mul("relu")
        ops += [
            Op(scale, (x, weight.id, None) if per_channel else (x, weight.id), (below.id,)),
            Op(kind, (at, below.id), (together.id,)),
        ]
        tensors += [weight, below, together]
        at = together.id
    return [*ops[:-1], replace(ops[-1], outputs=op.outputs)], tensors[:-1]


def _absolute(graph: Graph, op: Op, free: int) -> tuple[list[Op], list[Tensor]]:
    """``|x|`` as LEAKY_RELU of slope -1."""
    del graph, free
    return [replace(op, kind=LeakyRelu(-1.0))], []


#: XNNPACK's int8 ops are fewer than LiteRT's: any other ends a delegate partition, which costs more than the op itself.
#: What each row is worth: bench/lowerings.py.
LOWERINGS: Final[Mapping[tuple[str, str, str], Lowering]] = {
    ("cpu", "int8", HardSwish.name): _hard_swish,
    ("cpu", "int8", Relu.name): _clamp("relu"),
    ("cpu", "int8", Relu6.name): _clamp("relu6"),
    ("cpu", "int8", ReluN1To1.name): _clamp("relu_n1_to_1"),
    ("cpu", "int8", AveragePool2D.name): _average_pool,
    ("cpu", "int8", PRelu.name): partial(_prelu, True),
    ("cpu", "int8", Abs.name): _absolute,
    ("cpu", "int8", StridedSlice.name): slice_as_pool,
    ("cpu", "int8", MirrorPad.name): mirror_as_slices,
    # No runtime has an int8 NEG. A float island is as fast on a CPU; a microcontroller has none.
    ("mcu", "int8", Neg.name): _negate,
    ("mcu", "int8", Relu6.name): _clamp("relu6"),
    ("mcu", "int8", ReluN1To1.name): _clamp("relu_n1_to_1"),
    ("mcu", "int8", Sum.name): _sum,
    ("mcu", "int8", ArgMax.name): _short_index,
    ("mcu", "int8", ArgMin.name): _short_index,
    # No runtime has these for int16 as they are, or TensorFlow Lite Micro's RELU6 clamps without requantizing.
    **{
        (target, "int16", kind): lowering
        for target in ("cpu", "mcu")
        for kind, lowering in (
            (HardSwish.name, _hard_swish),
            (ReluN1To1.name, _clamp("relu_n1_to_1")),
            (Neg.name, _negate),
            (Sum.name, _sum),
            (SquaredDifference.name, _squared_difference),
            (PRelu.name, partial(_prelu, False)),
        )
    },
    ("mcu", "int16", Relu6.name): _clamp("relu6"),
    # How many axes the kernels of TRANSPOSE take, and moves that TensorFlow Lite Micro has no kernels for.
    **{
        (target, stored, Transpose.name): partial(transpose_within, 6)
        for target in ("cpu", "tensorrt", "openvino", "pytorch")
        for stored in ("float32", "int8", "int16")
    },
    **{
        ("mcu", stored, kind): lowering
        for stored in ("float32", "int8", "int16")
        for kind, lowering in (
            (Transpose.name, partial(transpose_within, 5)),
            (Tile.name, tile_as_concatenation),
            (Concatenation.name, concatenation_in_parts),
            (Select.name, select_as_v2),
            (SelectV2.name, select_as_sum),
        )
    },
}


def lower(graph: Graph, target: str, activations: str) -> Graph:
    """``graph`` as ``target`` likes it for activations stored as ``activations`` (``"int8"``, ``"float32"``)."""
    graph = fuse_cells(graph) if activations == "int8" and graph.states else graph
    ops: list[Op] = []
    made: list[Tensor] = []
    touched: set[int] = set()
    for op in graph.ops:
        lowering = LOWERINGS.get((target, activations, op.kind.name))
        new_ops, tensors = ([op], []) if lowering is None else lowering(graph, op, graph.next_id + len(made))
        ops += new_ops
        made += tensors
        touched.update(() if new_ops == [op] else (*op.outputs, *(t.id for t in tensors)))
    lowered = _tidy(rebuild(graph, ops, made), touched)
    return verify(lowered if activations == "float32" else _with_biases(lowered))


def _tidy(graph: Graph, touched: set[int]) -> Graph:
    """Without the RESHAPEs between which a lowering has put its own."""
    view = View(graph)
    for op in graph.ops:
        if isinstance(op.kind, Reshape) and touched.intersection((*op.reads, *op.outputs)):
            for name in ("merge reshapes", "drop identity"):
                changed = REWRITES[name](view, op)
                if changed is not None:
                    return _tidy(changed, touched)
    return graph


def _with_biases(graph: Graph) -> Graph:
    """Zeros for every bias that is left out: the int8 kernels of CONV_2D insist on one, and remedies correct it."""
    ops, made = list[Op](), list[Tensor]()
    for op in graph.ops:
        found = weighted(graph, op)
        if found is None or found.bias is not None:
            ops.append(op)
            continue
        zeros, free = np.zeros(concrete(found.weight)[found.axis], np.float32), graph.next_id + len(made)
        made.append(constant(free, zeros, like=found.weight, name=f"bias{free}", made_by="lower"))
        ops.append(found.with_bias(free))
    return rebuild(graph, ops, made)
