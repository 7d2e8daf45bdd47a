"""What an integer network takes on a microcontroller, and which boards it fits."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, final

from intact.deploy import boards
from intact.deploy.c.network import ALIGNMENT, CNetwork, Text, write
from intact.deploy.c.table import ROWS
from intact.deploy.cores import CORES
from intact.deploy.edge_tpu import SOURCE, by_document
from intact.deploy.emulate import emulate, sizes
from intact.deploy.fitting import FITTING, Taken, Verdict, verdict
from intact.deploy.project import STACK, Budget
from intact.deploy.timeline import Timeline, timeline
from intact.errors import MissingToolError, OptionError, UnsupportedError, located
from intact.installed import __version__
from intact.network.graph import Graph
from intact.network.in_place import IN_PLACE
from intact.network.placement import placement
from intact.network.shapes import macs
from intact.progress import Progress, silent
from intact.run import fit_lines, fit_npu
from intact.run.vectors import integer_network, vectors
from intact.wording import brief, shown

SCHEMA: Final = "intact-fit/1"
#: What code is measured on, and emulated.
_CORE: Final = CORES["cortex-m4"]


@final
@dataclass(frozen=True, eq=False)
class Fit:
    """``document``: everything that was found, as JSON has it; ``notes``: what to know, a sentence each."""

    document: Mapping[str, Any] = field(repr=False)
    notes: tuple[str, ...] = ()

    __repr__ = brief

    @property
    def fits(self) -> bool | None:
        """Whether the board that was named holds it; None where none was."""
        named = self.document["board"]
        return None if named is None else any(b["board"] == named and b["fits"] in FITTING for b in self.document["boards"])

    @property
    def is_estimated(self) -> bool:
        """Whether Vela made each estimate that it was asked for; True where none was."""
        return all(e["failed"] is None for e in (self.document["npu"] or {"estimates": ()})["estimates"])

    @property
    def lines(self) -> tuple[str, ...]:
        """For people: what it takes, what exists during each op, the boards, and an Edge TPU."""
        return tuple(map(shown, fit_lines.lines(self.document)))

    def to_json(self) -> dict[str, Any]:
        """The document itself."""
        return dict(self.document)


def fit(  # noqa: PLR0913  # all by keyword, with defaults
    model: str | Path,
    *,
    board: str | None = None,
    instructions: bool = False,
    data: object = None,
    npu: str | Sequence[str] = (),
    progress: Progress = silent,
) -> Fit:
    """What an integer .tflite takes of RAM and flash as the C of :func:`~intact.run.deploy.deploy`, and which boards hold it.

    ``board``: the one that matters, by any of its names; ``fits`` of the result is then whether it holds the network, and the
    lines say what would help where it does not. ``instructions`` emulates one sample, of ``data`` or random, on a Cortex-M4.
    ``npu``: names of :func:`~intact.deploy.npus.npus`, for each of which Vela makes an estimate.

    Where C lacks an op, that is said in the document, and what the network's tensors take is said all the same. ModelError for
    a float network; OptionError for a board or an NPU that there is not; MissingToolError where ``instructions`` lacks a tool,
    MissingExtraError where ``npu`` lacks Vela.
    """
    named = None if board is None else boards.board(board)
    if data is not None and not instructions:
        raise OptionError("samples serve to count instructions; add --instructions, or leave --data out")
    asked = fit_npu.asked((npu,) if isinstance(npu, str) else npu)
    with located(str(model)):
        content, graph = integer_network(Path(model), "fit")
    text = Text("network", Path(model).name, hashlib.sha256(content).hexdigest())
    progress("plan", 0, 0)
    held, lacking = timeline(graph), _lacking(graph)
    nets, taken, notes = dict[str, CNetwork](), dict[str, Taken](), tuple[str, ...]()
    try:
        nets = _written(graph, text) if not lacking else {}
    except UnsupportedError as error:
        lacking = (str(error),)
    if nets:
        progress("compile", 0, 0)
        taken, notes = _taken(nets)
    verdicts = [verdict(b, taken.get("at once"), taken.get("row by row")) for b in boards.BOARDS.values()]
    ran = None
    if instructions:
        if not nets:
            raise UnsupportedError(f"there is no C of it to emulate: {lacking[0]}")
        progress("emulate", 0, 0)
        how = next((v.how for v in verdicts if named is not None and v.board == named), "at once")
        ran = emulate(nets.get(how, nets["at once"]), _CORE, Budget(_CORE.ram, _CORE.flash), vectors(graph, data, 1))
    document = {
        "schema": SCHEMA,
        "version": __version__,
        "model": {"name": text.title, "sha256": text.sha256, "bytes": len(content)},
        "macs": macs(graph),
        "lacking": list(lacking),
        "activations": placement(graph, ALIGNMENT, in_place=IN_PLACE, overwrite_inputs=True).arena_bytes,
        "stack_reserved": STACK,
        "ways": {how: _way(way) for how, way in taken.items()},
        "compiled_for": _CORE.name if any(way.code is not None for way in taken.values()) else None,
        "largest_constant": _largest(graph),
        **_timeline(held),
        "board": None if named is None else named.key,
        "boards": [_row(v) for v in verdicts],
        "edge_tpu": _edge_tpu(graph),
        "npu": fit_npu.estimates(graph, asked, progress),
        "emulated": None if ran is None else {"core": ran.core, "exact": ran.same == ran.count, **ran.figures(macs(graph))},
    }
    return Fit(document, notes)


def _lacking(graph: Graph) -> tuple[str, ...]:
    """The ops whose kind has no C."""
    return tuple(f"{graph.label(op)}: there is no kernel for it" for op in graph.ops if op.kind.name not in ROWS)


def _written(graph: Graph, text: Text) -> dict[str, CNetwork]:
    """The C with all activations in memory at once, and that with the least, where rows save anything."""
    at_once, least = write(graph, text), write(graph, text, 0)
    return {"at once": at_once} | ({"row by row": least} if least.by_row else {})


def _taken(nets: Mapping[str, CNetwork]) -> tuple[dict[str, Taken], tuple[str, ...]]:
    """What each way takes, and what to install where code cannot be measured."""
    try:
        made = {how: sizes(net, _CORE) for how, net in nets.items()}
    except MissingToolError as error:
        bare = {how: Taken(net.arena, net.constants, None, net.by_row, net.scratch) for how, net in nets.items()}
        return bare, (f"code is not counted, for it was not compiled here: {error.message}",)
    taken = {how: Taken(net.arena, made[how].constants, made[how].code, net.by_row, net.scratch) for how, net in nets.items()}
    return taken, ()


def _way(way: Taken) -> dict[str, Any]:
    chains = [{"first": first, "last": last} for first, last in way.chains]
    return {"arena": way.arena, "scratch": way.scratch, "constants": way.constants, "code": way.code, "by_row": chains}


def _timeline(held: Timeline) -> dict[str, Any]:
    ops = [{"op": op, "bytes": live} for op, live in zip(held.ops, held.live, strict=False)]
    peak = {"op": held.ops[held.at] if held.ops else "", "at": held.at, "bytes": held.live[held.at]}
    return {"timeline": ops, "peak": peak | {"tensors": [asdict(t) for t in held.held]}}


def _largest(graph: Graph) -> dict[str, Any] | None:
    """The constant of most bytes in memory, and the op that reads it first."""
    read = [(i, op) for op in graph.ops for i in op.reads if graph[i].data is not None]
    sized = [(_bytes(graph, i), graph.label(op)) for i, op in read]
    size, op = max(sized, key=lambda pair: pair[0], default=(0, ""))
    return {"op": op, "bytes": size} if size else None


def _bytes(graph: Graph, i: int) -> int:
    data = graph[i].data
    return 0 if data is None else data.nbytes


def _row(v: Verdict) -> dict[str, Any]:
    b = v.board
    about = {"name": b.name, "maker": b.maker, "chip": b.chip, "core": b.core, "mhz": b.mhz, "source": b.source, "note": b.note}
    missing = {"ram": v.ram, "flash": v.flash}
    return {"board": b.key, **about, "ram": b.ram, "flash": b.flash, "fits": v.how, "missing": missing, "said": v.said}


def _edge_tpu(graph: Graph) -> dict[str, Any]:
    found = by_document(graph)
    cpu: Sequence[Mapping[str, str]] = [asdict(fallback) for fallback in found.cpu]
    return {"source": SOURCE, "measured": False, "runs": list(found.runs), "cpu": cpu, "limits": dict(found.limits)}
