"""Exact rewrites of a network in which one tensor holds numbers of very different size, as steps that a plan can replay.

All factors are powers of two: multiplying by one and dividing by it again gives the same float, so that the float output
stays as it is, bit for bit, as long as nothing overflows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, final, get_args

import numpy as np
import torch

from intact.errors import IntactError, OptionError
from intact.network.channels import free_channels, rescaled
from intact.network.graph import Graph, Op, Tensor, rebuild
from intact.network.shapes import concrete
from intact.network.verify import verify
from intact.network.weighted import Weighted, columns, weighted
from intact.ops.base import Moves
from intact.ops.convolution import DepthwiseConv2D
from intact.ops.elementwise import Mul
from intact.rewrite.view import View

Kind: TypeAlias = Literal["scale", "part", "enter", "leave"]


@final
@dataclass(frozen=True)
class Step:
    """One rewrite at ``tensor``, with what is multiplied by ``2^exponents``.

    ``scale``: the channels that the tensor's op makes are divided by ``2^exponents[0]``, the weights that read them multiplied.
    ``part``: the op that makes the tensor is cut into one for each reader that picks some of its channels.
    ``enter``: column c of the tensor is divided by ``2^exponents[c]`` before the weights that read it, which take it back.
    ``leave``: column c is made ``2^exponents[c]`` times smaller by the weights, and multiplied again behind them.
    """

    kind: Kind
    tensor: int
    exponents: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise OptionError(f"no rewrite is called {self.kind!r}; make the plan anew without --plan")


def mended(graph: Graph, steps: Iterable[Step]) -> Graph:
    """``graph`` after ``steps``, verified. OptionError where a step does not fit."""
    for step in steps:
        try:
            changed = _REWRITES[step.kind](graph, step)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise OptionError(f"the plan is for another model: its step {step} does not fit ({error})") from error
        graph = verify(changed)
    return graph


def _scale(graph: Graph, step: Step) -> Graph:
    channels = free_channels(graph)
    factors = np.ones(channels.count)
    marks = channels.made[step.tensor]
    keep = np.isin(np.arange(channels.count), marks[marks > 1])
    factors[keep] = 2.0 ** step.exponents[0]
    return rescaled(channels.only(keep), graph, factors)


def parts(graph: Graph, op: Op) -> Mapping[int, np.ndarray]:
    """The channels of the op's output that each tensor holds that a reader makes by picking some of them, by its id.

    Empty unless all readers do so, and the op's weights can be cut.
    """
    out, whole = op.output, weighted(graph, op)
    if whole is None or isinstance(op.kind, DepthwiseConv2D) or out in graph.ends:
        return {}
    if any(not graph[i].is_constant for i in op.reads if i != whole.data.id):
        return {}
    shape, found = concrete(graph[out]), dict[int, np.ndarray]()
    channels = torch.arange(1, shape[-1] + 1, dtype=torch.float64).broadcast_to(shape)
    readers = graph.consumers()[out]
    for reader in readers:
        if not isinstance(reader.kind, Moves) or any(not graph[i].is_constant for i in reader.reads if i != out):
            return {}
        values = (graph[i].data if i is not None else None for i in reader.inputs)
        given = [
            channels if i == out else None if v is None else torch.from_numpy(np.array(v))
            for i, v in zip(reader.inputs, values, strict=True)
        ]
        try:
            made = reader.kind.passes(*given)
        except IntactError:
            return {}
        if made is None:
            return {}
        for i, y in zip(reader.outputs, made, strict=True):
            picked = y.reshape(-1, y.shape[-1])[0]
            if y.shape[:-1] != shape[:-1] or not bool((y == picked).all()) or bool((picked < 1).any()) or i in graph.ends:
                return {}
            found[i] = picked.numpy().astype(np.int64) - 1
    return found if len(found) > 1 and not _is_grouped(whole) else {}


def _is_grouped(found: Weighted) -> bool:
    return len(columns(found.op, found.count, concrete(found.weight))) != 1


def _part(graph: Graph, step: Step) -> Graph:
    view, op = View(graph), graph.producers()[step.tensor]
    picked, found = parts(graph, op), weighted(graph, op)
    if not picked or found is None:
        raise ValueError("nothing to cut")
    ops, tensors = list[Op](), list[Tensor]()
    for i, channels in picked.items():
        cut = dict[int | None, int]()
        for t, axis in ((found.weight, found.axis), (found.bias, -1)):
            if t is not None:
                data = np.ascontiguousarray(np.take(np.asarray(t.data), channels, axis))
                tensors.append(view.constant(data, t.id, "part", len(tensors)))
                cut[t.id] = tensors[-1].id
        ops.append(Op(op.kind, tuple(cut.get(j, j) for j in op.inputs), (i,)))
    readers = {reader.output for reader in graph.consumers()[step.tensor]}
    rest = [o for o in graph.ops if o.output not in readers]
    return rebuild(graph, [made for o in rest for made in (ops if o is op else [o])], tensors)


def _powers(step: Step, *, negative: bool) -> np.ndarray:
    exponents = np.asarray(step.exponents, np.float64)
    return np.asarray(2.0 ** (-exponents if negative else exponents))


def can_enter(graph: Graph, i: int) -> bool:
    """Whether all that reads the tensor are weights of their own, which can take a scale per column of it back."""
    readers = graph.consumers()[i]
    return bool(readers) and i not in graph.ends and all(_takes(graph, op, i) for op in readers)


def _takes(graph: Graph, op: Op, i: int) -> bool:
    found = weighted(graph, op)
    if found is None or not found.is_constant or found.data.id != i:
        return False
    return len(graph.consumers()[found.weight.id]) == 1 and found.count == concrete(graph[i])[-1]


def _enter(graph: Graph, step: Step) -> Graph:
    view, x = View(graph), graph[step.tensor]
    scaled = view.made(x.id, x.shape, "enter")
    factor = view.constant(_powers(step, negative=True).astype(np.float32), x.id, "enter", 1)
    tensors, ops, placed = [scaled, factor], list[Op](), False
    for op in graph.ops:
        if x.id in op.reads:
            found = weighted(graph, op)
            if found is None or not _takes(graph, op, x.id):
                raise ValueError("what reads it cannot take a scale")
            if not placed:
                ops.append(Op(Mul(), (x.id, factor.id), (scaled.id,)))
                placed = True
            met = _powers(step, negative=False)[columns(op, len(step.exponents), found.values.shape)]
            tensors.append(replace(found.weight, data=(found.values * met).astype(np.float32)))
        ops.append(replace(op, inputs=tuple(scaled.id if j == x.id else j for j in op.inputs)))
    return rebuild(graph, ops, tensors)


def can_leave(graph: Graph, op: Op) -> bool:
    """Whether the op's weights can make each column of its output smaller: they are its own, and nothing is clamped."""
    found, readers = weighted(graph, op), graph.consumers()
    if found is None:
        return False
    own = all(t is None or (t.is_constant and len(readers[t.id]) == 1) for t in (found.weight, found.bias))
    return own and found.kind.is_homogeneous


def _leave(graph: Graph, step: Step) -> Graph:
    view, op = View(graph), graph.producers()[step.tensor]
    found = weighted(graph, op)
    if found is None or not can_leave(graph, op):
        raise ValueError("its weights cannot take a scale")
    y = graph[step.tensor]
    scaled = view.made(y.id, y.shape, "leave")
    factor = view.constant(_powers(step, negative=False).astype(np.float32), y.id, "leave", 1)
    w, powers = found.values, _powers(step, negative=True)
    tensors = [scaled, factor, replace(found.weight, data=(w * found.along(powers)).astype(np.float32))]
    if found.bias is not None:
        data = np.asarray(found.bias.data)
        tensors.append(replace(found.bias, data=(data * powers.reshape(data.shape)).astype(np.float32)))
    ops = list[Op]()
    for o in graph.ops:
        ops += [o] if o is not op else [replace(op, outputs=(scaled.id,)), Op(Mul(), (scaled.id, factor.id), (y.id,))]
    return rebuild(graph, ops, tensors)


_REWRITES: Final[Mapping[str, Callable[[Graph, Step], Graph]]] = MappingProxyType(
    {"scale": _scale, "part": _part, "enter": _enter, "leave": _leave}
)
