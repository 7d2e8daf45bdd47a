"""Places where a measurement runs: this machine, or another. One protocol: a worker script, a request, files in and out."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeAlias, final, runtime_checkable

from intact.errors import PlaceError
from intact.progress import StepProgress
from intact.runtime import child
from intact.runtime.confinement import Confinement, machine_memory


@runtime_checkable
class Place(Protocol):
    """Where worker scripts run. ``name`` is empty for this machine.

    ``piece_bytes``: inputs go there in pieces of at most this many bytes. ``at_once``: how many pieces are worked on side by
    side. ``cores`` and ``memory``, in bytes, are what one call may use.
    """

    @property
    def name(self) -> str: ...

    @property
    def piece_bytes(self) -> int: ...

    @property
    def at_once(self) -> int: ...

    @property
    def machine(self) -> Mapping[str, Any]:
        """What another machine said of itself when first asked (``look`` in ``scripts/remote.py``); empty for this one."""
        ...

    @property
    def cores(self) -> int: ...

    @property
    def memory(self) -> int: ...

    def call(  # noqa: PLR0913  # two of them have defaults
        self,
        script: str,
        request: Mapping[str, Any],
        *,
        what: str,
        timeout: float,
        on_progress: StepProgress | None = None,
        confinement: Confinement | None = None,
    ) -> dict[str, Any]:
        """What :func:`intact.runtime.child.call` does, in that place.

        A :class:`~pathlib.Path` in the request is a file that goes along, or a folder that is empty and comes back: the answer
        names files in it, which lie in the folder here when this returns. PlaceError where the place cannot be worked in.
        """
        ...


@final
class Here:
    """This machine: a child process for each call."""

    name: Final = ""
    piece_bytes: Final = 256 << 20
    at_once: Final = 1
    machine: Final[Mapping[str, Any]] = MappingProxyType({})

    @property
    def cores(self) -> int:
        return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1

    @property
    def memory(self) -> int:
        return machine_memory()

    def call(  # noqa: PLR0913  # as the protocol has it
        self,
        script: str,
        request: Mapping[str, Any],
        *,
        what: str,
        timeout: float,
        on_progress: StepProgress | None = None,
        confinement: Confinement | None = None,
    ) -> dict[str, Any]:
        told = replaced(request, str)
        return child.call(script, told, what=what, timeout=timeout, on_progress=on_progress, confinement=confinement)


HERE: Final[Place] = Here()


@runtime_checkable
class Clock(Protocol):
    """What times files and does nothing else: no numbers go there, and none but times come back, so it is no :class:`Place`."""

    @property
    def name(self) -> str: ...

    @property
    def machine(self) -> Mapping[str, Any]:
        """What it said of itself when first asked (:func:`intact.runtime.android.found`), and ``tool``, the SHA-256 of what
        times there.
        """
        ...

    def time(self, request: Mapping[str, Any], *, timeout: float, on_progress: StepProgress | None = None) -> dict[str, Any]:
        """What ``latency`` in ``scripts/litert_profile.py`` answers to the same request; ``timeout``: seconds for one block.

        PlaceError where the device cannot be worked with, ModelError for a file that is refused, ChildError for a tool that
        dies, OptionError for kernels that it has not.
        """
        ...


#: Where files are timed.
Timer: TypeAlias = Place | Clock


@final
class Pool:
    """This machine with ``workers`` child processes of one thread each; whoever calls while all are busy waits for one.

    ``name``: of the cluster that this machine is a node of.
    """

    piece_bytes: Final = 32 << 20
    cores: Final = 1
    machine: Final[Mapping[str, Any]] = MappingProxyType({})

    def __init__(self, workers: int, name: str = "") -> None:
        self.at_once, self.name = workers, name
        self._free = threading.BoundedSemaphore(workers)

    @property
    def memory(self) -> int:
        return machine_memory() // self.at_once

    def call(  # noqa: PLR0913  # as the protocol has it
        self,
        script: str,
        request: Mapping[str, Any],
        *,
        what: str,
        timeout: float,
        on_progress: StepProgress | None = None,
        confinement: Confinement | None = None,
    ) -> dict[str, Any]:
        with self._free:
            return HERE.call(script, request, what=what, timeout=timeout, on_progress=on_progress, confinement=confinement)


def replaced(value: Any, path: Any) -> Any:
    """``value`` as JSON takes it, with ``path(p)`` for every :class:`~pathlib.Path` in it."""
    match value:
        case Path():
            return path(value)
        case Mapping():
            return {key: replaced(each, path) for key, each in value.items()}
        case list() | tuple():
            return [replaced(each, path) for each in value]
    return value


def paths_in(value: Any) -> Iterator[Path]:
    """The paths in a request."""
    match value:
        case Path():
            yield value
        case Mapping():
            for each in value.values():
                yield from paths_in(each)
        case list() | tuple():
            for each in value:
                yield from paths_in(each)


def answered(value: Any, folder: str, fetch: Callable[[str], str]) -> Any:
    """An answer with ``fetch(name)`` for every file that it names in ``folder``."""
    match value:
        case str() if value.startswith(f"{folder}/"):
            return fetch(value[len(folder) + 1 :])
        case Mapping():
            return {key: answered(each, folder, fetch) for key, each in value.items()}
        case list():
            return [answered(each, folder, fetch) for each in value]
    return value


def below(folder: Path | None, name: str, place: str) -> Path:
    """Where a file of an answer goes in ``folder``; nothing that ``place`` answers leads out of it."""
    if folder is None or Path(name).name != name or name in {"", ".", ".."}:
        raise PlaceError(f"{place} names a file that nobody asked for: {name!r}")
    return folder / name
