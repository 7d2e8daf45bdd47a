"""Documents that others wrote: whatever is wrong with one is said with its place, and nothing is taken on trust."""

import copy
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from run_documents import details, older, result, study

from intact.errors import IntactError, OptionError
from intact.report import brief, checked, spreadsheet
from intact.report.page import html_of

SHAPES = {"intact-result/1": checked.RESULT, "intact-details/1": checked.DETAILS, "intact-study/1": checked.STUDY}


def parsed(document, schema="intact-result/1"):
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    return checked.parsed(data, schema, SHAPES[schema])


def test_what_intact_writes_passes():
    assert without_nulls(parsed(result())) == without_nulls(result())
    assert without_nulls(parsed(older())) == without_nulls(older())
    assert without_nulls(parsed(details(), "intact-details/1")) == without_nulls(details())
    assert without_nulls(parsed(study(), "intact-study/1")) == without_nulls(study())


def without_nulls(value):
    if isinstance(value, dict):
        return {name: without_nulls(each) for name, each in value.items() if each is not None}
    return [without_nulls(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("schema", SHAPES)
def test_what_may_be_absent_is_null_and_every_report_is_made_without_it(schema):
    """Every key that may be absent, one at a time and all at once."""
    which = list(SHAPES).index(schema)
    spare = [path for n, path in PLACES if n == which and may_be_absent(SHAPES[schema], path)]
    assert len(spare) > 3
    for gone in (*([path] for path in spare), sorted(spare, key=len, reverse=True)):
        documents = [result(), copy.deepcopy(_DETAILS), study()]
        for path in gone:
            inner = documents[which]
            for step in path[:-1]:
                inner = inner[step]
            del inner[path[-1]]
        a, b, c = (parsed(d, s) for d, s in zip(documents, SHAPES, strict=True))
        for document, beside in ((c, None),) if which == 2 else ((a, b),):
            assert html_of(document, beside)
            assert brief.to_html(document, beside)
            assert brief.to_markdown(document, beside)
            assert spreadsheet.to_csv(document)


def may_be_absent(shape, path):
    for step in path[:-1]:
        if not isinstance(shape, (list, dict)):
            return False
        shape = shape[0] if isinstance(step, int) else shape.get(step, shape.get(f"{step}?", shape.get("*")))
    return isinstance(shape, dict) and f"{path[-1]}?" in shape


@pytest.mark.parametrize("value", [b"1e999", b"-1e999", b"9" * 400])
def test_a_number_that_no_float_holds_is_refused(value):
    data = json.dumps(result()).encode().replace(b'"value": 85.0', b'"value": ' + value)
    assert value in data
    with pytest.raises(OptionError, match=r"measurements\[0\].value is a (int|float) where a number belongs"):
        parsed(data)


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
    st.sampled_from(
        ["x", "", "inf", "nan", -1, 0, 1.5, 10**30, 10**400, 1e308, True, [], {}, [[]], {"a": 1}, "<b>", ["x"], [1]]
    ),
)
@example((1, ("tensors", 0, "scale", 0)), "inf")
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
