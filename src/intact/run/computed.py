"""What a run comes to before anything is timed: all that may be computed on another machine, as a value that travels."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, TypeVar, final

from intact.data import Finding
from intact.measure.accuracy import Verdict
from intact.measure.figures import Figures, Reading
from intact.measure.outputs import OutputFidelity
from intact.measure.task import Task
from intact.network.graph import Graph
from intact.run.firmware import Need
from intact.run.given import Given
from intact.run.recover import Recovery
from intact.run.settings import Settings

_T = TypeVar("_T")


@final
@dataclass(frozen=True, eq=False)
class Looked:
    """All figures but times and what they say; ``held`` are those of what is stored and of the device, ``findings`` those of
    all but the outputs. ``tasks``: what each output is; ``seen``: how true it is; ``details``: what lies under the figures;
    ``need``: what the network takes as firmware; ``samples``: what the figures are of every sample.
    """

    figures: Figures = Figures((), ())
    held: tuple[Reading, ...] = ()
    findings: tuple[Finding, ...] = ()
    tasks: Mapping[str, Task] = field(default_factory=dict)
    seen: tuple[OutputFidelity, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    need: Need | None = None
    samples: bytes = b""

    @property
    def readings(self) -> tuple[Reading, ...]:
        return (*self.figures.readings, *self.held)


@final
@dataclass(frozen=True, eq=False)
class Computed:
    """The file of one run and what was found out of it. ``looked`` is None where nothing is measured.

    ``findings`` come before those of the figures, ``said`` after. ``verdict``: whether what is lost is within the limit.
    """

    given: Given
    settings: Settings
    recovery: Recovery
    integer: Graph
    model: bytes
    packed: bytes
    findings: tuple[Finding, ...]
    looked: Looked | None = None
    verdict: Verdict | None = None
    said: tuple[Finding, ...] = ()


def packed(value: object) -> bytes:
    """``value`` for another process of the same version; raises what pickle raises for one that cannot leave this process."""
    file = io.BytesIO()
    pickler = pickle.Pickler(file, pickle.HIGHEST_PROTOCOL)
    pickler.dispatch_table = _TABLE
    pickler.dump(value)
    return file.getvalue()


def unpacked(data: bytes, kind: type[_T]) -> _T:
    """What :func:`packed` was given, by a process that we started, or that started us."""
    value = pickle.loads(data)
    assert isinstance(value, kind)
    return value


def _read_only(mapping: dict[Any, Any]) -> Mapping[Any, Any]:
    return MappingProxyType(mapping)


def _reduced(proxy: Any) -> tuple[Any, tuple[Any, ...]]:
    return _read_only, (dict(proxy),)


#: What pickle lacks: the read-only mappings of graphs and plans.
_TABLE: Final[dict[type, Callable[[Any], tuple[Any, tuple[Any, ...]]]]] = {MappingProxyType: _reduced}
