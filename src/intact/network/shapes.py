"""The shape of every tensor, read off the ops themselves on tensors without data; and whether a graph takes any batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np
import torch

from intact.errors import ModelError, located
from intact.network.graph import Graph, Op, Tensor
from intact.numbers.affine import Affine, Format
from intact.ops.call import Shape, as_tuple
from intact.ops.inference import Allowance, known_values, without_data

#: Batches that a graph is tried with: a dimension that is 2 by chance is not 5.
_BATCHES: Final = (2, 5)
#: Numbers in what an op reads and makes, up to which it is tried whether it keeps samples apart.
_WORTH_TRYING: Final = 1 << 20


def infer(graph: Graph, batch: int = 1, *, recorded: bool = True) -> dict[int, Shape]:
    """The shape of every tensor when a symbolic batch is ``batch``, by computing on tensors without data.

    Raises ModelError when an op's inputs do not fit, or when a computed shape is not the recorded one (if ``recorded``).
    """
    return {i: tuple(v.shape) for i, v in infer_values(graph, batch, recorded=recorded).items()}


def macs(graph: Graph) -> int:
    """Multiply-accumulates of one sample."""
    return sum(macs_by_op(graph).values())


def macs_by_op(graph: Graph) -> dict[int, int]:
    """Those of each op, by its first output."""
    shapes = infer(graph)
    return {op.output: op.kind.macs([() if i is None else shapes[i] for i in op.inputs], shapes[op.output]) for op in graph.ops}


def infer_values(graph: Graph, batch: int = 1, *, recorded: bool = True) -> dict[int, torch.Tensor]:
    """Like :func:`infer`: float tensors without data, and integers (shapes, axes) with the values that the shapes give them."""
    values, allowance = dict[int, torch.Tensor](), Allowance()
    for i, t in graph.tensors.items():
        if t.data is not None and not t.is_float and not isinstance(t.format, Affine) and allowance.grants([t.data.shape]):
            values[i] = torch.from_numpy(np.array(t.data))
        elif t.data is not None or i in graph.starts:
            values[i] = _bare(t, batch)
    for op in graph.ops:
        with located(f"op {graph.label(op)}"):
            if unmade := [graph[i].name for i in op.reads if i not in values]:
                raise ModelError(f"reads {unmade[0]!r}, which nothing before it makes")
            inputs = [None if i is None else values[i] for i in op.inputs]
            outputs = _outputs(op, inputs, allowance)
            if len(outputs) != len(op.outputs):
                raise ModelError(f"has {len(op.outputs)} outputs where {len(outputs)} are computed")
            for i, y in zip(op.outputs, outputs, strict=True):
                wanted = concrete(graph[i], batch)
                if recorded and tuple(y.shape) != wanted:
                    raise ModelError(f"computes shape {list(y.shape)}, but {graph[i].name!r} is recorded as {list(wanted)}")
                if recorded and _what(y.dtype) != _what(_meta_dtype(graph[i].format)) and not op.kind.unknown:
                    said = _what(_meta_dtype(graph[i].format))
                    raise ModelError(f"computes {_what(y.dtype)}, but {graph[i].name!r} is recorded as {said}")
                values[i] = y if not y.is_meta else _bare_as(y, graph[i])
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
    except (ModelError, RuntimeError, LookupError, ValueError, ArithmeticError):
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


def _outputs(op: Op, inputs: list[torch.Tensor | None], allowance: Allowance) -> list[torch.Tensor]:
    """What the op makes: with values where all that it reads is known, or it reads no more than shapes; else without data."""
    if op.kind.of_shapes:
        return list(as_tuple(op.kind.compute(*inputs)))
    given = [x for x in inputs if x is not None]
    if len(kinds := {_what(x.dtype) for x in given}) > 1 and op.kind.of_one_type:
        raise ModelError(f"reads {' and '.join(sorted(kinds))}, which no kernel mixes")
    if given and op.kind.repeatable and not any(x.is_meta for x in given):
        made = known_values(op.kind, inputs, allowance)
        if made is not None:
            return list(made)
    return list(without_data(op.kind, inputs))


def _what(dtype: torch.dtype) -> str:
    """What numbers of a type are; whole ones of all widths are alike to ops."""
    if dtype.is_floating_point:
        return "real numbers"
    return "bools" if dtype == torch.bool else "complex numbers" if dtype.is_complex else "whole numbers"


def _bare_as(y: torch.Tensor, t: Tensor) -> torch.Tensor:
    """What an op makes, of the type that ``t`` is stored in: ops of whole numbers differ in the width that they give."""
    return torch.empty(y.shape, device="meta", dtype=_meta_dtype(t.format))


def _bare(t: Tensor, batch: int) -> torch.Tensor:
    """A tensor of the network without its data."""
    return torch.empty(concrete(t, batch), device="meta", dtype=_meta_dtype(t.format))


def _meta_dtype(fmt: Format) -> torch.dtype:
    return torch.float32 if isinstance(fmt, Affine) or fmt.dtype.startswith("float") else getattr(torch, fmt.dtype)
