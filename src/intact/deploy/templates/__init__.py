"""The files that are written around a network in C, as templates, and those that are written as they are."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import jinja2


def render(name: str, values: Mapping[str, object]) -> str:
    """The file ``name`` with ``values`` in it."""
    return _environment().get_template(f"{name}.j2").render(values)


def plain(name: str) -> str:
    """The file ``name`` as it is."""
    return (files(__package__) / name).read_text()


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(plain),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # C, not HTML
    )
