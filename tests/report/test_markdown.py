"""result.md: a name means nothing in Markdown, nor in the HTML that is made of it."""

import re
from html import unescape

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from intact.report.markdown import to_markdown
from intact.wording import shown

NAMES = (
    "<script>alert(1)</script>",
    "a|b\\|c\\",
    "`code` ``x",
    "![see](http://there/x.png) [a](b)",
    "**bold** __init__ _x_ ~~gone~~ *",
    "# head",
    "- item",
    "--- ",
    "&lt;b&gt; &amp;",
    "a\nb\n\n# c\x1b[2J",
    "conv_1/relu é漢字 \u202e\udc80",
    r"C:\data\[x]",
)


def document(name):
    """The least that the template takes, with ``name`` wherever a name can stand."""
    measurement = {"of": name, "name": name, "value": 1.0, "unit": name, "low": None, "high": None, "how": "how"}
    return {
        "source": {"name": name},
        "settings": {"scheme": "int8", "target": "cpu", "seed": 0},
        "measurements": [measurement],
        "tasks": {name: {"kind": "classes", "why": name}},
        "candidates": [],
        "steps": [name],
        "findings": [{"kind": "x", "message": name}],
        "samples": {"calibration": {"n": 1}, "report": {"n": 1}},
        "versions": {"cpu": name},
        "model": {"bytes": 1, "sha256": "0" * 64},
    }


def seen(text):
    """The words of an HTML element's content; elements inside it are a fault."""
    assert not re.search("<[^>]*>", text), text
    return unescape(text).split()


def check(name):
    text = to_markdown(document(name))
    text.encode()
    page = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text)
    wanted = shown(name).split()
    cells = re.findall("<td>(.*?)</td>", page, re.DOTALL)
    assert len(cells) == 5
    assert seen(cells[0]) == seen(cells[1]) == wanted
    assert seen(cells[2]) == ["1", *wanted]
    (title,) = re.findall("<h1>(.*?)</h1>", page, re.DOTALL)
    assert seen(title) == [*wanted, "as", "int8", "for", "cpu"]
    items = re.findall("<li>(.*?)</li>", page, re.DOTALL)
    assert [seen(item) for item in items] == [wanted, wanted]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_shows_its_characters_and_means_nothing(name):
    check(name)


@given(st.text(alphabet="ab1 \\`*_[]()<>&|~#+-=!.:;\n'\"", min_size=1).map(lambda name: f"a{name}"))
@example("a\\")
@example("a*\\*")
def test_no_name_means_anything(name):
    check(name)


def test_figures_stay_as_they_are():
    record = document("x") | {"measurements": [document("x")["measurements"][0] | {"value": -0.5, "low": -1.0, "high": 0.25}]}
    assert "| x | x | -0.5 x | -1 to 0.25 | how |" in to_markdown(record)
