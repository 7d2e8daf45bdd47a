"""Vela, Arm's compiler for Ethos-U, in a child process, where its wheel is installed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final, final

from intact.errors import ChildError
from intact.runtime import child, ending
from intact.runtime.confinement import Confinement

_WHAT: Final = "Vela"
_EXCEPTION: Final = re.compile(r"[\w.]*(?:Error|Exception): ")
#: Seconds for one file, of which networks of 100 ops take a third.
_SECONDS: Final = 300.0


@final
@dataclass(frozen=True)
class Said:
    """What Vela ``printed``, and its tables by the names of their columns: one row of sums, and a row for each op it made."""

    printed: str
    summary: Mapping[str, str]
    layers: tuple[Mapping[str, str], ...]


def version() -> str | None:
    """That of the wheel; None where it is not installed."""
    try:
        return metadata.version("ethos-u-vela")
    except metadata.PackageNotFoundError:
        return None


def compiled(model: Path, *, accelerator: str, system: str, memory: str) -> Said:
    """What Vela says of a file, by its names of what it compiles for. ChildError where it dies, hangs or says nothing."""
    request = {"model": str(model.resolve()), "accelerator": accelerator, "system": system, "memory": memory}
    answer = child.call("vela_worker.py", request, what=_WHAT, timeout=_SECONDS)
    printed, summary, layers = answer["printed"], answer["summary"], answer["layers"]
    if answer["status"]:
        raise _failed(ending.died(answer["status"], Confinement(), _last_words(printed)), printed)
    if len(summary) != 1 or not layers:
        raise _failed("ended and wrote none of its tables", printed)
    return Said(printed, summary[0], tuple(layers))


def _last_words(printed: str) -> str:
    """The exception that Python tells last, else the last line."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if _EXCEPTION.match(line)), lines[-1] if lines else "")


def _failed(how: str, printed: str) -> ChildError:
    failed = ChildError(f"{_WHAT} {how}")
    failed.add_note(printed)
    return failed
