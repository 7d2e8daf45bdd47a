"""Docstrings name other objects by Sphinx's roles; on the site these are links, or code where the object has no page."""

import re
from typing import Any

from griffe import Extension, Object

_ROLE = re.compile(r":\w+:`~?([\w.]+)`")


class Roles(Extension):
    """``:func:`intact.load` `` becomes a link that falls back to code."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:  # noqa: ARG002  # Griffe passes more
        """Rewrite the docstring of each object."""
        if obj.docstring:
            obj.docstring.value = _ROLE.sub(_linked, obj.docstring.value)


def _linked(role: re.Match[str]) -> str:
    return f"`{role[1]}`"
