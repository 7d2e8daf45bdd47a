"""Which kinds may write over what they read: found out by changing some elements of an operand and looking at the others."""

from collections import defaultdict

import pytest
import torch
from op_cases import CASES, graph_of, samples

from intact.network.in_place import IN_PLACE
from intact.ops import KINDS
from intact.ops.call import as_tuple


def operands(case, seed):
    """What the case reads, as tensors."""
    graph, drawn = graph_of(case), iter(samples(case, seed).values())
    given = [None if i is None else graph[i].data if graph[i].is_constant else next(drawn) for i in graph.ops[0].inputs]
    return [None if x is None else torch.from_numpy(x.copy()) for x in given]


def made(case, given):
    return as_tuple(case.kind.compute(*given))[0]


def keeps_elements_apart(case):
    """Whether nothing but element n of the output changes with element n of an operand of its shape; None: it has no such."""
    given, other = operands(case, 0), operands(case, 1)
    before = made(case, given)
    alike = [n for n in case.flows if given[n].shape == before.shape]
    if not alike or before.numel() < 2:
        return None
    apart = True
    for n in alike:
        for seed in (0, 1):
            changed = torch.rand(before.shape, generator=torch.Generator().manual_seed(seed)) < 0.5
            x = torch.where(changed, other[n], given[n])
            after = made(case, [*given[:n], x, *given[n + 1 :]])
            apart &= torch.equal(after[~changed], before[~changed])
    return apart


def test_kinds_that_go_element_by_element_say_so_and_no_others():
    found = defaultdict(list)
    for case in CASES:
        if (apart := keeps_elements_apart(case)) is not None:
            found[case.kind.name].append(apart)
    elements = {name for name, kind in KINDS.items() if kind.in_place == "elements"}
    assert {name for name, all_of_them in found.items() if all(all_of_them)} == elements


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.in_place == "renames"])
def test_renaming_kinds_leave_the_bytes_where_they_are(name):
    for case in (case for case in CASES if case.kind.name == name):
        given = operands(case, 0)
        assert torch.equal(made(case, given).reshape(-1), given[0].reshape(-1))


def test_the_renaming_kinds():
    """TRANSPOSE of axes of length 1 would be one too, and is not known by its kind."""
    assert {name for name, kind in KINDS.items() if kind.in_place == "renames"} == {"RESHAPE", "SQUEEZE", "EXPAND_DIMS"}
    assert {"RESHAPE", "ADD", "HARD_SWISH", "QUANTIZE"} <= IN_PLACE
    assert IN_PLACE.isdisjoint({"SOFTMAX", "CONV_2D", "TRANSPOSE", "CONCATENATION"})
