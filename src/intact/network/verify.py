"""What must hold of every graph: a table of small rules, run after every read, after every pass and before every write."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final, TypeAlias

import numpy as np
import torch

from intact.errors import ModelError, located
from intact.network.graph import Graph, Op, Tensor
from intact.network.weighted import weighted
from intact.numbers.affine import Affine, Format, bias_format, limits
from intact.ops.base import Fixed, SameAsInput, Shape, as_tuple, infer_shapes

#: Batches that a graph is tried with: a dimension that is 2 by chance is not 5.
_BATCHES: Final = (2, 5)
#: Numbers in what an op reads and makes, up to which it is tried whether it keeps samples apart.
_WORTH_TRYING: Final = 1 << 20
_STORED: Final = {"int4": "int8"}


def verify(graph: Graph, *, kernels: bool = True) -> Graph:
    """``graph`` itself, or ModelError with the first rule it breaks, naming the op or tensor.

    Without ``kernels``, scales that contradict the kernels are let through, for a diagnosis to name.
    """
    for _, rule in RULES:
        for message in rule(graph) if kernels or rule is not _kernels_agree else ():
            raise ModelError(message)
    infer(graph)
    return graph


def infer(graph: Graph, batch: int = 1, *, recorded: bool = True) -> dict[int, Shape]:
    """The shape of every tensor when a symbolic batch is ``batch``, by computing on tensors without data.

    Raises ModelError when an op's inputs do not fit, or when a computed shape is not the recorded one (if ``recorded``).
    """
    return {i: tuple(v.shape) for i, v in infer_values(graph, batch, recorded=recorded).items()}


def infer_values(graph: Graph, batch: int = 1, *, recorded: bool = True) -> dict[int, torch.Tensor]:
    """Like :func:`infer`: float tensors without data, and integers (shapes, axes) with the values that the shapes give them."""
    values: dict[int, torch.Tensor] = {}
    for i, t in graph.tensors.items():
        if t.data is not None and not t.is_float and not isinstance(t.format, Affine):
            values[i] = torch.from_numpy(np.array(t.data))
        elif t.data is not None or i in graph.starts:
            values[i] = torch.empty(concrete(t, batch), device="meta", dtype=_meta_dtype(t.format))
    for op in graph.ops:
        with located(f"op {graph.label(op)}"):
            if unmade := [graph[i].name for i in op.reads if i not in values]:
                raise ModelError(f"reads {unmade[0]!r}, which nothing before it makes")
            inputs = [None if i is None else values[i] for i in op.inputs]
            known = any(x is not None and not x.is_meta for x in inputs) and all(x is None or not x.is_meta for x in inputs)
            if known and op.kind.repeatable:
                computed = op.kind.compute(*inputs)
                outputs = list(computed) if isinstance(computed, tuple) else [computed]
            else:
                outputs = _on_meta(graph, op, inputs)
            if len(outputs) != len(op.outputs):
                raise ModelError(f"has {len(op.outputs)} outputs where {len(outputs)} are computed")
            for i, y in zip(op.outputs, outputs, strict=True):
                wanted = concrete(graph[i], batch)
                if recorded and tuple(y.shape) != wanted:
                    raise ModelError(f"computes shape {list(y.shape)}, but {graph[i].name!r} is recorded as {list(wanted)}")
                values[i] = y
    return values


def open_batch(graph: Graph) -> Graph:
    """``graph`` with axis 0 symbolic wherever it follows the batch of inputs whose leading dimension is 1.

    Only when every op fits a larger batch, no other dimension changes with it and no op takes samples together, such as a
    mean over axis 0 or a reversal of it; else ``graph`` as it is.
    """
    if graph.states or all(graph[i].shape[:1] == (None,) for i in graph.inputs):
        return graph
    inputs = [replace(graph[i], shape=(None, *graph[i].shape[1:])) for i in graph.inputs if graph[i].shape[:1] == (1,)]
    if len(inputs) != len(graph.inputs):
        return graph
    opened = replace(graph, tensors={**graph.tensors, **{t.id: t for t in inputs}})
    try:
        values, *larger = (infer_values(opened, n, recorded=False) for n in (1, *_BATCHES))
    except ModelError:
        return graph
    one = {i: tuple(v.shape) for i, v in values.items()}
    moves = {i for i in one if one[i] != tuple(larger[0][i].shape)}
    for n, made in zip(_BATCHES, larger, strict=True):
        if any((one[i][:1], tuple(made[i].shape)) != ((1,), (n, *one[i][1:])) for i in moves):
            return graph
    computed = {i for op in graph.ops if moves.intersection(op.reads) for i in op.outputs if values[i].is_meta}
    if not moves.issuperset(graph.outputs) or not computed <= moves:
        return graph
    if not all(_keeps_apart(op, moves, values, larger[0]) for op in graph.ops if moves.intersection(op.reads)):
        return graph
    return replace(
        graph, tensors={i: replace(t, shape=(None, *t.shape[1:])) if i in moves else t for i, t in graph.tensors.items()}
    )


def _keeps_apart(op: Op, moves: set[int], one: Mapping[int, torch.Tensor], larger: Mapping[int, torch.Tensor]) -> bool:
    """Whether row n of what the op makes of a larger batch is what it makes of sample n alone.

    Sizes tell of all ops but those that can name an axis, or take a vector for one: these are tried on random numbers. Of huge
    tensors the sizes have to do.
    """
    names_an_axis = bool({"axis", "axes"} & vars(op.kind).keys()) or any(not one[i].is_meta for i in op.reads)
    flat = any(i in moves and one[i].dim() == 1 for i in op.reads)
    size = sum(larger[i].numel() for i in (*op.reads, *op.outputs))
    if not (names_an_axis or flat) or not op.kind.repeatable or size > _WORTH_TRYING or not one[op.output].is_meta:
        return True
    draw = torch.Generator().manual_seed(0)
    together = {i: _numbers(larger[i], draw) for i in op.reads}
    alone = [
        together | {i: together[i][n : n + 1] if i in moves else together[i] if one[i].is_meta else one[i] for i in op.reads}
        for n in range(_BATCHES[0])
    ]
    try:
        whole, *rows = (
            as_tuple(op.kind.compute(*(None if i is None else given[i] for i in op.inputs))) for given in (together, *alone)
        )
    except (ModelError, RuntimeError, IndexError, ValueError):
        return False
    return all(_alike(y, torch.cat(parts)) for y, *parts in zip(whole, *rows, strict=True))


def _alike(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.equal(a, b) or torch.allclose(a.double(), b.double(), equal_nan=True)  # equal is far faster


def _numbers(x: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
    """What a tensor may hold: what it does hold where that is known, else random numbers, and zeros for indices."""
    if not x.is_meta:
        return x
    return torch.rand(x.shape, generator=draw) if x.is_floating_point() else torch.zeros(x.shape, dtype=x.dtype)


def concrete(tensor: Tensor, batch: int = 1) -> Shape:
    """The tensor's shape with a symbolic batch filled in."""
    return tuple(batch if n is None else n for n in tensor.shape)


