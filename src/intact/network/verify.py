"""What must hold of every graph: a table of small rules, run after every read, after every pass and before every write."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from math import prod
from typing import Final, TypeAlias

import numpy as np

from intact.errors import ModelError
from intact.network.graph import Graph, Op
from intact.network.shapes import concrete, infer
from intact.network.weighted import weighted
from intact.numbers.affine import BIASES, PACKED, Affine, Index, bias_format, limits
from intact.ops.base import Fixed, SameAsInput
from intact.ops.call import LARGEST

_STORED: Final = dict.fromkeys(PACKED, "int8")


def verify(graph: Graph, *, kernels: bool = True) -> Graph:
    """``graph`` itself, or ModelError with the first rule it breaks, naming the op or tensor.

    Without ``kernels``, scales that contradict the kernels are let through, for a diagnosis to name.
    """
    _obey(graph, (rule for _, rule in RULES if kernels or rule is not _kernels_agree))
    infer(graph)
    return graph


def well_formed(graph: Graph) -> Graph:
    """``graph`` itself, or ModelError with what keeps anything from being asked of it, such as its shapes."""
    _obey(graph, _STRUCTURE)
    return graph


def _obey(graph: Graph, rules: Iterable[Rule]) -> None:
    for rule in rules:
        for message in rule(graph):
            raise ModelError(message)


# ---- the rules ----------------------------------------------------------------------------------------------------------

Rule: TypeAlias = Callable[[Graph], Iterator[str]]


def _ids_are_known(graph: Graph) -> Iterator[str]:
    for i in (*graph.starts, *graph.ends, *(i for op in graph.ops for i in (*op.reads, *op.outputs))):
        if i not in graph.tensors:
            yield f"tensor {i} is used and does not exist"
    for i, t in graph.tensors.items():
        if i != t.id:
            yield f"tensor {t.id} is filed under {i}"
    for signature in graph.signatures:
        for (name, i), ends in [(p, graph.inputs) for p in signature.inputs] + [(p, graph.outputs) for p in signature.outputs]:
            if i not in ends:
                side = "input" if ends is graph.inputs else "output"
                yield f"signature {signature.key!r} calls {name!r} an {side}, which is none of the network's"


def _ends_are_told_apart(graph: Graph) -> Iterator[str]:
    """Samples and results go by name."""
    for side, names in (("inputs", graph.input_names), ("outputs", graph.output_names)):
        for name, count in Counter(names).items():
            if count > 1:
                yield f"{count} {side} are called {name!r}; export the model again with a name for each"
    for i in graph.inputs:
        if graph[i].is_constant:
            yield f"input {graph[i].name!r} is a constant"


def _operands_are_there(graph: Graph) -> Iterator[str]:
    """No op reads more than its kind has a use for, nor less than it needs."""
    for op in graph.ops:
        if not op.outputs:
            yield f"an op {op.kind.name} makes nothing"
            continue
        least, most = op.kind.takes
        count = len(op.inputs)
        if not least <= count <= most:
            wanted = f"{least}" if least == most else f"{least} to {most}"
            yield f"op {graph.label(op)} reads {count} tensors, and {op.kind.name} takes {wanted}"


def _sizes_are_possible(graph: Graph) -> Iterator[str]:
    """No tensor is larger than any device could hold, and none that is computed is empty: nothing could be learned of it.

    How much an op gives that we do not know may depend on the numbers, so that nothing behind one has a size that is certain.
    """
    unsure = set[int]()
    for op in graph.ops:
        if op.kind.unknown or unsure.intersection(op.reads):
            unsure.update(op.outputs)
    for t in graph.tensors.values():
        shape = concrete(t)
        if not t.is_constant and prod(shape) > LARGEST:
            yield f"tensor {t.name!r} of shape {list(t.shape)} is larger than any device could hold"
        if 0 in shape and t.id not in unsure and not (t.is_constant and isinstance(t.format, Index)):
            yield f"tensor {t.name!r} of shape {list(t.shape)} holds no numbers"


def _ops_are_in_order(graph: Graph) -> Iterator[str]:
    ready = set(graph.starts) | {t.id for t in graph.constants()}
    for op in graph.ops:
        for i in op.reads:
            if i not in ready:
                yield f"op {graph.label(op)} reads {graph[i].name!r} before anything makes it"
        for i in op.outputs:
            if i in ready:
                yield f"op {graph.label(op)} writes {graph[i].name!r}, which something else already holds"
            ready.add(i)
    for i in graph.ends:
        if i not in ready:
            yield f"output {graph[i].name!r} is made by nothing"


def _states_fit(graph: Graph) -> Iterator[str]:
    """A state holds one kind of value: what is kept is what is read, and what it begins as."""
    for state in graph.states:
        read, write = graph[state.read], graph[state.write]
        if read.is_constant or state.read in graph.inputs:
            yield f"state {state.name!r} is read from {read.name!r}, which is something else"
        if concrete(read) != concrete(write) or read.format != write.format:
            kept = f"{write.format} {list(write.shape)}"
            yield f"state {state.name!r} is read as {read.format} {list(read.shape)} and kept as {kept}"
        if tuple(state.initial.shape) != concrete(read):
            yield f"state {state.name!r} of shape {list(read.shape)} begins with {list(state.initial.shape)}"


def _constants_hold_what_they_say(graph: Graph) -> Iterator[str]:
    damaged = {i for op in graph.ops if not op.kind.takes_infinity for i in op.reads}
    for t in graph.constants():
        data = np.asarray(t.data)
        stored = _STORED.get(t.format.dtype, t.format.dtype)
        if tuple(data.shape) != t.shape or str(data.dtype) != stored:
            yield f"constant {t.name!r} holds {data.dtype} {list(data.shape)} and says {t.format.dtype} {list(t.shape)}"
        elif data.dtype.kind == "f" and (np.isnan(data) | (np.isinf(data) & (t.id in damaged and data.size > 1))).any():
            count = int((~np.isfinite(data)).sum())
            yield f"weight {t.origin!r} holds {count} values that are NaN or infinite; train or export the model again"


def _weights_fit(graph: Graph) -> Iterator[str]:
    """The input channels of a weight are its data's; its output channels the bias's and the output's. Source: the ENSUREs of
    LiteRT conv.cc, depthwise_conv.cc (whose multiplier is what the sizes say), fully_connected.cc and transpose_conv.cc.
    """
    for op in graph.ops:
        found = weighted(graph, op)
        if found is None:
            if op.kind.weight is not None and _operands(op) > 1:
                yield f"op {graph.label(op)} reads whole numbers where it multiplies real ones by its weight"
            continue
        (w, x, y), what = (concrete(t) for t in (found.weight, found.data, graph[op.output])), f"op {graph.label(op)}"
        if not found.takes_its_data:
            yield f"{what} reads data of shape {list(x)}, whose channels do not fit its weight of shape {list(w)}"
            continue
        made = f"its weight of shape {list(w)} makes {w[found.axis]} channels, along axis {found.axis}"
        if found.bias is not None and prod(concrete(found.bias)) != w[found.axis]:
            yield f"{what} has a bias of shape {list(found.bias.shape)}, and {made}"
        if y[-1:] != (w[found.axis],):
            yield f"{what} is recorded as giving shape {list(y)}, and {made}"


def _operands(op: Op) -> int:
    """How many inputs are there of an op with a weight, without its bias."""
    bias = None if op.kind.weight is None else op.kind.weight.bias
    return sum(i is not None and n != bias for n, i in enumerate(op.inputs))


def _formats_are_valid(graph: Graph) -> Iterator[str]:
    for t in graph.tensors.values():
        if not isinstance(t.format, Affine):
            continue
        low, high = limits(t.format.dtype)
        scale, zero_point = np.asarray(t.format.scale), np.asarray(t.format.zero_point)
        if not (np.isfinite(scale) & (scale > 0)).all():
            yield f"tensor {t.name!r} has a scale that is not a positive number"
        if not ((low <= zero_point) & (zero_point <= high)).all():
            yield f"tensor {t.name!r} has a zero point outside {t.format.dtype}"
        axis = t.format.axis
        if axis is not None and (axis not in range(len(t.shape)) or t.shape[axis] != len(t.format.scale)):
            yield f"tensor {t.name!r} of shape {list(t.shape)} has {len(t.format.scale)} scales along axis {axis}"
        own = t.format.block_scales
        if own is not None and not (own.fits(t.shape) and t.is_constant):
            yield f"tensor {t.name!r} of shape {list(t.shape)} has {own.count} scales, one for each {own.size} numbers"


def _batch_is_axis_0(graph: Graph) -> Iterator[str]:
    for t in graph.tensors.values():
        if None in t.shape[1:] or any(n is not None and n < 0 for n in t.shape):
            yield f"tensor {t.name!r} has shape {list(t.shape)}; only the first dimension may be open"


def _kernels_agree(graph: Graph) -> Iterator[str]:
    """SameAsInput ops share one format, Fixed ops have theirs, biases count in scale_in * scale_weight."""
    for op in graph.ops:
        formats = {i: graph[i].format for i in (*op.reads, *op.outputs) if isinstance(graph[i].format, Affine)}
        rule, out = op.kind.range_rule, formats.get(op.output)
        if isinstance(rule, SameAsInput) and out is not None and len(set(formats.values())) > 1:
            yield f"op {graph.label(op)} needs one scale and zero point for its inputs and output"
        if isinstance(rule, Fixed) and isinstance(out, Affine):
            wanted = rule.by_dtype.get(out.dtype)
            if wanted is not None and wanted != (out.scale[0], out.zero_point[0]):
                held = f"[{out.range[0]:g}, {out.range[1]:g}]"
                yield f"op {graph.label(op)} must give scale {wanted[0]:g} and zero point {wanted[1]}, but holds {held}"
        yield from _bias_fits(graph, op)


def _bias_fits(graph: Graph, op: Op) -> Iterator[str]:
    found = weighted(graph, op)
    if found is None or found.bias is None or (found.bias.is_constant and not np.any(found.bias.data)):
        return  # zeros are zeros in any unit, and TensorFlow's converter lets ops share them
    fx, fw, fb = found.data.format, found.weight.format, found.bias.format
    if isinstance(fx, Affine) and isinstance(fw, Affine) and isinstance(fb, Affine):
        if fx.dtype not in BIASES:
            yield f"op {graph.label(op)} reads real numbers stored as {fx.dtype}, which no kernel adds a bias to"
            return
        wanted = np.asarray(bias_format(fx, fw).scale)
        if len(fb.scale) != len(wanted) or not np.allclose(fb.scale, wanted, rtol=1e-5, atol=0):
            yield f"op {graph.label(op)} has a bias whose scale is not scale_in * scale_weight"


RULES: Final[tuple[tuple[str, Rule], ...]] = (
    ("ids are known", _ids_are_known),
    ("operands are there", _operands_are_there),
    ("only the batch is open", _batch_is_axis_0),
    ("sizes are possible", _sizes_are_possible),
    ("ends are told apart", _ends_are_told_apart),
    ("ops are in order", _ops_are_in_order),
    ("constants hold what they say", _constants_hold_what_they_say),
    ("states fit", _states_fit),
    ("weights fit", _weights_fit),
    ("formats are valid", _formats_are_valid),
    ("kernels agree", _kernels_agree),
)
#: What must hold before shapes are inferred or anything is computed.
_STRUCTURE: Final = (
    _ids_are_known,
    _operands_are_there,
    _batch_is_axis_0,
    _sizes_are_possible,
    _ends_are_told_apart,
    _ops_are_in_order,
)
