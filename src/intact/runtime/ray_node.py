"""What a node of a Ray cluster does: it runs worker scripts and functions of Intact on files that come along."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias, final

import numpy as np

from intact import files, scratch
from intact.installed import __version__ as version
from intact.progress import silent
from intact.runtime import child
from intact.runtime.confinement import Confinement
from intact.runtime.places import answered, replaced
from intact.runtime.scripts import remote
from intact.runtime.workers import Compute

#: The bytes of a file.
Content: TypeAlias = "np.ndarray[Any, np.dtype[np.uint8]]"


@final
@dataclass(frozen=True)
class Task:
    """What a node is asked. ``request`` has paths in it, of ``names`` files whose contents come along, and of ``folder``."""

    script: str
    request: Mapping[str, Any]
    names: tuple[Path, ...]
    folder: Path | None
    what: str
    timeout: float
    confinement: Confinement


def work(task: Task, *contents: Content) -> tuple[dict[str, Any], dict[str, Content]]:
    """On a node: run the script of a task in a child, and give its answer, in which files are as they were asked for."""
    with scratch.folder() as folder:
        out = folder / "out"
        out.mkdir()
        here = {task.folder: out} if task.folder is not None else {}
        for number, (path, content) in enumerate(zip(task.names, contents, strict=True)):
            here[path] = folder / f"{number}-{path.name}"
            content.tofile(here[path])
        held = replace(
            task.confinement,
            writes=tuple(here.get(path, path) for path in task.confinement.writes),
            memory=Confinement().memory,
        )
        told = replaced(task.request, lambda path: str(here[path]))
        answer: dict[str, Any] = child.call(task.script, told, what=task.what, timeout=task.timeout, confinement=held)
        made = {path.name: np.fromfile(path, np.uint8) for path in sorted(out.iterdir()) if path.is_file()}
        return answered(answer, str(out), lambda name: f"{task.folder}/{name}"), made


def compute(function: Compute, request: bytes, held: tuple[tuple[str, str], ...], *contents: Content) -> bytes:
    """On a node: what a function makes of a request and of files, which a process writes once for all that it computes."""
    folder = scratch.place() / "held"
    folder.mkdir(exist_ok=True)
    there = dict[str, Path]()
    for (name, key), content in zip(held, contents, strict=True):
        there[name] = folder / key
        if not there[name].exists():
            with files.writing(there[name]) as file:
                content.tofile(file)
    return function(request, there, silent)


def seen() -> dict[str, Any]:
    """On a node: what it is and how it does."""
    found = remote.found(str(scratch.place()), "")
    return {**found, "intact": version, "computing": computing()}


def computing() -> dict[str, str | None]:
    """Versions of what runs of Intact are computed with; None of what there is not."""
    found = dict[str, str | None]()
    for name, package in (("PyTorch", "torch"), ("NumPy", "numpy")):
        try:
            found[name] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found
