"""What a network takes as firmware in C of its own: all of it in memory at once, and row by row where that saves RAM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, final

from intact.deploy.c.network import CNetwork, Text, write
from intact.deploy.cores import Core
from intact.deploy.emulate import sizes
from intact.deploy.fitting import How, Taken
from intact.errors import ChildError, MissingToolError
from intact.network.graph import Graph

#: Of which network no more is known than its graph.
UNNAMED: Final = Text("network", "network")


@final
@dataclass(frozen=True, eq=False)
class Ways:
    """The C of a network and what it takes, by how it runs: ``"at once"``, and ``"row by row"`` where that saves RAM.

    ``missing``: why its code was not compiled, such as what to install; empty where it was.
    """

    nets: Mapping[How, CNetwork] = field(default_factory=dict)
    taken: Mapping[How, Taken] = field(default_factory=dict)
    missing: str = ""


def ways(graph: Graph, text: Text, core: Core) -> Ways:
    """``graph``, an integer network, with the most and the least RAM that its C takes; code is that for ``core``.

    UnsupportedError names an op that C lacks.
    """
    nets: dict[How, CNetwork] = {"at once": write(graph, text)}
    least = write(graph, text, 0)
    if least.by_row:
        nets["row by row"] = least
    taken, missing = dict[How, Taken](), ""
    for how, net in nets.items():
        taken[how], missing = _taken(net, core)
    return Ways(nets, taken, missing)


def within(graph: Graph, core: Core, ram: int | None, flash: int | None) -> tuple[Taken, str]:
    """What the C takes that is written for so many bytes, None for as many as there may be; and why code is not known.

    Where it does not fit, that is the least there is. UnsupportedError names an op that C lacks.
    """
    return _taken(write(graph, UNNAMED, ram, flash), core)


def _taken(net: CNetwork, core: Core) -> tuple[Taken, str]:
    try:
        made = sizes(net, core)
    except (MissingToolError, ChildError) as error:
        return Taken(net.arena, net.constants, None, net.by_row, net.scratch), error.message
    return Taken(net.arena, made.constants, made.code, net.by_row, net.scratch), ""
