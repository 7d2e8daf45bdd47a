"""A network with the plan of its integers: what a remedy takes and what it gives back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np

from intact.errors import ModelError
from intact.network.graph import Graph
from intact.planning.adjusted_constants import changed, changes
from intact.planning.integer_graph import emit
from intact.planning.plan import Plan
from intact.wording import brief


@final
@dataclass(frozen=True, eq=False)
class Quantized:
    """``reference`` is the float network to stay true to, ``graph`` the same with adjusted constants, ``plan`` its formats.

    ``rescaled`` is ``reference`` where remedies only gave its channels other scales, None where they did not: what every
    activation of ``graph`` is to be like. ``log`` says what was done to it, one sentence each; ``remedies`` names those that
    did it, in their order. ``precise`` and ``wide_weights`` are the ops, by first output, that a remedy kept out of 8 bits and
    gave weights of 8 bits: a plan that is made anew keeps them so.
    """

    reference: Graph
    graph: Graph
    plan: Plan
    log: tuple[str, ...] = ()
    rescaled: Graph | None = None
    remedies: tuple[str, ...] = ()
    precise: tuple[int, ...] = ()
    wide_weights: tuple[int, ...] = ()

    __repr__ = brief

    @property
    def exact(self) -> Graph:
        """The float network whose activations those of ``graph`` stand for, one by one."""
        return self.rescaled or self.reference

    def to_arrays(self) -> dict[str, np.ndarray]:
        """What :meth:`from_arrays` needs to make this again from the network that it began as."""
        arrays = {f"graph {name}": data for name, data in changes(self.reference, self.graph).items()}
        if self.rescaled is not None:
            arrays |= {f"rescaled {name}": data for name, data in changes(self.reference, self.rescaled).items()}
        about = {
            "plan": self.plan.to_json(),
            "log": self.log,
            "remedies": self.remedies,
            "precise": self.precise,
            "wide_weights": self.wide_weights,
        }
        return arrays | {"text": np.frombuffer(json.dumps(about).encode(), np.uint8)}

    @staticmethod
    def from_arrays(start: Quantized, arrays: Mapping[str, np.ndarray]) -> Quantized:
        """``start`` with the constants, options of ops, plan and log in ``arrays``."""
        about = json.loads(arrays["text"].tobytes())

        def made(which: str) -> Graph | None:
            found = {name.removeprefix(which): data for name, data in arrays.items() if name.startswith(which)}
            try:
                return changed(start.reference, found) if found else None
            except ValueError as error:
                raise ModelError(f"what its remedies made cannot be used: it {error}") from error

        graph, plan = made("graph ") or start.reference, Plan.from_json(about["plan"])
        named = {name: tuple(about[name]) for name in ("log", "remedies", "precise", "wide_weights")}
        return Quantized(start.reference, graph, plan, rescaled=made("rescaled "), **named)

    def integer(self) -> Graph:
        """The network as the device runs it."""
        return emit(self.graph, self.plan)
