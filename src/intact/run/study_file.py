"""Files that say what a study is of, and what others published: TOML, every key known or refused."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from intact import reading
from intact.errors import OptionError, located

#: What a study.toml may say, by key: what the value is. The same as the options of ``intact study``.
KEYS: Final[Mapping[str, str]] = {
    "models": "paths",
    "data": "path",
    "eval": "path",
    "out": "path",
    "schemes": "names",
    "targets": "names",
    "runtimes": "names",
    "weights": "names",
    "remedies": "names",
    "calibration-samples": "numbers",
    "threads": "numbers",
    "seeds": "number",
    "repeats": "number",
    "seed": "number",
    "accept": "texts",
    "reference": "path",
    "ranges": "text",
    "input-type": "text",
    "output-type": "text",
    "keep-float": "texts",
    "input-shape": "texts",
    "metric": "text",
    "image": "text",
    "label": "text",
    "pixels": "text",
    "mean": "text",
    "std": "text",
    "channels": "text",
    "resize": "text",
    "time-budget": "text",
    "device": "text",
    "learning-samples": "number",
    "label-weight": "real",
    "on": "text",
    "workers": "number",
    "jobs": "number",
}
#: What a table of ``[[reference]]`` may say: what the value is, and whether it has to be there.
_OF_A_REFERENCE: Final[Mapping[str, tuple[str, bool]]] = {
    "source": ("text", True),
    "method": ("text", True),
    "data_set": ("text", False),
    "drop": ("real", False),
    "size": ("real", False),
    "note": ("text", False),
}
#: What the numbers of a reference can be.
_BOUNDS: Final[Mapping[str, tuple[float, float, str]]] = {
    "drop": (-100, 100, "percentage points, from -100 to 100"),
    "size": (1, 1e15, "bytes, at least 1"),
}
_LARGEST: Final = 1 << 20
_WORDS: Final[Mapping[str, str]] = {
    "path": "a text",
    "paths": "a text or a list of texts",
    "text": "a text",
    "texts": "a text or a list of texts",
    "names": "a text or a list of texts",
    "number": "a whole number",
    "numbers": "a whole number, a list of them, or a text with commas",
    "real": "a number",
}


def study_file(path: Path) -> dict[str, Any]:
    """What a study.toml says, by key of :data:`KEYS`; paths in it are from the folder that it lies in."""
    with located(str(path)):
        found = _read(path)
        made = {}
        for key, value in found.items():
            if key not in KEYS:
                raise OptionError(f"there is no {key!r} in a study; there are: {', '.join(KEYS)}")
            made[key] = _value(key, value, KEYS[key], path.parent)
        return made


def references(path: Path) -> tuple[dict[str, Any], ...]:
    """The tables ``[[reference]]`` of a file: source and method, and what of data set, drop, size and note is known."""
    with located(str(path)):
        found = _read(path)
        tables = found.pop("reference", None)
        if found or not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
            raise OptionError(
                "this is no file of references; write a table [[reference]] for each, with source, method, data_set, drop, size"
            )
        return tuple(_reference(table, number) for number, table in enumerate(tables, start=1))


def reference(table: Mapping[str, Any], number: int = 1) -> dict[str, Any]:
    """One reference, as :func:`references` reads it from a file."""
    return _reference(table, number)


def _reference(table: Mapping[str, Any], number: int) -> dict[str, Any]:
    which = f"reference {number}"
    for key in table:
        if key not in _OF_A_REFERENCE:
            raise OptionError(f"{which} has a {key!r}; there are: {', '.join(_OF_A_REFERENCE)}")
    for key, (_, needed) in _OF_A_REFERENCE.items():
        if needed and key not in table:
            raise OptionError(f"{which} has no {key}; say where its figures are from, with source and method")
    kinds = _OF_A_REFERENCE.items()
    made: dict[str, Any] = {key: None for key in _OF_A_REFERENCE}  # noqa: C420
    made |= {k: _value(f"{k} of {which}", table[k], kind, Path()) for k, (kind, _) in kinds if k in table}
    for key, (low, high, what) in _BOUNDS.items():
        if key in table and not low <= made[key] <= high:
            raise OptionError(f"{key} of {which} = {reprlib.repr(made[key])} must be {what}")
    return made


def _read(path: Path) -> dict[str, Any]:
    try:
        return reading.toml(path, OptionError, _LARGEST)
    except reading.NoTomlError as error:
        raise OptionError(f"this is no TOML ({error}); see docs/study.md for what to write") from error


def _value(key: str, value: object, kind: str, folder: Path) -> Any:
    """``value`` as what a key of this ``kind`` is; several become a list."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    listed = value if isinstance(value, list) else [value]
    if "" in listed:
        raise OptionError(f'{key} = "" says nothing; write what is meant, or leave {key} out')
    texts = [each for each in listed if isinstance(each, str)]
    if kind in {"path", "text"} and isinstance(value, str):
        return folder / value if kind == "path" else value
    if texts and len(texts) == len(listed) and kind in {"paths", "texts", "names"}:
        names = [name for text in texts for name in text.split(",")] if kind == "names" else texts
        return [folder / name for name in names] if kind == "paths" else names
    if (kind == "number" and whole) or (kind == "real" and (whole or isinstance(value, float))):
        return value
    if kind == "numbers" and isinstance(value, str):
        return value  # with commas between them, as options are typed
    if kind == "numbers" and listed and all(isinstance(each, int) and not isinstance(each, bool) for each in listed):
        return listed
    raise OptionError(f"{key} = {reprlib.repr(value)} must be {_WORDS[kind]}")
