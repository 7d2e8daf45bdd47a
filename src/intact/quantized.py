"""A network with the plan of its integers: what a remedy takes and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from intact.emit import emit
from intact.graph import Graph
from intact.plan import Plan


@final
@dataclass(frozen=True, eq=False)
class Quantized:
    """``reference`` is the float network to stay true to, ``graph`` the same with adjusted constants, ``plan`` its formats.

    ``log`` says what was done to it, one sentence each.
    """

    reference: Graph
    graph: Graph
    plan: Plan
    log: tuple[str, ...] = ()

    def integer(self) -> Graph:
        """The network as the device runs it."""
        return emit(self.graph, self.plan)
