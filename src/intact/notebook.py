"""What a notebook shows in place of an object: plain HTML of sentences and tables, without scripts or styles, all escaped.

Jupyter, VS Code, Colab and the pages that show stored notebooks have their own looks for tables, light and dark; a script
would run in some of them only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from intact.wording import shown


def sentence(text: str, *, strong: bool = False) -> str:
    """A paragraph."""
    return f"<p><strong>{_text(text)}</strong></p>" if strong else f"<p>{_text(text)}</p>"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, its first column the name of each row; nothing where there are no rows."""
    body = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    head = "".join(f"<th>{_text(each)}</th>" for each in heads)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if body else ""


def bullets(texts: Iterable[str]) -> str:
    """A list; nothing where there are no texts."""
    items = "".join(f"<li>{_text(text)}</li>" for text in texts)
    return f"<ul>{items}</ul>" if items else ""


def frame(page: str) -> str:
    """A whole page in a frame of its own, in which its scripts run and reach nothing outside."""
    style = "width: 100%; height: 80vh; border: 1px solid #8888"
    return f'<iframe sandbox="allow-scripts" style="{style}" srcdoc="{escape(page)}"></iframe>'


def _text(text: str) -> str:
    return escape(shown(text))
