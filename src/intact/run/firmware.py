"""What the networks of a run take as firmware: limits on RAM and flash come before accuracy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, final

from intact import scratch
from intact.data import Finding
from intact.deploy import boards
from intact.deploy.bytes import spelled
from intact.deploy.c.network import write
from intact.deploy.c.packing import MOST_BITS
from intact.deploy.cores import CORES, Core
from intact.deploy.firmware import UNNAMED, Ways, within
from intact.deploy.fitting import Taken
from intact.deploy.project import STACK
from intact.errors import ChildError, ModelError, UnsupportedError
from intact.formats import tflite
from intact.measure.criterion_figures import FLASH, FLASH_WITHOUT_CODE, RAM, RAM_ESTIMATE
from intact.measure.figures import Reading
from intact.measure.measurement import Measurement
from intact.network.graph import Graph
from intact.planning.schemes import scheme as scheme_named
from intact.planning.targets import target as target_named
from intact.planning.widths import TABLES
from intact.run import firmware_document
from intact.run.settings import Settings
from intact.run.tflm_arena import estimated
from intact.runtime import tflm

#: What code is compiled for where no board is named, or one of another maker's compiler.
_CORE: Final = CORES["cortex-m4"]


@final
@dataclass(frozen=True)
class Need:
    """Bytes that a network takes as firmware, each with what it is the sum of, in words.

    ``flash`` counts code where ``counts_code``; ``ram`` is no more than an estimate where ``is_estimate``; ``unpacked`` of it
    are for packed weights.
    """

    ram: int
    flash: int
    of_ram: str
    of_flash: str
    counts_code: bool = True
    is_estimate: bool = False
    unpacked: int = 0


@final
@dataclass(frozen=True)
class Firmware:
    """The project that ``runtime`` names, for ``core``; ``ram`` and ``flash``: bytes that it may take, None where unlimited."""

    runtime: str
    core: Core
    ram: int | None = None
    flash: int | None = None

    @property
    def is_limited(self) -> bool:
        return self.ram is not None or self.flash is not None

    @property
    def tables(self) -> int:
        """The most bits of an index into numbers that weights are packed with."""
        return min(MOST_BITS, TABLES) if self.runtime == "c" and self.is_limited else TABLES

    def need(self, graph: Graph, file: bytes) -> Need:
        """What ``graph``, an integer network, takes; ``file``: what a device with TensorFlow Lite Micro holds of it.

        UnsupportedError names an op that C lacks.
        """
        return self._as_c(graph) if self.runtime == "c" else _in_tflm(graph, file)

    def ram_of(self, graph: Graph) -> int:
        """Bytes of RAM alone, with no code compiled and nothing run; UnsupportedError as for :meth:`need`."""
        if self.runtime == "c":
            return write(graph, UNNAMED, self._activations, self.flash).ram + STACK
        return estimated(tflite.write(graph), graph).bytes + STACK

    @property
    def _activations(self) -> int | None:
        """What the limit leaves besides the stack."""
        return None if self.ram is None else max(self.ram - STACK, 0)

    def lacks(self, need: Need) -> tuple[int, int]:
        """By how many bytes of RAM and flash ``need`` is beyond the limits."""
        ram = 0 if self.ram is None else max(need.ram - self.ram, 0)
        return ram, 0 if self.flash is None else max(need.flash - self.flash, 0)

    def misfit(self, graph: Graph, file: bytes) -> str:
        """Why a network is no candidate; empty where it is one, or no limit was asked for."""
        if not self.is_limited:
            return ""
        try:
            return self.said(self.lacks(self.need(graph, file)))
        except UnsupportedError as error:
            return str(error)

    def said(self, lacking: tuple[int, int]) -> str:
        """``lacks 2,048 bytes of RAM``; empty where it fits."""
        both = zip(lacking, ("RAM", "flash"), strict=True)
        missing = " and ".join(f"{spelled(size)} of {memory}" for size, memory in both if size)
        return f"lacks {missing}" if missing else ""

    def document(self, graph: Graph, made: Ways, lacking: Sequence[str]) -> dict[str, Any]:
        """What a report shows: of the C ``made``, whatever the limits are judged by."""
        limits = {"runtime": self.runtime, "limits": {"ram": self.ram, "flash": self.flash}}
        return {**limits, **firmware_document.document(graph, made, lacking, self.core)}

    def _as_c(self, graph: Graph) -> Need:
        return self.need_of(*within(graph, self.core, self._activations, self.flash))

    def need_of(self, taken: Taken, missing: str) -> Need:
        """What C that takes so much needs; ``missing``: why its code is not known."""
        rows = "".join(f", {first} to {last} row by row" for first, last in taken.chains)
        unpacked = f", {taken.scratch:,} for weights unpacked" if taken.scratch else ""
        code = f"{taken.code:,} of code for {self.core.name}" if taken.code is not None else f"code not counted, {missing}"
        return Need(
            ram=taken.ram,
            flash=taken.flash,
            of_ram=f"the C of intact deploy: {taken.arena:,} of activations{rows}{unpacked}, {STACK:,} reserved for the stack",
            of_flash=f"the C of intact deploy: {taken.constants:,} of constants, {code}",
            counts_code=taken.code is not None,
            unpacked=taken.scratch,
        )


def firmware(settings: Settings) -> Firmware | None:
    """What a run with ``settings`` is judged by; None where it is for no microcontroller, or its C would be of floats."""
    if not target_named(settings.target).micro or (settings.runtime == "c" and not scheme_named(settings.scheme).is_integer):
        return None
    core = _CORE if settings.board is None else boards.board(settings.board).runs
    ram, flash = settings.memory
    return Firmware(settings.runtime, _CORE if core.compiler else core, ram, flash)


def shortage(settings: Settings, graph: Graph) -> tuple[int, int]:
    """By how many bytes of RAM and flash ``graph``, an integer network as planned, is beyond the limits, if there are any.

    UnsupportedError where its need cannot be known, as it has an op that C lacks.
    """
    made = firmware(settings)
    return (0, 0) if made is None or not made.is_limited else made.lacks(made.need(graph, tflite.write(graph)))


def _in_tflm(graph: Graph, file: bytes) -> Need:
    """The arena by bisection where TensorFlow Lite Micro is installed, else an upper estimate; its code is not known."""
    arena, how = estimated(file, graph).bytes, "an upper estimate of the arena, as tflite-micro is not installed"
    is_estimate = True
    if tflm.available():
        with scratch.folder() as folder:
            path = folder / "model.tflite"
            path.write_bytes(file)
            try:
                found = tflm.arena(path, arena)
            except (ModelError, ChildError) as error:
                raise UnsupportedError(f"TensorFlow Lite Micro finds no room for it: {error}") from error
        arena, how, is_estimate = found.bytes, f"the arena of TensorFlow Lite Micro {found.version}, by bisection", False
    return Need(
        ram=arena + STACK,
        flash=len(file),
        of_ram=f"{how}: {arena:,}; and {STACK:,} for the stack",
        of_flash="the model; TensorFlow Lite Micro's own code besides is not known",
        counts_code=False,
        is_estimate=is_estimate,
    )


@final
@dataclass(frozen=True, eq=False)
class Told:
    """What a run says of its network as firmware: figures, findings, and what details.json holds.

    ``need``: what it takes; None where that cannot be known.
    """

    readings: tuple[Reading, ...] = ()
    findings: tuple[Finding, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    need: Need | None = None


def told(graph: Graph, file: bytes, settings: Settings, *, details: bool) -> Told:
    """All of it for ``graph``, an integer network that a device has as ``file``; nothing for other targets."""
    made = firmware(settings)
    if made is None:
        return Told()
    under, whole = dict[str, Any](), Ways()
    if details:
        whole, lacking = firmware_document.written(graph, UNNAMED, made.core)
        under = {"firmware": made.document(graph, whole, lacking)}
    notes = tuple(Finding("board", note) for note in settings.board_notes)
    known = whole.taken.get("at once") if made.runtime == "c" and not made.is_limited else None
    try:
        need = made.need(graph, file) if known is None else made.need_of(known, whole.missing)
    except UnsupportedError as error:
        return Told((), (*notes, Finding("no firmware", str(error))), under)
    return Told(tuple(readings(need, graph)), notes, under, need)


def readings(need: Need, graph: Graph) -> Iterator[Reading]:
    """The figures of ``need``."""
    ram, flash = RAM_ESTIMATE if need.is_estimate else RAM, FLASH if need.counts_code else FLASH_WITHOUT_CODE
    for name, size, how in ((ram, need.ram, need.of_ram), (flash, need.flash, need.of_flash)):
        yield Reading("quantized", Measurement(name, size, "bytes", None, None, how, len(graph.ops)))
