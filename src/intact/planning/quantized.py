"""A network with the plan of its integers: what a remedy takes and what it gives back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from intact.network.graph import Graph
from intact.planning.integer_graph import emit
from intact.planning.plan import Plan


@final
@dataclass(frozen=True, eq=False)
class Quantized:
    """``reference`` is the float network to stay true to, ``graph`` the same with adjusted constants, ``plan`` its formats.

    ``rescaled`` is ``reference`` where remedies only gave its channels other scales, None where they did not: what every
    activation of ``graph`` is to be like. ``log`` says what was done to it, one sentence each; ``remedies`` names those that
    did it, in their order.
    """

    reference: Graph
    graph: Graph
    plan: Plan
    log: tuple[str, ...] = ()
    rescaled: Graph | None = None
    remedies: tuple[str, ...] = ()

    @property
    def exact(self) -> Graph:
        """The float network whose activations those of ``graph`` stand for, one by one."""
        return self.rescaled or self.reference

    def to_arrays(self) -> dict[str, np.ndarray]:
        """What :meth:`from_arrays` needs to make this again from the network that it began as."""
        changed = {
            f"constant {t.id}": np.asarray(t.data) for t in self.graph.constants() if t.data is not self.reference[t.id].data
        }
        if self.rescaled is not None:
            tensors = ((t, self.reference[t.id]) for t in self.rescaled.constants())
            changed |= {f"rescaled {t.id}": np.asarray(t.data) for t, was in tensors if t.data is not was.data}
        relus = [op.output for op, was in zip(self.graph.ops, self.reference.ops, strict=True) if op.kind != was.kind]
        text = json.dumps({"plan": self.plan.to_json(), "log": self.log, "remedies": self.remedies})
        return changed | {"relu": np.asarray(relus, np.int64), "text": np.frombuffer(text.encode(), np.uint8)}

    @staticmethod
    def from_arrays(start: Quantized, arrays: Mapping[str, np.ndarray]) -> Quantized:
        """``start`` with the constants, activations, plan and log in ``arrays``."""
        graph = start.reference
        about = json.loads(arrays["text"].tobytes())
        tensors, scaled = dict(graph.tensors), dict(graph.tensors)
        for name, data in arrays.items():
            for kind, held in (("constant ", tensors), ("rescaled ", scaled)):
                if name.startswith(kind):
                    i = int(name.split()[1])
                    held[i] = replace(graph[i], data=data)
        relus = set(arrays["relu"].tolist())
        ops = tuple(
            replace(op, kind=replace(op.kind, activation="relu")) if op.output in relus else op  # type: ignore[type-var]
            for op in graph.ops
        )
        plan = Plan.from_json(about["plan"])
        rescaled = replace(graph, tensors=scaled, ops=ops) if any(name.startswith("rescaled ") for name in arrays) else None
        changed = replace(graph, tensors=tensors, ops=ops)
        return Quantized(graph, changed, plan, tuple(about["log"]), rescaled, tuple(about["remedies"]))

    def integer(self) -> Graph:
        """The network as the device runs it."""
        return emit(self.graph, self.plan)
