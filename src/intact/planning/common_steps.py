"""Weights of few numbers that count in the same steps, which a file then stores once.

Where each channel has a table of its own, its step only says how fine the table's whole numbers are. Worked, for 2 bits: a
channel reaches to 0.5 and counts in 0.5 / 127 = 0.0039, another layer's to 0.2 in 0.0016. In steps of 0.0039 the other reaches
to 51. Its four numbers are half a step from their best ones at most, a hundredth of 0.2, and its weights about a sixth of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final, final

import numpy as np

from intact.network.graph import Graph
from intact.network.weighted import Weighted
from intact.numbers.affine import Affine
from intact.planning.codebooks import with_codebook
from intact.planning.plan import Plan
from intact.planning.steps import stored_as_integers, with_bias_formats
from intact.planning.weights import LARGEST_MULTIPLIER

#: Tables of ``2**bits`` numbers take steps so many times their own, over ``2**bits``.
_COARSER: Final = 16


@final
@dataclass
class _Alike:
    """Weights by their ops' first outputs, and the ``steps`` of each channel, the largest of theirs."""

    steps: np.ndarray
    members: dict[int, tuple[Weighted, Affine]] = field(default_factory=dict)


def with_common_steps(graph: Graph, plan: Plan) -> Plan:
    """``plan`` with one set of steps for as many weights as it is fine enough for, of those with a table for each channel."""
    groups = list[_Alike]()
    for one in _candidates(graph, plan):
        fmt = plan.own(one.weight.id)
        if isinstance(fmt, Affine):
            _join(groups, one, fmt, plan)
    tensors = dict(plan.tensors)
    for group in (group for group in groups if len(group.members) > 1):
        for one, fmt in group.members.values():
            entry = tensors[one.weight.id]
            made = _in_steps(one, fmt, group.steps)
            tensors[one.weight.id] = replace(entry, format=made, why=f"{entry.why}, in steps that other weights have")
    return with_bias_formats(graph, replace(plan, tensors=tensors)) if tensors != plan.tensors else plan


def _candidates(graph: Graph, plan: Plan) -> list[Weighted]:
    """The weights with a table for each channel that one op reads, with a bias of its own if any."""
    readers = graph.consumers()
    return [
        one
        for one in stored_as_integers(graph, plan)
        if isinstance(fmt := plan.own(one.weight.id), Affine)
        and fmt.codebook is not None
        and fmt.codebook.axis is not None
        and all(len(readers[t.id]) == 1 for t in (one.weight, one.bias) if t is not None)
    ]


def _join(groups: list[_Alike], one: Weighted, fmt: Affine, plan: Plan) -> None:
    own = np.asarray(fmt.scale)
    for group in groups:
        if len(group.steps) == len(own):
            steps = np.maximum(group.steps, own)
            if all(_takes(steps, *member, plan) for member in (*group.members.values(), (one, fmt))):
                group.steps = steps
                break
    else:
        group = _Alike(own)
        groups.append(group)
    group.members[one.op.output] = (one, fmt)


def _takes(steps: np.ndarray, one: Weighted, fmt: Affine, plan: Plan) -> bool:
    """Whether the numbers of the weight's tables are near enough their best ones in ``steps``, and kernels take them."""
    activation, output = plan.at(one.data.id, one.op.output), plan.own(one.op.output)
    if fmt.codebook is None or not isinstance(activation, Affine) or not isinstance(output, Affine):
        return False
    multiplier = activation.scale[0] * steps.max() / output.scale[0]
    coarser = (steps / np.asarray(fmt.scale)).max()
    return bool(coarser * 2**fmt.codebook.bits <= _COARSER and multiplier <= LARGEST_MULTIPLIER)


def _in_steps(one: Weighted, fmt: Affine, steps: np.ndarray) -> Affine:
    if fmt.codebook is None:
        raise TypeError(f"the weight of {one.kind.name} has no table")
    return with_codebook(one, replace(fmt, scale=tuple(steps.tolist()), codebook=None), fmt.codebook.bits)
