"""What ``intact fit --npu`` says: the estimates of Vela, or how it failed, as the document has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from intact.deploy.npu import estimate
from intact.deploy.npus import MEMORY, Npu, npus
from intact.errors import ChildError, MissingExtraError
from intact.network.graph import Graph
from intact.progress import Progress
from intact.runtime import vela


def asked(names: Sequence[str]) -> tuple[Npu, ...]:
    """Those that are called so. MissingExtraError where Vela is not installed, and OptionError for a name that there is not."""
    found = npus(names)
    if found and vela.version() is None:
        raise MissingExtraError("An estimate for Ethos-U", "npu")
    return found


def estimates(graph: Graph, npus: Sequence[Npu], progress: Progress) -> dict[str, Any] | None:
    """The section of the document; None where no NPU was asked for."""
    if not npus:
        return None
    found = list[dict[str, Any]]()
    for n, npu in enumerate(npus):
        progress("estimate", n, len(npus))
        found.append({"npu": npu.key, "macs_a_cycle": npu.macs, "system": npu.system, **_estimated(graph, npu)})
    return {
        "source": f"estimate by Vela {vela.version()}, nothing ran",
        "measured": False,
        "memory_mode": MEMORY,
        "ops": len(graph.ops),
        "estimates": found,
    }


def _estimated(graph: Graph, npu: Npu) -> dict[str, Any]:
    try:
        made = estimate(graph, npu)
    except ChildError as error:
        return {"failed": error.message}
    return {"failed": None, **asdict(made), "inferences_per_second": made.per_second}
