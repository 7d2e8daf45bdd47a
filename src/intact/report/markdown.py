"""result.md: the figures as one table that a person reads in a minute."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from intact.report import figures
from intact.report.numbers import interval, number
from intact.wording import shown

#: What a name could mean in Markdown: code, emphasis, links, headings, lists; and a backslash that would free the next sign.
_MEANT: Final = re.compile(r"[`*\[\]~]|(?<![^\W_])_|_(?![^\W_])|\\(?=[!-/:-@\[-`{-~]|$)|^[#+-](?=[\s#+-]|$)")
#: What it could mean in HTML, and what divides a table, whatever stands before it.
_ENTITIES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;"})


def to_markdown(document: Mapping[str, Any]) -> str:
    """The record that ``report.record`` makes, as Markdown."""
    said = {
        "sentence": figures.sentence(document),
        "rows": figures.criteria(document),
        "five": figures.five(document),
        "acceptance": document.get("acceptance"),  # of an older run there is none
    }
    return rendered("result.md.j2", {**document, **said})


def rendered(template: str, document: Mapping[str, Any]) -> str:
    """A document as Markdown, through a template in which every text is literal."""
    loader = PackageLoader("intact", "report")
    environment = Environment(loader=loader, undefined=StrictUndefined, autoescape=False, finalize=_literal)
    environment.filters |= {"number": number, "interval": lambda m: interval(m["low"], m["high"])}
    return environment.get_template(template).render(**document) + "\n"


def _literal(value: object) -> object:
    """A text of the record so that Markdown, and HTML made of it, shows its characters and gives none of them a meaning."""
    return _MEANT.sub(r"\\\g<0>", shown(value)).translate(_ENTITIES) if isinstance(value, str) else value