def _on_meta(graph: Graph, op: Op, inputs: list[torch.Tensor | None]) -> list[torch.Tensor]:
    # Floats that stem from shapes, and bools, which are masks, are known; beside tensors without data their shape counts.
    inputs = [x.to("meta") if x is not None and (_is_value(x) or not op.kind.repeatable) else x for x in inputs]
    if op.kind.of_shapes:
        return list(as_tuple(op.kind.compute(*inputs)))
    shapes = infer_shapes(op.kind, inputs)
    dtypes = (_meta_dtype(graph[i].format) for i in op.outputs)
    return [torch.empty(shape, device="meta", dtype=dtype) for shape, dtype in zip(shapes, dtypes, strict=False)]


def _is_value(x: torch.Tensor) -> bool:
    return x.is_floating_point() or x.dtype == torch.bool


def _meta_dtype(fmt: Format) -> torch.dtype:
    return torch.float32 if isinstance(fmt, Affine) or fmt.dtype.startswith("float") else getattr(torch, fmt.dtype)


# ---- the rules ----------------------------------------------------------------------------------------------------------

Rule: TypeAlias = Callable[[Graph], Iterator[str]]


def _ids_are_known(graph: Graph) -> Iterator[str]:
    for i in (*graph.starts, *graph.ends, *(i for op in graph.ops for i in (*op.reads, *op.outputs))):
        if i not in graph.tensors:
            yield f"tensor {i} is used and does not exist"
    for i, t in graph.tensors.items():
        if i != t.id:
            yield f"tensor {t.id} is filed under {i}"


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


def _formats_are_valid(graph: Graph) -> Iterator[str]:
    for t in graph.tensors.values():
        if not isinstance(t.format, Affine):
            continue
        low, high = limits(t.format.dtype)
        if not all(np.isfinite(s) and s > 0 for s in t.format.scale):
            yield f"tensor {t.name!r} has a scale that is not a positive number"
        if not all(low <= z <= high for z in t.format.zero_point):
            yield f"tensor {t.name!r} has a zero point outside {t.format.dtype}"
        axis = t.format.axis
        if axis is not None and (axis not in range(len(t.shape)) or t.shape[axis] != len(t.format.scale)):
            yield f"tensor {t.name!r} of shape {list(t.shape)} has {len(t.format.scale)} scales along axis {axis}"


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
        wanted = np.asarray(bias_format(fx, fw).scale)
        if len(fb.scale) != len(wanted) or not np.allclose(fb.scale, wanted, rtol=1e-5, atol=0):
            yield f"op {graph.label(op)} has a bias whose scale is not scale_in * scale_weight"


RULES: Final[tuple[tuple[str, Rule], ...]] = (
    ("ids are known", _ids_are_known),
    ("only the batch is open", _batch_is_axis_0),
    ("ops are in order", _ops_are_in_order),
    ("constants hold what they say", _constants_hold_what_they_say),
    ("states fit", _states_fit),
    ("formats are valid", _formats_are_valid),
    ("kernels agree", _kernels_agree),
)
