"""What a device cannot hold is no candidate: weights get fewer bits until it can, where that loses least."""

from dataclasses import dataclass, replace

import pytest
from test_smallest import Judge, planned

from intact.errors import UnsupportedError
from intact.planning.widths import INT8, choosable, width_in
from intact.remedies.base import Context
from intact.remedies.bias import BiasCorrection
from intact.remedies.compensate import CompensatedRounding
from intact.remedies.finetune import FineTune
from intact.search.candidate import fitting
from intact.search.goal import Goal
from intact.search.ladder import search
from intact.search.points import priced
from intact.search.within import within


@dataclass
class Device(Judge):
    """Holds files of so many ``bytes``, and unpacks no weights for them."""

    bytes: int = 0
    unpacks: bool = True

    def misfit(self, integer, file):
        if self.is_beyond_flash(integer, file):
            return f"lacks {len(file) - self.bytes:,} bytes"
        return "" if self.unpacks else "lacks 9 bytes of RAM"

    def is_beyond_flash(self, integer, file):
        del integer
        return len(file) > self.bytes


@pytest.fixture
def untrained(monkeypatch):
    def refuse(*_):
        raise UnsupportedError("not here")

    monkeypatch.setattr(FineTune, "apply", refuse)


def device(size, limit=1.2, target="mcu"):
    network, bound, make, request = planned(target)
    goal = Goal("drop", limit)
    return network, Device(bound, Context(make), network.reference, goal, packs=target == "mcu", bytes=size), request


def plain_size(target="mcu"):
    network, judge, _ = device(1 << 20, target=target)
    tried, _ = search(network, judge)
    return tried[0].bytes


def widths(candidate):
    ops = choosable(candidate.network.graph, candidate.network.plan)
    return [width_in(candidate.network.plan, one).bits for _, one in sorted(ops.items())]


@pytest.mark.usefixtures("untrained")
def test_the_layers_that_fewer_bits_hold_exactly_get_them():
    saved = (16 * 3 * 3 * 8 + 24 * 3 * 3 * 32) // 2
    network, judge, request = device(plain_size("cpu") - saved + 100, target="cpu")
    tried, taken, said = within(network, judge, request)
    assert widths(taken) == [4, INT8.bits, 4]
    assert taken.bytes <= judge.bytes
    assert taken.misfit == ""
    assert tried == (taken,)  # the first met the limit
    assert said == "at 8 bits the network does not fit: 1 op int8, 2 ops int4: the least noise that fits"


@pytest.mark.usefixtures("untrained")
def test_no_wider_widths_would_fit():
    network, judge, request = device(plain_size() - 4000)
    _, taken, _ = within(network, judge, request)
    _, points = priced(network, judge, judge.context, request)
    chosen = {o: width_in(taken.network.plan, one) for o, one in choosable(taken.network.graph, taken.network.plan).items()}
    at = next(n for n, point in enumerate(points) if all(point.widths[o] == width for o, width in chosen.items()))
    assert at > 0
    wider = points[at - 1].bytes - points[at].bytes
    assert taken.bytes + wider > judge.bytes - 200  # tables beside the weights take some


def test_what_no_width_makes_fit_says_so():
    network, judge, request = device(100)
    judge.goal = Goal("drop", 1e9)
    tried, taken, said = within(network, judge, request)
    assert all(c.misfit for c in tried)
    assert said == f"the network {taken.misfit} with the fewest bits that there are"
    assert set(widths(taken)) == {1}
    assert tried == (taken,)  # no remedy takes less


def test_weights_that_the_flash_holds_and_the_ram_does_not_end_the_search():
    network, judge, request = device(plain_size() - 4000)
    _, fits, _ = within(network, judge, request)
    judge.unpacks = False
    tried, taken, said = within(network, judge, request)
    assert tried == (taken,)
    assert widths(taken) == widths(fits)
    assert said.startswith("the network lacks 9 bytes of RAM with the widest weights that the flash holds: 1 op ")


def test_without_time_the_plain_network_is_given_and_said_to_be_too_large():
    network, judge, request = device(100)
    judge.context = replace(judge.context, deadline=0.0)
    tried, taken, said = within(network, judge, request)
    assert [c.name for c in tried] == ["as planned"]
    assert said == f"the network {taken.misfit}, and time was up before any width was measured"


def test_what_loses_too_much_is_learned_from_where_there_is_more_to_try():
    network, judge, request = device(plain_size() - 5000, limit=0.0)
    tried, taken, _ = within(network, judge, request)
    assert [c.name.removeprefix("weights that fit + ") for c in tried][:2] == [
        BiasCorrection().name,
        CompensatedRounding().name,
    ]
    assert tried[-1].name.endswith("+ finetune")
    assert taken.score == min(c.score for c in tried)


def test_the_ladder_passes_over_what_a_device_cannot_hold():
    network, judge, _ = device(100, limit=1e9)
    tried, taken = search(network, judge)
    assert len(tried) > 1  # the limit is met at once, and nothing fits
    assert all(c.misfit == f"lacks {c.bytes - 100:,} bytes" for c in tried)
    assert str(tried[0]).endswith(f"; it {tried[0].misfit}")
    assert taken.to_json()["misfit"] == taken.misfit


def test_of_candidates_those_that_fit_are_chosen_from():
    network, judge, _ = device(1 << 20)
    fits = search(network, judge)[1]
    beyond = replace(fits, misfit="lacks 1 bytes of RAM")
    assert list(fitting([beyond, fits])) == [fits]
    assert list(fitting([beyond])) == [beyond]
