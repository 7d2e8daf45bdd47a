"""How messages are worded, and what of a stranger's text may stand in them."""

from __future__ import annotations

import reprlib
import unicodedata
from dataclasses import fields
from typing import Any, Final

#: Characters of one text that are shown; a name of a megabyte is no sentence.
LONGEST: Final = 2_000
#: What moves a terminal's cursor, breaks a line, turns text around or is not seen at all: control, surrogate and format
#: characters, line and paragraph separators.
_UNSEEN: Final = frozenset({"Cc", "Cs", "Cf", "Zl", "Zp"})
#: The format characters that scripts and emoji need: joiners.
_JOINERS: Final = "\u200c\u200d"


def counted(n: int, noun: str) -> str:
    """``1, "op" -> "1 op"``; ``2000, "sample" -> "2,000 samples"``. For nouns whose plural ends in s."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def shown(text: str, most: int = LONGEST) -> str:
    r"""``text`` as one line that can be printed anywhere: names of files and tensors are what strangers wrote.

    ``"a\x1b[2J\nb"`` gives the characters ``a\x1b[2J\nb`` with backslashes; letters of any script stay. A text of more than
    ``most`` characters loses its middle. Shown twice is shown once.
    """
    if len(text) > most:  # before the rest, which takes its time
        text = f"{text[: most // 2]}…{text[len(text) - (most - most // 2) + 1 :]}"
    if text.isascii() and text.isprintable():
        return text
    seen = "".join(c if unicodedata.category(c) not in _UNSEEN or c in _JOINERS else _escape(c) for c in text)
    return seen if len(seen) <= most else shown(seen, most)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


_SHORT: Final = reprlib.Repr()
_SHORT.maxdict = _SHORT.maxlist = _SHORT.maxtuple = 3
_SHORT.maxstring = _SHORT.maxother = 120
vars(_SHORT)["repr_mappingproxy"] = _SHORT.repr_dict
vars(_SHORT)["repr_ndarray"] = lambda array, _: f"{array.dtype}{list(array.shape)}"  # found by the name of the type


def brief(self: Any) -> str:
    """The ``__repr__`` of a dataclass that may hold megabytes: its fields, each cut short."""
    held = (f"{f.name}={_SHORT.repr(getattr(self, f.name))}" for f in fields(self) if f.repr)
    return f"{type(self).__name__}({', '.join(held)})"
