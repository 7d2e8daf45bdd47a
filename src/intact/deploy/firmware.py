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

#: Bytes of flash that code hardly goes beyond: what is left is for constants.
_CODE: Final = 8192
#: Of which network no more is known than its graph.
UNNAMED: Final = Text("network", "network")


@final
@dataclass(frozen=True, eq=False)
class Ways:
    """The C of a network and what it takes, by how it runs: ``"at once"``, and ``"row by row"`` where that saves RAM.

    ``missing``: why its code was not compiled, such as what to install; empty where it was. ``others``: what it takes with
    weights packed that are not in ``taken``, or unpacked that are, for what is left of RAM and flash asks for it.
    """

    nets: Mapping[How, CNetwork] = field(default_factory=dict)
    taken: Mapping[How, Taken] = field(default_factory=dict)
    missing: str = ""
    others: tuple[Taken, ...] = ()


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
    return Ways(nets, taken, missing, tuple(_taken(net, core)[0] for net in _otherwise(graph, text, nets["at once"].arena)))


def _otherwise(graph: Graph, text: Text, arena: int) -> tuple[CNetwork, ...]:
    """The C that ``graph`` has besides where weights can be packed: packed, packed row by row, and unpacked in ``arena``."""
    packed = write(graph, text, flash=0)
    return (packed, write(graph, text, 0, 0), write(graph, text, arena)) if packed.scratch else ()


def within(graph: Graph, core: Core, ram: int | None, flash: int | None) -> tuple[Taken, str]:
    """What the C takes that is written for so many bytes, None for as many as there may be; and why code is not known.

    Where it does not fit, that is the least there is. UnsupportedError names an op that C lacks.
    """
    return _taken(fitted(graph, UNNAMED, core, ram, flash), core)


def fitted(graph: Graph, text: Text, core: Core, ram: int | None, flash: int | None) -> CNetwork:
    """The C for so many bytes, None for as many as there may be: weights are packed where that leaves its code no room.

    UnsupportedError names an op that C lacks.
    """
    net = write(graph, text, ram, flash)
    if flash is None or net.scratch or net.constants + _CODE <= flash:
        return net
    try:
        code = sizes(net, core).code
    except (MissingToolError, ChildError):
        code = _CODE
    return net if net.constants + code <= flash else write(graph, text, ram, max(flash - code, 0))


def _taken(net: CNetwork, core: Core) -> tuple[Taken, str]:
    try:
        made = sizes(net, core)
    except (MissingToolError, ChildError) as error:
        return Taken(net.arena, net.constants, None, net.by_row, net.scratch), error.message
    return Taken(net.arena, made.constants, made.code, net.by_row, net.scratch), ""
