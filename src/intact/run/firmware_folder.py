"""The folder of a firmware project: what an earlier one left there goes, and nothing that anyone else put or changed."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from intact import files, reading
from intact.errors import OptionError, OutputError
from intact.wording import shown

RECORD: Final = "deploy.json"
#: Bytes of a record that is read.
_LARGEST: Final = 16 << 20


def check(folder: Path, overwrite: bool) -> None:
    """OptionError where ``folder`` holds other things, or firmware that is not to be overwritten."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; type --out with a folder")
    held = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if not held:
        return
    if RECORD not in held:
        raise OptionError(f"{folder} holds {held[0]!r} and no firmware of Intact's; type --out with another folder")
    if not overwrite:
        raise OptionError(f"{folder} holds firmware already; add --overwrite, or type --out with another folder")


def fill(folder: Path, texts: Mapping[str, str], document: dict[str, Any]) -> tuple[str, ...]:
    """Write ``texts``, by path in the folder, and the record, ``document`` with their SHA-256 as ``files``.

    What an earlier record says that it wrote, and this one does not, is removed first, and folders that are empty then. What of
    it was changed since stays: a sentence each.
    """
    stale = {name: digest for name, digest in _recorded(folder).items() if name not in texts}
    changed = [name for name, digest in stale.items() if not _removed(folder, name, digest)]
    for name, text in texts.items():
        files.write_text(folder / name, text)
    document["files"] = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in sorted(texts.items())}
    files.write_text(folder / RECORD, json.dumps(document, indent=1, sort_keys=True) + "\n")
    return tuple(shown(f"{folder / name} is of an earlier project, and was changed since: it stays there") for name in changed)


def _recorded(folder: Path) -> dict[str, str]:
    """The files that the record in ``folder`` lists, with their SHA-256; none where there is no record, or a strange one."""
    try:
        held = json.loads(reading.content(folder / RECORD, OptionError, _LARGEST))
    except (OptionError, ValueError, RecursionError):
        return {}
    listed = held.get("files") if isinstance(held, dict) else None
    rows = listed.items() if isinstance(listed, dict) else ()
    return {name: digest for name, digest in rows if isinstance(digest, str) and _is_below(folder, name)}


def _is_below(folder: Path, name: str) -> bool:
    """Whether a record that anyone may have written names something in its folder."""
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        return ".." not in Path(name).parts and (folder / name).parent.resolve().is_relative_to(folder.resolve())
    return False


def _removed(folder: Path, name: str, digest: str) -> bool:
    """Whether nothing is left of a file in ``folder``; False where it is not as it was written, and stays."""
    path = folder / name
    try:
        with reading.opened(path, OptionError) as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                return False
        path.unlink()
    except (OptionError, OSError):
        return not path.exists()
    for parent in Path(name).parents:
        with contextlib.suppress(OSError):  # others' files are in it
            (folder / parent).rmdir()
    return True
