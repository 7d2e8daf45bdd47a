"""A network as firmware: a project that builds, what it takes, and the proof that it computes the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from intact import files
from intact.deploy import boards
from intact.deploy.bytes import spelled
from intact.deploy.c.network import CNetwork, Text, checked_prefix, write
from intact.deploy.cores import Core
from intact.deploy.emulate import Emulated, Sizes, emulate, sizes
from intact.deploy.project import STACK, Budget, files_of
from intact.deploy.templates import render
from intact.errors import MissingToolError, ModelError, OptionError, OutputError, UnsupportedError, located
from intact.formats import recognize, tflite
from intact.installed import __version__
from intact.network.arena import activation_memory
from intact.network.graph import Graph
from intact.network.shapes import macs
from intact.progress import Progress, silent
from intact.run.documents import read
from intact.run.vectors import vectors as _vectors
from intact.wording import brief

SCHEMA: Final = "intact-deploy/1"
RECORD: Final = "deploy.json"
#: Samples that the project brings along at most, and their bytes; samples that the emulator runs.
_BROUGHT: Final = 5
_BROUGHT_BYTES: Final = 8192
SAMPLES: Final = 50


@final
@dataclass(frozen=True, eq=False)
class Deployed:
    """``document``: what deploy.json says. ``folder`` holds the project; ``notes`` is what to know, a sentence each."""

    folder: Path
    document: Mapping[str, Any] = field(repr=False)
    notes: tuple[str, ...] = ()

    __repr__ = brief

    @property
    def is_exact(self) -> bool:
        """Whether every sample that was emulated came out exactly; True where none was."""
        ran = self.document["emulated"]
        return ran is None or ran["exact"] == ran["samples"]

    @property
    def lines(self) -> tuple[str, ...]:
        """What it takes and how it went, a line each."""
        d = self.document
        made, ran = d["compiled"], d["emulated"]
        lines = [
            f"RAM: {d['arena']:,} bytes of activations, {d['stack_reserved']:,} of stack; at once activations take "
            f"{d['peak']['live_bytes']:,}, most at {d['peak']['op']}",
            *(f"row by row: {c['first']} to {c['last']}" for c in d["by_row"]),
            f"flash: {(made or d)['constants']:,} bytes of constants"
            + ("" if made is None else f" and {made['code']:,} of code for {d['core']}"),
        ]
        if ran is not None:
            lines.append(
                f"emulated {d['core']}: {ran['exact']} of {ran['samples']} samples exact; {ran['instructions']:,} instructions "
                f"a run, {ran['instructions_per_mac']:.2f} a multiply-accumulate; {ran['stack']:,} bytes of stack"
            )
        return (*lines, f"{self.folder / 'README.md'} says how to build it")


def deploy(  # noqa: PLR0913  # all by keyword, with defaults
    model: str | Path,
    out: str | Path = "firmware",
    *,
    data: object = None,
    board: str | None = None,
    cpu: str | None = None,
    ram: int | None = None,
    flash: int | None = None,
    name: str = "network",
    verify: bool = False,
    samples: int = SAMPLES,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Deployed:
    """Write the C project of an integer .tflite into the folder ``out``, and say what it takes.

    ``data``: samples, of which the project brings a few along with what must come of them, and of which ``verify`` takes
    ``samples``; without, they are drawn from what the inputs can hold. ``name`` begins every name that the C shows.
    ``ram`` and ``flash``: bytes that the linker gives it, by default those of the machine that QEMU emulates for ``cpu``. Where
    ``ram`` cannot hold all activations at once, the fewest ops run row by row; 0 stands for the least that can be.
    ``board``: one of :data:`~intact.deploy.boards.BOARDS`, which stands for its core, RAM and flash where these are not given.
    ``verify`` compiles it, runs it under QEMU, and compares every output with TensorFlow Lite Micro's arithmetic, bit for bit.

    UnsupportedError names an op that C lacks, and says by how many bytes it does not fit; OptionError for options that cannot
    be. Without a compiler everything is written, and the notes say what to install; ``verify`` raises MissingToolError then.
    """
    chosen, folder = boards.chosen(board, cpu, ram, flash), Path(out)
    core, budget = chosen.core, Budget(chosen.ram, chosen.flash)
    checked_prefix(name)
    _check_out(folder, overwrite)
    with located(str(model)):
        content = recognize.check_tflite(Path(model)).read_bytes()
        graph = tflite.read(content)
        if not graph.is_quantized:
            raise ModelError(
                "it is a float network; type intact quantize with --target mcu, and deploy the model.tflite it writes"
            )
        text = Text(name, Path(model).name, hashlib.sha256(content).hexdigest(), _labels(Path(model), graph))
        net = write(graph, text, None if chosen.limit is None else max(chosen.limit - STACK, 0))
        _check_fit(graph, net, budget)
    taken = sum(port.count for port in net.ports)
    brought = min(max(_BROUGHT_BYTES // taken, 1), _BROUGHT)
    vectors = _vectors(graph, data, max(samples, brought) if verify else brought)
    notes = chosen.notes
    made: Sizes | None = None
    try:
        progress("compile", 0, 0)
        made = sizes(net, core)
        _check_sizes(made, budget)
    except MissingToolError as error:
        if verify:
            raise
        notes = (*notes, f"not compiled here: {error.message}")
    ran = None
    if verify:
        progress("emulate", 0, 0)
        ran = emulate(net, core, budget, vectors.first(samples))
    document = _document(graph, net, core, budget, content, made, ran) | {"board": chosen.board}
    for path, written in files_of(net, core, budget, vectors.first(brought)).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        files.write_text(folder / path, written)
    files.write_text(folder / "README.md", render("README.md", net.values | {"document": document, "core": core}))
    files.write_text(folder / RECORD, json.dumps(document, indent=1, sort_keys=True) + "\n")
    return Deployed(folder, document, notes)


def _check_out(folder: Path, overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; type --out with a folder")
    held = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if not held:
        return
    if RECORD not in held:
        raise OptionError(f"{folder} holds {held[0]!r} and no firmware of Intact's; type --out with another folder")
    if not overwrite:
        raise OptionError(f"{folder} holds firmware already; add --overwrite, or type --out with another folder")


def _check_fit(graph: Graph, net: CNetwork, budget: Budget) -> None:
    """What no compiler can make fit is refused without one."""
    needed = net.arena + STACK
    if needed > budget.ram:
        memory = activation_memory(graph)
        raise UnsupportedError(
            f"it needs {spelled(needed)} of RAM, {spelled(needed - budget.ram)} more than there are: {net.arena:,} for "
            f"activations{_with(net)}, and {STACK:,} of stack; at once they take {memory.live_bytes:,}, most at {memory.at}. "
            "Give a smaller input, or more --ram"
        )
    if net.constants > budget.flash:
        raise UnsupportedError(
            f"its constants alone take {spelled(net.constants)} of flash, {spelled(net.constants - budget.flash)} more than "
            "there are; the C holds each weight in a byte at least, so that only a network with fewer weights takes less"
        )


def _with(net: CNetwork) -> str:
    """How the least arena comes about, in words."""
    return " with " + " and ".join(f"{first} to {last} row by row" for first, last in net.by_row) if net.by_row else ""


def _check_sizes(made: Sizes, budget: Budget) -> None:
    missing = made.code + made.constants - budget.flash
    if missing > 0:
        raise UnsupportedError(
            f"it takes {spelled(made.code + made.constants)} of flash, {spelled(missing)} more than there are: "
            f"{made.code:,} of code and {made.constants:,} of constants"
        )


def _labels(model: Path, graph: Graph) -> tuple[str, ...]:
    """Names of the classes, where the file lies in the folder of the run that made it and there are as many."""
    if not (model.parent / "details.json").is_file():
        return ()
    try:
        documents = read(model.parent)
    except (OptionError, ModelError):
        return ()
    held = (documents.details or {}).get("classes") or {}
    names = tuple(str(name) for name in held.get("names", ()))
    outputs = int(np.prod([n or 1 for n in graph[graph.outputs[0]].shape])) if graph.outputs else 0
    return names if len(names) == outputs else ()


def _document(  # noqa: PLR0913, PLR0917  # the parts of one record
    graph: Graph, net: CNetwork, core: Core, budget: Budget, content: bytes, made: Sizes | None, ran: Emulated | None
) -> dict[str, Any]:
    memory = activation_memory(graph)
    return {
        "schema": SCHEMA,
        "version": __version__,
        "model": {"name": net.text.title, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)},
        "core": core.name,
        "budget": {"ram": budget.ram, "flash": budget.flash},
        "macs": macs(graph),
        "arena": net.arena,
        "by_row": [{"first": first, "last": last} for first, last in net.by_row],
        "peak": {"live_bytes": memory.live_bytes, "op": memory.at},
        "stack_reserved": STACK,
        "constants": net.constants,
        "compiled": None if made is None else {"code": made.code, "constants": made.constants, "ram": made.ram},
        "emulated": None
        if ran is None
        else {
            "samples": ran.count,
            "exact": ran.same,
            "instructions": ran.instructions,
            "instructions_per_mac": ran.instructions / max(macs(graph), 1),
            "stack": ran.stack,
        },
    }
