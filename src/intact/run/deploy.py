"""A network as firmware: a project that builds, what it takes, and the proof that it computes the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from intact import choices
from intact.deploy import boards
from intact.deploy.bytes import spelled
from intact.deploy.c.network import CNetwork, Text, checked_prefix
from intact.deploy.cores import Core
from intact.deploy.emulate import Emulated, Sizes, emulate, sizes
from intact.deploy.firmware import fitted
from intact.deploy.project import STACK, Budget, files_of
from intact.deploy.templates import render
from intact.deploy.timeline import timeline
from intact.errors import MissingToolError, ModelError, OptionError, UnsupportedError, located
from intact.installed import __version__
from intact.network.graph import Graph
from intact.network.shapes import infer, macs
from intact.progress import Progress, silent
from intact.run import firmware_folder
from intact.run.deploy_tflm import project
from intact.run.documents import read
from intact.run.vectors import integer_network
from intact.run.vectors import vectors as _vectors
from intact.wording import brief

SCHEMA: Final = "intact-deploy/1"
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
        """Whether every sample that was emulated, or run in TensorFlow Lite Micro, came out exactly; True where none was."""
        micro = self.document["tflm"] or {}
        runs = (self.document["emulated"], micro.get("verified"))
        return all(ran is None or ran["exact"] == ran["samples"] for ran in runs)

    @property
    def lines(self) -> tuple[str, ...]:
        """What it takes and how it went, a line each."""
        lines = (*self._c_lines, *self._micro_lines)
        return (*lines, f"{self.folder / 'README.md'} says how to build it")

    @property
    def _micro_lines(self) -> tuple[str, ...]:
        d = self.document["tflm"]
        if d is None:
            return ()
        how = "the least, by bisection" if d["found"] == "bisection" else "an upper estimate, not measured"
        lines = [f"TensorFlow Lite Micro: {d['arena']:,} bytes of arena ({how}), {d['model']:,} of model; its code is unknown"]
        if (ran := d["verified"]) is not None:
            lines.append(
                f"TensorFlow Lite Micro in that arena: {ran['exact']} of {ran['samples']} samples as in the {ran['against']}"
            )
        return tuple(lines)

    @property
    def _c_lines(self) -> tuple[str, ...]:
        d = self.document
        made, ran = d["compiled"], d["emulated"]
        if d["arena"] is None:
            return ()
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
        return tuple(lines)


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
    runtime: str = "c",
    verify: bool = False,
    samples: int = SAMPLES,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Deployed:
    """Write the project of an integer .tflite into the folder ``out``, and say what it takes.

    ``runtime``: "c" for C that needs no library, "tflm" for TensorFlow Lite Micro, "both" for C and the other in ``out``/tflm.
    ``data``: samples, of which the project brings a few along with what must come of them, and of which ``verify`` takes
    ``samples``; without, they are drawn from what the inputs can hold. ``name`` begins every name that the code shows.
    ``ram`` and ``flash``: bytes that the linker gives it, by default those of the machine that QEMU emulates for ``cpu``. Where
    ``ram`` cannot hold all activations at once, the fewest ops run row by row in C; 0 stands for the least that can be.
    ``board``: one of :data:`~intact.deploy.boards.BOARDS`, which stands for its core, RAM and flash where these are not given.
    ``verify`` compiles the C, runs it under QEMU, and compares every output with TensorFlow Lite Micro's arithmetic, bit for
    bit; the other project's arena it proves by running the samples in the real TensorFlow Lite Micro.

    UnsupportedError names an op that C or TensorFlow Lite Micro lacks, and says by how many bytes it does not fit; OptionError
    for options that cannot be. Without a compiler everything is written, and the notes say what to install; ``verify`` raises
    MissingToolError then.
    """
    chosen, folder = boards.chosen(board, cpu, ram, flash), Path(out)
    core, budget = chosen.core, Budget(chosen.ram, chosen.flash)
    choices.firmware(runtime)
    checked_prefix(name)
    if samples < 1:
        raise OptionError(f"--samples {samples} proves nothing; type --samples 50, or leave --verify out")
    firmware_folder.check(folder, overwrite)
    with located(str(model)):
        content, graph = integer_network(Path(model), "deploy")
        text = Text(name, Path(model).name, hashlib.sha256(content).hexdigest(), _labels(Path(model), graph))
        limit = None if chosen.limit is None else max(chosen.limit - STACK, 0)
        net = None if runtime == "tflm" else fitted(graph, text, core, limit, budget.flash)
        if net is not None:
            _check_fit(graph, net, budget)
        brought = _brought(graph)
        verified = samples if verify else 0
        micro = None
        if runtime != "c":
            micro = project(
                content, graph, text, budget=budget, data=data, brought=brought, verified=verified, progress=progress
            )
    document = _document(graph, text, core, budget, content)
    document |= {"board": chosen.board, "tflm": None if micro is None else micro.record}
    written, notes = dict[str, str](), chosen.notes if micro is None else (*chosen.notes, *micro.notes)
    if net is not None:
        vectors = _vectors(graph, data, max(verified, brought))
        made, missing = _compiled(net, core, budget, verify, progress)
        ran = None
        if verify:
            progress("emulate", 0, 0)
            ran = emulate(net, core, budget, vectors.first(samples))
        document |= _c_document(graph, net, made, ran)
        written = files_of(net, core, budget, vectors.first(brought))
        written["README.md"] = render("README.md", net.values | {"document": document, "core": core})
        notes = (*missing, *notes)
    if micro is not None:
        below = "tflm/" if runtime == "both" else ""
        written |= {below + path: held for path, held in micro.files.items()}
    changed = firmware_folder.fill(folder, written, document)
    return Deployed(folder, document, (*notes, *changed))


def _brought(graph: Graph) -> int:
    """How many samples the project brings along."""
    shapes = infer(graph)
    taken = sum(int(np.prod(shapes[i])) for i in (*graph.inputs, *graph.outputs))
    return min(max(_BROUGHT_BYTES // taken, 1), _BROUGHT)


def _compiled(
    net: CNetwork, core: Core, budget: Budget, verify: bool, progress: Progress
) -> tuple[Sizes | None, tuple[str, ...]]:
    """What the compiler makes of it; without one None and what to install, which is an error where it is to be verified."""
    progress("compile", 0, 0)
    try:
        made = sizes(net, core)
    except MissingToolError as error:
        if verify:
            raise
        return None, (f"not compiled here: {error.message}",)
    _check_sizes(made, budget)
    return made, ()


def _check_fit(graph: Graph, net: CNetwork, budget: Budget) -> None:
    """What no compiler can make fit is refused without one."""
    needed = net.ram + STACK
    if needed > budget.ram:
        peak = _peak(graph)
        raise UnsupportedError(
            f"it needs {spelled(needed)} of RAM, {spelled(needed - budget.ram)} more than there are: {net.arena:,} for "
            f"activations{_with(net)}, {net.scratch:,} for unpacked weights, and {STACK:,} of stack; at once activations take "
            f"{peak['live_bytes']:,}, most at {peak['op']}. "
            "Give a smaller input, or more --ram"
        )
    if net.constants > budget.flash:
        raise UnsupportedError(
            f"its constants alone take {spelled(net.constants)} of flash, {spelled(net.constants - budget.flash)} more than "
            "there are; fewer bits help: intact quantize --scheme w4a8 or clusters4, and --minimize size"
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


def _document(graph: Graph, text: Text, core: Core, budget: Budget, content: bytes) -> dict[str, Any]:
    """What is the same for every project; what is said of the C is None where none is written."""
    return {
        "schema": SCHEMA,
        "version": __version__,
        "model": {"name": text.title, "sha256": text.sha256, "bytes": len(content)},
        "core": core.name,
        "budget": {"ram": budget.ram, "flash": budget.flash},
        "macs": macs(graph),
        "peak": _peak(graph),
        **dict.fromkeys(("arena", "scratch", "by_row", "stack_reserved", "constants", "compiled", "emulated")),
    }


def _peak(graph: Graph) -> dict[str, Any]:
    """The op during which most bytes exist where all is computed at once, as ``intact fit`` has it."""
    held = timeline(graph)
    return {"live_bytes": held.live[held.at], "op": held.ops[held.at] if held.ops else ""}


def _c_document(graph: Graph, net: CNetwork, made: Sizes | None, ran: Emulated | None) -> dict[str, Any]:
    return {
        "arena": net.arena,
        "scratch": net.scratch,
        "by_row": [{"first": first, "last": last} for first, last in net.by_row],
        "stack_reserved": STACK,
        "constants": net.constants,
        "compiled": None if made is None else {"code": made.code, "constants": made.constants, "ram": made.ram},
        "emulated": None if ran is None else {"samples": ran.count, "exact": ran.same, **ran.figures(macs(graph))},
    }
