"""result.md: the figures as one table that a person reads in a minute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def to_markdown(document: Mapping[str, Any]) -> str:
    """The record that ``report.record`` makes, as Markdown."""
    environment = Environment(loader=PackageLoader("intact", "report"), undefined=StrictUndefined, autoescape=False)
    environment.filters |= {"number": _number, "interval": _interval}
    return environment.get_template("result.md.j2").render(**document)


def _number(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{int(value):,}" if float(value).is_integer() and abs(value) >= 100 else f"{value:.4g}"


def _interval(measurement: Mapping[str, Any]) -> str:
    low, high = measurement["low"], measurement["high"]
    return "" if low is None or high is None else f"{_number(low)} to {_number(high)}"
