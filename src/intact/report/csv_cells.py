"""What a cell of a CSV holds: a number in full, and a text of which a spreadsheet computes nothing."""

from __future__ import annotations

from typing import Final

from intact.wording import shown

#: What a spreadsheet takes for a formula at the beginning of a text, behind spaces too; the last four are as wide as CJK.
_FORMULAS: Final = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def cell(value: object) -> object:
    """``value`` as a cell has it: empty for None, and no formula whatever somebody has called a file, a class or a figure."""
    if value is None:
        return ""
    if not isinstance(value, str) or value in {"inf", "-inf", "nan"}:
        return value
    text = shown(value)
    return f"'{text}" if text.lstrip().startswith(_FORMULAS) else text
