"""What JSON says of a network as firmware: memory, flash, what exists during each op, and the boards that hold it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from intact.deploy import boards
from intact.deploy.c.network import ALIGNMENT, Text
from intact.deploy.c.table import ROWS, unread
from intact.deploy.cores import Core
from intact.deploy.firmware import Ways, ways
from intact.deploy.fitting import Taken, Verdict, verdict
from intact.deploy.project import STACK
from intact.deploy.timeline import timeline
from intact.errors import UnsupportedError
from intact.network.graph import Graph
from intact.network.in_place import IN_PLACE
from intact.network.placement import placement
from intact.network.shapes import macs


def written(graph: Graph, text: Text, core: Core) -> tuple[Ways, tuple[str, ...]]:
    """The C of ``graph``; or no way, and a sentence for each op that C lacks."""
    lacking = tuple(f"{graph.label(op)}: there is no kernel for it" for op in graph.ops if op.kind.name not in ROWS)
    if lacking:
        return Ways(), lacking
    try:
        return ways(graph, text, core), ()
    except UnsupportedError as error:
        return Ways(), (str(error),)


def verdicts(made: Ways) -> tuple[Verdict, ...]:
    """Every board, and how it holds the network."""
    return tuple(
        verdict(b, made.taken.get("at once"), made.taken.get("row by row"), made.others) for b in boards.BOARDS.values()
    )


def document(graph: Graph, made: Ways, lacking: Sequence[str], core: Core) -> dict[str, Any]:
    """All that is known of ``graph`` as the C ``made`` of it for ``core``, or without any."""
    return {
        "macs": macs(graph),
        "lacking": list(lacking),
        "activations": placement(
            graph, ALIGNMENT, in_place=IN_PLACE, overwrite_inputs=True, elsewhere=unread(graph)
        ).arena_bytes,
        "stack_reserved": STACK,
        "ways": {how: _way(way) for how, way in made.taken.items()},
        "least_ram": min((taken.ram for taken in (*made.taken.values(), *made.others)), default=None),
        "compiled_for": core.name if any(way.code is not None for way in made.taken.values()) else None,
        "largest_constant": _largest(graph),
        **_timeline(graph),
        "boards": [_row(v) for v in verdicts(made)],
    }


def _way(way: Taken) -> dict[str, Any]:
    chains = [{"first": first, "last": last} for first, last in way.chains]
    return {"arena": way.arena, "scratch": way.scratch, "constants": way.constants, "code": way.code, "by_row": chains}


def _timeline(graph: Graph) -> Mapping[str, Any]:
    held = timeline(graph)
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
