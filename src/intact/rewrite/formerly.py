"""What users call the ops of a network that was spelled otherwise since: by the kinds and names of the model that they gave."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from intact.network.graph import Graph, Op


def remembering(original: Graph, spelled: Graph) -> Graph:
    """``spelled``, which knows what each of its ops is in ``original``, the network before it was cleaned and lowered.

    An op stands for the one whose output it makes, as do the ops before it that were made with it (SUB as MUL and ADD); and
    for those whose outputs are gone and are in it (a batch norm in the convolution before, a RELU as its activation).
    """
    makers = {i: op for op in spelled.ops for i in op.outputs if _is_kept(original, spelled, i)}
    readers, found = original.consumers(), defaultdict[int, list[str]](list)
    for op in original.ops:
        names = original.names(op)
        for output in _standing_for(op, spelled, makers, readers):
            found[output] += names
    return replace(spelled, formerly={i: tuple(dict.fromkeys(names)) for i, names in found.items()})


def named_as(source: Graph, read: Graph) -> Graph:
    """``read``, the file that ``source`` was written to, with the names of ``source``: a file calls tensor 7 "t7"."""
    if [op.kind.name for op in source.ops] != [op.kind.name for op in read.ops]:
        return read
    origins: dict[int, str] = {}
    for ours, theirs in zip(source.ops, read.ops, strict=True):
        pairs = zip((*ours.outputs, *ours.inputs), (*theirs.outputs, *theirs.inputs), strict=False)
        origins |= {j: source[i].origin for i, j in pairs if i is not None and j is not None}
    return replace(read, tensors={i: replace(t, origin=origins.get(i, t.origin)) for i, t in read.tensors.items()})


def _is_kept(original: Graph, spelled: Graph, i: int) -> bool:
    """Whether tensor ``i`` is the same in both: ids that were given up are given anew."""
    if i not in original.tensors:
        return False
    ours, theirs = original[i], spelled[i]
    return (ours.name, ours.origin, ours.made_by) == (theirs.name, theirs.origin, theirs.made_by)


def _standing_for(op: Op, spelled: Graph, makers: dict[int, Op], readers: dict[int, list[Op]]) -> set[int]:
    """First outputs of the ops of ``spelled`` that compute what ``op`` of the original does."""
    waiting, seen, ends = [op], {op.output}, set[Op]()
    while waiting:
        one = waiting.pop()
        if one.output in makers:
            ends.add(makers[one.output])
            continue
        after = [reader for i in one.outputs for reader in readers[i] if reader.output not in seen]
        seen.update(reader.output for reader in after)
        waiting += after
    if op.output not in makers:
        return {end.output for end in ends}
    made, since = {i: other for other in spelled.ops for i in other.outputs}, list(ends)
    for end in since:
        since += [made[i] for i in end.reads if i in made and i not in makers and made[i] not in since]
    return {end.output for end in since}
