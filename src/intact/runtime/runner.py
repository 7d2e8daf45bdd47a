"""What a machine elsewhere gets: what does the steps there, and once for each version of them the worker scripts."""

from __future__ import annotations

import functools
import hashlib
import io
import zipfile
from pathlib import Path
from typing import Final

_SCRIPTS: Final = Path(__file__).resolve().parent / "scripts"


@functools.cache
def steps() -> bytes:
    """The source of what does the steps; it goes along with every start."""
    return packed_scripts()["remote.py"]


@functools.cache
def zipped_scripts() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, source in packed_scripts().items():
            archive.writestr(zipfile.ZipInfo(name), source, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def packed_scripts() -> dict[str, bytes]:
    """The worker scripts by name, as they go to another machine."""
    return {path.name: path.read_bytes() for path in sorted(_SCRIPTS.glob("*.py"))}


@functools.cache
def home() -> str:
    """The folder that they have there, by their content."""
    return f"runner-{hashlib.sha256(zipped_scripts()).hexdigest()[:16]}"
