"""What strangers wrote, as it is shown; and objects, as they print."""

import sys
import unicodedata
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nets import mobile

from intact.data import Data, Finding, Samples, input_specs, samples_from
from intact.diagnosis.diagnose import Diagnosis
from intact.errors import DataError, IntactError, located
from intact.planning.plan import Plan
from intact.planning.quantized import Quantized
from intact.run.result import Result
from intact.run.settings import Settings
from intact.search.candidate import Candidate
from intact.wording import LONGEST, brief, shown, three


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain name_1/conv", "plain name_1/conv"),
        ("é, 漢字, ك, 🎉, a\u0308", "é, 漢字, ك, 🎉, a\u0308"),
        ("👩\u200d👧", "👩\u200d👧"),  # a joiner makes one emoji of two
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("one\ntwo\r\tthree", r"one\ntwo\r\tthree"),
        ("\x9b31m\x7f", r"\x9b31m\x7f"),
        ("file\u202egnp.exe", r"file\u202egnp.exe"),
        ("a\u2028b\u2029c\u2066d\u200ee\ufefff", r"a\u2028b\u2029c\u2066d\u200ee\ufefff"),
        ("caf\udce9.png", r"caf\udce9.png"),  # of a file name that is no UTF-8
        ("\U000e0041", r"\U000e0041"),  # a tag, which nobody sees
        (r"C:\data\x1b", r"C:\data\x1b"),
    ],
)
def test_what_is_seen_stays_and_what_is_not_is_written_out(text, seen):
    assert shown(text) == seen


@given(st.text(alphabet=st.characters(codec=None), max_size=300), st.integers(20, 100))
def test_anything_is_one_line_that_can_be_printed(text, most):
    seen = shown(text, most)
    assert len(seen) <= most
    assert not {unicodedata.category(c) for c in seen} & {"Cc", "Cs", "Zl", "Zp"}
    assert "\u202e" not in seen
    seen.encode()
    assert shown(seen, most) == seen


@pytest.mark.parametrize("character", ["x", "\x1b", "漢"])
def test_a_name_of_a_megabyte_loses_its_middle(character):
    seen = shown("begins " + character * 1_000_000 + " ends")
    assert len(seen) == LONGEST
    assert seen.startswith("begins ")
    assert seen.endswith(" ends")
    assert "…" in seen


def test_an_error_shows_its_places_and_its_notes():
    with pytest.raises(IntactError) as caught, located("a\x1b[31m\n.npz"):
        raise DataError("holds \u202e\udc80, 漢字")
    assert str(caught.value) == r"a\x1b[31m\n.npz: holds \u202e\udc80, 漢字"
    caught.value.add_note("What it printed:\n\x1b[2Jline\nnext")
    assert caught.value.__notes__ == ["What it printed:\n\\x1b[2Jline\nnext"]


@dataclass(frozen=True, eq=False)
class Holds:
    array: np.ndarray
    names: tuple[str, ...]
    named: object
    text: str
    left_out: bytes = field(default=b"x" * 10**6, repr=False)

    __repr__ = brief


def test_an_object_prints_short():
    held = Holds(np.zeros((1000, 3), np.float32), tuple(map(str, range(10_000))), MappingProxyType({"a": 1}), "y" * 10**6)
    said = repr(held)
    assert said.startswith("Holds(array=float32[1000, 3], names=('0', '1', '2', ...), named={'a': 1}, text='yyy")
    assert len(said) < 300


KINDS = (Candidate, Diagnosis, Plan, Quantized, Samples, *Data.__subclasses__())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_what_can_hold_megabytes_prints_short(kind):
    assert kind.__repr__ is brief


def test_a_graph_prints_in_one_line():
    graph = mobile()
    assert repr(graph) == "<Graph of 6 ops, 14 tensors: 'image' [n, 8, 8, 3] -> 'scores' [n, 4]>"
    wide = replace(graph, inputs=(graph.inputs[0],) * 9, outputs=(999,))  # about to be refused
    assert repr(wide).endswith("tensors: " + "'image' [n, 8, 8, 3], " * 3 + "6 more -> >")


def test_a_result_prints_in_one_line():
    graph = mobile()
    plan = Plan("int8", "cpu", {})
    held = Result(
        b"x" * 1_000_000, graph, graph, plan, Settings(), (), (Finding("evil", "a\x1b[2J\nb"),), {"much": "y" * 10**6}
    )
    assert repr(held) == "<Result: int8 for cpu, 1,000,000 bytes, 0 figures; print(result.summary()) shows them>"
    assert held.summary() == r"note: a\x1b[2J\nb"


def test_samples_print_in_a_few_lines():
    given = samples_from((np.zeros((2000, 8, 8, 3), np.float32), np.arange(2000) % 4))
    assert len(repr(given)) < 400
    samples = given.bind(input_specs(mobile()), 4)
    assert "labels=int64[2000]" in repr(samples)
    assert len(repr(samples)) < 1500


def test_the_largest_number_is_said_though_it_rounds_to_more():
    assert three(sys.float_info.max) == "1.8e+308"
    assert three(-sys.float_info.max) == "-1.8e+308"
