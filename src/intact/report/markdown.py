"""result.md: the figures as one table that a person reads in a minute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from intact.report.numbers import interval, number


def to_markdown(document: Mapping[str, Any]) -> str:
    """The record that ``report.record`` makes, as Markdown."""
    environment = Environment(loader=PackageLoader("intact", "report"), undefined=StrictUndefined, autoescape=False)
    environment.filters |= {"number": number, "interval": lambda m: interval(m["low"], m["high"])}
    return environment.get_template("result.md.j2").render(**document) + "\n"
