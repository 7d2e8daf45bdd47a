"""Documents that others wrote: whatever is wrong with one is said with its place, and nothing is taken on trust."""

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_documents import details, older, result, study

from intact.errors import IntactError, OptionError
from intact.report import checked
from intact.report.page import html_of

SHAPES = {"intact-result/1": checked.RESULT, "intact-details/1": checked.DETAILS, "intact-study/1": checked.STUDY}


def parsed(document, schema="intact-result/1"):
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    return checked.parsed(data, schema, SHAPES[schema])


def test_what_intact_writes_passes():
    assert parsed(result()) == result()
    assert parsed(older()) == older()
    assert parsed(details(), "intact-details/1") == details()
    assert parsed(study(), "intact-study/1") == study()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is no JSON that Intact wrote"),
        (b"\xff\xfe{}", "is no JSON that Intact wrote"),
        (b"{", "is no JSON that Intact wrote"),
        (b'{"schema": NaN}', "NaN is no number in JSON"),
        (b"[" * 100_000, "is no JSON that Intact wrote"),
        (b"[]", 'its "schema" is no intact-result'),
        (b"3", 'its "schema" is no intact-result'),
        (b'{"schema": 1}', 'its "schema" is no intact-result'),
        (b'{"schema": "package-lock"}', "give the folder of a run or a study"),
        (b'{"schema": "intact-result/0"}', "make the run again"),
        (b'{"schema": "intact-result/2"}', "pip install --upgrade intact reads it"),
        (b'{"schema": "intact-result/1"}', "settings is missing"),
    ],
)
def test_what_is_no_document_is_said(data, said):
    with pytest.raises(OptionError, match=said.replace("(", r"\(")):
        parsed(data)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("measurements",), {}, "measurements is a dict where a list belongs"),
        (("measurements", 3), "x", r"measurements\[3\] is a str where a mapping belongs"),
        (("measurements", 3, "value"), "many", r"measurements\[3\].value is a str where a number belongs"),
        (("measurements", 3, "value"), None, r"measurements\[3\].value is missing"),
        (("measurements", 3, "low"), True, r"measurements\[3\].low is a bool where a number belongs"),
        (("model", "bytes"), -1, "model.bytes is a int where a count belongs"),
        (("tasks", "logits", "why"), 1, "tasks.logits.why is a int where a text belongs"),
        (("findings", 0, "message"), [], r"findings\[0\].message is a list where a text belongs"),
        (("candidates", 0, "loss", "value"), {}, r"candidates\[0\].loss.value is a dict"),
        (("criteria", 1, "status"), 3, r"criteria\[1\].status is a int where a text belongs"),
    ],
)
def test_what_is_of_another_kind_is_named_with_its_place(path, value, said):
    document = result()
    inner = document
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    with pytest.raises(OptionError, match=said):
        parsed(document)


def test_lists_of_unlike_lengths_are_refused():
    for key in ("n", "float", "confusion_quantized"):
        document = details()
        document["classes"][key].pop()
        with pytest.raises(OptionError, match="classes has lists of unlike lengths"):
            parsed(document, "intact-details/1")
    document = details()
    document["tensors"][0]["histogram"]["integer"].pop()
    with pytest.raises(OptionError, match=r"the histogram of .* has lists of unlike lengths"):
        parsed(document, "intact-details/1")


def places(value, path=()):
    yield path
    if isinstance(value, dict):
        for name, each in value.items():
            yield from places(each, (*path, name))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*path, 0))


#: Any place of the documents, the first of each list.
PLACES = [(which, path) for which, d in enumerate((result(), details(), study())) for path in places(d) if path]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(PLACES),
    st.sampled_from(["x", "", "inf", "nan", -1, 0, 1.5, 10**30, True, [], {}, [[]], {"a": 1}, "<b>", ["x"], [1]]),
)
def test_whatever_stands_anywhere_is_refused_or_shown(place, value):
    which, path = place
    documents = [result(), copy.deepcopy(_DETAILS), study()]
    inner = documents[which]
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    try:
        a, b, c = (parsed(d, schema) for d, schema in zip(documents, SHAPES, strict=False))
    except IntactError:
        return
    assert html_of(c if which == 2 else a, None if which == 2 else b)


_DETAILS = details()
SHAPES = dict(zip(("intact-result/1", "intact-details/1", "intact-study/1"), SHAPES.values(), strict=True))
